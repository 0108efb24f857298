"""What runs inside a worker process: host functions on pieces of a block.

A piece goes in as arrays and comes out as plain tuples; an exception becomes text, since not every
exception survives the way back.
"""

import contextlib
import inspect
import io
import linecache
import os
import pickle
import re
import signal
import sys
import threading
import time
import traceback
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from multiprocessing import connection, parent_process
from typing import Any, NamedTuple

import cloudpickle
import numpy as np

from mcsim._core import Estimate, Panel, Status
from mcsim._design import Design
from mcsim._fingerprint import is_library
from mcsim._frames import columns_to_frame
from mcsim._host import rng_from_words
from mcsim._host_samples import stack_samples
from mcsim._readers import FullLabel
from mcsim._sources import names_used
from mcsim.errors import InputError, McsimError

MASK = "__mask__"
"""The key under which a piece's mask travels with its columns."""


def piece_of(panels: Panel) -> dict[str, np.ndarray]:
    """Return the columns (rep, unit, period) of panels as they travel, the mask among them."""
    mask = {} if panels.mask is None else {MASK: np.asarray(panels.mask)}
    return {name: np.asarray(panels[name]) for name in panels} | mask


_OUTPUT_KEPT = 2_000  # characters of what a function printed, kept with its failure


class Outcome(NamedTuple):
    """What one replication gave: estimates, or the text of what went wrong.

    Attributes
    ----------
    estimates : dict of (estimand, inference) to Estimate
    status : Status
        ``OK``, or what became of the function.
    trouble : str
        What went wrong; empty where there are estimates.
    seconds : float
    remark : str
        Which standard errors are missing, and what the function warned of; empty where none is.
    """

    estimates: dict[FullLabel, Estimate]
    status: Status
    trouble: str
    seconds: float = 0.0
    remark: str = ""


class Payload:
    """Functions on their way to the workers, pickled by value.

    A worker unpickles them once, and before the clock of a piece starts: what they import does not
    count against a timeout.

    Parameters
    ----------
    *parts : object
        A host function and what it needs.

    Raises
    ------
    InputError
        If they cannot be pickled.
    """

    def __init__(self, *parts: Any):
        try:
            self._pickled = _by_value(parts)
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
        """The functions; raises what unpickling raises."""
        return _load(self._pickled)


def _by_value(parts: tuple) -> bytes:
    """Pickle, the modules of users' functions by value: a worker may not find them by name."""
    for part in parts:
        name = getattr(getattr(part, "function", part), "__module__", None) or "__main__"
        if name in sys.modules and name != "__main__" and not is_library(name):
            cloudpickle.register_pickle_by_value(sys.modules[name])
    pickled = io.BytesIO()
    pickler = _Pickler(pickled)
    pickler.dump((parts, [_named_in_strings(part) for part in parts]))
    return pickle.dumps((pickled.getvalue(), pickler.sources))


class _Pickler(cloudpickle.Pickler):
    """Keeps the file of every function, so that a traceback names the user's line.

    cloudpickle 3.1.3 writes ``<dynamic-code>`` in its place.

    Attributes
    ----------
    sources : dict of str to list of str
        Lines of what is no file: cells of a notebook, blocks of a page. A worker cannot read them.
    """

    def __init__(self, file: io.BytesIO):
        super().__init__(file)
        self.sources: dict[str, list[str]] = {}

    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, types.CodeType):
            return super().reducer_override(obj)
        name = obj.co_filename
        if name not in self.sources and not os.path.exists(name):
            lines = linecache.getlines(name)
            self.sources |= {name: lines} if lines else {}
        build, arguments = self.dispatch_table[types.CodeType](obj)[:2]
        return _code_in_file, (name, build, arguments)


def _code_in_file(name: str, build: Callable[..., types.CodeType], arguments: tuple) -> Any:
    return build(*arguments).replace(co_filename=name)


