"""Assignment by cohorts: units that adopt in different periods, each for good."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from mcsim._core.calls import with_remedies
from mcsim._core.checks import is_number, is_whole
from mcsim._core.pytree import pytree
from mcsim._core.records import Panel
from mcsim.dgps._fields import faults_of_flags
from mcsim.dgps._random import (
    adoption_positions,
    cluster_count,
    draw_order,
    faults_of_cluster,
    faults_of_start,
    number_of,
)
from mcsim.errors import InputError, raise_all


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
