"""Coefficients of statsmodels, linearmodels and pyfixest.

A reader takes a fitted result and returns `Coefficients`, or raises `ContractError` with what to
return instead. None of them imports its library.
"""

import math
from typing import Any

import numpy as np

from mcsim._readers.estimates import Coefficients, numbers
from mcsim.errors import ContractError

_MOVING = (
    1e-3  # distance to the limit of a coefficient's steps, in standard errors, that is tolerated
)
_RUNNING = 0.05  # change of a linear predictor by a Newton step; from a maximum it is 0
_EDGE = 1e-4  # distance of a mean from the end of its range, below which separation is checked

_DEFAULTS = {"RLM": (50, 1e-8), "QuantReg": (1000, 1e-6)}
"""Iterations and tolerance where the user gives no others; results do not hold them."""

_BINARY = ("Logit", "Probit", "Binomial")
_COUNTS = ("Poisson", "NegativeBinomial", "NegativeBinomialP", "GeneralizedPoisson")


def of_linearmodels(result: Any) -> Coefficients:
    """Read ``params, std_errors, conf_int(), pvalues`` of a result of linearmodels.

    The reference is t(df_resid) where the fit was debiased (panels), else normal (IV).
    """
    if hasattr(result, "fit"):
        raise ContractError(
            f"the estimator returned {type(result).__name__} before it was fitted; return .fit()"
        )
    if not hasattr(result, "std_errors") or np.ndim(result.params) != 1:
        raise ContractError(
            f"the estimator returned {type(result).__name__} of linearmodels, expected the result "
            "of one fitted model; return that, or an mcsim.Estimate"
        )
    limits = result.conf_int()
    return Coefficients(
        names=list(result.params.index),
        value=numbers(result.params),
        se=numbers(result.std_errors),
        lower=numbers(limits["lower"]),
        upper=numbers(limits["upper"]),
        p_value=numbers(result.pvalues),
        dfs=(float(getattr(result, "df_resid", math.inf)), math.inf),
    )


def of_pyfixest(result: Any) -> Coefficients:
    """Read the table that ``tidy()`` makes of a fit of pyfixest.

    The reference is t for least squares (G - 1 df under clusters), normal for the others.
    """
    if hasattr(result, "to_list"):
        raise ContractError(
            f"the estimator returned {type(result).__name__}, which is several fits; return one of "
            "its .to_list(), or a dict of them by label"
        )
    table = result.tidy() if hasattr(result, "tidy") else None
    if table is None or not {"Estimate", "Std. Error"} <= set(table.columns):
        raise ContractError(
            f"the estimator returned {type(result).__name__} of pyfixest, which has no table of "
            "coefficients; return a fit, or an mcsim.Estimate"
        )
    return Coefficients(
        names=list(table.index),
        value=numbers(table["Estimate"]),
        se=numbers(table["Std. Error"]),
        lower=numbers(table["2.5%"]),
        upper=numbers(table["97.5%"]),
        p_value=numbers(table["Pr(>|t|)"]),
        dfs=(float(getattr(result, "_df_t", math.inf)), math.inf),
        converged=bool(getattr(result, "convergence", True)),
    )


def of_statsmodels(result: Any) -> Coefficients:
    """Read ``params, bse, conf_int(), pvalues`` of a result of statsmodels, and its convergence.

    Intervals are t or z by ``use_t``, which robust and clustered covariances have to be asked for;
    t has G - 1 df under clusters.
    """
    kind, params = type(result).__name__, getattr(result, "params", None)
    if params is None and hasattr(result, "fit"):
        raise ContractError(f"the estimator returned {kind} before it was fitted; return .fit()")
    se = getattr(result, "bse", None)
    if params is None or se is None or np.ndim(params) != 1:
        raise ContractError(
            f"the estimator returned {kind}, which is not one vector of coefficients with standard "
            "errors; return an mcsim.Estimate made from it"
        )
    limits = np.asarray(result.conf_int())
    return Coefficients(
        names=_parameter_names(result.model, params),
        value=numbers(params),
        se=numbers(se),
        lower=limits[:, 0],
        upper=limits[:, 1],
        p_value=numbers(result.pvalues),
        dfs=_dfs(result),
        converged=_converged(result),
    )


