"""Any frame is converted and comes back, or is refused in a sentence: never an error of internals.

The generator draws what frames have been seen to hold, and what they might: names, indexes, dtypes
and cells, each alone and together.
"""

import contextlib
import datetime
import warnings
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from mcsim import from_frame, to_frame
from mcsim.errors import InputError


class Stubborn:
    """A cell that answers nothing."""

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self):
        raise RuntimeError("repr")

    def __float__(self):
        raise RuntimeError("float")

    def __eq__(self, other):
        raise RuntimeError("eq")


CELLS = [
    0, 1, -1, 2, 7, 2000, 2001, True, False, np.bool_(True), 0.5, -1e300, 1e300, np.inf, -np.inf,
    np.nan, None, pd.NA, pd.NaT, 2**53, 2**53 + 1, 2**63, 2**64 + 1, 10**400, -(10**400), 10**5000,
    1j, complex(np.nan, 1), np.complex64(2), Fraction(1, 3), Fraction(10**400, 3), Decimal("1.5"),
    Decimal("NaN"), Decimal("1e400"), np.longdouble("1e400"), np.float16(0.5), np.int8(3),
    "", " ", "a", "b", "1", "1.5", " 2 ", "nan", "inf", "1e999", "3,5", "1,303.48", "1.303,48",
    "1 303", "12%", "$5", ".", ".a", "..", "n/a?", "9007199254740993", "²", "1_000",
    "a\x00b", "\x1b[2J", "\ud800", "x" * 10_000, b"1.5", b"a", [], [1], [[1], [1, 2]], (1, 2), (),
    {}, {"a": 1}, {1}, frozenset({1}), np.array([1.0]), np.array(1.0), np.array([[1], [2]]),
    pd.Series([1]), pd.DataFrame({"a": [1]}), datetime.date(2000, 1, 1),
    datetime.datetime(2000, 1, 1), datetime.time(1), datetime.timedelta(1), pd.Timestamp("2000"),
    pd.Timestamp("2000", tz="UTC"), pd.Timedelta(1, "D"), pd.Period("2000", "Y"),
    pd.Period("2000-01", "M"), pd.Interval(0, 1), pd.Interval(0.5, 2.0), np.datetime64("2000"),
    np.datetime64("NaT"), np.timedelta64(1, "D"), slice(1), int, len, object(), Stubborn(), ...,
]  # fmt: skip

FINITE = st.floats(-1e6, 1e6)
WHOLE = st.integers(-3, 5)
DATES = st.dates(datetime.date(1990, 1, 1), datetime.date(2020, 1, 1))
TYPED = {
    "int64": WHOLE,
    "int8": WHOLE,
    "uint64": st.integers(0, 2**64 - 1),
    "float16": FINITE.map(lambda x: x / 1e5),
    "float64": st.floats(),
    "longdouble": st.floats(),
    "complex128": st.complex_numbers(),
    "bool": st.booleans(),
    "Int64": st.none() | st.integers(-(2**63), 2**63 - 1),
    "Float64": st.none() | FINITE,
    "boolean": st.none() | st.booleans(),
    "str": st.none() | st.text(max_size=3),
    "string": st.none() | st.sampled_from(["1", "2.5", "a"]),
    "category": st.none() | st.sampled_from(["a", "b", "c"]),
    "datetime64[ns]": DATES,
    "datetime64[s]": DATES,
    "datetime64[ns, UTC]": DATES.map(lambda day: pd.Timestamp(day, tz="UTC")),
    "timedelta64[ns]": WHOLE.map(lambda days: pd.Timedelta(days, "D")),
    "period[M]": DATES.map(lambda day: pd.Period(day, "M")),
    "interval[int64]": WHOLE.map(lambda low: pd.Interval(low, low + 1)),
    "Sparse[float64]": FINITE,
    "bool[pyarrow]": st.none() | st.booleans(),
    "int64[pyarrow]": st.none() | WHOLE,
    "double[pyarrow]": st.none() | FINITE,
    "string[pyarrow]": st.none() | st.text(max_size=2),
    "timestamp[ns][pyarrow]": DATES.map(pd.Timestamp),
    "date32[day][pyarrow]": DATES,
    pd.ArrowDtype(pa.decimal128(10, 2)): st.none() | WHOLE.map(Decimal),
    pd.ArrowDtype(pa.list_(pa.int64())): st.lists(WHOLE, max_size=2),
    pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string())): st.sampled_from(["a", "b"]),
}

TEXT_NAMES = ["y", "x", "d", "unit", "time", "firm", "year", "", " y ", "a\nb", "level_0", "index"]
OTHER_NAMES = [
    0,
    1,
    2.5,
    np.nan,
    None,
    True,
    ("a", 1),
    ("y",),
    pd.Timestamp("2000"),
    b"y",
    10**5000,
]
NAMES = st.sampled_from(TEXT_NAMES) | st.sampled_from(OTHER_NAMES)


@st.composite
def columns(draw: Any, n: int) -> pd.Series:
    """A column of n cells: of one dtype, of anything, of numbers but for a cell, or intervals."""
    kind = draw(st.sampled_from(["typed", "any", "but one", "cut"]))
    if kind == "typed":
        dtype = draw(st.sampled_from(list(TYPED)))
        return pd.Series(draw(st.lists(TYPED[dtype], min_size=n, max_size=n)), dtype=dtype)
    if kind == "cut":
        return pd.Series(pd.cut(draw(st.lists(WHOLE, min_size=n, max_size=n)), [-9, 0, 2, 9]))
    plain = draw(st.sampled_from([[0.5], [1, 2], ["1", "2.5"], ["a", "b"], [2000, 2001], CELLS]))
    cells = draw(st.lists(st.sampled_from(plain), min_size=n, max_size=n))
    return of_objects([*cells[:-1], draw(st.sampled_from(CELLS))] if kind == "but one" else cells)


