"""Distances between two samples of rows: transport, neighbors, mass points, classifiers.

Peyre & Cuturi (2019, Foundations and Trends in Machine Learning 11: 355-607); sliced: Bonneel,
Rabin, Peyre & Pfister (2015, Journal of Mathematical Imaging and Vision 51: 22-45). Classifier
two-sample tests: Lopez-Paz & Oquab (2017, ICLR); Friedman (2003, PHYSTAT).
"""

import importlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import scipy
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from threadpoolctl import ThreadpoolController

from mcsim._core.machine import available_cpus

Matrix = Float[ndarray, "row column"]
Other = Float[ndarray, "other column"]
Features = Float[ndarray, "unit feature"]

DIRECTIONS = 200  # of the sliced distance, the same for every table
TRANSPORT_ROWS = 500  # the exact assignment costs the cube of it
FOLDS = 5  # of a classifier's cross-fit
WITHIN_ROWS = 4_000  # per side, for five fits
JITTER = 0.15  # sd of the real data
LEAF, FEWEST = 20, 5  # units in a leaf: many units, few
FEWEST_HELD = 7  # on each side: with fewer, four folds have too few units for two leaves
FEWEST_PERMUTATIONS = 40  # with fewer, twice a p-value cannot fall below .05


def transport(a: Matrix, b: Other) -> float:
    """Return the mean Euclidean distance of the best one-to-one assignment of rows (exact)."""
    rows = min(len(a), len(b), TRANSPORT_ROWS)
    cost = scipy.spatial.distance.cdist(a[:rows], b[:rows])
    return float(cost[scipy.optimize.linear_sum_assignment(cost)].mean())


def marginal_wasserstein(a: Matrix, b: Other) -> float:
    """Return the Wasserstein-1 distance, averaged over columns; the longer sample is cut.

    Examples
    --------
    >>> x = np.linspace(0, 1, 50)[:, None]
    >>> round(marginal_wasserstein(x, x + 1), 12)
    1.0
    """
    rows = min(len(a), len(b))
    return float(np.abs(np.sort(a[:rows], axis=0) - np.sort(b[:rows], axis=0)).mean())


