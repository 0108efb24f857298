"""Functions for worker processes: pickled by value, rebuilt as often as needed."""

import inspect
import io
import linecache
import os
import pickle
import random
import re
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

import cloudpickle
import numpy as np

from mcsim._definitions.describe import GLOBAL_GENERATORS
from mcsim._definitions.public_names import is_library
from mcsim._definitions.source_text import names_used
from mcsim._host.host import HostDGP
from mcsim.errors import InputError, McsimError


class Payload:
    """Functions for worker processes, pickled by value.

    A worker unpickles them once, before the clock of a piece starts: their imports do not count
    against a timeout.

    Parameters
    ----------
    *parts : object
        A host function, and the schema of its frames.

    Raises
    ------
    InputError
        If they cannot be pickled.
    """

    def __init__(self, *parts: Any):
        try:
            self._pickled = _by_value(parts)
        except McsimError:
            raise
        except Exception as error:
            raise InputError(
                f"host function {getattr(parts[0], 'name', parts[0])!r} cannot be sent to worker "
                f"processes ({type(error).__name__}: {error}); open files, locks and connections "
                "inside the function"
            ) from error

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self._pickled,)

    @property
    def parts(self) -> tuple[Any, ...]:
        """The functions; an exception of unpickling is raised."""
        return _load(self._pickled)

    def copies(self) -> Iterator[tuple[Any, ...]]:
        """Yield the functions again and again, each time in the state in which they were sent."""
        functions, buffers = _unpacked(self._pickled)
        while True:
            yield _rebuilt(functions, buffers)


def _by_value(parts: tuple) -> bytes:
    """Pickle, the modules of users' functions by value: a worker may not find them by name."""
    for part in parts:
        name = getattr(getattr(part, "function", part), "__module__", None) or "__main__"
        if name in sys.modules and name != "__main__" and not is_library(name):
            cloudpickle.register_pickle_by_value(sys.modules[name])
    pickled = io.BytesIO()
    pickler = _Pickler(pickled)
    pickler.dump((parts, [_named_in_strings(part) for part in parts]))
    if isinstance(parts[0], HostDGP) and pickler.generators:
        raise InputError(_own_generator(parts[0], pickler.generators[0]))
    buffers = [buffer.raw().tobytes() for buffer in pickler.buffers]
    return pickle.dumps((pickled.getvalue(), buffers, pickler.sources))


def _own_generator(dgp: HostDGP, generator: Any) -> str:
    """Return the fault of a DGP that holds a random generator, named where it is a variable."""
    function = inspect.unwrap(dgp.function)
    space = inspect.getclosurevars(function) if inspect.isfunction(function) else None
    known = {**space.globals, **space.nonlocals} if space else {}
    names = [repr(name) for name, value in known.items() if value is generator]
    kind = f"{type(generator).__module__.partition('.')[0]} {type(generator).__name__}"
    return (
        f"dgp {dgp.name!r}: it holds a random generator of its own ({' '.join([kind, *names])}), "
        "which is no part of a replication's key; draw from its argument rng alone"
    )


class _Pickler(cloudpickle.Pickler):
    """Keeps the file of every function, so that a traceback names the user's line.

    cloudpickle 3.1.3 writes ``<dynamic-code>`` in its place. References to the global generators
    of NumPy and `random`, as of ``numpy.random.normal``, stay references: the generators are seeded
    for every replication.

    Attributes
    ----------
    buffers : list of PickleBuffer
        Memory of large arrays.
    generators : list of object
        Other random generators.
    sources : dict of str to list of str
        Lines of sources without a file, which a worker cannot read: cells of a notebook.
    """

    def __init__(self, file: io.BytesIO):
        super().__init__(file, buffer_callback=self._is_small)
        self.sources: dict[str, list[str]] = {}
        self.buffers: list[pickle.PickleBuffer] = []
        self.generators: list[Any] = []

    def _is_small(self, buffer: pickle.PickleBuffer) -> bool:
        """Return whether an array is pickled with the rest; a large one has its own buffer."""
        if buffer.raw().nbytes < _LARGE:
            return True
        self.buffers.append(buffer)
        return False

    def reducer_override(self, obj: Any) -> Any:
        for of_process in GLOBAL_GENERATORS:
            if obj is of_process():
                return of_process, ()
        if isinstance(obj, _GENERATORS):
            self.generators.append(obj)
        if not isinstance(obj, types.CodeType):
            return super().reducer_override(obj)
        name = obj.co_filename
        if name not in self.sources and not os.path.exists(name):
            lines = linecache.getlines(name)
            self.sources |= {name: lines} if lines else {}
        build, arguments = self.dispatch_table[types.CodeType](obj)[:2]
        return _code_in_file, (name, build, arguments)


_LARGE = 2**20  # bytes of an array that host DGPs share between calls, and may not change

_GENERATORS = (
    np.random.Generator,
    np.random.RandomState,
    np.random.BitGenerator,
    random.Random,
)


def _code_in_file(name: str, build: Callable[..., types.CodeType], arguments: tuple) -> Any:
    return build(*arguments).replace(co_filename=name)


def _named_in_strings(part: Any) -> dict[str, Any]:
    """Return the globals that a function names in its strings only, such as ``np`` in a formula.

    Pickling by value includes globals named in code; ``"np.log(wage) ~ educ"`` hides one.
    """
    function = inspect.unwrap(getattr(part, "function", part)) if callable(part) else part
    if not isinstance(function, types.FunctionType):
        return {}
    known = function.__globals__
    loaded, _ = names_used(function.__code__)
    texts = [text for text in function.__code__.co_consts if isinstance(text, str)]
    texts += [known[name] for name in loaded if isinstance(known.get(name), str)]
    words = {word for text in texts for word in re.findall(r"[A-Za-z]\w*", text)}
    kinds = (types.ModuleType, types.FunctionType)
    return {word: known[word] for word in words if isinstance(known.get(word), kinds)}


def _arrived(pickled: bytes) -> Payload:
    """Unpickle at once; an exception is raised again by ``parts``, where it is recorded."""
    payload = object.__new__(Payload)
    payload._pickled = pickled
    with suppress(BaseException):
        _load(pickled)
    return payload


@lru_cache(maxsize=64)
def _load(pickled: bytes) -> tuple[Any, ...]:
    functions, buffers = _unpacked(pickled)
    return _rebuilt(functions, [bytearray(buffer) for buffer in buffers])


def _unpacked(pickled: bytes) -> tuple[bytes, list[bytes]]:
    functions, buffers, sources = pickle.loads(pickled)
    for name, lines in sources.items():
        linecache.cache[name] = (sum(map(len, lines)), None, lines, name)
    return functions, buffers


def _rebuilt(functions: bytes, buffers: Sequence[Any]) -> tuple[Any, ...]:
    """Unpickle; arrays in buffers of bytes are shared, and cannot be changed."""
    parts, hidden = pickle.loads(functions, buffers=buffers)
    for part, names in zip(parts, hidden, strict=True):
        if names:
            known = inspect.unwrap(getattr(part, "function", part)).__globals__
            known.update({name: value for name, value in names.items() if name not in known})
    return parts
