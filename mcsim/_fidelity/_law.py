"""Would this generator produce my estimates? Each estimate in its Monte Carlo law."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key
from numpy import ndarray

from mcsim._core import WITH_RESULT, Estimate, Estimator, Panel, Status
from mcsim._fidelity._layout import Layout, Matrix
from mcsim._fidelity._menu import with_holm
from mcsim._fidelity._pool import generate
from mcsim._fidelity._sources import Member
from mcsim.errors import InputError

BATCH_ROWS = 500_000  # drawn at once
CHUNK_ROWS = 8_192  # estimated side by side


class OnRealData(NamedTuple):
    """An estimator, its program for many panels, and its values on the real data."""

    name: str
    program: Any
    values: dict[str, float]
    status: str
    note: str = ""


def on_real_data(
    estimators: Mapping[str, Estimator], real: Panel, key: Key[Array, ""]
) -> list[OnRealData]:
    """Run each estimator on the real data; one that cannot run there has a status, no values."""
    real = jax.tree.map(lambda x: x.astype(jnp.float64), real)
    return [_on_real_data(name, est, real, key) for name, est in estimators.items()]


def _on_real_data(name: str, estimator: Estimator, real: Panel, key: Key[Array, ""]) -> OnRealData:
    def estimates(pair: tuple) -> dict[str, Estimate]:
        return _by_estimand(estimator(*pair))

    def many(keys: Array, panels: Panel) -> dict[str, Array]:
        chunk = max(1, min(len(keys), CHUNK_ROWS // real.n_units))
        return jax.lax.map(lambda pair: _values(estimates(pair)), (keys, panels), batch_size=chunk)

    try:
        found = jax.jit(estimates)((key, real))
    except InputError as error:
        return OnRealData(name, None, {"": np.nan}, Status.INVALID_INPUT.label, str(error))
    except Exception as error:  # a user's estimator may raise anything: a status, not a crash
        note = f"{type(error).__name__}: {error}".splitlines()[0]
        return OnRealData(name, None, {"": np.nan}, Status.ERROR.label, note)
    values = {estimand: float(value) for estimand, value in _values(found).items()}
    worst = max(int(estimate.status) for estimate in found.values())
    return OnRealData(name, jax.jit(many), values, Status(worst).label)


def _by_estimand(result: Any) -> dict[str, Estimate]:
    """Keep one estimate per estimand: inferences differ in the standard error only."""
    if isinstance(result, Estimate):
        return {"": result}
    found: dict[str, Estimate] = {}
    for label, estimate in result.items():
        found.setdefault(label if isinstance(label, str) else label[0], estimate)
    return found


def _values(found: Mapping[str, Estimate]) -> dict[str, Array]:
    here = jnp.asarray(WITH_RESULT)
    return {
        estimand: jnp.where(jnp.isin(jnp.asarray(e.status), here), jnp.asarray(e.value), jnp.nan)
        for estimand, e in found.items()
    }


def laws(
    key: Key[Array, ""],
    name: str,
    members: Sequence[Member],
    layout: Layout,
    rows: Matrix,
    estimators: Sequence[OnRealData],
    draws: int,
) -> list[dict[str, Any]]:
    """Draw samples of the real size and arms, evenly from the members; one record per estimate."""
    each = -(-draws // len(members))
    drawn = [
        _drawn(jax.random.fold_in(key, index), member, layout, rows, estimators, each)
        for index, member in enumerate(members)
    ]
    records = []
    for index, estimator in enumerate(estimators):
        for estimand, value in estimator.values.items():
            sets = [found[index].get(estimand, np.full(each, np.nan)) for found in drawn]
            head = {"generator": name, "estimator": estimator.name, "estimand": estimand}
            tail = {"status": estimator.status, "note": estimator.note}
            records.append({**head, "value": value, **_describe(value, sets), **tail})
    return with_holm(records)


def n_estimates(estimators: Sequence[OnRealData]) -> int:
    """Return how many estimates the real data have."""
    return sum(bool(np.isfinite(v)) for e in estimators for v in e.values.values())


def _drawn(
    key: Key[Array, ""],
    member: Member,
    layout: Layout,
    rows: Matrix,
    estimators: Sequence[OnRealData],
    reps: int,
) -> list[dict[str, ndarray]]:
    batches = -(-reps * len(rows) // BATCH_ROWS)
    size = -(-reps // batches)
    found: list[list[dict]] = [[] for _ in estimators]
    for batch in range(batches):
        draw, estimate = jax.random.split(jax.random.fold_in(key, batch))
        # Units are independent given their given values: one long draw is many samples.
        long = generate(draw, member.generator, layout, np.tile(rows, (size, 1)))
        panels = jax.tree.map(lambda x: x.reshape(size, len(rows), 1), long)
        for results, estimator in zip(found, estimators, strict=True):
            if estimator.program is not None:
                results.append(estimator.program(jax.random.split(estimate, size), panels))
    return [
        {e: np.concatenate([np.asarray(r[e]) for r in results])[:reps] for e in results[0]}
        if results
        else {}
        for results in found
    ]


def _describe(value: float, sets: Sequence[ndarray]) -> dict[str, Any]:
    """Describe a law that is drawn in sets, one per member."""
    law = np.concatenate(sets)
    law = law[np.isfinite(law)]
    failed = sum(len(part) for part in sets) - len(law)
    if not len(law):
        missing = dict.fromkeys(("mean", "sd", "sd_between", "lower", "upper", "p_value"), np.nan)
        return {**missing, "draws": 0, "failed": failed}
    lower, upper = np.quantile(law, [0.025, 0.975])
    means = [np.nanmean(part) for part in sets if np.isfinite(part).any()]
    return {
        "mean": float(law.mean()),
        "sd": float(law.std(ddof=1)) if len(law) > 1 else np.nan,
        "sd_between": float(np.std(means, ddof=1)) if len(means) > 1 else np.nan,
        "lower": float(lower),
        "upper": float(upper),
        "p_value": monte_carlo_p_value(value, law),
        "draws": len(law),
        "failed": failed,
    }


def monte_carlo_p_value(value: float, law: ndarray) -> float:
    """Two-sided p-value of a value in a drawn law; never 0: (k + 1) / (R + 1) on each side.

    Examples
    --------
    >>> monte_carlo_p_value(10.0, np.arange(9.0))
    0.2
    """
    if not np.isfinite(value):
        return np.nan
    tail = min(int((law >= value).sum()), int((law <= value).sum()))
    return min(1.0, 2 * (tail + 1) / (len(law) + 1))
