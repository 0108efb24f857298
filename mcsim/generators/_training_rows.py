"""Vectors to train on and to stop by, padded so that all members of an ensemble share a program."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

BUCKET = 16  # lengths are padded to a multiple


class Rows(NamedTuple):
    """Units, of which the first ``count`` are real and the others repeat them.

    Attributes
    ----------
    vectors : array (unit, coordinate), float32
    count : int32
    """

    vectors: Any
    count: Any

    def batch(self, key: Array, size: int) -> Float[Array, "row coordinate"]:
        """Draw units with replacement."""
        place = (jax.random.uniform(key, (size,), jnp.float32) * self.count).astype(jnp.int32)
        return self.vectors[jnp.minimum(place, self.count - 1)]

    def mean(self, values: Float[Array, " unit"]) -> Float[Array, ""]:
        """Average a value of each unit over the real ones."""
        real = jnp.arange(len(values)) < self.count
        return jnp.where(real, values, 0.0).sum() / self.count


class Split(NamedTuple):
    """Units that a law is learned from, and units held out that say when to stop."""

    train: Rows
    held: Rows


def split_units(
    vectors: Sequence[Float[np.ndarray, "_ coordinate"]], keys: Sequence[Array], share: float
) -> list[Split]:
    """Hold out a share of each member's units, at least two; 0 holds out none (all play both)."""
    pairs = [_split(own, key, share) for own, key in zip(vectors, keys, strict=True)]
    longest = [max(len(pair[side]) for pair in pairs) for side in (0, 1)]
    return [
        Split(*(_padded(part, length) for part, length in zip(pair, longest, strict=True)))
        for pair in pairs
    ]


def _split(vectors: np.ndarray, key: Array, share: float) -> tuple[np.ndarray, np.ndarray]:
    if share == 0:
        return vectors, vectors
    order = np.asarray(jax.random.permutation(key, len(vectors)))
    out = max(2, round(share * len(vectors)))
    return vectors[order[out:]], vectors[order[:out]]


def _padded(vectors: np.ndarray, longest: int) -> Rows:
    length = -(-longest // BUCKET) * BUCKET
    rows = np.resize(np.arange(len(vectors)), length)
    return Rows(vectors[rows].astype(np.float32), np.int32(len(vectors)))
