"""Likelihood of a panel's cells, ended by units that copies of the networks have not seen.

References
----------
Williams & Zipser (1989), A learning algorithm for continually running fully recurrent neural
networks, Neural Computation 1: 270-280, for teaching with the real past.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from mcsim.errors import InputError
from mcsim.generators._autoregressive._cells import Column, cells_of, first_law, shares_of
from mcsim.generators._autoregressive._innovations import innovation, log_density
from mcsim.generators._autoregressive._law import CellOrder
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
from mcsim.generators._networks import Params, apply, initialize
from mcsim.generators._options import filled
from mcsim.generators._training._checks import require_paths
from mcsim.generators._training._panels import CALIBRATION_UNITS, Learned
from mcsim.generators._training._steps import numbers_of, train_members
from mcsim.generators._vectors._coding import Scores
from mcsim.generators._vectors._copies import UnitNumbers
from mcsim.generators._vectors._training_rows import draw_batch, padded_length

ADAM = optax.chain(optax.clip_by_global_norm(5.0), optax.scale_by_adam(b1=0.9, b2=0.99))
WARM_UP = 20  # steps until the step size is reached
SMOOTH = 0.9  # decay of the moving average of held-out likelihoods, where steps see some units only


class Rates(NamedTuple):
    """The traced part of a configuration."""

    learning_rate: Array
    weight_decay: Array
    steps: Array


class Losses(NamedTuple):
    """Minus the mean log likelihood of a cell, of units trained on and held out."""

    train: Any
    held: Any


class Data(NamedTuple):
    """Cells of units, of which the first ``count`` are real, and the fold of each unit."""

    columns: tuple[Column, ...]
    fold: Any
    count: Any


class State(NamedTuple):
    """What changes: parameters by copy, and the judgment of them."""

    params: tuple[Params, ...]
    adam: Any
    judgment: Judgment
    key: Array


@dataclass(frozen=True)
class CellLikelihood:
    """The algorithm: cells and networks, folds, units per step, steps in vain before the end."""

    order: CellOrder
    folds: int
    batch_size: int
    patience: int

    @property
    def remedy(self) -> str:
        """What to do if the fit diverges."""
        return "halve learning_rate, or look for extreme values in the data"

    def first_state(self, data: Data, key: Array) -> State:
        """Return the state before the first step: networks that say nothing, in all copies."""
        first, steps = jax.random.split(key)
        sizes = self.order.sizes
        one = initialize(first, sizes, (0.0,) * len(sizes))
        params = copied(one, self.folds)
        return State(params, jax.vmap(ADAM.init)(params), unjudged(one), steps)

    def step(self, data: Data, rates: Rates, state: State, number: Array) -> tuple[State, Losses]:
        """Judge the copies on what they have not seen, then let each take a step."""
        key, units = jax.random.fold_in(state.key, number), (data.columns, data.fold)
        (columns, fold), real = draw_batch(key, units, data.count, self.batch_size)
        seen = real & seen_by(fold, self.folds)

        def loss(params: tuple[Params, ...], weights: Array) -> tuple[Array, Array]:
            misfit = self._misfit(columns, params)
            return mean_over(misfit, weights), misfit

        both = jax.vmap(jax.value_and_grad(loss, has_aux=True))(state.params, seen)
        (train, misfit), gradient = both
        held = mean_over(misfit, real & ~seen)
        held = jnp.minimum(held, WORST) if self.folds else train[0]
        noisy = len(data.fold) > self.batch_size
        judgment = judge(state.judgment, state.params, held, number, SMOOTH if noisy else 0.0)
        updates, adam = jax.vmap(ADAM.update)(gradient, state.adam)
        rate = rates.learning_rate * jnp.minimum((number + 1) / WARM_UP, 1).astype(jnp.float32)
        params = jax.tree.map(
            lambda p, u: p - rate * (u + rates.weight_decay * p), state.params, updates
        )
        return State(params, adam, judgment, state.key), Losses(train[0], held)

    def finished(self, state: State) -> Array:
        """Say whether held-out units have not become likelier for long."""
        return in_vain(state.judgment, self.patience, self.folds)

    def learned(self, state: State) -> tuple[Params, ...]:
        """Return the parameters that are kept."""
        return kept(state.judgment, state.params, self.folds)

    def _misfit(
        self, columns: tuple[Column, ...], params: tuple[Params, ...]
    ) -> Float[Array, " unit"]:
        """Return minus each unit's mean log likelihood of a cell."""
        total, (units, periods) = jnp.float32(0), columns[0].value.shape
        for sizes, own, column in zip(self.order.sizes, params, columns, strict=True):
            flat = jax.tree.map(lambda leaf: leaf.reshape(units * periods, *leaf.shape[2:]), column)
            law = innovation(self.order.components, apply(sizes, own, flat.features))
            ends, points = (flat.low, flat.high), (flat.points_low, flat.points_high)
            likely = log_density(law, flat.value, ends, points, flat.at)
            total = total - likely.reshape(units, periods).mean(axis=1)
        return total / len(columns)


def layout_and_points(scores: Scores) -> Hashable:
    """Return the layout, and how many mass points columns have: networks tilt each."""
    coding = scores.coding
    return coding.layout, tuple(len(margin.points) for margin in coding.margins)


def _resolved(config: Any) -> Any:
    """Return the configuration for a panel: every None but ``order`` filled in."""
    return filled(
        config,
        hidden=(16,),
        components=3,
        steps=400,
        batch_size=1_024,
        learning_rate=3e-3,
        weight_decay=0.1,
    )


def learn_cells(
    config: Any, keys: Sequence[Array], scores: Sequence[Scores], progress: bool
) -> list[Learned]:
    """Learn one law per key, each from its scores; ``config`` is an `Autoregressive`."""
    paths = scores[0].coding.layout.paths
    if config.order is not None and sorted(config.order) != sorted(paths):
        raise InputError(
            f"order: got {list(config.order)}, expected each column that varies over time once: "
            f"{list(paths)}"
        )
    config = _resolved(config)
    require_paths(scores[0].coding.layout)
    order = config.order or paths
    laws = [first_law(own, order, config.hidden, config.components) for own in scores]
    columns = [cells_of(law, own) for law, own in zip(laws, scores, strict=True)]
    triples = [jax.random.split(key, 3) for key in keys]
    longest = padded_length(own.vectors for own in scores)
    data = [
        _padded(own, known.rows, triple[0], config.folds, longest)
        for own, known, triple in zip(columns, scores, triples, strict=True)
    ]
    algorithm = CellLikelihood(laws[0].order, config.folds, config.batch_size, config.patience)
    rates = numbers_of(config, Rates)
    trained = train_members(algorithm, data, rates, [triple[1] for triple in triples], progress)
    found = []
    for law, own, triple, (state, losses) in zip(laws, columns, triples, trained, strict=True):
        learned = replace(law, params=algorithm.learned(state))
        offsets = learned.raked(triple[2], CALIBRATION_UNITS, shares_of(own))
        found.append(Learned(replace(learned, offsets=np.asarray(offsets)), losses))
    return found


def _padded(
    columns: tuple[Column, ...], rows: UnitNumbers, key: Array, folds: int, longest: int
) -> Data:
    place = np.resize(np.arange(len(rows)), longest)
    padded = jax.tree.map(lambda leaf: np.asarray(leaf)[place], columns)
    return Data(padded, folds_of(key, rows, folds, longest), np.int32(len(rows)))
