"""Normalizing flow: a normal law, bent by layers that start as the identity.

Radial layers move the length of a group of whitened coordinates: how volatile a unit is. Coupling
layers leave half of the coordinates as they are and move the others by functions of them. What is
moved is shifted, scaled, and given skewness and tails by a sinh-arcsinh transformation.

References
----------
Dinh, Sohl-Dickstein & Bengio (2017), Density estimation using real NVP, ICLR. Jones & Pewsey
(2009), Sinh-arcsinh distributions, Biometrika 96: 761-780.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import digamma, polygamma

from mcsim._pytree import pytree
from mcsim.generators._networks import Params, Sizes, apply, initialize

MOST = (4.0, 2.0, 1.0, 0.7)  # of shift, log scale, skewness and log tail, either way,
LIGHTEST = 0.1  # but for tails lighter than normal, under which an outlier would be impossible
MOST_RADIAL = (1.0, 2.0, 0.5, 0.0)
SLOW = 0.1  # networks learn slower than what all units share
PRIOR = 2.0

Whitened = Float[Array, "unit coordinate"]


class FlowParams(NamedTuple):
    """Parameters of the layers: what all units share, and the networks' part."""

    radial: tuple[Any, ...]
    shared: tuple[Any, ...]
    networks: tuple[Params, ...]


