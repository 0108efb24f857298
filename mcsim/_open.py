"""Opening a store: the rows of the study that it ran last, put in order. Nothing is executed."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mcsim._intervals import complete_intervals
from mcsim._mended import remarks_on_mended
from mcsim._notes import note_sentences
from mcsim._results import GENERAL_CAVEATS, Results, factors_of
from mcsim._store import Store, read_block, read_json
from mcsim.errors import StoreError


def open_results(path: str | Path, *, level: float | None = None) -> Results:
    """Open the results of the study that a store ran last. Nothing of the store is executed.

    Parameters
    ----------
    path : path
        Folder of the store.
    level : float, optional
        Another confidence level than the study's. An estimator's own limits stay as they are.

    Returns
    -------
    Results

    Raises
    ------
    StoreError
        If the folder is no store, or holds no run or no replication yet.
    """
    store = Store.open(path)
    study = store.latest_study()
    study = {**study, "level": study["level"] if level is None else level}
    frames, truths = [], []
    for cell in study["cells"]:
        truths += _truths_of(store, cell)
        for name, estimator in cell["estimators"]:
            rows = _rows_of(store, cell["hash"], estimator, study["reps"])
            frames.append(rows.assign(estimator=name, dgp=cell["dgp"], **cell["design"]))
    if not any(map(len, frames)):
        raise StoreError(f"store: {store.path} holds no replication yet; use mcsim run")
    replicates = _tidy(_name_failures(frames), study)
    truth_columns = ["dgp", *factors_of(study), "estimand", "value", "mcse", "kind"]
    truth = pd.DataFrame(truths, columns=truth_columns)
    whole = [factor for factor in factors_of(study) if _all_whole(study, factor)]
    truth = truth.astype(dict.fromkeys(whole, "Int64"))
    caveats = (*GENERAL_CAVEATS, *study["caveats"], *remarks_on_mended(store, study))
    return Results(replicates, truth, study, caveats, _notes_of(store, study))


def _rows_of(store: Store, cell: str, estimator: str, reps: int) -> pd.DataFrame:
    frames = []
    for file in sorted(store.estimator(cell, estimator).glob("r*.parquet")):
        try:
            frames.append(read_block(file))
        except StoreError as error:
            warnings.warn(f"{error}; left out: mcsim run computes it again", stacklevel=3)
    if not frames:
        return pd.DataFrame()
    rows = pd.concat(frames, ignore_index=True)
    return rows[rows["rep"] < reps].astype({"estimand": str, "inference": str, "status": str})


def _name_failures(frames: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Give the failures of a block without any success the labels that its estimator has elsewhere.

    Parameters
    ----------
    frames : sequence of pandas.DataFrame
        The rows of one estimator in one cell each.
    """
    filled = [frame for frame in frames if len(frame)]
    rows = pd.concat([f[["estimator", "estimand", "inference"]] for f in filled])
    known = rows[rows["estimand"] != ""].drop_duplicates()
    return [_complete(_name_failures_in(frame, known)) for frame in filled]


def _name_failures_in(rows: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    unnamed = rows["estimand"] == ""
    labels = known[known["estimator"] == rows["estimator"].iloc[0]].drop(columns="estimator")
    if not unnamed.any() or labels.empty:
        return rows
    failed = rows[unnamed].drop(columns=["estimand", "inference"]).merge(labels, how="cross")
    named = pd.concat([rows[~unnamed], failed], ignore_index=True)
    return named.sort_values("rep", kind="stable", ignore_index=True)


def _complete(rows: pd.DataFrame) -> pd.DataFrame:
    """Add a failure for every label that an estimator gave in some replications only.

    Parameters
    ----------
    rows : pandas.DataFrame
        The rows of one estimator in one cell.
    """
    labels = rows[["estimand", "inference"]].drop_duplicates()
    if len(rows) == len(labels) * rows["rep"].nunique():
        return rows
    pairs = rows[["rep"]].drop_duplicates().merge(labels, how="cross")
    full = pairs.merge(rows, on=["rep", "estimand", "inference"], how="left")
    lacking = full["status"].isna()
    constant = [c for c in rows if rows[c].nunique(dropna=False) == 1 and c != "status"]
    full.loc[lacking, constant] = rows[constant].iloc[0].to_numpy()
    return full.fillna({"status": "error"})[list(rows.columns)]


def _truths_of(store: Store, cell: Mapping[str, Any]) -> list[dict[str, Any]]:
    file = store.cell(cell["hash"]) / "truth.json"
    if not file.exists():
        return []
    stored = read_json(file)
    where = {"dgp": cell["dgp"], **cell["design"]}
    return [
        {**where, "estimand": name, "value": value, "mcse": mcse, "kind": stored["kind"]}
        for name, (value, mcse) in stored["values"].items()
    ]


def _notes_of(store: Store, study: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what estimators say of the panels of each cell's first block."""
    found = []
    for cell in study["cells"]:
        for name, estimator in cell["estimators"]:
            file = store.notes(cell["hash"], estimator)
            found.append((name, read_json(file) if file.exists() else {}))
    return tuple(note_sentences(found))


def _tidy(frames: list[pd.DataFrame], study: Mapping[str, Any]) -> pd.DataFrame:
    rows = pd.concat(frames, ignore_index=True)
    factors = factors_of(study)
    order = [*factors, "dgp", "estimator", "estimand", "inference", "rep", "value", "se", "lower"]
    rows = rows[[*order, "upper", "df", "p_value", "truth", "status"]]
    rows = rows.astype({factor: "Int64" for factor in factors if _all_whole(study, factor)})
    return complete_intervals(rows, study["level"], study["null"])


def _all_whole(study: Mapping[str, Any], factor: str) -> bool:
    values = [c["design"][factor] for c in study["cells"] if factor in c["design"]]
    return all(isinstance(value, int) and not isinstance(value, bool) for value in values)
