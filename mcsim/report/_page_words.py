"""Which intervals cover, in sentences: what a reader of a page sees first.

A coverage is judged as the gates of `mcsim.testing` judge it: by its 95 % limits for Monte Carlo
error, within a margin of the level. In several cells an estimator covers if it does so in each.

Of an ensemble the coverage is judged that is averaged over the generators. Its error includes the
spread between them: another ensemble would have other members.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mcsim._results.display import label
from mcsim._results.results import average_over
from mcsim.measures._replications import critical_values

MARGIN = 0.02
"""Distance from the level within which a coverage is right for practical purposes."""

COVERS, MISSES, OPEN = "covers", "does not cover", "not resolved"


class Sentence(NamedTuple):
    """A sentence on the intervals of an estimator.

    Attributes
    ----------
    verdict : str
        One of `COVERS`, `MISSES`, `OPEN`; empty where there are no intervals.
    name : str
        The estimator, with inference and estimand where there are several.
    text : str
        The rest of the sentence.
    """

    verdict: str
    name: str
    text: str


def verdicts(summary: pd.DataFrame, level: float) -> np.ndarray:
    """Return the verdict on every row of a summary; empty where the coverage is missing.

    Parameters
    ----------
    summary : pandas.DataFrame
        Columns ``coverage``, ``coverage_lower`` and ``coverage_upper``.
    level : float
        The confidence level of the intervals.

    Examples
    --------
    >>> table = pd.DataFrame({"coverage": [0.95, 0.75, 0.93, None]})
    >>> table["coverage_lower"] = [0.94, 0.7, 0.9, None]
    >>> table["coverage_upper"] = [0.96, 0.8, 0.96, None]
    >>> verdicts(table, 0.95).tolist()
    ['covers', 'does not cover', 'not resolved', '']
    """
    low = summary["coverage_lower"].to_numpy(dtype=float)
    high = summary["coverage_upper"].to_numpy(dtype=float)
    outside = (high < level - MARGIN) | (low > min(level + MARGIN, 1.0))
    inside = (low >= level - MARGIN) & (high <= level + MARGIN)
    known = summary["coverage"].notna().to_numpy()
    return np.select([~known, outside, inside], ["", MISSES, COVERS], OPEN)


def cell_name(factors: Sequence[str], row: Sequence[Any]) -> str:
    """Return the name of a cell: its DGP and the values of its factors.

    A table of another program that names no DGP has the name "dgp" for it, which says nothing.
    """
    dgp, *values = row
    pairs = zip(factors, values, strict=True)
    named = [f"{name}={label(value)}" for name, value in pairs if label(value)]
    return " ".join(named if named and str(dgp) == "dgp" else [str(dgp), *named])


def averages(summary: pd.DataFrame, over: str, by: Sequence[str]) -> pd.DataFrame:
    """Return coverages averaged over generators, with limits for another ensemble.

    The error of an average is the standard deviation between the generators over the root of their
    number, or the Monte Carlo error where that is larger; limits are those of Student's t.

    Parameters
    ----------
    summary : pandas.DataFrame
        One row per cell and label.
    over : str
        The factor that numbers the generators.
    by : sequence of str
        All columns that identify a row of the summary.
    """
    table = average_over(summary, over, by)
    keys = [name for name in by if name != over]
    n = summary.groupby(keys, sort=False, dropna=False)["coverage"].count().to_numpy(dtype=float)
    spread = table["coverage_between"].fillna(0.0) / np.sqrt(np.maximum(n, 1.0))
    error = np.maximum(table["coverage_mcse"], spread)
    reach = critical_values(np.where(n > 1, n - 1, np.inf), 0.95) * error
    limits = {"lower": table["coverage"] - reach, "upper": table["coverage"] + reach}
    return table.assign(**{f"coverage_{side}": limit for side, limit in limits.items()})


def sentences(
    summary: pd.DataFrame, level: float, cells: Sequence[str], nouns: str = "cells"
) -> list[Sentence]:
    """Return a sentence for every estimator, inference and estimand.

    Parameters
    ----------
    summary : pandas.DataFrame
        One row per cell and label, with the measures ``coverage`` and ``share_failed``.
    level : float
        The confidence level.
    cells : sequence of str
        The name of each row's cell.
    nouns : str
        The word for several cells.
    """
    summary = summary.assign(verdict=verdicts(summary, level), cell=list(cells))
    labels = [
        name
        for name in ("estimator", "inference", "estimand")
        if name == "estimator" or summary[name].nunique() > 1
    ]
    groups = summary.groupby(labels, sort=False, dropna=False)
    return [
        _sentence(" ".join(filter(None, map(str, name))), rows, level, nouns)
        for name, rows in groups
    ]


def _sentence(name: str, rows: pd.DataFrame, level: float, nouns: str) -> Sentence:
    known = rows[rows["verdict"] != ""]
    if known.empty:
        return Sentence("", name, "has no intervals, or its truth is not known.")
    off = known[known["verdict"] == MISSES]
    still = known[known["verdict"] == OPEN]
    n, failed = len(known), rows["share_failed"].max()
    if len(off):
        text = f"misses the level{_in_cells(len(off), n, nouns)}: {_worst(off, level, n)}."
        verdict = MISSES
    elif len(still):
        text = f"is not resolved{_in_cells(len(still), n, nouns)}: {_worst(still, level, n)}."
        verdict = OPEN
    else:
        text = f"covers{_in_cells(n, n, nouns)}: {_range(known)}."
        verdict = COVERS
    if failed > 0:
        text += f" Up to {failed:.1%} of its replications failed; coverage is that of the others."
    return Sentence(verdict, name, text)


def _in_cells(some: int, n: int, nouns: str) -> str:
    if n == 1:
        return ""
    return f" in all {n:,} {nouns}" if some == n else f" in {some:,} of {n:,} {nouns}"


def _worst(rows: pd.DataFrame, level: float, n: int) -> str:
    """Describe the coverage that is furthest from the level."""
    worst = rows.loc[(rows["coverage"] - level).abs().idxmax()]
    where = f", in {worst['cell']}" if n > 1 else ""
    furthest = "furthest is " if len(rows) > 1 else ""
    return f"{furthest}{_coverage(worst)}{where}"


def _coverage(row: Any) -> str:
    between = row.get("coverage_between", np.nan)
    spread = "" if np.isnan(between) else f", {between:.1%} between generators"
    return f"{row['coverage']:.1%} (Monte Carlo error {_error(row['coverage_mcse'])}{spread})"


def _range(rows: pd.DataFrame) -> str:
    if len(rows) == 1:
        return _coverage(rows.iloc[0])
    low, high = rows["coverage"].min(), rows["coverage"].max()
    return (
        f"{low:.1%} to {high:.1%} (Monte Carlo error up to {_error(rows['coverage_mcse'].max())})"
    )


def _error(share: float) -> str:
    """Return a Monte Carlo error in per cent; a single replication has none."""
    return "unknown" if np.isnan(share) else f"{share:.1%}"
