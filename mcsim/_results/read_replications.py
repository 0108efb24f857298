"""Results from replications that another program wrote: a table, and no study of mcsim."""

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd

from mcsim._core.calls import with_remedies
from mcsim._core.checks import faults_of_strings, is_finite
from mcsim._core.protocols import faults_of_level, faults_of_null
from mcsim._core.records import Status
from mcsim._data.files import read_table
from mcsim._readers.replications import tidy_replications
from mcsim._results.display import counted
from mcsim._results.failures import COLUMNS, has_failed
from mcsim._results.results import GENERAL_CAVEATS, Results
from mcsim._results.store_records import COLUMNS as BLOCK
from mcsim.errors import Fault, InputError, Option, raise_all, warn
from mcsim.measures._replications import complete_intervals

_TEXTS = {"dgp": "dgp", "estimator": "estimate", "estimand": "estimate", "inference": ""}
"""Columns of names, and the name where the table has none."""

_FEW = 3  # cells named in a message


@with_remedies()
def read_replications(
    path: str | PathLike[str] | pd.DataFrame,
    *,
    value: str | Sequence[str] | None = None,
    se: str | Sequence[str] | None = None,
    truth: str | float | None = None,
    estimator: str | None = None,
    rep: str | None = None,
    by: str | Sequence[str] | None = None,
    estimand: str | None = None,
    dgp: str | None = None,
    lower: str | None = None,
    upper: str | None = None,
    df: str | None = None,
    p_value: str | None = None,
    level: float = 0.95,
    null: float = 0.0,
) -> Results:
    """Read replications that another program wrote, as results with the same measures and tables.

    A column that is not named is found by its usual name: those of rsimsum, siman (long and wide),
    simhelpers and SimDesign are known. A variance (``var``) becomes a standard error.

    Parameters
    ----------
    path : path or pandas.DataFrame
        A file (.csv, .tsv, .parquet, .dta), one row per replication and estimator; or a frame.
    value, se, lower, upper, df, p_value : str, optional
        Columns of the estimate, its standard error, interval, degrees of freedom and p-value. Of a
        table with a column for each estimator ``value`` is a list of them, and so is ``se``.
    truth : str or float, optional
        Column of the true value, or the value itself.
    estimator, estimand, dgp : str, optional
        Columns that name them.
    rep : str, optional
        Column that numbers the replications; without one, rows are numbered in order.
    by : str or sequence of str, optional
        Columns of the design's factors; default the columns left over that have few values.
    level, null : float
        Confidence level of the intervals, and the value that tests are of.

    Returns
    -------
    Results

    Warns
    -----
    UserWarning
        Where there is no truth, and for columns that are left out.

    Raises
    ------
    InputError
        If the table has no such column or no estimates, a truth differs within a cell, or a
        replication occurs twice.

    Examples
    --------
    >>> rows = {"dataset": [1, 2, 3, 1, 2, 3], "method": [*"aaabbb"], "b": [0.4, 0.6, 0.5] * 2}
    >>> results = read_replications(pd.DataFrame({**rows, "se": 0.1}), truth=0.5)
    >>> results.summary(measures=["bias"])[["estimator", "bias"]].round(3)
      estimator  bias
    0         a   0.0
    1         b   0.0
    """
    by = [by] if isinstance(by, str) else by
    faults = faults_of_level(level) + faults_of_null(null)
    for argument, names in (("by", by), ("value", value), ("se", se)):
        if names is not None and not isinstance(names, str):
            faults += faults_of_strings(argument, names)
    if isinstance(value, str) and isinstance(se, list | tuple):
        faults.append(f"se: got {list(se)}, expected one column, as of value")
    if isinstance(se, str) and isinstance(value, list | tuple):
        faults.append(f"se: got {se!r}, expected a list, a column for each of {list(value)}")
    if not (truth is None or isinstance(truth, str) or is_finite(truth)):
        faults.append(f"truth: got {truth!r}, expected a column's name or a number")
    raise_all(faults)
    frame = path if isinstance(path, pd.DataFrame) else read_table(path)
    if frame.empty:
        raise InputError("path: the table has no rows, expected one for each replication")
    given = {
        "value": value, "se": se, "truth": truth, "estimator": estimator, "rep": rep,
        "estimand": estimand, "dgp": dgp, "lower": lower, "upper": upper, "df": df,
        "p_value": p_value,
    }  # fmt: skip
    rows, factors = tidy_replications(frame, given, by)
    if isinstance(truth, int | float):
        rows["truth"] = float(truth)
    rows = _checked(_completed(rows), factors)
    return _results(complete_intervals(rows, level, null), factors, level, null)