def _named_in_strings(part: Any) -> dict[str, Any]:
    """Return the globals that a function names in its strings only, such as ``np`` in a formula.

    Pickling by value takes along what the code names; ``"np.log(wage) ~ educ"`` hides it.
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
    """Unpickle at once; what goes wrong is raised again by ``parts``, where it is recorded."""
    payload = object.__new__(Payload)
    payload._pickled = pickled
    with contextlib.suppress(Exception):
        _load(pickled)
    return payload


@lru_cache(maxsize=64)
def _load(pickled: bytes) -> tuple[Any, ...]:
    functions, sources = pickle.loads(pickled)
    for name, lines in sources.items():
        linecache.cache[name] = (sum(map(len, lines)), None, lines, name)
    parts, hidden = cloudpickle.loads(functions)
    for part, names in zip(parts, hidden, strict=True):
        if names:
            known = inspect.unwrap(getattr(part, "function", part)).__globals__
            known.update({name: value for name, value in names.items() if name not in known})
    return parts


def ready() -> bool:
    """Do nothing: the first task, with which the processes start."""
    return True


def watch_parent() -> None:
    """End this process when its parent is gone, even in the middle of a function that hangs."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent.sentinel,), daemon=True).start()


def _die_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))


def estimate_piece(
    payload: Payload, columns: Mapping[str, np.ndarray], words: np.ndarray
) -> list[Outcome]:
    """Estimate on every replication of a piece.

    Parameters
    ----------
    payload : Payload
        The estimator and the schema.
    columns : mapping of str to array (rep, unit, period)
        The panels, the mask under `MASK`.
    words : array of uint32 (rep, 2)
        The replications' keys.
    """
    return [
        _estimate(payload, {name: values[i] for name, values in columns.items()}, word)
        for i, word in enumerate(words)
    ]


def _estimate(payload: Payload, columns: dict[str, np.ndarray], words: np.ndarray) -> Outcome:
    mask = columns.pop(MASK, None)
    began = time.perf_counter()
    with _captured() as output:
        try:
            estimator, schema = payload.parts
            frame = columns_to_frame(columns, mask, schema)
            found = estimator(rng_from_words(words), frame), Status.OK, ""
        except MemoryError:
            found = {}, Status.OOM, traceback.format_exc()
        except (Exception, SystemExit):
            found = {}, Status.ERROR, output.getvalue() + traceback.format_exc()
    seconds = time.perf_counter() - began
    return Outcome(*found, seconds, _missing_se(found[0], output.getvalue()))


def _missing_se(estimates: Mapping[FullLabel, Estimate], said: str) -> str:
    """Say which estimates have no standard error, and what the function printed and warned of."""
    missing = [
        f"{' '.join(filter(None, label)) or 'the estimate'}: got the standard error {e.se:g}, "
        "expected a number above 0\n"
        for label, e in estimates.items()
        if e.status == Status.NO_SE
    ]
    return "".join(missing) + (said if missing else "")


def draw_piece(
    payload: Payload, design: Design, words: np.ndarray, first: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], Any]:
    """Draw every replication of a piece from a host DGP.

    Parameters
    ----------
    payload : Payload
        The DGP.
    design : Design
        The cell's design.
    words : array of uint32 (rep, 2)
        The replications' keys.
    first : int
        Number of the first replication, for messages.

    Returns
    -------
    columns, truths : dict of str to array (rep, ...)
    schema : Schema
        What the samples have in common.

    Raises
    ------
    InputError
        If the DGP fails, or its samples cannot stand in one array.
    """
    (dgp,) = payload.parts
    samples = [_draw(dgp, design, word, rep) for rep, word in enumerate(words, first)]
    columns, mask, truths, schema = stack_samples(dgp.name, samples)
    return columns if mask is None else {**columns, MASK: mask}, truths, schema


def _draw(dgp: Any, design: Design, words: np.ndarray, rep: int) -> Any:
    with _captured():
        try:
            sample = dgp(rng_from_words(words), design)
        except McsimError:
            raise
        except (Exception, SystemExit):
            trouble = traceback.format_exc()
            raise InputError(f"dgp {dgp.name!r} fails in replication {rep}:\n{trouble}") from None
    return sample


class _Head(io.StringIO):
    """Keeps the first characters written to it."""

    def write(self, text: str, /) -> int:
        super().write(text[: max(0, _OUTPUT_KEPT - self.tell())])
        return len(text)


@contextlib.contextmanager
def _captured() -> Iterator[io.StringIO]:
    """Keep what user code prints and warns from the terminal: a line for every warning."""
    output = _Head()

    def keep(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        output.write(f"{category.__name__}: {message}\n")

    with (
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("always")
        warnings.showwarning = keep
        yield output
