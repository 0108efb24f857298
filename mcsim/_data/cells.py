"""The cells of columns as float64: a cell that float64 does not hold is refused, never changed.

Texts may be numbers in another notation, or codes of missing values; the message then names the
options of `read_table` for them.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

from mcsim._data.schema import BOOLEAN
from mcsim.errors import Fault, Option

DOTS = (".", *(f".{letter}" for letter in "abcdefghijklmnopqrstuvwxyz_ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
"""The missing values of Stata and SAS in text files: ``.``, ``.a`` to ``.z``, ``._``."""

NOTATIONS = (
    {"thousands": ","},
    {"decimal": ","},
    {"decimal": ",", "thousands": "."},
    {"decimal": ",", "thousands": " "},
    {"thousands": " "},
    {"thousands": "'"},
)
"""Options of `read_table` for numbers in another notation; the likely first."""

LARGEST_WHOLE = 2.0**53  # up to it float64 holds every whole number
LONGEST = 60  # characters of a cell that a message quotes
FEW = 3  # texts among numbers that may stand for missing values
SIGNS = "%$€£¥ "
LEADING_ZERO = re.compile(r"\s*0\d+\s*", re.ASCII)
"""A code such as ``01``: as a number it would lose its zero."""


def notations_of(cells: Iterable[str]) -> list[dict[str, str]]:
    """Return the options of `read_table` under which all of these texts are numbers.

    Parameters
    ----------
    cells : iterable of str
        The cells of a column, of which some are no number in plain notation.

    Examples
    --------
    >>> notations_of(["3,5", "12"]), notations_of(["1,303.48", "7"])
    ([{'decimal': ','}], [{'thousands': ','}])
    >>> notations_of(["1,303"])  # which may be near 1 or 1,303
    [{'thousands': ','}, {'decimal': ','}]
    >>> notations_of(["north", "3,5"])
    []
    """
    texts = [cell.strip() for cell in cells]
    occur = {sign for text in texts for sign in text}
    likely = [options for options in NOTATIONS if occur.issuperset(options.values())]
    return [options for options in likely if _are_numbers(texts, **options)]


def _are_numbers(texts: list[str], decimal: str = ".", thousands: str = "") -> bool:
    point, between = re.escape(decimal), re.escape(thousands)
    whole = rf"(\d{{1,3}}({between}\d{{3}})+|\d+)" if thousands else r"\d+"
    number = re.compile(rf"[-+]?{whole}({point}\d*)?|[-+]?{point}\d+")
    return all(number.fullmatch(text) for text in texts)


def call_of_reader(*ways: Mapping[str, object]) -> Option:
    """Return a call of `read_table` with these options, as text.

    Examples
    --------
    >>> call_of_reader({"sep": ";", "decimal": ","})
    "mcsim.read_table(path, sep=';', decimal=',')"
    """
    calls = [", ".join(["path", *(f"{n}={value!r}" for n, value in way.items())]) for way in ways]
    words = " or ".join(f"mcsim.read_table({call})" for call in calls)
    return Option(words, "read_table", ways)


def quoted(cell: Any, text_of: Callable[[Any], str] = repr) -> str:
    """Return a cell of any type as a quotation for messages.

    Examples
    --------
    >>> quoted("n/a?"), quoted(10**5000)
    ("'n/a?'", 'a value of type int')
    """
    try:
        text = text_of(cell)
    except Exception:  # of an int beyond Python's limit, or a class of the user
        return f"a value of type {type(cell).__name__}"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def is_by_cell(series: pd.Series) -> bool:
    """Return whether a column may hold any type, so that each cell has to be checked."""
    return pd.api.types.is_object_dtype(series) or pd.api.types.is_string_dtype(series)


def unhashable_cell(series: pd.Series) -> Any:
    """Return the first cell that is no label, such as a list; None if there is none."""
    if not isinstance(series.dtype, pd.ArrowDtype) and not pd.api.types.is_object_dtype(series):
        return None
    return next((cell for cell in series if not _is_hashable(cell)), None)


def faults_of_categories(name: str, series: pd.Series) -> list[str]:
    """Return the faults of a column's values, none of them missing, as categories."""
    try:
        series.astype("category")
    except Exception as fault:  # of lists and other cells that pandas puts into no order
        first = quoted(series.iloc[0])
        return [
            Fault(
                f"column {name!r}: got values like {first}, which are no categories ({fault})",
                [f"make them text, frame[{name!r}].astype(str), or ", *_LEAVE_OUT],
            )
        ]
    return []