def _completed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with all columns of results; a failure has the status ``error``."""
    for name, default in _TEXTS.items():
        rows[name] = rows[name].astype(str) if name in rows else default
    for name in BLOCK:
        if name not in rows and name not in ("rep", "status"):
            rows[name] = np.nan
    if rows["truth"].isna().all():
        warn(
            "truth: the table has none, so that bias and coverage are missing; give "
            "truth=0.5, or the name of its column (mcsim report FILE --truth 0.5)"
        )
    known = rows[["value", "p_value", "lower"]].notna().any(axis=1)
    worded = "status" in rows and not pd.api.types.is_numeric_dtype(rows["status"])
    status = rows["status"].astype(str) if worded else Status.OK.label
    rows["status"] = np.where(known, status, Status.ERROR.label)
    return rows


def _checked(rows: pd.DataFrame, factors: Sequence[str]) -> pd.DataFrame:
    """Number replications where they have no numbers, and refuse what no cell may have."""
    reserved = [name for name in factors if name in (*BLOCK, *_TEXTS)]
    if reserved:
        raise InputError(f"by: {reserved} are names of columns of the results; rename them")
    cell = ["dgp", *factors]
    label = [*cell, "estimator", "estimand", "inference"]
    if "rep" not in rows:
        rows["rep"] = rows.groupby(label, sort=False, dropna=False).cumcount()
    twice = rows.duplicated([*label, "rep"])
    truths = rows.groupby([*cell, "estimand"], sort=False, dropna=False)["truth"]
    spread = (truths.max() - truths.min()) > 1e-9 * truths.max().abs()
    faults = []
    if twice.any():
        which = rows.loc[twice, ["rep", *label]].iloc[0].to_dict()
        faults.append(
            Fault(
                f"rep: {counted(int(twice.sum()), 'replication')} occur twice, the first is "
                f"{_words(which)}",
                [
                    "name the columns of the design in ",
                    Option("by=", "by"),
                    ", or those of estimator and estimand",
                ],
            )
        )
    if spread.any():
        which = spread[spread].index.to_frame(index=False).head(_FEW).to_dict("records")
        faults.append(
            Fault(
                f"truth: the values differ within {counted(int(spread.sum()), 'cell')}"
                + (f", such as {words}" if (words := _words(which[0])) else ""),
                ["name the factor that it depends on in ", Option("by=", "by")],
            )
        )
    raise_all(faults)
    return rows


def _words(row: dict[Any, Any]) -> str:
    return ", ".join(
        f"{name}={value}" for name, value in row.items() if value not in ("", _TEXTS.get(name))
    )


def _results(rows: pd.DataFrame, factors: list[str], level: float, null: float) -> Results:
    where = ["dgp", *factors]
    order = [*factors, "dgp", "estimator", "estimand", "inference", "rep", "value", "se", "lower"]
    rows = rows[[*order, "upper", "df", "p_value", "truth", "status"]].reset_index(drop=True)
    groups = rows.groupby(where, sort=False, dropna=False)
    by_cell = rows[[*where, "estimator"]].drop_duplicates().groupby(where, sort=False, dropna=False)
    cells = [
        {
            "hash": "",
            "dgp": str(cell[0]),
            "design": dict(zip(factors, cell[1:], strict=True)),
            "estimators": [[name, ""] for name in estimators],
        }
        for cell, estimators in by_cell["estimator"]
    ]
    study = {
        "aim": "", "null": null, "level": level, "scale": 1.0, "unit": "", "caveats": [],
        "dgps": dict.fromkeys(rows["dgp"].unique(), ""), "seed": "unknown", "cells": cells,
        "reps": int(groups["rep"].nunique().max()),
    }  # fmt: skip
    truth = rows.drop_duplicates([*where, "estimand"])[[*where, "estimand", "truth"]]
    truth = truth.rename(columns={"truth": "value"}).assign(mcse=0.0, kind="given")
    return Results(
        rows, truth.reset_index(drop=True), study, GENERAL_CAVEATS, (), _failures(rows, factors)
    )


def _failures(rows: pd.DataFrame, factors: list[str]) -> pd.DataFrame:
    """Return failures by cell, estimator and status; no reasons are known."""
    where = ["dgp", *factors, "estimator"]
    of = rows.groupby(where, sort=False, dropna=False)["rep"].nunique().rename("of").reset_index()
    failed = rows[has_failed(rows)].groupby([*where, "status"], sort=False, dropna=False)["rep"]
    counts = failed.agg(replications="nunique", first_rep="min").reset_index()
    counts = counts.merge(of, on=where, how="left").assign(
        labels=pd.Series([()] * len(counts), dtype=object)
    )
    return counts.assign(reason="", cell="")[list(dict.fromkeys(["dgp", *factors, *COLUMNS]))]
