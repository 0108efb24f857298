"""Values that draws are given: those that training never saw have no distribution to draw from."""

from collections.abc import Collection, Sequence

import numpy as np
from jax.core import Tracer
from jaxtyping import Array

SHOWN = 5  # unseen values named in a sentence


def faults_of_given_values(
    names: Sequence[str], values: Sequence[Array], seen: Collection[tuple[float, ...]] | None
) -> list[str]:
    """Return what is wrong with the values of given columns, taken together.

    Parameters
    ----------
    names : sequence of str
        The columns.
    values : sequence of array (unit,)
        Their values. Traced ones cannot be looked at: units with unseen values are NaN there.
    seen : collection of tuple of float, or None
        The joint values that training saw; None: any that is finite will do.
    """
    if any(isinstance(column, Tracer) for column in values):
        return []
    infinite = {n: int((~np.isfinite(v)).sum()) for n, v in zip(names, values, strict=True)}
    faults = [f"given column {n!r}: {k} values are not finite" for n, k in infinite.items() if k]
    if faults or seen is None:
        return faults
    known = set(seen)
    found = np.unique(np.stack([np.asarray(column) for column in values], axis=1), axis=0)
    rows: list[tuple[float, ...]] = [tuple(row) for row in found.tolist()]
    unseen = [row for row in rows if row not in known]
    if not unseen:
        return []
    columns = f"columns {list(names)}" if len(names) > 1 else f"column {names[0]!r}"
    came = [row[0] if len(names) == 1 else row for row in unseen[:SHOWN]]
    were = ", ".join(map(_worded, seen))
    return [f"given {columns}: {came} unseen in training (seen: {were}); give seen values only"]


def _worded(row: tuple[float, ...]) -> str:
    """Write one value, or a joint value in parentheses."""
    words = ", ".join(f"{value:g}" for value in row)
    return f"({words})" if len(row) > 1 else words
