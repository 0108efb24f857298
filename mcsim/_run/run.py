"""Running a study: draw, evaluate and store, until the store holds the replications asked for."""

import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from mcsim._core.calls import with_remedies
from mcsim._core.checks import as_path
from mcsim._core.keys import root_key
from mcsim._core.machine import available_cpus, one_blas_thread, require_float64
from mcsim._core.protocols import described, names_taken
from mcsim._core.screen import Screen
from mcsim._host.host import HostDGP, HostEstimator
from mcsim._host.payload import Payload
from mcsim._host.pool import WorkerPool
from mcsim._results.failures import failure_sentences
from mcsim._results.open import results_of
from mcsim._results.results import Results, doubtful_se
from mcsim._results.store import Store
from mcsim._results.store_packs import Packs, compact
from mcsim._run.cell import CellRunner
from mcsim._run.chunks import check_draws
from mcsim._run.plan import CellPlan, plan, register
from mcsim._run.progress import Progress, awaited
from mcsim._run.study import Study, faults_of_reps
from mcsim._run.truth import (
    CellTruth,
    computes_truth,
    store_truths,
    warn_of_other_treatments,
    warn_without_truth,
)
from mcsim.errors import InputError, StoreError, raise_all, warn


@with_remedies()
def run(
    study: Study,
    *,
    reps: int | None = None,
    seed: int = 0,
    store: str | Path | None = None,
    workers: int | None = None,
    progress: bool = True,
    accept_changes: bool = False,
    source: Path | None = None,
) -> Results:
    """Run a study until its store holds ``reps`` replications of every estimator in every cell.

    Rows in the store are not computed again: a second run continues an interrupted one,
    and more replications extend it. Rows depend on the study and the seed alone, not on the number
    of workers, the order of the work or interruptions.

    Parameters
    ----------
    study : Study
        The study.
    reps : int, optional
        Replications per cell; default the study's own number.
    seed : int
        Seed of every random number of the study.
    store : path, optional
        Folder of the store; None keeps the results in memory only.
    workers : int, optional
        Worker processes for host functions, and threads for native ones; default: the CPUs that
        this process was granted, the least of its affinity, ``SLURM_CPUS_PER_TASK`` and the quota
        of its control group (container). 0 runs everything in this process, for debugging.
    progress : bool
        Whether to show progress: bars in a terminal, a line in a notebook, and elsewhere a line
        on standard error every 30 seconds.
    accept_changes : bool
        Where the store holds another definition under a name, compute the new one beside it.
    source : path, optional
        The study file; the store keeps a copy.

    Returns
    -------
    Results
        The replications and their summaries.

    Warns
    -----
    UserWarning
        For every estimator that failed in any replication, with the reason: one line. The frame
        `Results.failures` has them by cell and status.

    Raises
    ------
    InputError
        If an argument or the study is wrong; nothing has been computed then.
    StoreMismatch
        If the store holds another definition under a name of this study.
    KeyboardInterrupt
        If it is interrupted (Ctrl-C, a notebook's button), with a sentence on what is kept.

    Notes
    -----
    If an estimator fails in every replication of its first block in a cell (64 replications of a
    host function, 1,024 of a native estimator, of large samples down to 16), its others there are
    not run: their status is ``skipped``, and the reason is printed at once. Nothing is stored of
    them; a changed estimator is another one, and starts anew.

    Examples
    --------
    >>> from mcsim.testing import constant_dgp, exact_estimator
    >>> study = Study(dgp=constant_dgp(truth=1.0), estimators=exact_estimator(truth=1.0))
    >>> results = run(study, reps=10, workers=0, progress=False)
    >>> len(results.replicates)
    10
    """
    reps = _checked_reps(study, reps, seed, workers)
    raise_all(_faults_of_options(source, progress=progress, accept_changes=accept_changes))
    workers = available_cpus() if workers is None else workers
    screen = Screen(shown=progress)
    with _interrupts_in_words(store, screen), _folder(store) as folder:
        home = Store.create(folder)
        home.sweep()
        pool = WorkerPool(workers if _needs_processes(study) else 0)
        try:
            with screen.step(awaited(pool.workers, then="planning the study")):
                plans = plan(study, seed, home, accept_changes=accept_changes)
                check_draws(plans, home, pool)
            for cell_plan in plans:
                register(home, cell_plan)
            asked = manifest(study, seed, reps, plans)
            with _recorded(home, asked, None if source is None else Path(source)) as record:
                with screen.step("computing truths"), one_blas_thread():
                    truths = store_truths(plans, home, pool)
                with Progress(study, plans, reps, screen=screen) as display:
                    runners, damaged = _runners(plans, truths, reps, home, pool, display)
                    record["timings"] = _execute(runners, pool, display, max(1, workers))
                    if store is not None:
                        parts = [(p.hash, e.hash) for p in plans for e in p.estimators]
                        compact(home, parts, damaged)
        finally:
            pool.stop()
        results = results_of(home, home.study(record["study"]))
        for sentence in (
            *failure_sentences(results, home),
            *doubtful_se(results, variances_only=True),
        ):
            warn(sentence)
        return results


