"""Measures as text, and as a table of a notebook: each figure with its Monte Carlo error."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mcsim._core.markup import figure, html_table, in_html
from mcsim.measures._definitions import MEASURES

NOTEBOOK_MEASURES = ("bias", "rmse", "empirical_se", "model_se", "coverage", "share_failed")
"""The measures of a notebook's table."""

NOTEBOOK_ROWS = 60

OF_ESTIMATES = frozenset(
    ("bias", "median_bias", "relative_bias", "empirical_se", "mad", "mse", "rmse")
)  # fmt: skip
"""Measures of the estimates alone: equal for all standard errors of one fit."""


def label(value: Any) -> str:
    """Return a factor or name as text; empty where it is missing."""
    if pd.isna(value):
        return ""
    return f"{value:.6g}" if isinstance(value, float) and not value.is_integer() else f"{value}"


def varying(summary: pd.DataFrame, labels: Sequence[str]) -> list[str]:
    """Return the labels that distinguish rows of a summary: those with several values."""
    return [name for name in labels if summary[name].nunique(dropna=False) > 1]


def figures(summary: pd.DataFrame, name: str, scale: float) -> list[str]:
    """Return a measure as text, row by row; in units of the outcome it is divided by the scale."""
    if name == "n":
        return [f"{count:,}" for count in summary[name]]
    divisor = scale ** MEASURES[name].power
    values = summary[name].to_numpy(dtype=float) / divisor
    errors = _column(summary, f"{name}_mcse") / divisor
    between = _column(summary, f"{name}_between") / divisor
    return [figure(*row) for row in zip(values, errors, between, strict=True)]


def _column(summary: pd.DataFrame, name: str) -> np.ndarray:
    if name not in summary:
        return np.full(len(summary), np.nan)
    return summary[name].to_numpy(dtype=float)


def in_short(rows: int, factors: Sequence[str], study: Mapping[str, Any]) -> str:
    """Return results in a line: their cells, estimators, replications and seed.

    Parameters
    ----------
    rows : int
        Rows of the replicates.
    factors : sequence of str
        The design's factors.
    study : mapping
        The manifest.
    """
    cells = study["cells"]
    dgps = list(dict.fromkeys(cell["dgp"] for cell in cells))
    estimators = list(dict.fromkeys(e for cell in cells for e, _ in cell["estimators"]))
    over = f" over {', '.join(factors)}" if factors else ""
    return (
        f"Results({counted(len(cells), 'cell')}{over} of {_listed(dgps)} x {_listed(estimators)}, "
        f"{study['reps'] or 'all'} replications, seed {study['seed']}: {rows:,} rows)"
    )


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: 1 cell, 2 cells."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _listed(names: Sequence[str], most: int = 4) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def in_notebook(
    summary: pd.DataFrame, factors: Sequence[str], study: Mapping[str, Any], head: str
) -> str:
    """Return the main measures in HTML: a row for each design and estimator, escaped.

    Parameters
    ----------
    summary : pandas.DataFrame
        Of the measures of a notebook.
    factors : sequence of str
        The design's factors in it.
    study : mapping
        The manifest.
    head : str
        The line above the table.
    """
    every = ["dgp", *factors, "estimator", "estimand", "inference"]
    labels = varying(summary, every) or ["estimator"]
    measures = [name for name in NOTEBOOK_MEASURES if summary[name].notna().any()]
    if "share_failed" in measures and not summary["share_failed"].any():
        measures.remove("share_failed")
    shown = summary.head(NOTEBOOK_ROWS)
    columns = [shown[name].map(label) for name in labels]
    columns += [figures(shown, name, study.get("scale", 1.0)) for name in measures]
    names = [*labels, *(name.replace("_", " ") for name in measures)]
    rows = list(zip(*columns, strict=True))
    left = len(summary) - len(shown)
    more = f"{left:,} more rows: results.summary() has all of them. " if left else ""
    unit = f" Bias, RMSE and standard errors in {study['unit']}." if study.get("unit") else ""
    below = f"{more}In brackets: the Monte Carlo standard error.{unit}"
    table = html_table([names], rows, len(labels))
    return f"<p>{in_html(head)}</p>\n{table}\n<p><small>{in_html(below)}</small></p>"
