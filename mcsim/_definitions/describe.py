"""Definitions of a study's parts as text, by which a store recognizes a change.

Functions have no stable hash. A user's function is described by its source, its defaults, the
values that it closes over, and the globals, imports and overloads that it uses; a library's by name
and version; arrays by their bytes.
"""

import ast
import dataclasses
import functools
import hashlib
import inspect
import itertools
import random
import re
import types
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import PurePath
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from mcsim._core.calls import as_written
from mcsim._core.pytree import identity_fields
from mcsim._core.records import Panel
from mcsim._definitions.public_names import (
    HOST,
    is_library,
    name_of_class,
    name_of_function,
    public_name,
    versioned,
)
from mcsim._definitions.source_text import Library, source_text, values_used

Description = Any  # an argument of json.dumps

FITTED_BY = "fitted by"
"""Under it stands the trainer in the description of a fitted generator."""


@runtime_checkable
class Defined(Protocol):
    """A part of a study, of a class of mcsim, with its own list of defining values."""

    def definition(self) -> Mapping[str, Any]:
        """Return the values by name; each is described in turn."""
        ...


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
        For an object whose definition cannot be described; changes of it go unnoticed.

    Examples
    --------
    >>> describe({"n": 3, "rho": 0.5})
    {'n': 3, 'rho': '0x1.0000000000000p-1'}
    """
    return _Describer().of(thing)


def _numpy_generator() -> Any:
    return np.random.normal.__self__  # type: ignore[attr-defined]


def _python_generator() -> Any:
    return random.random.__self__  # type: ignore[attr-defined]


GLOBAL_GENERATORS = (_numpy_generator, _python_generator)
"""Return the generators that ``numpy.random.normal`` and ``random.random`` draw from."""


class _Describer:
    """Walks through a definition; every function and class of the user is described once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, str]] = {}  # holds them, so that ids stay theirs
        self._named: Counter[str] = Counter()
        self._within: set[int] = set()
        self._attributes: set[str] = set()  # names that the function at hand takes of modules

    def of(self, thing: Any) -> Description:
        for kinds, text in _atoms():
            if isinstance(thing, kinds) and not isinstance(thing, Enum):
                return text(thing)
        if isinstance(thing, type) and is_library(thing.__module__):
            return name_of_class(thing)
        if isinstance(thing, (type, types.FunctionType)):
            if id(thing) in self._known:
                return f"described above: {self._known[id(thing)][1]}"
            self._named[thing.__qualname__] += 1
            number = self._named[thing.__qualname__]
            name = thing.__qualname__ + (f" ({number})" if number > 1 else "")
            self._known[id(thing)] = thing, name
        elif id(thing) in self._within:
            return "recursive"
        self._within.add(id(thing))
        described = self._compound(thing)
        self._within.discard(id(thing))
        return described

    def _compound(self, thing: Any) -> Description:
        if isinstance(thing, (type, types.ModuleType)):
            return self._class(thing) if isinstance(thing, type) else self._module(thing)
        if isinstance(thing, Enum):
            return {"member": thing.name, "of": self.of(type(thing))}
        if dataclasses.is_dataclass(thing):
            return self._dataclass(thing)
        if isinstance(thing, functools.partial):
            thing = ("partial", thing.func, thing.args, thing.keywords)
        if isinstance(thing, (Mapping, set, frozenset, tuple, list, range)):
            items = self._collection(thing)
            own = not is_library(type(thing).__module__)
            return {"class": self.of(type(thing)), "items": items} if own else items
        return self._callable(thing) if callable(thing) else self._object(thing)

    def _collection(self, thing: Any) -> Description:
        if isinstance(thing, Mapping):
            return self._mapping(thing)
        if isinstance(thing, (set, frozenset)):  # in an order that no hash decides
            thing = sorted(thing, key=lambda item: repr(_Describer().of(item)))
        return [self.of(item) for item in thing]

    def _mapping(self, thing: Mapping) -> Description:
        """Describe the entries; of a panel the calendar and nominal columns too, if it has any."""
        described = {str(name): self.of(value) for name, value in thing.items()}
        if isinstance(thing, Panel):
            static = thing.static_part
            parts = {"panel: periods": static.periods, "panel: nominal": static.nominal}
            described |= {name: self.of(part) for name, part in parts.items() if part}
        return described

    def _class(self, cls: type) -> Description:
        functions = [f for member in vars(cls).values() for f in _functions_of(member)]
        constants = {n: v for n, v in vars(cls).items() if _is_constant(n, v)}
        if issubclass(cls, Enum):
            constants = {name: member.value for name, member in cls.__members__.items()}
        return {
            "name": cls.__qualname__,
            "source": source_text(cls),
            "bases": [self.of(base) for base in cls.__bases__ if not is_library(base.__module__)],
            "uses": self._uses(functions),
            "constants": self._quietly(constants),
        }

    def _dataclass(self, thing: Any) -> Description:
        if is_library(type(thing).__module__) and isinstance(thing, Defined):
            fields = {name: self.of(part) for name, part in thing.definition().items()}
        else:
            fields = {name: self.of(part) for name, part in identity_fields(thing).items()}
        if "config" in fields and callable(getattr(type(thing), "sample", None)):
            fields[FITTED_BY] = fields.pop("config")  # a generator
        return {**self._class_of(thing), **fields}

    def _class_of(self, thing: Any) -> dict[str, Description]:
        name = self.of(type(thing))
        return {"class": name} if name else {}

    def _callable(self, thing: Any) -> Description:
        thing = as_written(thing)
        if inspect.ismethod(thing):
            return {"method": thing.__func__.__name__, "of": self.of(thing.__self__)}
        if isinstance(thing, types.FunctionType) and not is_library(thing.__globals__["__name__"]):
            return self._function(thing)
        return self._of_library(thing)

    def _of_library(self, thing: Any) -> Description:
        """Describe a callable that a library defines or made of a user's function."""
        if isinstance(thing, types.FunctionType) and (name := public_name(thing)):
            return name
        overloads = getattr(thing, "registry", None)
        if isinstance(overloads, types.MappingProxyType):  # by functools.singledispatch
            named = {f"{kind.__module__}.{kind.__qualname__}": f for kind, f in overloads.items()}
            return {"overloads": {name: self.of(named[name]) for name in sorted(named)}}
        wrapped = getattr(thing, "__wrapped__", None)
        if wrapped is not None:  # by jax.jit, jax.vmap, functools.lru_cache
            code = getattr(thing, "__code__", None)
            name = code.co_qualname if code else type(thing).__qualname__
            return {"wrapper": name, "of": self.of(wrapped)}
        if isinstance(thing, types.FunctionType):
            name = name_of_function(thing)
            closed = self._quietly(inspect.getclosurevars(thing).nonlocals)
            return {"function": name, "closed": closed} if closed else name
        if hasattr(thing, "__qualname__") and is_library(getattr(thing, "__module__", None)):
            return f"{versioned(thing.__module__ or 'builtins')}.{thing.__qualname__}"
        return self._object(thing)

    def _function(self, function: types.FunctionType) -> Description:
        return {
            "name": function.__qualname__,
            "source": source_text(function, functools.partial(_lifts, function)),
            "defaults": self.of([function.__defaults__, function.__kwdefaults__]),
            "uses": self._uses([function]),
        }

    def _uses(self, functions: Sequence[types.FunctionType]) -> dict[str, Description]:
        """Describe the values that bodies refer to; of user's modules, the parts that they take."""
        used = [values_used(function, is_library) for function in functions]
        values = {name: value for uses in used for name, value in uses.values.items()}
        before = self._attributes
        self._attributes = {name for uses in used for name in uses.attributes}
        described = {name: self.of(value) for name, value in sorted(values.items())}
        self._attributes = before
        return described

    def _module(self, module: types.ModuleType) -> Description:
        if is_library(module.__name__):
            return f"module {versioned(module.__name__)}"
        taken = [name for name in sorted(self._attributes) if hasattr(module, name)]
        uses = {name: self.of(getattr(module, name)) for name in taken}
        return {"module": module.__name__, "uses": uses}

    def _quietly(self, things: Mapping[str, Any]) -> Description:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.of(things)

    def _object(self, thing: Any) -> Description:
        if any(thing is of_process() for of_process in GLOBAL_GENERATORS):
            return {"opaque": type(thing).__qualname__}  # host functions find it seeded
        state = _state_of(thing)
        has_dict = hasattr(thing, "__dict__")
        if state or (has_dict and not is_library(type(thing).__module__)):
            return {**self._class_of(thing), "state": self.of(state)}
        text = repr(thing)
        if " at 0x" not in text:
            return {**self._class_of(thing), "text": text}
        warnings.warn(
            f"the definition of an object of type {type(thing).__name__} cannot be described: if "
            "it changes, the store will not notice; use numbers, arrays, dataclasses or functions",
            UserWarning,
            stacklevel=2,
        )
        return {"opaque": type(thing).__qualname__}


