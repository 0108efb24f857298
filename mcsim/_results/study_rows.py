"""The rows of a study: read from blocks, completed, labeled with cells and estimators.

Rows are read in any order, file by file and pack by pack, and put in the study's order as arrays,
column by column. Few estimators fail so that their rows must be completed; all others are labeled
together, since a frame for each estimator of each cell would take longer than its file.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from mcsim._core.records import Status
from mcsim._results.failures import has_failed, with_skipped
from mcsim._results.store import Store
from mcsim._results.store_files import TEXTS, is_there, read_table, start_of
from mcsim._results.store_packs import Packs, block_files
from mcsim._results.store_records import COLUMNS
from mcsim.errors import StoreError, warn

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
    first : pandas.DataFrame or None
        The block of replication 0 where all of it failed, so that the others were skipped.
    """

    cell: Mapping[str, Any]
    name: str
    estimator: str
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
        return [self.parts[place] for place in np.flatnonzero(np.bincount(self.of_part))]


def rows_of_study(store: Store, study: Mapping[str, Any]) -> StudyRows:
    """Read the rows of a study.

    Parameters
    ----------
    store : Store
        The store.
    study : mapping
        The manifest; its ``reps`` are the replications to read, or None for all in the store.
    """
    reader = _Reader(store, study)
    pieces = sorted(reader.pieces(), key=lambda piece: piece.first)
    if not pieces:
        return StudyRows(pd.DataFrame(), [], np.zeros(0, int))
    of_part, parts = _numbered(np.concatenate([p.of_part for p in pieces]), reader.parts)
    columns: dict[str, Any] = {}
    for name in COLUMNS:  # each of them is freed where it is joined: twice all would be large
        joined = np.concatenate([piece.columns.pop(name) for piece in pieces])
        columns[name] = reader.texts(name, joined) if name in TEXTS else joined
    rows = pd.DataFrame(columns, copy=False)
    frame, of_part = _completed(rows, of_part, parts, study["reps"])
    labels = pd.DataFrame(
        [{"estimator": p.name, "dgp": p.cell["dgp"], **p.cell["design"]} for p in parts]
    )
    for column in labels:
        frame[column] = labels[column].array.take(of_part)
    return StudyRows(_name_missing_se(frame, of_part), parts, of_part)


def _numbered(of_part: np.ndarray, parts: list[Part]) -> tuple[np.ndarray, list[Part]]:
    """Return the parts that have rows, and each row's among them."""
    present = np.bincount(of_part, minlength=len(parts)) > 0
    kept = [part for part, is_present in zip(parts, present, strict=True) if is_present]
    return (np.cumsum(present, dtype=np.int32) - 1)[of_part], kept


# Reading


class _Piece(NamedTuple):
    """Rows of blocks that follow one another in a study: texts are codes."""

    first: tuple[int, str]  # place of the part, and name of the block
    of_part: np.ndarray
    columns: dict[str, np.ndarray]


class _Reader:
    """Reads the blocks of a study, which are files or in packs.

    Parameters
    ----------
    store, study
        As in `rows_of_study`.

    Attributes
    ----------
    parts : list of Part
        The estimators in the cells of the study, in its order.
    """

    def __init__(self, store: Store, study: Mapping[str, Any]):
        self._store, self._reps = store, study["reps"]
        self.parts = [
            Part(cell, name, estimator, None)
            for cell in study["cells"]
            for name, estimator in cell["estimators"]
        ]
        self._keys = [(part.cell["hash"][:12], part.estimator[:12]) for part in self.parts]
        self._codes: dict[str, dict[str, int]] = {name: {} for name in TEXTS}

    def texts(self, column: str, codes: np.ndarray) -> pd.Categorical:
        """Return a column of texts from its codes."""
        return pd.Categorical.from_codes(codes, [*self._codes[column]])  # type: ignore[arg-type]

    def pieces(self) -> Iterator[_Piece]:
        """Yield the rows in pieces: files first, packs then, into which files may vanish."""
        read = set()
        for part, key in enumerate(self._keys):
            for file in block_files(self._store.estimator(*key)):
                try:
                    table = read_table(file)
                except StoreError as error:
                    if is_there(file):
                        warn(f"{error}; left out: mcsim run computes it again")
                    continue
                read.add((part, file.stem))
                yield self._piece(table, [(0, len(table), part, file.stem)])
        yield from self._packed(Packs(self._store.path), read)

    def _packed(self, packs: Packs, read: set[tuple[int, str]]) -> Iterator[_Piece]:
        """Yield the rows that are in packs, but for blocks that have been read."""
        wanted = {
            (*key, name): (part, name)
            for part, key in enumerate(self._keys)
            for name in packs.names(*key)
            if self._reps is None or start_of(name) < max(1, self._reps)
            if (part, name) not in read
        }
        follows = dict(itertools.pairwise(sorted(read.union(wanted.values()))))
        for table, blocks in packs.tables(wanted):
            run: list[tuple[int, int, int, str]] = []
            for place, block in blocks:
                here = wanted[block]
                if run and (run[-1][1] != place.start or follows.get(run[-1][2:]) != here):
                    yield self._piece(table, run)
                    run = []
                run.append((place.start, place.stop, *here))
            yield self._piece(table, run)
        for fault in packs.faults.values():
            warn(f"{fault}; left out: mcsim run computes it again")

    def _piece(self, table: pa.Table, run: list[tuple[int, int, int, str]]) -> _Piece:
        """Return the rows of blocks: of each the first row, the end, the part and the name."""
        starts, stops, parts, _ = zip(*run, strict=True)
        table = table.slice(starts[0], stops[-1] - starts[0])
        of_part = np.repeat(np.array(parts, np.int32), np.subtract(stops, starts))
        columns = {
            name: self._codes_in(table, name) if name in TEXTS else table[name].to_numpy()
            for name in COLUMNS
        }
        self._note_first(table, run)
        if self._reps is not None and not (asked := columns["rep"] < self._reps).all():
            columns = {name: values[asked] for name, values in columns.items()}
            of_part = of_part[asked]
        return _Piece(run[0][2:], of_part, columns)

    def _codes_in(self, table: pa.Table, column: str) -> np.ndarray:
        """Return the codes of texts, the same ones in all tables."""
        known, values = self._codes[column], table[column].combine_chunks()
        codes = [known.setdefault(text, len(known)) for text in values.dictionary.to_pylist()]
        return np.array(codes, np.int32)[values.indices.to_numpy()]

    def _note_first(self, table: pa.Table, run: list[tuple[int, int, int, str]]) -> None:
        """Note first blocks without any success, because of which others were skipped."""
        failed = has_failed(table.select(["status"]).to_pandas()).to_numpy()
        if not failed.any():
            return
        for start, stop, part, name in run:
            rows = slice(start - run[0][0], stop - run[0][0])
            if start_of(name) == 0 and failed[rows].all():
                block = table.slice(rows.start, stop - start).unify_dictionaries()
                self.parts[part] = self.parts[part]._replace(first=block.to_pandas())


