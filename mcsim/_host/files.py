"""Samples that another program drew, one file for each replication, as a host DGP."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, zip_longest
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mcsim._core.calls import with_remedies
from mcsim._core.checks import as_path, is_finite, is_number
from mcsim._data.files import ENDINGS, ending_of, read_table
from mcsim._host.host import HostDGP
from mcsim._readers import DEFAULT_ESTIMAND
from mcsim.errors import InputError, did_you_mean, raise_all, warn

TRUTHS = "truth.csv"
"""The file of truths in a folder that ``mcsim sample`` wrote."""

_REP, _UNIT, _TIME = "rep", "unit", "time"


@with_remedies()
def from_files(
    folder: str | PathLike[str],
    truth: float | Mapping[str, float] | str | PathLike[str] | None = None,
    *,
    pattern: str = "*",
    unit: str | None = None,
    time: str | None = None,
    sep: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    thousands: str | None = None,
    missing_values: Sequence[str] = (),
) -> HostDGP:
    r"""Return a DGP whose samples are the files of a folder: replication 0 is the first one.

    Samples are all files that `read_table` can read, in the order of their names. Numbers in names
    count as numbers, so that ``sim2.dta`` comes before ``sim10.dta``. Nothing is drawn: seeds and
    keys of a run do not change a sample, and there are as many replications as files. All files
    have the same columns and the same number of rows. The definition of the DGP contains their
    content, so that a store notices a changed or another file.

    Parameters
    ----------
    folder : path
        The folder; ``mcsim sample FILE --out FOLDER`` writes such a one.
    truth : float, mapping of estimand to float, or path, optional
        The true value, or one for each estimand; or a table with a row for each file and a column
        for each estimand. With a column ``rep`` its rows are put in that order. Default: the
        table ``truth.csv`` of the folder; if there is none, the truth is not known.
    pattern : str
        Which files of the folder are samples, such as ``"*.dta"``.
    unit, time : str, optional
        Columns of units and periods of a panel. Default: ``unit`` and ``time``, if the files have
        these columns, as those of ``mcsim sample`` have. A sample without periods is a
        cross-section.
    sep, decimal, encoding, thousands, missing_values
        As in `read_table`.

    Returns
    -------
    HostDGP
        Named after the folder. Columns of text are categories, with the levels of the first file.

    Raises
    ------
    InputError
        If the folder has fewer than two files of samples, or files of several kinds; if the first
        file cannot be read or lacks a column; if truths are no numbers, or not as many as files.

    Warns
    -----
    UserWarning
        If names are numbered one after another, and one is missing in between.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import mcsim
    >>> with TemporaryDirectory() as folder:
    ...     for rep, values in enumerate(["1\n2\n3", "2\n3\n4"]):
    ...         _ = (Path(folder) / f"sim{rep}.csv").write_text(f"y\n{values}\n")
    ...     dgp = mcsim.from_files(folder, truth=2.5)
    ...     mean = mcsim.host(lambda frame: mcsim.Estimate(frame["y"].mean()))
    ...     mcsim.run(mcsim.Study(dgp, mean), reps=2, workers=0).replicates["value"].tolist()
    [2.0, 3.0]
    """
    home = as_path("folder", folder).resolve()
    files = _files(home, pattern, truth)
    options = {
        "sep": sep, "decimal": decimal, "encoding": encoding, "thousands": thousands,
        "missing_values": tuple(missing_values),
    }  # fmt: skip
    _warn_of_gap(files)
    first = read_table(home / files[0], **options)
    index = _index(first, unit, time, files[0])
    body = first.drop(columns=list(index))
    samples = Files(
        home,
        files,
        tuple(map(_digest, (home / name for name in files))),
        _truths(truth, home, len(files)),
        index,
        tuple(map(str, body.columns)),
        len(first),
        {str(name): _levels(body[name]) for name in _texts(body)},
        options,
    )
    summary = f"{len(files):,} samples in files, drawn elsewhere"
    return HostDGP(samples, most_reps=len(files), summary=summary)


@dataclass(frozen=True)
class Files:
    """Samples in files: the function of the DGP that `from_files` returns.

    Attributes
    ----------
    folder : Path
        Where the files are; no part of the definition, as their names are none.
    names : tuple of str
        The files, by replication.
    digests : tuple of bytes
        Checksums of their content.
    truths : dict of estimand to array (rep,)
        The truths.
    index : tuple of str
        Columns of units and periods: none, one or two.
    columns : tuple of str
        The other columns.
    rows : int
        Rows of the first file, and of every file of a cross-section.
    levels : dict of str to tuple of str
        Categories of columns of text.
    options : dict of str to object
        Options of `read_table`.
    """

    definition_name = "mcsim.from_files"

    folder: Path
    names: tuple[str, ...]
    digests: tuple[bytes, ...]
    truths: Mapping[str, np.ndarray]
    index: tuple[str, ...]
    columns: tuple[str, ...]
    rows: int
    levels: Mapping[str, tuple[str, ...]]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def __name__(self) -> str:
        """The folder's name, by which a study knows the DGP."""
        return self.folder.name

    def definition(self) -> dict[str, Any]:
        """Return the contents of the files in order, the truths, and the way of reading."""
        return {
            "files": len(self.names),
            "sha256": hashlib.sha256(b"".join(self.digests)).hexdigest(),
            "truth": dict(self.truths),
            "index": self.index,
            "options": {name: value for name, value in self.options.items() if value},
        }

    def __call__(
        self, rng: np.random.Generator, design: Mapping[str, Any], rep: int
    ) -> tuple[pd.DataFrame, dict[str, float]]:
        """Read the sample of a replication.

        The last block of a run has replications beyond the last file, which no result contains:
        they repeat the files from the first one on.
        """
        place = rep % len(self.names)
        file = self.folder / self.names[place]
        if not file.is_file() or _digest(file) != self.digests[place]:
            raise InputError(
                f"from_files: {file} has changed or is gone since the study was made; run again, "
                "in another store if results of the former file are in this one"
            )
        frame = read_table(file, **self.options)
        self._check(frame, file)
        frame = frame.set_index(list(self.index)) if self.index else frame
        frame = frame[list(self.columns)]
        flags = {
            name: pd.CategoricalDtype([False, True])  # as columns without missing cells are read
            for name in frame
            if frame[name].dtype == object
            and all(isinstance(value, bool) for value in frame[name].dropna())
        }
        frame = frame.astype(flags)
        texts = {name: self._category(frame[name], file) for name in self.levels}
        truths = {estimand: float(values[place]) for estimand, values in self.truths.items()}
        return frame.assign(**texts), truths

    def _check(self, frame: pd.DataFrame, file: Path) -> None:
        """Refuse a file of other columns than the first, or of another number of rows."""
        known, found = {*self.index, *self.columns}, set(map(str, frame.columns))
        differences = [
            f"{words} {', '.join(map(repr, sorted(names)))}"
            for words, names in (("lacks", known - found), ("has besides", found - known))
            if names
        ]
        if differences:
            raise InputError(
                f"from_files: {file} {' and '.join(differences)}, unlike {self.names[0]}; all "
                "samples have the same columns: pattern= leaves files out that are none"
            )
        if texts := set(_texts(frame[list(self.columns)])) - set(self.levels):
            name = min(texts)
            values = frame[name].dropna().astype(str)
            text = [*values[pd.to_numeric(values, errors="coerce").isna()], *values][0]
            raise InputError(
                f"from_files: column {name!r} of {file} has {text!r}, and only numbers in "
                f"{self.names[0]}; if it stands for a missing value, missing_values=[{text!r}]"
            )
        if len(self.index) < 2 and len(frame) != self.rows:
            raise InputError(
                f"from_files: {file} has {len(frame):,} rows, and {self.names[0]} {self.rows:,}; "
                "all samples of a DGP have one size: fill up the smaller ones with empty cells, or "
                "make a DGP of each size, with a folder or a pattern= of its own"
            )

    def _category(self, texts: pd.Series, file: Path) -> Any:
        name, levels = str(texts.name), self.levels[str(texts.name)]
        values = texts.astype(object)
        if others := sorted({str(value) for value in values.dropna()} - set(levels)):
            raise InputError(
                f"from_files: column {name!r} of {file} has {others[0]!r}, which {self.names[0]} "
                f"has not; all samples have the categories of the first file: let it hold every one"
            )
        return pd.Categorical(values.where(values.isna(), values.astype(str)), categories=levels)


