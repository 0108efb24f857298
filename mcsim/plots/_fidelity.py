"""Real and generated panels side by side: margins, dynamics, dependence of units, paths."""

from collections.abc import Mapping
from datetime import date

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator
from matplotlib.ticker import MaxNLocator
from numpy import ndarray

from mcsim._core.records import Panel
from mcsim._data.schema import Column, Schema
from mcsim._fidelity.tables import FidelityTable, PanelFidelityTable
from mcsim._fidelity.verdicts import SAW_ALL
from mcsim.errors import InputError, UnknownName, did_you_mean
from mcsim.plots._style import INK, MISS, PALE, SAND, StyledFigure, in_style, plain, sized

Paths = Float[ndarray, "unit period"]

LAGS = 5
PATHS_DRAWN, POINTS_DRAWN = (4, 25), 400  # fewest and most paths of a figure, and their points
PAIRED_UNITS = 300  # whose pairs are correlated: their number grows with the square
BAND = (0.1, 0.5, 0.9)
APART = 0.12  # paths of zeros and ones, which else would lie on each other
TITLES = ("quantiles by period", "autocorrelations", "correlations of units", "paths of real units")


@in_style
def fidelity(
    table: PanelFidelityTable | FidelityTable,
    *,
    generator: str | None = None,
    outcome: str | None = None,
) -> StyledFigure:
    """Draw the real panel and a generated one of its size side by side.

    By outcome, from left to right: median, 10 % and 90 % quantiles in every period;
    autocorrelations less period means (round) and less unit means too (crosses); the distribution
    over pairs of units of their correlation over time; and paths of the first units, with the mean
    of all. A column of zeros and ones has its share of ones in place of quantiles, and its paths
    lie a little apart. Real units are all units of the panel, those held out from the fit among
    them; the measures of the table compare with held-out units alone.

    Parameters
    ----------
    table : PanelFidelityTable
        From `mcsim.fidelity` of a panel.
    generator : str, optional
        A row of the table; default the first that is no reference, or the last.
    outcome : str, optional
        One outcome only.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        For an unknown generator or outcome, and for the table of a cross-section.
    """
    if not isinstance(table, PanelFidelityTable):
        raise InputError(
            f"table: got {type(table).__name__}, expected the PanelFidelityTable of a panel; for a "
            "cross-section draw plots.marginals"
        )
    name = _chosen(generator, table)
    if outcome is not None and outcome not in table.outcomes:
        raise UnknownName(f"outcome: got {outcome!r}{did_you_mean(outcome, table.outcomes)}")
    outcomes = table.outcomes if outcome is None else (outcome,)
    figure = sized(14, 0.6 + 2.4 * len(outcomes))
    grid = figure.subplots(len(outcomes), 5, squeeze=False)
    for row, column in zip(grid, outcomes, strict=True):
        real, generated = (_paths(panel, column) for panel in (table.real, table.samples[name]))
        _outcome(row, real, generated, table)
        row[0].set_ylabel(column)
    for axes, title in zip(grid[0], (*TITLES, f"paths of {name}"), strict=True):
        axes.set_title(title, fontsize="small")
    handles = [grid[0, 0].plot([], [], color=color, linewidth=3)[0] for color in (PALE, INK)]
    labels = [_of_real(table, name), f"{name}: {table.samples[name].n_units:,} drawn units"]
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return plain(figure)


def _of_real(table: PanelFidelityTable, name: str) -> str:
    """Label the real units, by whether the fit used all of them."""
    used = table.verdicts.get(name, "").startswith(SAW_ALL)
    held = "all used by the fit" if used else "those held out from the fit among them"
    return f"real: all {table.n_units:,} units, {held}"


def _chosen(generator: str | None, table: PanelFidelityTable) -> str:
    names = list(table.samples)
    if generator is None:
        own = [name for name in names if name not in table.references]
        return (own or names[::-1])[0]
    if generator not in names:
        raise UnknownName(f"generator: got {generator!r}{did_you_mean(generator, names)}")
    return generator


def _paths(panel: Panel, column: str) -> Paths:
    return np.asarray(panel[column], np.float64)


