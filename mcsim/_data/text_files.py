"""Text files with a table: an unusual notation is refused, with the option that reads it."""

import codecs
import gzip
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from pandas.errors import EmptyDataError, ParserError, ParserWarning

from mcsim._data.cells import DOTS, LEADING_ZERO, call_of_reader, is_by_cell, notations_of
from mcsim.errors import Fault, InputError, raise_all, warn

SEPARATORS = {".csv": ",", ".tsv": "\t"}
OTHER_SEPARATORS = (";", "\t", "|", ",")
TAB = r"\t"  # as it is typed in a shell

NO_TEXT = {
    b"\x1f\x8b": "a gzip file: end its name in .gz",
    b"PAR1": "a Parquet file: end its name in .parquet",
    b"<stata": "a Stata file: end its name in .dta",
    b"PK\x03\x04": "a ZIP file, such as Excel's: save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel file: save the sheet as CSV",
}
"""Kinds of files by their first bytes."""

MARKS = {
    b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}  # fmt: skip
HEAD = 8  # bytes inspected
PEEK = 100  # rows inspected for the notation of numbers


class Notation(NamedTuple):
    """The notation of a table in a text file; None: the usual one."""

    sep: str | None
    decimal: str | None
    encoding: str | None
    thousands: str | None

    def faults(self) -> list[str]:
        """Return the faults of options that no text file can have."""
        given = self._asdict().items()
        faults = [
            f"{name}: got {value!r}, expected one ASCII character"
            for name, value in given
            if name != "encoding" and value not in (None, TAB)
            if len(value) != 1 or not value.isascii()
        ]
        if self.thousands is not None and self.thousands == (self.decimal or "."):
            faults.append(f"thousands: got {self.thousands!r}, which is the decimal sign as well")
        if self.encoding is not None and not _is_encoding(self.encoding):
            faults.append(
                f"encoding: got {self.encoding!r}, expected one that Python knows, such as 'utf-8' "
                "or 'latin-1'"
            )
        return faults


def read_text(
    file: Path, ending: str, notation: Notation, missing_values: Sequence[str]
) -> pd.DataFrame:
    """Read a text file; see `read_table`."""
    plain = SEPARATORS[ending.removesuffix(".gz")]
    where = {
        "sep": "\t" if notation.sep == TAB else notation.sep or plain,
        "encoding": notation.encoding or "utf-8",
        "compression": "gzip" if ending.endswith(".gz") else None,
    }
    numbers = {"decimal": notation.decimal or ".", "thousands": notation.thousands}
    rows = {"index_col": False, "skipinitialspace": True, "low_memory": False}
    options = {**where, **numbers, **rows, "na_values": list(missing_values)}
    with _read_as_text(file, where):
        names = _first_line(file, where)
        raise_all(_faults_of_names(file, names, where))
        frame = pd.read_csv(file, **options)
        if len(names) == frame.shape[1]:  # as in the file, with spaces
            made_up = zip(names, frame.columns, strict=True)
            frame.columns = pd.Index([own if own.strip() else other for own, other in made_up])
        dots = _columns_with_dots(file, frame, options)
    for name in dots:
        count = int(frame[name].isin(DOTS).sum())
        cells = "1 cell holds" if count == 1 else f"{count} cells hold"
        warn(
            f"column {name!r}: {cells} '.', which stands for a missing value in Stata and SAS, and "
            "is read as missing"
        )
    for name, code in _codes_with_zeros(file, frame, where).items():
        warn(
            f"column {name!r}: {code!r} is read as the number {int(code)}, without leading zeros; "
            f"if it is a code, read it as text: pd.read_csv(path, dtype={{{name!r}: str}})"
        )
    return frame.assign(**dots)


def _is_encoding(name: str) -> bool:
    try:
        return bool(codecs.lookup(name))
    except (LookupError, ValueError):  # ValueError: of a name with NUL
        return False


