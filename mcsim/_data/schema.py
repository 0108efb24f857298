"""Schema: the meaning of the columns of a panel, and the values they may take.

Kinds, bounds and mass points are found automatically, shown by ``print(schema)`` and overridden
with `Schema.replace`. A mass point is a value that a continuous distribution would not
repeat: the zeros and the top codes of earnings. Labels of levels and periods are written to model
files as JSON: strings, numbers, bools and dates.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from mcsim._core.calls import with_remedies
from mcsim._core.markup import html_table
from mcsim._core.pytree import ADDED_LATER, stored_as
from mcsim._core.records import Panel, StaticPart, places_of
from mcsim.errors import InputError, UnknownName, did_you_mean, printable, raise_all

Kind = Literal["continuous", "integer", "binary", "categorical"]

BOOLEAN = (False, True)
"""Levels of a binary column of booleans, which `to_frame` turns back into booleans."""

MASS_POINT_SHARE = 0.01  # a value held by this share of the rows, and
MASS_POINT_COUNT = 10  # by this many of them, is a mass point
FEW_LEVELS = 64  # most values of an integer column that is modeled value by value


@dataclass(frozen=True)
class Column:
    """One column: its name, kind, bounds and mass points.

    Attributes
    ----------
    name : str
        Name of the column.
    kind : {"continuous", "integer", "binary", "categorical"}
        Binary columns hold 0 and 1; categorical ones hold codes 0, 1, ... of ``levels``.
    lower, upper : float
        Bounds; infinite where there is none.
    mass_points : tuple of float
        Values that a share of the rows holds exactly, ascending.
    levels : tuple
        The user's labels of a categorical column, in the order of the codes; False and True for a
        binary column of booleans.
    """

    name: str
    kind: Kind
    lower: float = -np.inf
    upper: float = np.inf
    # Hashes of studies and fits hold "atoms", the name of before: they would move with it.
    mass_points: tuple[float, ...] = field(default=(), metadata=stored_as("atoms"))
    levels: tuple[Any, ...] = ()

    def __post_init__(self):
        raise_all(_faults_of_column(self))

    def __str__(self) -> str:
        bounds = (
            "" if np.isinf([self.lower, self.upper]).all() else f"[{self.lower:g}, {self.upper:g}]"
        )
        points = ", ".join(f"{point:g}" for point in self.mass_points)
        points = f"mass points {points}" if points else ""
        levels = f"levels {', '.join(map(printable, self.levels))}" if self.levels else ""
        return "  ".join(
            part for part in (f"{self.kind:<11}", bounds, points, levels) if part
        ).rstrip()

    @property
    def nominal(self) -> bool:
        """Whether values are codes of more than two categories, whose size has no meaning."""
        return self.kind == "categorical" and len(self.levels) > 2


def _faults_of_column(column: Column) -> list[str]:
    faults = []
    if column.kind not in get_args(Kind):
        kinds = get_args(Kind)
        faults.append(
            f"column {column.name!r}: kind {column.kind!r}{did_you_mean(column.kind, kinds)}"
        )
    if not column.lower <= column.upper:
        faults.append(f"column {column.name!r}: lower {column.lower} exceeds upper {column.upper}")
    points = column.mass_points
    outside = [point for point in points if not column.lower <= point <= column.upper]
    if outside:
        faults.append(f"column {column.name!r}: mass points {outside} lie outside the bounds")
    if tuple(sorted(set(points))) != points:
        faults.append(f"column {column.name!r}: mass points {points} must ascend, each once")
    if column.kind == "categorical" and not column.levels:
        faults.append(f"column {column.name!r}: a categorical column needs its levels")
    return faults


@dataclass(frozen=True)
class Schema:
    """The meaning of the columns of a panel; labels of units and periods for the way to a frame.

    Attributes
    ----------
    columns : tuple of Column
        One per column of the panel, in its order.
    unit, time : str
        The user's names of the index.
    period_labels : tuple
        The user's labels of the periods, ascending.
    unit_labels : tuple
        The user's labels of the units; no part of equality, since generated units are others.
    places : tuple of int
        The places of the periods on their calendar, counted from the first; empty if they follow
        one another. Panels that a schema makes have them.
    """

    columns: tuple[Column, ...]
    unit: str = "unit"
    time: str = "time"
    period_labels: tuple[Any, ...] = (0,)
    unit_labels: tuple[Any, ...] = field(default=(), compare=False, repr=False)
    places: tuple[int, ...] = field(default=(), metadata=ADDED_LATER)

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise UnknownName(f"column {name!r} is not in the schema{did_you_mean(name, self.names)}")

    def __str__(self) -> str:
        names = list(map(printable, self.names))
        width = max(map(len, names))
        columns = zip(names, self.columns, strict=True)
        return "\n".join(f"{name:<{width}}  {column}" for name, column in columns)

    def _repr_html_(self) -> str:
        """Return the columns for a notebook."""
        rows = [(column.name, str(column)) for column in self.columns]
        return html_table([("column", "values")], rows)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(column.name for column in self.columns)

    def replace(self, **changes: Mapping[str, Any]) -> "Schema":
        """Return a schema with some columns changed.

        Examples
        --------
        >>> import numpy as np
        >>> schema = infer_schema({"earnings": np.array([0.5, 1.5, 2.5])})
        >>> print(schema.replace(earnings={"mass_points": (0.0,), "lower": 0.0}))
        earnings  continuous   [0, inf]  mass points 0
        """
        known = [field.name for field in fields(Column)]
        raise_all(
            [
                f"column {name!r}: a schema has no {unknown!r}{did_you_mean(unknown, known)}"
                for name, change in changes.items()
                for unknown in change
                if unknown not in known
            ]
        )
        changed = {name: replace(self[name], **change) for name, change in changes.items()}
        return replace(self, columns=tuple(changed.get(c.name, c) for c in self.columns))

    def select(self, names: tuple[str, ...]) -> "Schema":
        """Return the schema of these columns only, in this order."""
        return replace(self, columns=tuple(self[name] for name in names))

    def panel(self, columns: Mapping[str, Any], mask: Any = None) -> Panel:
        """Return a panel of columns (unit, period) with this schema's calendar and categories."""
        n_periods = next(iter(columns.values())).shape[-1]
        static = self.static_part(tuple(columns), n_periods)
        return Panel(columns, mask, periods=static.periods, nominal=dict(static.nominal))

    def static_part(self, names: tuple[str, ...], n_periods: int) -> StaticPart:
        """Return the static part of panels of these columns and the first periods.

        Periods beyond the schema's last one follow it one by one.
        """
        last = self.places[-1] if self.places else 0
        beyond = range(last + 1, last + 1 + n_periods - len(self.places))
        periods = (*self.places[:n_periods], *beyond) if self.places else None
        nominal = tuple(
            (column.name, len(column.levels))
            for column in sorted(self.columns, key=lambda column: column.name)
            if column.kind == "categorical" and column.name in names
        )
        return StaticPart(names, places_of(periods, n_periods), nominal)


