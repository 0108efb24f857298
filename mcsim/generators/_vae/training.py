"""Training by the evidence lower bound, from factor analysis on, with early stopping.

The decoder's factors start at maximum likelihood for the shrunk covariance (the EM of
Rubin & Thayer 1982, Psychometrika 47: 69-76), the encoder's mean and variance as the exact
posterior. Each path has one latent coordinate more, for the log scale of its noise: its variance
over units is estimated from mean log squared deviations from the factors.

Kingma & Welling (2014), Auto-encoding variational Bayes, ICLR.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from mcsim.generators._networks import Params, initialize
from mcsim.generators._scores.coding import Scores
from mcsim.generators._scores.vectors import Layout, Square
from mcsim.generators._training.steps import (
    WORST,
    EarlyStopping,
    draw_batch,
    first_optimizer_state,
    folds_of,
    mean_over,
    padded_length,
    replicated,
    seen_by,
)
from mcsim.generators._vae.model import (
    LEAST_DF,
    MOST_DF,
    SMALL,
    Autoencoder,
    Intervals,
    Plan,
    divergence,
    encoded,
)

ADAM = optax.chain(optax.clip_by_global_norm(5.0), optax.scale_by_adam(b1=0.9, b2=0.99))
SMOOTH = 0.9  # decay of the moving average of the held-out bound
DECAYED = ("decoder", "encoder")  # parameters under weight decay, towards the linear model
ROUNDS = 200
KNOWN = 0.1, 0.95  # bounds of the share of volatility that a unit's deviations identify
SPREADS = 0.05, 0.8  # and of the standard deviation of log scales over units
FIRST_DF = 8.0
UNKNOWN = ("origin", "log_variance", "log_scale")  # at the start, without linear parts
LEAST = 0.02  # variance of a coordinate that the factors leave


class Rates(NamedTuple):
    """The traced part of a configuration."""

    learning_rate: Array
    weight_decay: Array
    beta: Array
    steps: Array


class Losses(NamedTuple):
    """Minus the bound on units trained on and held out, and its latent part; per coordinate."""

    train: Any
    held: Any
    divergence: Any


class Data(NamedTuple):
    """Units, of which the first ``count`` are real, the fold of each, and the first parameters."""

    known: Intervals
    fold: Any
    count: Any
    start: Autoencoder

    @property
    def inside(self) -> np.ndarray:
        """The vectors of the real units, as inputs of the encoder."""
        return self.known.inside[: int(self.count)]


class State(NamedTuple):
    """The state between steps: parameters by replica, and early stopping."""

    params: Params
    adam: Any
    stopping: EarlyStopping
    key: Array


@dataclass(frozen=True)
class Bound:
    """The algorithm: folds, units per step, patience of early stopping."""

    folds: int
    batch_size: int
    patience: int

    @property
    def remedy(self) -> str:
        """The remedy if the fit diverges."""
        return "halve learning_rate, or look for extreme values in the data"

    def first_state(self, data: Data, key: Array) -> State:
        """Return the state before the first step: the same parameters in all replicas."""
        one = data.start.params
        params = replicated(one, self.folds)
        adam = first_optimizer_state(jax.vmap(ADAM.init), params)
        return State(params, adam, EarlyStopping.start(one), key)

    def step(self, data: Data, rates: Rates, state: State, number: Array) -> tuple[State, Losses]:
        """Evaluate the replicas on left-out units, then take a step of each.

        The criterion is the gain over the start on the same units with the same noise.
        """
        rows, of_noise = jax.random.split(jax.random.fold_in(state.key, number))
        units = data.known, data.fold
        (known, fold), real = draw_batch(rows, units, data.count, self.batch_size)
        plan = data.start.plan
        noise = jax.random.normal(of_noise, (len(fold), plan.latent), jnp.float32)
        seen = real & seen_by(fold, self.folds)

        def loss(params: Params, weights: Array) -> tuple[Array, tuple[Array, Array]]:
            bound, latent = self._bound(data, rates, params, known, noise)
            return mean_over(bound, weights), (bound, latent)

        grads = jax.vmap(jax.value_and_grad(loss, has_aux=True))(state.params, seen)
        (train, (bounds, latent)), gradient = grads
        out = real & ~seen
        held = mean_over(jnp.minimum(bounds, WORST), out) if self.folds else train[0]
        losses = Losses(train[0], held, mean_over(latent[0], real))
        start = self._bound(data, rates, data.start.params, known, noise)[0]
        gain = mean_over(jnp.minimum(bounds, WORST) - start, out)
        stopping = state.stopping.update(state.params, gain, number, SMOOTH)
        updates, adam = jax.vmap(ADAM.update)(gradient, state.adam)
        rate = rates.learning_rate * jnp.minimum((number + 1) / 20, 1).astype(jnp.float32)
        params = _moved(state.params, updates, rate, rates.weight_decay)
        return State(params, adam, stopping, state.key), losses

    def finished(self, state: State) -> Any:
        """Return whether the held-out loss has not fallen for ``patience`` steps."""
        return state.stopping.should_stop(self.patience, self.folds)

    def learned(self, data: Data, state: State) -> Autoencoder:
        """Return the autoencoder with the parameters of the fit."""
        return replace(data.start, params=state.stopping.parameters(state.params, self.folds))

    def _bound(
        self, data: Data, rates: Rates, params: Params, known: Intervals, noise: Array
    ) -> tuple[Float[Array, " unit"], Float[Array, " unit"]]:
        """Return minus the evidence lower bound of each unit, and its latent part."""
        model = replace(data.start, params=params)
        latent = model.encode(jnp.asarray(known.inside))
        z = latent.mean + jnp.exp(0.5 * latent.log_variance) * noise
        fit, apart = model.log_likelihood(z, known).sum(axis=1), divergence(latent)
        size = model.plan.layout.size
        return (rates.beta * apart - fit) / size, apart / size


def training_data(
    scores: Sequence[Scores], starts: Sequence[Autoencoder], keys: Sequence[Array], folds: int
) -> list[Data]:
    """Pad the units of all members to one length, and put them into folds by chance."""
    longest = padded_length(own.vectors for own in scores)
    found = []
    for own, start, key in zip(scores, starts, keys, strict=True):
        count = len(own.vectors)
        place = np.resize(np.arange(count), longest)
        fold = folds_of(key, own.rows, folds, longest)
        inside = encoded(own.vectors, own.low, own.high)
        sides = (side[place].astype(np.float32) for side in (inside, own.low, own.high))
        found.append(Data(Intervals(*sides), fold, np.int32(count), start))
    return found


def _moved(params: Params, updates: Any, rate: Array, decay: Array) -> Params:
    """Take a step; the networks are pulled towards zero, that is towards the linear model."""

    def move(path: Any, param: Array, update: Array) -> Array:
        pull = decay * param if path[0].key in DECAYED else 0.0
        return param - rate * (update + pull)

    return jax.tree_util.tree_map_with_path(move, params, updates)


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
    """Rotate the factors until their posterior is uncorrelated, as the encoder assumes."""
    loadings, noise = factors
    rotation = np.linalg.eigh((loadings / noise) @ loadings.T)[1][:, ::-1]
    return Factors(rotation.T @ loadings, noise)


class Volatility(NamedTuple):
    """The variation over units of the log scale of each path's noise, and its estimator.

    Attributes
    ----------
    sd : array (path,)
        Standard deviation of the log scale over units.
    known : array (path,)
        Share of the variance of the mean log squared deviations due to volatility.
    center, weight : array (path,)
        Standardization of these means.
    """

    sd: np.ndarray
    known: np.ndarray
    center: np.ndarray
    weight: np.ndarray


def volatility(deviations: Float[np.ndarray, "unit coordinate"], layout: Layout) -> Volatility:
    """Compare the variance of the mean log squared deviations with that of equal units."""
    squares = np.log(deviations[:, : layout.n_cells] ** 2 + SMALL)
    found = squares.reshape(len(squares), len(layout.time_varying), layout.periods).mean(axis=2)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights, logs = weights / weights.sum(), np.log(nodes**2 + SMALL)
    chance = weights @ (logs - weights @ logs) ** 2 / layout.periods
    variance = np.maximum(found.var(axis=0), 1e-6)
    known = np.clip(1 - chance / variance, *KNOWN)
    sd = np.clip(0.5 * np.sqrt(known * variance), *SPREADS)
    return Volatility(sd, known, found.mean(axis=0), np.sqrt(known / variance))


def first_autoencoder(key: Array, plan: Plan, scores: Scores) -> Autoencoder:
    """Return the autoencoder before the first step; without ``plan.skip`` it has no factors."""
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
    """Return the parameters outside the networks, from factor analysis."""
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
        "weights": np.zeros((size + len(plan.layout.time_varying), plan.latent)),
        "log_variance": np.zeros(plan.latent),
    }
    params["loadings"][:known], params["weights"][:size, :known] = factors.loadings, weights
    params["log_variance"][:known] = np.log(np.diag(covariance))
    return params


def _with_volatility(plan: Plan, params: Params, found: Volatility) -> Params:
    """Let the last latent coordinates scale the noise of one path each."""
    size, paths = plan.layout.size, len(plan.layout.time_varying)
    params["volatility"][-paths:, :paths] = np.diag(found.sd)
    params["weights"][size:, -paths:] = np.diag(found.weight)
    params["origin"][-paths:] = -found.weight * found.center
    params["log_variance"][-paths:] = np.log(1 - found.known)
    mean_square = (params["volatility"] ** 2).sum(axis=0)[plan.columns]
    return params | {"log_scale": params["log_scale"] - mean_square}
