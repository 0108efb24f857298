"""The data of a regression: arrays, less effects, as means, or as differences.

Shapes stay fixed while the number of observations varies: a cell that is not observed has weight 0
and zeros in every column. A panel without gaps has no weights at all, which is the fast path. A
fault of the data is data too: a status in place of an exception.

Every transformation treats outcome, regressors and instruments alike. Without effects the constant
is absorbed. Balanced panels need means only. With gaps, two effects are projected off exactly and
without iteration: unit means first, then the dummies of the periods through their own normal
equations, whose order is the number of periods.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from mcsim._core.records import Calendar, Panel, Status
from mcsim.errors import InputError, TooFewPeriods
from mcsim.estimators._expression import (
    Term,
    columns_of,
    evaluate,
    longest_lag,
    observed_cells,
    periods_of,
)
from mcsim.estimators._formula import RegressionFormula

NEGLIGIBLE = 1e-9  # pivot of a dummy, relative to its diagonal, below which it is redundant

Columns = Float[Array, "column unit period"]
Cells = Float[Array, "unit period"]

AnyColumns = Float[Array, "*column unit period"]
"""One column or several."""


class Regression(NamedTuple):
    """Outcome, regressors and instruments of a panel.

    Attributes
    ----------
    y : array (unit, period)
        Outcome.
    x : array (regressor, unit, period)
        Regressors, in the order of the formula's names.
    z : array (instrument, unit, period)
        Excluded instruments.
    weight : array (unit, period) or None
        1 where the cell is observed and 0 elsewhere; None where every cell is.
    status : int array ()
        ``OK``, or ``NAN`` where an observed cell holds no number.
    calendar : Calendar
        The places of its periods.
    """

    y: Cells
    x: Columns
    z: Columns
    weight: Cells | None
    status: Int[Array, ""]
    calendar: Calendar

    @property
    def shape(self) -> tuple[int, int]:
        """Units and periods, observed or not."""
        n_units, n_periods = self.y.shape
        return n_units, n_periods

    @property
    def observed(self) -> Cells:
        """1 where the cell is observed and 0 elsewhere."""
        return jnp.ones(self.y.shape) if self.weight is None else self.weight


class Counts(NamedTuple):
    """The counts on which degrees of freedom depend.

    Attributes
    ----------
    observations, units, periods : int or array ()
        Cells, units and periods with at least one observation.
    slopes : int
        Regressors that were not absorbed.
    effects : tuple of {"unit", "time"}
        The fixed effects that were absorbed.
    constant : bool
        Whether a constant was absorbed, with the effects or alone.
    """

    observations: int | Float[Array, ""]
    units: int | Float[Array, ""]
    periods: int | Float[Array, ""]
    slopes: int
    effects: tuple[str, ...]
    constant: bool = True


def read_regression(formula: RegressionFormula, panel: Panel) -> Regression:
    """Read the columns of a regression off a panel; periods that lack a lag are dropped.

    Raises
    ------
    InputError
        If no period is left after the lags: known when the program is traced.
    """
    calendar = panel.calendar
    periods = periods_with_lags(formula, calendar)
    if not periods:
        lag = max(longest_lag(term) for term in formula.terms)
        raise InputError(
            f"formula {str(formula)!r}: it looks {lag} periods back, the panel has {calendar}; "
            "expected more periods than that"
        )
    columns = {name: panel[name][:, :] for name in formula.columns}
    if panel.mask is not None:
        # Unobserved cells may hold anything; zeros keep them out of sums and out of NaN.
        columns = {name: jnp.where(panel.mask, column, 0) for name, column in columns.items()}
    clean = Panel(columns, periods=calendar.places)
    weight = None
    if panel.mask is not None:
        weight = in_periods(_weight(formula.terms, panel.mask, calendar), periods)
    y = in_periods(evaluate(formula.outcome, clean), periods)
    x = _stack((*formula.endogenous, *formula.regressors), clean, periods)
    z = _stack(formula.instruments, clean, periods)
    if weight is not None:
        y, x, z = (jnp.where(weight > 0, array, 0.0) for array in (y, x, z))
    # A sum is finite only if its terms are; sums of squares are needed anyway.
    sums = [y.sum()[None], sums_of_squares(x), sums_of_squares(z)]
    numbers = jnp.isfinite(jnp.concatenate(sums)).all()
    status = jnp.where(numbers, Status.OK, Status.NAN).astype(jnp.int32)
    return Regression(y, x, z, weight, status, calendar.take(periods))


def periods_with_lags(formula: RegressionFormula, calendar: Calendar) -> tuple[int, ...]:
    """Return the positions of the periods that have every lag of the formula."""
    known = [set(periods_of(term, calendar)) for term in formula.terms]
    return tuple(sorted(set.intersection(*known)))


def in_periods(
    array: Shaped[Array, "*many period"], periods: Sequence[int]
) -> Shaped[Array, "*many kept"]:
    """Return the periods at these positions, by a slice where they are adjacent."""
    if periods[-1] - periods[0] == len(periods) - 1:
        return array[..., periods[0] : periods[-1] + 1]
    return array[..., jnp.asarray(periods)]


def count(data: Regression, slopes: int, effects: tuple[str, ...], constant: bool = True) -> Counts:
    """Count observations, units and periods."""
    if data.weight is None:
        n_units, n_periods = data.shape
        return Counts(n_units * n_periods, n_units, n_periods, slopes, effects, constant)
    return Counts(
        observations=data.weight.sum(),
        units=data.weight.any(axis=1).sum().astype(float),
        periods=data.weight.any(axis=0).sum().astype(float),
        slopes=slopes,
        effects=effects,
        constant=constant,
    )


def sums_of_squares(columns: Columns) -> Float[Array, " column"]:
    """Return the sum of squares of each column."""
    return (columns**2).sum(axis=(1, 2))


def _stack(terms: tuple[Term, ...], panel: Panel, periods: tuple[int, ...]) -> Columns:
    if not terms:
        return jnp.zeros((0, panel.n_units, len(periods)))
    return jnp.stack([in_periods(evaluate(term, panel), periods) for term in terms])


def _weight(terms: tuple[Term, ...], mask: Array, calendar: Calendar) -> Cells:
    """Return 1 for cells in which every term is observed, else 0."""
    known = [observed_cells(term, mask, calendar) for term in terms if columns_of(term)]
    return jnp.stack(known).all(axis=0).astype(float)


def absorb(
    columns: AnyColumns, effects: tuple[str, ...], weight: Cells | None = None
) -> AnyColumns:
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


def _absorb_balanced(columns: AnyColumns, effects: tuple[str, ...]) -> AnyColumns:
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


def _mean(columns: AnyColumns, weight: Cells, axes: tuple[int, ...]) -> Float[Array, "..."]:
    """Return weighted means, with axes of length one kept; 0 where nothing is observed."""
    total = weight.sum(axis=axes, keepdims=True)
    return (weight * columns).sum(axis=axes, keepdims=True) / jnp.maximum(total, 1.0)


def _absorb_both(columns: AnyColumns, weight: Cells) -> AnyColumns:
    """Project off both dummies, by the normal equations of the shorter axis."""
    if weight.shape[1] > weight.shape[0]:
        return _absorb_both(columns.swapaxes(-1, -2), weight.T).swapaxes(-1, -2)
    within = weight * (columns - _mean(columns, weight, (-1,)))
    shared = (weight / jnp.maximum(weight.sum(axis=1, keepdims=True), 1.0)).T @ weight
    normal = jnp.diag(weight.sum(axis=0)) - shared
    effect = within.sum(axis=-2) @ generalized_inverse(normal)
    left = within - weight * effect[..., None, :]
    return weight * (left - _mean(left, weight, (-1,)))


def generalized_inverse(gram: Float[Array, "k k"]) -> Float[Array, "k k"]:
    """Return an inverse of a Gram matrix of dummies on its range, leaving out redundant columns.

    Sweeps column after column (Goodnight 1979) and skips columns that others before explain.
    """

    def sweep(p, a):
        pivot = a[p, p]
        redundant = ~(pivot > NEGLIGIBLE * gram[p, p])
        row = (a[p] / jnp.where(redundant, 1.0, pivot)).at[p].set(1.0 / pivot)
        swept = (a.at[:, p].set(0.0) - a[:, p][:, None] * row).at[p].set(row)
        dropped = a.at[p].set(0.0).at[:, p].set(0.0)
        return jnp.where(redundant, dropped, swept)

    return jax.lax.fori_loop(0, len(gram), sweep, gram)


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

    They do not change slopes, but would count in degrees of freedom (Correia 2015).
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
    """Apply a change to outcome, regressors and instruments, along their last two axes.

    ``periods`` are the positions of the periods that are left; None: all.
    """
    y, x, z = (change(array) for array in (data.y, data.x, data.z))
    calendar = data.calendar if periods is None else data.calendar.take(periods)
    return Regression(y, x, z, weight, data.status, calendar)


def _means(
    array: Float[Array, "*column unit period"], n_cells: Float[Array, "unit 1"]
) -> Float[Array, "*column unit 1"]:
    return array.sum(axis=-1, keepdims=True) / jnp.maximum(n_cells, 1.0)
