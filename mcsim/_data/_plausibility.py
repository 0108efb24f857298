"""What looks like a slip in data of the right form: said once, where a frame becomes a panel."""

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mcsim._core import Panel
from mcsim._data._files import are_row_numbers, is_nameless
from mcsim._periods import gaps_of, is_number
from mcsim._schema import Schema

LEAST_ROWS = 10  # of fewer, columns may be alike by chance, and units be short
LEAST_PERIODS = 3
MANY_PERIODS = 10  # times the units: these may be the periods
YEARS = range(1800, 2101)


def notes_on(panel: Panel, schema: Schema, step: int | None) -> list[str]:
    """Return a sentence on everything in a panel and its labels that may be a slip.

    Parameters
    ----------
    panel, schema : Panel, Schema
        What a frame gave.
    step : int, optional
        The step from one period to the next, if the user says it: gaps are meant then.
    """
    if panel.n_periods == 1:
        return _notes_on_columns(panel)
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
    """Whether the labels of units look like periods, and those of periods like units.

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
    """Say how many units are seen in one period only."""
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
    """Say which columns hold the values of another, or row numbers.

    Of constant ones, which are common in subsets of data, the fit of a generator warns.
    """
    rows = ... if panel.mask is None else np.asarray(panel.mask)
    columns = {name: np.asarray(values)[rows].ravel() for name, values in panel.items()}
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
    return notes


def _are_dates(labels: Sequence[Any]) -> bool:
    return all(isinstance(label, (datetime.date, pd.Period)) for label in labels)


def _are_years(labels: Sequence[Any]) -> bool:
    return all(is_number(label) and label in YEARS for label in labels)
