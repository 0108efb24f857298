"""Host functions in a worker process: they draw and estimate pieces of a block.

A piece goes in as arrays and comes out as plain tuples; an exception becomes text, since not every
exception survives the way back.
"""

import contextlib
import io
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import connection, parent_process
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mcsim._core.design import Design, WatchedDesign
from mcsim._core.records import Estimate, Panel, Status
from mcsim._data import about_names
from mcsim._data.frames import columns_to_frame
from mcsim._data.schema import Schema
from mcsim._host.host import rng_from_words
from mcsim._host.payload import Payload
from mcsim._host.samples import stack_samples
from mcsim._readers import FullLabel
from mcsim.errors import InputError, McsimError, one_line, type_and_message

Columns = dict[str, np.ndarray]
"""Panels as arrays (rep, unit, period), which are pickled; see `piece_of`."""

MASK = "__mask__"
"""The key under which a piece's mask travels with its columns."""

PLACES = "__places__"
"""The key of the places of the periods (rep, period), where they are not 0, 1, 2, ..."""


def piece_of(panels: Panel) -> Columns:
    """Return panels as arrays (rep, unit, period), with their mask and places."""
    columns = {name: np.asarray(panels[name]) for name in panels}
    extra = {} if panels.mask is None else {MASK: np.asarray(panels.mask)}
    if (places := panels.static_part.periods) is not None:
        reps = len(next(iter(columns.values())))
        extra[PLACES] = np.broadcast_to(np.asarray(places), (reps, len(places)))
    return columns | extra


def replication_of(columns: Mapping[str, np.ndarray], rep: int) -> Columns:
    """Return one replication of panels as arrays (unit, period)."""
    return {name: values[rep] for name, values in columns.items()}


def frame_of(columns: Columns, schema: Schema | None) -> pd.DataFrame:
    """Return the frame of one replication, with the names and labels of a schema."""
    places = columns.get(PLACES)
    data = {name: values for name, values in columns.items() if name not in (MASK, PLACES)}
    labels = None if places is None else places.tolist()
    return columns_to_frame(data, columns.get(MASK), schema, labels)


_OUTPUT_KEPT = 2_000  # characters of a function's output, kept with its failure
_TEXT_KEPT = 4_000  # bytes of a traceback: some libraries put a whole frame into a message


class Outcome(NamedTuple):
    """The estimates of one replication, or the reason why there are none.

    Attributes
    ----------
    estimates : dict of (estimand, inference) to Estimate
    status : Status
        ``OK``, or why there are no estimates.
    trouble : str
        The failure with its traceback; empty where there are estimates.
    seconds : float
    remark : str
        Which standard errors are missing, and the function's warnings; empty where none is.
    exception : str
        Type and message of the exception, in one line; empty where none was raised.
    """

    estimates: dict[FullLabel, Estimate]
    status: Status
    trouble: str
    seconds: float = 0.0
    remark: str = ""
    exception: str = ""

    @property
    def reason(self) -> str:
        """The failure, or which standard errors are missing, in one line."""
        return self.exception or one_line(self.trouble or self.remark)


def ready(*_: Payload) -> bool:
    """Return at once; the task starts a process, and the imports of functions."""
    return True


def watch_parent() -> None:
    """End this process when its parent has ended, even while a function hangs."""
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
        The panels, the mask under `MASK`, the places under `PLACES`.
    words : array of uint32 (rep, 2)
        The replications' keys.
    """
    return [_estimate(payload, replication_of(columns, i), word) for i, word in enumerate(words)]


def _estimate(payload: Payload, columns: Columns, words: np.ndarray) -> Outcome:
    frame, raised, estimates, trouble = None, None, {}, ""
    began = time.perf_counter()
    with _captured() as output:
        try:
            estimator, schema = payload.parts
            frame = frame_of(columns, schema)
            estimates = estimator(rng_from_words(words), frame)
        except BaseException as error:  # some solvers raise a BaseException to stop
            _let_interruptions_pass(error)
            raised, trouble = error, _cut(output.text + traceback.format_exc())
    seconds = time.perf_counter() - began
    if raised is None:
        return Outcome(estimates, Status.OK, "", seconds, _missing_se(estimates, output.text))
    status = Status.OOM if isinstance(raised, MemoryError) else Status.ERROR
    exception = type_and_message(raised) + about_names(raised, frame)
    return Outcome({}, status, trouble, seconds, exception=exception)


def _let_interruptions_pass(error: BaseException) -> None:
    """Raise Ctrl-C again: it reaches the main thread of the first process, and no other."""
    here = threading.current_thread() is threading.main_thread() and parent_process() is None
    if here and isinstance(error, KeyboardInterrupt):
        raise error


def _cut(text: str) -> str:
    """Return a text without its middle where it is long."""
    content, half = text.encode(errors="replace"), _TEXT_KEPT // 2 - 50
    if len(content) <= _TEXT_KEPT:
        return text
    ends = content[:half].decode(errors="ignore"), content[-half:].decode(errors="ignore")
    return f"\n[... {len(content) - 2 * half:,} bytes left out ...]\n".join(ends)


def _missing_se(estimates: Mapping[FullLabel, Estimate], said: str) -> str:
    """Return which estimates have no standard error, with the function's output and warnings."""
    missing = [
        f"{' '.join(filter(None, label)) or 'the estimate'}: got the standard error {e.se:g}, "
        "expected a number above 0\n"
        for label, e in estimates.items()
        if e.status == Status.NO_SE
    ]
    return "".join(missing) + (said if missing else "")


