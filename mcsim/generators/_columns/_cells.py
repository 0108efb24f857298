"""Which combinations of categories exist: those never seen in training are never drawn.

Discrete columns are drawn one after another. For every set of them with at most 64 joint cells, a
combination that no training row holds is forbidden; a value is allowed only if the columns still to
come can complete it. Neighboring columns are treated jointly up to 65,536 cells; sets that reach
over two such groups are left to the networks.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

MAX_CELLS = 64  # a set of columns with more joint cells is too thin to say what cannot be
MAX_JOINT = 65_536  # columns are treated jointly up to so many cells

Group = tuple[tuple[int, int], ...]
"""Positions in the order of generation, with the number of levels at each."""


def group_columns(levels: Sequence[int | None]) -> tuple[Group, ...]:
    """Split discrete columns into consecutive groups; ``levels`` is None where continuous.

    Examples
    --------
    >>> group_columns([2, 2, None, 300, 5])
    (((0, 2), (1, 2), (4, 5)),)
    """
    groups: list[Group] = []
    group: Group = ()
    for position, count in enumerate(levels):
        if count is None or count > MAX_CELLS:
            continue
        if math.prod(size for _, size in group) * count > MAX_JOINT:
            groups.append(group)
            group = ()
        group = (*group, (position, count))
    return (*groups, group) if group else tuple(groups)


def allowed_levels(group: Group, codes: np.ndarray) -> list[Bool[np.ndarray, "prefix level"]]:
    """Return, for each column of a group, which levels may follow each combination before it.

    Parameters
    ----------
    group : tuple of (position, number of levels)
        The columns.
    codes : array of int (row, position)
        The training rows' levels.

    Returns
    -------
    list of array of bool (prefix, level)
        Prefixes are numbered with the last column varying fastest.
    """
    sizes = [size for _, size in group]
    rows = codes[:, [position for position, _ in group]]
    feasible = np.ones(sizes, bool)
    for chosen in _largest_sets(sizes):
        seen = np.zeros([sizes[column] for column in chosen], bool)
        seen[tuple(rows[:, chosen].T)] = True
        shape = [size if column in chosen else 1 for column, size in enumerate(sizes)]
        feasible &= seen.reshape(shape)
    tables = []
    for column, size in enumerate(sizes):
        possible = feasible.any(axis=tuple(range(column + 1, len(sizes))))
        tables.append(possible.reshape(-1, size))
    return tables


def _largest_sets(sizes: Sequence[int]) -> list[list[int]]:
    """Return the sets with at most 64 cells that lie in no larger such set."""
    fitting: list[set[int]] = []
    for count in range(len(sizes), 0, -1):
        for chosen in itertools.combinations(range(len(sizes)), count):
            if math.prod(sizes[column] for column in chosen) > MAX_CELLS:
                continue
            if not any(larger.issuperset(chosen) for larger in fitting):
                fitting.append(set(chosen))
    return [sorted(chosen) for chosen in fitting]
