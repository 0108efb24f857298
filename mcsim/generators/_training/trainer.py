"""Trainers: frozen configurations, each of which chooses a recipe for its data.

A recipe checks data and learns from them. The steps common to all trainers are here: from a panel
to its generators, alone and in ensembles.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from typing import (
    Annotated,
    Any,
    ClassVar,
    Generic,
    Literal,
    NamedTuple,
    Protocol,
    TypeVar,
    runtime_checkable,
)

import numpy as np
from jaxtyping import Array

from mcsim._core.calls import with_remedies
from mcsim._core.checks import Rule, at_least, is_finite, is_whole, one_of, plain
from mcsim._core.keys import require_key
from mcsim._core.records import Panel, require_panel
from mcsim._data.schema import Schema
from mcsim.errors import raise_all

Fitted = TypeVar("Fitted")


def are_widths(value: Any) -> bool:
    """Return whether a value is a tuple of widths of hidden layers."""
    return isinstance(value, tuple) and all(is_whole(width) and width > 0 for width in value)


Count = Annotated[int, at_least(1)]
Switch = Annotated[bool, Rule(lambda value: isinstance(value, bool), "True or False")]
Positive = Annotated[float, Rule(lambda value: is_finite(value) and value > 0, "a positive number")]
Weight = Annotated[
    float, Rule(lambda value: is_finite(value) and value >= 0, "a number of at least 0")
]
Share = Annotated[
    float, Rule(lambda value: is_finite(value) and 0 <= value < 1, "a share from 0 to below 1")
]
Folds = Annotated[
    int,
    Rule(
        lambda value: is_whole(value) and value >= 0 and value != 1,
        "a whole number of at least 2, or 0 for none",
    ),
]
Widths = Annotated[
    tuple[int, ...],
    Rule(lambda value: are_widths(value) and len(value) > 0, "a tuple of widths such as (64, 64)"),
]
WidthsOrNone = Annotated[
    tuple[int, ...],
    Rule(are_widths, "a tuple of widths such as (64, 64), or ()"),
]
Arch = Annotated[Literal["mlp", "lstm"], one_of("mlp", "lstm")]
CommonShocks = Literal["fixed", "redraw"]
ShockOption = Annotated[CommonShocks, one_of("fixed", "redraw")]
ColumnName = Annotated[str, Rule(lambda value: isinstance(value, str), "the name of a column")]
Names = Annotated[
    tuple[str, ...],
    Rule(
        lambda value: isinstance(value, tuple) and all(isinstance(name, str) for name in value),
        "a tuple of column names",
    ),
]


def filled(trainer: Any, **defaults: Any) -> Any:
    """Return the trainer with the options at None replaced by defaults."""
    return replace(trainer, **{n: v for n, v in defaults.items() if getattr(trainer, n) is None})


def set_plain_options(trainer: Any, lists: Sequence[str] = ()) -> None:
    """Replace NumPy's numbers among the options by Python's own, and lists by tuples."""
    for field in fields(trainer):
        value = getattr(trainer, field.name)
        if isinstance(value, tuple) or (isinstance(value, list) and field.name in lists):
            value = tuple(map(plain, value))
        object.__setattr__(trainer, field.name, plain(value))


class Source(NamedTuple):
    """Data after the checks of a recipe.

    Attributes
    ----------
    schema : Schema
    given : tuple of str
        Conditioning columns.
    columns : dict of str to array
        Values of all columns, NaN where missing.
    """

    schema: Schema
    given: tuple[str, ...]
    columns: Mapping[str, np.ndarray]


@runtime_checkable
class Recipe(Protocol):
    """The way from data of one kind, of a known size, to fitted generators."""

    @property
    def config(self) -> Any:
        """The trainer, with options at None replaced by defaults for the size of the data."""
        ...

    @property
    def refused(self) -> tuple[str, ...]:
        """Options for data of another kind."""
        ...

    @property
    def takes_missing(self) -> bool:
        """Whether cells may be missing, with ``missing="model"``."""
        ...

    def checked(
        self,
        panel: Panel,
        rows: Sequence[np.ndarray | None],
        given: Sequence[str],
        schema: Schema | None,
    ) -> Source:
        """Return the checked data of members, each with its rows; or raise all faults."""
        ...

    def train(
        self, source: Source, keys: Sequence[Array], rows: Sequence[np.ndarray], progress: bool
    ) -> list[Any]:
        """Return a generator for each key, learned from its rows."""
        ...


@runtime_checkable
class Configuration(Protocol):
    """A trainer, as `fit` takes it."""

    def recipe(self, n_units: int, n_periods: int) -> Recipe:
        """Return the recipe for data of this size."""
        ...


Train = Callable[[Sequence[int]], list[Any]]
"""Trains the members with these numbers."""

Keeper = Callable[
    [Any, Source, Array | Sequence[Array], Sequence[np.ndarray | None], Train], list[Any]
]
"""Returns all members' generators, kept or trained, for a configuration, data, keys and rows."""


