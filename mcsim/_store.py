"""The store: a folder of content-addressed Parquet blocks, safe against crashes and second runs.

    STORE.json                             format and creator, written once
    studies/<hash>/study.json, study.py    what was asked for; the file is a copy, never executed
    cells/<hash>/cell.json, truth.json     a DGP under a design, seed and environment
        est/<hash>/est.json, notes.json    an estimator, and what it says of the panels
            r0000000-0001023.parquet       a block: every row of these replications
    failures/<cell>/<est>/<rep>.json       what went wrong, with the command to replay it
    runs/<time>-<random>.json              when, where, how long
    models/<hash>.safetensors              fitted generators
    quarantine/                            blocks that failed their checksum

A file is written under a temporary name, synced and renamed, so that a crash leaves no half block
and two runs at once compute at worst the same block twice. Blocks and JSON files hold a checksum of
what is in them.
"""

import contextlib
import hashlib
import json
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mcsim._store_files import as_path, damaged, read_json, write_bytes, write_json
from mcsim._version import __version__
from mcsim.errors import StoreError, UnknownName

FORMAT = 2
"""Of stores written now: JSON files hold a checksum, which format 1 (mcsim to 0.2) did not."""

READABLE = (1, FORMAT)

COLUMNS = {
    "rep": pa.int64(),
    "estimand": pa.dictionary(pa.int32(), pa.string()),
    "inference": pa.dictionary(pa.int32(), pa.string()),
    "value": pa.float64(),
    "se": pa.float64(),
    "lower": pa.float64(),
    "upper": pa.float64(),
    "df": pa.float64(),
    "p_value": pa.float64(),
    "truth": pa.float64(),
    "status": pa.dictionary(pa.int32(), pa.string()),
}
"""Columns of a block, in their order."""