@with_remedies()
def infer_schema(
    columns: Mapping[str, Any],
    *,
    levels: Mapping[str, tuple] | None = None,
    unit: str = "unit",
    time: str = "time",
    period_labels: tuple[Any, ...] | None = None,
    unit_labels: tuple[Any, ...] = (),
) -> Schema:
    """Find kinds, bounds and mass points of columns of numbers.

    A value is a mass point of a continuous column, or of an integer one with more than 64 values,
    if at least 1 % and at least 10 of its cells hold it. Columns that are nowhere negative are
    bounded by zero, integers by their range, and a column with a mass point at an end by this mass
    point.

    Parameters
    ----------
    columns : mapping of str to array (unit, period)
        The columns, for instance a `Panel`; cells with NaN are left out. A panel has nominal
        columns, whose labels are then their codes, and a calendar.
    levels : mapping of str to tuple
        Labels of the categorical columns.
    unit, time, period_labels, unit_labels
        Kept in the schema.

    Returns
    -------
    Schema

    Examples
    --------
    >>> import numpy as np
    >>> print(infer_schema({"treat": np.array([0.0, 1.0]), "age": np.array([17.0, 55.0])}))
    treat  binary       [0, 1]
    age    integer      [17, 55]
    """
    levels, places = levels or {}, None
    if isinstance(columns, Panel):
        levels = {name: _codes(columns, name) for name in columns.nominal} | dict(levels)
        places = columns.static_part.periods
    described = tuple(
        _describe(name, np.asarray(values, dtype=np.float64), levels.get(name))
        for name, values in columns.items()
    )
    periods = np.atleast_2d(np.asarray(next(iter(columns.values())))).shape[-1]
    panel_like = np.asarray(next(iter(columns.values()))).ndim == 2
    labels = period_labels or places or (tuple(range(periods)) if panel_like else (0,))
    return Schema(described, unit, time, labels, unit_labels, places or ())


def schema_of(panel: Panel, schema: Schema | None) -> Schema:
    """Return the schema for learning from a panel: the given one, else an inferred one.

    The calendar is the panel's, since a schema made apart from it may lack one.

    Raises
    ------
    InputError
        For labels that no model file holds; else only the file of the fit would be refused.
    """
    if schema is None:
        return infer_schema(panel)
    raise_all(faults_of_labels(schema))
    return replace(schema.select(tuple(panel)), places=panel.static_part.periods or schema.places)


