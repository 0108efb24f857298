"""The common shocks of the data, told from what units add to their mean path by chance.

A linear smoother: the mean path is a fast part, a slow one, and the mean of the units' own parts,
whose covariances the skeleton gives. Smoothed paths vary less than those they estimate; they are
scaled so that generated mean paths vary as the data's.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcsim.generators._macro._skeleton import MAX_SWING, Common, Skeleton

LEAST_CHANCE = 0.05  # share of the mean path's variance that is taken for chance, at least
MOST_CHANCE = 0.9


def realized_shocks(skeleton: Skeleton, values: Float[np.ndarray, "unit period"]) -> Common:
    """Return the paths of the common components that standardized data show."""
    path = values.mean(axis=0) - values.mean()
    fast_loading, slow_loading = mean_loadings(skeleton)
    fast = _kernel(skeleton.factor_persistence, len(path)) * factor_variance(skeleton)
    slow = _kernel(skeleton.slow_common_persistence, len(path))
    common = fast_loading**2 * fast + slow_loading**2 * slow
    variance = path.var()
    chance = _chance(values, variance)
    weights = np.linalg.solve(common + chance * np.eye(len(path)), path)
    factor, drift = fast_loading * fast @ weights, slow_loading * slow @ weights
    shown = (fast_loading * factor + slow_loading * drift).var()
    scale = np.sqrt((variance - chance) / max(shown, 1e-12))
    return Common(jnp.asarray(scale * factor, jnp.float32), jnp.asarray(scale * drift, jnp.float32))


def mean_loadings(skeleton: Skeleton) -> tuple[float, float]:
    """Return the loadings of the cross-section mean: unit scale times loading, on average."""
    root = np.asarray(skeleton.trait_root, np.float64)
    root = np.tril(root, -1) + np.diag(np.exp(np.diag(root)))
    covariance, mean = root @ root.T, np.asarray(skeleton.trait_mean, np.float64)
    scale = np.exp(mean[1] + covariance[1, 1] / 2)
    return float(scale * (mean[3] + covariance[1, 3])), float(scale * (mean[4] + covariance[1, 4]))


def factor_variance(skeleton: Skeleton) -> float:
    """Return the variance of the factor, whose volatility averages above 1."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    swing = MAX_SWING * float(jax.nn.sigmoid(skeleton.factor_swing))
    return float(weights @ np.exp(2 * swing * np.tanh(nodes)) / weights.sum())


def _kernel(persistence: Array, n_periods: int) -> Float[np.ndarray, "period period"]:
    distance = np.abs(np.subtract.outer(np.arange(n_periods), np.arange(n_periods)))
    return np.tanh(float(persistence)) ** distance


def _chance(values: Float[np.ndarray, "unit period"], variance: float) -> float:
    """Return the variance that units' own parts give to their mean."""
    own = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    chance = (own**2).mean() / (len(values) - 1)
    return float(np.clip(chance, LEAST_CHANCE * variance, MOST_CHANCE * variance))
