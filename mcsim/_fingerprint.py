"""Definitions as text: what a study's parts are, so that a store can tell when one has changed.

Functions have no stable hash. A user's function is described by its normalised source, its
defaults, what it closes over and the globals that it names; a library's by name and version;
arrays by their bytes.
"""

import ast
import dataclasses
import functools
import hashlib
import inspect
import sys
import textwrap
import types
import warnings
from collections.abc import Callable, Mapping
from enum import Enum
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Description = Any  # what json.dumps takes


def describe(thing: Any) -> Description:
    """Return the definition of a value as JSON-able text, the same in every process.

    Parameters
    ----------
    thing : object
        A number, string, collection, array, key, dataclass, function, class or module.

    Returns
    -------
    dict, list, str, int, bool or None

    Warns
    -----
    UserWarning
        For an object whose definition cannot be told; changes of it go unnoticed.

    Examples
    --------
    >>> describe({"n": 3, "rho": 0.5})
    {'n': 3, 'rho': '0x1.0000000000000p-1'}
    """
    return _describe(thing, frozenset())


def _describe(thing: Any, seen: frozenset[int]) -> Description:
    """Describe a value; ``seen`` are the ids of what it is part of, against endless recursion."""
    for kinds, text in _ATOMS:
        if isinstance(thing, kinds):
            return text(thing)
    if id(thing) in seen:
        return "recursive"
    inside = seen | {id(thing)}
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        return _describe_dataclass(thing, inside)
    for kinds, describer in _COMPOUNDS:
        if isinstance(thing, kinds):
            return describer(thing, inside)
    return _describe_callable(thing, inside) if callable(thing) else _describe_object(thing, inside)


def _describe_array(array: Any) -> Description:
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        return {"key": np.asarray(jax.random.key_data(array)).tolist()}
    values = np.ascontiguousarray(array)
    digest = hashlib.sha256(values.tobytes()).hexdigest()
    return {"array": str(values.dtype), "shape": list(values.shape), "sha256": digest}


def _describe_dataclass(thing: Any, seen: frozenset[int]) -> Description:
    fields = {
        field.name: _describe(getattr(thing, field.name), seen)
        for field in dataclasses.fields(thing)
        if field.compare
    }
    return {"class": _describe(type(thing), seen), **fields}


def _describe_class(cls: type) -> Description:
    if _is_library(cls.__module__):
        return f"{_versioned(cls.__module__)}.{cls.__qualname__}"
    return {"name": cls.__qualname__, "source": _source(cls)}


def _describe_callable(function: Callable, seen: frozenset[int]) -> Description:
    if inspect.ismethod(function):
        return {
            "method": _describe(function.__func__, seen),
            "of": _describe(function.__self__, seen),
        }
    inner = inspect.unwrap(function)
    if not isinstance(inner, types.FunctionType):
        module = getattr(inner, "__module__", None)
        if isinstance(inner, types.BuiltinFunctionType) or (module and _is_library(module)):
            return f"{_versioned(module or 'builtins')}.{getattr(inner, '__qualname__', inner)}"
        return _describe_object(inner, seen)
    if _is_library(inner.__module__):
        return f"{_versioned(inner.__module__)}.{inner.__qualname__}"
    return {
        "name": inner.__qualname__,
        "source": _source(inner),
        "defaults": _describe(inspect.getfullargspec(inner).defaults, seen),
        "uses": {name: _describe(value, seen) for name, value in _free_names(inner).items()},
    }


def _describe_object(thing: Any, seen: frozenset[int]) -> Description:
    state = getattr(thing, "__dict__", None)
    if state is None:
        warnings.warn(
            f"the definition of an object of type {type(thing).__name__} cannot be told: if it "
            "changes, the store will not notice; use numbers, arrays, dataclasses or functions",
            UserWarning,
            stacklevel=2,
        )
        return {"opaque": type(thing).__qualname__}
    kept = {name: value for name, value in state.items() if not name.startswith("__")}
    return {"class": _describe(type(thing), seen), "state": _describe(kept, seen)}


def _source(thing: Any) -> str:
    """Source without docstrings, comments and layout; the bytecode where there is no source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    except (OSError, TypeError, SyntaxError):
        code = getattr(thing, "__code__", None)
        text = f"{code.co_code.hex()} {code.co_consts!r}" if code else thing.__qualname__
        return f"bytecode {hashlib.sha256(text.encode()).hexdigest()}"
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and len(body) > 1 and _is_docstring(body[0]):
            del body[0]
    return ast.unparse(tree)


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _free_names(function: types.FunctionType) -> dict[str, Any]:
    """What a function's body refers to: closed-over values and globals, inner functions' too."""
    names, codes = set(), [function.__code__]
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [const for const in code.co_consts if isinstance(const, types.CodeType)]
    closed = inspect.getclosurevars(function).nonlocals
    known = {name: function.__globals__[name] for name in names if name in function.__globals__}
    return dict(sorted({**known, **closed}.items()))


@functools.lru_cache(maxsize=1)
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


def _is_library(module: str | None) -> bool:
    root = (module or "builtins").split(".")[0]
    return root in sys.stdlib_module_names or root == "mcsim" or root in _distributions()


@functools.lru_cache(maxsize=512)
def _versioned(module: str) -> str:
    """Return 'statsmodels.api 0.14.4'; mcsim's own version stands in the environment instead."""
    root = module.split(".", maxsplit=1)[0]
    if root in sys.stdlib_module_names or root == "mcsim":
        return module
    try:
        return f"{module} {version(_distributions().get(root, [root])[0])}"
    except PackageNotFoundError:
        return module


_ATOMS: tuple[tuple[tuple[type, ...], Callable[[Any], Description]], ...] = (
    ((type(None), bool, str), lambda thing: thing),
    ((Enum,), lambda thing: f"{type(thing).__qualname__}.{thing.name}"),
    ((int, np.integer), int),
    ((float, np.floating), lambda thing: float(thing).hex()),
    ((types.ModuleType,), lambda thing: f"module {_versioned(thing.__name__)}"),
    ((jax.Array, np.ndarray), _describe_array),
    ((type,), _describe_class),
)

_COMPOUNDS: tuple[tuple[tuple[type, ...], Callable[[Any, frozenset[int]], Description]], ...] = (
    ((Mapping,), lambda thing, seen: {str(k): _describe(v, seen) for k, v in thing.items()}),
    ((set, frozenset), lambda thing, seen: sorted(map(repr, thing))),
    ((tuple, list, range), lambda thing, seen: [_describe(item, seen) for item in thing]),
    (
        (functools.partial,),
        lambda thing, seen: {
            "partial": [_describe(part, seen) for part in (thing.func, thing.args, thing.keywords)]
        },
    ),
)
