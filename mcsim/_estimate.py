"""Estimates on the real data, in the columns that replications have."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np
import pandas as pd

from mcsim._calls import with_remedies
from mcsim._core import SUCCESSES, Explained, Panel, require_panel
from mcsim._data import about_names
from mcsim._engine import diagnose_chunk, estimate_chunk, sentences, with_schema
from mcsim._escapes import warn
from mcsim._frames import to_frame
from mcsim._host import HostEstimator, rng_from_words
from mcsim._intervals import complete_intervals
from mcsim._keys import root_key
from mcsim._notes import means_of, note_sentences
from mcsim._null_and_level import faults_of_level, faults_of_null, with_null_and_level
from mcsim._numerics import require_float64
from mcsim._parts import faults_of_parts, named
from mcsim._rows import native_rows
from mcsim._schema import Schema
from mcsim.errors import raise_all, require_type


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
        For what an estimator says of the panel, such as treated cells that it leaves out, or why
        it fails on it.

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
    frames = []
    for name, asked in named("estimators", estimators):
        with sentences(f"estimator {name!r}"):
            estimator = with_null_and_level(asked, null, level)
        if isinstance(estimator, HostEstimator):
            rng = rng_from_words(np.asarray(jax.random.key_data(keys))[0])
            frame = to_frame(panel, schema)
            with _names_explained(frame):
                single = estimator(rng, frame)
            estimates = {
                label: type(e)(*(np.atleast_1d(number) for number in e))
                for label, e in single.items()
            }
        else:
            estimator = with_schema(estimator, schema, panel.nominal)
            batch = jax.tree.map(lambda leaf: leaf[None], panel)
            estimates = estimate_chunk(name, estimator, keys, batch)
            means = means_of([diagnose_chunk(name, estimator, batch)])
            for note in note_sentences([(name, means)]):
                warn(note)
        rows = native_rows([estimates], [], np.array([0]), "estimate")
        if reason := _reason(estimator, rows, panel):
            warn(f"{name}: {reason}")
        frames.append(rows.drop(columns=["rep", "truth"]).assign(estimator=name))
    rows = complete_intervals(pd.concat(frames, ignore_index=True), level, null)
    return rows[["estimator", *[column for column in rows if column != "estimator"]]]


def _reason(estimator: object, rows: pd.DataFrame, panel: Panel) -> str:
    """Return the first status that is a failure, and why; empty where no reason is told."""
    failed = rows.loc[~rows["status"].isin(SUCCESSES), "status"]
    if failed.empty or not isinstance(estimator, Explained):
        return ""
    reason = estimator.explain(panel)
    return f"{failed.iloc[0]}: {reason}" if reason else ""


@contextmanager
def _names_explained(frame: pd.DataFrame) -> Iterator[None]:
    """Add to an exception of user code what is known of a name that the frame lacks."""
    try:
        yield
    except Exception as error:
        if said := about_names(error, frame):
            error.add_note(said.removeprefix("; "))
        raise
