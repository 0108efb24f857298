"""The structural model of a macro panel: common shocks, random coefficients, fat tails.

A unit's series is its mean plus its scale times the sum of five parts: a common factor with
stochastic volatility, a slow common component, a slow one of its own, an AR(2) with stochastic
volatility, and outliers of the level, which come and partly go again. Means, scales, persistence
and loadings are drawn from a population, so that units are exchangeable. Differentiable in all
parameters; float32 throughout.

The common shocks of data are estimated by a linear smoother: the mean path is a fast part, a slow
one, and the mean of the units' own parts, whose covariances the model gives. Smoothed paths vary
less than the true ones; they are scaled so that generated mean paths vary as the data's.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

COEFFICIENTS = (
    "mean", "log_sd", "persistence", "loading", "slow_loading", "log_slow", "log_outlier"
)  # fmt: skip
"""Names of a unit's random coefficients, which are jointly normal in the population."""

MAX_TAIL = 0.4  # the h of a g-and-h distribution; from 0.5 on it has no variance
MAX_OUTLIER_TAIL = 0.49
MAX_VOL_OF_VOL = 1.5  # of the log volatility of the factor, either way
MAX_SKEW = 0.5
LEAST_CHANCE = 0.05  # least share of the mean path's variance attributed to chance
MOST_CHANCE = 0.9


class StructuralModel(NamedTuple):
    """The parameters, unconstrained: any real number is allowed.

    Attributes
    ----------
    coefficient_mean, coefficient_root : array (coefficient,) and (coefficient, coefficient)
        Mean of the units' random coefficients, and the root of their covariance: its lower
        triangle, the diagonal in logarithms.
    factor_persistence, factor_vol_of_vol, factor_volatility_persistence, factor_skew, factor_tail :
    array ()
        The common factor: its first autocorrelation, the size and the persistence of its log
        volatility, skewness and tails of its innovations.
    slow_common_persistence, slow_persistence : array ()
        First autocorrelations of the slow components, common and of units.
    second_order : array ()
        Second partial autocorrelation of the units' AR(2).
    vol_of_vol, volatility_persistence, tail : array ()
        Size and persistence of a unit's log volatility, and the tails of its innovations.
    outlier_tail, reversal : array ()
        Tails of the outliers, and the share of an outlier that reverses in the next period.
    """

    coefficient_mean: Float[Array, " coefficient"]
    coefficient_root: Float[Array, "coefficient coefficient"]
    factor_persistence: Float[Array, ""]
    factor_vol_of_vol: Float[Array, ""]
    factor_volatility_persistence: Float[Array, ""]
    factor_skew: Float[Array, ""]
    factor_tail: Float[Array, ""]
    slow_common_persistence: Float[Array, ""]
    slow_persistence: Float[Array, ""]
    second_order: Float[Array, ""]
    vol_of_vol: Float[Array, ""]
    volatility_persistence: Float[Array, ""]
    tail: Float[Array, ""]
    outlier_tail: Float[Array, ""]
    reversal: Float[Array, ""]


class Noise(NamedTuple):
    """Standard normals of a panel, or of a batch, with two more periods to start recursions."""

    coefficients: Float[Array, "*batch unit coefficient"]
    common: Float[Array, "3 step *batch"]
    units: Float[Array, "4 step *batch unit"]


class Common(NamedTuple):
    """The common shocks: paths of the factor and of the slow component."""

    factor: Float[Array, "period *batch"]
    slow: Float[Array, "period *batch"]


def draw_noise(
    key: Key[Array, ""], n_units: int, n_periods: int, batch: tuple[int, ...] = ()
) -> Noise:
    """Draw the noise of a panel, or of a batch of them, in one call."""
    steps = n_periods + 2
    shapes = (*batch, n_units, len(COEFFICIENTS)), (3, steps, *batch), (4, steps, *batch, n_units)
    sizes = [math.prod(shape) for shape in shapes]
    flat = jax.random.normal(key, (sum(sizes),), jnp.float32)
    parts = jnp.split(flat, [sizes[0], sizes[0] + sizes[1]])
    return Noise(*(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)))


def simulate(model: StructuralModel, noise: Noise) -> Float[Array, "*batch unit period"]:
    """Draw panels, each with its own common shocks."""
    return simulate_given(model, noise, common_shocks(model, noise.common))


