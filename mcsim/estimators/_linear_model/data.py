"""The arrays of a regression: outcome, regressors and instruments where they are observed.

Shapes stay fixed while the number of observations varies: a cell that is not observed has weight 0
and zeros in every column. A panel without gaps has no weights at all, which is the fast path. A
fault of the data is data too: a status in place of an exception.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from mcsim._core.records import Calendar, Panel, Status
from mcsim.errors import InputError, UnknownName, did_you_mean
from mcsim.estimators._expression import (
    Term,
    columns_of,
    evaluate,
    longest_lag,
    observed_cells,
    periods_of,
)
from mcsim.estimators._formula import RegressionFormula

Columns = Float[Array, "column unit period"]
Cells = Float[Array, "unit period"]


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
    """The counts that decide degrees of freedom.

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


def group_of_units(column: str, panel: Panel) -> tuple[Int[Array, " unit"], Int[Array, ""]]:
    """Return the group of every unit as a number below the number of units, and a status.

    The number is the position of the group's first unit in sorted order: it has gaps, but needs no
    shape that depends on the data. A group that changes over a unit's observed periods is
    ``INVALID_INPUT``.
    """
    if column not in panel:
        raise UnknownName(
            f"cluster: {column!r} is not a column of the panel{did_you_mean(column, panel)}; its "
            "own axes are called 'unit' and 'time'"
        )
    values = jnp.asarray(panel[column], dtype=jnp.float64)
    seen = jnp.ones(values.shape, bool) if panel.mask is None else panel.mask
    highest = jnp.where(seen, values, -jnp.inf).max(axis=1)
    lowest = jnp.where(seen, values, jnp.inf).min(axis=1)
    wrong = (seen & ~jnp.isfinite(values)).any() | (highest > lowest).any()
    code = jnp.where(seen.any(axis=1), highest, jnp.inf)
    group = jnp.searchsorted(jnp.sort(code), code).astype(jnp.int32)
    return group, jnp.where(wrong, Status.INVALID_INPUT, Status.OK).astype(jnp.int32)


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
    """Observed is a cell of which every term is known."""
    known = [observed_cells(term, mask, calendar) for term in terms if columns_of(term)]
    return jnp.stack(known).all(axis=0).astype(float)
