"""Opening a store: the blocks of one of its studies as one table, completed and put in order.

Nothing of the store is executed. Few estimators fail so that their rows must be completed; all
others are read and labeled together, since a frame for each estimator of each cell would take
longer than its file.
"""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from mcsim._core.calls import with_remedies
from mcsim._core.protocols import faults_of_level
from mcsim._core.records import Status
from mcsim._results.caveats import (
    limits_left_behind,
    note_sentences,
    out_of_reach,
    remarks_on_mended,
)
from mcsim._results.failures import (
    COLUMNS,
    failures_of,
    has_failed,
    with_skipped,
    without_success,
)
from mcsim._results.results import GENERAL_CAVEATS, Results, factors_of
from mcsim._results.store import Store
from mcsim._results.store_files import is_there, missing, read_table
from mcsim._results.store_records import NotesRecord, TruthRecord
from mcsim.errors import StoreError, raise_all, warn
from mcsim.measures._replications import complete_intervals

_TEXTS = {"estimand": str, "inference": str, "status": str}
_LABEL = ["estimand", "inference"]


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


# Rows of a study


class Part(NamedTuple):
    """An estimator in a cell, of which the store holds rows.

    Attributes
    ----------
    cell : mapping
        The cell, as a manifest describes it.
    name : str
        The estimator's name.
    estimator : str
        Hash of its definition.
    length : int
        Its rows in the store.
    first : pandas.DataFrame or None
        The block of replication 0 where all of it failed, so that the others were skipped.
    """

    cell: Mapping[str, Any]
    name: str
    estimator: str
    length: int
    first: pd.DataFrame | None


class StudyRows(NamedTuple):
    """The rows of a study.

    Attributes
    ----------
    frame : pandas.DataFrame
        The columns of blocks, the estimator, the DGP and the factors.
    parts : list of Part
    of_part : array of int (row,)
        The place of each row's part among ``parts``, in order.
    """

    frame: pd.DataFrame
    parts: list[Part]
    of_part: np.ndarray

    def with_failures(self) -> Iterator[tuple[Part, pd.DataFrame]]:
        """Yield the parts in which any replication failed, each with its rows."""
        failed = has_failed(self.frame).to_numpy()
        for place in np.unique(self.of_part[failed]):
            start, stop = np.searchsorted(self.of_part, [place, place + 1])
            yield self.parts[place], self.frame.iloc[start:stop]

    def present(self) -> list[Part]:
        """Return the parts that have rows."""
        return [self.parts[place] for place in np.unique(self.of_part)]


def rows_of_study(store: Store, study: Mapping[str, Any]) -> StudyRows:
    """Read the rows of a study.

    Parameters
    ----------
    store : Store
        The store.
    study : mapping
        The manifest; its ``reps`` are the replications to read, or None for all in the store.
    """
    parts, tables = [], []
    for cell in study["cells"]:
        for name, estimator in cell["estimators"]:
            if blocks := list(_blocks(store.estimator(cell["hash"], estimator))):
                length = sum(len(block) for block in blocks)
                parts.append(Part(cell, name, estimator, length, _first_in_vain(blocks[0])))
                tables += blocks
    if not parts:
        return StudyRows(pd.DataFrame(), [], np.zeros(0, int))
    rows = pa.concat_tables(tables).unify_dictionaries().to_pandas()
    of_part = np.repeat(np.arange(len(parts)), [part.length for part in parts])
    if study["reps"] is not None:
        asked = rows["rep"].to_numpy() < study["reps"]
        rows, of_part = (rows, of_part) if asked.all() else (rows[asked], of_part[asked])
    frame, of_part = _completed(rows, of_part, parts, study["reps"])
    labels = pd.DataFrame(
        [{"estimator": p.name, "dgp": p.cell["dgp"], **p.cell["design"]} for p in parts]
    )
    for column in labels:
        frame[column] = labels[column].array.take(of_part)
    return StudyRows(_name_missing_se(frame, of_part), parts, of_part)


def _blocks(folder: Path) -> Iterator[pa.Table]:
    """Yield the sound blocks of an estimator in a cell."""
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        if name.startswith("r") and name.endswith(".parquet"):
            try:
                yield read_table(folder / name)
            except StoreError as error:
                warnings.warn(f"{error}; left out: mcsim run computes it again", stacklevel=3)


def _first_in_vain(block: pa.Table) -> pd.DataFrame | None:
    """Return a block as a frame if it is the first one and without any success."""
    if not len(block) or block["rep"][0].as_py():
        return None
    statuses = block["status"].unique().to_pylist()
    return block.to_pandas() if without_success(pd.DataFrame({"status": statuses})) else None


