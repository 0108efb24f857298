"""Columns by their roles, and their content as checked float64 arrays."""

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from numpy import ndarray

from mcsim._core.checks import is_finite
from mcsim._core.records import SUCCESSES
from mcsim.errors import did_you_mean, raise_all

NUMERIC = ("value", "se", "lower", "upper", "df", "p_value", "truth", "truth_mcse", "null")


@dataclass(frozen=True)
class Roles:
    """Column of each role; None or, at its default name, absent means not used."""

    value: str = "value"
    se: str | None = "se"
    lower: str | None = "lower"
    upper: str | None = "upper"
    df: str | None = "df"
    p_value: str | None = "p_value"
    truth: str | float | int | None = "truth"
    truth_mcse: str | float | int | None = None
    null: str | float | int = 0.0
    status: str | None = "status"
    rep: str | None = "rep"
    method: str | None = None
    by: tuple[str, ...] = ()

    @property
    def keys(self) -> list[str]:
        """Columns that identify the groups: `by`, then `method`."""
        own = [] if self.method is None else [self.method]
        return [name for name in dict.fromkeys(self.by) if name not in own] + own


def present(frame: pd.DataFrame, roles: Roles) -> Roles:
    """Return the roles that the frame fills; a column that was named but is absent is a fault."""
    raise_all(_faults_of_kinds(roles))
    faults, found = [], {}
    for field in fields(Roles):
        given = getattr(roles, field.name)
        for name in given if field.name == "by" else [given]:
            if not isinstance(name, str) or name in frame.columns:
                continue
            if name == field.default and field.name != "value":
                found[field.name] = None
            else:
                hint = did_you_mean(name, map(str, frame.columns))
                faults.append(f"{field.name}: the frame has no column {name!r}{hint}")
    used = {getattr(roles, field.name) for field in fields(Roles) if field.name != "by"}
    twice = frame.columns[frame.columns.duplicated()]
    faults += [
        f"frame: column {name!r} occurs more than once; drop or rename one"
        for name in dict.fromkeys(twice)
        if name in used or name in roles.by
    ]
    chosen = {field.name: getattr(roles, field.name) for field in fields(Roles)} | found
    if (chosen["lower"] is None) != (chosen["upper"] is None):
        only, other = ("lower", "upper") if chosen["upper"] is None else ("upper", "lower")
        faults.append(f"{only}: got a column without {other}; give both, or {only}=None")
    raise_all(faults)
    return Roles(**chosen)


def _faults_of_kinds(roles: Roles) -> list[str]:
    """Return the faults of roles that are neither a column's name nor, where allowed, a number."""
    faults = []
    for role in (*NUMERIC, "status", "rep", "method"):
        source, number = getattr(roles, role), role in ("truth", "truth_mcse", "null")
        column = isinstance(source, str) or (source is None and role not in ("value", "null"))
        if not column and not (number and is_finite(source)):
            expected = "a column's name or a number" if number else "a column's name"
            faults.append(f"{role}: got {source!r}, expected {expected}")
    return faults


@dataclass(frozen=True)
class Columns:
    """Numeric columns of the frame, one entry per row; NaN where missing."""

    value: Float[ndarray, " row"]
    se: Float[ndarray, " row"]
    lower: Float[ndarray, " row"]
    upper: Float[ndarray, " row"]
    df: Float[ndarray, " row"]
    p_value: Float[ndarray, " row"]
    truth: Float[ndarray, " row"]
    truth_mcse: Float[ndarray, " row"]
    null: Float[ndarray, " row"]
    failed: Bool[ndarray, " row"]


def read_columns(frame: pd.DataFrame, roles: Roles) -> Columns:
    """Read and check the columns; every fault is reported."""
    faults: list[str] = []
    arrays = {role: _numbers(frame, role, getattr(roles, role), faults) for role in NUMERIC}
    with np.errstate(invalid="ignore"):
        _check_ranges(arrays, roles, faults)
    failed = ~_has_result(arrays) | ~_succeeded(frame, roles.status, faults)
    raise_all(faults)
    arrays["value"] = np.where(np.isfinite(arrays["value"]), arrays["value"], np.nan)
    arrays["truth_mcse"] = np.nan_to_num(arrays["truth_mcse"])
    return Columns(**arrays, failed=failed)


def _numbers(
    frame: pd.DataFrame, role: str, source: str | float | int | None, faults: list[str]
) -> Float[ndarray, " row"]:
    if not isinstance(source, str):
        return np.full(len(frame), np.nan if source is None else float(source))
    column = frame[source]
    types = pd.api.types
    try:
        if not (types.is_numeric_dtype(column) or column.dtype == object):
            raise TypeError
        if types.infer_dtype(column) == "string":  # text has dtype object before pandas 3
            raise TypeError
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        kind = column.dtype
        faults.append(f"{role}: column {source!r} has dtype {kind}, expected numbers; convert it")
        return np.full(len(frame), np.nan)


def _check_ranges(
    arrays: dict[str, Float[ndarray, " row"]], roles: Roles, faults: list[str]
) -> None:
    p_value, lower, upper = arrays["p_value"], arrays["lower"], arrays["upper"]
    for role in ("se", "truth_mcse"):
        if np.any(arrays[role] < 0):
            faults.append(
                f"{role}: {getattr(roles, role)!r} is negative in {int(np.sum(arrays[role] < 0))} "
                "rows, expected standard errors"
            )
    outside = int(np.sum((p_value < 0) | (p_value > 1)))
    if outside:
        faults.append(f"p_value: {roles.p_value!r} is outside [0, 1] in {outside} rows")
    given = ~(np.isnan(lower) | np.isnan(upper))
    if np.any(given) and np.all(lower[given] > upper[given]):
        faults.append("lower, upper: every lower limit exceeds its upper limit; are they swapped?")


def _has_result(arrays: dict[str, Float[ndarray, " row"]]) -> Bool[ndarray, " row"]:
    """Return whether rows have a value or, without one, a p-value or an interval."""
    interval = ~(np.isnan(arrays["lower"]) | np.isnan(arrays["upper"]))
    return np.isfinite(arrays["value"]) | np.isfinite(arrays["p_value"]) | interval


def _succeeded(frame: pd.DataFrame, status: str | None, faults: list[str]) -> Bool[ndarray, " row"]:
    if status is None:
        return np.ones(len(frame), dtype=bool)
    if pd.api.types.is_numeric_dtype(frame[status]):
        faults.append(
            f"status: column {status!r} has dtype {frame[status].dtype}, expected words, with 'ok' "
            "for a success; map it, or pass status=None"
        )
        return np.ones(len(frame), dtype=bool)
    return frame[status].isin(SUCCESSES).to_numpy(dtype=bool)
