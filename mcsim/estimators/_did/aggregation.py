"""Averages of effects, and their variances from the influence of each unit on the error.

An average is over all effects, by event time, by cohort, or by period. A cohort counts by its size,
which is an estimate of its share: its error is part of the average's (Callaway & Sant'Anna 2021,
section 3 and corollary 2). The error of an average is a sum over units, their influences; the sum
of squares of these is the variance, and signs drawn at random for all influences of a cluster are
the multiplier bootstrap.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from mcsim._core.averages import ATT, at_event_times, named
from mcsim._core.records import Estimate, Panel, Status
from mcsim.estimators._did.adoption import Adoption, CohortPeriods
from mcsim.estimators._native import Variance, estimates_of_terms
from mcsim.estimators._variance.names import cluster_sums, key_of, n_clusters, read_groups

BOOTSTRAPS = ("bootstrap", "bootstrap:mammen")
ALONE = "share of the weight on cohorts of one treated unit or cluster, without an error of its own"
QUARTILES = 1.3489795003921634  # interquartile range of the standard normal distribution
GOLDEN = (1 + 5**0.5) / 2


class Averages(NamedTuple):
    """Averages of effects.

    Attributes
    ----------
    value : array (target,)
    influence : array (target, unit)
        The contribution of each unit to the error of the estimate.
    treated : bool array (target, unit)
        The treated units that the average is of.
    status : int array (target,)
        A `Status` of each.
    """

    value: Float[Array, " target"]
    influence: Float[Array, "target unit"]
    treated: Bool[Array, "target unit"]
    status: Int[Array, " target"]


def cluster_influence(
    influence: Float[Array, "target unit"], cluster: str, panel: Panel
) -> tuple[Float[Array, "target unit"], Bool[Array, ""]]:
    """Return sums over clusters, in as many slots as units, and whether there are two or more."""
    groups = read_groups({cluster}, panel)
    everywhere = jnp.ones((panel.n_units, panel.n_periods))
    seen = everywhere if panel.mask is None else panel.mask.astype(float)
    number = n_clusters(seen, (cluster,), groups)
    fine = [status == Status.OK for status in groups.status.values()]
    sums = cluster_sums(influence[..., None], (cluster,), groups)[..., 0]
    return sums, jnp.all(jnp.array([number > 1, *fine]))


def share_alone(
    adoption: Adoption,
    members: Bool[Array, " unit"],
    cells: Float[Array, " unit"],
    cluster: str,
    panel: Panel,
) -> Float[Array, ""]:
    """Return the share of treated cells that are of cohorts of one treated unit or cluster."""
    cohorts = jnp.arange(adoption.data.shape[1])[:, None]
    of_cohort = (adoption.start == cohorts) * members
    clusters, _ = cluster_influence(of_cohort.astype(float), cluster, panel)
    alone = (clusters > 0).sum(axis=1) == 1
    return (alone @ of_cohort * cells).sum() / jnp.maximum((members * cells).sum(), 1.0)


def sum_of_squares(influence: Float[Array, "target cluster"]) -> Float[Array, " target"]:
    """Return the variance by the influence function."""
    return (influence**2).sum(axis=1)


def multiplier_bootstrap(
    key: Key[Array, ""] | None,
    influence: Float[Array, "target cluster"],
    name: str,
    resamples: int,
) -> Float[Array, " target"]:
    """Return the variance of draws of signed influences, from their interquartile range.

    Source: Callaway & Sant'Anna (2021), algorithm 1.
    """
    shape, key = (resamples, influence.shape[1]), key_of(key, name)
    if name == "bootstrap:mammen":
        first = jax.random.bernoulli(key, GOLDEN / 5**0.5, shape)
        signs = jnp.where(first, 1 - GOLDEN, GOLDEN)
    else:
        signs = jax.random.rademacher(key, shape, dtype=influence.dtype)
    quartiles = jnp.quantile(signs @ influence.T, jnp.array([0.25, 0.75]), axis=0)
    return ((quartiles[1] - quartiles[0]) / QUARTILES) ** 2


def estimates_by_influence(
    key: Key[Array, ""] | None,
    panel: Panel,
    labels: Sequence[str],
    averages: Averages,
    *,
    vcov: Sequence[str],
    cluster: str,
    resamples: int = 0,
) -> dict[tuple[str, str], Estimate]:
    """Return an estimate for every average and variance, with the normal distribution.

    Fewer than two clusters have no variance, nor has an average over one treated unit or cluster,
    whose deviation from its own mean is zero.
    """
    sums, several = cluster_influence(averages.influence, cluster, panel)
    treated, _ = cluster_influence(averages.treated.astype(float), cluster, panel)
    spread = (treated > 0).sum(axis=1, keepdims=True) > 1
    sums = jnp.where(several & spread, sums, jnp.nan)

    def variance(name: str) -> Variance:
        if name in BOOTSTRAPS:
            return Variance(multiplier_bootstrap(key, sums, name, resamples))
        return Variance(sum_of_squares(sums))

    variances = {name: variance(name) for name in vcov}
    return estimates_of_terms(labels, averages.value, variances, averages.status)


class GroupTime(NamedTuple):
    """Effects by cohort and period.

    Attributes
    ----------
    value : array (cell,)
        0 where the cohort or its controls are empty.
    present : bool array (cell,)
        Whether there are treated units and controls.
    status : int array (cell,)
    combine : callable
        From weights (target, cell) to the contribution of each unit to the errors of the weighted
        sums, (target, unit). A method computes the influences on all cells only if it needs them.
    """

    value: Float[Array, " cell"]
    present: Bool[Array, " cell"]
    status: Int[Array, " cell"]
    combine: Callable[[Float[Array, "target cell"]], Float[Array, "target unit"]]


def aggregate(
    adoption: Adoption, cells: CohortPeriods, effects: GroupTime, aggregation: str
) -> tuple[tuple[str, ...], Averages]:
    """Return averages and their labels; the average over all parts stands last.

    By cohort, the last weighs the cohorts' averages with their sizes; by event time and by period
    it is the plain mean of the present ones, from event time 0 on. With one event time alone it is
    the average of that event time.
    """
    window = _window(cells, adoption.data.shape[1])
    if aggregation == "simple":
        averages = _average(adoption, cells, effects, jnp.ones((1, len(cells.cohort))))
        return (_of_cells(window),), averages
    if aggregation == "event":
        times = np.unique(cells.event)
        over = at_event_times(times[times >= 0].tolist())
    else:
        over = at_event_times(window, kind=aggregation) if window else named(aggregation)
    labels, parts = _parts(cells, aggregation, window)
    if aggregation == "group":
        rows = jnp.concatenate([jnp.asarray(parts), _over_cohorts(parts, effects.present)])
        return (*labels, over), _average(adoption, cells, effects, rows)
    averages = _average(adoption, cells, effects, jnp.asarray(parts))
    if over in labels:
        return labels, averages
    post = (cells.event >= 0) @ parts.T > 0
    return (*labels, over), _with_mean(averages, jnp.asarray(post))


def _window(cells: CohortPeriods, n_periods: int) -> list[int]:
    """Return the event times after adoption in the average; empty: all possible event times."""
    times = np.unique(cells.event[cells.event >= 0]).tolist()
    return [] if times == list(range(n_periods - 1)) else times


def _of_cells(window: list[int]) -> str:
    """Name the mean over treated cells at some event times."""
    if not window:
        return ATT
    return at_event_times(window, kind="simple" if len(window) > 1 else "")


def _parts(
    cells: CohortPeriods, aggregation: str, window: list[int]
) -> tuple[tuple[str, ...], Float[np.ndarray, "part cell"]]:
    """Return labels, and 1 for the cells that each averages."""
    of, text = {
        "group": (cells.cohort, "g={}"),
        "calendar": (cells.period, "t={}"),
        "event": (cells.event, "{}"),
    }[aggregation]
    values = np.unique(of)
    inside = [text.format(value) for value in values]
    if window and aggregation != "event":
        labels = tuple(at_event_times(window, kind=part) for part in inside)
    else:
        labels = tuple(map(named, inside))
    return labels, (values[:, None] == of).astype(float)


def _over_cohorts(
    parts: Float[np.ndarray, "part cell"], present: Bool[Array, " cell"]
) -> Float[Array, "1 cell"]:
    """Return weights under which cohorts count equally, with any numbers of periods."""
    counted = parts * present
    length = jnp.maximum(counted.sum(axis=1, keepdims=True), 1.0)
    return (counted / length).sum(axis=0, keepdims=True)


def _average(
    adoption: Adoption, cells: CohortPeriods, effects: GroupTime, weights: Float[Array, "part cell"]
) -> Averages:
    """Average effects over the present cells, with weights times the size of the cohort."""
    cohorts = np.arange(adoption.data.shape[1] + 1)
    size = (adoption.start == cohorts[:, None]).sum(axis=1)
    weights = weights * effects.present
    sized = weights * size[cells.cohort]
    total = sized.sum(axis=1)
    safe = jnp.where(total > 0, total, 1.0)[:, None]
    value = (sized / safe) @ effects.value
    deviation = weights * (effects.value - value[:, None])
    of_size = (deviation @ (cells.cohort[:, None] == cohorts))[:, adoption.start]
    used = jnp.where(weights > 0, effects.status, Status.OK).max(axis=1)
    status = jnp.where(total > 0, used, Status.INVALID_INPUT)
    return Averages(
        value=value,
        influence=(effects.combine(sized) + of_size) / safe,
        treated=((sized @ (cells.cohort[:, None] == cohorts)) > 0)[:, adoption.start],
        status=jnp.where(adoption.status == Status.OK, status, adoption.status).astype(jnp.int32),
    )


def _with_mean(averages: Averages, post: Bool[Array, " part"]) -> Averages:
    """Append the mean of the present parts after treatment."""
    counted = (post & (averages.status != Status.INVALID_INPUT)).astype(float)
    number = counted.sum()
    share = counted / jnp.maximum(number, 1.0)
    failed = jnp.where(counted > 0, averages.status, Status.OK).max()
    status = jnp.where(number > 0, failed, averages.status.max()).astype(jnp.int32)
    return Averages(
        value=jnp.append(averages.value, share @ averages.value),
        influence=jnp.concatenate([averages.influence, (share @ averages.influence)[None]]),
        treated=jnp.concatenate([averages.treated, (share @ averages.treated > 0)[None]]),
        status=jnp.append(averages.status, status),
    )
