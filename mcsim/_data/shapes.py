"""Panels mistaken for cross-sections: wide frames, and long ones without unit and time."""

import re
from collections.abc import Collection, Mapping, Sequence
from shlex import quote

import numpy as np
import pandas as pd

YEARS = range(1800, 2101)
TIMES = {"date", "day", "month", "period", "quarter", "round", "t", "time", "wave", "week", "year"}
"""Names of columns of periods."""

ENDS_IN_NUMBER = re.compile(r"(|.*?[^\d])(\d+)", re.DOTALL)
LEAST_STEM = 2  # letters of a name before 1, 2, ...: x1 and x2 are two variables
LEAST_WAVES = 3  # numbers after a stem where the user names no column of units
TWINS = 5.0  # rows that share both values by chance: with none of so many, the pair is an index
FEW = 4  # names in a message
HEAD = 100  # rows that are looked at first

Columns = Mapping[str, np.ndarray]


def note_on_wide(names: Sequence[str], unit: str | None) -> list[str]:
    """Return a note on columns of a cross-section that look like periods of one variable.

    These are years of four digits, at equal distances, after one stem; or 1, 2, ... after each of
    two stems of some letters. ``re74, re75, re78`` and ``x1, x2`` are neither.

    Parameters
    ----------
    names : sequence of str
        The columns.
    unit : str, optional
        The column of units, if the user named one.

    Examples
    --------
    >>> note_on_wide(["y2000", "y2001"], "id")[0].partition(", but")[0]
    "columns ['y2000', 'y2001'] look like one variable in 2 periods"
    >>> note_on_wide(["re74", "re75", "re78", "x1", "x2", "z1", "z2"], "id")
    []
    """
    numbers = _numbers_by_stem(names)
    found = [stem for stem, own in numbers.items() if _are_spaced_years(own)]
    found = found or _stems_of_waves(numbers, 2 if unit is not None else LEAST_WAVES)
    if not found:
        return []
    periods = len(numbers[found[0]])
    own = [name for name in names if _stem_and_number(name)[0] == found[0]]
    shown = f"[{', '.join(map(repr, own[:FEW]))}{', ...' if len(own) > FEW else ''}]"
    return [
        f"columns {shown} look like one variable in {periods} periods, but each is taken as a "
        f"variable of its own; if so, make the frame long: {_call_to_long(found, unit)}"
    ]


def note_on_long(columns: Columns, nominal: Collection[str]) -> list[str]:
    """Return a note on columns of a cross-section that look like units and periods.

    Parameters
    ----------
    columns : mapping of str to array (row,)
        The columns, categories as their codes.
    nominal : collection of str
        The columns that are categories.
    """
    times = [n for n, values in columns.items() if n not in nominal and _is_like_time(n, values)]
    pair = _index_among(columns, times)
    if pair is None:
        return []
    unit, time = pair
    return [
        f"column {unit!r} repeats and {pair} is unique: is this a panel? unit={unit!r}, "
        f"time={time!r} (--unit {quote(unit)} --time {quote(time)})"
    ]


def remedy_for_cross_section(columns: Columns) -> str:
    """Return a remedy that makes a panel, if columns look like units and periods; else "".

    Parameters
    ----------
    columns : mapping of str to array (row,)
    """
    pair = index_of(columns)
    if pair is None:
        return ""
    unit, time = pair
    return (
        f"each row is a unit, since the frame has no (unit, time) index: a host DGP returns "
        f"frame.set_index([{unit!r}, {time!r}]), and data are read with from_frame(frame, "
        f"unit={unit!r}, time={time!r})"
    )


def index_of(columns: Columns) -> tuple[str, str] | None:
    """Return the columns of whole numbers that may be unit and period; None without any.

    Periods are the column that looks like them, else the one with fewer values.

    Parameters
    ----------
    columns : mapping of str to array (row,)

    Examples
    --------
    >>> index_of({"id": np.repeat(range(8), 3), "t": np.tile(range(3), 8), "y": np.arange(24.0)})
    ('id', 't')
    """
    likely = [name for name, values in columns.items() if _is_like_time(name, values)]
    rest = sorted(columns.keys() - likely, key=lambda name: (len(pd.unique(columns[name])), name))
    return _index_among(columns, [*likely, *rest])


