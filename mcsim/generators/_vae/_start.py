"""Where training starts: factor analysis of the shrunk covariance, volatility by moments.

The decoder's factors are those of maximum likelihood for the covariance (the EM of Rubin & Thayer
1982, Psychometrika 47: 69-76), the encoder's mean and variance are the exact posterior. Each path
has one latent coordinate more, for the log scale of its noise: how far units differ in it is read
off their mean log squared deviations from the factors.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from mcsim.generators._networks import Params, initialize
from mcsim.generators._vae._model import LEAST_DF, MOST_DF, SMALL, Autoencoder, Plan, encoded
from mcsim.generators._vectors._coding import Scores
from mcsim.generators._vectors._covariance import Square
from mcsim.generators._vectors._layout import Layout

ROUNDS = 200
KNOWN = 0.1, 0.95  # bounds of what a unit's deviations tell about its volatility
SPREADS = 0.05, 0.8  # and of how far log scales differ over units
FIRST_DF = 8.0
UNKNOWN = ("origin", "log_variance", "log_scale")  # at the start, without linear parts
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
    size, start = plan.layout.size, 0.0 if plan.skip else 1.0
    decoder, encoder = initialize(key, (plan.decoder, plan.encoder), (start, start))
    factors = factor_analysis(scores.covariance, min(plan.n_factors, size))
    residual = np.eye(size) - factors.posterior()[0] @ factors.loadings
    spread = np.sqrt(np.einsum("de,df,fe->e", residual, scores.covariance, residual))
    params = _linear_params(plan, factors)
    if plan.volatile:
        seen = encoded(scores.vectors, scores.low, scores.high)
        params = _with_volatility(plan, params, volatility(seen @ residual / spread, plan.layout))
    if plan.student:
        params["log_scale"] -= 0.5 * np.log(FIRST_DF / (FIRST_DF - 2))
    if not plan.skip:
        params |= {name: np.zeros_like(params[name]) for name in UNKNOWN}
    params = {name: values.astype(np.float32) for name, values in params.items()}
    nets = {"decoder": decoder, "encoder": encoder}
    return Autoencoder(plan, params | nets, residual.astype(np.float32), spread.astype(np.float32))


def _linear_params(plan: Plan, factors: Factors) -> Params:
    """Return the parameters outside the networks: those of factor analysis."""
    size, columns, known = plan.layout.size, len(plan.layout.names), len(factors.loadings)
    weights, covariance = factors.posterior()
    share = (FIRST_DF - LEAST_DF) / (MOST_DF - LEAST_DF)
    params = {
        "center": np.zeros(size),
        "loadings": np.zeros((plan.latent, size)),
        "log_scale": 0.5 * np.log(factors.noise),
        "volatility": np.zeros((plan.latent, columns)),
        "tails": np.full(columns, np.log(share / (1 - share))),
        "origin": np.zeros(plan.latent),
        "weights": np.zeros((size + len(plan.layout.paths), plan.latent)),
        "log_variance": np.zeros(plan.latent),
    }
    params["loadings"][:known], params["weights"][:size, :known] = factors.loadings, weights
    params["log_variance"][:known] = np.log(np.diag(covariance))
    return params


def _with_volatility(plan: Plan, params: Params, found: Volatility) -> Params:
    """Let the last latent coordinates scale the noise of one path each."""
    size, paths = plan.layout.size, len(plan.layout.paths)
    params["volatility"][-paths:, :paths] = np.diag(found.sd)
    params["weights"][size:, -paths:] = np.diag(found.weight)
    params["origin"][-paths:] = -found.weight * found.center
    params["log_variance"][-paths:] = np.log(1 - found.known)
    mean_square = (params["volatility"] ** 2).sum(axis=0)[plan.columns]
    return params | {"log_scale": params["log_scale"] - mean_square}
