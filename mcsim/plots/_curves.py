"""Measures against factors: lines, power curves, and nested loops of many factors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from mcsim._results.results import Results, require_results
from mcsim._run.study import GENERATOR
from mcsim.errors import InputError
from mcsim.measures._detectable import detectable_effect
from mcsim.plots._facets import (
    METHOD,
    Facet,
    faceted,
    label_axes,
    label_of,
    labels_of,
    scale_of,
    several,
    short,
    summary_of,
    target_of,
    with_methods,
    with_unit,
)
from mcsim.plots._style import (
    BAR,
    INK,
    REFERENCE,
    StyledFigure,
    Width,
    in_style,
    legend_above,
    mark,
    plain,
    reference_line,
    series,
    sized,
    width_of,
)

_BARS = 2.0  # Monte Carlo standard errors on each side
_TICKS = 8  # grids of at most this many values have a tick at each
_APART = 0.012  # series stand apart by this share of the axis, so that bars do not hide bars


@in_style
def lines(
    results: Results,
    *,
    x: str,
    y: str = "bias",
    by: str = "estimator",
    dgp: str | None = None,
    estimators: Sequence[str] | None = None,
    width: Width | float = "page",
) -> StyledFigure:
    """Draw a measure against a factor, a line for each estimator, with bars of two MCSE.

    The axis is logarithmic if the grid is geometric. Labels with several values that are neither
    ``x`` nor ``by`` get a facet for each value; an estimator has a line for each of its standard
    errors if the measure depends on them.

    Parameters
    ----------
    results : Results
        The results of a study.
    x : str
        A factor.
    y : str
        A measure.
    by : str
        The label of the lines: ``"estimator"``, ``"dgp"``, another factor.
    dgp : str, optional
        One DGP only.
    estimators : sequence of str, optional
        Which estimators; default all.
    width : {"column", "page"} or float
        Width in a journal, or in inches.

    Returns
    -------
    matplotlib.figure.Figure
        ``savefig`` writes PDF, SVG, and PNG at 300 dpi.

    Raises
    ------
    InputError
        For an unknown label or measure.
    """
    require_results(results)
    rows, names = _rows(results, x, y, by, dgp, estimators)
    figure, facets = _drawn(results, rows, names, x, y, by, width_of(width))
    handles: list[Artist] = _handles(names)
    if target := target_of(y, results.study):
        for facet in facets:
            reference_line(facet.axes, target[0])
        handles.append(mark(target[1], **REFERENCE))
    legend_above(figure, [*handles, mark("2 Monte Carlo standard errors", **BAR)])
    return plain(figure)


@in_style
def power(
    results: Results,
    *,
    x: str | None = None,
    by: str = "estimator",
    target: float = 0.8,
    dgp: str | None = None,
    estimators: Sequence[str] | None = None,
    width: Width | float = "page",
) -> StyledFigure:
    """Draw power curves: the share of rejections against an effect or a number of units.

    A tick on the axis marks the smallest value that has the target power (see
    `mcsim.measures.detectable_effect`).

    Parameters
    ----------
    results : Results
        The results of a study over a grid of effects, or of numbers of units.
    x : str, optional
        The factor on the axis; default the only factor with several values.
    by : str
        The label of the lines.
    target : float
        The power to mark.
    dgp, estimators, width
        As in `lines`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        For an unknown label, or several factors and no ``x``.
    """
    require_results(results)
    factors = [n for n in several(results.replicates, results.factors) if n != GENERATOR]
    if x is None:
        if len(factors) != 1:
            has = factors or "one cell: give it designs=mcsim.grid(effect=[0.0, 0.5, 1.0])"
            raise InputError(f"x: got none, expected the factor on the axis; the study has {has}")
        (x,) = factors
    rows, names = _rows(results, x, "rejection", by, dgp, estimators)
    figure, facets = _drawn(results, rows, names, x, "rejection", by, width_of(width))
    for facet in facets:
        facet.axes.axhline(target, color=INK, linewidth=0.8, linestyle=":", zorder=0.5)
        reference_line(facet.axes, 1 - results.study["level"])
        facet.axes.set_ylim(-0.02, 1.02)
        _mark_detectable(facet, names, x, target)
    label = f"level of the test, {1 - results.study['level']:.0%}"
    handles = [
        *_handles(names),
        mark(f"power of {target:.0%}", color=INK, linewidth=0.8, linestyle=":"),
        mark(label, **REFERENCE),
        mark("2 Monte Carlo standard errors", **BAR),
        mark(f"smallest {x} with {target:.0%}", color="#555555", marker=6, linestyle="none"),
    ]
    legend_above(figure, handles)
    return plain(figure)


def _mark_detectable(facet: Facet, names: Sequence[str], x: str, target: float) -> None:
    for place, name in enumerate(names):
        rows = facet.rows[facet.rows[METHOD] == name]
        if rows[x].nunique() < 2 or not pd.api.types.is_numeric_dtype(rows[x]):
            continue
        if rows[x].min() < 0 < rows[x].max():
            continue
        curve = rows[[x, "rejection", "rejection_mcse"]]
        (found,) = detectable_effect(curve, power=target, effect=x)["detectable_effect"]
        if np.isfinite(found):
            color = series(place)["color"]
            facet.axes.plot(
                found, -0.02, marker=6, color=color, clip_on=False, markersize=5, zorder=5
            )


def _rows(
    results: Results,
    x: str,
    y: str,
    by: str,
    dgp: str | None,
    estimators: Sequence[str] | None,
) -> tuple[pd.DataFrame, list[str]]:
    """Return the summary with the name of each row's line, and all these names."""
    known = [name for name in labels_of(results) if name != GENERATOR]
    x, by = label_of(x, known, "x"), label_of(by, known, "by")
    if x == by:
        raise InputError(f"x, by: both are {x!r}, expected two labels")
    rows = summary_of(results, [y], dgp, estimators)
    if x == "inference":
        rows = rows.assign(**{METHOD: rows[by].map(short)})
    else:
        rows = with_methods(rows, by)
    return rows, list(dict.fromkeys(rows[METHOD]))


