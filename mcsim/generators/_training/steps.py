"""Training by steps: one compiled scan in equal segments, after which training may end.

Members of an ensemble share the compiled program, for which their units are padded to one length.
On CPU they run in threads beside each other (faster there than one batched program), on
accelerators as one program under vmap.

Early stopping costs no unit: replicas of a model, each trained without a fold of the units, decide
when the replica trained on all units stops. All replicas train in one program. The fit keeps
the parameters of the first replica, trained on all units, at the step with the lowest loss of the
others on their left-out units; without folds, the last parameters. Prechelt (1998), Early
stopping - but when? in Neural networks: tricks of the trade.
"""

from collections.abc import Callable, Iterable, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mcsim._core.machine import available_cpus
from mcsim._core.screen import progress_bar
from mcsim.errors import TrainingDiverged
from mcsim.generators._scores.vectors import UnitNumbers, identities

SEGMENTS = 40
RUNAWAY = 1e4  # data have unit variance: a loss beyond this is no loss
Numbers = TypeVar("Numbers")
BUCKET = 16  # lengths are padded to a multiple of it
WORST = 1e3  # loss of held-out units: an outlier unseen in training is no divergence


@runtime_checkable
class Algorithm(Protocol):
    """The static part of a fit, hashable; state, data and losses are pytrees of arrays."""

    @property
    def remedy(self) -> str:
        """The remedy if the fit diverges."""
        ...

    def first_state(self, data: Any, key: Array) -> Any:
        """Return the state before the first step."""
        ...

    def step(self, data: Any, rates: Any, state: Any, number: Array) -> tuple[Any, Any]:
        """Take a step; return the state and a NamedTuple of losses."""
        ...

    def finished(self, state: Any) -> Any:
        """Return after a segment, of one member or of several, whether training should stop."""
        ...


def numbers_of(config: Any, kind: type[Numbers]) -> Numbers:
    """Return the options that a program traces, as float32: the fields of a NamedTuple."""
    return kind(*(np.float32(getattr(config, name)) for name in kind._fields))  # type: ignore


def first_optimizer_state(init: Callable[[Any], Any], params: Any) -> Any:
    """Return the first state of an optimizer whose state starts at zero, without any program."""
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), jax.eval_shape(init, params))


class Trained(NamedTuple):
    """The last state of a fit, and each loss by step."""

    state: Any
    losses: dict[str, np.ndarray]


