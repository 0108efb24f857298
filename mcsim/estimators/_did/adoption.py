"""Adoption of a treatment: first treated periods of units, and cells of cohorts and periods.

A cohort is the position of the first treated period, of which there are as many as periods; a unit
that never adopts has the position after the last. Shapes follow from the number of periods alone
and so fit every replication; the data decide which cohorts there are. A fault of the data is data
too: a status.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from mcsim._core.checks import is_whole, plain
from mcsim._core.records import Calendar, Panel
from mcsim.errors import InputError, TooFewPeriods
from mcsim.estimators._expression import Name
from mcsim.estimators._formula import RegressionFormula, TreatmentFormula
from mcsim.estimators._linear_model.data import Regression, read_regression
from mcsim.estimators._native import worst

BOTH = ("unit", "time")

LEFT_OUT = "treated cells that no average holds (always treated, or nothing to compare with)"


class Adoption(NamedTuple):
    """A panel of units that adopt a treatment for good.

    Attributes
    ----------
    data : Regression
        Outcome, treatment (regressor 0) and covariates (the others), where they are observed.
    start : array of int (unit,)
        Position of the first treated period; the number of periods for a unit never treated.
    status : int array ()
        ``OK``, ``NAN``, or ``INVALID_INPUT``: treatment is not 0/1, ends again, or no unit starts
        it after the first period.
    """

    data: Regression
    start: Int[Array, " unit"]
    status: Int[Array, ""]

    @property
    def treated(self) -> Bool[Array, "unit period"]:
        """Whether a cell is treated, observed or not."""
        return jnp.arange(self.data.shape[1]) >= self.start[:, None]

    @property
    def event(self) -> Int[Array, "unit period"]:
        """Periods of the calendar since a unit's first treated one, 0 in it, negative before.

        They are not defined for a unit that is never treated.
        """
        calendar = self.data.calendar
        if calendar.consecutive:
            return jnp.arange(self.data.shape[1]) - self.start[:, None]
        places = jnp.asarray(calendar.places)
        return places - jnp.append(places, places[-1] + 1)[self.start][:, None]

    @property
    def dated(self) -> Bool[Array, " unit"]:
        """Mask of units with a known start: the cell before its first treated one is observed."""
        periods = jnp.arange(self.data.shape[1])
        before = self.data.observed * (periods == self.start[:, None] - 1)
        switched = (self.start > 0) & (self.start < len(periods))
        return ~switched | (before > 0).any(axis=1)


def as_regression(formula: TreatmentFormula) -> RegressionFormula:
    """Return the two-way regression of the outcome on treatment and covariates, in this order."""
    regressors = ((Name(formula.treatment),), *formula.covariates)
    return RegressionFormula(
        text=formula.text,
        outcome=formula.outcome,
        names=tuple(str(position) for position in range(len(regressors))),
        regressors=regressors,
        effects=BOTH,
    )


def read_treatment(
    formula: TreatmentFormula, panel: Panel, *, balanced: bool = False
) -> Regression:
    """Read outcome, treatment and covariates; the treatment must be 0/1 and 1 somewhere.

    Raises
    ------
    InputError
        If the panel has one period, or gaps where a method needs balance: known when the program
        is traced.
    """
    if panel.n_periods < 2:
        raise TooFewPeriods(
            f"panel: got {panel.n_periods} period, expected at least 2, one before treatment; a "
            "cross-section is for difference_in_means and its like"
        )
    if balanced and panel.mask is not None:
        raise InputError(
            "panel: got an unbalanced panel (it has a mask), expected every unit in every period; "
            "drop the units or periods with gaps from the frame, or take imputation or did"
        )
    data = read_regression(as_regression(formula), panel)
    d = data.x[0]
    binary = ((d == 0) | (d == 1)).all()
    return data._replace(status=worst(data.status, ~(binary & (d == 1).any()), False))


def read_adoption(formula: TreatmentFormula, panel: Panel, *, balanced: bool = False) -> Adoption:
    """Read the units' first treated periods off a panel whose treatment is absorbing."""
    data = read_treatment(formula, panel, balanced=balanced)
    on = data.x[0] == 1
    n_periods = on.shape[1]
    start = jnp.where(on.any(axis=1), jnp.argmax(on, axis=1), n_periods).astype(jnp.int32)
    adoption = Adoption(data, start, data.status)
    lasting = (on == (adoption.treated & (data.observed > 0))).all()
    late = ((start > 0) & (start < n_periods)).any()
    return adoption._replace(status=worst(data.status, ~(lasting & late), False))


