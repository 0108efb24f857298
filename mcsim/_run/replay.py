"""Replaying one replication: the sample drawn again, and every estimate on it beside its row."""

from pathlib import Path

import numpy as np
import pandas as pd

from mcsim._core.keys import Stream
from mcsim._core.records import Sample
from mcsim._data.frames import to_frame
from mcsim._data.schema import Schema
from mcsim._host.pool import WorkerPool
from mcsim._results.open import results_of
from mcsim._results.results import Results
from mcsim._results.store import Store
from mcsim._run.chunks import draw
from mcsim._run.evaluate import evaluate, replications, rows_of
from mcsim._run.plan import CellPlan, EstimatorPlan, plan
from mcsim._run.run import manifest
from mcsim._run.study import Study, faults_of_reps
from mcsim.errors import InputError, UnknownName, raise_all, warn
from mcsim.measures._replications import complete_intervals

_ROWS_SHOWN = 10


def replay(
    study: Study, store: str | Path, cell: str, rep: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw one sample again and run every estimator on it, in this process.

    Parameters
    ----------
    study : Study
        The study as it was run.
    store : path
        Folder of its results, which holds the seed.
    cell : str
        The cell's hash, or its first letters.
    rep : int
        Number of the replication.

    Returns
    -------
    sample : pandas.DataFrame
        The data, as host estimators see them.
    rows : pandas.DataFrame
        Every estimate: estimator, estimand, inference, value, se, lower, upper, status, and
        ``stored``, the value in the store (missing where it is not there).

    Raises
    ------
    InputError
        For an unknown cell or a replication below 0.
    StoreMismatch
        If the study is not the one of the store.
    """
    if rep < 0:
        raise InputError(f"rep: got {rep}, expected a whole number from 0")
    home = Store.open(store)
    seed = _seed_of(home, cell)
    plans = plan(study, seed, home)
    found = _find(plans, cell)
    raise_all(faults_of_reps(rep + 1, {found.cell.dgp_name: found.cell.dgp}))
    results = results_of(home, manifest(study, seed, None, plans))
    first = rep - rep % found.chunk
    pool = WorkerPool(0)
    sample, schema = draw(found, first, pool)
    frames = [_rows_of(found, e, sample, schema, rep, pool) for e in found.estimators]
    rows = complete_intervals(pd.concat(frames), results.study["level"], results.study["null"])
    panel = replications(sample.panel, rep - first)
    return to_frame(panel, schema), _beside_store(rows, results, found, rep)


def replay_text(study: Study, store: str | Path, cell: str, rep: int) -> str:
    """Return a replay as text."""
    sample, rows = replay(study, store, cell, rep)
    return (
        f"{len(sample):,} rows, the first {min(len(sample), _ROWS_SHOWN)}:\n"
        f"{sample.head(_ROWS_SHOWN).to_string()}\n\n{rows.to_string(index=False)}"
    )


def _seed_of(store: Store, cell: str) -> int:
    """Return the seed of the cell; of the study run last, where the store has no such cell."""
    cells = [about for _, about in store.cells() if about["hash"].startswith(cell)]
    seeds = {int(about["seed"]) for about in cells}
    return seeds.pop() if len(seeds) == 1 else store.study(store.find_study())["seed"]


def _find(plans: list[CellPlan], cell: str) -> CellPlan:
    matches = [p for p in plans if p.hash.startswith(cell)]
    if len(matches) == 1:
        return matches[0]
    known = "\n".join(f"  {p.hash[:12]}  {p.cell.name}" for p in plans)
    raise UnknownName(f"cell: got {cell!r}, expected one of\n{known}")


def _rows_of(
    found: CellPlan,
    estimator: EstimatorPlan,
    sample: Sample,
    schema: Schema | None,
    rep: int,
    pool: WorkerPool,
) -> pd.DataFrame:
    """Return the rows of a replication; a compiled program runs on the whole chunk again."""
    first = rep - rep % found.chunk
    reps = range(rep, rep + 1) if estimator.is_host else range(first, first + found.chunk)
    keys = found.keys(Stream.ESTIMATOR, reps.start, reps.stop)
    panels = replications(sample.panel, slice(reps.start - first, reps.stop - first))
    done = evaluate(estimator.name, estimator.estimator, keys, panels, schema, pool=pool)
    if done.outcomes and (reason := done.outcomes[0].trouble or done.outcomes[0].remark):
        warn(f"estimator {estimator.name!r}: {reason}")
    rows = rows_of(done, np.array(reps), "estimate")
    return rows[rows["rep"] == rep].assign(estimator=estimator.name)


def _beside_store(rows: pd.DataFrame, results: Results, found: CellPlan, rep: int) -> pd.DataFrame:
    stored = results.replicates
    here = (stored["dgp"] == found.cell.dgp_name) & (stored["rep"] == rep)
    for factor, value in found.cell.design.items():
        here &= stored[factor] == value
    mine = stored.loc[here, ["estimator", "inference"]].assign(stored=stored["value"])
    shown = rows[["estimator", "estimand", "inference", "value", "se", "lower", "upper", "status"]]
    # Estimands keep their order, and one that the estimator does not name has a name in the store.
    label = ["estimator", "inference"]
    mine, shown = (part.assign(place=part.groupby(label).cumcount()) for part in (mine, shown))
    return shown.merge(mine, on=[*label, "place"], how="left").drop(columns="place")
