"""One step of maximum likelihood for a flow: jitter, weight decay, and stopping by held-out units.

References
----------
Loshchilov & Hutter (2019), Decoupled weight decay regularization, ICLR. Prechelt (1998), Early
stopping - but when? in Neural networks: tricks of the trade.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from mcsim.generators._flow_law import Couplings, FlowParams
from mcsim.generators._training_rows import Rows, Split

ADAM = optax.chain(optax.clip_by_global_norm(5.0), optax.scale_by_adam(b1=0.9, b2=0.99))
RUNAWAY = 1e3  # of held-out units: an outlier that training never saw is no divergence
AVERAGE = 0.95  # decay of the moving average of the parameters, which is judged and kept


class Rates(NamedTuple):
    """The traced part of a configuration."""

    learning_rate: Array
    weight_decay: Array
    jitter: Array
    steps: Array


class Losses(NamedTuple):
    """Minus the mean log density of whitened vectors, trained on and held out."""

    train: Any
    held: Any


class State(NamedTuple):
    """What changes from step to step; ``best`` are the parameters that judged best so far."""

    params: FlowParams
    average: FlowParams
    adam: Any
    best: FlowParams
    lowest: Array
    since: Array
    key: Array


@dataclass(frozen=True)
class Likelihood:
    """The recipe: structure, units per step, steps without improvement after which it ends."""

    couplings: Couplings
    batch_size: int
    patience: int

    @property
    def remedy(self) -> str:
        """What to do if the fit diverges."""
        return "halve learning_rate, or look for extreme values in the data"

    def first_state(self, data: Split, key: Array) -> State:
        """Return the state before the first step: the normal law."""
        first, steps = jax.random.split(key)
        params = self.couplings.initialize(first)
        lowest, since = jnp.full((), jnp.inf, jnp.float32), jnp.zeros((), jnp.int32)
        return State(params, params, ADAM.init(params), params, lowest, since, steps)

    def step(self, data: Split, rates: Rates, state: State, number: Array) -> tuple[State, Losses]:
        """Judge the parameters, then take a step."""
        held = -self._mean(state.average, data.held)
        better = held < state.lowest
        best = jax.tree.map(lambda a, b: jnp.where(better, a, b), state.average, state.best)
        since = jnp.where(better, 0, state.since + 1)
        lowest = jnp.minimum(held, state.lowest)
        rows, noise = jax.random.split(jax.random.fold_in(state.key, number))
        batch = data.train.batch(rows, self.batch_size)
        batch = batch + rates.jitter * jax.random.normal(noise, batch.shape, jnp.float32)
        value, gradient = jax.value_and_grad(
            lambda params: -self.couplings.log_density(params, batch).mean()
        )(state.params)
        update, adam = ADAM.update(gradient, state.adam)
        params = jax.tree.map(
            lambda p, u: p - rates.learning_rate * (u + rates.weight_decay * p),
            state.params,
            update,
        )
        average = jax.tree.map(
            lambda a, p: AVERAGE * a + (1 - AVERAGE) * p, state.average, params
        )
        return (
            State(params, average, adam, best, lowest, since, state.key),
            Losses(value, jnp.minimum(held, RUNAWAY)),
        )

    def finished(self, state: State) -> Array:
        """Say whether the held-out units have not become likelier for long."""
        return state.since >= self.patience

    def _mean(self, params: Any, rows: Rows) -> Array:
        return rows.mean(self.couplings.log_density(params, jnp.asarray(rows.vectors)))
