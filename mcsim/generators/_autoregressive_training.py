"""Training of a panel's law cell by cell, on all cells at once: what comes before is real.

One copy learns from all units; the others each leave out a fold, on which they are judged. Kept are
the parameters of the first copy at the step where the others judged best: no unit is lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from mcsim.generators._autoregressive_law import (
    Cells,
    Order,
    innovation,
    log_density,
    middle,
    no_memory,
    recall,
    remember,
)
from mcsim.generators._coding import Scores
from mcsim.generators._covariance import structured_covariance
from mcsim.generators._networks import Params, apply, initialize

ADAM = optax.chain(optax.clip_by_global_norm(5.0), optax.scale_by_adam(b1=0.9, b2=0.99))
BUCKET = 16
RUNAWAY = 1e3


class Rates(NamedTuple):
    learning_rate: Array
    weight_decay: Array
    steps: Array


class Losses(NamedTuple):
    train: Any
    held: Any


class CellData(NamedTuple):
    """Cells (unit, period, column) as networks see them."""

    features: tuple[Any, ...]  # of each column (unit, period, feature)
    value: Any
    low: Any
    high: Any
    at: tuple[Any, ...]  # of each column (unit, period, point)
    fold: Any
    count: Any


class State(NamedTuple):
    params: Any
    adam: Any
    best: Any
    smooth: Array
    lowest: Array
    since: Array
    key: Array


@dataclass(frozen=True)
class CellLikelihood:
    order: Order
    folds: int
    patience: int
    batch_size: int

    @property
    def remedy(self) -> str:
        return "halve learning_rate, or look for extreme values in the data"

    def first_state(self, data: CellData, key: Array) -> State:
        first, steps = jax.random.split(key)
        sizes = self.order.sizes
        one = jax.tree.map(jnp.asarray, initialize(first, sizes, (0.0,) * len(sizes)))
        params = jax.tree.map(lambda leaf: jnp.stack([leaf] * (1 + self.folds)), one)
        zero, infinite = jnp.zeros((), jnp.float32), jnp.full((), jnp.inf, jnp.float32)
        adam = jax.vmap(ADAM.init)(params)
        return State(params, adam, one, zero, infinite, jnp.zeros((), jnp.int32), steps)

    def step(self, data: CellData, rates: Rates, state: State, number: Array):
        units = len(data.fold)
        real = jnp.arange(units) < data.count
        if units > self.batch_size:
            u = jax.random.uniform(jax.random.fold_in(state.key, number), (self.batch_size,), jnp.float32)
            place = jnp.minimum((u * data.count).astype(jnp.int32), data.count - 1)
            data = data._replace(
                **{
                    name: jax.tree.map(lambda leaf: jnp.asarray(leaf)[place], getattr(data, name))
                    for name in ("features", "value", "low", "high", "at", "fold")
                }
            )
            real = jnp.ones(self.batch_size, bool)
        copies = jnp.arange(1 + self.folds)
        seen = real & (data.fold != copies[:, None] - 1)

        def loss(params, weights):
            parts = -self.unit_log_likelihood(data, params)
            return jnp.where(weights, parts, 0).sum() / jnp.maximum(weights.sum(), 1), parts

        (train, parts), gradient = jax.vmap(jax.value_and_grad(loss, has_aux=True))(
            state.params, seen
        )
        out = real & ~seen
        held = jnp.where(out, parts, 0).sum() / jnp.maximum(out.sum(), 1)
        held = jnp.minimum(held, RUNAWAY) if self.folds else train[0]
        keep = 0.9 if units > self.batch_size else 0.0
        smooth = jnp.where(number == 0, held, keep * state.smooth + (1 - keep) * held)
        better = smooth < state.lowest
        best = jax.tree.map(lambda now, old: jnp.where(better, now[0], old), state.params, state.best)
        updates, adam = jax.vmap(ADAM.update)(gradient, state.adam)
        rate = rates.learning_rate * jnp.minimum((number + 1) / 20, 1).astype(jnp.float32)
        params = jax.tree.map(
            lambda p, u: p - rate * (u + rates.weight_decay * p), state.params, updates
        )
        since = jnp.where(better, 0, state.since + 1)
        lowest = jnp.minimum(smooth, state.lowest)
        return State(params, adam, best, smooth, lowest, since, state.key), Losses(train[0], held)

    def unit_log_likelihood(self, data: CellData, params: Any) -> Float[Array, " unit"]:
        """Return each unit's mean log density per cell."""
        order, total = self.order, 0.0
        for column in range(order.columns):
            features = jnp.asarray(data.features[column])
            units = len(features)
            rows = features.reshape(units * order.periods, -1)
            outputs = apply(order.sizes[column], params[column], rows)
            law = innovation(order, column, outputs)
            cells = [jnp.asarray(s)[:, :, column].reshape(-1) for s in (data.value, data.low, data.high)]
            at = jnp.asarray(data.at[column]).reshape(len(rows), -1)
            total += log_density(law, *cells, at).reshape(units, -1).sum(axis=1)
        return total / (order.columns * order.periods)

    def finished(self, state: State) -> Array:
        return state.since >= self.patience if self.folds else jnp.zeros((), bool)

    def learned(self, state: State) -> Any:
        params = state.best if self.folds else jax.tree.map(lambda leaf: leaf[0], state.params)
        return jax.tree.map(np.asarray, params)


