"""Rows of the table of a panel: comparisons of real units with draws, or with real units."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key
from numpy import ndarray

from mcsim._core.records import Panel
from mcsim._fidelity import distances
from mcsim._fidelity._panels.layout import Drawn, PanelLayout, RealPanel, Units, draw_panels
from mcsim._fidelity._panels.moments import (
    Scale,
    Squares,
    Vectors,
    end_to_end,
    mean_moments,
    squared,
)
from mcsim._fidelity._panels.placebo import changes_in_means, log_sd, placebo_rejections
from mcsim._fidelity._panels.statistics import panel_statistics
from mcsim._fidelity.candidates import Fit, Split
from mcsim._fidelity.distances import features, ties_of, two_sample
from mcsim._fidelity.estimates import OnRealData, Values, draws_for, estimates_on, n_estimates

SUBSAMPLE_UNITS = 2_000  # drawn for the moments of one split, in panels of the held-out size
TESTED_SPLITS = 5  # the classifier is slow; more splits of the same units add little
NEIGHBOR_ROWS = 2_000
DISTANCE_PANELS = 4  # generated panels over which distances are averaged
LONG = 20  # least periods for statistics of single series
TESTED = {
    "auc": "auc_holdout",
    "auc_noise": "auc_holdout_noise",
    "accuracy_real": "accuracy_real",
    "accuracy_generated": "accuracy_generated",
    "p_value": "auc_holdout_p_value",
}
"""The measures of the classifier two-sample test, by the fields of its result."""

PathDraws = Float[ndarray, "panel unit period outcome"]
Rows = Float[ndarray, "unit coordinate"]
Others = Float[ndarray, "other coordinate"]


class DrawCounts(NamedTuple):
    """Numbers of placebo laws, of samples for the sampling distributions, of permutations.

    If ``draws`` is None, the number suffices for the verdict on the estimates.
    """

    replications: int
    draws: int | None
    permutations: int

    def draws_of(self, estimators: Sequence[OnRealData]) -> int:
        """Return the number of samples for the sampling distributions of these estimators."""
        return draws_for(n_estimates(estimators)) if self.draws is None else self.draws


class SplitComparison(NamedTuple):
    """The comparison of generated with held-out units in one split.

    Attributes
    ----------
    ratio, ratio_draws : array (outcome, date), (draw, outcome, date)
        Log ratio of the sd of changes in means, and its bootstrap.
    squares : Squares
        Standardized differences of moments.
    measures : dict of (measure, outcome) to float
    paths : array (panel, period, outcome)
        Cross-section means of generated panels; empty for real units.
    estimates, statistics : dict
        Values on generated panels.
    """

    ratio: Float[ndarray, "outcome date"]
    ratio_draws: Float[ndarray, "draw outcome date"]
    squares: Squares
    measures: dict[tuple[str, str], float]
    paths: Float[ndarray, "panel period outcome"]
    estimates: Values
    statistics: Values


class Row(NamedTuple):
    """The comparisons in all splits, tests of placebo laws, and one panel of the real size."""

    splits: list[SplitComparison]
    rejected: dict[str, list[Bool[ndarray, "rep inference"]]]
    sample: Panel


def real_row(
    key: Key[Array, ""], real: RealPanel, halves: Sequence[Split], scale: Scale, counts: DrawCounts
) -> Row:
    """Compare the halves of every split; test placebo laws on the panel itself."""
    splits, nothing = [], np.zeros((0, real.shape[1], len(real.layout.outcomes)))
    for index, (train, held) in enumerate(halves):
        mine, other = real.half(train), real.half(held)
        drawn, unseen = real.units.take(train), real.units.take(held)
        found = measures_of(drawn, 1, drawn, unseen, real.layout, real=True)
        found |= _two_sample_test(jax.random.fold_in(key, index), index, drawn, unseen, counts)
        splits.append(
            SplitComparison(
                mine.log_sd - other.log_sd,
                mine.log_sd_draws - other.log_sd_draws,
                squared(mine.vectors, other.vectors, scale, (len(train), len(held))),
                found,
                nothing,
                {},
                {},
            )
        )
    of_laws = jax.random.fold_in(key, len(halves))
    rejected = _rejected(of_laws, real.units.cube[None], real.layout, counts.replications)
    return Row(splits, {outcome: [found] for outcome, found in rejected.items()}, real.panel)


def generated_row(
    key: Key[Array, ""],
    fits: Sequence[Fit],
    real: RealPanel,
    scale: Scale,
    estimators: Sequence[OnRealData],
    counts: DrawCounts,
    tick: Callable[[], None],
) -> Row:
    """Compare the draws of each fit with its held-out units; call ``tick`` after each."""
    asked = counts.replications, counts.draws_of(estimators)
    reps, draws = (-(-n // len(fits)) for n in asked)
    names, layout = real.layout.schema.names, real.layout
    splits, rejected, sample = [], {name: [] for name in layout.outcomes}, None
    for index, fit in enumerate(fits):
        keys = jax.random.split(jax.random.fold_in(key, index), 4)
        drawn = draw_panels(keys[0], fit.generator, max(reps, draws), real.shape, names)
        cubes = _units(drawn, layout).cube.reshape(-1, *real.units.cube.shape)
        split = _split(keys[1], index, fit, drawn, cubes, real, scale, counts)
        estimates = _estimates(keys[2], estimators, drawn, layout, draws)
        statistics = statistics_on(drawn, layout.outcomes)
        splits.append(split._replace(estimates=estimates, statistics=statistics))
        for outcome, found in _rejected(keys[3], cubes, layout, reps).items():
            rejected[outcome].append(found)
        sample = sample or layout.schema.panel({name: drawn[name][0] for name in names})
        tick()
    assert sample is not None
    return Row(splits, rejected, sample)


def _split(
    key: Key[Array, ""],
    index: int,
    fit: Fit,
    drawn: Drawn,
    cubes: Float[ndarray, "panel unit period outcome"],
    real: RealPanel,
    scale: Scale,
    counts: DrawCounts,
) -> SplitComparison:
    n_held = len(fit.compared)
    n_panels = min(len(cubes), -(-SUBSAMPLE_UNITS // n_held))
    fresh = _units({name: x[:n_panels, :n_held] for name, x in drawn.items()}, real.layout)
    shape = n_panels, n_held
    moments = end_to_end(
        mean_moments(
            fresh.cube.reshape(*shape, *fresh.cube.shape[1:]),
            fresh.rows.reshape(*shape, -1),
            real.grid,
        )
    )
    other, train = real.half(fit.compared), real.units.take(fit.train)
    unseen, generated = real.units.take(fit.compared), Vectors(moments, moments[None])
    found = measures_of(fresh, n_panels, train, unseen, real.layout, real=False)
    if fit.held is None:
        found = {name: np.nan if name[0] == "nn_ratio" else v for name, v in found.items()}
    found |= _two_sample_test(key, index, fresh.take(slice(0, n_held)), unseen, counts)
    log_sds = log_sd(changes_in_means(cubes))
    squares = squared(generated, other.vectors, scale, (len(fit.train), n_held))
    draws = log_sds - other.log_sd_draws
    return SplitComparison(
        log_sds - other.log_sd, draws, squares, found, cubes.mean(axis=1), {}, {}
    )


def _estimates(
    key: Key[Array, ""],
    estimators: Sequence[OnRealData],
    drawn: Drawn,
    layout: PanelLayout,
    draws: int,
) -> Values:
    """Run the estimators on the first ``draws`` panels."""
    static = layout.schema.static_part(layout.schema.names, next(iter(drawn.values())).shape[-1])
    columns = {name: jnp.asarray(values[:draws]) for name, values in drawn.items()}
    keys = [
        jax.random.split(jax.random.fold_in(key, place), draws) for place in range(len(estimators))
    ]
    return estimates_on(estimators, keys, Panel.batch(columns, static=static))


def _units(drawn: Drawn, layout: PanelLayout) -> Units:
    """Lay the units of several panels end to end."""
    return layout.units({name: x.reshape(-1, x.shape[-1]) for name, x in drawn.items()})


def _two_sample_test(
    key: Key[Array, ""], index: int, drawn: Units, held: Units, counts: DrawCounts
) -> dict[tuple[str, str], float]:
    """Run the classifier two-sample test, in the first splits."""
    if index >= TESTED_SPLITS:
        return {}
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel().tolist())
    shape = drawn.cube.shape[2], drawn.cube.shape[1]
    real, generated = (features(rng, units.rows, shape) for units in (held, drawn))
    found = two_sample(rng, real, generated, ties_of(drawn.flat()), counts.permutations)
    return {(TESTED[field], ""): value for field, value in found._asdict().items()}


def _rejected(
    key: Key[Array, ""],
    cubes: Float[ndarray, "panel unit period outcome"],
    layout: PanelLayout,
    reps: int,
) -> dict[str, Bool[ndarray, "rep inference"]]:
    return {
        outcome: placebo_rejections(jax.random.fold_in(key, k), cubes[..., k], reps)
        for k, outcome in enumerate(layout.outcomes)
    }


# Measures besides moments: copying, distances, mass points, dependence of units


def measures_of(
    fresh: Units, n_panels: int, train: Units, held: Units, layout: PanelLayout, *, real: bool
) -> dict[tuple[str, str], float]:
    """Compare units of several generated panels, end to end, with real ones.

    Parameters
    ----------
    fresh : Units
        Generated units, or training units in their place.
    n_panels : int
        Number of their panels.
    train, held : Units
        Training units of the generator, and held-out units.
    layout : PanelLayout
    real : bool
        Whether the fresh units are the training units themselves.

    Returns
    -------
    dict of (measure, outcome) to float
        The outcome is empty where a measure is of all outcomes.
    """
    cubes = fresh.cube.reshape(n_panels, -1, *fresh.cube.shape[1:])
    rows = fresh.rows.reshape(n_panels, -1, fresh.rows.shape[1])
    found = {
        "nn_ratio": neighbor_ratio(fresh.rows, train.rows, held.rows, itself=real),
        "duplicates": duplicates(held if real else fresh, train),
        "mass_points": mass_point_gap(fresh, held if real else train, layout),
        "sliced_w1": sliced_distance(rows[:DISTANCE_PANELS], held.rows),
        "marginal_w1": marginal_distance(cubes[:DISTANCE_PANELS], held.cube),
    }
    gaps = {}
    for k, outcome in enumerate(layout.outcomes):
        real_one = mean_correlation(held.cube[None, ..., k])[0]
        gap = float(mean_correlation(cubes[..., k]).mean() - real_one)
        gaps["unit_correlation", outcome] = gap
        gaps["cd", outcome] = cross_dependence(gap, *held.cube.shape[:2])
    return {**{(measure, ""): value for measure, value in found.items()}, **gaps}


def neighbor_ratio(fresh: Rows, train: Others, held: ndarray, *, itself: bool = False) -> float:
    """Return the median distance of generated to training units over that of held-out units.

    1 is right, far below 1 memorizes, far above lies off the data; NaN if most units have a
    duplicate. With ``itself`` the fresh units are the training units, each left out of its own
    search.
    """
    base = np.median(distances.nearest_path(held[:NEIGHBOR_ROWS], train))
    distance = np.median(distances.nearest_path(fresh[:NEIGHBOR_ROWS], train, itself=itself))
    return float(distance / base) if base > 0 else np.nan


def duplicates(fresh: Units, train: Units) -> float:
    """Return the percent of units that equal a training unit, to float32."""
    return 100 * float(distances.duplicates(fresh.flat(), train.flat()).mean())


def sliced_distance(panels: Float[ndarray, "panel unit coordinate"], held: Rows) -> float:
    """Return the sliced Wasserstein-1 distance of whole units, averaged over panels, in sd."""
    return float(np.mean([distances.sliced_wasserstein(panel, held) for panel in panels]))


def marginal_distance(panels: PathDraws, held: Float[ndarray, "unit period outcome"]) -> float:
    """Return the Wasserstein-1 distance by outcome and period, averaged, in sd."""
    flat = held.reshape(len(held), -1)
    found = [distances.marginal_wasserstein(p.reshape(len(p), -1), flat) for p in panels]
    return float(np.mean(found))


def mass_point_gap(generated: Units, train: Units, layout: PanelLayout) -> float:
    """Return the largest gap of a mass point's share, in percentage points; NaN without any."""
    names = [name for name in layout.outcomes if layout.schema[name].mass_points]
    if not names:
        return np.nan
    a, b = (np.column_stack([units.raw[n].ravel() for n in names]) for units in (generated, train))
    return distances.mass_point_gap(a, b, [layout.schema[name].mass_points for name in names])


