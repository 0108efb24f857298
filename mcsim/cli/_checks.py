"""The work of ``mcsim check``: one sample of every cell, every estimator on it once, no store.

A check goes on after a fault, so that all faults of a study file are reported together.
"""

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import typer

from mcsim._core.keys import Stream, cell_key, replication_keys, root_key, stream_key
from mcsim._core.protocols import described
from mcsim._core.records import SUCCESSES
from mcsim._host.host import HostDGP
from mcsim._host.payload import Payload
from mcsim._host.pool import WorkerPool
from mcsim._host.worker import draw_piece
from mcsim._run.chunks import Drawn, on_device
from mcsim._run.compiled import draw_chunk
from mcsim._run.evaluate import evaluate, rows_of, words_of
from mcsim._run.study import Cell, Study
from mcsim.cli._app import say
from mcsim.cli._studies import load_study_file
from mcsim.errors import McsimError, raise_all, type_and_message

SOME_FAILED = 4
"""The exit code if estimators failed on their one sample, and all else is well."""


class Finding(NamedTuple):
    """What a check found of an estimator in a cell, or of the cell's DGP.

    Attributes
    ----------
    cell : str
    estimator : str
        Empty where the DGP could not draw.
    estimates : list of dict
        estimand, inference, value, se, truth and status, each.
    fault : str
        Why nothing was estimated; empty if something was.
    failure : str
        The status of a failure on this sample, with its reason.
    """

    cell: str
    estimator: str
    estimates: list[dict[str, Any]]
    fault: str = ""
    failure: str = ""


def check(file: Path, seed: int, *, as_json: bool) -> None:
    """Check the study of a file, and print what is wrong: ``mcsim check``.

    Raises
    ------
    InputError
        With all faults of the study.
    typer.Exit
        With code 2 for faults, where JSON is printed; with 4 if estimators failed.
    """
    faults, found, said = _checked(file, seed)
    failures = [finding.failure for finding in found if finding.failure]
    if as_json:
        content = {
            "file": str(file),
            "ok": not faults and not failures,
            "faults": faults,
            "failures": failures,
            "warnings": said,
            "estimates": [
                {"cell": f.cell, "estimator": f.estimator, **row}
                for f in found
                for row in f.estimates
            ],
        }
        typer.echo(json.dumps(content, indent=1, allow_nan=False))
        if faults:
            raise typer.Exit(2)
    else:
        for line in (*said, *failures):
            say(line, err=True)
        raise_all(faults)
        cells = len({finding.cell for finding in found})
        say(f"{file}: {cells:,} cells drawn once, {len(found):,} estimates made; nothing is stored")
    if failures:
        raise typer.Exit(SOME_FAILED)


def _checked(file: Path, seed: int) -> tuple[list[str], list[Finding], list[str]]:
    """Return the faults of a study file, what was found, and the warnings on the way."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        try:
            study = load_study_file(file).study
            found = list(findings(study, seed))
        except McsimError as error:
            return list(map(str, error.faults)) or [str(error)], [], []
    faults = [finding.fault for finding in found if finding.fault]
    said = [str(w.message) for w in caught if issubclass(w.category, UserWarning)]
    return list(dict.fromkeys(faults)), found, list(dict.fromkeys(said))


def findings(study: Study, seed: int) -> Iterator[Finding]:
    """Yield what every estimator gives on replication 0 of every cell.

    Parameters
    ----------
    study : Study
        The study.
    seed : int
        Seed of the samples, which are the first that a run with this seed draws.
    """
    root, pool = root_key(seed), WorkerPool(0)
    for cell in study.cells():
        key = cell_key(root, cell.dgp_name, cell.design)
        drawn, fault = _tried(lambda cell=cell, key=key: draw_one(cell, key))
        if drawn is None:
            yield Finding(cell.name, "", [], f"dgp {cell.dgp_name!r}, cell {cell.name!r}: {fault}")
            continue
        for name, estimator in study.methods.items():
            where = f"estimator {name!r}, cell {cell.name!r}"
            rows, fault = _tried(
                lambda name=name, e=estimator, key=key, d=drawn: _estimates(name, e, key, d, pool)
            )
            if rows is None:
                yield Finding(cell.name, name, [], f"{where}: {fault}")
                continue
            failed = [row for row in rows[0] if row["status"] not in SUCCESSES]
            why = ": ".join(filter(None, [failed[0]["status"], rows[1]])) if failed else ""
            yield Finding(cell.name, name, rows[0], failure=f"{where}: {why}" if why else "")


def _tried(step: Callable[[], Any]) -> tuple[Any, str]:
    """Return what a step of the user's code gives, or None and the exception in words."""
    try:
        return step(), ""
    except McsimError as error:
        return None, str(error)
    except Exception as error:
        return None, type_and_message(error)


def draw_one(cell: Cell, key: jax.Array, rep: int = 0) -> Drawn:
    """Draw one replication of a cell, as a batch of one.

    Parameters
    ----------
    cell : Cell
        The cell.
    key : key
        The cell's key.
    rep : int
        Number of the replication.
    """
    keys = _keys(key, Stream.DGP, rep)
    if not isinstance(cell.dgp, HostDGP):
        sample = draw_chunk(cell.dgp_name, cell.dgp, keys, cell.seen)
        return sample, described(cell.dgp).schema
    return on_device(*draw_piece(Payload(cell.dgp), cell.seen, words_of(keys), [rep]))


def _keys(key: jax.Array, stream: Stream, rep: int) -> Any:
    return replication_keys(stream_key(key, stream), np.arange(rep, rep + 1, dtype=np.uint32))


def _estimates(
    name: str,
    estimator: Any,
    key: jax.Array,
    drawn: Drawn,
    pool: WorkerPool,
) -> tuple[list[dict[str, Any]], str]:
    """Return the estimates of one estimator on one sample, and the reason if it failed."""
    sample, schema = drawn
    keys = _keys(key, Stream.ESTIMATOR, 0)
    done = evaluate(name, estimator, keys, sample.panel, schema, pool=pool)
    single = next(iter(sample.truth), "estimate") if len(sample.truth) == 1 else "estimate"
    rows = rows_of(done, np.array([0]), single)
    truths = {name: float(np.ravel(value)[0]) for name, value in sample.truth.items()}
    found = [
        {
            "estimand": str(row["estimand"]),
            "inference": str(row["inference"]),
            "value": _number(row["value"]),
            "se": _number(row["se"]),
            "truth": _number(truths.get(str(row["estimand"]), np.nan)),
            "status": str(row["status"]),
        }
        for row in rows.to_dict("records")
    ]
    return found, done.outcomes[0].reason if done.outcomes else ""


def _number(value: float) -> float | None:
    """Return a number as JSON has it: none for NaN and infinity."""
    return float(value) if np.isfinite(value) else None