def _lifts(function: types.FunctionType, decorator: ast.expr) -> bool:
    """Return whether a decorator is `mcsim.host`; its options are fields of the lifted function."""
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    root, *path = ast.unparse(called).split(".")
    value = functools.reduce(
        lambda thing, name: getattr(thing, name, None), path, function.__globals__.get(root)
    )
    if value is None:  # a local name where the function was made
        return [root, *path][-1] == "host"
    return isinstance(value, types.FunctionType) and (public_name(value) or "").startswith(HOST)


def _functions_of(member: Any) -> Iterator[types.FunctionType]:
    """Yield the user's functions behind a member of a class: of a method, a property, overloads."""
    overloads = getattr(getattr(member, "dispatcher", member), "registry", None)
    if isinstance(overloads, types.MappingProxyType):  # by functools.singledispatchmethod
        yield from itertools.chain.from_iterable(map(_functions_of, overloads.values()))
        return
    for behind in ("fget", "func", "__func__"):  # property, cached_property, class method
        member = getattr(member, behind, member)
    member = inspect.unwrap(member) if callable(member) else member  # jax.jit
    if not isinstance(member, types.FunctionType) or is_library(member.__globals__["__name__"]):
        return
    if member.__code__.co_filename != "<string>":  # by @dataclass
        yield member