@partial(jax.jit, static_argnums=(0, 1))
def run_segment(
    algorithm: Algorithm, length: int, data: Any, rates: Any, state: Any, start: Array
) -> tuple[Any, Any]:
    """Run ``length`` steps; steps beyond ``rates.steps`` are skipped."""
    take = jax.jit(algorithm.step)  # traced once, for the shapes of the losses and for the step

    def step(state: Any, number: Array) -> tuple[Any, Any]:
        _, losses = jax.eval_shape(take, data, rates, state, number)
        nothing = jax.tree.map(lambda loss: jnp.full(loss.shape, jnp.nan, loss.dtype), losses)
        return jax.lax.cond(
            number < rates.steps,
            lambda: take(data, rates, state, number),
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
    title = "fitting" if members == 1 else f"fitting {members}"
    with progress_bar(title, total, shown=progress) as tick:
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
    if len(keys) > 1:  # compile before the threads start, else each would compile
        state = algorithm.first_state(data[0], keys[0])
        jax.block_until_ready(run_segment(algorithm, length, data[0], rates, state, jnp.asarray(0)))
    with ThreadPoolExecutor(min(len(keys), available_cpus())) as pool:
        return list(pool.map(partial(_train, algorithm, rates, length, tick), data, keys))


def _train(
    algorithm: Algorithm, rates: Any, length: int, tick: Callable[[], None], data: Any, key: Array
) -> Trained:
    """Run one fit, segment by segment; no segment runs after it is finished."""
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
        if np.all(algorithm.finished(state)):
            break
    return [Trained(_member(state, m), _joined([part[m] for part in shown])) for m in members]


def _member(tree: Any, member: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[member], tree)


def _trim(losses: Any, count: int) -> Any:
    """Return the first ``count`` steps, in NumPy: later ones were skipped."""
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


class Rows(NamedTuple):
    """Units, of which the first ``count`` are real and the others repeat them.

    Attributes
    ----------
    vectors : array (unit, coordinate), float32
    count : int32
    """

    vectors: Any
    count: Any

    def draw(self, key: Array, size: int) -> Int[Array, " row"]:
        """Draw numbers of units, with replacement."""
        return draw_rows(key, self.count, size)

    @property
    def real(self) -> Array:
        """Mask of the real units."""
        return jnp.arange(len(self.vectors)) < self.count


def draw_rows(key: Array, count: Any, size: int) -> Int[Array, " row"]:
    """Draw numbers of ``count`` units, with replacement."""
    place = (jax.random.uniform(key, (size,), jnp.float32) * count).astype(jnp.int32)
    return jnp.minimum(place, count - 1)


def draw_batch(key: Array, units: Any, count: Any, size: int) -> tuple[Any, Array]:
    """Take all padded units, or draw some if there are more than ``size``; mark the real ones.

    ``units`` is a pytree of arrays (unit, ...), of which the first ``count`` are real.
    """
    total = len(jax.tree.leaves(units)[0])
    units = jax.tree.map(jnp.asarray, units)
    if total <= size:
        return units, jnp.arange(total) < count
    place = draw_rows(key, count, size)
    return jax.tree.map(lambda leaf: leaf[place], units), jnp.ones(size, bool)


def padded_length(members: Iterable[Sized]) -> int:
    """Return the length to which all members' units are padded."""
    return -(-max(map(len, members)) // BUCKET) * BUCKET


def padded_rows(members: Sequence[Float[np.ndarray, "_ coordinate"]]) -> list[Rows]:
    """Return each member's vectors, padded to one length."""
    length = padded_length(members)
    return [
        Rows(np.resize(own, (length, own.shape[1])).astype(np.float32), np.int32(len(own)))
        for own in members
    ]


class EarlyStopping(NamedTuple):
    """The best parameters so far, and the loss of held-out units by which they were found.

    Attributes
    ----------
    best : pytree
        Of the first replica.
    smooth, lowest : array ()
        Moving average of the held-out loss: now, and at its lowest.
    since : array ()
        Steps since then.
    """

    best: Any
    smooth: Any
    lowest: Any
    since: Any

    @classmethod
    def start(cls, params: Any) -> "EarlyStopping":
        """Return the state before the first step, of one replica's parameters."""
        return cls(params, np.float32(0), np.float32(np.inf), np.int32(0))

    def update(self, params: Any, held: Array, number: Array, keep: float) -> "EarlyStopping":
        """Keep the first replica's parameters if the held-out loss is the lowest so far.

        ``keep`` is the decay of the moving average of their losses ``held``.
        """
        smooth = jnp.where(number == 0, held, keep * self.smooth + (1 - keep) * held)
        better = smooth < self.lowest
        best = jax.tree.map(lambda now, old: jnp.where(better, now[0], old), params, self.best)
        since = jnp.where(better, 0, self.since + 1)
        return EarlyStopping(best, smooth, jnp.minimum(smooth, self.lowest), since)

    def should_stop(self, patience: int, folds: int) -> Any:
        """Return whether the held-out loss has not fallen for ``patience`` steps; in NumPy."""
        return np.asarray(self.since) >= patience if folds else False

    def parameters(self, params: Any, folds: int) -> Any:
        """Return the best parameters; without folds the first replica's, of ``params``."""
        if folds:
            return jax.tree.map(np.asarray, self.best)
        return jax.tree.map(lambda leaf: np.asarray(leaf)[0], params)


def replicated(params: Any, folds: int) -> Any:
    """Return parameters of all replicas, which start alike."""
    return jax.tree.map(lambda leaf: np.stack([leaf] * (1 + folds)), params)


def folds_of(key: Array, rows: UnitNumbers, folds: int, length: int) -> Int[np.ndarray, " padded"]:
    """Draw the fold of each unit, one for all its duplicates, and pad with the first ones."""
    number = identities(rows)
    order = np.asarray(jax.random.permutation(key, number.max() + 1))[number]
    return np.resize(order % max(folds, 1), length).astype(np.int32)


def seen_by(fold: Int[Array, " unit"], folds: int) -> Bool[Array, "replica unit"]:
    """Return the units of each replica: all for the first, all but one fold for the others."""
    return fold != jnp.arange(1 + folds)[:, None] - 1


def mean_over(
    values: Float[Array, "*replica unit"], chosen: Bool[Array, "*replica unit"]
) -> Float[Array, ""]:
    """Average over chosen units; 0 if there are none."""
    return jnp.where(chosen, values, 0).sum() / jnp.maximum(chosen.sum(), 1)
