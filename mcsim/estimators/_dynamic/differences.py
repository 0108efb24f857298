"""A dynamic panel in first differences: its arrays, and the instruments of every equation.

A cell that is not observed has zeros everywhere and weight 0; so has an equation of which a term is
missing. A panel without gaps has no weights at all, which is the fast path.

The layout of instruments is the block layout of Arellano & Bond (1991), static. An instrument is a
column over the equations of a unit, mostly zeros. The others are its cells, each the product of a
source column and one equation; moments are computed cell by cell and then added up, so that the
zeros cost no time.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mcsim._core.records import Calendar, Panel, Status
from mcsim.errors import InputError
from mcsim.estimators._expression import (
    Term,
    evaluate,
    longest_lag,
    observed_cells,
    periods_of,
)
from mcsim.estimators._formula import RegressionFormula
from mcsim.estimators._linear_model.data import in_periods, periods_with_lags, read_regression

Cell = tuple[int, int]
"""A source column and an equation."""


class Levels(NamedTuple):
    """A variable whose lagged levels are instruments.

    Attributes
    ----------
    places : tuple of int
        The places of the periods in which the variable is defined; a lagged one is not in the
        first.
    nearest : int
        Number of periods from an equation back to the nearest level.
    farthest : int or None
        The same for the farthest level; None for all.
    """

    places: tuple[int, ...]
    nearest: int
    farthest: int | None


class Layout(NamedTuple):
    """The cells of all instruments, instrument by instrument.

    Attributes
    ----------
    column, equation : int array (cell,)
        The source column and the equation of each cell.
    sizes : tuple of int
        Number of cells of each instrument.
    """

    column: np.ndarray
    equation: np.ndarray
    sizes: tuple[int, ...]

    @property
    def n_instruments(self) -> int:
        """Columns of the instrument matrix."""
        return len(self.sizes)

    def collect(self, cells: Float[Array, "*many cell"]) -> Float[Array, "*many instrument"]:
        """Add up the cells of each instrument."""
        parts, first = [], 0
        for size, group in groupby(self.sizes):
            last = first + size * len(list(group))
            part = cells[..., first:last]
            parts.append(part if size == 1 else part.reshape(*part.shape[:-1], -1, size).sum(-1))
            first = last
        return jnp.concatenate(parts, axis=-1)


def arrange(
    levels: Sequence[Levels],
    n_own: int,
    *,
    equations: Calendar,
    period_effects: bool,
    collapse: bool,
) -> Layout:
    """Lay out the instruments over source columns in this order.

    The columns are: each variable's levels, period after period; each exogenous
    variable's differences, equation after equation; a one, if there are period effects.

    Parameters
    ----------
    levels : sequence of Levels
        The variables that are instrumented by their lagged levels.
    n_own : int
        Exogenous variables, whose differences are their own instruments.
    equations : Calendar
        The periods of the differenced equations.
    period_effects : bool
        Whether every equation has an intercept, which is its own instrument.
    collapse : bool
        Whether there is one instrument for each lag in place of one for each lag and equation.
    """
    instruments: list[list[Cell]] = []
    column = 0
    for variable in levels:
        cells = _cells_of_levels(variable, column, equations)
        instruments += _collapsed(cells) if collapse else [[cell] for _, cell in cells]
        column += len(variable.places)
    numbers = range(len(equations.places))
    for _ in range(n_own):
        instruments.append([(column + equation, equation) for equation in numbers])
        column += len(numbers)
    if period_effects:
        instruments += [[(column, equation)] for equation in numbers]
    flat = np.array(list(chain.from_iterable(instruments)), dtype=int).reshape(-1, 2)
    return Layout(flat[:, 0], flat[:, 1], tuple(map(len, instruments)))


def _cells_of_levels(variable: Levels, column: int, equations: Calendar) -> list[tuple[int, Cell]]:
    """Return (lag, cell) for every level that an equation may use, oldest level first."""
    farthest = math.inf if variable.farthest is None else variable.farthest
    return [
        (place - level, (column + number, equation))
        for equation, place in enumerate(equations.places)
        for number, level in enumerate(variable.places)
        if variable.nearest <= place - level <= farthest
    ]


def _collapsed(cells: Iterable[tuple[int, Cell]]) -> Iterator[list[Cell]]:
    """Group the cells by lag."""
    for _, group in groupby(sorted(cells), key=lambda pair: pair[0]):
        yield [cell for _, cell in group]


class LaggedLevels(NamedTuple):
    """A term that is instrumented by its levels of some periods ago, nearest to farthest."""

    term: Term
    nearest: int
    farthest: int | None


class Differences(NamedTuple):
    """Equations in first differences.

    Attributes
    ----------
    y : array (unit, equation)
        Differenced outcome.
    x : array (regressor, unit, equation)
        Differenced regressors, then a dummy of every equation if there are period effects.
    source : array (unit, column)
        The columns that the instruments' cells are made of.
    z : array (unit, cell)
        The instruments' cells.
    use : array (unit, equation) or None
        1 where an equation can be used and 0 elsewhere; None where every one can.
    layout : Layout
        The instrument of each cell.
    n_slopes : int
        Regressors that are not dummies.
    status : int array ()
    calendar : Calendar
        The periods of the equations.
    """

    y: Float[Array, "unit equation"]
    x: Float[Array, "regressor unit equation"]
    source: Float[Array, "unit column"]
    z: Float[Array, "unit cell"]
    use: Float[Array, "unit equation"] | None
    layout: Layout
    n_slopes: int
    status: Int[Array, ""]
    calendar: Calendar

    def times_instruments(
        self, e: Float[Array, "*many unit equation"]
    ) -> Float[Array, "*many unit instrument"]:
        """Return Z'e of every unit."""
        return self.layout.collect(self.z * e[..., self.layout.equation])

    def cross_instruments(
        self, h: Float[np.ndarray, "equation equation"]
    ) -> Float[Array, "instrument instrument"]:
        """Return the sum over units of Z'HZ."""
        column, equation = self.layout.column, self.layout.equation
        if self.use is None:  # one product of each pair of columns, for all equations
            pairs = (self.source.T @ self.source)[column][:, column]
        else:
            pairs = self.z.T @ self.z
        collect = self.layout.collect
        return collect(collect(pairs * h[equation][:, equation]).T)


