"""The scales of units: deviations from a unit's means are its scale times normal ones.

Squared lengths of short paths vary by chance, and that is not variation between units: with k
degrees of freedom a length is the scale times a chi variable. So the distribution of the scales is
the one under which lengths are most likely, on a grid of points: Kiefer & Wolfowitz (1956), Annals
of Mathematical Statistics 27: 887-906; by EM, Koenker & Mizera (2014), Journal of the American
Statistical Association 109: 674-685. New units draw from it, not from the estimates of old ones.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr
from jaxtyping import Array, Float

from mcsim._core.pytree import pytree
from mcsim.generators._scores.vectors import Layout, Square, positive, square_root

POINTS, DECADES = 120, 1.0  # of the grid, and its reach on either side of the pooled scale
ROUNDS = 300
MOST_DEPENDENCE = 0.95
LEAST_SPREAD = 1e-3  # of log scales, below which units are alike
ROUNDING = 1e-9  # of the largest variance: the level's, which deviations lack, is below

Lengths = Float[np.ndarray, " unit"]
Weights = Float[np.ndarray, " point"]
OfColumns = Float[np.ndarray, " column"]
Pairs = Float[np.ndarray, "column column"]
Grids = Float[np.ndarray, "column point"]


@pytree("root", "points", "cumulative", "dependence")
@dataclass(frozen=True, eq=False)
class ScaledNormal:
    """Normal vectors with mean zero, whose deviations from unit means have a scale of the unit.

    Attributes
    ----------
    columns : int
        Columns with paths, the first coordinates.
    periods : int
        Coordinates of each path.
    root : array (coordinate, coordinate)
        Symmetric root of the covariance before scaling.
    points, cumulative : array (column, point)
        Scales, and their cumulative probabilities.
    dependence : array (column, column)
        Symmetric root of the correlations of the normal scores of the scales.
    """

    columns: int
    periods: int
    root: Any
    points: Any
    cumulative: Any
    dependence: Any

    def draw(self, key: Array, n_units: int) -> Float[Array, "unit coordinate"]:
        """Draw units."""
        of_vectors, of_scales = jax.random.split(key)
        shape, cells = (n_units, len(self.root)), self.columns * self.periods
        vectors = jax.random.normal(of_vectors, shape, jnp.float32) @ self.root
        paths = vectors[:, :cells].reshape(n_units, self.columns, self.periods)
        means = paths.mean(axis=2, keepdims=True)
        scaled = means + self._scales(of_scales, n_units)[..., None] * (paths - means)
        return jnp.concatenate([scaled.reshape(n_units, cells), vectors[:, cells:]], axis=1)

    def _scales(self, key: Array, n_units: int) -> Float[Array, "unit column"]:
        normal = jax.random.normal(key, (n_units, self.columns), jnp.float32) @ self.dependence
        place = jax.vmap(jnp.searchsorted, in_axes=(0, 1), out_axes=1)(
            jnp.asarray(self.cumulative)[:, :-1], ndtr(normal)
        )
        return jnp.take_along_axis(jnp.asarray(self.points), place.T, axis=1).T


def fit_scaled_normal(
    vectors: Float[np.ndarray, "unit coordinate"], covariance: Square, layout: Layout
) -> ScaledNormal:
    """Fit the scales to vectors with mean zero; draws have the covariance that is given."""
    columns, periods = len(layout.time_varying), layout.periods
    squares = np.stack(
        [_squares(vectors, covariance, layout.place(name)) for name in layout.time_varying], axis=1
    )
    grids = [_distribution(own, periods - 1) for own in squares.T]
    points, weights = (np.stack(part) for part in zip(*grids, strict=True))
    correlations = _correlations(squares, points, weights)
    # Moments of products of scales: draws before scaling have the covariance over these.
    means = (weights * points).sum(axis=1)
    joint = means[:, None] * means + correlations * np.outer(*[_spread(points, weights)] * 2)
    np.fill_diagonal(joint, 1.0)
    before = _before_scaling(covariance, layout, means, joint)
    parts = square_root(before), points, np.cumsum(weights, axis=1), square_root(correlations)
    return ScaledNormal(columns, periods, *(part.astype(np.float32) for part in parts))


def _squares(
    vectors: Float[np.ndarray, "unit coordinate"], covariance: Square, place: slice
) -> Lengths:
    """Return the squared lengths of a column's deviations from unit means, whitened."""
    deviation = _deviations(place.stop - place.start)
    within = deviation @ covariance[place, place] @ deviation
    whitened = np.linalg.pinv(within, rcond=ROUNDING, hermitian=True)
    return np.einsum("it,tu,iu->i", vectors[:, place], whitened, vectors[:, place])


def _deviations(periods: int) -> Float[np.ndarray, "period period"]:
    return np.eye(periods) - 1 / periods


def _distribution(squares: Lengths, df: int) -> tuple[Weights, Weights]:
    """Return points and weights of the scales; their mean square is one."""
    grid = np.sqrt(squares.mean() / df) * np.logspace(-DECADES, DECADES, POINTS)
    logs = -df * np.log(grid) - squares[:, None] / (2 * grid**2)
    likelihood = np.exp(logs - logs.max(axis=1, keepdims=True))
    weights = np.full(POINTS, 1 / POINTS)
    for _ in range(ROUNDS):
        weights = (likelihood * (weights / (likelihood @ weights)[:, None])).mean(axis=0)
    return grid / np.sqrt(weights @ grid**2), weights


def _spread(points: Grids, weights: Grids) -> OfColumns:
    means = (weights * points).sum(axis=1, keepdims=True)
    return np.sqrt((weights * (points - means) ** 2).sum(axis=1))


def _correlations(
    squares: Float[np.ndarray, "unit column"], points: Grids, weights: Grids
) -> Pairs:
    """Return the correlations of log scales: covariances of log lengths, which hold no chance."""
    if squares.shape[1] == 1:
        return np.eye(1)
    spread = np.maximum(_spread(np.log(points), weights), LEAST_SPREAD)
    covariance = np.cov(0.5 * np.log(np.maximum(squares, 1e-12)), rowvar=False)
    found = np.clip(covariance / np.outer(spread, spread), -MOST_DEPENDENCE, MOST_DEPENDENCE)
    np.fill_diagonal(found, 1.0)
    return positive(found)


def _before_scaling(covariance: Square, layout: Layout, means: OfColumns, joint: Pairs) -> Square:
    """Return the covariance before scaling under which scaled vectors have the one given."""
    cells, columns = layout.n_cells, len(layout.time_varying)
    within = np.eye(len(covariance))
    within[cells:, cells:] = 0.0
    within[:cells, :cells] = np.kron(np.eye(columns), _deviations(layout.periods))
    level = np.eye(len(covariance)) - within
    scale = np.ones(len(covariance))
    scale[:cells] = np.repeat(means, layout.periods)
    both = np.ones_like(covariance)
    both[:cells, :cells] = np.repeat(np.repeat(joint, layout.periods, 0), layout.periods, 1)
    crossed = level @ covariance @ within / scale
    return positive(
        level @ covariance @ level + crossed + crossed.T + within @ covariance @ within / both
    )
