"""From what estimators return to the rows of a block."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mcsim._core import WITH_RESULT, Estimate, Status
from mcsim._readers import UNNAMED, FullLabel, has_se, settled

_NUMBERS = ("value", "se", "lower", "upper", "df", "p_value")

_LABELS = np.array([status.label for status in Status], dtype=object)


def native_rows(
    chunks: Sequence[Mapping[FullLabel, Estimate]],
    truths: Sequence[Mapping[str, Any]],
    reps: np.ndarray,
    sole_estimand: str,
) -> pd.DataFrame:
    """Return the rows of a native block, replication by replication.

    Parameters
    ----------
    chunks : sequence of dict of (estimand, inference) to Estimate
        Arrays of shape (rep,), chunk after chunk.
    truths : sequence of dict of estimand to array (rep,)
        The samples' own truths, chunk after chunk.
    reps : array of int (rep,)
        The replications.
    sole_estimand : str
        What an estimate without a name is of.
    """
    labels = list(chunks[0])
    fields = {
        name: np.stack([_joined(chunks, label, name) for label in labels])
        for name in Estimate._fields
    }
    named = _named(labels, sole_estimand)
    return _rows(named, fields, _truths(truths, named, len(reps)), reps)


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
    found = [[_estimate_of(o, label) for o in outcomes] for label in labels or [(UNNAMED, "")]]
    fields = {
        name: np.array([[getattr(estimate, name) for estimate in row] for row in found])
        for name in Estimate._fields
    }
    named = _named(labels or [(UNNAMED, "")], sole_estimand)
    truth = _truths(truths, named, len(reps))
    return _rows(named if labels else [(UNNAMED, "")], fields, truth, reps)


def _joined(
    chunks: Sequence[Mapping[FullLabel, Estimate]], label: FullLabel, name: str
) -> np.ndarray:
    return np.concatenate([np.asarray(getattr(chunk[label], name)) for chunk in chunks])


def _named(labels: Sequence[FullLabel], sole_estimand: str) -> list[FullLabel]:
    return [(estimand or sole_estimand, inference) for estimand, inference in labels]


def _estimate_of(outcome: Any, label: FullLabel) -> Estimate:
    if label in outcome.estimates:
        return outcome.estimates[label]
    missing = Status.ERROR if outcome.status == Status.OK else outcome.status
    return Estimate(np.nan, status=missing)


def _rows(
    labels: Sequence[FullLabel],
    fields: Mapping[str, np.ndarray],
    truth: np.ndarray,
    reps: np.ndarray,
) -> pd.DataFrame:
    """Interleave arrays (label, rep) to rows: all labels of a replication, then the next."""
    numbers = {name: np.asarray(fields[name], dtype=np.float64).T.ravel() for name in _NUMBERS}
    told = Estimate(**numbers, status=np.asarray(fields["status"]).T.ravel())
    status = settled(told)
    there = np.isin(status, WITH_RESULT)
    value = there & np.isfinite(told.value)
    keep = dict.fromkeys(("lower", "upper", "p_value"), there)
    for name, kept in {"value": value, "se": value & has_se(told), **keep}.items():
        numbers[name] = np.where(kept, numbers[name], np.nan)
    estimands, inferences = (np.array(part, dtype=object) for part in zip(*labels, strict=True))
    return pd.DataFrame(
        {
            "rep": np.repeat(reps, len(labels)),
            "estimand": np.tile(estimands, len(reps)),
            "inference": np.tile(inferences, len(reps)),
            **numbers,
            "truth": truth.T.ravel(),
            "status": _LABELS[status],
        }
    )


def _truths(truths: Sequence[Mapping[str, Any]], labels: Sequence[FullLabel], n: int) -> np.ndarray:
    return np.stack([_truth(truths, estimand, n) for estimand, _ in labels])


def _truth(truths: Sequence[Mapping[str, Any]], estimand: str, n: int) -> np.ndarray:
    if not truths or estimand not in truths[0]:
        return np.full(n, np.nan)
    return np.concatenate([np.atleast_1d(np.asarray(truth[estimand])) for truth in truths])
