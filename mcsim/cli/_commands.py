"""The commands and their options: what ``mcsim --help`` shows, and where each command is done.

Help needs neither JAX nor pandas. What does the work is imported by the command that is called.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from mcsim.cli._app import app, in_sentences, waiting_for

StudyArgument = Annotated[Path, typer.Argument(metavar="FILE", help="Python file with a study.")]
StoreArgument = Annotated[Path, typer.Argument(metavar="STORE", help="Folder of results.")]
DataArgument = Annotated[
    Path, typer.Argument(metavar="DATA", help="File: .csv, .tsv, either with .gz, .parquet, .dta.")
]
ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="File that fit wrote.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")]
Sep = Annotated[str | None, typer.Option(help="Separator of a text file, such as ';'.")]
Decimal = Annotated[str | None, typer.Option(help="Decimal sign of a text file, such as ','.")]
Encoding = Annotated[str | None, typer.Option(help="Encoding of a text file, such as latin-1.")]
Thousands = Annotated[
    str | None, typer.Option(help="Separator of thousands in a text file, such as ','.")
]
MissingValues = Annotated[
    list[str] | None, typer.Option(help="Text for a missing value in the data.")
]
Shocks = Annotated[
    str | None,
    typer.Option(help="Means of the periods: fixed, as in the data; or redraw, drawn anew."),
]
DEFAULT_KIND = "vae"


@app.command("run")
@in_sentences
def run_command(
    file: StudyArgument,
    reps: Annotated[
        int | None, typer.Option(min=1, help="Replications of every cell; default the study's.")
    ] = None,
    seed: Seed = 0,
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
    with waiting_for("starting mcsim", shown=not quiet):
        from mcsim.cli import _studies

    _studies.run_file(
        file,
        reps,
        seed,
        store or Path("results") / file.stem,
        workers,
        dry_run=dry_run,
        quiet=quiet,
        accept_changes=accept_changes,
    )


@app.command("show")
@in_sentences
def show_command(
    store: StoreArgument,
    table: Annotated[
        str, typer.Option("--format", help="text, markdown, latex, html or csv.")
    ] = "text",
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
    from mcsim.cli import _reports

    _reports.show(store, table, measure, over, level, study)


@app.command("report")
@in_sentences
def report_command(
    results: Annotated[
        Path,
        typer.Argument(metavar="STORE", help="Folder of results, or a file of replications."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="File of the page; default report.html in the store.")
    ] = None,
    level: Annotated[
        float | None, typer.Option(help="Another confidence level than the study's.")
    ] = None,
    study: Annotated[
        str | None, typer.Option(help="Hash of a study in the store; default the one run last.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="FACTOR=VALUE of the cells to keep; may be repeated.")
    ] = None,
    value: Annotated[
        str | None, typer.Option(help="Of a file: column of estimates, or one per estimator: a,b.")
    ] = None,
    se: Annotated[
        str | None, typer.Option(help="Of a file: column of standard errors, or several.")
    ] = None,
    truth: Annotated[
        str | None, typer.Option(help="Of a file: the true value, or its column.")
    ] = None,
    estimator: Annotated[
        str | None, typer.Option(help="Of a file: column that names the estimators.")
    ] = None,
    rep: Annotated[
        str | None, typer.Option(help="Of a file: column that numbers the replications.")
    ] = None,
    by: Annotated[list[str] | None, typer.Option(help="Of a file: columns of the design.")] = None,
    sep: Sep = None,
    decimal: Decimal = None,
    encoding: Encoding = None,
    thousands: Thousands = None,
    missing_values: MissingValues = None,
) -> None:
    """Write the results as one page of HTML, which needs no network and no study file."""
    from mcsim.cli import _reports

    of_table = {
        "value": value, "se": se, "truth": truth, "estimator": estimator, "rep": rep,
        "by": _split(by),
    }  # fmt: skip
    reading = _reading(sep, decimal, encoding, thousands, missing_values)
    _reports.report(results, out, level, study, only or [], of_table, reading)


@app.command("check")
@in_sentences
def check_command(
    file: StudyArgument,
    seed: Seed = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Draw one sample of every cell and run every estimator on it once; nothing is stored.

    The exit code is 0 if all is well, 2 if there are faults, 4 if only some estimates failed.
    """
    from mcsim.cli import _checks

    _checks.check(file, seed, as_json=as_json)


@app.command("replay")
@in_sentences
def replay_command(
    file: StudyArgument,
    store: Annotated[
        Path | None, typer.Option(help="Folder of results; default results/<file's name>.")
    ] = None,
    cell: Annotated[str | None, typer.Option(help="The cell's hash, or its first letters.")] = None,
    rep: Annotated[int | None, typer.Option(help="Number of the replication, from 0.")] = None,
) -> None:
    """Redraw one sample of a study, show its data and every estimate on it.

    Without --cell or --rep the cells are listed, with a replication of each kind of failure.
    """
    from mcsim.cli import _reports

    _reports.replay(file, store, cell, rep)


