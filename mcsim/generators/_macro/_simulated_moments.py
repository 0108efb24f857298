"""Simulated moments: a skeleton is moved until the panels that it draws have the data's moments.

Each step draws fresh panels. Their halves give two independent misses of every moment, whose
product is an unbiased estimate of the squared miss (no reward for a small sampling variance);
misses count in sampling standard deviations, as the skeleton itself has them.

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

from mcsim.generators._macro._moments import EMPHASIS, moments
from mcsim.generators._macro._skeleton import Skeleton, draw_noise, first_skeleton, simulate

FADE = 0.05  # weight of a step in the running variance of the moments
FIRST_SPREAD = 0.1  # of a moment, squared, before the first draws
FAR = 10.0  # standard deviations from which a miss is hardly the worse for more
LEAST_SPREAD = 0.02  # of a moment: closer need not be
TETHER = 1e-4  # weight of the squared distance from the first skeleton


class Rates(NamedTuple):
    """The numbers of a fit."""

    steps: Array
    learning_rate: Array
    average: Array
    placebo_weight: Array


class Target(NamedTuple):
    """The data's moments, and where the fit starts."""

    moments: Float[Array, " moment"]
    start: Skeleton


class State(NamedTuple):
    """What a step hands to the next; parameters as one vector, which compiles faster."""

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
        """Start."""
        start, _ = ravel_pytree(data.start)
        spread = jnp.full_like(data.moments, FIRST_SPREAD)
        return State(start, start, _adam().init(start), spread, key)

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

    def finished(self, state: State) -> Array:
        """Never before the last step."""
        return jnp.asarray(False)

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
    """Describe standardized data, and choose where the fit starts."""
    found = jax.jit(flat_moments)(jnp.asarray(values, jnp.float32))
    return Target(found, first_skeleton(values))


def fitted_skeleton(data: Target, state: State) -> Skeleton:
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
    """Return the moments' weights: 1, or what their names say."""
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
