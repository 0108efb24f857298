"""The work of ``mcsim show``, ``report`` and ``replay``: what a store, or a table, holds."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from mcsim._data.files import ENDINGS, ending_of
from mcsim._results.display import label
from mcsim._results.open import open_results, other_studies
from mcsim._results.read_replications import read_replications
from mcsim._results.results import Results
from mcsim._results.store import Store
from mcsim._run.replay import replay_text
from mcsim.cli._app import say
from mcsim.cli._frames import OPTIONS, read_frame
from mcsim.cli._studies import load_study_file, terminal_width
from mcsim.errors import Fault, InputError, UnknownName, did_you_mean, message_of, raise_all
from mcsim.generators import model_cache
from mcsim.report import notes, render, results_table, write_html

_LISTED = 20  # cells, and reasons of failures

_WORDS = {
    **OPTIONS,
    "only": lambda value: f"--only {shlex.quote(value)}",
    "by": lambda _: "--by",
    "roles": lambda named: " ".join(f"--{role} {name}" for role, name in named.items()),
}
"""Words for the options that remedies name."""

_ROLES = ("value", "se", "truth", "estimator", "rep", "by")


def show(
    store: Path,
    table: str,
    measures: Sequence[str] | None,
    over: str | None,
    level: float | None,
    study: str | None,
) -> None:
    """Print the results in a store as a table: ``mcsim show``."""
    home = Store.open(store)
    shown = home.find_study(study)
    results = open_results(store, study=shown, level=level)
    say(render(results_table(results, measures=measures, over=over), table, terminal_width()))
    say(f"\n{notes(results, table)}")
    if study is None and (others := other_studies(home, shown)):
        say(others, err=True)


def report(
    results: Path,
    out: Path | None,
    level: float | None,
    study: str | None,
    only: Sequence[str],
    of_table: Mapping[str, Any],
    reading: Mapping[str, Any],
) -> None:
    """Write the page of a store, or of a file of replications, and print where it is.

    Parameters
    ----------
    results : Path
        Folder of a store, or a file with one row per replication.
    out : Path, optional
        The page; default ``report.html`` in the store, or beside the file under its name.
    level : float, optional
        Another confidence level than the study's; of a file, its level.
    study : str, optional
        Hash of a study in the store.
    only : sequence of str
        ``factor=value`` of the cells to keep.
    of_table : mapping of str to object
        Options of `read_replications` for a file; None where not given.
    reading : mapping of str to object
        Options of `read_table` for a file; None where not given.

    Raises
    ------
    InputError
        If a file is of another kind than those of replications, or an option is for the other kind
        of results.
    StoreError
        If a folder is no store, or holds no replications.
    """
    is_store, others = results.is_dir() or not ending_of(results), ""
    given = [name for name, value in {**of_table, **reading}.items() if value]
    with _as_typed():
        if is_store:
            raise_all([f"--{name}: {results} is a store, leave it out" for name in given])
            home = Store.open(results)
            shown = home.find_study(study)
            opened = open_results(results, study=shown, level=level)
            page = results / "report.html"
            others = other_studies(home, shown) if study is None else ""
        else:
            endings = ", ".join(ENDINGS)
            raise_all([f"--study: {results} is a file ({endings}), not a store"] if study else [])
            opened = _read(results, 0.95 if level is None else level, of_table, reading)
            page = results.with_name(f"{results.stem}.html")
        store = results if is_store else None
        written = write_html(_kept(opened, only), out or page, store=store)
    if others:
        say(others, err=True)
    say(f"Report in {written}")


def _read(
    file: Path, level: float, of_table: Mapping[str, Any], reading: Mapping[str, Any]
) -> Results:
    """Read replications; a truth that is a number is the value itself.

    Several columns of estimates, with commas between them, are several estimators.
    """
    options = {name: value for name, value in of_table.items() if value is not None}
    if "," in options.get("value", ""):
        several = {name: options[name].split(",") for name in ("value", "se") if name in options}
        options |= {name: [part.strip() for part in parts] for name, parts in several.items()}
    with suppress(KeyError, ValueError):
        options["truth"] = float(options["truth"])
    return read_replications(read_frame(file, reading), level=level, **options)


def _kept(results: Results, only: Sequence[str]) -> Results:
    """Return the results of the cells that have these values of factors."""
    for words in only:
        name, _, value = words.partition("=")
        if name not in ("dgp", *results.factors):
            known = did_you_mean(name, ["dgp", *results.factors])
            raise InputError(f"--only: got {words!r}, expected FACTOR=VALUE{known}")
        rows, failures = results.replicates, results.failures
        kept = [known for known in dict.fromkeys(rows[name]) if _is_value(known, value)]
        if not kept:
            values = ", ".join(map(label, list(dict.fromkeys(rows[name]))[:_LISTED]))
            raise InputError(f"--only: got {words!r}, expected one of the values {values}")
        parts = {"replicates": rows, "failures": failures}
        results = replace(results, **{n: part[part[name].isin(kept)] for n, part in parts.items()})
    return results


def _is_value(known: Any, typed: str) -> bool:
    """Return whether a value of a factor is the one that was typed; 0.0 may be typed as 0."""
    if label(known) == typed:
        return True
    with suppress(ValueError):
        return isinstance(known, int | float) and float(typed) == known
    return False


@contextmanager
def _as_typed() -> Iterator[None]:
    """Let messages name options of the command line in place of Python's arguments."""
    names = {name: f"--{name}" for name in _ROLES}
    try:
        yield
    except InputError as fault:
        faults = (one if isinstance(one, Fault) else Fault(one) for one in fault.faults)
        fault.args = (message_of([one.worded(_WORDS, names) for one in faults]),)
        raise


