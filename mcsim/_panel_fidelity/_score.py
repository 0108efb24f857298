"""Panel score: how far the moments of a generator are from those of held-out units, in their noise.

A score is a root mean square of (moment generated - moment held out) / standard error, where the
error is that of two halves of real units that differ by chance: real against real reads about 1.
Moments count equally within a component, and components within the score.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

SCORE = "score"
NORMAL = 1.96
SMALLEST = 1e-7  # a moment that a bootstrap moves by less says nothing
Vector = Float[ndarray, " moment"]


class Vectors(NamedTuple):
    """Moments of real units end to end, and under every weighting of the bootstrap."""

    value: Vector
    draws: Float[ndarray, "draw moment"]


class Ruler(NamedTuple):
    """What a difference of moments is measured in.

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
        """Standard error of a difference between samples of these sizes; NaN if nothing moves."""
        error = self.error * np.sqrt(self.n_units * (1 / n_train + 1 / n_held))
        return np.where(error > SMALLEST, error, np.nan)


class Squares(NamedTuple):
    """Mean squared standardized differences of one split, by component, and their bootstrap."""

    value: Float[ndarray, " component"]
    draws: Float[ndarray, "draw component"]


class Scores(NamedTuple):
    """The score and then its components: in every split, and bootstraps of their means."""

    by_split: Float[ndarray, "split column"]
    draws: Float[ndarray, "draw column"]

    @property
    def value(self) -> Float[ndarray, " column"]:
        """Means over the splits."""
        return self.by_split.mean(axis=0)


def end_to_end(found: Mapping[str, Any]) -> ndarray:
    """Concatenate the components of moments, in the order of their names."""
    return np.concatenate([np.asarray(found[name]) for name in sorted(found)], axis=-1)


def read_ruler(sizes: Mapping[str, int], halves: Sequence[Vectors], n_units: float) -> Ruler:
    """Take standard errors from the bootstraps of all halves together.

    A Bayesian bootstrap of the mean of n units has (n - 1) / (n + 1) of its variance.
    """
    ends = np.cumsum([sizes[name] for name in sorted(sizes)]).tolist()
    parts = tuple(slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True))
    variance = np.mean([half.draws.var(axis=0, ddof=1) for half in halves], axis=0)
    variance *= (n_units + 1) / (n_units - 1)
    return Ruler(tuple(sorted(sizes)), parts, np.sqrt(variance), n_units)


def squared(generated: Vectors, held: Vectors, ruler: Ruler, sizes: tuple[int, int]) -> Squares:
    """Compare moments; generated ones may be bootstrapped too, if they are real units."""
    error = ruler.scaled(*sizes)
    value = _means(((generated.value - held.value) / error) ** 2, ruler)
    draws = _means(((generated.draws - held.draws) / error) ** 2, ruler)
    # Resampling adds its own noise to every square: what it adds on average is taken off again.
    return Squares(value, np.maximum(draws + value - draws.mean(axis=0), 0))


def _means(squares: ndarray, ruler: Ruler) -> ndarray:
    known, filled = ~np.isnan(squares), np.nan_to_num(squares)
    with np.errstate(invalid="ignore"):
        means = [filled[..., p].sum(axis=-1) / known[..., p].sum(axis=-1) for p in ruler.parts]
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
    name: str, found: Scores, ruler: Ruler, against: tuple[str, Scores] | None
) -> list[dict[str, Any]]:
    """One record for the score and for each component, paired with another row of the table."""
    columns, value = (SCORE, *ruler.components), found.value
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
    """Difference and ratio to the other row; splits and bootstrap weights are common to both."""
    names = ("difference", "difference_lower", "difference_upper", "ratio", "ratio_lower",
             "ratio_upper")  # fmt: skip
    if against is None:
        return {**dict.fromkeys(names, np.nan), "against": ""}
    other = against[1]
    mine, theirs = found.value[column], other.value[column]
    difference, spread = mine - theirs, (found.draws - other.draws)[:, column].std(ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = mine / theirs
        logs = np.log(found.draws[:, column]) - np.log(other.draws[:, column])
        half = NORMAL * logs[np.isfinite(logs)].std(ddof=1) if np.isfinite(logs).any() else np.nan
    values = (difference, difference - NORMAL * spread, difference + NORMAL * spread, ratio,
              ratio * np.exp(-half), ratio * np.exp(half))  # fmt: skip
    return {**{n: float(v) for n, v in zip(names, values, strict=True)}, "against": against[0]}
