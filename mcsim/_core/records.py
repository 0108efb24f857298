"""The nouns of mcsim: Panel and its calendar, Sample, Estimate; `protocols` connect them.

A **DGP** draws a sample; an **estimator** turns its panel into an estimate; a **study** crosses
DGPs and designs with estimators; **measures** summarize (ADEMP: Morris, White & Crowther 2019).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxtyping import Bool

from mcsim._core.checks import faults_of_strings
from mcsim._core.estimates import SUCCESSES, WITH_RESULT, Estimate, Status  # noqa: F401  too
from mcsim._core.pytree import registers_once
from mcsim.errors import InputError, UnknownName, did_you_mean, no_attribute, printable, raise_all

if TYPE_CHECKING:
    from jaxtyping import Array
else:
    Array = Any  # JAX is imported with the first panel


@registers_once
def _register() -> None:
    import jax

    jax.tree_util.register_static(Calendar)
    jax.tree_util.register_pytree_with_keys_class(Panel)


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
        _register()

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
        """Number of periods from the first to the last, absent ones included."""
        return self.places[-1] - self.places[0] + 1 if self.places else 0

    def before(self, lag: int) -> tuple[int | None, ...]:
        """Return the position of the period ``lag`` places before each; None where it is absent."""
        position = {place: position for position, place in enumerate(self.places)}
        return tuple(position.get(place - lag) for place in self.places)

    @property
    def adjacent(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Positions of the periods that follow another period, and of their predecessors."""
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
    """The part of a panel known at tracing; panels with equal static parts share programs.

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


class Panel(Mapping[str, Array]):
    """Columns observed for units over periods; a cross-section has one period.

    A pytree whose leaves are the columns and the mask. Its static part is the column names, which
    columns are nominal, and the places of the periods on their calendar, so that panels of one
    shape share one compiled program. Labels and the names of the user's index live in the `Schema`.

    Parameters
    ----------
    columns : mapping of str to array (unit, period)
        One array per column; a vector (unit,) is taken as a cross-section.
    mask : array of bool (unit, period), optional
        True where the cell is observed. None: all are.
    periods : sequence of int, optional
        Where the periods stand on their calendar, ascending: lags, differences and event times
        count in these places. They are kept as distances from the first. None: 0, 1, 2, ...
    nominal : mapping of str to int, or sequence of str
        The columns that hold codes 0, 1, ... of categories, with the number of categories where it
        is known. A formula of mcsim makes dummies of them.

    Attributes
    ----------
    mask : array of bool (unit, period) or None
    calendar : Calendar
        The places of the periods.
    nominal : dict of str to int or None
        The number of categories of each nominal column; None where it is not known.

    Examples
    --------
    >>> panel = Panel({"y": [1.0, 2.0, 4.0]})
    >>> panel
    Panel(3 units x 1 period: y)
    >>> float(panel["y"].sum())
    7.0
    >>> Panel({"y": [[1.0, 2.0, 4.0]]}, periods=[2000, 2001, 2004]).calendar.places
    (0, 1, 4)
    """

    def __init__(
        self,
        columns: Mapping[str, Any],
        mask: Bool[Array, "unit period"] | None = None,
        *,
        periods: Sequence[int] | None = None,
        nominal: Mapping[str, int | None] | Sequence[str] = (),
    ):
        _register()
        if not isinstance(columns, Mapping):
            raise InputError(
                f"columns: got {type(columns).__name__}, expected a dict of names and arrays; "
                "panel, schema = mcsim.from_frame(frame) makes a panel of a frame"
            )
        if not columns:
            raise InputError("columns: got none, expected at least one column of numbers")
        arrays = {str(name): _as_column(str(name), values) for name, values in columns.items()}
        shapes = {name: array.shape for name, array in arrays.items()}
        if len(set(shapes.values())) > 1:
            raise InputError(f"columns: got shapes {shapes}, expected one shape (unit, period)")
        self._columns: dict[str, Array] = arrays
        self.mask = mask
        self._periods = places_of(periods, self.n_periods)
        self._nominal = _as_nominal(nominal, arrays)

    @classmethod
    def batch(
        cls,
        columns: Mapping[str, Array],
        mask: Array | None = None,
        static: StaticPart | None = None,
    ) -> "Panel":
        """Return panels (rep, unit, period) without checks, their calendar as in ``static``."""
        static = (static or StaticPart(()))._replace(names=tuple(columns))
        return cls.tree_unflatten(static, [*columns.values(), mask])

    def __getitem__(self, name: str) -> Array:
        if name in self:
            return self._columns[name]
        several = isinstance(name, list | tuple)
        remedy = f"; write panel.select({list(name)})" if several else did_you_mean(name, self)
        raise UnknownName(f"column {name!r} is not in the panel{remedy}")

    if not TYPE_CHECKING:  # for which attributes that are not there stay mistakes

        def __getattr__(self, name: str) -> Any:
            raise no_attribute(name, "panel", () if name.startswith("_") else self._columns)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        units, periods = self.n_units, self.n_periods
        many = "s" if periods != 1 else ""
        return f"Panel({units} units x {periods} period{many}: {printable(', '.join(self))})"

    @property
    def n_units(self) -> int:
        """Number of units."""
        return next(iter(self._columns.values())).shape[-2]

    @property
    def n_periods(self) -> int:
        """Number of periods; 1 for a cross-section."""
        return next(iter(self._columns.values())).shape[-1]

    @property
    def calendar(self) -> Calendar:
        """The places of the periods on their calendar."""
        places = tuple(range(self.n_periods)) if self._periods is None else self._periods
        if len(places) != self.n_periods:
            raise InputError(
                f"panel: got {self.n_periods} periods with the calendar of {len(places)}; where "
                "periods are left out, build it anew: Panel(columns, mask, periods=...)"
            )
        return Calendar(places)

    @property
    def nominal(self) -> dict[str, int | None]:
        """The number of categories of each nominal column; None where it is not known."""
        return {name: levels for name, levels in self._nominal if name in self._columns}

    @property
    def static_part(self) -> StaticPart:
        """The part of the panel known at tracing."""
        return StaticPart(tuple(self._columns), self._periods, tuple(self.nominal.items()))

    def with_columns(self, columns: Mapping[str, Any]) -> "Panel":
        """Return a panel with these columns added or replaced."""
        return self._with({**self._columns, **columns}, self.mask)

    def select(self, names: Sequence[str]) -> "Panel":
        """Return a panel with these columns only, in this order."""
        raise_all(faults_of_strings("names", names))
        return self._with({name: self[name] for name in names}, self.mask)

    def take(self, units: Any) -> "Panel":
        """Return the panel of these units (indices, a mask or a slice), in their order."""
        import jax.numpy as jnp

        units = units if isinstance(units, slice) else jnp.asarray(units)
        columns = {name: array[units] for name, array in self._columns.items()}
        return self._with(columns, None if self.mask is None else self.mask[units])

    def _with(self, columns: Mapping[str, Any], mask: Array | None) -> "Panel":
        """Return a panel of other columns with the same calendar and nominal columns."""
        nominal = {name: levels for name, levels in self._nominal if name in columns}
        return Panel(columns, mask, periods=self._periods, nominal=nominal)

    def __setstate__(self, state: dict[str, Any]) -> None:
        _register()
        self.__dict__.update(state)

    def tree_flatten_with_keys(self):
        """Split into (keyed leaves, static part), for JAX."""
        import jax

        leaves = [(jax.tree_util.DictKey(name), array) for name, array in self._columns.items()]
        return [*leaves, (jax.tree_util.GetAttrKey("mask"), self.mask)], self.static_part

    @classmethod
    def tree_unflatten(cls, static: StaticPart, leaves: Sequence[Any]) -> "Panel":
        """Rebuild without checks: JAX passes tracers and placeholders through here."""
        _register()
        panel = object.__new__(cls)
        panel._columns = dict(zip(static.names, leaves[:-1], strict=True))
        panel.mask = leaves[-1]
        panel._periods, panel._nominal = static.periods, static.nominal
        return panel


def require_panel(panel: Any, argument: str = "panel") -> None:
    """Raise unless the argument is a panel; the message of a frame names `from_frame`."""
    if not isinstance(panel, Panel):
        raise InputError(
            f"{argument}: got {type(panel).__name__}, expected a Panel; panel, schema = "
            "mcsim.from_frame(frame) makes one"
        )


def _as_column(name: str, values: Any) -> Array:
    import jax
    import jax.numpy as jnp

    try:
        array = jnp.asarray(values)
    except jax.errors.JAXTypeError:  # of a tracer, which `readable_errors` of a run explains
        raise
    except (TypeError, ValueError):
        came = type(values).__name__
        raise InputError(f"columns: {name!r} is {came}, expected an array of numbers") from None
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise InputError(f"columns: got an array of shape {array.shape}, expected (unit, period)")
    return array


def _as_nominal(
    nominal: Mapping[str, int | None] | Sequence[str], columns: Mapping[str, Any]
) -> tuple[tuple[str, int | None], ...]:
    if isinstance(nominal, str):
        raise InputError(f"nominal: got {nominal!r}, expected names: [{nominal!r}]")
    known = dict(nominal) if isinstance(nominal, Mapping) else dict.fromkeys(nominal)
    for name in known:
        if name not in columns:
            raise UnknownName(f"nominal: {name!r} is not in the panel{did_you_mean(name, columns)}")
    return tuple(sorted(known.items()))


class Sample(NamedTuple):
    """One draw of a DGP: the panel that estimators see, and the truth that they do not."""

    panel: Panel
    truth: Mapping[str, Any]
