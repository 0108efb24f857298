"""The distribution of a standardized innovation: normal components, and tilted mass points.

Components cover the whole line; a mass point is an interval of it. What the components put into the
interval is multiplied by the exponential of a tilt, and all is divided by the total. So a
distribution without tilts is that of a latent normal mixture, and a large negative tilt leaves a
hole.

References
----------
Bishop (1994), Mixture density networks, Aston University NCRG/94/004.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf, ndtr, ndtri
from jaxtyping import Array, Float
from scipy.stats import norm

from mcsim.generators._cross_sections.levels import inverse_index

BETWEEN = 0.5  # share of the variance that lies between components before training
FARTHEST = 6.0  # innovations beyond are not drawn
LEAST = 1e-7  # probabilities below are not told apart
LOG_ROOT = np.float32(0.5 * np.log(2 * np.pi))


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

    Component by component, and without the thin tail's digits below `LEAST`: half of a fit's
    seconds go into these lines.
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


def log_density(
    distribution: Innovation,
    value: Float[Array, " unit"],
    ends: tuple[Array, Array],
    points: tuple[Array, Array],
    at: Float[Array, "unit point"],
) -> Float[Array, " unit"]:
    """Return the log density of values, or the log probability of what is known of them.

    Parameters
    ----------
    distribution : Innovation
    value : array (unit,)
        Innovations.
    ends : two arrays (unit,)
        Between which an innovation lies; equal where it is known.
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
    loose = jnp.where(inside, jnp.log(mass + LEAST), dense) - total
    return jnp.where(at.any(axis=1), jnp.sum(at * share, axis=1), loose)


def draw_innovation(
    distribution: Innovation, low: Array, high: Array, uniforms: Float[Array, "2 unit"]
) -> Float[Array, " unit"]:
    """Draw innovations; mass points, ascending, give what a standard normal has between them."""
    count, points = distribution.means.shape[1], low.shape[1]
    mass, weights = masses(distribution, low, high), jnp.exp(distribution.log_weights)
    tilted = jnp.sum(weights[:, :, None] * mass, axis=1) * jnp.exp(distribution.tilts)
    loose = weights * (1 - mass.sum(axis=2))
    part = inverse_index(jnp.concatenate([loose, tilted], axis=1), uniforms[0])
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
    """Move what is added to tilts until the mean probabilities of mass points are ``shares``."""

    def move(_: Any, offsets: Array) -> Array:
        own = distribution._replace(tilts=distribution.tilts + offsets)
        mean = jnp.exp(log_shares(own, *points)[0]).mean(axis=0)
        return offsets + jnp.clip(jnp.log(shares) - jnp.log(mean + LEAST), -1.0, 1.0)

    return jax.lax.fori_loop(0, rounds, move, offsets)


def middle(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the means of a standard normal between two numbers: what stands for an interval."""
    share = np.maximum(norm.cdf(high) - norm.cdf(low), 1e-9)
    return np.clip((norm.pdf(low) - norm.pdf(high)) / share, low, high)
