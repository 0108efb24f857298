"""Random numbers of a sample: normals in one call, AR(1) paths, random orders of units.

A unit's draws are a row of normals times a matrix that all units share: one product for all units
of all replications, faster than a recursion over periods.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from mcsim._core.checks import is_whole
from mcsim._core.records import Panel
from mcsim.dgps._units import first_observed


def normals(key: Key[Array, ""], *shapes: tuple[int, ...]) -> list[Float[Array, "..."]]:
    """Draw independent standard normals of these shapes in one call, in float32, and cast them."""
    sizes = [math.prod(shape) for shape in shapes]
    drawn = jax.random.normal(key, (sum(sizes),), dtype=jnp.float32).astype(float)
    pieces = jnp.split(drawn, np.cumsum(sizes)[:-1].tolist())
    return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]


def recursion(rho: Any, n_periods: int) -> Float[Array, "innovation period"]:
    """Return the map from innovations to ``u_t = rho u_{t-1} + e_t``, from ``u_0 = e_0``."""
    lag = np.arange(n_periods) - np.arange(n_periods)[:, None]
    powers = jnp.cumprod(jnp.concatenate([jnp.ones(1), jnp.full(n_periods - 1, rho)]))
    return jnp.where(lag >= 0, powers[np.maximum(lag, 0)], 0.0)


def stationary(rho: Any, n_periods: int) -> Float[Array, "innovation period"]:
    """Return the map from standard normals to an AR(1) of variance 1 that starts stationary."""
    later = jnp.sqrt(1 - jnp.square(rho))
    scale = jnp.where(np.arange(n_periods) == 0, 1.0, later)
    return scale[:, None] * recursion(rho, n_periods)


class RandomOrder(NamedTuple):
    """A random order of units: one number per unit, all different, and the numbers ascending.

    With clusters above the units, all units of a cluster hold their cluster's number.
    """

    of_unit: UInt32[Array, " unit"]
    ascending: UInt32[Array, " unit"]
    count: Any

    def among_first(self, k: Any) -> Bool[Array, " unit"]:
        """Return whether a unit (its cluster) is among the k with the lowest numbers."""
        bound = self.ascending[jnp.maximum(k, 1) - 1]
        return (self.of_unit <= bound) & (k > 0)

    @property
    def place(self) -> Int[Array, " unit"]:
        """Rank of each unit's number from 0; units of a cluster share it."""
        return jnp.searchsorted(self.ascending, self.of_unit)


def draw_order(key: Key[Array, ""], panel: Panel, cluster: str | None = None) -> RandomOrder:
    """Draw a random order of the units, or of the clusters that a column identifies."""
    n = panel.n_units
    drawn = distinct_bits(key, n)
    if cluster is None:
        return RandomOrder(drawn, jnp.sort(drawn), n)
    _, number = jnp.unique(first_observed(panel, cluster), return_inverse=True, size=n)
    number = number.reshape(-1)
    count = number.max() + 1
    last = jnp.iinfo(jnp.uint32).max
    ascending = jnp.sort(jnp.where(jnp.arange(n) < count, drawn, last))
    return RandomOrder(drawn[number], ascending, count)


def distinct_bits(key: Key[Array, ""], n: int) -> UInt32[Array, " unit"]:
    """Draw random integers without ties: their low bits are their own position."""
    low = max(1, (n - 1).bit_length())
    return (jax.random.bits(key, (n,), jnp.uint32) >> low << low) | jnp.arange(n, dtype=jnp.uint32)


def number_of(value: Any, total: Any) -> Any:
    """Return a number of units: a whole number as it is, a share times the total, rounded."""
    if is_whole(value):
        return value
    return jnp.round(value * total).astype(int)