def untrained(scores: Scores, paths: tuple[str, ...], hidden, components, most) -> Cells:
    """Return the law before training: the normal copula of scores."""
    layout, coding = scores.coding.layout, scores.coding
    q, T = len(layout.traits), layout.periods
    starts = [layout.place(name).start for name in paths]
    place = [layout.n_cells + i for i in range(q)]
    place += [start + period for period in range(T) for start in starts]
    covariance = structured_covariance(seen(scores), layout)
    root = np.linalg.cholesky(covariance[np.ix_(place, place)])
    low, high, atoms = [], [], []
    for name in paths:
        margin, cells = coding.margins[layout.names.index(name)], layout.place(name)
        points = len(margin.points) if len(margin.points) <= most else 0
        atoms.append(points)
        for side, ends in ((low, margin.low), (high, margin.high)):
            own = np.asarray(ends)[None, :points]
            side.append((own - coding.centers[cells, None]) / coding.spreads[cells, None])
    order = Order(q, len(paths), T, tuple(atoms), hidden, components)
    low, high = (np.concatenate(side, axis=1) for side in (low, high))
    sides = (side.astype(np.float32) for side in (low, high, middle(low, high), 0 * middle(low, high)))
    return Cells(order, tuple(place), root.astype(np.float32), *sides, ())


def seen(scores: Scores):
    """Return scores with those of mass points in the middle of their intervals."""
    inside = (scores.low < scores.high) & (np.isfinite(scores.low) | np.isfinite(scores.high))
    return np.where(inside, middle(scores.low, scores.high), scores.vectors)


def targets_of(data: CellData, prior: float = 20.0) -> np.ndarray:
    """Return the shares (period, point) of mass points, shrunk to those of all periods."""
    units = int(data.count)
    share = np.concatenate([at[:units].mean(axis=0) for at in data.at], axis=1)
    shrunk = (units * share + prior * share.mean(axis=0)) / (units + prior)
    return np.maximum(shrunk, 1e-4).astype(np.float32)


def cell_data(law: Cells, scores: Scores, key: Array, folds: int, longest: int) -> CellData:
    """Return all cells of a member, and what their networks see."""
    order, place = law.order, list(law.place)
    q, C, T = order.traits, order.columns, order.periods
    x, low, high = (side[:, place] for side in (seen(scores), scores.low, scores.high))
    root = np.asarray(law.root, np.float64)
    r = np.linalg.solve(root, x.T).T
    deviation = np.diag(root)
    mean = x - deviation * r
    low, high = ((side - mean) / deviation for side in (low, high))
    low = np.clip(low, -1e6, 1e6); high = np.clip(high, -1e6, 1e6)
    cells = [a[:, q:].reshape(-1, T, C).astype(np.float32) for a in (x, r, mean, low, high)]
    features, at = teacher_forced(order, law.low, law.high, x[:, :q].astype(np.float32), *cells[:3])
    units = len(x)
    rows = np.resize(np.arange(units), longest)
    fold = (np.asarray(jax.random.permutation(key, units)) % max(folds, 1)).astype(np.int32)
    take = lambda leaf: np.asarray(leaf)[rows]
    return CellData(
        jax.tree.map(take, features), take(cells[1]), take(cells[3]), take(cells[4]),
        jax.tree.map(take, at), fold[rows], np.int32(units),
    )


@partial(jax.jit, static_argnums=0)
def teacher_forced(order: Order, low, high, traits, x, r, mean):
    """Return the features of all cells by column, and at which mass points they are."""
    ends = np.cumsum((0, *order.atoms))

    def step(memory, now):
        period, x, r, mean, low, high = now
        context = recall(order, memory, traits, period)
        features, at = [], []
        for column in range(order.columns):
            features.append(jnp.concatenate([context, mean[:, [column]]], axis=1))
            own = slice(ends[column], ends[column + 1])
            score = x[:, [column]]
            here = ((score > low[own]) & (score < high[own])).astype(jnp.float32)
            context = jnp.concatenate([context, score, r[:, [column]], here], axis=1)
            at.append(here)
        return remember(memory, x, r, jnp.concatenate(at, axis=1)), (tuple(features), tuple(at))

    swapped = (jnp.moveaxis(a, 1, 0) for a in (x, r, mean))
    now = (jnp.arange(order.periods), *swapped, jnp.asarray(low), jnp.asarray(high))
    _, found = jax.lax.scan(step, no_memory(order, len(x)), now)
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), found)
