"""Results of statsmodels: t or z as ``use_t`` says, with G - 1 df for clusters."""

import math
from typing import Any

import numpy as np

from mcsim._readers._coefficients import Coefficients, numbers
from mcsim._readers._convergence import converged
from mcsim.errors import ContractError


def coefficients(result: Any) -> Coefficients:
    """Read ``params, bse, conf_int(), pvalues``, and whether the fit converged.

    Intervals are z for robust and clustered covariances, unless the fit was asked for ``use_t``.
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
        names=list(params.index) if hasattr(params, "index") else _names(result.model, len(params)),
        value=numbers(params),
        se=numbers(se),
        lower=limits[:, 0],
        upper=limits[:, 1],
        p_value=numbers(result.pvalues),
        dfs=_dfs(result),
        converged=converged(result),
    )


def _names(model: Any, size: int) -> list[str]:
    """Return the names of parameters that come as a plain array."""
    names = getattr(model, "exog_names", None)
    return list(names if names and len(names) == size else model.param_names)


def _dfs(result: Any) -> tuple[float, ...]:
    if not getattr(result, "use_t", False):
        return (math.inf,)
    found = (getattr(result, name, None) for name in ("df_resid_inference", "df_resid"))
    return tuple(float(df) for df in found if df is not None) or (math.inf,)
