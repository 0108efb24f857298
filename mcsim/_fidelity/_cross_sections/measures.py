"""Measures of one fold: classifiers, copying, distances, overlap, correlations, mass points."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from mcsim._fidelity import distances
from mcsim._fidelity._cross_sections.layout import (
    EvaluationSplit,
    Layout,
    Matrix,
)
from mcsim._fidelity.distances import Auc, Classifier

NEIGHBOR_ROWS = 5_000
ARM_ROWS = 10  # held-out rows of an arm below which it is not scored
NO_HOLDOUT = (
    "no hold-out: the generator saw all rows; pass a trainer, or fit_many(..., resample='folds')"
)


class Propensity(NamedTuple):
    """A logit of the treatment on the other columns, the outcome left out.

    Attributes
    ----------
    layout : Layout
    chosen : array of bool (encoded column,)
        The covariates among the standardized columns.
    coefficients : array (covariate,)
        Logit coefficients, in units of the index's standard deviation over the real rows.
    """

    layout: Layout
    chosen: Bool[ndarray, " encoded"]
    coefficients: Float[ndarray, " covariate"]

    def gap(self, real: Matrix, generated: ndarray) -> float:
        """Return the Wasserstein-1 distance of the index between real and generated rows."""
        return distances.marginal_wasserstein(self._index(real), self._index(generated))

    def _index(self, rows: Matrix) -> ndarray:
        return (self.layout.standardized(rows)[:, self.chosen] @ self.coefficients)[:, None]


def fit_propensity(rows: Matrix, layout: Layout) -> Propensity | None:
    """Fit a logit on all real rows, slightly shrunk against separation; None without arms.

    Training, held-out and generated rows share the index, so none has an advantage.
    """
    from sklearn.linear_model import LogisticRegression

    chosen = np.array([n not in (layout.treatment, layout.outcome) for n in layout.encoded_names])
    if layout.treatment is None or not chosen.any():
        return None
    covariates = layout.standardized(rows)[:, chosen]
    center = covariates.mean(axis=0)
    model = LogisticRegression(max_iter=5_000).fit(covariates - center, layout.arm(rows))
    scale = float((covariates @ model.coef_[0]).std())
    return Propensity(layout, chosen, model.coef_[0] / (scale or 1.0))


class Score(NamedTuple):
    """One measure of one arm in one fold, with the reason for a missing value."""

    measure: str
    arm: str
    value: float
    null: ndarray | None = None
    note: str = ""


def score(
    split: EvaluationSplit, layout: Layout, classifier: Classifier, propensity: Propensity | None
) -> list[Score]:
    """Compute all measures of one fold."""
    return [
        *_classifier_scores(split, layout, classifier),
        *_copying_scores(split, layout),
        *_distance_scores(split, layout),
        *_overlap_scores(split, layout, propensity),
        *_share_scores(split, layout),
    ]


def _classifier_scores(
    split: EvaluationSplit, layout: Layout, classifier: Classifier
) -> list[Score]:
    real, generated = split.pair
    held, fresh = split.scored
    scores = [_scored("auc_training", "all", classifier.auc_within(real, generated))]
    if held is None or split.held is None:
        arms = _arms_shown(layout)
        missing = [Score("auc_cross", arm, np.nan, note=NO_HOLDOUT) for arm in arms]
        return [*scores, Score("auc_holdout", "all", np.nan, note=NO_HOLDOUT), *missing]
    scores.append(
        _scored("auc_holdout", "all", classifier.auc_within(split.held, split.subsamples[0]))
    )
    for arm in _arms_shown(layout):
        rows = [_of_arm(x, layout, arm) for x in (real, generated, held, fresh)]
        if min(len(rows[0]), len(rows[2]), len(rows[3])) < ARM_ROWS:
            note = f"arm {arm}: {len(rows[2])} held-out rows, {ARM_ROWS} needed"
            scores.append(Score("auc_cross", arm, np.nan, note=note))
        else:
            scores.append(_scored("auc_cross", arm, classifier.auc_between(*rows)))
    return scores


def _scored(measure: str, arm: str, auc: Auc) -> Score:
    return Score(measure, arm, auc.value, auc.null)


def _copying_scores(split: EvaluationSplit, layout: Layout) -> list[Score]:
    train = layout.standardized(split.train)
    fresh = split.fresh[:NEIGHBOR_ROWS]
    same = distances.duplicates(split.fresh, split.train)
    distance = distances.nearest(layout.standardized(fresh), train)
    itself = split.baseline is None
    base_rows = (split.train if split.baseline is None else split.baseline)[:NEIGHBOR_ROWS]
    base = distances.nearest(layout.standardized(base_rows), train, itself=itself)
    scores = []
    for arm in _arms_shown(layout):
        chosen = _mask(split.fresh, layout, arm)
        scores.append(Score("duplicates", arm, _mean(100 * same[chosen])))
        ratio = _ratio(
            distance[_mask(fresh, layout, arm)], base[_mask(base_rows, layout, arm)], arm
        )
        scores.append(ratio)
    return scores


def _ratio(distance: ndarray, base: ndarray, arm: str) -> Score:
    if min(len(distance), len(base)) < ARM_ROWS:
        note = f"arm {arm}: {min(len(distance), len(base))} rows, {ARM_ROWS} needed"
        return Score("nn_ratio", arm, np.nan, note=note)
    if np.median(base) == 0:
        return Score("nn_ratio", arm, np.nan, note=f"arm {arm}: most real rows have a duplicate")
    return Score("nn_ratio", arm, float(np.median(distance) / np.median(base)))


def _distance_scores(split: EvaluationSplit, layout: Layout) -> list[Score]:
    measures: dict[str, Callable[[ndarray, ndarray], float]] = {
        "transport": distances.transport,
        "sliced_w1": distances.sliced_wasserstein,
        "marginal_w1": distances.marginal_wasserstein,
    }
    if split.held is None:
        return [Score(name, "all", np.nan, note=NO_HOLDOUT) for name in measures]
    held = layout.standardized(split.held)
    subsamples = [layout.standardized(subsample) for subsample in split.subsamples]
    return [
        Score(name, "all", float(np.mean([measure(held, subsample) for subsample in subsamples])))
        for name, measure in measures.items()
    ]


def _overlap_scores(
    split: EvaluationSplit, layout: Layout, propensity: Propensity | None
) -> list[Score]:
    if propensity is None:
        return []
    if split.held is None:
        return [Score("overlap", arm, np.nan, note=NO_HOLDOUT) for arm in layout.arms]
    held = {arm: _of_arm(split.held, layout, arm) for arm in layout.arms}
    scores = []
    for arm in layout.arms:
        subsamples = [_of_arm(subsample, layout, arm) for subsample in split.subsamples]
        if min(len(held[arm]), *(len(subsample) for subsample in subsamples)) < ARM_ROWS:
            note = f"arm {arm}: {len(held[arm])} held-out rows, {ARM_ROWS} needed"
            scores.append(Score("overlap", arm, np.nan, note=note))
        else:
            gaps = [propensity.gap(held[arm], subsample) for subsample in subsamples]
            scores.append(Score("overlap", arm, float(np.mean(gaps))))
    return scores


def _share_scores(split: EvaluationSplit, layout: Layout) -> list[Score]:
    gap = distances.correlation_gap(
        layout.standardized(split.large), layout.standardized(split.target), split.weights
    )
    scores = [Score("correlations", "all", gap)]
    points = [column.mass_points for column in layout.schema.columns]
    if any(points):
        for arm in layout.arms:
            large, target = (_of_arm(x, layout, arm) for x in (split.large, split.target))
            gap = distances.mass_point_gap(large, target, points)
            scores.append(Score("mass_points", arm, gap))
    return scores


def _arms_shown(layout: Layout) -> tuple[str, ...]:
    return ("all", *layout.arms) if layout.treatment else ("all",)


def _mask(rows: ndarray, layout: Layout, arm: str) -> ndarray:
    if arm == "all":
        return np.ones(len(rows), dtype=bool)
    return layout.arm(rows) == layout.arms.index(arm)


def _of_arm(rows: ndarray, layout: Layout, arm: str) -> ndarray:
    return rows[_mask(rows, layout, arm)]


def _mean(values: ndarray) -> float:
    return float(values.mean()) if len(values) else np.nan
