"""The work of ``mcsim run`` and ``mcsim sample``, and files that define a study.

A study file is plain Python that defines ``study``, imported once by the command that runs it.
"""

import contextlib
import importlib.util
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import typer
from rich.console import Console

from mcsim._core.checks import as_path
from mcsim._core.keys import digest
from mcsim._core.protocols import described
from mcsim._data.frames import to_frame
from mcsim._host.pool import WorkerPool
from mcsim._results.failures import often_failing
from mcsim._results.results import Results
from mcsim._results.store import Store
from mcsim._results.store_files import make_folder, read_json, write_json
from mcsim._run.chunks import draw
from mcsim._run.evaluate import replications
from mcsim._run.plan import CellPlan, plan
from mcsim._run.run import run
from mcsim._run.study import Study, faults_of_reps
from mcsim._run.truth import store_truths
from mcsim.cli._app import say
from mcsim.errors import (
    InputError,
    McsimError,
    StoreError,
    UnknownName,
    printable,
    printable_lines,
    raise_all,
    type_and_message,
)
from mcsim.generators import model_cache
from mcsim.report import notes, render, results_table


@dataclass(frozen=True)
class StudyFile:
    """A study file, imported.

    Attributes
    ----------
    path : Path
        The file.
    study : Study
        Its study.
    report : callable, optional
        Its function ``report(results, folder)``: figures and further tables, made after a run.
    """

    path: Path
    study: Study
    report: Callable[[Any, Path], None] | None


def run_file(
    file: Path,
    reps: int | None,
    seed: int,
    store: Path,
    workers: int | None,
    *,
    dry_run: bool,
    quiet: bool,
    accept_changes: bool,
) -> None:
    """Run the study of a file, and print its results: ``mcsim run``.

    Raises
    ------
    typer.Exit
        With code 4, if an estimator fails often.
    """
    raise_all([] if reps is None else faults_of_reps(reps))
    console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True, emoji=False)
    if console.is_terminal:
        console.print(printable(f"reading {file}"), style="dim", markup=False)
    with _fits_kept_in(store, dry_run):
        loaded = load_study_file(file)
    reps = loaded.study.reps if reps is None else reps
    _print_plan(console, loaded, reps, seed, store)
    if dry_run:
        return
    results = run(
        loaded.study,
        reps=reps,
        seed=seed,
        store=store,
        workers=workers,
        progress=not quiet,
        accept_changes=accept_changes,
        source=file,
    )
    if quiet:
        say(str(store))
    else:
        say(f"\n{render(results_table(results), width=terminal_width())}\n\n{notes(results)}\n")
        _report(loaded, results, store)
        say(f"Results in {store}; again with: mcsim show {store}")
    if often_failing(results):
        raise typer.Exit(4)


def sample(
    file: Path,
    cell: str | None,
    reps: int,
    out: Path | None,
    seed: int,
    of_models: Mapping[str, Any],
) -> None:
    """Write the first samples of a cell of a study, and their truths: ``mcsim sample FILE.py``.

    ``mcsim run`` draws the same samples with this seed, bit by bit.

    Parameters
    ----------
    file : Path
        The study file.
    cell : str, optional
        The cell's hash, or its first letters; needed where there are several cells.
    reps : int
        Number of samples.
    out : Path
        Folder of the files ``r0000000.csv`` and so on, and of ``truth.csv``.
    seed : int
        Seed of the study.
    of_models : mapping of str to object
        Options for models alone, by their names; all must be None.
    """
    faults = [] if out is not None else ["--out: got none, expected a folder for the samples"]
    faults += [
        f"{name}: {file} is a study, whose design decides; leave the option out"
        for name, value in of_models.items()
        if value is not None
    ]
    raise_all(faults)
    folder = as_path("out", out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"--out: {folder} exists, expected an empty folder or a new name")
    study = load_study_file(file).study
    with tempfile.TemporaryDirectory(prefix="mcsim-") as scratch:
        home = Store.create(scratch)
        found = _cell_of(plan(study, seed, home), cell or "")
        raise_all(faults_of_reps(reps, {found.cell.dgp_name: found.cell.dgp}))
        computed = store_truths([found], home, WorkerPool(0))[found.hash].values
    known = {name: value for name, (value, _) in computed.items()}
    make_folder(folder)
    truths = []
    for rep, frame, truth in _samples(found, reps):
        frame.to_csv(folder / f"r{rep:07d}.csv")
        truths.append({"rep": rep, **known, **truth})
    pd.DataFrame(truths).to_csv(folder / "truth.csv", index=False)
    say(f"{reps:,} samples of cell {found.cell.name!r} in {folder}")


