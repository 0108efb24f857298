"""Labels of levels and periods as JSON: strings, numbers, bools and dates."""

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd


def encode_label(label: Any) -> Any:
    """Return a label as JSON; numbers of NumPy become Python's.

    Raises
    ------
    TypeError
        For a label of another type, which it names.

    Examples
    --------
    >>> encode_label(np.int64(1978)), encode_label(pd.Timestamp("1961-04-01").as_unit("s"))
    (1978, {'timestamp': ['1961-04-01T00:00:00', 's']})
    """
    if isinstance(label, np.datetime64):
        return {"datetime64": [str(label), np.datetime_data(label.dtype)[0]]}
    label = label.item() if isinstance(label, np.generic) else label
    if isinstance(label, (str, bool, int)) or (isinstance(label, float) and math.isfinite(label)):
        return label
    if isinstance(label, pd.Period):
        return {"period": [str(label), label.freqstr]}
    if label is not pd.NaT and isinstance(label, (pd.Timestamp, datetime)):
        unit = [label.unit] if isinstance(label, pd.Timestamp) else []
        return {type(label).__name__.lower(): [label.isoformat(), *unit]}
    if isinstance(label, date):
        return {"date": [label.isoformat()]}
    raise TypeError(
        f"the label {label!r} is a {type(label).__name__}; model files hold strings, numbers, "
        "bools and dates: convert the labels before the fit"
    )


def decode_label(entry: Any) -> Any:
    """Return the label of which `encode_label` made this JSON.

    Raises
    ------
    ValueError
        If it made no such thing.

    Examples
    --------
    >>> decode_label({"date": ["1961-04-01"]})
    datetime.date(1961, 4, 1)
    """
    if isinstance(entry, (str, bool, int, float)):
        return entry
    kind, arguments = next(iter(entry.items()), ("", ())) if isinstance(entry, dict) else ("", ())
    if kind in _KINDS and isinstance(arguments, list):
        return _KINDS[kind](*map(str, arguments))
    raise ValueError(f"{entry!r} is no label")


_KINDS: Mapping[str, Callable[..., Any]] = {
    "datetime64": np.datetime64,
    "period": pd.Period,
    "timestamp": lambda text, unit: pd.Timestamp(text).as_unit(unit),
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
}
