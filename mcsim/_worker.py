"""What runs inside a worker process: host functions on pieces of a block.

A piece goes in as arrays and comes out as plain tuples; an exception becomes text, since not every
exception survives the way back.
"""

import contextlib
import io
import os
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import connection, parent_process
from typing import Any, NamedTuple

import numpy as np

from mcsim._core import Estimate, Panel, Status
from mcsim._design import Design
from mcsim._frames import columns_to_frame
from mcsim._host import rng_from_words
from mcsim._host_samples import stack_samples
from mcsim._payload import Payload
from mcsim._readers import FullLabel
from mcsim.errors import InputError, McsimError

MASK = "__mask__"
"""The key under which a piece's mask travels with its columns."""


PLACES = "__places__"
"""The key of the places of the periods (rep, period), where they are not 0, 1, 2, ..."""


def piece_of(panels: Panel) -> dict[str, np.ndarray]:
    """Return the columns (rep, unit, period) of panels as they travel, with mask and places."""
    columns = {name: np.asarray(panels[name]) for name in panels}
    extra = {} if panels.mask is None else {MASK: np.asarray(panels.mask)}
    if (places := panels.static_part.periods) is not None:
        reps = len(next(iter(columns.values())))
        extra[PLACES] = np.broadcast_to(np.asarray(places), (reps, len(places)))
    return columns | extra


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
        The panels, the mask under `MASK`, the places under `PLACES`.
    words : array of uint32 (rep, 2)
        The replications' keys.
    """
    return [
        _estimate(payload, {name: values[i] for name, values in columns.items()}, word)
        for i, word in enumerate(words)
    ]


def _estimate(payload: Payload, columns: dict[str, np.ndarray], words: np.ndarray) -> Outcome:
    mask, places = columns.pop(MASK, None), columns.pop(PLACES, None)
    began = time.perf_counter()
    with _captured() as output:
        try:
            estimator, schema = payload.parts
            labels = None if places is None else places.tolist()
            frame = columns_to_frame(columns, mask, schema, labels)
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
        What the samples have in common.

    Raises
    ------
    InputError
        If the DGP fails, or its samples cannot stand in one array.
    """
    samples = [
        _draw(dgp, design, word, rep)
        for word, rep, (dgp,) in zip(words, reps, payload.copies(), strict=False)
    ]
    (dgp,) = payload.parts
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
