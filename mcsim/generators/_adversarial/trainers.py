"""The trainers of adversaries: the chapter's GAN, and the Wasserstein GAN."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from mcsim._core.calls import with_remedies
from mcsim._core.checks import at_least, faults_of
from mcsim._core.pytree import stored_as
from mcsim.generators._adversarial.vectors import (
    Generated,
    Rates,
    VectorAdversary,
    Vectors,
    adversaries,
    learn_vectors,
)
from mcsim.generators._cross_sections.adversary import learn_columns
from mcsim.generators._cross_sections.recipe import LARGE, CrossSectionRecipe
from mcsim.generators._networks import Params, apply
from mcsim.generators._scores.coding import Scores
from mcsim.generators._training.fitted_panel import FittedPanel
from mcsim.generators._training.panel_recipe import Learned, PanelRecipe, of_scores
from mcsim.generators._training.steps import padded_rows, train_members
from mcsim.generators._training.trainer import (
    Arch,
    Count,
    Names,
    Positive,
    Share,
    Switch,
    Trainer,
    Weight,
    Widths,
    filled,
)

CROSS_SECTION_ONLY = (
    "components", "likelihood_weight", "outcome_weight", "outcome_share", "smallest_stratum",
    "temperature", "order",
)  # fmt: skip
PANEL_ONLY = "arch", "latent", "calibrate", "common_shocks", "cluster", "missing"


@with_remedies()
@dataclass(frozen=True, kw_only=True)
class WGAN(Trainer[Any]):
    """A Wasserstein GAN with gradient penalty; the configuration is the trainer.

    In a cross-section, columns are drawn in turn, each given those before it: categories by softmax
    heads, mass points and continuous parts by mixtures. One critic compares whole rows; the exact
    likelihood of the real rows and the moments of each stratum steady it. In the end the shares of
    mass points and categories are raked to the training rows' shares, stratum by stratum. Options
    left at None are chosen by the number of rows: ``WGAN()`` is one recipe below 4,000 rows and
    another above.

    In a panel of several periods, one network draws a unit's whole path, as normal scores whitened
    by their covariance, so that no direction is too small for the critic, which also gets the
    volatility of a unit. Means and covariance are matched; draws are recolored to the data's
    covariance, and margins are the data's. There are two recipes here too: below 200 units and
    above. Options for one of the two kinds of data are refused for the other.

    Parameters
    ----------
    hidden : tuple of int, optional
        Widths of the hidden layers of each column's network. None: (32, 32), large (64, 64); of the
        panel's network (64, 64), large (128, 128). With LSTMs the first is the size of their
        states; None: (32,).
    critic_hidden : tuple of int, optional
        Widths of the hidden layers of the critic. None: (64, 64), large (128, 128, 128); for panels
        as ``hidden``.
    components : int
        Logistic components of a continuous column.
    steps : int, optional
        Steps of the generator. None: 800, large 3,000; for panels 2,000, with LSTMs 500,
        below 200 units 400.
    batch_size : int, optional
        Rows in each of the batches of a step. None: 128, large 512; for panels 64.
    critic_steps : int, optional
        Batches of a step: the critic takes one step on each, the generator one on all. None: 5,
        large 2; for panels 3.
    learning_rate, critic_learning_rate : float
        Adam's first step sizes (b1 = 0, b2 = 0.9); they decay to zero by a cosine.
    gradient_penalty : float
        Weight of the one-sided penalty on the critic's slope.
    moment_weight : float, optional
        Weight of matching means and second moments by stratum. None: 60, large 10; for panels 1.
    likelihood_weight : float, optional
        Weight of the log likelihood of real rows; 0 is a pure WGAN. None: 0.5, large 5.
    outcome_weight : float
        Weight of matching the products of the last column and real covariates, on outcome rows.
    outcome_share : float
        Where a stratum holds less than ``smallest_stratum`` of the rows: the share of outcome rows
        in each batch, real but for the last column. Rows of other strata are weighted there by
        their odds of being in the smallest, where effects on the treated are read off.
    smallest_stratum : float
        Least share of a batch for each stratum (joint value of the discrete given columns).
    average : float
        Decay of the moving average of the parameters, which draws in the end.
    temperature : float
        Of the relaxed draws of categories during training.
    order : tuple of str, optional
        Order in which the columns are drawn. None: discrete columns in ascending number of levels,
        then continuous ones, the panel's last column last.
    arch : {"mlp", "lstm"}
        For panels: perceptrons on whole paths, or networks that go from period to period.
    latent : int, optional
        For panels: size of the noise. None: as many as a unit has cells; with LSTMs 4, beside noise
        of each column and period.
    calibrate : bool
        For panels: whether draws get the covariance and the margins of the data.
    common_shocks, cluster, missing
        For panels, as in every trainer of them: `VAE`.

    References
    ----------
    Athey, Imbens, Metzger & Munro (2024), Using Wasserstein generative adversarial networks for the
    design of Monte Carlo simulations, Journal of Econometrics 240: 105076. Gulrajani et al. (2017),
    Improved training of Wasserstein GANs, NeurIPS. Grover, Dhar & Ermon (2018), Flow-GAN: combining
    maximum likelihood and adversarial learning in generative models, AAAI.

    Examples
    --------
    >>> import jax, numpy as np
    >>> from mcsim import Panel
    >>> rng = np.random.default_rng(0)
    >>> treat = np.repeat([0.0, 1.0], 30)
    >>> panel = Panel({"treat": treat, "wage": np.exp(rng.normal(2 + 0.1 * treat, 0.5))})
    >>> trainer = WGAN(hidden=(8,), critic_hidden=(8,), steps=3, batch_size=16, critic_steps=1)
    >>> generator = trainer.fit(jax.random.key(0), panel, given=["treat"], progress=False)
    >>> generator
    FittedGenerator(WGAN: wage given treat)
    >>> generator.sample(jax.random.key(1), 4, given={"treat": np.ones(4)})
    Panel(4 units x 1 period: treat, wage)
    """

    hidden: Widths | None = None
    critic_hidden: Widths | None = None
    components: Count = 5
    steps: Count | None = None
    batch_size: Annotated[int, at_least(16)] | None = None
    critic_steps: Count | None = None
    learning_rate: Positive = 1e-3
    critic_learning_rate: Positive = 1e-3
    gradient_penalty: Weight = 10.0
    moment_weight: Weight | None = None
    likelihood_weight: Weight | None = None
    outcome_weight: Weight = 5.0
    outcome_share: Share = 0.3
    smallest_stratum: Share = field(default=0.1, metadata=stored_as("smallest_arm"))
    average: Share = 0.998
    temperature: Positive = 0.5
    order: Names | None = None
    arch: Arch = "mlp"
    latent: Count | None = None
    calibrate: Switch = True

    lists: ClassVar[tuple[str, ...]] = ("hidden", "critic_hidden", "order")

    def faults(self) -> list[str]:
        """Return the faults of the options."""
        return faults_of(self)

    def recipe(self, n_units: int, n_periods: int) -> PanelRecipe | CrossSectionRecipe:
        """Return the recipe: vectors of a panel, or the columns of a cross-section in turn."""
        if n_periods > 1:
            return of_scores(
                self, learn_vectors, calibrate=self.calibrate, refused=CROSS_SECTION_ONLY
            )
        return CrossSectionRecipe(_resolved(self, n_units), learn_columns, refused=PANEL_ONLY)


def _resolved(trainer: WGAN, n_rows: int) -> WGAN:
    """Return the configuration for a cross-section: every None but ``order`` filled in."""
    large = n_rows >= LARGE
    return filled(
        trainer,
        hidden=(64, 64) if large else (32, 32),
        critic_hidden=(128, 128, 128) if large else (64, 64),
        steps=3_000 if large else 800,
        batch_size=512 if large else 128,
        critic_steps=2 if large else 5,
        moment_weight=10.0 if large else 60.0,
        likelihood_weight=5.0 if large else 0.5,
    )


@with_remedies()
@dataclass(frozen=True, kw_only=True)
class GAN(Trainer[FittedPanel]):
    """A small generative adversarial network, of the chapter that started this project.

    A generator of two latent states and one hidden layer of 16, a discriminator as large, 1,000
    steps: it is here for comparison, not for use. Nearly all variance of its units is in two
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

    latent: Count = 2
    hidden: Widths = (16,)
    arch: Arch = "mlp"
    steps: Count = 1_000
    batch_size: Annotated[int, at_least(2)] = 12
    learning_rate: Positive = 1e-4
    calibrate: Switch = False

    def faults(self) -> list[str]:
        """Return the faults of the options."""
        return faults_of(self)

    def recipe(self, n_units: int, n_periods: int) -> PanelRecipe:
        """Return the recipe: two networks against each other."""
        return of_scores(self, learn_gan, calibrate=self.calibrate)


