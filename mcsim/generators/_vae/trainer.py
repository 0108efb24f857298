"""A variational autoencoder of panels, the default neural generator: the configuration trains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import numpy as np
from jaxtyping import Array

from mcsim._core.calls import with_remedies
from mcsim._core.checks import at_least, faults_of, one_of
from mcsim.errors import InputError
from mcsim.generators._networks import Network, Reader, Writer
from mcsim.generators._scores.coding import Scores
from mcsim.generators._scores.vectors import Layout
from mcsim.generators._training.fitted_panel import FittedPanel
from mcsim.generators._training.panel_recipe import Learned, PanelRecipe, of_scores
from mcsim.generators._training.steps import numbers_of, train_members
from mcsim.generators._training.trainer import (
    Arch,
    Count,
    Folds,
    Positive,
    Switch,
    Trainer,
    Weight,
    WidthsOrNone,
    filled,
)
from mcsim.generators._vae.model import LatentDistribution, Plan, fit_latent_distribution
from mcsim.generators._vae.training import Bound, Rates, first_autoencoder, training_data

LatentOption = Annotated[LatentDistribution, one_of("posterior", "normal", "prior")]
LATENT = 2, 12  # fewest and most latent coordinates by default
SHARE = 4  # coordinates of a unit for each of them
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "mlp": {"hidden": (64,), "batch_size": 256, "learning_rate": 1e-3},
    "lstm": {"hidden": (16,), "batch_size": 128, "learning_rate": 3e-3},
}
LONG = 4  # periods from which a unit's volatility is identified


@with_remedies()
@dataclass(frozen=True, kw_only=True)
class VAE(Trainer[FittedPanel]):
    """A variational autoencoder with a linear core and noise that differs by unit.

    A unit's normal scores are factors, linear in a latent row, plus a network's output, plus noise
    that is drawn: its scale is learned for every coordinate and depends on the latent row, so units
    differ in volatility; its tails are Student's. Training starts at factor analysis of the shrunk
    covariance and ends when held-out units of replicas of the model become less likely, so that
    a fit to few units stays close to the Gaussian copula. Latent rows are drawn from the posteriors
    of the training units; draws are recolored to the data's covariance, and margins are the data's.

    Parameters
    ----------
    latent : int, optional
        Number of factors. None: one for four coordinates of a unit, 2 to 12.
    hidden : tuple of int, optional
        Widths of the hidden layers of encoder and decoder; (): both are affine. For
        ``arch="lstm"`` the size of the state. None: (64,), LSTM (16,).
    arch : {"mlp", "lstm"}
        Perceptrons on whole units, or LSTMs that read and write them period by period.
    likelihood : {"student", "normal"}
        The distribution of the noise; degrees of freedom are learned by column.
    noise : bool
        Whether noise is learned and drawn. False: its scale is one in training and zero in draws,
        which are then the decoder's means.
    volatility : bool
        Whether each path has a latent coordinate more, for the scale of its noise; from 4 periods.
    skip : bool
        Whether decoder and encoder have linear parts besides their networks, and start there.
    latent_distribution : {"posterior", "normal", "prior"}
        The distribution of latent rows: the mixture of the training units' posteriors, smoothed by
        a kernel; a normal with its moments; or the standard normal.
    calibrate : bool
        Whether draws are recolored to the covariance of the data and margins moved to theirs.
    beta : float
        Weight of the Kullback-Leibler divergence; 1 is the evidence lower bound, all terms summed.
    folds : int
        Replicas for early stopping, each without a part of the units. 0: all steps are taken.
    patience : int
        Steps without a lower loss of left-out units after which training ends.
    steps : int
        Steps at most.
    batch_size : int, optional
        Units per step; of no more units, all. None: 256, LSTM 128.
    learning_rate : float, optional
        Adam's step size (b1 = 0.9, b2 = 0.99). None: 1e-3, LSTM 3e-3.
    weight_decay : float
        Decoupled decay of the networks' weights, towards the linear model.
    common_shocks : {"fixed", "redraw"}
        Whether the means of the periods are the data's in every panel, or drawn anew.
    cluster : str, optional
        A column that holds the group (school, state) of each unit: it is generated with its group
        structure.
    missing : {"error", "model"}
        Missing cells are refused, or left out of the likelihood; generated panels are complete.

    Notes
    -----
    Draws have latent rows like those of training units, up to their uncertainty and a kernel. With
    the noise they lie as far from training units as fresh units do (`mcsim.fidelity` reports the
    ratio, ``nn_ratio``), and ``latent_distribution="normal"`` holds no information on single units.

    References
    ----------
    Kingma & Welling (2014), Auto-encoding variational Bayes, ICLR. Rezende & Viola (2018), Taming
    VAEs, arXiv:1810.00597. Tomczak & Welling (2018), VAE with a VampPrior, AISTATS, for mixtures of
    posteriors. Ghosh, Sajjadi, Vergari, Black & Schölkopf (2020), From variational to deterministic
    autoencoders, ICLR, for fitting the latent distribution after training.

    Examples
    --------
    >>> import jax
    >>> from mcsim import Panel
    >>> level = jax.random.normal(jax.random.key(1), (60, 1))
    >>> panel = Panel({"y": level + jax.random.normal(jax.random.key(2), (60, 5))})
    >>> generator = VAE(hidden=(8,), steps=20).fit(jax.random.key(0), panel, progress=False)
    >>> generator
    FittedPanel(VAE: y over 5 periods)
    >>> generator.sample(jax.random.key(1), 300)
    Panel(300 units x 5 periods: y)
    """

    latent: Count | None = None
    hidden: WidthsOrNone | None = None
    arch: Arch = "mlp"
    likelihood: Annotated[Literal["student", "normal"], one_of("student", "normal")] = "student"
    noise: Switch = True
    volatility: Switch = True
    skip: Switch = True
    latent_distribution: Annotated[LatentDistribution, one_of("posterior", "normal", "prior")] = (
        "posterior"
    )
    calibrate: Switch = True
    beta: Weight = 1.0
    folds: Folds = 4
    patience: Count = 100
    steps: Count = 1_000
    batch_size: Annotated[int, at_least(8)] | None = None
    learning_rate: Positive | None = None
    weight_decay: Weight = 0.1

    def faults(self) -> list[str]:
        """Return the faults of the options."""
        return [*faults_of(self), *_faults_of_state(self)]

    def recipe(self, n_units: int, n_periods: int) -> PanelRecipe:
        """Return the recipe: an autoencoder of scores."""
        return of_scores(self, learn, calibrate=self.calibrate)


def learn(
    trainer: VAE, keys: Sequence[Array], data: Sequence[Scores], progress: bool
) -> list[Learned]:
    """Train one autoencoder per key."""
    config = _resolved(trainer)
    plan = plan_of(config, data[0].coding.layout)
    triples = [jax.random.split(key, 3) for key in keys]
    starts = [
        first_autoencoder(triple[0], plan, scores)
        for triple, scores in zip(triples, data, strict=True)
    ]
    folds = min(config.folds, *(len(np.unique(scores.rows)) // 2 for scores in data))
    units = training_data(data, starts, [triple[1] for triple in triples], folds)
    algorithm = Bound(folds, config.batch_size, config.patience)
    rates = numbers_of(config, Rates)
    trained = train_members(algorithm, units, rates, [triple[2] for triple in triples], progress)
    return [
        Learned(
            fit_latent_distribution(
                algorithm.learned(own, state), own.inside, config.latent_distribution
            ),
            losses,
        )
        for own, (state, losses) in zip(units, trained, strict=True)
    ]


def plan_of(config: VAE, layout: Layout) -> Plan:
    """Return the static part of the autoencoder of vectors of a layout."""
    paths, invariant = len(layout.time_varying), len(layout.time_invariant)
    volatile = config.volatility and config.noise and paths > 0 and layout.periods >= LONG
    factors = config.latent or min(max(LATENT[0], round(layout.size / SHARE)), LATENT[1])
    if factors > max(layout.size, LATENT[0]):
        raise InputError(
            f"latent: got {factors}, but a unit has {layout.size} cells, and more factors than "
            "cells say nothing; None takes one for four cells"
        )
    latent, seen = factors + paths * volatile, 1 + config.noise
    widths = _resolved(config).hidden
    if config.arch == "mlp":
        decoder: Network = (latent, *widths, 2 * layout.size)
        encoder: Network = (seen * layout.size, *widths, 2 * latent)
    else:
        size, periods = widths[0], layout.periods
        decoder = Writer(latent, 0, size, periods, paths, invariant, heads=2)
        encoder = Reader(size, periods, seen * paths, seen * invariant, 2 * latent)
    student = config.likelihood == "student"
    return Plan(layout, latent, decoder, encoder, config.skip, config.noise, student, volatile)


def _resolved(config: VAE) -> Any:
    """Replace the options of a `VAE` at None by the defaults of its ``arch``."""
    return filled(config, **DEFAULTS[config.arch])


def _faults_of_state(config: VAE) -> list[str]:
    """Check that an LSTM's state has one size."""
    if config.arch != "lstm" or not isinstance(config.hidden, tuple) or len(config.hidden) == 1:
        return []
    return [f"hidden: got {config.hidden!r}, expected one size of the LSTM's state, such as (32,)"]
