"""Results of pyfixest: t for least squares (G - 1 df under clusters), normal for the others."""

import math
from typing import Any

from mcsim._readers._coefficients import Coefficients, numbers
from mcsim.errors import ContractError


def coefficients(result: Any) -> Coefficients:
    """Read the table that ``tidy()`` makes."""
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
