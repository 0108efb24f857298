"""The recipe of a Wasserstein GAN for vectors: gradient penalty, and moments that are matched.

References
----------
Gulrajani et al. (2017), Improved training of Wasserstein GANs, NeurIPS. Petzka, Fischer &
Lukovnikov (2018), On the regularization of Wasserstein GANs, ICLR: the one-sided penalty. Esteban,
Mourad & Kacprzyk (2023), MargCTGAN, GCPR: matched moments.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from mcsim.generators._networks import Params
from mcsim.generators._vector_adversary import Rates, VectorAdversary, VectorData, Vectors


class Losses(NamedTuple):
    """What is recorded at every step, before its weights."""

    critic: Any
    penalty: Any
    moments: Any


@dataclass(frozen=True)
class Wasserstein(VectorAdversary):
    """The critic learns the distance of two laws, the generator to make it small."""

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

    def generator_loss(
        self, fake: Vectors, critic: Params, data: VectorData, rates: Rates
    ) -> tuple[Array, Array]:
        """Return minus the critic's score, and the distance of means and covariance."""
        moments = _moment_distance(fake, jnp.asarray(data.covariance))
        return rates.moment_weight * moments - self.score(critic, fake).mean(), moments

    def losses(self, of_critic: tuple[Array, Array], of_generator: Array) -> Losses:
        """Record distance, penalty and moments."""
        return Losses(*of_critic, of_generator)


def _moment_distance(fake: Vectors, covariance: Array) -> Array:
    """Estimate the squared distance of first and second moments without bias, from two halves.

    The mean of scores is zero.
    """
    halves = fake[::2], fake[1::2]
    one, two = (half.T @ half / len(half) - covariance for half in halves)
    means = halves[0].mean(axis=0) @ halves[1].mean(axis=0)
    return ((one * two).sum() / len(covariance) + means) / len(covariance)
