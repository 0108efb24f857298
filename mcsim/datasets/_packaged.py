"""Data inside PyPI packages, as tidy frames; nothing is downloaded."""

from collections.abc import Callable
from importlib import import_module
from types import ModuleType

import pandas as pd

from mcsim.datasets._registry import DatasetInfo
from mcsim.errors import InputError


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
            f"these data are in the package {package}; install it with pip install 'mcsim[data]'"
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
