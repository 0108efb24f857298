"""A normalizing flow that starts as the Gaussian copula, trained by maximum likelihood.

Early stopping by held-out units of replicas of the flow; decoupled weight decay: Loshchilov
& Hutter (2019), Decoupled weight decay regularization, ICLR.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from mcsim._core.calls import with_remedies
from mcsim._core.checks import at_least, faults_of
from mcsim.generators._flow.distribution import FlowDistribution, FlowParams, FlowPlan
from mcsim.generators._scores.coding import Scores
from mcsim.generators._scores.vectors import (
    Layout,
    Square,
    identities,
    length_groups,
    square_root,
    structured_covariance,
)
from mcsim.generators._training.fitted_panel import FittedPanel
from mcsim.generators._training.panel_recipe import Learned, PanelRecipe, numpy_rng, of_scores
from mcsim.generators._training.steps import (
    WORST,
    EarlyStopping,
    Rows,
    first_optimizer_state,
    mean_over,
    numbers_of,
    padded_rows,
    replicated,
    seen_by,
    train_members,
)
from mcsim.generators._training.trainer import Count, Positive, Switch, Trainer, Weight, Widths

ADAM = optax.chain(optax.clip_by_global_norm(5.0), optax.scale_by_adam(b1=0.9, b2=0.99))
AVERAGE = 0.95  # decay of the moving average of the parameters, which is evaluated and kept


@with_remedies()
@dataclass(frozen=True, kw_only=True)
class Flow(Trainer[FittedPanel]):
    """A normalizing flow on normal scores; before the first step it is the Gaussian copula.

    Layers learn departures from a copula of normals, few parameters first: differences in
    volatility between units, in all columns and in each; skewness and tails of
    innovations, forward and backward in time, alike in all periods; and, with ``couplings``,
    networks by which half of the coordinates transform the others. Training ends when held-out
    units of replicas of the flow do not become likelier. Units are whitened by the covariance of
    the other folds, so that tails are out of sample.

    Parameters
    ----------
    rounds : int
        Pairs of layers that transform innovations forward and backward in time.
    couplings : int
        Coupling layers with networks. On panels of 24 to 272 units they made held-out units less
        likely; they are for larger panels.
    hidden : tuple of int
        Widths of the hidden layers of the networks.
    steps : int
        Steps at most.
    patience : int
        Steps without improvement on held-out units after which the fit ends.
    folds : int
        Number of folds of units, each left out by a replica.
    batch_size : int
        Units of a step.
    learning_rate : float
        Adam's step size.
    weight_decay : float
        Decoupled, in units of the step size.
    jitter : float
        Standard deviation of the noise on whitened units.
    calibrate : bool
        Whether drawn vectors get the covariance and the margins of the data.
    common_shocks, cluster, missing
        As in every trainer of panels: `VAE`.

    References
    ----------
    Dinh, Sohl-Dickstein & Bengio (2017), Density estimation using real NVP, ICLR. Meng, Song, Song
    & Ermon (2020), Gaussianization flows, AISTATS. Jones & Pewsey (2009), Sinh-arcsinh
    distributions, Biometrika 96: 761-780.

    Examples
    --------
    >>> import jax
    >>> from mcsim import Panel
    >>> level = jax.random.normal(jax.random.key(1), (40, 1))
    >>> panel = Panel({"y": level + jax.random.normal(jax.random.key(2), (40, 5))})
    >>> generator = Flow(steps=3, folds=2).fit(jax.random.key(0), panel, progress=False)
    >>> generator
    FittedPanel(Flow: y over 5 periods)
    >>> generator.parts[0].distribution.log_density(jax.numpy.zeros((2, 5))).shape
    (2,)
    """

    rounds: Annotated[int, at_least(0)] = 2
    couplings: Annotated[int, at_least(0)] = 0
    hidden: Widths = (16,)
    steps: Count = 1_000
    patience: Count = 100
    folds: Annotated[int, at_least(2)] = 5
    batch_size: Count = 128
    learning_rate: Positive = 1e-2
    weight_decay: Weight = 1e-2
    jitter: Weight = 0.05
    calibrate: Switch = True

    def faults(self) -> list[str]:
        """Return the faults of the options."""
        return faults_of(self)

    def recipe(self, n_units: int, n_periods: int) -> PanelRecipe:
        """Return the recipe: a flow that starts as the normal distribution."""
        return of_scores(self, learn, calibrate=self.calibrate)


def learn(
    config: Flow, keys: Sequence[Array], data: Sequence[Scores], progress: bool
) -> list[Learned]:
    """Whiten, train, and return the flows with the best held-out likelihood."""
    plan = _plan(config, data[0].coding.layout)
    pairs = [jax.random.split(key) for key in keys]
    prepared = [
        _prepare(config, numpy_rng(key), scores)
        for (key, _), scores in zip(pairs, data, strict=True)
    ]
    rows = padded_rows([whitened for whitened, _, _ in prepared])
    given = [
        FlowData(own, np.resize(fold, len(own.vectors)), turns)
        for own, (_, fold, turns) in zip(rows, prepared, strict=True)
    ]
    algorithm = FlowLikelihood(plan, config.folds, config.batch_size, config.patience)
    rates = numbers_of(config, Rates)
    trained = train_members(algorithm, given, rates, [key for _, key in pairs], progress)
    roots = [_float32(square_root(scores.covariance)) for scores in data]
    return [
        Learned(FlowDistribution(plan, root, own.turns, state.stopping.best), losses)
        for root, own, (state, losses) in zip(roots, given, trained, strict=True)
    ]


def _plan(config: Flow, layout: Layout) -> FlowPlan:
    """Return the structure for vectors of a layout: a group for all, and for each path."""
    groups = length_groups(layout)
    return FlowPlan(layout.widths, groups, 2 * config.rounds, config.couplings, config.hidden)


def _prepare(
    config: Flow, rng: np.random.Generator, scores: Scores
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return whitened units, the fold of each, and the rotations."""
    vectors, layout = scores.vectors, scores.coding.layout
    number = identities(scores.rows)
    fold = rng.permutation(number.max() + 1)[number] % config.folds
    whitened = np.empty_like(vectors)
    for own in range(config.folds):
        out = fold == own
        root = square_root(structured_covariance(vectors[~out], layout, scores.rows[~out]))
        whitened[out] = np.linalg.solve(root, vectors[out].T).T
    return whitened, fold, _turns(scores.covariance, layout, config.rounds)


