"""Unit and period effects by least squares, in NumPy: for what is computed once from a real panel.

Estimators have programs of their own for this, with gradients and batches, which DGPs do not see.
"""

import numpy as np
from jaxtyping import Bool, Float

Cells = Float[np.ndarray, "unit period"]
Chosen = Bool[np.ndarray, "unit period"]


def two_way_fit(values: Cells, chosen: Chosen) -> Cells:
    """Fit unit and period effects to the chosen cells, and predict all cells by them.

    Parameters
    ----------
    values : array (unit, period)
        What is fitted; other cells than the chosen ones may hold anything.
    chosen : array of bool (unit, period)
        The cells that count.

    Returns
    -------
    array (unit, period)
        NaN where unit and period do not meet in the chosen cells, directly or through others.

    Examples
    --------
    >>> values = np.array([[1.0, 2.0, 9.0], [4.0, 5.0, 6.0]])
    >>> two_way_fit(values, values < 9).round(12).tolist()
    [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    """
    if values.shape[1] > values.shape[0]:  # the shorter axis is the one whose equations are solved
        return two_way_fit(values.T, chosen.T).T
    weight = chosen.astype(float)
    share = weight / np.maximum(weight.sum(axis=1, keepdims=True), 1.0)
    mean = (share * np.where(chosen, values, 0.0)).sum(axis=1)
    within = np.where(chosen, values - mean[:, None], 0.0)
    normal = np.diag(weight.sum(axis=0)) - share.T @ weight
    of_period = np.linalg.lstsq(normal, within.sum(axis=0))[0]
    of_unit = mean - share @ of_period
    return np.where(_linked(chosen), of_unit[:, None] + of_period, np.nan)


def two_way_residual(values: Cells, chosen: Chosen) -> Cells:
    """Return deviations from unit and period effects in the chosen cells, and 0 in the others."""
    return np.where(chosen, values - two_way_fit(values, chosen), 0.0)


def _linked(chosen: Chosen) -> Chosen:
    """Whether unit and period meet in the chosen cells, directly or through others."""
    met = chosen.astype(float)
    linked = met.T @ met > 0
    for _ in range(max(len(linked) - 1, 1).bit_length()):
        linked = linked.astype(float) @ linked > 0
    return met @ linked > 0
