"""Coding: between the columns of a panel and vectors of standardized scores, one per unit.

Columns become normal scores by their margins, pooled over periods; scores are centered and scaled
period by period. What generators learn are the vectors; common shocks move the centers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcsim._pytree import pytree
from mcsim._schema import Schema
from mcsim.generators._vectors._completion import complete, truncated_normal
from mcsim.generators._vectors._copies import UnitNumbers
from mcsim.generators._vectors._covariance import (
    Square,
    Target,
    best_weight,
    shrunk_covariance,
    stationary_target,
)
from mcsim.generators._vectors._factor_model import factor_target
from mcsim.generators._vectors._layout import Layout, layout_of
from mcsim.generators._vectors._levels import scaled_levels
from mcsim.generators._vectors._margins import Margin, fit_margin

ROUNDS = 4  # of estimating the covariance and completing the scores under it
PRIOR_UNITS = 4.0  # a period's variance is shrunk to the column's by so many units

Vectors = Float[np.ndarray, "unit coordinate"]


@pytree("margins", "centers", "spreads")
@dataclass(frozen=True, eq=False)
class Coding:
    """How columns and vectors of scores go over into each other.

    Attributes
    ----------
    layout : Layout
        Where the cells stand.
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
        """Return between which standardized scores each cell (unit, period) lies.

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
        """Return what the value of each coordinate counts as: `Margin.number`."""
        return self._decoded(Margin.number, vectors)

    def _decoded(self, decode: Callable[[Margin, Array], Array], vectors: Array) -> Array:
        scores = vectors * self.spreads + self.centers
        pairs = zip(self.layout.names, self.margins, strict=True)
        parts = [decode(margin, scores[:, self.layout.place(name)]) for name, margin in pairs]
        return jnp.concatenate(parts, axis=1)

    def moved(self, vectors: Vectors, known: "Scores") -> tuple[Margin, ...]:
        """Return the margins under which vectors of this law have the training data's values."""
        missing = np.isinf(known.low) & np.isinf(known.high)
        drawn, own = (v * self.spreads + self.centers for v in (vectors, known.vectors))
        places = [self.layout.place(name) for name in self.layout.names]
        return tuple(
            margin.moved(drawn[:, place], own[:, place] if missing[:, place].any() else None)
            for margin, place in zip(self.margins, places, strict=True)
        )


class Scores(NamedTuple):
    """What a generator learns from.

    Attributes
    ----------
    vectors : array (unit, coordinate)
        Standardized scores; those of mass points and missing cells are drawn given the others.
    low, high : array (unit, coordinate)
        Between which scores each lies; equal where it is known.
    covariance : array (coordinate, coordinate)
        Their covariance, shrunk towards that of a factor model.
    weight : float
        How far.
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
    cells = {n: columns[n] if n in layout.paths else _first(columns[n]) for n in layout.names}
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
    cells = [columns[n] if n in layout.paths else _first(columns[n]) for n in layout.names]
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
