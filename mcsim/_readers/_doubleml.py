"""Results of DoubleML: normal; over several repetitions, its own aggregated limits."""

from typing import Any

import numpy as np

from mcsim._readers._coefficients import Coefficients, numbers
from mcsim.errors import ContractError


def coefficients(result: Any) -> Coefficients:
    """Read ``summary``, the table of a fitted model or of a contrast of its framework."""
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
