"""Many estimates, one verdict: which of them a generator would not produce.

A perfect generator has each estimate outside its law in 5 % of cases, so one of twelve in up to
46 %. The p-values of one generator are corrected for their number by Holm's method, which holds
however the estimates depend on each other. A p-value from drawn samples cannot fall below
2 / (draws + 1): with too few of them no estimate could lie outside, and the verdict says so.

References
----------
Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal of
Statistics 6: 65-70.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

LEVEL = 0.05  # of all estimates of a generator together
FEWEST_DRAWS = 200
Record = dict[str, Any]


def draws_for(estimates: int) -> int:
    """Return how many samples let the smallest p-value of so many estimates fall below the level.

    Examples
    --------
    >>> draws_for(3), draws_for(12)
    (200, 480)
    """
    return max(FEWEST_DRAWS, math.ceil(2 * estimates / LEVEL))


def holm(p_values: Float[ndarray, " estimate"]) -> Float[ndarray, " estimate"]:
    """Correct p-values for their number; missing ones do not count.

    Examples
    --------
    >>> holm(np.array([0.01, 0.04, np.nan, 0.03])).tolist()
    [0.03, 0.06, nan, 0.06]
    """
    order = np.argsort(p_values)[: np.isfinite(p_values).sum()]
    steps = p_values[order] * np.arange(len(order), 0, -1)
    corrected = np.full(p_values.shape, np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


def with_holm(records: Sequence[Record]) -> list[Record]:
    """Add the corrected p-values ``p_holm`` to the estimates of one generator."""
    corrected = holm(np.array([record["p_value"] for record in records], dtype=float))
    return [{**r, "p_holm": float(p)} for r, p in zip(records, corrected, strict=True)]


def outside(records: Sequence[Record]) -> str:
    """Name the estimates that the generator would not produce; "" if there are none."""
    found = [r for r in records if r["p_holm"] < LEVEL]
    if not found:
        return ""
    words = ", ".join(f"{_label(r, records)} (p {r['p_holm']:.2f})" for r in found)
    placed = len(_placed(records))
    by = f", by Holm over {placed} estimates" if placed > 1 else ""
    return f"would not produce your estimates: {words}{by}"


def unresolved(records: Sequence[Record]) -> str:
    """Say if an estimate may lie outside, but draws are too few for any to be told to; else ""."""
    placed = _placed(records)
    if not any(r["p_value"] < LEVEL for r in placed) or _can_reject(placed):
        return ""
    draws, enough = max(r["draws"] for r in placed), draws_for(len(placed))
    return (
        f"not resolvable with {draws} draws whether it would produce your {len(placed)} estimates "
        f"(draws={enough} can tell)"
    )


def n_inside(records: Sequence[Record]) -> int:
    """Return how many estimates lie inside the generator's law, as far as draws can tell."""
    return 0 if unresolved(records) else sum(r["p_holm"] >= LEVEL for r in records)


def _placed(records: Sequence[Record]) -> list[Record]:
    """Keep the estimates with a value on the real data and on generated samples."""
    return [record for record in records if np.isfinite(record["p_value"])]


def _can_reject(placed: Sequence[Record]) -> bool:
    """Whether an estimate more extreme than all draws would be told to lie outside."""
    return len(placed) * 2 / (max(r["draws"] for r in placed) + 1) < LEVEL


def _label(record: Record, records: Sequence[Record]) -> str:
    """Name an estimator, and its estimand where it has several."""
    several = sum(r["estimator"] == record["estimator"] for r in records) > 1
    return f"{record['estimator']} {record['estimand']}" if several else record["estimator"]
