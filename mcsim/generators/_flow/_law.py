"""Normalizing flow: a normal law of vectors, bent by layers that start as the identity.

Radial layers bend the lengths of groups of coordinates. Turned layers bend each coordinate after a
rotation, alike in all periods of a column. Coupling layers keep half of the coordinates and bend
the others by what a network makes of them.

References
----------
Dinh, Sohl-Dickstein & Bengio (2017), Density estimation using real NVP, ICLR. Meng, Song, Song &
Ermon (2020), Gaussianization flows, AISTATS.
"""

import math
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcsim._numerics import slogdet, solve
from mcsim._pytree import pytree
from mcsim.generators._flow._bends import (
    MOST,
    MOST_RADIAL,
    Bend,
    bend,
    bend_length,
    bounded,
    straighten,
    straighten_length,
)
from mcsim.generators._networks import Sizes, apply, initialize

LOG_2PI = math.log(2 * math.pi)
SLOW = 0.02  # networks learn so much slower than what all units share
Vectors = Float[Array, "unit coordinate"]


class FlowParams(NamedTuple):
    """Free parameters: of the radial layers, of each column in the turned ones, of networks."""

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
        First and last (exclusive) coordinates of the groups whose lengths are bent.
    turns : int
        Number of turned layers.
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
        """The coordinates that each coupling layer keeps, and those that it bends."""
        rng, split, pairs = np.random.default_rng(self.size), self.size // 2, []
        for _ in range(0, self.couplings, 2):
            order = rng.permutation(self.size)
            pairs += [(order[:split], order[split:]), (order[split:], order[:split])]
        return tuple(pairs[: self.couplings])

    @cached_property
    def networks(self) -> tuple[Sizes, ...]:
        """Layer sizes of the networks; their inputs start with a constant."""
        return tuple((1 + len(kept), *self.hidden, 4 * len(bent)) for kept, bent in self.halves)

    def initialize(self, key: Array) -> FlowParams:
        """Return parameters under which nothing is bent."""
        radial = np.zeros((len(self.groups), 4), np.float32)
        turned = np.zeros((self.turns, 4, len(self.widths)), np.float32)
        networks = initialize(key, self.networks, (0.0,) * self.couplings)
        return FlowParams(radial, turned, networks)

    def bend(self, params: FlowParams, turns: Array, normal: Vectors) -> Vectors:
        """Turn standard normal vectors into whitened ones of the law."""
        z = normal
        for layer in reversed(range(self.couplings)):
            kept, bent = self.halves[layer]
            z = z.at[:, bent].set(bend(z[:, bent], self._coupled(params, layer, z[:, kept])))
        z = jax.lax.scan(self._turned_back, z, (turns, params.turned), reverse=True)[0]
        for number in reversed(range(len(self.groups))):
            place = slice(*self.groups[number])
            own = bounded(params.radial[number], MOST_RADIAL)
            z = z.at[:, place].set(bend_length(z[:, place], own))
        return z

    def log_density(
        self, params: FlowParams, turns: Array, whitened: Vectors
    ) -> Float[Array, " unit"]:
        """Return the log densities of whitened vectors, layer by layer back to the normal."""
        z, total = whitened, jnp.full(len(whitened), -0.5 * self.size * LOG_2PI, jnp.float32)
        for number, group in enumerate(self.groups):
            own = bounded(params.radial[number], MOST_RADIAL)
            straight, slope = straighten_length(z[:, slice(*group)], own)
            z, total = z.at[:, slice(*group)].set(straight), total + slope
        (z, total), _ = jax.lax.scan(self._turned_to, (z, total), (turns, params.turned))
        for layer, (kept, bent) in enumerate(self.halves):
            straight, slope = straighten(z[:, bent], self._coupled(params, layer, z[:, kept]))
            z, total = z.at[:, bent].set(straight), total + slope.sum(axis=1)
        return total - 0.5 * (z**2).sum(axis=1)

    def _turned_back(self, z: Vectors, layer: tuple[Array, Array]) -> tuple[Vectors, None]:
        turn, free = layer
        return bend(z, self._shared(free)) @ turn.T, None

    def _turned_to(
        self, carry: tuple[Vectors, Array], layer: tuple[Array, Array]
    ) -> tuple[tuple[Vectors, Array], None]:
        (z, total), (turn, free) = carry, layer
        z, slope = straighten(z @ turn, self._shared(free))
        return (z, total + slope.sum(axis=1)), None

    def _shared(self, free: Float[Array, "4 column"]) -> Bend:
        return bounded(
            jnp.repeat(free, np.array(self.widths), axis=1, total_repeat_length=self.size), MOST
        )

    def _coupled(self, params: FlowParams, layer: int, kept: Vectors) -> Bend:
        one = jnp.ones((len(kept), 1), jnp.float32)
        inputs = jnp.concatenate([one, jnp.arcsinh(kept)], axis=1)  # outliers must not rule
        free = SLOW * apply(self.networks[layer], params.coupled[layer], inputs)
        return bounded(jnp.moveaxis(free.reshape(len(kept), 4, -1), 1, 0), MOST)


@pytree("root", "turns", "params")
@dataclass(frozen=True, eq=False)
class FlowLaw:
    """A normal law of vectors, bent by a flow.

    Attributes
    ----------
    plan : FlowPlan
        The structure.
    root : array (coordinate, coordinate)
        Symmetric root of the covariance that the normal law has.
    turns : array (layer, coordinate, coordinate)
        The rotations before the turned layers.
    params : FlowParams
        What was learned.
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
def _draw(law: FlowLaw, key: Array, n_units: int) -> Vectors:
    normal = jax.random.normal(key, (n_units, law.plan.size), jnp.float32)
    return law.plan.bend(law.params, law.turns, normal) @ law.root
