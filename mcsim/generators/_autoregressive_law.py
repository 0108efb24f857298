"""A panel's law, cell by cell: periods in turn, columns in turn, each given all cells before it.

Scores are the normal copula's, whose conditional means and deviations are the linear part; a
network per column, the same in all periods, says how the standardized innovation is distributed
given what the unit has done so far: a mixture of normal components, and of mass points.

References
----------
Bishop (1994), Mixture density networks, Aston University NCRG/94/004. Uria, Murray & Larochelle
(2013), RNADE: the real-valued neural autoregressive density-estimator, NeurIPS.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from jax.scipy.special import ndtr, ndtri
from scipy.stats import norm as normal

from mcsim._pytree import pytree
from mcsim.generators._levels import inverse_index
from mcsim.generators._networks import Params, Sizes, apply

FARTHEST = 6.0  # innovations beyond are not drawn
ROUNDS = 40  # of raking
NO_ATOM = -3.0  # the logit of a mass point before training


@dataclass(frozen=True)
class Order:
    """The static part: where cells stand, and the networks.

    Attributes
    ----------
    traits : int
        Coordinates that are constant within units; they come first.
    columns, periods : int
        Of the paths.
    atoms : tuple of int
        Mass points of each column that have a probability of their own.
    hidden : tuple of int
        Widths of the hidden layers.
    components : int
        Normal components of an innovation.
    """

    traits: int
    columns: int
    periods: int
    atoms: tuple[int, ...]
    hidden: Sizes
    components: int

    @cached_property
    def sizes(self) -> tuple[Sizes, ...]:
        """Layer sizes of each column's network."""
        inputs = 6 + self.traits + 5 * self.columns + 2 * sum(self.atoms)
        sizes = []
        for points in self.atoms:
            sizes.append((inputs, *self.hidden, 3 * self.components + points))
            inputs += 2 + points
        return tuple(sizes)


class Memory(NamedTuple):
    """What a unit has done before a period; arrays (unit, column) or (unit, mass point)."""

    last: Any  # scores
    before: Any
    total: Any
    size: Any  # absolute innovations
    squares: Any
    at: Any  # at which mass points
    often: Any


def no_memory(order: Order, units: int) -> Memory:
    """Return the memory before the first period."""
    cells = jnp.zeros((units, order.columns), jnp.float32)
    points = jnp.zeros((units, sum(order.atoms)), jnp.float32)
    return Memory(cells, cells, cells, cells, cells, points, points)


def remember(memory: Memory, scores: Array, innovations: Array, at: Array) -> Memory:
    """Return the memory after a period."""
    return Memory(
        scores,
        memory.last,
        memory.total + scores,
        jnp.abs(innovations),
        memory.squares + innovations**2,
        at,
        memory.often + at,
    )


