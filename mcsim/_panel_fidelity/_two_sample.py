"""Classifier two-sample test: whether trees can tell generated units from held-out ones.

Out of fold, with the accuracy on each class and a permutation p-value; noise is added to both
sides first, so that digits and mass points do not decide. Lopez-Paz & Oquab (2017, ICLR).
"""

from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.stats import rankdata

JITTER = 0.15  # sd of the real data
FOLDS = 5
LEAF, FEWEST = 20, 5  # units in a leaf: many units, few
FEWEST_HELD = 7  # on each side: with fewer, four folds have too few units for two leaves
FEWEST_PERMUTATIONS = 40  # with fewer, twice a p-value cannot fall below .05
Features = Float[ndarray, "unit feature"]


class TwoSample(NamedTuple):
    """What the test gives.

    Attributes
    ----------
    auc : float
        Area under the ROC curve.
    auc_noise : float
        Half the width of the interval that holds 95 % of the areas under permuted labels.
    accuracy_real, accuracy_generated : float
        Shares of real and of generated units that are told to be what they are.
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
    """Whole units with noise added, and means, sds, sds of differences, comoments of their paths.

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


def twins_of(cells: Float[ndarray, "unit cell"]) -> Int[ndarray, " unit"]:
    """Give equal units, to float32, one code."""
    rows = np.ascontiguousarray(cells, dtype=np.float32)
    return np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)


def two_sample(
    rng: np.random.Generator,
    real: Features,
    generated: Features,
    twins: Int[ndarray, " unit"],
    permutations: int,
) -> TwoSample:
    """Score every unit by trees that were fit without its fold.

    Parameters
    ----------
    rng : numpy.random.Generator
        Of the folds, the trees and the permutations.
    real, generated : array (unit, feature)
    twins : array (unit,)
        Code of each generated unit, the same for those that are equal: they share a fold, or a
        bootstrap's would give one another away.
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
    of_twins = rng.permutation(int(twins.max()) + 1) % FOLDS
    fold = np.concatenate([rng.permutation(len(real)) % FOLDS, of_twins[twins]])
    scored = np.empty(len(labels))
    seed = int(rng.integers(2**31))
    for out in range(FOLDS):
        fit = fold != out
        scored[~fit] = _chances(x[fit], labels[fit], x[~fit], seed)
    ranks, below = rankdata(scored), scored <= 0.5
    auc = _area(ranks, labels)
    null = np.array([_area(ranks, rng.permutation(labels)) for _ in range(permutations)])
    at_least, ends = int(np.sum(null >= auc - 1e-12)), np.quantile(null, [0.025, 0.975])
    accuracy = float(below[~labels].mean()), float(1 - below[labels].mean())
    noise = float(np.diff(ends)[0] / 2)
    return TwoSample(auc, noise, *accuracy, (at_least + 1) / (permutations + 1))


def _chances(x: ndarray, labels: Bool[ndarray, " unit"], scored: ndarray, seed: int) -> ndarray:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    leaf = int(np.clip(len(x) // 10, FEWEST, LEAF))
    options: dict[str, Any] = {"early_stopping": False, "min_samples_leaf": leaf}
    model = HistGradientBoostingClassifier(random_state=seed, **options)
    with threadpool_limits(1):  # at these sizes threads cost more than they save
        return model.fit(x, labels).predict_proba(scored)[:, 1]


def _area(ranks: ndarray, labels: Bool[ndarray, " unit"]) -> float:
    """Mann-Whitney form: the probability that a generated unit scores above a real one."""
    positives = int(labels.sum())
    least = positives * (positives + 1) / 2
    return float((ranks[labels].sum() - least) / (positives * (len(labels) - positives)))


def combined_p_value(p_values: ndarray) -> float:
    """Twice the median: valid whatever the dependence between splits of the same units.

    Rüger (1978); Meinshausen, Meier & Bühlmann (2009, JASA 104: 1671-1681).

    Examples
    --------
    >>> combined_p_value(np.array([0.01, 0.02, 0.9]))
    0.04
    """
    return float(min(1.0, 2 * np.median(p_values)))
