"""Likely slips in data of the right form: a note each, where a frame becomes a panel."""

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mcsim._core.checks import is_number
from mcsim._core.records import Panel
from mcsim._data.cells import call_of_reader
from mcsim._data.files import are_row_numbers, is_nameless
from mcsim._data.index import gaps_of
from mcsim._data.schema import Schema
from mcsim._data.shapes import YEARS, note_on_long, note_on_wide

LEAST_ROWS = 10  # of fewer, columns may be alike by chance, and units be short
LEAST_PERIODS = 3
MANY_PERIODS = 10  # times the units: these may be the periods
NINES = [10**digits - 1 for digits in range(2, 7)]
CODES = (-9, *(-nines for nines in NINES), *NINES)
"""Numbers that stand for missing values in many files: -9, -99, ..., 99, 999, ..., 999999."""
FAR = 3  # ranges of the other values, beyond which a code is no value
LEAST_CODES = 2


def notes_on(panel: Panel, schema: Schema, step: int | None, unit: str | None) -> list[str]:
    """Return a sentence on every likely slip in a panel and its labels.

    Parameters
    ----------
    panel, schema : Panel, Schema
        The results of `from_frame`.
    step : int, optional
        The step from one period to the next, if the user gives it: gaps are then intended.
    unit : str, optional
        The column of units, if the user names it.
    """
    if panel.n_periods == 1:
        columns = _columns_of(panel)
        shape = note_on_wide(list(columns), unit)
        if unit is None:
            shape += note_on_long(columns, panel.nominal)
        return [*shape, *_notes_on_columns(panel)]
    if is_swapped(schema.unit_labels, schema.period_labels):
        return [
            f"unit and time: {panel.n_units} units in {schema.unit!r} and {panel.n_periods} "
            f"periods in {schema.time!r} look swapped; is it unit={schema.time!r}, "
            f"time={schema.unit!r}?"
        ]
    places = panel.calendar.places if step is None else ()
    gaps = gaps_of(schema.period_labels, schema.time, places)
    return [*_notes_on_units(panel, schema.unit), *gaps, *_notes_on_columns(panel)]


def is_swapped(units: Sequence[Any], periods: Sequence[Any]) -> bool:
    """Return whether labels of units look like periods, and labels of periods like units.

    Examples
    --------
    >>> is_swapped(range(1980, 1988), range(13, 558))
    True
    >>> is_swapped(["Austria", "Belgium"], range(1961, 2021))
    False
    """
    if len(units) < 2 or _are_dates(periods):
        return False
    if _are_dates(units):
        return True
    years = _are_years(units) and not _are_years(periods)
    if all(map(is_number, periods)) and not all(map(is_number, units)):
        return False  # names of units, numbers of periods
    return len(periods) > (1 if years else MANY_PERIODS) * len(units)


def _notes_on_units(panel: Panel, unit: str) -> list[str]:
    """Return a note on units that are seen in one period only."""
    if panel.mask is None or panel.n_periods < LEAST_PERIODS or panel.n_units < LEAST_ROWS:
        return []
    single = int((np.asarray(panel.mask).sum(axis=1) == 1).sum())
    if not single:
        return []
    have = "has" if single == 1 else "have"
    return [
        f"unit: {single} of {panel.n_units} units in {unit!r} {have} one period only, from which "
        "nothing is learned within units"
    ]


def _notes_on_columns(panel: Panel) -> list[str]:
    """Return notes on columns with the values of another, row numbers, or codes of missing values.

    Constant columns are common in subsets of data; the fit of a generator warns of them.
    """
    columns = _columns_of(panel)
    if next(iter(columns.values())).size < LEAST_ROWS:
        return []
    notes, known = [], {}
    for name, values in columns.items():
        same = known.setdefault(values.tobytes(), name)
        if same != name and np.nanmin(values) < np.nanmax(values):
            notes.append(f"column {name!r} equals column {same!r} in every row; leave one out")
        elif is_nameless(name) and are_row_numbers(values):
            notes.append(
                f"column {name!r} holds row numbers, which pandas writes without a name; leave it "
                "out: mcsim.read_table(path), or pd.read_csv(path, index_col=0)"
            )
        elif name not in panel.nominal:
            notes += _notes_on_codes(name, values)
    return notes


def _columns_of(panel: Panel) -> dict[str, np.ndarray]:
    """Return the observed cells of each column."""
    rows = ... if panel.mask is None else np.asarray(panel.mask)
    return {name: np.asarray(values)[rows].ravel() for name, values in panel.items()}


def _notes_on_codes(name: str, values: np.ndarray) -> list[str]:
    """Return notes on values, far from all others, that may stand for missing ones.

    A negative one is far from others that are never negative.
    """
    coded = np.isin(values, CODES)
    rest = values[~coded & np.isfinite(values)]
    if not coded.any() or not rest.size or rest.min() == rest.max():
        return []
    reach, notes = FAR * (rest.max() - rest.min()), []
    for code, count in zip(*np.unique(values[coded], return_counts=True), strict=True):
        far = not rest.min() - reach <= code <= rest.max() + reach
        if count >= LEAST_CODES and (far or code < 0 <= rest.min()):
            text = f"{code:.0f}"
            notes.append(
                f"column {name!r} holds {text} in {count} rows, far from all else: a missing "
                f"value? read it with {call_of_reader({'missing_values': [text]})} "
                f"(--missing-values={text}), or frame.replace({text}, float('nan'))"
            )
    return notes


def _are_dates(labels: Sequence[Any]) -> bool:
    return all(isinstance(label, (datetime.date, pd.Period)) for label in labels)


def _are_years(labels: Sequence[Any]) -> bool:
    return all(is_number(label) and label in YEARS for label in labels)
