"""Measures on a page: overview figures, the table of all cells, averages of an ensemble, intervals.

The table holds the figures once: the script of the page sorts, filters and exports what stands
there.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from mcsim._core.markup import figure, in_html
from mcsim._results.results import Results
from mcsim._run.study import GENERATOR
from mcsim.measures._definitions import MEASURES
from mcsim.report._formats import as_html
from mcsim.report._page_figures import MOST_INTERVALS, strip, zips
from mcsim.report._page_words import MISSES, verdicts
from mcsim.report._tables import label, results_table

SHOWN = (
    "bias", "empirical_se", "model_se", "rmse", "coverage", "rejection", "share_failed",
)  # fmt: skip
"""Measures on a page."""

LABELS = ("estimator", "estimand", "inference")
"""Columns that label the estimates of a cell."""


def overview(results: Results, summary: pd.DataFrame) -> str:
    """Return the figures of all cells: coverage and bias."""
    names, scale = _row_names(summary), results.study.get("scale", 1.0)
    level, unit = results.study["level"], results.study.get("unit", "")
    bias, error = summary["bias"] / scale, summary["bias_mcse"] / scale
    off = verdicts(summary, level) == MISSES
    cover = strip(names.tolist(), summary["coverage"].tolist(), off.tolist(), level, "coverage")
    biases = strip(
        names.tolist(), bias.tolist(), (bias.abs() > 3 * error).tolist(), 0.0,
        f"bias, {unit}" if unit else "bias",
    )  # fmt: skip
    return (
        '<section id="overview"><h2>Overview</h2>'
        f'<figure tabindex="0">{cover}<figcaption>Coverage, a dot for each cell; dashed: the '
        "level; red: does not cover.</figcaption></figure>"
        f'<figure tabindex="0">{biases}<figcaption>Bias, a dot for each cell; '
        "red: more than three Monte Carlo errors from zero.</figcaption></figure></section>"
    )


def measures(
    results: Results, summary: pd.DataFrame, places: Sequence[int], cells: Sequence[str]
) -> str:
    """Return the table of measures, its tools, and the place of the intervals.

    Parameters
    ----------
    results : Results
        The results.
    summary : pandas.DataFrame
        Their measures, `SHOWN`.
    places : sequence of int
        The cell of each row.
    cells : sequence of str
        Names of the cells.
    """
    scale = results.study.get("scale", 1.0)
    labels = [c for c in ("dgp", *results.factors, *LABELS) if _is_shown(summary, c)]
    heads = [f'<th scope="col" class="l">{in_html(name)}' for name in labels]
    heads += [f'<th scope="col">{name.replace("_", " ")}' for name in SHOWN]
    columns = [[f'<td class="l">{in_html(label(v))}' for v in summary[name]] for name in labels]
    for name in SHOWN:
        divisor = scale ** MEASURES[name].power
        pairs = zip(summary[name] / divisor, summary[f"{name}_mcse"] / divisor, strict=True)
        columns.append([_figure(float(value), float(error)) for value, error in pairs])
    lines = (
        f'<tr data-cell="{place}">{"".join(row)}'
        for place, row in zip(places, zip(*columns, strict=True), strict=True)
    )
    options = "".join(f'<option value="{k}">{in_html(name)}' for k, name in enumerate(cells))
    return (
        f'<section id="table"><h2>Measures</h2>{_averages(results)}'
        '<div class="tools script"><label for="cell">Cell'
        f'</label><select id="cell"><option value="">all cells{options}</select>'
        '<button type="button" id="csv">Save as CSV</button>'
        '<button type="button" id="latex">Save as LaTeX</button></div>'
        '<div class="scroll" tabindex="0" role="region" aria-label="Table of measures">'
        '<table id="measures"><caption>In brackets the Monte Carlo standard error.</caption>'
        f"<thead><tr>{''.join(heads)}</thead><tbody>{''.join(lines)}</tbody></table></div>"
        '<div class="script"><h3>Intervals of <span id="zipped"></span></h3></div>'
        '<div id="zips" class="script"></div><p class="note">Intervals, the least plausible on top;'
        f" red: they miss the truth. At most {MOST_INTERVALS} are drawn; the share is of all."
        "</p></section>"
    )


def _averages(results: Results) -> str:
    """Return the table of averages over the generators of an ensemble; empty without one."""
    if GENERATOR not in results.factors:
        return ""
    table = as_html(results_table(results, measures=SHOWN))
    return (
        '<h3>Averages over the generators</h3><div class="scroll" tabindex="0" role="region" '
        f'aria-label="Averages over the generators">{table}</div><p class="note">In round brackets '
        "the Monte Carlo standard error, in square ones the standard deviation between generators."
        "</p><h3>Every generator</h3>"
    )


def _is_shown(summary: pd.DataFrame, column: str) -> bool:
    return column == "estimator" or summary[column].nunique(dropna=False) > 1


def _figure(value: float, error: float) -> str:
    number, bracket, rest = figure(value, error).partition(" ")
    return f"<td>{number}{f'<i> {rest}</i>' if bracket else ''}"


def intervals(results: Results, cells: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the intervals that the script draws, for every cell and label; see `zips`."""
    rows = results.replicates
    where = ["dgp", *results.factors]
    numbers = rows[where].merge(cells.assign(_cell=range(len(cells))), how="left", on=where)
    cell = pd.Series(numbers["_cell"].to_numpy(), index=rows.index)
    labels = rows[list(LABELS)].drop_duplicates()
    named = rows[list(LABELS)].merge(labels.assign(_name=_row_names(labels)), how="left")
    names = pd.Series(named["_name"].to_numpy(), index=rows.index)
    scale = results.study.get("scale", 1.0)
    return zips(rows, [*where, *LABELS], cell, names, scale)


def _row_names(summary: pd.DataFrame) -> pd.Series:
    used = [c for c in LABELS if c == "estimator" or summary[c].nunique() > 1]
    return summary[used].astype(str).agg(" ".join, axis=1).str.strip()
