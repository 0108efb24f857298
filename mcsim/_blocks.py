"""Computing one cell: the missing blocks, on draws that all estimators share."""

import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import pandas as pd
import pebble

from mcsim._core import Panel, Sample, Status
from mcsim._engine import HOST_BLOCK, NATIVE_BLOCK, draw_chunk, estimate_chunk
from mcsim._keys import Stream
from mcsim._plan import CellPlan, EstimatorPlan
from mcsim._pool import WorkerPool
from mcsim._progress import Progress
from mcsim._rows import host_rows, native_rows
from mcsim._store import Store, read_block, write_block, write_json
from mcsim._truth import CellTruth
from mcsim._worker import MASK, Outcome, draw_piece, estimate_piece
from mcsim.errors import StoreError

_PIECE = 16  # replications sent to a worker at once; one where each has its own timeout
_FAILURES_KEPT = 20  # tracebacks kept of a block


@dataclass
class _HostBlock:
    """A host block under way: pieces at the workers, outcomes that came back."""

    estimator: EstimatorPlan
    start: int
    pieces: list["_Piece"] = field(default_factory=list)
    truths: list[Mapping[str, np.ndarray]] = field(default_factory=list)
    drawn: int = 0


@dataclass
class _Piece:
    arguments: tuple[bytes, dict[str, np.ndarray], np.ndarray]
    future: Future


