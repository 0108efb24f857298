"""Calibration: drawn vectors get the second moments and the margins of the data's values.

Whatever a generator has learned, variances, autocorrelations and shares of mass points are those of
the data, shrunk as far as left-out units say; networks are asked for the rest.
"""

from collections.abc import Callable
from dataclasses import replace

import jax
import numpy as np
from jaxtyping import Array, Bool

from mcsim.generators._vectors._coding import Coding, Scores, Vectors
from mcsim.generators._vectors._covariance import Square, recoloring, shrunk_covariance
from mcsim.generators._vectors._factor_model import factor_target
from mcsim.generators._vectors._layout import Layout
from mcsim.generators._vectors._margins import Margin

STEPS = 2.0  # of matching the second moments of values, in all
ROUNDS = 12  # at most, where only parts of steps bring them closer
PARTS = (1.0, 0.5, 0.25, 0.125)
FEWEST_UNITS, LEAST_SHARE = 4.0, 0.05  # that make up a variance; that of fewer is chance


def calibration(drawn: Vectors, scores: Scores) -> tuple[Square, tuple[Margin, ...]]:
    """Return the matrix and the margins under which a law's draws have the data's second moments.

    First those of scores, then those of values: where a margin is steep, equal changes of scores
    are unequal changes of values, and what tests see is how much values change.
    """
    coding = scores.coding
    real = np.asarray(_numbers(coding, scores.vectors))
    center, spread = real.mean(axis=0), real.std(axis=0)
    varies = spread > 1e-9 * np.abs(center)
    spread = np.where(varies, spread, 1.0)
    told = varies & _told_by_many(np.where(varies, (real - center) / spread, 1.0), coding.layout)

    def standard(values: Vectors, vectors: Vectors) -> Vectors:
        """Standardize values; where the data's do not tell variances, scores stand for them."""
        return np.where(told, (values - center) / spread, vectors)

    known = standard(real, scores.vectors)
    aim = shrunk_covariance(known, coding.layout, scores.rows, factor_target, scores.weight)

    def second(recolor: Square) -> Square:
        vectors = drawn @ recolor.T
        moved = replace(coding, margins=coding.moved(vectors, scores))
        return covariance_of(standard(np.asarray(_numbers(moved, vectors)), vectors))

    recolor = _matched(second, recoloring(covariance_of(drawn), scores.covariance), aim)
    return recolor, coding.moved(drawn @ recolor.T, scores)


def _told_by_many(standardized: Vectors, layout: Layout) -> Bool[np.ndarray, " coordinate"]:
    """Say of which columns variances are not made up by a few units, as they are by heavy tails."""
    squares = np.square(standardized)
    share = np.square(squares).sum(axis=0) / squares.sum(axis=0) ** 2  # one over the units
    shares = np.array([share[layout.place(name)].mean() for name in layout.names])
    fewest = min(FEWEST_UNITS, LEAST_SHARE * len(squares))
    return np.repeat(shares * fewest <= 1, layout.widths)


def _matched(second: Callable[[Square], Square], recolor: Square, aim: Square) -> Square:
    """Move a matrix until the second moments under it are those aimed at.

    A step is right where values are linear in scores. Where they are steep, as with heavy tails, it
    goes too far, and the next one back: of each step only so much is taken as brings them closer.
    """
    found, taken = second(recolor), 0.0
    for _ in range(ROUNDS):
        step = recoloring(found, aim)
        for part in PARTS:
            tried = (part * step + (1 - part) * np.eye(len(aim))) @ recolor
            there = second(tried)
            if _distance(there, aim) < _distance(found, aim):
                break
        else:
            return recolor
        recolor, found, taken = tried, there, taken + part
        if taken >= STEPS:
            break
    return recolor


def _distance(found: Square, aim: Square) -> float:
    return float(np.square(found - aim).sum())


@jax.jit
def _numbers(coding: Coding, vectors: Array) -> Array:
    return coding.numbers(vectors)


def covariance_of(vectors: Vectors) -> Square:
    """Return the covariance of vectors."""
    return np.atleast_2d(np.cov(vectors, rowvar=False, ddof=0))
