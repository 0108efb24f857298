"""Units that a bootstrap sample holds several times: copies tell nothing new of the units' law.

A unit whose copy was learned from is not left out, and twenty copies are not twenty units: whatever
overfits would look right.
"""

import numpy as np
from jaxtyping import Int

UnitNumbers = Int[np.ndarray, " unit"]


def identities(rows: UnitNumbers) -> UnitNumbers:
    """Number the units of a sample in the order in which they first appear, copies alike.

    Examples
    --------
    >>> identities(np.array([7, 7, 3, 5, 3]))
    array([0, 0, 1, 2, 1])
    """
    _, first, number = np.unique(rows, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number]


def without_copies(rows: UnitNumbers) -> Int[np.ndarray, " place"]:
    """Return the places in a sample at which units appear for the first time.

    Examples
    --------
    >>> without_copies(np.array([7, 7, 3, 5, 3]))
    array([0, 2, 3])
    """
    return np.sort(np.unique(rows, return_index=True)[1])


def effective_size(rows: UnitNumbers) -> int:
    """Return how many units without copies tell as much about a mean: Kish (1965), section 11.7.

    Examples
    --------
    >>> effective_size(np.array([7, 7, 3, 5, 3]))
    2
    """
    _, times = np.unique(rows, return_counts=True)
    return int(times.sum() ** 2 // (times**2).sum())
