"""The cohorts and periods that a panel can have, known from the number of its periods.

Which there are is decided by the data; here shapes are laid down that fit every replication.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from mcsim.errors import InputError


class CohortPeriods(NamedTuple):
    """Cells that a panel of so many periods can have, each a cohort in a period.

    Attributes
    ----------
    cohort, period, base : array of int (cell,)
        Positions of the first treated period, of the period, and of the one it is compared with.
    """

    cohort: Int[np.ndarray, " cell"]
    period: Int[np.ndarray, " cell"]
    base: Int[np.ndarray, " cell"]

    @property
    def event(self) -> Int[np.ndarray, " cell"]:
        """Periods since treatment started; negative before."""
        return self.period - self.cohort


def cells_of(n_periods: int, base: str) -> CohortPeriods:
    """List the cells with a period to compare with.

    Examples
    --------
    >>> cells_of(3, "varying").event.tolist(), cells_of(3, "universal").event.tolist()
    ([0, 1, -1, 0], [0, 1, -2, 0])
    """
    cohort, period = (a.ravel() for a in np.mgrid[1:n_periods, 0:n_periods])
    before = np.where((period >= cohort) | (base == "universal"), cohort - 1, period - 1)
    return keep(CohortPeriods(cohort, period, before), (before >= 0) & (before != period))


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
