"""The border between pandas and panels: `from_frame` checks and converts, `to_frame` goes back.

`from_frame` is for users' data, with notes on slips; `from_sample` for the frames that a DGP draws,
of which there are many. Both convert in the same way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from mcsim._core.calls import with_remedies
from mcsim._core.records import Panel
from mcsim._data import (
    BEYOND_INT64,
    as_numbers,
    codes_of,
    faults_of_categories,
    faults_of_index,
    faults_of_names,
    faults_of_values,
    notes_on,
    notes_on_texts,
    places_of_labels,
    text_names,
    warn_of_alphabet,
    with_index_as_columns,
)
from mcsim._data.schema import BOOLEAN, Schema, infer_schema
from mcsim.errors import Fault, Option, did_you_mean, raise_all, warn


class _Options(NamedTuple):
    """The options of `from_frame`."""

    unit: str | None = None
    time: str | None = None
    columns: Sequence[str] | None = None
    categorical: Sequence[str] = ()
    missing: Literal["error", "keep"] = "error"
    step: int | None = None


@with_remedies()
def from_frame(
    frame: pd.DataFrame,
    unit: str | None = None,
    time: str | None = None,
    *,
    columns: Sequence[str] | None = None,
    categorical: Sequence[str] = (),
    missing: Literal["error", "keep"] = "error",
    step: int | None = None,
) -> tuple[Panel, Schema]:
    """Turn a frame into a panel of float64 columns and the schema that leads back.

    Units and periods come from the columns ``unit`` and ``time``, else from an index of two levels;
    with neither, every row is a unit of a cross-section. Rows may come in any order; a panel with
    gaps gets a mask. Names are text. Categories and periods that are intervals (`pandas.cut`) are
    labeled by their text, ``"(0, 10]"``.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per unit and period.
    unit, time : str, optional
        Names of the columns (or index levels) of units and periods.
    columns : sequence of str, optional
        The columns to take; default all others.
    categorical : sequence of str
        Columns to be taken as categories. Columns of pandas' categorical type always are.
    missing : {"error", "keep"}
        Missing values are refused, or stay as NaN, for trainers that complete single cells.
    step : int, optional
        How far apart one period and the next are: in units of the labels if they are numbers, in
        months if they are dates. Lags, differences and event times count in such steps, and find
        nothing where a period is absent. Default: the greatest common divisor of the distances,
        so that biennial waves are one period apart; of numbers that are not whole (2000.25) the
        smallest distance. Text labels, and dates of which several lie in a month (days, weeks), are
        counted one after another.

    Returns
    -------
    panel : Panel
        Columns of shape (unit, period), units and periods in ascending order of their labels (a
        cross-section without ``unit`` keeps its order).
    schema : Schema
        Kinds, bounds, mass points and labels, found automatically.

    Raises
    ------
    InputError
        For missing or duplicate index entries, infinite values, missing ones unless they are kept,
        strings that are not declared categorical, unless they read as numbers without leading
        zeros, complex numbers, whole numbers that float64 does not hold, dates, lists and other
        values that are no numbers, unknown columns: all reported together. For names that are no
        text, columns with names of several levels, an index of three levels, and one level that is
        named like a column of other values. For a step that is not positive, or of which distances
        between periods are no multiples.

    Warns
    -----
    UserWarning
        For a step that was found and is neither 1 nor a month, quarter or year, and for numbers
        without a common step. For what may be a slip: units and periods that look swapped, units
        with one period, periods that are absent between others; cross-sections that look like a
        panel, with a column for each period, or with columns of units and periods; columns that
        equal another, hold row numbers, codes of missing values (-99), or text that reads as
        numbers.

    Examples
    --------
    >>> import pandas as pd
    >>> panel, schema = from_frame(pd.DataFrame({"y": [1.5, 2.5], "d": [0, 1]}))
    >>> panel
    Panel(2 units x 1 period: y, d)
    >>> print(schema)
    y  continuous   [0, inf]
    d  binary       [0, 1]
    """
    options = _Options(unit, time, columns, categorical, missing, step)
    panel, schema = _converted(frame, options)
    texts = notes_on_texts(frame, [name for name in panel if name not in panel.nominal])
    for note in [*texts, *notes_on(panel, schema, step, unit)]:
        warn(note)
    return panel, schema


def from_sample(frame: pd.DataFrame) -> tuple[Panel, Schema]:
    """Turn the frame of a DGP's sample into a panel and a schema: no notes on slips, NaN stays.

    A frame with an index (unit, time) is a panel, any other a cross-section.
    """
    return _converted(frame, _Options(missing="keep"))


@with_remedies()
def to_frame(panel: Panel, schema: Schema | None = None) -> pd.DataFrame:
    """Turn a panel back into a frame with the user's names, labels, categories and integers.

    Parameters
    ----------
    panel : Panel
        The panel; cells outside its mask are left out.
    schema : Schema, optional
        Names and kinds; default: plain numbers, units counted from 0, periods by their places.

    Returns
    -------
    pandas.DataFrame
        One row per unit and period, index (unit, time); a cross-section has the index unit.

    Examples
    --------
    >>> to_frame(Panel({"y": [1.5, 2.0]}))["y"].tolist()
    [1.5, 2.0]
    """
    columns = {name: np.asarray(panel[name]) for name in panel}
    mask = None if panel.mask is None else np.asarray(panel.mask)
    return columns_to_frame(columns, mask, schema, panel.static_part.periods)


def columns_to_frame(
    columns: Mapping[str, np.ndarray],
    mask: np.ndarray | None,
    schema: Schema | None,
    places: Sequence[int] | None = None,
) -> pd.DataFrame:
    """Turn NumPy arrays (unit, period) into a frame as `to_frame` does, without touching JAX."""
    units, periods = next(iter(columns.values())).shape
    known: Sequence[Any] = range(units)
    labels: Sequence[Any] = places or range(periods)
    if schema is not None and len(schema.unit_labels) == units:
        known = schema.unit_labels
    if schema is not None and len(schema.period_labels) == periods:
        labels = schema.period_labels
    unit, time = (schema.unit, schema.time) if schema is not None else ("unit", "time")
    if periods == 1:
        index = pd.Index(known, name=unit)
    else:
        index = pd.MultiIndex.from_product([known, labels], names=[unit, time])
    cells = slice(None) if mask is None else mask.ravel()
    data = {n: _restore(values.ravel()[cells], n, schema) for n, values in columns.items()}
    return pd.DataFrame(data, index=index[cells])


_KEEP = (
    "drop or impute them first, or keep them: missing='keep', and a generator with missing='model'"
)


def _converted(frame: pd.DataFrame, options: _Options) -> tuple[Panel, Schema]:
    """Check a frame and convert it."""
    import jax.numpy as jnp  # a worker that only estimates has no JAX

    raise_all(_faults_of_options(frame, options))
    flat, unit, time = with_index_as_columns(frame, options.unit, options.time)
    index = [name for name in (unit, time) if name is not None]
    columns, categorical = options.columns, options.categorical
    wanted: list[Any] = (
        list(columns) if columns is not None else [c for c in flat if c not in index]
    )
    raise_all(faults_of_names(wanted, index))
    faults = faults_of_index(flat, unit, time)
    raise_all(faults + _faults_of_columns(flat, wanted, categorical, options.missing))
    data, levels = as_numbers(flat, wanted, categorical)
    units, unit_labels = codes_of(flat, unit)
    periods, period_labels = np.zeros(len(flat), int), (0,)
    if time is not None:
        periods, period_labels = codes_of(flat, time)
        warn_of_alphabet(flat[time], units, periods)
    places = places_of_labels(period_labels, time, options.step)
    shape = len(unit_labels), len(period_labels)
    arrays = {name: _scatter(values, units, periods, shape) for name, values in data.items()}
    observed = _scatter(np.ones(len(flat)), units, periods, shape)
    mask = None if observed.all() else jnp.asarray(observed == 1.0)
    schema = infer_schema(
        data,
        levels=levels,
        unit="unit" if unit is None else unit,
        time="time" if time is None else time,
        period_labels=period_labels,
        unit_labels=unit_labels,
    )
    nominal = {name: len(own) for name, own in levels.items() if own != BOOLEAN}
    panel = Panel(arrays, mask, periods=places, nominal=nominal)
    return panel, replace(schema, places=panel.static_part.periods or ())


def _faults_of_options(frame: Any, options: _Options) -> list[str]:
    """Return the first fault of the arguments themselves, before any column is looked up."""
    if not isinstance(frame, pd.DataFrame):
        return [f"frame: got {type(frame).__name__}, expected a pandas DataFrame"]
    if frame.empty:
        return ["frame: got no rows or no columns, expected at least one of each"]
    if options.missing not in ("error", "keep"):
        return [f"missing: got {options.missing!r}, expected 'error' or 'keep'"]
    for argument, names in (("columns", options.columns), ("categorical", options.categorical)):
        if isinstance(names, str):
            return [f"{argument}: got {names!r}, expected names: [{names!r}]"]
    return []


def _faults_of_columns(flat, wanted, categorical, missing) -> list[str]:
    unknown = [name for name in (*wanted, *categorical) if name not in flat]
    faults = [
        f"column {n!r} is not in the frame{did_you_mean(n, text_names(flat))}" for n in unknown
    ]
    for name in (name for name in wanted if name in flat):
        holes = flat[name].isna()
        if holes.all() or (holes.any() and missing == "error"):
            number = holes.sum()
            faults.append(
                Fault(f"column {name!r}: {number} missing values", [Option(_KEEP, "missing")])
            )
        else:
            faults_of = faults_of_categories if name in categorical else faults_of_values
            faults += faults_of(name, flat.loc[~holes, name])
    return faults


def _scatter(values, units, periods, shape) -> np.ndarray:
    array = np.zeros(shape)
    array[units, periods] = values
    return array


def _restore(values: np.ndarray, name: str, schema: Schema | None) -> Any:
    if schema is None or name not in schema.names:
        return values
    column, missing = schema[name], np.isnan(values)
    if column.kind == "categorical":
        codes = np.where(missing, -1, values).astype(np.int64).tolist()
        return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(list(column.levels)))
    if missing.any():
        return values  # which pandas' integers and bools cannot be
    if column.levels == BOOLEAN:
        return values.astype(bool)
    if column.kind in ("binary", "integer") and (np.abs(values) < BEYOND_INT64).all():
        return values.astype(np.int64)
    return values
