"""The calendar of a panel: the places of its periods; and what is known of it under tracing."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from mcsim._core.pytree import registers_once
from mcsim.errors import InputError


@dataclass(frozen=True)
class Calendar:
    """The places of periods, ascending; static under jit.

    Attributes
    ----------
    places : tuple of int
        One per period.

    Examples
    --------
    >>> Calendar((0, 1, 4)).before(1)
    (None, 0, None)
    """

    places: tuple[int, ...]

    def __post_init__(self) -> None:
        register_calendar()

    def __str__(self) -> str:
        many = "s" if len(self.places) != 1 else ""
        gaps = "" if self.consecutive else f" (places {', '.join(map(str, self.places))})"
        return f"{len(self.places)} period{many}{gaps}"

    @property
    def consecutive(self) -> bool:
        """Whether every period follows the one before it."""
        return self.span == len(self.places)

    @property
    def span(self) -> int:
        """Number of periods from the first to the last, those between that are absent included."""
        return self.places[-1] - self.places[0] + 1 if self.places else 0

    def before(self, lag: int) -> tuple[int | None, ...]:
        """Return the position of the period ``lag`` places before each; None where it is absent."""
        position = {place: position for position, place in enumerate(self.places)}
        return tuple(position.get(place - lag) for place in self.places)

    @property
    def adjacent(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The positions of the periods that follow another one, and of those before them."""
        pairs = [(t, source) for t, source in enumerate(self.before(1)) if source is not None]
        return tuple(later for later, _ in pairs), tuple(earlier for _, earlier in pairs)

    def take(self, positions: Sequence[int]) -> "Calendar":
        """Return the calendar of the periods at these positions."""
        return Calendar(tuple(self.places[position] for position in positions))


def places_of(periods: Any, n_periods: int) -> tuple[int, ...] | None:
    """Return the places of periods counted from the first; None if they are 0, 1, 2, ...

    Raises
    ------
    InputError
        If they are not ascending whole numbers, one per period.
    """
    if periods is None:
        return None
    try:
        places = [int(place) for place in periods]
        whole = all(place == given for place, given in zip(places, periods, strict=True))
    except (TypeError, ValueError):
        places, whole = [], False
    if not whole or len(places) != n_periods or any(b <= a for a, b in pairwise(places)):
        raise InputError(
            f"periods: got {periods!r}, expected {n_periods} ascending whole numbers, the places "
            "of the panel's periods on their calendar, such as [0, 1, 2, 4]"
        )
    counted = tuple(place - places[0] for place in places)
    return None if counted == tuple(range(n_periods)) else counted


class StaticPart(NamedTuple):
    """What of a panel is known when a program is traced; panels that share it share programs.

    Attributes
    ----------
    names : tuple of str
        The columns.
    periods : tuple of int or None
        The places of the periods on their calendar; None if they are 0, 1, 2, ...
    nominal : tuple of (str, int or None)
        The columns whose values are codes 0, 1, ... of categories, with the number of categories.
    """

    names: tuple[str, ...]
    periods: tuple[int, ...] | None = None
    nominal: tuple[tuple[str, int | None], ...] = ()


@registers_once
def register_calendar() -> None:
    """Tell JAX that calendars are static."""
    import jax

    jax.tree_util.register_static(Calendar)
