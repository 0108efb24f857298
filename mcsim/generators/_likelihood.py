"""One step of maximum likelihood with dropout, as a pure function for `lax.scan`.

Rows are drawn evenly within arms; each column's network sees the real columns before it.

References
----------
Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov (2014), Dropout: a simple way to prevent
neural networks from overfitting, JMLR 15: 1929-1958. Loshchilov & Hutter (2019), Decoupled weight
decay regularization, ICLR.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from mcsim.generators._adversary import TrainingData
from mcsim.generators._architecture import Architecture, Features
from mcsim.generators._drawing import log_likelihood
from mcsim.generators._networks import Params, Sizes, initialize

ADAM = optax.scale_by_adam(b1=0.9, b2=0.99)
FIRST_OUTPUTS = 0.1


class Rates(NamedTuple):
    learning_rate: Array
    weight_decay: Array
    dropout: Array
    steps: Array


class Losses(NamedTuple):
    likelihood: Any


class State(NamedTuple):
    params: tuple[Params, ...]
    adam: Any
    key: Array


@dataclass(frozen=True)
class Likelihood:
    """The recipe."""

    architecture: Architecture
    arm_rows: tuple[int, ...]
    dropped: bool

    @property
    def remedy(self) -> str:
        return "halve learning_rate, or look for extreme values in the data"

    def first_state(self, data: TrainingData, key: Array) -> State:
        first, steps = jax.random.split(key)
        networks = self.architecture.sizes
        params = initialize(first, networks, (FIRST_OUTPUTS,) * len(networks))
        return State(params, ADAM.init(params), steps)

    def step(
        self, data: TrainingData, rates: Rates, state: State, number: Array
    ) -> tuple[State, Losses]:
        rows, masks = jax.random.split(jax.random.fold_in(state.key, number))
        index = self._rows(data, rows)
        batch = Features(*(part[index] for part in data.rows))

        def loss(params: Any) -> Array:
            return (
                -log_likelihood(
                    self.architecture, data.tables, params, batch, self._network(rates, masks)
                )
                .sum(axis=1)
                .mean()
            )

        value, gradient = jax.value_and_grad(loss)(state.params)
        update, adam = ADAM.update(gradient, state.adam)
        decay = 0.5 * (1 + jnp.cos(jnp.pi * number / rates.steps)).astype(jnp.float32)
        rate = rates.learning_rate * decay
        params = jax.tree.map(
            lambda p, u: p - rate * (u + rates.weight_decay * p), state.params, update
        )
        return State(params, adam, state.key), Losses(value)

    def finished(self, state: State) -> Array:
        return jnp.zeros((), bool)

    def _rows(self, data, key):
        uniforms = jax.random.uniform(key, (sum(self.arm_rows),), jnp.float32)
        drawn, start = [], 0
        for pool, count in zip(data.pools, self.arm_rows, strict=True):
            place = (uniforms[start : start + count] * pool.count).astype(jnp.int32)
            drawn.append(pool.rows[jnp.minimum(place, pool.count - 1)])
            start += count
        return jnp.concatenate(drawn)

    def _network(self, rates, key):
        units = sum(sum(sizes[1:-1]) for sizes in self.architecture.sizes)
        keep = jax.random.bits(key, (sum(self.arm_rows), units), jnp.uint8) >= 256 * rates.dropout
        scaled = keep / (1 - rates.dropout)
        start = 0

        def network(sizes, params, x):
            nonlocal start
            for layer in range(len(sizes) - 1):
                linear = params[f"layer_{layer}"]
                x = x @ linear["kernel"] + linear["bias"]
                if layer < len(sizes) - 2:
                    x = jax.nn.leaky_relu(x, 0.2)
                    if self.dropped:
                        x = x * scaled[:, start : start + sizes[layer + 1]].astype(jnp.float32)
                        start += sizes[layer + 1]
            return x

        return network
