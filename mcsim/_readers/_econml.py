"""Results of econml: what ``est.ate_inference(X)`` returns; causal forests by ``ate_``."""

from typing import Any

import numpy as np

from mcsim._readers._coefficients import Coefficients, numbers
from mcsim.errors import ContractError

_REMEDY = "return est.ate_inference(X), or effect_inference(X).population_summary()"


def coefficients(result: Any) -> Coefficients:
    """Read an inference of one effect, or of one effect for each treatment.

    A causal forest that was fitted with ``drate=True`` is read by its doubly robust ``ate_`` and
    ``ate_stderr_``, whose standard error is far below that of ``ate_inference``.
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
        raise ContractError(f"the estimator returned {type(result).__name__} of econml; {_REMEDY}")
    names = _names(result, np.size(value))
    lower, upper = (numbers(limit).ravel() for limit in limits)
    value, se, p_value = (numbers(found).ravel() for found in (value, se, p_value))
    return Coefficients(names, value, se, lower, upper, p_value)


def _forest(estimator: Any) -> Coefficients:
    try:
        value, se = numbers(estimator.ate_).ravel(), numbers(estimator.ate_stderr_).ravel()
    except AttributeError:
        raise ContractError(
            f"the estimator returned {type(estimator).__name__}, which holds a function of "
            f"effects and not one estimate; {_REMEDY}"
        ) from None
    none = np.full(len(value), np.nan)
    names = estimator.cate_treatment_names() or ["ate"]
    return Coefficients(names, value, se, none, none, none)


def _names(result: Any, size: int) -> list[str]:
    treatments = result.treatment_names
    if size == 1:
        return ["ate"]
    if treatments is None or len(treatments) != size:
        raise ContractError(
            f"the estimator returned the inference of {size} effects of econml; {_REMEDY}"
        )
    return list(treatments)
