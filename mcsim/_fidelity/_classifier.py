"""Classifier two-sample tests: whether a classifier can tell generated rows from real ones.

The score is the area under the ROC curve, .5 for no; its null distribution comes from permuting
the labels of the scored rows. Lopez-Paz & Oquab (2017, ICLR); Friedman (2003, PHYSTAT).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.stats import rankdata

Matrix = Float[ndarray, "row column"]
Other = Float[ndarray, "other column"]
CROSS_FITS = 5
WITHIN_ROWS = 4_000  # per side, where five fits are needed


class Auc(NamedTuple):
    """An area under the ROC curve, and draws from its null distribution."""

    value: float
    null: ndarray


class Classifier(NamedTuple):
    """Gradient-boosted trees on histograms, as scikit-learn sets them, without early stopping.

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
            part[rows] = np.arange(len(rows)) % CROSS_FITS
        results = []
        for fold in range(CROSS_FITS):
            scores = self._scores(x[part != fold], y[part != fold], x[part == fold])
            results.append(_auc(scores, y[part == fold], rng, self.permutations))
        return mean_auc(results)

    def _scores(self, x: ndarray, y: ndarray, scored: ndarray) -> ndarray:
        from sklearn.ensemble import HistGradientBoostingClassifier
        from threadpoolctl import threadpool_limits

        options: dict[str, Any] = {"categorical_features": list(self.categorical) or None}
        options |= {"early_stopping": False, "random_state": self.seed}
        model = HistGradientBoostingClassifier(**options)
        with threadpool_limits(1):  # at these sizes threads cost more than they save
            return model.fit(x, y).predict_proba(scored)[:, 1]


def mean_auc(results: Sequence[Auc]) -> Auc:
    """Mean over parts scored apart, with the null distribution of the mean."""
    values, nulls = zip(*results, strict=True)
    return Auc(float(np.mean(values)), np.mean(nulls, axis=0))


def _stack(real: ndarray, generated: ndarray) -> tuple[ndarray, ndarray]:
    labels = np.repeat([False, True], [len(real), len(generated)])
    return np.concatenate([real, generated]), labels


def _auc(scores: ndarray, labels: ndarray, rng: np.random.Generator, permutations: int) -> Auc:
    """Mann-Whitney form: the probability that a generated row scores above a real one."""
    ranks = rankdata(scores)
    positives = int(labels.sum())
    pairs = positives * (len(labels) - positives)
    least = positives * (positives + 1) / 2
    draws = (
        rng.choice(ranks, positives, replace=False, shuffle=False).sum()
        for _ in range(permutations)
    )
    null = (np.fromiter(draws, float, permutations) - least) / pairs
    return Auc(float((ranks[labels].sum() - least) / pairs), null)
