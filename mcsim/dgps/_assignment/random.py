"""Assignment at random: units treated for good, in cohorts or in random periods."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, Key

from mcsim._core.calls import with_remedies
from mcsim._core.checks import is_number, is_whole
from mcsim._core.pytree import pytree
from mcsim._core.records import Panel
from mcsim.dgps._fields import faults_of_flags, shown
from mcsim.dgps._random import (
    adoption_positions,
    cluster_count,
    draw_adoption,
    draw_order,
    faults_of_cluster,
    faults_of_start,
    number_of,
)
from mcsim.errors import InputError, raise_all


@pytree("share")
@with_remedies()
@dataclass(frozen=True, kw_only=True)
class at_random:
    """Treat a random set of units for good, from one period on.

    The placebo laws of Bertrand, Duflo & Mullainathan: a year is drawn, then half of the states.

    Parameters
    ----------
    start : int or (int, int)
        The first treated period, or the range from which it is drawn, ends included.
    n_treated : int, optional
        Number of treated units (clusters).
    share : float, optional
        Or their share of all.
    cluster : str, optional
        A column that is constant within units: treat clusters (states), not units.
    staggered : bool
        Whether each unit (cluster) draws its own adoption date, instead of one for all.

    Raises
    ------
    InputError
        When it is called (`with_effect`: on a real panel, when it is made): for not exactly one of
        ``n_treated`` and ``share``, a number that leaves none treated or none untreated, a start
        outside the periods.

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
    cluster: str | None = None
    staggered: bool = False

    def __call__(self, key: Key[Array, ""], panel: Panel) -> Float[Array, "unit period"]:
        """Draw the treated units and their periods."""
        raise_all(self.faults(panel))
        unit_key, period_key = jax.random.split(key)
        order = draw_order(unit_key, panel, self.cluster)
        treated = _treated(self, order)
        shape = (panel.n_units, 1) if self.staggered else ()
        start = draw_adoption(period_key, self.start, panel.n_periods, shape)
        if self.staggered:
            start = start[order.place]
        return treated[:, None] * (jnp.arange(panel.n_periods) >= start)

    def faults(self, panel: Panel) -> list[str]:
        """Return the faults of this assignment on a panel."""
        faults = [*_faults_of_number(self, panel), *faults_of_start(self.start, panel.n_periods)]
        return faults + faults_of_flags(self, ["staggered"])


@pytree("share")
@with_remedies()
@dataclass(frozen=True, kw_only=True)
class in_random_periods:
    """Treat a random set of units in random periods: laws that are passed and repealed.

    Parameters
    ----------
    n_treated_periods : int
        Number of periods in which the treatment is on, the same ones for all treated units.
    n_treated : int, optional
        Number of treated units (clusters).
    share : float, optional
        Or their share of all.
    cluster : str, optional
        A column that is constant within units: treat clusters (states), not units.

    Raises
    ------
    InputError
        When it is called (`with_effect`: on a real panel, when it is made): for not exactly one of
        ``n_treated`` and ``share``, a number that leaves none treated or none untreated, more
        periods than there are.

    References
    ----------
    Bertrand, Duflo & Mullainathan (2004), Quarterly Journal of Economics 119: 249-275, Table II.

    Examples
    --------
    >>> import jax
    >>> panel = Panel({"y": jnp.zeros((4, 3))})
    >>> float(in_random_periods(n_treated=2, n_treated_periods=2)(jax.random.key(0), panel).sum())
    4.0
    """

    n_treated_periods: int = 10
    n_treated: int | None = None
    share: float | None = None
    cluster: str | None = None

    def __call__(self, key: Key[Array, ""], panel: Panel) -> Float[Array, "unit period"]:
        """Draw the treated units and their periods."""
        raise_all(self.faults(panel))
        unit_key, period_key = jax.random.split(key)
        order = draw_order(unit_key, panel, self.cluster)
        treated = _treated(self, order)
        periods = Panel({"period": jnp.arange(panel.n_periods)})
        on = draw_order(period_key, periods).among_first(self.n_treated_periods)
        return treated[:, None] * on

    def faults(self, panel: Panel) -> list[str]:
        """Return the faults of this assignment on a panel."""
        faults, most = _faults_of_number(self, panel), panel.n_periods
        if not is_whole(self.n_treated_periods) or not 1 <= self.n_treated_periods <= most:
            came = shown(self.n_treated_periods)
            faults.append(f"n_treated_periods: got {came}, expected 1 to {most}, the periods")
        return faults


def _treated(assignment: Any, order: Any) -> Float[Array, " unit"]:
    """Return 1 for treated units; NaN if a factor of the design treats none or all."""
    size = assignment.share if assignment.n_treated is None else assignment.n_treated
    number = number_of(size, order.count)
    some = (number > 0) & (number < order.count)
    return jnp.where(some, order.among_first(number).astype(float), jnp.nan)


