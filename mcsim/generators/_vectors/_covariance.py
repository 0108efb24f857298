"""The covariance of a unit's scores, shrunk to a structured one rather than to the identity.

The plainest target averages the correlations of two columns over all pairs of periods at the same
lag: it keeps how columns move together, within units and between them, which shrinking to the
identity destroys. The weight is the one under which left-out units are most likely.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_factor, cho_solve

from mcsim.generators._vectors._copies import UnitNumbers, effective_size, identities
from mcsim.generators._vectors._layout import Layout

WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0)
FOLDS = 5
FLOOR = 1e-3  # the least eigenvalue, as a share of the mean one

Square = Float[np.ndarray, "coordinate coordinate"]


Target = Callable[[Square, int, Layout], Square]
"""What a sample covariance is shrunk to: of the sample, the number of units and the layout."""


def stationary_target(sample: Square, units: int, layout: Layout) -> Square:
    """Return the sample covariance as if periods were alike."""
    return stationary(sample, layout)


def structured_covariance(
    scores: Float[np.ndarray, "unit coordinate"],
    layout: Layout,
    rows: UnitNumbers,
    target: Target = stationary_target,
) -> Square:
    """Estimate the covariance of scores with mean zero, shrunk to a target as far as is best."""
    weight = best_weight(scores, layout, rows, target)
    return shrunk_covariance(scores, layout, rows, target, weight)


def shrunk_covariance(
    scores: Float[np.ndarray, "unit coordinate"],
    layout: Layout,
    rows: UnitNumbers,
    target: Target,
    weight: float,
) -> Square:
    """Estimate the covariance of scores with mean zero, shrunk to a target by a weight."""
    sample = scores.T @ scores / len(scores)
    if weight == 0:
        return positive(sample)
    return _blend(sample, target(sample, effective_size(rows), layout), weight)


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
    values, vectors = np.linalg.eigh(source)
    values = np.sqrt(np.maximum(values, 0.0))
    root = (vectors * values) @ vectors.T
    inverse = (vectors / np.maximum(values, 1e-6 * values.max())) @ vectors.T
    return inverse @ square_root(root @ target @ root) @ inverse


def _blend(sample: Square, target: Square, weight: float) -> Square:
    return positive(weight * target + (1 - weight) * sample)


def best_weight(scores: np.ndarray, layout: Layout, rows: UnitNumbers, target: Target) -> float:
    """Return the weight of the target under which left-out units are most likely."""
    if layout.periods == 1 and effective_size(rows) > 10 * layout.size:
        return 0.0
    number = identities(rows)
    if not number.any():  # one unit, and nothing but its copies
        return WEIGHTS[-1]
    fold = number % min(FOLDS, number.max() + 1)
    totals = np.zeros(len(WEIGHTS))
    for out in range(fold.max() + 1):
        inside, outside = scores[fold != out], scores[fold == out]
        sample = inside.T @ inside / len(inside)
        aim = target(sample, effective_size(rows[fold != out]), layout)
        for number, weight in enumerate(WEIGHTS):
            totals[number] += _log_likelihood(outside, _blend(sample, aim, weight))
    return WEIGHTS[int(totals.argmax())]


def _log_likelihood(scores: np.ndarray, covariance: Square) -> float:
    factor = cho_factor(covariance, lower=True)
    logarithm = 2 * np.log(np.diag(factor[0])).sum()
    return -0.5 * float((scores * cho_solve(factor, scores.T).T).sum() + len(scores) * logarithm)