def _turns(covariance: Square, layout: Layout, rounds: int) -> np.ndarray:
    """Return the rotations to innovations forward in time, from there backward, and so on."""
    order = np.arange(layout.n_cells).reshape(-1, layout.periods).T.ravel()
    order = np.concatenate([np.arange(layout.n_cells, layout.size), order])
    forward, backward = (_innovations(covariance, own) for own in (order, order[::-1]))
    there, back = forward.T @ backward, backward.T @ forward
    turns = [forward, there, *[back, there] * (rounds - 1)][: 2 * rounds]
    return _float32(np.array(turns).reshape(-1, *covariance.shape))


def _innovations(covariance: Square, order: np.ndarray) -> Square:
    """Return the rotation from whitened coordinates to each one's innovation given those before."""
    triangle = np.linalg.cholesky(covariance[np.ix_(order, order)])
    inverse = np.empty_like(covariance)
    inverse[np.ix_(order, order)] = np.linalg.inv(triangle).T
    return square_root(covariance) @ inverse


def _float32(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)


class FlowData(NamedTuple):
    """Whitened units, the fold of each, and the rotations before the rotated layers."""

    rows: Rows
    fold: Any
    turns: Any


class Rates(NamedTuple):
    """The traced part of a configuration."""

    learning_rate: Array
    weight_decay: Array
    jitter: Array
    steps: Array


class Losses(NamedTuple):
    """Minus the mean log densities of whitened vectors, trained on and held out."""

    train: Any
    held: Any


class State(NamedTuple):
    """The state between steps: parameters by replica, moving average, early stopping."""

    params: FlowParams
    average: FlowParams
    adam: Any
    stopping: EarlyStopping
    key: Array


@dataclass(frozen=True)
class FlowLikelihood:
    """The algorithm: structure, folds, units per step, patience of early stopping."""

    plan: FlowPlan
    folds: int
    batch_size: int
    patience: int

    @property
    def remedy(self) -> str:
        """The remedy if the fit diverges."""
        return "halve learning_rate, or look for extreme values in the data"

    def first_state(self, data: FlowData, key: Array) -> State:
        """Return the state before the first step: the normal distribution."""
        first, steps = jax.random.split(key)
        own = self.plan.initialize(first)
        params = replicated(own, self.folds)
        adam = first_optimizer_state(jax.vmap(ADAM.init), params)
        return State(params, params, adam, EarlyStopping.start(own), steps)

    def step(
        self, data: FlowData, rates: Rates, state: State, number: Array
    ) -> tuple[State, Losses]:
        """Evaluate the replicas on left-out units, then take a step of each."""
        held = self._held(state.average, data)
        stopping = state.stopping.update(state.average, held, number, 0.0)
        rows, noise = jax.random.split(jax.random.fold_in(state.key, number))
        chosen = data.rows.draw(rows, self.batch_size)
        batch = jnp.asarray(data.rows.vectors)[chosen]
        batch += rates.jitter * jax.random.normal(noise, batch.shape, jnp.float32)
        seen = seen_by(jnp.asarray(data.fold)[chosen], self.folds)

        def improve(params: FlowParams, adam: Any, seen: Array) -> tuple:
            loss, slope = jax.value_and_grad(self._loss)(params, data, batch, seen)
            update, adam = ADAM.update(slope, adam)
            return _descended(params, update, rates), adam, loss

        params, adam, losses = jax.vmap(improve)(state.params, state.adam, seen)
        average = jax.tree.map(lambda a, p: AVERAGE * a + (1 - AVERAGE) * p, state.average, params)
        state = State(params, average, adam, stopping, state.key)
        return state, Losses(losses[0], jnp.minimum(held, WORST))

    def finished(self, state: State) -> Any:
        """Return whether the held-out loss has not fallen for ``patience`` steps."""
        return state.stopping.should_stop(self.patience, self.folds)

    def _loss(self, params: FlowParams, data: FlowData, batch: Array, seen: Array) -> Array:
        likely = self.plan.log_density(params, jnp.asarray(data.turns), batch)
        return mean_over(-likely, seen)

    def _held(self, average: FlowParams, data: FlowData) -> Array:
        """Return minus the mean log density of units under the replicas without them."""
        own = jax.tree.map(lambda leaf: leaf[jnp.asarray(data.fold) + 1], average)
        turns, vectors = jnp.asarray(data.turns), jnp.asarray(data.rows.vectors)
        likely = jax.vmap(lambda params, z: self.plan.log_density(params, turns, z[None])[0])
        real = data.rows.real
        return -jnp.where(real, likely(own, vectors), 0.0).sum() / data.rows.count


def _descended(params: FlowParams, update: Any, rates: Rates) -> FlowParams:
    """Return parameters after a step with decoupled weight decay."""
    rate, decay = rates.learning_rate, rates.weight_decay
    return jax.tree.map(lambda p, u: p - rate * (u + decay * p), params, update)