def _checked_reps(study: Study, reps: int | None, seed: int, workers: int | None) -> int:
    """Check the arguments and return the number of replications to run."""
    if not isinstance(study, Study):
        raise InputError(f"study: got {type(study).__name__}, expected an mcsim.Study")
    reps = study.reps if reps is None else reps
    faults = faults_of_reps(reps, study.dgps)
    if workers is not None and (
        isinstance(workers, bool) or not isinstance(workers, int) or workers < 0
    ):
        faults.append(f"workers: got {workers!r}, expected a whole number from 0")
    raise_all(faults)
    root_key(seed)
    require_float64("run")
    return reps


def _faults_of_options(source: Any, **flags: Any) -> list[str]:
    faults = [
        f"{name}: got {flag!r}, expected True or False"
        for name, flag in flags.items()
        if not isinstance(flag, bool)
    ]
    if source is not None and not as_path("source", source).is_file():
        faults.append(f"source: {str(source)!r} is no file, expected the study file")
    return faults


def _needs_processes(study: Study) -> bool:
    hosts = (HostDGP, HostEstimator)
    return any(isinstance(part, hosts) for part in (*study.dgps.values(), *study.methods.values()))


@contextlib.contextmanager
def _interrupts_in_words(store: str | Path | None, screen: Screen) -> Iterator[None]:
    """Raise an interrupt (Ctrl-C, a notebook's button) anew, with a sentence on what is kept."""
    try:
        yield
    except KeyboardInterrupt:
        raise _interrupt(store, screen.share) from None


def _interrupt(store: str | Path | None, share: float | None) -> KeyboardInterrupt:
    """Return an interrupt of which a notebook shows the sentence, without a traceback."""
    done = (
        "before the first replication" if share is None else f"at {100 * share:.0f} % of the study"
    )
    if store is None:
        kept = (
            "nothing is kept of a study without a store; with one, as in run(..., "
            "store='my_study'), the same call continues where it was interrupted"
        )
    else:
        kept = f"finished blocks are in the store {str(store)!r}; the same call continues from them"
    error = KeyboardInterrupt(f"interrupted {done}: {kept}")
    error._render_traceback_ = lambda: [f"KeyboardInterrupt: {error}"]  # type: ignore[attr-defined]
    return error


@contextlib.contextmanager
def _recorded(
    home: Store, asked: Mapping[str, Any], source: Path | None
) -> Iterator[dict[str, Any]]:
    """Record the run and its end in the store."""
    study, order = home.write_study(asked, source).name, home.next_order()
    record = {"study": study, "order": order, "state": "running", "pid": os.getpid()}
    name, started = home.write_run(record), time.monotonic()
    try:
        yield record
        record["state"] = "complete"
    except BaseException:
        record["state"] = "interrupted"
        raise
    finally:
        with contextlib.suppress(StoreError):  # the first error is the one to report
            home.write_run({**record, "seconds": round(time.monotonic() - started, 3)}, name)


@contextlib.contextmanager
def _folder(store: str | Path | None) -> Iterator[Path]:
    if store is not None:
        yield as_path("store", store)
        return
    with tempfile.TemporaryDirectory(prefix="mcsim-") as folder:
        yield Path(folder)


def manifest(study: Study, seed: int, reps: int | None, plans: list[CellPlan]) -> dict[str, Any]:
    """Return the record of a study in a store, by which its rows are found and read.

    Without ``reps`` these are all rows in the store.
    """
    dgps = {name: described(dgp) for name, dgp in study.dgps.items()}
    caveats = [caveat for dgp in dgps.values() for caveat in dgp.caveats]
    shocks = {name: dgp.common_shocks for name, dgp in dgps.items()}
    return {
        "aim": study.aim,
        "null": study.null,
        "level": study.level,
        "scale": study.scale,
        "unit": study.unit,
        "caveats": list(dict.fromkeys([*caveats, *study.caveats])),
        "dgps": {name: str(dgp.summary) for name, dgp in dgps.items()},
        "common_shocks": {name: how for name, how in shocks.items() if isinstance(how, str)},
        "taken": {name: list(names_taken(e)) for name, e in study.methods.items()},
        "seed": seed,
        "reps": reps,
        "cells": [
            {
                "hash": p.hash,
                "dgp": p.cell.dgp_name,
                "design": dict(p.cell.design),
                "truth_computed": computes_truth(p),
                "estimators": [[e.name, e.hash] for e in p.estimators],
            }
            for p in plans
        ],
    }


