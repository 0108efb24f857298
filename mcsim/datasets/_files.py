"""Data in files: looked for in the folder MCSIM_DATA, else fetched once and kept in a cache."""

import hashlib
import os
import warnings
from pathlib import Path

import pandas as pd

from mcsim.datasets._registry import DatasetInfo
from mcsim.errors import InputError


def read_file(info: DatasetInfo) -> pd.DataFrame:
    """Return a data set from its file.

    Raises
    ------
    InputError
        If the file is nowhere to be had, or is not the registered one.

    Warns
    -----
    UserWarning
        If the file was rebuilt by the user and differs from the one that was used here.
    """
    path = _local(info) or _fetched(info)
    try:
        frame = pd.read_csv(path, sep=info.separator)
        return _long(frame) if info.name == "oecd_gdp_growth" else frame
    except (OSError, ValueError, KeyError) as error:  # parsers' errors are ValueErrors
        remedy = "remove it, and load fetches the registered one" if info.url else info.how
        raise InputError(
            f"name: {path} cannot be read as {info.name!r} ({type(error).__name__}: "
            f"{str(error).strip()}); {remedy}"
        ) from None


def _long(frame: pd.DataFrame) -> pd.DataFrame:
    """Turn one column per country into one row per country and quarter."""
    long = frame.melt("Date", var_name="country", value_name="growth")
    dates = pd.to_datetime(long["Date"])
    return pd.DataFrame({"country": long["country"], "date": dates, "growth": long["growth"]})


def _local(info: DatasetInfo) -> Path | None:
    """Return the file in the folder MCSIM_DATA, if it is there."""
    folder = os.environ.get("MCSIM_DATA")
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise InputError(f"MCSIM_DATA: got {folder!r}, expected a folder that exists")
    path = Path(folder) / str(info.file)
    if not path.is_file():
        return None
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != info.sha256:
        _complain(info, path, found)
    return path


def _complain(info: DatasetInfo, path: Path, found: str) -> None:
    """Refuse a file that can be fetched right; warn of one that users rebuild."""
    differs = f"{path} is not the registered file: SHA-256 {found}, expected {info.sha256}"
    if info.url:
        raise InputError(f"name: {differs}; remove it, and load fetches the registered one")
    warnings.warn(f"{differs}; published figures need not come out", UserWarning, stacklevel=5)


def _fetched(info: DatasetInfo) -> Path:
    """Return the file in the cache, fetching it first if need be."""
    folder = f"put {info.file} into a folder and name the folder in MCSIM_DATA"
    if info.url is None:
        raise InputError(f"name: {info.name!r} is not downloaded: {folder}; {info.how}")
    try:
        import pooch
    except ImportError:
        raise InputError(
            f"name: {info.name!r} is fetched with pooch; pip install 'mcsim[data]', or {folder}"
        ) from None
    try:
        cache = pooch.os_cache("mcsim")
        return Path(pooch.retrieve(info.url, f"sha256:{info.sha256}", info.file, cache))
    except (OSError, ValueError) as error:
        reason = str(error) if isinstance(error, ValueError) else type(error).__name__
        raise InputError(
            f"name: {info.name!r} could not be fetched from {info.url} ({reason}); try again with "
            f"a network, or {folder}"
        ) from error
