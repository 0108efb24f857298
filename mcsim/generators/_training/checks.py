"""Check a panel before it is learned: all faults of the data in one message."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mcsim._core.records import Panel, require_panel
from mcsim._data.schema import Column, Schema, schema_of
from mcsim.errors import Fault, InputError, Option, did_you_mean, raise_all, warn
from mcsim.generators._scores.vectors import Layout

MIN_UNITS = 8
RARE = 0.05  # share of units below which changes of a column are rare, and warned of
MIN_GROUPS = 4
MIN_LEVEL = 5  # units at each level of the given columns
MANY_LEVELS = 16
LONG = 8  # most coordinates per unit, as a multiple of the units


def check_panel(
    trainer: Any,
    panel: Panel,
    given: Sequence[str],
    schema: Schema | None,
    *,
    whole_paths: bool,
    completes: bool,
) -> tuple[Schema, tuple[str, ...], dict[str, np.ndarray]]:
    """Return schema, given columns and columns (unit, period; NaN where missing), or raise."""
    require_panel(panel)
    if isinstance(given, str):
        raise InputError(f"given: got the string {given!r}, expected names: given=[{given!r}]")
    if schema is not None and not isinstance(schema, Schema):
        raise InputError(
            f"schema: got {type(schema).__name__}, expected a Schema, as mcsim.from_frame and "
            "mcsim.infer_schema give, or None"
        )
    given, way = tuple(given), _way(trainer, completes)
    columns = {name: np.asarray(values, np.float64) for name, values in panel.items()}
    if panel.mask is not None:
        observed = np.asarray(panel.mask)
        columns = {name: np.where(observed, values, np.nan) for name, values in columns.items()}
    raise_all(
        [
            *_faults_of_size(panel),
            *_faults_of_rows(trainer, panel, schema, way),
            *_faults_of_cells(trainer, columns, panel, way),
            *_faults_of_given(columns, given),
            *_faults_of_cluster(trainer.cluster, columns, given),
        ]
    )
    schema = schema_of(panel.with_columns(columns), schema)
    raise_all([f for n in columns for f in faults_of_column(schema[n], _finite(columns[n]))])
    if trainer.cluster is not None:
        free = {"kind": "integer", "lower": 0.0, "upper": np.inf, "mass_points": (), "levels": ()}
        schema = schema.replace(**{trainer.cluster: free})
    warn_of_constants(columns, given)
    if whole_paths:
        _warn_of_few_units(columns)
    if completes or not whole_paths:  # a duplicated unit keeps its changes
        _warn_of_changes(columns, rare=completes)
    return schema, given, columns


def faults_of_column(column: Column, values: np.ndarray) -> list[str]:
    """Check a column's values against the schema."""
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


def require_paths(layout: Layout) -> None:
    """Raise if all columns are constant within every unit."""
    if not layout.time_varying:
        raise InputError(
            "panel: no column varies over periods within a unit, so there are no paths to learn; "
            "fit one period as a cross-section, or GaussianCopula"
        )


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


def _faults_of_size(panel: Panel) -> list[str]:
    if panel.n_units >= MIN_UNITS:
        return []
    unit = "unit" if panel.n_units == 1 else "units"
    return [
        f"panel: got {panel.n_units} {unit}, expected at least {MIN_UNITS} to learn from; a single "
        "series shows no distribution of units"
    ]


def _faults_of_rows(
    trainer: Any, panel: Panel, schema: Schema | None, way: Sequence[str]
) -> list[str]:
    """Return a fault that names the first missing row."""
    if panel.mask is None or trainer.missing == "model" or (here := np.asarray(panel.mask)).all():
        return []
    unit, period = (int(place) for place in np.argwhere(~here)[0])
    if schema is not None:
        unit = dict(enumerate(schema.unit_labels)).get(unit, unit)
        period = dict(enumerate(schema.period_labels)).get(period, period)
    return [
        Fault(
            f"panel: {(~here).sum()} of {here.size} rows of units and periods are missing, the "
            f"first is unit {unit}, period {period}",
            way,
        )
    ]


def _way(trainer: Any, completes: bool) -> list[str]:
    """Return the remedy for missing cells."""
    way = "complete them" if completes else "copy them, gaps and all, under a mask"
    modeled = Option(f"{type(trainer).__name__}(missing='model')", "model_missing")
    return [f"drop those units, or let the generator {way}: ", modeled]


