"""The registry of data sets: the entries of ``data/registry.toml``, read when first needed.

The file stands at the top of the repository, and travels in the wheel beside this module.
"""

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mcsim.errors import UnknownName, did_you_mean


@dataclass(frozen=True)
class DatasetInfo:
    """The registry's entry of a data set.

    Attributes
    ----------
    name : str
        As `load` takes it.
    about : str
        One line.
    rows : int
        Rows of the frame.
    source, license : str
        Its authors, and the terms of its use.
    unit, time : str, optional
        The columns of units and of periods, as `mcsim.from_frame` takes them.
    package : str, optional
        The PyPI package that holds it.
    file, sha256, url, how : str, optional
        Or the file that holds it, its hash, where it is fetched from, how else to get it.
    separator : str
        Between the file's columns.
    """

    name: str
    about: str
    rows: int
    source: str
    license: str
    unit: str | None = None
    time: str | None = None
    package: str | None = None
    file: str | None = None
    sha256: str | None = None
    url: str | None = None
    how: str | None = None
    separator: str = ","


def find(name: str) -> DatasetInfo:
    """Return the entry of a data set.

    Raises
    ------
    UnknownName
        If there is none of this name.
    """
    entries = registry()
    if name not in entries:
        raise UnknownName(f"name: got {name!r}{did_you_mean(name, entries)}")
    return entries[name]


@lru_cache(maxsize=1)
def registry() -> dict[str, DatasetInfo]:
    """Return all entries by name."""
    installed = Path(__file__).with_name("registry.toml")
    in_repository = Path(__file__).parents[2] / "data" / "registry.toml"
    path = installed if installed.exists() else in_repository
    entries = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: DatasetInfo(name, **entry) for name, entry in entries.items()}
