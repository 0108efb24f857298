"""Simulated moments: a structural model is fit until its draws have the data's moments.

Each step draws fresh panels. Their halves give two independent misses of every moment, whose
product is an unbiased estimate of the squared miss (no reward for a small sampling variance);
misses count in sampling standard deviations, as the model itself has them.

Moments are of units, of their mean path, and of the deviations from it. Beside scale, dynamics,
tails and dependence they include slow moments, which govern placebo inference: variances of
averages over ever longer windows, and the variance of a placebo estimate.

McFadden (1989), Econometrica 57: 995-1026; Duffie & Singleton (1993), Econometrica 61: 929-952.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key

from mcsim.generators._macro.structural_model import (
    StructuralModel,
    draw_noise,
    first_model,
    simulate,
)
from mcsim.generators._training.steps import first_optimizer_state

FADE = 0.05  # weight of a step in the running variance of the moments
FIRST_SPREAD = 0.1  # of a moment, squared, before the first draws
FAR = 10.0  # standard deviations beyond which a larger miss counts little more
LEAST_SPREAD = 0.02  # tolerance of a moment
TETHER = 1e-4  # weight of the squared distance from the first model
LAGS = (1, 2, 3, 4, 8, 16)
PARTS = (2, 4, 8, 16)  # number of epochs into which periods are cut

EMPHASIS = {
    "sd": 5.0, "cross": 5.0, "path_variance": 10.0, "kurtosis_median": 3.0, "acf": 2.0,
    "acf_sd": 2.0,
    "abs_acf": 4.0, "placebo_spread": 5.0,
}  # fmt: skip
"""Moments of larger weight: the first figures that readers of a panel inspect."""


class Rates(NamedTuple):
    """The numbers of a fit."""

    steps: Array
    learning_rate: Array
    average: Array
    placebo_weight: Array


class Target(NamedTuple):
    """The data's moments, and the start of the fit."""

    moments: Float[Array, " moment"]
    start: StructuralModel


class State(NamedTuple):
    """The state of a fit between two steps; parameters as one vector, which compiles faster."""

    parameters: Float[Array, " parameter"]
    average: Float[Array, " parameter"]
    optimizer: Any
    spread: Float[Array, " moment"]
    key: Key[Array, ""]


class Losses(NamedTuple):
    """Mean squared miss of the moments, and the miss of the placebo variance, by step."""

    moments: Array
    placebo: Array


