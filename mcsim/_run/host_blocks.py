"""Blocks of host estimators under way: pieces sent to the workers, and their outcomes."""

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mcsim._core.keys import Stream
from mcsim._core.records import Sample
from mcsim._host.payload import Payload
from mcsim._host.pool import WorkerPool
from mcsim._host.worker import Outcome, piece_of
from mcsim._run.compiled import HOST_BLOCK
from mcsim._run.evaluate import Piece, send, words_of
from mcsim._run.plan import CellPlan, EstimatorPlan

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
        """Whether all its pieces have been computed."""
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
            Whether the estimators' first blocks, or all others.
        """
        return [
            self._open.setdefault((e.name, start), HostBlock(e, start))
            for e, start in self._missing_in(first)
            if (start == 0) == at_start
        ]

    def is_needed(self, first: int) -> bool:
        """Whether any missing block overlaps the chunk from replication ``first``."""
        return any(True for _ in self._missing_in(first))

    def _missing_in(self, first: int) -> Iterator[tuple[EstimatorPlan, int]]:
        for estimator in self._plan.estimators:
            for start in range(first - first % HOST_BLOCK, first + self._plan.chunk, HOST_BLOCK):
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
            high = min(first + self._plan.chunk, block.start + HOST_BLOCK) - first
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
            if block.drawn == HOST_BLOCK and (wait_for(block) or block.is_done()):
                del self._open[key]
                yield block, [outcome for piece in block.pieces for outcome in piece.outcomes()]

    def _piece_size(self, block: HostBlock) -> int:
        """Return the replications of a piece: all workers share a first block."""
        if block.estimator.estimator.timeout is not None:
            return 1
        share = HOST_BLOCK // max(1, self._pool.workers)
        return _PIECE if block.start else max(1, min(_PIECE, share))

    def _payload(self, estimator: EstimatorPlan, schema: Any) -> Payload:
        """Pickle an estimator; once, where the schema is the same for all samples."""
        if not self._plan.is_native:
            return Payload(estimator.estimator, schema)
        if estimator.name not in self._payloads:
            self._payloads[estimator.name] = Payload(estimator.estimator, schema)
        return self._payloads[estimator.name]
