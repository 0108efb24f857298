"""Names in a frame: the columns, or index levels, of units, periods and data."""

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd
from pandas.errors import UndefinedVariableError

from mcsim._data.cells import quoted
from mcsim.errors import InputError, did_you_mean, raise_all

PANEL_LEVELS = ("unit", "time")
QUOTED = re.compile(r"""['"`]([^'"`]+)['"`]""")
OF_SEVERAL = re.compile(r"not in index|not found in axis|are in the \[")  # pandas of a list of keys
FORMULAS = ("formulaic", "patsy")


def with_index_as_columns(
    frame: pd.DataFrame, unit: str | None, time: str | None
) -> tuple[pd.DataFrame, str | None, str | None]:
    """Return a frame with columns of units and periods, and the names of these columns.

    Raises
    ------
    InputError
        If columns have several levels of names or share a name; if an index has more than two
        levels, or one of the same name as a column of other values; if a column is not there.
    """
    raise_all(_faults_of_columns(frame))
    if unit is None and time is None and frame.index.nlevels > 1:
        unit, time = names = _names_of_two_levels(frame.index)
        frame = frame.rename_axis(index=names)
    named = [name for name in frame.index.names if isinstance(name, str)]
    if {unit, time}.intersection(named):
        frame = _with_levels(frame, named)
    if time is not None and unit is None:
        raise InputError(f"unit: got None with time={time!r}, expected the unit's column too")
    missing = [name for name in (unit, time) if name is not None and name not in frame]
    known = text_names(frame)
    raise_all([f"index column {n!r} is not in the frame{did_you_mean(n, known)}" for n in missing])
    return frame, unit, time


def text_names(frame: pd.DataFrame) -> list[str]:
    """Return the column names that are text, which alone can be requested."""
    return [name for name in frame if isinstance(name, str)]


def faults_of_names(names: Sequence[Any], index: Sequence[Any]) -> list[str]:
    """Return a fault for column names that are no text, as formulas and files require."""
    odd = [name for name in (*index, *names) if not isinstance(name, str)]
    if not names:
        beside = f" beside {list(index)}" if index else ""
        return [f"columns: there are none{beside}, expected at least one"]
    if not odd:
        return []
    few = ", ".join(map(quoted, odd[:3]))
    return [
        f"frame: it has columns named {few}, expected names that are text: frame.columns = ['y', "
        "'x', ...]; if they are periods, make it long first: frame.stack()"
    ]


def about_names(error: BaseException, frame: pd.DataFrame | None) -> str:
    """Return a remark on the name in an error, if it is no column of the frame.

    Names are keys, attributes of frames, and variables of formulas: of patsy, of formulaic (as in
    pyfixest and linearmodels) and of `pandas.DataFrame.query`. A plain NameError is about a name of
    the user's code.

    Examples
    --------
    >>> about_names(KeyError("wagee"), pd.DataFrame({"wage": [1.0]}))
    "; the frame has no column 'wagee'; did you mean 'wage'?"
    """
    if frame is None:
        return ""
    asked = next((name for name in _asked_of(error) if name not in frame), "")
    if not asked:
        return ""
    names = [*map(str, frame.columns), *filter(None, frame.index.names)]
    if asked in frame.index.names:
        return f"; {asked!r} is in the index: frame.reset_index() makes it a column"
    return f"; the frame has no column {asked!r}{did_you_mean(asked, names)}"


def _asked_of(error: BaseException) -> list[str]:
    """Return the names that an error reports as missing, perhaps with others."""
    cause = error.__cause__
    if isinstance(error, KeyError):
        key = error.args[0] if error.args else None
        if not isinstance(key, str):
            return []
        return QUOTED.findall(key) if OF_SEVERAL.search(key) else [key]
    if isinstance(error, AttributeError):
        return [error.name] if isinstance(error.obj, pd.DataFrame) and error.name else []
    if isinstance(error, UndefinedVariableError):
        return QUOTED.findall(str(error))
    if isinstance(cause, NameError) and type(error).__module__.partition(".")[0] in FORMULAS:
        return [cause.name] if cause.name else QUOTED.findall(str(cause))
    return []


def _faults_of_columns(frame: pd.DataFrame) -> list[str]:
    if isinstance(frame.columns, pd.MultiIndex):
        return [
            f"frame: its columns have names of {frame.columns.nlevels} levels, such as "
            f"{quoted(frame.columns[0])}, expected one: frame.columns = ['_'.join(map(str, name)) "
            "for name in frame.columns]; if a level holds periods, make it long first: "
            "frame.stack()"
        ]
    if frame.columns.is_unique:
        return []
    twice = sorted({quoted(name) for name in frame.columns[frame.columns.duplicated()]})
    names = ", ".join(twice)
    return [f"frame: the columns [{names}] occur more than once, expected each name once"]


def _names_of_two_levels(index: pd.Index) -> list[str]:
    """Return names for a level of units and one of periods; names that they have stay."""
    found = quoted(list(index.names))
    if index.nlevels != len(PANEL_LEVELS):
        raise InputError(
            f"frame: its index has {index.nlevels} levels, {found}, expected one of units and "
            "one of periods: name them with unit=... and time=..., or use frame.reset_index() if "
            "every row is a unit"
        )
    pairs = zip(index.names, PANEL_LEVELS, strict=True)
    names = [name if own is None else own for own, name in pairs]
    text = [name for name in names if isinstance(name, str)]
    if len({*text}) < len(PANEL_LEVELS):
        raise InputError(
            f"frame: the levels of its index are named {found}, expected two names that are text: "
            "frame.rename_axis(index=['unit', 'time'])"
        )
    return text


def _with_levels(frame: pd.DataFrame, levels: list[str]) -> pd.DataFrame:
    """Make columns of levels; one that a column holds as well is left out if both are equal."""
    if len({*levels}) < len(levels):
        raise InputError(
            f"frame: the levels {quoted(levels)} of its index share a name, expected each once"
        )
    twice = [name for name in levels if name in frame]
    other = [name for name in twice if not _is_column(frame, name)]
    raise_all(
        [
            f"frame: {quoted(name)} is a column and, with other values, a level of the index; "
            "rename one of them, or leave the level out with frame.reset_index(drop=True)"
            for name in other
        ]
    )
    frame = frame.reset_index(level=twice, drop=True) if twice else frame
    rest = [name for name in levels if name not in twice]
    return frame.reset_index(level=rest) if rest else frame


def _is_column(frame: pd.DataFrame, name: str) -> bool:
    level, column = frame.index.get_level_values(name), frame[name]
    return bool(level.to_series().reset_index(drop=True).equals(column.reset_index(drop=True)))
