"""One training step of a Wasserstein GAN with gradient penalty, as a pure function for `lax.scan`.

The critic scores whole rows. A part of each batch may hold real rows with a drawn last column
(flagged to the critic), weighted towards the smallest stratum: there treatment effects are
estimated.

References
----------
Gulrajani et al. (2017), Improved training of Wasserstein GANs, NeurIPS. Petzka, Fischer &
Lukovnikov (2018), On the regularization of Wasserstein GANs, ICLR: the one-sided penalty. Grover,
Dhar & Ermon (2018), Flow-GAN: combining maximum likelihood and adversarial learning, AAAI.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from mcsim.generators._cross_sections.architecture import Architecture, Features, Tables
from mcsim.generators._cross_sections.drawing import log_likelihood, relaxed_draw, relaxed_outcome
from mcsim.generators._cross_sections.training import (
    ODDS_ENTRIES,
    Batches,
    LearnedColumns,
    Pool,
    odds_of,
    outcome_rows,
    pool_of,
    rows_by_stratum,
    stratum_rows,
    training_rows,
)
from mcsim.generators._networks import Params, Sizes, apply, initialize
from mcsim.generators._training.steps import first_optimizer_state, numbers_of, train_members


@dataclass(frozen=True)
class Plan:
    """The algorithm of a fit (its static part): rows of a batch by stratum, networks, steps."""

    architecture: Architecture
    critic_hidden: Sizes
    stratum_rows: tuple[int, ...]
    outcome_rows: tuple[int, ...]
    critic_steps: int

    @property
    def n_outcome(self) -> int:
        """Number of outcome rows of a batch: real rows with a drawn last column."""
        return sum(self.outcome_rows)

    @property
    def critic_sizes(self) -> Sizes:
        """Layer sizes of the critic; its last input is the flag."""
        inputs = self.architecture.n_given + self.architecture.n_drawn + 1
        return (inputs, *self.critic_hidden, 1)

    @property
    def remedy(self) -> str:
        """The remedy if the fit diverges."""
        return (
            "halve learning_rate and critic_learning_rate, raise gradient_penalty, or look for "
            "extreme values in the data"
        )

    def first_state(self, data: "TrainingData", key: Array) -> "TrainingState":
        """Return the state before the first step."""
        return first_state(self, key)

    def step(
        self, data: "TrainingData", rates: "Rates", state: "TrainingState", number: Array
    ) -> tuple["TrainingState", "Losses"]:
        """Take a step."""
        return training_step(self, data, rates, state, number)

    def finished(self, state: "TrainingState") -> bool:
        """Return False: there is no early stopping."""
        return False


class Rates(NamedTuple):
    """The traced part of a configuration."""

    learning_rate: Array
    critic_learning_rate: Array
    gradient_penalty: Array
    moment_weight: Array
    likelihood_weight: Array
    outcome_weight: Array
    average: Array
    temperature: Array
    steps: Array


class TrainingData(NamedTuple):
    """Features of all rows; by stratum, pools of rows and moments to match."""

    tables: Tables
    rows: Features
    pools: tuple[Pool, ...]
    outcome_pools: tuple[Pool, ...]
    moments: tuple[Any, ...]  # (moment, moment) in each stratum
    targets: tuple[Any, ...]  # (stratum, part) of each column, or None


class TrainingState(NamedTuple):
    """The state of a fit between two steps."""

    generator: tuple[Params, ...]
    average: tuple[Params, ...]
    critic: Params
    generator_adam: Any
    critic_adam: Any
    key: Array


class Losses(NamedTuple):
    """The losses of a step, before their weights."""

    critic: Any
    penalty: Any
    moments: Any
    likelihood: Any


FIRST_OUTPUTS = 0.1  # at the start, columns are drawn almost independently of each other
ADAM = optax.scale_by_adam(b1=0.0, b2=0.9)


def first_state(plan: Plan, key: Array) -> TrainingState:
    """Return the state before the first step."""
    first, steps = jax.random.split(key)
    networks = plan.architecture.sizes
    last = (FIRST_OUTPUTS,) * len(networks)
    *drawing, critic = initialize(first, (*networks, plan.critic_sizes), (*last, 1.0))
    generator = tuple(drawing)
    zeros = partial(first_optimizer_state, ADAM.init)
    return TrainingState(generator, generator, critic, zeros(generator), zeros(critic), steps)


def training_step(
    plan: Plan, data: TrainingData, rates: Rates, state: TrainingState, step: Array
) -> tuple[TrainingState, Losses]:
    """Take the critic's steps, and one step of the generator on all their batches together."""
    rows, draws, mixes = jax.random.split(jax.random.fold_in(state.key, step), 3)
    decay = 0.5 * (1 + jnp.cos(jnp.pi * step / rates.steps)).astype(jnp.float32)
    index = _draw_rows(plan, data, rows)
    fake, pull_back = jax.vjp(
        lambda generator: _fake_rows(plan, data, generator, index, draws, rates.temperature),
        state.generator,
    )
    critic, critic_adam, shown = _critic_steps(plan, data, rates, state, index, fake, mixes, decay)

    def loss(fake: Array) -> tuple[Array, Array]:
        score = apply(plan.critic_sizes, critic, fake).mean()
        moments = rates.moment_weight * _moment_distance(plan, data, fake)
        moments += rates.outcome_weight * _outcome_distance(plan, data, index, fake)
        return moments - score, moments

    slope, moments = jax.grad(loss, has_aux=True)(fake)
    likelihood, likely = jax.value_and_grad(partial(_misfit, plan, data, index))(state.generator)
    gradient = jax.tree.map(
        lambda a, b: a + rates.likelihood_weight * b, pull_back(slope)[0], likely
    )
    update, generator_adam = ADAM.update(gradient, state.generator_adam)
    generator = _descend(state.generator, update, rates.learning_rate * decay)
    keep = jnp.minimum(rates.average, (1 + step) / (10 + step)).astype(jnp.float32)
    average = jax.tree.map(lambda a, b: keep * a + (1 - keep) * b, state.average, generator)
    state = TrainingState(generator, average, critic, generator_adam, critic_adam, state.key)
    return state, Losses(shown[0], shown[1], moments, likelihood)


