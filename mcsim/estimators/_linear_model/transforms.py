"""A regression's data transformed: effects absorbed, means, differences, fewer cells or periods.

Regressions differ in these; all of them treat outcome, regressors and instruments alike. Without
effects it is the constant that is absorbed. Balanced panels need means only. With gaps, two effects
are projected off exactly and without iteration: unit means first, then the dummies of the periods
through their own normal equations, whose order is the number of periods.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mcsim.errors import TooFewPeriods
from mcsim.estimators._algebra import generalized_inverse
from mcsim.estimators._linear_model.data import Cells, Regression, in_periods

Columns = Float[Array, "*column unit period"]
"""One column or several."""


def absorb(columns: Columns, effects: tuple[str, ...], weight: Cells | None = None) -> Columns:
    """Return columns less their projection on the effects, 0 where the weight is.

    Parameters
    ----------
    columns : array (..., unit, period)
        One column or several.
    effects : tuple of {"unit", "time"}
        None of them absorbs the constant.
    weight : array (unit, period), optional
        1 where observed, 0 elsewhere.
    """
    if weight is None:
        return _absorb_balanced(columns, effects)
    columns = weight * (columns - _mean(columns, weight, (-2, -1)))
    match effects:
        case ("unit",):
            return weight * (columns - _mean(columns, weight, (-1,)))
        case ("time",):
            return weight * (columns - _mean(columns, weight, (-2,)))
        case ("unit", "time"):
            return _absorb_both(columns, weight)
    return columns


def _absorb_balanced(columns: Columns, effects: tuple[str, ...]) -> Columns:
    match effects:
        case ("unit",):
            return columns - columns.mean(axis=-1, keepdims=True)
        case ("time",):
            return columns - columns.mean(axis=-2, keepdims=True)
        case ("unit", "time"):
            over_time = columns.mean(axis=-1, keepdims=True)
            over_units = columns.mean(axis=-2, keepdims=True)
            return columns - over_time - (over_units - over_time.mean(axis=-2, keepdims=True))
    return columns - columns.mean(axis=(-2, -1), keepdims=True)


def _mean(columns: Columns, weight: Cells, axes: tuple[int, ...]) -> Float[Array, "..."]:
    """Weighted means, kept as axes of length one; 0 where nothing is observed."""
    total = weight.sum(axis=axes, keepdims=True)
    return (weight * columns).sum(axis=axes, keepdims=True) / jnp.maximum(total, 1.0)


def _absorb_both(columns: Columns, weight: Cells) -> Columns:
    """Project off both dummies; the shorter axis is the one whose equations are solved."""
    if weight.shape[1] > weight.shape[0]:
        return _absorb_both(columns.swapaxes(-1, -2), weight.T).swapaxes(-1, -2)
    within = weight * (columns - _mean(columns, weight, (-1,)))
    shared = (weight / jnp.maximum(weight.sum(axis=1, keepdims=True), 1.0)).T @ weight
    normal = jnp.diag(weight.sum(axis=0)) - shared
    effect = within.sum(axis=-2) @ generalized_inverse(normal)
    left = within - weight * effect[..., None, :]
    return weight * (left - _mean(left, weight, (-1,)))


def unit_means(data: Regression) -> Regression:
    """Return means over a unit's observed periods, as a panel of one period."""
    n_cells = data.observed.sum(axis=1, keepdims=True)
    weight = None if data.weight is None else (n_cells > 0).astype(float)
    return _each(data, lambda array: _means(array, n_cells), weight, (0,))


def quasi_demeaned(data: Regression, theta: Float[Array, "unit 1"]) -> Regression:
    """Return the data less the share ``theta`` of their unit means."""
    observed = data.observed
    n_cells = observed.sum(axis=1, keepdims=True)
    return _each(
        data, lambda array: observed * (array - theta * _means(array, n_cells)), data.weight
    )


def differences(data: Regression) -> Regression:
    """Return changes from the period before on the calendar, where both are observed.

    Raises
    ------
    InputError
        If no period has one before it: known when the program is traced.
    """
    later, earlier = data.calendar.adjacent
    if not later:
        raise TooFewPeriods(
            "panel: differences need at least 2 periods (after lags) of which one follows the "
            f"other, got {data.calendar}"
        )

    def change(array: Array) -> Array:
        if data.calendar.consecutive:
            return jnp.diff(array)
        return in_periods(array, later) - in_periods(array, earlier)

    if data.weight is None:
        return _each(data, change, None, later)
    weight = in_periods(data.weight, later) * in_periods(data.weight, earlier)
    return _each(data, lambda array: weight * change(array), weight, later)


def between_periods(data: Regression, start: int, stop: int) -> Regression:
    """Return the periods from the position ``start`` to the one before ``stop``."""
    weight = None if data.weight is None else data.weight[:, start:stop]
    return _each(data, lambda array: array[..., start:stop], weight, range(start, stop))


def without_singletons(data: Regression, effects: tuple[str, ...]) -> Regression:
    """Leave out units and periods with one observation, which their effects explain entirely.

    They say nothing about slopes, and would count in degrees of freedom (Correia 2015).
    """
    if data.weight is None or not effects:
        return data
    axes = [{"unit": 1, "time": 0}[effect] for effect in effects]

    def leave_out(weight: Cells) -> Cells:
        for axis in axes:
            weight = weight * (weight.sum(axis=axis, keepdims=True) > 1)
        return weight

    # Without a unit, a period may have one observation left: again until nothing changes.
    weight, _ = jax.lax.while_loop(
        lambda state: (state[0] != state[1]).any(),
        lambda state: (leave_out(state[0]), state[0]),
        (leave_out(data.weight), data.weight),
    )
    return _each(data, lambda array: jnp.where(weight > 0, array, 0.0), weight)


def _each(
    data: Regression,
    change: Callable[[Array], Array],
    weight: Cells | None,
    periods: Sequence[int] | None = None,
) -> Regression:
    """Do the same to outcome, regressors and instruments, along their last two axes.

    ``periods`` are the positions of the periods that are left; None: all.
    """
    y, x, z = (change(array) for array in (data.y, data.x, data.z))
    calendar = data.calendar if periods is None else data.calendar.take(periods)
    return Regression(y, x, z, weight, data.status, calendar)


def _means(
    array: Float[Array, "*column unit period"], n_cells: Float[Array, "unit 1"]
) -> Float[Array, "*column unit 1"]:
    return array.sum(axis=-1, keepdims=True) / jnp.maximum(n_cells, 1.0)
