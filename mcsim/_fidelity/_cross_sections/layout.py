"""Rows of a cross-section for the comparison: a matrix, its arms, real and generated samples.

In every fold real rows are compared with a generator's draws; in the reference row ``real`` they
are compared with other real rows, which shows the values of each measure if nothing is wrong.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key
from numpy import ndarray

from mcsim._core.protocols import Generator
from mcsim._core.records import Panel
from mcsim._data.schema import Column, Schema
from mcsim._fidelity.candidates import require_columns
from mcsim.errors import InputError, did_you_mean, raise_all

Matrix = Float[ndarray, "row column"]
Encoded = Float[ndarray, "row encoded"]

CLASSIFIER_ROWS = 8_000  # per side
HELD_ROWS = 10_000
SUBSAMPLES = 4  # of the hold-out's size, over which distances are averaged


@dataclass(frozen=True)
class Layout:
    """The meaning of the columns of all matrices.

    Attributes
    ----------
    schema : Schema
        Kinds and mass points.
    given : tuple of str
        Columns that a generator is given.
    treatment, outcome : str or None
        The binary column among ``given``; the column left out of the propensity score.
    scales : tuple of float
        Standard deviations of the encoded columns in the real data, 1 where constant.
    """

    schema: Schema
    given: tuple[str, ...] = ()
    treatment: str | None = None
    outcome: str | None = None
    scales: tuple[float, ...] = ()

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms, in the order of their codes."""
        return ("control", "treated") if self.treatment else ("all",)

    def index(self, name: str) -> int:
        """Return the position of a column."""
        return self.schema.names.index(name)

    def matrix(self, panel: Panel) -> Matrix:
        """Stack the columns of a cross-section, in the schema's order."""
        columns = [np.asarray(panel[name], np.float64)[:, 0] for name in self.schema.names]
        return np.column_stack(columns)

    def arm(self, rows: Matrix) -> Int[ndarray, " row"]:
        """Return the code of each row's arm."""
        if self.treatment is None:
            return np.zeros(len(rows), dtype=np.int64)
        return np.asarray(rows[:, self.index(self.treatment)] > 0.5, dtype=np.int64)

    @property
    def encoded_names(self) -> tuple[str, ...]:
        """Names of the columns from which the columns of `standardized` come."""
        return tuple(c.name for c in self.schema.columns for _ in range(_width(c)))

    def standardized(self, rows: Matrix) -> Encoded:
        """Encode categories as indicators and divide every column by its standard deviation."""
        return self._encoded(rows) / np.asarray(self.scales)

    def _encoded(self, rows: Matrix) -> Encoded:
        parts = []
        for index, column in enumerate(self.schema.columns):
            values = rows[:, [index]]
            if _width(column) > 1:
                values = (values == np.arange(len(column.levels))).astype(np.float64)
            parts.append(values)
        return np.column_stack(parts)


def _width(column: Column) -> int:
    """Return the number of encoded columns: one, or an indicator of each of several levels."""
    return len(column.levels) if column.nominal else 1


def read_layout(
    real: Panel, schema: Schema, given: tuple[str, ...], outcome: str | None
) -> tuple[Layout, Matrix]:
    """Check the real data and return their layout and matrix."""
    names = (*schema.names, *given, *((outcome,) if outcome else ()))
    raise_all(
        [f"column {n!r} is not in real{did_you_mean(n, real)}" for n in names if n not in real]
    )
    binary = [name for name in given if schema[name].kind == "binary"]
    layout = Layout(schema, given, binary[0] if len(binary) == 1 else None, outcome)
    rows = layout.matrix(real)
    if real.mask is not None or not np.isfinite(rows).all():
        raise InputError("real: got missing or infinite cells, expected none; drop those units")
    spread = layout._encoded(rows).std(axis=0)
    scales = tuple(np.where(spread > 0, spread, 1.0).tolist())
    return Layout(schema, given, layout.treatment, outcome, scales), rows


def stratified_parts(
    rng: np.random.Generator, arm: Int[ndarray, " row"], parts: int
) -> list[Int[ndarray, " part"]]:
    """Split rows at random into parts with equal shares of the arms, in random order."""
    shuffled = rng.permutation(len(arm))
    by_arm = shuffled[np.argsort(arm[shuffled], kind="stable")]
    return [rng.permutation(by_arm[part::parts]) for part in range(parts)]


# Generated rows


@dataclass(frozen=True)
class Pool:
    """One large draw of a generator, equally many rows per arm; samples are slices of it.

    Attributes
    ----------
    arms : tuple of array (row, column)
        Rows of each arm.
    shares : array (arm,)
        Shares of the arms in the real data.
    """

    arms: tuple[Matrix, ...]
    shares: Float[ndarray, " arm"]

    def draw(
        self, start: Int[ndarray, " arm"], counts: Int[ndarray, " arm"], rng: np.random.Generator
    ) -> Matrix:
        """Return ``counts`` rows of each arm, from ``start`` on, in random order."""
        parts = [
            rows[first : first + count]
            for rows, first, count in zip(self.arms, start, counts, strict=True)
        ]
        return rng.permutation(np.concatenate(parts))

    @property
    def rows(self) -> Matrix:
        """All rows."""
        return np.concatenate(self.arms)

    @property
    def weights(self) -> Float[ndarray, " row"]:
        """Weights that give the arms of `rows` their real shares."""
        return np.concatenate(
            [
                np.full(len(rows), share / len(rows))
                for rows, share in zip(self.arms, self.shares, strict=True)
            ]
        )


