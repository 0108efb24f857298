"""Scores: every measure of one fold, once its roles are cast."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy import ndarray

from mcsim._fidelity import _distances as distances
from mcsim._fidelity._cast import Cast
from mcsim._fidelity._classifier import Auc, Classifier
from mcsim._fidelity._layout import Layout
from mcsim._fidelity._overlap import Propensity

NEIGHBOR_ROWS = 5_000
ARM_ROWS = 10  # held-out rows of an arm below which it is not scored
NO_HOLDOUT = "no hold-out: it saw all rows; pass a trainer, or fit_many(..., resample='folds')"


class Score(NamedTuple):
    """One measure of one arm in one fold; a missing one says why."""

    measure: str
    arm: str
    value: float
    null: ndarray | None = None
    note: str = ""


def score(
    cast: Cast, layout: Layout, classifier: Classifier, propensity: Propensity | None
) -> list[Score]:
    """Compute all measures of one fold."""
    return [
        *_classifier_scores(cast, layout, classifier),
        *_copying_scores(cast, layout),
        *_distance_scores(cast, layout),
        *_overlap_scores(cast, layout, propensity),
        *_share_scores(cast, layout),
    ]


def _classifier_scores(cast: Cast, layout: Layout, classifier: Classifier) -> list[Score]:
    real, generated = cast.pair
    held, fresh = cast.scored
    scores = [_scored("auc_training", "all", classifier.auc_within(real, generated))]
    if held is None or cast.held is None:
        arms = _arms_shown(layout)
        missing = [Score("auc_cross", arm, np.nan, note=NO_HOLDOUT) for arm in arms]
        return [*scores, Score("auc_holdout", "all", np.nan, note=NO_HOLDOUT), *missing]
    scores.append(_scored("auc_holdout", "all", classifier.auc_within(cast.held, cast.pieces[0])))
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


def _copying_scores(cast: Cast, layout: Layout) -> list[Score]:
    train = layout.standardized(cast.train)
    fresh = cast.fresh[:NEIGHBOR_ROWS]
    same = distances.copies(cast.fresh, cast.train)
    distance = distances.nearest(layout.standardized(fresh), train)
    itself = cast.yardstick is None
    base_rows = (cast.train if cast.yardstick is None else cast.yardstick)[:NEIGHBOR_ROWS]
    base = distances.nearest(layout.standardized(base_rows), train, itself=itself)
    scores = []
    for arm in _arms_shown(layout):
        chosen = _mask(cast.fresh, layout, arm)
        scores.append(Score("copies", arm, _mean(100 * same[chosen])))
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
        return Score("nn_ratio", arm, np.nan, note=f"arm {arm}: most real rows have a twin")
    return Score("nn_ratio", arm, float(np.median(distance) / np.median(base)))


def _distance_scores(cast: Cast, layout: Layout) -> list[Score]:
    measures: dict[str, Callable[[ndarray, ndarray], float]] = {
        "transport": distances.transport,
        "sliced_w1": distances.sliced_wasserstein,
        "marginal_w1": distances.marginal_wasserstein,
    }
    if cast.held is None:
        return [Score(name, "all", np.nan, note=NO_HOLDOUT) for name in measures]
    held = layout.standardized(cast.held)
    pieces = [layout.standardized(piece) for piece in cast.pieces]
    return [
        Score(name, "all", float(np.mean([measure(held, piece) for piece in pieces])))
        for name, measure in measures.items()
    ]


def _overlap_scores(cast: Cast, layout: Layout, propensity: Propensity | None) -> list[Score]:
    if propensity is None:
        return []
    if cast.held is None:
        return [Score("overlap", arm, np.nan, note=NO_HOLDOUT) for arm in layout.arms]
    held = {arm: _of_arm(cast.held, layout, arm) for arm in layout.arms}
    scores = []
    for arm in layout.arms:
        pieces = [_of_arm(piece, layout, arm) for piece in cast.pieces]
        if min(len(held[arm]), *(len(piece) for piece in pieces)) < ARM_ROWS:
            note = f"arm {arm}: {len(held[arm])} held-out rows, {ARM_ROWS} needed"
            scores.append(Score("overlap", arm, np.nan, note=note))
        else:
            gaps = [propensity.gap(held[arm], piece) for piece in pieces]
            scores.append(Score("overlap", arm, float(np.mean(gaps))))
    return scores


def _share_scores(cast: Cast, layout: Layout) -> list[Score]:
    gap = distances.correlation_gap(
        layout.standardized(cast.large), layout.standardized(cast.target), cast.weights
    )
    scores = [Score("correlations", "all", gap)]
    atoms = [column.atoms for column in layout.schema.columns]
    if any(atoms):
        for arm in layout.arms:
            rows = [_of_arm(x, layout, arm) for x in (cast.large, cast.target)]
            scores.append(Score("atoms", arm, distances.atom_gap(rows[0], rows[1], atoms)))
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