class CellRunner:
    """Computes the missing blocks of a cell, a native block's worth of replications at a time.

    Parameters
    ----------
    plan : CellPlan
        The cell and its estimators.
    reps : int
        Replications asked for; blocks are whole, so that more are computed.
    store, pool, truth, display, stop
        Where blocks go, where host functions run, the cell's truth, the progress display, and the
        event that ends the work early.
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
        self._missing = {
            e.name: {start for start in range(0, reps, e.block) if self._is_lacking(e, start)}
            for e in plan.estimators
        }

    def _is_lacking(self, estimator: EstimatorPlan, start: int) -> bool:
        file = self.store.block(self.plan.hash, estimator.hash, start, estimator.block)
        if not file.exists():
            return True
        try:
            self.display.done(self.plan, estimator, read_block(file))
        except StoreError as error:
            moved = self.store.quarantine(file)
            warnings.warn(f"{error}; set aside as {moved} and computed again", stacklevel=2)
            return True
        return False

    def is_missing(self, start: int) -> bool:
        """Whether any block among the replications from ``start`` is missing."""
        stop = start + NATIVE_BLOCK
        return any(start <= s < stop for starts in self._missing.values() for s in starts)

    def compute(self, start: int) -> None:
        """Compute the missing blocks among the NATIVE_BLOCK replications from ``start``."""
        native = [e for e in self.plan.estimators if not e.is_host and self._lacks(e, start)]
        results: dict[str, list] = {e.name: [] for e in native}
        truths: list[Mapping[str, Any]] = []
        open_blocks: dict[tuple[str, int], _HostBlock] = {}
        for first in range(start, start + NATIVE_BLOCK, self.plan.chunk):
            hosts = list(self._host_blocks(first, open_blocks))
            if self.stop.is_set() or not (native or hosts):
                continue
            sample, schema = self.draw(first)
            truths.append(sample.truth)
            for estimator in native:
                results[estimator.name].append(self.estimate(estimator, first, sample.panel))
            if hosts:
                self._submit(hosts, first, sample, schema)
            self._finish(open_blocks, wait=False)
        if self.stop.is_set():
            return
        for estimator in native:
            reps = np.arange(start, start + NATIVE_BLOCK)
            rows = native_rows(results[estimator.name], truths, reps, self._sole(truths[0]))
            self._write(estimator, start, rows)
        self._finish(open_blocks, wait=True)

    def _lacks(self, estimator: EstimatorPlan, start: int) -> bool:
        return start in self._missing[estimator.name]

    def _host_blocks(
        self, first: int, open_blocks: dict[tuple[str, int], _HostBlock]
    ) -> Iterator[_HostBlock]:
        """Yield the missing host blocks that overlap the chunk from ``first``."""
        for estimator in self.plan.estimators:
            if not estimator.is_host:
                continue
            start = first - first % HOST_BLOCK
            for block in range(start, first + self.plan.chunk, HOST_BLOCK):
                if self._lacks(estimator, block):
                    key = estimator.name, block
                    yield open_blocks.setdefault(key, _HostBlock(estimator, block))

    def draw(self, first: int) -> tuple[Sample, Any]:
        """Draw the chunk of samples from replication ``first``; return it and its schema."""
        cell, keys = self.plan.cell, self.plan.keys(Stream.DGP, first, first + self.plan.chunk)
        if self.plan.is_native:
            sample = draw_chunk(cell.dgp_name, cell.dgp, keys, cell.design)
            return sample, getattr(cell.dgp, "schema", None)
        factors = {**cell.design.defaults, **dict(cell.design)}
        words = np.asarray(jax.random.key_data(keys))
        payload = self.pool.payload(cell.dgp, None)
        columns, truth, schema = self.pool.submit(draw_piece, payload, factors, words).result()
        mask = columns.pop(MASK, None)
        batch = {name: jax.numpy.asarray(values) for name, values in columns.items()}
        leaves = [*batch.values(), None if mask is None else jax.numpy.asarray(mask)]
        return Sample(Panel.tree_unflatten(tuple(batch), leaves), truth), schema

    def estimate(self, estimator: EstimatorPlan, first: int, panels: Panel) -> Any:
        """Estimate on the chunk from replication ``first``, with a native estimator."""
        keys = self.plan.keys(Stream.ESTIMATOR, first, first + self.plan.chunk)
        began = time.perf_counter()
        estimates = estimate_chunk(estimator.name, estimator.estimator, keys, panels)
        estimates = jax.device_get(estimates)
        self.seconds[estimator.name] += time.perf_counter() - began
        return estimates

    def _submit(self, blocks: list[_HostBlock], first: int, sample: Sample, schema: Any) -> None:
        keys = self.plan.keys(Stream.ESTIMATOR, first, first + self.plan.chunk)
        words = np.asarray(jax.random.key_data(keys))
        columns = {name: np.asarray(sample.panel[name]) for name in sample.panel}
        if sample.panel.mask is not None:
            columns[MASK] = np.asarray(sample.panel.mask)
        truth = {name: np.asarray(value) for name, value in sample.truth.items()}
        for block in blocks:
            low = max(first, block.start) - first
            high = min(first + self.plan.chunk, block.start + HOST_BLOCK) - first
            payload = self.pool.payload(block.estimator.estimator, schema)
            size = _PIECE if block.estimator.estimator.timeout is None else 1
            for piece in range(low, high, size):
                rows = slice(piece, min(piece + size, high))
                part = {name: values[rows] for name, values in columns.items()}
                block.pieces.append(self._send(block, (payload, part, words[rows])))
            block.truths.append({name: value[low:high] for name, value in truth.items()})
            block.drawn += high - low

    def _send(self, block: _HostBlock, arguments: tuple) -> _Piece:
        timeout = block.estimator.estimator.timeout
        return _Piece(arguments, self.pool.submit(estimate_piece, *arguments, timeout=timeout))

    def _finish(self, open_blocks: dict[tuple[str, int], _HostBlock], *, wait: bool) -> None:
        """Write the host blocks whose pieces are all back; with ``wait``, all of them."""
        for key, block in list(open_blocks.items()):
            if block.drawn < HOST_BLOCK:
                continue
            if not wait and not all(piece.future.done() for piece in block.pieces):
                continue
            began = time.perf_counter()
            outcomes = [o for piece in block.pieces for o in self._outcomes(block, piece)]
            self.seconds[block.estimator.name] += time.perf_counter() - began
            reps = np.arange(block.start, block.start + HOST_BLOCK)
            rows = host_rows(outcomes, block.truths, reps, self._sole(block.truths[0]))
            self._write(block.estimator, block.start, rows)
            self._record_failures(block, outcomes)
            del open_blocks[key]

    def _outcomes(self, block: _HostBlock, piece: _Piece) -> list[Outcome]:
        """Wait for a piece; where its worker died, send its replications one by one."""
        try:
            return piece.future.result()
        except FutureTimeout:
            return [Outcome({}, Status.TIMEOUT, "stopped after its timeout")]
        except pebble.ProcessExpired as error:
            payload, columns, words = piece.arguments
            if len(words) == 1:
                return [Outcome({}, Status.CRASHED, f"the worker process died: {error}")]
        singles = []
        for i in range(len(words)):
            part = {name: values[i : i + 1] for name, values in columns.items()}
            singles.append(self._send(block, (payload, part, words[i : i + 1])))
        return [outcome for single in singles for outcome in self._outcomes(block, single)]

    def _sole(self, truth: Mapping[str, Any]) -> str:
        estimands = {*truth, *self.truth.values}
        return estimands.pop() if len(estimands) == 1 else "estimate"

    def _write(self, estimator: EstimatorPlan, start: int, rows: pd.DataFrame) -> None:
        rows = self._with_truth(estimator, rows)
        about = {"cell": self.plan.hash, "estimator": estimator.hash, "start": start}
        file = self.store.block(self.plan.hash, estimator.hash, start, estimator.block)
        write_block(file, rows, {**about, "block": estimator.block, "rows": len(rows)})
        self.display.done(self.plan, estimator, rows)

    def _with_truth(self, estimator: EstimatorPlan, rows: pd.DataFrame) -> pd.DataFrame:
        """Fill in the cell's truth where the samples carry none."""
        labels = rows[["estimand", "inference"]].drop_duplicates()
        truth = rows["truth"].to_numpy(copy=True)
        for estimand, inference in labels.itertuples(index=False):
            mine = ((rows["estimand"] == estimand) & (rows["inference"] == inference)).to_numpy()
            empty = mine & np.isnan(truth)
            truth[empty] = self.truth.of(estimator.name, estimand, inference)
        return rows.assign(truth=truth)

    def _record_failures(self, block: _HostBlock, outcomes: list[Outcome]) -> None:
        folder = self.store.path / "failures" / self.plan.hash[:12] / block.estimator.hash[:12]
        failed = [(rep, o) for rep, o in enumerate(outcomes, block.start) if o.trouble]
        for rep, outcome in failed[:_FAILURES_KEPT]:
            content = {
                "cell": self.plan.cell.name,
                "estimator": block.estimator.name,
                "rep": rep,
                "status": outcome.status.label,
                "trouble": outcome.trouble,
                "replay": f"mcsim replay FILE --store {self.store.path} "
                f"--cell {self.plan.hash[:12]} --rep {rep}",
            }
            write_json(folder / f"r{rep:07d}.json", content)
