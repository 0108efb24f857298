"""Layout: the columns of a cross-section as a matrix, its arms, and the scale of distances."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from mcsim._core import Panel
from mcsim._schema import Column, Schema
from mcsim.errors import InputError, did_you_mean, raise_all

Matrix = Float[ndarray, "row column"]
Encoded = Float[ndarray, "row encoded"]


@dataclass(frozen=True)
class Layout:
    """What the columns of all matrices mean.

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
        """Position of a column."""
        return self.schema.names.index(name)

    def matrix(self, panel: Panel) -> Matrix:
        """Stack the columns of a cross-section, in the schema's order."""
        columns = [np.asarray(panel[name], np.float64)[:, 0] for name in self.schema.names]
        return np.column_stack(columns)

    def arm(self, rows: Matrix) -> Int[ndarray, " row"]:
        """Code of each row's arm."""
        if self.treatment is None:
            return np.zeros(len(rows), dtype=np.int64)
        return np.asarray(rows[:, self.index(self.treatment)] > 0.5, dtype=np.int64)

    @property
    def encoded_names(self) -> tuple[str, ...]:
        """The column that each column of `standardized` comes from."""
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
    real: Panel, schema: Schema, given: Sequence[str], outcome: str | None
) -> tuple[Layout, Matrix]:
    """Check the real data and return their layout and matrix."""
    given = tuple(given)
    names = (*schema.names, *given, *((outcome,) if outcome else ()))
    faults = [f"column {n!r} is not in real{did_you_mean(n, real)}" for n in names if n not in real]
    if real.n_periods > 1:
        faults.append(
            f"real: got {real.n_periods} periods, expected one; this table is for "
            "cross-sections, mcsim.fidelity also for panels"
        )
    raise_all(faults)
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
    """Split rows at random into parts that hold the arms in their shares; rows in random order."""
    shuffled = rng.permutation(len(arm))
    by_arm = shuffled[np.argsort(arm[shuffled], kind="stable")]
    return [rng.permutation(by_arm[part::parts]) for part in range(parts)]
