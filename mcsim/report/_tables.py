"""Tables of results: each figure with its Monte Carlo error."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mcsim._core.checks import as_path, faults_of_strings, require_type
from mcsim._core.markup import figure, rounded
from mcsim._results.caveats import MARK
from mcsim._results.results import DEFAULT_MEASURES, Results, require_results
from mcsim._run.study import GENERATOR, faults_of_scale
from mcsim.errors import raise_all
from mcsim.measures import Comparison
from mcsim.measures._definitions import MEASURES
from mcsim.report._formats import as_markdown, as_text

_COARSEST = 0.01  # estimates on real data have three decimals at least


def results_table(
    results: Results,
    *,
    measures: Sequence[str] | None = None,
    over: str | None = None,
) -> pd.DataFrame:
    """Return the summary of a study as a table of text: figures, errors in round brackets.

    Each figure is rounded to two digits of its own Monte Carlo error. It has none where that error
    is zero: all replications agree.

    Where an ensemble of generators is averaged over, the standard deviation between generators
    is in square brackets: the variation between fits. A dagger marks errors that allow
    for common shocks where every replication repeats the same ones.

    Parameters
    ----------
    results : Results
        The results.
    measures : sequence of str, optional
        Names of measures.
    over : str, optional
        Factor to average over; default ``generator`` if there is one.

    Returns
    -------
    pandas.DataFrame
        Strings, ready for `as_text`, `as_markdown` or `as_latex`.
    """
    require_results(results)
    measures = [measures] if isinstance(measures, str) else measures
    raise_all(faults_of_strings("measures", measures) if measures is not None else [])
    measures = list(measures or DEFAULT_MEASURES)
    over = over or (GENERATOR if GENERATOR in results.factors else None)
    summary = results.summary(measures=measures, over=over)
    scale = results.study.get("scale", 1.0)
    labels = [c for c in _label_columns(results, over) if _tells_rows_apart(summary, c)]
    table = summary[labels].map(label)
    marked = "inference" if "inference" in labels else "estimator"
    table[marked] += np.where(summary.get("given_shocks", False), MARK, "")
    for name in measures:
        table[name.replace("_", " ")] = _figures(summary, name, scale)
    table.attrs["labels"] = labels
    return table


def label(value: Any) -> str:
    """Return a factor or name as text; empty where it is missing."""
    if pd.isna(value):
        return ""
    return f"{value:.6g}" if isinstance(value, float) and not value.is_integer() else f"{value}"


def _label_columns(results: Results, over: str | None) -> list[str]:
    factors = [factor for factor in results.factors if factor != over]
    return ["dgp", *factors, "estimator", "estimand", "inference"]


def _tells_rows_apart(summary: pd.DataFrame, column: str) -> bool:
    return column in ("dgp", "estimator") or summary[column].nunique(dropna=False) > 1


def _figures(summary: pd.DataFrame, name: str, scale: float) -> list[str]:
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


def estimates_table(estimates: pd.DataFrame, scale: float = 1.0) -> pd.DataFrame:
    """Return estimates on real data (see `mcsim.estimate`) as a table of text.

    Parameters
    ----------
    estimates : pandas.DataFrame
        From `mcsim.estimate`.
    scale : float
        Divisor of the values.
    """
    require_type("estimates", estimates, pd.DataFrame, "mcsim.estimate returns one")
    raise_all(faults_of_scale(scale))
    table = estimates[["estimator", "estimand", "inference"]].copy()
    errors = [min(se / scale, _COARSEST) if se > 0 else _COARSEST for se in estimates["se"]]
    for name in ("value", "se", "lower", "upper"):
        table[name] = list(map(rounded, estimates[name] / scale, errors))
    return table.assign(status=estimates["status"])


def comparison_table(compared: Comparison) -> pd.DataFrame:
    """Return a comparison with published figures (see `mcsim.compare`) as a table of text.

    Parameters
    ----------
    compared : Comparison
        The comparison.

    Returns
    -------
    pandas.DataFrame
        Strings, ready for `as_text`, `as_markdown` or `as_latex`.
    """
    require_type("compared", compared, Comparison, "mcsim.compare returns one")
    table = compared.table
    labels = [*compared.labels, "measure"]
    shown = table[labels].map(label)
    shown["published"] = [
        figure(value, known) if known else rounded(value, error)
        for value, known, error in zip(
            table["published"], table["published_mcse"], table["mcse"], strict=True
        )
    ]
    shown["ours"] = list(map(figure, table["ours"], table["mcse"]))
    shown["difference / MCSE"] = [f"{z:+.1f}" for z in table["z"]]
    shown.attrs["labels"] = labels
    return shown


def write_table(table: pd.DataFrame, folder: str | Path, name: str) -> None:
    """Print a table of text under its name, and write it as Markdown.

    Parameters
    ----------
    table : pandas.DataFrame
        Strings, such as `results_table` returns.
    folder : path
        Where to; made if it is not there.
    name : str
        Name of the file, without ending.
    """
    folder = as_path("folder", folder)
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{name.replace('_', ' ').capitalize()}:\n{as_text(table)}\n")
    (folder / f"{name}.md").write_text(as_markdown(table) + "\n")


def write_comparison(compared: Comparison, folder: str | Path) -> None:
    """Print a comparison with published figures, and write it as ``comparison.md`` and ``.png``.

    Parameters
    ----------
    compared : Comparison
        From `mcsim.compare`.
    folder : path
        Where to; made if it is not there.
    """
    from mcsim import plots  # matplotlib is slow to import

    folder = as_path("folder", folder)
    folder.mkdir(parents=True, exist_ok=True)
    table = comparison_table(compared)
    print(f"Published and ours:\n{as_text(table)}\n\n{compared}")
    (folder / "comparison.md").write_text(f"{as_markdown(table)}\n\n{compared}\n")
    plots.comparison(compared).savefig(folder / "comparison.png", dpi=100)