def mean_correlation(panels: Float[ndarray, "panel unit period"]) -> Float[ndarray, " panel"]:
    """Return the mean over pairs of units of their correlation; constant units have none.

    Examples
    --------
    >>> mean_correlation(np.array([[[1.0, 2.0], [0.0, 5.0], [3.0, 2.0]]])).round(3).tolist()
    [-0.333]
    """
    deviations = panels - panels.mean(axis=-1, keepdims=True)
    length = np.sqrt((deviations**2).sum(axis=-1, keepdims=True))
    moves = length > 1e-9 * np.abs(panels).max(initial=1e-300)
    unit = np.where(moves, deviations / np.where(moves, length, 1.0), 0.0)
    count = moves.sum(axis=(-2, -1))
    total = (unit.sum(axis=-2) ** 2).sum(axis=-1) - count
    return total / np.maximum(count * (count - 1), 1)


def cross_dependence(correlation: float, n_units: int, n_periods: int) -> float:
    """Return the CD statistic (Pesaran 2021, Empirical Economics 60: 13-50) of a correlation."""
    return float(correlation * np.sqrt(n_periods * n_units * (n_units - 1) / 2))


def fixed_shock_share(
    paths: Sequence[Float[ndarray, "panel period outcome"]],
) -> Float[ndarray, " outcome"]:
    """Return the share of the variance of date effects that is equal in every panel.

    Variance over periods of the mean path averaged over panels, over the mean variance of the paths
    of single panels, net of the share 1 / number of panels of independent paths: 1 where
    common shocks are fixed, 0 where every panel draws its own. Mean over the fits; ``paths`` are
    cross-section means.
    """
    return np.mean([_fixed_share(path) for path in paths], axis=0)