def _outcome(row: ndarray, real: Paths, generated: Paths, table: PanelFidelityTable) -> None:
    periods = _periods(table.schema.period_labels, real.shape[1])
    two = bool(np.isin(real, (0.0, 1.0)).all())
    (_shares if two else _quantiles)(row[0], periods, real, generated)
    _dynamics(row[1], real, generated)
    _dependence(row[2], real, generated)
    low, high = np.quantile(np.concatenate([real, generated]), [0.001, 0.999])
    margin = 0.05 * (high - low) + (APART if two else 0.0)
    drawn = int(np.clip(POINTS_DRAWN // real.shape[1], *PATHS_DRAWN))
    for axes, paths, color in ((row[3], real, PALE), (row[4], generated, INK)):
        apart = np.linspace(-APART, APART, drawn)[: len(paths)] if two else 0.0
        axes.plot(periods, paths[:drawn].T + apart, color=color, linewidth=0.7, alpha=0.8)
        axes.plot(periods, paths.mean(axis=0), color=MISS, linewidth=1.4)
        axes.set_xlabel("red: mean of all units", fontsize="x-small")
        axes.set_ylim(low - margin, high + margin)
    for axes in row:
        axes.tick_params(labelsize="x-small")
    for axes in (row[0], row[3], row[4]):
        dated = np.issubdtype(periods.dtype, np.datetime64)
        ticks = AutoDateLocator(maxticks=5) if dated else MaxNLocator(5, integer=True)
        axes.xaxis.set_major_locator(ticks)


def _periods(labels: tuple, count: int) -> ndarray:
    """Places of the periods: their labels where these are numbers or dates."""
    if len(labels) == count and all(isinstance(label, (int, float, np.number)) for label in labels):
        return np.asarray(labels)
    if len(labels) == count and all(isinstance(label, date) for label in labels):
        return np.asarray(labels, dtype="datetime64[D]")
    return np.arange(count)


def _quantiles(axes: Axes, periods: ndarray, real: Paths, generated: Paths) -> None:
    low, middle, high = np.quantile(real, BAND, axis=0)
    axes.fill_between(periods, low, high, color=PALE, alpha=0.5, linewidth=0)
    axes.plot(periods, middle, color=PALE, linewidth=3)
    for level, style in zip(BAND, ("--", "-", "--"), strict=True):
        line = np.quantile(generated, level, axis=0)
        axes.plot(periods, line, style, color=INK, linewidth=1.2)
    axes.set_xlabel("band and dashes: 10 % and 90 %; lines: median", fontsize="x-small")


def _shares(axes: Axes, periods: ndarray, real: Paths, generated: Paths) -> None:
    axes.plot(periods, real.mean(axis=0), color=PALE, linewidth=3)
    axes.plot(periods, generated.mean(axis=0), color=INK, linewidth=1.2)
    axes.set_ylim(-0.05, 1.05)
    axes.set_xlabel("share of ones", fontsize="x-small")


def _dynamics(axes: Axes, real: Paths, generated: Paths) -> None:
    lags = np.arange(1, min(LAGS, real.shape[1] - 1) + 1)
    for paths, color, size in ((real, PALE, 9), (generated, INK, 5)):
        centered = paths - paths.mean(axis=0)
        within = centered - centered.mean(axis=1, keepdims=True)
        for deviations, marker in ((centered, "o"), (within, "x")):
            variance = (deviations**2).mean()
            values = [(deviations[:, k:] * deviations[:, :-k]).mean() / variance for k in lags]
            axes.plot(lags, values, marker, color=color, markersize=size)
    axes.axhline(0, color=INK, linewidth=0.6)
    axes.set_xticks(lags)
    axes.set_xlabel("lag (crosses: less unit means too)", fontsize="x-small")


def _dependence(axes: Axes, real: Paths, generated: Paths) -> None:
    bins = np.linspace(-1, 1, 31).tolist()
    for paths, color, filled in ((real, PALE, True), (generated, INK, False)):
        found = _correlations(paths[:PAIRED_UNITS])
        kind = "stepfilled" if filled else "step"
        axes.hist(found, bins, density=True, histtype=kind, color=color)
        if len(found):
            axes.axvline(found.mean(), color=color, linestyle="--", linewidth=1)
    axes.set_yticks([])
    axes.set_xlabel("pairs of units (dashes: mean)", fontsize="x-small")


def _correlations(paths: Paths) -> Float[ndarray, " pair"]:
    """Correlation over time of all pairs of units that move."""
    deviations = paths - paths.mean(axis=1, keepdims=True)
    length = np.sqrt((deviations**2).sum(axis=1, keepdims=True))
    moves = length[:, 0] > 1e-9 * np.abs(paths).max(initial=1e-300)
    unit = deviations[moves] / length[moves]
    return (unit @ unit.T)[np.triu_indices(len(unit), 1)]


@in_style
def marginals(
    real: Panel, generated: Mapping[str, Panel] | Panel, schema: Schema, *, by: str | None = None
) -> StyledFigure:
    """Draw the marginal distribution of every column, real and generated.

    Mass points are drawn as bars of their own share, so that zeros and top codes can be compared.

    Parameters
    ----------
    real : Panel
        The data.
    generated : Panel or mapping of name to Panel
        Samples of generators.
    schema : Schema
        The panel's schema.
    by : str, optional
        A binary column (the treatment, say): one row of figures per value.

    Returns
    -------
    matplotlib.figure.Figure
    """
    samples = {"real": real}
    samples.update({"generated": generated} if isinstance(generated, Panel) else generated)
    groups = [None] if by is None else sorted(set(np.asarray(real[by]).ravel().tolist()))
    columns = [schema[name] for name in real if name != by]
    figure = sized(2.1 * len(columns), 2.2 * len(groups))
    grid = figure.subplots(len(groups), len(columns), squeeze=False)
    for row, group in zip(grid, groups, strict=True):
        for axes, column in zip(row, columns, strict=True):
            data = {label: _values(panel, column, by, group) for label, panel in samples.items()}
            _marginal(axes, column, data)
        row[0].set_ylabel("share" if group is None else f"{by} = {group:g}")
    for axes, column in zip(grid[0], columns, strict=True):
        axes.set_title(column.name, fontsize="small")
    grid[0, -1].legend(frameon=False, fontsize="x-small")
    return plain(figure)


def _values(panel: Panel, column: Column, by: str | None, group: float | None) -> np.ndarray:
    values = np.asarray(panel[column.name]).ravel()
    return values if by is None else values[np.asarray(panel[by]).ravel() == group]


def _marginal(axes: Axes, column: Column, data: Mapping[str, np.ndarray]) -> None:
    colors = [PALE, INK, MISS, SAND]
    bins = _bins(column, np.concatenate(list(data.values())))
    width = float(bins[1] - bins[0])
    for i, (label, values) in enumerate(data.items()):
        smooth = values[~np.isin(values, column.mass_points)]
        weights = np.full(len(smooth), 1 / len(values))
        kind = "stepfilled" if i == 0 else "step"
        axes.hist(
            smooth, list(bins), weights=weights, histtype=kind, color=colors[i % 4], label=label
        )
        shares = [np.mean(values == point) for point in column.mass_points]
        offset = (i - (len(data) - 1) / 2) * 0.5 * width
        axes.bar(np.array(column.mass_points) + offset, shares, 0.5 * width, color=colors[i % 4])
    if column.kind in ("binary", "categorical"):
        axes.set_xticks(range(int(column.lower), int(column.upper) + 1))
    axes.tick_params(labelsize="x-small")


def _bins(column: Column, values: np.ndarray) -> np.ndarray:
    """Bin edges: one bin per value, or per few values, of whole numbers; 20 bins otherwise."""
    values = values[~np.isin(values, column.mass_points)]
    low, high = np.quantile(values, [0, 0.995]) if values.size else (0.0, 1.0)
    if column.kind == "continuous":
        return np.linspace(low, high, 21)
    step = max(1, round((high - low) / 20))
    return np.arange(low, high + step + 1, step) - 0.5
