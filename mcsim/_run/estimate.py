"""Estimates on the real data, in the columns that replications have."""

from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Array, Key

from mcsim._core.calls import with_remedies
from mcsim._core.checks import require_type
from mcsim._core.keys import root_key
from mcsim._core.machine import one_blas_thread, require_float64
from mcsim._core.protocols import Explained, faults_of_level, faults_of_null, with_null_and_level
from mcsim._core.records import SUCCESSES, Panel, require_panel
from mcsim._data.schema import Schema
from mcsim._results.caveats import means_of, note_sentences
from mcsim._run.compiled import diagnose_chunk, readable_errors
from mcsim._run.evaluate import batch_of_one, evaluate, rows_of
from mcsim._run.parts import faults_of_parts, named
from mcsim.errors import raise_all, warn
from mcsim.measures._replications import complete_intervals


@with_remedies()
def estimate(
    estimators: object,
    panel: Panel,
    *,
    schema: Schema | None = None,
    level: float = 0.95,
    null: float = 0.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Run estimators on one panel, usually the real one.

    Parameters
    ----------
    estimators : Estimator, sequence of them, or mapping of name to Estimator
        As in a `Study`; host estimators run in this process.
    panel : Panel
        The data.
    schema : Schema, optional
        Names and categories for host estimators.
    level, null : float
        Confidence level, and the value that p-values are of; as in a `Study`, handed to estimators
        whose own p-values and limits depend on them.
    seed : int
        Seed of the key of resampling estimators.

    Returns
    -------
    pandas.DataFrame
        One row per estimator, estimand and inference: value, se, lower, upper, df, p_value, status.

    Warns
    -----
    UserWarning
        For an estimator's notes on the panel, such as treated cells that it leaves out, and for
        the reason of a failure.

    Raises
    ------
    InputError
        If an estimator does not fit the panel, or was given another null or level.

    Examples
    --------
    >>> from mcsim.testing import exact_estimator
    >>> estimate(exact_estimator(truth=1.0), Panel({"y": [1.0]}))[["estimator", "value"]]
             estimator  value
    0  exact_estimator    1.0
    """
    require_float64("estimate")
    require_panel(panel)
    if schema is not None:
        require_type("schema", schema, Schema, "panel, schema = mcsim.from_frame(frame)")
    raise_all(
        faults_of_parts("estimators", estimators) + faults_of_level(level) + faults_of_null(null)
    )
    keys = jax.random.split(root_key(seed), 1)
    with one_blas_thread():
        frames = [
            _rows_of(name, part, keys, panel, schema, (null, level))
            for name, part in named("estimators", estimators)
        ]
    rows = complete_intervals(pd.concat(frames, ignore_index=True), level, null)
    return rows[["estimator", *[column for column in rows if column != "estimator"]]]


def _rows_of(
    name: str,
    asked: Any,
    keys: Key[Array, " 1"],
    panel: Panel,
    schema: Schema | None,
    null_and_level: tuple[float, float],
) -> pd.DataFrame:
    """Return the rows of an estimator, and warn of its notes and of a failure."""
    with readable_errors(f"estimator {name!r}"):
        estimator = with_null_and_level(asked, *null_and_level)
    panels = batch_of_one(panel)
    found = evaluate(name, estimator, keys, panels, schema)
    means = means_of([diagnose_chunk(name, found.estimator, panels)])
    for note in note_sentences([(name, means)]):
        warn(note)
    rows = rows_of(found, np.array([0]), "estimate")
    if reason := _reason(found.estimator, rows, panel):
        warn(f"{name}: {reason}")
    return rows.drop(columns=["rep", "truth"]).assign(estimator=name)


def _reason(estimator: object, rows: pd.DataFrame, panel: Panel) -> str:
    """Return the first failure and its reason; empty where the estimator explains none."""
    failed = rows.loc[~rows["status"].isin(SUCCESSES), "status"]
    if failed.empty or not isinstance(estimator, Explained):
        return ""
    reason = estimator.explain(panel)
    return f"{failed.iloc[0]}: {reason}" if reason else ""
