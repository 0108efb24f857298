"""Layout: where the cells of a panel stand in a vector of scores, one vector per unit."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Array


@dataclass(frozen=True)
class Layout:
    """The coordinates of a unit: its paths, column by column and period by period; its traits.

    Attributes
    ----------
    paths : tuple of str
        Columns that vary over time; each has a coordinate per period.
    traits : tuple of str
        Columns that are constant within every unit; each has one coordinate.
    periods : int
        Number of periods.

    Examples
    --------
    >>> layout = Layout(("wage", "hours"), ("educ",), 8)
    >>> layout.size
    17
    >>> layout.place("hours")
    slice(8, 16, None)
    """

    paths: tuple[str, ...]
    traits: tuple[str, ...]
    periods: int

    @property
    def names(self) -> tuple[str, ...]:
        """All columns, in the order of their coordinates."""
        return (*self.paths, *self.traits)

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return self.n_cells + len(self.traits)

    @property
    def n_cells(self) -> int:
        """Number of coordinates of the paths."""
        return len(self.paths) * self.periods

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Number of coordinates of each column."""
        return (self.periods,) * len(self.paths) + (1,) * len(self.traits)

    def place(self, name: str) -> slice:
        """Return where a column's coordinates are."""
        column = self.names.index(name)
        start = sum(self.widths[:column])
        return slice(start, start + self.widths[column])

    def paths_of(self, vectors: Array) -> Array:
        """Return the paths (unit, column, period) in vectors (unit, coordinate)."""
        return vectors[..., : self.n_cells].reshape(-1, len(self.paths), self.periods)

    def traits_of(self, vectors: Array) -> Array:
        """Return the traits (unit, trait) in vectors (unit, coordinate)."""
        return vectors[..., self.n_cells :]


def layout_of(columns: dict[str, np.ndarray]) -> Layout:
    """Sort columns (unit, period) into paths and traits; a cross-section has paths of one period.

    A cell that is missing (NaN) may hold anything.
    """
    periods = next(iter(columns.values())).shape[1]
    traits = [name for name, values in columns.items() if periods > 1 and _is_trait(values)]
    return Layout(tuple(n for n in columns if n not in traits), tuple(traits), periods)


def _is_trait(values: np.ndarray) -> bool:
    highest = np.where(np.isnan(values), -np.inf, values).max(axis=1)
    lowest = np.where(np.isnan(values), np.inf, values).min(axis=1)
    return bool((highest <= lowest).all())
