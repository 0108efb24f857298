"""Whose own limits and p-values are not at the level and null that a table states.

Limits and p-values that an estimator leaves to mcsim are completed at any level and null. Its own
stay what they are: at the study's, where it took them (see `_null_and_level`), else at those that
it chose, which mcsim cannot know.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mcsim._null_and_level import LEVEL, NULL


def limits_left_behind(rows: pd.DataFrame, of_study: float, asked: float | None) -> list[str]:
    """Name the estimates whose own limits stay at the study's level where another is asked for.

    Parameters
    ----------
    rows : pandas.DataFrame
        The rows as they are stored, before mcsim completes them.
    of_study, asked : float
        The level of the study, and the one to open it at.
    """
    if asked is None or asked == of_study or not (names := _with_own(rows, "lower", "upper")):
        return []
    return [
        f"The limits of {_listed(names)} are the estimators' own: they stay at {of_study:.0%}, the "
        f"level of the study, not at {asked:.0%}."
    ]


def out_of_reach(rows: pd.DataFrame, study: Mapping[str, Any]) -> list[str]:
    """Name the estimates with limits or p-values of their own that the study did not decide.

    Parameters
    ----------
    rows : pandas.DataFrame
        The rows as they are stored.
    study : mapping
        Its null and level, and ``taken``: which of them each estimator took.
    """
    limits = _deciding_themselves(_with_own(rows, "lower", "upper"), "level", study)
    p_values = _deciding_themselves(_with_own(rows, "p_value"), "null", study)
    sentences = []
    if limits and study["level"] != LEVEL:
        sentences.append(
            f"The limits of {_listed(limits)} are the estimators' own, at a level that the study "
            f"does not decide: they may not be at {study['level']:.0%}."
        )
    if p_values and study["null"] != NULL:
        sentences.append(
            f"The p-values of {_listed(p_values)} are the estimators' own, of a null that the "
            f"study does not decide: they may not test {study['null']:g}."
        )
    return sentences


def _with_own(rows: pd.DataFrame, *columns: str) -> list[tuple[str, str]]:
    """Return (estimator, inference) of the estimates with a number of their own in a column."""
    own = np.logical_or.reduce([rows[column].notna() for column in columns])
    pairs = rows.loc[own, ["estimator", "inference"]].drop_duplicates()
    return [(str(estimator), str(inference)) for estimator, inference in pairs.to_numpy()]


def _deciding_themselves(
    names: list[tuple[str, str]], what: str, study: Mapping[str, Any]
) -> list[tuple[str, str]]:
    return [pair for pair in names if what not in study.get("taken", {}).get(pair[0], ())]


def _listed(names: list[tuple[str, str]]) -> str:
    return ", ".join(f"{estimator} {inference}".strip() for estimator, inference in names)