@dataclass(frozen=True)
class Store:
    """A folder that holds the results of studies.

    Attributes
    ----------
    path : Path
        The folder.
    sealed : bool
        Whether all of its JSON files hold a checksum, as they do from format 2 on.
    """

    path: Path
    sealed: bool = True

    @classmethod
    def create(cls, path: str | Path) -> "Store":
        """Open a store for writing, making it if there is none."""
        store = cls(as_path("store", path))
        marker = store.path / "STORE.json"
        try:
            store.path.mkdir(parents=True, exist_ok=True)
            if not marker.exists():
                if any(not _is_temporary(file) for file in store.path.iterdir()):
                    raise StoreError(
                        f"store: {store.path} is a folder with other content, expected a store, "
                        "an empty folder or a new name"
                    )
                write_json(marker, {"format": FORMAT, "created_by": f"mcsim {__version__}"})
        except OSError as error:
            raise StoreError(f"store: {store.path} cannot be a store: {error}") from None
        return cls._of_known_format(store.path)

    @classmethod
    def open(cls, path: str | Path) -> "Store":
        """Open a store that exists, for reading."""
        store = cls(as_path("store", path))
        if not (store.path / "STORE.json").exists():
            raise StoreError(f"store: {store.path} is not a store (it has no STORE.json)")
        return cls._of_known_format(store.path)

    @classmethod
    def _of_known_format(cls, path: Path) -> "Store":
        marker = path / "STORE.json"
        found = read_json(marker, "format", sealed=False)["format"]
        if found not in READABLE:
            readable = " and ".join(map(str, READABLE))
            raise StoreError(f"store: {path} has format {found}, this mcsim reads {readable}")
        store = cls(path, sealed=found == FORMAT)
        store.read(marker)
        return store

    def read(self, file: Path, *fields: str) -> dict[str, Any]:
        """Read a JSON file of the store that must hold these fields, or raise `StoreError`."""
        return read_json(file, *fields, sealed=self.sealed)

    @property
    def models(self) -> Path:
        """Folder of fitted generators."""
        return self.path / "models"

    def cell(self, cell: str) -> Path:
        """Folder of a cell."""
        return self.path / "cells" / cell[:12]

    def estimator(self, cell: str, estimator: str) -> Path:
        """Folder of an estimator in a cell."""
        return self.cell(cell) / "est" / estimator[:12]

    def cells(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (hash, definition) of every cell."""
        for file in sorted(self.path.glob("cells/*/cell.json")):
            yield file.parent.name, self.read(file, "dgp", "factors", "seed", "design", "hash")

    def estimators(self, cell: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (hash, definition) of every estimator of a cell."""
        for file in sorted(self.cell(cell).glob("est/*/est.json")):
            yield file.parent.name, self.read(file, "estimator", "definition", "hash")

    def failures(self, cell: str, estimator: str) -> Path:
        """Folder of what went wrong with an estimator in a cell."""
        return self.path / "failures" / cell[:12] / estimator[:12]

    def notes(self, cell: str, estimator: str) -> Path:
        """File of what an estimator says of the panels of a cell's first block."""
        return self.estimator(cell, estimator) / "notes.json"

    def block(self, cell: str, estimator: str, start: int, size: int) -> Path:
        """File of a block."""
        return self.estimator(cell, estimator) / f"r{start:07d}-{start + size - 1:07d}.parquet"

    def quarantine(self, file: Path) -> Path:
        """Set a damaged file aside and return where it is now."""
        folder = self.path / "quarantine"
        folder.mkdir(exist_ok=True)
        target = folder / f"{file.parent.name}-{file.name}-{secrets.token_hex(4)}"
        with contextlib.suppress(FileNotFoundError):  # another run was faster
            os.replace(file, target)
        return target

    def write_study(self, manifest: Mapping[str, Any], source: Path | None) -> Path:
        """Record what was asked for and a copy of the study file."""
        text = json.dumps(manifest, sort_keys=True)
        folder = self.path / "studies" / hashlib.sha256(text.encode()).hexdigest()[:12]
        write_json(folder / "study.json", manifest)
        if source is not None:
            write_bytes(folder / "study.py", source.read_bytes())
        return folder

    def find_study(self, study: str | None = None) -> str:
        """Return the hash of a study from its first letters; of the one run last from None."""
        if study is None:
            return self.studies()[-1]
        names = [folder.name for folder in sorted(self.path.glob("studies/*"))]
        found = [name for name in names if name.startswith(str(study))]
        if len(found) != 1:
            raise UnknownName(f"study: got {study!r}, expected one of {', '.join(names)}")
        return found[0]

    def studies(self) -> list[str]:
        """Return the hashes of the studies, in the order in which they were run last."""
        files = sorted(self.path.glob("runs/*.json"))
        runs = sorted((self.read(file, "study") for file in files), key=_order)
        if not runs:
            raise StoreError(f"store: {self.path} holds no run yet; use mcsim run")
        return list(dict.fromkeys(record["study"] for record in reversed(runs)))[::-1]

    def study(self, name: str) -> dict[str, Any]:
        """Return the manifest of a study from its hash."""
        file = self.path / "studies" / name / "study.json"
        manifest = self.read(file, "cells", "reps", "seed", "level", "null", "caveats", "dgps")
        if any(not {"hash", "dgp", "design", "estimators"} <= {*c} for c in manifest["cells"]):
            raise damaged(file, "is damaged: its cells lack a field")
        return manifest

    def next_order(self) -> int:
        """Return the place of a new run among those recorded: clocks may be set back."""
        files = self.path.glob("runs/*.json")
        return 1 + max((_order(self.read(file)) for file in files), default=0)

    def write_run(self, record: Mapping[str, Any], name: str | None = None) -> str:
        """Record a run, or update its record; return its name."""
        name = name or f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{secrets.token_hex(3)}"
        write_json(self.path / "runs" / f"{name}.json", {"host": socket.gethostname(), **record})
        return name


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
    arrays = [pa.array(rows[name], type=kind) for name, kind in COLUMNS.items()]
    table = pa.table(arrays, schema=pa.schema(list(COLUMNS.items())))
    about = {**about, "address": _address(file), "rows": len(rows)}
    footer = {**about, "format": FORMAT, "mcsim": __version__, "sha256": _checksum(table)}
    table = table.replace_schema_metadata({"mcsim": json.dumps(footer, sort_keys=True)})
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd")
    write_bytes(file, buffer.getvalue())


def read_block(file: Path) -> pd.DataFrame:
    """Read a block and check its checksum.

    Raises
    ------
    StoreError
        If it is truncated, altered, of another format, or of another place in a store.
    """
    try:
        table = pq.ParquetFile(file).read()
        footer = dict(json.loads((table.schema.metadata or {})[b"mcsim"]))
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise StoreError(f"block {file.name}: cannot be read ({type(error).__name__})") from None
    if footer.get("format") not in READABLE or table.column_names != list(COLUMNS):
        raise StoreError(f"block {file.name}: has another format")
    if footer.get("address") != _address(file):
        raise StoreError(f"block {file.name}: belongs elsewhere")
    if footer.get("sha256") != _checksum(table):
        raise StoreError(f"block {file.name}: its checksum is wrong")
    return table.to_pandas()


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


def _order(record: Mapping[str, Any]) -> int:
    """Place of a run among all; those of mcsim to 0.2 come first, in the order of their names."""
    return int(record.get("order", 0))


def _is_temporary(file: Path) -> bool:
    return ".tmp-" in file.name
