"""What a cell's first block tells: what never varies, what has no truth, why estimators fail."""

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
import pandas as pd

from mcsim._core import SUCCESSES, WITH_RESULT, Estimate, Explained, Panel, Status
from mcsim._missing_cells import ReadsColumns
from mcsim._readers import settled
from mcsim._worker import Outcome

_LEAST = 8  # successes, from which equal estimates are no accident


def are_frozen(panels: Panel) -> bool:
    """Whether all samples of a chunk are equal."""
    columns = [np.asarray(panels[name]) for name in panels]
    invalid = any(np.isnan(values).all() for values in columns)  # an assignment of 2s, say
    frozen = all(
        np.array_equal(c, np.broadcast_to(c[:1], c.shape), equal_nan=True) for c in columns
    )
    return frozen and not invalid


def warn_of_frozen(dgp: str) -> None:
    """Warn of a native DGP whose samples are equal: NumPy's draws are constants of a program."""
    warnings.warn(
        f"dgp {dgp!r}: all replications are the same sample; draw from the key with jax.random "
        "(np.random runs once, when the function is compiled)",
        stacklevel=2,
    )


def estimands_without_truth(rows: pd.DataFrame) -> set[str]:
    """Return the estimands of which no replication has a truth."""
    known = rows["truth"].notna().groupby(rows["estimand"], observed=True).any()
    return {str(estimand) for estimand in known.index[~known] if estimand}


def value_that_never_varies(estimator: object, rows: pd.DataFrame) -> float | None:
    """Return an estimate that misses the truth, of an estimator that says the same everywhere.

    Parameters
    ----------
    estimator : Estimator
        One that declares that it reads no column (``reads`` is empty) may give the same everywhere.
    rows : pandas.DataFrame
        Its first block.

    Returns
    -------
    float or None
        None where any of its estimates varies, or fewer than eight replications have a value.
    """
    if isinstance(estimator, ReadsColumns) and not estimator.reads:
        return None
    known = rows[rows["status"].isin(SUCCESSES) & np.isfinite(rows["value"])]
    labels = known.groupby(["estimand", "inference"], observed=True)["value"]
    if known["rep"].nunique() < _LEAST or (labels.nunique() > 1).any():
        return None
    missed = known.loc[~np.isclose(known["value"], known["truth"]), "value"]
    return None if missed.empty else float(missed.iloc[0])


def sentences_of_equal_estimates(found: Iterable[tuple[str, str, float]]) -> Iterator[str]:
    """Yield a sentence for every estimator with estimates that never vary.

    Parameters
    ----------
    found : iterable of (estimator, cell, value)

    Examples
    --------
    >>> list(sentences_of_equal_estimates([("did", "lalonde n=50", 0.5)]))[0][:64]
    'did: its estimates are the same (0.5) in all replications of cel'
    """
    cells: dict[str, list[tuple[str, float]]] = {}
    for estimator, cell, value in found:
        cells.setdefault(estimator, []).append((cell, value))
    for estimator, ((cell, value), *others) in cells.items():
        more = f" (and of {len(others)} more)" if others else ""
        yield (
            f"{estimator}: its estimates are the same ({value:g}) in all replications of cell "
            f"{cell!r}{more}: does it read what the DGP draws?"
        )


def explained(
    estimator: object, estimates: Mapping[Any, Estimate], panels: Panel, known: Collection[str]
) -> list[Outcome]:
    """Return what became of the replications of a chunk, and why, as the estimator explains it.

    Parameters
    ----------
    estimator : Estimator
        A native one; one that is not `Explained` has no reason.
    estimates : mapping of label to Estimate
        Arrays (rep,).
    panels : Panel
        Columns (rep, unit, period).
    known : collection of str
        The statuses that need no reason any more.

    Returns
    -------
    list of Outcome
        One per replication, with a text for the first of every status; empty if there is none.
    """
    statuses = np.stack([settled(estimate) for estimate in estimates.values()])
    failed = ~np.isin(statuses, WITH_RESULT)
    if not failed.any() or not isinstance(estimator, Explained):
        return []
    status = statuses[failed.argmax(axis=0), np.arange(statuses.shape[1])]  # as `failures_of` does
    outcomes = [Outcome({}, Status(int(each)), "") for each in status]
    for number, rep in zip(*np.unique(status, return_index=True), strict=True):
        one = Status(int(number))
        if not one.has_result and one.label not in known:
            panel = jax.tree.map(lambda leaf, rep=rep: leaf[rep], panels)
            outcomes[rep] = outcomes[rep]._replace(trouble=estimator.explain(panel))
    return outcomes if any(outcome.trouble for outcome in outcomes) else []