def _fixed_share(paths: Float[ndarray, "panel period outcome"]) -> ndarray:
    if len(paths) < 2:
        return np.full(paths.shape[-1], np.nan)
    least = 1 / len(paths)
    share = paths.mean(axis=0).var(axis=0) / paths.var(axis=1).mean(axis=0)
    return (share - least) / (1 - least)


# Statistics of long panels


def statistics_on(panels: Drawn, outcomes: Sequence[str]) -> Values:
    """Describe every outcome of long panels; see `panel_statistics`."""
    found: Values = {}
    for outcome in outcomes:
        if panels[outcome].shape[-1] >= LONG:
            described = _described(jnp.asarray(panels[outcome]))
            found |= {(outcome, name): np.asarray(v) for name, v in described.items()}
    return found


@jax.jit
def _described(panels: Float[Array, "panel unit period"]) -> dict[str, Float[Array, " panel"]]:
    return jax.lax.map(panel_statistics, panels, batch_size=16)


def statistic_records(name: str, real: Values, found: Sequence[Values]) -> list[dict[str, Any]]:
    """Return a record per outcome and statistic: real value, generated mean and 5-95 % range."""
    records = []
    for (outcome, statistic), value in real.items():
        drawn = np.concatenate([part[outcome, statistic] for part in found])
        drawn = drawn[np.isfinite(drawn)]
        lower, upper = np.quantile(drawn, [0.05, 0.95]) if len(drawn) else (np.nan, np.nan)
        records.append(
            {
                "generator": name,
                "outcome": outcome,
                "statistic": statistic,
                "value": float(value[0]),
                "mean": float(drawn.mean()) if len(drawn) else np.nan,
                "lower": float(lower),
                "upper": float(upper),
                "inside": bool(lower <= value[0] <= upper),
            }
        )
    return records
