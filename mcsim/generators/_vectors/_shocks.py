"""Common shocks: the means of a panel's periods, as they were, or drawn anew in every panel.

Each column's means follow a line and an AR(1), their innovations correlated across columns; what
units add to a mean by chance is taken off the innovations' variance.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcsim._pytree import pytree
from mcsim.generators._vectors._layout import Layout

MOST = 0.95  # the largest autoregressive coefficient
SIGNIFICANT = 2.5  # t value from which a line is not taken for a chance


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
    periods = means.shape[1]
    time, residuals, lines = np.arange(periods), np.empty_like(means), []
    for column, path in enumerate(means):
        line = _line(time, path)
        lines.append(line)
        residuals[column] = path - line[0] - line[1] * time
    persistence = np.array([_persistence(path) for path in residuals])
    excess = residuals @ residuals.T / max(periods - 2, 1) - chance
    innovations = excess * (1 - np.outer(persistence, persistence))
    values, vectors = np.linalg.eigh(innovations)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    level, slope = np.array(lines).reshape(-1, 2).T
    return Shocks(means, level, slope, persistence, root)


def shocks_of(
    vectors: Float[np.ndarray, "unit coordinate"],
    centers: Float[np.ndarray, " coordinate"],
    spreads: Float[np.ndarray, " coordinate"],
    layout: Layout,
) -> Shocks:
    """Fit the law of the means of scores; by chance alone they vary as unit means do."""
    means = centers[: layout.n_cells].reshape(len(layout.paths), layout.periods)
    paths = (vectors * spreads)[:, : layout.n_cells].reshape(len(vectors), *means.shape)
    paths = paths - paths.mean(axis=2, keepdims=True)  # a level that all periods share is no shock
    chance = np.einsum("ijt,ikt->jk", paths, paths) / paths.shape[2] / len(paths) ** 2
    return fit_shocks(means, chance)


def _line(time: np.ndarray, path: np.ndarray) -> tuple[float, float]:
    """Return level and slope; a slope that may be chance is zero."""
    if len(time) < 4:
        return float(path.mean()), 0.0
    slope, level = np.polyfit(time, path, 1)
    residual = path - level - slope * time
    spread = np.sqrt(residual @ residual / (len(time) - 2) / ((time - time.mean()) ** 2).sum())
    if abs(slope) <= SIGNIFICANT * spread:
        return float(path.mean()), 0.0
    return float(level), float(slope)


def _persistence(path: np.ndarray) -> float:
    """Return the first autocorrelation, corrected for its bias (Kendall 1954)."""
    periods, variance = len(path), path @ path
    if periods < 4 or variance == 0:
        return 0.0
    found = path[1:] @ path[:-1] / variance
    return float(np.clip(found + (1 + 3 * found) / periods, 0.0, MOST))
