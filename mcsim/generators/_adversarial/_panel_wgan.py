"""A Wasserstein GAN for vectors: gradient penalty, lengths shown to the critic, moments matched.

The networks see whitened vectors, in which no direction is so small that the critic misses it.

References
----------
Gulrajani et al. (2017), Improved training of Wasserstein GANs, NeurIPS. Petzka, Fischer &
Lukovnikov (2018), On the regularization of Wasserstein GANs, ICLR: the one-sided penalty. Esteban,
Mourad & Kacprzyk (2023), MargCTGAN, GCPR: matched moments.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from mcsim.generators._adversarial._vector_adversary import (
    Generated,
    Rates,
    VectorAdversary,
    Vectors,
    adversaries,
)
from mcsim.generators._networks import Params, apply
from mcsim.generators._options import filled
from mcsim.generators._training._panels import Learned
from mcsim.generators._training._steps import numbers_of, train_members
from mcsim.generators._vectors._coding import Scores
from mcsim.generators._vectors._covariance import square_root
from mcsim.generators._vectors._lengths import length_groups, log_lengths
from mcsim.generators._vectors._training_rows import padded_rows

LARGE = 200  # units from which the wider networks are the default


class Losses(NamedTuple):
    """What is recorded at every step, before its weights."""

    critic: Any
    penalty: Any
    moments: Any


@dataclass(frozen=True)
class Wasserstein(VectorAdversary):
    """The critic learns the distance of two laws, the generator to make it small.

    The critic is told the lengths of ``groups`` of coordinates: how volatile a unit is.
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
        """What to do if the fit diverges."""
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

    Those of whitened vectors are zero and the identity.
    """
    halves, size = (fake[::2], fake[1::2]), fake.shape[1]
    one, two = (half.T @ half / len(half) - jnp.eye(size, dtype=jnp.float32) for half in halves)
    means = halves[0].mean(axis=0) @ halves[1].mean(axis=0)
    return ((one * two).sum() / size + means) / size


def learn_vectors(
    config: Any, keys: Sequence[Array], data: Sequence[Scores], progress: bool
) -> list[Learned]:
    """Whiten, train, and take the average generator; the options are those of a `WGAN`."""
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
    """Return the options of a `WGAN` with those that are None chosen for a panel."""
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
