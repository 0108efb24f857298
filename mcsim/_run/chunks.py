"""Chunks of a cell: their samples, drawn here or by workers, and their pieces for host estimators.

Samples come from a compiled program, or from a host DGP in worker processes. Before anything is
stored every host DGP is checked: it must draw from its argument rng alone. Host estimators run on
pieces of a chunk; a block is done when all its pieces are.
"""

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import pebble

from mcsim._core.keys import Stream
from mcsim._core.records import Panel, Sample
from mcsim._data.schema import Schema
from mcsim._host.payload import Payload
from mcsim._host.pool import Task, WorkerPool
from mcsim._host.worker import MASK, Outcome, draw_piece, draw_watched, piece_of
from mcsim._results.store import Store
from mcsim._run.compiled import draw_chunk
from mcsim._run.evaluate import Piece, send, words_of
from mcsim._run.plan import CellPlan, EstimatorPlan
from mcsim.errors import InputError, did_you_mean, raise_all

Drawn = tuple[Sample, Schema | None]
"""The samples of a chunk, and their schema."""


def draw(plan: CellPlan, first: int, pool: WorkerPool) -> Drawn:
    """Draw the samples of the chunk from replication ``first``.

    Parameters
    ----------
    plan : CellPlan
        The cell.
    first : int
        First replication of the chunk.
    pool : WorkerPool
        Where a host DGP runs.
    """
    return _begin(plan, first, pool)()


def draw_all(
    plan: CellPlan, chunks: Iterable[int], pool: WorkerPool
) -> Iterator[tuple[int, Drawn]]:
    """Draw chunk after chunk; a host DGP draws the next ones meanwhile.

    Parameters
    ----------
    plan, pool
        As in `draw`.
    chunks : iterable of int
        First replications of the chunks.
    """
    ahead = 0 if plan.is_native else pool.workers
    waiting: deque[tuple[int, Callable[[], Drawn]]] = deque()
    for first in chunks:
        waiting.append((first, _begin(plan, first, pool)))
        if len(waiting) > ahead:
            begun, finish = waiting.popleft()
            yield begun, finish()
    for begun, finish in waiting:
        yield begun, finish()


def _begin(plan: CellPlan, first: int, pool: WorkerPool) -> Callable[[], Drawn]:
    cell, keys = plan.cell, plan.keys(Stream.DGP, first, first + plan.chunk)
    if not plan.is_native:
        reps = range(first, first + len(keys))
        task = pool.submit(draw_piece, plan.payload, cell.seen, words_of(keys), reps)
        return lambda: _received(plan, task, first)
    sample = draw_chunk(cell.dgp_name, cell.dgp, keys, cell.seen)
    return lambda: (sample, plan.dgp.schema)


def _received(plan: CellPlan, task: Task, first: int) -> Drawn:
    """Wait for the samples of a host DGP."""
    return on_device(*_result(plan, task, first, first + plan.chunk - 1))


def on_device(columns: dict[str, Any], truth: Any, schema: Schema) -> Drawn:
    """Return the samples that a host DGP drew in a worker as arrays of JAX."""
    mask = columns.pop(MASK, None)
    arrays = {name: jax.device_put(values) for name, values in columns.items()}
    n_periods = next(iter(arrays.values())).shape[-1]
    static = schema.static_part(tuple(arrays), n_periods)
    mask = None if mask is None else jax.device_put(mask)
    return Sample(Panel.batch(arrays, mask, static), truth), schema


def _result(plan: CellPlan, task: Task, first: int, last: int) -> Any:
    """Wait for draws of a host DGP, of the replications from the first to the last."""
    try:
        return task.result()
    except pebble.ProcessExpired as error:
        raise InputError(
            f"dgp {plan.cell.dgp_name!r}: its process died ({error}) in one of the "
            f"replications {first} to {last}"
        ) from None


# Blocks of host estimators

_PIECE = 16  # replications of a piece; one where each replication has a time limit


@dataclass
class HostBlock:
    """A block of a host estimator: pieces at the workers, and the samples' truths.

    Attributes
    ----------
    estimator : EstimatorPlan
        The estimator.
    start : int
        Its first replication.
    truths : list of dict of estimand to array (rep,)
        Chunk after chunk.
    """

    estimator: EstimatorPlan
    start: int
    truths: list[Mapping[str, np.ndarray]] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    drawn: int = 0

    def is_done(self) -> bool:
        """Return whether all its pieces have been computed."""
        return all(piece.done() for piece in self.pieces)


