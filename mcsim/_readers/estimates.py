"""Labels and statuses of estimates, whatever estimator they come from.

A label is an estimand, or a pair (estimand, inference). A status is the estimator's own, unless the
numbers of the estimate contradict it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy import ndarray

from mcsim._core.records import WITH_RESULT, Estimate, Status
from mcsim.errors import ContractError

UNNAMED = ""
"""The estimand of an estimate without a label; the study fills it in."""

UNTOLD = "estimate"
"""The estimand of such an estimate in the results of a study that has not exactly one."""

FullLabel = tuple[str, str]
"""(estimand, inference), either of them possibly empty."""


def full_label(label: Any) -> FullLabel:
    """Return a label as (estimand, inference).

    Raises
    ------
    ContractError
        If it is neither a string nor a pair of strings.

    Examples
    --------
    >>> full_label("att"), full_label(("att", "HC1"))
    (('att', ''), ('att', 'HC1'))
    """
    if isinstance(label, str):
        return label, ""
    if isinstance(label, tuple) and len(label) == 2 and all(isinstance(p, str) for p in label):
        return label
    raise ContractError(
        f"the label {label!r} is neither an estimand (a string) nor a pair (estimand, inference)"
    )


def label_all(estimates: Mapping[Any, Any]) -> dict[FullLabel, Any]:
    """Return estimates by full label; two of one label are an error."""
    if not estimates:
        raise ContractError("it returned an empty dict, expected an estimate")
    labeled = {full_label(label): estimate for label, estimate in estimates.items()}
    if len(labeled) < len(estimates):
        raise ContractError(f"it returned two estimates of one label: {list(estimates)}")
    return labeled


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
    given = np.asarray(estimate.status)
    known = np.isin(given, [int(status) for status in Status])
    status = np.where(known, given, int(Status.ERROR)).astype(int)
    value, own = np.isfinite(_floats(estimate.value)), has_own_inference(estimate)
    lacking = value & ~own & ~np.isnan(_floats(estimate.se)) & ~has_se(estimate)
    fine = np.where(lacking, int(Status.NO_SE), status)
    fine = np.where(value, fine, np.where(own, int(Status.OK), int(Status.NAN)))
    return np.where(np.isin(status, WITH_RESULT), fine, status)


def has_se(estimate: Estimate) -> ndarray:
    """Return whether the standard error is a finite number above zero, elementwise."""
    se = _floats(estimate.se)
    return np.asarray(np.isfinite(se) & (se > 0))


def has_own_inference(estimate: Estimate) -> ndarray:
    """Return whether there is a p-value or an interval of the estimator's own, elementwise."""
    given = [~np.isnan(_floats(part)) for part in (estimate.lower, estimate.upper)]
    return np.asarray(np.isfinite(_floats(estimate.p_value)) | (given[0] & given[1]))


def _floats(part: Any) -> ndarray:
    return np.asarray(part, dtype=float)
