"""Rows sorted into groups, in the order of `rep`, and paired with those of the reference.

Sorting comes first, so that no result depends on the order of rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from numpy import ndarray

from mcsim.errors import did_you_mean, raise_all
from mcsim.measures._columns import Columns, Roles, read_columns
from mcsim.measures._replications import Replications, replications


@dataclass(frozen=True)
class Grouped:
    """Replications of all groups, contiguous: group g has the rows bounds[g] to bounds[g + 1]."""

    labels: pd.DataFrame
    replications: Replications
    bounds: Int[ndarray, " edge"]

    def __iter__(self) -> Iterator[Replications]:
        columns = vars(self.replications)
        for start, stop in zip(self.bounds[:-1], self.bounds[1:], strict=True):
            yield Replications(**{name: array[start:stop] for name, array in columns.items()})


def read(frame: pd.DataFrame, roles: Roles, level: float, reference: object) -> Grouped:
    """Read a frame of replications, sort it into groups and pair it with the reference."""
    columns = read_columns(frame, roles)
    group = _group_codes(frame, roles.keys)
    rep = _rep_codes(frame, roles, reference)
    _check_rows(frame, roles, columns, group, rep)
    rows = replications(columns, level, _reference_spread(frame, roles, columns, rep, reference))
    order = _order(group if rep is None else group * (rep.max() + 1) + rep)
    counts = np.bincount(group)
    bounds = np.concatenate([[0], np.cumsum(counts)])
    first = np.full(len(counts), len(group))
    np.minimum.at(first, group, np.arange(len(group)))
    return Grouped(
        labels=frame[roles.keys].iloc[first].reset_index(drop=True),
        replications=Replications(**{name: array[order] for name, array in vars(rows).items()}),
        bounds=bounds,
    )


def _group_codes(frame: pd.DataFrame, keys: Sequence[str]) -> Int[ndarray, " row"]:
    """Number the groups in their order of appearance; a missing key is a group too."""
    if not keys:
        return np.zeros(len(frame), dtype=np.int64)
    groups = frame.groupby(list(keys), sort=False, dropna=False, observed=True)
    return groups.ngroup().to_numpy(dtype=np.int64)


def _rep_codes(frame: pd.DataFrame, roles: Roles, reference: object) -> Int[ndarray, " row"] | None:
    if roles.rep is None:
        if reference is not None:
            raise_all(["rep: relative_precision pairs replications; name the column in rep"])
        return None
    codes = pd.factorize(frame[roles.rep], sort=True)[0].astype(np.int64)
    missing = int(np.sum(codes < 0))
    raise_all([f"rep: column {roles.rep!r} is missing in {missing} rows"] if missing else [])
    return codes


def _check_rows(
    frame: pd.DataFrame,
    roles: Roles,
    columns: Columns,
    group: Int[ndarray, " row"],
    rep: Int[ndarray, " row"] | None,
) -> None:
    faults = []
    if rep is not None:
        twice = pd.Series(group * (rep.max() + 1) + rep).duplicated().to_numpy()
        if twice.any():
            example = frame[[*roles.keys, roles.rep]].iloc[int(np.argmax(twice))].to_dict()
            faults.append(
                f"rep: {int(twice.sum())} rows repeat a replication of their group, the first is "
                f"{example}; add to `by` what tells them apart (an estimand, a design factor), or "
                "pass rep=None"
            )
    usable = np.bincount(group, weights=~columns.failed)
    known = np.bincount(group, weights=~columns.failed & ~np.isnan(columns.truth))
    partial = int(np.sum((known > 0) & (known < usable)))
    if partial:
        faults.append(
            f"truth: missing in some successful replications of {partial} groups that have it in "
            "others; fill it, or separate them with `by`"
        )
    raise_all(faults)


def _reference_spread(
    frame: pd.DataFrame,
    roles: Roles,
    columns: Columns,
    rep: Int[ndarray, " row"] | None,
    reference: object,
) -> Float[ndarray, " row"]:
    """`spread` of the reference in the same cell and replication; NaN where it has none."""
    paired = np.full(len(frame), np.nan)
    if reference is None or rep is None or roles.method is None:
        return paired
    is_reference = (frame[roles.method] == reference).fillna(False).to_numpy(dtype=bool)
    if not is_reference.any():
        options = map(str, frame[roles.method].dropna().unique())
        hint = did_you_mean(str(reference), options)
        raise_all([f"reference: {reference!r} is not in column {roles.method!r}{hint}"])
    cell = _group_codes(frame, [name for name in roles.keys if name != roles.method])
    keys = cell * (rep.max() + 1) + rep
    target = np.where(np.isnan(columns.truth), 0.0, columns.truth)
    spread = np.where(columns.failed, np.nan, columns.value - target)[is_reference]
    order = np.argsort(keys[is_reference])
    ordered = keys[is_reference][order]
    place = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
    found = ordered[place] == keys
    paired[found] = spread[order][place[found]]
    return paired


def _order(key: Int[ndarray, " row"]) -> Int[ndarray, " row"] | slice:
    return slice(None) if np.all(key[1:] >= key[:-1]) else np.argsort(key, kind="stable")
