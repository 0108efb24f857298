"""Two networks against each other on vectors: what GAN and WGAN share, as a step for `lax.scan`.

A generator turns noise into vectors, a critic sees vectors. Goodfellow et al. (2014), Generative
adversarial nets, NeurIPS.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mcsim._pytree import pytree
from mcsim.generators._networks import Network, Params, Reader, Writer, apply, initialize
from mcsim.generators._vectors._layout import Layout
from mcsim.generators._vectors._training_rows import Rows

Vectors = Float[Array, "row coordinate"]


class Rates(NamedTuple):
    """The traced part of a configuration."""

    learning_rate: Array
    critic_learning_rate: Array
    gradient_penalty: Array
    moment_weight: Array
    average: Array
    steps: Array


class State(NamedTuple):
    """What changes from step to step; ``average`` is the moving average that draws in the end."""

    generator: Params
    average: Params
    critic: Params
    generator_adam: Any
    critic_adam: Any
    key: Array


@dataclass(frozen=True)
class VectorAdversary(ABC):
    """The algorithm: networks, size of noise, units per batch, the critic's batches in a step."""

    generator: Network
    critic: Network
    noise: int
    batch_size: int
    critic_steps: int

    @property
    @abstractmethod
    def adam(self) -> Any:
        """The optimizer of both networks, before the step size."""

    @property
    @abstractmethod
    def remedy(self) -> str:
        """What to do if the fit diverges."""

    @abstractmethod
    def pace(self, rates: Rates, number: Array) -> Array:
        """Return by what the step sizes are multiplied."""

    @abstractmethod
    def critic_loss(
        self, critic: Params, real: Vectors, fake: Vectors, rates: Rates, key: Array
    ) -> tuple[Array, Any]:
        """Return the critic's loss, and what is recorded of it."""

    @abstractmethod
    def generator_loss(self, fake: Vectors, critic: Params, rates: Rates) -> tuple[Array, Any]:
        """Return the generator's loss, and what is recorded of it."""

    @abstractmethod
    def score(self, critic: Params, vectors: Vectors) -> Float[Array, " row"]:
        """Return the critic's score of vectors."""

    @abstractmethod
    def losses(self, of_critic: Any, of_generator: Any) -> Any:
        """Return what is recorded at a step."""

    def first_state(self, data: Rows, key: Array) -> State:
        """Return the state before the first step."""
        first, steps = jax.random.split(key)
        generator, critic = initialize(first, (self.generator, self.critic), (1.0, 1.0))
        adam = self.adam.init(generator), self.adam.init(critic)
        return State(generator, generator, critic, *adam, steps)

    def step(self, data: Rows, rates: Rates, state: State, number: Array) -> tuple[State, Any]:
        """Let the critic take its steps, then the generator one."""
        of_rows, of_noise, of_critic = jax.random.split(jax.random.fold_in(state.key, number), 3)
        pace, batches = self.pace(rates, number), 1 + self.critic_steps
        noise = jax.random.normal(of_noise, (batches, self.batch_size, self.noise), jnp.float32)
        chosen = data.draw(of_rows, self.critic_steps * self.batch_size)
        real = jnp.asarray(data.vectors)[chosen].reshape(self.critic_steps, self.batch_size, -1)

        def improve(carry: tuple, batch: tuple) -> tuple[tuple, Any]:
            (critic, adam), (own, false, key) = carry, batch
            fake = apply(self.generator, state.generator, false)
            slope, shown = jax.grad(self.critic_loss, has_aux=True)(critic, own, fake, rates, key)
            update, adam = self.adam.update(slope, adam)
            return (_descended(critic, update, pace * rates.critic_learning_rate), adam), shown

        draws = real, noise[1:], jax.random.split(of_critic, self.critic_steps)
        first = state.critic, state.critic_adam
        (critic, critic_adam), of_critic = jax.lax.scan(improve, first, draws)
        slope, of_generator = jax.grad(
            lambda own: self.generator_loss(apply(self.generator, own, noise[0]), critic, rates),
            has_aux=True,
        )(state.generator)
        update, generator_adam = self.adam.update(slope, state.generator_adam)
        generator = _descended(state.generator, update, pace * rates.learning_rate)
        keep = jnp.minimum(rates.average, (1 + number) / (10 + number)).astype(jnp.float32)
        average = jax.tree.map(lambda a, b: keep * a + (1 - keep) * b, state.average, generator)
        state = State(generator, average, critic, generator_adam, critic_adam, state.key)
        return state, self.losses(jax.tree.map(jnp.mean, of_critic), of_generator)

    def finished(self, state: State) -> Array:
        """Adversaries are never finished."""
        return jnp.zeros((), bool)


def _descended(params: Params, update: Any, rate: Array) -> Params:
    return jax.tree.map(lambda p, u: p - rate.astype(jnp.float32) * u, params, update)


def adversaries(
    arch: str,
    layout: Layout,
    latent: int,
    hidden: tuple[int, ...],
    critic_hidden: tuple[int, ...],
    features: int = 0,
) -> tuple[Network, Network, int]:
    """Return generator, critic, which sees so many features beside vectors, and size of the noise.

    With LSTMs the first width is the size of their states, and each period has noise of its own.
    """
    if arch == "mlp":
        return (latent, *hidden, layout.size), (layout.size + features, *critic_hidden, 1), latent
    periods, columns, traits = layout.periods, len(layout.paths), len(layout.traits)
    writer = Writer(latent, columns, hidden[0], periods, columns, traits)
    reader = Reader(critic_hidden[0], periods, columns, traits + features, 1)
    return writer, reader, latent + columns * periods


@pytree("root", "params")
@dataclass(frozen=True, eq=False)
class Generated:
    """The law of what a generator makes of noise.

    Attributes
    ----------
    generator : tuple of int or Writer
        The network.
    noise : int
        Size of the noise.
    root : array (coordinate, coordinate)
        What the network's vectors are multiplied by.
    params : pytree
        The network's parameters.
    """

    generator: Network
    noise: int
    root: Any
    params: Any

    def draw(self, key: Array, n_units: int) -> Float[Array, "unit coordinate"]:
        """Draw units."""
        return _draw(self, key, n_units)


@partial(jax.jit, static_argnums=2)
def _draw(law: Generated, key: Array, n_units: int) -> Float[Array, "unit coordinate"]:
    noise = jax.random.normal(key, (n_units, law.noise), jnp.float32)
    return apply(law.generator, law.params, noise) @ law.root
