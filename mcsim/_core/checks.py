"""Checks of arguments: rules of options, and the sentence where an argument breaks one.

A rule stands in the annotation of a configuration's field, where `faults_of` reads it, or is
applied to one argument with `faults_of_value`. Its sentence is the same in all rooms: "reps: got 0,
expected a whole number of at least 1"; `mcsim.errors.raise_all` raises all of a call at once.
"""

import functools
import math
import os
import stat
from collections.abc import Callable, Collection, Mapping
from numbers import Integral, Real
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple, TypeGuard, get_args, get_type_hints

import numpy as np

from mcsim.errors import InputError, did_you_mean

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a value is a real number, of Python or NumPy: no bool and no tracer.

    NumPy's durations are none, though they are registered as integers.
    """
    return isinstance(value, Real) and not isinstance(value, (bool, np.timedelta64))


def is_finite(value: Any) -> TypeGuard[float]:
    """Return whether a value is a finite number."""
    return is_number(value) and math.isfinite(value)


def is_whole(value: Any) -> TypeGuard[int]:
    """Return whether a value is an integer, of Python or NumPy: no bool and no tracer."""
    return isinstance(value, Integral) and is_number(value)


def plain(value: Any) -> Any:
    """Return a number of NumPy as Python's own, and anything else as it is.

    Examples
    --------
    >>> plain(np.int64(3)), plain(np.float32(0.5)), plain("3")
    (3, 0.5, '3')
    """
    if is_whole(value):
        return int(value)
    return float(value) if is_number(value) else value


class Rule(NamedTuple):
    """A rule for one value.

    Attributes
    ----------
    holds : callable
        The test.
    expected : str
        The words after "expected".
    hint : callable
        Returns the words after those for a value that breaks the rule, or nothing.
    """

    holds: Callable[[Any], bool]
    expected: str
    hint: Callable[[Any], str] = lambda got: ""


FINITE = Rule(is_finite, "a finite number")


def at_least(least: int) -> Rule:
    """Return the rule of whole numbers from ``least`` on."""
    return Rule(
        lambda value: is_whole(value) and value >= least, f"a whole number of at least {least}"
    )


def one_of(*known: str) -> Rule:
    """Return the rule of one name among several."""
    return Rule(
        lambda value: isinstance(value, str) and value in known,
        f"one of {', '.join(map(repr, known))}",
        lambda value: _close_name(value, known),
    )


def _close_name(value: Any, known: tuple[str, ...]) -> str:
    """Return the name that may be meant, if one is close; the rule itself lists all of them."""
    words = did_you_mean(str(value), known)
    return words if words.endswith("?") else ""


def faults_of_value(argument: str, got: Any, rule: Rule, *, or_none: bool = False) -> list[str]:
    """Return the fault of one argument, if it breaks a rule.

    Examples
    --------
    >>> faults_of_value("resamples", 1, at_least(2))
    ['resamples: got 1, expected a whole number of at least 2']
    """
    if rule.holds(got) or (or_none and got is None):
        return []
    expected = rule.expected + ", or None" * or_none + rule.hint(got)
    return [f"{argument}: got {got!r}, expected {expected}"]


def faults_of(config: Any) -> list[str]:
    """Return the faults of a configuration: fields that break the rules of their annotations.

    Parameters
    ----------
    config : dataclass or named tuple
        A field with a rule is annotated ``Annotated[int, at_least(1)]``; None is right where the
        annotation allows it, ``Annotated[int, at_least(1)] | None``.

    Examples
    --------
    >>> from typing import Annotated
    >>> class Draws(NamedTuple):
    ...     number: Annotated[int, at_least(1)]
    ...     scale: Annotated[float, FINITE] | None = None
    >>> faults_of(Draws(0))
    ['number: got 0, expected a whole number of at least 1']
    >>> faults_of(Draws(2, math.inf))
    ['scale: got inf, expected a finite number, or None']
    """
    return [
        fault
        for name, (rules, or_none) in _rules_of(type(config)).items()
        for rule in rules
        for fault in faults_of_value(name, getattr(config, name), rule, or_none=or_none)
    ]


@functools.cache
def _rules_of(kind: type) -> dict[str, tuple[list[Rule], bool]]:
    """Return the rules of each field of a class, and whether it may be None."""
    hints = get_type_hints(kind, include_extras=True)
    return {name: ([*_rules_in(hint)], _allows_none(hint)) for name, hint in hints.items()}


def _rules_in(hint: Any) -> list[Rule]:
    """Return the rules of an annotation: its own, or of the types in a union."""
    if hasattr(hint, "__metadata__"):
        return [rule for rule in hint.__metadata__ if isinstance(rule, Rule)]
    return [rule for part in get_args(hint) for rule in _rules_in(part)]


def _allows_none(hint: Any) -> bool:
    return hint is NoneType or any(map(_allows_none, get_args(hint)))


def other_than_file(path: Path) -> str:
    """Return the kind of a path that is no file of bytes, such as ``"a folder"``; else nothing.

    Such paths are never opened: a named pipe would wait for ever, and a device never ends.

    Raises
    ------
    OSError
        If there is nothing at this path, or the system does not say.

    Examples
    --------
    >>> other_than_file(Path("/"))
    'a folder'
    >>> other_than_file(Path(__file__))
    ''
    """
    mode = path.stat().st_mode
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "no file")


def as_path(argument: str, got: Any) -> Path:
    """Return an argument as a path of the file system, or raise `InputError`."""
    if isinstance(got, str | os.PathLike) and str(got):
        return Path(got)
    came = "an empty string" if isinstance(got, str) else type(got).__name__
    raise InputError(f"{argument}: got {came}, expected the path of a folder or a file")


def require_type(argument: str, got: object, kind: type, remedy: str) -> None:
    """Raise unless an argument is of a type.

    Parameters
    ----------
    argument : str
        Its name.
    got : object
        Its value.
    kind : type
        The type expected.
    remedy : str
        The source of such objects.

    Examples
    --------
    >>> require_type("results", 3, dict, "mcsim.run returns them")
    Traceback (most recent call last):
    mcsim.errors.InputError: results: got int, expected dict; mcsim.run returns them
    """
    if not isinstance(got, kind):
        raise InputError(
            f"{argument}: got {type(got).__name__}, expected {kind.__name__}; {remedy}"
        )


def faults_of_strings(argument: str, got: object) -> list[str]:
    """Return the faults of a list of strings; one string alone is a fault.

    Examples
    --------
    >>> faults_of_strings("caveats", "one")
    ["caveats: got 'one', expected a list: ['one']"]
    >>> faults_of_strings("caveats", ["one", 2])
    ['caveats: got 2 in it, expected strings']
    """
    if isinstance(got, str):
        return [f"{argument}: got {got!r}, expected a list: [{got!r}]"]
    if not isinstance(got, Collection) or isinstance(got, Mapping):
        return [f"{argument}: got {got!r}, expected a list of strings"]
    return [
        f"{argument}: got {one!r} in it, expected strings"
        for one in got
        if not isinstance(one, str)
    ]
