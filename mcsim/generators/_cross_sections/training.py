"""Training rows of networks of cross-sections, and the steps of maximum likelihood.

A stratum is a joint value of the discrete given columns. Rows of the other strata are weighted by
their odds of being in the smallest one, and then resemble it. The inputs of a column's network are
the real columns before it; hidden units drop out, and weights decay.

References
----------
Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov (2014), Dropout: a simple way to prevent
neural networks from overfitting, JMLR 15: 1929-1958. Loshchilov & Hutter (2019), Decoupled weight
decay regularization, ICLR.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from mcsim.generators._cross_sections.architecture import Architecture, Features, Tables, represent
from mcsim.generators._cross_sections.drawing import log_likelihood
from mcsim.generators._networks import Params, Sizes, initialize
from mcsim.generators._training.steps import first_optimizer_state, numbers_of, train_members

ODDS_ENTRIES = 8_192  # length of the table of weighted rows

LearnedColumns = tuple[Any, tuple[Params, ...], Mapping[str, np.ndarray]]
"""Training data with pools, targets and tables; parameters of the networks; losses by step."""


class Pool(NamedTuple):
    """Rows to draw from: the first ``count`` entries of ``rows``."""

    rows: Any  # (entry,)
    count: Any  # ()


class TrainingRows(NamedTuple):
    """Features of all rows; by stratum, pools of rows and shares to rake to."""

    tables: Tables
    rows: Features
    pools: tuple[Pool, ...]
    targets: tuple[Any, ...]  # (stratum, part) of each column, or None


@dataclass(frozen=True)
class Batches:
    """Rows per batch: in all, at least in each stratum, and with a drawn outcome only."""

    rows: int
    smallest_stratum: float
    outcome_share: float


def stratum_rows(strata: np.ndarray, batches: Batches) -> tuple[int, ...]:
    """Return the rows of each stratum in a batch: their shares, lifted to the smallest allowed."""
    share = np.bincount(strata) / len(strata)
    floor = min(batches.smallest_stratum, 1 / len(share))
    share = np.maximum(share, floor)
    big = share > floor
    share[big] *= (1 - share[~big].sum()) / max(share[big].sum(), 1e-9)
    rows = batches.rows - sum(outcome_rows(strata, batches))
    return tuple(max(4, round(rows * part)) for part in share)


def outcome_rows(strata: np.ndarray, batches: Batches) -> tuple[int, ...]:
    """Return the outcome rows of each stratum in a batch: half are of a rare smallest stratum."""
    counts = np.bincount(strata)
    count, rows = len(counts), round(batches.rows * batches.outcome_share)
    smallest = int(counts.argmin())
    if rows < 4 or count < 2 or counts[smallest] >= batches.smallest_stratum * len(strata):
        return (0,) * count
    other = rows // 2 // (count - 1)
    return tuple(rows // 2 if stratum == smallest else other for stratum in range(count))


def training_rows(
    architecture: Architecture, columns: dict[str, np.ndarray], strata: np.ndarray, rows: np.ndarray
) -> TrainingRows:
    """Return the features of a panel, and the pools and targets of a member trained on ``rows``."""
    tables = architecture.tables(columns, rows, strata)
    by_stratum = rows_by_stratum(architecture, strata, rows)
    longest = np.bincount(strata).tolist()
    pools = tuple(pool_of(r, max(n, len(r))) for r, n in zip(by_stratum, longest, strict=True))
    targets = []
    for head in architecture.drawn:
        known = columns[head.name][rows], strata[rows], len(by_stratum)
        targets.append(Target(_lift(head.shares(*known), by_stratum), head.moments(*known)))
    return TrainingRows(tables, represent(architecture, tables, columns), pools, tuple(targets))


def rows_by_stratum(
    architecture: Architecture, strata: np.ndarray, rows: np.ndarray
) -> list[np.ndarray]:
    """Return the rows of each stratum."""
    return [rows[strata[rows] == stratum] for stratum in range(len(architecture.strata))]


def _lift(shares: np.ndarray | None, by_stratum: list[np.ndarray]) -> np.ndarray | None:
    """Replace zero shares, which have no logarithm: the absent parts of a stratum share half a row.

    With half a row each, a small stratum would take over all the heaps of a large one.
    """
    if shares is None:
        return None
    rows = np.array([[len(own)] for own in by_stratum])
    unseen = shares * rows < 0.5
    each = 0.5 / rows / np.maximum(unseen.sum(axis=1, keepdims=True), 1)
    shares = np.where(unseen, each, shares)
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


def pool_of(rows: np.ndarray, length: int) -> Pool:
    """Return rows as a pool of a length."""
    padded = np.resize(rows, length)
    return Pool(padded.astype(np.int32), np.int32(len(rows)))


def odds_of(
    rows: Float[np.ndarray, "row feature"], target: Float[np.ndarray, "target feature"]
) -> Float[np.ndarray, " row"]:
    """Return the odds that rows belong to the target, by a ridge logit (Newton's method)."""
    x = np.concatenate([rows, target]).astype(np.float64)
    x = np.concatenate([np.ones((len(x), 1)), x], axis=1)
    y = np.r_[np.zeros(len(rows)), np.ones(len(target))]
    ridge = np.full(x.shape[1], 1.0)
    ridge[0] = 0.0
    beta = np.zeros(x.shape[1])
    beta[0] = np.log(len(target) / len(rows))
    for _ in range(25):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -30, 30)))
        hessian = (x * (p * (1 - p))[:, None]).T @ x + np.diag(ridge + 1e-9)
        change = np.linalg.solve(hessian, x.T @ (y - p) - ridge * beta)
        beta += change * min(1.0, 5.0 / np.abs(change).max())
    return np.exp(np.clip(x[: len(rows)] @ beta, -30, 30))


