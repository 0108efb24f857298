"""Normalizing flow: a normal distribution of vectors, transformed in layers.

Layers start as the identity. Radial layers transform the lengths of groups of coordinates and keep
directions, which changes a unit's volatility. Rotated layers transform each coordinate after a
rotation, alike in all periods of a column. Coupling layers keep half of the coordinates, from which
a network computes the transformations of the others. Each transformation shifts and scales a
coordinate, and gives it skewness and tails by a sinh-arcsinh.

References
----------
Dinh, Sohl-Dickstein & Bengio (2017), Density estimation using real NVP, ICLR. Meng, Song, Song &
Ermon (2020), Gaussianization flows, AISTATS. Jones & Pewsey (2009), Sinh-arcsinh distributions,
Biometrika 96: 761-780.
"""

import math
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import digamma, polygamma

from mcsim._core.numerics import slogdet, solve
from mcsim._core.pytree import pytree
from mcsim.generators._networks import Sizes, apply, initialize

LOG_2PI = math.log(2 * math.pi)
SLOW = 0.02  # step size of networks, relative to parameters shared by all units
Vectors = Float[Array, "unit coordinate"]
LIGHTEST = 0.1  # of log tails: much lighter tails than normal would make outliers impossible
TINY = 1e-6


class SinhArcsinh(NamedTuple):
    """Parameters of a transformation; all zero is the identity."""

    shift: Any
    scale: Any
    skew: Any
    tail: Any


MOST = SinhArcsinh(*map(np.float32, (4.0, 2.0, 1.0, 0.7)))
"""Bounds either way, so that no parameters overflow."""
MOST_RADIAL = SinhArcsinh(*map(np.float32, (1.0, 2.0, 0.5, 0.0)))


def bounded(free: Float[Array, "4 *any"], most: SinhArcsinh) -> SinhArcsinh:
    """Return parameters within bounds, smoothly; small parameters stay as they are."""
    shift, scale, skew, tail = (
        limit * jnp.tanh(part / jnp.maximum(limit, TINY))
        for limit, part in zip(most, free, strict=True)
    )
    return SinhArcsinh(
        shift, scale, skew, jnp.where(free[3] > 0, LIGHTEST * jnp.tanh(tail / LIGHTEST), tail)
    )


def forward(normal: Float[Array, "*any"], by: SinhArcsinh) -> Float[Array, "*any"]:
    """Transform normal values by a sinh-arcsinh."""
    moved = jnp.sinh(jnp.exp(-by.tail) * (jnp.arcsinh(normal) + by.skew))
    return by.shift + jnp.exp(by.scale) * moved


def inverse(
    moved: Float[Array, "*any"], by: SinhArcsinh
) -> tuple[Float[Array, "*any"], Float[Array, "*any"]]:
    """Return the normal values, and log slopes of the inverse."""
    y = (moved - by.shift) * jnp.exp(-by.scale)
    angle = jnp.exp(by.tail) * jnp.arcsinh(y) - by.skew
    log_cosh = jnp.logaddexp(angle, -angle) - math.log(2)
    return jnp.sinh(angle), by.tail - by.scale + log_cosh - 0.5 * jnp.log1p(y**2)


def forward_length(normal: Float[Array, "unit part"], by: SinhArcsinh) -> Float[Array, "unit part"]:
    """Transform the lengths of standard normal vectors by a sinh-arcsinh."""
    length, sd = _log_length(normal)
    return normal * jnp.exp(sd * (forward(length, by) - length))


def inverse_length(
    moved: Float[Array, "unit part"], by: SinhArcsinh
) -> tuple[Float[Array, "unit part"], Float[Array, " unit"]]:
    """Return the normal vectors, and log determinants of the inverse."""
    length, sd = _log_length(moved)
    normal, slope = inverse(length, by)
    growth = sd * (normal - length)
    return moved * jnp.exp(growth), slope[:, 0] + moved.shape[1] * growth[:, 0]


def _log_length(vectors: Float[Array, "unit part"]) -> tuple[Float[Array, "unit 1"], float]:
    """Return logarithms of lengths in units of their spread under the normal, and the spread."""
    half = vectors.shape[1] / 2
    mean = 0.5 * (math.log(2) + float(digamma(half)))
    sd = 0.5 * math.sqrt(float(polygamma(1, half)))
    squares = (vectors**2).sum(axis=1, keepdims=True)
    return (0.5 * jnp.log(squares + TINY) - mean) / sd, sd


class FlowParams(NamedTuple):
    """Free parameters: of the radial layers, of each column in the rotated ones, of networks."""

    radial: Any  # (group, 4)
    turned: Any  # (layer, 4, column)
    coupled: tuple[Any, ...]


