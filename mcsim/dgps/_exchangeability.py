"""Variances of treated and untreated units before treatment: their ratio and its p-value.

Permuted paths stand for the data's own only where units are exchangeable. Variances are those of
changes from period to period, about the mean of each group in each period, so that neither levels
nor common trends enter.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from mcsim.dgps._own_effect import Cells, Chosen

_PERMUTATIONS = 499
_CELLS_AT_ONCE = 10**6
_SEED = 0  # the p-value of a panel is the same in every process


class VarianceRatio(NamedTuple):
    """The variance of changes of later treated units over that of never treated ones, and its p."""

    ratio: float
    p: float


def pre_period_variances(
    y: Cells, observed: Chosen, start: Int[np.ndarray, " unit"], *,
    number: Int[np.ndarray, " unit"], stratum: Int[np.ndarray, " unit"],
) -> VarianceRatio | None:  # fmt: skip
    """Compare the variances of treated and untreated units before treatment.

    Parameters
    ----------
    y : array (unit, period)
        Outcomes, from which the effect of treatment is removed: permutations read treated cells.
    observed : array of bool (unit, period)
        Which cells are observed.
    start : array of int (unit,)
        Position of the first treated period; the number of periods for the untreated.
    number, stratum : array of int (unit,)
        Numbers of the units or clusters that exchange their starts, and the strata within which.

    Returns
    -------
    VarianceRatio or None
        The p-value is that of a two-sided permutation test of the logarithm. None: in no period
        have two units of both kinds changes before treatment.
    """
    change = np.diff(y, axis=1)
    seen = observed[:, 1:] & observed[:, :-1]
    total = np.where(seen, change, 0.0).sum(axis=0)
    change = np.where(seen, change - total / np.maximum(seen.sum(axis=0), 1), 0.0)
    (found,) = _log_ratio(change, seen, start[None])
    if not np.isfinite(found):
        return None
    _, first = np.unique(number, return_index=True)
    rng, each = np.random.default_rng(_SEED), max(1, _CELLS_AT_ONCE // y.size)
    drawn = []
    for done in range(0, _PERMUTATIONS, each):
        count = min(each, _PERMUTATIONS - done)
        starts = _permute(rng, start[first], stratum[first], count)
        drawn.append(_log_ratio(change, seen, starts[:, number]))
    drawn = np.concatenate(drawn)
    as_far = np.abs(drawn[np.isfinite(drawn)]) >= abs(found) - 1e-9
    return VarianceRatio(float(np.exp(found)), float((1 + as_far.sum()) / (1 + len(as_far))))


def _permute(
    rng: np.random.Generator, values: np.ndarray, stratum: np.ndarray, count: int
) -> np.ndarray:
    """Return ``count`` permutations of the values within strata: (permutation, group)."""
    taker = np.argsort(stratum, kind="stable")
    ranks = rng.random((count, len(values)))
    giver = np.lexsort((ranks, np.broadcast_to(stratum, ranks.shape)), axis=-1)
    drawn = np.empty(ranks.shape, values.dtype)
    drawn[:, taker] = values[giver]
    return drawn


def _log_ratio(
    change: Float[np.ndarray, "unit change"],
    seen: Bool[np.ndarray, "unit change"],
    start: Int[np.ndarray, "permutation unit"],
) -> Float[np.ndarray, " permutation"]:
    """Return the log ratio of variances, pooled over periods with two units of both kinds."""
    last = seen.shape[1]
    never = (start > last)[..., None]
    before = start[..., None] > np.arange(1, last + 1)
    n_treated, treated = _spread(change, seen & before & ~never)
    n_never, untreated = _spread(change, seen & never)
    both = (n_treated > 1) & (n_never > 1)
    df = np.where(both, n_treated - 1, 0)
    expected = (df * untreated / np.maximum(n_never - 1, 1)).sum(axis=-1)
    total = np.where(both, treated, 0.0).sum(axis=-1)
    known = (total > 0) & (expected > 0)
    return np.log(np.where(known, total, np.nan) / np.where(known, expected, 1.0))


def _spread(change: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of chosen units in each period, and the sum of their squared deviations."""
    number = chosen.sum(axis=-2)
    total = np.einsum("...ut,ut->...t", chosen.astype(float), change)
    squares = np.einsum("...ut,ut->...t", chosen.astype(float), change**2)
    return number, squares - total**2 / np.maximum(number, 1)
