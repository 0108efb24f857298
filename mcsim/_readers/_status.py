"""The status of an estimate: what its estimator said, unless its numbers say otherwise."""

from typing import Any

import numpy as np
from numpy import ndarray

from mcsim._core import WITH_RESULT, Estimate, Status


def settled(estimate: Estimate) -> ndarray:
    """Return the status of estimates, elementwise.

    A failure stays one. Otherwise a value, a p-value or an interval is a result. A value whose
    standard error is not a number above zero, and that has no p-value or interval of its own, is
    ``NO_SE``. An estimator that gives no standard error at all (NaN) has none that could fail.

    Parameters
    ----------
    estimate : Estimate
        Numbers, or arrays of one shape.

    Examples
    --------
    >>> cases = [Estimate(1.0, 0.2), Estimate(1.0, 0.0), Estimate(np.nan), Estimate(np.nan, lower=0,
    ...          upper=1), Estimate(1.0)]
    >>> [Status(int(settled(case))).label for case in cases]
    ['ok', 'no_se', 'nan', 'ok', 'ok']
    """
    told = np.asarray(estimate.status)
    known = np.isin(told, [int(status) for status in Status])
    status = np.where(known, told, int(Status.ERROR)).astype(int)
    value, own = np.isfinite(_floats(estimate.value)), has_own_inference(estimate)
    lacking = value & ~own & ~np.isnan(_floats(estimate.se)) & ~has_se(estimate)
    fine = np.where(lacking, int(Status.NO_SE), status)
    fine = np.where(value, fine, np.where(own, int(Status.OK), int(Status.NAN)))
    return np.where(np.isin(status, WITH_RESULT), fine, status)


def has_se(estimate: Estimate) -> ndarray:
    """Whether the standard error is a finite number above zero, elementwise."""
    se = _floats(estimate.se)
    return np.asarray(np.isfinite(se) & (se > 0))


def has_own_inference(estimate: Estimate) -> ndarray:
    """Whether there is a p-value or an interval of the estimator's own, elementwise."""
    given = [~np.isnan(_floats(part)) for part in (estimate.lower, estimate.upper)]
    return np.asarray(np.isfinite(_floats(estimate.p_value)) | (given[0] & given[1]))


def _floats(part: Any) -> ndarray:
    return np.asarray(part, dtype=float)
