"""Placebo laws: whether inference on generated panels agrees with inference on real ones.

A placebo law treats units without any effect, as in Bertrand, Duflo & Mullainathan (2004, Quarterly
Journal of Economics 119: 249-275). Two checks: the standard deviation of placebo effects, and
rejection rates of nominal 5 % tests, by standard error, where half of the units are treated from a
random period in the middle on.

For a placebo date b the effect estimated for randomly treated units is a difference of means of
the units' changes (mean from b on less mean before), so its sampling sd is, up to a factor common
to both panels, the sd of these changes over units. Log ratios of this sd, generated over
held-out, are judged by equivalence: within a margin, outside it, or not resolvable.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Bool, Float, Key
from numpy import ndarray

from mcsim._core.records import Panel
from mcsim._fidelity.estimates import LEVEL
from mcsim._fidelity.verdicts import UNRESOLVED, WRONG, equivalence
from mcsim.dgps import at_random
from mcsim.estimators import fixed_effects

Changes = Float[ndarray, "*panel unit outcome date"]

NORMAL = 1.96
INFERENCES = ("iid", "CR1", "wild")
WILD_DRAWS = 199  # (draws + 1) x level is whole: the test is exact where signs are exchangeable
BLOCK = 50  # placebo laws of one call: every number of them shares a program
SIDE_BY_SIDE, CELLS = 10, 4_000  # placebo laws computed at once, in panels of this many cells


# The standard deviation of placebo effects


def changes_in_means(cube: Float[ndarray, "*panel unit period outcome"]) -> Changes:
    """Return mean from the date on less mean before, for every placebo date but the first period.

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


def log_sd(changes: Changes) -> Float[ndarray, "outcome date"]:
    """Return log sds over units; of several panels, from the mean of their variances."""
    variance = changes.var(axis=-3, ddof=1)
    with np.errstate(divide="ignore"):
        return 0.5 * np.log(variance.reshape(-1, *variance.shape[-2:]).mean(axis=0))


