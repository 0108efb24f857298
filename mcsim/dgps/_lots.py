"""Lots: random orders of the units, or of the clusters above them, with exact counts."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key, UInt32

from mcsim._core import Panel
from mcsim.dgps._factors import is_whole
from mcsim.dgps._units import first_observed


class Lots(NamedTuple):
    """One random number for each unit, all different, and the same numbers in ascending order.

    With clusters above the units, all units of a cluster hold their cluster's number.
    """

    of_unit: UInt32[Array, " unit"]
    ascending: UInt32[Array, " unit"]
    count: Any

    def among_first(self, k: Any) -> Bool[Array, " unit"]:
        """Whether a unit (its cluster) is among the k of the lowest numbers."""
        bound = self.ascending[jnp.maximum(k, 1) - 1]
        return (self.of_unit <= bound) & (k > 0)

    @property
    def place(self) -> Int[Array, " unit"]:
        """Where each unit's number stands among the ascending ones; the same for a cluster."""
        return jnp.searchsorted(self.ascending, self.of_unit)


def draw_lots(key: Key[Array, ""], panel: Panel, cluster: str | None = None) -> Lots:
    """Draw lots for the units, or for the clusters that a column tells apart."""
    n = panel.n_units
    drawn = distinct_bits(key, n)
    if cluster is None:
        return Lots(drawn, jnp.sort(drawn), n)
    _, number = jnp.unique(first_observed(panel, cluster), return_inverse=True, size=n)
    number = number.reshape(-1)
    count = number.max() + 1
    last = jnp.iinfo(jnp.uint32).max
    ascending = jnp.sort(jnp.where(jnp.arange(n) < count, drawn, last))
    return Lots(drawn[number], ascending, count)


def distinct_bits(key: Key[Array, ""], n: int) -> UInt32[Array, " unit"]:
    """Random integers that cannot tie: their low bits are their own position."""
    low = max(1, (n - 1).bit_length())
    return (jax.random.bits(key, (n,), jnp.uint32) >> low << low) | jnp.arange(n, dtype=jnp.uint32)


def number_of(value: Any, total: Any) -> Any:
    """A number of units as it is, a share of them rounded."""
    if is_whole(value):
        return value
    return jnp.round(value * total).astype(int)