def learn_gan(
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
    """The algorithm of a GAN: a discriminator of real and generated vectors against a generator."""

    @property
    def adam(self) -> Any:
        """Adam with the usual decays."""
        return optax.scale_by_adam()

    @property
    def remedy(self) -> str:
        """The remedy if the fit diverges."""
        return "lower learning_rate, or look for extreme values in the data"

    def score(self, critic: Params, vectors: Vectors) -> Float[Array, " row"]:
        """Return the discriminator's score of vectors."""
        return apply(self.critic, critic, vectors)[:, 0]

    def pace(self, rates: Rates, number: Array) -> Array:
        """Return 1: step sizes stay as they are."""
        return jnp.float32(1)

    def critic_loss(
        self, critic: Params, real: Vectors, fake: Vectors, rates: Rates, key: Array
    ) -> tuple[Array, Array]:
        """Return the cross entropy of classifying half a batch of each."""
        half = max(self.batch_size // 2, 1)
        of_real = jax.nn.softplus(-self.score(critic, real[:half]))
        of_fake = jax.nn.softplus(self.score(critic, fake[:half]))
        loss = 0.5 * (of_real.mean() + of_fake.mean())
        return loss, loss

    def generator_loss(self, fake: Vectors, critic: Params, rates: Rates) -> tuple[Array, Array]:
        """Return the cross entropy of classifying generated vectors as real."""
        loss = jax.nn.softplus(-self.score(critic, fake)).mean()
        return loss, loss

    def losses(self, of_critic: Array, of_generator: Array) -> Losses:
        """Return the losses of both networks."""
        return Losses(of_critic, of_generator)