def simulate_given(
    model: StructuralModel, noise: Noise, common: Common
) -> Float[Array, "*batch unit period"]:
    """Draw panels with these common shocks."""
    coefficients = jnp.moveaxis(draw_coefficients(model, noise.coefficients), -1, 0)
    mean, log_sd, persistence, loading, slow_loading, log_slow, log_outlier = coefficients
    own = own_parts(model, noise.units[:3], jnp.tanh(persistence), jnp.exp(log_slow))
    outliers = jnp.exp(log_outlier) * level_outliers(model, noise.units[3, 1:])
    shared = loading * common.factor[..., None] + slow_loading * common.slow[..., None]
    return jnp.moveaxis(mean + jnp.exp(log_sd) * (shared + own + outliers), 0, -1)


def common_shocks(model: StructuralModel, noise: Float[Array, "3 step *batch"]) -> Common:
    """Draw the paths of the common components."""
    persistence = jnp.tanh(model.factor_persistence)
    volatility_persistence, slow = (
        jnp.tanh(model.factor_volatility_persistence),
        jnp.tanh(model.slow_common_persistence),
    )
    vol_of_vol = MAX_VOL_OF_VOL * jax.nn.sigmoid(model.factor_vol_of_vol)
    skew = MAX_SKEW * jnp.tanh(model.factor_skew)
    innovations = fat_tailed(noise[0], skew, MAX_TAIL * jax.nn.sigmoid(model.factor_tail))

    def step(state, noise):
        factor, level, drift = state
        innovation, shift, turn = noise
        level = autoregress(volatility_persistence, level, shift)
        volatility = jnp.exp(vol_of_vol * jnp.tanh(level))
        factor = autoregress(persistence, factor, volatility * innovation)
        drift = autoregress(slow, drift, turn)
        return (factor, level, drift), (factor, drift)

    steps = innovations, noise[1], noise[2]
    start = tuple(part[0] for part in steps)
    _, (factor, drift) = jax.lax.scan(step, start, tuple(part[1:] for part in steps))
    return Common(factor[1:], drift[1:])


def draw_coefficients(
    model: StructuralModel, noise: Float[Array, "*batch unit coefficient"]
) -> Float[Array, "*batch unit coefficient"]:
    """Draw the units' random coefficients from the population."""
    root = jnp.tril(model.coefficient_root, -1) + jnp.diag(
        jnp.exp(jnp.diag(model.coefficient_root))
    )
    return model.coefficient_mean + noise @ root.T


def own_parts(
    model: StructuralModel,
    noise: Float[Array, "3 step *batch unit"],
    persistence: Float[Array, "*batch unit"],
    slow_size: Float[Array, "*batch unit"],
) -> Float[Array, "period *batch unit"]:
    """Draw the AR(2) of the units, of about unit variance, and their slow components."""
    second = jnp.tanh(model.second_order)
    first = persistence * (1.0 - second)
    size = jnp.sqrt((1.0 - persistence**2) * (1.0 - second**2))
    volatility_persistence, slow = (
        jnp.tanh(model.volatility_persistence),
        jnp.tanh(model.slow_persistence),
    )
    vol_of_vol, tail = jnp.exp(model.vol_of_vol), MAX_TAIL * jax.nn.sigmoid(model.tail)
    innovations = size * fat_tailed(noise[0, 2:], 0.0, tail)

    def step(state, noise):
        last, before, level, drift = state
        innovation, shift, turn = noise
        level = autoregress(volatility_persistence, level, shift)
        volatility = jnp.exp(vol_of_vol * bounded(level) - vol_of_vol**2)
        now = first * last + second * before + volatility * innovation
        drift = autoregress(slow, drift, turn)
        return (now, last, level, drift), now + slow_size * drift

    last = persistence * noise[0, 0] + jnp.sqrt(1.0 - persistence**2) * noise[0, 1]
    start = last, noise[0, 0], noise[1, 0], noise[2, 0]
    return jax.lax.scan(step, start, (innovations, noise[1, 2:], noise[2, 2:]))[1]


def level_outliers(
    model: StructuralModel, noise: Float[Array, "step *batch unit"]
) -> Float[Array, "period *batch unit"]:
    """Draw outliers: a share of each is taken back in the period after."""
    size = fat_tailed(noise, 0.0, MAX_OUTLIER_TAIL * jax.nn.sigmoid(model.outlier_tail))
    return size[1:] - jax.nn.sigmoid(model.reversal) * size[:-1]


def autoregress(persistence: Array, last: Array, innovation: Array) -> Array:
    """Take a step of an AR(1) of unit variance."""
    return persistence * last + jnp.sqrt(1.0 - persistence**2) * innovation