def _keep_none(
    config: Any,
    source: Source,
    keys: Array | Sequence[Array],
    rows: Sequence[np.ndarray | None],
    train: Train,
) -> list[Any]:
    return train(range(len(keys)))


KEEPER: ContextVar[Keeper] = ContextVar("keeper", default=_keep_none)
"""The keeper of fits, which `model_cache` sets."""


def fit(
    trainer: Configuration,
    key: Array,
    panel: Panel,
    *,
    given: Sequence[str],
    schema: Schema | None,
    progress: bool,
) -> Any:
    """Fit one generator to a panel."""
    require_key(key)
    options: dict[str, Any] = {"given": given, "schema": schema, "progress": progress}
    return fit_members(trainer, [key], panel, [None], **options)[0]


def fit_members(
    trainer: Configuration,
    keys: Array | Sequence[Array],
    panel: Panel,
    rows: Sequence[np.ndarray | None],
    *,
    given: Sequence[str],
    schema: Schema | None,
    progress: bool,
) -> list[Any]:
    """Fit one generator per key, each on its rows of the panel (None: all)."""
    require_panel(panel)
    recipe = trainer.recipe(panel.n_units, panel.n_periods)
    raise_all(_faults_of_kind(trainer, recipe.refused, panel.n_periods))
    source, everyone = recipe.checked(panel, rows, given, schema), np.arange(panel.n_units)

    def train(missing: Sequence[int]) -> list[Any]:
        own = [everyone if rows[m] is None else np.asarray(rows[m]) for m in missing]
        fits = recipe.train(source, [keys[m] for m in missing], own, progress)
        return [replace(fit, rows=rows[m]) for fit, m in zip(fits, missing, strict=True)]

    return KEEPER.get()(recipe.config, source, keys, rows, train)


def _faults_of_kind(trainer: Any, refused: tuple[str, ...], periods: int) -> list[str]:
    """Return the options for data of the other kind, as faults."""
    kind, came = "a panel of several periods", "one period"
    if periods > 1:
        kind, came = "a cross-section", f"{periods} periods"
    defaults = {field.name: field.default for field in fields(trainer)}
    return [
        f"{name}: got {getattr(trainer, name)!r}, an option for {kind}, but the panel has {came}; "
        "leave it out"
        for name in refused
        if getattr(trainer, name) != defaults[name]
    ]


@dataclass(frozen=True, kw_only=True)
class Trainer(ABC, Generic[Fitted]):
    """A frozen configuration that chooses a recipe.

    Parameters
    ----------
    common_shocks : {"fixed", "redraw"}
        Whether the means of the periods are the data's in every panel, or drawn anew.
    cluster : str, optional
        A column that holds the group (school, state) of each unit: it is generated with its group
        structure.
    missing : {"error", "model"}
        Missing cells are refused, or completed by a normal distribution given the unit's other
        cells; generated panels are complete.
    """

    common_shocks: ShockOption = "fixed"
    cluster: ColumnName | None = None
    missing: Annotated[Literal["error", "model"], one_of("error", "model")] = "error"

    lists: ClassVar[tuple[str, ...]] = ()
    """Options that may be lists."""

    def __post_init__(self):
        set_plain_options(self, self.lists)
        raise_all(self.faults())

    @abstractmethod
    def faults(self) -> list[str]:
        """Return the faults of the options."""

    @abstractmethod
    def recipe(self, n_units: int, n_periods: int) -> Recipe:
        """Return the recipe for data of this size."""

    @with_remedies()
    def fit(
        self,
        key: Array,
        panel: Panel,
        *,
        given: Sequence[str] = (),
        schema: Schema | None = None,
        progress: bool = True,
    ) -> Fitted:
        """Learn the distribution of a panel's units, conditional on the columns ``given``.

        Parameters
        ----------
        key : key
            Source of all randomness.
        panel : Panel
            The data; units are independent given common shocks, and groups.
        given : sequence of str
            Conditioning columns of a cross-section, never drawn, for instance the
            treatment; trainers other than `WGAN` and `Autoregressive` take discrete ones.
        schema : Schema, optional
            Kinds, bounds and mass points; default `mcsim.infer_schema`.
        progress : bool
            Show a bar, if on a terminal.

        Returns
        -------
        FittedPanel, or FittedGenerator (`WGAN` and `Autoregressive`, of a cross-section)

        Raises
        ------
        InputError
            For data that cannot be learned from: all faults are reported together.
        TrainingDiverged
            If the losses end in NaN or run away.
        """
        return fit(self, key, panel, given=given, schema=schema, progress=progress)

    def fit_members(
        self,
        keys: Array,
        panel: Panel,
        rows: Sequence[np.ndarray | None],
        *,
        given: Sequence[str] = (),
        schema: Schema | None = None,
        progress: bool = True,
    ) -> list[Fitted]:
        """Fit one generator per key, each on its rows of the panel (None: all); see `fit_many`."""
        options: dict[str, Any] = {"given": given, "schema": schema, "progress": progress}
        return fit_members(self, keys, panel, rows, **options)
