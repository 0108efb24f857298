"""Protocols of DGPs, estimators and generators, and the optional parts that a run reads.

A DGP is a function of (key, design), an estimator one of (key, panel); nothing more is required.

Most estimates leave p-values and limits to mcsim, which completes them when results are read. A
test by resampling has its own: its estimator takes a study's null and level before it runs.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Key

from mcsim._core.checks import FINITE, Rule, faults_of_value, is_finite
from mcsim._core.design import Design
from mcsim._core.records import Estimate, Panel, Sample
from mcsim.errors import raise_all

if TYPE_CHECKING:
    from jaxtyping import Array
else:
    Array = Any  # JAX is imported with the first panel

Label = str | tuple[str, str]
"""The label of an estimate: an estimand, or (estimand, inference)."""

Estimates = Mapping[Any, Estimate]
"""Estimates by `Label`."""


@runtime_checkable
class DGP(Protocol):
    """Draws a sample: ``dgp(key, design) -> Sample``. Pure, so that it can be jitted and vmapped.

    Optional: ``truth(key, design)`` gives ``{estimand: (value, mcse)}``, computed once per cell, or
    a `Panel` that is the population: each estimator's value on it is its own truth.
    """

    def __call__(self, key: Key[Array, ""], design: Design, /) -> Sample:
        """Draw one sample."""
        ...


@runtime_checkable
class Estimator(Protocol):
    """Turns a panel into estimates. Pure; the key is for resampling estimators."""

    def __call__(self, key: Key[Array, ""], panel: Panel, /) -> Estimate | Estimates:
        """Estimate on one panel."""
        ...


@runtime_checkable
class Generator(Protocol):
    """The result of training: draws panels of any number of units. Immutable."""

    def sample(self, key: Key[Array, ""], n_units: int, *, given: Any = None) -> Panel:
        """Draw a panel of ``n_units`` units."""
        ...


@runtime_checkable
class TakesNullAndLevel(Protocol):
    """An estimator that takes a study's null and level where its own results depend on them."""

    @property
    def takes(self) -> tuple[str, ...]:
        """The names among ``"null"`` and ``"level"`` that affect the estimator's results."""
        ...

    def with_null_and_level(self, null: float, level: float) -> Any:
        """Return the estimator at this null and level; itself where nothing depends on them.

        Raises
        ------
        InputError
            If the user gave it other values.
        """
        ...


@runtime_checkable
class ReadsColumns(Protocol):
    """An estimator with known columns, which leaves out cells outside the panel's mask."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of the panel that it reads."""
        ...


@runtime_checkable
class ReadsSchema(Protocol):
    """An estimator that depends on the meaning of columns and axes of panels."""

    def with_schema(self, schema: Any, nominal: Mapping[str, int | None], /) -> Any:
        """Return the estimator for panels of this schema.

        Raises
        ------
        InputError
            If it cannot run on them.
        """
        ...


@runtime_checkable
class Diagnosed(Protocol):
    """An estimator with numbers about a panel to be shown beside the estimate.

    ``diagnose(panel)`` gives numbers by their names, as ``{"treated cells left out of the average":
    12.0}``; 0 is not worth a note. It is pure, runs on a cell's first block, and its means are
    shown under tables.
    """

    def diagnose(self, panel: Panel, /) -> Mapping[str, Any]:
        """Return these numbers of one panel, by name."""
        ...


@runtime_checkable
class Explained(Protocol):
    """An estimator with sentences on its failures, beside their statuses.

    ``explain(panel)`` gives a sentence, empty without a known reason. It is called with a panel of
    numbers, outside compiled code, once for every status of a cell's first block.
    """

    def explain(self, panel: Panel, /) -> str:
        """Return the reason why there is no estimate on one panel, as a sentence."""
        ...