def _is_constant(name: str, member: Any) -> bool:
    """Return whether a member of a class is a value, not a method or the machinery of classes."""
    machinery = (name.startswith("_") and name.endswith("_")) or name == "_abc_impl"
    return not (machinery or callable(member) or hasattr(member, "__get__"))


def _state_of(thing: Any) -> dict[str, Any]:
    """Return an object's attributes, slots included, without cached properties."""
    state = dict(getattr(thing, "__dict__", {}))
    for cls in type(thing).__mro__:
        slots = vars(cls).get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            private = slot.startswith("__") and not slot.endswith("__")
            name = f"_{cls.__name__.lstrip('_')}{slot}" if private else slot
            if hasattr(thing, name):
                state[name] = getattr(thing, name)
    names = (n for n in state if not n.startswith("__") and not _is_memo(type(thing), n))
    return {name: state[name] for name in names}


def _is_memo(cls: type, name: str) -> bool:
    """Return whether an attribute holds the value of a cached property."""
    member = inspect.getattr_static(cls, name, None)
    kept = hasattr(member, "__get__") and not hasattr(member, "__set__")
    return kept and not callable(member) and not isinstance(member, classmethod | staticmethod)


def _describe_array(array: Any) -> Description:
    import jax
    import jax.numpy as jnp

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


def _describe_number(number: np.generic) -> Description:
    """Describe a NumPy scalar with its type, which decides the type of results."""
    value = (
        number.item() if isinstance(number, np.floating | np.integer | np.bool_) else str(number)
    )
    return {"numpy": number.dtype.name, "value": value.hex() if isinstance(value, float) else value}


@functools.cache
def _atoms() -> tuple[tuple[tuple[type, ...], Callable[[Any], Description]], ...]:
    """Return how values are described that have no parts, by their types."""
    import jax  # workers, which unpickle functions with this file, describe nothing

    return (
        ((Library,), lambda name: f"module {versioned(name)}"),
        ((np.generic,), _describe_number),
        ((type(None), bool), lambda thing: thing),
        ((str,), str),
        ((int,), int),
        ((float,), lambda thing: float(thing).hex()),
        ((complex, PurePath), str),
        ((bytes, bytearray), lambda thing: {"bytes": hashlib.sha256(thing).hexdigest()}),
        ((re.Pattern,), lambda thing: {"pattern": thing.pattern, "flags": thing.flags}),
        ((jax.Array, np.ndarray), _describe_array),
        ((pd.DataFrame, pd.Series, pd.Index), _describe_frame),
    )
