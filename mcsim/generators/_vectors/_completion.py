"""Scores of cells of which only an interval is known: drawn from the normal law given the others.

Cells at a mass point, levels of integers and categories, and missing cells: Gibbs sweeps over the
coordinates, as in Hoff (2007), Annals of Applied Statistics 1: 265-283.
"""

import numpy as np
from jaxtyping import Float
from scipy.special import log_ndtr, ndtri_exp

from mcsim.generators._vectors._covariance import Square

SWEEPS = 5


def complete(
    rng: np.random.Generator,
    scores: Float[np.ndarray, "unit coordinate"],
    low: Float[np.ndarray, "unit coordinate"],
    high: Float[np.ndarray, "unit coordinate"],
    covariance: Square,
) -> Float[np.ndarray, "unit coordinate"]:
    """Redraw the scores inside their intervals; those known exactly stay as they are."""
    precision, scores = np.linalg.inv(covariance), scores.copy()
    open_cells = [np.flatnonzero(low[:, j] < high[:, j]) for j in range(scores.shape[1])]
    for _ in range(SWEEPS):
        for j, units in enumerate(open_cells):
            if not len(units):
                continue
            pull = scores[units] @ precision[:, j] - scores[units, j] * precision[j, j]
            mean, sd = -pull / precision[j, j], precision[j, j] ** -0.5
            scores[units, j] = mean + sd * truncated_normal(
                rng, (low[units, j] - mean) / sd, (high[units, j] - mean) / sd
            )
    return scores


def truncated_normal(rng: np.random.Generator, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Draw standard normals between bounds, by inversion on the side of the nearer tail."""
    flip = low > 0
    low, high = np.where(flip, -high, low), np.where(flip, -low, high)
    below, above = log_ndtr(low), log_ndtr(high)
    share = rng.uniform(size=low.shape)
    # log(F(low) + share (F(high) - F(low))), without leaving logarithms
    with np.errstate(divide="ignore"):
        drawn = ndtri_exp(above + np.log(share + (1 - share) * np.exp(below - above)))
    drawn = np.clip(drawn, low, high)
    return np.where(flip, -drawn, drawn)
