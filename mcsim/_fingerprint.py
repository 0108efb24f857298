"""Definitions as text: what a study's parts are, so that a store can tell when one has changed.

Functions have no stable hash. A user's function is described by its normalized source, its
defaults, what it closes over and the globals that it uses, helper functions included; a library's
by name and version; arrays by their bytes.
"""

import dataclasses
import functools
import hashlib
import inspect
import sys
import types
import warnings
from collections.abc import Callable, Mapping
from enum import Enum
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import PurePath
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from mcsim._calls import as_written
from mcsim._core import Panel
from mcsim._host import GLOBAL_GENERATORS
from mcsim._pytree import identity_fields
from mcsim._sources import names_used, normalized_source

Description = Any  # what json.dumps takes


def describe(thing: Any) -> Description:
    """Return the definition of a value as JSON-able text, the same in every process.

    Parameters
    ----------
    thing : object
        A number, string, collection, array, frame, key, dataclass, function, class or module.

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
    return _Describer().of(thing)


def is_library(module: str | None) -> bool:
    """Whether a module belongs to Python or an installed package, whose version tells it."""
    root = (module or "builtins").split(".")[0]
    return root in sys.stdlib_module_names or root == "mcsim" or root in _distributions()


class _Describer:
    """Walks through a definition; every function and class is told once."""

    def __init__(self) -> None:
        self._told: dict[int, Any] = {}  # keeps them alive too, so that ids stay theirs
        self._within: set[int] = set()

    def of(self, thing: Any) -> Description:
        for kinds, text in _ATOMS:
            if isinstance(thing, kinds):
                return text(thing)
        if isinstance(thing, (type, types.FunctionType)):
            if id(thing) in self._told:
                return f"told above: {thing.__qualname__}"
            self._told[id(thing)] = thing
        elif id(thing) in self._within:
            return "recursive"
        self._within.add(id(thing))
        described = self._compound(thing)
        self._within.discard(id(thing))
        return described

    def _compound(self, thing: Any) -> Description:
        if isinstance(thing, type):
            return self._class(thing)
        if dataclasses.is_dataclass(thing):
            return self._dataclass(thing)
        if isinstance(thing, Mapping):
            return self._mapping(thing)
        if isinstance(thing, (set, frozenset)):
            return sorted((self.of(item) for item in thing), key=repr)
        if isinstance(thing, functools.partial):
            thing = ("partial", thing.func, thing.args, thing.keywords)
        if isinstance(thing, (tuple, list, range)):
            return [self.of(item) for item in thing]
        return self._callable(thing) if callable(thing) else self._object(thing)

    def _class(self, cls: type) -> Description:
        if is_library(cls.__module__):
            return f"{_versioned(cls.__module__)}.{cls.__qualname__}"
        functions = [f for f in map(_plain_function, vars(cls).values()) if f is not None]
        uses = {name: value for f in functions for name, value in self._uses(f).items()}
        bases = [self.of(base) for base in cls.__bases__ if not is_library(base.__module__)]
        source = {"name": cls.__qualname__, "source": normalized_source(cls)}
        constants = {n: v for n, v in vars(cls).items() if _is_constant(n, v)}
        described = {"bases": bases, "uses": dict(sorted(uses.items()))}
        return {**source, **described, "constants": self._quietly(constants)}

    def _dataclass(self, thing: Any) -> Description:
        fields = {name: self.of(getattr(thing, name)) for name in identity_fields(thing)}
        return {"class": self.of(type(thing)), **fields}

    def _mapping(self, thing: Mapping) -> Description:
        """Describe the entries; of a panel the calendar and nominal columns too, if it has any."""
        described = {str(name): self.of(value) for name, value in thing.items()}
        if isinstance(thing, Panel):
            static = thing.static_part
            parts = {"panel: periods": static.periods, "panel: nominal": static.nominal}
            described |= {name: self.of(part) for name, part in parts.items() if part}
        return described

    def _callable(self, thing: Any) -> Description:
        thing = as_written(thing)
        if inspect.ismethod(thing):
            return {"method": thing.__func__.__qualname__, "of": self.of(thing.__self__)}
        if isinstance(thing, types.FunctionType) and not is_library(thing.__globals__["__name__"]):
            return self._function(thing)
        wrapped = getattr(thing, "__wrapped__", None)
        if wrapped is not None:  # by jax.jit, jax.vmap, functools.lru_cache
            code = getattr(thing, "__code__", None)
            name = code.co_qualname if code else type(thing).__qualname__
            return {"wrapper": name, "of": self.of(wrapped)}
        if isinstance(thing, types.FunctionType):
            name = f"{_versioned(thing.__module__)}.{thing.__qualname__}"
            closed = self._quietly(inspect.getclosurevars(thing).nonlocals)
            return {"function": name, "closed": closed} if closed else name
        if hasattr(thing, "__qualname__") and is_library(getattr(thing, "__module__", None)):
            return f"{_versioned(thing.__module__ or 'builtins')}.{thing.__qualname__}"
        return self._object(thing)

    def _function(self, function: types.FunctionType) -> Description:
        return {
            "name": function.__qualname__,
            "source": normalized_source(function),
            "defaults": self.of([function.__defaults__, function.__kwdefaults__]),
            "uses": self._uses(function),
        }

    def _uses(self, function: types.FunctionType) -> dict[str, Description]:
        """What a function's body refers to: closed-over values, globals, parts of user modules."""
        loaded, attributes = names_used(function.__code__)
        space = function.__globals__
        values = {name: space[name] for name in loaded if name in space}
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        values |= {name: cell.cell_contents for name, cell in cells if _is_filled(cell)}
        for name, module in list(values.items()):
            if isinstance(module, types.ModuleType) and not is_library(module.__name__):
                parts = {a: getattr(module, a) for a in attributes if hasattr(module, a)}
                values[name] = parts
        return {name: self.of(value) for name, value in sorted(values.items())}

    def _quietly(self, things: Mapping[str, Any]) -> Description:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.of(things)

    def _object(self, thing: Any) -> Description:
        if any(thing is of_process() for of_process in GLOBAL_GENERATORS):
            return {"opaque": type(thing).__qualname__}  # host functions find it seeded
        state = getattr(thing, "__dict__", None)
        if state or (state is not None and not is_library(type(thing).__module__)):
            kept = {name: value for name, value in state.items() if not name.startswith("__")}
            return {"class": self.of(type(thing)), "state": self.of(kept)}
        text = repr(thing)
        if " at 0x" not in text:
            return {"class": self.of(type(thing)), "text": text}
        warnings.warn(
            f"the definition of an object of type {type(thing).__name__} cannot be told: if it "
            "changes, the store will not notice; use numbers, arrays, dataclasses or functions",
            UserWarning,
            stacklevel=2,
        )
        return {"opaque": type(thing).__qualname__}


