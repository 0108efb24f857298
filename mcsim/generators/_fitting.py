"""The fit as one compiled scan, run in equal segments so that a bar moves and divergence is seen.

Members of an ensemble share the compiled program. On CPU they run in threads beside each other
(faster there than one batched program), on accelerators as one program under vmap.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mcsim.errors import TrainingDiverged
from mcsim.generators._adversary import (
    Losses,
    Plan,
    Rates,
    TrainingData,
    TrainingState,
    first_state,
    training_step,
)
from mcsim.generators._architecture import Tables
from mcsim.generators._networks import Params
from mcsim.generators._progress import progress_bar
from mcsim.generators._raking import ROWS_PER_ARM, rake

Trained = tuple[tuple[Params, ...], Losses]
Member = tuple[tuple[Params, ...], Tables, dict[str, np.ndarray]]
SEGMENTS = 40
RUNAWAY = 1e4  # features have unit variance: a distance beyond this is no distance


@partial(jax.jit, static_argnums=(0, 1))
def run_segment(
    plan: Plan, length: int, data: TrainingData, rates: Rates, state: TrainingState, start: Array
) -> tuple[TrainingState, Losses]:
    """Run ``length`` steps; those beyond the last are skipped."""

    def step(state: TrainingState, number: Array) -> tuple[TrainingState, Losses]:
        nothing = Losses(*(jnp.float32(jnp.nan) for _ in Losses._fields))
        return jax.lax.cond(
            number < rates.steps,
            lambda: training_step(plan, data, rates, state, number),
            lambda: (state, nothing),
        )

    return jax.lax.scan(step, state, start + jnp.arange(length))


@partial(jax.jit, static_argnums=(0, 1))
def run_together(
    plan: Plan, length: int, data: TrainingData, rates: Rates, state: TrainingState, start: Array
) -> tuple[TrainingState, Losses]:
    """Run ``length`` steps of all members, stacked along the first axis."""
    one = partial(run_segment, plan, length)
    return jax.vmap(one, in_axes=(0, None, 0, None))(data, rates, state, start)


def train_members(
    plan: Plan, data: list[TrainingData], rates: Rates, keys: list[Array], progress: bool
) -> list[Member]:
    """Run the fits of all members; return each one's parameters and losses."""
    steps, members = int(rates.steps), len(keys)
    length = -(-steps // SEGMENTS)
    together = members > 1 and jax.default_backend() != "cpu"
    total = -(-steps // length) * (1 if together else members)
    with progress_bar("fitting" if members == 1 else f"fitting {members}", total, progress) as tick:
        train = _train_together if together else _train_in_threads
        trained = train(plan, rates, length, tick, data, keys)
    return [_rake(plan, *member) for member in zip(data, keys, trained, strict=True)]


def _train_in_threads(
    plan: Plan,
    rates: Rates,
    length: int,
    tick: Callable[[], None],
    data: list[TrainingData],
    keys: list[Array],
) -> list[Trained]:
    """Run the fits beside each other: JAX releases the interpreter's lock."""
    if len(keys) > 1:  # compile before the threads start, or each of them would
        state = first_state(plan, keys[0])
        jax.block_until_ready(run_segment(plan, length, data[0], rates, state, jnp.asarray(0)))
    with ThreadPoolExecutor(min(len(keys), os.cpu_count() or 1)) as pool:
        return list(pool.map(partial(_train, plan, rates, length, tick), data, keys))


def _train(
    plan: Plan, rates: Rates, length: int, tick: Callable[[], None], data: TrainingData, key: Array
) -> Trained:
    """Run one fit, segment by segment."""
    state, shown = first_state(plan, key), []
    for start in range(0, int(rates.steps), length):
        state, losses = run_segment(plan, length, data, rates, state, jnp.asarray(start))
        shown.append(_trim(losses, int(rates.steps) - start))
        check_losses(shown[-1], start)
        tick()
    return state.average, jax.tree.map(lambda *parts: np.concatenate(parts), *shown)


def _train_together(
    plan: Plan,
    rates: Rates,
    length: int,
    tick: Callable[[], None],
    data: list[TrainingData],
    keys: list[Array],
) -> list[Trained]:
    """Run all fits as one program under vmap."""

    def stack(trees: Any) -> Any:
        return jax.tree.map(lambda *parts: jnp.stack(parts), *trees)

    stacked = stack(data)
    steps = int(rates.steps)
    state, shown = stack(first_state(plan, key) for key in keys), []
    for start in range(0, steps, length):
        state, losses = run_together(plan, length, stacked, rates, state, jnp.asarray(start))
        shown.append(_trim(losses, steps - start))
        for member in range(len(keys)):
            check_losses(Losses(*(part[member] for part in shown[-1])), start)
        tick()
    losses = jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *shown)
    return [
        jax.tree.map(lambda leaf, m=member: leaf[m], (state.average, losses))
        for member in range(len(keys))
    ]


def _rake(plan: Plan, data: TrainingData, key: Array, trained: Trained) -> Member:
    """Rake the shares of atoms and categories, on rows drawn evenly from each arm."""
    params, losses = trained
    rows = [np.resize(pool.rows[: pool.count], ROWS_PER_ARM) for pool in data.pools]
    given = data.rows.given[np.concatenate(rows)]
    key = jax.random.fold_in(key, 1)
    tables = rake(plan.architecture, data.tables, params, data.targets, given, key)
    return params, tables, losses._asdict()


def _trim(losses: Losses, count: int) -> Losses:
    """Return the first ``count`` steps, in NumPy: those after the last were skipped."""
    return Losses(*(np.asarray(part)[..., :count] for part in losses))


def check_losses(losses: Losses, start: int) -> None:
    """Raise if a segment's losses ended in NaN or ran away."""
    size = np.abs(np.stack(losses)).max(axis=0)
    bad = np.flatnonzero(~(size < RUNAWAY))
    if not bad.size:
        return
    raise TrainingDiverged(
        f"the fit diverged at step {start + bad[0]}: the critic's distance is "
        f"{losses.critic[bad[0]]:.3g}; halve learning_rate and critic_learning_rate, raise "
        "gradient_penalty, or look for extreme values in the data"
    )
