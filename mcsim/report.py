"""Tables of results, as text, Markdown or LaTeX: each figure with its Monte Carlo error."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from mcsim._core.checks import as_path, faults_of_strings, require_type
from mcsim._core.markup import figure, in_latex, in_markdown, latex_comment, rounded
from mcsim._results.caveats import MARK, NOTE, conditional_rows
from mcsim._results.results import DEFAULT_MEASURES, Results, doubtful_se, require_results
from mcsim._run.study import GENERATOR, faults_of_scale
from mcsim.errors import InputError, did_you_mean, printable, raise_all
from mcsim.measures import Comparison
from mcsim.measures._definitions import MEASURES

Format = Literal["text", "markdown", "latex"]

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
    table = summary[labels].map(_label)
    marked = "inference" if "inference" in labels else "estimator"
    table[marked] += np.where(summary.get("given_shocks", False), MARK, "")
    for name in measures:
        table[name.replace("_", " ")] = _figures(summary, name, scale)
    table.attrs["labels"] = labels
    return table


def _label(value: Any) -> str:
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
    shown = table[labels].map(_label)
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


def as_text(table: pd.DataFrame, width: int | None = None) -> str:
    """Return a table as aligned plain text.

    Parameters
    ----------
    table : pandas.DataFrame
        Strings.
    width : int, optional
        Characters in a line: a wider table is broken into several, each with the labels.

    Examples
    --------
    >>> print(as_text(pd.DataFrame({"estimator": ["aipw"], "bias": ["0.01 (0.02)"]})))
    estimator         bias
    ----------------------
    aipw       0.01 (0.02)
    """
    require_type("table", table, pd.DataFrame, "results_table returns one")
    table = table.map(printable)
    labels = list(itertools.takewhile(lambda name: _is_label(table, name), table.columns))
    figures = list(table.columns[len(labels) :])
    sizes = {name: max(map(len, [printable(name), *table[name]])) for name in table.columns}
    room = (width or 10**6) - sum(sizes[name] + 2 for name in labels)
    blocks: list[list[str]] = [[]]
    for name in figures:
        taken = sum(sizes[other] + 2 for other in blocks[-1])
        if blocks[-1] and taken + sizes[name] > room:
            blocks.append([])
        blocks[-1].append(name)
    return "\n\n".join(_aligned(table[[*labels, *block]], sizes) for block in blocks)


def _aligned(table: pd.DataFrame, sizes: Mapping[str, int]) -> str:
    rows = [list(map(printable, table.columns)), *table.to_numpy().tolist()]
    lines = [
        "  ".join(
            cell.ljust(sizes[name]) if name in _LABELS else cell.rjust(sizes[name])
            for name, cell in zip(table.columns, row, strict=True)
        ).rstrip()
        for row in rows
    ]
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:]])


_LABELS = ("dgp", "estimator", "estimand", "inference", "generator", "status")


def _is_label(table: pd.DataFrame, name: Any) -> bool:
    """Return whether a column labels the rows; broken tables repeat it."""
    return name in table.attrs.get("labels", _LABELS)


def as_markdown(table: pd.DataFrame) -> str:
    r"""Return a table in Markdown.

    Examples
    --------
    >>> print(as_markdown(pd.DataFrame({"estimator": ["a|b"], "bias": ["0.01"]})))
    | estimator | bias |
    | :-- | --: |
    | a\|b | 0.01 |
    """
    require_type("table", table, pd.DataFrame, "results_table returns one")
    rows = [list(map(in_markdown, table.columns)), *table.map(in_markdown).to_numpy().tolist()]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    marks = [":--" if name in _LABELS else "--:" for name in table.columns]
    return "\n".join([lines[0], "| " + " | ".join(marks) + " |", *lines[1:]])


def as_latex(table: pd.DataFrame) -> str:
    r"""Return a table in LaTeX, with the rules of the package booktabs.

    Examples
    --------
    >>> print(as_latex(pd.DataFrame({"estimator": ["a_b"], "bias": ["0.01"]})))
    \begin{tabular}{lr}
    \toprule
    estimator & bias \\
    \midrule
    a\_b & 0.01 \\
    \bottomrule
    \end{tabular}
    """
    require_type("table", table, pd.DataFrame, "results_table returns one")
    rows = [list(map(in_latex, table.columns)), *table.map(in_latex).to_numpy().tolist()]
    lines = [" & ".join(row) + r" \\" for row in rows]
    columns = "".join("l" if name in _LABELS else "r" for name in table.columns)
    head = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", lines[0], r"\midrule"]
    return "\n".join([*head, *lines[1:], r"\bottomrule", r"\end{tabular}"])


_MARKUP: Mapping[str, Callable[[pd.DataFrame], str]] = {
    "markdown": as_markdown,
    "latex": as_latex,
}

_LINES: Mapping[str, Callable[[str], str]] = {
    "text": printable,
    "markdown": in_markdown,
    "latex": latex_comment,
}


def render(table: pd.DataFrame, kind: str = "text", width: int | None = None) -> str:
    """Return a table in a format by its name: text (of some width), markdown or latex."""
    _require_format(kind)
    return as_text(table, width) if kind == "text" else _MARKUP[kind](table)


_ENDINGS = {"tex": "latex", "md": "markdown", "txt": "text"}
"""Formats by how their files end."""


def _require_format(kind: str) -> None:
    known = get_args(Format)
    if kind not in known:
        meant = _ENDINGS.get(str(kind))
        hint = f"; did you mean {meant!r}?" if meant else did_you_mean(kind, known)
        raise InputError(f"format: got {kind!r}{hint}")


def notes(results: Results, kind: str = "text") -> str:
    """Return the notes under a table: marks, truths, and caveats.

    Parameters
    ----------
    results : Results
        The results.
    kind : {"text", "markdown", "latex"}
        The format of the table; in LaTeX notes are comments.
    """
    _require_format(kind)
    require_results(results)
    study = results.study
    lines = [
        f"{study['reps']:,} replications, seed {study['seed']}; in brackets the Monte Carlo "
        f"standard error; intervals at {study['level']:.0%}, tests of {study['null']:g}."
    ]
    lines += _incomplete(results) + _skipped(results) + _without_se(results)
    if study.get("unit"):
        lines.append(f"Bias, standard errors and RMSE in {study['unit']}.")
    if GENERATOR in results.factors:
        lines.append(
            "Averages over the generators; in square brackets the standard deviation between them."
        )
    if conditional_rows(results.replicates, results.study).any():
        lines.append(NOTE)
    lines += [f"{name}: {summary}." for name, summary in study["dgps"].items() if summary]
    lines += [
        f"Note: {note} (mean over the samples of a cell's first block)." for note in results.notes
    ]
    lines += [f"Note: {note}." for note in doubtful_se(results)]
    lines += [f"Caveat: {caveat}" for caveat in results.caveats]
    return "\n".join(map(_LINES[kind], lines))


def _without_se(results: Results) -> list[str]:
    """Return where standard errors are undefined: coverage and power rest on the others."""
    rows = results.replicates
    where = [rows[c] for c in ("dgp", *results.factors, "estimator", "estimand", "inference")]
    missing = (rows["status"] == "no_se").groupby(where, dropna=False, sort=False)
    return [
        f"{' '.join(filter(None, map(_label, row)))}: no standard error in {lacking:,} of {all_:,} "
        "replications, where it is not defined."
        for row, lacking, all_ in missing.agg(["sum", "size"]).itertuples()
        if lacking
    ]


def _skipped(results: Results) -> list[str]:
    """Return the number of failures that are replications not computed."""
    failures = results.failures
    skipped = failures[failures["status"] == "skipped"]
    counts = skipped.groupby("estimator", sort=False)["replications"].sum()
    return [
        f"{name}: {n:,} of its failures are replications that were skipped, since all of a cell's "
        "first block failed."
        for name, n in counts.items()
    ]


def _incomplete(results: Results) -> list[str]:
    """Return a sentence if the store does not hold all replications yet."""
    study = results.study
    asked = study["reps"] * sum(len(cell["estimators"]) for cell in study["cells"])
    rows = results.replicates
    held = len(rows.drop_duplicates(["dgp", *results.factors, "estimator", "rep"]))
    if held == asked:
        return []
    return [
        f"INCOMPLETE: {held:,} of {asked:,} replications of estimators are in the store; mcsim run "
        "goes on."
    ]
