"""The files of a store: written whole, sealed with a checksum, refused where damaged.

JSON files hold a checksum of their content under ``sha256``, and their place in the store under
``address``; the footer of a block, a Parquet file, has both. A changed character, or another file
in its place, is an error with the file and the remedy, and never another table.
"""

import errno
import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mcsim._core.checks import misfit, other_than_file
from mcsim._core.keys import digest
from mcsim._results.store_records import COLUMNS, FORMAT, MOST_LABELS, READABLE, Footer
from mcsim._version import __version__
from mcsim.errors import StoreError

SEAL, ADDRESS = "sha256", "address"

LARGEST = 2**28  # bytes of a JSON file

ABANDONED = 3600.0  # seconds after which a temporary file is abandoned: writing one takes a moment

_TEMPORARY = re.compile(r"\.tmp-([0-9]{1,9})-[0-9a-f]{8}")

_WRITTEN_BY_A_RUN = ("study.json", "cell.json", "est.json", "truth.json")

SCHEMA = pa.schema(list(COLUMNS.items()))
"""Of blocks."""

TEXTS: Any = [name for name, kind in COLUMNS.items() if pa.types.is_dictionary(kind)]
"""Columns of texts: Arrow stores codes."""

UNREADABLE = (OSError, KeyError, TypeError, ValueError, RecursionError, pa.ArrowException)
"""What reading a damaged Parquet file raises."""

_AT_ONCE = 2**24  # bytes of a block that is read before its footer: blocks have some kilobytes


class DamagedFile(StoreError):
    """A file of a store that cannot be used: its fault and the remedy.

    Attributes
    ----------
    found : str
        The file and its fault.
    """

    found: str = ""


def damaged(file: Path, what: str) -> DamagedFile:
    """Return the error for a file of a store that cannot be used."""
    error = DamagedFile(f"store: {file} {what}; {_remedy(file)}")
    error.found = f"store: {file} {what}"
    return error


# JSON


def write_json(file: Path, content: Mapping[str, Any], address: str | None = None) -> None:
    """Write a JSON file with its checksum and its place in a store, safe against a crash."""
    placed = dict(content) if address is None else {**content, ADDRESS: address}
    read = json.loads(json.dumps(placed))  # as a reader gets it
    sealed = {**read, SEAL: digest(read)}
    write_bytes(file, (json.dumps(sealed, indent=1) + "\n").encode())


def read_json(
    file: Path,
    kind: Any = dict[str, Any],
    *,
    sealed: bool = True,
    address: str | None = None,
) -> Any:
    """Read a JSON file; check its checksum, its place and its content.

    Parameters
    ----------
    file : Path
        The file.
    kind : type
        Its content: a class of `mcsim._results.store_records`.
    sealed : bool
        Whether a file without a checksum is damaged; those of format 1 have none.
    address : str, optional
        Where in the store it is read; mcsim before 0.3 wrote none.

    Raises
    ------
    DamagedFile
        If it cannot be read, was altered, belongs elsewhere, or lacks a field.
    StoreError
        If it is missing, or may not be read.
    """
    content = _parsed(file)
    seal = content.pop(SEAL, None)
    if (sealed or seal is not None) and seal != _digest(file, content):
        raise damaged(file, "is damaged: its checksum is wrong")
    place = content.pop(ADDRESS, address)
    if address is not None and place != address:
        raise damaged(file, f"is damaged: it belongs to {place!r}")
    if fault := misfit(content, kind):
        raise damaged(file, f"is damaged: it {fault}")
    return content


def _parsed(file: Path) -> dict[str, Any]:
    try:
        if other := other_than_file(file):
            raise damaged(file, f"is {other}, expected a file")
        if (size := file.stat().st_size) > LARGEST:
            raise damaged(file, f"has {size:,} bytes, expected at most {LARGEST:,}")
        content = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=_each_once)
    except FileNotFoundError:
        raise missing(file) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise damaged(file, "is a link to itself") from None
        raise unreadable(file, error) from None
    except (ValueError, RecursionError) as error:
        raise damaged(file, f"is damaged ({type(error).__name__}: {error})") from None
    if not isinstance(content, dict):
        raise damaged(file, f"holds {type(content).__name__}, expected an object")
    return content


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field stands there twice")
    return fields


