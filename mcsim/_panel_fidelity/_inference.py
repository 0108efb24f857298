"""Inference check: placebo differences in differences should vary as much as on real units.

For a break in period b the effect estimated for randomly treated units is a difference of means of
the units' changes (mean from b on less mean before), so its sampling sd is, but for a factor that
both panels share, the sd of these changes over units. Log ratios of that sd, generated over
held-out, are judged by equivalence: within a margin, outside it, or not resolvable.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

Changes = Float[ndarray, "*panel unit outcome break"]

MARGIN = 0.15
RIGHT, WRONG, UNRESOLVED = "right", "wrong", "not resolvable"
NORMAL = 1.96


def changes_in_means(cube: Float[ndarray, "*panel unit period outcome"]) -> Changes:
    """Mean from the break on less mean before, for every break from the second period on.

    Examples
    --------
    >>> changes_in_means(np.array([[[1.0], [2.0], [6.0]]])).tolist()
    [[[3.0, 4.5]]]
    """
    n_periods = cube.shape[-2]
    period, first = np.arange(n_periods), np.arange(1, n_periods)
    after = period[:, None] >= first
    contrast = np.where(after, 1 / after.sum(axis=0), -1 / (~after).sum(axis=0))
    return np.einsum("...tk,tb->...kb", cube, contrast)


def log_sd(changes: Changes) -> Float[ndarray, "outcome break"]:
    """Log sd over units; of several panels, of the mean of their variances."""
    variance = changes.var(axis=-3, ddof=1)
    with np.errstate(divide="ignore"):
        return 0.5 * np.log(variance.reshape(-1, *variance.shape[-2:]).mean(axis=0))


def log_sd_weighted(
    changes: Float[ndarray, "unit outcome break"], weights: Float[ndarray, "draw unit"]
) -> Float[ndarray, "draw outcome break"]:
    """Log sd over units, each counted as often as its weight says."""
    flat = changes.reshape(len(changes), -1)
    flat = flat - flat.mean(axis=0)
    total = weights.sum(axis=1, keepdims=True)
    mean = weights @ flat / total
    variance = (weights @ flat**2 / total - mean**2) * total / (total - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return 0.5 * np.log(np.maximum(variance, 0)).reshape(len(weights), *changes.shape[1:])


def judge(lower: float, upper: float) -> str:
    """Judge a log ratio by its interval.

    Examples
    --------
    >>> judge(-0.1, 0.12), judge(-0.4, -0.2), judge(-0.2, 0.1)
    ('right', 'wrong', 'not resolvable')
    """
    if lower >= -MARGIN and upper <= MARGIN:
        return RIGHT
    return WRONG if lower > MARGIN or upper < -MARGIN else UNRESOLVED


def inference_records(
    name: str,
    ratios: Float[ndarray, "member outcome break"],
    bootstrapped: Float[ndarray, "draw outcome break"],
    outcomes: Sequence[str],
    breaks: Sequence[Any],
) -> list[dict[str, Any]]:
    """One record per outcome and break: the mean log ratio, its interval, the verdict.

    Its error has two parts: that of the real units, and that of the number of splits.
    """
    with np.errstate(invalid="ignore"):  # a generator without variation has minus infinity
        value, of_units = ratios.mean(axis=0), bootstrapped.std(axis=0, ddof=1)
        sd = ratios.std(axis=0, ddof=1) if len(ratios) > 1 else np.full(value.shape, np.nan)
        se = np.hypot(of_units, np.nan_to_num(sd) / np.sqrt(len(ratios)))
    records = []
    for (k, outcome), (b, label) in _cells(outcomes, breaks):
        lower, upper = value[k, b] - NORMAL * se[k, b], value[k, b] + NORMAL * se[k, b]
        known = bool(np.isfinite([lower, upper]).all())
        records.append(
            {
                "generator": name,
                "outcome": outcome,
                "break": label,
                "value": float(value[k, b]),
                "se": float(se[k, b]),
                "lower": float(lower),
                "upper": float(upper),
                "sd": float(sd[k, b]),
                "verdict": judge(lower, upper) if known else _of_unknown(value[k, b]),
            }
        )
    return records


def _of_unknown(value: float) -> str:
    """A generator without any variation is wrong, however wide the interval."""
    return WRONG if np.isinf(value) else UNRESOLVED


def _cells(outcomes: Sequence[str], breaks: Sequence[Any]):
    return ((o, b) for o in enumerate(outcomes) for b in enumerate(breaks))