def _cell_of(plans: Sequence[CellPlan], cell: str) -> CellPlan:
    """Return the cell whose hash begins so."""
    found = [p for p in plans if p.hash.startswith(cell)]
    if len(found) != 1:
        known = "\n".join(f"  {p.hash[:12]}  {p.cell.name}" for p in plans)
        raise UnknownName(
            f"--cell: got {cell or 'none'}, expected one of (they depend on --seed)\n{known}"
        )
    return found[0]


def _samples(found: CellPlan, reps: int) -> Iterator[tuple[int, pd.DataFrame, dict[str, float]]]:
    """Yield replication, frame and truth of the samples of a cell, drawn in the run's chunks."""
    pool = WorkerPool(0)
    for first in range(0, reps, found.chunk):
        drawn, schema = draw(found, first, pool)
        truths = {name: np.broadcast_to(v, found.chunk) for name, v in drawn.truth.items()}
        for place in range(min(found.chunk, reps - first)):
            frame = to_frame(replications(drawn.panel, place), schema)
            yield first + place, frame, {name: float(v[place]) for name, v in truths.items()}


def _fits_kept_in(store: Path, dry_run: bool) -> AbstractContextManager:
    """Keep fits in the store, which is made if there is none; a dry run makes none."""
    if not dry_run:
        return model_cache(Store.create(store).models)
    there = Store.is_at(store)
    return model_cache(Store.open(store).models) if there else contextlib.nullcontext()


def _report(loaded: StudyFile, results: Results, store: Path) -> None:
    """Call the study file's ``report``, unless it stands already for this file and its results."""
    if loaded.report is None:
        return
    folder, source = store / "report", loaded.path.read_text(encoding="utf-8")
    about = {"study": digest(results.study), "file": digest({"source": source})}
    stamp = folder / "made_for.json"
    with contextlib.suppress(StoreError):  # none yet, or damaged
        if read_json(stamp) == about:
            say(f"Tables and figures in {folder}")
            return
    make_folder(folder)
    with model_cache(store / "models"):
        loaded.report(results, folder)
    write_json(stamp, about)


def _print_plan(console: Console, loaded: StudyFile, reps: int, seed: int, store: Path) -> None:
    study = loaded.study
    if study.aim:
        console.print(printable_lines(study.aim), markup=False)
    for name, dgp in study.dgps.items():
        line = ": ".join(filter(None, (f"  DGP {name}", described(dgp).summary)))
        console.print(printable(line), markup=False)
    console.print(printable(f"  estimators: {', '.join(study.methods)}"), markup=False)
    cells = len(study.cells())
    console.print(
        printable(f"  {cells} cells x {reps:,} replications, seed {seed}, store {store}"),
        markup=False,
    )


def terminal_width() -> int | None:
    """Columns of the terminal; None where the output goes to a file."""
    return max(80, Console().width) if sys.stdout.isatty() else None


def load_study_file(path: Path) -> StudyFile:
    """Import a study file and build its study.

    Study files are Python and run with the user's rights.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    InputError
        If there is no such file, it raises, or it defines no study.
    """
    if not path.is_file():
        raise InputError(f"file: {path} does not exist, expected a Python file with a study")
    module = _import(path)
    if not hasattr(module, "study"):
        raise InputError(
            f"file: {path} defines no 'study', expected study = mcsim.Study(...) or a function "
            "study() that returns one"
        )
    study = _step_of_file(path, module.study) if callable(module.study) else module.study
    if not isinstance(study, Study):
        raise InputError(
            f"file: 'study' in {path} is {type(study).__name__}, expected an mcsim.Study or a "
            "function that returns one"
        )
    report: Any = getattr(module, "report", None)
    if isinstance(report, ModuleType):  # mcsim.report, which the file imports
        report = None
    return StudyFile(path, study, report)


def _import(path: Path) -> ModuleType:
    name = f"mcsim_study_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"file: {path} cannot be imported, expected a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent.resolve()))
    cloudpickle.register_pickle_by_value(module)  # workers cannot import it by this name
    _step_of_file(path, lambda: spec.loader.exec_module(module))  # type: ignore[union-attr]
    return module


def _step_of_file(path: Path, step: Callable[[], Any]) -> Any:
    """Run a step of the user's file; an error becomes a sentence with its line."""
    try:
        return step()
    except (McsimError, KeyboardInterrupt):
        raise
    except BaseException as error:  # sys.exit() too: a run would end without a word
        raise InputError(f"{_place(path, error)}\n{type_and_message(error)}") from error


def _place(path: Path, error: BaseException) -> str:
    """Return the line of an error in the user's file, or in another that cannot be compiled."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        file = path if Path(error.filename).resolve() == path.resolve() else error.filename
        return f"{file}, line {error.lineno}: {(error.text or '').strip()}"
    frames = traceback.extract_tb(error.__traceback__)
    mine = [frame for frame in frames if Path(frame.filename).resolve() == path.resolve()]
    return f"{path}, line {mine[-1].lineno}: {mine[-1].line}" if mine else str(path)
