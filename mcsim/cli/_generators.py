"""The work of ``mcsim fit``, ``fidelity`` and ``sample``."""

import sys
import textwrap
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import mcsim
from mcsim._core.keys import key as key_of
from mcsim._core.records import Panel
from mcsim._data import ending_of, require_ending
from mcsim._data.frames import from_frame, to_frame
from mcsim.cli._app import say
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
from mcsim.errors import InputError, did_you_mean, raise_all
from mcsim.generators import load, save

WIDTH = 100  # of what is printed


def fit(
    data: Path,
    unit: str | None,
    time_: str | None,
    kind: str,
    out: Path | None,
    *,
    columns: Sequence[str] | None,
    categorical: Sequence[str],
    given: Sequence[str],
    seed: int,
    options: Mapping[str, str | None],
    quiet: bool,
    reading: Mapping[str, Any],
) -> None:
    """Fit a generator to a file, and save it: ``mcsim fit``.

    Parameters
    ----------
    options : mapping of str to str
        Options of the trainer; those that are None stay at their default.
    reading : mapping of str to value
        Arguments of `read_table`.
    """
    _require_choice("--common-shocks", options["common_shocks"], ("fixed", "redraw"))
    _require_missing(options["missing"])
    trainer = trainer_of(kind, options)
    frame = read_frame(data, reading)
    with options_named(completes=completes(trainer, time_ is not None)):
        panel, schema = from_frame(
            frame,
            unit,
            time_,
            columns=columns,
            categorical=categories(frame, categorical, options["cluster"]),
            missing="keep" if options["missing"] == "model" else "error",
        )
    out = out or Path(f"{data.name[: -len(ending_of(data))]}-{kind}.safetensors")
    _require_place(out)
    started = time.monotonic()
    with options_named():
        generator = trainer.fit(key_of(seed), panel, given=given, schema=schema, progress=not quiet)
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


def compare(
    data: Path,
    model: Path,
    seed: int,
    out: Path | None,
    *,
    of_panels: Mapping[str, int],
    outcome: Sequence[str] | None,
    details: bool,
    reading: Mapping[str, Any],
) -> None:
    """Print how close a model is to data, beside reference generators: ``mcsim fidelity``.

    Parameters
    ----------
    of_panels : mapping of str to int
        Options of `mcsim.fidelity` that a cross-section does not have.
    outcome : sequence of str, optional
        As in `mcsim.fidelity`.
    details : bool
        Whether to print all measures.
    reading : mapping of str to value
        Arguments of `read_table`.
    """
    _require_order(data, model)
    generator = load(model)
    frame = read_frame(data, reading)
    with options_named(then="drop units that have any: fidelity compares complete panels"):
        panel, schema = panel_for(frame, generator)
    name = type(generator.config).__name__
    one = panel.n_periods == 1
    if one:
        _refuse_options(of_panels)
    options: dict[str, Any] = {"given": list(generator.given)} if one else dict(of_panels)
    if outcome is not None:
        options["outcome"] = outcome
    config, cluster = generator.config, getattr(generator.config, "cluster", None)
    if cluster is not None:  # units are compared one by one
        config, rest = replace(config, cluster=None), tuple(n for n in panel if n != cluster)
        panel, schema = panel.select(rest), schema.select(rest)
    trainers, key = {name: config}, key_of(seed)
    if out is not None:
        require_folder(out)
    table = mcsim.fidelity(panel, trainers, key=key, schema=schema, progress=True, **options)
    parts = "folds" if one else "half splits"
    shown = table.details() if details else str(table)
    say(
        f"{shown}\n\n{name} is fit again on {parts}, with the configuration of {model}: the model "
        "itself saw all units."
    )
    if cluster is not None:
        say(f"It is fit, and units are compared, without the groups in {cluster!r}.")
    if out is not None:
        _write_fidelity(table, panel, generator, out)
        say(f"Table and figure in {out}")


def sample(
    model: Path,
    n_units: int,
    out: Path | None,
    periods: int | None,
    seed: int,
    common_shocks: str | None,
) -> None:
    """Draw a panel from a model, and write or print its frame: ``mcsim sample``."""
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
    name = type(generator.config).__name__
    if panel.n_periods > 1:
        figure = mcsim.plots.fidelity(table, generator=name)
    else:
        given = {column: panel[column] for column in generator.given}
        drawn = generator.sample(key_of(0), panel.n_units, given=given)
        figure = mcsim.plots.marginals(panel, drawn, generator.schema)
    try:
        (folder / "fidelity.md").write_text(
            table.to_markdown(details=True) + "\n", encoding="utf-8"
        )
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


def units_of_a_model(n_units: int | None, of_studies: Mapping[str, Any]) -> int:
    """Return the number of units, or raise if there is none, or an option of studies is given."""
    faults = [] if n_units is not None else ["-n: got none, expected the number of units to draw"]
    faults += [
        f"{name}: is an option of studies, mcsim sample FILE.py, not of models; leave it out"
        for name, value in of_studies.items()
        if value is not None
    ]
    raise_all(faults)
    return n_units or 0


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