def _digest(file: Path, content: Mapping[str, Any]) -> str:
    try:
        return digest(content)
    except RecursionError:  # writing JSON is not as deep as reading it
        raise damaged(file, "is damaged: it is nested too deeply") from None


# Blocks


def write_block(file: Path, rows: pd.DataFrame, about: Mapping[str, Any]) -> None:
    """Write a block: temporary name, sync, rename.

    Parameters
    ----------
    file : Path
        Its final name.
    rows : pandas.DataFrame
        The columns `COLUMNS`.
    about : mapping
        Kept in the footer, with the block's address and the checksum of its rows.
    """
    if len(rows) > MOST_LABELS * size_of(file.stem):
        raise StoreError(
            f"block {file.name}: has {len(rows):,} rows, expected at most {MOST_LABELS:,} of a "
            "replication; return fewer estimates at once"
        )
    arrays = [_array(rows[name], kind) for name, kind in COLUMNS.items()]
    table = pa.Table.from_arrays(arrays, schema=SCHEMA)
    about = {**about, "address": _address(file), "rows": len(rows)}
    footer = {**about, "format": FORMAT, "mcsim": __version__, "sha256": checksum_of(table)}
    table = table.replace_schema_metadata({"mcsim": json.dumps(footer, sort_keys=True)})
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd", use_dictionary=TEXTS, write_statistics=False)
    write_bytes(file, buffer.getvalue())


def _array(column: pd.Series, kind: pa.DataType) -> pa.Array:
    """Return a column as Arrow stores it: NaN is null."""
    values: Any = column.array
    if isinstance(values, pd.Categorical):
        levels = pa.array(values.categories.tolist(), pa.string())
        return pa.DictionaryArray.from_arrays(values.codes.astype(np.int32), levels)
    return pa.array(column.to_numpy(), type=kind, from_pandas=True)


def read_block(file: Path) -> pd.DataFrame:
    """Read a block as a frame; raises as `read_table`."""
    return read_table(file).to_pandas()


def read_table(file: Path) -> pa.Table:
    """Read a block and check its checksum; its rows only if its footer is a block's.

    Raises
    ------
    StoreError
        If it is truncated, altered, of another format, or of another place in a store.
    """
    try:
        if other := other_than_file(file):
            raise StoreError(f"block {file.name}: is {other}, expected a file")
        with open(file, "rb") as stream:  # Arrow opens no path that is not UTF-8
            small = os.fstat(stream.fileno()).st_size <= _AT_ONCE
            parquet = pq.ParquetFile(pa.BufferReader(stream.read()) if small else stream)
            checksum = _footer(file, parquet)["sha256"]
            table = parquet.read(use_threads=False)
            intact = checksum == checksum_of(table)
    except UNREADABLE as error:
        raise StoreError(f"block {file.name}: cannot be read ({type(error).__name__})") from None
    if not intact:
        raise StoreError(f"block {file.name}: its checksum is wrong")
    return table


def _footer(file: Path, parquet: pq.ParquetFile) -> dict[str, Any]:
    """Return the footer of a block; raise unless the block belongs in this place."""
    schema, rows = parquet.schema_arrow, parquet.metadata.num_rows
    footer = json.loads((schema.metadata or {})[b"mcsim"])
    alike = schema.equals(SCHEMA) and not misfit(footer, Footer)
    if not alike or footer["format"] not in READABLE:
        raise StoreError(f"block {file.name}: has another format")
    if footer["address"] != _address(file):
        raise StoreError(f"block {file.name}: belongs elsewhere")
    if footer["rows"] != rows or rows > MOST_LABELS * size_of(file.stem):
        raise StoreError(f"block {file.name}: its file counts {rows:,} rows")
    return footer


def name_of(start: int, size: int) -> str:
    """Return the name of a block: r0000064-0000127."""
    return f"r{start:07d}-{start + size - 1:07d}"


