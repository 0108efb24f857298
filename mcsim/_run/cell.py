"""Computing one cell: the missing blocks, on draws that all estimators share.

First blocks are checked for samples and estimates that never vary, for estimates without a truth,
and for the reasons of failures.
"""

import threading
import time
import warnings
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Array, Key

from mcsim._core.keys import Stream
from mcsim._core.protocols import Explained, ReadsColumns
from mcsim._core.records import WITH_RESULT, Estimate, Panel, Status
from mcsim._data.schema import Schema
from mcsim._host.pool import LOOK_EVERY, WorkerPool
from mcsim._host.worker import Outcome
from mcsim._readers import DEFAULT_ESTIMAND, FullLabel, settled
from mcsim._results.caveats import means_of
from mcsim._results.failures import (
    Named,
    has_failed,
    sentence_of_first_block,
    store_reasons,
    without_success,
)
from mcsim._results.store import Store
from mcsim._results.store_files import is_there, read_block, write_block
from mcsim._results.store_packs import Packs
from mcsim._results.store_records import NotesRecord
from mcsim._run.chunks import HostBlock, HostBlocks, draw_all
from mcsim._run.compiled import diagnose_chunk
from mcsim._run.evaluate import Evaluation, evaluate, host_rows, native_rows, replications
from mcsim._run.plan import NATIVE_BLOCK, CellPlan, EstimatorPlan
from mcsim._run.progress import Progress
from mcsim._run.truth import CellTruth, estimands_without_truth, without_synonyms
from mcsim.errors import StoreError

_LEAST = 8  # successes, from which equal estimates are no accident


@dataclass
class NativeBlock:
    """A block of a native estimator under way: estimates, truths, diagnoses, chunk after chunk."""

    estimator: EstimatorPlan
    start: int
    estimates: list[Mapping[FullLabel, Estimate]] = field(default_factory=list)
    truths: list[Mapping[str, np.ndarray]] = field(default_factory=list)
    diagnoses: list[Mapping[str, Array]] = field(default_factory=list)