# Completing


def _completed(
    rows: pd.DataFrame, of_part: np.ndarray, parts: list[Part], reps: int | None
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the rows, with missing labels and skipped replications added, and each row's part."""
    unnamed = _has_unnamed(rows, of_part, len(parts))
    special = unnamed | ~_is_complete(rows, of_part, len(parts))
    special |= [part.first is not None and reps is not None for part in parts]
    if not special.any():
        return _as_texts(rows), of_part
    known = _known_labels(rows, of_part, parts) if unnamed.any() else pd.DataFrame()
    frames, lengths = [], np.bincount(of_part, minlength=len(parts))
    ends = np.cumsum(lengths)
    done = 0
    for place in np.flatnonzero(special & (lengths > 0)):
        start, stop = ends[place] - lengths[place], ends[place]
        frames.append(rows.iloc[done:start])
        part, mine = parts[place], _as_texts(rows.iloc[start:stop])
        if part.first is not None and reps is not None:
            mine = with_skipped(mine, part.first, reps)
        if len(known):
            mine = _name_failures_in(mine, known.loc[known["estimator"] == part.name, _LABEL])
        frames.append(_complete(mine))
        lengths[place], done = len(frames[-1]), stop
    frames.append(rows.iloc[done:])
    full = [_as_texts(frame) for frame in frames if len(frame)] or [_as_texts(rows)]
    return pd.concat(full, ignore_index=True), np.repeat(np.arange(len(parts)), lengths)


def _as_texts(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with texts in place of codes, by Arrow where pandas has texts of its own."""
    texts = {}
    for name in TEXTS:
        if isinstance(rows[name].dtype, pd.CategoricalDtype):
            column = rows[name].cat
            texts[name] = column.categories.astype(str).array.take(column.codes.to_numpy())
    return rows.assign(**texts)


def _has_unnamed(rows: pd.DataFrame, of_part: np.ndarray, n_parts: int) -> np.ndarray:
    """Return which parts have failures without a label."""
    unnamed = (rows["estimand"] == "").to_numpy()
    return np.bincount(of_part[unnamed], minlength=n_parts) > 0


def _is_complete(rows: pd.DataFrame, of_part: np.ndarray, n_parts: int) -> np.ndarray:
    """Return which parts have every label in every replication; rows are in order."""
    label, width = of_part, 1
    for column in _LABEL:
        codes = rows[column].cat
        label = label * len(codes.categories) + codes.codes.to_numpy()
        width *= len(codes.categories)
    n_labels = np.bincount(pd.unique(label) // width, minlength=n_parts)
    rep = rows["rep"].to_numpy()
    is_new = np.ones(len(rep), bool)
    is_new[1:] = (rep[1:] != rep[:-1]) | (of_part[1:] != of_part[:-1])
    n_reps = np.bincount(of_part[is_new], minlength=n_parts)
    return np.bincount(of_part, minlength=n_parts) == n_labels * n_reps


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
    inference = (rows[name].to_numpy() for name in ("se", "lower", "upper", "p_value"))
    bare = np.logical_and.reduce([np.isnan(numbers) for numbers in inference])
    if not bare.any():
        return rows
    fine = (rows["status"] == Status.OK.label).to_numpy(bool)
    if not (fine & bare).any():
        return rows
    by = [of_part, rows["estimand"], rows["inference"]]
    elsewhere = pd.Series(fine & ~bare, index=rows.index).groupby(by).transform("any")
    lost = fine & bare & elsewhere.to_numpy(bool)
    return rows.assign(status=rows["status"].mask(lost, Status.NO_SE.label))
