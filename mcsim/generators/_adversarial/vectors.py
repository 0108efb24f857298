"""Two networks against each other on vectors of scores: the panels of `GAN` and `WGAN`.

A generator turns noise into vectors, a critic scores vectors. `WGAN`'s vectors are whitened,
so that no direction is too small for the critic, which also gets the lengths of vectors; moments
are matched.

References
----------
Goodfellow et al. (2014), Generative adversarial nets, NeurIPS. Gulrajani et al. (2017), Improved
training of Wasserstein GANs, NeurIPS. Petzka, Fischer & Lukovnikov (2018), On the regularization of
Wasserstein GANs, ICLR: the one-sided penalty. Esteban, Mourad & Kacprzyk (2023), MargCTGAN, GCPR:
matched moments.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from mcsim._core.pytree import pytree
from mcsim.generators._networks import Network, Params, Reader, Writer, apply, initialize
from mcsim.generators._scores.coding import Scores
from mcsim.generators._scores.vectors import Layout, length_groups, log_lengths, square_root
from mcsim.generators._training.panel_recipe import Learned
from mcsim.generators._training.steps import (
    Rows,
    first_optimizer_state,
    numbers_of,
    padded_rows,
    train_members,
)
from mcsim.generators._training.trainer import filled

Vectors = Float[Array, "row coordinate"]
LARGE = 200  # units from which the wider networks are the default


class Rates(NamedTuple):
    """The traced part of a configuration."""

    learning_rate: Array
    critic_learning_rate: Array
    gradient_penalty: Array
    moment_weight: Array
    average: Array
    steps: Array


class State(NamedTuple):
    """The state between steps; the generator of the fit is the moving ``average``."""

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
        """The remedy if the fit diverges."""

    @abstractmethod
    def pace(self, rates: Rates, number: Array) -> Array:
        """Return the factor of the step sizes."""

    @abstractmethod
    def critic_loss(
        self, critic: Params, real: Vectors, fake: Vectors, rates: Rates, key: Array
    ) -> tuple[Array, Any]:
        """Return the critic's loss and its recorded parts."""

    @abstractmethod
    def generator_loss(self, fake: Vectors, critic: Params, rates: Rates) -> tuple[Array, Any]:
        """Return the generator's loss and its recorded parts."""

    @abstractmethod
    def score(self, critic: Params, vectors: Vectors) -> Float[Array, " row"]:
        """Return the critic's score of vectors."""

    @abstractmethod
    def losses(self, of_critic: Any, of_generator: Any) -> Any:
        """Return the recorded losses of a step."""

    def first_state(self, data: Rows, key: Array) -> State:
        """Return the state before the first step."""
        first, steps = jax.random.split(key)
        generator, critic = initialize(first, (self.generator, self.critic), (1.0, 1.0))
        zeros = partial(first_optimizer_state, self.adam.init)
        return State(generator, generator, critic, zeros(generator), zeros(critic), steps)

    def step(self, data: Rows, rates: Rates, state: State, number: Array) -> tuple[State, Any]:
        """Take the critic's steps, then one step of the generator."""
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

    def finished(self, state: State) -> bool:
        """Return False: there is no early stopping."""
        return False


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
    """Return generator, critic (with ``features`` inputs beside vectors), and size of the noise.

    With LSTMs the first width is the size of their states, and each period has noise of its own.
    """
    if arch == "mlp":
        return (latent, *hidden, layout.size), (layout.size + features, *critic_hidden, 1), latent
    periods, columns = layout.periods, len(layout.time_varying)
    invariant = len(layout.time_invariant)
    writer = Writer(latent, columns, hidden[0], periods, columns, invariant)
    reader = Reader(critic_hidden[0], periods, columns, invariant + features, 1)
    return writer, reader, latent + columns * periods


