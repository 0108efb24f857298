"""Wald intervals and p-values: value -+ t(df) se, normal where df is infinite or missing."""

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray
from scipy.special import ndtr, ndtri, stdtr, stdtrit


def critical_values(df: Float[ndarray, " row"], level: float) -> Float[ndarray, " row"]:
    """Return the two-sided critical value of each row.

    Parameters
    ----------
    df : array (row,)
        Degrees of freedom; infinite or NaN for the normal, 0 or less gives NaN.
    level : float
        Confidence level.

    Examples
    --------
    >>> import numpy as np
    >>> critical_values(np.array([np.inf, 10.0]), 0.95).round(3).tolist()
    [1.96, 2.228]
    """
    tail = (1 + level) / 2
    critical = np.full(len(df), ndtri(tail))
    student = np.isfinite(df)
    critical[student] = np.where(df[student] > 0, stdtrit(df[student], tail), np.nan)
    return critical


def complete_intervals(rows: pd.DataFrame, level: float, null: float) -> pd.DataFrame:
    """Return rows with the limits and p-values that estimators leave to mcsim.

    Parameters
    ----------
    rows : pandas.DataFrame
        With the columns value, se, lower, upper, df, p_value.
    level, null : float
        Confidence level, and the value that the p-value is of.

    Returns
    -------
    pandas.DataFrame
        The same rows; an estimator's own limits and p-values stay. Own limits without a p-value get
        none: the test is then whether the null lies inside them.
    """
    value, se, df = (rows[name].to_numpy(dtype=float) for name in ("value", "se", "df"))
    lower, upper = (rows[name].to_numpy(dtype=float) for name in ("lower", "upper"))
    p_value = rows["p_value"].to_numpy(dtype=float)
    half = critical_values(df, level) * se
    bare = np.isnan(lower) & np.isnan(upper)
    tail = 2 * _lower_tail(-np.abs(value - null) / se, df)
    return rows.assign(
        lower=np.where(bare, value - half, lower),
        upper=np.where(bare, value + half, upper),
        p_value=np.where(np.isnan(p_value) & bare, tail, p_value),
    )


def _lower_tail(
    statistic: Float[ndarray, " row"], df: Float[ndarray, " row"]
) -> Float[ndarray, " row"]:
    """Return P(T < statistic), normal where df is infinite or missing."""
    tail = ndtr(statistic)
    student = np.isfinite(df)
    tail[student] = np.where(df[student] > 0, stdtr(df[student], statistic[student]), np.nan)
    return tail