@dataclass(frozen=True)
class SimulatedMoments:
    """The algorithm of a fit: the sizes of the panels, and how many a step draws."""

    n_units: int
    n_periods: int
    panels: int

    remedy = "lower learning_rate, or draw more panels in a step: MacroPanel(panels=...)"

    def first_state(self, data: Target, key: Key[Array, ""]) -> State:
        """Return the state before the first step."""
        start, _ = ravel_pytree(data.start)
        spread = jnp.full_like(data.moments, FIRST_SPREAD)
        optimizer = first_optimizer_state(_adam().init, start)
        return State(start, start, optimizer, spread, key)

    def step(self, data: Target, rates: Rates, state: State, number: Array) -> tuple[State, Losses]:
        """Draw panels, and take a step of Adam."""
        key = jax.random.fold_in(state.key, number)
        grad = jax.value_and_grad(self._distance, has_aux=True)
        (distance, drawn), slope = grad(state.parameters, key, data, rates, state.spread)
        direction, optimizer = _adam().update(slope, state.optimizer)
        rate = rates.learning_rate * 0.5 * (1.0 + jnp.cos(jnp.pi * number / rates.steps))
        parameters = state.parameters - rate * jnp.asarray(direction)
        keep = jnp.minimum(rates.average, (1.0 + number) / (10.0 + number))
        average = keep * state.average + (1.0 - keep) * parameters
        spread = (1.0 - FADE) * state.spread + FADE * drawn.var(axis=0)
        place = positions(self.n_units, self.n_periods)["placebo_variance"][0]
        miss = drawn[:, place].mean() / data.moments[place] - 1.0
        return State(parameters, average, optimizer, spread, state.key), Losses(distance, miss)

    def finished(self, state: State) -> bool:
        """Return False: there is no early stopping."""
        return False

    def _distance(
        self, parameters: Array, key: Array, data: Target, rates: Rates, spread: Array
    ) -> tuple[Array, Array]:
        start, unravel = ravel_pytree(data.start)
        noise = draw_noise(key, self.n_units, self.n_periods, (self.panels,))
        drawn = jax.vmap(flat_moments)(simulate(unravel(parameters), noise))
        misses = drawn.reshape(2, self.panels // 2, -1).mean(axis=1) - data.moments
        misses = misses / jnp.sqrt(jnp.maximum(spread, LEAST_SPREAD**2))
        misses = misses / jnp.sqrt(1.0 + (misses / FAR) ** 2)
        weights = _weights(self.n_units, self.n_periods, rates.placebo_weight)
        distance = (weights * misses[0] * misses[1]).sum() / weights.sum()
        return distance + TETHER * ((parameters - start) ** 2).sum(), drawn


def target(values: Float[np.ndarray, "unit period"]) -> Target:
    """Describe standardized data, and choose the start of the fit."""
    found = jax.jit(flat_moments)(jnp.asarray(values, jnp.float32))
    return Target(found, first_model(values))


def fitted_model(data: Target, state: State) -> StructuralModel:
    """Return the averaged parameters of the last step."""
    return ravel_pytree(data.start)[1](state.average)


def flat_moments(values: Float[Array, "unit period"]) -> Float[Array, " moment"]:
    """Return all moments as one vector."""
    return ravel_pytree(moments(values))[0]


def positions(n_units: int, n_periods: int) -> dict[str, np.ndarray]:
    """Return where each moment stands in the vector."""
    shape = jax.ShapeDtypeStruct((n_units, n_periods), jnp.float32)
    found, places, at = jax.eval_shape(moments, shape), {}, 0
    for name in sorted(found):
        places[name] = np.arange(at, at + found[name].size)
        at += found[name].size
    return places


def _weights(n_units: int, n_periods: int, placebo_weight: Array) -> Array:
    """Return the moments' weights: 1, or by name."""
    places = positions(n_units, n_periods)
    weights = np.ones(sum(len(place) for place in places.values()), np.float32)
    placebo = np.zeros_like(weights)
    for name, weight in EMPHASIS.items():
        weights[places[name]] = weight
    for name in ("placebo_size", "placebo_variance"):
        weights[places[name]], placebo[places[name]] = 0.0, 1.0
    return jnp.asarray(weights) + placebo * placebo_weight


def _adam() -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(5.0), optax.scale_by_adam(b2=0.99))