class CohortPeriods(NamedTuple):
    """Cells that a panel of these periods can have, each a cohort in a period.

    Attributes
    ----------
    cohort, period, base : array of int (cell,)
        Positions of the first treated period, of the period, and of the one it is compared with.
    event : array of int (cell,)
        Periods of the calendar since treatment started; negative before.
    """

    cohort: Int[np.ndarray, " cell"]
    period: Int[np.ndarray, " cell"]
    base: Int[np.ndarray, " cell"]
    event: Int[np.ndarray, " cell"]


def cells_of(calendar: Calendar, base: str) -> CohortPeriods:
    """List the cells with a period to compare with.

    Examples
    --------
    >>> calendar = Calendar((0, 1, 2))
    >>> cells_of(calendar, "varying").event.tolist(), cells_of(calendar, "universal").event.tolist()
    ([0, 1, -1, 0], [0, 1, -2, 0])
    """
    n_periods, places = len(calendar.places), np.asarray(calendar.places)
    cohort, period = (a.ravel() for a in np.mgrid[1:n_periods, 0:n_periods])
    before = np.where((period >= cohort) | (base == "universal"), cohort - 1, period - 1)
    cells = CohortPeriods(cohort, period, before, places[period] - places[cohort])
    return keep(cells, (before >= 0) & (before != period))


def keep(cells: CohortPeriods, chosen: Bool[np.ndarray, " cell"]) -> CohortPeriods:
    """Return the chosen cells."""
    return CohortPeriods(*(positions[chosen] for positions in cells))


def at_horizons(cells: CohortPeriods, horizons: tuple[int, ...]) -> CohortPeriods:
    """Return the cells of these event times.

    Raises
    ------
    InputError
        If the panel is too short for one of them.
    """
    known = np.unique(cells.event)
    unknown = sorted(set(horizons).difference(known.tolist()))
    if unknown:
        raise InputError(
            f"horizons: got {unknown}, expected some of {known.tolist()}, which a panel of "
            f"{cells.cohort.max() + 1} periods can have"
        )
    return keep(cells, np.isin(cells.event, horizons))


def event_times(argument: Any) -> tuple[Any, ...]:
    """Return one event time or several, of any kind of sequence, as a tuple."""
    return tuple(plain(time) for time in np.ravel(np.asarray(argument, dtype=object)))


def faults_of_cluster(cluster: Any, method: str) -> list[str]:
    """Return the faults of the clusters of a method that has clusters of units alone."""
    if isinstance(cluster, str) and cluster != "time":
        return []
    return [
        f"cluster: got {cluster!r}, expected 'unit' or one column of groups of units, the clusters "
        f"that {method} has; did and event_study have others"
    ]


def faults_of_horizons(horizons: tuple[Any, ...], *, negative: bool) -> list[str]:
    """Return the faults of event times; times before treatment are allowed if ``negative``."""
    wrong = [h for h in horizons if not is_whole(h) or (h < 0 and not negative)]
    if wrong:
        got = ", ".join(map(repr, wrong))
        least = "" if negative else " of at least 0"
        return [f"horizons: got {got}, expected event times{least}, whole numbers such as [0, 1]"]
    if len(set(horizons)) < len(horizons):
        return [f"horizons: got {horizons}, expected each once"]
    if negative and not any(h >= 0 for h in horizons):
        return [f"horizons: got {horizons}, expected at least one of 0 or more among them"]
    return []
