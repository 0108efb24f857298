"""Bends: smooth, invertible maps between a normal coordinate and one with skewness and tails.

A coordinate is shifted, scaled and bent by a sinh-arcsinh transformation. A radial bend does this
to the logarithm of a vector's length and keeps its direction: how volatile a unit is.

References
----------
Jones & Pewsey (2009), Sinh-arcsinh distributions, Biometrika 96: 761-780.
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import digamma, polygamma

LIGHTEST = 0.1  # of log tails: under much lighter ones than normal outliers would be impossible
TINY = 1e-6


class Bend(NamedTuple):
    """Parameters of a bend; all zero is the identity."""

    shift: Any
    scale: Any
    skew: Any
    tail: Any


MOST = Bend(*map(np.float32, (4.0, 2.0, 1.0, 0.7)))
"""Bounds either way, so that no parameters overflow."""
MOST_RADIAL = Bend(*map(np.float32, (1.0, 2.0, 0.5, 0.0)))


def bounded(free: Float[Array, "4 *any"], most: Bend) -> Bend:
    """Return a bend within bounds, smoothly; small parameters stay as they are."""
    shift, scale, skew, tail = (
        limit * jnp.tanh(part / jnp.maximum(limit, TINY))
        for limit, part in zip(most, free, strict=True)
    )
    return Bend(
        shift, scale, skew, jnp.where(free[3] > 0, LIGHTEST * jnp.tanh(tail / LIGHTEST), tail)
    )


def bend(normal: Float[Array, "*any"], by: Bend) -> Float[Array, "*any"]:
    """Bend normal values."""
    bent = jnp.sinh(jnp.exp(-by.tail) * (jnp.arcsinh(normal) + by.skew))
    return by.shift + jnp.exp(by.scale) * bent


def straighten(
    bent: Float[Array, "*any"], by: Bend
) -> tuple[Float[Array, "*any"], Float[Array, "*any"]]:
    """Return the normal values, and the logarithms of the slopes of the way there."""
    y = (bent - by.shift) * jnp.exp(-by.scale)
    angle = jnp.exp(by.tail) * jnp.arcsinh(y) - by.skew
    log_cosh = jnp.logaddexp(angle, -angle) - math.log(2)
    return jnp.sinh(angle), by.tail - by.scale + log_cosh - 0.5 * jnp.log1p(y**2)


def bend_length(normal: Float[Array, "unit part"], by: Bend) -> Float[Array, "unit part"]:
    """Bend the lengths of standard normal vectors."""
    length, sd = _log_length(normal)
    return normal * jnp.exp(sd * (bend(length, by) - length))


def straighten_length(
    bent: Float[Array, "unit part"], by: Bend
) -> tuple[Float[Array, "unit part"], Float[Array, " unit"]]:
    """Return the normal vectors, and the log determinants of the way there."""
    length, sd = _log_length(bent)
    straight, slope = straighten(length, by)
    growth = sd * (straight - length)
    return bent * jnp.exp(growth), slope[:, 0] + bent.shape[1] * growth[:, 0]


def _log_length(vectors: Float[Array, "unit part"]) -> tuple[Float[Array, "unit 1"], float]:
    """Return logarithms of lengths in units of their spread, and it, under the normal law."""
    half = vectors.shape[1] / 2
    mean = 0.5 * (math.log(2) + float(digamma(half)))
    sd = 0.5 * math.sqrt(float(polygamma(1, half)))
    squares = (vectors**2).sum(axis=1, keepdims=True)
    return (0.5 * jnp.log(squares + TINY) - mean) / sd, sd
