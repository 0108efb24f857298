"""A panel's distribution, cell by cell: periods and columns in turn, each given all cells before.

Conditional means and deviations are those of the normal copula. A network per column, the same in
all periods, says what distribution the standardized innovation has, given what the unit has done so
far; before training it is the normal one. Later cells see a mass point as the middle of its
interval.

References
----------
Uria, Murray & Larochelle (2013), RNADE: the real-valued neural autoregressive density-estimator,
NeurIPS.
"""

import math
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcsim._core.pytree import pytree
from mcsim.generators._autoregressive.innovations import draw_innovation, innovation, offsets_of
from mcsim.generators._networks import Params, Sizes, apply

RAKING_ROUNDS = 40


@dataclass(frozen=True)
class CellOrder:
    """The static part: the order of cells, and the networks.

    Attributes
    ----------
    traits : int
        Coordinates that are constant within units; they come first.
    periods : int
        Then come periods, and columns in each of them.
    points : tuple of int
        Mass points of each column that have tilts.
    hidden : tuple of int
        Widths of the hidden layers.
    components : int
        Normal components of an innovation.
    """

    traits: int
    periods: int
    points: tuple[int, ...]
    hidden: Sizes
    components: int

    @property
    def columns(self) -> int:
        """Number of columns that vary over time."""
        return len(self.points)

    @cached_property
    def sizes(self) -> tuple[Sizes, ...]:
        """Layer sizes of each column's network."""
        inputs, sizes = 6 + self.traits + 5 * self.columns + 2 * sum(self.points), []
        for points in self.points:
            sizes.append((inputs, *self.hidden, 3 * self.components + points))
            inputs += 2 + points
        return tuple(sizes)

    def own(self, column: int) -> slice:
        """Return which mass points are a column's."""
        start = sum(self.points[:column])
        return slice(start, start + self.points[column])


class Memory(NamedTuple):
    """What units have done before a period; arrays (unit, column) or (unit, point)."""

    last: Any  # scores
    before: Any
    total: Any
    size: Any  # absolute innovation
    squares: Any
    at: Any  # which mass point
    often: Any


def no_memory(order: CellOrder, units: int) -> Memory:
    """Return the memory before the first period."""
    cells = jnp.zeros((units, order.columns), jnp.float32)
    points = jnp.zeros((units, sum(order.points)), jnp.float32)
    return Memory(cells, cells, cells, cells, cells, points, points)


def remember(memory: Memory, scores: Array, innovations: Array, at: Array) -> Memory:
    """Return the memory after a period."""
    total, squares = memory.total + scores, memory.squares + innovations**2
    size = jnp.abs(innovations)
    return Memory(scores, memory.last, total, size, squares, at, memory.often + at)


def recall(
    order: CellOrder, memory: Memory, traits: Array, period: Array
) -> Float[Array, "unit feature"]:
    """Return what the networks of a period see of the past: levels, volatility, mass points."""
    place = 2 * period / max(order.periods - 1, 1) - 1
    calendar = jnp.stack([jnp.ones(()), period == 0, period == 1, place, place**2 - 1 / 3])
    known = period.astype(jnp.float32)
    parts = [
        jnp.broadcast_to(calendar.astype(jnp.float32), (len(memory.last), 5)),
        traits,
        memory.last,
        memory.before,
        memory.total / (known + 1),
        memory.size,
        jnp.log((memory.squares + 2) / (known + 2)),
        memory.at,
        memory.often / (known + 1),
    ]
    return jnp.concatenate(parts, axis=1)


class Points(NamedTuple):
    """Mass points: their intervals of scores, what is added to tilts, the shares to rake to."""

    low: Any
    high: Any
    middle: Any
    offsets: Any
    shares: Any


class Drawn(NamedTuple):
    """A cell, or the cells of a period: scores, as later cells see them, and how they arose."""

    scores: Any
    seen: Any
    innovations: Any
    at: Any
    offsets: Any