@pytree("root", "params")
@dataclass(frozen=True, eq=False)
class Generated:
    """The distribution of a generator's vectors, of standard normal noise.

    Attributes
    ----------
    generator : tuple of int or Writer
        The network.
    noise : int
        Size of the noise.
    root : array (coordinate, coordinate)
        Matrix by which the network's vectors are multiplied.
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
def _draw(distribution: Generated, key: Array, n_units: int) -> Float[Array, "unit coordinate"]:
    noise = jax.random.normal(key, (n_units, distribution.noise), jnp.float32)
    return apply(distribution.generator, distribution.params, noise) @ distribution.root


class Losses(NamedTuple):
    """The recorded losses of a step, before their weights."""

    critic: Any
    penalty: Any
    moments: Any


@dataclass(frozen=True)
class Wasserstein(VectorAdversary):
    """The algorithm of a WGAN: a critic estimates the distance of two distributions.

    Its inputs include lengths of ``groups`` of coordinates, which measure a unit's volatility.
    """

    groups: tuple[tuple[int, int], ...]

    def score(self, critic: Params, vectors: Vectors) -> Float[Array, " row"]:
        """Return the critic's score of vectors and their lengths."""
        lengths = log_lengths(vectors, self.groups)
        return apply(self.critic, critic, jnp.concatenate([vectors, lengths], axis=1))[:, 0]

    @property
    def adam(self) -> Any:
        """Adam without momentum."""
        return optax.scale_by_adam(b1=0.0, b2=0.9)

    @property
    def remedy(self) -> str:
        """The remedy if the fit diverges."""
        return (
            "halve learning_rate and critic_learning_rate, raise gradient_penalty, or look for "
            "extreme values in the data"
        )

    def pace(self, rates: Rates, number: Array) -> Array:
        """Step sizes decay to zero by a cosine."""
        return 0.5 * (1 + jnp.cos(jnp.pi * number / rates.steps)).astype(jnp.float32)

    def critic_loss(
        self, critic: Params, real: Vectors, fake: Vectors, rates: Rates, key: Array
    ) -> tuple[Array, tuple[Array, Array]]:
        """Return minus the distance, and the penalty on slopes steeper than one."""
        share = jax.random.uniform(key, (len(real), 1), jnp.float32)
        between = share * real + (1 - share) * fake
        slope = jax.grad(lambda x: self.score(critic, x).sum())(between)
        norm = jnp.sqrt((slope**2).sum(axis=1) + 1e-12)
        penalty = (jnp.maximum(norm - 1, 0.0) ** 2).mean()
        distance = self.score(critic, real).mean() - self.score(critic, fake).mean()
        return rates.gradient_penalty * penalty - distance, (distance, penalty)

    def generator_loss(self, fake: Vectors, critic: Params, rates: Rates) -> tuple[Array, Array]:
        """Return minus the critic's score, and the distance of means and covariance."""
        moments = _moment_distance(fake)
        return rates.moment_weight * moments - self.score(critic, fake).mean(), moments

    def losses(self, of_critic: tuple[Array, Array], of_generator: Array) -> Losses:
        """Record distance, penalty and moments."""
        return Losses(*of_critic, of_generator)


def _moment_distance(fake: Vectors) -> Array:
    """Estimate the squared distance of first and second moments without bias, from two halves.

    Moments of whitened vectors are zero and the identity.
    """
    halves, size = (fake[::2], fake[1::2]), fake.shape[1]
    one, two = (half.T @ half / len(half) - jnp.eye(size, dtype=jnp.float32) for half in halves)
    means = halves[0].mean(axis=0) @ halves[1].mean(axis=0)
    return ((one * two).sum() / size + means) / size


def learn_vectors(
    config: Any, keys: Sequence[Array], data: Sequence[Scores], progress: bool
) -> list[Learned]:
    """Whiten, train, and return the average generators; the options are of a `WGAN`."""
    config = _resolved(config, data)
    layout, roots = data[0].coding.layout, [square_root(scores.covariance) for scores in data]
    groups = length_groups(layout)
    networks = adversaries(
        config.arch, layout, config.latent, config.hidden, config.critic_hidden, len(groups)
    )
    algorithm = Wasserstein(*networks, config.batch_size, config.critic_steps, groups)
    rates = numbers_of(config, Rates)
    rows = padded_rows(
        [np.linalg.solve(r, scores.vectors.T).T for r, scores in zip(roots, data, strict=True)]
    )
    network = algorithm.generator, algorithm.noise
    return [
        Learned(Generated(*network, root.astype(np.float32), state.average), losses)
        for root, (state, losses) in zip(
            roots, train_members(algorithm, rows, rates, keys, progress), strict=True
        )
    ]


def _resolved(config: Any, data: Sequence[Scores]) -> Any:
    """Replace the options of a `WGAN` at None by the defaults for a panel."""
    recurrent = config.arch == "lstm"
    large = max(len(scores.vectors) for scores in data) >= LARGE
    widths = (32,) if recurrent else (128, 128) if large else (64, 64)
    steps = (500 if large else 400) if recurrent else 2_000
    defaults = {
        "hidden": widths,
        "critic_hidden": widths,
        "latent": 4 if recurrent else data[0].coding.layout.size,
        "steps": steps,
        "batch_size": 64,
        "critic_steps": 3,
        "moment_weight": 1.0,
    }
    return filled(config, **defaults)
