"""Samples of host DGPs: frames of one shape, stacked to panels, and their common schema."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from mcsim._core.records import Panel
from mcsim._data.frames import from_sample
from mcsim._data.schema import Column, Schema
from mcsim._host.host import kind_of
from mcsim.errors import ContractError, InputError, raise_all

Columns = dict[str, np.ndarray]


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
    _refuse(name, _faults_of_text(samples[0][0]))  # of one: all have the same columns
    converted = [_converted(name, frame) for frame, _ in samples]
    panels, schemas = [panel for panel, _ in converted], [schema for _, schema in converted]
    _check_alike(name, "columns", [tuple(panel) for panel in panels])
    shapes = [(p.n_units, p.n_periods) for p in panels]
    _check_alike(name, "units and periods", shapes, _OF_SELECTION)
    _check_alike(name, "distances between periods", [p.calendar.places for p in panels])
    _check_alike(name, "estimands", [tuple(truth) for _, truth in samples])
    _check_alike(name, "categories", [_levels(schema) for schema in schemas])
    columns = {c: np.stack([np.asarray(panel[c]) for panel in panels]) for c in panels[0]}
    truths = {e: np.array([float(truth[e]) for _, truth in samples]) for e in samples[0][1]}
    return columns, _masks(panels), truths, _schema([frame for frame, _ in samples], schemas)


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


def _converted(name: str, frame: pd.DataFrame) -> tuple[Panel, Schema]:
    """Turn a DGP's frame into a panel; faults have other remedies than in a user's data."""
    try:
        return from_sample(frame)
    except InputError as error:
        _refuse(name, _faults_of_gaps(frame))
        raise ContractError(f"dgp {name!r}: its frame: {error}") from None


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


def _masks(panels: Sequence[Panel]) -> np.ndarray | None:
    if all(panel.mask is None for panel in panels):
        return None
    full = np.ones((panels[0].n_units, panels[0].n_periods), dtype=bool)
    return np.stack([full if p.mask is None else np.asarray(p.mask) for p in panels])


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
