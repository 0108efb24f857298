"""Training by the evidence lower bound, ended by units that copies of the model have not seen.

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

from mcsim.generators._held_out import (
    WORST,
    Judgment,
    copied,
    folds_of,
    in_vain,
    judge,
    kept,
    mean_over,
    seen_by,
    unjudged,
)
from mcsim.generators._networks import Params
from mcsim.generators._vae._model import Autoencoder, Intervals, divergence, encoded
from mcsim.generators._vectors._coding import Scores
from mcsim.generators._vectors._training_rows import draw_batch, padded_length

ADAM = optax.chain(optax.clip_by_global_norm(5.0), optax.scale_by_adam(b1=0.9, b2=0.99))
SMOOTH = 0.9  # decay of the moving average of the held-out bound
DECAYED = ("decoder", "encoder")  # what weight decay shrinks: towards the linear model


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
        """The vectors of the real units, as the encoder sees them."""
        return self.known.inside[: int(self.count)]


class State(NamedTuple):
    """What changes: parameters by copy, and the judgment of them."""

    params: Params
    adam: Any
    judgment: Judgment
    key: Array


@dataclass(frozen=True)
class Bound:
    """The algorithm: folds, units per step, steps without improvement after which it ends."""

    folds: int
    batch_size: int
    patience: int

    @property
    def remedy(self) -> str:
        """What to do if the fit diverges."""
        return "halve learning_rate, or look for extreme values in the data"

    def first_state(self, data: Data, key: Array) -> State:
        """Return the state before the first step: the same parameters in all copies."""
        one = data.start.params
        params = copied(one, self.folds)
        return State(params, _first_moments(params), unjudged(one), key)

    def step(self, data: Data, rates: Rates, state: State, number: Array) -> tuple[State, Losses]:
        """Judge the copies on what they have not seen, then let each take a step.

        They are judged by what they gain over the start on the same units with the same noise.
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
        judgment = judge(state.judgment, state.params, gain, number, SMOOTH)
        updates, adam = jax.vmap(ADAM.update)(gradient, state.adam)
        rate = rates.learning_rate * jnp.minimum((number + 1) / 20, 1).astype(jnp.float32)
        params = _moved(state.params, updates, rate, rates.weight_decay)
        return State(params, adam, judgment, state.key), losses

    def finished(self, state: State) -> Array:
        """Say whether held-out units have not become likelier for long."""
        return in_vain(state.judgment, self.patience, self.folds)

    def learned(self, data: Data, state: State) -> Autoencoder:
        """Return the autoencoder with the parameters that are kept."""
        return replace(data.start, params=kept(state.judgment, state.params, self.folds))

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


@jax.jit
def _first_moments(params: Params) -> Any:
    return jax.vmap(ADAM.init)(params)


def _moved(params: Params, updates: Any, rate: Array, decay: Array) -> Params:
    """Take a step; the networks are pulled towards zero, that is towards the linear model."""

    def move(path: Any, param: Array, update: Array) -> Array:
        pull = decay * param if path[0].key in DECAYED else 0.0
        return param - rate * (update + pull)

    return jax.tree_util.tree_map_with_path(move, params, updates)