def _plain_function(member: Any) -> types.FunctionType | None:
    """The user's function behind a member of a class: a method, a property, a class method."""
    for behind in ("fget", "func", "__func__"):  # property, cached_property, class method
        member = getattr(member, behind, member)
    member = inspect.unwrap(member) if callable(member) else member  # jax.jit
    if not isinstance(member, types.FunctionType) or is_library(member.__globals__["__name__"]):
        return None
    return None if member.__code__.co_filename == "<string>" else member  # by @dataclass


def _is_constant(name: str, member: Any) -> bool:
    """Whether a member of a class is a value, not a method or the machinery of classes."""
    machinery = (name.startswith("_") and name.endswith("_")) or name == "_abc_impl"
    return not (machinery or callable(member) or hasattr(member, "__get__"))


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _describe_array(array: Any) -> Description:
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        return {"key": np.asarray(jax.random.key_data(array)).tolist()}
    values = np.ascontiguousarray(array)
    content = repr(values.tolist()).encode() if values.dtype.hasobject else values.tobytes()
    digest = hashlib.sha256(content).hexdigest()
    return {"array": str(values.dtype), "shape": list(np.shape(array)), "sha256": digest}


def _describe_frame(frame: Any) -> Description:
    rows = pd.util.hash_pandas_object(frame, index=True).to_numpy()
    names = [str(name) for name in getattr(frame, "columns", [getattr(frame, "name", "")])]
    return {
        "frame": names,
        "rows": len(frame),
        "sha256": hashlib.sha256(rows.tobytes()).hexdigest(),
    }


@functools.lru_cache(maxsize=1)
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


@functools.lru_cache(maxsize=512)
def _versioned(module: str) -> str:
    """Return 'statsmodels.api 0.14'; mcsim's own version stands in the environment instead."""
    root = module.split(".", maxsplit=1)[0]
    if root in sys.stdlib_module_names or root == "mcsim":
        return module
    try:
        full = version(_distributions().get(root, [root])[0])
    except PackageNotFoundError:
        return module
    return f"{module} {'.'.join(full.split('.')[:2])}"


_ATOMS: tuple[tuple[tuple[type, ...], Callable[[Any], Description]], ...] = (
    ((type(None), bool, str), lambda thing: thing),
    ((Enum,), lambda thing: f"{type(thing).__qualname__}.{thing.name}"),
    ((int, np.integer), int),
    ((float, np.floating), lambda thing: float(thing).hex()),
    ((complex, np.generic, PurePath), str),
    ((bytes, bytearray), lambda thing: {"bytes": hashlib.sha256(thing).hexdigest()}),
    ((types.ModuleType,), lambda thing: f"module {_versioned(thing.__name__)}"),
    ((jax.Array, np.ndarray), _describe_array),
    ((pd.DataFrame, pd.Series, pd.Index), _describe_frame),
)
