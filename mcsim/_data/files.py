"""Tables in files: CSV and TSV, also gzipped, Parquet, and Stata's .dta."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mcsim._core.calls import with_remedies
from mcsim._data.text_files import SEPARATORS, Notation, read_text
from mcsim.errors import InputError, raise_all, warn

TEXT_ENDINGS = (*SEPARATORS, *(f"{ending}.gz" for ending in SEPARATORS))
ENDINGS = (*TEXT_ENDINGS, ".parquet", ".dta")

READERS = {
    ".xlsx": "read_excel",
    ".xls": "read_excel",
    ".ods": "read_excel",
    ".json": "read_json",
    ".feather": "read_feather",
    ".sav": "read_spss",
    ".sas7bdat": "read_sas",
    ".xpt": "read_sas",
    ".txt": "read_csv",
}
"""Functions of pandas for other kinds of files."""

NAMELESS = re.compile(r"Unnamed: \d+(\.\d+)*")
"""The name that pandas gives to a column without one."""


@with_remedies()
def read_table(
    path: str | os.PathLike[str],
    *,
    sep: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    thousands: str | None = None,
    missing_values: Sequence[str] = (),
) -> pd.DataFrame:
    r"""Read a table from a file, as every command of mcsim does.

    The ending determines the kind of file: .csv or .tsv, both also with .gz, .parquet, or .dta of
    Stata, in any case. No option is guessed; where one would help, the error names it.

    A warning says where the frame differs from the text of the file. Spaces around the names of
    columns are taken off. A column without a name is left out if it holds row numbers, as pandas
    and R write them, or nothing. A lone ``.`` (or ``.a`` to ``.z``) among numbers is missing, as in
    Stata and SAS. Columns of Stata with value labels become categories if each of their values has
    one; else they stay numbers.

    Parameters
    ----------
    path : str or path
        The file.
    sep : str, optional
        The separator of the fields of a text file: one character. Default: the comma in .csv,
        the tab in .tsv.
    decimal : str, optional
        The decimal sign of a text file; default the point.
    encoding : str, optional
        The encoding of a text file, such as ``"latin-1"``; default UTF-8.
    thousands : str, optional
        The separator of thousands in a text file, such as ``","``; default nothing.
    missing_values : sequence of str
        Texts for a missing value (``["-99", ".."]``), besides pandas' own: an empty field, ``NA``,
        ``NaN``, ``null`` and the like.

    Returns
    -------
    pandas.DataFrame
        A frame for `from_frame`.

    Raises
    ------
    InputError
        If the file is not there, has another ending, or cannot be read as a table; if columns
        share a name; for options that the file cannot have.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder) / "wages.csv"
    ...     _ = file.write_text("id;wage\n1;3,5\n2;4,25\n")
    ...     read_table(file, sep=";", decimal=",")
       id  wage
    0   1  3.50
    1   2  4.25
    """
    file, notation = Path(path), Notation(sep, decimal, encoding, thousands)
    ending = require_ending(file)
    faults = _faults_of_file(file)
    faults += notation.faults() if ending in TEXT_ENDINGS else _faults_of_binary(notation, ending)
    if isinstance(missing_values, str):
        faults.append(
            f"missing_values: got {missing_values!r}, expected texts: [{missing_values!r}]"
        )
    raise_all(faults)
    known = [str(value) for value in missing_values]
    if ending in TEXT_ENDINGS:
        frame = read_text(file, ending, notation, known)
    else:
        frame = _without_values(_read_binary(file, ending), known)
    return _without_row_numbers(_with_plain_names(frame, file))


def ending_of(path: Path) -> str:
    """Return the ending by which a file is known, in lower case; "" if it has none of them.

    Examples
    --------
    >>> ending_of(Path("Wages.CSV.gz")), ending_of(Path("wages.xlsx"))
    ('.csv.gz', '')
    """
    found = [ending for ending in ENDINGS if path.name.lower().endswith(ending)]
    return max(found, key=len, default="")


def require_ending(path: Path, endings: Sequence[str] = ENDINGS, what: str = "path") -> str:
    """Return the ending of a file's name, or raise InputError unless it is one of these."""
    ending = ending_of(path)
    if ending not in endings:
        known = f"{', '.join(endings[:-1])} or {endings[-1]}"
        reader = READERS.get(path.suffix.lower()) if endings == ENDINGS else None
        table = str(path.parent / f"{path.stem}.csv")
        remedy = f"; frame = pd.{reader}({str(path)!r}); frame.to_csv({table!r}, index=False)"
        raise InputError(
            f"{what}: got {path}, expected a file that ends in {known}{remedy if reader else ''}"
        )
    return ending


