"""Coefficients of libraries for causal effects: diff-diff, DoubleML and econml.

A reader takes a fitted result and returns `Coefficients`, or raises `ContractError` with what to
return instead. None of them imports its library.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from mcsim._readers.estimates import Coefficients, numbers
from mcsim.errors import ContractError

_TABLES = {
    "event_study_effects": "event",
    "period_effects": "period",
    "group_time_effects": "att",
}
"""Attributes that hold several effects, and the word that begins their terms."""

_OF_ECONML = "return est.ate_inference(X), or effect_inference(X).population_summary()"


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