def _files(home: Path, pattern: str, truth: Any) -> tuple[str, ...]:
    """Return the names of the files of samples, in order."""
    if not home.is_dir():
        what = "is a file" if home.exists() else "does not exist"
        raise InputError(f"folder: {home} {what}, expected a folder with a file for each sample")
    if not isinstance(pattern, str) or not pattern or Path(pattern).anchor or ".." in pattern:
        raise InputError(
            f"pattern: got {pattern!r}, expected names of files in the folder, such as '*.dta'"
        )
    apart = {home / TRUTHS}
    if isinstance(truth, str | PathLike):
        apart.add(_table_of(truth, home).resolve())
    found = [
        file
        for file in home.glob(pattern)
        if file.is_file() and ending_of(file) and file.resolve() not in apart
    ]
    endings = sorted({ending_of(file) for file in found})
    if len(endings) > 1:
        raise InputError(
            f"folder: {home} has files that end in {', '.join(endings)}, expected one kind; choose "
            f"with pattern='*{endings[0]}'"
        )
    if len(found) < 2:
        raise InputError(
            f"folder: {home} has {len(found)} files of samples (pattern {pattern!r}, endings "
            f"{', '.join(ENDINGS)}), expected one for each replication, at least two"
        )
    return tuple(sorted((str(file.relative_to(home)) for file in found), key=_order))


