"""The blocks of a store: Parquet files that say in their footer what they hold, and where."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mcsim._checks import other_than_file
from mcsim._declared import fault_of
from mcsim._store_files import write_bytes
from mcsim._store_records import COLUMNS, FORMAT, MOST_LABELS, READABLE, Footer
from mcsim._version import __version__
from mcsim.errors import StoreError

_SCHEMA = pa.schema(list(COLUMNS.items()))


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
    if len(rows) > MOST_LABELS * _size(file):
        raise StoreError(
            f"block {file.name}: has {len(rows):,} rows, expected at most {MOST_LABELS:,} of a "
            "replication; return fewer estimates at once"
        )
    arrays = [pa.array(rows[name], type=kind) for name, kind in COLUMNS.items()]
    table = pa.table(arrays, schema=_SCHEMA)
    about = {**about, "address": _address(file), "rows": len(rows)}
    footer = {**about, "format": FORMAT, "mcsim": __version__, "sha256": _checksum(table)}
    table = table.replace_schema_metadata({"mcsim": json.dumps(footer, sort_keys=True)})
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd")
    write_bytes(file, buffer.getvalue())


def read_block(file: Path) -> pd.DataFrame:
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
            parquet = pq.ParquetFile(stream)
            checksum = _checked_footer(file, parquet)["sha256"]
            table = parquet.read()
            intact = checksum == _checksum(table)
    except (OSError, KeyError, TypeError, ValueError, RecursionError, pa.ArrowException) as error:
        raise StoreError(f"block {file.name}: cannot be read ({type(error).__name__})") from None
    if not intact:
        raise StoreError(f"block {file.name}: its checksum is wrong")
    return table.to_pandas()


def _checked_footer(file: Path, parquet: pq.ParquetFile) -> dict[str, Any]:
    """Return what the footer says; raise unless it is that of a block in this place."""
    schema, rows = parquet.schema_arrow, parquet.metadata.num_rows
    footer = json.loads((schema.metadata or {})[b"mcsim"])
    alike = schema.equals(_SCHEMA) and not fault_of(footer, Footer)
    if not alike or footer["format"] not in READABLE:
        raise StoreError(f"block {file.name}: has another format")
    if footer["address"] != _address(file):
        raise StoreError(f"block {file.name}: belongs elsewhere")
    if footer["rows"] != rows or rows > MOST_LABELS * _size(file):
        raise StoreError(f"block {file.name}: says that it has {rows:,} rows")
    return footer


def _size(file: Path) -> int:
    """Return how many replications a block has, from its name: r0000064-0000127."""
    first, last = file.stem.removeprefix("r").split("-")
    return int(last) - int(first) + 1


def _address(file: Path) -> list[str]:
    """Return the cell, the estimator and the replications that the path of a block tells."""
    return [file.parents[2].name, file.parent.name, file.stem]


def _checksum(table: pa.Table) -> str:
    """SHA-256 of the values, whatever their encoding in the file."""
    digest = hashlib.sha256()
    for name, kind in COLUMNS.items():
        if pa.types.is_dictionary(kind):
            digest.update("\0".join(map(str, table[name].cast(pa.string()).to_pylist())).encode())
        else:
            digest.update(table[name].to_numpy().tobytes())
    return digest.hexdigest()
