"""The commands for studies: ``run``, ``show``, ``replay``."""

import contextlib
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mcsim._core.keys import digest
from mcsim._results.failures import often_failing
from mcsim._results.open import open_results, other_studies
from mcsim._results.results import Results
from mcsim._results.store import Store
from mcsim._results.store_files import make_folder, read_json, write_json
from mcsim._run.replay import replay_text
from mcsim._run.run import run
from mcsim._run.study import faults_of_reps
from mcsim._run.study_file import StudyFile, load_study_file
from mcsim.cli._app import app, in_sentences, say
from mcsim.errors import StoreError, printable, printable_lines, raise_all
from mcsim.generators import model_cache
from mcsim.report import notes, render, results_table

StudyArgument = Annotated[Path, typer.Argument(metavar="FILE", help="Python file with a study.")]
StoreArgument = Annotated[Path, typer.Argument(metavar="STORE", help="Folder of results.")]


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
    """Run a study, or continue it: what the store holds is not computed again."""
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
        line = printable(f"  DGP {name}: {getattr(dgp, 'summary', '')}")
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