@contextmanager
def _read_as_text(file: Path, where: dict[str, Any]) -> Iterator[None]:
    """Turn every error in reading a file into a sentence."""
    head = b""
    try:
        head = _head(file, where)
        kinds = [kind for start, kind in NO_TEXT.items() if head.startswith(start)]
        raise_all([f"path: {file} is no text but {kind}" for kind in kinds])
        with warnings.catch_warnings():
            warnings.simplefilter("error", ParserWarning)
            yield
    except InputError:
        raise
    except UnicodeError:
        named = (kind for mark, kind in MARKS.items() if head.startswith(mark))
        encoding = next(named, "latin-1")
        raise InputError(
            f"path: {file} is no text in {where['encoding']}",
            remedy=["read it with ", call_of_reader({"encoding": encoding})],
        ) from None
    except EmptyDataError:
        raise InputError(f"path: {file} is empty") from None
    except ParserWarning:
        raise InputError(
            f"path: {file} has lines with more fields than its first line has names: delete what "
            "stands above the names, or name every column (in R: row.names = FALSE)"
        ) from None
    except ParserError as fault:
        raise InputError(
            f"path: {file} is no table: {str(fault).strip()}; expected a line of names, and lines "
            f"with as many fields, set apart by {where['sep']!r}: delete what stands above the "
            "names, and quote texts that hold the separator"
        ) from None
    except Exception as fault:  # whatever a damaged file makes of pandas and gzip
        raise InputError(f"path: {file} cannot be read: {fault}") from None


def _head(file: Path, where: dict[str, Any]) -> bytes:
    """Return the first bytes of a file, of a gzipped one those inside."""
    with gzip.open(file) if where["compression"] else file.open("rb") as opened:
        return opened.read(HEAD)


def _first_line(file: Path, where: dict[str, Any]) -> list[str]:
    line = pd.read_csv(file, header=None, nrows=1, dtype=str, keep_default_na=False, **where)
    return line.iloc[0].tolist()


def _faults_of_names(file: Path, names: list[str], where: dict[str, Any]) -> list[str]:
    """Return the faults of the first line: another separator, numbers for names, a name twice."""
    if len(names) == 1 and (other := _other_separator(names[0], where["sep"])):
        call = call_of_reader({"sep": other, **_notation_of(file, {**where, "sep": other})})
        return [Fault(f"path: {file} has one column, {names[0]!r}", ["read it with ", call])]
    if all(map(_is_number, names)):
        few = ", ".join(names[:3])
        return [f"path: the first line of {file} holds numbers ({few}), expected names of columns"]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    return [f"path: {file} has more than one column of the name {name!r}" for name in twice]


def _other_separator(line: str, sep: str) -> str:
    """Return the separator that a line of names has in place of this one; "" if there is none."""
    found = {other: line.count(other) for other in OTHER_SEPARATORS if other != sep}
    likely = max(found, key=lambda other: found[other])
    return likely if found[likely] else ""


def _notation_of(file: Path, where: dict[str, Any]) -> dict[str, str]:
    """Return how the first rows write numbers, if it is not the usual way."""
    rows = pd.read_csv(file, nrows=PEEK, dtype=str, **where)
    columns = [cells.dropna().tolist() for _, cells in rows.items()]
    found = [notations_of(cells) for cells in columns if not all(map(_is_number, cells))]
    which = -1 if where["sep"] == ";" else 0  # which separates where the comma is decimal
    return {name: sign for ways in found if ways for name, sign in ways[which].items()}


def _codes_with_zeros(file: Path, frame: pd.DataFrame, where: dict[str, Any]) -> dict[str, str]:
    """Return the first code such as ``01`` of every column of numbers that has one soon."""
    rows = pd.read_csv(file, nrows=PEEK, dtype=str, index_col=False, **where)
    found = {}
    for (_, cells), name in zip(rows.items(), frame, strict=True):
        codes = [cell.strip() for cell in cells.dropna() if LEADING_ZERO.fullmatch(cell)]
        if codes and pd.api.types.is_numeric_dtype(frame[name]):
            found[name] = codes[0]
    return found


def _is_number(text: str) -> bool:
    try:
        return bool(text) and float(text) is not None
    except ValueError:
        return False


def _columns_with_dots(
    file: Path, frame: pd.DataFrame, options: dict[str, Any]
) -> dict[str, pd.Series]:
    """Return the columns that are numbers but for a lone ``.``, with missing cells in its place."""
    texts = [name for name in frame if is_by_cell(frame[name])]
    dotted = [str(name) for name in texts if frame[name].isin(DOTS).any()]
    if not dotted:
        return {}
    again = pd.read_csv(file, **{**options, "na_values": [*options["na_values"], *DOTS]})
    again.columns = frame.columns
    return {name: again[name] for name in dotted if pd.api.types.is_numeric_dtype(again[name])}
