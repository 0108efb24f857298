"""The labels of units and periods: which may be none, and the order they are put in."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mcsim._data._cells import as_labels, quoted, unhashable_cell
from mcsim._periods import is_number
from mcsim._warnings import warn
from mcsim.errors import Fault, Option

BEYOND_INT64 = 2.0**63


def faults_of_index(frame: pd.DataFrame, unit: str | None, time: str | None) -> list[str]:
    """Say which labels of units and periods are none, or which rows have the labels of others."""
    names = [name for name in (unit, time) if name is not None]
    if unit is not None and unit == time:
        return [f"unit and time: both are {unit!r}, expected two columns"]
    faults = []
    for name in names:
        rows = np.flatnonzero(frame[name].isna())
        if rows.size:
            faults.append(f"column {name!r}: the index is missing in rows {rows[:5].tolist()}")
        else:
            faults += _faults_of_labels(name, frame[name], periods=name == time)
    return faults or _faults_of_repeats(frame, names)


def codes_of(frame: pd.DataFrame, name: str | None) -> tuple[np.ndarray, tuple[Any, ...]]:
    """Return the place of each row's label among the labels in their order, and the labels.

    Without a name the rows are counted.
    """
    if name is None:
        return np.arange(len(frame)), tuple(frame.index.tolist())
    codes, labels = pd.factorize(frame[name], sort=True)
    return codes, as_labels(pd.Index(labels))


def warn_of_alphabet(labels: pd.Series, units: np.ndarray, periods: np.ndarray) -> None:
    """Warn if text labels are in another order than the rows of a unit: January after April."""
    if pd.api.types.is_numeric_dtype(labels) or not isinstance(labels.iloc[0], str):
        return
    if isinstance(labels.dtype, pd.CategoricalDtype) and labels.cat.ordered:
        return
    order = np.argsort(units, kind="stable")
    back = (np.diff(periods[order]) < 0) & (np.diff(units[order]) == 0)
    if back.any() and not labels.str.match(r"\d{4}").all():
        first = ", ".join(sorted(labels.unique())[:3])
        warn(
            f"time: the labels of {labels.name!r} are text, and put in alphabetical order "
            f"({first}, ...); turn them into dates (pd.to_datetime) or ordered categories"
        )


def _faults_of_labels(name: str, labels: pd.Series, *, periods: bool) -> list[str]:
    """Say why values are no labels: lists, infinite numbers, kinds without a common order."""
    cell = unhashable_cell(labels)
    if cell is not None:
        return [f"column {name!r}: got labels like {quoted(cell)}, expected text, numbers or dates"]
    bound, limits = (BEYOND_INT64, "infinite or beyond 2**63") if periods else (np.inf, "infinite")
    if far := _labels_from(labels, bound):
        return [
            f"column {name!r}: {len(far)} labels are {limits} ({quoted(far[0])}); drop the rows"
        ]
    if not pd.api.types.is_object_dtype(labels):
        return []
    texts = labels.map(lambda label: isinstance(label, str))
    if periods and texts.any() and not texts.all():
        both = f"{quoted(labels[texts].iloc[0])} and {quoted(labels[~texts].iloc[0])}"
        return [f"column {name!r}: got periods of two kinds, {both}; make them all of one kind"]
    try:
        pd.factorize(labels, sort=True)
    except Exception as fault:  # whatever comparing labels raises
        return [f"column {name!r}: the labels have no order ({fault}); make them all of one kind"]
    return []


def _labels_from(labels: pd.Series, bound: float) -> list[Any]:
    """Return the labels that are numbers as large as this, or larger, in their absolute value."""
    if pd.api.types.is_object_dtype(labels):
        return [label for label in labels if is_number(label) and abs(label) >= bound]
    if not pd.api.types.is_float_dtype(labels):
        return []
    return labels[np.abs(labels.to_numpy(np.float64)) >= bound].tolist()


def _faults_of_repeats(frame: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Say which unit, or which period of a unit, has more than one row."""
    twice = frame.loc[frame.duplicated(names), names] if names else frame.iloc[:0]
    if twice.empty:
        return []
    labels = twice.drop_duplicates().head(3).to_numpy().tolist()
    first = ", ".join(quoted(own[0] if len(own) == 1 else tuple(own), str) for own in labels)
    by_time = ["if rows are periods of units, name their column ", Option("with time=...", "time")]
    remedy = by_time if len(names) == 1 else "keep one row of each"
    repeats = f"{len(twice)} of {len(frame)} rows repeat one before ({first})"
    return [Fault(f"index {names}: {repeats}", remedy)]