def bounded(level: Array) -> Array:
    """Keep a log volatility within three standard deviations."""
    return 3.0 * jnp.tanh(level / 3.0)


def fat_tailed(normal: Array, skew: Array | float, tail: Array | float) -> Array:
    """Give a normal fat tails: g-and-h, its g to first order; mean 0 and variance 1 are kept.

    References
    ----------
    Tukey (1977), Exploratory Data Analysis; Hoaglin (1985), Summarizing shape numerically: the
    g-and-h distributions.
    """
    stretched = (normal + skew * normal**2) * jnp.exp(0.5 * tail * normal**2)
    mean = skew * (1.0 - tail) ** -1.5
    second = (1.0 - 2.0 * tail) ** -1.5 + 3.0 * skew**2 * (1.0 - 2.0 * tail) ** -2.5
    return (stretched - mean) / jnp.sqrt(second - mean**2)


def first_model(values: Float[np.ndarray, "unit period"]) -> StructuralModel:
    """Return the start of a fit to standardized data."""
    deviations = values - values.mean(axis=1, keepdims=True)
    first = (deviations[:, 1:] * deviations[:, :-1]).sum(axis=1) / (deviations**2).sum(axis=1)
    persistence = np.arctanh(np.clip(first.mean(), -0.9, 0.95))
    means = [0.0, -0.2, persistence, 0.5, 0.35, np.log(0.25), np.log(0.3)]
    spreads = [max(values.mean(axis=1).std(), 0.02), 0.3, 0.2, 0.12, 0.1, 0.3, 0.5]
    numbers = [0.4, 0.0, 1.0, -0.1, -1.0, 2.0, 2.0, 0.1, -1.0, 1.6, -1.0, 1.0, 0.0]
    return StructuralModel(
        jnp.asarray(means, jnp.float32),
        jnp.asarray(np.diag(np.log(spreads)), jnp.float32),
        *(jnp.float32(number) for number in numbers),
    )


def realized_shocks(model: StructuralModel, values: Float[np.ndarray, "unit period"]) -> Common:
    """Return the smoothed paths of the common components of standardized data."""
    path = values.mean(axis=0) - values.mean()
    fast_loading, slow_loading = mean_loadings(model)
    fast = _kernel(model.factor_persistence, len(path)) * factor_variance(model)
    slow = _kernel(model.slow_common_persistence, len(path))
    common = fast_loading**2 * fast + slow_loading**2 * slow
    variance = path.var()
    chance = _chance(values, variance)
    weights = np.linalg.solve(common + chance * np.eye(len(path)), path)
    factor, drift = fast_loading * fast @ weights, slow_loading * slow @ weights
    shown = (fast_loading * factor + slow_loading * drift).var()
    scale = np.sqrt((variance - chance) / max(shown, 1e-12))
    return Common(jnp.asarray(scale * factor, jnp.float32), jnp.asarray(scale * drift, jnp.float32))


def mean_loadings(model: StructuralModel) -> tuple[float, float]:
    """Return the loadings of the cross-section mean: unit scale times loading, on average."""
    root = np.asarray(model.coefficient_root, np.float64)
    root = np.tril(root, -1) + np.diag(np.exp(np.diag(root)))
    covariance, mean = root @ root.T, np.asarray(model.coefficient_mean, np.float64)
    scale = np.exp(mean[1] + covariance[1, 1] / 2)
    return float(scale * (mean[3] + covariance[1, 3])), float(scale * (mean[4] + covariance[1, 4]))


def factor_variance(model: StructuralModel) -> float:
    """Return the variance of the factor, whose volatility averages above 1."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    vol_of_vol = MAX_VOL_OF_VOL * float(jax.nn.sigmoid(model.factor_vol_of_vol))
    return float(weights @ np.exp(2 * vol_of_vol * np.tanh(nodes)) / weights.sum())


def _kernel(persistence: Array, n_periods: int) -> Float[np.ndarray, "period period"]:
    distance = np.abs(np.subtract.outer(np.arange(n_periods), np.arange(n_periods)))
    return np.tanh(float(persistence)) ** distance


def _chance(values: Float[np.ndarray, "unit period"], variance: float) -> float:
    """Return the variance of the mean of the units' own parts."""
    own = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    chance = (own**2).mean() / (len(values) - 1)
    return float(np.clip(chance, LEAST_CHANCE * variance, MOST_CHANCE * variance))