def log_sd_weighted(
    changes: Float[ndarray, "unit outcome date"], weights: Float[ndarray, "draw unit"]
) -> Float[ndarray, "draw outcome date"]:
    """Return log sds over units, under several weightings of the units."""
    flat = changes.reshape(len(changes), -1)
    flat = flat - flat.mean(axis=0)
    total = weights.sum(axis=1, keepdims=True)
    mean = weights @ flat / total
    variance = (weights @ flat**2 / total - mean**2) * total / (total - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return 0.5 * np.log(np.maximum(variance, 0)).reshape(len(weights), *changes.shape[1:])


def inference_records(
    name: str,
    ratios: Float[ndarray, "member outcome date"],
    bootstrapped: Float[ndarray, "draw outcome date"],
    outcomes: Sequence[str],
    dates: Sequence[Any],
) -> list[dict[str, Any]]:
    """Return a record per outcome and placebo date: mean log ratio, interval, verdict.

    The error has two parts: from the real units, and from the number of splits.
    """
    with np.errstate(invalid="ignore"):  # a generator without variation has minus infinity
        value, of_units = ratios.mean(axis=0), bootstrapped.std(axis=0, ddof=1)
        sd = ratios.std(axis=0, ddof=1) if len(ratios) > 1 else np.full(value.shape, np.nan)
        se = np.hypot(of_units, np.nan_to_num(sd) / np.sqrt(len(ratios)))
    records = []
    for (k, outcome), (b, label) in _cells(outcomes, dates):
        lower, upper = value[k, b] - NORMAL * se[k, b], value[k, b] + NORMAL * se[k, b]
        known = bool(np.isfinite([lower, upper]).all())
        records.append(
            {
                "generator": name,
                "outcome": outcome,
                "placebo_date": label,
                "value": float(value[k, b]),
                "se": float(se[k, b]),
                "lower": float(lower),
                "upper": float(upper),
                "sd": float(sd[k, b]),
                "verdict": equivalence(lower, upper) if known else _of_unknown(value[k, b]),
            }
        )
    return records


def _of_unknown(value: float) -> str:
    """Judge a generator without any variation: wrong, however wide the interval."""
    return WRONG if np.isinf(value) else UNRESOLVED


def _cells(outcomes: Sequence[str], dates: Sequence[Any]):
    return ((o, b) for o in enumerate(outcomes) for b in enumerate(dates))


# Rejection rates


def placebo_rejections(
    key: Key[Array, ""], panels: Float[ndarray, "panel unit period"], reps: int
) -> Bool[ndarray, "rep inference"]:
    """Return which tests of placebo laws (without effect) reject; panels take turns.

    Parameters
    ----------
    key : key
    panels : array (panel, unit, period)
        One outcome.
    reps : int
        Number of placebo laws.
    """
    blocks = -(-reps // BLOCK)
    which, keys = np.arange(blocks * BLOCK) % len(panels), jax.random.split(key, blocks * BLOCK)
    places = [slice(start, start + BLOCK) for start in range(0, blocks * BLOCK, BLOCK)]
    program = _program(*panels.shape[1:])
    rejected = [_rejects(program(keys[place], panels[which[place]])) for place in places]
    return np.concatenate(rejected)[:reps]


def _rejects(found: dict[str, dict[str, Array]]) -> Bool[ndarray, "rep inference"]:
    """Compare p-values with the level; an estimate without standard error has its own p-value."""
    p_values = []
    for inference in INFERENCES:
        estimate = found[inference]
        tail = 2 * scipy.stats.t.sf(np.abs(estimate["value"] / estimate["se"]), estimate["df"])
        p_values.append(np.where(np.isnan(estimate["se"]), estimate["p_value"], tail))
    return np.stack(p_values, axis=1) < LEVEL + 1e-9


@lru_cache(maxsize=8)
def _program(n_units: int, n_periods: int) -> Any:
    """Compile the tests once per shape: the outcome's name and values are arguments."""
    edge = max(1, n_periods // 4)
    placebo_laws = at_random(share=0.5, start=(edge, n_periods - edge))
    estimator = fixed_effects(
        "y ~ d | unit + time", term="d", vcov=list(INFERENCES), resamples=WILD_DRAWS
    )

    def one(pair: tuple[Array, Array]) -> dict[str, dict[str, Array]]:
        law_key, test_key = jax.random.split(pair[0])
        panel = Panel({"y": pair[1]})
        panel = panel.with_columns({"d": placebo_laws(law_key, panel)})
        found = estimator(test_key, panel)
        return {label[1]: _fields(estimate) for label, estimate in found.items()}

    batch = SIDE_BY_SIDE if n_units * n_periods <= CELLS else 1
    return jax.jit(lambda keys, ys: jax.lax.map(one, (keys, jnp.asarray(ys)), batch_size=batch))


def _fields(estimate: Any) -> dict[str, Array]:
    return {n: jnp.asarray(getattr(estimate, n), float) for n in ("value", "se", "df", "p_value")}


def rejection_records(
    name: str, outcome: str, rejected: Sequence[Bool[ndarray, "rep inference"]]
) -> list[dict[str, Any]]:
    """Return a record per standard error; with several members, mcse is between members."""
    rates = np.array([part.mean(axis=0) for part in rejected])
    reps = sum(len(part) for part in rejected)
    rate = rates.mean(axis=0)
    error = np.sqrt(rate * (1 - rate) / reps)
    if len(rates) > 1:
        error = np.maximum(error, rates.std(axis=0, ddof=1) / np.sqrt(len(rates)))
    return [
        {"generator": name, "outcome": outcome, "inference": inference,
         "rejection": float(rate[i]), "mcse": float(error[i]), "reps": reps}
        for i, inference in enumerate(INFERENCES)
    ]  # fmt: skip
