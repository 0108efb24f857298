"""Data sets through one door: ``load(name)`` returns a frame, from data inside PyPI packages."""

from collections.abc import Callable
from importlib import import_module

import pandas as pd

from mcsim.errors import InputError, UnknownName, did_you_mean

_COLUMNS = ["treat", "age", "educ", "black", "hisp", "marr", "nodegree", "re74", "re75", "re78"]


def load(name: str) -> pd.DataFrame:
    """Load a data set.

    Parameters
    ----------
    name : str
        ``"lalonde_experimental"``: the National Supported Work experiment, 185 treated and 260
        control men; ``"lalonde_cps"``: the same 185 treated and 15,992 controls from the CPS. Both
        after Dehejia & Wahba (1999), earnings in dollars, from the package causaldata.

    Returns
    -------
    pandas.DataFrame
        One row per man; earnings (re74, re75, re78) in float64 dollars.

    Raises
    ------
    InputError
        If the name is unknown, or the package that holds the data is not installed.

    References
    ----------
    LaLonde (1986), American Economic Review 76: 604-620. Dehejia & Wahba (1999), Journal of the
    American Statistical Association 94: 1053-1062.

    Examples
    --------
    >>> load("lalonde_experimental").shape
    (445, 10)
    """
    if name not in _LOADERS:
        raise UnknownName(f"name: got {name!r}{did_you_mean(name, _LOADERS)}")
    return _LOADERS[name]()


def _lalonde_experimental() -> pd.DataFrame:
    return _tidy(_causaldata("nsw_mixtape"))


def _lalonde_cps() -> pd.DataFrame:
    experiment = _lalonde_experimental()
    controls = _tidy(_causaldata("cps_mixtape"))
    return pd.concat([experiment[experiment["treat"] == 1], controls], ignore_index=True)


def _causaldata(name: str) -> pd.DataFrame:
    try:
        module = import_module(f"causaldata.{name}")
    except ImportError:
        raise InputError(
            "the LaLonde data are in the package causaldata; install it with "
            "pip install 'mcsim[data]'"
        ) from None
    return module.load_pandas().data


def _tidy(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep the study's columns; widen before any arithmetic, so that sums keep their digits."""
    frame = frame[_COLUMNS].astype("float64")
    integers = [name for name in _COLUMNS if not name.startswith("re")]
    return frame.astype(dict.fromkeys(integers, "int64"))


_LOADERS: dict[str, Callable[[], pd.DataFrame]] = {
    "lalonde_experimental": _lalonde_experimental,
    "lalonde_cps": _lalonde_cps,
}
