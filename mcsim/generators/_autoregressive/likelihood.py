"""Likelihood of a panel's cells: from scores to cells, training, and early stopping.

References
----------
Williams & Zipser (1989), A learning algorithm for continually running fully recurrent neural
networks, Neural Computation 1: 270-280, for teaching with the real past.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from mcsim.generators._autoregressive.distribution import (
    LEAST,
    CellOrder,
    Cells,
    Innovation,
    empty_history,
    history_features,
    innovation,
    log_shares,
    masses,
    middle,
    update_history,
    with_cell,
)
from mcsim.generators._networks import Params, Sizes, apply, initialize
from mcsim.generators._scores.coding import Scores, Vectors
from mcsim.generators._scores.vectors import structured_covariance
from mcsim.generators._training.steps import (
    WORST,
    EarlyStopping,
    draw_batch,
    first_optimizer_state,
    mean_over,
    replicated,
    seen_by,
)

ADAM = optax.chain(optax.clip_by_global_norm(5.0), optax.scale_by_adam(b1=0.9, b2=0.99))
WARM_UP = 20  # steps until the full step size
SMOOTH = 0.9  # decay of the moving average of held-out likelihoods, where a step has some units
MOST_POINTS = 16  # a column with more levels has no tilts: its networks move latent scores only
# prior units by which a period's shares are shrunk to the shares of all periods
PRIOR_UNITS = 20.0
LEAST_SHARE = 1e-4
FAR = 1e6  # instead of infinite
LOG_ROOT = np.float32(0.5 * np.log(2 * np.pi))


class Column(NamedTuple):
    """A column's cells (unit, period): the input of its network, and the outcome.

    Attributes
    ----------
    features : array (unit, period, feature)
    value, low, high : array (unit, period)
        The innovation, and the ends of its interval.
    points_low, points_high, at : array (unit, period, point)
        Mass points' intervals of innovations, and indicators of the cell's mass point.
    """

    features: Any
    value: Any
    low: Any
    high: Any
    points_low: Any
    points_high: Any
    at: Any


def log_density(
    distribution: Innovation,
    value: Float[Array, " unit"],
    ends: tuple[Array, Array],
    points: tuple[Array, Array],
    at: Float[Array, "unit point"],
) -> Float[Array, " unit"]:
    """Return the log density of known values, and the log probability of intervals.

    Parameters
    ----------
    distribution : Innovation
    value : array (unit,)
        Innovations.
    ends : two arrays (unit,)
        Ends of an innovation's interval; equal where the innovation is known.
    points : two arrays (unit, point)
        Ends of the mass points' intervals.
    at : array (unit, point)
        One where a cell is at a mass point.
    """
    share, total = log_shares(distribution, *points)
    weights = jnp.exp(distribution.log_weights)
    z = (value[:, None] - distribution.means) / jnp.exp(distribution.log_scales)
    dense = (
        jax.nn.logsumexp(distribution.log_weights - 0.5 * z**2 - distribution.log_scales, axis=1)
        - LOG_ROOT
    )
    inside = ends[0] < ends[1]
    low, high = jnp.where(inside, ends[0], -1.0), jnp.where(inside, ends[1], 1.0)
    mass = jnp.sum(weights * masses(distribution, low[:, None], high[:, None])[:, :, 0], axis=1)
    off_points = jnp.where(inside, jnp.log(mass + LEAST), dense) - total
    return jnp.where(at.any(axis=1), jnp.sum(at * share, axis=1), off_points)


def first_distribution(
    scores: Scores, order: tuple[str, ...], hidden: Sizes, components: int
) -> Cells:
    """Return the distribution before training, without parameters: the normal copula of scores."""
    layout, coding = scores.coding.layout, scores.coding
    starts = [layout.place(name).start for name in order]
    place = [layout.n_cells + column for column in range(len(layout.time_invariant))]
    place += [start + period for period in range(layout.periods) for start in starts]
    covariance = structured_covariance(seen(scores), layout, scores.rows)
    root = np.linalg.cholesky(covariance[np.ix_(place, place)]).astype(np.float32)
    sides, points = ([], []), []
    for name in order:
        margin, cells = coding.margins[layout.names.index(name)], layout.place(name)
        points.append(len(margin.points) if len(margin.points) <= MOST_POINTS else 0)
        for side, ends in zip(sides, (margin.low, margin.high), strict=True):
            own = np.asarray(ends)[None, : points[-1]] - coding.centers[cells, None]
            side.append(own / coding.spreads[cells, None])
    low, high = (np.concatenate(side, axis=1).astype(np.float32) for side in sides)
    static = CellOrder(
        len(layout.time_invariant), layout.periods, tuple(points), hidden, components
    )
    center = middle(low, high).astype(np.float32)
    return Cells(static, tuple(place), root, low, high, center, np.zeros_like(low), ())


def seen(scores: Scores) -> Vectors:
    """Return vectors with scores of mass points and levels in the middle of their intervals."""
    inside = (scores.low < scores.high) & (np.isfinite(scores.low) | np.isfinite(scores.high))
    return np.where(inside, middle(scores.low, scores.high), scores.vectors)


def cells_of(distribution: Cells, scores: Scores) -> tuple[Column, ...]:
    """Return the cells of all columns, each given the real cells before it."""
    order, place, first = distribution.order, list(distribution.place), distribution.order.invariant
    x, low, high = (side[:, place] for side in (seen(scores), scores.low, scores.high))
    root = np.asarray(distribution.root, np.float64)
    innovations = np.linalg.solve(root, x.T).T
    deviation = np.diag(root)
    mean = x - deviation * innovations

    def by_period(part: np.ndarray) -> np.ndarray:
        part = np.clip(part[..., first:], -FAR, FAR).astype(np.float32)
        return part.reshape(*part.shape[:-1], order.periods, order.columns)

    ends = [by_period((side - mean) / deviation) for side in (low, high)]
    x, innovations, mean, deviation = map(by_period, (x, innovations, mean, deviation))
    invariant = np.asarray(seen(scores)[:, place[:first]], np.float32)
    features, places = teacher_forced(distribution, invariant, x, innovations, mean)
    columns = []
    for column in range(order.columns):
        own, center = order.own(column), mean[:, :, column, None]
        points = [
            np.clip((side[:, own] - center) / deviation[:, column, None], -FAR, FAR)
            for side in (np.asarray(distribution.low), np.asarray(distribution.high))
        ]
        value, low, high = (part[:, :, column] for part in (innovations, *ends))
        sees, at = np.asarray(features[column]), np.asarray(places[column])
        columns.append(Column(sees, value, low, high, points[0], points[1], at))
    return tuple(columns)


@jax.jit
def teacher_forced(
    distribution: Cells,
    invariant: Float[Array, "unit column"],
    scores: Float[Array, "unit period column"],
    innovations: Float[Array, "unit period column"],
    means: Float[Array, "unit period column"],
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Return by column (unit, period, ...) features of networks, and mass points of cells."""
    order = distribution.order

    def step(history: Any, now: tuple) -> tuple[Any, tuple]:
        period, score, value, mean, low, high = now
        context, features, places = history_features(order, history, invariant, period), [], []
        for column in range(order.columns):
            own, here = order.own(column), score[:, [column]]
            at = ((here > low[own]) & (here < high[own])).astype(jnp.float32)
            features.append(jnp.concatenate([context, mean[:, [column]]], axis=1))
            context = with_cell(context, score[:, column], value[:, column], at)
            places.append(at)
        history = update_history(history, score, value, jnp.concatenate(places, axis=1))
        return history, (tuple(features), tuple(places))

    swapped = (jnp.moveaxis(part, 1, 0) for part in (scores, innovations, means))
    now = (
        jnp.arange(order.periods),
        *swapped,
        jnp.asarray(distribution.low),
        jnp.asarray(distribution.high),
    )
    _, found = jax.lax.scan(step, empty_history(order, len(scores)), now)
    return jax.tree.map(lambda part: jnp.moveaxis(part, 0, 1), found)


