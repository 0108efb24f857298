"""The cohorts and periods that a panel can have, known from the number of its periods.

Which there are is decided by the data; here shapes are laid down that fit every replication.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from mcsim._calendar import Calendar
from mcsim.errors import InputError


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