@dataclass(frozen=True)
class FlowPlan:
    """The structure of a flow.

    Attributes
    ----------
    widths : tuple of int
        Number of coordinates of each column.
    groups : tuple of (int, int)
        First and last (exclusive) coordinates of the groups whose lengths are transformed.
    turns : int
        Number of rotated layers.
    couplings : int
        Number of coupling layers.
    hidden : tuple of int
        Widths of the hidden layers of their networks.
    """

    widths: tuple[int, ...]
    groups: tuple[tuple[int, int], ...]
    turns: int
    couplings: int
    hidden: Sizes

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return sum(self.widths)

    @cached_property
    def halves(self) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """The coordinates that each coupling layer keeps, and the others, which it transforms."""
        rng, split, pairs = np.random.default_rng(self.size), self.size // 2, []
        for _ in range(0, self.couplings, 2):
            order = rng.permutation(self.size)
            pairs += [(order[:split], order[split:]), (order[split:], order[:split])]
        return tuple(pairs[: self.couplings])

    @cached_property
    def networks(self) -> tuple[Sizes, ...]:
        """Layer sizes of the networks; their inputs start with a constant."""
        return tuple((1 + len(kept), *self.hidden, 4 * len(moved)) for kept, moved in self.halves)

    def initialize(self, key: Array) -> FlowParams:
        """Return parameters under which nothing is transformed."""
        radial = np.zeros((len(self.groups), 4), np.float32)
        turned = np.zeros((self.turns, 4, len(self.widths)), np.float32)
        networks = initialize(key, self.networks, (0.0,) * self.couplings)
        return FlowParams(radial, turned, networks)

    def forward(self, params: FlowParams, turns: Array, normal: Vectors) -> Vectors:
        """Transform standard normal vectors into whitened ones of the distribution."""
        z = normal
        for layer in reversed(range(self.couplings)):
            kept, moved = self.halves[layer]
            z = z.at[:, moved].set(forward(z[:, moved], self._coupled(params, layer, z[:, kept])))
        z = jax.lax.scan(self._rotated_forward, z, (turns, params.turned), reverse=True)[0]
        for number in reversed(range(len(self.groups))):
            place = slice(*self.groups[number])
            own = bounded(params.radial[number], MOST_RADIAL)
            z = z.at[:, place].set(forward_length(z[:, place], own))
        return z

    def log_density(
        self, params: FlowParams, turns: Array, whitened: Vectors
    ) -> Float[Array, " unit"]:
        """Return the log densities of whitened vectors, layer by layer back to the normal."""
        z, total = whitened, jnp.full(len(whitened), -0.5 * self.size * LOG_2PI, jnp.float32)
        for number, group in enumerate(self.groups):
            own = bounded(params.radial[number], MOST_RADIAL)
            normal, slope = inverse_length(z[:, slice(*group)], own)
            z, total = z.at[:, slice(*group)].set(normal), total + slope
        (z, total), _ = jax.lax.scan(self._rotated_inverse, (z, total), (turns, params.turned))
        for layer, (kept, moved) in enumerate(self.halves):
            normal, slope = inverse(z[:, moved], self._coupled(params, layer, z[:, kept]))
            z, total = z.at[:, moved].set(normal), total + slope.sum(axis=1)
        return total - 0.5 * (z**2).sum(axis=1)

    def _rotated_forward(self, z: Vectors, layer: tuple[Array, Array]) -> tuple[Vectors, None]:
        turn, free = layer
        return forward(z, self._shared(free)) @ turn.T, None

    def _rotated_inverse(
        self, carry: tuple[Vectors, Array], layer: tuple[Array, Array]
    ) -> tuple[tuple[Vectors, Array], None]:
        (z, total), (turn, free) = carry, layer
        z, slope = inverse(z @ turn, self._shared(free))
        return (z, total + slope.sum(axis=1)), None

    def _shared(self, free: Float[Array, "4 column"]) -> SinhArcsinh:
        return bounded(
            jnp.repeat(free, np.array(self.widths), axis=1, total_repeat_length=self.size), MOST
        )

    def _coupled(self, params: FlowParams, layer: int, kept: Vectors) -> SinhArcsinh:
        one = jnp.ones((len(kept), 1), jnp.float32)
        # arcsinh bounds the influence of outliers
        inputs = jnp.concatenate([one, jnp.arcsinh(kept)], axis=1)
        free = SLOW * apply(self.networks[layer], params.coupled[layer], inputs)
        return bounded(jnp.moveaxis(free.reshape(len(kept), 4, -1), 1, 0), MOST)


@pytree("root", "turns", "params")
@dataclass(frozen=True, eq=False)
class FlowDistribution:
    """A normal distribution of vectors, transformed by a flow.

    Attributes
    ----------
    plan : FlowPlan
        The structure.
    root : array (coordinate, coordinate)
        Symmetric root of the covariance of the normal distribution.
    turns : array (layer, coordinate, coordinate)
        The rotations before the rotated layers.
    params : FlowParams
        The learned parameters.
    """

    plan: FlowPlan
    root: Any
    turns: Any
    params: FlowParams

    def draw(self, key: Array, n_units: int) -> Vectors:
        """Draw units."""
        return _draw(self, key, n_units)

    def log_density(
        self, vectors: Float[Array | np.ndarray, "unit coordinate"]
    ) -> Float[Array, " unit"]:
        """Return the log densities of vectors of scores."""
        root = jnp.asarray(self.root)
        whitened = solve(root, jnp.asarray(vectors, jnp.float32).T).T
        own = self.plan.log_density(self.params, jnp.asarray(self.turns), whitened)
        return own - slogdet(root)[1]


@partial(jax.jit, static_argnums=2)
def _draw(distribution: FlowDistribution, key: Array, n_units: int) -> Vectors:
    normal = jax.random.normal(key, (n_units, distribution.plan.size), jnp.float32)
    return (
        distribution.plan.forward(distribution.params, distribution.turns, normal)
        @ distribution.root
    )
