"""The files of a store: written whole, sealed with a checksum, refused where damaged.

A checksum of what a JSON file holds stands in it under ``sha256``, and under ``address`` its place
in the store. A changed character, or another file in its place, then stops a reader with a
sentence that names the file and the remedy, and never changes a table.
"""

import errno
import json
import os
import re
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mcsim._checks import other_than_file
from mcsim._declared import fault_of
from mcsim._keys import digest
from mcsim.errors import StoreError

SEAL, ADDRESS = "sha256", "address"

LARGEST = 2**28  # bytes of a JSON file

ABANDONED = 3600.0  # seconds after which a temporary file is nobody's: writing one takes a moment

_TEMPORARY = re.compile(r"\.tmp-([0-9]{1,9})-[0-9a-f]{8}")

_WRITTEN_BY_A_RUN = ("study.json", "cell.json", "est.json", "truth.json")


class DamagedFile(StoreError):
    """A file of a store that cannot be used: which, why, and what to do.

    Attributes
    ----------
    found : str
        Which, and why.
    """

    found: str = ""


def damaged(file: Path, what: str) -> DamagedFile:
    """Return the error for a file of a store that cannot be used."""
    error = DamagedFile(f"store: {file} {what}; {_remedy(file)}")
    error.found = f"store: {file} {what}"
    return error


def write_json(file: Path, content: Mapping[str, Any], address: str | None = None) -> None:
    """Write JSON with its checksum and its place in a store, safe against a crash."""
    placed = dict(content) if address is None else {**content, ADDRESS: address}
    read = json.loads(json.dumps(placed))  # as it will be
    sealed = {**read, SEAL: digest(read)}
    write_bytes(file, (json.dumps(sealed, indent=1) + "\n").encode())


def read_json(
    file: Path,
    kind: Any = dict[str, Any],
    *,
    sealed: bool = True,
    address: str | None = None,
) -> Any:
    """Read JSON, check its checksum, its place, and what it holds.

    Parameters
    ----------
    file : Path
        The file.
    kind : type
        What it must hold: a class of `mcsim._store_records`.
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
    told = content.pop(ADDRESS, address)
    if address is not None and told != address:
        raise damaged(file, f"is damaged: it belongs to {told!r}")
    if fault := fault_of(content, kind):
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


def _remedy(file: Path) -> str:
    if file.name == "STORE.json":
        return "put the STORE.json of another store of this version in its place"
    if file.name in _WRITTEN_BY_A_RUN:
        return "delete it and run its study again, which writes it anew"
    return "delete it: no row depends on it"  # records of runs and of failures


def missing(file: Path) -> StoreError:
    """Return the error for a file that a run has written and that is gone."""
    return StoreError(f"store: {file} is missing; run its study again, which writes it anew")


def unreadable(path: Path, error: Exception) -> StoreError:
    """Return the error for a file that is there and may not, or cannot now, be read."""
    return StoreError(
        f"store: {path} cannot be read: {error}; try again, or see who may read it and what is "
        "above it"
    )


def is_there(path: Path) -> bool:
    """Whether there is anything at a path; where that cannot be told, raise `StoreError`."""
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
    temporary = file.with_name(f"{file.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except OSError as error:
        with suppress(OSError):  # a file system that is read-only refuses this too
            temporary.unlink(missing_ok=True)
        raise StoreError(f"store: {file} cannot be written: {error}; {_way_out(error)}") from None


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
    """Whether a file is one that `write_bytes` writes before it is renamed."""
    return ".tmp-" in file.name


def sweep(folder: Path) -> None:
    """Remove the temporary files of processes that were killed long ago."""
    for parent, _, names in os.walk(folder):
        for name in names:
            found = _TEMPORARY.search(name) if ".tmp-" in name else None
            if found and not _is_running(int(found[1])):
                _remove_if_old(Path(parent, name))


def _remove_if_old(file: Path) -> None:
    """Remove a file that was not written to lately: its process may be one of another machine."""
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