def sliced_wasserstein(a: Matrix, b: Other) -> float:
    """Return the Wasserstein-1 distance of projections, averaged over fixed directions."""
    directions = np.random.default_rng(0).standard_normal((a.shape[1], DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    return marginal_wasserstein(a @ directions, b @ directions)


def nearest(rows: Matrix, train: Other, *, itself: bool = False) -> Float[ndarray, " row"]:
    """Return each row's distance to the nearest training row, or to the nearest but ``itself``."""
    neighbors = 2 if itself else 1
    distance, _ = scipy.spatial.KDTree(train).query(rows, k=neighbors, workers=2)
    return np.asarray(distance).reshape(len(rows), neighbors)[:, -1]


def nearest_path(paths: Matrix, train: Other, *, itself: bool = False) -> Float[ndarray, " row"]:
    """Return the distances of `nearest` by brute force: rows as long as paths defeat trees."""
    place = 1 if itself else 0
    return np.partition(scipy.spatial.distance.cdist(paths, train), place, axis=1)[:, place]


def duplicates(rows: Matrix, train: Other) -> Bool[ndarray, " row"]:
    """Mark the rows that equal a training row, to float32 (generators draw in it)."""
    known = {row.tobytes() for row in _bytes(train)}
    return np.array([row.tobytes() in known for row in _bytes(rows)], dtype=bool)


def _bytes(rows: ndarray) -> ndarray:
    return np.ascontiguousarray(rows, dtype=np.float32) + np.float32(0)  # -0 becomes 0


def correlation_gap(
    a: Matrix, b: Other, a_weights: ndarray | None = None, b_weights: ndarray | None = None
) -> float:
    """Return the largest absolute difference of correlations; zero for constant columns."""
    if a.shape[1] < 2:
        return 0.0
    return float(np.abs(_correlations(a, a_weights) - _correlations(b, b_weights)).max())


def _correlations(x: ndarray, weights: ndarray | None) -> ndarray:
    covariance = np.cov(x, rowvar=False, aweights=weights)
    sd = np.sqrt(np.diag(covariance))
    sd = np.where(sd > 1e-12 * np.abs(x).max(axis=0, initial=1.0), sd, np.inf)
    return covariance / np.outer(sd, sd) * (1 - np.eye(len(sd)))


def mass_point_gap(a: Matrix, b: Other, points: Sequence[tuple[float, ...]]) -> float:
    """Return the largest difference of the shares of mass points, in percentage points.

    Parameters
    ----------
    a, b : array (row, column)
    points : sequence of tuple
        The mass points of each column.

    Examples
    --------
    >>> a, b = np.array([[0.0], [0.0], [3.0], [4.0]]), np.array([[0.0], [1.0], [3.0], [4.0]])
    >>> mass_point_gap(a, b, [(0.0,)])
    25.0
    """
    gaps = [0.0]
    for column, own in enumerate(points):
        for point in np.asarray(own, dtype=np.float32):
            shares = [(x[:, column].astype(np.float32) == point).mean() for x in (a, b)]
            gaps.append(100 * abs(float(shares[0] - shares[1])))
    return max(gaps)


# Classifier two-sample tests: rows of cross-sections


class Auc(NamedTuple):
    """An area under the ROC curve, and draws from its null distribution."""

    value: float
    null: ndarray


class Classifier(NamedTuple):
    """A two-sample test of rows: the area under the ROC curve, .5 if rows cannot be classified.

    Gradient-boosted trees on histograms, as scikit-learn sets them, without early stopping.

    Attributes
    ----------
    seed : int
        Of the trees and of the permutations.
    categorical : tuple of int
        Columns that hold codes of categories.
    permutations : int
        Draws from the null distribution.
    """

    seed: int
    categorical: tuple[int, ...] = ()
    permutations: int = 500

    def auc_between(self, real: Matrix, generated: Other, held: ndarray, fresh: ndarray) -> Auc:
        """Fit on real and generated rows; score held-out real and fresh generated rows."""
        x, y = _stack(real, generated)
        scored, labels = _stack(held, fresh)
        rng = np.random.default_rng(self.seed)
        return _auc(self._scores(x, y, scored), labels, rng, self.permutations)

    def auc_within(self, real: Matrix, generated: Other) -> Auc:
        """Fit on four fifths of real and generated rows, score the last; mean over the fifths.

        Rows come in random order: of many, the first ones are taken.
        """
        x, y = _stack(real[:WITHIN_ROWS], generated[:WITHIN_ROWS])
        rng = np.random.default_rng(self.seed)
        part = np.empty(len(y), dtype=int)
        for label in (False, True):
            rows = rng.permutation(np.flatnonzero(y == label))
            part[rows] = np.arange(len(rows)) % FOLDS

        def scores(fold: int) -> ndarray:
            return self._scores(x[part != fold], y[part != fold], x[part == fold])

        return mean_auc(
            [
                _auc(found, y[part == fold], rng, self.permutations)
                for fold, found in enumerate(_of_folds(scores))
            ]
        )

    def _scores(self, x: ndarray, y: ndarray, scored: ndarray) -> ndarray:
        columns = list(self.categorical) or None
        return _chances(x, y, scored, self.seed, categorical_features=columns)


def mean_auc(results: Sequence[Auc]) -> Auc:
    """Return the mean over parts scored apart, with the null distribution of the mean."""
    values, nulls = zip(*results, strict=True)
    return Auc(float(np.mean(values)), np.mean(nulls, axis=0))


def _stack(real: ndarray, generated: ndarray) -> tuple[ndarray, ndarray]:
    labels = np.repeat([False, True], [len(real), len(generated)])
    return np.concatenate([real, generated]), labels


def _auc(
    scores: ndarray, labels: Bool[ndarray, " row"], rng: np.random.Generator, permutations: int
) -> Auc:
    ranks = scipy.stats.rankdata(scores)
    positives = int(labels.sum())
    pairs = positives * (len(labels) - positives)
    least = positives * (positives + 1) / 2
    draws = (
        rng.choice(ranks, positives, replace=False, shuffle=False).sum()
        for _ in range(permutations)
    )
    null = (np.fromiter(draws, float, permutations) - least) / pairs
    return Auc(_area(ranks, labels), null)


# Classifier two-sample tests: units of panels


class TwoSample(NamedTuple):
    """A classifier two-sample test of units.

    Attributes
    ----------
    auc : float
        Area under the ROC curve.
    auc_noise : float
        Half the width of the interval that holds 95 % of the areas under permuted labels.
    accuracy_real, accuracy_generated : float
        Shares of real and of generated units classified correctly.
    p_value : float
        By permutation of the labels.
    """

    auc: float
    auc_noise: float
    accuracy_real: float
    accuracy_generated: float
    p_value: float


def features(
    rng: np.random.Generator, rows: Float[ndarray, "unit coordinate"], shape: tuple[int, int]
) -> Features:
    """Return units with noise, and means, sds, sds of differences, comoments of their paths.

    Parameters
    ----------
    rng : numpy.random.Generator
    rows : array (unit, coordinate)
        Standardized; the paths of the outcomes come first.
    shape : (int, int)
        Numbers of outcomes and periods.
    """
    rows = rows + JITTER * rng.standard_normal(rows.shape)
    paths = rows[:, : shape[0] * shape[1]].reshape(-1, *shape)
    deviations = paths - paths.mean(axis=2, keepdims=True)
    parts = [rows, paths.mean(axis=2), paths.std(axis=2), np.diff(paths, axis=2).std(axis=2)]
    parts += [
        (deviations[:, [j]] * deviations[:, [k]]).mean(axis=2)
        for j, k in combinations(range(shape[0]), 2)
    ]
    return np.concatenate(parts, axis=1)


def ties_of(cells: Float[ndarray, "unit cell"]) -> Int[ndarray, " unit"]:
    """Return a code for each unit, the same for units that are equal in float32."""
    rows = np.ascontiguousarray(cells, dtype=np.float32)
    return np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)


def two_sample(
    rng: np.random.Generator,
    real: Features,
    generated: Features,
    ties: Int[ndarray, " unit"],
    permutations: int,
) -> TwoSample:
    """Score every unit by trees fit without its fold.

    Parameters
    ----------
    rng : numpy.random.Generator
        Of the folds, the trees and the permutations.
    real, generated : array (unit, feature)
    ties : array (unit,)
        Code of each generated unit, the same for equal units: they share a fold;
        else a classifier would recognize the duplicates of a bootstrap.
    permutations : int
        Of the labels of the scored units.

    Returns
    -------
    TwoSample
        NaN where a side has fewer than `FEWEST_HELD` units.
    """
    if min(len(real), len(generated)) < FEWEST_HELD:
        return TwoSample(*[np.nan] * len(TwoSample._fields))
    x = np.concatenate([real, generated])
    labels = np.repeat([False, True], [len(real), len(generated)])
    of_ties = rng.permutation(int(ties.max()) + 1) % FOLDS
    fold = np.concatenate([rng.permutation(len(real)) % FOLDS, of_ties[ties]])
    scored = np.empty(len(labels))
    seed = int(rng.integers(2**31))

    def chances(out: int) -> ndarray:
        fit = fold != out
        leaf = int(np.clip(fit.sum() // 10, FEWEST, LEAF))
        return _chances(x[fit], labels[fit], x[~fit], seed, min_samples_leaf=leaf)

    for out, found in enumerate(_of_folds(chances)):
        scored[fold == out] = found
    ranks, below = scipy.stats.rankdata(scored), scored <= 0.5
    auc = _area(ranks, labels)
    null = np.array([_area(ranks, rng.permutation(labels)) for _ in range(permutations)])
    at_least, ends = int(np.sum(null >= auc - 1e-12)), np.quantile(null, [0.025, 0.975])
    accuracy = float(below[~labels].mean()), float(1 - below[labels].mean())
    noise = float(np.diff(ends)[0] / 2)
    return TwoSample(auc, noise, *accuracy, (at_least + 1) / (permutations + 1))


def combined_p_value(p_values: ndarray) -> float:
    """Return twice the median, valid under any dependence between splits of the same units.

    Rüger (1978); Meinshausen, Meier & Bühlmann (2009, JASA 104: 1671-1681).

    Examples
    --------
    >>> combined_p_value(np.array([0.01, 0.02, 0.9]))
    0.04
    """
    return float(min(1.0, 2 * np.median(p_values)))


def _of_folds(score: Callable[[int], ndarray]) -> list[ndarray]:
    """Score each fold, folds in threads beside each other: trees are grown outside Python.

    The limit of BLAS holds for the process: folds that end early must not lift it for the others.
    """
    with _threads().limit(limits=1), ThreadPoolExecutor(min(FOLDS, available_cpus())) as pool:
        return list(pool.map(score, range(FOLDS)))


@lru_cache(maxsize=1)
def _threads() -> ThreadpoolController:
    """Find the thread pools of the process once: a search takes 3 ms, and a table has 200 fits."""
    importlib.import_module("sklearn.ensemble")  # it brings pools of its own
    return ThreadpoolController()


def _chances(
    x: ndarray, labels: ndarray, scored: ndarray, seed: int, **options: Any
) -> Float[ndarray, " row"]:
    """Fit gradient-boosted trees on histograms; return the probability that rows are generated."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    options |= {"early_stopping": False, "random_state": seed}
    model = HistGradientBoostingClassifier(**options)
    with _threads().limit(
        limits=1
    ):  # for this thread's trees: at these sizes more threads cost more
        return model.fit(x, labels).predict_proba(scored)[:, 1]


def _area(ranks: ndarray, labels: Bool[ndarray, " unit"]) -> float:
    """Return the probability that a generated unit scores above a real one (Mann-Whitney)."""
    positives = int(labels.sum())
    least = positives * (positives + 1) / 2
    return float((ranks[labels].sum() - least) / (positives * (len(labels) - positives)))