def recall(
    order: Order, memory: Memory, traits: Array, period: Array
) -> Float[Array, "unit feature"]:
    """Return what all networks of a period see of the past."""
    units = len(memory.last)
    place = 2 * period / max(order.periods - 1, 1) - 1
    calendar = jnp.stack([jnp.ones(()), period == 0, period == 1, place, place**2 - 1 / 3])
    known = period.astype(jnp.float32)
    parts = [
        jnp.broadcast_to(calendar.astype(jnp.float32), (units, 5)),
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


class Innovation(NamedTuple):
    """The law of standardized innovations: weights of components, then mass points."""

    log_weights: Any
    means: Any
    log_scales: Any


def innovation(order: Order, column: int, outputs: Array) -> Innovation:
    """Read a network's outputs."""
    k = order.components
    spread = np.linspace(-1, 1, k) if k > 1 else np.zeros(1)
    scale = np.sqrt(1 - np.mean(spread**2)) if k > 1 else 1.0
    start = np.concatenate([-0.5 * spread**2, np.full(order.atoms[column], NO_ATOM)])
    logits = outputs[:, 2 * k :] + jnp.asarray(start, jnp.float32)
    means = jnp.asarray(spread, jnp.float32) + outputs[:, :k]
    log_scales = np.float32(np.log(scale)) + 2 * jnp.tanh(outputs[:, k : 2 * k] / 2)
    return Innovation(jax.nn.log_softmax(logits, axis=1), means, log_scales)


def log_density(law: Innovation, value: Array, low: Array, high: Array, atom: Array) -> Array:
    """Return the log density of innovations, or the log probability of (low, high).

    ``atom`` (unit, mass point) says which mass point a cell is, if any.
    """
    k = law.means.shape[1]
    scales = jnp.exp(law.log_scales)

    def standard(x: Array) -> Array:
        return (x[:, None] - law.means) / scales

    z = standard(value)
    loose = -0.5 * z**2 - law.log_scales - 0.5 * np.float32(np.log(2 * np.pi))
    loose = jax.nn.logsumexp(law.log_weights[:, :k] + loose, axis=1)
    point = low < high
    bottom, top = standard(jnp.where(point, low, -1.0)), standard(jnp.where(point, high, 1.0))
    flip = bottom > 0  # of the two tails the thin one, for digits
    bottom, top = jnp.where(flip, -top, bottom), jnp.where(flip, -bottom, top)
    mass = jnp.exp(law.log_weights[:, :k]) * jnp.maximum(ndtr(top) - ndtr(bottom), 0.0)
    own = jnp.sum(jnp.exp(law.log_weights[:, k:]) * atom, axis=1)
    return jnp.where(point, jnp.log(mass.sum(axis=1) + own + 1e-9), loose)


@pytree("root", "low", "high", "middle", "offsets", "params")
@dataclass(frozen=True, eq=False)
class Cells:
    """The law of vectors, drawn cell by cell.

    Attributes
    ----------
    order : Order
    place : tuple of int
        Where the coordinates of the order (traits, then periods of columns) stand in vectors.
    root : array (coordinate, coordinate)
        Cholesky root of the covariance, in that order.
    low, high, middle : array (period, point)
        Between which scores each mass point lies, column after column; what later cells see of it.
    offsets : array (period, point)
        What is added to the logits of mass points, so that their shares are those of the data.
    params : tuple
        Parameters of the networks.
    """

    order: Order
    place: tuple[int, ...]
    root: Any
    low: Any
    high: Any
    middle: Any
    offsets: Any
    params: tuple[Params, ...]

    def draw(self, key: Array, n_units: int) -> Float[Array, "unit coordinate"]:
        """Draw units: traits as the copula does, then period after period."""
        traits, cells, _ = self._run(key, n_units, None)
        ordered = jnp.concatenate([traits, cells], axis=1)
        return ordered[:, np.argsort(self.place)]

    def raked(self, key: Array, targets: Float[Array, "period point"], n_units: int) -> Array:
        """Return the offsets under which mass points have these shares in every period."""
        return self._run(key, n_units, targets)[2]

    def _run(self, key: Array, n_units: int, targets: Any) -> tuple[Array, Array, Array]:
        """Draw traits and cells (unit, coordinate); with targets, find offsets on the way."""
        order, q = self.order, self.order.traits
        of_traits, of_cells = jax.random.split(key)
        known = jax.random.normal(of_traits, (n_units, q), jnp.float32)
        noise = jax.random.uniform(
            of_cells, (order.periods, order.columns, 2, n_units), jnp.float32, 1e-7, 1 - 1e-7
        )
        root = jnp.asarray(self.root, jnp.float32)
        traits = known @ root[:q, :q].T
        paths = jnp.zeros((n_units, order.periods * order.columns), jnp.float32)
        rows = root[q:].reshape(order.periods, order.columns, -1)

        def step(carry: tuple, now: tuple) -> tuple[tuple, tuple]:
            memory, innovations = carry
            period, weights, uniforms, points = now[:4]
            drawn = self._period(
                memory, innovations, traits, period, weights, uniforms, points, *now[4:]
            )
            start = q + period * order.columns
            innovations = jax.lax.dynamic_update_slice(innovations, drawn.innovations, (0, start))
            memory = remember(memory, drawn.seen, drawn.innovations, drawn.at)
            return (memory, innovations), (drawn.scores, drawn.offsets)

        points = Points(*(jnp.asarray(p, jnp.float32) for p in (self.low, self.high, self.middle, self.offsets)))
        now = jnp.arange(order.periods), rows, noise, points
        if targets is not None:
            now = (*now, jnp.asarray(targets, jnp.float32))
        carry = no_memory(order, n_units), jnp.concatenate([known, paths], axis=1)
        _, (scores, offsets) = jax.lax.scan(step, carry, now)
        return traits, jnp.moveaxis(scores, 0, 1).reshape(n_units, -1), offsets

    def _period(
        self, memory, innovations, traits, period, weights, uniforms, points, targets=None
    ) -> "Drawn":
        """Draw a period's columns in turn."""
        order, start, found = self.order, 0, []
        context = recall(order, memory, traits, period)
        for column, count in enumerate(order.atoms):
            at = order.traits + period * order.columns + column
            deviation, mean = weights[column, at], innovations @ weights[column]
            own = Points(*(part[start : start + count] for part in points))
            features = jnp.concatenate([context, mean[:, None]], axis=1)
            outputs = apply(order.sizes[column], self.params[column], features)
            law = innovation(order, column, outputs)
            low, high = ((side - mean[:, None]) / deviation for side in (own.low, own.high))
            offsets = own.offsets
            if targets is not None and count:
                offsets = offsets_of(law, low, high, targets[start : start + count])
            value = draw_innovation(shifted(law, offsets), low, high, uniforms[column])
            score = mean + deviation * value
            here = (score[:, None] > own.low) & (score[:, None] < own.high)
            here = here.astype(jnp.float32)
            seen = jnp.where(here.any(axis=1), here @ own.middle, score)
            value = (seen - mean) / deviation
            innovations = jax.lax.dynamic_update_slice(innovations, value[:, None], (0, at))
            context = jnp.concatenate([context, seen[:, None], value[:, None], here], axis=1)
            found.append(Drawn(score, seen, value, here, offsets))
            start += count
        columns = [jnp.stack(part, axis=1) for part in list(zip(*found, strict=True))[:3]]
        return Drawn(
            *columns,
            jnp.concatenate([own.at for own in found], axis=1),
            jnp.concatenate([own.offsets for own in found]),
        )


class Points(NamedTuple):
    """Mass points of a period."""

    low: Any
    high: Any
    middle: Any
    offsets: Any


class Drawn(NamedTuple):
    """What is drawn in a period."""

    scores: Any
    seen: Any
    innovations: Any
    at: Any
    offsets: Any


def shifted(law: Innovation, offsets: Array) -> Innovation:
    """Add to the logits of mass points."""
    k = law.means.shape[1]
    logits = law.log_weights.at[:, k:].add(offsets)
    return law._replace(log_weights=jax.nn.log_softmax(logits, axis=1))


def shares(law: Innovation, low: Array, high: Array) -> Float[Array, "unit point"]:
    """Return the probabilities of mass points."""
    k = law.means.shape[1]
    scales, weights = jnp.exp(law.log_scales), jnp.exp(law.log_weights)
    z = [(side[:, :, None] - law.means[:, None]) / scales[:, None] for side in (low, high)]
    inside = jnp.sum(weights[:, None, :k] * (ndtr(z[1]) - ndtr(z[0])), axis=2)
    return weights[:, k:] + inside


def offsets_of(law: Innovation, low: Array, high: Array, targets: Array) -> Array:
    """Return the offsets under which mean probabilities are the targets."""

    def move(_: Any, offsets: Array) -> Array:
        mean = shares(shifted(law, offsets), low, high).mean(axis=0)
        return jnp.clip(offsets + jnp.clip(jnp.log(targets) - jnp.log(mean), -1.0, 1.0), -6.0, 6.0)

    return jax.lax.fori_loop(0, ROUNDS, move, jnp.zeros(targets.shape, jnp.float32))


def middle(low: Array, high: Array) -> Array:
    """Return the mean of a standard normal between two numbers."""
    share = np.maximum(normal.cdf(high) - normal.cdf(low), 1e-9)
    return np.clip((normal.pdf(low) - normal.pdf(high)) / share, low, high)


def draw_innovation(law: Innovation, low: Array, high: Array, uniforms: Array) -> Array:
    """Draw a component, and a normal innovation in it; in a mass point's interval a normal one."""
    k, points = law.means.shape[1], low.shape[1]
    part = inverse_index(jnp.exp(law.log_weights), uniforms[0])
    chosen = jnp.minimum(part, k - 1)[:, None]
    mean = jnp.take_along_axis(law.means, chosen, axis=1)[:, 0]
    scale = jnp.exp(jnp.take_along_axis(law.log_scales, chosen, axis=1)[:, 0])
    value = mean + scale * ndtri(uniforms[1])
    if points:
        point = jnp.clip(part - k, 0, points - 1)[:, None]
        bottom = jnp.take_along_axis(low, point, axis=1)[:, 0]
        top = jnp.take_along_axis(high, point, axis=1)[:, 0]
        value = jnp.where(part < k, value, within(bottom, top, uniforms[1]))
    return jnp.clip(value, -FARTHEST, FARTHEST)


def within(low: Array, high: Array, uniform: Array) -> Array:
    """Return the quantile of a standard normal between two numbers; far out, near the nearer."""
    flip = low > 0
    bottom, top = jnp.where(flip, -high, low), jnp.where(flip, -low, high)
    share = ndtr(bottom) + uniform * (ndtr(top) - ndtr(bottom))
    inner = jnp.clip(ndtri(jnp.maximum(share, 1e-30)), bottom, top)
    return jnp.where(flip, -inner, inner)