@dataclass(frozen=True)
class Couplings:
    """The structure of a flow: coordinates, layers, and hidden layers of their networks."""

    size: int
    groups: tuple[tuple[int, int], ...]
    layers: int
    hidden: Sizes

    @cached_property
    def orders(self) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """Which coordinates each layer keeps, and which it moves: all move equally often."""
        rng, pairs = np.random.default_rng(self.size), []
        for layer in range(self.layers):
            if layer % 2 == 0:
                order = rng.permutation(self.size)
            halves = np.sort(order[: self.size // 2]), np.sort(order[self.size // 2 :])
            pairs.append(halves if layer % 2 == 0 else halves[::-1])
        return tuple(pairs)

    @cached_property
    def sizes(self) -> tuple[Sizes, ...]:
        """Layer sizes of the networks; the first input is a constant."""
        return tuple(
            (2 + len(kept), *self.hidden, 4 * len(moved)) for kept, moved in self.orders
        )

    def initialize(self, key: Array) -> FlowParams:
        """Return parameters under which nothing is bent."""
        radial = tuple(np.zeros(4, np.float32) for _ in self.groups)
        shared = tuple(np.zeros((4, len(moved)), np.float32) for _, moved in self.orders)
        return FlowParams(radial, shared, initialize(key, self.sizes, (0.0,) * self.layers))

    def bend(self, params: FlowParams, normal: Whitened) -> Whitened:
        """Turn standard normal vectors into whitened ones of the law."""
        z = normal
        for layer in reversed(range(self.layers)):
            kept, moved = self.orders[layer]
            shape = self._shape(params, layer, z[:, kept])
            z = z.at[:, moved].set(_from_normal(z[:, moved], *shape))
        for (start, stop), own in zip(self.groups, params.radial, strict=True):
            length = _length(z[:, start:stop])
            growth = _from_normal(length, *_bounded(own, MOST_RADIAL)) - length
            z = z.at[:, start:stop].multiply(jnp.exp(_radial_sd(stop - start) * growth)[:, None])
        return z

    def straighten(
        self, params: FlowParams, z: Whitened
    ) -> tuple[Whitened, Float[Array, " unit"]]:
        """Turn whitened vectors back into normal ones; return the log determinant beside them."""
        total = jnp.zeros(len(z), z.dtype)
        for (start, stop), own in reversed(list(zip(self.groups, params.radial, strict=True))):
            length, sd = _length(z[:, start:stop]), _radial_sd(stop - start)
            straight, slope = _to_normal(length, *_bounded(own, MOST_RADIAL))
            growth = sd * (straight - length)
            z = z.at[:, start:stop].multiply(jnp.exp(growth)[:, None])
            total += slope + (stop - start) * growth
        for layer in range(self.layers):
            kept, moved = self.orders[layer]
            shape = self._shape(params, layer, z[:, kept])
            straight, slope = _to_normal(z[:, moved], *shape)
            z, total = z.at[:, moved].set(straight), total + slope.sum(axis=1)
        return z, total

    def log_density(self, params: FlowParams, z: Whitened) -> Float[Array, " unit"]:
        """Return the log density of whitened vectors."""
        normal, slope = self.straighten(params, z)
        return slope - 0.5 * (normal**2).sum(axis=1) - 0.5 * self.size * math.log(2 * math.pi)

    def _shape(self, params: FlowParams, layer: int, kept: Whitened) -> list[Array]:
        one = jnp.ones((len(kept), 1), kept.dtype)
        volatile = jnp.log(((kept**2).sum(axis=1, keepdims=True) + PRIOR) / (kept.shape[1] + PRIOR))
        inputs = jnp.concatenate([one, volatile, jnp.arcsinh(kept)], axis=1)
        own = SLOW * apply(self.sizes[layer], params.networks[layer], inputs)
        own = own.reshape(len(kept), 4, -1) + params.shared[layer]
        return _bounded(jnp.moveaxis(own, 1, 0), MOST)


def _bounded(parts, most) -> list[Array]:
    shift, scale, skew, tail = (
        most * jnp.tanh(part / max(most, 1e-6)) for most, part in zip(most, parts, strict=True)
    )
    lighter = LIGHTEST * jnp.tanh(parts[3] / LIGHTEST) if most[3] else tail
    return [shift, scale, skew, jnp.where(parts[3] > 0, lighter, tail)]


def _radial_sd(size: int) -> float:
    return 0.5 * math.sqrt(polygamma(1, size / 2))


def _length(z: Whitened) -> Float[Array, " unit"]:
    """Return logarithms of lengths, standardized as those of normal vectors."""
    size = z.shape[1]
    mean = 0.5 * (math.log(2) + float(digamma(size / 2)))
    return (0.5 * jnp.log((z**2).sum(axis=1) + 1e-6) - mean) / _radial_sd(size)


def _to_normal(
    y: Array, shift: Array, scale: Array, skew: Array, tail: Array
) -> tuple[Array, Array]:
    """Return normal values, and the logarithms of the slopes of the way there."""
    y = (y - shift) * jnp.exp(-scale)
    bent = jnp.exp(tail) * jnp.arcsinh(y) - skew
    slope = tail - scale + _log_cosh(bent) - 0.5 * jnp.log1p(y**2)
    return jnp.sinh(bent), slope


def _from_normal(x: Array, shift: Array, scale: Array, skew: Array, tail: Array) -> Array:
    y = jnp.sinh(jnp.exp(-tail) * (jnp.arcsinh(x) + skew))
    return shift + jnp.exp(scale) * y


def _log_cosh(x: Array) -> Array:
    return jnp.logaddexp(x, -x) - math.log(2)


@pytree("root", "inverse", "params")
@dataclass(frozen=True, eq=False)
class FlowLaw:
    """A mixture, in equal shares, of flows of one structure, which differ in their parameters.

    Attributes
    ----------
    couplings : Couplings
        The structure.
    root, inverse : array (coordinate, coordinate)
        Symmetric root of the covariance that the normal law has, and its inverse.
    params : tuple of FlowParams
        Parameters of each flow.
    """

    couplings: Couplings
    root: Any
    inverse: Any
    params: tuple[Any, ...]

    def draw(self, key: Array, n_units: int) -> Float[Array, "unit coordinate"]:
        """Draw units."""
        of_noise, of_member = jax.random.split(key)
        normal = jax.random.normal(of_noise, (n_units, self.couplings.size), jnp.float32)
        member = jax.random.randint(of_member, (n_units, 1), 0, len(self.params))
        bent = [self.couplings.bend(params, normal) for params in self.params]
        return jnp.select([member == m for m in range(len(bent))], bent) @ self.root

    def log_density(self, vectors: Float[Array, "unit coordinate"]) -> Float[Array, " unit"]:
        """Return the log density of vectors of scores."""
        z = jnp.asarray(vectors, jnp.float32) @ self.inverse
        members = [self.couplings.log_density(params, z) for params in self.params]
        volume = jnp.linalg.slogdet(self.inverse)[1]
        return jax.nn.logsumexp(jnp.stack(members), axis=0) - math.log(len(members)) + volume
