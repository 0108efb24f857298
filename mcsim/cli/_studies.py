"""The commands for studies, ``run``, ``show``, ``replay``, and the file that defines a study.

A study file is plain Python that defines ``study``, imported once by the command that runs it.
"""

import contextlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import cloudpickle
import typer
from rich.console import Console

from mcsim._core.keys import digest
from mcsim._core.protocols import described
from mcsim._results.failures import often_failing
from mcsim._results.open import open_results, other_studies
from mcsim._results.results import Results
from mcsim._results.store import Store
from mcsim._results.store_files import make_folder, read_json, write_json
from mcsim._run.replay import replay_text
from mcsim._run.run import run
from mcsim._run.study import Study, faults_of_reps
from mcsim.cli._app import app, in_sentences, say
from mcsim.errors import (
    InputError,
    McsimError,
    StoreError,
    printable,
    printable_lines,
    raise_all,
    type_and_message,
)
from mcsim.generators import model_cache
from mcsim.report import notes, render, results_table

StudyArgument = Annotated[Path, typer.Argument(metavar="FILE", help="Python file with a study.")]
StoreArgument = Annotated[Path, typer.Argument(metavar="STORE", help="Folder of results.")]


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


@app.command("run")
@in_sentences
def run_command(
    file: StudyArgument,
    reps: Annotated[
        int | None, typer.Option(min=1, help="Replications of every cell; default the study's.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")] = 0,
    store: Annotated[
        Path | None, typer.Option(help="Folder for the results; default results/<file's name>.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Worker processes and threads; default: the CPUs granted."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would run, and stop.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the store's name only.")] = False,
    accept_changes: Annotated[
        bool,
        typer.Option(
            "--accept-changes", help="Compute changed definitions beside those in the store."
        ),
    ] = False,
) -> None:
    """Run a study, or continue it: blocks in the store are not computed again."""
    raise_all([] if reps is None else faults_of_reps(reps))
    store = store or Path("results") / file.stem
    console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True, emoji=False)
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
        say(f"\n{render(results_table(results), width=_width())}\n\n{notes(results)}\n")
        _report(loaded, results, store)
        say(f"Results in {store}; again with: mcsim show {store}")
    if often_failing(results):
        raise typer.Exit(4)


@app.command("show")
@in_sentences
def show_command(
    store: StoreArgument,
    table: Annotated[str, typer.Option("--format", help="text, markdown or latex.")] = "text",
    measure: Annotated[
        list[str] | None, typer.Option(help="A measure to show; may be repeated.")
    ] = None,
    over: Annotated[
        str | None, typer.Option(help="Factor to average over; default generator.")
    ] = None,
    level: Annotated[
        float | None, typer.Option(help="Another confidence level than the study's.")
    ] = None,
    study: Annotated[
        str | None, typer.Option(help="Hash of a study in the store; default the one run last.")
    ] = None,
) -> None:
    """Show the results of a store as a table. The study's file is not needed, and not run."""
    home = Store.open(store)
    shown = home.find_study(study)
    results = open_results(store, study=shown, level=level)
    say(render(results_table(results, measures=measure, over=over), table, _width()))
    say(f"\n{notes(results, table)}")
    if study is None and (others := other_studies(home, shown)):
        say(others, err=True)


@app.command("replay")
@in_sentences
def replay_command(
    file: StudyArgument,
    store: Annotated[Path, typer.Option(help="Folder of results.")],
    cell: Annotated[str, typer.Option(help="The cell's hash, or its first letters.")],
    rep: Annotated[int, typer.Option(help="Number of the replication, from 0.")],
) -> None:
    """Redraw one sample of a study, show its data and every estimate on it."""
    with model_cache(Store.open(store).models):
        loaded = load_study_file(file)
    say(replay_text(loaded.study, store, cell, rep))


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
        line = printable(f"  DGP {name}: {described(dgp).summary}")
        console.print(line, markup=False)
    console.print(printable(f"  estimators: {', '.join(study.methods)}"), markup=False)
    cells = len(study.cells())
    console.print(
        printable(f"  {cells} cells x {reps:,} replications, seed {seed}, store {store}"),
        markup=False,
    )


def _width() -> int | None:
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
    return StudyFile(path, study, getattr(module, "report", None))


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
