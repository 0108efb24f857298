"""Assignments: which units are treated in which periods, as ``assignment(key, panel)``.

Any function that returns zeros and ones (unit, period) is one; these are ready-made. Periods are
positions counted from 0; negative ones count from the end.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Key

from mcsim._core import Panel
from mcsim._pytree import pytree
from mcsim.dgps._factors import is_number, shown
from mcsim.dgps._lots import (
    draw_lots,
    draw_start,
    faults_of_level,
    faults_of_start,
    first_observed,
    group_count,
    number_of,
    start_positions,
)
from mcsim.errors import did_you_mean, raise_all


@pytree("share")
@dataclass(frozen=True, kw_only=True)
class at_random:
    """Treat a random set of units for good, from one period on.

    The placebo laws of Bertrand, Duflo & Mullainathan: a year is drawn, then half of the states.

    Parameters
    ----------
    start : int or (int, int)
        The first treated period, or the range from which one for all is drawn, ends included.
    n_treated : int, optional
        How many are treated.
    share : float, optional
        Or which share of all.
    level : str, optional
        A column that is constant within units: treat groups (states), not units.

    References
    ----------
    Bertrand, Duflo & Mullainathan (2004), Quarterly Journal of Economics 119: 249-275.

    Examples
    --------
    >>> import jax
    >>> panel = Panel({"y": jnp.zeros((4, 3))})
    >>> at_random(n_treated=2, start=1)(jax.random.key(0), panel).sum(axis=0)
    Array([0., 2., 2.], dtype=float64)
    """

    start: int | tuple[int, int]
    n_treated: int | None = None
    share: float | None = None
    level: str | None = None

    def __call__(self, key: Key[Array, ""], panel: Panel) -> Float[Array, "unit period"]:
        """Draw who is treated and when."""
        raise_all(self.faults(panel))
        unit_key, period_key = jax.random.split(key)
        treated = _random_units(unit_key, panel, self)
        start = draw_start(period_key, self.start, panel.n_periods)
        return (treated[:, None] & (jnp.arange(panel.n_periods) >= start)).astype(float)

    def faults(self, panel: Panel) -> list[str]:
        """Say what about this assignment does not fit a panel."""
        return [*_faults_of_number(self, panel), *faults_of_start(self.start, panel.n_periods)]


@pytree("share")
@dataclass(frozen=True, kw_only=True)
class in_random_years:
    """Treat a random set of units in random periods: laws that come and go.

    Parameters
    ----------
    n_years : int
        In how many periods the treatment is on, the same ones for all.
    n_treated : int, optional
        How many units are treated.
    share : float, optional
        Or which share of all.
    level : str, optional
        A column that is constant within units: treat groups (states), not units.

    References
    ----------
    Bertrand, Duflo & Mullainathan (2004), Quarterly Journal of Economics 119: 249-275, Table II.

    Examples
    --------
    >>> import jax
    >>> panel = Panel({"y": jnp.zeros((4, 3))})
    >>> float(in_random_years(n_treated=2, n_years=2)(jax.random.key(0), panel).sum())
    4.0
    """

    n_years: int = 10
    n_treated: int | None = None
    share: float | None = None
    level: str | None = None

    def __call__(self, key: Key[Array, ""], panel: Panel) -> Float[Array, "unit period"]:
        """Draw who is treated and when."""
        raise_all(self.faults(panel))
        unit_key, period_key = jax.random.split(key)
        treated = _random_units(unit_key, panel, self)
        periods = Panel({"period": jnp.arange(panel.n_periods)})
        on = draw_lots(period_key, periods).among_first(self.n_years)
        return (treated[:, None] & on).astype(float)

    def faults(self, panel: Panel) -> list[str]:
        """Say what about this assignment does not fit a panel."""
        faults = _faults_of_number(self, panel)
        if not _is_whole(self.n_years) or not 1 <= self.n_years <= panel.n_periods:
            came = shown(self.n_years)
            faults.append(f"n_years: got {came}, expected 1 to {panel.n_periods}, the periods")
        return faults


@pytree()
@dataclass(frozen=True)
class by_cohort:
    """Treat cohorts that start in different periods, each for good: staggered adoption.

    Parameters
    ----------
    cohorts : dict of start to number or share
        Whole numbers count units, other numbers are shares of all units (rounded). Units in no
        cohort are never treated.
    shuffle : bool
        Draw anew in each sample who is in which cohort; False: the first units are in the first
        cohort, and so on.
    level : str, optional
        A column that is constant within units: the members of cohorts are groups (states).

    Examples
    --------
    >>> import jax
    >>> panel = Panel({"y": jnp.zeros((3, 5))})
    >>> by_cohort({3: 1, 1: 1}, shuffle=False)(jax.random.key(0), panel)[:2]
    Array([[0., 0., 0., 1., 1.],
           [0., 1., 1., 1., 1.]], dtype=float64)
    """

    cohorts: Any
    shuffle: bool = True
    level: str | None = None

    def __post_init__(self):
        pairs = self.cohorts.items() if isinstance(self.cohorts, Mapping) else self.cohorts
        object.__setattr__(self, "cohorts", tuple((start, size) for start, size in pairs))

    def __call__(self, key: Key[Array, ""], panel: Panel) -> Float[Array, "unit period"]:
        """Draw who is in which cohort."""
        raise_all(self.faults(panel))
        lots = draw_lots(key, panel, self.level)
        if not self.shuffle:
            order = jnp.arange(panel.n_units, dtype=jnp.uint32)
            lots = lots._replace(of_unit=order, ascending=order)
        treated = jnp.zeros((panel.n_units, panel.n_periods))
        before, seen = 0, lots.among_first(0)
        for start, size in self.cohorts:
            before = before + number_of(size, lots.count)
            upto = lots.among_first(before)
            first, _ = start_positions(start, panel.n_periods)
            on = jnp.arange(panel.n_periods) >= first
            treated = treated + ((upto & ~seen)[:, None] & on)
            seen = upto
        return treated

    def faults(self, panel: Panel) -> list[str]:
        """Say what about this assignment does not fit a panel."""
        faults = faults_of_level(panel, self.level)
        if self.level is not None and not self.shuffle:
            faults.append("level: got a column with shuffle=False, which counts units")
        if not self.cohorts:
            return [*faults, "cohorts: got none, expected {start: number or share of units}"]
        for start, size in self.cohorts:
            wrong = faults_of_start(start, panel.n_periods)
            faults += [f"cohorts: {fault}" for fault in wrong]
            if not is_number(size) or size <= 0 or (not _is_whole(size) and size > 1):
                faults.append(f"cohorts: got {size!r} for start {start}, expected a number of "
                              "units from 1 or a share between 0 and 1")  # fmt: skip
        count = group_count(panel, self.level)
        if not faults and count is not None:
            sizes = [s if _is_whole(s) else round(s * count) for _, s in self.cohorts]
            if sum(sizes) > count:
                faults.append(f"cohorts: their sizes {sizes} exceed the {count} there are")
            if not all(sizes):
                faults.append(f"cohorts: got sizes {sizes} of {count}, expected at least 1 each")
        return faults


@pytree("p")
@dataclass(frozen=True)
class by_probability:
    """Treat each unit with its probability, at least one and at most so many, from one period on.

    If more than ``max_treated`` units come up, a random ``max_treated`` of them are treated; if
    none does, ``max_treated`` random units are.

    Parameters
    ----------
    p : float, array (unit,) or str
        Probability of treatment; a string names a column of the panel that holds it.
    max_treated : int
        The most units that are treated.
    start : int or (int, int)
        The first treated period, or the range from which one for all is drawn; -10 leaves the last
        ten periods treated.

    References
    ----------
    Arkhangelsky, Athey, Hirshberg, Imbens & Wager (2021), American Economic Review 111: 4088-4118,
    section III.

    Examples
    --------
    >>> import jax
    >>> panel = Panel({"y": jnp.zeros((50, 40))})
    >>> float(by_probability(0.5, max_treated=10, start=-10)(jax.random.key(0), panel).sum())
    100.0
    """

    p: Any
    max_treated: int = 10
    start: int | tuple[int, int] = -10
    column: str | None = field(default=None, init=False)

    def __post_init__(self):
        if isinstance(self.p, str):
            object.__setattr__(self, "column", self.p)
            object.__setattr__(self, "p", None)
        elif not is_number(self.p):
            object.__setattr__(self, "p", jnp.asarray(self.p, dtype=float))

    def __call__(self, key: Key[Array, ""], panel: Panel) -> Float[Array, "unit period"]:
        """Draw who is treated and when."""
        raise_all(self.faults(panel))
        n, t = panel.n_units, panel.n_periods
        chance_key, lot_key, period_key = jax.random.split(key, 3)
        p = self.p if self.column is None else first_observed(panel, self.column)
        chosen = jax.random.uniform(chance_key, (n,), jnp.float32) < p
        lots = draw_lots(lot_key, panel).of_unit >> 1
        lots = jnp.where(chosen, lots, lots | jnp.uint32(2**31))  # those who came up go first
        came_up = chosen.sum()
        count = jnp.where(came_up > 0, jnp.minimum(came_up, self.max_treated), self.max_treated)
        treated = lots <= jnp.sort(lots)[count - 1]
        start = draw_start(period_key, self.start, t)
        return (treated[:, None] & (jnp.arange(t) >= start)).astype(float)

    def faults(self, panel: Panel) -> list[str]:
        """Say what about this assignment does not fit a panel."""
        faults = faults_of_start(self.start, panel.n_periods)
        if not _is_whole(self.max_treated) or not 1 <= self.max_treated < panel.n_units:
            came = shown(self.max_treated)
            faults.append(
                f"max_treated: got {came}, expected 1 to {panel.n_units - 1}, fewer than the units"
            )
        if self.column is not None and self.column not in panel:
            faults.append(f"p: got {self.column!r}{did_you_mean(self.column, panel)}")
        if self.column is None and np.shape(self.p) not in ((), (panel.n_units,)):
            shape = np.shape(self.p)
            faults.append(f"p: got shape {shape}, expected a number or one per unit "
                          f"({panel.n_units},)")  # fmt: skip
        concrete = self.p is not None and not isinstance(self.p, Tracer)
        if concrete and not np.all((np.asarray(self.p) >= 0) & (np.asarray(self.p) <= 1)):
            faults.append("p: got numbers outside 0 to 1, expected probabilities")
        return faults


def _random_units(key: Key[Array, ""], panel: Panel, assignment: Any) -> Any:
    lots = draw_lots(key, panel, assignment.level)
    size = assignment.share if assignment.n_treated is None else assignment.n_treated
    return lots.among_first(number_of(size, lots.count))


def _faults_of_number(assignment: Any, panel: Panel) -> list[str]:
    faults = faults_of_level(panel, assignment.level)
    n_treated, share = assignment.n_treated, assignment.share
    if (n_treated is None) == (share is None):
        both = "neither" if share is None else "both"
        return [*faults, f"n_treated, share: got {both}, expected one of them"]
    count = None if faults else group_count(panel, assignment.level)
    what = "units" if assignment.level is None else f"groups of {assignment.level!r}"
    if n_treated is not None:
        most = "" if count is None else f", fewer than the {count} {what}"
        if not _is_whole(n_treated) or n_treated < 1 or (count is not None and n_treated >= count):
            faults.append(f"n_treated: got {shown(n_treated)}, expected at least 1{most}")
    elif is_number(share) and not 0 < share < 1:
        faults.append(f"share: got {share}, expected a share between 0 and 1")
    elif is_number(share) and count is not None and not 0 < round(share * count) < count:
        treated = round(share * count)
        faults.append(f"share: {share} of {count} {what} makes {treated} treated, expected some "
                      "treated and some not")  # fmt: skip
    return faults


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
