"""Moments of a panel that govern the behavior of estimators, and the panel score over them.

All moments are signed functions of weighted means over units, so that a bootstrap of units is a
change of weights, and all are compared at one number of units, so that their small-sample biases
cancel.

A score is a root mean square of (moment generated - moment held out) / standard error, where the
error is of a difference between two random halves of real units: real against real is about 1.
Moments count equally within a component, and components within the score.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations, permutations
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy import ndarray

from mcsim._core.numerics import eigvalsh
from mcsim._fidelity.verdicts import SCORE

MARGINAL_POINTS = (0.05, 0.25, 0.5, 0.75, 0.95)
SLICED_POINTS = tuple(np.linspace(0.1, 0.9, 9).round(1).tolist())
DIRECTIONS = 100
LAGS, CROSS_LAGS = 5, 2
BATCH_CELLS = 2_000_000  # numbers of the panels computed side by side
NUDGE = 1e-5  # sd above a real value: generators draw in float32, and ties must not flip
NORMAL = 1.96
SMALLEST = 1e-7  # moments with smaller standard errors do not vary under the bootstrap

PanelArray = Float[Array, "unit period outcome"]
Weights = Float[Array, " unit"]
Vector = Float[ndarray, " moment"]
Moments = dict[str, Float[Array, " moment"]]


class Grid(NamedTuple):
    """Points at which distribution functions are compared: quantiles of the real panel.

    Attributes
    ----------
    marginal : array (period, outcome, point)
    directions : array (coordinate, direction)
        Unit vectors onto which whole units are projected.
    sliced : array (direction, point)
    invariant : array (column,)
        Coordinates of a unit that hold the time-invariant columns.
    """

    marginal: Float[Array, "period outcome point"]
    directions: Float[Array, "coordinate direction"]
    sliced: Float[Array, "direction point"]
    invariant: Int[Array, " column"]


def read_grid(
    cube: Float[ndarray, "unit period outcome"], rows: ndarray, n_invariant: int = 0
) -> Grid:
    """Choose the points; the directions are the same for every table.

    The last ``n_invariant`` coordinates of the rows hold the time-invariant columns.
    """
    directions = np.random.default_rng(0).standard_normal((rows.shape[1], DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    marginal = np.moveaxis(np.quantile(cube, MARGINAL_POINTS, axis=0), 0, -1) + NUDGE
    sliced = np.quantile(rows @ directions, SLICED_POINTS, axis=0).T + NUDGE
    invariant = jnp.arange(rows.shape[1] - n_invariant, rows.shape[1])
    return Grid(jnp.asarray(marginal), jnp.asarray(directions), jnp.asarray(sliced), invariant)


@jax.jit
def mean_moments(
    cubes: Float[Array, "panel unit period outcome"],
    rows: Float[Array, "panel unit coordinate"],
    grid: Grid,
) -> Moments:
    """Average the moments of several panels of one size."""
    ones = jnp.ones(cubes.shape[1])
    batch = max(1, BATCH_CELLS // cubes[0].size)
    found = jax.lax.map(
        lambda pair: moments(pair[0], pair[1], ones, grid),
        (cubes, rows),
        batch_size=min(batch, len(cubes)),
    )
    return jax.tree.map(lambda values: values.mean(axis=0), found)


@jax.jit
def weighted_moments(
    cube: PanelArray,
    rows: Float[Array, "unit coordinate"],
    weights: Float[Array, "draw unit"],
    grid: Grid,
) -> dict[str, Float[Array, "draw moment"]]:
    """Compute the moments of one panel under several weightings of its units."""
    batch = max(1, BATCH_CELLS // cube.size)
    one = partial(moments, cube, rows, grid=grid)
    return jax.lax.map(lambda w: one(weights=w), weights, batch_size=min(batch, len(weights)))


def moments(
    cube: PanelArray, rows: Float[Array, "unit coordinate"], weights: Weights, grid: Grid
) -> Moments:
    """Compute every component.

    Parameters
    ----------
    cube : array (unit, period, outcome)
        Standardized outcomes.
    rows : array (unit, coordinate)
        Whole units, all columns.
    weights : array (unit,)
    grid : Grid

    Returns
    -------
    dict of str to array (moment,)
        ``marginals``: means, standard deviations and distribution functions by period;
        ``sliced``: distribution functions of projections of whole units; ``acf`` and
        ``acf_within``: autocorrelations less period means, and two-way; ``ccf``:
        cross-correlations; ``shares``: of variance between units, between periods, and left;
        ``factor``: share of the first squared singular value of the two-way residual; ``ar1``:
        two-way autoregression; ``slopes_within``, ``slopes_between``: of one outcome on another;
        between units also the covariance of an outcome with each time-invariant column (with
        each level of nominal ones).
    """
    share = weights / weights.sum()
    centered = cube - jnp.einsum("i,itk->tk", share, cube)
    within = centered - centered.mean(axis=1, keepdims=True)
    n_periods, n_outcomes = cube.shape[1:]
    lags, pairs = range(1, min(LAGS, n_periods - 1) + 1), list(permutations(range(n_outcomes), 2))
    found = {
        "marginals": _marginals(cube, centered, share, grid.marginal),
        "sliced": _shares_below(rows @ grid.directions, share, grid.sliced),
        "acf": _autocorrelations(centered, share, lags),
        "shares": _variance_shares(cube, within, share),
        "factor": _factor_share(within, share),
    }
    if n_periods > 2:
        found["acf_within"] = _autocorrelations(within, share, lags[: n_periods - 2])
        found["ar1"] = _autoregression(cube, share)
    if pairs:
        found["ccf"] = _cross_correlations(centered, share)
        found["slopes_within"] = _slopes(within, share, pairs)
    if pairs or len(grid.invariant):
        means = centered.mean(axis=1, keepdims=True)
        on_invariant = _covariances(means[:, 0], rows[:, grid.invariant], share)
        on_others = _slopes(means, share, pairs) if pairs else jnp.zeros(0)
        found["slopes_between"] = jnp.concatenate([on_others, on_invariant.ravel()])
    return {name: values.ravel() for name, values in found.items()}


def _marginals(cube: PanelArray, centered: PanelArray, share: Weights, points: Array) -> Array:
    mean = jnp.einsum("i,itk->tk", share, cube)
    sd = jnp.sqrt(jnp.einsum("i,itk->tk", share, centered**2))
    below = _shares_below(cube, share, points)
    return jnp.concatenate([mean.ravel(), sd.ravel(), below.ravel()])


def _shares_below(values: Array, share: Weights, points: Array) -> Array:
    return jnp.tensordot(share, (values[..., None] <= points).astype(values.dtype), 1)


def _product(a: Array, b: Array, share: Weights, lag: int) -> Array:
    """Return the mean over units and periods of a times b ``lag`` periods before."""
    n_periods = a.shape[1]
    if lag < 0:
        return _product(b, a, share, -lag)
    return jnp.einsum("i,it...,it...->...", share, a[:, lag:], b[:, : n_periods - lag]) / (
        n_periods - lag
    )


def _autocorrelations(deviations: PanelArray, share: Weights, lags: range) -> Array:
    variance = _product(deviations, deviations, share, 0)
    return jnp.stack([_product(deviations, deviations, share, lag) / variance for lag in lags])


def _cross_correlations(deviations: PanelArray, share: Weights) -> Array:
    sd = jnp.sqrt(_product(deviations, deviations, share, 0))
    most = min(CROSS_LAGS, deviations.shape[1] - 1)
    return jnp.stack(
        [
            _product(deviations[..., j], deviations[..., k], share, lag) / (sd[j] * sd[k])
            for j, k in combinations(range(deviations.shape[2]), 2)
            for lag in range(-most, most + 1)
        ]
    )


def _variance_shares(cube: PanelArray, within: PanelArray, share: Weights) -> Array:
    """Return shares of the variance between units, between periods, and of the residual."""
    units = cube.mean(axis=1)
    between = jnp.einsum("i,ik->k", share, (units - share @ units) ** 2)
    common = jnp.einsum("i,itk->tk", share, cube).var(axis=0)
    rest = _product(within, within, share, 0)
    return jnp.stack([between, common, rest]) / (between + common + rest)


def _factor_share(within: PanelArray, share: Weights) -> Array:
    scaled = jnp.moveaxis(within * jnp.sqrt(share)[:, None, None], -1, 0)
    if scaled.shape[1] > scaled.shape[2]:
        scaled = jnp.swapaxes(scaled, 1, 2)
    squared = jax.vmap(eigvalsh)(scaled @ jnp.swapaxes(scaled, 1, 2))
    return squared[:, -1] / squared.sum(axis=1)


def _autoregression(cube: PanelArray, share: Weights) -> Array:
    later, earlier = (_two_way(part, share) for part in (cube[:, 1:], cube[:, :-1]))
    return _product(later, earlier, share, 0) / _product(earlier, earlier, share, 0)


def _two_way(part: PanelArray, share: Weights) -> Array:
    part = part - jnp.einsum("i,itk->tk", share, part)
    return part - part.mean(axis=1, keepdims=True)


def _slopes(deviations: PanelArray, share: Weights, pairs: list[tuple[int, int]]) -> Array:
    variance = _product(deviations, deviations, share, 0)
    return jnp.stack(
        [_product(deviations[..., j], deviations[..., k], share, 0) / variance[k] for j, k in pairs]
    )


def _covariances(
    means: Float[Array, "unit outcome"], invariant: Float[Array, "unit column"], share: Weights
) -> Array:
    """Return covariances; slopes on rare levels would depend on single units."""
    return jnp.einsum("i,ik,ij->kj", share, means, invariant - share @ invariant)


# The panel score


class Vectors(NamedTuple):
    """Moments of real units end to end, and under every weighting of the bootstrap."""

    value: Vector
    draws: Float[ndarray, "draw moment"]


class Scale(NamedTuple):
    """Standard errors of moments, by which their differences are divided.

    Attributes
    ----------
    components : tuple of str
        Names of the components.
    parts : tuple of slice
        Their places in a vector of moments.
    error : array (moment,)
        Standard error of a moment of ``n_units`` real units.
    n_units : float
    """

    components: tuple[str, ...]
    parts: tuple[slice, ...]
    error: Vector
    n_units: float

    def scaled(self, n_train: int, n_held: int) -> Vector:
        """Return standard errors of differences between samples of these sizes; NaN for zero."""
        error = self.error * np.sqrt(self.n_units * (1 / n_train + 1 / n_held))
        return np.where(error > SMALLEST, error, np.nan)


class Squares(NamedTuple):
    """Mean squared standardized differences of one split, by component, and their bootstrap."""

    value: Float[ndarray, " component"]
    draws: Float[ndarray, "draw component"]


class Scores(NamedTuple):
    """The score, then its components: in every split, and bootstraps of their means."""

    by_split: Float[ndarray, "split column"]
    draws: Float[ndarray, "draw column"]

    @property
    def value(self) -> Float[ndarray, " column"]:
        """Means over the splits."""
        return self.by_split.mean(axis=0)


def end_to_end(found: Mapping[str, Any]) -> ndarray:
    """Concatenate the components of moments, in the order of their names."""
    return np.concatenate([np.asarray(found[name]) for name in sorted(found)], axis=-1)


def read_scale(sizes: Mapping[str, int], halves: Sequence[Vectors], n_units: float) -> Scale:
    """Take standard errors from the bootstraps of all halves together.

    A Bayesian bootstrap of the mean of n units has (n - 1) / (n + 1) of its variance.
    """
    ends = np.cumsum([sizes[name] for name in sorted(sizes)]).tolist()
    parts = tuple(slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True))
    variance = np.mean([half.draws.var(axis=0, ddof=1) for half in halves], axis=0)
    variance *= (n_units + 1) / (n_units - 1)
    return Scale(tuple(sorted(sizes)), parts, np.sqrt(variance), n_units)


def squared(generated: Vectors, held: Vectors, scale: Scale, sizes: tuple[int, int]) -> Squares:
    """Compare moments; generated ones may be bootstrapped too, if they are real units."""
    error = scale.scaled(*sizes)
    value = _means(((generated.value - held.value) / error) ** 2, scale)
    draws = _means(((generated.draws - held.draws) / error) ** 2, scale)
    # Resampling adds noise to every square; the mean of the noise is subtracted.
    return Squares(value, np.maximum(draws + value - draws.mean(axis=0), 0))


def _means(squares: ndarray, scale: Scale) -> ndarray:
    known, filled = ~np.isnan(squares), np.nan_to_num(squares)
    with np.errstate(invalid="ignore"):
        means = [filled[..., p].sum(axis=-1) / known[..., p].sum(axis=-1) for p in scale.parts]
    return np.stack(means, axis=-1)


def scores(splits: Sequence[Squares]) -> Scores:
    """Take roots in every split, of components and of their mean, and average the bootstraps."""
    by_split = np.stack([_roots(split.value) for split in splits])
    return Scores(by_split, np.mean([_roots(split.draws) for split in splits], axis=0))


def _roots(squares: ndarray) -> ndarray:
    known = ~np.isnan(squares)
    total = np.nan_to_num(squares).sum(axis=-1) / known.sum(axis=-1)
    return np.sqrt(np.concatenate([total[..., None], squares], axis=-1))


def score_records(
    name: str, found: Scores, scale: Scale, against: tuple[str, Scores] | None
) -> list[dict[str, Any]]:
    """Return a record for the score and each component, paired with another row of the table."""
    columns, value = (SCORE, *scale.components), found.value
    several = len(found.by_split) > 1
    sd = found.by_split.std(axis=0, ddof=1) if several else np.full(len(value), np.nan)
    se = found.draws.std(axis=0, ddof=1)
    records = []
    for i, component in enumerate(columns):
        record = {
            "generator": name,
            "component": component,
            "value": float(value[i]),
            "sd": float(sd[i]),
            "lower": float(max(value[i] - NORMAL * se[i], 0.0)),
            "upper": float(value[i] + NORMAL * se[i]),
        }
        records.append({**record, **_paired(found, against, i)})
    return records


def _paired(found: Scores, against: tuple[str, Scores] | None, column: int) -> dict[str, Any]:
    """Return difference and ratio to the other row, over common splits and bootstrap weights."""
    names = ("difference", "difference_lower", "difference_upper", "ratio", "ratio_lower",
             "ratio_upper")  # fmt: skip
    if against is None:
        return {**dict.fromkeys(names, np.nan), "against": ""}
    other = against[1]
    value, best = found.value[column], other.value[column]
    difference, spread = value - best, (found.draws - other.draws)[:, column].std(ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = value / best
        logs = np.log(found.draws[:, column]) - np.log(other.draws[:, column])
        half = NORMAL * logs[np.isfinite(logs)].std(ddof=1) if np.isfinite(logs).any() else np.nan
    values = (difference, difference - NORMAL * spread, difference + NORMAL * spread, ratio,
              ratio * np.exp(-half), ratio * np.exp(half))  # fmt: skip
    return {**{n: float(v) for n, v in zip(names, values, strict=True)}, "against": against[0]}
