"""Rows that are conditional on common shocks: which they are, and what stands under their table.

Driscoll-Kraay errors and those clustered by period, or two-way, allow for shocks that units share.
On a DGP that repeats the same shocks in every replication they are judged without any being drawn.
"""

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

MARK = " †"

NOTE = (
    "† allows for common shocks, which are the same in every replication here (common_shocks="
    "'fixed'): judged given these shocks; common_shocks='redraw' draws them anew."
)

_FOR_SHOCKS = re.compile(r"DK\b|.*\(.*(\btime\b|\+).*\)")  # DK(3), CR1(time), CR1(unit + time)


def conditional_rows(rows: pd.DataFrame, study: Mapping[str, Any]) -> pd.Series:
    """Return which rows have errors that allow for shocks, on a DGP whose shocks are fixed.

    Examples
    --------
    >>> rows = pd.DataFrame({"dgp": [*"aaab"], "inference": ["CR1", "CR1(time)", "DK(2)", "DK"]})
    >>> conditional_rows(rows, {"common_shocks": {"a": "fixed", "b": "redraw"}}).tolist()
    [False, True, True, False]
    """
    shocks = study.get("common_shocks", {})
    fixed = rows["dgp"].map(lambda name: shocks.get(name) == "fixed").astype(bool)
    return fixed & rows["inference"].fillna("").astype(str).str.match(_FOR_SHOCKS)
