"""The real data's own estimates inside their law under a generator, and statistics beside ranges.

Would this generator produce my estimates, and a panel that looks like mine?
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from numpy import ndarray

from mcsim._core import Panel
from mcsim._fidelity._law import OnRealData, monte_carlo_p_value
from mcsim._fidelity._menu import with_holm
from mcsim._panel_statistics import panel_statistics
from mcsim._schema import Schema

LONG = 20  # periods from which statistics of single series mean something
Drawn = dict[str, Float[ndarray, "panel unit period"]]
Found = dict[tuple[str, str], Float[ndarray, " _"]]
"""Values on generated panels, by (estimator, estimand) or by (outcome, statistic)."""


def estimates_on(
    key: Key[Array, ""],
    estimators: Sequence[OnRealData],
    drawn: Drawn,
    schema: Schema,
    draws: int,
) -> Found:
    """Run each estimator that runs on the real data on the first ``draws`` panels."""
    found: Found = {}
    static = schema.static_part(tuple(drawn), next(iter(drawn.values())).shape[-1])
    columns = {name: jnp.asarray(values[:draws]) for name, values in drawn.items()}
    panels = Panel.batch(columns, static=static)
    for index, estimator in enumerate(estimators):
        if estimator.program is None:
            continue
        keys = jax.random.split(jax.random.fold_in(key, index), len(panels[next(iter(drawn))]))
        for estimand, values in estimator.program(keys, panels).items():
            found[estimator.name, estimand] = np.asarray(values)
    return found


def statistics_on(drawn: Drawn, outcomes: Sequence[str]) -> Found:
    """Describe every outcome of long panels; see `panel_statistics`."""
    found: Found = {}
    for outcome in outcomes:
        if drawn[outcome].shape[-1] >= LONG:
            described = _described(jnp.asarray(drawn[outcome]))
            found |= {(outcome, name): np.asarray(v) for name, v in described.items()}
    return found


@jax.jit
def _described(panels: Float[Array, "panel unit period"]) -> dict[str, Float[Array, " panel"]]:
    return jax.lax.map(panel_statistics, panels, batch_size=16)


def estimate_records(
    name: str, estimators: Sequence[OnRealData], found: Sequence[Found]
) -> list[dict[str, Any]]:
    """One record per estimator and estimand; laws are drawn in sets, one per fit."""
    records = []
    for estimator in estimators:
        for estimand, value in estimator.values.items():
            sets = [part[label] for part in found if (label := (estimator.name, estimand)) in part]
            head = {"generator": name, "estimator": estimator.name, "estimand": estimand}
            tail = {"status": estimator.status, "note": estimator.note}
            records.append({**head, "value": value, **_law(value, sets), **tail})
    return with_holm(records)


def _law(value: float, sets: Sequence[ndarray]) -> dict[str, Any]:
    every = np.concatenate([np.zeros(0), *sets])
    law = every[np.isfinite(every)]
    counts = {"draws": len(law), "failed": len(every) - len(law)}
    if not len(law):
        missing = ("mean", "sd", "sd_between", "lower", "upper", "p_value")
        return {**dict.fromkeys(missing, np.nan), **counts}
    lower, upper = np.quantile(law, [0.025, 0.975])
    means = [np.nanmean(part) for part in sets if np.isfinite(part).any()]
    return {
        "mean": float(law.mean()),
        "sd": float(law.std(ddof=1)) if len(law) > 1 else np.nan,
        "sd_between": float(np.std(means, ddof=1)) if len(means) > 1 else np.nan,
        "lower": float(lower),
        "upper": float(upper),
        "p_value": monte_carlo_p_value(value, law),
        **counts,
    }


def statistic_records(name: str, real: Found, found: Sequence[Found]) -> list[dict[str, Any]]:
    """One record per outcome and statistic: the real value, mean and 5-95 % range of generated."""
    records = []
    for (outcome, statistic), value in real.items():
        law = np.concatenate([part[outcome, statistic] for part in found])
        law = law[np.isfinite(law)]
        lower, upper = np.quantile(law, [0.05, 0.95]) if len(law) else (np.nan, np.nan)
        records.append(
            {
                "generator": name,
                "outcome": outcome,
                "statistic": statistic,
                "value": float(value[0]),
                "mean": float(law.mean()) if len(law) else np.nan,
                "lower": float(lower),
                "upper": float(upper),
                "inside": bool(lower <= value[0] <= upper),
            }
        )
    return records