def _drawn(
    results: Results,
    rows: pd.DataFrame,
    names: Sequence[str],
    x: str,
    y: str,
    by: str,
    width: float,
) -> tuple[StyledFigure, list[Facet]]:
    used = {x, by, *(["inference"] if by == "estimator" else [])}
    further = [name for name in several(rows, labels_of(results)) if name not in used]
    height = 1.75 if further else min(2.6, 0.68 * width)
    figure, facets = faceted(rows, further, width=width, height=height, extra=0.75)
    places = _places(rows[x])
    for facet in facets:
        for k, name in enumerate(names):
            own = facet.rows[facet.rows[METHOD] == name]
            _line(facet.axes, own, x, y, places, k, len(names), scale_of(y, results))
        _set_axis(facet.axes, rows[x], places)
    label_axes(figure, facets, x.replace("_", " "), with_unit(y, results))
    return figure, facets


def _line(
    axes: Axes,
    rows: pd.DataFrame,
    x: str,
    y: str,
    places: dict[Any, float],
    k: int,
    count: int,
    scale: float,
) -> None:
    at = np.array([places[value] for value in rows[x]], dtype=float)
    order = np.argsort(at)
    shift = (k - (count - 1) / 2) * _APART
    if is_geometric(list(places)):
        at *= (max(places.values()) / min(places.values())) ** shift
    else:
        at += shift * (max(places.values()) - min(places.values()) or 1.0)
    values = rows[y].to_numpy(dtype=float)[order] / scale
    errors = np.nan_to_num(rows[f"{y}_mcse"].to_numpy(dtype=float)[order]) / scale
    style = series(k)
    if not _is_number(list(places)):
        style["linestyle"] = "none"
    axes.errorbar(
        at[order], values, _BARS * errors, **style, elinewidth=0.8, capsize=1.5, capthick=0.8
    )


def _handles(names: Sequence[str]) -> list[Artist]:
    return [mark(name, **series(k)) for k, name in enumerate(names)]


def _is_number(values: Sequence[Any]) -> bool:
    return all(isinstance(v, (int, float, np.number)) and not isinstance(v, bool) for v in values)


def _places(column: pd.Series) -> dict[Any, float]:
    """Return the places of a factor's values on the axis: numbers as they are, words in order."""
    values = list(dict.fromkeys(column))
    if _is_number(values):
        return {value: float(value) for value in sorted(values)}
    return {value: float(place) for place, value in enumerate(values)}


def is_geometric(values: Sequence[Any]) -> bool:
    """Return whether at least three numbers grow by about one ratio, in unequal steps."""
    if len(values) < 3 or not _is_number(values) or min(values) <= 0:
        return False
    numbers = np.sort(np.asarray(values, dtype=float))
    ratios, steps = np.diff(np.log(numbers)), np.diff(numbers)
    return bool(ratios.max() <= 1.8 * ratios.min() and steps.max() > 1.8 * steps.min())