def replay(file: Path, store: Path | None, cell: str | None, rep: int | None) -> None:
    """Print a redrawn sample and the estimates on it, or what there is to replay."""
    folder = store or (file if file.is_dir() else Path("results") / file.stem)
    if cell is None or rep is None:
        say(_to_replay("FILE" if file.is_dir() else str(file), folder, cell or ""))
        return
    if file.is_dir():
        raise InputError(
            f"FILE: {file} is a folder, expected the study file: "
            f"mcsim replay FILE --store {shlex.quote(str(file))} --cell {cell} --rep {rep}"
        )
    with model_cache(Store.open(folder).models):
        loaded = load_study_file(file)
    say(replay_text(loaded.study, folder, cell, rep))


def _to_replay(file: str, store: Path, cell: str) -> str:
    """Return the cells whose hash begins so, and the first failure of each kind, as text."""
    results = open_results(store)
    cells = [about for about in results.study["cells"] if about["hash"].startswith(cell)]
    if not cells:
        known = ", ".join(about["hash"][:12] for about in results.study["cells"][:_LISTED])
        raise UnknownName(f"--cell: got {cell!r}, expected the first letters of one of {known}")
    named = {about["hash"][:12]: _name(about) for about in cells}
    shown = [f"  {hash_}  {name}" for hash_, name in list(named.items())[:_LISTED]]
    lines = ["Cells:", *shown, *_and_more(len(named)), ""]
    failed = results.failures[results.failures["cell"].isin(named)]
    if failed.empty:
        command = _command(file, store, next(iter(named)), 0)
        return "\n".join(
            [*lines, "No replication failed. To replay the first one:", f"  {command}"]
        )
    lines.append("Failures, and the first replication of each kind:")
    for place in range(min(len(failed), _LISTED)):
        one = failed.iloc[place]
        where = f"{one['estimator']} in {named[one['cell']]}"
        counts = f"{one['replications']:,} of {one['of']:,}"
        lines += [
            f"  {where}, {counts}: {': '.join(filter(None, [one['status'], one['reason']]))}",
            f"    {_command(file, store, one['cell'], int(one['first_rep']))}",
        ]
    return "\n".join([*lines, *_and_more(len(failed))])


def _name(cell: Mapping[str, Any]) -> str:
    return " ".join([cell["dgp"], *(f"{k}={label(v)}" for k, v in cell["design"].items())])


def _and_more(number: int) -> list[str]:
    return [f"  and {number - _LISTED:,} more"] if number > _LISTED else []


def _command(file: str, store: Path, cell: str, rep: int) -> str:
    folder = shlex.quote(str(store))
    return f"mcsim replay {shlex.quote(file)} --store {folder} --cell {cell} --rep {rep}"
