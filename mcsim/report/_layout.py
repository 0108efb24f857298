"""Which labels of a table go down and which go across; a wide table in parts."""

from collections.abc import Mapping, Sequence

import pandas as pd

from mcsim._core.checks import faults_of_strings
from mcsim._results.display import label, varying
from mcsim.errors import InputError, did_you_mean, raise_all
from mcsim.report._formats import label_count

MEASURE = "measure"

_NAMED = ("dgp", "estimator", "estimand", "inference", MEASURE)
"""Labels whose values need no name beside them; factors are shown as ``n = 50``."""


def laid_out(
    labels: pd.DataFrame,
    texts: Mapping[str, Sequence[str]],
    rows: str | Sequence[str] | None,
    columns: str | Sequence[str] | None,
) -> pd.DataFrame:
    """Return figures with some of their labels going down, and the others across.

    Parameters
    ----------
    labels : pandas.DataFrame
        One row for each row of the summary: all its labels.
    texts : mapping of str to sequence of str
        By measure, the figures of these rows.
    rows, columns : str or sequence of str, optional
        As in `mcsim.report.results_table`.
    """
    down, across = _sides(labels, rows, columns)
    names = [*down, *across]
    order = {name: _order(labels, texts, name) for name in names}
    cells: dict[tuple, dict[tuple, str]] = {}
    for measure, figures in texts.items():
        keys = labels.assign(**{MEASURE: measure})[names].itertuples(index=False, name=None)
        for values, text in zip(keys, figures, strict=True):
            key = tuple(map(label, values))
            cells.setdefault(key[: len(down)], {})[key[len(down) :]] = text
    below = sorted(cells, key=lambda key: _places(order, down, key))
    beside = {key for row in cells.values() for key in row}
    heads = sorted(beside, key=lambda key: _places(order, across, key))
    table = [[*key, *(cells[key].get(head, "") for head in heads)] for key in below]
    shown = [tuple(map(_shown, across, head)) for head in heads]
    return _framed(table, down, across, shown)


def _places(order: Mapping[str, Sequence[str]], names: Sequence[str], key: tuple) -> list[int]:
    """Return the places of a key's values in the order of the study."""
    return [order[name].index(value) for name, value in zip(names, key, strict=True)]


def _order(labels: pd.DataFrame, texts: Mapping[str, Sequence[str]], name: str) -> list[str]:
    values = texts if name == MEASURE else labels[name].map(label)
    return list(dict.fromkeys(values))


def _shown(name: str, value: str) -> str:
    return value if name in _NAMED or not value else f"{name} = {value}"


def _framed(
    table: Sequence[Sequence[str]], down: Sequence[str], across: Sequence[str], heads: list[tuple]
) -> pd.DataFrame:
    """Return cells as a frame: one level of columns for each label that goes across."""
    if len(across) == 1:
        frame = pd.DataFrame(table, columns=[*down, *(head[0] for head in heads)])
    else:
        own = [(name, *[""] * (len(across) - 1)) for name in down]
        tuples = pd.MultiIndex.from_tuples([*own, *heads], names=list(across))
        frame = pd.DataFrame(table, columns=tuples)
    frame.attrs["labels"] = list(down)
    frame.attrs["left"] = [MEASURE]
    return frame


def _sides(
    labels: pd.DataFrame, rows: str | Sequence[str] | None, columns: str | Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """Check the labels, and return the labels of rows and the labels of columns."""
    known = [*labels, MEASURE]
    given = {
        name: [side] if isinstance(side, str) else side
        for name, side in (("rows", rows), ("columns", columns))
    }
    raise_all(
        [
            fault
            for n, side in given.items()
            if side is not None
            for fault in faults_of_strings(n, side)
        ]
    )
    raise_all(
        [
            f"{side}: got {name!r}{did_you_mean(name, known) or f'; known are {known}'}"
            for side, names in given.items()
            for name in names or ()
            if name not in known
        ]
    )
    down, across = (list(dict.fromkeys(given[side] or ())) for side in ("rows", "columns"))
    raise_all([f"rows, columns: {n!r} is in both, expected one" for n in down if n in across])
    left = [n for n in varying(labels, list(map(str, labels))) if n not in down and n not in across]
    if MEASURE not in down and MEASURE not in across:
        across.insert(0, MEASURE)
    if rows is None:
        down = left or [n for n in ("estimator", "dgp") if n not in across][:1]
    elif columns is None:
        across += left
    elif left and not _identified(labels, [n for n in [*down, *across] if n != MEASURE]):
        raise InputError(
            f"rows, columns: {left} have several values and are in neither; add them to one, or "
            "keep the rows of one value with dataclasses.replace(results, replicates=...)"
        )
    return down, across


def _identified(labels: pd.DataFrame, names: Sequence[str]) -> bool:
    """Return whether these labels identify the rows, so that others may be left out."""
    rows = labels[list(names)].itertuples(index=False, name=None)
    return len({tuple(map(label, row)) for row in rows}) == len(labels)


def split_table(table: pd.DataFrame, by: str) -> dict[str, pd.DataFrame]:
    """Split a wide or long table into one for each value of a label, such as a factor.

    Parameters
    ----------
    table : pandas.DataFrame
        From `results_table`.
    by : str
        A label that goes down or across.

    Returns
    -------
    dict of str to pandas.DataFrame
        By value, such as ``"n = 50"``; `write_table` writes them one after the other.

    Raises
    ------
    InputError
        If the table has no such label.
    """
    labels = [str(n[0] if isinstance(n, tuple) else n) for n in table.columns][: label_count(table)]
    across = list(table.columns.names) if table.columns.nlevels > 1 else []
    if by in labels and len(labels) > 1:
        return _split_down(table, labels, by)
    if by in across:
        return _split_across(table, labels, by)
    known = [*(labels if len(labels) > 1 else []), *across]
    raise InputError(f"by: got {by!r}, expected a label of the table: {known}")


def _split_down(table: pd.DataFrame, labels: Sequence[str], by: str) -> dict[str, pd.DataFrame]:
    place = labels.index(by)
    values = table.iloc[:, place]
    keep = [i for i in range(table.shape[1]) if i != place]
    parts = {}
    for value in dict.fromkeys(values):
        part = table.loc[(values == value).to_numpy()].iloc[:, keep].reset_index(drop=True)
        part.attrs = {**table.attrs, "labels": [name for name in labels if name != by]}
        parts[_shown(by, value)] = part
    return parts


def _split_across(table: pd.DataFrame, labels: Sequence[str], by: str) -> dict[str, pd.DataFrame]:
    level = list(table.columns.names).index(by)
    heads = list(table.columns)
    own = list(range(len(labels)))
    parts = {}
    for value in dict.fromkeys(head[level] for head in heads[len(labels) :]):
        chosen = [i for i in range(len(own), len(heads)) if heads[i][level] == value]
        names = [(name, *[""] * (table.columns.nlevels - 2)) for name in labels]
        names += [tuple(p for k, p in enumerate(heads[i]) if k != level) for i in chosen]
        part = table.iloc[:, [*own, *chosen]].copy()
        rest = [name for name in table.columns.names if name != by]
        flat = len(rest) == 1
        part.columns = (
            [n[0] for n in names] if flat else pd.MultiIndex.from_tuples(names, names=rest)
        )
        part.attrs = dict(table.attrs)
        parts[value] = part
    return parts
