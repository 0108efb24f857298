"""Whether values are of the types that a class declares: parts of model files, records of stores.

Neither is trusted: each is checked once, where it is read, against the hints of its class.
"""

import functools
import reprlib
from collections.abc import Mapping
from dataclasses import is_dataclass
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import jax
import numpy as np

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
    """Whether a value is of a declared type; types that are not known here fit anything.

    ``Annotated[type, "in words", holds]`` declares a type, and a function that says whether a value
    is one of those meant. A tuple may have been read as a list.

    Examples
    --------
    >>> fits(1, float), fits(True, int), fits([1, "a"], tuple[int, str]), fits("a", str | None)
    (True, False, True, True)
    >>> fits(3, Annotated[int, "more than 5", lambda number: number > 5])
    False
    """
    return not fault_of(value, hint)


def fault_of(value: Any, hint: Any, place: str = "") -> str:
    """Say what does not fit in a value: where it stands, what it is, what was expected.

    A `typing.TypedDict` may have fields beyond those that it declares.

    Examples
    --------
    >>> from typing import TypedDict
    >>> Run = TypedDict("Run", {"study": str, "order": NotRequired[int]})
    >>> fault_of({"order": 1}, Run), fault_of([{"study": "a", "order": "1"}], list[Run], "runs")
    ('lacks study', "holds '1' as runs[0].order, expected a whole number")
    >>> fault_of({"study": "a", "state": "complete"}, Run)
    ''
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Required, NotRequired):
        return fault_of(value, arguments[0], place)
    if origin in (list, tuple, dict, Mapping):
        return _fault_of_container(value, hint, place)
    if is_typeddict(hint):
        return _fault_of_record(value, hint, place)
    return "" if _is_one(value, hint) else _misfit(value, hint, place)


def _fault_of_record(value: Any, kind: Any, place: str) -> str:
    if not isinstance(value, dict):
        return _misfit(value, dict, place)
    hints = _hints(kind)
    if lacking := [name for name in hints if name in kind.__required_keys__ - value.keys()]:
        return f"lacks {', '.join(lacking)}" + (f" in {place}" if place else "")
    within = f"{place}." if place else ""
    faults = (fault_of(value[n], hint, within + n) for n, hint in hints.items() if n in value)
    return next(filter(None, faults), "")


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _fault_of_container(value: Any, hint: Any, place: str) -> str:
    """Say which part of a list, tuple or mapping does not fit."""
    kind, arguments = get_origin(hint), get_args(hint)
    if kind in (dict, Mapping):
        if not isinstance(value, Mapping):
            return _misfit(value, hint, place)
        pairs = [(name, arguments[0], f"{place} (a name)") for name in value]
        pairs += [(value[name], arguments[1], f"{place}.{name}".lstrip(".")) for name in value]
    elif not isinstance(value, list if kind is list else (tuple, list)):
        return _misfit(value, hint, place)
    else:
        many = kind is list or arguments[-1:] == (...,)
        hints = arguments[:1] * len(value) if many else arguments
        if len(hints) != len(value):
            return _misfit(value, hint, place)
        pairs = [(part, hints[n], f"{place}[{n}]") for n, part in enumerate(value)]
    return next(filter(None, (fault_of(*pair) for pair in pairs)), "")


def _is_one(value: Any, hint: Any) -> bool:
    """Whether a value is of a plain type, one of several, or one of those meant."""
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
        return isinstance(value, (np.ndarray, jax.Array))
    known = hint in (bool, str, NoneType) or (isinstance(hint, type) and is_dataclass(hint))
    return not known or isinstance(value, hint)


def _misfit(value: Any, hint: Any, place: str) -> str:
    return (
        f"holds {_SHORT.repr(value)}{f' as {place}' if place else ''}, expected {_in_words(hint)}"
    )


def _in_words(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        told = (word for word in arguments[1:] if isinstance(word, str))
        return next(told, _in_words(arguments[0]))
    if origin in (Union, UnionType):
        return " or ".join(map(_in_words, arguments))
    return _WORDS.get(origin or hint, "something else")
