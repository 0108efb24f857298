"""Input of the measures: errors, intervals and rejections, derived row by row from the columns."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from mcsim.measures._columns import Columns
from mcsim.measures._intervals import critical_values


@dataclass(frozen=True)
class Replications:
    """Replications of one group. Arrays share one length; NaN is missing, or a failure."""

    error: Float[ndarray, " rep"]
    """value - truth; NaN without a truth."""
    spread: Float[ndarray, " rep"]
    """value - target: the deviation from the truth, or the value where no truth is known."""
    target: Float[ndarray, " rep"]
    """The truth, or 0 where none is known."""
    truth: Float[ndarray, " rep"]
    truth_mcse: Float[ndarray, " rep"]
    """Monte Carlo standard error of the truth; 0 where it is exact."""
    se: Float[ndarray, " rep"]
    lower: Float[ndarray, " rep"]
    upper: Float[ndarray, " rep"]
    rejected: Float[ndarray, " rep"]
    """1 if the test rejects, 0 if not."""
    reference: Float[ndarray, " rep"]
    """`spread` of the reference method in the same replication."""
    failed: Bool[ndarray, " rep"]

    def complete(self, *names: str) -> tuple[Float[ndarray, " kept"], ...]:
        """Return the named arrays on the replications where none of them is missing."""
        arrays = [getattr(self, name) for name in names]
        kept = ~np.isnan(arrays[0])
        for array in arrays[1:]:
            kept &= ~np.isnan(array)
        return tuple(array[kept] for array in arrays)


def replications(columns: Columns, level: float, reference: Float[ndarray, " row"]) -> Replications:
    """Derive errors, intervals and rejections, row by row."""
    # A test or an interval may have no value: it counts in measures of tests and intervals alone.
    missing = columns.failed | np.isnan(columns.value)
    value = np.where(missing, np.nan, columns.value)
    target = np.where(np.isnan(columns.truth), 0.0, columns.truth)
    lower, upper = _intervals(columns, value, level)
    return Replications(
        error=value - columns.truth,
        spread=value - target,
        target=target,
        truth=columns.truth,
        truth_mcse=columns.truth_mcse,
        se=np.where(missing, np.nan, columns.se),
        lower=lower,
        upper=upper,
        rejected=_rejections(columns, lower, upper, level),
        reference=reference,
        failed=columns.failed,
    )


def _intervals(
    columns: Columns, value: Float[ndarray, " row"], level: float
) -> tuple[Float[ndarray, " row"], Float[ndarray, " row"]]:
    """Return limits where both are given, else value -+ critical value x se."""
    given = ~(np.isnan(columns.lower) | np.isnan(columns.upper))
    with np.errstate(invalid="ignore"):
        radius = critical_values(columns.df, level) * columns.se
        lower = np.where(given, columns.lower, value - radius)
        upper = np.where(given, columns.upper, value + radius)
    lower[columns.failed] = np.nan
    upper[columns.failed] = np.nan
    return lower, upper


def _rejections(
    columns: Columns,
    lower: Float[ndarray, " row"],
    upper: Float[ndarray, " row"],
    level: float,
) -> Float[ndarray, " row"]:
    by_interval = np.where(
        np.isnan(lower) | np.isnan(columns.null),
        np.nan,
        (columns.null < lower) | (columns.null > upper),
    )
    # 1 - level is not exact in binary: 1 - 0.95 exceeds 0.05, and p = 0.05 must not reject
    by_p_value = columns.p_value < round(1 - level, 12)
    rejected = np.where(np.isnan(columns.p_value), by_interval, by_p_value)
    return np.where(columns.failed, np.nan, rejected)
