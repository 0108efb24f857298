"""A panel's distribution, cell by cell: periods and columns in turn, each given all cells before.

The normal copula gives conditional means and deviations. A network per column, the same in
all periods, gives the distribution of the standardized innovation given the unit's past; before
training it is the normal one. In features of later cells a mass point is the middle of its
interval.

An innovation is a mixture of normal components and tilted mass points. Components cover the whole
line; a mass point is an interval of it. The components' probability of the interval is multiplied
by the exponential of a tilt, and all is divided by the total: without tilts the distribution is
that of a latent normal mixture, and a large negative tilt leaves a hole.

References
----------
Uria, Murray & Larochelle (2013), RNADE: the real-valued neural autoregressive density-estimator,
NeurIPS. Bishop (1994), Mixture density networks, Aston University NCRG/94/004.
"""

import math
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jax.scipy.special import erf, ndtr, ndtri
from jaxtyping import Array, Float

from mcsim._core.pytree import pytree, stored_as
from mcsim.generators._cross_sections.levels import inverse_index
from mcsim.generators._networks import Params, Sizes, apply

RAKING_ROUNDS = 40
BETWEEN = 0.5  # share of the variance that lies between components before training
FARTHEST = 6.0  # innovations beyond are not drawn
LEAST = 1e-7  # probabilities below count as zero


@dataclass(frozen=True)
class CellOrder:
    """The static part: the order of cells, and the networks.

    Attributes
    ----------
    invariant : int
        Coordinates of time-invariant columns; they come first.
    periods : int
        Then come periods, and columns in each of them.
    points : tuple of int
        Mass points of each column that have tilts.
    hidden : tuple of int
        Widths of the hidden layers.
    components : int
        Normal components of an innovation.
    """

    invariant: int = field(metadata=stored_as("traits"))  # as in `Column`
    periods: int
    points: tuple[int, ...]
    hidden: Sizes
    components: int

    @property
    def columns(self) -> int:
        """Number of time-varying columns."""
        return len(self.points)

    @cached_property
    def sizes(self) -> tuple[Sizes, ...]:
        """Layer sizes of each column's network."""
        inputs, sizes = 6 + self.invariant + 5 * self.columns + 2 * sum(self.points), []
        for points in self.points:
            sizes.append((inputs, *self.hidden, 3 * self.components + points))
            inputs += 2 + points
        return tuple(sizes)

    def own(self, column: int) -> slice:
        """Return which mass points are a column's."""
        start = sum(self.points[:column])
        return slice(start, start + self.points[column])


class History(NamedTuple):
    """The cells of units before a period, summarized; arrays (unit, column) or (unit, point)."""

    last: Any  # scores
    before: Any
    total: Any
    size: Any  # absolute innovation
    squares: Any
    at: Any  # which mass point
    often: Any


def empty_history(order: CellOrder, units: int) -> History:
    """Return the history before the first period."""
    cells = jnp.zeros((units, order.columns), jnp.float32)
    points = jnp.zeros((units, sum(order.points)), jnp.float32)
    return History(cells, cells, cells, cells, cells, points, points)


def update_history(history: History, scores: Array, innovations: Array, at: Array) -> History:
    """Return the history after a period."""
    total, squares = history.total + scores, history.squares + innovations**2
    size = jnp.abs(innovations)
    return History(scores, history.last, total, size, squares, at, history.often + at)


def history_features(
    order: CellOrder, history: History, invariant: Array, period: Array
) -> Float[Array, "unit feature"]:
    """Return the features of the past: levels, volatility, mass points, the calendar."""
    place = 2 * period / max(order.periods - 1, 1) - 1
    calendar = jnp.stack([jnp.ones(()), period == 0, period == 1, place, place**2 - 1 / 3])
    known = period.astype(jnp.float32)
    parts = [
        jnp.broadcast_to(calendar.astype(jnp.float32), (len(history.last), 5)),
        invariant,
        history.last,
        history.before,
        history.total / (known + 1),
        history.size,
        jnp.log((history.squares + 2) / (known + 2)),
        history.at,
        history.often / (known + 1),
    ]
    return jnp.concatenate(parts, axis=1)


class Points(NamedTuple):
    """Mass points: intervals of scores, offsets of tilts, the shares to rake to."""

    low: Any
    high: Any
    middle: Any
    offsets: Any
    shares: Any


