"""Rows of a cross-section by arm, and raking, after training, to their shares and moments.

An arm is a joint value of the discrete given columns. Rows of the other arms are weighted by their
odds of being in the smallest one, so that they look like it.

A network learns shares of mass points and categories up to a point or two, and one that is held
back from overfitting draws too small the differences between arms and the variation of values.
Column after column, in the order of generation and over a large draw of the columns before, log
shares are moved until the mean probabilities are the shares of the training rows; then the scores
of values off mass points are shifted and stretched until they have their means and standard
deviations.

References
----------
Deming & Stephan (1940), On a least squares adjustment of a sampled frequency table when the
expected marginal totals are known, Annals of Mathematical Statistics 11: 427-444.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcsim._data.schema import Schema
from mcsim.generators._cross_sections.architecture import Architecture, Features, Tables, represent
from mcsim.generators._cross_sections.drawing import allowed_mask
from mcsim.generators._cross_sections.levels import FORBIDDEN, PRIOR_ROWS, Levels
from mcsim.generators._cross_sections.mixture import Mixture, MixtureTable
from mcsim.generators._networks import Params, apply

ODDS_ENTRIES = 8_192  # length of the table that weighted rows are drawn from

LearnedColumns = tuple[Any, tuple[Params, ...], Mapping[str, np.ndarray]]
"""Training data with pools, targets and tables; parameters of the networks; losses by step."""

ITERATIONS = 40
ROWS_PER_ARM = 8_192
STEP = 0.7
MOST_SHIFT, MOST_STRETCH = 1.5, 0.7  # of scores; the stretch in logs


class Pool(NamedTuple):
    """Rows to draw from: the first ``count`` entries of ``rows``."""

    rows: Any  # (entry,)
    count: Any  # ()


class TrainingRows(NamedTuple):
    """Features of all rows, and by arm which of them to draw and which shares to rake to."""

    tables: Tables
    rows: Features
    pools: tuple[Pool, ...]
    targets: tuple[Any, ...]  # (arm, part) of each column, or None


@dataclass(frozen=True)
class Batches:
    """Rows per batch: in all, at least in each arm, and with a drawn outcome only."""

    rows: int
    smallest_arm: float
    outcome_share: float


def generation_order(schema: Schema, given: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns in the order of generation: categories first, the last column last.

    Discrete columns come in ascending number of possible values, then the continuous ones.
    """
    names = [name for name in schema.names if name not in given]
    *others, last = names

    def rank(name: str) -> float:
        column = schema[name]
        if column.kind == "continuous":
            return np.inf
        return float(len(column.levels) or column.upper - column.lower + 1)

    return (*sorted(others, key=rank), last)


def arm_rows(arms: np.ndarray, batches: Batches) -> tuple[int, ...]:
    """Return the rows of each arm in a batch: their shares, lifted to the smallest allowed."""
    share = np.bincount(arms) / len(arms)
    floor = min(batches.smallest_arm, 1 / len(share))
    share = np.maximum(share, floor)
    big = share > floor
    share[big] *= (1 - share[~big].sum()) / max(share[big].sum(), 1e-9)
    rows = batches.rows - sum(outcome_rows(arms, batches))
    return tuple(max(4, round(rows * part)) for part in share)