def faults_of_labels(schema: Schema) -> list[str]:
    """Return a fault for each column with labels that model files do not hold."""
    labels = {column.name: column.levels for column in schema.columns}
    faults = []
    for name, own in (*labels.items(), (schema.time, schema.period_labels)):
        try:
            _ = [encode_label(label) for label in own]
        except TypeError as fault:
            faults.append(f"column {name!r}: {fault}")
    return faults


def _codes(panel: Panel, name: str) -> tuple[int, ...]:
    number = panel.nominal[name]
    if number is None:
        values = np.asarray(panel[name])
        number = int(values[np.isfinite(values)].max(initial=0)) + 1
    return tuple(range(number))


def taken_by_value(column: Column, distinct: np.ndarray) -> bool:
    """Return whether a column can hold its distinct values alone.

    Categories, integers with few values, and columns in which at most one value is no mass point.

    Examples
    --------
    >>> values = np.array([0.5, 1.25, 2.0])
    >>> taken_by_value(Column("y", "continuous", mass_points=(0.5, 1.25, 2.0)), values)
    True
    >>> taken_by_value(Column("y", "continuous", mass_points=(0.5,)), values)
    False
    """
    if column.kind in ("binary", "categorical"):
        return True
    few = column.kind == "integer" and len(distinct) <= FEW_LEVELS
    return few or int(np.isin(distinct, column.mass_points, invert=True).sum()) < 2


def _describe(name: str, values: np.ndarray, levels: tuple | None) -> Column:
    if levels == BOOLEAN:
        return Column(name, "binary", 0.0, 1.0, levels=BOOLEAN)
    if levels is not None:
        return Column(name, "categorical", 0.0, float(len(levels) - 1), levels=levels)
    values = values[np.isfinite(values)]
    if not values.size:
        raise InputError(f"column {name!r}: got no finite value, expected at least one")
    distinct, counts = np.unique(values, return_counts=True)
    low, high = float(distinct[0]), float(distinct[-1])
    if np.isin(distinct, (0.0, 1.0)).all():
        return Column(name, "binary", 0.0, 1.0)
    integer = bool((distinct == np.rint(distinct)).all())
    if integer and len(distinct) <= FEW_LEVELS:
        return Column(name, "integer", low, high)
    heavy = (counts >= MASS_POINT_COUNT) & (counts >= MASS_POINT_SHARE * values.size)
    points = tuple(float(point) for point in distinct[heavy])
    if integer:
        return Column(name, "integer", low, high, points)
    lower = low if low in points else (0.0 if low >= 0 else -np.inf)
    upper = high if high in points else np.inf
    return Column(name, "continuous", lower, upper, points)


def encode_label(label: Any) -> Any:
    """Return a label as JSON; numbers of NumPy become Python's.

    Raises
    ------
    TypeError
        For a label of another type, which it names.

    Examples
    --------
    >>> encode_label(np.int64(1978)), encode_label(pd.Timestamp("1961-04-01").as_unit("s"))
    (1978, {'timestamp': ['1961-04-01T00:00:00', 's']})
    """
    if isinstance(label, np.datetime64):
        return {"datetime64": [str(label), np.datetime_data(label.dtype)[0]]}
    label = label.item() if isinstance(label, np.generic) else label
    if isinstance(label, (str, bool, int)) or (isinstance(label, float) and math.isfinite(label)):
        return label
    if isinstance(label, pd.Period):
        return {"period": [str(label), label.freqstr]}
    if label is not pd.NaT and isinstance(label, (pd.Timestamp, datetime)):
        unit = [label.unit] if isinstance(label, pd.Timestamp) else []
        return {type(label).__name__.lower(): [label.isoformat(), *unit]}
    if isinstance(label, date):
        return {"date": [label.isoformat()]}
    raise TypeError(
        f"the label {label!r} is a {type(label).__name__}; model files hold strings, numbers, "
        "bools and dates: convert the labels before the fit"
    )


def decode_label(entry: Any) -> Any:
    """Return the label that `encode_label` made into this JSON.

    Raises
    ------
    ValueError
        If `encode_label` makes no such JSON.

    Examples
    --------
    >>> decode_label({"date": ["1961-04-01"]})
    datetime.date(1961, 4, 1)
    """
    if isinstance(entry, (str, bool, int, float)):
        return entry
    kind, arguments = next(iter(entry.items()), ("", ())) if isinstance(entry, dict) else ("", ())
    if kind in _KINDS and isinstance(arguments, list):
        return _KINDS[kind](*map(str, arguments))
    raise ValueError(f"{entry!r} is no label")


_KINDS: Mapping[str, Callable[..., Any]] = {
    "datetime64": np.datetime64,
    "period": pd.Period,
    "timestamp": lambda text, unit: pd.Timestamp(text).as_unit(unit),
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
}