def start_of(name: str) -> int:
    """Return the first replication of a block from its name."""
    return int(name.removeprefix("r").partition("-")[0])


def size_of(name: str) -> int:
    """Return how many replications a block has, from its name."""
    return int(name.partition("-")[2]) - start_of(name) + 1


def _address(file: Path) -> list[str]:
    """Return the cell, the estimator and the replications of a block from its path."""
    return [file.parents[2].name, file.parent.name, file.stem]


def checksum_of(table: pa.Table) -> str:
    """Return the SHA-256 of the values, whatever their encoding in the file."""
    digest = hashlib.sha256()
    for name in COLUMNS:
        column = table[name]
        digest.update(_joined(column) if name in TEXTS else column.to_numpy())
    return digest.hexdigest()


def _joined(column: pa.ChunkedArray) -> Any:
    """Return the texts of a column, with a NUL between two of them."""
    texts = column.cast(pa.string()).combine_chunks()
    all_of_them = pa.ListArray.from_arrays(pa.array([0, len(texts)], pa.int32()), texts)
    return pc.call_function("binary_join", [all_of_them, "\0"])[0].as_buffer()


# Any file


def _remedy(file: Path) -> str:
    if file.name == "STORE.json":
        return "put the STORE.json of another store of this version in its place"
    if file.name in _WRITTEN_BY_A_RUN:
        return "delete it and run its study again, which writes it anew"
    return "delete it: no row depends on it"  # records of runs and of failures


def missing(file: Path) -> StoreError:
    """Return the error for a file that a run wrote and that is missing."""
    return StoreError(f"store: {file} is missing; run its study again, which writes it anew")


def unreadable(path: Path, error: Exception) -> StoreError:
    """Return the error for a file that exists and cannot be read, or not now."""
    return StoreError(
        f"store: {path} cannot be read: {error}; try again, or see who may read it and what is "
        "above it"
    )


def is_there(path: Path) -> bool:
    """Return whether there is anything at a path; `StoreError` where that is unknown."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:  # a character that no path may have is a ValueError
        if getattr(error, "errno", None) != errno.ELOOP:
            raise unreadable(path, error) from None
    return True


def write_bytes(file: Path, content: Any) -> None:
    """Write a file under a temporary name, sync it, rename it."""
    with replacing(file) as stream:
        stream.write(content)


@contextmanager
def replacing(file: Path) -> Iterator[IO[bytes]]:
    """Write to a file under a temporary name; sync it and rename it, where nothing was raised."""
    temporary = file.with_name(f"{file.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except OSError as error:
        raise StoreError(f"store: {file} cannot be written: {error}; {_way_out(error)}") from None
    finally:
        with suppress(OSError):  # a file system that is read-only refuses this too
            temporary.unlink(missing_ok=True)


def _way_out(error: OSError) -> str:
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return "a file stands where a folder belongs: delete it"
    if isinstance(error, IsADirectoryError):
        return "a folder stands where a file belongs: delete it"
    return "mcsim show reads a store without writing, and mcsim run takes another one with --store"


def make_folder(folder: Path) -> None:
    """Make a folder in a store, if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"store: {folder} cannot be a folder to write to: {error}") from None


def is_temporary(file: Path) -> bool:
    """Return whether a file is one that `write_bytes` writes before it is renamed."""
    return ".tmp-" in file.name


def sweep(folder: Path) -> None:
    """Remove the temporary files of processes that were killed long ago."""
    for parent, _, names in os.walk(folder):
        for name in names:
            found = _TEMPORARY.search(name) if ".tmp-" in name else None
            if found and not _is_running(int(found[1])):
                _remove_if_old(Path(parent, name))


def _remove_if_old(file: Path) -> None:
    """Remove a file that was not written to lately: its process may be on another machine."""
    with suppress(OSError):  # another run was faster, or the store is only read
        if time.time() - file.lstat().st_mtime > ABANDONED:
            file.unlink()


def _is_running(process: int) -> bool:
    if os.name != "posix":  # elsewhere signal 0 would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
