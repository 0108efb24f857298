"""The store: a folder of content-addressed Parquet blocks, safe against crashes and second runs.

    STORE.json                             format and creator, written once
    studies/<hash>/study.json, study.py    a study, and a copy of its file, which is never executed
    cells/<hash>/cell.json, truth.json     a DGP under a design, seed and environment
        est/<hash>/est.json, notes.json    an estimator, and its notes on the panels
            r0000000-0001023.parquet       a block: every row of these replications
    packs/<random>.parquet                 blocks of finished runs (`store_packs`)
    failures/<cell>/<est>/<rep>.json       a failure, with the command to replay it
    runs/<time>-<random>.json              when, where, how long
    models/<hash>.safetensors              fitted generators
    quarantine/                            files that failed their checksum

A file is written under a temporary name, synced and renamed, so that a crash leaves no half block
and two runs at once compute at worst the same block twice. Blocks and JSON files hold a checksum of
their content, and their place in the store. A run sets damaged files aside that it can write anew.
"""

import hashlib
import json
import os
import secrets
import socket
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mcsim._core.checks import as_path, misfit, other_than_file
from mcsim._results.store_files import (
    DamagedFile,
    is_temporary,
    is_there,
    name_of,
    read_json,
    sweep,
    write_bytes,
    write_json,
)
from mcsim._results.store_records import (
    FORMAT,
    READABLE,
    CellRecord,
    EstimatorRecord,
    RunRecord,
    StoreRecord,
    StudyRecord,
)
from mcsim._version import __version__
from mcsim.errors import InputError, StoreError, UnknownName, warn


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
        folder = as_path("store", path)
        if not cls.is_at(folder):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                write_json(
                    folder / "STORE.json", {"format": FORMAT, "created_by": f"mcsim {__version__}"}
                )
            except (OSError, ValueError) as error:
                raise StoreError(f"store: {folder} cannot be a store: {error}") from None
        return cls._of_known_format(folder)

    @classmethod
    def open(cls, path: str | Path) -> "Store":
        """Open a store that exists, for reading."""
        folder = as_path("store", path)
        if not is_there(folder / "STORE.json"):
            raise StoreError(
                f"store: {path} is not a store (it has no STORE.json); {_remedy_for(folder)}"
            )
        return cls._of_known_format(folder)

    @staticmethod
    def is_at(folder: Path) -> bool:
        """Return whether a folder is a store; `StoreError` if it is something else."""
        if is_there(folder / "STORE.json"):
            return True
        try:
            other = [file for file in folder.iterdir() if not is_temporary(file)]
        except FileNotFoundError:
            return False
        except NotADirectoryError:
            way = next(path for path in (folder, *folder.parents) if path.exists())
            kind = other_than_file(way) or "a file"
            raise StoreError(
                f"store: {folder} cannot be a store: {way} is {kind}, expected a folder"
            ) from None
        except OSError as error:
            raise StoreError(f"store: {folder} cannot be a store: {error}") from None
        if other and not is_there(folder / "STORE.json"):  # another run may have made it meanwhile
            raise StoreError(
                f"store: {folder} is a folder with other content, expected a store, an empty "
                f"folder or a new name; {_remedy_for(folder)}"
            )
        return bool(other)

    @classmethod
    def _of_known_format(cls, path: Path) -> "Store":
        marker = path / "STORE.json"
        found = read_json(marker, StoreRecord, sealed=False)["format"]
        if found not in READABLE:
            readable = " and ".join(map(str, READABLE))
            raise StoreError(f"store: {path} has format {found}, this mcsim reads {readable}")
        store = cls(path, sealed=found == FORMAT)
        store.read(marker, StoreRecord)
        return store

    def read(self, file: Path, kind: Any) -> Any:
        """Read a JSON file of the store, which must be a record of this kind, or raise."""
        return read_json(file, kind, sealed=self.sealed, address=self._place(file))

    def peek(self, file: Path, kind: Any) -> Any:
        """Read a file that a run can write anew; None if it is damaged or absent."""
        try:
            return self.read(file, kind) if is_there(file) else None
        except DamagedFile:
            return None

    def keep(self, file: Path, kind: Any, content: Mapping[str, Any]) -> None:
        """Write a record where there is none, or a damaged one."""
        if self.recover(file, kind) is None:
            self.write(file, content)

    def recover(self, file: Path, kind: Any, then: str = "written anew") -> Any:
        """Read a file that a run can do without; a damaged one is set aside."""
        try:
            return self.read(file, kind) if is_there(file) else None
        except DamagedFile as error:
            warn(f"{error.found}; set aside as {self.quarantine(file)} and {then}")
            return None

    def write(self, file: Path, content: Mapping[str, Any]) -> None:
        """Write a JSON file of the store."""
        write_json(file, content, self._place(file))

    def _place(self, file: Path) -> str:
        return file.relative_to(self.path).as_posix()

    def sweep(self) -> None:
        """Remove files that killed runs left half written."""
        sweep(self.path)

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

    def cells(self, known: Collection[str] = ()) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (hash, definition) of every cell, except damaged ones that a run can write anew.

        Parameters
        ----------
        known : collection of str
            Hashes of the cells and estimators of which a run has the definition.
        """
        return self._definitions("cells/*/cell.json", CellRecord, known)

    def estimators(
        self, cell: str, known: Collection[str] = ()
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (hash, definition) of every estimator of a cell; ``known`` as in `cells`."""
        return self._definitions(f"cells/{cell[:12]}/est/*/est.json", EstimatorRecord, known)

    def _definitions(
        self, pattern: str, kind: Any, known: Collection[str]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        names = {hash_[:12] for hash_ in known}
        for file in sorted(self.path.glob(pattern)):
            name = file.parent.name
            definition = (self.peek if name in names else self.read)(file, kind)
            if definition is not None:
                yield name, definition

    def failures(self, cell: str, estimator: str) -> Path:
        """Folder of the failures of an estimator in a cell."""
        return self.path / "failures" / cell[:12] / estimator[:12]

    def notes(self, cell: str, estimator: str) -> Path:
        """File of an estimator's notes on the panels of a cell's first block."""
        return self.estimator(cell, estimator) / "notes.json"

    def block(self, cell: str, estimator: str, start: int, size: int) -> Path:
        """File of a block."""
        return self.estimator(cell, estimator) / f"{name_of(start, size)}.parquet"

    def quarantine(self, file: Path) -> Path:
        """Set a damaged file aside and return where it is now."""
        folder = self.path / "quarantine"
        target = folder / f"{file.parent.name}-{file.name}-{secrets.token_hex(4)}"
        try:
            folder.mkdir(exist_ok=True)
            os.replace(file, target)
        except FileNotFoundError:  # another run was faster
            pass
        except OSError as error:
            raise StoreError(
                f"store: {file} is damaged and cannot be set aside: {error}; delete it"
            ) from None
        return target

    def write_study(self, manifest: Mapping[str, Any], source: Path | None) -> Path:
        """Record a study, and a copy of its file."""
        if fault := misfit(dict(manifest), StudyRecord):
            raise InputError(f"study: {fault}, so that its results could not be read")
        text = json.dumps(manifest, sort_keys=True)
        folder = self.path / "studies" / hashlib.sha256(text.encode()).hexdigest()[:12]
        self.keep(folder / "study.json", StudyRecord, manifest)
        if source is not None:
            write_bytes(folder / "study.py", source.read_bytes())
        return folder

    def find_study(self, study: str | None = None) -> str:
        """Return the hash of a study from its first letters; None means the study run last."""
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
        runs = sorted((self.read(file, RunRecord) for file in files), key=_order)
        if not runs:
            raise StoreError(f"store: {self.path} holds no run yet; use mcsim run")
        return list(dict.fromkeys(record["study"] for record in reversed(runs)))[::-1]

    def study(self, name: str) -> dict[str, Any]:
        """Return the manifest of a study from its hash."""
        return self.read(self.path / "studies" / name / "study.json", StudyRecord)

    def next_order(self) -> int:
        """Return the place of a new run among those recorded: clocks may be set back."""
        files = self.path.glob("runs/*.json")
        found = (self.recover(file, RunRecord, then="passed over") for file in files)
        return 1 + max((_order(record) for record in found if record is not None), default=0)

    def write_run(self, record: Mapping[str, Any], name: str | None = None) -> str:
        """Record a run, or update its record; return its name."""
        name = name or f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{secrets.token_hex(3)}"
        file = self.path / "runs" / f"{name}.json"
        write_json(file, {"host": socket.gethostname(), **record})  # its name means nothing
        return name


def _remedy_for(folder: Path) -> str:
    """Return the remedy for a folder without a STORE.json."""
    if is_there(folder / "cells"):
        return "put the STORE.json of another store of this version into it"
    if inside := sorted(file.parent for file in folder.glob("*/STORE.json")):
        return f"the stores in it are {', '.join(map(str, inside))}"
    return "mcsim run makes one in results/<name of the study's file>, or in the folder of --store"


def _order(record: Mapping[str, Any]) -> int:
    """Return the place of a run among all; runs of mcsim to 0.2 come first, by their names."""
    return int(record.get("order", 0))
