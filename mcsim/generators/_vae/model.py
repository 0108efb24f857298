"""The autoencoder of a unit's vector: decoder, encoder, and the likelihood of the training bound.

Given z, coordinates are independent, with means and log scales that are linear in z plus a network:
without the network this is factor analysis, with units that differ in volatility besides. A score
known only up to an interval counts with the interval's probability. After training,
latent rows are drawn from a mixture of normals, and decoded.

References
----------
Kingma & Welling (2014), Auto-encoding variational Bayes, ICLR. Wallace (1959), Bounds on normal
approximations to Student's and the chi-square distributions, Annals of Mathematical Statistics 30:
1121-1130.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Float
from scipy.special import ndtr

from mcsim._core.pytree import pytree
from mcsim.generators._networks import Network, Params, apply
from mcsim.generators._scores.vectors import Layout

LEAST_SCALE, MOST_SCALE = 0.02, 8.0  # of the noise, in standard deviations of a coordinate
LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE = -9.0, 2.0
LEAST_DF, MOST_DF = 4.0, 60.0  # the fourth moment is finite: recoloring needs the second
FAR = 30.0  # scores beyond are infinite
SMALL = 0.05  # added to squared deviations before their logarithm, in variances of the noise
Vectors = Float[Array, "unit coordinate"]
Latent = Float[Array, "unit latent"]
LatentDistribution = Literal["posterior", "normal", "prior"]
BANDWIDTH = 0.3  # of the kernel on posteriors, in sds over all units: draws do not repeat units


class Intervals(NamedTuple):
    """Ends of each coordinate's interval (equal: known), and a score inside."""

    inside: Any
    low: Any
    high: Any


class Noise(NamedTuple):
    """Mean and scale of every coordinate given z."""

    mean: Any
    scale: Any


class Gaussian(NamedTuple):
    """Mean and log variance of z given a vector."""

    mean: Any
    log_variance: Any


@dataclass(frozen=True)
class Plan:
    """The static part of an autoencoder: its layout and networks.

    Attributes
    ----------
    layout : Layout
        Of the vectors.
    latent : int
        Number of latent coordinates.
    decoder, encoder : Network
        From z to means and log scales; from the encoder's input to means and log variances of z.
    skip : bool
        Whether means and log scales are linear besides.
    noisy, student : bool
        Whether the noise has scales that are learned (else they are one); whether it is Student-t.
    volatile : bool
        Whether each path has a latent coordinate for the scale of its noise: the last ones.
    """

    layout: Layout
    latent: int
    decoder: Network
    encoder: Network
    skip: bool
    noisy: bool
    student: bool
    volatile: bool

    @property
    def n_factors(self) -> int:
        """Number of latent coordinates that start as factors."""
        return self.latent - (len(self.layout.time_varying) if self.volatile else 0)

    @property
    def columns(self) -> np.ndarray:
        """The column of each coordinate."""
        return np.repeat(np.arange(len(self.layout.widths)), self.layout.widths)


