"""Sources of data sets: the registry, and the packages and files that it names.

The registry, ``data/registry.toml``, stands at the top of the repository, and travels in the wheel
beside this module. Files are looked for in the folder MCSIM_DATA, else fetched once and kept in a
cache.
"""

import hashlib
import os
import tomllib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pandas as pd

from mcsim.errors import InputError, UnknownName, did_you_mean


@dataclass(frozen=True)
class DatasetInfo:
    """The registry's entry of a data set.

    Attributes
    ----------
    name : str
        The argument of `load`.
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
        Or the file that holds it, its hash, its address, another way to get it.
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


def read_package(info: DatasetInfo) -> pd.DataFrame:
    """Return a data set from the package that holds it.

    Raises
    ------
    InputError
        If the package is not installed.
    """
    return _READERS[info.name]()


def _lalonde_experimental() -> pd.DataFrame:
    return _lalonde("nsw_mixtape")


def _lalonde_cps() -> pd.DataFrame:
    experiment = _lalonde_experimental()
    treated = experiment[experiment["treat"] == 1]
    return pd.concat([treated, _lalonde("cps_mixtape")], ignore_index=True)


_MEN = ["treat", "age", "educ", "black", "hisp", "marr", "nodegree", "re74", "re75", "re78"]


def _lalonde(name: str) -> pd.DataFrame:
    """Keep the study's columns; widen before any arithmetic, so that sums keep their digits."""
    frame = _module("causaldata", name).load_pandas().data[_MEN].astype("float64")
    integers = [name for name in _MEN if not name.startswith("re")]
    return frame.astype(dict.fromkeys(integers, "int64"))


def _wage_panel() -> pd.DataFrame:
    return _module("linearmodels", "datasets.wage_panel").load()


def _munnell() -> pd.DataFrame:
    frame = _module("linearmodels", "datasets.munnell").load().drop(columns="STATE")
    frame = frame.rename(columns={"ST_ABB": "state", "YR": "year"})
    return frame.rename(columns=str.lower).astype({"gsp": "float64"})


def _french() -> pd.DataFrame:
    return _module("linearmodels", "datasets.french").load().rename(columns={"dates": "date"})


def _gapminder() -> pd.DataFrame:
    frame = _module("causaldata", "gapminder").load_pandas().data
    return frame.astype({"continent": "category"})


def _grunfeld() -> pd.DataFrame:
    """Drop the eleventh firm and number the others, as in R's plm."""
    frame = _module("statsmodels", "datasets.grunfeld").load_pandas().data
    frame = frame[frame["firm"] != "American Steel"].reset_index(drop=True)
    firm, year = pd.factorize(frame["firm"])[0] + 1, frame["year"].astype("int64")
    return pd.DataFrame({"firm": firm, "year": year}).assign(
        inv=frame["invest"], value=frame["value"], capital=frame["capital"]
    )


def _longley() -> pd.DataFrame:
    frame = _module("statsmodels", "datasets.longley").load_pandas().data
    return frame.rename(columns=str.lower).astype({"year": "int64"})


def _module(package: str, path: str) -> ModuleType:
    try:
        return import_module(f"{package}.{path}")
    except ImportError:
        raise InputError(
            f"these data are in the package {package}; install it with pip install {package}"
        ) from None


_READERS: dict[str, Callable[[], pd.DataFrame]] = {
    "french": _french,
    "gapminder": _gapminder,
    "grunfeld": _grunfeld,
    "lalonde_cps": _lalonde_cps,
    "lalonde_experimental": _lalonde_experimental,
    "longley": _longley,
    "munnell": _munnell,
    "wage_panel": _wage_panel,
}


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
            f"name: {info.name!r} is fetched with pooch; pip install pooch, or {folder}"
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
