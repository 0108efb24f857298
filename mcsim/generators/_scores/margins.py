"""Margins: a column's values as normal scores, mass points and levels as intervals of them.

The score of a value is the normal quantile of its rank among all cells of the column. A value of
many cells has an interval of scores, so a latent normal distribution has mass points,
integers and categories: Hoff (2007), Extending the rank likelihood for semiparametric copula
estimation, Annals of Applied Statistics 1: 265-283.

Scores have an order, so nominal levels need one. They are ordered along the direction in
which the levels' means of the other columns differ most, the first principal component between
groups: Doledec & Chessel (1987), Rythmes saisonniers et composantes stationnelles en milieu
aquatique, Acta Oecologica 8: 403-426.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Float
from scipy.special import ndtr, ndtri

from mcsim._core.pytree import pytree
from mcsim._data.schema import Column, Schema, taken_by_value

KNOTS = 400  # of the quantile function, at most, apart from mass points
BUCKET = 128  # tables have a multiple of this length
POINTS = 16  # tables of points, where programs use them, a multiple of this
OUTER = 0.02  # outer share whose mean slope extrapolates the quantile function
INNER = ndtri(np.array([OUTER, 1 - OUTER]))  # scores at which the outer shares begin
PRIOR_CELLS = 4.0  # prior cells by which the means of a level are shrunk to the means of all


@pytree("points", "numbers", "low", "high", "knots", "scores", "slopes")
@dataclass(frozen=True, eq=False)
class Margin:
    """The quantile function of one column.

    Attributes
    ----------
    points, low, high : array (point,)
        Values with an interval of scores, in order of scores, and its ends (infinite at the
        outer ends).
    numbers : array (point,)
        Their numbers, ascending: values, or the numbers of nominal levels.
    knots, scores : array (knot,)
        Values and scores of the piecewise linear part.
    slopes : array (2,)
        Its slopes beyond the knots; 0 where the last knot is a bound or a point.
    lower, upper : float
        Bounds.
    discrete, integer : bool
        Whether all values are points; whether they are whole.
    """

    points: Any
    numbers: Any
    low: Any
    high: Any
    knots: Any
    scores: Any
    slopes: Any
    lower: float
    upper: float
    discrete: bool
    integer: bool

    def value(self, score: Float[Array, "*any"]) -> Float[Array, "*any"]:
        """Return the values of scores."""
        return self._of(self.points, score)

    def number(self, score: Float[Array, "*any"]) -> Float[Array, "*any"]:
        """Return the numbers of the values of scores."""
        return self._of(self.numbers, score)

    def _of(self, points: Any, score: Float[Array, "*any"]) -> Float[Array, "*any"]:
        if self.discrete:
            place = jnp.searchsorted(jnp.asarray(self.low)[1:], score, side="right")
            return jnp.asarray(points)[place]
        inside = jnp.interp(score, self.scores, self.knots)
        below = jnp.maximum(self.scores[0] - score, 0.0) * self.slopes[0]
        above = jnp.maximum(score - self.scores[-1], 0.0) * self.slopes[1]
        inside -= _saturated(below, self.knots[0] - self.lower)
        inside += _saturated(above, self.upper - self.knots[-1])
        inside = jnp.clip(inside, self.lower, self.upper)
        return jnp.rint(inside) if self.integer else inside

    def interval(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of each value's scores; equal but for points, NaN for NaN."""
        score = np.interp(values, self.knots, self.scores)
        low, high = score.copy(), score
        points = np.asarray(self.points)[np.asarray(self.low) < np.inf]  # the others pad
        if len(points):
            order = np.argsort(points)
            above = np.searchsorted(points, values, sorter=order)
            place = order[np.minimum(above, len(order) - 1)]
            # A level unseen in training counts as the nearest one above.
            at = np.ones(values.shape, bool) if self.discrete else points[place] == values
            low = np.where(at, np.asarray(self.low)[place], low)
            high = np.where(at, np.asarray(self.high)[place], high)
        missing = np.isnan(values)
        return np.where(missing, np.nan, low), np.where(missing, np.nan, high)

    def padded(self) -> "Margin":
        """Return the margin with points that no score reaches after its own.

        Fits on other units of the same data miss other rare values; so they share programs.
        """
        tables = self.points, self.numbers, self.high
        points, numbers, high = (_padded(np.asarray(table), POINTS) for table in tables)
        low = np.append(self.low, np.full(len(points) - len(self.points), np.inf))
        return replace(self, points=points, numbers=numbers, low=low, high=high)

    def moved(self, draws: np.ndarray, completed: np.ndarray | None = None) -> "Margin":
        """Return the margin under which scores distributed as ``draws`` give the same values.

        With missing cells this is the distribution of the ``completed`` scores, which may differ
        from the distribution of observed cells.
        """
        old = np.asarray(self.scores)
        probability = ndtr(old) if completed is None else _shares_below(completed.ravel(), old)
        scores = np.maximum.accumulate(np.quantile(draws, probability))
        rising = np.arange(len(scores)) * 1e-9  # equal scores would leave a jump undefined
        ends = [np.interp(end, self.scores, scores) for end in (self.low, self.high)]
        low, high = (
            np.where(np.isinf(old), old, new)
            for old, new in zip((self.low, self.high), ends, strict=True)
        )
        runs = (
            _outer_runs(self.scores, INNER),
            _outer_runs(scores, np.interp(INNER, self.scores, scores)),
        )
        slopes = self.slopes * runs[0] / np.maximum(runs[1], 1e-9)  # as steep in probability
        return Margin(
            self.points, self.numbers, low, high, self.knots, scores + rising, slopes,
            self.lower, self.upper, self.discrete, self.integer,
        )  # fmt: skip


