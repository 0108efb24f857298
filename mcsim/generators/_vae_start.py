"""Where training starts: factor analysis of the shrunk covariance, volatility by moments.

The decoder's factors are those of maximum likelihood for the covariance (the EM of Rubin & Thayer
1982, Psychometrika 47: 69-76), the encoder's mean and variance are the exact posterior. Each path
has one latent coordinate more, for the log scale of its noise: how far units differ in it is read
off their mean log squared deviations from the factors.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from mcsim.generators._coding import Scores
from mcsim.generators._covariance import Square
from mcsim.generators._layout import Layout
from mcsim.generators._networks import initialize
from mcsim.generators._vae_model import LEAST_DF, MOST_DF, SMALL, Autoencoder, Plan, encoded

ROUNDS = 200
KNOWN = 0.1, 0.95  # bounds of what a unit's deviations tell about its volatility
SPREADS = 0.05, 0.8  # and of how far log scales differ over units
FIRST_DF = 8.0
LEAST = 0.02  # variance of a coordinate that the factors leave


class Factors(NamedTuple):
    """Loadings (factor, coordinate) and variances (coordinate,) of the noise."""

    loadings: np.ndarray
    noise: np.ndarray

    def posterior(self) -> tuple[np.ndarray, Square]:
        """Return the weights (coordinate, factor) of the posterior mean, and its covariance."""
        scaled = self.loadings / self.noise
        covariance = np.linalg.inv(np.eye(len(scaled)) + scaled @ self.loadings.T)
        return (covariance @ scaled).T, covariance


def factor_analysis(covariance: Square, count: int) -> Factors:
    """Fit factors to a covariance matrix."""
    values, vectors = np.linalg.eigh(covariance)
    own = np.maximum(values[::-1][:count] - np.median(values), 0.05)
    loadings = np.sqrt(own)[:, None] * vectors.T[::-1][:count]
    scale = np.sqrt(np.diag(covariance))
    noise = np.maximum(scale**2 - (loadings**2).sum(axis=0), 0.1 * scale**2)
    for _ in range(ROUNDS):
        weights, spread = Factors(loadings, noise).posterior()
        cross = covariance @ weights
        loadings = np.linalg.solve(weights.T @ cross + spread, cross.T)
        noise = np.maximum(np.diag(covariance) - (cross.T * loadings).sum(0), LEAST * scale**2)
    return _principal(Factors(loadings, noise))


def _principal(factors: Factors) -> Factors:
    """Turn the factors so that their posterior is uncorrelated, as the encoder takes it to be."""
    loadings, noise = factors
    turn = np.linalg.eigh((loadings / noise) @ loadings.T)[1][:, ::-1]
    return Factors(turn.T @ loadings, noise)


class Volatility(NamedTuple):
    """How units differ in the log scale of each path's noise, and how to read it off them.

    Attributes
    ----------
    sd : array (path,)
        Standard deviation of the log scale over units.
    known : array (path,)
        Share of the variance of the mean log squared deviations that it explains.
    center, weight : array (path,)
        What turns these means into standardized estimates.
    """

    sd: np.ndarray
    known: np.ndarray
    center: np.ndarray
    weight: np.ndarray


def volatility(deviations: Float[np.ndarray, "unit coordinate"], layout: Layout) -> Volatility:
    """Compare the variance of the mean log squared deviations with that of equal units."""
    squares = np.log(deviations[:, : layout.n_cells] ** 2 + SMALL)
    found = squares.reshape(len(squares), len(layout.paths), layout.periods).mean(axis=2)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights, logs = weights / weights.sum(), np.log(nodes**2 + SMALL)
    chance = weights @ (logs - weights @ logs) ** 2 / layout.periods
    variance = np.maximum(found.var(axis=0), 1e-6)
    known = np.clip(1 - chance / variance, *KNOWN)
    sd = np.clip(0.5 * np.sqrt(known * variance), *SPREADS)
    return Volatility(sd, known, found.mean(axis=0), np.sqrt(known / variance))


def first_autoencoder(key: Array, plan: Plan, scores: Scores) -> Autoencoder:
    """Return the autoencoder before the first step; without ``plan.skip`` it knows nothing."""
    size, paths = plan.layout.size, len(plan.layout.paths)
    free = min(plan.n_factors, size)
    small = 0.0 if plan.skip else 1.0
    nets = initialize(key, (plan.decoder, plan.encoder), (small, small))
    factors = factor_analysis(scores.covariance, free)
    means, covariance = factors.posterior()
    residual = np.eye(size) - means @ factors.loadings
    spread = np.sqrt(np.einsum("de,df,fe->e", residual, scores.covariance, residual))
    seen = encoded(scores.vectors, scores.low, scores.high)
    found = volatility(seen @ residual / spread, plan.layout)
    loadings, weights = np.zeros((plan.latent, size)), np.zeros((size + paths, plan.latent))
    scales, log_variance = np.zeros((plan.latent, len(plan.layout.names))), np.zeros(plan.latent)
    origin, log_scale = np.zeros(plan.latent), 0.5 * np.log(factors.noise)
    loadings[:free], weights[:size, :free] = factors.loadings, means
    log_variance[:free] = np.log(np.diag(covariance))
    if plan.volatile:
        scales[-paths:, :paths] = np.diag(found.sd)
        weights[size:, -paths:] = np.diag(found.weight)
        origin[-paths:] = -found.weight * found.center
        log_variance[-paths:] = np.log(1 - found.known)
        log_scale -= (scales**2).sum(axis=0)[plan.columns]
    if plan.student:
        log_scale -= 0.5 * np.log(FIRST_DF / (FIRST_DF - 2))
    if not plan.skip:
        origin, log_variance, log_scale = (
            np.zeros_like(x) for x in (origin, log_variance, log_scale)
        )
    share = (FIRST_DF - LEAST_DF) / (MOST_DF - LEAST_DF)
    params = {
        "center": np.zeros(size), "loadings": loadings, "log_scale": log_scale,
        "volatility": scales, "tails": np.full(len(plan.layout.names), np.log(share / (1 - share))),
        "origin": origin, "weights": weights, "log_variance": log_variance,
    }  # fmt: skip
    params = {name: values.astype(np.float32) for name, values in params.items()}
    nets = {"decoder": nets[0], "encoder": nets[1]}
    return Autoencoder(plan, params | nets, residual.astype(np.float32), spread.astype(np.float32))
