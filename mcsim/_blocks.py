"""Computing one cell: the missing blocks, on draws that all estimators share."""

import threading
import time
import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from mcsim._core import Panel
from mcsim._draws import draw_all
from mcsim._engine import NATIVE_BLOCK, diagnose_chunk
from mcsim._evaluate import Evaluation, evaluate
from mcsim._failures import sentence_of_first_block, store_reasons, without_success
from mcsim._first_block import (
    are_frozen,
    estimands_without_truth,
    explained,
    value_that_never_varies,
    warn_of_frozen,
)
from mcsim._host_blocks import HostBlock, HostBlocks
from mcsim._keys import Stream
from mcsim._notes import means_of
from mcsim._plan import CellPlan, EstimatorPlan
from mcsim._pool import LOOK_EVERY, WorkerPool
from mcsim._progress import Progress
from mcsim._readers import UNTOLD
from mcsim._rows import host_rows, native_rows
from mcsim._schema import Schema
from mcsim._store import Store
from mcsim._store_blocks import read_block, write_block
from mcsim._store_files import is_there
from mcsim._store_records import NotesRecord
from mcsim._truth import CellTruth, without_synonyms
from mcsim.errors import StoreError


class CellRunner:
    """Computes the missing blocks of a cell, a native block's worth of replications at a time.

    An estimator's first block decides about its others: if all of it failed, they are skipped.
    Until that is known, host functions are run on no other block. A native block may be computed
    meanwhile, since its thread would idle, but is stored only afterwards.

    Parameters
    ----------
    plan : CellPlan
        The cell and its estimators.
    reps : int
        Replications asked for; blocks are whole, so that more are computed.
    store, pool, truth, display, stop
        Where blocks go, where host functions run, the cell's truth, the progress display, and the
        event that ends the work early.

    Attributes
    ----------
    seconds : dict of estimator to float
        What its estimates have taken.
    without_truth : set of (estimator, estimand)
        Estimates without a known truth, where no dry run has named their estimands.
    never_varying : dict of estimator to float
        Estimates that are the same in all replications of a first block.
    estimands : set of str
        Of which the samples tell the truth.
    """

    def __init__(
        self,
        plan: CellPlan,
        reps: int,
        store: Store,
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
            self._look_for(estimator, range(0, reps, estimator.block))

    def _look_for(self, estimator: EstimatorPlan, starts: range) -> None:
        """Find out which blocks are missing."""
        in_vain, missing = False, set()
        for start in starts:
            rows = self._stored(estimator, start)
            if rows is None:
                missing.add(start)
            elif start == 0:
                self._first_is_known[estimator.name].set()
                in_vain = without_success(rows)
        self._missing[estimator.name] = missing
        if in_vain:
            self._skip(estimator)

    def _stored(self, estimator: EstimatorPlan, start: int) -> pd.DataFrame | None:
        """Return a block of the store, if it is there and sound."""
        file = self.store.block(self.plan.hash, estimator.hash, start, estimator.block)
        if not file.exists() or (start == 0 and self._has_lost_notes(estimator)):
            return None
        try:
            rows = read_block(file)
        except StoreError as error:
            moved = self.store.quarantine(file)
            warnings.warn(f"{error}; set aside as {moved} and computed again", stacklevel=2)
            return None
        self.display.found(self.plan, estimator, rows)
        return rows

    def _skip(self, estimator: EstimatorPlan) -> None:
        """Compute no other block than the first."""
        starts, self._missing[estimator.name] = self._missing[estimator.name], set()
        self.display.skipped(self.plan, estimator, [s for s in starts if s])

    def _has_lost_notes(self, estimator: EstimatorPlan) -> bool:
        """Whether what an estimator says of the first block is damaged, and was set aside."""
        file = self.store.notes(self.plan.hash, estimator.hash)
        return is_there(file) and self.store.recover(file, NotesRecord) is None

    def is_missing(self, start: int) -> bool:
        """Whether any block among the replications from ``start`` is missing."""
        stop = start + NATIVE_BLOCK
        return any(start <= s < stop for starts in self._missing.values() for s in starts)

    def compute(self, start: int) -> None:
        """Compute the missing blocks among the NATIVE_BLOCK replications from ``start``."""
        native = [e for e in self.plan.estimators if not e.is_host and self._lacks(e, start)]
        hosts = HostBlocks(self.plan, self.pool, self._missing)
        results: dict[str, list] = {e.name: [] for e in native}
        diagnoses: dict[str, list] = {e.name: [] for e in native}
        truths: list[Mapping[str, Any]] = []
        chunks = range(start, start + NATIVE_BLOCK, self.plan.chunk)
        wanted = (first for first in chunks if native or hosts.is_needed(first))
        for first, (sample, schema) in draw_all(self.plan, wanted, self.pool):
            truths.append({name: np.asarray(value) for name, value in sample.truth.items()})
            self.estimands |= {e for e, value in truths[-1].items() if not np.isnan(value).all()}
            if first == 0:
                self._look_at(sample.panel)
            hosts.submit(hosts.needing(first, at_start=True), first, sample, schema)
            for estimator in native:
                found = self._evaluate(estimator, first, sample.panel, schema)
                results[estimator.name].append(found.estimates)
                if start == 0:
                    self._explain(estimator, first, found, sample.panel)
                    diagnosis = diagnose_chunk(estimator.name, found.estimator, sample.panel)
                    diagnoses[estimator.name].append(diagnosis)
            if self.stop.is_set():
                return
            if first == chunks[-1]:
                self._write_native(native, start, results, truths, diagnoses)
            hosts.submit(self._released(hosts, first), first, sample, schema)
            self._finish(hosts, wait_for=lambda _: False)
        self._finish(hosts, wait_for=lambda _: True)

    def _look_at(self, panels: Panel) -> None:
        """Note whether the first samples are equal, as `check_draws` does for host DGPs."""
        self._samples_vary = self.plan.chunk == 1 or not are_frozen(panels)
        if self.plan.is_native and not self._samples_vary:
            warn_of_frozen(self.plan.cell.dgp_name)

    def _explain(
        self, estimator: EstimatorPlan, first: int, found: Evaluation, panels: Panel
    ) -> None:
        """Keep why a native estimator fails in a chunk of the first block."""
        known = self._reasons.setdefault(estimator.name, {})
        outcomes = explained(found.estimator, found.estimates, panels, known)
        store_reasons(self.store, self.plan, estimator, first, outcomes)
        known.update({o.status.label: o.reason for o in outcomes if o.trouble})

    def _write_native(
        self,
        native: list[EstimatorPlan],
        start: int,
        results: Mapping[str, list],
        truths: list[Mapping[str, Any]],
        diagnoses: Mapping[str, list],
    ) -> None:
        """Write the native blocks, and what their estimators say of the panels."""
        reps = np.arange(start, start + NATIVE_BLOCK)
        for estimator in native:
            rows = native_rows(results[estimator.name], truths, reps, self._sole(truths[0]))
            if means := means_of(diagnoses[estimator.name]):
                self.store.write(self.store.notes(self.plan.hash, estimator.hash), means)
            self._write(estimator, start, rows, self._reasons.get(estimator.name, {}))

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

    def _evaluate(
        self, estimator: EstimatorPlan, first: int, panels: Panel, schema: Schema | None
    ) -> Evaluation:
        """Run a native estimator on the panels of the chunk from replication ``first``."""
        keys = self.plan.keys(Stream.ESTIMATOR, first, first + self.plan.chunk)
        began = time.perf_counter()
        found = evaluate(estimator.name, estimator.estimator, keys, panels, schema)
        self.seconds[estimator.name] += time.perf_counter() - began
        return found

    def _lacks(self, estimator: EstimatorPlan, start: int) -> bool:
        return start in self._missing[estimator.name]

    def _finish(self, hosts: HostBlocks, wait_for: Callable[[HostBlock], bool]) -> None:
        """Write the host blocks that are back."""
        for block, outcomes in hosts.finished(wait_for):
            self.seconds[block.estimator.name] += sum(outcome.seconds for outcome in outcomes)
            reps = np.arange(block.start, block.start + len(outcomes))
            rows = host_rows(outcomes, block.truths, reps, self._sole(block.truths[0]))
            store_reasons(self.store, self.plan, block.estimator, block.start, outcomes)
            reasons = {o.status.label: o.reason for o in reversed(outcomes) if o.trouble}
            self._write(block.estimator, block.start, rows, reasons)

    def _sole(self, truth: Mapping[str, Any]) -> str:
        estimands = without_synonyms(self.plan.cell.dgp, {*truth, *self.truth.values})
        return estimands.pop() if len(estimands) == 1 else UNTOLD

    def _write(
        self,
        estimator: EstimatorPlan,
        start: int,
        rows: pd.DataFrame,
        reasons: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Store a block, unless the first one says that it is skipped."""
        if start:
            self._wait_for_first(estimator)
        if not self._lacks(estimator, start):
            return
        rows = self._with_truth(estimator, rows)
        file = self.store.block(self.plan.hash, estimator.hash, start, estimator.block)
        write_block(file, rows, {"dgp": self.plan.cell.dgp_name, "name": estimator.name})
        self.display.computed(self.plan, estimator, rows)
        if start == 0:
            self._learn(estimator, rows)
            if without_success(rows):
                self._skip(estimator)
                self.display.say(sentence_of_first_block(self.plan, estimator, rows, reasons))
            self._first_is_known[estimator.name].set()

    def _with_truth(self, estimator: EstimatorPlan, rows: pd.DataFrame) -> pd.DataFrame:
        """Fill in the cell's truth where the samples carry none."""
        truth = rows["truth"].to_numpy(copy=True)
        if not np.isnan(truth).any():
            return rows
        names = rows[["estimand", "inference"]].to_numpy()
        for estimand, inference in dict.fromkeys(map(tuple, names)):
            mine = (names == (estimand, inference)).all(axis=1)
            if np.isnan(truth[mine]).all():
                of = estimand or self._sole({})
                truth[mine] = self.truth.of(estimator.name, of, inference)
        return rows.assign(truth=truth)

    def _learn(self, estimator: EstimatorPlan, rows: pd.DataFrame) -> None:
        """Note what is worth a warning in a first block."""
        if not estimator.labels:
            missing = estimands_without_truth(rows)
            self.without_truth |= {(estimator.name, estimand) for estimand in missing}
        value = value_that_never_varies(estimator.estimator, rows)
        if value is not None and self._samples_vary:
            self.never_varying[estimator.name] = value