class Target(NamedTuple):
    """A column's shares and moments by stratum, to which draws are raked; None: not at all.

    Attributes
    ----------
    shares : array (stratum, part)
        Of mass points and the rest, or of levels.
    moments : array (stratum, 3)
        Number, mean and standard deviation of the training rows' values off mass points.
    """

    shares: Any
    moments: Any


ADAM = optax.scale_by_adam(b1=0.9, b2=0.99)
FIRST_OUTPUTS = 0.1  # at the start, columns are drawn almost independently of each other
SLOPE = 0.2  # of the leaky rectifier, as in `_networks`


class Rates(NamedTuple):
    """The traced part of a configuration."""

    learning_rate: Array
    weight_decay: Array
    dropout: Array
    steps: Array


class Losses(NamedTuple):
    """Minus the mean log likelihood of a step's rows."""

    likelihood: Any


class State(NamedTuple):
    """The state of a fit between two steps."""

    params: tuple[Params, ...]
    adam: Any
    key: Array


@dataclass(frozen=True)
class Likelihood:
    """The algorithm: heads and networks, rows of each stratum per step, whether units drop out."""

    architecture: Architecture
    stratum_rows: tuple[int, ...]
    drops: bool

    @property
    def remedy(self) -> str:
        """The remedy if the fit diverges."""
        return "halve learning_rate, or look for extreme values in the data"

    def first_state(self, data: TrainingRows, key: Array) -> State:
        """Return the state before the first step."""
        first, steps = jax.random.split(key)
        networks = self.architecture.sizes
        params = initialize(first, networks, (FIRST_OUTPUTS,) * len(networks))
        return State(params, first_optimizer_state(ADAM.init, params), steps)

    def step(
        self, data: TrainingRows, rates: Rates, state: State, number: Array
    ) -> tuple[State, Losses]:
        """Take a step."""
        of_rows, of_units = jax.random.split(jax.random.fold_in(state.key, number))
        index = draw_rows(data.pools, self.stratum_rows, of_rows)
        batch = Features(*(part[index] for part in data.rows))
        networks = self._dropping(rates, of_units) if self.drops else ()

        def misfit(params: tuple[Params, ...]) -> Array:
            parts = log_likelihood(self.architecture, data.tables, params, batch, networks)
            return -parts.sum(axis=1).mean()

        value, gradient = jax.value_and_grad(misfit)(state.params)
        update, adam = ADAM.update(gradient, state.adam)
        decay = 0.5 * (1 + jnp.cos(jnp.pi * number / rates.steps)).astype(jnp.float32)
        rate = rates.learning_rate * decay
        params = jax.tree.map(
            lambda p, u: p - rate * (u + rates.weight_decay * p), state.params, update
        )
        return State(params, adam, state.key), Losses(value)

    def finished(self, state: State) -> bool:
        """Return whether to stop early: never."""
        return False

    def _dropping(self, rates: Rates, key: Array) -> tuple[Any, ...]:
        """Return the columns' networks, without a random share of their hidden units."""
        widths = [sum(sizes[1:-1]) for sizes in self.architecture.sizes]
        # One call for all columns, and a byte per unit: random bits dominate the cost of a step.
        bits = jax.random.bits(key, (sum(self.stratum_rows), sum(widths)), jnp.uint8)
        keep, networks, start = bits >= 256 * rates.dropout, [], 0
        for width in widths:
            networks.append(partial(apply_some, keep[:, start : start + width], rates.dropout))
            start += width
        return tuple(networks)


def draw_rows(pools: tuple[Pool, ...], counts: tuple[int, ...], key: Array) -> Int[Array, " row"]:
    """Return row numbers: fixed numbers from each pool, with replacement."""
    uniforms, drawn, start = jax.random.uniform(key, (sum(counts),), jnp.float32), [], 0
    for pool, count in zip(pools, counts, strict=True):
        place = (uniforms[start : start + count] * pool.count).astype(jnp.int32)
        drawn.append(pool.rows[jnp.minimum(place, pool.count - 1)])
        start += count
    return jnp.concatenate(drawn)


def apply_some(
    keep: Bool[Array, "row unit"],
    dropout: Array,
    sizes: Sizes,
    params: Params,
    x: Float[Array, "row input"],
) -> Float[Array, "row output"]:
    """Return a perceptron's outputs with only the hidden units in ``keep``."""
    start, last = 0, len(sizes) - 2
    for layer in range(last + 1):
        x = x @ params[f"layer_{layer}"]["kernel"] + params[f"layer_{layer}"]["bias"]
        if layer < last:
            stop = start + sizes[layer + 1]
            x = jnp.where(keep[:, start:stop], jax.nn.leaky_relu(x, SLOPE) / (1 - dropout), 0.0)
            start = stop
    return x


def learn_columns(
    config: Any,
    keys: Sequence[Array],
    architecture: Architecture,
    columns: dict[str, np.ndarray],
    strata: np.ndarray,
    rows: Sequence[np.ndarray],
    progress: bool,
) -> list[LearnedColumns]:
    """Learn a cross-section by maximum likelihood: a resolved `Autoregressive`."""
    counts = stratum_rows(strata, Batches(config.batch_size, config.smallest_stratum, 0.0))
    algorithm = Likelihood(architecture, counts, bool(config.dropout))
    data = [training_rows(architecture, columns, strata, own) for own in rows]
    trained = train_members(algorithm, data, numbers_of(config, Rates), keys, progress)
    return [(own, state.params, losses) for own, (state, losses) in zip(data, trained, strict=True)]
