"""The JSON files of a store: written whole, sealed with a checksum, refused where damaged.

A checksum of what a file holds stands in it under ``sha256``. A changed character then stops a
reader with a sentence that names the file and the remedy, and never changes a table.
"""

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcsim._keys import digest
from mcsim.errors import InputError, StoreError

SEAL = "sha256"

_WRITTEN_BY_A_RUN = ("study.json", "cell.json", "est.json", "truth.json")


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with its checksum, safe against a crash."""
    content = json.loads(json.dumps(content))  # as it will be read
    sealed = {**content, SEAL: digest(content)}
    write_bytes(file, (json.dumps(sealed, indent=1) + "\n").encode())


def read_json(file: Path, *fields: str, sealed: bool = True) -> dict[str, Any]:
    """Read JSON and check its checksum.

    Parameters
    ----------
    file : Path
        The file.
    *fields : str
        What it must hold.
    sealed : bool
        Whether a file without a checksum is damaged; those of format 1 have none.

    Raises
    ------
    StoreError
        If it is missing, cannot be read, was altered, or lacks a field.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise missing(file) from None
    except OSError as error:
        raise StoreError(f"store: {file} cannot be read: {error}") from None
    except (ValueError, RecursionError) as error:
        raise damaged(file, f"is damaged ({type(error).__name__}: {error})") from None
    if not isinstance(content, dict):
        raise damaged(file, f"holds {type(content).__name__}, expected an object")
    seal = content.pop(SEAL, None)
    if (sealed or seal is not None) and seal != digest(content):
        raise damaged(file, "is damaged: its checksum is wrong")
    if lacking := [field for field in fields if field not in content]:
        raise damaged(file, f"is damaged: it lacks {', '.join(lacking)}")
    return content


def as_path(argument: str, got: Any) -> Path:
    """Return a path of the file system, or raise if it is none."""
    if isinstance(got, str | os.PathLike) and str(got):
        return Path(got)
    came = "an empty string" if isinstance(got, str) else type(got).__name__
    raise InputError(f"{argument}: got {came}, expected the path of a folder or a file")


def damaged(file: Path, what: str) -> StoreError:
    """Return the error for a file that cannot be used: which, why, and what to do."""
    remedy = "delete it: no row depends on it"  # records of runs and of failures
    if file.name == "STORE.json":
        remedy = "put the STORE.json of another store of this version in its place"
    elif file.name in _WRITTEN_BY_A_RUN:
        remedy = "delete it and run its study again, which writes it anew"
    return StoreError(f"store: {file} {what}; {remedy}")


def missing(file: Path) -> StoreError:
    """Return the error for a file that a run has written and that is gone."""
    return StoreError(f"store: {file} is missing; run its study again, which writes it anew")


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
        temporary.unlink(missing_ok=True)
        raise StoreError(f"store: {file} cannot be written: {error}") from None