def _faults_of_cells(
    trainer: Any, columns: dict[str, np.ndarray], panel: Panel, way: Sequence[str]
) -> list[str]:
    faults = []
    here = True if panel.mask is None else np.asarray(panel.mask)
    for name, values in columns.items():
        infinite, missing = int(np.isinf(values).sum()), np.isnan(values)
        cells = int((missing & here).sum())
        if infinite:
            faults.append(f"column {name!r}: {infinite} values are infinite; correct the data")
        if cells and trainer.missing == "error":
            faults.append(Fault(f"column {name!r}: {cells} cells are missing", way))
        if missing.any() and trainer.missing == "model":
            faults += _faults_of_gaps(name, missing)
    return faults


def _faults_of_gaps(name: str, missing: np.ndarray) -> list[str]:
    units, periods = missing.all(axis=1).sum(), np.flatnonzero(missing.all(axis=0))
    faults = [f"column {name!r}: {units} units have no cell at all; drop them"] if units else []
    if periods.size:
        which = ", ".join(map(str, periods[:5]))
        faults.append(f"column {name!r}: no unit has a cell in the periods {which}; drop them")
    return faults


def _faults_of_given(columns: dict[str, np.ndarray], given: tuple[str, ...]) -> list[str]:
    faults = [
        f"given: column {name!r} is not in the panel{did_you_mean(name, columns)}"
        for name in given
        if name not in columns
    ]
    if faults or not given:
        return faults
    if next(iter(columns.values())).shape[1] > 1:
        return [
            f"given: got {list(given)}, but units of a panel are drawn whole; fit each group of "
            "units by itself, or give one period"
        ]
    if len(given) == len(columns):
        return ["given: all columns of the panel, expected at least one left to draw"]
    joint = np.stack([columns[name][:, 0] for name in given], axis=1)
    return _faults_of_levels(given, np.unique(joint, axis=0, return_counts=True)[1])


def _faults_of_levels(given: tuple[str, ...], counts: np.ndarray) -> list[str]:
    if len(counts) > MANY_LEVELS:
        return [
            f"given: {list(given)} has {len(counts)} joint values, this generator learns each of "
            f"at most {MANY_LEVELS} apart; give fewer columns, or use WGAN or Autoregressive"
        ]
    if len(counts) == 1:
        return [f"given: {list(given)} is constant, a stratum is empty; drop it from given"]
    if counts.min() < MIN_LEVEL:
        return [
            f"given: a joint value of {list(given)} has {counts.min()} rows, expected at least "
            f"{MIN_LEVEL} to learn from"
        ]
    return []


def _faults_of_cluster(
    name: str | None, columns: dict[str, np.ndarray], given: tuple[str, ...]
) -> list[str]:
    if name is None:
        return []
    if name not in columns:
        return [f"cluster: column {name!r} is not in the panel{did_you_mean(name, columns)}"]
    if name in given or len(columns) == 1:
        return [f"cluster: {name!r} must be one of several columns, and not among given"]
    values, faults = columns[name], []
    groups = len(np.unique(values))
    if np.isnan(values).any():
        unknown = np.isnan(values).any(axis=1).sum()
        faults.append(f"cluster: column {name!r} is missing in {unknown} of {len(values)} units; "
                      "give them their group, or leave them out")  # fmt: skip
    elif (values != values[:, :1]).any():
        faults.append(f"cluster: column {name!r} changes within a unit; each unit has one group")
    elif groups < MIN_GROUPS:
        faults.append(f"cluster: column {name!r} has {groups} groups, expected {MIN_GROUPS}")
    elif groups == len(values):
        faults.append(f"cluster: column {name!r} gives each unit a group of its own; leave it out")
    return faults


def _warn_of_changes(columns: dict[str, np.ndarray], rare: bool) -> None:
    """Warn of columns that rarely change or never fall: scores cannot reproduce them.

    ``rare``: whether to warn of the first.
    """
    for name, values in columns.items():
        steps = np.diff(values, axis=1)
        rises, falls = bool((steps > 0).any()), bool((steps < 0).any())
        changes = np.fmax.reduce(values, axis=1) > np.fmin.reduce(values, axis=1)
        if rare and 0 < changes.mean() < RARE:
            warn(
                f"column {name!r} changes within {changes.sum()} of {len(changes)} units only: in "
                "generated panels it changes within more; make it constant, or leave these units "
                "out"
            )
        elif rises != falls:
            warn(
                f"column {name!r} never {'falls' if rises else 'rises'} within a unit; in "
                "generated panels it may. Leave a treatment out: dgps.with_effect assigns it"
            )


def _warn_of_few_units(columns: dict[str, np.ndarray]) -> None:
    units, periods = next(iter(columns.values())).shape
    if periods * len(columns) > LONG * units:
        warn(
            f"{units} units of {periods} periods: this generator takes a unit's "
            "whole path for one observation, and these are few; MacroPanel learns such panels"
        )
