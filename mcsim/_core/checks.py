"""Checks of values against annotations: rules of options, types of records read from files.

A rule stands in the annotation of a configuration's field, where `faults_of` reads it, or is
applied to one argument with `faults_of_value`. Its sentence is the same everywhere: "reps: got 0,
expected a whole number of at least 1"; `mcsim.errors.raise_all` raises all of a call at once.

Parts of model files and records of stores are not trusted: each is checked once, where it is read,
against the hints of its class (`misfit`, `fits`).
"""

import functools
import math
import os
import reprlib
import stat
from collections.abc import Callable, Collection, Mapping
from dataclasses import is_dataclass
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    Required,
    TypeGuard,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

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
        Returns further words for a value that breaks the rule, or nothing.
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
    """Return a clause with a close name, if there is one; the rule lists all names."""
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
        If there is nothing at this path, or the system reports no kind.

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


_SHORT = reprlib.Repr()  # of values in messages, which may be long or deep
_SHORT.maxstring = _SHORT.maxother = 60

_WORDS = {
    bool: "true or false",
    dict: "an object",
    float: "a number",
    int: "a whole number",
    list: "a list",
    str: "text",
    tuple: "a list",
}


def fits(value: Any, hint: Any) -> bool:
    """Return whether a value is of a declared type; unknown types fit any value.

    ``Annotated[type, "in words", holds]`` declares a type, and a function that returns whether a
    value of the type is allowed. A tuple may have been read as a list.

    Examples
    --------
    >>> fits(1, float), fits(True, int), fits([1, "a"], tuple[int, str]), fits("a", str | None)
    (True, False, True, True)
    >>> fits(3, Annotated[int, "more than 5", lambda number: number > 5])
    False
    """
    return not misfit(value, hint)


def misfit(value: Any, hint: Any, place: str = "") -> str:
    """Return the misfit of a value in words: its place, its type, the type expected.

    A `typing.TypedDict` may have fields beyond the declared ones.

    Examples
    --------
    >>> from typing import TypedDict
    >>> Run = TypedDict("Run", {"study": str, "order": NotRequired[int]})
    >>> misfit({"order": 1}, Run), misfit([{"study": "a", "order": "1"}], list[Run], "runs")
    ('lacks study', "holds '1' as runs[0].order, expected a whole number")
    >>> misfit({"study": "a", "state": "complete"}, Run)
    ''
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Required, NotRequired):
        return misfit(value, arguments[0], place)
    if origin in (list, tuple, dict, Mapping):
        return _fault_of_container(value, hint, place)
    if is_typeddict(hint):
        return _fault_of_record(value, hint, place)
    return "" if _is_one(value, hint) else _sentence(value, hint, place)


def _fault_of_record(value: Any, kind: Any, place: str) -> str:
    if not isinstance(value, dict):
        return _sentence(value, dict, place)
    hints = _hints(kind)
    if lacking := [name for name in hints if name in kind.__required_keys__ - value.keys()]:
        return f"lacks {', '.join(lacking)}" + (f" in {place}" if place else "")
    within = f"{place}." if place else ""
    faults = (misfit(value[n], hint, within + n) for n, hint in hints.items() if n in value)
    return next(filter(None, faults), "")


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _fault_of_container(value: Any, hint: Any, place: str) -> str:
    """Return the misfit of a part of a list, tuple or mapping."""
    kind, arguments = get_origin(hint), get_args(hint)
    if kind in (dict, Mapping):
        if not isinstance(value, Mapping):
            return _sentence(value, hint, place)
        pairs = [(name, arguments[0], f"{place} (a name)") for name in value]
        pairs += [(value[name], arguments[1], f"{place}.{name}".lstrip(".")) for name in value]
    elif not isinstance(value, list if kind is list else (tuple, list)):
        return _sentence(value, hint, place)
    else:
        many = kind is list or arguments[-1:] == (...,)
        hints = arguments[:1] * len(value) if many else arguments
        if len(hints) != len(value):
            return _sentence(value, hint, place)
        pairs = [(part, hints[n], f"{place}[{n}]") for n, part in enumerate(value)]
    return next(filter(None, (misfit(*pair) for pair in pairs)), "")


def _is_one(value: Any, hint: Any) -> bool:
    """Return whether a value is of a plain type, of one of several, or an allowed value."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        checks = (holds for holds in arguments[1:] if callable(holds))
        return fits(value, arguments[0]) and all(holds(value) for holds in checks)
    if origin in (Union, UnionType):
        return any(fits(value, one) for one in arguments)
    if origin is Literal:
        return value in arguments
    if hint in (float, int):
        number = Real if hint is float else Integral
        return isinstance(value, number) and not isinstance(value, bool)
    if hint is np.ndarray:
        import jax

        return isinstance(value, (np.ndarray, jax.Array))
    known = hint in (bool, str, NoneType) or (isinstance(hint, type) and is_dataclass(hint))
    return not known or isinstance(value, hint)


def _sentence(value: Any, hint: Any, place: str) -> str:
    return (
        f"holds {_SHORT.repr(value)}{f' as {place}' if place else ''}, expected {_in_words(hint)}"
    )


def _in_words(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        words = (word for word in arguments[1:] if isinstance(word, str))
        return next(words, _in_words(arguments[0]))
    if origin in (Union, UnionType):
        return " or ".join(map(_in_words, arguments))
    return _WORDS.get(origin or hint, "something else")
