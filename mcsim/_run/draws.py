"""Samples of a cell, drawn here by a compiled program or by a host DGP in worker processes.

Before anything is stored every host DGP is checked: it must draw from its argument rng alone.
"""

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import pebble

from mcsim._core.keys import Stream
from mcsim._core.records import Panel, Sample
from mcsim._data.schema import Schema
from mcsim._host.pool import Task, WorkerPool
from mcsim._host.worker import MASK, draw_piece, draw_watched
from mcsim._results.store import Store
from mcsim._run.compiled import draw_chunk
from mcsim._run.evaluate import words_of
from mcsim._run.plan import CellPlan
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
    columns, truth, schema = _result(plan, task, first, first + plan.chunk - 1)
    mask = columns.pop(MASK, None)
    arrays = {name: jnp.asarray(values) for name, values in columns.items()}
    n_periods = next(iter(arrays.values())).shape[-1]
    static = schema.static_part(tuple(arrays), n_periods)
    mask = None if mask is None else jnp.asarray(mask)
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
    """Whether two of the draws are equal in all of these columns."""
    pairs = ((values[one], values[other]) for values in columns.values())
    return all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)