def of_objects(cells: list[Any]) -> pd.Series:
    array = np.empty(len(cells), dtype=object)
    for place, cell in enumerate(cells):  # an assignment of all would take lists apart
        array[place] = cell
    return pd.Series(array, dtype=object)


def with_column(draw: Any, frame: pd.DataFrame) -> pd.DataFrame:
    place, column = draw(st.integers(0, frame.shape[1])), draw(columns(len(frame)))
    parts = [frame.iloc[:, :place], column.set_axis(frame.index), frame.iloc[:, place + 1 :]]
    return pd.concat(parts, axis=1).set_axis(
        [*frame.columns, "z"][: place + 1 + parts[2].shape[1]], axis=1
    )


def with_names(draw: Any, frame: pd.DataFrame) -> pd.DataFrame:
    names = list(frame.columns)
    names[draw(st.integers(0, len(names) - 1))] = draw(NAMES)
    return frame.set_axis(pd.Index(names, tupleize_cols=draw(st.booleans())), axis=1)


def with_names_of_levels(draw: Any, frame: pd.DataFrame) -> pd.DataFrame:
    levels = draw(st.integers(1, 2))
    return frame.set_axis(
        pd.MultiIndex.from_product([["a"], *[frame.columns] * levels])[: frame.shape[1]], axis=1
    )


def with_index(draw: Any, frame: pd.DataFrame) -> pd.DataFrame:
    some = st.lists(st.sampled_from(list(frame.columns)), min_size=1, max_size=3, unique_by=repr)
    return frame.set_index(draw(some), drop=draw(st.booleans()))


def with_level(draw: Any, frame: pd.DataFrame) -> pd.DataFrame:
    level = draw(columns(len(frame))).set_axis(frame.index)
    return frame.set_index(level, append=draw(st.booleans()))


def with_level_names(draw: Any, frame: pd.DataFrame) -> pd.DataFrame:
    n = frame.index.nlevels
    return frame.rename_axis(index=draw(st.lists(NAMES, min_size=n, max_size=n)))


def with_rows(draw: Any, frame: pd.DataFrame) -> pd.DataFrame:
    last = max(0, len(frame) - 1)
    return frame.iloc[draw(st.lists(st.integers(0, last), max_size=6))] if len(frame) else frame


CHANGES = [with_column, with_column, with_column, with_names, with_names_of_levels, with_index,
           with_index, with_level, with_level_names, with_rows]  # fmt: skip


@st.composite
def frames(draw: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A frame of firms and years with some changes, and options that may go with it."""
    firms, years = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    index = pd.MultiIndex.from_product([range(firms), range(2000, 2000 + years)])
    frame = pd.DataFrame({"firm": index.get_level_values(0), "year": index.get_level_values(1)})
    frame = frame.assign(y=np.arange(len(frame)) / 2, x=np.arange(len(frame)) % 2)
    for change in draw(st.lists(st.sampled_from(CHANGES), max_size=4)):
        with contextlib.suppress(Exception):  # pandas makes no such frame
            frame = change(draw, frame)
    known = [name for name in frame.columns if isinstance(name, str)]
    some = st.sampled_from([*known, *TEXT_NAMES[:2]])
    keys = st.sampled_from([("firm", "year"), ("firm", "year"), ("firm", None), (None, None)])
    unit, time = draw(keys | st.tuples(st.none() | some, st.none() | some))
    options = {
        "unit": unit,
        "time": time,
        "columns": draw(st.none() | st.lists(some, max_size=3)),
        "categorical": draw(st.just([]) | st.lists(some, max_size=3)),
        "missing": draw(st.sampled_from(["error", "keep"])),
        "step": draw(st.sampled_from([None, None, None, 1, 2])),
    }
    return frame, options


def outcome(frame: pd.DataFrame, options: dict[str, Any]) -> str:
    """Convert a frame and go back: "converted" if that is right, else "refused"."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # sentences of ours
        try:
            panel, schema = from_frame(frame, **options)
        except InputError:
            return "refused"
        back = to_frame(panel, schema)
    assert len(back) == len(frame)
    assert list(back.columns) == list(panel)
    assert str(schema)
    return "converted"


ANY = settings(deadline=None, suppress_health_check=list(HealthCheck), database=None)


@settings(ANY, max_examples=200)
@seed(17)
@given(frames())
def test_a_frame_is_converted_or_refused(drawn):
    outcome(*drawn)


@pytest.mark.slow
@settings(ANY, max_examples=2000)
@seed(18)
@given(frames())
def test_2000_frames_are_converted_or_refused(drawn):
    outcome(*drawn)


def test_units_wider_than_float64_are_refused_with_the_remedy():
    """Pandas makes an index of such labels that it cannot search."""
    frame = pd.DataFrame({"firm": np.array([0, 1], np.longdouble), "year": [1, 1], "y": [0.5, 1.0]})
    with pytest.raises(InputError, match=r"column 'firm': got labels of type .*astype\(float\)"):
        from_frame(frame, unit="firm", time="year")