def _stem_and_number(name: str) -> tuple[str, str]:
    found = ENDS_IN_NUMBER.fullmatch(name)
    return (found[1], found[2]) if found else (name, "")


def _numbers_by_stem(names: Sequence[str]) -> dict[str, list[int]]:
    """Return the numbers that names end in, by the text before them."""
    numbers: dict[str, list[int]] = {}
    for stem, number in map(_stem_and_number, names):
        if number.isascii() and 0 < len(number) <= 4:
            numbers.setdefault(stem, []).append(int(number))
    return {stem: sorted(own) for stem, own in numbers.items()}


def _are_spaced_years(numbers: Sequence[int]) -> bool:
    """Return whether numbers are years at equal distances; of two, a year apart."""
    steps = set(np.diff(numbers).tolist())
    years = all(number in YEARS for number in numbers)
    return years and len(steps) == 1 and (len(numbers) > 2 or steps == {1})


def _stems_of_waves(numbers: Mapping[str, list[int]], least: int) -> list[str]:
    """Return the stems, at least two, that the same numbers 1, 2, ... (or 0, 1, ...) follow."""
    waves: dict[tuple[int, ...], list[str]] = {}
    for stem, own in numbers.items():
        counted = own[0] in (0, 1) and set(np.diff(own).tolist()) == {1}
        if counted and len(own) >= least and sum(map(str.isalpha, stem)) >= LEAST_STEM:
            waves.setdefault(tuple(own), []).append(stem)
    most = max(waves.values(), key=len, default=[])
    return most if len(most) > 1 else []


def _call_to_long(stems: list[str], unit: str | None) -> str:
    if stems == [""]:
        return "frame.melt(id_vars=[...], var_name='period')"
    if unit is None:
        return f"pd.wide_to_long(frame.reset_index(), {stems}, i='index', j='period')"
    return f"pd.wide_to_long(frame, {stems}, i={unit!r}, j='period')"


def _is_like_time(name: str, values: np.ndarray) -> bool:
    """Return whether a column holds years, or has a name of periods and consecutive integers."""
    if not _is_whole(values):
        return False
    first, last = values.min(), values.max()
    if name.lower() in TIMES and len(pd.unique(values)) == last - first + 1:
        return bool(first < last)
    return bool(first < last and first in YEARS and last in YEARS)


def _index_among(columns: Columns, times: Sequence[str]) -> tuple[str, str] | None:
    """Return the first pair (unit, time) that is unique, though its values repeat."""
    whole = {name: values for name, values in columns.items() if times and _is_whole(values)}
    codes = {name: pd.factorize(values)[0] for name, values in whole.items()}
    pairs = ((unit, time) for time in times for unit in columns if unit != time)
    likely = ((unit, time) for unit, time in pairs if unit in codes and time in codes)
    return next(((u, t) for u, t in likely if _is_index(codes[u], codes[t])), None)


def _is_index(unit: np.ndarray, time: np.ndarray) -> bool:
    """Whether no two rows share both codes, where chance would let some; most units repeat."""
    n, per_unit, per_time = len(unit), np.bincount(unit), np.bincount(time)
    shares = ((per_unit / n) ** 2).sum() * ((per_time / n) ** 2).sum()
    if np.median(per_unit) < 2 or np.median(per_time) < 2 or n * (n - 1) / 2 * shares < TWINS:
        return False
    return len(pd.unique(unit * np.int64(len(per_time)) + time)) == n


def _is_whole(values: np.ndarray) -> bool:
    """Return whether all values are whole numbers; the first rows decide for most that are not."""
    with np.errstate(invalid="ignore"):  # infinite ones of a DGP
        first = (values[:HEAD] % 1 == 0).all()
        return bool(values.size and first and (values % 1 == 0).all())
