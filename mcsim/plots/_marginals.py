"""Marginal distributions of every column, and the colors and axes that all figures share."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mcsim._core.records import Panel
from mcsim._data.schema import Column, Schema

INK, PALE, HIT, MISS, SAND = "#1b3a4b", "#9fb8c4", "#9fb8c4", "#c8553d", "#e0a458"
MARKERS = "osD^vP"


def marginals(
    real: Panel, generated: Mapping[str, Panel] | Panel, schema: Schema, *, by: str | None = None
) -> Figure:
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
    figure = Figure(figsize=(2.1 * len(columns), 2.2 * len(groups)), layout="constrained")
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
        smooth = values[~np.isin(values, column.atoms)]
        weights = np.full(len(smooth), 1 / len(values))
        kind = "stepfilled" if i == 0 else "step"
        axes.hist(
            smooth, list(bins), weights=weights, histtype=kind, color=colors[i % 4], label=label
        )
        shares = [np.mean(values == atom) for atom in column.atoms]
        offset = (i - (len(data) - 1) / 2) * 0.5 * width
        axes.bar(np.array(column.atoms) + offset, shares, 0.5 * width, color=colors[i % 4])
    if column.kind in ("binary", "categorical"):
        axes.set_xticks(range(int(column.lower), int(column.upper) + 1))
    axes.tick_params(labelsize="x-small")


def _bins(column: Column, values: np.ndarray) -> np.ndarray:
    """Bin edges: one bin per value, or per few values, of whole numbers; 20 bins otherwise."""
    values = values[~np.isin(values, column.atoms)]
    low, high = np.quantile(values, [0, 0.995]) if values.size else (0.0, 1.0)
    if column.kind == "continuous":
        return np.linspace(low, high, 21)
    step = max(1, round((high - low) / 20))
    return np.arange(low, high + step + 1, step) - 0.5


def plain(figure: Figure) -> Figure:
    """Take the upper and right spines away."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    return figure
