"""Files on disk: what is no file of bytes is never opened.

Reading a named pipe waits for ever, and reading a device never ends.
"""

import os
import stat
from pathlib import Path
from typing import Any

from mcsim.errors import InputError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def other_than_file(path: Path) -> str:
    """Return what a path is if it is no file of bytes, such as ``"a folder"``; else nothing.

    Raises
    ------
    OSError
        If there is nothing at this path, or that cannot be told.

    Examples
    --------
    >>> other_than_file(Path("/"))
    'a folder'
    >>> other_than_file(Path(__file__))
    ''
    """
    mode = path.stat().st_mode
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "no file")


def as_path(argument: str, got: Any) -> Path:
    """Return a path of the file system, or raise `InputError` if it is none."""
    if isinstance(got, str | os.PathLike) and str(got):
        return Path(got)
    came = "an empty string" if isinstance(got, str) else type(got).__name__
    raise InputError(f"{argument}: got {came}, expected the path of a folder or a file")
