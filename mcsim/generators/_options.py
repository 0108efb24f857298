"""Options of trainers: defaults that depend on the data, and checks, which say what is wrong.

None is right for an option that is None by default.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from mcsim.errors import did_you_mean

Rule = tuple[Callable[[float], bool], str]
"""A test of a number, and what it expects."""

POSITIVE: Rule = lambda value: value > 0, "a positive number"
WEIGHT: Rule = lambda value: value >= 0, "a number of at least 0"
SHARE: Rule = lambda value: 0 <= value < 1, "a share from 0 to below 1"


def filled(trainer: Any, **defaults: Any) -> Any:
    """Return the trainer with the options at None replaced by defaults."""
    return replace(trainer, **{n: v for n, v in defaults.items() if getattr(trainer, n) is None})


def faults_of_counts(trainer: Any, **least: int) -> list[str]:
    """Check whole numbers, each against the least that it may be."""
    return [
        fault
        for name, lowest in least.items()
        for fault in _faults(
            trainer, partial(is_whole, least=lowest), f"an integer of at least {lowest}", name
        )
    ]


def faults_of_numbers(trainer: Any, rule: Rule, *names: str) -> list[str]:
    """Check finite numbers against a rule."""
    test, expected = rule
    return _faults(trainer, lambda value: _is_number(value) and test(value), expected, *names)


def faults_of_widths(trainer: Any, *names: str, least: int = 1) -> list[str]:
    """Check the widths of so many hidden layers at least."""
    expected = "a tuple of widths such as (64, 64)" + ("" if least else ", or ()")
    return _faults(trainer, partial(_are_widths, least=least), expected, *names)


def faults_of_switches(trainer: Any, *names: str) -> list[str]:
    """Check values that are true or false."""
    return _faults(trainer, lambda value: isinstance(value, bool), "True or False", *names)


def faults_of_folds(trainer: Any) -> list[str]:
    """Check the number of replicas that judge when to stop; without any, all steps are taken."""
    expected = "an integer of at least 2, or 0 for none"
    return _faults(trainer, lambda value: is_whole(value, 0) and value != 1, expected, "folds")


def faults_of_choices(trainer: Any, **known: tuple[str, ...]) -> list[str]:
    """Check names against those that there are."""
    faults = []
    for name, options in known.items():
        value, expected = getattr(trainer, name), " or ".join(map(repr, options))
        if value not in options:
            hint = did_you_mean(str(value), options)
            close = hint if hint.endswith("?") else ""  # else it would list the options again
            faults.append(f"{name}: got {value!r}, expected {expected}{close}")
    return faults


def is_whole(value: Any, least: int) -> bool:
    """Say whether a value is an integer of at least so much."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _are_widths(value: Any, least: int) -> bool:
    known = isinstance(value, tuple) and len(value) >= least
    return known and all(is_whole(width, 1) for width in value)


def _faults(trainer: Any, right: Callable[[Any], bool], expected: str, *names: str) -> list[str]:
    """Say which options are neither right nor None where None is the default."""
    options, faults = type(trainer).__dataclass_fields__, []
    for name in names:
        value, may_be_none = getattr(trainer, name), options[name].default is None
        if not (right(value) or (may_be_none and value is None)):
            faults.append(f"{name}: got {value!r}, expected {expected}{', or None' * may_be_none}")
    return faults
