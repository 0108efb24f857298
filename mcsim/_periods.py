"""From the labels of periods to their places on the calendar, that is: how far apart they are.

The step from one period to the next is the greatest common divisor of the distances between labels,
as in fixest's "unitary" panels; Stata's ``tsset, delta()`` is ``step``.
"""

import datetime
import math
from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd

from mcsim._warnings import warn
from mcsim.errors import InputError

_MONTHS = (1, 3, 12)  # steps of dates that need no word: months, quarters, years
_SHOWN = 3  # gaps that a sentence names
_BEYOND_YEARS = 10_000  # labels from which on whole numbers are no years, such as 200112
_ROUNDING = 0.05  # of the smallest distance, in labels such as 2000.08


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
    _check_step(step)
    if name is None:
        if step is not None:
            raise InputError(f"step: got {step} without periods; name their column with time=...")
        return None
    counted, unit = _as_numbers(labels)
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
            f"taken as one period: lag(x) is the value of {found} {unit}before; step= says another"
        )
    return tuple(distance // (step or found or 1) for distance in distances)


def gaps_of(labels: Sequence[Any], name: str, places: Sequence[int]) -> list[str]:
    """Return a sentence on the periods that are absent between others, if there are any.

    Where a step was said with a warning, gaps are not said again.
    """
    counted, unit = _as_numbers(labels)
    pairs = zip(labels, pairwise(places), strict=False)  # the last label has none after it
    after = [label for label, (place, later) in pairs if later > place + 1]
    if counted is None or not after or not _is_usual(_common_divisor(counted), unit):
        return []
    absent = places[-1] + 1 - len(places)
    few = ", ".join([*map(str, after[:_SHOWN]), *["..."] * (len(after) > _SHOWN)])
    remedy = (
        "turn numbers that stand for dates into dates: pd.to_datetime(..., format='%Y%m')"
        if not unit and counted[0] >= _BEYOND_YEARS
        else "step= says that they are meant"
    )
    return [
        f"time: {absent:,} periods are absent between those in {name!r} (after {few}); lags and "
        f"differences across them are missing; {remedy}"
    ]


def _common_divisor(numbers: Sequence[int]) -> int:
    return reduce(math.gcd, [number - numbers[0] for number in numbers])


def _is_usual(step: int, unit: str) -> bool:
    """Whether a step needs no word: one, of dates a month, a quarter or a year."""
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


def is_number(label: Any) -> bool:
    """Whether a label is a real number; NumPy's durations are none, though they count as such."""
    return isinstance(label, Real) and not isinstance(label, (bool, np.timedelta64))


def _check_step(step: Any) -> None:
    if step is None:
        return
    if isinstance(step, bool) or not isinstance(step, Integral) or step < 1:
        raise InputError(
            f"step: got {step!r}, expected a whole number of at least 1: the distance from one "
            "period to the next, in months for dates"
        )


def _as_numbers(labels: Sequence[Any]) -> tuple[list[int] | None, str]:
    """Return whole numbers that labels stand for, and the word for their unit; None: no such."""
    if all(map(is_number, labels)):
        whole = all(float(label).is_integer() for label in labels)
        return ([int(label) for label in labels] if whole else None), ""
    if all(isinstance(label, (datetime.date, pd.Period)) for label in labels):
        months = [12 * label.year + label.month - 1 for label in labels]
        return (months if len(set(months)) == len(months) else None), "months "
    return None, ""
