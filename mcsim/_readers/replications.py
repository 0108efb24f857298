"""Replications that other programs wrote: which column is what, and one row per estimate.

Known layouts, by the names of their columns: rsimsum (dataset, method, b, se), siman (rep, dgm,
method, est, se, true, or est and se with a suffix for each method), simhelpers (est, var, p_val,
lower_bound, upper_bound, true_param), SimDesign (a condition's columns, then est and se by method).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mcsim.errors import Fault, Option, did_you_mean, raise_all, warn

ROLES = {
    "value": ("value", "est", "estimate", "b", "beta", "coef", "theta_hat", "theta"),
    "se": ("se", "std_error", "std_err", "stderr", "model_se"),
    "variance": ("var", "variance", "var_est"),
    "lower": ("lower", "lower_bound", "lci", "conf_low", "ci_low", "ci_lower"),
    "upper": ("upper", "upper_bound", "uci", "conf_high", "ci_high", "ci_upper"),
    "p_value": ("p_value", "p_val", "pval", "pvalue", "p"),
    "df": ("df", "dof"),
    "truth": ("truth", "true", "true_param", "true_value", "theta_true"),
    "estimator": ("estimator", "method", "model"),
    "estimand": ("estimand", "target"),
    "inference": ("inference",),
    "dgp": ("dgp", "dgm"),
    "rep": ("rep", "repno", "dataset", "replication", "iteration", "sim", "simulation", "i"),
    "status": ("status",),
}
"""Names of columns by what they hold; points are underscores, in lower case."""

_EXAMPLE = {"value": "estimate", "se": "std_error", "estimator": "method", "rep": "dataset"}
"""How columns are named, in a message."""

_NUMBERS = ("value", "se", "variance", "lower", "upper", "p_value", "df", "truth")
_STUBS = {"value": ("est", "estimate", "b", "value"), "se": ("se", "stderr", "std_error")}
_MOST_LEVELS = 100  # of a column that is taken for a factor without being named


def tidy_replications(
    frame: pd.DataFrame, given: Mapping[str, Any], by: Sequence[str] | None
) -> tuple[pd.DataFrame, list[str]]:
    """Return replications with one row per estimate, and the names of their factors.

    Parameters
    ----------
    frame : pandas.DataFrame
        As it was read.
    given : mapping of str to str or number
        Columns that the caller names, by role; None to look for one. Lists of ``value`` and ``se``
        have a column for each estimator.
    by : sequence of str, optional
        The factors; default the other columns, if they have few values.

    Returns
    -------
    rows : pandas.DataFrame
        A column for each role that was found, then the factors.
    factors : list of str
    """
    columns = list(map(str, frame.columns))
    if isinstance(given["value"], list | tuple):
        frame = _long_of_columns(frame.set_axis(columns, axis=1), given["value"], given["se"])
        given = {**given, "value": "value", "se": "se" if given["se"] else None,
                 "estimator": "estimator"}  # fmt: skip
        columns = list(map(str, frame))
    named = {role: name for role, name in given.items() if isinstance(name, str)}
    asked = [*named.items(), *(("by", name) for name in by or ())]
    raise_all(
        [
            f"{role}: the table has no column {name!r}{did_you_mean(name, columns)}"
            for role, name in asked
            if name not in columns
        ]
    )
    roles = {**_recognized(columns, set(named.values()) | set(by or ())), **named}
    if "value" not in roles:
        if (wide := _long_of_wide(frame.set_axis(columns, axis=1), named)) is not None:
            return tidy_replications(wide, given, by)
        fault = f"value: no column of estimates is known among {', '.join(columns) or 'none'}"
        example = _example(columns)
        raise_all([Fault(fault, ["name it: ", Option(_quoted(example), "roles", example)])])
    frame = frame.set_axis(columns, axis=1)
    factors = _factors(frame, set(roles.values())) if by is None else list(by)
    rows = pd.DataFrame({role: frame[name] for role, name in roles.items()})
    raise_all(_faults_of_numbers(rows, roles))
    rows = rows.astype({role: float for role in _NUMBERS if role in rows})
    if "variance" in rows:
        variance = rows.pop("variance")
        if "se" not in rows:
            rows["se"] = np.sqrt(variance.where(variance >= 0))
    return pd.concat([rows, frame[factors]], axis=1), factors


def _example(columns: Sequence[str]) -> Mapping[str, str]:
    """Return columns by role for a message: those of Stata's ``simulate _b _se``, if it has them.

    Examples
    --------
    >>> _example(["_b_x", "_b_cons", "_se_x", "_se_cons"])
    {'value': '_b_x', 'se': '_se_x'}
    """
    of_stata = [name.removeprefix("_b_") for name in columns if name.startswith("_b_")]
    pairs = [name for name in of_stata if f"_se_{name}" in columns]
    return {"value": f"_b_{pairs[0]}", "se": f"_se_{pairs[0]}"} if pairs else _EXAMPLE


def _long_of_columns(
    frame: pd.DataFrame, values: Sequence[str], errors: Sequence[str] | None
) -> pd.DataFrame:
    """Return a table with a column for each estimator as a long one.

    Examples
    --------
    >>> _long_of_columns(pd.DataFrame({"n": [9], "mean": [0.1], "median": [0.2]}),
    ...                  ["mean", "median"], None)
       n estimator  value
    0  9      mean    0.1
    1  9    median    0.2
    """
    listed = [] if errors is None else list(errors)
    unknown = [("value", name) for name in values] + [("se", name) for name in listed]
    faults = [
        f"{role}: the table has no column {name!r}{did_you_mean(name, map(str, frame))}"
        for role, name in unknown
        if name not in frame
    ]
    if listed and len(listed) != len(values):
        faults.append(f"se: got {len(listed)} columns, expected one for each of {list(values)}")
    raise_all(faults)
    rest = frame.drop(columns=[*values, *listed])
    parts = [rest.assign(estimator=name, value=frame[name]) for name in values]
    if listed:
        pairs = zip(parts, listed, strict=True)
        parts = [part.assign(se=frame[name]) for part, name in pairs]
    return pd.concat(parts, ignore_index=True)


def _quoted(named: Mapping[str, str]) -> str:
    return ", ".join(f"{role}={name!r}" for role, name in named.items())


def _plain(name: str) -> str:
    return re.sub(r"[. ]", "_", name.strip().lower())


def _recognized(columns: Sequence[str], taken: set[str]) -> dict[str, str]:
    """Return the column of each role whose name is known."""
    free = {_plain(name): name for name in reversed(columns) if name not in taken}
    found = {}
    for role, names in ROLES.items():
        column = next((free[name] for name in names if name in free), None)
        if column is not None:
            found[role] = column
    return found


def _long_of_wide(frame: pd.DataFrame, named: Mapping[str, str]) -> pd.DataFrame | None:
    """Return a wide table (est_ols, se_ols, est_iv, ...) as a long one; None if it is none.

    Examples
    --------
    >>> _long_of_wide(pd.DataFrame({"rep": [1], "est_a": [0.1], "se_a": [0.2]}), {})
       rep estimator  value   se
    0    1         a    0.1  0.2
    """
    values, errors = (_by_suffix(frame, _STUBS[role]) for role in ("value", "se"))
    if not values or "estimator" in named:
        return None
    used = {*values.values(), *errors.values()}
    rest = [name for name in frame if name not in used]
    parts = []
    for method, column in values.items():
        part = frame[rest].assign(estimator=method, value=frame[column])
        parts.append(part.assign(se=frame[errors[method]]) if method in errors else part)
    return pd.concat(parts, ignore_index=True)


def _by_suffix(frame: pd.DataFrame, stubs: Sequence[str]) -> dict[str, str]:
    """Return columns by the method in their name: est_ols, est1, ols.est."""
    found: dict[str, str] = {}
    for name in map(str, frame.columns):
        for stub in stubs:
            after = re.fullmatch(rf"{stub}(?:[._](.+)|(\d+))", name, re.IGNORECASE)
            before = re.fullmatch(rf"(.+)[._]{stub}", name, re.IGNORECASE)
            method = next(
                filter(None, [*(after.groups() if after else ()), before and before[1]]), ""
            )
            if method:
                found.setdefault(str(method), name)
    return found


def _factors(frame: pd.DataFrame, used: set[str]) -> list[str]:
    """Return the other columns of few values, and warn of the columns of many."""
    others = [name for name in map(str, frame.columns) if name not in used]
    counts = {name: frame[name].nunique() for name in others}
    factors = [name for name in others if counts[name] <= min(_MOST_LEVELS, len(frame) / 2)]
    if many := [name for name in others if name not in factors]:
        warn(f"by: the columns {many} have many values and are left out; by=[...] names factors")
    return factors


def _faults_of_numbers(rows: pd.DataFrame, roles: Mapping[str, str]) -> list[str]:
    faults = [
        f"{role}: column {roles[role]!r} holds {rows[role].dtype}, expected numbers; name the "
        f"column that has them, {role}='...'"
        for role in _NUMBERS
        if role in rows
        and not (pd.api.types.is_numeric_dtype(rows[role]) or rows[role].isna().all())
    ]
    if "se" in rows and not faults and (rows["se"] < 0).any():
        faults.append(f"se: column {roles['se']!r} has numbers below 0, expected standard errors")
    return faults