def _faults_of_number(assignment: Any, panel: Panel) -> list[str]:
    faults = faults_of_cluster(panel, assignment.cluster)
    n_treated, share = assignment.n_treated, assignment.share
    if (n_treated is None) == (share is None):
        both = "neither" if share is None else "both"
        return [*faults, f"n_treated, share: got {both}, expected one of them"]
    count = None if faults else cluster_count(panel, assignment.cluster)
    what = "units" if assignment.cluster is None else f"clusters of {assignment.cluster!r}"
    if n_treated is not None:
        most = "" if count is None else f", fewer than the {count} {what}"
        if not is_whole(n_treated) or n_treated < 1 or (count is not None and n_treated >= count):
            faults.append(f"n_treated: got {shown(n_treated)}, expected at least 1{most}")
    elif not isinstance(share, Tracer) and not (is_number(share) and 0 < share < 1):
        faults.append(f"share: got {shown(share)}, expected a share between 0 and 1")
    elif is_number(share) and count is not None and not 0 < round(share * count) < count:
        treated = round(share * count)
        faults.append(f"share: {share} of {count} {what} makes {treated} treated, expected some "
                      "treated and some not")  # fmt: skip
    return faults


@pytree()
@with_remedies()
@dataclass(frozen=True)
class by_cohort:
    """Treat cohorts of units that adopt in different periods, each for good: staggered adoption.

    Parameters
    ----------
    cohorts : dict of start to number or share
        A start is one period's position. Whole numbers count units, other numbers are shares of
        all units (rounded). Units in no cohort are never treated.
    shuffle : bool
        Draw the members of the cohorts anew in each sample; False: the first units are in the first
        cohort, and so on.
    cluster : str, optional
        A column that is constant within units: the members of cohorts are clusters (states).

    Raises
    ------
    InputError
        When it is called (`with_effect`: on a real panel, when it is made): for no cohorts, ranges
        of starts, starts outside the periods, sizes that the panel does not have.

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
    cluster: str | None = None

    def __post_init__(self):
        pairs = self.cohorts.items() if isinstance(self.cohorts, Mapping) else self.cohorts
        if not isinstance(pairs, Collection) or not all(isinstance(p, tuple) for p in pairs):
            raise InputError(
                f"cohorts: got {self.cohorts!r}, expected {{start: number or share of units}}"
            )
        object.__setattr__(self, "cohorts", tuple((start, size) for start, size in pairs))

    def __call__(self, key: Key[Array, ""], panel: Panel) -> Float[Array, "unit period"]:
        """Draw the members of the cohorts."""
        raise_all(self.faults(panel))
        order = draw_order(key, panel, self.cluster)
        if not self.shuffle:
            as_they_come = jnp.arange(panel.n_units, dtype=jnp.uint32)
            order = order._replace(of_unit=as_they_come, ascending=as_they_come)
        treated = jnp.zeros((panel.n_units, panel.n_periods))
        before, seen = 0, order.among_first(0)
        for start, size in self.cohorts:
            before = before + number_of(size, order.count)
            upto = order.among_first(before)
            first, _ = adoption_positions(start, panel.n_periods)
            on = jnp.arange(panel.n_periods) >= first
            treated = treated + ((upto & ~seen)[:, None] & on)
            seen = upto
        return treated

    def faults(self, panel: Panel) -> list[str]:
        """Return the faults of this assignment on a panel."""
        faults = faults_of_cluster(panel, self.cluster) + faults_of_flags(self, ["shuffle"])
        if self.cluster is not None and not self.shuffle:
            faults.append("cluster: got a column with shuffle=False, which counts units")
        if not self.cohorts:
            return [*faults, "cohorts: got none, expected {start: number or share of units}"]
        for start, size in self.cohorts:
            faults += [f"cohorts: {fault}" for fault in _faults_of_cohort(start, panel.n_periods)]
            if not is_number(size) or size <= 0 or (not is_whole(size) and size > 1):
                faults.append(f"cohorts: got {size!r} for start {start}, expected a number of "
                              "units from 1 or a share between 0 and 1")  # fmt: skip
        count = cluster_count(panel, self.cluster)
        if not faults and count is not None:
            sizes = [s if is_whole(s) else round(s * count) for _, s in self.cohorts]
            if sum(sizes) > count:
                faults.append(f"cohorts: their sizes {sizes} exceed the {count} there are")
            if not all(sizes):
                faults.append(f"cohorts: got sizes {sizes} of {count}, expected at least 1 each")
        return faults


def _faults_of_cohort(start: Any, n_periods: int) -> list[str]:
    """Return the faults of a cohort's start, which is one period: all its units share it."""
    if isinstance(start, (tuple, list)):
        return [f"start: got {start!r}, expected one period; write a cohort for each start"]
    return faults_of_start(start, n_periods)
