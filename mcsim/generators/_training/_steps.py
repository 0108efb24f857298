"""A fit as one compiled scan, run in equal segments: a bar moves, divergence and the end are seen.

Members of an ensemble share the compiled program. On CPU they run in threads beside each other
(faster there than one batched program), on accelerators as one program under vmap.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mcsim._cpus import available_cpus
from mcsim.errors import TrainingDiverged
from mcsim.generators._progress import progress_bar

SEGMENTS = 40
RUNAWAY = 1e4  # data have unit variance: a loss beyond this is no loss


@runtime_checkable
class Algorithm(Protocol):
    """What is static in a fit, hashable; state, data and losses are pytrees of arrays."""

    @property
    def remedy(self) -> str:
        """What to do if the fit diverges."""
        ...

    def first_state(self, data: Any, key: Array) -> Any:
        """Return the state before the first step."""
        ...

    def step(self, data: Any, rates: Any, state: Any, number: Array) -> tuple[Any, Any]:
        """Take a step; return the state and a NamedTuple of losses."""
        ...

    def finished(self, state: Any) -> Array:
        """Say after a segment whether further steps are in vain."""
        ...


Numbers = TypeVar("Numbers")


def numbers_of(config: Any, kind: type[Numbers]) -> Numbers:
    """Return the options that a program traces, as float32: the fields of a NamedTuple."""
    return kind(*(jnp.float32(getattr(config, name)) for name in kind._fields))  # type: ignore


class Trained(NamedTuple):
    """The last state of a fit, and each loss by step."""

    state: Any
    losses: dict[str, np.ndarray]


@partial(jax.jit, static_argnums=(0, 1))
def run_segment(
    algorithm: Algorithm, length: int, data: Any, rates: Any, state: Any, start: Array
) -> tuple[Any, Any]:
    """Run ``length`` steps; those beyond ``rates.steps`` are skipped."""

    def step(state: Any, number: Array) -> tuple[Any, Any]:
        _, losses = jax.eval_shape(partial(algorithm.step, data, rates), state, number)
        nothing = jax.tree.map(lambda loss: jnp.full(loss.shape, jnp.nan, loss.dtype), losses)
        return jax.lax.cond(
            number < rates.steps,
            lambda: algorithm.step(data, rates, state, number),
            lambda: (state, nothing),
        )

    return jax.lax.scan(step, state, start + jnp.arange(length))


@partial(jax.jit, static_argnums=(0, 1))
def run_together(
    algorithm: Algorithm, length: int, data: Any, rates: Any, state: Any, start: Array
) -> tuple[Any, Any]:
    """Run ``length`` steps of all members, stacked along the first axis."""
    one = partial(run_segment, algorithm, length)
    return jax.vmap(one, in_axes=(0, None, 0, None))(data, rates, state, start)


def train_members(
    algorithm: Algorithm, data: Sequence[Any], rates: Any, keys: Sequence[Array], progress: bool
) -> list[Trained]:
    """Run the fits of all members: ``rates`` is a NamedTuple of numbers, among them ``steps``."""
    steps, members = int(rates.steps), len(keys)
    length = -(-steps // SEGMENTS)
    together = members > 1 and jax.default_backend() != "cpu"
    total = -(-steps // length) * (1 if together else members)
    with progress_bar("fitting" if members == 1 else f"fitting {members}", total, progress) as tick:
        train = _train_together if together else _train_in_threads
        return train(algorithm, rates, length, tick, data, keys)


def _train_in_threads(
    algorithm: Algorithm,
    rates: Any,
    length: int,
    tick: Callable[[], None],
    data: Sequence[Any],
    keys: Sequence[Array],
) -> list[Trained]:
    """Run the fits beside each other: JAX releases the interpreter's lock."""
    if len(keys) > 1:  # compile before the threads start, or each of them would
        state = algorithm.first_state(data[0], keys[0])
        jax.block_until_ready(run_segment(algorithm, length, data[0], rates, state, jnp.asarray(0)))
    with ThreadPoolExecutor(min(len(keys), available_cpus())) as pool:
        return list(pool.map(partial(_train, algorithm, rates, length, tick), data, keys))


def _train(
    algorithm: Algorithm, rates: Any, length: int, tick: Callable[[], None], data: Any, key: Array
) -> Trained:
    """Run one fit, segment by segment; the segments left when it is finished are not run."""
    steps, state, shown, done = int(rates.steps), algorithm.first_state(data, key), [], False
    for start in range(0, steps, length):
        if not done:
            state, losses = run_segment(algorithm, length, data, rates, state, jnp.asarray(start))
            shown.append(_trim(losses, steps - start))
            check_losses(algorithm, shown[-1], start)
            done = bool(algorithm.finished(state))
        tick()
    return Trained(state, _joined(shown))


def _train_together(
    algorithm: Algorithm,
    rates: Any,
    length: int,
    tick: Callable[[], None],
    data: Sequence[Any],
    keys: Sequence[Array],
) -> list[Trained]:
    """Run all fits as one program under vmap, until all are finished."""

    def stack(trees: Any) -> Any:
        return jax.tree.map(lambda *parts: jnp.stack(parts), *trees)

    members, steps, stacked = range(len(keys)), int(rates.steps), stack(data)
    pairs = zip(data, keys, strict=True)
    state, shown = stack([algorithm.first_state(own, key) for own, key in pairs]), []
    for start in range(0, steps, length):
        state, losses = run_together(algorithm, length, stacked, rates, state, jnp.asarray(start))
        trimmed = _trim(losses, steps - start)
        shown.append([_member(trimmed, m) for m in members])
        for own in shown[-1]:
            check_losses(algorithm, own, start)
        tick()
        if np.asarray(jax.vmap(algorithm.finished)(state)).all():
            break
    return [Trained(_member(state, m), _joined([part[m] for part in shown])) for m in members]


def _member(tree: Any, member: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[member], tree)


def _trim(losses: Any, count: int) -> Any:
    """Return the first ``count`` steps, in NumPy: those after the last were skipped."""
    return jax.tree.map(lambda loss: np.asarray(loss)[..., :count], losses)


def _joined(shown: list[Any]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([getattr(s, name) for s in shown]) for name in shown[0]._fields}


def check_losses(algorithm: Algorithm, losses: Any, start: int) -> None:
    """Raise if a segment's losses ended in NaN or ran away."""
    for name, values in losses._asdict().items():
        bad = np.flatnonzero(~(np.abs(values) < RUNAWAY))
        if bad.size:
            raise TrainingDiverged(
                f"the fit diverged at step {start + bad[0]}: {name} is {values[bad[0]]:.3g}; "
                f"{algorithm.remedy}"
            )