def _misfit(plan: Plan, data: TrainingData, index: Array, generator: Any) -> Array:
    """Return minus the mean log likelihood of the batch's real rows."""
    rows = index[:, : sum(plan.stratum_rows)].reshape(-1)
    real = Features(*(part[rows] for part in data.rows))
    return -log_likelihood(plan.architecture, data.tables, generator, real).sum(axis=1).mean()


def _critic_steps(plan, data, rates, state, index, fake, key, decay) -> tuple:
    """Take a step of the critic on each batch."""

    def loss(critic: Params, real: Array, false: Array, mix: Array) -> tuple[Array, tuple]:
        def score(x: Array) -> Array:
            return apply(plan.critic_sizes, critic, x)[:, 0]

        share = jax.random.uniform(mix, (len(real), 1), jnp.float32)
        slope = jax.grad(lambda x: score(x).sum())(share * real + (1 - share) * false)
        norm = jnp.sqrt(jnp.sum(slope**2, axis=1) + 1e-12)
        penalty = jnp.mean(jnp.maximum(norm - 1, 0.0) ** 2)
        distance = score(real).mean() - score(false).mean()
        return rates.gradient_penalty * penalty - distance, (distance, penalty)

    def one(carry: tuple, batch: tuple) -> tuple[tuple, tuple]:
        critic, adam = carry
        chosen, false, mix = batch
        real = jnp.concatenate([data.rows.given[chosen], data.rows.drawn[chosen]], axis=1)
        real = jnp.concatenate([real, _flags(plan)], axis=1)
        gradient, shown = jax.grad(loss, has_aux=True)(critic, real, false, mix)
        update, adam = ADAM.update(gradient, adam)
        rate = rates.critic_learning_rate * decay
        return (_descend(critic, update, rate), adam), shown

    batches = index, fake, jax.random.split(key, plan.critic_steps)
    (critic, adam), shown = jax.lax.scan(one, (state.critic, state.critic_adam), batches)
    return critic, adam, jax.tree.map(jnp.mean, shown)


def _draw_rows(plan: Plan, data: TrainingData, key: Array) -> Int[Array, "batch row"]:
    """Return row numbers: fixed numbers by stratum, with replacement."""
    pools, counts = (*data.pools, *data.outcome_pools), (*plan.stratum_rows, *plan.outcome_rows)
    uniforms = jax.random.uniform(key, (plan.critic_steps, sum(counts)), jnp.float32)
    drawn, start = [], 0
    for pool, count in zip(pools, counts, strict=True):
        place = (uniforms[:, start : start + count] * pool.count).astype(jnp.int32)
        drawn.append(pool.rows[jnp.minimum(place, pool.count - 1)])
        start += count
    return jnp.concatenate(drawn, axis=1)


def _fake_rows(plan, data, generator, index, key, temperature) -> Float[Array, "batch row x"]:
    """Return rows drawn for the given columns of these rows, in their order."""
    whole, outcome = jax.random.split(key)
    batches, split = len(index), sum(plan.stratum_rows)
    full = index[:, :split].reshape(-1)
    common = plan.architecture, data.tables, generator
    given = data.rows.given[full]
    drawn = relaxed_draw(*common, given, data.rows.strata[full], whole, temperature)
    rows = jnp.concatenate([given, drawn], axis=1).reshape(batches, split, -1)
    if plan.n_outcome:
        part = index[:, split:].reshape(-1)
        kept = data.rows.drawn.shape[1] - plan.architecture.drawn[-1].n_features
        context = jnp.concatenate([data.rows.given[part], data.rows.drawn[part, :kept]], axis=1)
        last = relaxed_outcome(
            *common, context, data.rows.codes[part], data.rows.strata[part], outcome, temperature
        )
        extra = jnp.concatenate([context, last], axis=1).reshape(batches, plan.n_outcome, -1)
        rows = jnp.concatenate([rows, extra], axis=1)
    flags = jnp.broadcast_to(_flags(plan), (batches, *_flags(plan).shape))
    return jnp.concatenate([rows, flags], axis=2)


