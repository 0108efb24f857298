"""Coefficients as libraries print them, and the labels and statuses of host estimates.

A label is an estimand, or a pair (estimand, inference). A status is the estimator's own, unless the
numbers of the estimate contradict it.

The reference distribution of a library is found from its own interval: the first of the candidates
under which value -+ t(df) se gives the printed limits and p-value. Where none does (a bootstrap, a
median over repetitions), the limits and the p-value of the library are kept. A standard error that
could not be computed (the Hessian has no inverse) is missing, and the estimate is no failure.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy
from jaxtyping import Float
from numpy import ndarray

from mcsim._core.records import WITH_RESULT, Estimate, Status
from mcsim.errors import ContractError, did_you_mean

_SAME = 1e-6  # relative to the half width: far below t(1e5) against normal


UNNAMED = ""
"""The estimand of an estimate without a label, until a study fills it in."""

DEFAULT_ESTIMAND = "estimate"
"""The estimand of an estimate without a label, in a study whose DGP has none or several."""

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
    """Return estimates by full label, or raise for two of one label."""
    if not estimates:
        raise ContractError("it returned an empty dict, expected an estimate")
    labeled = {full_label(label): estimate for label, estimate in estimates.items()}
    if len(labeled) < len(estimates):
        raise ContractError(f"it returned two estimates of one label: {list(estimates)}")
    return labeled


def settled(estimate: Estimate) -> ndarray:
    """Return the status of estimates, elementwise.

    A failure stays a failure. Otherwise a value, a p-value or an interval is a result. A value with
    a standard error that is not a number above zero, and without a p-value or interval of its own,
    is ``NO_SE``. An estimator that gives no standard error at all (NaN) has none that could fail.

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
    """Return whether an estimate has a p-value or an interval of its own, elementwise."""
    given = [~np.isnan(_floats(part)) for part in (estimate.lower, estimate.upper)]
    return np.asarray(np.isfinite(_floats(estimate.p_value)) | (given[0] & given[1]))


def _floats(part: Any) -> ndarray:
    return np.asarray(part, dtype=float)


class Coefficients(NamedTuple):
    """The coefficients of a fit, with the inference that its library prints.

    Attributes
    ----------
    names : sequence of str
        The terms.
    value, se, lower, upper, p_value : array (term,)
        NaN where the library has none.
    dfs : tuple of float
        Degrees of freedom that the library may have used, the likeliest first; inf is the normal.
    level : float
        Confidence level of the limits.
    converged : bool
        Whether the fit converged.
    first_is_main : bool
        Whether the first coefficient is taken where no term is named.
    """

    names: Sequence[str]
    value: Float[ndarray, " term"]
    se: Float[ndarray, " term"]
    lower: Float[ndarray, " term"]
    upper: Float[ndarray, " term"]
    p_value: Float[ndarray, " term"]
    dfs: tuple[float, ...] = (math.inf,)
    level: float = 0.95
    converged: bool = True
    first_is_main: bool = False

    def estimate(self, term: str | None) -> Estimate:
        """Return the estimate of a term; without one, of the only or main coefficient."""
        at = self._position(term)
        printed = Estimate(
            *(float(n[at]) for n in (self.value, self.se, self.lower, self.upper)),
            df=self.dfs[0],
            p_value=float(self.p_value[at]),
            status=Status.OK if self.converged else Status.NONCONVERGED,
        )
        return _with_distribution(printed, self.dfs, self.level)

    def _position(self, term: str | None) -> int:
        names = [str(name) for name in self.names]
        if term is None:
            if len(names) == 1 or self.first_is_main:
                return 0
            raise ContractError(f"term: the result has {names}; name one with @host(term=...)")
        if term not in names:
            raise ContractError(f"term: the result has no {term!r}{did_you_mean(term, names)}")
        return names.index(term)


def numbers(values: Any) -> Float[ndarray, " term"]:
    """Return numbers, Series or None as a float vector."""
    return np.atleast_1d(np.asarray(np.nan if values is None else values, dtype=float))


def _with_distribution(printed: Estimate, dfs: tuple[float, ...], level: float) -> Estimate:
    """Replace limits and p-value by the degrees of freedom that give them, if there are any."""
    value, se, lower, upper, _, p_value, status = printed
    bare = printed._replace(lower=math.nan, upper=math.nan, p_value=math.nan)
    if not has_se(printed):
        if math.isnan(se) and has_own_inference(printed):
            return printed
        return bare._replace(status=Status.NO_SE if status == Status.OK else status)
    if math.isnan(lower) or math.isnan(upper):
        return bare
    for df in dfs:
        half = _critical_value(df, level) * se
        limits_agree = max(abs(value - half - lower), abs(value + half - upper)) <= _SAME * half
        p_agrees = math.isnan(p_value) or abs(_p_value(value / se, df) - p_value) <= _SAME
        if limits_agree and p_agrees:
            return bare._replace(df=df)
    return printed


def _critical_value(df: float, level: float) -> float:
    tail = (1 + level) / 2
    special = scipy.special
    return float(special.ndtri(tail) if math.isinf(df) else special.stdtrit(df, tail))


def _p_value(statistic: float, df: float) -> float:
    special, below = scipy.special, -abs(statistic)
    return float(2 * (special.ndtr(below) if math.isinf(df) else special.stdtr(df, below)))