def draw_piece(
    payload: Payload, design: Design, words: np.ndarray, reps: Sequence[int]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], Any]:
    """Draw every replication of a piece from a host DGP, each from the same state of its globals.

    Parameters
    ----------
    payload : Payload
        The DGP.
    design : Design
        The cell's design.
    words : array of uint32 (rep, 2)
        The replications' keys.
    reps : sequence of int
        Numbers of the replications, for messages.

    Returns
    -------
    columns, truths : dict of str to array (rep, ...)
    schema : Schema
        Their common schema.

    Raises
    ------
    InputError
        If the DGP fails, or its samples do not fit one array.
    """
    samples = [
        _draw(dgp, design, word, rep)
        for word, rep, (dgp,) in zip(words, reps, payload.copies(), strict=False)
    ]
    (dgp,) = payload.parts
    columns, mask, truths, schema = stack_samples(dgp.name, samples)
    return columns if mask is None else {**columns, MASK: mask}, truths, schema


def draw_watched(
    payload: Payload, design: Design, words: np.ndarray, reps: Sequence[int]
) -> tuple[Any, set[str]]:
    """Draw as `draw_piece` does, and return the factors that the DGP read."""
    watched = WatchedDesign(design)
    return draw_piece(payload, watched, words, reps), watched.asked


def _draw(dgp: Any, design: Design, words: np.ndarray, rep: int) -> Any:
    with _captured():
        try:
            sample = dgp(rng_from_words(words), design, rep)
        except McsimError:
            raise
        except BaseException as error:
            _let_interruptions_pass(error)
            line = _line_of(error, dgp.function)
            raise InputError(
                f"dgp {dgp.name!r} fails in replication {rep}: {type_and_message(error)}"
                + (f", in: {line}" if line else "")
                + _about_floats(error, line, design)
                + f"\n{_cut(traceback.format_exc())}"
            ) from None
    return sample


def _line_of(error: BaseException, function: Any) -> str:
    """Return the last line of a function's file in the traceback of an error."""
    file = getattr(getattr(function, "__code__", None), "co_filename", "")
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.line or "" for frame in reversed(frames) if frame.filename == file), "")


def _about_floats(error: BaseException, line: str, design: Design) -> str:
    """Return which factors are whole floats, where an integer was needed."""
    if not isinstance(error, TypeError) or "integer" not in str(error):
        return ""
    whole = [n for n, value in design.items() if isinstance(value, float) and value.is_integer()]
    named = [n for n in whole if f'"{n}"' in line or f"'{n}'" in line]
    return "".join(
        f"; factor {name!r} is a float ({design[name]}): write {name}=[{int(design[name])}]"
        for name in named or whole
    )


class _Output:
    """The first characters of a function's output and warnings."""

    def __init__(self) -> None:
        self.text = ""

    def add(self, text: str) -> None:
        """Append a text up to the limit."""
        self.text += text[: max(0, _OUTPUT_KEPT - len(self.text))]


class _Stream(io.TextIOBase):
    """Replaces a stream of the terminal, to which text is passed on only if it is given."""

    def __init__(self, output: _Output, terminal: Any):
        self._output, self._terminal = output, terminal

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        self._output.add(text)
        if self._terminal is not None:
            self._terminal.write(text)
        return len(text)

    def flush(self) -> None:
        if self._terminal is not None:
            self._terminal.flush()

    def close(self) -> None:
        """Stay open: a function may not close the terminal."""


@contextlib.contextmanager
def _captured() -> Iterator[_Output]:
    """Capture the output and the warnings of user code, a line for every warning.

    In worker processes the terminal shows none of it. With ``workers=0``, for debugging, it shows
    output.
    """
    output, shown = _Output(), parent_process() is None

    def keep(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        output.add(f"{category.__name__}: {message}\n")

    with (
        contextlib.redirect_stdout(_Stream(output, sys.stdout if shown else None)),
        contextlib.redirect_stderr(_Stream(output, sys.stderr if shown else None)),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("always")
        warnings.showwarning = keep
        yield output