def lags_of(n_periods: int) -> tuple[int, ...]:
    """Return the lags identified by a panel of this many periods."""
    return tuple(lag for lag in LAGS if lag <= n_periods // 5)


def windows_of(n_periods: int) -> tuple[int, ...]:
    """Return the lengths of the windows, longest first."""
    return tuple(n_periods // parts for parts in PARTS if n_periods // parts >= 4)


def moments(values: Float[Array, "unit period"]) -> dict[str, Array]:
    """Describe a panel by scalars and short vectors."""
    n_units, n_periods = values.shape
    means = values.mean(axis=1)
    deviations = values - means[:, None]
    path = deviations.mean(axis=0)
    series = jnp.concatenate([deviations, deviations - path, path[None]])
    sizes = jnp.sqrt((series**2).mean(axis=1))
    standardized = series / sizes[:, None]
    units, residuals = slice(0, n_units), slice(n_units, 2 * n_units)
    acf, absolute = _autocorrelations(standardized), _autocorrelations(_magnitudes(standardized))
    slow, epochs = _slow_variances(standardized), _epochs(standardized)
    fourth = jnp.log((standardized**4).mean(axis=1))
    skewness = (standardized**3).mean(axis=1)
    own = standardized[units]
    sd = sizes[units] * np.sqrt(n_periods / (n_periods - 1))
    with_path = own @ standardized[-1] / n_periods
    figures = jnp.stack([means, jnp.log(sd), acf[0, units], with_path, fourth[units]])
    placebo = placebo_parts(series[residuals])
    return {
        **_of_units(figures),
        "sd": sd.mean(),
        "acf": acf[:, units].mean(axis=1),
        "acf_sd": acf[:2, units].std(axis=1, ddof=1),
        **_dependence(own @ own.T / n_periods),
        "kurtosis": jnp.exp(fourth[units]).mean(),
        "kurtosis_median": jnp.exp(jnp.sort(fourth[units])[n_units // 2]),
        "skewness": skewness[units].mean(),
        "abs_acf": absolute[:, units].mean(axis=1),
        "path_variance": sizes[-1] ** 2,
        "path_acf": acf[:, -1],
        "path_slow": jnp.log(slow[:, -1]),
        "path_kurtosis": fourth[-1],
        "path_skewness": skewness[-1],
        "path_abs_acf": absolute[:, -1],
        "path_epochs": epochs[:, -1],
        "residual_acf": acf[:, residuals].mean(axis=1),
        "residual_slow": jnp.log(slow[:, residuals].mean(axis=1)),
        "epochs": epochs[:, residuals].mean(axis=1),
        "placebo_size": placebo_size(placebo.mean() / (sizes[residuals] ** 2).mean()),
        "placebo_variance": placebo.mean(),
        "placebo_spread": placebo.std(ddof=1) / placebo.mean(),
    }


def placebo_parts(residuals: Float[Array, "unit period"]) -> Float[Array, " unit"]:
    """Return each unit's part in the variance of a placebo estimate.

    Half of the units adopt, at dates drawn evenly from the middle half of the periods. The
    numerator of a two-way estimate sums the two-way residuals of adopters after their dates; its
    variance, over who adopts and when, is the parts' mean times half of the cells.
    """
    n_periods = residuals.shape[1]
    after = residuals[:, ::-1].cumsum(axis=1)[:, ::-1]
    after = after[:, n_periods // 4 : n_periods - n_periods // 4]
    return ((after**2).mean(axis=1) - 0.5 * after.mean(axis=1) ** 2) / n_periods


def placebo_size(inflation: Float[Array, ""]) -> Float[Array, ""]:
    """Return the rejection rate of a 5 % placebo test that assumes independent observations.

    ``inflation`` is the mean of the parts over the variance of the residuals. Treatment as in
    `placebo_parts`, less unit and period means, has a variance of 7/96 in large panels.
    """
    design_effect = 0.5 * inflation / (7 / 96)
    return 2.0 * jax.scipy.special.ndtr(-1.96 / jnp.sqrt(design_effect))


def _of_units(figures: Float[Array, "figure unit"]) -> dict[str, Array]:
    """Describe the units' means, scales, persistence, ties to the mean path, and tails."""
    deviations = figures - figures.mean(axis=1, keepdims=True)
    covariance = deviations @ deviations.T / (figures.shape[1] - 1)
    sd = jnp.sqrt(jnp.diag(covariance))
    return {
        "unit_mean": figures.mean(axis=1)[jnp.array([0, 4])],
        "unit_sd": sd,
        "unit_correlation": (covariance / sd / sd[:, None])[np.triu_indices(len(sd), 1)],
    }


def _dependence(correlations: Float[Array, "unit unit"]) -> dict[str, Array]:
    """Return mean and mean square of the correlations of pairs."""
    n_units = correlations.shape[0]
    pairs = n_units * (n_units - 1)
    return {
        "cross": (correlations.sum() - n_units) / pairs,
        "cross_square": ((correlations**2).sum() - n_units) / pairs,
    }


def _magnitudes(standardized: Array) -> Array:
    size = jnp.abs(standardized)
    return size - size.mean(axis=1, keepdims=True)


def _autocorrelations(series: Float[Array, "series period"]) -> Float[Array, "lag series"]:
    products = [
        (series[:, lag:] * series[:, :-lag]).sum(axis=1) for lag in lags_of(series.shape[1])
    ]
    return jnp.stack(products) / (series**2).sum(axis=1)


def _slow_variances(standardized: Array) -> Float[Array, "window series"]:
    """Return variances of averages over windows, times lengths: 1 for white noise."""
    totals = standardized.cumsum(axis=1)
    variances = []
    for window in windows_of(standardized.shape[1]):
        sums = totals[:, window - 1 :: window]
        sums = jnp.diff(sums, axis=1, prepend=0.0)
        variances.append((sums**2).mean(axis=1) / window)
    return jnp.stack(variances)


def _epochs(standardized: Array) -> Float[Array, "window series"]:
    """Return the standard deviation of log variances between epochs."""
    totals = (standardized**2).cumsum(axis=1)
    spreads = []
    for window in windows_of(standardized.shape[1])[1:]:
        variances = jnp.diff(totals[:, window - 1 :: window], axis=1, prepend=0.0) / window
        spreads.append(jnp.log(variances + 1e-3).std(axis=1))
    return jnp.stack(spreads)