def outcome_rows(arms: np.ndarray, batches: Batches) -> tuple[int, ...]:
    """Return the rows of each arm whose outcome alone is drawn: half of a rare smallest arm."""
    counts = np.bincount(arms)
    count, rows = len(counts), round(batches.rows * batches.outcome_share)
    smallest = int(counts.argmin())
    if rows < 4 or count < 2 or counts[smallest] >= batches.smallest_arm * len(arms):
        return (0,) * count
    other = rows // 2 // (count - 1)
    return tuple(rows // 2 if arm == smallest else other for arm in range(count))


def training_rows(
    architecture: Architecture, columns: dict[str, np.ndarray], arms: np.ndarray, rows: np.ndarray
) -> TrainingRows:
    """Return the features of a panel, and what one member learns from, trained on ``rows``."""
    tables = architecture.tables(columns, rows, arms)
    by_arm = rows_by_arm(architecture, arms, rows)
    longest = np.bincount(arms).tolist()
    pools = tuple(pool_of(r, max(n, len(r))) for r, n in zip(by_arm, longest, strict=True))
    targets = []
    for head in architecture.drawn:
        known = columns[head.name][rows], arms[rows], len(by_arm)
        targets.append(Target(_lift(head.shares(*known), by_arm), head.moments(*known)))
    return TrainingRows(tables, represent(architecture, tables, columns), pools, tuple(targets))


def rows_by_arm(architecture: Architecture, arms: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    """Return the rows of each arm."""
    return [rows[arms[rows] == arm] for arm in range(len(architecture.arms))]


def _lift(shares: np.ndarray | None, by_arm: list[np.ndarray]) -> np.ndarray | None:
    """Give the parts that an arm never showed half a row together: a share of 0 has no logarithm.

    With half a row each, a small arm would take over all the heaps of a large one.
    """
    if shares is None:
        return None
    rows = np.array([[len(own)] for own in by_arm])
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


def as_columns(panel: Mapping[str, Array]) -> dict[str, np.ndarray]:
    """Return a cross-section's columns as vectors of float64."""
    return {name: np.asarray(values, np.float64)[:, 0] for name, values in panel.items()}


class Target(NamedTuple):
    """What draws of a column are to have in each arm; None: it is left alone.

    Attributes
    ----------
    shares : array (arm, part)
        Of atoms and the rest, or of levels.
    moments : array (arm, 3)
        Number, mean and standard deviation of the training rows' values that are no atoms.
    """

    shares: Any
    moments: Any


def raked(architecture: Architecture, data: Any, params: tuple[Params, ...], key: Array) -> Tables:
    """Return the tables of training data, raked on rows drawn evenly from each arm."""
    rows = [np.resize(pool.rows[: pool.count], ROWS_PER_ARM) for pool in data.pools]
    given = data.rows.given[np.concatenate(rows)]
    key = jax.random.fold_in(key, 1)
    return rake(architecture, data.tables, params, data.targets, given, key)


@partial(jax.jit, static_argnums=0)
def rake(
    architecture: Architecture,
    tables: Tables,
    params: tuple[Params, ...],
    targets: tuple[Target, ...],
    given: Float[Array, "row feature"],
    key: Array,
) -> Tables:
    """Return tables under which draws meet the targets; rows are equally many by arm."""
    arms = len(architecture.arms)
    arm = jnp.repeat(jnp.arange(arms), len(given) // arms)
    uniforms = jax.random.uniform(
        key, (len(given), len(architecture.drawn), 2), jnp.float32, 1e-7, 1 - 1e-7
    )
    context = jnp.concatenate([jnp.ones((len(given), 1), jnp.float32), given], axis=1)
    codes: list[Any] = []
    raked: list[Any] = []
    for position, head in enumerate(architecture.drawn):
        table, target = tables.drawn[position], targets[position]
        outputs = apply(architecture.sizes[position], params[position], context)
        mask = allowed_mask(architecture, tables, position, codes)
        if target.shares is not None:
            offset = _offsets(head.logits(table, outputs, arm, mask), target.shares)
            table = table._replace(log_share=_shift(table.log_share, offset))
        if isinstance(head, Mixture):
            moves = _moves(head, table, outputs, arm, uniforms[:, position], target.moments)
            table = table._replace(moves=jnp.concatenate([moves, table.moves[arms:]]))
        raked.append(table)
        if position == len(architecture.drawn) - 1:
            break
        values = head.draw(table, outputs, arm, mask, uniforms[:, position], False)
        codes.append(head.index(values) if isinstance(head, Levels) else None)
        context = jnp.concatenate([context, head.encode(table, values)], axis=1)
    return tables._replace(drawn=tuple(raked))


def _offsets(logits: Float[Array, "row part"], target: Float[Array, "arm part"]) -> Array:
    """Return what to add to an arm's logits (arm, part) so that mean probabilities are targets."""
    by_arm = logits.reshape(len(target), -1, target.shape[1])

    def move(_: Any, offset: Array) -> Array:
        mean = jax.nn.softmax(by_arm + offset[:, None], axis=2).mean(axis=1)
        ratio = jnp.log(target) - jnp.log(jnp.maximum(mean, 1e-12))
        return offset + jnp.where(mean > 1e-9, jnp.clip(ratio, -1.0, 1.0), 0.0)

    return jax.lax.fori_loop(0, ITERATIONS, move, jnp.zeros(target.shape, jnp.float32))


def _shift(log_share: Array, offset: Array) -> Array:
    """Add offsets of atoms and, where components follow, of all of them alike."""
    extra = log_share.shape[1] - offset.shape[1]
    offset = jnp.concatenate([offset, jnp.repeat(offset[:, -1:], extra, axis=1)], axis=1)
    moved = log_share[:-1] + offset
    moved = jnp.where(log_share[:-1] > FORBIDDEN / 2, moved, log_share[:-1])
    return jnp.concatenate([moved, log_share[-1:]])


def _moves(
    head: Mixture,
    table: MixtureTable,
    outputs: Float[Array, "row output"],
    arm: Array,
    uniforms: Float[Array, "row 2"],
    target: Float[Array, "arm 3"],
) -> Float[Array, "arm 2"]:
    """Return shifts and log stretches of scores so that values have the target's moments.

    The targets are shrunk to the moments before, by a prior number of rows.
    """
    scores, weight = (
        part.reshape(len(target), -1) for part in head.loose(table, outputs, arm, uniforms)
    )
    weight = weight / weight.sum(axis=1, keepdims=True)

    def moments(scores: Float[Array, "arm row"]) -> tuple[Array, Array]:
        values = head.value(table, scores)
        mean = (weight * values).sum(axis=1)
        spread = (weight * jnp.square(values - mean[:, None])).sum(axis=1)
        return mean, jnp.sqrt(jnp.maximum(spread, 1e-30))

    mean, spread = moments(scores)
    trust = target[:, 0] / (target[:, 0] + PRIOR_ROWS)
    aim = mean + trust * (target[:, 1] - mean)
    wide = spread * (target[:, 2] / spread) ** trust

    def move(_: Any, moves: Array) -> Array:
        mean, spread = moments(moves[:, :1] + jnp.exp(moves[:, 1:]) * scores)
        shift = moves[:, 0] + STEP * jnp.clip((aim - mean) / spread, -0.5, 0.5)
        stretch = moves[:, 1] + STEP * jnp.clip(jnp.log(wide / spread), -0.3, 0.3)
        inside = jnp.clip(shift, -MOST_SHIFT, MOST_SHIFT)
        return jnp.stack([inside, jnp.clip(stretch, -MOST_STRETCH, MOST_STRETCH)], axis=1)

    return jax.lax.fori_loop(0, ITERATIONS, move, jnp.zeros((len(target), 2), jnp.float32))
