"""From a panel to what a fit needs: heads, features, batches by arm, moments. Host side, NumPy.

An arm is a joint value of the discrete given columns. Rows of the other arms are weighted by their
odds of being in the smallest one, so that they look like it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float

from mcsim._schema import Schema
from mcsim.generators._columns._architecture import Architecture, Features, Tables, represent
from mcsim.generators._columns._raking import Target
from mcsim.generators._networks import Params

ODDS_ENTRIES = 8_192  # length of the table that weighted rows are drawn from

LearnedColumns = tuple[Any, tuple[Params, ...], Mapping[str, np.ndarray]]
"""Training data with pools, targets and tables; parameters of the networks; losses by step."""


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