@pytree("params", "residual", "spread")
@dataclass(frozen=True, eq=False)
class Autoencoder:
    """Decoder and encoder.

    Attributes
    ----------
    plan : Plan
    params : dict
        The learned parameters.
    residual : array (coordinate, coordinate)
        Projection of vectors off the linear factors: deviations, an input of the encoder.
    spread : array (coordinate,)
        Standard deviations of these deviations.
    """

    plan: Plan
    params: Params
    residual: Any
    spread: Any

    @property
    def df(self) -> Float[Array, " coordinate"]:
        """Degrees of freedom of the noise of each coordinate."""
        share = jax.nn.sigmoid(self.params["tails"])
        return (LEAST_DF + (MOST_DF - LEAST_DF) * share)[self.plan.columns]

    def decode(self, z: Latent) -> Noise:
        """Return means and scales of the coordinates given latent rows."""
        plan, params, size = self.plan, self.params, self.plan.layout.size
        outputs = apply(plan.decoder, params["decoder"], z)
        mean, scale = params["center"] + outputs[:, :size], params["log_scale"] + outputs[:, size:]
        if plan.skip:
            mean += z @ params["loadings"]
            scale += (z @ params["volatility"])[:, plan.columns]
        if not plan.noisy:
            return Noise(mean, jnp.ones_like(mean))
        return Noise(mean, jnp.clip(jnp.exp(scale), LEAST_SCALE, MOST_SCALE))

    def encode(self, vectors: Vectors) -> Gaussian:
        """Return the latent distribution given vectors."""
        plan, params = self.plan, self.params
        outputs = apply(plan.encoder, params["encoder"], self.seen(vectors))
        mean = params["origin"] + outputs[:, : plan.latent]
        if plan.skip:
            seen = jnp.concatenate([vectors, self.volatility(vectors)], axis=1)
            mean += seen @ params["weights"]
        log_variance = params["log_variance"] + outputs[:, plan.latent :]
        return Gaussian(mean, jnp.clip(log_variance, LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE))

    def log_squares(self, vectors: Vectors) -> Vectors:
        """Return logs of squared deviations from the linear factors."""
        return jnp.log(jnp.square((vectors @ self.residual) / self.spread) + SMALL)

    def volatility(self, vectors: Vectors) -> Float[Array, "unit path"]:
        """Return the mean log squared deviation of each path."""
        layout = self.plan.layout
        squares = self.log_squares(vectors)[:, : layout.n_cells]
        return squares.reshape(len(vectors), len(layout.time_varying), layout.periods).mean(axis=2)

    def seen(self, vectors: Vectors) -> Float[Array, "unit input"]:
        """Return the input of the encoder's network: vectors, and their distances from the factors.

        Column by column, paths first, as an LSTM reads them.
        """
        if not self.plan.noisy:
            return vectors
        squares, cells = 0.5 * self.log_squares(vectors), self.plan.layout.n_cells
        parts = vectors[:, :cells], squares[:, :cells], vectors[:, cells:], squares[:, cells:]
        return jnp.concatenate(parts, axis=1)

    def log_likelihood(self, z: Latent, known: Intervals) -> Vectors:
        """Return the log likelihood of each coordinate given z."""
        mean, scale = self.decode(z)
        exact = known.low == known.high
        away = (known.inside - mean) / scale
        density = self._log_density(away) - jnp.log(scale)
        ends = [jnp.clip(jnp.where(exact, side, end), -FAR, FAR)
                for side, end in ((-1.0, known.low), (1.0, known.high))]  # fmt: skip
        low, high = (self._normal((end - mean) / scale) for end in ends)
        return jnp.where(exact, density, log_probability(low, high))

    def _log_density(self, away: Array) -> Array:
        if not self.plan.student:
            return -0.5 * jnp.square(away) - 0.5 * math.log(2 * math.pi)
        df = self.df
        gammas = jax.lax.lgamma(0.5 * (df + 1)) - jax.lax.lgamma(0.5 * df)
        constant = gammas - 0.5 * jnp.log(jnp.pi * df)
        return constant - 0.5 * (df + 1) * jnp.log1p(jnp.square(away) / df)

    def _normal(self, away: Array) -> Array:
        """Return the normal score of a Student-t variable (Wallace)."""
        if not self.plan.student:
            return away
        df = self.df
        square = jnp.square(away) / df
        ratio = jnp.where(square > 1e-4, jnp.log1p(square) / jnp.maximum(square, 1e-4), 1.0)
        return (8 * df + 1) / (8 * df + 3) * away * jnp.sqrt(ratio)

    def draw_noise(self, normal: Vectors) -> Vectors:
        """Return noise of scale one from standard normals."""
        if not self.plan.student:
            return normal
        df = self.df
        square = jnp.square((8 * df + 3) / (8 * df + 1) * normal) / df
        ratio = jnp.where(square > 1e-4, jnp.expm1(square) / jnp.maximum(square, 1e-4), 1.0)
        return (8 * df + 3) / (8 * df + 1) * normal * jnp.sqrt(ratio)


