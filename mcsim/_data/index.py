"""The index: labels of units and periods, their order, and how far apart periods are.

The step from one period to the next is the greatest common divisor of the distances between labels,
as in fixest's "unitary" panels; Stata's ``tsset, delta()`` is ``step``.
"""

import datetime
import math
from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from mcsim._core.checks import Rule, at_least, faults_of_value, is_number
from mcsim._data.cells import as_labels, quoted, unhashable_cell
from mcsim.errors import Fault, InputError, Option, raise_all, warn

BEYOND_INT64 = 2.0**63

_MONTHS = (1, 3, 12)  # steps of dates without a warning: months, quarters, years
_SHOWN = 3  # gaps in a sentence
_BEYOND_YEARS = 10_000  # labels from which on whole numbers are no years, such as 200112
_ROUNDING = 0.05  # of the smallest distance, in labels such as 2000.08

STEP = Rule(
    at_least(1).holds,
    f"{at_least(1).expected}: the distance from one period to the next, in months for dates",
)


def faults_of_index(frame: pd.DataFrame, unit: str | None, time: str | None) -> list[str]:
    """Return faults for labels of units and periods, and for rows that repeat others."""
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
    """Return the faults of values as labels: lists, infinite numbers, kinds without an order."""
    cell = unhashable_cell(labels)
    if cell is not None:
        return [f"column {name!r}: got labels like {quoted(cell)}, expected text, numbers or dates"]
    if (
        isinstance(labels.dtype, np.dtype)
        and labels.dtype.kind == "f"
        and labels.dtype.itemsize > 8
    ):
        return [
            f"column {name!r}: got labels of type {labels.dtype}, which pandas cannot look up; "
            f"expected frame[{name!r}].astype(float), or text"
        ]
    bound, limits = (BEYOND_INT64, "infinite or beyond 2**63") if periods else (np.inf, "infinite")
    if far := _labels_from(labels, bound):
        return [
            f"column {name!r}: {len(far)} labels are {limits} ({quoted(far[0])}); drop the rows"
        ]
    return _faults_of_order(name, labels, periods) if pd.api.types.is_object_dtype(labels) else []


def _faults_of_order(name: str, labels: pd.Series, periods: bool) -> list[str]:
    """Return the fault of labels of several kinds, which cannot be put in order."""
    texts = labels.map(lambda label: isinstance(label, str))
    if periods and texts.any() and not texts.all():
        both = f"{quoted(labels[texts].iloc[0])} and {quoted(labels[~texts].iloc[0])}"
        return [f"column {name!r}: got periods of two kinds, {both}; make them all of one kind"]
    try:
        pd.factorize(labels, sort=True)
    except Exception as fault:  # comparing labels may raise any exception
        return [f"column {name!r}: the labels have no order ({fault}); make them all of one kind"]
    return []


