"""Sampling distributions of estimates under a generator, and the verdict on real estimates.

A perfect generator has each estimate outside its distribution in 5 % of cases, so one of twelve in
up to 46 %. The p-values of one generator are corrected for their number by Holm's method, which
holds however the estimates depend on each other. A p-value from drawn samples cannot fall below
2 / (draws + 1): with too few draws no estimate could lie outside (*not resolvable*).

References
----------
Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal of
Statistics 6: 65-70.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from numpy import ndarray

from mcsim._core.protocols import Estimator
from mcsim._core.records import WITH_RESULT, Estimate, Panel, Status
from mcsim._data.schema import Schema
from mcsim._host.host import HostEstimator
from mcsim._host.pool import WorkerPool
from mcsim._readers import FullLabel
from mcsim._run.evaluate import evaluate
from mcsim.errors import InputError, McsimError, type_and_message

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
    estimator : Estimator or None
        The estimator for panels of the schema; None if it cannot run on the real data.
    schema : Schema
        Names and categories of the real data.
    values : dict of str to float
        On the real data, by estimand.
    status, note : str
        Of the real data: the reason for a missing value.
    """

    name: str
    estimator: Any
    schema: Schema
    values: dict[str, float]
    status: str
    note: str = ""


# Running estimators


def on_real_data(
    estimators: Mapping[str, Estimator], real: Panel, key: Key[Array, ""], schema: Schema
) -> list[OnRealData]:
    """Run each estimator on the real data; an estimator that fails has a status, no values."""
    single = jax.tree.map(lambda x: jnp.asarray(np.asarray(x, np.float64)[None]), real)
    return [
        _on_real_data(name, estimator, key[None], single, schema)
        for name, estimator in estimators.items()
    ]


def _on_real_data(
    name: str, estimator: Any, keys: Key[Array, " rep"], single: Panel, schema: Schema
) -> OnRealData:
    try:
        found = evaluate(name, estimator, keys, single, schema, pool=WorkerPool(0))
    except InputError as error:
        return OnRealData(name, None, schema, {"": np.nan}, *_reason(error))
    for outcome in found.outcomes:
        if outcome.status != Status.OK:
            status = outcome.status.label
            return OnRealData(name, None, schema, {"": np.nan}, status, outcome.reason)
    values = {estimand: float(value[0]) for estimand, value in _values(found.estimates).items()}
    worst = max(int(estimate.status[0]) for estimate in found.estimates.values())
    return OnRealData(name, found.estimator, schema, values, Status(worst).label)


def _reason(error: InputError) -> tuple[str, str]:
    """Return status and note of an estimator that does not compile, with the user's error."""
    cause = error.__cause__
    if cause is None or isinstance(cause, McsimError):
        return Status.INVALID_INPUT.label, str(error)
    return Status.ERROR.label, type_and_message(cause)


def estimates_on(
    estimators: Sequence[OnRealData], keys: Sequence[Key[Array, " draw"]], panels: Panel
) -> Values:
    """Run on generated panels each estimator that ran on the real data, with its own keys."""
    return {
        (ran.name, estimand): values
        for ran, own in zip(estimators, keys, strict=True)
        if ran.estimator is not None
        for estimand, values in _on_panels(ran, own, panels).items()
    }


def _on_panels(ran: OnRealData, keys: Key[Array, " draw"], panels: Panel) -> ByEstimand:
    """Return the values on panels (draw, unit, period), computed in chunks of one size."""
    draws, n_units = len(keys), panels[next(iter(panels))].shape[1]
    is_host = isinstance(
        ran.estimator, HostEstimator
    )  # host code does not compile: no chunk is filled up
    chunk = draws if is_host else max(1, min(draws, CHUNK_ROWS // n_units))
    found: list[ByEstimand] = []
    for start in range(0, draws, chunk):
        rows = np.arange(start, start + chunk) % draws  # the last chunk is filled with others
        part = jax.tree.map(lambda x, rows=rows: jnp.asarray(np.asarray(x)[rows]), panels)
        own = keys if chunk == draws else keys[rows]
        evaluated = evaluate(ran.name, ran.estimator, own, part, ran.schema, pool=WorkerPool(0))
        found.append(_values(evaluated.estimates))
    return _joined(found, draws)


def _joined(chunks: Sequence[ByEstimand], draws: int) -> ByEstimand:
    """Join the values of chunks; NaN where a chunk has none of an estimand."""
    missing = np.full(len(next(iter(chunks[0].values()))), np.nan)
    labels = dict.fromkeys(estimand for chunk in chunks for estimand in chunk)
    return {e: np.concatenate([c.get(e, missing) for c in chunks])[:draws] for e in labels}


def _values(found: Mapping[FullLabel, Estimate]) -> ByEstimand:
    """Return one value per estimand, NaN for failures; inferences differ in errors only."""
    values: ByEstimand = {}
    for (estimand, _), estimate in found.items():
        usable = np.isin(estimate.status, WITH_RESULT)
        values.setdefault(estimand, np.where(usable, np.asarray(estimate.value), np.nan))
    return values


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
    """Describe a sampling distribution drawn in sets, one for each fit."""
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
    """Correct p-values for their number; missing p-values do not count.

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
    """Name the estimates outside their sampling distributions; "" if there are none."""
    found = [r for r in records if r["p_holm"] < LEVEL]
    if not found:
        return ""
    words = ", ".join(f"{_label(r, records)} (p {r['p_holm']:.2f})" for r in found)
    placed = len(_placed(records))
    by = f", by Holm over {placed} estimates" if placed > 1 else ""
    return f"would not produce your estimates: {words}{by}"


def unresolved(records: Sequence[Record]) -> str:
    """Return a clause if draws are too few to reject any estimate; else ""."""
    placed = _placed(records)
    if not any(r["p_value"] < LEVEL for r in placed) or _can_reject(placed):
        return ""
    draws, enough = max(r["draws"] for r in placed), draws_for(len(placed))
    return (
        f"not resolvable with {draws} draws whether it would produce your {len(placed)} estimates "
        f"(draws={enough} are enough)"
    )


def n_inside(records: Sequence[Record]) -> int:
    """Return the number of estimates inside their distributions; 0 where draws are too few."""
    return 0 if unresolved(records) else sum(r["p_holm"] >= LEVEL for r in records)


def n_placed(records: Sequence[Record]) -> int:
    """Return the number of estimates that have a sampling distribution."""
    return len(_placed(records))


def _placed(records: Sequence[Record]) -> list[Record]:
    """Return the estimates with a value on the real data and on generated samples."""
    return [record for record in records if np.isfinite(record["p_value"])]


def _can_reject(placed: Sequence[Record]) -> bool:
    """Return whether an estimate more extreme than all draws would be rejected."""
    return len(placed) * 2 / (max(r["draws"] for r in placed) + 1) < LEVEL


def _label(record: Record, records: Sequence[Record]) -> str:
    """Name an estimator, and its estimand if there are several."""
    several = sum(r["estimator"] == record["estimator"] for r in records) > 1
    return f"{record['estimator']} {record['estimand']}" if several else record["estimator"]
