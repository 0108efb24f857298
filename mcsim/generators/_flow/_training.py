"""Maximum likelihood for a flow, ended by units that copies of it have not seen.

Loshchilov & Hutter (2019), Decoupled weight decay regularization, ICLR.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from mcsim.generators._flow._law import FlowParams, FlowPlan
from mcsim.generators._held_out import (
    WORST,
    Judgment,
    copied,
    in_vain,
    judge,
    mean_over,
    seen_by,
    unjudged,
)
from mcsim.generators._vectors._training_rows import Rows

ADAM = optax.chain(optax.clip_by_global_norm(5.0), optax.scale_by_adam(b1=0.9, b2=0.99))
AVERAGE = 0.95  # decay of the moving average of the parameters, which is judged and kept


class FlowData(NamedTuple):
    """Whitened units, the fold of each, and the rotations before the turned layers."""

    rows: Rows
    fold: Any
    turns: Any


class Rates(NamedTuple):
    """The traced part of a configuration."""

    learning_rate: Array
    weight_decay: Array
    jitter: Array
    steps: Array


class Losses(NamedTuple):
    """Minus the mean log densities of whitened vectors, trained on and held out."""

    train: Any
    held: Any


class State(NamedTuple):
    """What changes: parameters by copy, their moving average, and the judgment of it."""

    params: FlowParams
    average: FlowParams
    adam: Any
    judgment: Judgment
    key: Array


@dataclass(frozen=True)
class FlowLikelihood:
    """The algorithm: structure, folds, units per step, steps without improvement that end it."""

    plan: FlowPlan
    folds: int
    batch_size: int
    patience: int

    @property
    def remedy(self) -> str:
        """What to do if the fit diverges."""
        return "halve learning_rate, or look for extreme values in the data"

    def first_state(self, data: FlowData, key: Array) -> State:
        """Return the state before the first step: the normal law."""
        first, steps = jax.random.split(key)
        own = self.plan.initialize(first)
        params = copied(own, self.folds)
        return State(params, params, jax.vmap(ADAM.init)(params), unjudged(own), steps)

    def step(
        self, data: FlowData, rates: Rates, state: State, number: Array
    ) -> tuple[State, Losses]:
        """Judge the copies by the units that they have not seen, then let all take a step."""
        held = self._held(state.average, data)
        judgment = judge(state.judgment, state.average, held, number, 0.0)
        rows, noise = jax.random.split(jax.random.fold_in(state.key, number))
        chosen = data.rows.draw(rows, self.batch_size)
        batch = jnp.asarray(data.rows.vectors)[chosen]
        batch += rates.jitter * jax.random.normal(noise, batch.shape, jnp.float32)
        seen = seen_by(jnp.asarray(data.fold)[chosen], self.folds)

        def improve(params: FlowParams, adam: Any, seen: Array) -> tuple:
            loss, slope = jax.value_and_grad(self._loss)(params, data, batch, seen)
            update, adam = ADAM.update(slope, adam)
            return _descended(params, update, rates), adam, loss

        params, adam, losses = jax.vmap(improve)(state.params, state.adam, seen)
        average = jax.tree.map(lambda a, p: AVERAGE * a + (1 - AVERAGE) * p, state.average, params)
        state = State(params, average, adam, judgment, state.key)
        return state, Losses(losses[0], jnp.minimum(held, WORST))

    def finished(self, state: State) -> Array:
        """Say whether held-out units have not become likelier for long."""
        return in_vain(state.judgment, self.patience, self.folds)

    def _loss(self, params: FlowParams, data: FlowData, batch: Array, seen: Array) -> Array:
        likely = self.plan.log_density(params, jnp.asarray(data.turns), batch)
        return mean_over(-likely, seen)

    def _held(self, average: FlowParams, data: FlowData) -> Array:
        """Return minus the mean log density of units under the copies that left them out."""
        own = jax.tree.map(lambda leaf: leaf[jnp.asarray(data.fold) + 1], average)
        turns, vectors = jnp.asarray(data.turns), jnp.asarray(data.rows.vectors)
        likely = jax.vmap(lambda params, z: self.plan.log_density(params, turns, z[None])[0])
        real = data.rows.real
        return -jnp.where(real, likely(own, vectors), 0.0).sum() / data.rows.count


def _descended(params: FlowParams, update: Any, rates: Rates) -> FlowParams:
    """Return parameters after a step with decoupled weight decay."""
    rate, decay = rates.learning_rate, rates.weight_decay
    return jax.tree.map(lambda p, u: p - rate * (u + decay * p), params, update)