def read_differences(
    formula: RegressionFormula,
    panel: Panel,
    levels: Sequence[LaggedLevels],
    own: Sequence[int],
    collapse: bool,
) -> Differences:
    """Difference the columns of a formula and lay out the instruments.

    Parameters
    ----------
    formula : RegressionFormula
    panel : Panel
    levels : sequence of LaggedLevels
        The terms that are instrumented by lagged levels.
    own : sequence of int
        Positions of the regressors that are their own instruments.
    collapse : bool
        One instrument for each lag in place of one for each lag and equation.

    Raises
    ------
    InputError
        If no equation is left, or fewer instruments than coefficients: known when the program is
        traced.
    """
    layout, equations = _layout(formula, levels, len(own), panel.calendar, collapse)
    data = read_regression(formula, panel)
    later, earlier = data.calendar.adjacent
    use = None
    if data.weight is not None:
        use = in_periods(data.weight, later) * in_periods(data.weight, earlier)
    own_levels = jnp.concatenate([data.x[jnp.asarray(own, int)], data.z])
    y, x, exogenous = (
        _difference(array, data.calendar, use) for array in (data.y, data.x, own_levels)
    )
    source, broken = _source(formula, panel, levels, exogenous)
    z = source[:, layout.column]
    return Differences(
        y=y,
        x=jnp.concatenate([x, _dummies(formula, use, y.shape)]),
        source=source,
        z=z if use is None else z * use[:, layout.equation],
        use=use,
        layout=layout,
        n_slopes=len(x),
        status=jnp.where(broken, Status.NAN, data.status).astype(jnp.int32),
        calendar=equations,
    )


