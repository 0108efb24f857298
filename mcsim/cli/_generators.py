"""The commands for generators: ``fit``, ``fidelity``, ``sample``."""

import sys
import textwrap
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Any

import typer

import mcsim
from mcsim._core.keys import key as key_of
from mcsim._core.records import Panel
from mcsim._data import ending_of, require_ending
from mcsim._data.frames import from_frame, to_frame
from mcsim.cli._app import app, in_sentences, say
from mcsim.cli._frames import (
    WRITTEN,
    as_options,
    categories,
    is_complete,
    options_named,
    panel_for,
    read_frame,
    require_folder,
    schema_for,
    write_frame,
)
from mcsim.cli._usage import completes, trainer_of
from mcsim.errors import InputError, did_you_mean
from mcsim.generators import load, save

DEFAULT_KIND = "vae"
WIDTH = 100  # of what is printed

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
    _require_choice("--common-shocks", common_shocks, ("fixed", "redraw"))
    _require_missing(missing)
    options = {"common_shocks": common_shocks, "cluster": cluster, "missing": missing}
    trainer = trainer_of(kind, options)
    reading = _reading(sep, decimal, encoding, thousands, missing_values)
    frame = read_frame(data, reading)
    with options_named(completes=completes(trainer, time_ is not None)):
        panel, schema = from_frame(
            frame,
            unit,
            time_,
            columns=_split(columns),
            categorical=categories(frame, _split(categorical) or [], cluster),
            missing="keep" if missing == "model" else "error",
        )
    stem = data.name[: -len(ending_of(data))]
    out = out or Path(f"{stem}-{kind}.safetensors")
    _require_place(out)
    started = time.monotonic()
    with options_named():
        generator = trainer.fit(
            key_of(seed), panel, given=_split(given) or [], schema=schema, progress=not quiet
        )
    seconds = time.monotonic() - started
    with _writing(out):
        path = save(generator, out)
    if quiet:
        say(str(path))
        return
    say(f"{panel}\n\n{schema}\n\n{generator}")
    if time_ is not None and panel.n_periods == 1:
        say(f"There is one period in {time_!r}: the data were learned as a cross-section.")
    for caveat in getattr(generator, "caveats", ()):
        say(textwrap.fill(f"Caveat: {caveat}", WIDTH))
    say(f"\nFit in {seconds:.1f} s. Model in {path}; next:")
    if is_complete(panel):
        say(f"  mcsim fidelity {data} {path} {as_options(reading)}".rstrip())
    if not generator.given:
        say(f"  mcsim sample {path} -n {panel.n_units}")


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
    _require_order(data, model)
    generator = load(model)
    frame = read_frame(data, _reading(sep, decimal, encoding, thousands, missing_values))
    with options_named(then="drop units that have any: fidelity compares complete panels"):
        panel, schema = panel_for(frame, generator)
    name = type(generator.config).__name__
    one = panel.n_periods == 1
    of_panels = {"splits": splits, "replications": replications}
    options: dict[str, Any] = {n: value for n, value in of_panels.items() if value is not None}
    if one:
        _refuse_options(options)
        options = {"given": list(generator.given)}
    config, cluster = generator.config, getattr(generator.config, "cluster", None)
    if cluster is not None:  # units are compared one by one
        config, rest = replace(config, cluster=None), tuple(n for n in panel if n != cluster)
        panel, schema = panel.select(rest), schema.select(rest)
    trainers, key = {name: config}, key_of(seed)
    if out is not None:
        require_folder(out)
    table = mcsim.fidelity(panel, trainers, key=key, schema=schema, progress=True, **options)
    parts = "folds" if one else "half splits"
    say(
        f"{table}\n\n{name} is fit again on {parts}, with the configuration of {model}: the model "
        "itself saw all units."
    )
    if cluster is not None:
        say(f"It is fit, and units are compared, without the groups in {cluster!r}.")
    if out is not None:
        _write_fidelity(table, panel, generator, out)
        say(f"Table and figure in {out}")


