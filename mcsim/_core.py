"""The nouns of mcsim: Panel, Design, Sample, Estimate, and the protocols that connect them.

A **DGP** draws a sample; an **estimator** turns its panel into an estimate; a **study** crosses
DGPs and designs with estimators; **measures** summarize. The words follow ADEMP (Morris, White &
Crowther 2019, Statistics in Medicine 38: 2074-2102).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Key

from mcsim._design import Design
from mcsim.errors import InputError, UnknownName, did_you_mean


class Status(IntEnum):
    """What became of one estimate. Inside jit a status is data; in frames it is its label.

    All but ``OK`` and ``NO_SE`` are failures. ``NO_SE`` is an estimate whose inference is not
    defined: its value counts, in every measure that needs no standard error.
    """

    OK = 0
    NONCONVERGED = 1
    SINGULAR = 2
    NAN = 3
    ERROR = 4
    TIMEOUT = 5
    CRASHED = 6
    OOM = 7
    SKIPPED = 8
    INVALID_INPUT = 9
    NO_SE = 10

    @property
    def label(self) -> str:
        """The status as it is written in frames: ``"ok"``, ``"singular"``, ..."""
        return self.name.lower()

    @property
    def has_value(self) -> bool:
        """Whether the estimate is there, with a standard error or without."""
        return self in (Status.OK, Status.NO_SE)


WITH_VALUE = tuple(int(status) for status in Status if status.has_value)
"""The statuses of estimates that are there, as numbers; `SUCCESSES` are their labels."""

SUCCESSES = tuple(Status(status).label for status in WITH_VALUE)


@jax.tree_util.register_pytree_with_keys_class
class Panel(Mapping[str, Array]):
    """Columns observed for units over periods; a cross-section has one period.

    A pytree whose leaves are the columns and the mask; its static part is the column names alone,
    so that panels of one shape share one compiled program. Labels, categories and the names of the
    user's index live in the `Schema`.

    Parameters
    ----------
    columns : mapping of str to array (unit, period)
        One array per column; a vector (unit,) is taken as a cross-section.
    mask : array of bool (unit, period), optional
        True where the cell is observed. None: all are.

    Examples
    --------
    >>> panel = Panel({"y": [1.0, 2.0, 4.0]})
    >>> panel
    Panel(3 units x 1 period: y)
    >>> float(panel["y"].sum())
    7.0
    """

    def __init__(self, columns: Mapping[str, Any], mask: Bool[Array, "unit period"] | None = None):
        if not columns:
            raise InputError("columns: got none, expected at least one column of numbers")
        arrays = {str(name): _as_column(values) for name, values in columns.items()}
        shapes = {name: array.shape for name, array in arrays.items()}
        if len(set(shapes.values())) > 1:
            raise InputError(f"columns: got shapes {shapes}, expected one shape (unit, period)")
        self._columns: dict[str, Array] = arrays
        self.mask = mask

    def __getitem__(self, name: str) -> Array:
        try:
            return self._columns[name]
        except KeyError:
            raise UnknownName(
                f"column {name!r} is not in the panel{did_you_mean(name, self._columns)}"
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        units, periods = self.n_units, self.n_periods
        many = "s" if periods != 1 else ""
        return f"Panel({units} units x {periods} period{many}: {', '.join(self)})"

    @property
    def n_units(self) -> int:
        """Number of units."""
        return next(iter(self._columns.values())).shape[-2]

    @property
    def n_periods(self) -> int:
        """Number of periods; 1 for a cross-section."""
        return next(iter(self._columns.values())).shape[-1]

    def with_columns(self, columns: Mapping[str, Any]) -> "Panel":
        """Return a panel with these columns added or replaced."""
        return Panel({**self._columns, **columns}, self.mask)

    def select(self, names: Sequence[str]) -> "Panel":
        """Return a panel with these columns only, in this order."""
        return Panel({name: self[name] for name in names}, self.mask)

    def take(self, units: Any) -> "Panel":
        """Return the panel of these units (indices, a mask or a slice), in their order."""
        units = units if isinstance(units, slice) else jnp.asarray(units)
        columns = {name: array[units] for name, array in self._columns.items()}
        return Panel(columns, None if self.mask is None else self.mask[units])

    def tree_flatten_with_keys(self):
        """Split into (keyed leaves, static names), for JAX."""
        leaves = [(jax.tree_util.DictKey(name), array) for name, array in self._columns.items()]
        return [*leaves, (jax.tree_util.GetAttrKey("mask"), self.mask)], tuple(self._columns)

    @classmethod
    def tree_unflatten(cls, names: tuple[str, ...], leaves: Sequence[Any]) -> "Panel":
        """Rebuild without checks: JAX passes tracers and placeholders through here."""
        panel = object.__new__(cls)
        panel._columns = dict(zip(names, leaves[:-1], strict=True))
        panel.mask = leaves[-1]
        return panel


def require_panel(panel: Any, argument: str = "panel") -> None:
    """Raise unless the argument is a panel; frames are told where to go."""
    if not isinstance(panel, Panel):
        raise InputError(
            f"{argument}: got {type(panel).__name__}, expected a Panel; panel, schema = "
            "mcsim.from_frame(frame) makes one"
        )


def _as_column(values: Any) -> Array:
    array = jnp.asarray(values)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise InputError(f"columns: got an array of shape {array.shape}, expected (unit, period)")
    return array


class Sample(NamedTuple):
    """One draw of a DGP: the panel that estimators see, and the truth that they do not."""

    panel: Panel
    truth: Mapping[str, Any]


class Estimate(NamedTuple):
    """What an estimator says: numbers, and a status as data.

    Where ``lower``, ``upper`` or ``p_value`` is NaN, mcsim uses value -+ t(df) se (normal where
    ``df`` is infinite) at the study's level and null; an estimator with limits of its own
    (percentile bootstrap, Anderson-Rubin) gives them here.

    Attributes
    ----------
    value, se : float or array ()
        Estimate and standard error, in units of the outcome.
    lower, upper : float or array ()
        Limits of the estimator's own interval.
    df : float or array ()
        Degrees of freedom of the reference distribution.
    p_value : float or array ()
        The estimator's own p-value.
    status : int or array ()
        A `Status`; anything but ``OK`` and ``NO_SE`` marks a failure.

    Examples
    --------
    >>> Estimate(1.5, 0.2).df
    inf
    """

    value: Any
    se: Any = math.nan
    lower: Any = math.nan
    upper: Any = math.nan
    df: Any = math.inf
    p_value: Any = math.nan
    status: Any = Status.OK


Label = str | tuple[str, str]
"""What an estimate is of: an estimand, or (estimand, inference)."""

Estimates = Mapping[Any, Estimate]
"""Estimates by `Label`."""


@runtime_checkable
class DGP(Protocol):
    """Draws a sample: ``dgp(key, design) -> Sample``. Pure, so that it can be jitted and vmapped.

    Optional: ``truth(key, design)`` gives ``{estimand: (value, mcse)}``, computed once per cell, or
    a `Panel` that is the population, on which each estimator's value is its own truth.
    """

    def __call__(self, key: Key[Array, ""], design: Design, /) -> Sample: ...


@runtime_checkable
class Estimator(Protocol):
    """Turns a panel into estimates. Pure; the key is for resampling estimators."""

    def __call__(self, key: Key[Array, ""], panel: Panel, /) -> Estimate | Estimates: ...


@runtime_checkable
class Diagnosed(Protocol):
    """An estimator that says of a panel what a reader should know beside the estimate.

    ``diagnose(panel)`` gives numbers by what they count, such as
    ``{"treated cells left out of the average": 12.0}``; 0 is not worth a note. It is pure, runs on
    a cell's first block, and its means are shown under tables.
    """

    def diagnose(self, panel: Panel, /) -> Mapping[str, Any]: ...


@runtime_checkable
class Generator(Protocol):
    """What training returns: draws panels of any number of units. Immutable."""

    def sample(self, key: Key[Array, ""], n_units: int, *, given: Any = None) -> Panel: ...
