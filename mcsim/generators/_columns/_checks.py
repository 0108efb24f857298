"""What is checked before a fit: all faults of configuration and data in one message."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mcsim._core import Panel
from mcsim._schema import Column, Schema, infer_schema
from mcsim.errors import InputError, did_you_mean, raise_all

MIN_ROWS = 20
MIN_ARM = 2


POSITIVE = lambda value: value > 0, "a positive number"
WEIGHT = lambda value: value >= 0, "a number of at least 0"
SHARE = lambda value: 0 <= value < 1, "a share from 0 to below 1"


def faults_of_config(config: Any) -> list[str]:
    """Return what is wrong with the options of a `WGAN`."""
    return [
        *_faults_of_widths(config, "hidden", "critic_hidden"),
        *_faults_of_counts(config, "steps", "critic_steps", "components"),
        *_faults_of_batch(config),
        *_faults_of_numbers(
            config, POSITIVE, "learning_rate", "critic_learning_rate", "temperature"
        ),
        *_faults_of_numbers(
            config,
            WEIGHT,
            "gradient_penalty",
            "moment_weight",
            "likelihood_weight",
            "outcome_weight",
        ),
        *_faults_of_numbers(config, SHARE, "outcome_share", "smallest_arm", "average"),
        *_faults_of_order(config),
    ]


def faults_of_likelihood(config: Any) -> list[str]:
    """Return what is wrong with the options of an `Autoregressive`."""
    return [
        *_faults_of_widths(config, "hidden"),
        *_faults_of_counts(config, "steps", "components", "patience"),
        *(
            []
            if config.folds == 0 or _whole(config.folds, 2)
            else [f"folds: got {config.folds!r}, expected an integer of at least 2, or 0 for none"]
        ),
        *_faults_of_batch(config),
        *_faults_of_numbers(config, POSITIVE, "learning_rate"),
        *_faults_of_numbers(config, WEIGHT, "weight_decay"),
        *_faults_of_numbers(config, SHARE, "dropout", "smallest_arm"),
        *_faults_of_order(config),
    ]


def _optional(config: Any, name: str) -> bool:
    """Say whether an option may be None: it is by default."""
    return type(config).__dataclass_fields__[name].default is None


def _faults_of_widths(config: Any, *names: str) -> list[str]:
    return [
        f"{name}: got {widths!r}, expected widths of layers such as (128, 128)"
        for name in names
        if (widths := getattr(config, name)) is not None
        and not (isinstance(widths, tuple) and widths and all(_whole(w, 1) for w in widths))
    ]


def _faults_of_counts(config: Any, *names: str) -> list[str]:
    return [
        f"{name}: got {value!r}, expected an integer of at least 1"
        for name in names
        if not ((value := getattr(config, name)) is None and _optional(config, name))
        and not _whole(value, 1)
    ]


def _faults_of_batch(config: Any) -> list[str]:
    if config.batch_size is None or _whole(config.batch_size, 16):
        return []
    return [f"batch_size: got {config.batch_size!r}, expected an integer of at least 16"]


def _faults_of_numbers(config: Any, rule: tuple[Any, str], *names: str) -> list[str]:
    test, expected = rule
    return [
        f"{name}: got {value!r}, expected {expected}"
        for name in names
        if not ((value := getattr(config, name)) is None and _optional(config, name))
        and not (_number(value) and test(value))
    ]


def _faults_of_order(config: Any) -> list[str]:
    order = config.order
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
        f"column {name!r}: {int((~np.isfinite(np.asarray(panel[name]))).sum())} values are not "
        "finite; drop or impute them first"
        for name in panel
        if not finite[name]
    ]
    raise_all(faults)
    schema = infer_schema(panel) if schema is None else schema.select(tuple(panel))
    schema = replace(schema, unit_labels=())
    for name in panel:
        faults += faults_of_column(schema[name], np.asarray(panel[name]))
    raise_all(faults + _faults_of_arms(panel, given, schema))
    for name in panel:
        if name not in given and len(np.unique(np.asarray(panel[name]))) == 1:
            warnings.warn(
                f"column {name!r} is constant: every generated unit will have the same value",
                UserWarning,
                stacklevel=4,
            )
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


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