def _flags(plan: Plan) -> Float[Array, "row 1"]:
    """Return 1 for outcome rows, 0 for others."""
    whole = jnp.zeros((sum(plan.stratum_rows), 1), jnp.float32)
    return jnp.concatenate([whole, jnp.ones((plan.n_outcome, 1), jnp.float32)])


def second_moments(rows: Float[Array, "row feature"]) -> Float[Array, "moment moment"]:
    """Return means, and means of products, of features: one matrix."""
    whole = jnp.concatenate([jnp.ones((len(rows), 1), jnp.float32), rows], axis=1)
    return whole.T @ whole / len(rows)


def _moment_distance(plan: Plan, data: TrainingData, fake: Array) -> Array:
    """Estimate the squared distance of second moments without bias, from two halves per stratum."""
    total, start = jnp.float32(0), 0
    features = fake[:, :, plan.architecture.n_given : -1]
    for target, count in zip(data.moments, plan.stratum_rows, strict=True):
        rows = features[:, start : start + count].reshape(-1, features.shape[2])
        one = second_moments(rows[::2]) - target
        two = second_moments(rows[1::2]) - target
        total += jnp.sum(one * two) / len(target)
        start += count
    return total


def _outcome_distance(plan: Plan, data: TrainingData, index: Array, fake: Array) -> Array:
    """Estimate the squared mean of (drawn - real outcome) x features, on the outcome rows."""
    total, start = jnp.float32(0), sum(plan.stratum_rows)
    width = plan.architecture.drawn[-1].n_features
    if not width:  # a constant outcome
        return total
    for count in plan.outcome_rows:
        real = data.rows.drawn[index[:, start : start + count].reshape(-1)]
        miss = fake[:, start : start + count, -1 - width : -1].reshape(-1, width)
        miss = miss - real[:, -width:]
        side = jnp.concatenate([jnp.ones((len(real), 1), jnp.float32), real[:, :-width]], axis=1)
        halves = [side[half::2].T @ miss[half::2] / max(len(real[half::2]), 1) for half in (0, 1)]
        total += jnp.sum(halves[0] * halves[1]) / side.shape[1]
        start += count
    return total


def _descend(params: Any, update: Any, rate: Array) -> Any:
    return jax.tree.map(lambda p, u: p - rate.astype(jnp.float32) * u, params, update)


def training_data(
    plan: Plan, columns: dict[str, np.ndarray], strata: np.ndarray, rows: np.ndarray
) -> TrainingData:
    """Return the features of a panel, and the rows and moments of a member trained on ``rows``."""
    tables, features, pools, targets = training_rows(plan.architecture, columns, strata, rows)
    by_stratum = rows_by_stratum(plan.architecture, strata, rows)
    drawn, outcome = np.asarray(features.drawn), pools
    if plan.n_outcome:
        outcome = _outcome_pools(drawn, plan.architecture, by_stratum)
    moments = tuple(_moments(drawn[r]) for r in by_stratum)
    return TrainingData(tables, features, pools, outcome, moments, targets)


def _outcome_pools(drawn, architecture, by_stratum) -> tuple[Pool, ...]:
    kept = drawn.shape[1] - architecture.drawn[-1].n_features
    target = by_stratum[int(np.argmin([len(rows) for rows in by_stratum]))]
    pools = []
    for rows in by_stratum:
        odds = np.ones(len(rows))
        if rows is not target:
            odds = odds_of(drawn[rows, :kept], drawn[target, :kept])
        edges = np.cumsum(odds) / odds.sum()
        places = np.searchsorted(edges, (np.arange(ODDS_ENTRIES) + 0.5) / ODDS_ENTRIES)
        pools.append(pool_of(rows[np.minimum(places, len(rows) - 1)], ODDS_ENTRIES))
    return tuple(pools)


def _moments(rows: np.ndarray) -> np.ndarray:
    whole = np.concatenate([np.ones((len(rows), 1)), rows], axis=1)
    return (whole.T @ whole / len(rows)).astype(np.float32)


def learn_columns(
    config: Any,
    keys: Sequence[Array],
    architecture: Architecture,
    columns: dict[str, np.ndarray],
    strata: np.ndarray,
    rows: Sequence[np.ndarray],
    progress: bool,
) -> list[LearnedColumns]:
    """Learn a cross-section with networks for each column and one critic: a resolved `WGAN`."""
    batches = Batches(config.batch_size, config.smallest_stratum, config.outcome_share)
    counts = stratum_rows(strata, batches), outcome_rows(strata, batches)
    plan = Plan(architecture, config.critic_hidden, *counts, config.critic_steps)
    data = [training_data(plan, columns, strata, own) for own in rows]
    trained = train_members(plan, data, numbers_of(config, Rates), keys, progress)
    return [
        (own, state.average, losses) for own, (state, losses) in zip(data, trained, strict=True)
    ]
