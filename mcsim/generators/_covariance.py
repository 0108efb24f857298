"""The covariance of a unit's scores, shrunk to a stationary one rather than to the identity.

The target averages the correlations of two columns over all pairs of periods at the same lag: it
keeps how columns move together, within units and between them, which shrinking to the identity
destroys. The weight is the one under which left-out units are most likely.
"""

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_factor, cho_solve

from mcsim.generators._layout import Layout

WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0)
FOLDS = 5
FLOOR = 1e-3  # the least eigenvalue, as a share of the mean one

Square = Float[np.ndarray, "coordinate coordinate"]


def structured_covariance(scores: Float[np.ndarray, "unit coordinate"], layout: Layout) -> Square:
    """Estimate the covariance of scores with mean zero."""
    weight = _best_weight(scores, layout)
    return _blend(scores, layout, weight)


def stationary(sample: Square, layout: Layout) -> Square:
    """Average a covariance over the pairs of periods at each lag, and make it positive definite."""
    target, periods = np.array(sample), layout.periods
    lag = np.arange(periods)[:, None] - np.arange(periods)
    places = [layout.place(name) for name in layout.names]
    for row in places:
        for column in places:
            block = sample[row, column]
            if block.shape != lag.shape:
                target[row, column] = block.mean()
                continue
            sums = np.bincount((lag + periods).ravel(), block.ravel(), 2 * periods)
            counts = np.bincount((lag + periods).ravel(), minlength=2 * periods)
            target[row, column] = (sums / np.maximum(counts, 1))[lag + periods]
    return positive(target)


def positive(matrix: Square) -> Square:
    """Lift the eigenvalues to the floor, and keep the variances."""
    values, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
    lifted = (vectors * np.maximum(values, FLOOR * max(values.mean(), 1e-12))) @ vectors.T
    scale = np.sqrt(np.maximum(np.diag(matrix), 1e-12) / np.diag(lifted))
    return lifted * np.outer(scale, scale)


def square_root(matrix: Square) -> Square:
    """Return the symmetric root of a covariance matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def recoloring(source: Square, target: Square) -> Square:
    """Return the matrix that turns vectors with one covariance into vectors with the other.

    Of all such matrices it moves the vectors least: the optimal transport between two normals.
    """
    root = square_root(source)
    values, vectors = np.linalg.eigh(root)
    inverse = (vectors / np.maximum(values, 1e-6 * values.max())) @ vectors.T
    return inverse @ square_root(root @ target @ root) @ inverse


def _blend(scores: np.ndarray, layout: Layout, weight: float) -> Square:
    sample = scores.T @ scores / len(scores)
    return positive(weight * stationary(sample, layout) + (1 - weight) * sample)


def _best_weight(scores: np.ndarray, layout: Layout) -> float:
    units = len(scores)
    if layout.periods == 1 and units > 10 * layout.size:
        return 0.0
    fold = np.arange(units) % min(FOLDS, units)
    totals = np.zeros(len(WEIGHTS))
    for out in range(fold.max() + 1):
        inside, outside = scores[fold != out], scores[fold == out]
        sample = inside.T @ inside / len(inside)
        target = stationary(sample, layout)
        for number, weight in enumerate(WEIGHTS):
            blend = positive(weight * target + (1 - weight) * sample)
            totals[number] += _log_likelihood(outside, blend)
    return WEIGHTS[int(totals.argmax())]


def _log_likelihood(scores: np.ndarray, covariance: Square) -> float:
    factor = cho_factor(covariance, lower=True)
    logarithm = 2 * np.log(np.diag(factor[0])).sum()
    return -0.5 * float((scores * cho_solve(factor, scores.T).T).sum() + len(scores) * logarithm)