@app.command("fit")
@in_sentences
def fit_command(
    data: DataArgument,
    unit: Annotated[str | None, typer.Option(help="Column of units.")] = None,
    time_: Annotated[str | None, typer.Option("--time", help="Column of periods.")] = None,
    kind: Annotated[str, typer.Option(help="Kind of generator, such as vae.")] = DEFAULT_KIND,
    out: Annotated[Path | None, typer.Option(help="File of the model.")] = None,
    columns: Annotated[
        list[str] | None, typer.Option(help="Columns to learn; default all others.")
    ] = None,
    categorical: Annotated[
        list[str] | None, typer.Option(help="Columns that are categories.")
    ] = None,
    given: Annotated[
        list[str] | None, typer.Option(help="Columns of a cross-section to condition on.")
    ] = None,
    seed: Seed = 0,
    common_shocks: Shocks = None,
    cluster: Annotated[
        str | None, typer.Option(help="Column with the group above the unit.")
    ] = None,
    missing: Annotated[
        str | None, typer.Option(help="Missing cells: error, or model to complete them.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the file's name only.")] = False,
    sep: Sep = None,
    decimal: Decimal = None,
    encoding: Encoding = None,
    thousands: Thousands = None,
    missing_values: MissingValues = None,
) -> None:
    """Fit a generator to data, and save it."""
    from mcsim.cli import _generators

    _generators.fit(
        data,
        unit,
        time_,
        kind,
        out,
        columns=_split(columns),
        categorical=_split(categorical) or [],
        given=_split(given) or [],
        seed=seed,
        options={"common_shocks": common_shocks, "cluster": cluster, "missing": missing},
        quiet=quiet,
        reading=_reading(sep, decimal, encoding, thousands, missing_values),
    )


@app.command("fidelity")
@in_sentences
def fidelity_command(
    data: DataArgument,
    model: ModelArgument,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for the table and a figure.")] = None,
    splits: Annotated[
        int | None, typer.Option(min=2, show_default="20", help="Half splits of a panel's units.")
    ] = None,
    replications: Annotated[
        int | None,
        typer.Option(min=20, show_default="1000", help="Placebo laws on generated panels."),
    ] = None,
    outcome: Annotated[
        list[str] | None,
        typer.Option(help="Outcomes, separated by commas: name them where there is a treatment."),
    ] = None,
    details: Annotated[bool, typer.Option("--details", help="Print all measures.")] = False,
    sep: Sep = None,
    decimal: Decimal = None,
    encoding: Encoding = None,
    thousands: Thousands = None,
    missing_values: MissingValues = None,
) -> None:
    """Measure how close a model is to data, beside reference generators.

    The model was fit to all units of the data, so that none is left to compare with: its
    configuration is fit again on random halves of the units (of a cross-section, on all rows but a
    fold).
    """
    from mcsim.cli import _generators

    of_panels = {"splits": splits, "replications": replications}
    _generators.compare(
        data,
        model,
        seed,
        out,
        of_panels={name: value for name, value in of_panels.items() if value is not None},
        outcome=_split(outcome),
        details=details,
        reading=_reading(sep, decimal, encoding, thousands, missing_values),
    )


@app.command("sample")
@in_sentences
def sample_command(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="File that fit wrote, or Python file with a study."),
    ],
    n_units: Annotated[
        int | None, typer.Option("-n", "--units", min=1, help="Units to draw from a model.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="CSV or Parquet file, default CSV to standard output; of a study, folder."
        ),
    ] = None,
    periods: Annotated[
        int | None, typer.Option(min=1, help="Periods to draw; default as in the data.")
    ] = None,
    seed: Seed = 0,
    common_shocks: Shocks = None,
    cell: Annotated[
        str | None, typer.Option(help="Hash of a study's cell, or its first letters.")
    ] = None,
    reps: Annotated[
        int | None, typer.Option(min=1, help="Samples of the cell to draw, default 1.")
    ] = None,
) -> None:
    """Draw a panel from a model, or the samples of a cell of a study, one file for each."""
    if model.suffix == ".py":
        from mcsim.cli import _studies

        given = {"-n": n_units, "--periods": periods, "--common-shocks": common_shocks}
        _studies.sample(model, cell, 1 if reps is None else reps, out, seed, given)
        return
    from mcsim.cli import _generators

    units = _generators.units_of_a_model(n_units, {"--cell": cell, "--reps": reps})
    _generators.sample(model, units, out, periods, seed, common_shocks)


def _split(names: list[str] | None) -> Any:
    """Take names apart at commas; None stays None for columns, an empty list is none."""
    if names is None:
        return None
    return [part.strip() for name in names for part in name.split(",") if part.strip()]


def _reading(
    sep: str | None,
    decimal: str | None,
    encoding: str | None,
    thousands: str | None,
    missing_values: list[str] | None,
) -> dict[str, Any]:
    """Return the arguments of `read_table` that are given."""
    options = {"sep": sep, "decimal": decimal, "encoding": encoding, "thousands": thousands}
    options["missing_values"] = _split(missing_values)
    return {name: value for name, value in options.items() if value is not None}
