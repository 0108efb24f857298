"""The parts of a figure of a study: its rows, its series, and a facet for each further factor."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from mcsim._core.checks import faults_of_strings
from mcsim._results.display import OF_ESTIMATES
from mcsim._results.results import Results, require_results
from mcsim._run.study import GENERATOR
from mcsim.errors import InputError, UnknownName, did_you_mean, raise_all
from mcsim.measures._definitions import MEASURES, meant
from mcsim.plots._style import StyledFigure, sized

MOST_FACETS = 40

METHOD = "_method"
"""The column of the names of estimators in a figure, or of other lines."""

TARGETS = {
    "bias": 0.0,
    "median_bias": 0.0,
    "relative_bias": 0.0,
    "relative_error": 0.0,
    "type_m": 1.0,
}
"""The right value of a measure, if it is fixed; that of coverage is the level."""


class Facet(NamedTuple):
    """A part of a figure: its axes, the values that identify it, and its rows."""

    axes: Axes
    key: tuple
    rows: pd.DataFrame


def summary_of(
    results: Results,
    measures: Sequence[str],
    dgp: str | None,
    estimators: Sequence[str] | None,
) -> pd.DataFrame:
    """Return the summary for a figure, averaged over an ensemble of generators."""
    require_results(results)
    raise_all(
        [
            f"y: unknown measure {name!r}{meant(str(name), MEASURES)}"
            for name in measures
            if name not in MEASURES
        ]
    )
    over = GENERATOR if GENERATOR in results.factors else None
    summary = of_dgp(results.summary(measures=measures, over=over), dgp)
    summary = summary[summary["estimator"].isin(chosen(summary, estimators))]
    if set(measures) <= OF_ESTIMATES:
        labels = [c for c in ("dgp", *results.factors, "estimator", "estimand") if c in summary]
        summary = summary.drop_duplicates(labels)
    return summary.reset_index(drop=True)


def target_of(measure: str, study: Any) -> tuple[float, str] | None:
    """Return the right value of a measure and its name, if there is one."""
    if measure.startswith("coverage") or measure == "bias_eliminated_coverage":
        return study["level"], f"level of the intervals, {study['level']:.0%}"
    if measure == "rejection":
        return 1 - study["level"], f"level of the test, {1 - study['level']:.0%}"
    if measure in TARGETS:
        return TARGETS[measure], f"{TARGETS[measure]:g}: right"
    return None


def labels_of(results: Results) -> list[str]:
    """Return the labels of a study's rows."""
    return ["dgp", *results.factors, "estimator", "estimand", "inference"]


