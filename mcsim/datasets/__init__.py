"""Data sets through one door: ``load(name)`` returns a frame; ``info(name)`` its entry."""

import pandas as pd

from mcsim.datasets._sources import DatasetInfo as DatasetInfo
from mcsim.datasets._sources import find, read_file, read_package, registry


def load(name: str) -> pd.DataFrame:
    """Load a data set.

    Most are inside PyPI packages. The others are files: first looked for in the folder that the
    environment variable MCSIM_DATA names, then in the user's cache, then fetched; their SHA-256 is
    checked. `names` lists them all, `info` returns source, license and columns.

    Parameters
    ----------
    name : str
        Such as ``"lalonde_experimental"``, ``"wage_panel"``, ``"cps_state_wages"``.

    Returns
    -------
    pandas.DataFrame
        Tidy: one row per unit, or per unit and period, these two in ordinary columns, so that
        ``mcsim.from_frame(frame, unit=..., time=...)`` takes it.

    Raises
    ------
    InputError
        If the name is unknown, the package that holds the data is not installed, or the file can
        neither be found nor fetched.

    Examples
    --------
    >>> load("lalonde_experimental").shape
    (445, 10)
    >>> load("grunfeld").head(2)
       firm  year    inv   value  capital
    0     1  1935  317.6  3078.5      2.8
    1     1  1936  391.8  4661.7     52.6
    """
    entry = find(name)
    return read_package(entry) if entry.package else read_file(entry)


def names() -> list[str]:
    """Return the names of all data sets.

    Examples
    --------
    >>> names()[:3]
    ['abdata', 'cps_state_wages', 'french']
    """
    return sorted(registry())


def info(name: str) -> DatasetInfo:
    """Return the entry of a data set: source, license, rows, columns of unit and time.

    Parameters
    ----------
    name : str
        As `load` takes it.

    Raises
    ------
    UnknownName
        If there is none of this name.

    Examples
    --------
    >>> info("wage_panel").unit, info("wage_panel").time
    ('nr', 'year')
    """
    return find(name)
