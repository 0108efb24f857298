"""Pool: one large draw of a generator, kept by arm, so that smaller samples are slices of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key
from numpy import ndarray

from mcsim._core import Generator, Panel
from mcsim._fidelity._layout import Layout, Matrix
from mcsim.errors import InputError


@dataclass(frozen=True)
class Pool:
    """Generated rows, equally many per arm (whatever the shares of the real data).

    Attributes
    ----------
    arms : tuple of array (row, column)
        Rows of each arm.
    shares : array (arm,)
        Shares of the arms in the real data.
    """

    arms: tuple[Matrix, ...]
    shares: Float[ndarray, " arm"]

    def draw(
        self, start: Int[ndarray, " arm"], counts: Int[ndarray, " arm"], rng: np.random.Generator
    ) -> Matrix:
        """Return ``counts`` rows of each arm, from ``start`` on, in random order."""
        parts = [
            rows[first : first + count]
            for rows, first, count in zip(self.arms, start, counts, strict=True)
        ]
        return rng.permutation(np.concatenate(parts))

    @property
    def rows(self) -> Matrix:
        """All rows."""
        return np.concatenate(self.arms)

    @property
    def weights(self) -> Float[ndarray, " row"]:
        """Weights that give the arms of `rows` their real shares."""
        return np.concatenate(
            [
                np.full(len(rows), share / len(rows))
                for rows, share in zip(self.arms, self.shares, strict=True)
            ]
        )


def draw_pool(
    key: Key[Array, ""], generator: Generator, layout: Layout, train: Matrix, n_rows: int
) -> Pool:
    """Draw ``n_rows`` in all; given columns are resampled from the training rows of each arm."""
    arm = layout.arm(train)
    per_arm = n_rows // len(layout.arms)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    chosen = [rng.choice(np.flatnonzero(arm == code), per_arm) for code in range(len(layout.arms))]
    rows = generate(key, generator, layout, train[np.concatenate(chosen)])
    shares = np.bincount(arm, minlength=len(layout.arms)) / len(arm)
    return Pool(tuple(np.split(layout.matrix(rows), len(layout.arms))), shares)


def generate(key: Key[Array, ""], generator: Generator, layout: Layout, rows: Matrix) -> Panel:
    """Draw one unit per row, given what the row holds in the given columns; in float64."""
    given = {name: jnp.asarray(rows[:, layout.index(name)]) for name in layout.given}
    panel = generator.sample(key, len(rows), given=given or None)
    _check_columns(generator, panel, layout.schema.names)
    return jax.tree.map(lambda x: x.astype(jnp.float64), panel.select(layout.schema.names))


def _check_columns(generator: Generator, panel: Panel, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in panel]
    if missing:
        raise InputError(
            f"generators: {type(generator).__name__} draws no columns {missing}, expected all "
            "columns of real; pass schema=schema.select(...) to compare fewer"
        )
