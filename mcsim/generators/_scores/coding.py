"""Coding: between the columns of a panel and vectors of standardized scores, one per unit.

Columns become normal scores by their margins, pooled over periods; scores are centered and scaled
period by period. Generators learn the distribution of the vectors; common shocks move the centers.

Mass points, levels of integers and categories, and missing cells determine an interval of scores
only: their scores are drawn from the normal distribution given the others, in Gibbs sweeps over
the coordinates, as in Hoff (2007), Annals of Applied Statistics 1: 265-283.

Common shocks are the means of the periods, as they were, or drawn anew in every panel. Each
column's means follow a line and an AR(1), their innovations correlated across columns; the chance
variation of a mean of units is taken off the innovations' variance.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.linalg import toeplitz
from scipy.special import log_ndtr, ndtri_exp

from mcsim._core.pytree import pytree
from mcsim._data.schema import Schema
from mcsim.generators._scores.factor_model import factor_target
from mcsim.generators._scores.margins import Margin, fit_margin, scaled_levels
from mcsim.generators._scores.vectors import (
    Layout,
    Square,
    Target,
    UnitNumbers,
    best_weight,
    effective_size,
    layout_of,
    shrunk_covariance,
    stationary_target,
)

ROUNDS = 4  # of estimating the covariance and completing the scores under it
PRIOR_UNITS = 4.0  # prior units by which a period's variance is shrunk to the column's
Vectors = Float[np.ndarray, "unit coordinate"]
SWEEPS = 5
MOST_PERSISTENCE = 0.95  # the largest autoregressive coefficient
GRID = np.linspace(-MOST_PERSISTENCE, MOST_PERSISTENCE, 39)
SHORT_PATH = 4  # periods below have neither slope nor persistence
SIGNIFICANT = 3.5  # least t value, given the persistence, of a slope that is kept


@pytree("margins", "centers", "spreads")
@dataclass(frozen=True, eq=False)
class Coding:
    """The mapping between columns and vectors of scores.

    Attributes
    ----------
    layout : Layout
        Places of the cells.
    margins : tuple of Margin
        One per column, in the layout's order.
    centers, spreads : array (coordinate,)
        Means and standard deviations of the scores.
    """

    layout: Layout
    margins: tuple[Margin, ...]
    centers: Any
    spreads: Any

    def intervals(self, columns: Mapping[str, np.ndarray]) -> tuple[Vectors, Vectors]:
        """Return the ends of the interval of standardized scores of each cell (unit, period).

        Both ends agree where the score is known; the interval is infinite where a cell is missing.
        """
        low, high = _raw_intervals(self.layout, self.margins, columns)
        return (low - self.centers) / self.spreads, (high - self.centers) / self.spreads

    def values(
        self, vectors: Float[Array, "unit coordinate"], centers: Array | None = None
    ) -> dict[str, Float[Array, "unit period"]]:
        """Return the columns of vectors; ``centers`` take the place of the training data's."""
        coding = self if centers is None else replace(self, centers=centers)
        cells, shape = coding.cells(vectors), (len(vectors), self.layout.periods)
        places = {name: self.layout.place(name) for name in self.layout.names}
        return {name: jnp.broadcast_to(cells[:, own], shape) for name, own in places.items()}

    def cells(self, vectors: Float[Array, "unit coordinate"]) -> Float[Array, "unit coordinate"]:
        """Return the value of each coordinate."""
        return self._decoded(Margin.value, vectors)

    def numbers(self, vectors: Float[Array, "unit coordinate"]) -> Float[Array, "unit coordinate"]:
        """Return the number of each coordinate's value: `Margin.number`."""
        return self._decoded(Margin.number, vectors)

    def _decoded(self, decode: Callable[[Margin, Array], Array], vectors: Array) -> Array:
        scores = vectors * self.spreads + self.centers
        pairs = zip(self.layout.names, self.margins, strict=True)
        parts = [decode(margin, scores[:, self.layout.place(name)]) for name, margin in pairs]
        return jnp.concatenate(parts, axis=1)

    def padded(self) -> "Coding":
        """Return the coding with padded margins: `Margin.padded`."""
        return replace(self, margins=tuple(margin.padded() for margin in self.margins))

    def moved(self, vectors: Vectors, known: "Scores") -> tuple[Margin, ...]:
        """Return the margins under which these vectors have the training data's values."""
        missing = np.isinf(known.low) & np.isinf(known.high)
        drawn, own = (v * self.spreads + self.centers for v in (vectors, known.vectors))
        places = [self.layout.place(name) for name in self.layout.names]
        return tuple(
            margin.moved(drawn[:, place], own[:, place] if missing[:, place].any() else None)
            for margin, place in zip(self.margins, places, strict=True)
        )


