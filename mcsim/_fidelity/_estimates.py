"""Would this generator produce my estimates? The sampling distribution of each, and a verdict.

A perfect generator has each estimate outside its distribution in 5 % of cases, so one of twelve in
up to 46 %. The p-values of one generator are corrected for their number by Holm's method, which
holds however the estimates depend on each other. A p-value from drawn samples cannot fall below
2 / (draws + 1): with too few of them no estimate could lie outside, and the verdict says so.

References
----------
Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal of
Statistics 6: 65-70.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from numpy import ndarray

from mcsim._core import WITH_RESULT, Estimate, Estimator, Panel, Status
from mcsim._host import HostEstimator
from mcsim._payload import Payload
from mcsim._schema import Schema
from mcsim._worker import Outcome, estimate_piece, piece_of
from mcsim.errors import InputError

CHUNK_ROWS = 8_192  # estimated side by side
LEVEL = 0.05  # of all estimates of a generator together
FEWEST_DRAWS = 200
Record = dict[str, Any]
ByEstimand = dict[str, Float[ndarray, " draw"]]
Values = dict[tuple[str, str], Float[ndarray, " _"]]
"""Values on generated samples, by estimator and estimand."""


class OnRealData(NamedTuple):
    """An estimator, and its estimates on the real data.

    Attributes
    ----------
    name : str
    run : callable or None
        Returns the values on every one of a batch of panels, by estimand; NaN where it fails. None
        if the estimator cannot run on the real data.
    values : dict of str to float
        On the real data, by estimand.
    status, note : str
        Of the real data: why there is no value.
    """

    name: str
    run: Callable[[Array, Panel], ByEstimand] | None
    values: dict[str, float]
    status: str
    note: str = ""


# Running estimators: the one place where this package does


def on_real_data(
    estimators: Mapping[str, Estimator], real: Panel, key: Key[Array, ""], schema: Schema
) -> list[OnRealData]:
    """Run each estimator on the real data; one that cannot run there has a status, no values."""
    real = jax.tree.map(lambda x: x.astype(jnp.float64), real)
    return [
        _host(name, estimator, real, key, schema)
        if isinstance(estimator, HostEstimator)
        else _native(name, estimator, real, key)
        for name, estimator in estimators.items()
    ]


def _native(name: str, estimator: Any, real: Panel, key: Key[Array, ""]) -> OnRealData:
    def estimates(pair: tuple) -> dict[str, Estimate]:
        return _by_estimand(estimator(*pair))

    def many(keys: Array, panels: Panel) -> dict[str, Array]:
        chunk = max(1, min(len(keys), CHUNK_ROWS // real.n_units))
        return jax.lax.map(lambda pair: _values(estimates(pair)), (keys, panels), batch_size=chunk)

    try:
        found = jax.jit(estimates)((key, real))
    except InputError as error:
        return _without_values(name, Status.INVALID_INPUT, str(error))
    except Exception as error:  # a user's estimator may raise anything: a status, not a crash
        note = f"{type(error).__name__}: {error}".splitlines()[0]
        return _without_values(name, Status.ERROR, note)
    program = jax.jit(many)
    return _with_values(name, found, lambda keys, panels: jax.device_get(program(keys, panels)))


def _host(
    name: str, estimator: HostEstimator, real: Panel, key: Key[Array, ""], schema: Schema
) -> OnRealData:
    """Run a host estimator in this process, as a worker of a study does: failures are statuses."""
    single = jax.tree.map(lambda x: x[None], real.select(schema.names))
    try:
        run = partial(_outcomes, Payload(estimator, schema))
        (outcome,) = run(key[None], single)
    except InputError as error:
        return _without_values(name, Status.INVALID_INPUT, str(error))
    if outcome.status != Status.OK:
        return _without_values(name, outcome.status, outcome.reason)
    return _with_values(
        name,
        _by_estimand(outcome.estimates),
        lambda keys, panels: _stacked(run(keys, panels)),
    )


def _outcomes(payload: Payload, keys: Key[Array, " rep"], panels: Panel) -> list[Outcome]:
    return estimate_piece(payload, piece_of(panels), np.asarray(jax.random.key_data(keys)))


def _stacked(outcomes: Sequence[Outcome]) -> ByEstimand:
    """Return the values of replications by estimand, NaN where there is none."""
    single = [_values(_by_estimand(outcome.estimates)) for outcome in outcomes]
    labels = dict.fromkeys(estimand for values in single for estimand in values)
    return {e: np.array([float(values.get(e, np.nan)) for values in single]) for e in labels}


def _with_values(name: str, found: Mapping[str, Estimate], run: Any) -> OnRealData:
    values = {estimand: float(value) for estimand, value in _values(found).items()}
    worst = max(int(estimate.status) for estimate in found.values())
    return OnRealData(name, run, values, Status(worst).label)


def _without_values(name: str, status: Status, note: str) -> OnRealData:
    return OnRealData(name, None, {"": np.nan}, status.label, note)


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


def estimates_on(
    estimators: Sequence[OnRealData], keys: Sequence[Key[Array, " rep"]], panels: Panel
) -> Values:
    """Run each estimator that runs on the real data, with keys of its own, on generated panels."""
    return {
        (estimator.name, estimand): np.asarray(values)
        for estimator, own in zip(estimators, keys, strict=True)
        if estimator.run is not None
        for estimand, values in estimator.run(own, panels).items()
    }


# Sampling distributions


def n_estimates(estimators: Sequence[OnRealData]) -> int:
    """Return the number of estimates on the real data."""
    return sum(bool(np.isfinite(v)) for e in estimators for v in e.values.values())


def draws_for(estimates: int) -> int:
    """Return how many samples let the smallest p-value of so many estimates fall below the level.

    Examples
    --------
    >>> draws_for(3), draws_for(12)
    (200, 480)
    """
    return max(FEWEST_DRAWS, math.ceil(2 * estimates / LEVEL))


def estimate_records(
    name: str, estimators: Sequence[OnRealData], drawn: Sequence[Values]
) -> list[Record]:
    """Describe the sampling distribution of every estimate under one generator, as records.

    Parameters
    ----------
    name : str
        Of the generator.
    estimators : sequence of OnRealData
    drawn : sequence of Values
        One set of values for each of the generator's fits.
    """
    records = []
    for estimator in estimators:
        for estimand, value in estimator.values.items():
            label = estimator.name, estimand
            sets = [values[label] for values in drawn if label in values]
            head = {"generator": name, "estimator": estimator.name, "estimand": estimand}
            tail = {"status": estimator.status, "note": estimator.note}
            records.append({**head, "value": value, **_distribution(value, sets), **tail})
    return with_holm(records)


def _distribution(value: float, sets: Sequence[ndarray]) -> Record:
    """Describe a sampling distribution that is drawn in sets, one for each fit."""
    every = np.concatenate([np.zeros(0), *sets])
    drawn = every[np.isfinite(every)]
    counts = {"draws": len(drawn), "failed": len(every) - len(drawn)}
    if not len(drawn):
        missing = ("mean", "sd", "sd_between", "lower", "upper", "p_value")
        return {**dict.fromkeys(missing, np.nan), **counts}
    lower, upper = np.quantile(drawn, [0.025, 0.975])
    means = [np.nanmean(part) for part in sets if np.isfinite(part).any()]
    return {
        "mean": float(drawn.mean()),
        "sd": float(drawn.std(ddof=1)) if len(drawn) > 1 else np.nan,
        "sd_between": float(np.std(means, ddof=1)) if len(means) > 1 else np.nan,
        "lower": float(lower),
        "upper": float(upper),
        "p_value": monte_carlo_p_value(value, drawn),
        **counts,
    }


def monte_carlo_p_value(value: float, drawn: Float[ndarray, " draw"]) -> float:
    """Two-sided p-value of a value among drawn ones; never 0: (k + 1) / (R + 1) on each side.

    Examples
    --------
    >>> monte_carlo_p_value(10.0, np.arange(9.0))
    0.2
    """
    if not np.isfinite(value):
        return np.nan
    tail = min(int((drawn >= value).sum()), int((drawn <= value).sum()))
    return min(1.0, 2 * (tail + 1) / (len(drawn) + 1))


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


# The verdict on the estimates of one generator


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
    """Say if draws are too few for an estimate that may lie outside to be accused; else ""."""
    placed = _placed(records)
    if not any(r["p_value"] < LEVEL for r in placed) or _can_reject(placed):
        return ""
    draws, enough = max(r["draws"] for r in placed), draws_for(len(placed))
    return (
        f"not resolvable with {draws} draws whether it would produce your {len(placed)} estimates "
        f"(draws={enough} can tell)"
    )


def n_inside(records: Sequence[Record]) -> int:
    """Return how many estimates lie inside their distributions; 0 where draws are too few."""
    return 0 if unresolved(records) else sum(r["p_holm"] >= LEVEL for r in records)


def _placed(records: Sequence[Record]) -> list[Record]:
    """Keep the estimates with a value on the real data and on generated samples."""
    return [record for record in records if np.isfinite(record["p_value"])]


def _can_reject(placed: Sequence[Record]) -> bool:
    """Whether an estimate more extreme than all draws would be accused."""
    return len(placed) * 2 / (max(r["draws"] for r in placed) + 1) < LEVEL


def _label(record: Record, records: Sequence[Record]) -> str:
    """Name an estimator, and its estimand where it has several."""
    several = sum(r["estimator"] == record["estimator"] for r in records) > 1
    return f"{record['estimator']} {record['estimand']}" if several else record["estimator"]
