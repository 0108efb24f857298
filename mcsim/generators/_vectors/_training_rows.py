"""Vectors to train on, padded so that all members of an ensemble share a program."""

from collections.abc import Iterable, Sequence, Sized
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

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

    def draw(self, key: Array, size: int) -> Int[Array, " row"]:
        """Draw numbers of units, with replacement."""
        return draw_rows(key, self.count, size)

    @property
    def real(self) -> Array:
        """Which of the units are real."""
        return jnp.arange(len(self.vectors)) < self.count


def draw_rows(key: Array, count: Any, size: int) -> Int[Array, " row"]:
    """Draw numbers of ``count`` units, with replacement."""
    place = (jax.random.uniform(key, (size,), jnp.float32) * count).astype(jnp.int32)
    return jnp.minimum(place, count - 1)


def draw_batch(key: Array, units: Any, count: Any, size: int) -> tuple[Any, Array]:
    """Take all padded units, or draw some if there are more than ``size``; say which are real.

    ``units`` is a pytree of arrays (unit, ...), of which the first ``count`` are real.
    """
    total = len(jax.tree.leaves(units)[0])
    units = jax.tree.map(jnp.asarray, units)
    if total <= size:
        return units, jnp.arange(total) < count
    place = draw_rows(key, count, size)
    return jax.tree.map(lambda leaf: leaf[place], units), jnp.ones(size, bool)


def padded_length(members: Iterable[Sized]) -> int:
    """Return the length to which all members' units are padded."""
    return -(-max(map(len, members)) // BUCKET) * BUCKET


def padded_rows(members: Sequence[Float[np.ndarray, "_ coordinate"]]) -> list[Rows]:
    """Return each member's vectors, padded to one length."""
    length = padded_length(members)
    return [
        Rows(np.resize(own, (length, own.shape[1])).astype(np.float32), np.int32(len(own)))
        for own in members
    ]