class Scores(NamedTuple):
    """The scores of units, of which a generator learns the distribution.

    Attributes
    ----------
    vectors : array (unit, coordinate)
        Standardized scores; scores of mass points and missing cells are drawn given the others.
    low, high : array (unit, coordinate)
        Ends of each score's interval; equal for known scores.
    covariance : array (coordinate, coordinate)
        Their covariance, shrunk towards that of a factor model.
    weight : float
        Weight of the factor model's covariance.
    rows : array (unit,)
        Numbers of the units in the panel; a bootstrap sample holds some of them several times.
    coding : Coding
    """

    vectors: Vectors
    low: Vectors
    high: Vectors
    covariance: Square
    weight: float
    rows: UnitNumbers
    coding: Coding


def encode(
    columns: Mapping[str, np.ndarray], rows: UnitNumbers, schema: Schema, rng: np.random.Generator
) -> Scores:
    """Find the coding of columns (unit, period), NaN where missing, and their scores."""
    layout = layout_of(dict(columns))
    cells = {
        n: columns[n] if n in layout.time_varying else _first(columns[n]) for n in layout.names
    }
    levels = scaled_levels(cells, schema)
    margins = tuple(fit_margin(schema[n], cells[n], levels.get(n)) for n in layout.names)
    low, high = _raw_intervals(layout, margins, columns)
    scores, inside = low.copy(), low < high
    scores[inside] = truncated_normal(rng, low[inside], high[inside])
    for _ in range(ROUNDS if inside.any() else 0):
        found = _standardized(scores, low, high, rows, Coding(layout, margins, 0.0, 1.0))
        vectors = complete(rng, found.vectors, found.low, found.high, found.covariance)
        scores = vectors * found.coding.spreads + found.coding.centers
    return _standardized(scores, low, high, rows, Coding(layout, margins, 0.0, 1.0), factor_target)


def _standardized(
    scores: Vectors,
    low: Vectors,
    high: Vectors,
    rows: UnitNumbers,
    coding: Coding,
    target: Target = stationary_target,
) -> Scores:
    """Center and scale scores, and estimate their covariance."""
    centers, spreads = scores.mean(axis=0), _spreads(scores, coding.layout)
    vectors, low, high = ((side - centers) / spreads for side in (scores, low, high))
    weight = best_weight(vectors, coding.layout, rows, target)
    covariance = shrunk_covariance(vectors, coding.layout, rows, target, weight)
    coding = replace(coding, centers=centers, spreads=spreads)
    return Scores(vectors, low, high, covariance, weight, rows, coding)


def _raw_intervals(
    layout: Layout, margins: tuple[Margin, ...], columns: Mapping[str, np.ndarray]
) -> tuple[Vectors, Vectors]:
    cells = [columns[n] if n in layout.time_varying else _first(columns[n]) for n in layout.names]
    pairs = [margin.interval(own) for margin, own in zip(margins, cells, strict=True)]
    low, high = (np.concatenate(side, axis=1) for side in zip(*pairs, strict=True))
    return np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)


def _first(values: np.ndarray) -> np.ndarray:
    """Return the first value (unit, 1) of every unit that is not missing."""
    place = np.argmax(~np.isnan(values), axis=1)
    return np.take_along_axis(values, place[:, None], axis=1)


