"""Coefficients as a library prints them, and how one of them becomes an `Estimate`.

The reference distribution of a library is found from its own interval: the first of the candidates
under which value -+ t(df) se gives the printed limits and p-value. Where none does (a bootstrap, a
median over repetitions), the limits and the p-value of the library are kept. A standard error that
could not be computed (the Hessian has no inverse) is missing, and the estimate is no failure.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from mcsim._core.records import Estimate, Status
from mcsim._readers.estimates import has_own_inference, has_se
from mcsim.errors import ContractError, did_you_mean

_SAME = 1e-6  # relative to the half width: far below t(1e5) against normal


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
        Whether the first coefficient is the one to take where no term is named.
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
    """Replace limits and p-value by the degrees of freedom that give them, where some do."""
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
    return float(ndtri(tail) if math.isinf(df) else stdtrit(df, tail))


def _p_value(statistic: float, df: float) -> float:
    return float(2 * (ndtr(-abs(statistic)) if math.isinf(df) else stdtr(df, -abs(statistic))))