def faults_of_values(name: str, series: pd.Series) -> list[str]:
    """Return the faults of a column's values, none of them missing, as numbers."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        return []
    kinds = pd.api.types
    if is_by_cell(series):
        refused = ((cell, _refused(cell)) for cell in series)
        cell, got = next((pair for pair in refused if pair[1]), (None, ""))
    elif kinds.is_complex_dtype(series):
        cell, got = series.iloc[0], _refused(complex(series.iloc[0]))
    elif kinds.is_numeric_dtype(series) or kinds.is_bool_dtype(series):
        cell, got = None, _whole_number_changed(series)
    else:
        cell, got = series.iloc[0], f"dtype {series.dtype}, expected numbers"
    if got:
        return [Fault(f"column {name!r}: got {got}", _remedy(name, series, cell))]
    if zero := _first_text(series, LEADING_ZERO.fullmatch):
        return [
            Fault(
                f"column {name!r} is text with leading zeros like {quoted(zero)}",
                [*_declare(name), f", or make it a number: frame[{name!r}].astype(float)"],
            )
        ]
    infinite = int(np.isinf(numbers_of(series)).sum())
    return [f"column {name!r}: {infinite} infinite values"] if infinite else []


def notes_on_texts(frame: pd.DataFrame, names: Iterable[str]) -> list[str]:
    """Return notes on columns of numbers that are text in the frame."""
    texts = {name: _first_text(frame[name]) for name in names if name in frame}
    return [
        f"column {name!r} is text like {quoted(text)} and is read as numbers; if these are "
        f"categories, declare it with categorical=[{name!r}], else make it a number: "
        f"frame[{name!r}].astype(float)"
        for name, text in texts.items()
        if text
    ]


def numbers_of(series: pd.Series) -> np.ndarray:
    """Return a column of numbers as float64, NaN where cells are missing."""
    if is_by_cell(series):
        missing = series.isna()
        cells = zip(series, missing, strict=True)
        return np.array([np.nan if gone else float(cell) for cell, gone in cells])
    with np.errstate(over="ignore"):  # of longer floats
        return series.to_numpy(dtype=np.float64, na_value=np.nan)


def as_numbers(
    frame: pd.DataFrame, wanted: Sequence[str], categorical: Sequence[str]
) -> tuple[dict[str, np.ndarray], dict[str, tuple[Any, ...]]]:
    """Return columns as float64, and the levels of categories and booleans."""
    data, levels = {}, {}
    for name in wanted:
        series = frame[name]
        if name in categorical and not isinstance(series.dtype, pd.CategoricalDtype):
            series = series.astype("category")
        if isinstance(series.dtype, pd.CategoricalDtype):
            levels[name] = as_labels(series.cat.categories)
            codes = series.cat.codes.to_numpy(dtype=np.float64)
            data[name] = np.where(codes < 0, np.nan, codes)
        else:
            data[name] = numbers_of(series)
            if pd.api.types.is_bool_dtype(series):
                levels[name] = BOOLEAN
    return data, levels


def as_labels(index: pd.Index) -> tuple[Any, ...]:
    """Return labels as Python's; intervals, which no file holds, as their text: ``(0, 10]``.

    Examples
    --------
    >>> as_labels(pd.cut(pd.Series([1, 5]), [0, 3, 9]).cat.categories)
    ('(0, 3]', '(3, 9]')
    """
    labels = index.tolist()
    return tuple(str(label) if isinstance(label, pd.Interval) else label for label in labels)


def _first_text(series: pd.Series, like: Callable[[str], Any] = bool) -> str:
    """Return the first cell that is text and passes a test; "" if there is none."""
    if not is_by_cell(series):
        return ""
    return next((cell for cell in series if isinstance(cell, str) and like(cell)), "")


def _is_hashable(cell: Any) -> bool:
    try:
        hash(cell)
    except TypeError:
        return False
    return True


def _refused(cell: Any) -> str:
    """Return the kind of a cell that is no number that float64 holds; "" if it is one."""
    if isinstance(cell, (complex, np.complexfloating)):
        return f"the complex number {cell}, expected real ones"
    other = f"values like {quoted(cell)}, expected numbers"
    if getattr(cell, "ndim", 0) or isinstance(cell, (np.datetime64, np.timedelta64)):
        return other
    try:
        number = float(cell)
    except OverflowError:
        return "whole numbers too large for float64, expected numbers that float64 holds"
    except Exception:  # a cell may have any type
        return other
    if isinstance(cell, str) and not np.isfinite(number):
        return other
    whole = isinstance(cell, Integral) or (isinstance(cell, str) and _are_digits(cell))
    return _not_held(cell) if whole and int(cell) != int(number) else ""


def _are_digits(text: str) -> bool:
    return text.strip().lstrip("+-").isdigit()


def _not_held(cell: Any) -> str:
    return f"the whole number {cell}, expected numbers that float64 holds (all up to 2**53)"


def _whole_number_changed(series: pd.Series) -> str:
    """Return the first whole number that float64 does not hold, as messages say it; "" if none."""
    if pd.api.types.is_float_dtype(series):
        return ""
    numbers = numbers_of(series)
    far = np.abs(numbers) >= LARGEST_WHOLE
    pairs = zip(series[far], numbers[far], strict=True)
    whole = (pair for pair in pairs if isinstance(pair[0], Integral))
    return next((_not_held(cell) for cell, number in whole if int(cell) != int(number)), "")


_LEAVE_OUT = ("leave it out with ", Option("columns=[...]", "columns"))


def _declare(name: str) -> list[str]:
    return ["declare it with ", Option(f"categorical=[{name!r}]", "categorical", name)]


def _remedy(name: str, series: pd.Series, cell: Any) -> list[str]:
    if not _is_hashable(cell):
        return ["take its parts as columns of their own, or ", *_LEAVE_OUT]
    declare = [*_declare(name), " or ", *_LEAVE_OUT]
    if isinstance(cell, str) and not _are_digits(cell):
        way = _way_to_numbers(name, series)
        return [*way, "; otherwise ", *declare] if way else declare
    if pd.api.types.is_datetime64_any_dtype(series) or isinstance(series.dtype, pd.PeriodDtype):
        return [f"take a number from it, such as frame[{name!r}].dt.year, or ", *_LEAVE_OUT]
    return declare


def _way_to_numbers(name: str, series: pd.Series) -> list[str]:
    """Return a remedy that makes numbers of a column of texts; empty if there is none."""
    texts = list(dict.fromkeys(cell for cell in series if isinstance(cell, str)))
    if ways := notations_of(texts):
        return ["if these are numbers, read the file with ", call_of_reader(*ways)]
    plain = [text.strip(SIGNS) for text in texts]
    if not any(map(_refused, plain)) or notations_of(plain):
        return [f"take the signs off first, frame[{name!r}].str.strip({SIGNS!r})"]
    others = [text for text in texts if _refused(text)]
    if len(others) <= FEW and len(others) < len(texts):
        what = f"if {', '.join(map(quoted, others))} stands for a missing value"
        return [f"{what}, read the file with ", call_of_reader({"missing_values": others})]
    return []