def _spreads(scores: Vectors, layout: Layout) -> Float[np.ndarray, " coordinate"]:
    """Return standard deviations, in part pooled over the periods of a column."""
    variance, units = scores.var(axis=0), len(scores)
    pooled = np.concatenate(
        [
            np.full(width, variance[layout.place(name)].mean())
            for name, width in zip(layout.names, layout.widths, strict=True)
        ]
    )
    return np.sqrt((units * variance + PRIOR_UNITS * pooled) / (units + PRIOR_UNITS)) + 1e-6


def complete(
    rng: np.random.Generator,
    scores: Float[np.ndarray, "unit coordinate"],
    low: Float[np.ndarray, "unit coordinate"],
    high: Float[np.ndarray, "unit coordinate"],
    covariance: Square,
) -> Float[np.ndarray, "unit coordinate"]:
    """Redraw the scores inside their intervals; known scores stay as they are."""
    precision, scores = np.linalg.inv(covariance), scores.copy()
    open_cells = [np.flatnonzero(low[:, j] < high[:, j]) for j in range(scores.shape[1])]
    for _ in range(SWEEPS):
        for j, units in enumerate(open_cells):
            if not len(units):
                continue
            pull = scores[units] @ precision[:, j] - scores[units, j] * precision[j, j]
            mean, sd = -pull / precision[j, j], precision[j, j] ** -0.5
            scores[units, j] = mean + sd * truncated_normal(
                rng, (low[units, j] - mean) / sd, (high[units, j] - mean) / sd
            )
    return scores


