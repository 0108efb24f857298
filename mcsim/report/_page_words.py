"""Which intervals cover, in sentences: what a reader of a page sees first.

A coverage is judged as the gates of `mcsim.testing` judge it: by its 95 % limits for Monte Carlo
error, within a margin of the level. In several cells an estimator covers if it does so in each.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

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


def sentences(summary: pd.DataFrame, level: float, cells: Sequence[str]) -> list[Sentence]:
    """Return a sentence for every estimator, inference and estimand.

    Parameters
    ----------
    summary : pandas.DataFrame
        One row per cell and label, with the measures ``coverage`` and ``share_failed``.
    level : float
        The confidence level.
    cells : sequence of str
        The name of each row's cell.
    """
    summary = summary.assign(verdict=verdicts(summary, level), cell=list(cells))
    labels = [
        name
        for name in ("estimator", "inference", "estimand")
        if name == "estimator" or summary[name].nunique() > 1
    ]
    groups = summary.groupby(labels, sort=False, dropna=False)
    return [_sentence(" ".join(filter(None, map(str, name))), rows, level) for name, rows in groups]


def _sentence(name: str, rows: pd.DataFrame, level: float) -> Sentence:
    known = rows[rows["verdict"] != ""]
    if known.empty:
        return Sentence("", name, "has no intervals, or its truth is not known.")
    off = known[known["verdict"] == MISSES]
    still = known[known["verdict"] == OPEN]
    n, failed = len(known), rows["share_failed"].max()
    if len(off):
        text = f"misses the level{_in_cells(len(off), n)}: {_worst(off, level, n)}."
        verdict = MISSES
    elif len(still):
        text = f"is not resolved{_in_cells(len(still), n)}: {_worst(still, level, n)}."
        verdict = OPEN
    else:
        text = f"covers{_in_cells(n, n)}: {_range(known)}."
        verdict = COVERS
    if failed > 0:
        text += f" Up to {failed:.1%} of its replications failed; coverage is that of the others."
    return Sentence(verdict, name, text)


def _in_cells(some: int, n: int) -> str:
    if n == 1:
        return ""
    return f" in all {n:,} cells" if some == n else f" in {some:,} of {n:,} cells"


def _worst(rows: pd.DataFrame, level: float, n: int) -> str:
    """Describe the coverage that is furthest from the level."""
    worst = rows.loc[(rows["coverage"] - level).abs().idxmax()]
    where = f" in cell {worst['cell']}" if n > 1 else ""
    furthest = "furthest is " if len(rows) > 1 else ""
    return f"{furthest}{_coverage(worst)}{where}"


def _coverage(row: Any) -> str:
    return f"{row['coverage']:.1%} (Monte Carlo error {row['coverage_mcse']:.1%})"


def _range(rows: pd.DataFrame) -> str:
    if len(rows) == 1:
        return _coverage(rows.iloc[0])
    low, high = rows["coverage"].min(), rows["coverage"].max()
    return f"{low:.1%} to {high:.1%} (Monte Carlo error up to {rows['coverage_mcse'].max():.1%})"
