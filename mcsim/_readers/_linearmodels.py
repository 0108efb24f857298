"""Results of linearmodels: t(df_resid) where the fit was debiased (panels), else normal (IV)."""

import math
from typing import Any

import numpy as np

from mcsim._readers._coefficients import Coefficients, numbers
from mcsim.errors import ContractError


def coefficients(result: Any) -> Coefficients:
    """Read ``params, std_errors, conf_int(), pvalues``."""
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