def _set_axis(axes: Axes, column: pd.Series, places: dict[Any, float]) -> None:
    values = list(places)
    if is_geometric(values):
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
    if not _is_number(values):
        axes.set_xticks(list(places.values()), [short(value) for value in values])
        axes.set_xlim(-0.5, len(values) - 0.5)
    elif len(values) <= _TICKS:
        axes.xaxis.set_major_locator(FixedLocator(list(places.values())))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))


@in_style
def nested_loop(
    results: Results,
    *,
    y: str = "bias",
    factors: Sequence[str] | None = None,
    by: str = "estimator",
    dgp: str | None = None,
    estimators: Sequence[str] | None = None,
    width: Width | float = "page",
) -> StyledFigure:
    """Draw a measure over all cells, side by side, in the order of nested loops over factors.

    Steps below the axis show the values of the factors; the first factor changes least often. After
    Rücker & Schwarzer (2014).

    Parameters
    ----------
    results : Results
        The results of a study of several factors.
    y : str
        A measure.
    factors : sequence of str, optional
        Their order, from the outer loop to the inner one; default as in the study. ``dgp`` and
        ``estimand`` may be among them.
    by : str
        The label of the lines.
    dgp, estimators, width
        As in `lines`.

    Returns
    -------
    matplotlib.figure.Figure

    References
    ----------
    Rücker & Schwarzer (2014), "Presenting simulation results in a nested loop plot", BMC Medical
    Research Methodology 14: 129.
    """
    require_results(results)
    known = [name for name in labels_of(results) if name != GENERATOR]
    rows, names = _rows(results, known[0] if by != known[0] else known[1], y, by, dgp, estimators)
    used = {by, *(["inference"] if by == "estimator" else [])}
    loops = [label_of(n, known, "factors") for n in factors or ()]
    loops += [name for name in several(rows, known) if name not in used and name not in loops]
    if not loops:
        raise InputError("results: the study has one cell, expected a grid; see plots.bias")
    values = {name: list(_places(rows[name])) for name in loops}
    order = [tuple(values[n].index(v) for n, v in zip(loops, row, strict=True))
             for row in rows[loops].itertuples(index=False, name=None)]  # fmt: skip
    cells = sorted(set(order))
    rows = rows.assign(_cell=[cells.index(place) for place in order])
    figure = sized(width_of(width), 3.1 + 0.24 * len(loops))
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 0.24 * len(loops) + 0.1])
    edges = np.arange(len(cells) + 1) - 0.5
    handles: list[Artist] = []
    for k, name in enumerate(names):
        own = rows[rows[METHOD] == name].set_index("_cell")[y].reindex(range(len(cells)))
        style = {key: value for key, value in series(k).items() if key != "marker"}
        top.stairs(own.to_numpy(dtype=float) / scale_of(y, results), edges, baseline=None, **style,
                   linewidth=1.3)  # fmt: skip
        handles.append(mark(name, **style))
    if target := target_of(y, results.study):
        reference_line(top, target[0])
        handles.append(mark(target[1], **REFERENCE))
    top.set_ylabel(with_unit(y, results))
    top.tick_params(axis="x", length=0)
    _loops(below, loops, values, cells, edges)
    below.set_xlabel(f"{len(cells)} cells")
    legend_above(figure, handles)
    return plain(figure)


def _loops(
    axes: Axes,
    loops: Sequence[str],
    values: dict[str, list[Any]],
    cells: Sequence[tuple[int, ...]],
    edges: np.ndarray,
) -> None:
    """Draw the values of the factors as steps, a band for each."""
    for band, name in enumerate(loops):
        places = np.array([cell[band] for cell in cells], dtype=float)
        top = max(1.0, len(values[name]) - 1.0)
        axes.stairs(-band + 0.55 * places / top, edges, baseline=None, color=INK, linewidth=0.9)
    words = [f"{n}: {', '.join(short(v) for v in values[n])}" for n in loops]
    axes.set_yticks([-band + 0.28 for band in range(len(loops))], words)
    axes.set_ylim(-len(loops) + 0.7, 0.85)
    axes.tick_params(axis="both", length=0)
    axes.set_xticks([])
    axes.spines[["left", "bottom"]].set_visible(False)