def several(rows: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Return the names of labels that have several values in these rows."""
    return [name for name in names if name in rows and rows[name].nunique(dropna=False) > 1]


def faceted(
    rows: pd.DataFrame,
    by: Sequence[str],
    *,
    width: float,
    height: float,
    extra: float = 0.6,
    sharey: bool = True,
    sharex: bool = True,
) -> tuple[StyledFigure, list[Facet]]:
    """Return a figure with a facet for each combination of labels; two labels make a grid.

    Parameters
    ----------
    rows : pandas.DataFrame
        The rows to draw.
    by : sequence of str
        Labels with several values.
    width, height : float
        Inches: of the figure, and of a facet.
    extra : float
        Inches of height for the legend.
    sharey, sharex : bool
        Whether facets have one axis.
    """
    parts = _parts(rows, by)
    keys = list(parts)
    if len(keys) > MOST_FACETS:
        raise InputError(
            f"results: {len(keys)} combinations of {list(by)}, expected at most {MOST_FACETS} in a "
            "figure; name a dgp or estimators, or keep some rows with "
            "dataclasses.replace(results, replicates=...)"
        )
    sides = [list(dict.fromkeys(key[k] for key in parts)) for k in range(len(by))]
    if len(by) == 2 and len(keys) == len(sides[0]) * len(sides[1]) and len(sides[0]) <= width:
        columns = len(sides[0])
        keys = [(a, b) for b in sides[1] for a in sides[0]]
    else:
        most = max(1, int(width // 1.5))
        columns = min(len(keys), most)
        columns = -(-len(keys) // -(-len(keys) // columns))
    lines = -(-len(keys) // columns)
    figure = sized(width, extra + lines * height)
    grid = figure.subplots(lines, columns, squeeze=False, sharex=sharex, sharey=sharey)
    facets = []
    titles = titled(by, keys, (width - 0.5) / columns * 72 / (8 * 0.56))
    for axes, key, title in zip(grid.ravel(), keys, titles, strict=False):
        axes.set_title(title)
        axes.xaxis.set_major_locator(MaxNLocator(max(2, min(7, int(width / columns / 0.42)))))
        facets.append(Facet(axes, key, parts.get(key, rows.iloc[:0])))
    for axes in grid.ravel()[len(keys) :]:
        axes.set_axis_off()
    return figure, facets


def _parts(rows: pd.DataFrame, by: Sequence[str]) -> dict[tuple, pd.DataFrame]:
    """Return the rows by the values of labels, in order of first appearance."""
    if not by:
        return {(): rows}
    groups = rows.groupby(list(by), sort=False, dropna=False, observed=True)
    return {tuple(map(short, key)): part for key, part in groups}


def titled(by: Sequence[str], keys: Sequence[Sequence[str]], most: float = 80) -> list[str]:
    """Return labels and their values as titles, all broken into lines at the same places."""
    texts = [[_named(n, v) for n, v in zip(by, key, strict=True)] for key in keys]
    lengths = [max((len(parts[k]) for parts in texts), default=0) for k in range(len(by))]
    lines: list[list[int]] = [[]]
    for k, length in enumerate(lengths):
        if lines[-1] and sum(lengths[j] + 2 for j in lines[-1]) + length > most:
            lines.append([])
        lines[-1].append(k)
    joined = [[", ".join(filter(None, (t[k] for k in line))) for line in lines] for t in texts]
    return ["\n".join(filter(None, parts)) for parts in joined]


def _named(label: str, value: str) -> str:
    """Return the text of a value: of a factor with its name, of other labels alone."""
    alone = ("dgp", "estimator", "estimand", "inference", "measure", METHOD)
    return value if label in alone or not value else f"{label} = {value}"


def with_methods(rows: pd.DataFrame, by: str = "estimator") -> pd.DataFrame:
    """Return rows with the names of their lines: estimators, and standard errors if several."""
    names = rows[by].map(lambda value: _named(by, short(value)))
    if by == "estimator":
        inferences = rows.groupby("estimator", observed=True)["inference"].nunique()
        apart = rows["estimator"].map(inferences > 1).to_numpy(dtype=bool)
        names = names.astype(str)
        names = names.where(~apart, names + "  " + rows["inference"].astype(str))
    return rows.assign(**{METHOD: names})


def label_axes(figure: StyledFigure, facets: Sequence[Facet], x: str, y: str = "") -> None:
    """Label the axes of a single facet, or of the whole figure."""
    if len(facets) == 1:
        facets[0].axes.set_xlabel(x)
        facets[0].axes.set_ylabel(y)
        return
    size = facets[0].axes.xaxis.label.get_fontsize()
    figure.supxlabel(x, fontsize=size)
    if y:
        figure.supylabel(y, fontsize=size)


def short(value: Any) -> str:
    """Return a factor or name as text, numbers to three digits."""
    if pd.isna(value):
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def chosen(rows: pd.DataFrame, estimators: Sequence[str] | None) -> list[str]:
    """Return the estimators to draw: those asked for, or all."""
    raise_all([] if estimators is None else faults_of_strings("estimators", estimators))
    known = [str(name) for name in dict.fromkeys(rows["estimator"])]
    for name in estimators or ():
        if name not in known:
            raise UnknownName(f"estimators: got {name!r}{did_you_mean(name, known)}")
    return list(estimators or known)


def of_dgp(rows: pd.DataFrame, dgp: str | None) -> pd.DataFrame:
    """Return the rows of a DGP, or all."""
    if dgp is None:
        return rows
    if dgp not in set(rows["dgp"]):
        raise UnknownName(f"dgp: got {dgp!r}{did_you_mean(str(dgp), set(rows['dgp']))}")
    return rows[rows["dgp"] == dgp]


def label_of(name: Any, known: Sequence[str], argument: str) -> str:
    """Return the name of a label, checked."""
    if name in known:
        return str(name)
    raise UnknownName(
        f"{argument}: got {name!r}{did_you_mean(str(name), known) or f', expected one of {known}'}"
    )


def with_unit(measure: str, results: Results) -> str:
    """Return a measure as the title of an axis, with its unit."""
    unit = results.study.get("unit", "") if MEASURES[measure].power else ""
    name = measure.replace("_", " ")
    return f"{name}, {unit}" if unit else name


def scale_of(measure: str, results: Results) -> float:
    """Return the divisor of a measure."""
    return results.study.get("scale", 1.0) ** MEASURES[measure].power