@pytree("root", "low", "high", "middle", "offsets", "params")
@dataclass(frozen=True, eq=False)
class Cells:
    """The distribution of vectors, drawn cell by cell.

    Attributes
    ----------
    order : CellOrder
    place : tuple of int
        Where the coordinates, in that order, stand in vectors.
    root : array (coordinate, coordinate)
        Cholesky root of the covariance, in that order.
    low, high, middle, offsets : array (period, point)
        The mass points, column after column.
    params : tuple
        Parameters of the networks.
    """

    order: CellOrder
    place: tuple[int, ...]
    root: Any
    low: Any
    high: Any
    middle: Any
    offsets: Any
    params: tuple[Params, ...]

    def draw(self, key: Array, n_units: int) -> Float[Array, "unit coordinate"]:
        """Draw units: traits as the copula has them, then period after period."""
        return _run(self, key, n_units, self.offsets, 0)[0][:, np.argsort(self.place)]

    def raked(
        self, key: Array, n_units: int, shares: Float[np.ndarray, "period point"]
    ) -> Float[Array, "period point"]:
        """Return the offsets under which mass points have these shares in every period."""
        return _run(self, key, n_units, shares, RAKING_ROUNDS)[1]

    def run(self, key: Array, n_units: int, shares: Any, rounds: Any) -> tuple[Array, Array]:
        """Draw units, in the order of drawing, and in so many rounds their offsets."""
        order, first = self.order, self.order.traits
        of_traits, of_cells = jax.random.split(key)
        known = jax.random.normal(of_traits, (n_units, first), jnp.float32)
        shape = order.periods, order.columns, 2, n_units
        flat = (math.prod(shape),)  # of four axes, they take four times as long to compile
        noise = jax.random.uniform(of_cells, flat, jnp.float32, 1e-7, 1 - 1e-7).reshape(shape)
        root = jnp.asarray(self.root)
        traits = known @ root[:first, :first].T
        rows = root[first:].reshape(order.periods, order.columns, len(root))
        square = root[first:, first:].reshape((order.periods, order.columns) * 2)
        blocks = jnp.moveaxis(jnp.diagonal(square, axis1=0, axis2=2), -1, 0)
        points = Points(self.low, self.high, self.middle, self.offsets, shares)
        points = jax.tree.map(jnp.asarray, points)

        def step(carry: tuple, now: tuple) -> tuple[tuple, tuple]:
            memory, past = carry
            period, rows, block, noise, points = now
            context = recall(order, memory, traits, period)
            drawn = self._period(context, past @ rows.T, block, noise, points, rounds)
            start = first + period * order.columns
            past = jax.lax.dynamic_update_slice(past, drawn.innovations, (0, start))
            memory = remember(memory, drawn.seen, drawn.innovations, drawn.at)
            return (memory, past), (drawn.scores, drawn.offsets)

        paths = jnp.zeros((n_units, len(root) - first), jnp.float32)
        carry = no_memory(order, n_units), jnp.concatenate([known, paths], axis=1)
        now = jnp.arange(order.periods), rows, blocks, noise, points
        _, (scores, offsets) = jax.lax.scan(step, carry, now)
        cells = jnp.moveaxis(scores, 0, 1).reshape(n_units, -1)
        return jnp.concatenate([traits, cells], axis=1), offsets

    def _period(
        self, context: Array, means: Array, block: Array, noise: Array, points: Points, rounds: Any
    ) -> Drawn:
        """Draw a period's columns in turn; ``means`` are given the periods before."""
        found: list[Drawn] = []
        for column in range(self.order.columns):
            mean, own = means[:, column], self.order.own(column)
            for earlier, cell in enumerate(found):
                mean = mean + block[column, earlier] * cell.innovations
            ends = Points(*(part[own] for part in points))
            deviation = block[column, column]
            cell = self._cell(column, context, mean, deviation, noise[column], ends, rounds)
            context = see(context, cell.seen, cell.innovations, cell.at)
            found.append(cell)
        return Drawn(
            jnp.stack([cell.scores for cell in found], axis=1),
            jnp.stack([cell.seen for cell in found], axis=1),
            jnp.stack([cell.innovations for cell in found], axis=1),
            jnp.concatenate([cell.at for cell in found], axis=1),
            jnp.concatenate([cell.offsets for cell in found]),
        )

    def _cell(
        self,
        column: int,
        context: Array,
        mean: Array,
        deviation: Array,
        noise: Array,
        points: Points,
        rounds: Any,
    ) -> Drawn:
        """Find a cell's offsets, in so many rounds, and draw it given its mean and deviation."""
        order = self.order
        features = jnp.concatenate([context, mean[:, None]], axis=1)
        outputs = apply(order.sizes[column], self.params[column], features)
        distribution = innovation(order.components, outputs)
        low, high = ((side - mean[:, None]) / deviation for side in points[:2])
        offsets = offsets_of(distribution, (low, high), points.offsets, points.shares, rounds)
        value = draw_innovation(
            distribution._replace(tilts=distribution.tilts + offsets), low, high, noise
        )
        score = mean + deviation * value
        at = (score[:, None] > points.low) & (score[:, None] < points.high)
        seen = jnp.where(at.any(axis=1), at @ points.middle, score)
        return Drawn(score, seen, (seen - mean) / deviation, at.astype(jnp.float32), offsets)


@partial(jax.jit, static_argnums=2)
def _run(
    distribution: Cells, key: Array, n_units: int, shares: Any, rounds: Any
) -> tuple[Array, Array]:
    """Run, in one program for draws and raking: it takes seconds to compile."""
    return distribution.run(key, n_units, shares, rounds)


def see(context: Array, score: Array, value: Array, at: Array) -> Array:
    """Return what the networks of the columns to come in a period see besides."""
    return jnp.concatenate([context, score[:, None], value[:, None], at], axis=1)