class Drawn(NamedTuple):
    """A cell, or the cells of a period: scores, features of later cells, and origins."""

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
        Places in vectors of the coordinates in this order.
    root : array (coordinate, coordinate)
        Cholesky root of the covariance, in this order.
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
        """Draw units: time-invariant coordinates by the copula, then period after period."""
        return _run(self, key, n_units, self.offsets, 0)[0][:, np.argsort(self.place)]

    def raked(
        self, key: Array, n_units: int, shares: Float[np.ndarray, "period point"]
    ) -> Float[Array, "period point"]:
        """Return the offsets under which mass points have these shares in every period."""
        return _run(self, key, n_units, shares, RAKING_ROUNDS)[1]

    def run(self, key: Array, n_units: int, shares: Any, rounds: Any) -> tuple[Array, Array]:
        """Draw units, and find offsets of mass points in a number of rounds."""
        order, first = self.order, self.order.invariant
        of_invariant, of_cells = jax.random.split(key)
        known = jax.random.normal(of_invariant, (n_units, first), jnp.float32)
        shape = order.periods, order.columns, 2, n_units
        flat = (math.prod(shape),)  # with four axes they take four times as long to compile
        noise = jax.random.uniform(of_cells, flat, jnp.float32, 1e-7, 1 - 1e-7).reshape(shape)
        root = jnp.asarray(self.root)
        invariant = known @ root[:first, :first].T
        rows = root[first:].reshape(order.periods, order.columns, len(root))
        square = root[first:, first:].reshape((order.periods, order.columns) * 2)
        blocks = jnp.moveaxis(jnp.diagonal(square, axis1=0, axis2=2), -1, 0)
        points = Points(self.low, self.high, self.middle, self.offsets, shares)
        points = jax.tree.map(jnp.asarray, points)

        def step(carry: tuple, now: tuple) -> tuple[tuple, tuple]:
            history, past = carry
            period, rows, block, noise, points = now
            context = history_features(order, history, invariant, period)
            drawn = self._period(context, past @ rows.T, block, noise, points, rounds)
            start = first + period * order.columns
            past = jax.lax.dynamic_update_slice(past, drawn.innovations, (0, start))
            history = update_history(history, drawn.seen, drawn.innovations, drawn.at)
            return (history, past), (drawn.scores, drawn.offsets)

        paths = jnp.zeros((n_units, len(root) - first), jnp.float32)
        carry = empty_history(order, n_units), jnp.concatenate([known, paths], axis=1)
        now = jnp.arange(order.periods), rows, blocks, noise, points
        _, (scores, offsets) = jax.lax.scan(step, carry, now)
        cells = jnp.moveaxis(scores, 0, 1).reshape(n_units, -1)
        return jnp.concatenate([invariant, cells], axis=1), offsets

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
            context = with_cell(context, cell.seen, cell.innovations, cell.at)
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
        """Find a cell's offsets, and draw the cell given its mean and deviation."""
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
    """Run draws and raking as one program, which takes seconds to compile."""
    return distribution.run(key, n_units, shares, rounds)


def with_cell(context: Array, score: Array, value: Array, at: Array) -> Array:
    """Append a drawn cell to the features, for the next column's network."""
    return jnp.concatenate([context, score[:, None], value[:, None], at], axis=1)


class Innovation(NamedTuple):
    """The distributions of a cell's innovations.

    Attributes
    ----------
    log_weights, means, log_scales : array (unit, component)
    tilts : array (unit, point)
    """

    log_weights: Any
    means: Any
    log_scales: Any
    tilts: Any


def innovation(components: int, outputs: Float[Array, "unit output"]) -> Innovation:
    """Read a network's outputs: zeros are about a standard normal distribution without tilts."""
    k = components
    spread = np.linspace(-1, 1, k) if k > 1 else np.zeros(1)
    weights = np.exp(-0.5 * spread**2) / np.exp(-0.5 * spread**2).sum()
    spread = spread * np.sqrt(BETWEEN / max(weights @ spread**2, 1e-9))
    scale = np.float32(0.5 * np.log(1 - weights @ spread**2))
    logits = outputs[:, :k] + jnp.asarray(np.log(weights), jnp.float32)
    means = outputs[:, k : 2 * k] + jnp.asarray(spread, jnp.float32)
    log_scales = scale + 2 * jnp.tanh(outputs[:, 2 * k : 3 * k] / 2)
    return Innovation(jax.nn.log_softmax(logits, axis=1), means, log_scales, outputs[:, 3 * k :])