def _order(name: str) -> list[Any]:
    """Return a key of order by which numbers in names count as numbers.

    Examples
    --------
    >>> sorted(["sim10.dta", "sim9.dta", "sim1.dta"], key=_order)
    ['sim1.dta', 'sim9.dta', 'sim10.dta']
    """
    texts, numbers = _parts(name)
    return [*(part for pair in zip_longest(texts, numbers, fillvalue=-1) for part in pair), name]


def _parts(name: str) -> tuple[list[str], list[int]]:
    """Return the texts of a name, and the numbers between them."""
    parts = re.split(r"(\d+)", name)
    return parts[::2], [int(digits) for digits in parts[1::2]]


def _warn_of_gap(files: Sequence[str]) -> None:
    """Warn if a file lacks among files that are numbered one after another."""
    texts, numbers = zip(*map(_parts, files), strict=True)
    if any(other != texts[0] for other in texts):
        return
    varying = [column for column in zip(*numbers, strict=True) if len(set(column)) > 1]
    if len(varying) != 1:
        return
    (column,) = varying
    if not 0 < column[-1] - column[0] + 1 - len(set(column)) < len(files):
        return
    place = next(n for n, (one, next_) in enumerate(pairwise(column), 1) if next_ - one > 1)
    warn(
        f"from_files: there is no file between {files[place - 1]} and {files[place]}; replications "
        f"count the files that are there, so that {files[place]} is replication {place}"
    )


def _digest(file: Path) -> bytes:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _index(frame: pd.DataFrame, unit: str | None, time: str | None, name: str) -> tuple[str, ...]:
    """Return the columns of units and periods of a file."""
    columns = list(map(str, frame.columns))
    faults = [
        f"{argument}: {name} has no column {column!r}{did_you_mean(column, columns)}"
        for argument, column in (("unit", unit), ("time", time))
        if column is not None and column not in columns
    ]
    if unit is None and time is not None and _UNIT not in columns:
        faults.append(f"unit: got none with time={time!r}, expected the column of units")
    raise_all(faults)
    if unit is None:
        unit = _UNIT if _UNIT in columns else None
        time = time or (_TIME if unit and _TIME in columns else None)
    return tuple(column for column in (unit, time) if column is not None)


def _texts(frame: pd.DataFrame) -> list[Any]:
    """Return the columns of text, or of categories."""
    kinds = frame.select_dtypes(["object", "string", "category"])
    return [name for name in kinds if not frame[name].dropna().map(_is_number).all()]


def _is_number(value: Any) -> bool:
    return isinstance(value, bool) or is_number(value)


def _levels(texts: pd.Series) -> tuple[str, ...]:
    dtype = texts.dtype
    known = dtype.categories if isinstance(dtype, pd.CategoricalDtype) else texts.dropna().unique()
    return tuple(sorted(map(str, known)))


def _table_of(truth: str | PathLike[str], home: Path) -> Path:
    """Return the path of a table of truths, which may be named as in the folder."""
    file = Path(truth)
    return home / file if not file.exists() and (home / file).exists() else file


def _truths(truth: Any, home: Path, n_files: int) -> dict[str, np.ndarray]:
    """Return the truths by estimand and replication."""
    if truth is None:
        there = home / TRUTHS
        return _truths_in(there, n_files) if there.is_file() else {}
    if isinstance(truth, str | PathLike):
        return _truths_in(_table_of(truth, home), n_files)
    values = truth if isinstance(truth, Mapping) else {DEFAULT_ESTIMAND: truth}
    if not all(isinstance(name, str) and is_finite(value) for name, value in values.items()):
        raise InputError(
            f"truth: got {truth!r}, expected a number, {{estimand: number}}, or a table with a row "
            "for each file"
        )
    return {name: np.full(n_files, float(value)) for name, value in values.items()}


def _truths_in(file: Path, n_files: int) -> dict[str, np.ndarray]:
    table = read_table(file)
    if len(table) != n_files:
        raise InputError(
            f"truth: {file} has {len(table):,} rows, expected one for each of {n_files:,} files"
        )
    if _REP in table:
        reps = table[_REP]
        if reps.isna().any() or not all(map(_is_number, reps)):  # text has an order of its own
            raise InputError(
                f"truth: {file} has no number in some rows of rep, expected one in each"
            )
        if reps.duplicated().any():
            raise InputError(f"truth: {file} has a number of rep twice, expected each once")
        table = table.sort_values(_REP, kind="stable").drop(columns=_REP)
    wrong = [str(name) for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    if wrong or table.shape[1] == 0:
        raise InputError(
            f"truth: {file} has {f'text in the columns {wrong}' if wrong else 'no column'}, "
            "expected a column of numbers for each estimand, and perhaps rep"
        )
    if np.isinf(table.to_numpy(dtype=float)).any():
        raise InputError(f"truth: {file} has infinite truths, expected finite ones or empty cells")
    return {str(name): table[name].to_numpy(dtype=float) for name in table}
