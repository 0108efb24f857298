"""Averages of effects by cohort and period: over all, by event time, by cohort, by period.

A cohort counts by its size, which is an estimate of its share: its error is part of the average's
(Callaway & Sant'Anna 2021, section 3 and corollary 2).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mcsim._averages import ATT, at_event_times, named
from mcsim._core import Status
from mcsim.estimators._did._adoption import Adoption
from mcsim.estimators._did._cells import CohortPeriods
from mcsim.estimators._did._influence import Averages


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
        From weights (target, cell) to what each unit adds to the errors of the weighted sums,
        (target, unit); the influences on all cells are never all there unless they must be.
    """

    value: Float[Array, " cell"]
    present: Bool[Array, " cell"]
    status: Int[Array, " cell"]
    combine: Callable[[Float[Array, "target cell"]], Float[Array, "target unit"]]


def aggregate(
    adoption: Adoption, cells: CohortPeriods, effects: GroupTime, aggregation: str
) -> tuple[tuple[str, ...], Averages]:
    """Return averages and their labels; that over all parts stands last.

    By cohort, the last weighs the cohorts' averages with their sizes; by event time and by period
    it is the plain mean of those that there are, from event time 0 on. Of one event time alone it
    is that event time's.
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
    """Return the event times after adoption that count; empty where all that there can be do."""
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
    """Return weights with which every cohort counts alike, however many periods it has."""
    counted = parts * present
    length = jnp.maximum(counted.sum(axis=1, keepdims=True), 1.0)
    return (counted / length).sum(axis=0, keepdims=True)


def _average(
    adoption: Adoption, cells: CohortPeriods, effects: GroupTime, weights: Float[Array, "part cell"]
) -> Averages:
    """Average over the cells that there are, with weights times the size of the cohort."""
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
    """Append the mean of the parts after treatment that there are."""
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