def _is_wider_than_float64(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and dtype.kind == "f" and dtype.itemsize > 8


def _labels_from(labels: pd.Series, bound: float) -> list[Any]:
    """Return the labels that are numbers as large as this, or larger, in their absolute value."""
    if pd.api.types.is_object_dtype(labels):
        return [label for label in labels if is_number(label) and abs(label) >= bound]
    if not pd.api.types.is_float_dtype(labels):
        return []
    return labels[np.abs(labels.to_numpy(np.float64)) >= bound].tolist()


def _faults_of_repeats(frame: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Return a fault for units, or periods of a unit, with more than one row."""
    twice = frame.loc[frame.duplicated(names), names] if names else frame.iloc[:0]
    if twice.empty:
        return []
    labels = twice.drop_duplicates().head(3).to_numpy().tolist()
    first = ", ".join(quoted(own[0] if len(own) == 1 else tuple(own), str) for own in labels)
    by_time = ["if rows are periods of units, name their column ", Option("with time=...", "time")]
    remedy = by_time if len(names) == 1 else "keep one row of each"
    repeats = f"{len(twice)} of {len(frame)} rows repeat one before ({first})"
    return [Fault(f"index {names}: {repeats}", remedy)]


def places_of_labels(
    labels: Sequence[Any], name: str | None, step: int | None
) -> tuple[int, ...] | None:
    """Return the places of periods with these ascending labels; None: one after another.

    Raises
    ------
    InputError
        For a step that is not a positive whole number, that labels do not have, or of which
        distances between labels are no multiples.
    """
    raise_all(faults_of_value("step", step, STEP, or_none=True))
    if name is None:
        if step is not None:
            raise InputError(f"step: got {step} without periods; name their column with time=...")
        return None
    counted, unit = _counted(labels)
    if counted is None:
        if step is not None:
            raise InputError(
                f"step: got {step} with periods such as {labels[0]!r}, expected whole numbers or "
                f"dates at most one a month in {name!r}; leave step out, and periods are counted "
                "by their distances if they are numbers, else one after another"
            )
        return _fractions(labels, name)
    distances = [number - counted[0] for number in counted]
    found = _common_divisor(distances)
    if step is not None and found % step:
        raise InputError(
            f"step: got {step}, but periods in {name!r} are {found} {unit}apart or multiples of "
            f"that; expected a divisor of {found}, or no step"
        )
    if step is None and not _is_usual(found, unit):
        warn(
            f"time: periods in {name!r} are {found} {unit}apart or multiples of that, which is "
            f"taken as one period: lag(x) is the value of {found} {unit}before; step= sets another"
        )
    return tuple(distance // (step or found or 1) for distance in distances)


def gaps_of(labels: Sequence[Any], name: str, places: Sequence[int]) -> list[str]:
    """Return a sentence on the periods that are absent between others, if there are any.

    After a warning about the step, gaps have no sentence of their own.
    """
    counted, unit = _counted(labels)
    pairs = zip(labels, pairwise(places), strict=False)  # the last label has none after it
    after = [label for label, (place, later) in pairs if later > place + 1]
    if counted is None or not after or not _is_usual(_common_divisor(counted), unit):
        return []
    absent = places[-1] + 1 - len(places)
    few = ", ".join([*map(str, after[:_SHOWN]), *["..."] * (len(after) > _SHOWN)])
    remedy = (
        "turn numbers that stand for dates into dates: pd.to_datetime(..., format='%Y%m')"
        if not unit and counted[0] >= _BEYOND_YEARS
        else "step= confirms that they are intended"
    )
    return [
        f"time: {absent:,} periods are absent between those in {name!r} (after {few}); lags and "
        f"differences across them are missing; {remedy}"
    ]


def _common_divisor(numbers: Sequence[int]) -> int:
    return reduce(math.gcd, [number - numbers[0] for number in numbers])


def _is_usual(step: int, unit: str) -> bool:
    """Return whether a step has no warning: one, of dates a month, a quarter or a year."""
    return step in (0, *(_MONTHS if unit else (1,)))


def _fractions(labels: Sequence[Any], name: str) -> tuple[int, ...] | None:
    """Count numbers that are not whole, such as 2000.25, in their smallest distance."""
    if len(labels) < 2 or not all(map(is_number, labels)):
        return None
    ratios = (np.asarray(labels, float) - labels[0]) / np.diff(labels).min()
    if np.abs(ratios - ratios.round()).max() < _ROUNDING:
        return tuple(map(int, ratios.round()))
    warn(
        f"time: the distances between periods in {name!r} are no multiples of the smallest one, "
        "so that periods are counted one after another; turn them into dates (pd.to_datetime)"
    )
    return None


def _counted(labels: Sequence[Any]) -> tuple[list[int] | None, str]:
    """Return labels as whole numbers, and the word for their unit; None where they are none."""
    if all(map(is_number, labels)):
        whole = all(float(label).is_integer() for label in labels)
        return ([int(label) for label in labels] if whole else None), ""
    if all(isinstance(label, (datetime.date, pd.Period)) for label in labels):
        months = [12 * label.year + label.month - 1 for label in labels]
        return (months if len(set(months)) == len(months) else None), "months "
    return None, ""