def _layout(
    formula: RegressionFormula,
    levels: Sequence[LaggedLevels],
    n_own: int,
    calendar: Calendar,
    collapse: bool,
) -> tuple[Layout, Calendar]:
    """Lay out the instruments, of which there must be enough; return the equations' periods too."""
    n_periods, equations = len(calendar.places), _equations(formula, calendar)
    period_effects, n_equations = "time" in formula.effects, len(equations.places)
    layout = arrange(
        [_places(each, calendar) for each in levels],
        n_own + len(formula.instruments),
        equations=equations,
        period_effects=period_effects,
        collapse=collapse,
    )
    wanted = len(formula.names) + n_equations * period_effects
    if layout.n_instruments < wanted:
        raise InputError(
            f"formula {str(formula)!r}: got {layout.n_instruments} instruments for {wanted} "
            f"coefficients in {n_periods} periods, expected at least as many; take more lags as "
            "instruments or fewer regressors"
        )
    return layout, equations


def _places(levels: LaggedLevels, calendar: Calendar) -> Levels:
    known = calendar.take(periods_of(levels.term, calendar))
    return Levels(known.places, levels.nearest, levels.farthest)


def _equations(formula: RegressionFormula, calendar: Calendar) -> Calendar:
    """Return the periods that, like the ones before them, have every lag of the formula."""
    with_lags = calendar.take(periods_with_lags(formula, calendar))
    later, _ = with_lags.adjacent
    if not later:
        needed = max(longest_lag(term) for term in formula.terms) + 2
        raise InputError(
            f"formula {str(formula)!r}: got {calendar}, expected at least {needed} that follow one "
            "another: lags and the first difference use up the others"
        )
    return with_lags.take(later)


def _difference(
    columns: Float[Array, "*many unit period"], calendar: Calendar, use: Array | None
) -> Array:
    later, earlier = calendar.adjacent
    difference = in_periods(columns, later) - in_periods(columns, earlier)
    return difference if use is None else use * difference


def _dummies(
    formula: RegressionFormula, use: Array | None, shape: tuple[int, ...]
) -> Float[Array, "dummy unit equation"]:
    """Return a dummy of every equation if there are period effects, else none."""
    n_units, n = shape
    number = n if "time" in formula.effects else 0
    dummies = jnp.broadcast_to(jnp.eye(number, n)[:, None], (number, n_units, n))
    return dummies if use is None else dummies * use


def _source(
    formula: RegressionFormula,
    panel: Panel,
    levels: Sequence[LaggedLevels],
    exogenous: Float[Array, "regressor unit equation"],
) -> tuple[Float[Array, "unit column"], Bool[Array, ""]]:
    """Return the source columns of instruments, and whether an observed level is no number."""
    columns, broken = _levels(panel, [each.term for each in levels])
    columns += list(exogenous)
    if "time" in formula.effects:
        columns.append(jnp.ones((panel.n_units, 1)))
    return jnp.concatenate(columns, axis=1), broken


def _levels(panel: Panel, terms: Sequence[Term]) -> tuple[list[Array], Bool[Array, ""]]:
    """Return each term's levels from its first period, and whether an observed one is no number."""
    levels, broken = [], jnp.zeros((), bool)
    for term in terms:
        periods = periods_of(term, panel.calendar)
        level = in_periods(evaluate(term, panel), periods)
        bad = ~jnp.isfinite(level)
        if panel.mask is not None:
            observed = in_periods(observed_cells(term, panel.mask, panel.calendar), periods)
            bad &= observed
            level = jnp.where(observed, level, 0.0)
        levels.append(level)
        broken |= bad.any()
    return levels, broken