def _shares_below(scores: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the share of scores below each of some scores, never 0 and never 1."""
    ranks = [np.searchsorted(np.sort(scores), at, side) for side in ("left", "right")]
    return np.clip(np.mean(ranks, axis=0) / len(scores), 0.25 / len(scores), 1 - 0.25 / len(scores))


def _saturated(run: Float[Array, "*any"], room: Any) -> Float[Array, "*any"]:
    """Return a distance that saturates before a bound: no mass piles up on it."""
    bounded = jnp.where(jnp.isfinite(room), jnp.maximum(room, 1e-300), 1.0)
    return jnp.where(jnp.isfinite(room), -bounded * jnp.expm1(-run / bounded), run)


def fit_margin(column: Column, values: np.ndarray, levels: np.ndarray | None = None) -> Margin:
    """Read the quantile function off a column's cells (NaN where missing).

    ``levels`` holds the numbers of a nominal column's codes, which order them.
    """
    if levels is not None:
        codes = np.argsort(levels)
        place = np.argsort(codes)[np.nan_to_num(values).astype(int)]
        ordered = fit_margin(column, np.where(np.isnan(values), np.nan, place))
        shown = codes[ordered.points.astype(int)]
        return replace(ordered, points=shown.astype(np.float64), numbers=levels[shown])
    cells = np.sort(values[np.isfinite(values)].ravel())
    distinct = np.unique(cells)
    discrete = taken_by_value(column, distinct) or len(distinct) < 3
    points = distinct if discrete else distinct[np.isin(distinct, column.mass_points)]
    first, last = (np.searchsorted(cells, points, side) / len(cells) for side in ("left", "right"))
    least = 0.25 / len(cells)
    probability, knots = _knots_off_points(cells, points)
    probability = np.concatenate([probability, first + least, last - least])
    knots = np.concatenate([knots, points, points])
    order = np.lexsort((knots, probability))
    scores, knots = ndtri(np.clip(probability[order], least, 1 - least)), knots[order]
    slopes = np.zeros(2) if discrete else _outer_slopes(scores, knots, points)
    scores, knots = _padded(scores, BUCKET), _padded(knots, BUCKET)
    with np.errstate(divide="ignore"):
        low, high = ndtri(first), ndtri(last)
    return Margin(
        points, points, low, high, knots, scores, slopes, float(column.lower), float(column.upper),
        discrete, column.kind != "continuous",
    )  # fmt: skip


def _padded(table: np.ndarray, multiple: int) -> np.ndarray:
    """Repeat the last entry, so that fits on other units of the same data share programs."""
    return np.append(table, np.repeat(table[-1:], -len(table) % multiple))


def _knots_off_points(cells: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mid-ranks and values of the cells that are no points, at most so many."""
    values, start, counts = np.unique(cells, return_index=True, return_counts=True)
    keep = ~np.isin(values, points)
    middle, values = ((start + 0.5 * counts) / len(cells))[keep], values[keep]
    if len(values) > KNOTS:
        even = np.linspace(ndtri(middle[0]), ndtri(middle[-1]), KNOTS)
        chosen = np.unique(np.searchsorted(ndtri(middle), even).clip(0, len(values) - 1))
        middle, values = middle[chosen], values[chosen]
    return middle, values


def _outer_runs(scores: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Return the ranges of the knots' scores beyond the ``inner`` ones on both sides."""
    return np.maximum([inner[0] - scores[0], scores[-1] - inner[1]], 0.0)


def _outer_slopes(scores: np.ndarray, knots: np.ndarray, points: np.ndarray) -> np.ndarray:
    slopes = []
    for end, inside in zip((0, -1), INNER, strict=True):
        run = scores[end] - inside
        rise = knots[end] - np.interp(inside, scores, knots)
        slopes.append(0.0 if knots[end] in points or run == 0 else max(rise / run, 0.0))
    return np.array(slopes)


def scaled_levels(
    cells: Mapping[str, np.ndarray], schema: Schema
) -> dict[str, Float[np.ndarray, " level"]]:
    """Return a number for each level of every nominal column.

    Parameters
    ----------
    cells : mapping of str to array (unit, period) or (unit, 1)
        Time-varying and time-invariant columns; NaN where missing.
    schema : Schema
    """
    nominal = [name for name in cells if schema[name].nominal]
    if not nominal:
        return {}
    features = {name: _features(schema[name], values) for name, values in cells.items()}
    return {
        name: _numbers(
            cells[name], len(schema[name].levels), [features[n] for n in cells if n != name]
        )
        for name in nominal
    }


def _features(
    column: Column, values: Float[np.ndarray, "unit period"]
) -> Float[np.ndarray, "unit period feature"]:
    """Return normal scores of a column, or indicators of its levels."""
    missing = np.isnan(values)
    if column.nominal:
        found = (values[..., None] == np.arange(len(column.levels))).astype(np.float64)
        return np.where(missing[..., None], np.nan, found)
    ranks = scipy.stats.rankdata(values[~missing])
    found = np.full(values.shape, np.nan)
    found[~missing] = ndtri((ranks - 0.5) / len(ranks))
    return found[..., None]


def _numbers(
    codes: Float[np.ndarray, "unit period"],
    count: int,
    others: list[Float[np.ndarray, "unit _ _"]],
) -> Float[np.ndarray, " level"]:
    known = ~np.isnan(codes)
    level = codes[known].astype(int)
    sizes = np.bincount(level, minlength=count)
    if not others:
        return np.arange(count, dtype=np.float64)
    columns = [column for other in others for column in _standardized(other, codes.shape[1], known)]
    sums = np.array([np.bincount(level, column, count) for column in columns]).T
    means = sums / (sizes + PRIOR_CELLS)[:, None]
    direction = np.linalg.svd(means * np.sqrt(sizes)[:, None], full_matrices=False)[2][0]
    numbers = means @ direction * np.sign(direction[np.abs(direction).argmax()])
    return numbers + np.arange(count) * 1e-9 * max(float(np.ptp(numbers)), 1.0)  # no two are equal


def _standardized(
    features: Float[np.ndarray, "unit _ feature"], periods: int, known: np.ndarray
) -> Float[np.ndarray, "feature cell"]:
    """Return features at cells of known level: by period, or averaged over a unit's periods."""
    missing = np.isnan(features)
    centered = np.where(missing, 0.0, features - np.nanmean(features, axis=(0, 1)))
    if features.shape[1] != periods:  # of time-invariant columns, or to them
        centered = centered.mean(axis=1, keepdims=True)
    centered = np.broadcast_to(centered, (len(features), periods, features.shape[2]))[known].T
    spread = centered.std(axis=1, keepdims=True)
    return centered / np.where(spread > 0, spread, 1.0)
