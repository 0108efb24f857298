"""From scores to what a panel's cells are learned from, and to the law before training."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcsim.generators._autoregressive._innovations import middle
from mcsim.generators._autoregressive._law import (
    CellOrder,
    Cells,
    no_memory,
    recall,
    remember,
    see,
)
from mcsim.generators._networks import Sizes
from mcsim.generators._vectors._coding import Scores, Vectors
from mcsim.generators._vectors._covariance import structured_covariance

MOST_POINTS = 16  # a column with more has no tilts: its networks move latent scores only
PRIOR_UNITS = 20.0  # a period's shares are shrunk to those of all periods, by so many units
LEAST_SHARE = 1e-4
FAR = 1e6  # instead of infinite


class Column(NamedTuple):
    """A column's cells (unit, period): what its network sees, and what it is to say.

    Attributes
    ----------
    features : array (unit, period, feature)
    value, low, high : array (unit, period)
        The innovation, and between which innovations it lies.
    points_low, points_high, at : array (unit, period, point)
        Mass points' intervals of innovations, and at which a cell is.
    """

    features: Any
    value: Any
    low: Any
    high: Any
    points_low: Any
    points_high: Any
    at: Any


def first_law(scores: Scores, order: tuple[str, ...], hidden: Sizes, components: int) -> Cells:
    """Return the law before training, without parameters: the normal copula of scores."""
    layout, coding = scores.coding.layout, scores.coding
    starts = [layout.place(name).start for name in order]
    place = [layout.n_cells + trait for trait in range(len(layout.traits))]
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
    static = CellOrder(len(layout.traits), layout.periods, tuple(points), hidden, components)
    center = middle(low, high).astype(np.float32)
    return Cells(static, tuple(place), root, low, high, center, np.zeros_like(low), ())


def seen(scores: Scores) -> Vectors:
    """Return vectors with the scores of mass points and levels in the middle of their intervals."""
    inside = (scores.low < scores.high) & (np.isfinite(scores.low) | np.isfinite(scores.high))
    return np.where(inside, middle(scores.low, scores.high), scores.vectors)


def cells_of(law: Cells, scores: Scores) -> tuple[Column, ...]:
    """Return the cells of all columns, each given the real cells before it."""
    order, place, first = law.order, list(law.place), law.order.traits
    x, low, high = (side[:, place] for side in (seen(scores), scores.low, scores.high))
    root = np.asarray(law.root, np.float64)
    innovations = np.linalg.solve(root, x.T).T
    deviation = np.diag(root)
    mean = x - deviation * innovations

    def by_period(part: np.ndarray) -> np.ndarray:
        part = np.clip(part[..., first:], -FAR, FAR).astype(np.float32)
        return part.reshape(*part.shape[:-1], order.periods, order.columns)

    ends = [by_period((side - mean) / deviation) for side in (low, high)]
    x, innovations, mean, deviation = map(by_period, (x, innovations, mean, deviation))
    traits = np.asarray(seen(scores)[:, place[:first]], np.float32)
    features, places = teacher_forced(law, traits, x, innovations, mean)
    columns = []
    for column in range(order.columns):
        own, center = order.own(column), mean[:, :, column, None]
        points = [
            np.clip((side[:, own] - center) / deviation[:, column, None], -FAR, FAR)
            for side in (np.asarray(law.low), np.asarray(law.high))
        ]
        value, low, high = (part[:, :, column] for part in (innovations, *ends))
        sees, at = np.asarray(features[column]), np.asarray(places[column])
        columns.append(Column(sees, value, low, high, points[0], points[1], at))
    return tuple(columns)


@jax.jit
def teacher_forced(
    law: Cells,
    traits: Float[Array, "unit trait"],
    scores: Float[Array, "unit period column"],
    innovations: Float[Array, "unit period column"],
    means: Float[Array, "unit period column"],
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Return by column (unit, period, ...) what networks see, and mass points that cells hold."""
    order = law.order

    def step(memory: Any, now: tuple) -> tuple[Any, tuple]:
        period, score, value, mean, low, high = now
        context, features, places = recall(order, memory, traits, period), [], []
        for column in range(order.columns):
            own, here = order.own(column), score[:, [column]]
            at = ((here > low[own]) & (here < high[own])).astype(jnp.float32)
            features.append(jnp.concatenate([context, mean[:, [column]]], axis=1))
            context = see(context, score[:, column], value[:, column], at)
            places.append(at)
        memory = remember(memory, score, value, jnp.concatenate(places, axis=1))
        return memory, (tuple(features), tuple(places))

    swapped = (jnp.moveaxis(part, 1, 0) for part in (scores, innovations, means))
    now = (jnp.arange(order.periods), *swapped, jnp.asarray(law.low), jnp.asarray(law.high))
    _, found = jax.lax.scan(step, no_memory(order, len(scores)), now)
    return jax.tree.map(lambda part: jnp.moveaxis(part, 0, 1), found)


def shares_of(columns: tuple[Column, ...]) -> Float[np.ndarray, "period point"]:
    """Return the shares of mass points that draws are to have."""
    share = np.concatenate([np.mean(column.at, axis=0) for column in columns], axis=1)
    units = len(columns[0].value)
    shrunk = (units * share + PRIOR_UNITS * share.mean(axis=0)) / (units + PRIOR_UNITS)
    return np.clip(shrunk, LEAST_SHARE, 1.0).astype(np.float32)