def shares_of(columns: tuple[Column, ...]) -> Float[np.ndarray, "period point"]:
    """Return the target shares of mass points."""
    share = np.concatenate([np.mean(column.at, axis=0) for column in columns], axis=1)
    units = len(columns[0].value)
    shrunk = (units * share + PRIOR_UNITS * share.mean(axis=0)) / (units + PRIOR_UNITS)
    return np.clip(shrunk, LEAST_SHARE, 1.0).astype(np.float32)


class Rates(NamedTuple):
    """The traced part of a configuration."""

    learning_rate: Array
    weight_decay: Array
    steps: Array


class Losses(NamedTuple):
    """Minus the mean log likelihood of a cell, of units trained on and held out."""

    train: Any
    held: Any


class Data(NamedTuple):
    """Cells of units, of which the first ``count`` are real, and the fold of each unit."""

    columns: tuple[Column, ...]
    fold: Any
    count: Any


class State(NamedTuple):
    """The state between steps: parameters by replica, and early stopping."""

    params: tuple[Params, ...]
    adam: Any
    stopping: EarlyStopping
    key: Array


@dataclass(frozen=True)
class CellLikelihood:
    """The algorithm: cells and networks, folds, units per step, patience of early stopping."""

    order: CellOrder
    folds: int
    batch_size: int
    patience: int

    @property
    def remedy(self) -> str:
        """The remedy if the fit diverges."""
        return "halve learning_rate, or look for extreme values in the data"

    def first_state(self, data: Data, key: Array) -> State:
        """Return the state before the first step: networks without effect, in all replicas."""
        first, steps = jax.random.split(key)
        sizes = self.order.sizes
        one = initialize(first, sizes, (0.0,) * len(sizes))
        params = replicated(one, self.folds)
        adam = first_optimizer_state(jax.vmap(ADAM.init), params)
        return State(params, adam, EarlyStopping.start(one), steps)

    def step(self, data: Data, rates: Rates, state: State, number: Array) -> tuple[State, Losses]:
        """Evaluate the replicas on left-out units, then take a step of each."""
        key, units = jax.random.fold_in(state.key, number), (data.columns, data.fold)
        (columns, fold), real = draw_batch(key, units, data.count, self.batch_size)
        seen = real & seen_by(fold, self.folds)

        def loss(params: tuple[Params, ...], weights: Array) -> tuple[Array, Array]:
            misfit = self._misfit(columns, params)
            return mean_over(misfit, weights), misfit

        both = jax.vmap(jax.value_and_grad(loss, has_aux=True))(state.params, seen)
        (train, misfit), gradient = both
        held = mean_over(misfit, real & ~seen)
        held = jnp.minimum(held, WORST) if self.folds else train[0]
        noisy = len(data.fold) > self.batch_size
        stopping = state.stopping.update(state.params, held, number, SMOOTH if noisy else 0.0)
        updates, adam = jax.vmap(ADAM.update)(gradient, state.adam)
        rate = rates.learning_rate * jnp.minimum((number + 1) / WARM_UP, 1).astype(jnp.float32)
        params = jax.tree.map(
            lambda p, u: p - rate * (u + rates.weight_decay * p), state.params, updates
        )
        return State(params, adam, stopping, state.key), Losses(train[0], held)

    def finished(self, state: State) -> Any:
        """Return whether the held-out loss has not fallen for ``patience`` steps."""
        return state.stopping.should_stop(self.patience, self.folds)

    def learned(self, state: State) -> tuple[Params, ...]:
        """Return the parameters of the fit."""
        return state.stopping.parameters(state.params, self.folds)

    def _misfit(
        self, columns: tuple[Column, ...], params: tuple[Params, ...]
    ) -> Float[Array, " unit"]:
        """Return minus each unit's mean log likelihood of a cell."""
        total, (units, periods) = jnp.float32(0), columns[0].value.shape
        for sizes, own, column in zip(self.order.sizes, params, columns, strict=True):
            flat = jax.tree.map(lambda leaf: leaf.reshape(units * periods, *leaf.shape[2:]), column)
            distribution = innovation(self.order.components, apply(sizes, own, flat.features))
            ends, points = (flat.low, flat.high), (flat.points_low, flat.points_high)
            likely = log_density(distribution, flat.value, ends, points, flat.at)
            total = total - likely.reshape(units, periods).mean(axis=1)
        return total / len(columns)