@app.command("sample")
@in_sentences
def sample_command(
    model: ModelArgument,
    n_units: Annotated[int, typer.Option("-n", "--units", min=1, help="Units to draw.")],
    out: Annotated[
        Path | None, typer.Option(help="CSV or Parquet file; default CSV to standard output.")
    ] = None,
    periods: Annotated[
        int | None, typer.Option(min=1, help="Periods to draw; default as in the data.")
    ] = None,
    seed: Seed = 0,
    common_shocks: Shocks = None,
) -> None:
    """Draw a panel from a model, as a long frame with the names of the data."""
    _require_choice("--common-shocks", common_shocks, ("fixed", "redraw"))
    if out is not None:
        require_ending(out, WRITTEN, "--out")
    generator = load(model)
    if generator.given:
        raise InputError(
            f"{model}: was fit given {list(generator.given)}, which the command line cannot give; "
            "in Python: mcsim.generators.load(path).sample(key, n_units, given={...})"
        )
    if common_shocks is not None:
        generator = _with_shocks(generator, common_shocks)
    with options_named():
        panel = generator.sample(key_of(seed), n_units, *_periods(generator, periods))
    frame = to_frame(panel, schema_for(generator.schema, panel.n_periods))
    if out is None:
        frame.to_csv(sys.stdout)
        return
    write_frame(frame, out)
    say(f"{panel} in {out}")


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


def _require_place(path: Path) -> None:
    """Try to write beside a file that is to be: a fit is not to be lost in the end."""
    if path.is_dir():
        raise InputError(f"--out: {path} is a folder, expected a file such as model.safetensors")
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path.parent):
            pass


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        raise InputError(f"--out: {path} cannot be written: {fault}") from None


def _write_fidelity(table: Any, panel: Panel, generator: Any, folder: Path) -> None:
    from mcsim import plots  # matplotlib is slow to import

    name = type(generator.config).__name__
    if panel.n_periods > 1:
        figure = plots.fidelity(table, generator=name)
    else:
        given = {column: panel[column] for column in generator.given}
        drawn = generator.sample(key_of(0), panel.n_units, given=given)
        figure = plots.marginals(panel, drawn, generator.schema)
    try:
        (folder / "fidelity.md").write_text(table.to_markdown() + "\n", encoding="utf-8")
        figure.savefig(folder / "fidelity.png", dpi=100)
    except OSError as fault:
        raise InputError(f"--out: {folder} cannot be written: {fault}") from None


def _with_shocks(generator: Any, common_shocks: str) -> Any:
    if _is_cross_section(generator):
        raise InputError("--common-shocks: the model is of a cross-section, which has none")
    return generator.with_shocks(common_shocks)


def _require_order(data: Path, model: Path) -> None:
    if ending_of(model) and not ending_of(data):
        raise InputError(
            f"data and model: got {data}, then {model}; are they swapped? The data come first: "
            f"mcsim fidelity {model} {data}"
        )


def _require_choice(option: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise InputError(f"{option}: got {value!r}{did_you_mean(value, known)}")


def _require_missing(value: str | None) -> None:
    if value is not None and value not in (known := ("error", "model")):
        raise InputError(
            f"--missing: got {value!r}{did_you_mean(value, known)}; if it stands for a missing "
            f"value in the data, pass {as_options({'missing_values': [value]})}"
        )


def _refuse_options(names: Collection[str]) -> None:
    if names:
        raise InputError(
            f"{' and '.join(f'--{name}' for name in names)}: the model is of a cross-section, of "
            "which every fifth of the rows is held out in turn; leave out what is for panels"
        )


def _periods(generator: Any, periods: int | None) -> tuple[int, ...]:
    """Return the argument of `sample`, which not all generators of cross-sections have."""
    if periods is None:
        return ()
    if not _is_cross_section(generator):
        return (periods,)
    if periods > 1:
        raise InputError(f"--periods: got {periods}, but the model is of a cross-section")
    return ()


def _is_cross_section(generator: Any) -> bool:
    return getattr(generator, "n_periods", 1) == 1
