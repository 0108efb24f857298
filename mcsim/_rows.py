"""From what estimators return to the rows of a block."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mcsim._core import WITH_RESULT, Estimate, Status
from mcsim._evaluate import Evaluation, estimates_of, unlabeled
from mcsim._readers import FullLabel, has_se, settled
from mcsim._worker import Outcome

_NUMBERS = ("value", "se", "lower", "upper", "df", "p_value")

_LABELS = np.array([status.label for status in Status], dtype=object)


def native_rows(
    chunks: Sequence[Mapping[FullLabel, Estimate]],
    truths: Sequence[Mapping[str, Any]],
    reps: np.ndarray,
    single_estimand: str,
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
    single_estimand : str
        Estimand of an estimate without a name.
    """
    named = _named(list(chunks[0]), single_estimand)
    return _rows(named, _fields(chunks), _truths(truths, named, len(reps)), reps)


def rows_of(found: Evaluation, reps: np.ndarray, single_estimand: str) -> pd.DataFrame:
    """Return the rows of an evaluation, without truths; arguments as in `native_rows`."""
    if found.outcomes:
        return host_rows(found.outcomes, [], reps, single_estimand)
    return native_rows([found.estimates], [], reps, single_estimand)


def host_rows(
    outcomes: Sequence[Outcome],
    truths: Sequence[Mapping[str, Any]],
    reps: np.ndarray,
    single_estimand: str,
) -> pd.DataFrame:
    """Return the rows of a host block; a failed replication has a row for every known label.

    Parameters
    ----------
    outcomes : sequence of Outcome
        One per replication.
    truths, reps, single_estimand
        As in `native_rows`.
    """
    if found := estimates_of(outcomes):
        return native_rows([found], truths, reps, single_estimand)
    [label] = failed = unlabeled(outcomes)
    truth = _truths(truths, _named([label], single_estimand), len(reps))
    return _rows([label], _fields([failed]), truth, reps)


def _fields(chunks: Sequence[Mapping[FullLabel, Estimate]]) -> dict[str, np.ndarray]:
    """Return each field of the estimates as an array (label, rep)."""
    return {
        name: np.stack([_joined(chunks, label, name) for label in chunks[0]])
        for name in Estimate._fields
    }


def _joined(
    chunks: Sequence[Mapping[FullLabel, Estimate]], label: FullLabel, name: str
) -> np.ndarray:
    return np.concatenate([np.asarray(getattr(chunk[label], name)) for chunk in chunks])


def _named(labels: Sequence[FullLabel], single_estimand: str) -> list[FullLabel]:
    return [(estimand or single_estimand, inference) for estimand, inference in labels]


def _rows(
    labels: Sequence[FullLabel],
    fields: Mapping[str, np.ndarray],
    truth: np.ndarray,
    reps: np.ndarray,
) -> pd.DataFrame:
    """Interleave arrays (label, rep) to rows: all labels of a replication, then the next."""
    numbers = {name: np.asarray(fields[name], dtype=np.float64).T.ravel() for name in _NUMBERS}
    estimates = Estimate(**numbers, status=np.asarray(fields["status"]).T.ravel())
    status = settled(estimates)
    usable = np.isin(status, WITH_RESULT)
    value = usable & np.isfinite(estimates.value)
    keep = dict.fromkeys(("lower", "upper", "p_value"), usable)
    for name, kept in {"value": value, "se": value & has_se(estimates), **keep}.items():
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
