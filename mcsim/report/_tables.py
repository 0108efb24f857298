"""Tables of results: each figure with its Monte Carlo error, and the files that hold them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mcsim._core.calls import with_remedies
from mcsim._core.checks import as_path, faults_of_strings, require_type
from mcsim._core.markup import figure, rounded
from mcsim._results.caveats import MARK
from mcsim._results.display import OF_ESTIMATES, figures, label
from mcsim._results.results import DEFAULT_MEASURES, Results, require_results
from mcsim._run.study import GENERATOR, faults_of_scale
from mcsim.errors import raise_all
from mcsim.measures import Comparison
from mcsim.report._formats import (
    ENDINGS,
    as_csv,
    as_html,
    as_latex,
    as_markdown,
    as_text,
    require_format,
)
from mcsim.report._layout import laid_out

_COARSEST = 0.01  # estimates on real data have three decimals at least


@with_remedies()
def results_table(
    results: Results,
    *,
    measures: str | Sequence[str] | None = None,
    over: str | None = None,
    rows: str | Sequence[str] | None = None,
    columns: str | Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the summary of a study as a table of text: figures, errors in round brackets.

    Each figure is rounded to two digits of its own Monte Carlo error. It has none where that error
    is zero: all replications agree. There are no stars.

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
    rows, columns : str or sequence of str, optional
        Which labels go down and which across: factors, ``dgp``, ``estimator``, ``estimand``,
        ``inference``, and ``measure``, the names of the measures. By default the measures go
        across and the labels down. With ``columns="n"`` the values of ``n`` stand below each
        measure, with ``columns=("n", "measure")`` the measures below each value. Labels with one
        value are left out unless you name them; all keep the order of the study. If you name
        both sides, you may leave out a label that the others determine, such as ``inference``
        where each estimator has one standard error.

    Returns
    -------
    pandas.DataFrame
        Strings, ready for `as_text`, `as_markdown`, `as_latex`, `as_html` or `as_csv`. With
        ``columns`` it has one level of columns for the measures and one for each of them.

    Raises
    ------
    InputError
        For an unknown label or measure, one that goes both down and across, and labels with
        several values that are in neither.
    """
    require_results(results)
    measures = [measures] if isinstance(measures, str) else measures
    raise_all(faults_of_strings("measures", measures) if measures is not None else [])
    measures = list(measures or DEFAULT_MEASURES)
    over = over or (GENERATOR if GENERATOR in results.factors else None)
    summary = results.summary(measures=measures, over=over)
    scale = results.study.get("scale", 1.0)
    every = _label_columns(results, over)
    lay_out = rows is not None or columns is not None
    if lay_out and set(measures) <= OF_ESTIMATES and "inference" not in _named(rows, columns):
        summary = _without_inference(summary, every, measures)
    given = summary.get("given_shocks", pd.Series(False, summary.index))
    marks = np.where(given, MARK, "")
    texts = {name.replace("_", " "): figures(summary, name, scale) for name in measures}
    if lay_out:
        marked = {n: [c + m for c, m in zip(t, marks, strict=True)] for n, t in texts.items()}
        return laid_out(summary[every], marked, rows, columns)
    labels = [c for c in every if _tells_rows_apart(summary, c)]
    table = summary[labels].map(label)
    table["inference" if "inference" in labels else "estimator"] += marks
    table = table.assign(**texts)
    table.attrs["labels"] = labels
    return table


def _named(*sides: str | Sequence[str] | None) -> list[str]:
    """Return the labels that are named."""
    lists = ([side] if isinstance(side, str) else side for side in sides)
    return [name for side in lists if isinstance(side, (list, tuple)) for name in side]


def _without_inference(
    summary: pd.DataFrame, labels: Sequence[str], measures: Sequence[str]
) -> pd.DataFrame:
    """Return a row for each fit where measures are equal for all of its standard errors."""
    rest = [name for name in labels if name != "inference"]
    once = summary.drop_duplicates([*rest, *measures])
    if len(once) > len(summary[rest].drop_duplicates()):
        return summary
    return once.assign(inference="").reset_index(drop=True)


def _label_columns(results: Results, over: str | None) -> list[str]:
    factors = [factor for factor in results.factors if factor != over]
    return ["dgp", *factors, "estimator", "estimand", "inference"]


def _tells_rows_apart(summary: pd.DataFrame, column: str) -> bool:
    return column in ("dgp", "estimator") or summary[column].nunique(dropna=False) > 1


@with_remedies()
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


def write_table(
    table: pd.DataFrame | Mapping[str, pd.DataFrame],
    folder: str | Path,
    name: str,
    *,
    formats: str | Sequence[str] = "markdown",
    caption: str = "",
    label: str = "",
    notes: str | Sequence[str] = (),
    siunitx: bool = False,
) -> list[Path]:
    """Print a table of text under its name, and write it in each of the formats asked for.

    Parameters
    ----------
    table : pandas.DataFrame, or mapping of str to DataFrame
        Strings, such as `results_table` returns; of `split_table`, the parts of one, which follow
        one another under their names.
    folder : path
        Where to; made if it is not there.
    name : str
        Name of the files, without ending.
    formats : str or sequence of str
        ``"markdown"``, ``"latex"``, ``"html"``, ``"csv"``, ``"text"``.
    caption, label, notes, siunitx
        Of `as_latex`; caption and notes of `as_html` too.

    Returns
    -------
    list of Path
        The files.
    """
    kinds = [formats] if isinstance(formats, str) else list(formats)
    for kind in kinds:
        require_format(kind)
    folder = as_path("folder", folder)
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"": table} if isinstance(table, pd.DataFrame) else dict(table)
    texts = [f"{part}\n{as_text(own)}".lstrip() for part, own in parts.items()]
    print(f"{name.replace('_', ' ').capitalize()}:", *texts, sep="\n", end="\n\n")
    endings = {kind: ending for ending, kind in ENDINGS.items()}
    files = []
    for kind in kinds:
        blocks = []
        for i, (part, own) in enumerate(parts.items()):
            last = i == len(parts) - 1
            title = ": ".join(filter(None, [caption, part]))
            own_label = f"{label}-{i + 1}" if label and len(parts) > 1 else label
            blocks.append(_written(kind, own, title, own_label, notes if last else (), siunitx))
        files.append(folder / f"{name}.{endings[kind]}")
        files[-1].write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    return files


def _written(
    kind: str,
    table: pd.DataFrame,
    title: str,
    label: str,
    notes: str | Sequence[str],
    siunitx: bool,
) -> str:
    if kind == "latex":
        return as_latex(table, caption=title, label=label, notes=notes, siunitx=siunitx)
    if kind == "html":
        return as_html(table, caption=title, notes=notes)
    if kind == "csv":
        return as_csv(table).rstrip("\n")
    return as_text(table) if kind == "text" else as_markdown(table)


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