def masses(
    distribution: Innovation, low: Float[Array, "unit point"], high: Float[Array, "unit point"]
) -> Float[Array, "unit component point"]:
    """Return the components' probabilities of intervals.

    Component by component, and without the tail's digits below `LEAST`: half of a fit's
    time is spent in these lines.
    """
    found, slopes = [], jnp.exp(-distribution.log_scales) * np.float32(np.sqrt(0.5))
    for mean, slope in zip(distribution.means.T, slopes.T, strict=True):
        bottom, top = (erf((side - mean[:, None]) * slope[:, None]) for side in (low, high))
        found.append(0.5 * jnp.maximum(top - bottom, 0.0))
    return jnp.stack(found, axis=1)


def log_shares(distribution: Innovation, low: Array, high: Array) -> tuple[Array, Array]:
    """Return the log probabilities of mass points (unit, point), and the log of the total."""
    mass = jnp.sum(
        jnp.exp(distribution.log_weights)[:, :, None] * masses(distribution, low, high), axis=1
    )
    total = jnp.log(1 + jnp.sum(mass * jnp.expm1(distribution.tilts), axis=1) + LEAST)
    return jnp.log(mass + LEAST) + distribution.tilts - total[:, None], total


def draw_innovation(
    distribution: Innovation, low: Array, high: Array, uniforms: Float[Array, "2 unit"]
) -> Float[Array, " unit"]:
    """Draw innovations; mass points, ascending, give what a standard normal has between them."""
    count, points = distribution.means.shape[1], low.shape[1]
    mass, weights = masses(distribution, low, high), jnp.exp(distribution.log_weights)
    tilted = jnp.sum(weights[:, :, None] * mass, axis=1) * jnp.exp(distribution.tilts)
    off_points = weights * (1 - mass.sum(axis=2))
    part = inverse_index(jnp.concatenate([off_points, tilted], axis=1), uniforms[0])
    chosen = jnp.minimum(part, count - 1)[:, None]
    mean = jnp.take_along_axis(distribution.means, chosen, axis=1)[:, 0]
    scale = jnp.exp(jnp.take_along_axis(distribution.log_scales, chosen, axis=1)[:, 0])
    gaps = jnp.take_along_axis(mass, chosen[:, :, None], axis=1)[:, 0]
    level = uniforms[1] * (1 - gaps.sum(axis=1))
    bottoms = ndtr((low - mean[:, None]) / scale[:, None])
    for point in range(points):  # a gap below the level lifts it
        level = jnp.where(level >= bottoms[:, point], level + gaps[:, point], level)
    value = mean + scale * ndtri(jnp.clip(level, 1e-7, 1 - 1e-7))
    if points:
        point = jnp.maximum(part - count, 0)[:, None]
        ends = [jnp.take_along_axis(side, point, axis=1)[:, 0] for side in (low, high)]
        value = jnp.where(part < count, value, within(ends[0], ends[1], uniforms[1]))
    return jnp.clip(value, -FARTHEST, FARTHEST)


def within(low: Array, high: Array, uniform: Array) -> Array:
    """Return quantiles of a standard normal between two numbers."""
    flip = low > 0
    bottom, top = jnp.where(flip, -high, low), jnp.where(flip, -low, high)
    share = ndtr(bottom) + uniform * (ndtr(top) - ndtr(bottom))
    inner = jnp.clip(ndtri(jnp.maximum(share, 1e-30)), bottom, top)
    return jnp.where(flip, -inner, inner)


def offsets_of(
    distribution: Innovation,
    points: tuple[Array, Array],
    offsets: Float[Array, " point"],
    shares: Float[Array, " point"],
    rounds: Any,
) -> Float[Array, " point"]:
    """Return offsets of tilts under which mean probabilities of mass points are ``shares``."""

    def move(_: Any, offsets: Array) -> Array:
        own = distribution._replace(tilts=distribution.tilts + offsets)
        mean = jnp.exp(log_shares(own, *points)[0]).mean(axis=0)
        return offsets + jnp.clip(jnp.log(shares) - jnp.log(mean + LEAST), -1.0, 1.0)

    return jax.lax.fori_loop(0, rounds, move, offsets)


def middle(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the means of a standard normal between two numbers, which represent intervals."""
    norm = scipy.stats.norm
    share = np.maximum(norm.cdf(high) - norm.cdf(low), 1e-9)
    return np.clip((norm.pdf(low) - norm.pdf(high)) / share, low, high)