def _completed(
    rows: pd.DataFrame, of_part: np.ndarray, parts: list[Part], reps: int | None
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the rows, with missing labels and skipped replications added, and each row's part."""
    unnamed = _has_unnamed(rows, of_part, len(parts))
    special = unnamed | ~_is_complete(rows, of_part, len(parts))
    special |= [part.first is not None and reps is not None for part in parts]
    known = _known_labels(rows, of_part, parts) if unnamed.any() else pd.DataFrame()
    frames, lengths = [], np.bincount(of_part, minlength=len(parts))
    ends = np.cumsum(lengths)
    done = 0
    for place in np.flatnonzero(special & (lengths > 0)):
        start, stop = ends[place] - lengths[place], ends[place]
        frames.append(rows.iloc[done:start])
        part, mine = parts[place], rows.iloc[start:stop].astype(_TEXTS)
        if part.first is not None and reps is not None:
            mine = with_skipped(mine, part.first, reps)
        if len(known):
            mine = _name_failures_in(mine, known.loc[known["estimator"] == part.name, _LABEL])
        frames.append(_complete(mine))
        lengths[place], done = len(frames[-1]), stop
    frames.append(rows.iloc[done:])
    full = [frame.astype(_TEXTS) for frame in frames if len(frame)] or [rows.astype(_TEXTS)]
    return pd.concat(full, ignore_index=True), np.repeat(np.arange(len(parts)), lengths)


def _has_unnamed(rows: pd.DataFrame, of_part: np.ndarray, n_parts: int) -> np.ndarray:
    """Return which parts have failures without a label."""
    unnamed = (rows["estimand"] == "").to_numpy()
    return np.bincount(of_part[unnamed], minlength=n_parts) > 0


def _is_complete(rows: pd.DataFrame, of_part: np.ndarray, n_parts: int) -> np.ndarray:
    """Return which parts have every label in every replication; rows are in order."""
    label = of_part
    for column in _LABEL:
        codes = rows[column].cat
        label = label * len(codes.categories) + codes.codes.to_numpy()
    n_labels = np.bincount(of_part[_first_places(label)], minlength=n_parts)
    rep = rows["rep"].to_numpy()
    is_new = np.ones(len(rep), bool)
    is_new[1:] = (rep[1:] != rep[:-1]) | (of_part[1:] != of_part[:-1])
    n_reps = np.bincount(of_part[is_new], minlength=n_parts)
    return np.bincount(of_part, minlength=n_parts) == n_labels * n_reps


def _first_places(values: np.ndarray) -> np.ndarray:
    """Return where each value stands first."""
    return np.flatnonzero(~pd.Series(values).duplicated().to_numpy())


def _known_labels(rows: pd.DataFrame, of_part: np.ndarray, parts: list[Part]) -> pd.DataFrame:
    """Return the labels that estimators have anywhere."""
    names = np.array([part.name for part in parts], dtype=object)[of_part]
    labels = rows[_LABEL].assign(estimator=names)
    known = labels[(labels["estimand"] != "").to_numpy()].drop_duplicates()
    return known.astype({name: str for name in _LABEL})


def _name_failures_in(rows: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """Give an estimator's failures in a cell without any success its labels from elsewhere."""
    unnamed = rows["estimand"] == ""
    if not unnamed.any() or labels.empty:
        return rows
    failed = rows[unnamed].drop(columns=_LABEL).merge(labels, how="cross")
    named = pd.concat([rows[~unnamed], failed], ignore_index=True)
    return named.sort_values("rep", kind="stable", ignore_index=True)


def _complete(rows: pd.DataFrame) -> pd.DataFrame:
    """Add a failure for every label that an estimator gave in some replications of a cell only."""
    labels = rows[_LABEL].drop_duplicates()
    if len(rows) == len(labels) * rows["rep"].nunique():
        return rows
    pairs = rows[["rep"]].drop_duplicates().merge(labels, how="cross")
    full = pairs.merge(rows, on=["rep", *_LABEL], how="left")
    lacking = full["status"].isna()
    constant = [c for c in rows if rows[c].nunique(dropna=False) == 1 and c != "status"]
    full.loc[lacking, constant] = rows[constant].iloc[0].to_numpy()
    return full.fillna({"status": "error"})[list(rows.columns)]


def _name_missing_se(rows: pd.DataFrame, of_part: np.ndarray) -> pd.DataFrame:
    """Give the status ``no_se`` to estimates without inference where their label has it elsewhere.

    In a single replication they look like estimates of an estimator without standard errors.
    """
    fine = (rows["status"] == Status.OK.label).to_numpy(bool)
    inference = (rows[name].to_numpy() for name in ("se", "lower", "upper", "p_value"))
    bare = np.logical_and.reduce([np.isnan(numbers) for numbers in inference])
    if not (fine & bare).any():
        return rows
    by = [of_part, rows["estimand"], rows["inference"]]
    elsewhere = pd.Series(fine & ~bare, index=rows.index).groupby(by).transform("any")
    lost = fine & bare & elsewhere.to_numpy(bool)
    return rows.assign(status=rows["status"].mask(lost, Status.NO_SE.label))
