"""The chapter's generative adversarial network, for panels: the configuration is the trainer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from mcsim._core.calls import with_remedies
from mcsim.generators._adversarial.vectors import (
    Generated,
    Rates,
    VectorAdversary,
    Vectors,
    adversaries,
)
from mcsim.generators._networks import Params, apply
from mcsim.generators._options import (
    POSITIVE,
    faults_of_choices,
    faults_of_counts,
    faults_of_numbers,
    faults_of_switches,
    faults_of_widths,
)
from mcsim.generators._scores.coding import Scores
from mcsim.generators._training.fitted_panel import FittedPanel
from mcsim.generators._training.panels import Learned, PanelRecipe, of_scores
from mcsim.generators._training.steps import padded_rows, train_members
from mcsim.generators._training.trainer import Trainer


@with_remedies()
@dataclass(frozen=True, kw_only=True)
class GAN(Trainer[FittedPanel]):
    """A generative adversarial network, as small as the chapter that started this project has it.

    A generator of two latent states and one hidden layer of 16, a discriminator as large, 1,000
    steps: it is here to be looked at, not to be used. Nearly all variance of its units is in two
    directions, and placebo effects vary half as much as they should. Use `WGAN` or `VAE`.

    Parameters
    ----------
    latent : int
        Size of the noise; with LSTMs each period has noise of its own, one for each column, beside.
    hidden : tuple of int
        Widths of the hidden layers of generator and discriminator; with LSTMs the first is the size
        of their states.
    arch : {"mlp", "lstm"}
        Perceptrons on whole vectors, or networks that go from period to period.
    steps : int
        Steps; in each the discriminator takes one, then the generator.
    batch_size : int
        Units of a batch; the discriminator sees half as many real and half as many generated ones.
    learning_rate : float
        Adam's step size.
    calibrate : bool
        Whether drawn vectors get the covariance and the margins of the data, which the network
        alone does not learn.
    common_shocks, cluster, missing
        As in every trainer of panels: `VAE`.

    References
    ----------
    Goodfellow et al. (2014), Generative adversarial nets, NeurIPS: the loss that does not saturate.

    Examples
    --------
    >>> import jax
    >>> from mcsim import Panel
    >>> level = jax.random.normal(jax.random.key(1), (40, 1))
    >>> panel = Panel({"y": level + jax.random.normal(jax.random.key(2), (40, 5))})
    >>> generator = GAN(steps=3).fit(jax.random.key(0), panel, progress=False)
    >>> generator
    FittedPanel(GAN: y over 5 periods)
    >>> sorted(generator.losses)
    ['discriminator', 'generator']
    """

    latent: int = 2
    hidden: tuple[int, ...] = (16,)
    arch: Literal["mlp", "lstm"] = "mlp"
    steps: int = 1_000
    batch_size: int = 12
    learning_rate: float = 1e-4
    calibrate: bool = False

    def faults(self) -> list[str]:
        """Check the options."""
        return [
            *faults_of_counts(self, latent=1, steps=1, batch_size=2),
            *faults_of_widths(self, "hidden"),
            *faults_of_choices(self, arch=("mlp", "lstm")),
            *faults_of_numbers(self, POSITIVE, "learning_rate"),
            *faults_of_switches(self, "calibrate"),
        ]

    def recipe(self, n_units: int, n_periods: int) -> PanelRecipe:
        """Return the recipe: two networks against each other."""
        return of_scores(self, learn, calibrate=self.calibrate)


def learn(
    config: GAN, keys: Sequence[Array], data: Sequence[Scores], progress: bool
) -> list[Learned]:
    """Train, and take the last generator."""
    layout = data[0].coding.layout
    networks = adversaries(config.arch, layout, config.latent, config.hidden, config.hidden)
    algorithm = Game(*networks, config.batch_size, 1)
    rate, none = jnp.float32(config.learning_rate), jnp.float32(0)
    rates = Rates(rate, rate, none, none, none, jnp.float32(config.steps))
    rows, root = padded_rows([scores.vectors for scores in data]), np.eye(layout.size)
    network = algorithm.generator, algorithm.noise, root.astype(np.float32)
    return [
        Learned(Generated(*network, state.generator), losses)
        for state, losses in train_members(algorithm, rows, rates, keys, progress)
    ]


class Losses(NamedTuple):
    """Cross entropies."""

    discriminator: Any
    generator: Any


@dataclass(frozen=True)
class Game(VectorAdversary):
    """The discriminator learns to tell real from generated, the generator to be taken for real."""

    @property
    def adam(self) -> Any:
        """Adam as it is."""
        return optax.scale_by_adam()

    @property
    def remedy(self) -> str:
        """What to do if the fit diverges."""
        return "lower learning_rate, or look for extreme values in the data"

    def score(self, critic: Params, vectors: Vectors) -> Float[Array, " row"]:
        """Return the discriminator's score of vectors."""
        return apply(self.critic, critic, vectors)[:, 0]

    def pace(self, rates: Rates, number: Array) -> Array:
        """Step sizes stay as they are."""
        return jnp.float32(1)

    def critic_loss(
        self, critic: Params, real: Vectors, fake: Vectors, rates: Rates, key: Array
    ) -> tuple[Array, Array]:
        """Return the cross entropy of telling half a batch of each apart."""
        half = max(self.batch_size // 2, 1)
        told = jax.nn.softplus(-self.score(critic, real[:half]))
        found = jax.nn.softplus(self.score(critic, fake[:half]))
        loss = 0.5 * (told.mean() + found.mean())
        return loss, loss

    def generator_loss(self, fake: Vectors, critic: Params, rates: Rates) -> tuple[Array, Array]:
        """Return the cross entropy of generated vectors being taken for real."""
        loss = jax.nn.softplus(-self.score(critic, fake)).mean()
        return loss, loss

    def losses(self, of_critic: Array, of_generator: Array) -> Losses:
        """Record both."""
        return Losses(of_critic, of_generator)