class DescribedDGP(NamedTuple):
    """Optional attributes of a DGP: a DGP without one of them has the value given here.

    Attributes
    ----------
    schema : Schema, optional
        Names and categories of native samples; samples of a host DGP bring their own.
    truth : callable, optional
        ``truth(key, design)``: the truth of a cell, computed once; see `mcsim._run.truth`.
    truth_kind : str
        A description of that truth.
    synonyms : collection of str
        Second names of estimands, which are no further estimands.
    common_shocks : str, optional
        ``"fixed"`` where all replications repeat the same common shocks, or ``"redraw"``.
    summary : str
        The DGP in words, for reports.
    caveats : sequence of str
        Conclusions that results on its samples do not support.
    factors : sequence of str, optional
        The factors of a design that the DGP reads; None: it may read any.
    members : callable, optional
        ``members()``: the DGPs of an ensemble by number, each a cell of its own.
    most_reps : int, optional
        The number of samples that there are; None: any number can be drawn.
    """

    schema: Any = None
    truth: Any = None
    truth_kind: Any = "known"
    synonyms: Any = ()
    common_shocks: Any = None
    summary: Any = ""
    caveats: Any = ()
    factors: Any = None
    members: Any = None
    most_reps: Any = None


def described(dgp: Any) -> DescribedDGP:
    """Return the optional attributes of a DGP, which may be any function."""
    without = DescribedDGP()._asdict()
    return DescribedDGP(**{name: getattr(dgp, name, value) for name, value in without.items()})


# The null and the level of a study

NULL, LEVEL = 0.0, 0.95
"""The value that an estimator tests and the level of its limits, outside of a study."""

_NAMES = ("null", "level")


CONFIDENCE_LEVEL = Rule(
    lambda value: is_finite(value) and 0 < value < 1, "a number between 0 and 1, e.g. 0.95"
)
"""The rule of a confidence level."""


def faults_of_level(level: Any) -> list[str]:
    """Return the faults of a confidence level."""
    return faults_of_value("level", level, CONFIDENCE_LEVEL)


def faults_of_null(null: Any) -> list[str]:
    """Return the faults of the value of a null hypothesis."""
    return faults_of_value("null", null, FINITE)


def with_null_and_level(estimator: Any, null: float, level: float) -> Any:
    """Return an estimator at a null and a level; a function takes keywords of these names.

    Parameters
    ----------
    estimator : Estimator
        One that has `TakesNullAndLevel`, or a function. A function takes its keywords among them:
        ``def f(key, panel, *, level=0.95)``.
    null, level : float
        The study's.

    Returns
    -------
    Estimator
        The same object where its results do not depend on them.

    Raises
    ------
    InputError
        If the estimator was given other values.
    """
    if isinstance(estimator, TakesNullAndLevel):
        return estimator.with_null_and_level(null, level)
    return function_with_null_and_level(estimator, null, level)


def names_taken(estimator: Any) -> tuple[str, ...]:
    """Return which of ``"null"`` and ``"level"`` an estimator takes from a study."""
    if isinstance(estimator, TakesNullAndLevel):
        return estimator.takes
    return keywords_taken(estimator)


def function_with_null_and_level(
    function: Callable[..., Any], null: float, level: float
) -> Callable[..., Any]:
    """Bind the keywords ``null`` and ``level`` of a function, as far as it has them."""
    asked = {"null": float(null), "level": float(level)}
    taken = {name: asked[name] for name in keywords_taken(function)}
    if not taken:
        return function
    check_agreement(getattr(function, "keywords", {}), asked)
    bound = functools.partial(function, **taken)
    return functools.update_wrapper(bound, function, updated=())


def keywords_taken(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return which of ``null`` and ``level`` a function has as keywords that are no positions."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return ()
    only = inspect.Parameter.KEYWORD_ONLY
    return tuple(name for name in _NAMES if name in parameters and parameters[name].kind == only)


def check_agreement(given: Mapping[str, Any], asked: Mapping[str, float]) -> None:
    """Raise if a user gave an estimator another null or level than those it is to run at."""
    raise_all(
        [
            f"{name}: the estimator was given {given[name]:g}, the study has {asked[name]:g}; "
            f"leave it out of the estimator, which then takes the study's, or give both one value"
            for name in _NAMES
            if given.get(name) is not None and given[name] != asked[name]
        ]
    )
