"""From what estimators return to the rows of a block."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mcsim._core import Estimate, Label, Status
from mcsim._readers import UNNAMED
from mcsim._store import COLUMNS

_NUMBERS = ("value", "se", "lower", "upper", "df", "p_value")

_LABELS = np.array([status.label for status in Status])


def split_label(label: Label) -> tuple[str, str]:
    """Return a label as (estimand, inference).

    Examples
    --------
    >>> split_label("att"), split_label(("att", "HC1"))
    (('att', ''), ('att', 'HC1'))
    """
    return (label, "") if isinstance(label, str) else (label[0], label[1])


def native_rows(
    chunks: Sequence[Mapping[Label, Estimate]],
    truths: Sequence[Mapping[str, Any]],
    reps: np.ndarray,
    sole_estimand: str,
) -> pd.DataFrame:
    """Return the rows of a native block, replication by replication.

    Parameters
    ----------
    chunks : sequence of dict of label to Estimate
        Arrays of shape (rep,), chunk after chunk.
    truths : sequence of dict of estimand to array (rep,)
        The samples' own truths, chunk after chunk.
    reps : array of int (rep,)
        The replications.
    sole_estimand : str
        What an estimate without a name is of.
    """
    frames = []
    for label in chunks[0]:
        estimand, inference = split_label(label)
        estimand = estimand or sole_estimand
        fields = {
            name: np.concatenate([np.asarray(getattr(chunk[label], name)) for chunk in chunks])
            for name in (*_NUMBERS, "status")
        }
        truth = _truth(truths, estimand, len(reps))
        frames.append(_label_rows(reps, estimand, inference, fields, truth))
    return _in_order(frames)


def host_rows(
    outcomes: Sequence[Any],
    truths: Sequence[Mapping[str, Any]],
    reps: np.ndarray,
    sole_estimand: str,
) -> pd.DataFrame:
    """Return the rows of a host block; a failed replication has a row for every label known.

    Parameters
    ----------
    outcomes : sequence of Outcome
        One per replication.
    truths, reps, sole_estimand
        As in `native_rows`.
    """
    labels = list(dict.fromkeys(label for outcome in outcomes for label in outcome.estimates))
    frames = []
    for label in labels or [UNNAMED]:
        estimand, inference = split_label(label)
        estimand = estimand or (sole_estimand if labels else UNNAMED)
        found = [_estimate_of(outcome, label) for outcome in outcomes]
        fields = {
            name: np.array([getattr(estimate, name) for estimate in found])
            for name in (*_NUMBERS, "status")
        }
        truth = _truth(truths, estimand, len(reps))
        frames.append(_label_rows(reps, estimand, inference, fields, truth))
    return _in_order(frames)


def _estimate_of(outcome: Any, label: Label) -> Estimate:
    if label in outcome.estimates:
        return outcome.estimates[label]
    missing = Status.ERROR if outcome.status == Status.OK else outcome.status
    return Estimate(np.nan, status=missing)


def _truth(truths: Sequence[Mapping[str, Any]], estimand: str, n: int) -> np.ndarray:
    if not truths or estimand not in truths[0]:
        return np.full(n, np.nan)
    return np.concatenate([np.atleast_1d(np.asarray(truth[estimand])) for truth in truths])


def _label_rows(
    reps: np.ndarray, estimand: str, inference: str, fields: dict, truth: np.ndarray
) -> pd.DataFrame:
    numbers = {name: np.asarray(fields[name], dtype=np.float64) for name in _NUMBERS}
    status = np.asarray(fields["status"]).astype(int)
    status = np.where((status == Status.OK) & ~np.isfinite(numbers["value"]), Status.NAN, status)
    failed = status != Status.OK
    for name in ("value", "se", "lower", "upper", "p_value"):
        numbers[name] = np.where(failed, np.nan, numbers[name])
    numbers["se"] = np.where(numbers["se"] > 0, numbers["se"], np.nan)
    rows = {"rep": reps, "estimand": estimand, "inference": inference, **numbers}
    return pd.DataFrame({**rows, "truth": truth, "status": _LABELS[status]})


def _in_order(frames: list[pd.DataFrame]) -> pd.DataFrame:
    rows = pd.concat(frames, ignore_index=True)
    return rows.sort_values("rep", kind="stable", ignore_index=True)[list(COLUMNS)]
