"""Running a study: draw, estimate, store, block by block, until the store holds what was asked."""

import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from mcsim._blocks import CellRunner
from mcsim._cache import use_compile_cache
from mcsim._engine import NATIVE_BLOCK
from mcsim._plan import CellPlan, plan
from mcsim._pool import WorkerPool
from mcsim._precision import require_float64
from mcsim._progress import Progress
from mcsim._results import Results, open_results
from mcsim._store import Store
from mcsim._study import Study
from mcsim._truth import store_truths
from mcsim.errors import InputError, raise_all


def run(
    study: Study,
    *,
    reps: int = 1000,
    seed: int = 0,
    store: str | Path | None = None,
    workers: int | None = None,
    progress: bool = True,
    accept_changes: bool = False,
    source: Path | None = None,
) -> Results:
    """Run a study until its store holds ``reps`` replications of every estimator in every cell.

    What the store holds already is not computed again: a second run continues an interrupted one,
    and more replications extend it. Rows depend on the study and the seed alone, not on the number
    of workers, the order of the work or interruptions.

    Parameters
    ----------
    study : Study
        What to run.
    reps : int
        Replications per cell.
    seed : int
        Seed of every random number of the study.
    store : path, optional
        Folder of the store; None keeps the results in memory only.
    workers : int, optional
        Worker processes for host functions, and threads for native ones; default: the CPUs that
        this process may use. 0 runs everything in this process, for debugging.
    progress : bool
        Whether to show progress in a terminal.
    accept_changes : bool
        Where the store holds another definition under a name, compute the new one beside it.
    source : path, optional
        The study file, of which the store keeps a copy.

    Returns
    -------
    Results
        The replications and their summaries.

    Raises
    ------
    InputError
        If an argument or the study is wrong; nothing has been computed then.
    StoreMismatch
        If the store holds another definition under a name of this study.

    Examples
    --------
    >>> from mcsim.testing import constant_dgp, exact_estimator
    >>> study = Study(dgp=constant_dgp(truth=1.0), estimators=exact_estimator(truth=1.0))
    >>> results = run(study, reps=10, workers=0, progress=False)
    >>> len(results.replicates)
    10
    """
    _check(study, reps, workers)
    use_compile_cache()
    workers = available_cpus() if workers is None else workers
    with _folder(store) as folder:
        home = Store.create(folder)
        plans = plan(study, seed, home, accept_changes=accept_changes)
        manifest = _manifest(study, seed, reps, plans)
        record = home.write_study(manifest, source).name
        name = home.write_run({"study": record, "state": "running", "pid": os.getpid()})
        started = time.monotonic()
        with Progress(study, plans, reps, shown=progress) as display:
            timings = _execute(plans, study, reps, home, workers, display)
        seconds = round(time.monotonic() - started, 3)
        home.write_run(
            {"study": record, "state": "complete", "seconds": seconds, "timings": timings}, name
        )
        return open_results(folder)


def available_cpus() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check(study: Study, reps: int, workers: int | None) -> None:
    faults = []
    if not isinstance(study, Study):
        faults.append(f"study: got {type(study).__name__}, expected an mcsim.Study")
    if isinstance(reps, bool) or not isinstance(reps, int) or reps < 1:
        faults.append(f"reps: got {reps!r}, expected a whole number from 1")
    if workers is not None and (not isinstance(workers, int) or workers < 0):
        faults.append(f"workers: got {workers!r}, expected a whole number from 0")
    raise_all(faults, InputError)
    require_float64("run")


@contextlib.contextmanager
def _folder(store: str | Path | None) -> Iterator[Path]:
    if store is not None:
        yield Path(store)
        return
    with tempfile.TemporaryDirectory(prefix="mcsim-") as folder:
        yield Path(folder)


def _manifest(study: Study, seed: int, reps: int, plans: list[CellPlan]) -> dict[str, Any]:
    caveats = [c for dgp in study.dgps.values() for c in getattr(dgp, "caveats", ())]
    return {
        "aim": study.aim,
        "null": study.null,
        "level": study.level,
        "scale": study.scale,
        "unit": study.unit,
        "caveats": list(dict.fromkeys([*caveats, *study.caveats])),
        "dgps": {name: str(getattr(dgp, "summary", "")) for name, dgp in study.dgps.items()},
        "seed": seed,
        "reps": reps,
        "cells": [
            {
                "hash": p.hash,
                "dgp": p.cell.dgp_name,
                "design": dict(p.cell.design),
                "estimators": [[e.name, e.hash] for e in p.estimators],
            }
            for p in plans
        ],
    }


def _execute(
    plans: list[CellPlan], study: Study, reps: int, store: Store, workers: int, display: Progress
) -> dict[str, float]:
    """Compute what is missing; cells share the worker pool and a few threads."""
    needs_pool = any(e.is_host for p in plans for e in p.estimators) or any(
        not p.is_native for p in plans
    )
    pool, stop = WorkerPool(workers if needs_pool else 0), threading.Event()
    try:
        truths = store_truths(plans, store, pool)
        runners = [CellRunner(p, reps, store, pool, truths[p.hash], display, stop) for p in plans]
        _in_threads(
            [
                (runner, start)
                for runner in runners
                for start in range(0, reps, NATIVE_BLOCK)
                if runner.is_missing(start)
            ],
            max(1, workers),
            stop,
        )
        pool.close()
    except BaseException:
        stop.set()
        pool.stop()
        raise
    return {
        f"{runner.plan.cell.name} | {name}": round(seconds, 3)
        for runner in runners
        for name, seconds in runner.seconds.items()
    }


def _in_threads(jobs: list[tuple[CellRunner, int]], threads: int, stop: threading.Event) -> None:
    with ThreadPoolExecutor(threads) as executor:
        futures: list[Future] = [executor.submit(runner.compute, start) for runner, start in jobs]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        except BaseException:
            stop.set()
            for future in futures:
                future.cancel()
            raise
