"""Results of diff-diff: the overall ATT, and effects by event time, period, or group and time."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from mcsim._readers._coefficients import Coefficients, numbers
from mcsim.errors import ContractError

_TABLES = {
    "event_study_effects": "event",
    "period_effects": "period",
    "group_time_effects": "att",
}
"""Attributes that hold several effects, and the word that begins their terms."""


def coefficients(result: Any) -> Coefficients:
    """Read ``att, se, conf_int, p_value``, the term ``"att"``, and the tables of effects.

    Their terms are ``"event[2]"`` (two periods after the start), ``"period[5]"``, and
    ``"att[4, 6]"`` (those treated from 4 on, in period 6).
    """
    if not hasattr(result, "att") and not hasattr(result, "overall_att"):
        raise ContractError(
            f"the estimator returned {type(result).__name__} of diff-diff, which has no att; "
            "return what fit() returns, or an mcsim.Estimate"
        )
    rows = [("att", *_overall(result)), *_effects(result)]
    names, *columns = zip(*rows, strict=True)
    value, se, p_value, lower, upper = (np.array(column, dtype=float) for column in columns)
    dfs = (getattr(result, name, None) for name in ("inference_df", "df_inference", "n_clusters"))
    inference, other, clusters = dfs
    known = [inference, other, None if clusters is None else clusters - 1, math.inf]
    return Coefficients(
        names=names,
        value=value,
        se=se,
        lower=lower,
        upper=upper,
        p_value=p_value,
        dfs=tuple(float(df) for df in known if df is not None),
        level=1 - getattr(result, "alpha", 0.05),
        first_is_main=True,
    )


def _overall(result: Any) -> tuple[Any, ...]:
    prefix = "" if hasattr(result, "att") else "overall_"
    parts = (getattr(result, prefix + name) for name in ("att", "se", "p_value", "conf_int"))
    value, se, p_value, limits = parts
    return (value, se, p_value, *limits)


def _effects(result: Any) -> Iterator[tuple[Any, ...]]:
    for attribute, word in _TABLES.items():
        for key, effect in (getattr(result, attribute, None) or {}).items():
            entry = effect if isinstance(effect, dict) else vars(effect)
            value = entry.get("effect", entry.get("att"))
            limits = numbers(entry.get("conf_int", (math.nan, math.nan)))
            inside = ", ".join(str(part) for part in np.atleast_1d(np.asarray(key)))
            p_value = entry.get("p_value", math.nan)
            yield f"{word}[{inside}]", value, entry.get("se", math.nan), p_value, *limits
