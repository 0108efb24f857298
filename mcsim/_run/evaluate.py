"""Evaluating an estimator, native or host, from panels to rows: the one way to run it.

The runner, `mcsim.estimate`, replays, truths of populations, the checks of `mcsim.testing` and
fidelity tables use it. A native estimator is a compiled program (`compiled`). A host estimator
is a function of frames, called in this process or in those of a pool (`_host.worker`).
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
import pebble
from jaxtyping import Array, Key

from mcsim._core.protocols import ReadsSchema
from mcsim._core.records import WITH_RESULT, Estimate, Panel, Status
from mcsim._data import about_names
from mcsim._data.schema import Schema
from mcsim._host.host import HostEstimator, rng_from_words
from mcsim._host.payload import Payload
from mcsim._host.pool import Task, WorkerPool
from mcsim._host.worker import Columns, Outcome, estimate_piece, frame_of, piece_of, replication_of
from mcsim._readers import UNNAMED, FullLabel, has_se, settled
from mcsim._run.compiled import estimate_chunk

_NUMBERS = ("value", "se", "lower", "upper", "df", "p_value")

_STATUSES = [status.label for status in Status]


class Evaluation(NamedTuple):
    """Estimates of one estimator on a number of panels.

    Attributes
    ----------
    estimator : Estimator
        The estimator for panels of their schema.
    estimates : dict of (estimand, inference) to Estimate
        Arrays of shape (rep,). A replication without an estimate of this label has NaN, and the
        status of its failure.
    outcomes : list of Outcome
        Of a host estimator, one per replication: its own estimates, or the reason of a failure.
    """

    estimator: Any
    estimates: dict[FullLabel, Estimate]
    outcomes: list[Outcome]


def evaluate(
    name: str,
    estimator: Any,
    keys: Key[Array, " rep"],
    panels: Panel,
    schema: Schema | None = None,
    *,
    pool: WorkerPool | None = None,
) -> Evaluation:
    """Run an estimator on every one of a number of panels, and label the estimates.

    Parameters
    ----------
    name : str
        The estimator's name, for messages.
    estimator : Estimator
        Native or host, at the null and level at which it is to run.
    keys : array of keys (rep,)
        One per panel.
    panels : Panel
        Columns (rep, unit, period).
    schema : Schema, optional
        Names and categories of the panels; frames of host estimators carry them.
    pool : WorkerPool, optional
        Where a host estimator runs as in a study: pickled, its output captured, its failures
        recorded as statuses. Without a pool it runs here, and an exception of it is raised.

    Returns
    -------
    Evaluation

    Raises
    ------
    ContractError
        If a native estimator returns something else than estimates.
    InputError
        If a native estimator cannot be traced, or an estimator does not fit the schema.
    """
    if not isinstance(estimator, HostEstimator):
        bound = with_schema(estimator, schema, panels.nominal)
        estimates = jax.device_get(estimate_chunk(name, bound, keys, panels))
        return Evaluation(bound, estimates, [])
    columns, words = piece_of(panels), words_of(keys)
    if pool is None:
        outcomes = _run_here(estimator, columns, words, schema)
    else:
        outcomes = send(pool, Payload(estimator, schema), columns, words).outcomes()
    return Evaluation(estimator, _estimates_of(outcomes) or _unlabeled(outcomes), outcomes)


def with_schema(estimator: Any, schema: Schema | None, nominal: Mapping[str, int | None]) -> Any:
    """Return an estimator for panels of a schema: unchanged, unless it is `ReadsSchema`.

    Such an estimator makes dummies of ``nominal`` columns, refuses other categories, and is given
    the user's names of unit and time.
    """
    if schema is None or not isinstance(estimator, ReadsSchema):
        return estimator
    return estimator.with_schema(schema, nominal)


def batch_of_one(panel: Panel) -> Panel:
    """Return a panel as a batch; on the host, where no program is compiled to do so."""
    return jax.tree.map(lambda leaf: jax.device_put(np.asarray(leaf)[None]), panel)


def replications(panels: Panel, which: int | slice) -> Panel:
    """Return one replication of a batch, or some; on the host as well."""
    return jax.tree.map(lambda leaf: jax.device_put(np.asarray(leaf)[which]), panels)


def words_of(keys: Key[Array, " rep"]) -> np.ndarray:
    """Return the 32-bit words (rep, 2) of keys, as they travel to workers."""
    return np.asarray(jax.random.key_data(keys))


# Host estimators in a pool


@dataclass
class Piece:
    """Replications of a host estimator that a pool computes together."""

    pool: WorkerPool
    payload: Payload
    columns: Columns
    words: np.ndarray
    timeout: float | None
    task: Task

    def done(self) -> bool:
        """Return whether the piece has been computed."""
        return self.task.done()

    def outcomes(self) -> list[Outcome]:
        """Wait for the outcomes; where a worker died, send its replications one by one."""
        try:
            return self.task.result()
        except FutureTimeout:
            return [Outcome({}, Status.TIMEOUT, f"stopped after {self.timeout} seconds")]
        except pebble.ProcessExpired as error:
            if len(self.words) == 1:
                return [Outcome({}, Status.CRASHED, f"its worker process died: {error}")]
        singles = [
            send(self.pool, self.payload, *self._part(slice(i, i + 1)), timeout=self.timeout)
            for i in range(len(self.words))
        ]
        return [outcome for single in singles for outcome in single.outcomes()]

    def _part(self, rows: slice) -> tuple[Columns, np.ndarray]:
        return {name: values[rows] for name, values in self.columns.items()}, self.words[rows]


def send(
    pool: WorkerPool,
    payload: Payload,
    columns: Columns,
    words: np.ndarray,
    *,
    timeout: float | None = None,
) -> Piece:
    """Send replications of a host estimator to a pool.

    Parameters
    ----------
    pool : WorkerPool
        Where they run.
    payload : Payload
        The estimator and the schema.
    columns : dict of str to array (rep, unit, period)
        The panels, from `piece_of`.
    words : array of uint32 (rep, 2)
        The replications' keys.
    timeout : float, optional
        Seconds for all of them: send one replication at a time where each has its own.
    """
    task = pool.submit(estimate_piece, payload, columns, words, timeout=timeout)
    return Piece(pool, payload, columns, words, timeout, task)


# Host estimators in this process


def _run_here(
    estimator: HostEstimator, columns: Columns, words: np.ndarray, schema: Schema | None
) -> list[Outcome]:
    outcomes = []
    for i, word in enumerate(words):
        frame = frame_of(replication_of(columns, i), schema)
        with _names_explained(frame):
            outcomes.append(Outcome(estimator(rng_from_words(word), frame), Status.OK, ""))
    return outcomes


@contextmanager
def _names_explained(frame: pd.DataFrame) -> Iterator[None]:
    """Add a note on a name that the frame lacks to an exception of user code."""
    try:
        yield
    except Exception as error:
        if note := about_names(error, frame):
            error.add_note(note.removeprefix("; "))
        raise


# Labels of host estimates


def _estimates_of(outcomes: Sequence[Outcome]) -> dict[FullLabel, Estimate]:
    """Return the estimates of outcomes by label, as arrays (rep,); none where no outcome has any.

    Parameters
    ----------
    outcomes : sequence of Outcome
        One per replication; a label that only others have is a failure there.
    """
    labels = dict.fromkeys(label for outcome in outcomes for label in outcome.estimates)
    return {label: _stacked([_estimate(o, label) for o in outcomes]) for label in labels}


def _unlabeled(outcomes: Sequence[Outcome]) -> dict[FullLabel, Estimate]:
    """Return outcomes without any estimate as one failure each, of no label."""
    label = (UNNAMED, "")
    return {label: _stacked([_estimate(outcome, label) for outcome in outcomes])}


def _estimate(outcome: Outcome, label: FullLabel) -> Estimate:
    if label in outcome.estimates:
        return outcome.estimates[label]
    missing = Status.ERROR if outcome.status == Status.OK else outcome.status
    return Estimate(np.nan, status=missing)


def _stacked(estimates: Sequence[Estimate]) -> Estimate:
    return Estimate(*(np.array([e[i] for e in estimates]) for i in range(len(Estimate._fields))))


# Rows


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
        rows = host_rows(found.outcomes, [], reps, single_estimand)
    else:
        rows = native_rows([found.estimates], [], reps, single_estimand)
    return rows.astype({"estimand": str, "inference": str, "status": str})


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
    if found := _estimates_of(outcomes):
        return native_rows([found], truths, reps, single_estimand)
    [label] = failed = _unlabeled(outcomes)
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
    estimands, inferences = zip(*labels, strict=True)
    known, codes = np.unique(status, return_inverse=True)
    return pd.DataFrame(
        {
            "rep": np.repeat(reps, len(labels)),
            "estimand": _repeated(estimands, len(reps)),
            "inference": _repeated(inferences, len(reps)),
            **numbers,
            "truth": truth.T.ravel(),
            "status": _texts(codes, [_STATUSES[each] for each in known]),
        },
        copy=False,
    )


def _repeated(texts: Sequence[str], times: int) -> Any:
    levels = list(dict.fromkeys(texts))
    return _texts(np.tile([levels.index(text) for text in texts], times), levels)


def _texts(codes: np.ndarray, levels: Sequence[str]) -> Any:
    """Return texts as their places among a few: an object for each row would take longer."""
    return pd.Categorical.from_codes(
        codes.astype(np.int32), dtype=pd.CategoricalDtype(list(levels)), validate=False
    )


def _truths(truths: Sequence[Mapping[str, Any]], labels: Sequence[FullLabel], n: int) -> np.ndarray:
    return np.stack([_truth(truths, estimand, n) for estimand, _ in labels])


def _truth(truths: Sequence[Mapping[str, Any]], estimand: str, n: int) -> np.ndarray:
    if not truths or estimand not in truths[0]:
        return np.full(n, np.nan)
    return np.concatenate([np.atleast_1d(np.asarray(truth[estimand])) for truth in truths])
