"""One step of maximum likelihood on rows of a cross-section, as a pure function for `lax.scan`.

Every column's network sees the real columns before it; hidden units drop out, and weights decay.

References
----------
Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov (2014), Dropout: a simple way to prevent
neural networks from overfitting, JMLR 15: 1929-1958. Loshchilov & Hutter (2019), Decoupled weight
decay regularization, ICLR.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from mcsim.generators._cross_sections.architecture import Architecture, Features
from mcsim.generators._cross_sections.drawing import log_likelihood
from mcsim.generators._cross_sections.preparation import (
    Batches,
    LearnedColumns,
    Pool,
    TrainingRows,
    arm_rows,
    training_rows,
)
from mcsim.generators._networks import Params, Sizes, initialize
from mcsim.generators._training.steps import numbers_of, train_members

ADAM = optax.scale_by_adam(b1=0.9, b2=0.99)
FIRST_OUTPUTS = 0.1  # at the start, columns are drawn almost independently of each other
SLOPE = 0.2  # of the leaky rectifier, as in `_networks`


class Rates(NamedTuple):
    """The traced part of a configuration."""

    learning_rate: Array
    weight_decay: Array
    dropout: Array
    steps: Array


class Losses(NamedTuple):
    """Minus the mean log likelihood of a step's rows."""

    likelihood: Any


class State(NamedTuple):
    """What changes from step to step."""

    params: tuple[Params, ...]
    adam: Any
    key: Array


@dataclass(frozen=True)
class Likelihood:
    """The algorithm: heads and networks, rows of each arm per step, whether units drop out."""

    architecture: Architecture
    arm_rows: tuple[int, ...]
    drops: bool

    @property
    def remedy(self) -> str:
        """What to do if the fit diverges."""
        return "halve learning_rate, or look for extreme values in the data"

    def first_state(self, data: TrainingRows, key: Array) -> State:
        """Return the state before the first step."""
        first, steps = jax.random.split(key)
        networks = self.architecture.sizes
        params = initialize(first, networks, (FIRST_OUTPUTS,) * len(networks))
        return State(params, ADAM.init(params), steps)

    def step(
        self, data: TrainingRows, rates: Rates, state: State, number: Array
    ) -> tuple[State, Losses]:
        """Take a step."""
        of_rows, of_units = jax.random.split(jax.random.fold_in(state.key, number))
        index = draw_rows(data.pools, self.arm_rows, of_rows)
        batch = Features(*(part[index] for part in data.rows))
        networks = self._dropping(rates, of_units) if self.drops else ()

        def misfit(params: tuple[Params, ...]) -> Array:
            parts = log_likelihood(self.architecture, data.tables, params, batch, networks)
            return -parts.sum(axis=1).mean()

        value, gradient = jax.value_and_grad(misfit)(state.params)
        update, adam = ADAM.update(gradient, state.adam)
        decay = 0.5 * (1 + jnp.cos(jnp.pi * number / rates.steps)).astype(jnp.float32)
        rate = rates.learning_rate * decay
        params = jax.tree.map(
            lambda p, u: p - rate * (u + rates.weight_decay * p), state.params, update
        )
        return State(params, adam, state.key), Losses(value)

    def finished(self, state: State) -> Array:
        """Say that all steps are taken."""
        return jnp.zeros((), bool)

    def _dropping(self, rates: Rates, key: Array) -> tuple[Any, ...]:
        """Return the columns' networks, without a random share of their hidden units."""
        widths = [sum(sizes[1:-1]) for sizes in self.architecture.sizes]
        # One call for all columns, and a byte per unit: random bits are what a step costs.
        bits = jax.random.bits(key, (sum(self.arm_rows), sum(widths)), jnp.uint8)
        keep, networks, start = bits >= 256 * rates.dropout, [], 0
        for width in widths:
            networks.append(partial(apply_some, keep[:, start : start + width], rates.dropout))
            start += width
        return tuple(networks)


def draw_rows(pools: tuple[Pool, ...], counts: tuple[int, ...], key: Array) -> Int[Array, " row"]:
    """Return row numbers: fixed numbers from each pool, with replacement."""
    uniforms, drawn, start = jax.random.uniform(key, (sum(counts),), jnp.float32), [], 0
    for pool, count in zip(pools, counts, strict=True):
        place = (uniforms[start : start + count] * pool.count).astype(jnp.int32)
        drawn.append(pool.rows[jnp.minimum(place, pool.count - 1)])
        start += count
    return jnp.concatenate(drawn)


def apply_some(
    keep: Bool[Array, "row unit"],
    dropout: Array,
    sizes: Sizes,
    params: Params,
    x: Float[Array, "row input"],
) -> Float[Array, "row output"]:
    """Return a perceptron's outputs where only the units in ``keep`` are there."""
    start, last = 0, len(sizes) - 2
    for layer in range(last + 1):
        x = x @ params[f"layer_{layer}"]["kernel"] + params[f"layer_{layer}"]["bias"]
        if layer < last:
            stop = start + sizes[layer + 1]
            x = jnp.where(keep[:, start:stop], jax.nn.leaky_relu(x, SLOPE) / (1 - dropout), 0.0)
            start = stop
    return x


def learn_columns(
    config: Any,
    keys: Sequence[Array],
    architecture: Architecture,
    columns: dict[str, np.ndarray],
    arms: np.ndarray,
    rows: Sequence[np.ndarray],
    progress: bool,
) -> list[LearnedColumns]:
    """Learn a cross-section by maximum likelihood: a resolved `Autoregressive`."""
    counts = arm_rows(arms, Batches(config.batch_size, config.smallest_arm, 0.0))
    algorithm = Likelihood(architecture, counts, bool(config.dropout))
    data = [training_rows(architecture, columns, arms, own) for own in rows]
    trained = train_members(algorithm, data, numbers_of(config, Rates), keys, progress)
    return [(own, state.params, losses) for own, (state, losses) in zip(data, trained, strict=True)]
