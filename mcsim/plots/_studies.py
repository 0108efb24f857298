"""Figures of studies: measures of every estimator, and published figures beside a study's."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from mcsim._core.checks import faults_of_strings, require_type
from mcsim._results.results import Results, require_results
from mcsim._run.study import GENERATOR
from mcsim.errors import InputError, raise_all
from mcsim.measures import Comparison
from mcsim.plots._facets import (
    METHOD,
    Facet,
    chosen,
    faceted,
    label_axes,
    labels_of,
    of_dgp,
    scale_of,
    several,
    short,
    summary_of,
    target_of,
    titled,
    with_methods,
    with_unit,
)
from mcsim.plots._style import (
    BAR,
    COLORS,
    INK,
    MARKERS,
    PALE,
    REFERENCE,
    StyledFigure,
    Width,
    in_style,
    legend_above,
    mark,
    plain,
    reference_line,
    sized,
    width_of,
)

_MEMBER = "#4f7a8c"


@in_style
def bias(
    results: Results,
    *,
    dgp: str | None = None,
    estimators: Sequence[str] | None = None,
    width: Width | float = "page",
) -> StyledFigure:
    """Draw the bias of every estimator, with bars of two Monte Carlo standard errors.

    For an ensemble, small pale points are its generators, and the pale bar is their mean plus and
    minus one standard deviation. Each design and estimand has a facet.

    Parameters
    ----------
    results : Results
        The results of a study.
    dgp : str, optional
        One DGP only.
    estimators : sequence of str, optional
        Which estimators; default all.
    width : {"column", "page"} or float
        Width in a journal, or in inches.

    Returns
    -------
    matplotlib.figure.Figure
    """
    require_results(results)
    summary = of_dgp(results.summary(measures=["bias"]), dgp)
    summary = summary.drop_duplicates(["dgp", *results.factors, "estimator", "estimand"])
    names = chosen(summary, estimators)
    factors = [name for name in results.factors if name != GENERATOR]
    by = several(summary, [*factors, "estimand"])
    dgps = list(dict.fromkeys(summary["dgp"]))
    height = 0.5 + 0.22 * len(names) * max(1.0, 0.7 * len(dgps))
    figure, facets = faceted(summary, by, width=width_of(width), height=height, extra=0.75)
    for facet in facets:
        _biases(facet.axes, facet.rows, names, dgps, scale_of("bias", results))
    facets[0].axes.set_ylim(len(names) - 0.4, -0.6)
    label_axes(figure, facets, with_unit("bias", results))
    handles: list[Artist] = [
        mark(name, color=COLORS[i % 7], marker=MARKERS[i % 6], linestyle="none")
        for i, name in enumerate(dgps if len(dgps) > 1 else ["bias"])
    ]
    handles.append(mark("2 Monte Carlo standard errors", **BAR))
    if GENERATOR in results.factors:
        handles += [
            mark("a generator", color=_MEMBER, marker=".", linestyle="none"),
            mark("± 1 standard deviation between generators", color=PALE, linewidth=5),
        ]
    legend_above(figure, handles)
    return plain(figure)


def _biases(
    axes: Axes, rows: pd.DataFrame, names: Sequence[str], dgps: Sequence[str], scale: float
) -> None:
    axes.axvline(0, color=INK, linewidth=0.8)
    for i, name in enumerate(dgps):
        mine = rows[rows["dgp"] == name]
        for j, estimator in enumerate(names):
            place = j + (i - (len(dgps) - 1) / 2) * min(0.3, 0.75 / len(dgps))
            _bias_row(axes, mine[mine["estimator"] == estimator], place, i, scale)
    axes.set_yticks(range(len(names)), names)


def _bias_row(axes: Axes, rows: pd.DataFrame, place: float, i: int, scale: float) -> None:
    if rows.empty:
        return
    values = rows["bias"].to_numpy(dtype=float) / scale
    errors = rows["bias_mcse"].to_numpy(dtype=float) / scale
    mean, error = values.mean(), np.sqrt((errors**2).sum()) / len(errors)
    if len(values) > 1:
        ends = mean - values.std(ddof=1), mean + values.std(ddof=1)
        axes.plot(ends, [place, place], color=PALE, linewidth=5, zorder=1)
        axes.plot(values, np.full(len(values), place), ".", color=_MEMBER, markersize=4, zorder=2)
    axes.errorbar(
        mean, place, xerr=2 * error, fmt=MARKERS[i % 6], color=COLORS[i % 7], markersize=4,
        elinewidth=0.9, capsize=2,
    )  # fmt: skip


@in_style
def lollipop(
    results: Results,
    *,
    measures: str | Sequence[str] = ("bias", "rmse", "coverage"),
    dgp: str | None = None,
    estimators: Sequence[str] | None = None,
    width: Width | float = "page",
) -> StyledFigure:
    """Draw measures as lollipops: a stick from the right value, a bar of two MCSE.

    Parameters
    ----------
    results : Results
        The results of a study. Each DGP, design and estimand has a row of facets.
    measures : str or sequence of str
        Names of measures, one for each column of facets.
    dgp, estimators
        One DGP only; which estimators.
    width : {"column", "page"} or float
        Width in a journal, or in inches.

    Returns
    -------
    matplotlib.figure.Figure
    """
    require_results(results)
    names = [measures] if isinstance(measures, str) else measures
    raise_all(faults_of_strings("measures", names))
    if not names:
        raise InputError("measures: got none, expected names of measures")
    rows = summary_of(results, list(names), dgp, estimators)
    rows = with_methods(rows)
    methods = list(dict.fromkeys(rows[METHOD]))
    by = [n for n in several(rows, labels_of(results)) if n not in ("estimator", "inference")]
    cells = list(rows.groupby(by, sort=False, dropna=False)) if by else [((), rows)]
    if len(cells) > 20:
        raise InputError(
            f"results: {len(cells)} cells, expected at most 20; name a dgp or use lines"
        )
    height = 0.7 + len(cells) * (0.4 + 0.2 * len(methods))
    figure = sized(width_of(width), height)
    grid = figure.subplots(len(cells), len(names), squeeze=False, sharey=True, sharex="col")
    titles = titled(by, [tuple(map(short, key)) for key, _ in cells])
    for line, (_, part), title in zip(grid, cells, titles, strict=True):
        for axes, name in zip(line, names, strict=True):
            _lollipops(axes, part, methods, name, results)
        line[0].set_title(title, loc="left")
    for axes, name in zip(grid[-1], names, strict=True):
        axes.set_xlabel(with_unit(name, results))
        axes.xaxis.set_major_locator(MaxNLocator(4))
    grid[0, 0].set_ylim(len(methods) - 0.5, -0.5)
    handles: list[Artist] = [
        mark("estimate", color=COLORS[0], marker="o", linestyle="none"),
        mark("2 Monte Carlo standard errors", **BAR),
    ]
    if any(target_of(name, results.study) for name in names):
        handles.append(mark("right value", **REFERENCE))
    legend_above(figure, handles)
    return plain(figure)


def _lollipops(
    axes: Axes, rows: pd.DataFrame, methods: Sequence[str], name: str, results: Results
) -> None:
    scale = scale_of(name, results)
    values = rows[name].to_numpy(dtype=float) / scale
    errors = 2 * np.nan_to_num(rows[f"{name}_mcse"].to_numpy(dtype=float)) / scale
    places = np.array([methods.index(method) for method in rows[METHOD]])
    target = target_of(name, results.study)
    start = target[0] if target else 0.0
    if target:
        reference_line(axes, target[0], vertical=True)
    axes.hlines(places, start, values, color=COLORS[0], linewidth=1.6, alpha=0.45)
    axes.errorbar(
        values, places, xerr=errors, fmt="o", color=COLORS[0], ecolor="#222222", markersize=3.5,
        elinewidth=0.9, capsize=2,
    )  # fmt: skip
    axes.set_yticks(range(len(methods)), methods)
    axes.tick_params(axis="y", length=0)


@in_style
def coverage(
    results: Results,
    *,
    dgp: str | None = None,
    estimators: Sequence[str] | None = None,
    width: Width | float | None = None,
) -> StyledFigure:
    """Draw the coverage of every estimator and standard error, a facet for each cell.

    Parameters
    ----------
    results : Results
        The results of a study. Each DGP, design and estimand has a facet.
    dgp : str, optional
        One DGP only.
    estimators : sequence of str, optional
        Which estimators; default all.
    width : {"column", "page"} or float, optional
        Width in a journal, or in inches; default as the cells need.

    Returns
    -------
    matplotlib.figure.Figure
        Points with 95 % score limits for Monte Carlo error; the line is the nominal level.
    """
    require_results(results)
    summary = of_dgp(results.summary(measures=["coverage"]), dgp)
    summary = summary[summary["estimator"].isin(chosen(summary, estimators))]
    rows = summary[["estimator", "inference"]].agg("  ".join, axis=1).str.strip()
    summary = summary.assign(_row=rows)
    names = list(dict.fromkeys(rows))
    by = ["dgp", *several(summary, [*results.factors, "estimand"])]
    cells = len(summary.drop_duplicates(by))
    inches = width_of(width) if width else min(10.0, max(4.0, 1.2 + 1.6 * cells))
    height = 0.45 + 0.2 * len(names)
    figure, facets = faceted(summary, by, width=inches, height=height, extra=0.8)
    for facet in facets:
        _coverages(facet, names, results.study["level"])
    facets[0].axes.set_ylim(len(names) - 0.5, -0.5)
    label_axes(figure, facets, "coverage")
    level = mark(f"level of the intervals, {results.study['level']:.0%}", **REFERENCE)
    point = mark("coverage", color=COLORS[0], marker="o", linestyle="none")
    legend_above(figure, [point, mark("95 % score limits for Monte Carlo error", **BAR), level])
    return plain(figure)


def _coverages(facet: Facet, names: Sequence[str], level: float) -> None:
    values = facet.rows["coverage"].to_numpy()
    limits = facet.rows[["coverage_lower", "coverage_upper"]].to_numpy().T
    places = [names.index(name) for name in facet.rows["_row"]]
    facet.axes.errorbar(
        values, places, xerr=np.abs(limits - values), fmt="o", color=COLORS[0], markersize=3.5,
        elinewidth=0.9,
    )  # fmt: skip
    reference_line(facet.axes, level, vertical=True)
    facet.axes.set_yticks(range(len(names)), names)


@in_style
def comparison(compared: Comparison) -> StyledFigure:
    """Draw differences between a study's figures and published ones, in Monte Carlo errors.

    Parameters
    ----------
    compared : Comparison
        From `mcsim.compare`.

    Returns
    -------
    matplotlib.figure.Figure
        A point for each figure, a marker for each measure; bands of two and four Monte Carlo
        standard errors on each side.
    """
    require_type("compared", compared, Comparison, "mcsim.compare returns one")
    table = compared.table
    cells = table[compared.labels].astype(str).agg("  ".join, axis=1)
    names = list(dict.fromkeys(cells))
    measures = list(dict.fromkeys(table["measure"]))
    figure = sized(7.0, 1.2 + 0.2 * len(names))
    axes = figure.subplots()
    axes.axvspan(-4, 4, color=PALE, alpha=0.25, linewidth=0)
    axes.axvspan(-2, 2, color=PALE, alpha=0.35, linewidth=0)
    axes.axvline(0, color=INK, linewidth=0.8)
    for i, measure in enumerate(measures):
        rows = table["measure"] == measure
        places = [names.index(cell) for cell in cells[rows]]
        color = COLORS[i % 7]
        axes.plot(
            table.loc[rows, "z"], places, MARKERS[i % 6], color=color, alpha=0.8, label=measure
        )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_title("  ".join(compared.labels), loc="left")
    axes.set_xlabel("ours less published, combined Monte Carlo standard errors")
    handles: list[Artist] = [
        mark(
            measure.replace("_", " "), color=COLORS[i % 7], marker=MARKERS[i % 6], linestyle="none"
        )
        for i, measure in enumerate(measures)
    ]
    handles.append(mark("bands of 2 and 4 standard errors", color=PALE, linewidth=5, alpha=0.6))
    legend_above(figure, handles)
    return plain(figure)


@in_style
def forest(compared: Comparison, *, width: Width | float = "page") -> StyledFigure:
    """Draw published figures beside a study's own, with bars of two standard errors.

    Parameters
    ----------
    compared : Comparison
        From `mcsim.compare`.
    width : {"column", "page"} or float
        Width in a journal, or in inches.

    Returns
    -------
    matplotlib.figure.Figure
        A row for each cell, a facet for each measure.
    """
    require_type("compared", compared, Comparison, "mcsim.compare returns one")
    table = compared.table
    cells = _cells(compared)
    names = list(dict.fromkeys(cells))
    rows = table.assign(_row=cells)
    height = 0.45 + 0.24 * len(names)
    by = ["measure"]
    figure, facets = faceted(rows, by, width=width_of(width), height=height, sharex=False)
    sides = (
        ("published", "published_mcse", -0.15, INK, "D"),
        ("ours", "mcse", 0.15, COLORS[1], "o"),
    )
    for facet in facets:
        facet.axes.set_title(facet.key[0].replace("_", " "))
        places = np.array([names.index(name) for name in facet.rows["_row"]])
        for value, error, shift, color, marker in sides:
            facet.axes.errorbar(
                facet.rows[value], places + shift, xerr=2 * facet.rows[error].fillna(0.0),
                fmt=marker, color=color, markersize=3.5, elinewidth=0.9, capsize=2,
            )  # fmt: skip
        facet.axes.set_yticks(range(len(names)), names)
        facet.axes.tick_params(axis="y", length=0)
    facets[0].axes.set_ylim(len(names) - 0.5, -0.5)
    handles: list[Artist] = [
        mark("published", color=INK, marker="D", linestyle="none"),
        mark("ours", color=COLORS[1], marker="o", linestyle="none"),
        mark("2 standard errors of each", **BAR),
    ]
    legend_above(figure, handles)
    return plain(figure)


def _cells(compared: Comparison) -> pd.Series:
    """Return the name of each figure's cell: its labels, of those with several values."""
    labels = several(compared.table, compared.labels) or compared.labels[:1]
    keys = [tuple(map(short, key)) for key in compared.table[labels].to_numpy(dtype=object)]
    return pd.Series(titled(labels, keys, np.inf), compared.table.index, dtype=object)