def draw_pool(
    key: Key[Array, ""], generator: Generator, layout: Layout, train: Matrix, n_rows: int
) -> Pool:
    """Draw ``n_rows`` in all; given columns are resampled from the training rows of each arm."""
    arm = layout.arm(train)
    per_arm = n_rows // len(layout.arms)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    chosen = [rng.choice(np.flatnonzero(arm == code), per_arm) for code in range(len(layout.arms))]
    rows = generate(key, generator, layout, train[np.concatenate(chosen)])
    shares = np.bincount(arm, minlength=len(layout.arms)) / len(arm)
    return Pool(tuple(np.split(layout.matrix(rows), len(layout.arms))), shares)


def generate(key: Key[Array, ""], generator: Generator, layout: Layout, rows: Matrix) -> Panel:
    """Draw one unit per row, with the row's values of the given columns; in float64."""
    given = {name: jnp.asarray(rows[:, layout.index(name)]) for name in layout.given}
    panel = generator.sample(key, len(rows), given=given or None)
    require_columns(generator, panel, layout.schema.names)
    return jax.tree.map(lambda x: x.astype(jnp.float64), panel.select(layout.schema.names))


# The samples of a fold


class EvaluationSplit(NamedTuple):
    """The samples of one fold: matrices (row, column) with rows in random order.

    Attributes
    ----------
    train, held
        Training rows of the generator, and held-out rows (None if there are none).
    pair
        Real and compared rows on which the classifier is fit.
    scored
        Held-out real rows and fresh compared rows on which the classifier is scored.
    subsamples
        Samples of compared rows, each as large as the hold-out.
    fresh, baseline
        Rows whose distances to the training rows are measured, and real rows (None: the
        training rows themselves) whose distances are the reference.
    large, weights, target
        A large draw, weights that give its arms their real shares, and the rows to match.
    """

    train: ndarray
    held: ndarray | None
    pair: tuple[ndarray, ndarray]
    scored: tuple[ndarray | None, ndarray]
    subsamples: tuple[ndarray, ...]
    fresh: ndarray
    baseline: ndarray | None
    large: ndarray
    weights: ndarray | None
    target: ndarray


def generated_split(
    pool: Pool, layout: Layout, train: Matrix, held: ndarray | None, rng: np.random.Generator
) -> EvaluationSplit:
    """Compare the draws of a generator with real rows."""
    fit_rows = _capped(train, layout, CLASSIFIER_ROWS, rng)
    fit = _arm_counts(fit_rows, layout)
    held = None if held is None else _capped(held, layout, HELD_ROWS, rng)
    size = _arm_counts(held, layout) if held is not None else _counts_without_holdout(train, layout)
    subsamples = tuple(pool.draw(fit + place * size, size, rng) for place in range(SUBSAMPLES))
    fresh = np.concatenate(subsamples)
    return EvaluationSplit(
        train=train,
        held=held,
        pair=(fit_rows, pool.draw(np.zeros_like(fit), fit, rng)),
        scored=(held, fresh),
        subsamples=subsamples,
        fresh=fresh,
        baseline=held,
        large=pool.rows,
        weights=pool.weights,
        target=train,
    )


def real_split(
    layout: Layout, train: Matrix, held: ndarray, rng: np.random.Generator
) -> EvaluationSplit:
    """Compare real rows with other real rows."""

    def split(rows: ndarray, parts: int) -> list[ndarray]:
        return [rows[part] for part in stratified_parts(rng, layout.arm(rows), parts)]

    held = _capped(held, layout, HELD_ROWS, rng)
    fit = split(_capped(train, layout, 2 * CLASSIFIER_ROWS, rng), 2)
    halves = split(np.concatenate([train, held]), 2)
    scored = split(held, 2)
    subsamples = split(train, max(1, len(train) // len(held)))[:SUBSAMPLES]
    return EvaluationSplit(
        train=train,
        held=held,
        pair=(fit[0], fit[1]),
        scored=(scored[0], scored[1]),
        subsamples=tuple(subsample[: len(held)] for subsample in subsamples),
        fresh=held,
        baseline=None,
        large=halves[0],
        weights=None,
        target=halves[1],
    )


def rows_needed(layout: Layout, arm: Int[ndarray, " row"]) -> int:
    """Return the number of rows of a pool for all samples of these real rows."""
    largest = int(np.bincount(arm, minlength=len(layout.arms)).max())
    return len(layout.arms) * (
        min(largest, CLASSIFIER_ROWS) + SUBSAMPLES * min(largest // 2 + 1, HELD_ROWS)
    )


def _counts_without_holdout(train: Matrix, layout: Layout) -> Int[ndarray, " arm"]:
    """Return the counts by arm without a hold-out: a fifth of the training rows."""
    counts = _arm_counts(train, layout) // 5
    return np.minimum(counts, HELD_ROWS * counts // max(int(counts.sum()), 1))


def _arm_counts(rows: Matrix, layout: Layout) -> Int[ndarray, " arm"]:
    return np.bincount(layout.arm(rows), minlength=len(layout.arms))


def _capped(
    rows: Matrix, layout: Layout, limit: int, rng: np.random.Generator
) -> Float[np.ndarray, "kept column"]:
    parts = stratified_parts(rng, layout.arm(rows), -(-len(rows) // limit))
    return rows[parts[0]]
