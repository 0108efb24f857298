"""Figures of single replications: zip plots, estimates against standard errors, p-values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from mcsim._results.results import Results, require_results
from mcsim._run.study import GENERATOR
from mcsim.errors import InputError
from mcsim.plots._facets import (
    METHOD,
    chosen,
    faceted,
    label_axes,
    labels_of,
    of_dgp,
    several,
    with_methods,
)
from mcsim.plots._style import (
    HIT,
    INK,
    MISS,
    PALE,
    REFERENCE,
    StyledFigure,
    Width,
    in_style,
    legend_above,
    mark,
    plain,
    series,
    width_of,
)

INTERVALS_DRAWN = 500
POINTS_DRAWN = 1000
_WIDE = 3.0  # axes are cut if the ends of intervals span this many times their range from 1 to 99 %


@in_style
def zip_plot(
    results: Results,
    *,
    dgp: str | None = None,
    estimators: Sequence[str] | None = None,
    width: Width | float | None = None,
) -> StyledFigure:
    """Draw the intervals of every estimator, the least plausible on top: a zip for coverage.

    Replications are ranked by the distance of estimate and truth in standard errors; intervals
    that miss the truth are red. With right coverage the red part begins at the level (dashed).
    If there are many replications, about 500 of them are drawn, in equal steps; the percentage is
    that of all.
    All zips have the same axes. After Morris, White & Crowther (2019), figure 5.

    Parameters
    ----------
    results : Results
        The results of a study. Each design, estimand and standard error has zips of its own.
    dgp : str, optional
        The DGP; default the first. The replications of an ensemble are pooled.
    estimators : sequence of str, optional
        Which estimators; default all.
    width : {"column", "page"} or float, optional
        Width in a journal, or in inches; default as many as the zips need.

    Returns
    -------
    matplotlib.figure.Figure
    """
    rows = _replicates(results, dgp, estimators)
    rows = rows[rows["lower"].notna() & rows["upper"].notna() & rows["truth"].notna()]
    if rows.empty:
        raise InputError("results: no intervals with a truth to draw")
    inches = width_of(width) if width else max(4.0, min(10.0, 1.9 * rows[METHOD].nunique() + 0.6))
    by = [METHOD, *_further(rows, results)]
    figure, facets = faceted(rows, by, width=inches, height=2.7, extra=0.9)
    scale, level = results.study.get("scale", 1.0), results.study["level"]
    for facet in facets:
        if not facet.rows.empty:
            _zip(facet.axes, facet.rows, level, scale)
    _cut(facets[0].axes, rows, scale)
    height = "percentile of |estimate - truth| / standard error"
    label_axes(figure, facets, f"interval - truth{_unit(results)}", height)
    handles: list[Artist] = [
        mark("covers the truth", color=HIT, linewidth=1.6),
        mark("misses it", color=MISS, linewidth=1.6),
        mark("truth", color=INK, linewidth=0.8),
        mark(f"level, {level:.0%}", color=INK, linewidth=0.8, linestyle="--"),
    ]
    legend_above(figure, handles)
    return plain(figure)


def _zip(axes: Axes, rows: pd.DataFrame, level: float, scale: float) -> None:
    distance = ((rows["value"] - rows["truth"]) / rows["se"]).abs()
    rows = rows.iloc[np.argsort(distance.to_numpy())]
    height = 100 * (np.arange(len(rows)) + 0.5) / len(rows)
    truth = rows["truth"].to_numpy()
    lower, upper = (rows["lower"] - truth) / scale, (rows["upper"] - truth) / scale
    hit = ((lower <= 0) & (upper >= 0)).to_numpy()
    drawn = np.arange(len(rows)) % max(1, len(rows) // INTERVALS_DRAWN) == 0
    for which, color in ((hit & drawn, HIT), (~hit & drawn, MISS)):
        axes.hlines(height[which], lower[which], upper[which], color=color, linewidth=0.6)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.axhline(100 * level, color=INK, linewidth=0.8, linestyle="--")
    axes.set_ylim(0, 101)
    axes.text(
        0.03, 0.03, f"{hit.mean():.1%}", transform=axes.transAxes, color=INK, fontsize=8,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85},
    )  # fmt: skip


def _cut(axes: Axes, rows: pd.DataFrame, scale: float) -> None:
    """Set common limits, which cut off a few intervals that lie far out."""
    ends = np.concatenate(
        [(rows[c] - rows["truth"]).to_numpy() / scale for c in ("lower", "upper")]
    )
    ends = ends[np.isfinite(ends)]
    if not len(ends):
        return
    low, high = np.quantile(ends, [0.01, 0.99])
    if ends.max() - ends.min() > _WIDE * (high - low) > 0:
        axes.set_xlim(low - 0.25 * (high - low), high + 0.25 * (high - low))


@in_style
def estimates_and_se(
    results: Results,
    *,
    dgp: str | None = None,
    estimators: Sequence[str] | None = None,
    width: Width | float = "page",
) -> StyledFigure:
    """Draw each replication's estimate against its standard error.

    The vertical line is the truth. Between the dashed lines a normal interval covers it. A slope of
    the points shows that estimates with small standard errors err in one direction.

    Parameters
    ----------
    results : Results
        The results of a study. Each design, estimand and standard error has a facet of its own.
    dgp, estimators
        One DGP only (default the first); which estimators.
    width : {"column", "page"} or float
        Width in a journal, or in inches.

    Returns
    -------
    matplotlib.figure.Figure
        At most 1,000 replications in each facet.
    """
    rows = _replicates(results, dgp, estimators)
    rows = rows[np.isfinite(rows["value"]) & np.isfinite(rows["se"]) & rows["truth"].notna()]
    if rows.empty:
        raise InputError("results: no estimates with a standard error and a truth to draw")
    by = [METHOD, *_further(rows, results)]
    figure, facets = faceted(rows, by, width=width_of(width), height=2.1, extra=0.8)
    scale = results.study.get("scale", 1.0)
    for facet in facets:
        _scatter(facet.axes, facet.rows, results.study["level"], scale)
    unit = _unit(results)
    label_axes(figure, facets, f"estimate - truth{unit}", f"standard error{unit}")
    far = np.abs((rows["value"] - rows["truth"]).to_numpy() / scale)
    edge = 1.1 * float(np.quantile(far, 0.999))
    facets[0].axes.set_xlim(-edge or -1.0, edge or 1.0)
    handles: list[Artist] = [
        mark("interval covers", color="#0072b2", marker="o", linestyle="none"),
        mark("interval misses", color=MISS, marker="x", linestyle="none"),
        mark("truth", color=INK, linewidth=0.8),
        mark("edge of covering intervals (normal)", **REFERENCE),
    ]
    legend_above(figure, handles)
    return plain(figure)


def _scatter(axes: Axes, rows: pd.DataFrame, level: float, scale: float) -> None:
    rows = rows.iloc[:POINTS_DRAWN]
    error, se = ((rows["value"] - rows["truth"]) / scale).to_numpy(), rows["se"].to_numpy() / scale
    hit = ((rows["lower"] <= rows["truth"]) & (rows["upper"] >= rows["truth"])).to_numpy()
    alpha = float(np.clip(60 / np.sqrt(max(len(rows), 1)) / 10, 0.2, 0.8))
    axes.scatter(error[hit], se[hit], s=9, color="#0072b2", alpha=alpha, linewidths=0)
    axes.scatter(error[~hit], se[~hit], s=9, color=MISS, alpha=0.8, marker="x", linewidths=0.7)
    axes.axvline(0, color=INK, linewidth=0.8)
    top = float(se.max(initial=0.0)) * 1.08 or 1.0
    for sign in (-1, 1):
        axes.plot([0, sign * scipy.special.ndtri(0.5 + level / 2) * top], [0, top], **REFERENCE)


@in_style
def p_values(
    results: Results,
    *,
    dgp: str | None = None,
    estimators: Sequence[str] | None = None,
    width: Width | float = "page",
) -> StyledFigure:
    """Draw the distribution function of the p-values of each estimator.

    If the null is true, the p-values of a right test are uniform: its line follows the diagonal,
    and 95 % of its points lie in the band. A line above the band belongs to a test that rejects too
    often.

    Parameters
    ----------
    results : Results
        The results of a study. Each design and estimand has a facet of its own.
    dgp, estimators
        One DGP only (default all); which estimators.
    width : {"column", "page"} or float
        Width in a journal, or in inches.

    Returns
    -------
    matplotlib.figure.Figure
    """
    require_results(results)
    rows = of_dgp(results.replicates, dgp)
    rows = rows[rows["estimator"].isin(chosen(rows, estimators)) & rows["p_value"].notna()]
    if rows.empty:
        raise InputError("results: no p-values to draw")
    rows = with_methods(rows)
    names = list(dict.fromkeys(rows[METHOD]))
    further = _further(rows, results)
    figure, facets = faceted(rows, further, width=width_of(width), height=2.3, extra=0.8)
    size = 1 - results.study["level"]
    for facet in facets:
        _distribution(facet.axes, facet.rows, names, size)
    label_axes(figure, facets, "p-value", "share of p-values up to it")
    handles: list[Artist] = [mark(n, **_without_marker(k)) for k, n in enumerate(names)]
    handles += [
        mark("uniform: a true null, tested right", color=INK, linewidth=0.7),
        mark("95 % of such p-values", color=PALE, linewidth=5, alpha=0.5),
        mark(f"level of the test, {size:.0%}", **REFERENCE),
    ]
    legend_above(figure, handles)
    return plain(figure)


def _distribution(axes: Axes, rows: pd.DataFrame, names: Sequence[str], size: float) -> None:
    grid = np.linspace(0, 1, 101)
    n = max(1, int(rows.groupby(METHOD).size().median())) if len(rows) else 1
    half = 1.96 * np.sqrt(grid * (1 - grid) / n)
    low, high = np.clip(grid - half, 0, 1), np.clip(grid + half, 0, 1)
    axes.fill_between(grid, low, high, color=PALE, alpha=0.5, linewidth=0)
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.7)
    axes.axvline(size, **REFERENCE)
    for k, name in enumerate(names):
        p = np.sort(rows.loc[rows[METHOD] == name, "p_value"].to_numpy(dtype=float))
        if len(p):
            at, share = np.concatenate([[0.0], p, [1.0]]), np.arange(len(p) + 1) / len(p)
            axes.step(at, [*share, 1.0], where="post", **_without_marker(k))
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)


def _without_marker(place: int) -> dict[str, Any]:
    return {name: value for name, value in series(place).items() if name != "marker"}


def _replicates(
    results: Results, dgp: str | None, estimators: Sequence[str] | None
) -> pd.DataFrame:
    """Return the rows of one DGP, of the estimators to draw, in their order."""
    require_results(results)
    rows = results.replicates
    rows = of_dgp(rows, dgp or str(rows["dgp"].iloc[0]))
    names = chosen(rows, estimators)
    rows = rows[rows["estimator"].isin(names)]
    order = rows["estimator"].map({name: place for place, name in enumerate(names)})
    return with_methods(rows.iloc[np.argsort(order.to_numpy(), kind="stable")])


def _further(rows: pd.DataFrame, results: Results) -> list[str]:
    """Return labels with several values, besides those of the methods."""
    used = (GENERATOR, "estimator", "inference")
    return [name for name in several(rows, labels_of(results)) if name not in used]


def _unit(results: Results) -> str:
    unit = results.study.get("unit", "")
    return f", {unit}" if unit else ""
