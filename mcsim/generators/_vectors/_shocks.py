"""Common shocks: the means of a panel's periods, as they were, or drawn anew in every panel.

Each column's means follow a line and an AR(1), their innovations correlated across columns; what
units add to a mean by chance is taken off the innovations' variance.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.linalg import toeplitz

from mcsim._pytree import pytree
from mcsim.generators._vectors._coding import Scores
from mcsim.generators._vectors._copies import effective_size

MOST = 0.95  # the largest autoregressive coefficient
GRID = np.linspace(-MOST, MOST, 39)
SHORT = 4  # periods below have neither slope nor persistence
SIGNIFICANT = 3.5  # t value, given the persistence, from which a slope is not taken for a chance


@pytree("means", "level", "slope", "persistence", "innovation")
@dataclass(frozen=True, eq=False)
class Shocks:
    """The law of the means of the periods.

    Attributes
    ----------
    means : array (column, period)
        As they were.
    level, slope : array (column,)
        Of the line, by period.
    persistence : array (column,)
        Autoregressive coefficients of the deviations.
    innovation : array (column, column)
        Root of the covariance of the innovations.
    """

    means: Any
    level: Any
    slope: Any
    persistence: Any
    innovation: Any

    def draw(self, key: Array) -> Float[Array, "column period"]:
        """Draw a path of the means, stationary around the line."""
        columns, periods = self.means.shape
        noise = jax.random.normal(key, (periods, columns), jnp.float64) @ self.innovation.T
        first = noise[0] / jnp.sqrt(1 - jnp.asarray(self.persistence) ** 2)

        def step(before: Array, own: Array) -> tuple[Array, Array]:
            now = self.persistence * before + own
            return now, now

        rest = jax.lax.scan(step, first, noise[1:])[1]
        deviations = jnp.concatenate([first[None], rest])
        return deviations.T + self.level[:, None] + self.slope[:, None] * jnp.arange(periods)


def fit_shocks(
    means: Float[np.ndarray, "column period"], chance: Float[np.ndarray, "column column"]
) -> Shocks:
    """Fit the law; ``chance`` is the covariance of means that units alone would give."""
    fits = [_fit_path(path) for path in means]
    residuals = np.array([fit.residuals for fit in fits]).reshape(means.shape)
    persistence = np.array([fit.persistence for fit in fits])
    alone, left = (np.sqrt([getattr(fit, name) for fit in fits]) for name in ("alone", "left"))
    shared = residuals @ residuals.T - chance * np.outer(alone, alone)
    excess = shared / np.maximum(np.outer(left, left), 1e-9)
    innovations = excess * (1 - np.outer(persistence, persistence))
    values, vectors = np.linalg.eigh(innovations)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    level, slope = np.array([fit.line for fit in fits]).reshape(-1, 2).T
    return Shocks(means, level, slope, persistence, root)


def shocks_of(scores: Scores) -> Shocks:
    """Fit the law of the means of scores; by chance alone they vary as unit means do."""
    layout, coding, units = scores.coding.layout, scores.coding, len(scores.vectors)
    means = coding.centers[: layout.n_cells].reshape(len(layout.paths), layout.periods)
    paths = (scores.vectors * coding.spreads)[:, : layout.n_cells].reshape(units, *means.shape)
    paths = paths - paths.mean(axis=2, keepdims=True)  # a level that all periods share is no shock
    products = np.einsum("ijt,ikt->jk", paths, paths) / paths.shape[2]
    return fit_shocks(means, products / (units * effective_size(scores.rows)))


class _Path(NamedTuple):
    """A path as a line and an AR(1).

    Attributes
    ----------
    line : tuple
        Level and slope.
    residuals : array (period,)
        Deviations from the line.
    persistence : float
        Their autoregressive coefficient.
    left, alone : float
        The sum of squares that residuals have on average if deviations have variance one; if they
        have no persistence besides.
    """

    line: tuple[float, float]
    residuals: np.ndarray
    persistence: float
    left: float
    alone: float


def _fit_path(path: Float[np.ndarray, " period"]) -> _Path:
    """Fit the law of a path; a slope that may be chance is zero."""
    flat = _fit_line(path, 1)
    if len(path) < SHORT:
        return flat
    sloped, weights = _fit_line(path, 2), np.linalg.pinv(_terms(len(path), 2))[1]
    variance = sloped.residuals @ sloped.residuals / sloped.left
    spread = np.sqrt(variance * (weights @ _correlations(sloped.persistence, len(path)) @ weights))
    return sloped if abs(sloped.line[1]) > SIGNIFICANT * spread else flat


def _fit_line(path: np.ndarray, terms: int) -> _Path:
    """Fit a level, or a level and a slope, and the persistence of what they leave.

    A line takes the slow part out of a short path. The persistence is the one under which residuals
    have, in the ratio of expectations, the first autocorrelation that is found.
    """
    periods, design = len(path), _terms(len(path), terms)
    coefficients = np.linalg.lstsq(design, path, rcond=None)[0]
    residuals, persistence = path - design @ coefficients, 0.0
    squares = residuals @ residuals
    if periods >= SHORT and squares > 0:
        found = residuals[1:] @ residuals[:-1] / squares
        persistence = float(np.interp(found, _found_on_average(periods, terms), GRID))
    off = np.eye(periods) - design @ np.linalg.pinv(design)
    left = float((off * _correlations(persistence, periods)).sum())
    line = float(coefficients[0]), float(coefficients[1]) if terms == 2 else 0.0
    return _Path(line, residuals, persistence, left, float(np.trace(off)))


@lru_cache
def _found_on_average(periods: int, terms: int) -> Float[np.ndarray, " grid"]:
    """Return the first autocorrelation that residuals show under each persistence of the grid."""
    design = _terms(periods, terms)
    off, found = np.eye(periods) - design @ np.linalg.pinv(design), []
    for persistence in GRID:
        left = off @ _correlations(persistence, periods) @ off
        found.append(np.trace(left, offset=1) / np.trace(left))
    return np.maximum.accumulate(found)


def _terms(periods: int, terms: int) -> Float[np.ndarray, "period term"]:
    return np.vander(np.arange(periods, dtype=float), terms, increasing=True)


def _correlations(persistence: float, periods: int) -> Float[np.ndarray, "period period"]:
    return toeplitz(persistence ** np.arange(periods))
