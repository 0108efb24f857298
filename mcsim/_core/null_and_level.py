"""A study's null and level, for estimators whose own p-values and limits depend on them.

Most estimates leave p-values and limits to mcsim, which completes them when results are read. A
test by resampling has its own: its estimator takes the null and the level before it runs.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from mcsim._core.checks import FINITE, Rule, faults_of_value, is_finite
from mcsim.errors import raise_all

NULL, LEVEL = 0.0, 0.95
"""The value that an estimator tests and the level of its limits, outside of a study."""

_NAMES = ("null", "level")


CONFIDENCE_LEVEL = Rule(
    lambda value: is_finite(value) and 0 < value < 1, "a number between 0 and 1, e.g. 0.95"
)
"""The rule of a confidence level."""


def faults_of_level(level: Any) -> list[str]:
    """Return what is wrong with a confidence level."""
    return faults_of_value("level", level, CONFIDENCE_LEVEL)


def faults_of_null(null: Any) -> list[str]:
    """Return what is wrong with the value that tests are of."""
    return faults_of_value("null", null, FINITE)


@runtime_checkable
class TakesNullAndLevel(Protocol):
    """An estimator that takes a study's null and level where its own results depend on them."""

    @property
    def takes(self) -> tuple[str, ...]:
        """Which of ``"null"`` and ``"level"`` its own p-values and limits depend on."""
        ...

    def with_null_and_level(self, null: float, level: float) -> Any:
        """Return the estimator at this null and level; itself where nothing depends on them.

        Raises
        ------
        InputError
            If the user gave it other values.
        """
        ...


def with_null_and_level(estimator: Any, null: float, level: float) -> Any:
    """Hand a null and a level to an estimator, or to a function with keywords of these names.

    Parameters
    ----------
    estimator : Estimator
        One that has `TakesNullAndLevel`, or a function. A function takes the ones that are
        its keywords: ``def f(key, panel, *, level=0.95)``.
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
