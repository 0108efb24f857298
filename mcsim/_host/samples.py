"""Samples of host DGPs: frames of one shape, stacked to panels, and their common schema."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mcsim._data.frames import from_sample
from mcsim._data.schema import Column, Schema
from mcsim._host.host import kind_of
from mcsim.errors import ContractError, InputError, raise_all

Columns = dict[str, np.ndarray]

_EXACT = 2.0**53  # whole numbers below which float64 holds every one


def stack_samples(
    name: str, samples: Sequence[Any]
) -> tuple[Columns, np.ndarray | None, Columns, Schema]:
    """Stack samples of a host DGP.

    Parameters
    ----------
    name : str
        The DGP's name, for messages.
    samples : sequence of (frame, truth)
        One per replication.

    Returns
    -------
    columns : dict of str to array (rep, unit, period)
    mask : array of bool (rep, unit, period), optional
    truths : dict of estimand to array (rep,)
    schema : Schema
        Names, labels and categories of the DGP's frames.

    Raises
    ------
    ContractError
        If something else was returned, or the samples differ in shape, columns or categories.
    """
    for sample in samples:
        _check_sample(name, sample)
    frames = [frame for frame, _ in samples]
    _refuse(name, _faults_of_text(frames[0]))  # of one: all have the same columns
    drawn = _all_converted(name, frames)
    _check_alike(name, "columns", [tuple(each.columns) for each in drawn])
    shapes = [next(iter(each.columns.values())).shape for each in drawn]
    _check_alike(name, "units and periods", shapes, _OF_SELECTION)
    _check_alike(name, "distances between periods", [each.places for each in drawn])
    _check_alike(name, "estimands", [tuple(truth) for _, truth in samples])
    own = [frame for frame, each in zip(frames, drawn, strict=True) if not each.is_alike]
    schemas = [each.schema for each in drawn if not each.is_alike]
    _check_alike(name, "categories", [_levels(schema) for schema in schemas])
    columns = {c: np.stack([each.columns[c] for each in drawn]) for c in drawn[0].columns}
    truths = {e: np.array([float(truth[e]) for _, truth in samples]) for e in samples[0][1]}
    return columns, _masks(drawn), truths, _schema(own, schemas)


class _Drawn(NamedTuple):
    """A frame as arrays (unit, period).

    Attributes
    ----------
    columns : dict of str to array (unit, period)
    mask : array of bool (unit, period), optional
    places : tuple of int
        Of the periods on their calendar.
    schema : Schema
        Of this frame; of the first one if it is alike.
    is_alike : bool
        Whether it has the index, the columns and the types of the first frame.
    """

    columns: Columns
    mask: np.ndarray | None
    places: Any
    schema: Schema
    is_alike: bool = False


def _all_converted(name: str, frames: Sequence[pd.DataFrame]) -> list[_Drawn]:
    """Turn frames into arrays: the first in full, frames like it by their numbers alone."""
    first = _converted(name, frames[0])
    plain = all(map(_is_plain, frames[0].dtypes)) and list(frames[0]) == list(first.columns)
    if len(frames) == 1 or not plain:
        return [first, *(_converted(name, frame) for frame in frames[1:])]
    rows = _rows_of_cells(frames[0])
    drawn = [first]
    for frame in frames[1:]:
        numbers = _numbers_if_alike(frame, frames[0])
        if numbers is None:
            drawn.append(_converted(name, frame))
            continue
        cells = np.where((rows < 0)[..., None], 0.0, numbers[rows])
        columns = {column: cells[..., k] for k, column in enumerate(first.columns)}
        drawn.append(first._replace(columns=columns, is_alike=True))
    return drawn


def _is_plain(kind: Any) -> bool:
    """Whether a column holds numbers that float64 holds too, but for large integers."""
    return isinstance(kind, np.dtype) and kind.kind in "fiub" and kind.itemsize <= 8


def _rows_of_cells(frame: pd.DataFrame) -> np.ndarray:
    """Return in which row of a frame each unit and period (unit, period) stands; -1 for none."""
    positions = pd.DataFrame({"__row__": np.arange(1.0, len(frame) + 1.0)}, index=frame.index)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the frame itself has warned
        panel, _ = from_sample(positions)
    return np.asarray(panel["__row__"]).astype(int) - 1


def _numbers_if_alike(frame: pd.DataFrame, first: pd.DataFrame) -> np.ndarray | None:
    """Return the numbers (row, column) of a frame that is like another and has no faults.

    None sends a frame through all checks: one of another index, other columns or types, with a
    number that is infinite or not the same as float64, or with a column without any.
    """
    same = frame.columns.equals(first.columns) and frame.index.identical(first.index)
    if not same or not frame.dtypes.equals(first.dtypes):
        return None
    numbers = frame.to_numpy(dtype=np.float64)
    missing = np.isnan(numbers)
    largest = np.abs(numbers).max(where=~missing, initial=0.0)
    return None if largest >= _EXACT or missing.all(axis=0).any() else numbers


def _check_sample(name: str, sample: Any) -> None:
    pair = isinstance(sample, tuple) and len(sample) == 2
    if not pair or not isinstance(sample[0], pd.DataFrame) or not isinstance(sample[1], Mapping):
        raise ContractError(
            f"dgp {name!r}: returned {kind_of(sample)}, expected (frame, truth), such as "
            "(frame, {'att': 1.0})"
        )
    wrong = {str(e): value for e, value in sample[1].items() if not isinstance(value, Real)}
    if wrong:
        came = ", ".join(map(repr, wrong.values()))
        raise ContractError(
            f"dgp {name!r}: the truth of {', '.join(wrong)} is not a number: got {came}"
        )


def _refuse(name: str, faults: Sequence[str]) -> None:
    raise_all([f"dgp {name!r}: {fault}" for fault in faults], ContractError)


def _converted(name: str, frame: pd.DataFrame) -> _Drawn:
    """Turn a DGP's frame into arrays; faults have other remedies than in a user's data."""
    try:
        panel, schema = from_sample(frame)
    except InputError as error:
        _refuse(name, _faults_of_gaps(frame))
        raise ContractError(f"dgp {name!r}: its frame: {error}") from None
    columns = {column: np.asarray(panel[column]) for column in panel}
    mask = None if panel.mask is None else np.asarray(panel.mask)
    return _Drawn(columns, mask, panel.calendar.places, schema)


def _faults_of_text(frame: pd.DataFrame) -> list[str]:
    """Return a fault for columns of text in a drawn frame."""
    texts = ((name, _text_in(frame[name])) for name in frame.select_dtypes(["object", "string"]))
    return [
        f"its column {name!r} holds text like {text!r}, expected numbers; make it a category, "
        f"frame[{name!r}].astype('category'), or leave it out"
        for name, text in texts
        if text is not None
    ]


def _text_in(column: Any) -> str | None:
    if not isinstance(column, pd.Series):  # of columns of one name, which are refused
        return None
    return next((cell for cell in column if isinstance(cell, str)), None)


def _faults_of_gaps(frame: pd.DataFrame) -> list[str]:
    """Return a fault for missing values in a drawn frame."""
    return [
        f"its column {name!r} has no value (NaN in every row), expected numbers"
        for name in frame
        if isinstance(frame[name], pd.Series) and len(frame) and frame[name].isna().all()
    ]


_OF_SELECTION = (
    "; keep all rows and make what is not observed NaN (frame.loc[left_out, 'y'] = np.nan), or "
    "draw until there are enough"
)


def _check_alike(name: str, what: str, found: Sequence[Any], remedy: str = "") -> None:
    for other in found[1:]:
        if other != found[0]:
            raise ContractError(
                f"dgp {name!r}: its samples differ in {what}: {found[0]} and {other}; the samples "
                f"of a cell have one shape{remedy}"
            )


def _levels(schema: Schema) -> dict[str, tuple]:
    return {column.name: column.levels for column in schema.columns if column.levels}


def _masks(drawn: Sequence[_Drawn]) -> np.ndarray | None:
    if all(each.mask is None for each in drawn):
        return None
    full = np.ones(next(iter(drawn[0].columns.values())).shape, dtype=bool)
    return np.stack([full if each.mask is None else each.mask for each in drawn])


def _schema(frames: Sequence[pd.DataFrame], schemas: Sequence[Schema]) -> Schema:
    """Return the common schema: integers where every frame has them, labels where all agree."""
    columns = tuple(_column(column, frames) for column in schemas[0].columns)
    same = all(schema.unit_labels == schemas[0].unit_labels for schema in schemas)
    labels = schemas[0].unit_labels if same else ()
    return replace(schemas[0], columns=columns, unit_labels=labels)


def _column(column: Column, frames: Sequence[pd.DataFrame]) -> Column:
    if column.kind == "categorical":
        return column
    whole = all(column.name in frame and frame[column.name].dtype.kind in "iub" for frame in frames)
    return Column(column.name, "integer" if whole else "continuous")
