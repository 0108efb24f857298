"""Rejection rates of nominal 5 % tests of placebo laws, by standard error.

Laws that never were, as in Bertrand, Duflo & Mullainathan (2004, Quarterly Journal of Economics
119: 249-275): half of the units are treated from a random period in the middle on.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key
from numpy import ndarray
from scipy.stats import t as student

from mcsim._core import Panel
from mcsim.dgps import at_random
from mcsim.estimators import fixed_effects

LEVEL = 0.05
INFERENCES = ("iid", "CR1", "wild")
WILD_DRAWS = 199  # (draws + 1) x level is whole: the test is exact where signs are
BLOCK = 50  # laws of one call, so that any number of them shares a program
SIDE_BY_SIDE, CELLS = 10, 4_000  # laws worked on at once, in panels of so many cells


def placebo_rejections(
    key: Key[Array, ""], panels: Float[ndarray, "panel unit period"], reps: int
) -> Bool[ndarray, "rep inference"]:
    """Say which tests of laws without effect reject; panels are taken in turn.

    Parameters
    ----------
    key : key
    panels : array (panel, unit, period)
        One outcome.
    reps : int
        Number of laws.
    """
    blocks = -(-reps // BLOCK)
    which, keys = np.arange(blocks * BLOCK) % len(panels), jax.random.split(key, blocks * BLOCK)
    places = [slice(start, start + BLOCK) for start in range(0, blocks * BLOCK, BLOCK)]
    program = _program(*panels.shape[1:])
    rejected = [_rejects(program(keys[place], panels[which[place]])) for place in places]
    return np.concatenate(rejected)[:reps]


def _rejects(found: dict[str, dict[str, Array]]) -> Bool[ndarray, "rep inference"]:
    """Compare p-values with the level: an estimate's own where it has no standard error."""
    p_values = []
    for inference in INFERENCES:
        estimate = found[inference]
        tail = 2 * student.sf(np.abs(estimate["value"] / estimate["se"]), estimate["df"])
        p_values.append(np.where(np.isnan(estimate["se"]), estimate["p_value"], tail))
    return np.stack(p_values, axis=1) < LEVEL + 1e-9


@lru_cache(maxsize=8)
def _program(n_units: int, n_periods: int) -> Any:
    """Compile once per shape: the outcome's name and values are arguments."""
    edge = max(1, n_periods // 4)
    laws = at_random(share=0.5, start=(edge, n_periods - edge))
    estimator = fixed_effects(
        "y ~ d | unit + time", term="d", vcov=list(INFERENCES), resamples=WILD_DRAWS
    )

    def one(pair: tuple[Array, Array]) -> dict[str, dict[str, Array]]:
        law_key, test_key = jax.random.split(pair[0])
        panel = Panel({"y": pair[1]})
        panel = panel.with_columns({"d": laws(law_key, panel)})
        found = estimator(test_key, panel)
        return {label[1]: _fields(estimate) for label, estimate in found.items()}

    batch = SIDE_BY_SIDE if n_units * n_periods <= CELLS else 1
    return jax.jit(lambda keys, ys: jax.lax.map(one, (keys, jnp.asarray(ys)), batch_size=batch))


def _fields(estimate: Any) -> dict[str, Array]:
    return {n: jnp.asarray(getattr(estimate, n), float) for n in ("value", "se", "df", "p_value")}


def rejection_records(
    name: str, outcome: str, rejected: Sequence[Bool[ndarray, "rep inference"]]
) -> list[dict[str, Any]]:
    """One record per standard error; the Monte Carlo error is that between members, if several."""
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
