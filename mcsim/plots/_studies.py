"""Figures of studies: bias, intervals, coverage, and published figures beside a study's."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mcsim._core.checks import faults_of_strings, require_type
from mcsim._results.results import Results, require_results
from mcsim._run.study import GENERATOR
from mcsim.errors import InputError, UnknownName, did_you_mean, raise_all
from mcsim.measures import Comparison
from mcsim.plots._fidelity import HIT, INK, MARKERS, MISS, PALE, plain

INTERVALS_DRAWN = 500


def bias(
    results: Results, *, dgp: str | None = None, estimators: Sequence[str] | None = None
) -> Figure:
    """Draw the bias of every estimator, with bars of two Monte Carlo standard errors.

    Of an ensemble the small pale points are its generators, and the pale bar spans their mean plus
    and minus one standard deviation: the range of other fits.

    Parameters
    ----------
    results : Results
        The results of a study.
    dgp : str, optional
        One DGP only.
    estimators : sequence of str, optional
        Which estimators; default all.

    Returns
    -------
    matplotlib.figure.Figure
    """
    require_results(results)
    summary = _of_dgp(results.summary(measures=["bias"]), dgp)
    summary = summary.drop_duplicates(["dgp", *results.factors, "estimator", "estimand"])
    _one_law(summary, [*(name for name in results.factors if name != GENERATOR), "estimand"])
    scale, unit = results.study.get("scale", 1.0), results.study.get("unit", "")
    dgps = list(dict.fromkeys(summary["dgp"]))
    names = _chosen(summary, estimators)
    figure = Figure(figsize=(7.5, 1.2 + 0.28 * len(names) * len(dgps)), layout="constrained")
    axes = figure.subplots()
    for i, name in enumerate(dgps):
        rows = summary[summary["dgp"] == name]
        for j, estimator in enumerate(names):
            place = j + (i - (len(dgps) - 1) / 2) * 0.3
            _bias_row(axes, rows[rows["estimator"] == estimator], place, i, scale)
        axes.plot([], [], MARKERS[i % 6], color=INK, label=name)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel(f"bias{f', {unit}' if unit else ''} (bars: 2 Monte Carlo standard errors)")
    axes.legend(frameon=False, fontsize="small")
    return plain(figure)


def _bias_row(axes: Axes, rows: pd.DataFrame, place: float, i: int, scale: float) -> None:
    if rows.empty:
        return
    values = rows["bias"].to_numpy(dtype=float) / scale
    errors = rows["bias_mcse"].to_numpy(dtype=float) / scale
    mean, error = values.mean(), np.sqrt((errors**2).sum()) / len(errors)
    if len(values) > 1:
        ends = mean - values.std(ddof=1), mean + values.std(ddof=1)
        axes.plot(ends, [place, place], color=PALE, linewidth=5, zorder=1)
        axes.plot(values, np.full(len(values), place), ".", color="#4f7a8c", markersize=4, zorder=2)
    axes.errorbar(
        mean, place, xerr=2 * error, fmt=MARKERS[i % 6], color=INK, markersize=5, capsize=3
    )


def zip_plot(
    results: Results, *, dgp: str | None = None, estimators: Sequence[str] | None = None
) -> Figure:
    """Draw the intervals of every estimator, the least plausible on top: a zip for coverage.

    Replications are ranked by the distance of estimate and truth in standard errors; intervals
    that miss the truth are red. With right coverage the red part begins at the level (dashed).
    Of many replications every k-th is drawn, about 500 in all; the percentage is of all of them.
    After Morris, White & Crowther (2019), figure 5.

    Parameters
    ----------
    results : Results
        The results of a study.
    dgp : str, optional
        The DGP; default the first. The replications of an ensemble are pooled.
    estimators : sequence of str, optional
        Which estimators; default all.

    Returns
    -------
    matplotlib.figure.Figure
    """
    require_results(results)
    rows = results.replicates
    rows = _of_dgp(rows, dgp or str(rows["dgp"].iloc[0]))
    names = _chosen(rows, estimators)
    figure = Figure(figsize=(1.9 * len(names) + 1, 4.5), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(names), sharey=True))
    for axes, name in zip(panels, names, strict=True):
        mine = rows[(rows["estimator"] == name) & rows["lower"].notna() & rows["truth"].notna()]
        factors = [factor for factor in results.factors if factor != GENERATOR]
        _one_law(mine, [*factors, "estimand", "inference"])
        _zip(axes, mine, results.study["level"], results.study.get("scale", 1.0))
        axes.set_title(name, fontsize="small")
    panels[0].set_ylabel("percentile of |estimate - truth| / standard error")
    unit = results.study.get("unit", "")
    figure.supxlabel(f"interval - truth{f', {unit}' if unit else ''}", fontsize="medium")
    return plain(figure)


def _zip(axes: Axes, rows: pd.DataFrame, level: float, scale: float) -> None:
    if rows.empty:
        raise InputError("results: no intervals with a truth to draw")
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
    axes.text(
        0.03, 0.03, f"{hit.mean():.1%}", transform=axes.transAxes, color=INK, fontsize="small",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
    )  # fmt: skip


def coverage(results: Results, *, estimators: Sequence[str] | None = None) -> Figure:
    """Draw the coverage of every estimator and inference, one panel per cell.

    Parameters
    ----------
    results : Results
        The results of a study with one estimand.
    estimators : sequence of str, optional
        Which estimators; default all.

    Returns
    -------
    matplotlib.figure.Figure
        Points with 95 % score limits for Monte Carlo error; the line is the nominal level.
    """
    require_results(results)
    summary = results.summary(measures=["coverage"])
    summary = summary[summary["estimator"].isin(_chosen(summary, estimators))]
    _one_law(summary, ["estimand"])
    rows = summary[["estimator", "inference"]].agg("  ".join, axis=1).str.strip()
    names = list(dict.fromkeys(rows))
    cells = list(summary.groupby(["dgp", *results.factors], sort=False, dropna=False))
    width, height = 1.2 + 1.9 * len(cells), 1.1 + 0.28 * len(names)
    figure = Figure(figsize=(max(4.0, width), height), layout="constrained")
    panels = figure.subplots(1, len(cells), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (cell, part) in zip(panels, cells, strict=True):
        values = part["coverage"].to_numpy()
        limits = part[["coverage_lower", "coverage_upper"]].to_numpy().T
        places = [names.index(name) for name in rows[part.index]]
        axes.errorbar(
            values, places, xerr=np.abs(limits - values), fmt="o", color=INK, markersize=4
        )
        axes.axvline(results.study["level"], color=MISS, linewidth=0.8, linestyle="--")
        factors = zip(results.factors, cell[1:], strict=True)
        lines = [str(cell[0]), *(f"{name} {_short(value)}" for name, value in factors)]
        axes.set_title("\n".join(lines), fontsize="small")
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    figure.supxlabel("coverage (bars: 95 % score limits; dashed: nominal)", fontsize="medium")
    return plain(figure)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def comparison(compared: Comparison) -> Figure:
    """Draw how far a study's figures are from published ones, in Monte Carlo standard errors.

    Parameters
    ----------
    compared : Comparison
        From `mcsim.compare`.

    Returns
    -------
    matplotlib.figure.Figure
        One point per figure, measures apart; the bands are two and four standard errors wide on
        each side.
    """
    require_type("compared", compared, Comparison, "mcsim.compare returns one")
    table = compared.table
    labels = compared.labels
    cells = table[labels].astype(str).agg("  ".join, axis=1)
    names = list(dict.fromkeys(cells))
    measures = list(dict.fromkeys(table["measure"]))
    figure = Figure(figsize=(7.5, 1.2 + 0.2 * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(-4, 4, color=PALE, alpha=0.25, linewidth=0)
    axes.axvspan(-2, 2, color=PALE, alpha=0.35, linewidth=0)
    axes.axvline(0, color=INK, linewidth=0.8)
    for i, measure in enumerate(measures):
        rows = table["measure"] == measure
        places = [names.index(cell) for cell in cells[rows]]
        color = INK if i % 2 == 0 else MISS
        axes.plot(
            table.loc[rows, "z"], places, MARKERS[i % 6], color=color, alpha=0.8, label=measure
        )
    axes.set_yticks(range(len(names)), names, fontsize="x-small")
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_ylabel("  ".join(labels), fontsize="small")
    axes.set_xlabel("ours less published, combined Monte Carlo standard errors (bands: 2 and 4)")
    if len(measures) > 1:
        figure.legend(loc="outside upper right", ncols=4, frameon=False, fontsize="small")
    return plain(figure)


def _one_law(rows: pd.DataFrame, names: Sequence[str]) -> None:
    """Refuse rows of several designs, estimands or inferences: a figure would pool them."""
    several = [name for name in names if rows[name].nunique(dropna=False) > 1]
    if several:
        raise InputError(
            f"results: got several values of {several}, expected one of each in a figure; keep "
            "those rows with dataclasses.replace(results, replicates=...)"
        )


def _chosen(rows: pd.DataFrame, estimators: Sequence[str] | None) -> list[str]:
    """Return the estimators to draw: those asked for, or all."""
    raise_all([] if estimators is None else faults_of_strings("estimators", estimators))
    known = [str(name) for name in dict.fromkeys(rows["estimator"])]
    for name in estimators or ():
        if name not in known:
            raise UnknownName(f"estimators: got {name!r}{did_you_mean(name, known)}")
    return list(estimators or known)


def _of_dgp(rows: pd.DataFrame, dgp: str | None) -> pd.DataFrame:
    if dgp is None:
        return rows
    if dgp not in set(rows["dgp"]):
        raise UnknownName(f"dgp: got {dgp!r}{did_you_mean(str(dgp), set(rows['dgp']))}")
    return rows[rows["dgp"] == dgp]