def log_probability(low: Array, high: Array) -> Array:
    """Return log probabilities of a standard normal between two ends, without cancellation."""
    flip = low > 0
    low, high = jnp.where(flip, -high, low), jnp.where(flip, -low, high)
    above, below = log_ndtr(high), log_ndtr(low)
    return above + jnp.log1p(-jnp.exp(jnp.minimum(below - above, -1e-6)))


def divergence(latent: Gaussian) -> Float[Array, " unit"]:
    """Return the Kullback-Leibler divergence from the standard normal, summed."""
    mean, log_variance = latent
    terms = jnp.square(mean) + jnp.exp(log_variance) - 1 - log_variance
    return 0.5 * terms.sum(axis=1)


def encoded(vectors: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return vectors with scores of mass points in the middle of their intervals, for the encoder.

    The middle is the mean of a standard normal there; missing cells keep their draws.
    """
    inside = (low < high) & (np.isfinite(low) | np.isfinite(high))
    density = [np.exp(-0.5 * np.minimum(side**2, 700)) / np.sqrt(2 * np.pi) for side in (low, high)]
    share = np.maximum(ndtr(high) - ndtr(low), 1e-9)
    middle = np.clip((density[0] - density[1]) / share, low, high)
    return np.where(inside, middle, vectors)


@pytree("model", "means", "scales", "root")
@dataclass(frozen=True, eq=False)
class Decoded:
    """Latent rows from a mixture of normals with equal weights, decoded.

    Attributes
    ----------
    model : Autoencoder
    means, scales : array (component, latent)
        Of the components' coordinates, which are independent before ``root``.
    root : array (latent, latent)
        Root by which deviations are multiplied (from the left) for deviations of z.
    """

    model: Autoencoder
    means: Any
    scales: Any
    root: Any

    def draw(self, key: Array, n_units: int) -> Float[Array, "unit coordinate"]:
        """Draw units."""
        return _draw(self, key, n_units)


@partial(jax.jit, static_argnums=2)
def _draw(distribution: Decoded, key: Array, n_units: int) -> Float[Array, "unit coordinate"]:
    plan, count = distribution.model.plan, len(distribution.means)
    of_component, of_normals = jax.random.split(key)
    component = jax.random.randint(of_component, (n_units,), 0, count)
    shape = n_units, plan.latent + plan.layout.size
    normals = jax.random.normal(of_normals, shape, jnp.float32)
    deviations = normals[:, : plan.latent] * jnp.asarray(distribution.scales)[component]
    mean, scale = distribution.model.decode(
        jnp.asarray(distribution.means)[component] + deviations @ distribution.root
    )
    if not plan.noisy:
        return mean
    return mean + scale * distribution.model.draw_noise(normals[:, plan.latent :])


def fit_latent_distribution(
    model: Autoencoder, vectors: Float[np.ndarray, "unit coordinate"], kind: LatentDistribution
) -> Decoded:
    """Fit the latent distribution to the posteriors of the training units.

    Their mixture is smoothed by a kernel, and shrunk so that its variance stays: Silverman (1986),
    Density estimation for statistics and data analysis, section 6.4.
    """
    latent = model.plan.latent
    one, identity = np.ones((1, latent)), np.eye(latent)
    encode = jax.jit(Autoencoder.encode)
    found = encode(model, jnp.asarray(vectors, jnp.float32))
    means, variances = np.asarray(found.mean, np.float64), np.exp(np.asarray(found.log_variance))
    if kind == "posterior":
        center, shrunk = means.mean(axis=0), np.sqrt(1 - BANDWIDTH**2)
        parts = center + shrunk * (means - center), np.sqrt(variances + BANDWIDTH**2), identity
    elif kind == "normal":
        between = np.cov(means, rowvar=False, ddof=0).reshape(latent, latent)
        covariance = between + np.diag(variances.mean(axis=0))
        parts = means.mean(axis=0)[None], one, np.linalg.cholesky(covariance).T
    else:
        parts = 0 * one, one, identity
    return Decoded(model, *(part.astype(np.float32) for part in parts))