def _faults_of_file(file: Path) -> list[str]:
    if not file.exists():
        return [f"path: {file} does not exist"]
    if not file.is_file():
        return [f"path: {file} is {'a folder' if file.is_dir() else 'no file'}, expected a file"]
    return []


def _faults_of_binary(notation: Notation, ending: str) -> list[str]:
    return [
        f"{name}: got {value!r}, but a {ending} file is no text; leave the option out"
        for name, value in notation._asdict().items()
        if value is not None
    ]


def _read_binary(file: Path, ending: str) -> pd.DataFrame:
    try:
        if ending == ".parquet":
            return pd.read_parquet(file)
        numbers = pd.read_stata(file, convert_categoricals=False)
    except Exception as fault:  # exceptions of readers on damaged files
        raise InputError(
            f"path: {file} cannot be read as {ending}: {type(fault).__name__}: {fault}"
        ) from None
    return _with_value_labels(file, numbers)


def _with_value_labels(file: Path, numbers: pd.DataFrame) -> pd.DataFrame:
    """Put the value labels of a .dta file where each value of a column has one."""
    try:
        frame = pd.read_stata(file)
    except ValueError:
        warn(f"path: value labels of {file} are left out, since two values share one; numbers stay")
        return numbers
    partly = [str(name) for name in frame if not _is_labeled(frame[name])]
    if partly:
        warn(f"path: the columns {partly} have labels for some values only, and stay numbers")
    return frame.assign(**{name: numbers[name] for name in partly})


def _is_labeled(series: pd.Series) -> bool:
    """Return whether a column of pandas' categories has a label for each value."""
    if not isinstance(series.dtype, pd.CategoricalDtype):
        return True
    return all(isinstance(label, str) for label in series.cat.categories)


def _without_values(frame: pd.DataFrame, missing_values: Sequence[str]) -> pd.DataFrame:
    """Return a frame in which these texts, and the numbers that they name, are missing."""
    if not missing_values:
        return frame
    numbers = pd.to_numeric(pd.Series(missing_values), errors="coerce").dropna().tolist()
    return frame.mask(frame.isin([*missing_values, *numbers]))


def _with_plain_names(frame: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Take spaces off the names of columns, with a warning."""
    names = [name.strip() if isinstance(name, str) else name for name in frame.columns]
    padded = [name for name, plain in zip(frame.columns, names, strict=True) if name != plain]
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"path: {file} has more than one column of the name {twice[0]!r}")
    if padded:
        warn(f"path: spaces around the names of the columns {padded} are taken off")
    return frame.set_axis(names, axis=1)


def _without_row_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Leave out nameless columns of row numbers or nothing, with a warning."""
    nameless = [name for name in frame if is_nameless(name)]
    empty = [name for name in nameless if frame[name].isna().all()]
    counts = [name for name in nameless if are_row_numbers(frame[name])]
    if counts:
        warn(
            "path: a column without a name holds row numbers, as pandas and R write them, and is "
            "left out; to keep it, give it a name in the file"
        )
    return frame.drop(columns=[*empty, *counts])


def is_nameless(name: Any) -> bool:
    """Return whether pandas made up the name of a column without one."""
    return isinstance(name, str) and NAMELESS.fullmatch(name) is not None


def are_row_numbers(numbers: Any) -> bool:
    """Return whether numbers count rows, in any order, perhaps with gaps."""
    values = np.asarray(numbers)
    whole = (
        np.issubdtype(values.dtype, np.number) and (values >= 0).all() and (values % 1 == 0).all()
    )
    return bool(whole) and len(np.unique(values)) == len(values)