def _runners(
    plans: list[CellPlan],
    truths: Mapping[str, CellTruth],
    reps: int,
    store: Store,
    pool: WorkerPool,
    display: Progress,
) -> tuple[list[CellRunner], Collection[Path]]:
    """Return a runner for every cell, and the packs that are damaged."""
    _warn_before(plans, truths)
    packs, stop = Packs(store.path), threading.Event()
    runners = [
        CellRunner(p, reps, store, packs, pool, truths[p.hash], display, stop) for p in plans
    ]
    for fault in packs.faults.values():
        warn(f"{fault}; those of its blocks that are lost are computed again")
    return runners, [*packs.faults]


def _execute(
    runners: list[CellRunner], pool: WorkerPool, display: Progress, threads: int
) -> dict[str, float]:
    """Compute the missing blocks; cells share the worker pool and a few threads."""
    jobs = [(runner, start) for runner in runners for start in runner.jobs()]
    jobs.sort(key=lambda job: job[1] > 0)  # first blocks decide about the others
    _start(runners, pool, display)
    with one_blas_thread(), ThreadPoolExecutor(threads) as executor:
        futures = [executor.submit(runner.compute, start) for runner, start in jobs]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            for runner in runners:
                runner.stop.set()
            pool.stop()
            executor.shutdown(wait=False, cancel_futures=True)
            raise
    _warn_after(runners)
    return {
        f"{runner.plan.cell.name} | {name}": round(seconds, 3)
        for runner in runners
        for name, seconds in runner.seconds.items()
    }


def _start(runners: list[CellRunner], pool: WorkerPool, display: Progress) -> None:
    """Start the imports of host functions in the workers, while programs are compiled."""
    lacking = [(runner.plan, e) for runner in runners for e in runner.lacking() if e.is_host]
    schemas = {e.name: (e.estimator, p.dgp.schema) for p, e in reversed(lacking)}
    programs = set().union(*(runner.programs() for runner in runners))
    display.wait_for(programs, pool.workers if lacking else 0)
    if lacking:
        pool.warm_up(*(Payload(*parts) for parts in schemas.values()), then=display.started)


def _warn_before(plans: list[CellPlan], truths: Mapping[str, CellTruth]) -> None:
    """Warn before the run of estimates without a truth, as far as dry runs show them."""
    for p in plans:
        truth = truths[p.hash]
        if not truth.own:
            labels = [(e.name, estimand) for e in p.estimators for estimand, _ in e.labels]
            asked = [(name, of) for name, of in labels if of or truth.leaves_open(p, of)]
            warn_without_truth(p.cell.dgp_name, asked, truth.known_estimands(p))
        warn_of_other_treatments(p)


def _warn_after(runners: list[CellRunner]) -> None:
    """Warn of estimates without a truth and of constant estimates in first blocks."""
    for runner in runners:
        known = runner.truth.known_estimands(runner.plan) | runner.estimands
        warn_without_truth(runner.plan.cell.dgp_name, runner.without_truth, known)
    equal = (
        (estimator, runner.plan.cell.name, value)
        for runner in runners
        for estimator, value in runner.never_varying.items()
    )
    for sentence in sentences_of_equal_estimates(equal):
        warn(sentence)


def sentences_of_equal_estimates(found: Iterable[tuple[str, str, float]]) -> Iterator[str]:
    """Yield a sentence for every estimator with estimates that never vary.

    Parameters
    ----------
    found : iterable of (estimator, cell, value)

    Examples
    --------
    >>> list(sentences_of_equal_estimates([("did", "lalonde n=50", 0.5)]))[0][:64]
    'did: its estimates are the same (0.5) in all replications of cel'
    """
    cells: dict[str, list[tuple[str, float]]] = {}
    for estimator, cell, value in found:
        cells.setdefault(estimator, []).append((cell, value))
    for estimator, ((cell, value), *others) in cells.items():
        more = f" (and of {len(others)} more)" if others else ""
        yield (
            f"{estimator}: its estimates are the same ({value:g}) in all replications of cell "
            f"{cell!r}{more}: does it read what the DGP draws?"
        )
