"""Rows of a study: the blocks of a store read as one table, completed where labels are missing.

Few estimators fail so that their rows must be completed; all others are read and labeled together,
since a frame for each estimator of each cell would take longer than its file.
"""

import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from mcsim._core.records import Status
from mcsim._results.failures import has_failed, with_skipped, without_success
from mcsim._results.store import Store
from mcsim._results.store_files import read_table
from mcsim.errors import StoreError

_TEXTS = {"estimand": str, "inference": str, "status": str}
_LABEL = ["estimand", "inference"]


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
    """Return a block as a frame if it is the first and all of it failed."""
    if not len(block) or block["rep"][0].as_py():
        return None
    statuses = block["status"].unique().to_pylist()
    return block.to_pandas() if without_success(pd.DataFrame({"status": statuses})) else None


def _completed(
    rows: pd.DataFrame, of_part: np.ndarray, parts: list[Part], reps: int | None
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the rows with those that are missing, and the part of each."""
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
    """Give failures of a block without any success the labels that its estimator has elsewhere.

    Parameters
    ----------
    rows : pandas.DataFrame
        The rows of one estimator in one cell.
    labels : pandas.DataFrame
        The estimator's labels.
    """
    unnamed = rows["estimand"] == ""
    if not unnamed.any() or labels.empty:
        return rows
    failed = rows[unnamed].drop(columns=_LABEL).merge(labels, how="cross")
    named = pd.concat([rows[~unnamed], failed], ignore_index=True)
    return named.sort_values("rep", kind="stable", ignore_index=True)


def _complete(rows: pd.DataFrame) -> pd.DataFrame:
    """Add a failure for every label that an estimator gave in some replications only.

    Parameters
    ----------
    rows : pandas.DataFrame
        The rows of one estimator in one cell.
    """
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
