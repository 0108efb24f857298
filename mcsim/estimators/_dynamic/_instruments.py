"""Which instrument stands in which equation: the block layout of Arellano & Bond (1991), static.

An instrument is a column over the equations of a unit, mostly zeros. What is not zero are its
cells, each the product of a source column and one equation; moments are computed cell by cell and
then added up, so that the zeros cost nothing.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcsim._calendar import Calendar

Cell = tuple[int, int]
"""A source column and an equation."""


class Levels(NamedTuple):
    """A variable whose lagged levels are instruments.

    Attributes
    ----------
    places : tuple of int
        The places of the periods in which the variable is there: a lagged one is not in the first.
    nearest : int
        How many periods back the nearest level is.
    farthest : int or None
        How many periods back the farthest is; None for all there are.
    """

    places: tuple[int, ...]
    nearest: int
    farthest: int | None


class Layout(NamedTuple):
    """The cells of all instruments, those of one instrument side by side.

    Attributes
    ----------
    column, equation : int array (cell,)
        Where each cell comes from and where it stands.
    sizes : tuple of int
        How many cells each instrument has.
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
    """Put the cells of one lag together."""
    for _, group in groupby(sorted(cells), key=lambda pair: pair[0]):
        yield [cell for _, cell in group]
