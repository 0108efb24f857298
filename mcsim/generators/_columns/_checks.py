"""What is checked before a cross-section is learned: all faults in one message."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mcsim._core import Panel
from mcsim._schema import Column, Schema, schema_of
from mcsim._warnings import warn
from mcsim.errors import Fault, InputError, Option, did_you_mean, raise_all

MIN_ROWS = 20
MIN_ARM = 2


def faults_of_order(order: Any) -> list[str]:
    """Check the option that says in which order columns are drawn."""
    if order is None:
        return []
    if isinstance(order, tuple) and all(isinstance(name, str) for name in order):
        return []
    return [f"order: got {order!r}, expected a tuple of column names, or None"]


def check_training(
    panel: Panel, given: Sequence[str], schema: Schema | None, order: tuple[str, ...] | None
) -> tuple[Schema, tuple[str, ...]]:
    """Return the schema of the panel's columns and the given ones, or raise all faults."""
    if not isinstance(panel, Panel):
        raise InputError(
            f"panel: got {type(panel).__name__}, expected a Panel; use mcsim.from_frame"
        )
    if isinstance(given, str):
        raise InputError(f"given: got the string {given!r}, expected names: given=[{given!r}]")
    given = tuple(given)
    faults = _faults_of_shape(panel, given, order)
    finite = {name: bool(np.isfinite(np.asarray(panel[name])).all()) for name in panel}
    faults += [
        Fault(
            f"column {name!r}: {int((~np.isfinite(np.asarray(panel[name]))).sum())} values are not "
            "finite",
            [Option("drop or impute them first", "missing")],
        )
        for name in panel
        if not finite[name]
    ]
    raise_all(faults)
    schema = replace(schema_of(panel, schema), unit_labels=())
    for name in panel:
        faults += faults_of_column(schema[name], np.asarray(panel[name]))
    raise_all(faults + _faults_of_arms(panel, given, schema))
    warn_of_constants({name: np.asarray(panel[name]) for name in panel}, given)
    return schema, given


def _faults_of_shape(panel: Panel, given: tuple[str, ...], order: Any) -> list[str]:
    faults = [
        f"given: column {name!r} is not in the panel{did_you_mean(name, panel)}"
        for name in given
        if name not in panel
    ]
    faults += [f"given: column {n!r} is named twice" for n in given if given.count(n) > 1][:1]
    drawn = [name for name in panel if name not in given]
    if not drawn:
        faults.append("given: all columns of the panel, expected at least one left to draw")
    if order is not None and sorted(order) != sorted(drawn):
        faults.append(f"order: got {list(order)}, expected each column to be drawn once: {drawn}")
    if panel.n_periods != 1:
        faults.append(
            f"panel: got {panel.n_periods} periods; this generator learns cross-sections, of one "
            "period, only: fit on one period"
        )
    if panel.n_units < MIN_ROWS:
        faults.append(
            f"panel: got {panel.n_units} rows, expected at least {MIN_ROWS} to learn from"
        )
    if panel.mask is not None and not bool(np.asarray(panel.mask).all()):
        faults.append("panel: some cells are masked; keep complete units only")
    return faults


def faults_of_column(column: Column, values: np.ndarray) -> list[str]:
    """Check a column's values against what the schema says."""
    faults = []
    outside = int(((values < column.lower) | (values > column.upper)).sum())
    if outside:
        bounds = f"[{column.lower:g}, {column.upper:g}]"
        faults.append(
            f"column {column.name!r}: {outside} values lie outside the schema's bounds {bounds}; "
            "correct the data or widen the bounds with schema.replace"
        )
    if column.kind != "continuous" and (values != np.rint(values)).any():
        faults.append(
            f"column {column.name!r}: the schema says {column.kind}, but some values are no "
            "integers; change its kind with schema.replace"
        )
    elif column.kind == "binary" and not np.isin(values, (0.0, 1.0)).all():
        faults.append(
            f"column {column.name!r}: the schema says binary, but some values are not 0 or 1; "
            "change its kind with schema.replace"
        )
    return faults


def warn_of_constants(columns: Mapping[str, np.ndarray], given: Sequence[str]) -> None:
    """Warn of columns to draw that have one value; cells with NaN do not count."""
    for name, values in columns.items():
        if name not in given and len(np.unique(values[np.isfinite(values)])) == 1:
            warn(f"column {name!r} is constant: every generated unit will have the same value")


def _faults_of_arms(panel: Panel, given: tuple[str, ...], schema: Schema) -> list[str]:
    faults = []
    for name in given:
        values, counts = np.unique(np.asarray(panel[name]), return_counts=True)
        if len(values) == 1:
            faults.append(
                f"given column {name!r}: all rows hold {values[0]:g}, an arm is empty; drop the "
                "column from given"
            )
        elif schema[name].kind == "binary" and counts.min() < MIN_ARM:
            rare = values[counts.argmin()]
            faults.append(
                f"given column {name!r}: {counts.min()} row holds {rare:g}, expected at least "
                f"{MIN_ARM} in every arm"
            )
    return faults