class HostBlocks:
    """The blocks of a cell's host estimators that are being computed.

    Parameters
    ----------
    plan : CellPlan
        The cell.
    pool : WorkerPool
        Where the functions run.
    missing : dict of estimator to set of int
        First replications of the blocks that the store lacks.
    """

    def __init__(self, plan: CellPlan, pool: WorkerPool, missing: Mapping[str, Set[int]]):
        self._plan, self._pool, self._missing = plan, pool, missing
        self._open: dict[tuple[str, int], HostBlock] = {}
        self._payloads: dict[str, Payload] = {}

    def needing(self, first: int, *, at_start: bool) -> list[HostBlock]:
        """Return the missing blocks that overlap the chunk from replication ``first``.

        Parameters
        ----------
        first : int
            First replication of the chunk.
        at_start : bool
            True for the estimators' first blocks, False for all others.
        """
        return [
            self._open.setdefault((e.name, start), HostBlock(e, start))
            for e, start in self._missing_in(first)
            if (start == 0) == at_start
        ]

    def is_needed(self, first: int) -> bool:
        """Return whether any missing block overlaps the chunk from replication ``first``."""
        return any(True for _ in self._missing_in(first))

    def _missing_in(self, first: int) -> Iterator[tuple[EstimatorPlan, int]]:
        for estimator in self._plan.estimators:
            block = estimator.block
            for start in range(first - first % block, first + self._plan.chunk, block):
                if estimator.is_host and start in self._missing[estimator.name]:
                    yield estimator, start

    def submit(self, blocks: list[HostBlock], first: int, sample: Sample, schema: Any) -> None:
        """Send the replications of a chunk that are in these blocks to the workers, in pieces."""
        if not blocks:
            return
        keys = self._plan.keys(Stream.ESTIMATOR, first, first + self._plan.chunk)
        columns, words = piece_of(sample.panel), words_of(keys)
        for block in blocks:
            low = max(first, block.start) - first
            high = min(first + self._plan.chunk, block.start + block.estimator.block) - first
            payload, size = self._payload(block.estimator, schema), self._piece_size(block)
            timeout = block.estimator.estimator.timeout
            for start in range(low, high, size):
                rows = slice(start, min(start + size, high))
                part = {name: values[rows] for name, values in columns.items()}
                block.pieces.append(send(self._pool, payload, part, words[rows], timeout=timeout))
            block.truths.append({e: np.asarray(v)[low:high] for e, v in sample.truth.items()})
            block.drawn += high - low

    def finished(
        self, wait_for: Callable[[HostBlock], bool]
    ) -> Iterator[tuple[HostBlock, list[Outcome]]]:
        """Yield the blocks that are complete, with their outcomes; wait for some of them."""
        for key, block in list(self._open.items()):
            if block.drawn == block.estimator.block and (wait_for(block) or block.is_done()):
                del self._open[key]
                yield block, [outcome for piece in block.pieces for outcome in piece.outcomes()]

    def _piece_size(self, block: HostBlock) -> int:
        """Return the replications of a piece: all workers share a first block."""
        if block.estimator.estimator.timeout is not None:
            return 1
        share = block.estimator.block // max(1, self._pool.workers)
        return _PIECE if block.start else max(1, min(_PIECE, share))

    def _payload(self, estimator: EstimatorPlan, schema: Any) -> Payload:
        """Pickle an estimator; once, where the schema is the same for all samples."""
        if not self._plan.is_native:
            return Payload(estimator.estimator, schema)
        if estimator.name not in self._payloads:
            self._payloads[estimator.name] = Payload(estimator.estimator, schema)
        return self._payloads[estimator.name]


# Checks of host DGPs


def check_draws(plans: Sequence[CellPlan], store: Store, pool: WorkerPool) -> None:
    """Draw replication 0 of every new cell of a host DGP twice in a row, and replication 1 once.

    Parameters
    ----------
    plans : sequence of CellPlan
        The cells; cells in the store were checked when they were new.
    store : Store
        The store.
    pool : WorkerPool
        Where host functions run.

    Raises
    ------
    InputError
        If two draws of replication 0 differ, or a DGP has a random generator of its own.

    Warns
    -----
    UserWarning
        If replications 0 and 1 are the same sample; if all cells are new and of host DGPs, and
        none of them reads a factor of the study.
    """
    new = [p for p in plans if not p.is_native and not (store.cell(p.hash) / "cell.json").exists()]
    tasks = [_submit(p, pool) for p in new]
    found = [_result(p, task, 0, 1) for p, task in zip(new, tasks, strict=True)]
    drawn = [(p.cell.dgp_name, draws) for p, (draws, _) in zip(new, found, strict=True)]
    raise_all(list(dict.fromkeys(fault for name, draws in drawn for fault in _faults(name, draws))))
    for name in dict.fromkeys(name for name, draws in drawn if _are_equal(draws[0], 1, 2)):
        warnings.warn(
            f"dgp {name!r}: replications 0 and 1 are the same sample; draw from its argument rng "
            "(a generator made with a seed in the function starts anew in every replication)",
            UserWarning,
            stacklevel=2,
        )
    if len(new) == len(plans):
        _warn_of_factors_not_read(plans, [read for _, read in found])


def _warn_of_factors_not_read(plans: Sequence[CellPlan], read: Sequence[set[str]]) -> None:
    """Warn of factors that no DGP reads in any cell: rows would be labeled with them wrongly."""
    known = set().union(*read)
    given = dict.fromkeys(name for plan in plans for name in plan.cell.seen)
    dgps = ", ".join(repr(name) for name in dict.fromkeys(plan.cell.dgp_name for plan in plans))
    for name in given:
        if name not in known:
            warnings.warn(
                f"factor {name!r}: no cell of dgp {dgps} reads it"
                + did_you_mean(name, known - given.keys() or known),
                UserWarning,
                stacklevel=2,
            )


def _submit(plan: CellPlan, pool: WorkerPool) -> Task:
    words = words_of(plan.keys(Stream.DGP, 0, 2))
    return pool.submit(draw_watched, plan.payload, plan.cell.seen, words[[0, 0, 1]], (0, 0, 1))


def _faults(name: str, draws: Any) -> list[str]:
    columns, truths, _ = draws
    differing = [column for column in columns if not _are_equal({column: columns[column]}, 0, 1)]
    if not _are_equal(truths, 0, 1):
        differing.append("the truth")
    if not differing:
        return []
    return [
        f"dgp {name!r}: two draws of replication 0 differ (in {', '.join(differing)}), so that no "
        "replication could be drawn again; draw from its argument rng alone, not from a generator "
        "without a seed, the clock, or a state that outlives the call"
    ]


def _are_equal(columns: Any, one: int, other: int) -> bool:
    """Return whether two of the draws are equal in all of these columns."""
    pairs = ((values[one], values[other]) for values in columns.values())
    return all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)