class CellRunner:
    """Computes the missing blocks of a cell, NATIVE_BLOCK replications at a time.

    An estimator's first block decides about its others: if all of it failed, they are skipped.
    Until that is known, host functions are run on no other block. A native block may be computed
    meanwhile, since its thread would idle, but is stored only afterwards.

    Parameters
    ----------
    plan : CellPlan
        The cell and its estimators.
    reps : int
        Replications asked for; blocks are whole, so that more are computed.
    store, packs, pool, truth, display, stop
        The store and its packs, the processes of host functions, the cell's truth, the progress
        display, and the event that ends the work early.

    Attributes
    ----------
    seconds : dict of estimator to float
        Seconds that its estimates took.
    without_truth : set of (estimator, estimand)
        Estimates without a known truth, where no dry run has named their estimands.
    never_varying : dict of estimator to float
        Estimates that are the same in all replications of a first block.
    estimands : set of str
        Estimands whose truth the samples carry.
    """

    def __init__(
        self,
        plan: CellPlan,
        reps: int,
        store: Store,
        packs: Packs,
        pool: WorkerPool,
        truth: CellTruth,
        display: Progress,
        stop: threading.Event,
    ):
        self.plan, self.store, self.pool, self.truth = plan, store, pool, truth
        self.display, self.stop = display, stop
        self.seconds: dict[str, float] = dict.fromkeys((e.name for e in plan.estimators), 0.0)
        self.without_truth: set[tuple[str, str]] = set()
        self.never_varying: dict[str, float] = {}
        self._samples_vary = True
        self._reasons: dict[str, dict[str, str]] = {}  # by estimator and status
        self.estimands: set[str] = set()
        self._first_is_known = {e.name: threading.Event() for e in plan.estimators}
        self._missing: dict[str, set[int]] = {}
        for estimator in plan.estimators:
            self._missing[estimator.name] = set()
            self._look_for(estimator, range(0, reps, estimator.block), packs)

    def _look_for(self, estimator: EstimatorPlan, starts: range, packs: Packs) -> None:
        """Note the blocks of an estimator that the store lacks."""
        in_vain, missing = False, set()
        for start in starts:
            rows = self._stored(estimator, start, packs)
            if rows is None:
                missing.add(start)
            elif start == 0:
                self._first_is_known[estimator.name].set()
                in_vain = without_success(rows)
        self._missing[estimator.name] = missing
        if in_vain:
            self._skip(estimator)

    def _stored(self, estimator: EstimatorPlan, start: int, packs: Packs) -> pd.DataFrame | None:
        """Return a block of the store, if it is there and sound."""
        if start == 0 and self._has_lost_notes(estimator):
            return None
        file = self.store.block(self.plan.hash, estimator.hash, start, estimator.block)
        try:
            rows = read_block(file) if file.exists() else None
        except StoreError as error:
            moved, rows = self.store.quarantine(file), None
            warnings.warn(f"{error}; set aside as {moved} and computed again", stacklevel=2)
        if rows is None:
            rows = packs.rows((self.plan.hash[:12], estimator.hash[:12], file.stem))
        if rows is None:
            return None
        self.display.found(self.plan, estimator, rows)
        return rows

    def _skip(self, estimator: EstimatorPlan) -> None:
        """Compute no other block than the first."""
        starts, self._missing[estimator.name] = self._missing[estimator.name], set()
        self.display.skipped(self.plan, estimator, [s for s in starts if s])

    def _has_lost_notes(self, estimator: EstimatorPlan) -> bool:
        """Return whether an estimator's notes on the first block were damaged, and set aside."""
        file = self.store.notes(self.plan.hash, estimator.hash)
        return is_there(file) and self.store.recover(file, NotesRecord) is None

    def jobs(self) -> list[int]:
        """Return from which replications `compute` has blocks to compute."""
        missing = set().union(*self._missing.values())
        return sorted({start - start % NATIVE_BLOCK for start in missing})

    def lacking(self) -> list[EstimatorPlan]:
        """Return the estimators of which any block is missing."""
        return [e for e in self.plan.estimators if self._missing[e.name]]

    def programs(self) -> set[Hashable]:
        """Return the compiled programs that the missing blocks need."""
        lacking = self.lacking()
        drawn = {self.plan.drawing} if lacking and self.plan.is_native else set()
        return drawn | {self.plan.estimating(e) for e in lacking if not e.is_host}

    def compute(self, start: int) -> None:
        """Compute the missing blocks among the NATIVE_BLOCK replications from ``start``."""
        begun: dict[str, NativeBlock] = {}
        hosts = HostBlocks(self.plan, self.pool, self._missing)
        chunks = range(start, start + NATIVE_BLOCK, self.plan.chunk)
        wanted = (c for c in chunks if any(self._native_at(c)) or hosts.is_needed(c))
        for first, (sample, schema) in draw_all(self.plan, wanted, self.pool):
            self.display.ran(self.plan.drawing)
            truths = {name: np.asarray(value) for name, value in sample.truth.items()}
            self.estimands |= {e for e, value in truths.items() if not np.isnan(value).all()}
            if first == 0:
                self._look_at(sample.panel)
            hosts.submit(hosts.needing(first, at_start=True), first, sample, schema)
            for estimator in self._native_at(first):
                if first % estimator.block == 0:
                    begun[estimator.name] = NativeBlock(estimator, first)
                begun[estimator.name].truths.append(truths)
                self._extend(begun[estimator.name], first, sample.panel, schema)
            if self.stop.is_set():
                return
            for estimator in self._native_at(first):
                if (first + self.plan.chunk) % estimator.block == 0:
                    self._write_native(begun.pop(estimator.name))
            hosts.submit(self._released(hosts, first), first, sample, schema)
            self._finish(hosts, wait_for=lambda _: False)
        self._finish(hosts, wait_for=lambda _: True)

    def _native_at(self, first: int) -> Iterator[EstimatorPlan]:
        """Yield the native estimators that lack the block of the chunk from ``first``."""
        for estimator in self.plan.estimators:
            if not estimator.is_host and self._lacks(estimator, first - first % estimator.block):
                yield estimator

    def _look_at(self, panels: Panel) -> None:
        """Note whether the first samples are equal, as `check_draws` does for host DGPs."""
        self._samples_vary = self.plan.chunk == 1 or not are_frozen(panels)
        if self.plan.is_native and not self._samples_vary:
            warn_of_frozen(self.plan.cell.dgp_name)

    def _extend(self, block: NativeBlock, first: int, panels: Panel, schema: Schema | None) -> None:
        """Evaluate a native estimator on the chunk from replication ``first``."""
        estimator, keys = block.estimator, self._keys(first)
        began = time.perf_counter()
        found = evaluate(estimator.name, estimator.estimator, keys, panels, schema)
        self.seconds[estimator.name] += time.perf_counter() - began
        self.display.ran(self.plan.estimating(estimator))
        block.estimates.append(found.estimates)
        if block.start == 0:
            self._explain(estimator, first, found, panels)
            block.diagnoses.append(diagnose_chunk(estimator.name, found.estimator, panels))

    def _keys(self, first: int) -> Key[Array, " rep"]:
        return self.plan.keys(Stream.ESTIMATOR, first, first + self.plan.chunk)

    def _explain(
        self, estimator: EstimatorPlan, first: int, found: Evaluation, panels: Panel
    ) -> None:
        """Store the reasons for which a native estimator fails in a chunk of the first block."""
        known = self._reasons.setdefault(estimator.name, {})
        outcomes = explained(found.estimator, found.estimates, panels, known)
        self._store_reasons(estimator, first, outcomes)
        known.update({o.status.label: o.reason for o in outcomes if o.trouble})

    def _store_reasons(
        self, estimator: EstimatorPlan, first: int, outcomes: Sequence[Outcome]
    ) -> None:
        cell = Named(self.plan.cell.name, self.plan.hash)
        store_reasons(self.store, cell, Named(estimator.name, estimator.hash), first, outcomes)

    def _write_native(self, block: NativeBlock) -> None:
        """Write a native block, and its estimator's notes on the panels."""
        estimator, reps = block.estimator, block.start + np.arange(block.estimator.block)
        estimand = self._single_estimand(block.truths[0])
        rows = native_rows(block.estimates, block.truths, reps, estimand)
        if means := means_of(block.diagnoses):
            self.store.write(self.store.notes(self.plan.hash, estimator.hash), means)
        self._write(estimator, block.start, rows, self._reasons.get(estimator.name, {}))

    def _released(self, hosts: HostBlocks, first: int) -> list[HostBlock]:
        """Return the other host blocks of a chunk, as soon as the first ones are known."""
        if hosts.needing(first, at_start=False):
            self._finish(hosts, wait_for=lambda block: block.start == 0)
            for estimator in self.plan.estimators:
                if estimator.is_host:
                    self._wait_for_first(estimator)
        return hosts.needing(first, at_start=False)

    def _wait_for_first(self, estimator: EstimatorPlan) -> None:
        while not self._first_is_known[estimator.name].wait(LOOK_EVERY):
            self.pool.check()

    def _lacks(self, estimator: EstimatorPlan, start: int) -> bool:
        return start in self._missing[estimator.name]

    def _finish(self, hosts: HostBlocks, wait_for: Callable[[HostBlock], bool]) -> None:
        """Write the host blocks that the workers have finished."""
        for block, outcomes in hosts.finished(wait_for):
            self.seconds[block.estimator.name] += sum(outcome.seconds for outcome in outcomes)
            reps = np.arange(block.start, block.start + len(outcomes))
            rows = host_rows(outcomes, block.truths, reps, self._single_estimand(block.truths[0]))
            self._store_reasons(block.estimator, block.start, outcomes)
            reasons = {o.status.label: o.reason for o in reversed(outcomes) if o.trouble}
            self._write(block.estimator, block.start, rows, reasons)

    def _single_estimand(self, truth: Mapping[str, Any]) -> str:
        estimands = without_synonyms(self.plan, {*truth, *self.truth.values})
        return estimands.pop() if len(estimands) == 1 else DEFAULT_ESTIMAND

    def _write(
        self,
        estimator: EstimatorPlan,
        start: int,
        rows: pd.DataFrame,
        reasons: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Store a block, unless all of the first one failed."""
        if start:
            self._wait_for_first(estimator)
        if not self._lacks(estimator, start):
            return
        rows = self.truth.filled_in(rows, estimator.name, self._single_estimand({}))
        file = self.store.block(self.plan.hash, estimator.hash, start, estimator.block)
        write_block(file, rows, {"dgp": self.plan.cell.dgp_name, "name": estimator.name})
        self.display.computed(self.plan, estimator, rows)
        if start == 0:
            self._learn(estimator, rows)
            if without_success(rows):
                self._skip(estimator)
                self.display.say(
                    sentence_of_first_block(self.plan.cell.name, estimator.name, rows, reasons)
                )
            self._first_is_known[estimator.name].set()

    def _learn(self, estimator: EstimatorPlan, rows: pd.DataFrame) -> None:
        """Record estimates of a first block that the run warns of."""
        if not estimator.labels:
            missing = estimands_without_truth(rows)
            self.without_truth |= {(estimator.name, estimand) for estimand in missing}
        value = value_that_never_varies(estimator.estimator, rows)
        if value is not None and self._samples_vary:
            self.never_varying[estimator.name] = value


# First blocks


def are_frozen(panels: Panel) -> bool:
    """Return whether all samples of a chunk are equal."""
    columns = [np.asarray(panels[name]) for name in panels]
    invalid = any(np.isnan(values).all() for values in columns)  # an assignment of 2s, for example
    frozen = all(
        np.array_equal(c, np.broadcast_to(c[:1], c.shape), equal_nan=True) for c in columns
    )
    return frozen and not invalid


def warn_of_frozen(dgp: str) -> None:
    """Warn of a native DGP whose samples are equal: NumPy's draws are constants of a program."""
    warnings.warn(
        f"dgp {dgp!r}: all replications are the same sample; draw from the key with jax.random "
        "(np.random runs once, when the function is compiled)",
        stacklevel=2,
    )


def value_that_never_varies(estimator: object, rows: pd.DataFrame) -> float | None:
    """Return an estimate that misses the truth, of an estimator whose estimates never vary.

    Parameters
    ----------
    estimator : Estimator
        Without columns to read (``reads`` is empty), its estimates may all be the same.
    rows : pandas.DataFrame
        Its first block.

    Returns
    -------
    float or None
        None where any of its estimates varies, or fewer than eight replications have a value.
    """
    if isinstance(estimator, ReadsColumns) and not estimator.reads:
        return None
    value = rows["value"].to_numpy()
    known = ~has_failed(rows).to_numpy() & np.isfinite(value)
    if len(np.unique(rows["rep"].to_numpy()[known])) < _LEAST:
        return None
    estimand, inference = (pd.factorize(rows[name])[0] for name in ("estimand", "inference"))
    label = estimand * (1 + inference.max()) + inference
    for each in np.unique(label[known]):
        mine = value[known & (label == each)]
        if (mine != mine[0]).any():
            return None
    missed = known & ~np.isclose(value, rows["truth"].to_numpy())
    return float(value[missed][0]) if missed.any() else None


def explained(
    estimator: object, estimates: Mapping[Any, Estimate], panels: Panel, known: Collection[str]
) -> list[Outcome]:
    """Return the outcomes of the replications of a chunk, with the estimator's explanations.

    Parameters
    ----------
    estimator : Estimator
        A native one; without `Explained` there are no reasons.
    estimates : mapping of label to Estimate
        Arrays (rep,).
    panels : Panel
        Columns (rep, unit, period).
    known : collection of str
        Statuses whose reason is known already.

    Returns
    -------
    list of Outcome
        One per replication, with a reason for the first of every status; empty without any.
    """
    statuses = np.stack([settled(estimate) for estimate in estimates.values()])
    failed = ~np.isin(statuses, WITH_RESULT)
    if not failed.any() or not isinstance(estimator, Explained):
        return []
    status = statuses[failed.argmax(axis=0), np.arange(statuses.shape[1])]  # as `failures_of` does
    outcomes = [Outcome({}, Status(int(each)), "") for each in status]
    for number, rep in zip(*np.unique(status, return_index=True), strict=True):
        one = Status(int(number))
        if not one.has_result and one.label not in known:
            reason = estimator.explain(replications(panels, int(rep)))
            outcomes[rep] = outcomes[rep]._replace(trouble=reason)
    return outcomes if any(outcome.trouble for outcome in outcomes) else []
