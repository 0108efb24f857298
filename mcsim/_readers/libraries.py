"""Readers of fitted results, library by library: coefficients with the inference that is printed.

A reader takes a fitted result and returns `Coefficients`, or raises `ContractError` with a remedy.
None of them imports its library. First the regressions of statsmodels, linearmodels and pyfixest,
then the causal effects of diff-diff, DoubleML and econml.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from mcsim._readers.coefficients import Coefficients, numbers
from mcsim.errors import ContractError

_TABLES = {
    "event_study_effects": "event",
    "period_effects": "period",
    "group_time_effects": "att",
}
"""Attributes that hold several effects, and the word that begins their terms."""

_OF_ECONML = "return est.ate_inference(X), or effect_inference(X).population_summary()"

_MOVING = 1e-3  # tolerated distance of coefficients to the limit of their steps, in standard errors
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

    Intervals are t or z by ``use_t``, which users have to set for robust and clustered covariances;
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
    """Return whether a fit of statsmodels converged: by its flags, and by checks beyond them.

    Robust and quantile regressions (RLM, QuantReg) stop at their iteration limit with a warning and
    no flag. Under separation the flag of a binary or count model is True: its likelihood rises
    without end, by less and less, while coefficients and standard errors diverge.
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
    """Return the largest change of a linear predictor by a Newton step; infinite if undefined."""
    model, params = result.model, np.asarray(result.params, dtype=float)
    options = {"scale": 1.0} if type(model).__name__ == "GLM" else {}
    step = np.asarray(result.normalized_cov_params) @ np.asarray(model.score(params, **options))
    moved = np.abs(model.exog @ step[: model.exog.shape[1]]).max()
    return float(moved) if np.isfinite(moved) else np.inf


def of_diff_diff(result: Any) -> Coefficients:
    """Read ``att, se, conf_int, p_value`` of diff-diff, the term ``"att"``, and tables of effects.

    Terms of effects are ``"event[2]"`` (two periods after the start), ``"period[5]"``, and
    ``"att[4, 6]"`` (units treated from period 4 on, in period 6).
    """
    if not hasattr(result, "att") and not hasattr(result, "overall_att"):
        raise ContractError(
            f"the estimator returned {type(result).__name__} of diff-diff, which has no att; "
            "return what fit() returns, or an mcsim.Estimate"
        )
    rows = [("att", *_overall(result)), *_effects(result)]
    names, *columns = zip(*rows, strict=True)
    value, se, p_value, lower, upper = (np.array(column, dtype=float) for column in columns)
    dfs = (getattr(result, name, None) for name in ("inference_df", "df_inference", "n_clusters"))
    inference, other, clusters = dfs
    known = [inference, other, None if clusters is None else clusters - 1, math.inf]
    return Coefficients(
        names=names,
        value=value,
        se=se,
        lower=lower,
        upper=upper,
        p_value=p_value,
        dfs=tuple(float(df) for df in known if df is not None),
        level=1 - getattr(result, "alpha", 0.05),
        first_is_main=True,
    )


def _overall(result: Any) -> tuple[Any, ...]:
    prefix = "" if hasattr(result, "att") else "overall_"
    parts = (getattr(result, prefix + name) for name in ("att", "se", "p_value", "conf_int"))
    value, se, p_value, limits = parts
    return (value, se, p_value, *limits)


def _effects(result: Any) -> Iterator[tuple[Any, ...]]:
    for attribute, word in _TABLES.items():
        for key, effect in (getattr(result, attribute, None) or {}).items():
            entry = effect if isinstance(effect, dict) else vars(effect)
            value = entry.get("effect", entry.get("att"))
            limits = numbers(entry.get("conf_int", (math.nan, math.nan)))
            inside = ", ".join(str(part) for part in np.atleast_1d(np.asarray(key)))
            p_value = entry.get("p_value", math.nan)
            yield f"{word}[{inside}]", value, entry.get("se", math.nan), p_value, *limits


def of_doubleml(result: Any) -> Coefficients:
    """Read ``summary`` of DoubleML, the table of a fitted model or of a contrast of its framework.

    The reference is normal; over several repetitions, the limits are the library's own.
    """
    if not _is_fitted(result):
        raise ContractError(
            f"the estimator returned {type(result).__name__} before it was fitted; return .fit()"
        )
    table, limits = result.summary, result.confint()
    return Coefficients(
        names=[str(name) for name in table.index],
        value=numbers(table["coef"]),
        se=numbers(table["std err"]),
        lower=numbers(limits.iloc[:, 0]),
        upper=numbers(limits.iloc[:, 1]),
        p_value=numbers(table["P>|t|"]),
    )


def _is_fitted(result: Any) -> bool:
    if not hasattr(result, "summary") or not hasattr(result, "confint"):
        return False
    found = getattr(result, "coef", getattr(result, "thetas", None))
    return found is not None and not np.isnan(numbers(found)).all()


def of_econml(result: Any) -> Coefficients:
    """Read ``est.ate_inference(X)`` of econml: one effect, or one for each treatment.

    A causal forest that was fitted with ``drate=True`` has a doubly robust ``ate_`` and
    ``ate_stderr_``, far below the standard error of ``ate_inference``: it is read by these.
    """
    if hasattr(result, "stderr_mean"):
        value, se = result.mean_point, result.stderr_mean
        limits, p_value = result.conf_int_mean(alpha=0.05), result.pvalue()
    elif hasattr(result, "point_estimate") and hasattr(result, "conf_int"):
        value, se = result.point_estimate, result.stderr
        limits, p_value = result.conf_int(alpha=0.05), result.pvalue()
    elif hasattr(result, "fit"):
        return _forest(result)
    else:
        raise ContractError(
            f"the estimator returned {type(result).__name__} of econml; {_OF_ECONML}"
        )
    names = _treatment_names(result, np.size(value))
    lower, upper = (numbers(limit).ravel() for limit in limits)
    value, se, p_value = (numbers(found).ravel() for found in (value, se, p_value))
    return Coefficients(names, value, se, lower, upper, p_value)


def _forest(estimator: Any) -> Coefficients:
    try:
        value, se = numbers(estimator.ate_).ravel(), numbers(estimator.ate_stderr_).ravel()
    except AttributeError:
        raise ContractError(
            f"the estimator returned {type(estimator).__name__}, which holds a function of "
            f"effects and not one estimate; {_OF_ECONML}"
        ) from None
    none = np.full(len(value), np.nan)
    names = estimator.cate_treatment_names() or ["ate"]
    return Coefficients(names, value, se, none, none, none)


def _treatment_names(result: Any, size: int) -> list[str]:
    treatments = result.treatment_names
    if size == 1:
        return ["ate"]
    if treatments is None or len(treatments) != size:
        raise ContractError(
            f"the estimator returned the inference of {size} effects of econml; {_OF_ECONML}"
        )
    return list(treatments)