def truncated_normal(rng: np.random.Generator, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Draw standard normals between bounds, by inversion on the side of the nearer tail."""
    flip = low > 0
    low, high = np.where(flip, -high, low), np.where(flip, -low, high)
    below, above = log_ndtr(low), log_ndtr(high)
    share = rng.uniform(size=low.shape)
    # log(F(low) + share (F(high) - F(low))), without leaving logarithms
    with np.errstate(divide="ignore"):
        drawn = ndtri_exp(above + np.log(share + (1 - share) * np.exp(below - above)))
    drawn = np.clip(drawn, low, high)
    return np.where(flip, -drawn, drawn)


@pytree("means", "level", "slope", "persistence", "innovation")
@dataclass(frozen=True, eq=False)
class Shocks:
    """The distribution of the means of the periods.

    Attributes
    ----------
    means : array (column, period)
        As they were.
    level, slope : array (column,)
        Of the line, by period.
    persistence : array (column,)
        Autoregressive coefficients of the deviations.
    innovation : array (column, column)
        Root of the covariance of the innovations.
    """

    means: Any
    level: Any
    slope: Any
    persistence: Any
    innovation: Any

    def draw(self, key: Array) -> Float[Array, "column period"]:
        """Draw a path of the means, stationary around the line."""
        columns, periods = self.means.shape
        noise = jax.random.normal(key, (periods, columns), jnp.float64) @ self.innovation.T
        first = noise[0] / jnp.sqrt(1 - jnp.asarray(self.persistence) ** 2)

        def step(before: Array, own: Array) -> tuple[Array, Array]:
            now = self.persistence * before + own
            return now, now

        rest = jax.lax.scan(step, first, noise[1:])[1]
        deviations = jnp.concatenate([first[None], rest])
        return deviations.T + self.level[:, None] + self.slope[:, None] * jnp.arange(periods)


def fit_shocks(
    means: Float[np.ndarray, "column period"], chance: Float[np.ndarray, "column column"]
) -> Shocks:
    """Fit the distribution; ``chance`` is the covariance of means from units alone."""
    fits = [_fit_path(path) for path in means]
    residuals = np.array([fit.residuals for fit in fits]).reshape(means.shape)
    persistence = np.array([fit.persistence for fit in fits])
    alone, left = (np.sqrt([getattr(fit, name) for fit in fits]) for name in ("alone", "left"))
    shared = residuals @ residuals.T - chance * np.outer(alone, alone)
    excess = shared / np.maximum(np.outer(left, left), 1e-9)
    innovations = excess * (1 - np.outer(persistence, persistence))
    values, vectors = np.linalg.eigh(innovations)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    level, slope = np.array([fit.line for fit in fits]).reshape(-1, 2).T
    return Shocks(means, level, slope, persistence, root)


def shocks_of(scores: Scores) -> Shocks:
    """Fit the distribution of the means of scores, net of the chance variation of unit means."""
    layout, coding, units = scores.coding.layout, scores.coding, len(scores.vectors)
    means = coding.centers[: layout.n_cells].reshape(len(layout.time_varying), layout.periods)
    paths = (scores.vectors * coding.spreads)[:, : layout.n_cells].reshape(units, *means.shape)
    paths = paths - paths.mean(axis=2, keepdims=True)  # a level common to all periods is no shock
    products = np.einsum("ijt,ikt->jk", paths, paths) / paths.shape[2]
    return fit_shocks(means, products / (units * effective_size(scores.rows)))


class _Path(NamedTuple):
    """A path as a line and an AR(1).

    Attributes
    ----------
    line : tuple
        Level and slope.
    residuals : array (period,)
        Deviations from the line.
    persistence : float
        Their autoregressive coefficient.
    left, alone : float
        The sum of squares that residuals have on average if deviations have variance one; if they
        have no persistence besides.
    """

    line: tuple[float, float]
    residuals: np.ndarray
    persistence: float
    left: float
    alone: float


def _fit_path(path: Float[np.ndarray, " period"]) -> _Path:
    """Fit the distribution of a path; a slope that may be chance is zero."""
    flat = _fit_line(path, 1)
    if len(path) < SHORT_PATH:
        return flat
    sloped, weights = _fit_line(path, 2), np.linalg.pinv(_terms(len(path), 2))[1]
    variance = sloped.residuals @ sloped.residuals / sloped.left
    spread = np.sqrt(variance * (weights @ _correlations(sloped.persistence, len(path)) @ weights))
    return sloped if abs(sloped.line[1]) > SIGNIFICANT * spread else flat


def _fit_line(path: np.ndarray, terms: int) -> _Path:
    """Fit a level, or a level and a slope, and the persistence of the residuals.

    A line takes the slow part out of a short path. The persistence is the one under which residuals
    have, in the ratio of expectations, the first autocorrelation that is found.
    """
    periods, design = len(path), _terms(len(path), terms)
    coefficients = np.linalg.lstsq(design, path, rcond=None)[0]
    residuals, persistence = path - design @ coefficients, 0.0
    squares = residuals @ residuals
    if periods >= SHORT_PATH and squares > 0:
        found = residuals[1:] @ residuals[:-1] / squares
        persistence = float(np.interp(found, _found_on_average(periods, terms), GRID))
    off = np.eye(periods) - design @ np.linalg.pinv(design)
    left = float((off * _correlations(persistence, periods)).sum())
    line = float(coefficients[0]), float(coefficients[1]) if terms == 2 else 0.0
    return _Path(line, residuals, persistence, left, float(np.trace(off)))


@lru_cache
def _found_on_average(periods: int, terms: int) -> Float[np.ndarray, " grid"]:
    """Return the first autocorrelation that residuals show under each persistence of the grid."""
    design = _terms(periods, terms)
    off, found = np.eye(periods) - design @ np.linalg.pinv(design), []
    for persistence in GRID:
        left = off @ _correlations(persistence, periods) @ off
        found.append(np.trace(left, offset=1) / np.trace(left))
    return np.maximum.accumulate(found)


def _terms(periods: int, terms: int) -> Float[np.ndarray, "period term"]:
    return np.vander(np.arange(periods, dtype=float), terms, increasing=True)


def _correlations(persistence: float, periods: int) -> Float[np.ndarray, "period period"]:
    return toeplitz(persistence ** np.arange(periods))
