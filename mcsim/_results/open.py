"""Opening a store: the rows, truths, notes and failures of one of its studies, and its caveats.

Nothing of the store is executed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mcsim._core.calls import with_remedies
from mcsim._core.protocols import faults_of_level
from mcsim._results.caveats import (
    limits_left_behind,
    note_sentences,
    out_of_reach,
    remarks_on_mended,
)
from mcsim._results.failures import COLUMNS, failures_of
from mcsim._results.results import GENERAL_CAVEATS, Results, factors_of
from mcsim._results.store import Store
from mcsim._results.store_files import is_there, missing
from mcsim._results.store_records import NotesRecord, TruthRecord
from mcsim._results.study_rows import rows_of_study
from mcsim.errors import StoreError, raise_all, warn
from mcsim.measures._replications import complete_intervals


@with_remedies()
def open_results(
    path: str | Path, *, study: str | None = None, level: float | None = None
) -> Results:
    """Open the results of a study from its store. Nothing of the store is executed.

    Parameters
    ----------
    path : path
        Folder of the store.
    study : str, optional
        Hash of the study, or its first letters; default the study that was run last.
    level : float, optional
        Another confidence level than the study's. An estimator's own limits stay as they are.

    Returns
    -------
    Results
        Its caveats name the estimates whose own limits or p-values are not at the level and null
        that the tables state.

    Warns
    -----
    UserWarning
        For estimates whose own limits stay at the study's level, where another one is asked for.

    Raises
    ------
    StoreError
        If the folder is no store, holds no run or no replication yet, or is damaged.
    UnknownName
        If it holds no such study.
    """
    store = Store.open(path)
    raise_all([] if level is None else faults_of_level(level))
    return results_of(store, store.study(store.find_study(study)), level)


def results_of(store: Store, study: Mapping[str, Any], level: float | None = None) -> Results:
    """Return the results of the study that a manifest describes, at its level or another."""
    truths = [truth for cell in study["cells"] for truth in _truths_of(store, cell)]
    found = rows_of_study(store, study)
    if found.frame.empty:
        raise StoreError(f"store: {store.path} holds no replication yet; use mcsim run")
    for part in found.present():
        _require_truth(store, part.cell, part.estimator)
    failures = [
        failure
        for part, rows in found.with_failures()
        for failure in failures_of(store, part.cell, part.estimator, rows)
    ]
    rows = found.frame
    unmoved = limits_left_behind(rows, study["level"], level)
    for sentence in unmoved:
        warn(sentence)
    remarks = (*out_of_reach(rows, study), *unmoved, *remarks_on_mended(store, study))
    caveats = (*GENERAL_CAVEATS, *study["caveats"], *remarks)
    study = {**study, "level": study["level"] if level is None else level}
    replicates = _tidy(rows, study)
    truth = _by_cell(truths, ["estimand", "value", "mcse", "kind"], study)
    failed = _by_cell(failures, COLUMNS, study)
    return Results(replicates, truth, study, caveats, _notes_of(store, study), failed)


def other_studies(store: Store, shown: str) -> str:
    """Return a sentence on the studies whose rows the shown one lacks; empty if there are none."""
    manifest = store.study(shown)
    names = [name for name in store.studies() if name != shown]
    others = [about for name in names if (about := _in_words(store, name, manifest))]
    if not others:
        return ""
    held = ", ".join(others)
    return f"This is study {shown}, run last; the store also holds {held}: choose with --study."


def _in_words(store: Store, name: str, shown: Mapping[str, Any]) -> str:
    """Return a study in words; empty if the shown one has all of its rows."""
    try:
        study = store.study(name)
    except StoreError:
        return f"{name} (damaged)"
    if _parts(study) <= _parts(shown) and study["reps"] <= shown["reps"]:
        return ""
    dgps = dict.fromkeys(cell["dgp"] for cell in study["cells"])
    estimators = dict.fromkeys(e for cell in study["cells"] for e, _ in cell["estimators"])
    what = f"{' and '.join(dgps)}; {' and '.join(estimators)}"
    return f"{name} ({what}; {study['reps']:,} replications, seed {study['seed']})"


def _parts(study: Mapping[str, Any]) -> set[tuple[str, str]]:
    return {(cell["hash"], e) for cell in study["cells"] for _, e in cell["estimators"]}


def _truths_of(store: Store, cell: Mapping[str, Any]) -> list[dict[str, Any]]:
    file = store.cell(cell["hash"]) / "truth.json"
    if not is_there(file):
        return []
    stored = store.read(file, TruthRecord)
    where = {"dgp": cell["dgp"], **cell["design"]}
    return [
        {**where, "estimand": name, "value": value, "mcse": mcse, "kind": stored["kind"]}
        for name, (value, mcse) in stored["values"].items()
    ]


def _require_truth(store: Store, cell: Mapping[str, Any], estimator: str) -> None:
    """Raise if a truth that was computed is gone: its Monte Carlo error would count as zero."""
    file = store.cell(cell["hash"]) / "truth.json"
    own = store.estimator(cell["hash"], estimator) / "truth.json"
    if cell.get("truth_computed") and not (is_there(file) or is_there(own)):
        raise missing(file)


def _notes_of(store: Store, study: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the estimators' notes on the panels of each cell's first block."""
    found = []
    for cell in study["cells"]:
        for name, estimator in cell["estimators"]:
            file = store.notes(cell["hash"], estimator)
            found.append((name, store.read(file, NotesRecord) if is_there(file) else {}))
    return tuple(note_sentences(found))


def _by_cell(
    found: Sequence[Mapping[str, Any]], columns: Sequence[str], study: Mapping[str, Any]
) -> pd.DataFrame:
    """Return facts about cells as a frame: the DGP and the design first."""
    factors = factors_of(study)
    frame = pd.DataFrame(found, columns=list(dict.fromkeys(["dgp", *factors, *columns])))
    return frame.astype({factor: "Int64" for factor in factors if _all_whole(study, factor)})


def _tidy(rows: pd.DataFrame, study: Mapping[str, Any]) -> pd.DataFrame:
    factors = factors_of(study)
    order = [*factors, "dgp", "estimator", "estimand", "inference", "rep", "value", "se", "lower"]
    rows = rows[[*order, "upper", "df", "p_value", "truth", "status"]]
    rows = rows.astype({factor: "Int64" for factor in factors if _all_whole(study, factor)})
    return complete_intervals(rows, study["level"], study["null"])


def _all_whole(study: Mapping[str, Any], factor: str) -> bool:
    values = [c["design"][factor] for c in study["cells"] if factor in c["design"]]
    return all(isinstance(value, int) and not isinstance(value, bool) for value in values)
