"""Notes: what estimators say of panels beside their estimates, as sentences; see `Diagnosed`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

Means = Mapping[str, float]


def means_of(chunks: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the means of diagnoses over panels, each over those on which it is a number.

    Parameters
    ----------
    chunks : sequence of dict of str to array (rep,)
        From `mcsim._engine.diagnose_chunk`, of one length; what one of them lacks is 0 there.
    """
    arrays = {name: np.ravel(array) for chunk in chunks for name, array in chunk.items()}
    told = {
        name: np.concatenate([np.ravel(chunk.get(name, np.zeros_like(one))) for chunk in chunks])
        for name, one in arrays.items()
    }
    known = {name: numbers[np.isfinite(numbers)] for name, numbers in told.items()}
    return {name: float(numbers.mean()) for name, numbers in known.items() if numbers.size}


def note_sentences(found: Iterable[tuple[str, Means]]) -> list[str]:
    """Return a sentence for everything that is not 0 everywhere.

    Parameters
    ----------
    found : iterable of (estimator, dict of str to float)
        Means, one entry for every estimator of a cell.

    Examples
    --------
    >>> note_sentences([("did", {"one treated cluster": 1.0}), ("ols", {"one treated cluster": 0})])
    ['did: one treated cluster: 1']
    """
    of: dict[tuple[str, str], list[float]] = {}
    for estimator, means in found:
        for name, mean in means.items():
            of.setdefault((estimator, name), []).append(mean)
    return [
        f"{estimator}: {name}: {_range(means)}"
        for (estimator, name), means in of.items()
        if any(means)
    ]


def _range(means: Sequence[float]) -> str:
    figures = [f"{mean:.3g}" for mean in (min(means), max(means))]
    return " to ".join(dict.fromkeys(figures))
