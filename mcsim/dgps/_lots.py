"""Lots: random orders of the units, or of the groups above them, with exact counts."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Int, Key, UInt32

from mcsim._core import Panel
from mcsim.errors import did_you_mean


class Lots(NamedTuple):
    """One random number for each unit, all different, and the same numbers in ascending order.

    With groups above the units, all units of a group hold their group's number.
    """

    of_unit: UInt32[Array, " unit"]
    ascending: UInt32[Array, " unit"]
    count: Any

    def among_first(self, k: Any) -> Bool[Array, " unit"]:
        """Whether a unit (its group) is among the k of the lowest numbers."""
        bound = self.ascending[jnp.maximum(k, 1) - 1]
        return (self.of_unit <= bound) & (k > 0)


def draw_lots(key: Key[Array, ""], panel: Panel, level: str | None = None) -> Lots:
    """Draw lots for the units, or for the groups that the column ``level`` tells apart."""
    n = panel.n_units
    drawn = distinct_bits(key, n)
    if level is None:
        return Lots(drawn, jnp.sort(drawn), n)
    _, group = jnp.unique(first_observed(panel, level), return_inverse=True, size=n)
    group = group.reshape(-1)
    count = group.max() + 1
    last = jnp.iinfo(jnp.uint32).max
    ascending = jnp.sort(jnp.where(jnp.arange(n) < count, drawn, last))
    return Lots(drawn[group], ascending, count)


def distinct_bits(key: Key[Array, ""], n: int) -> UInt32[Array, " unit"]:
    """Random integers that cannot tie: their low bits are their own position."""
    low = max(1, (n - 1).bit_length())
    return (jax.random.bits(key, (n,), jnp.uint32) >> low << low) | jnp.arange(n, dtype=jnp.uint32)


def number_of(value: Any, total: Any) -> Any:
    """A number of units as it is, a share of them rounded."""
    if isinstance(value, (int, np.integer)):
        return value
    return jnp.round(value * total).astype(int)


def first_observed(panel: Panel, name: str) -> Array:
    """Each unit's value of a column in its first observed period."""
    if panel.mask is None:
        return panel[name][:, 0]
    first = jnp.argmax(panel.mask, axis=1)
    return jnp.take_along_axis(panel[name], first[:, None], axis=1)[:, 0]


def codes_of(panel: Panel, name: str) -> np.ndarray:
    """The same for a concrete panel, in NumPy, also while a program is traced."""
    values = np.asarray(panel[name])
    first = 0 if panel.mask is None else np.argmax(np.asarray(panel.mask), axis=1)
    return values[np.arange(len(values)), first]


def group_count(panel: Panel, level: str | None) -> int | None:
    """How many units (groups) there are to draw from; None where that is not known yet."""
    if level is None:
        return panel.n_units
    codes = panel.get(level)
    known = codes is not None and not isinstance(codes, Tracer)
    return len(np.unique(codes_of(panel, level))) if known else None


def faults_of_level(panel: Panel, level: str | None) -> list[str]:
    """Say what is wrong with the column of the groups above the units."""
    if level is None:
        return []
    if level not in panel:
        return [f"level: got {level!r}{did_you_mean(level, panel)}"]
    return [] if isinstance(panel[level], Tracer) else varying(panel, level, "level")


def varying(panel: Panel, name: str, argument: str) -> list[str]:
    """Say so if a column of a concrete panel varies within a unit."""
    values = np.asarray(panel[name])
    observed = np.ones(values.shape, bool) if panel.mask is None else np.asarray(panel.mask)
    own = codes_of(panel, name)[:, None]
    if not np.any((values != own) & observed):
        return []
    return [f"{argument}: {name!r} varies within units, expected one value per unit"]


def start_positions(start: Any, n_periods: int) -> tuple[int, int]:
    """A start, or a range of them, as positions from 0; negative ones count from the end."""
    first, last = start if isinstance(start, tuple) else (start, start)
    return tuple(s + n_periods if s < 0 else s for s in (int(first), int(last)))  # type: ignore[return-value]


def draw_start(key: Key[Array, ""], start: Any, n_periods: int) -> Int[Array, ""]:
    """One starting period for all, uniform on its range."""
    first, last = start_positions(start, n_periods)
    if first == last:
        return jnp.asarray(first)
    return jax.random.randint(key, (), first, last + 1)


def faults_of_start(start: Any, n_periods: int) -> list[str]:
    """Say what is wrong with a start or a range of starts."""
    whole = (int, np.integer)
    pair = isinstance(start, tuple) and len(start) == 2 and all(isinstance(s, whole) for s in start)
    if not pair and (isinstance(start, bool) or not isinstance(start, whole)):
        return [f"start: got {start!r}, expected a period's position or (first, last) of a range"]
    if not all(-n_periods <= s < n_periods for s in np.ravel(start)):
        return [
            f"start: got {start!r}, expected positions within the {n_periods} periods, counted "
            "from 0 (negative: from the end)"
        ]
    first, last = start_positions(start, n_periods)
    return [f"start: got {start!r}, whose first comes after its last"] if first > last else []