def _parameter_names(model: Any, params: Any) -> list[str]:
    """Return the names of parameters, which may come as a plain array."""
    if hasattr(params, "index"):
        return list(params.index)
    names = getattr(model, "exog_names", None)
    return list(names if names and len(names) == len(params) else model.param_names)


def _dfs(result: Any) -> tuple[float, ...]:
    if not getattr(result, "use_t", False):
        return (math.inf,)
    found = (getattr(result, name, None) for name in ("df_resid_inference", "df_resid"))
    return tuple(float(df) for df in found if df is not None) or (math.inf,)


def _converged(result: Any) -> bool:
    """Return whether a fit of statsmodels converged: by its flags, and where a flag cannot say.

    Robust and quantile regressions (RLM, QuantReg) stop at their iteration limit with a warning and
    no flag. Under separation the flag of a binary or count model says yes: its likelihood rises
    without end, by less and less, while coefficients and standard errors run away.
    """
    flags = getattr(result, "mle_retvals", None) or {}
    flagged = bool(flags.get("converged", True)) and bool(getattr(result, "converged", True))
    return flagged and not _stopped(result) and not _separated(result)


def _stopped(result: Any) -> bool:
    """Return whether an iteration that has no flag ended before coefficients settled."""
    limit, tolerance = _DEFAULTS.get(type(result.model).__name__, (0, 0.0))
    history = getattr(result, "fit_history", None) or getattr(result, "history", None)
    if not limit or history is None or result.scale == 0:  # a perfect fit ends RLM at once
        return False
    criterion = history.get("deviance", history["params"])
    if len(criterion) < 2:
        return True
    last, before = (np.asarray(step, dtype=float) for step in (criterion[-1], criterion[-2]))
    if np.abs(last - before).max() <= tolerance:
        return False
    number = history.get("iteration", getattr(result, "iterations", 0))
    return number == limit or _still_to_go(history["params"], result.bse) > _MOVING


def _still_to_go(history: Any, se: Any) -> float:
    """Return the distance of coefficients to the limit of their steps, in standard errors.

    Steps of an iteration of this kind shrink by about the same factor each time.
    """
    points = [np.asarray(params, dtype=float) for params in history[-3:] if np.ndim(params)]
    steps = [float(np.abs(step / np.asarray(se)).max()) for step in np.diff(points, axis=0)]
    if len(steps) < 2 or steps[1] >= steps[0]:
        return np.inf
    return steps[1] ** 2 / (steps[0] - steps[1])


def _separated(result: Any) -> bool:
    """Return whether regressors predict some outcomes perfectly, so that no maximum exists.

    A Newton step from a maximum is nil. Under separation it moves the linear predictors of those
    outcomes by about one, wherever an optimizer gave up.
    """
    model = result.model
    kind = type(model.family if type(model).__name__ == "GLM" else model).__name__
    penalized = "trimmed" in (getattr(result, "mle_retvals", None) or {})
    if penalized or kind not in (*_BINARY, *_COUNTS) or getattr(model, "exog", None) is None:
        return False
    mean = np.asarray(result.predict(), dtype=float)
    edge = np.minimum(mean, 1 - mean).min() if kind in _BINARY else mean.min() / mean.mean()
    return bool(edge < _EDGE and _newton_step(result) > _RUNNING)


def _newton_step(result: Any) -> float:
    """Return how far a Newton step moves a linear predictor; infinite where it is not defined."""
    model, params = result.model, np.asarray(result.params, dtype=float)
    options = {"scale": 1.0} if type(model).__name__ == "GLM" else {}
    step = np.asarray(result.normalized_cov_params) @ np.asarray(model.score(params, **options))
    moved = np.abs(model.exog @ step[: model.exog.shape[1]]).max()
    return float(moved) if np.isfinite(moved) else np.inf
