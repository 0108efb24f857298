"""Units that a bootstrap sample holds several times: cross-validation keeps copies together.

A unit whose copy was learned from is not left out: everything that overfits would look right.
"""

import numpy as np
from jaxtyping import Int

Rows = Int[np.ndarray, " unit"]


def distinct(rows: Rows) -> Rows:
    """Number units in the order in which they first appear; copies have one number.

    Examples
    --------
    >>> distinct(np.array([7, 7, 3, 5, 3]))
    array([0, 0, 1, 2, 1])
    """
    _, first, number = np.unique(rows, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number]
