"""What runs inside a worker process: host functions on pieces of a block.

A piece goes in as arrays and comes out as plain tuples; an exception becomes text, since not every
exception survives the way back.
"""

import contextlib
import io
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import cloudpickle
import numpy as np

from mcsim._core import Estimate, Label, Status
from mcsim._frames import columns_to_frame, from_frame
from mcsim._host import rng_from_words

MASK = "__mask__"
"""The key under which a piece's mask travels with its columns."""

_OUTPUT_KEPT = 2_000  # characters of what a function printed, kept with its failure


class Outcome(NamedTuple):
    """What one replication gave: estimates, or the text of what went wrong."""

    estimates: dict[Label, Estimate]
    status: Status
    trouble: str


def estimate_piece(
    payload: bytes, columns: Mapping[str, np.ndarray], words: np.ndarray
) -> list[Outcome]:
    """Estimate on every replication of a piece.

    Parameters
    ----------
    payload : bytes
        Pickled (estimator, schema).
    columns : mapping of str to array (rep, unit, period)
        The panels, the mask under `MASK`.
    words : array of uint32 (rep, 2)
        The replications' keys.
    """
    estimator, schema = _load(payload)
    return [
        _estimate(estimator, schema, {name: values[i] for name, values in columns.items()}, word)
        for i, word in enumerate(words)
    ]


def _estimate(estimator, schema, columns, words) -> Outcome:
    mask = columns.pop(MASK, None)
    frame = columns_to_frame(columns, mask, schema)
    with _captured() as output:
        try:
            return Outcome(estimator(rng_from_words(words), frame), Status.OK, "")
        except MemoryError:
            return Outcome({}, Status.OOM, traceback.format_exc())
        except Exception:
            printed = output.getvalue()[:_OUTPUT_KEPT]
            return Outcome({}, Status.ERROR, traceback.format_exc() + printed)


def draw_piece(
    payload: bytes, factors: Mapping[str, Any], words: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], Any]:
    """Draw every replication of a piece from a host DGP.

    Returns
    -------
    columns, truths : dict of str to array (rep, ...)
    schema : Schema
        Of the first sample.
    """
    dgp, _ = _load(payload)
    panels, truths, schema = [], [], None
    for word in words:
        with _captured():
            frame, truth = dgp(rng_from_words(word), factors)
        panel, found = from_frame(frame)
        schema = schema or found
        columns = {name: np.asarray(panel[name]) for name in panel}
        if panel.mask is not None:
            columns[MASK] = np.asarray(panel.mask)
        panels.append(columns)
        truths.append(truth)
    return _stack(panels), _stack(truths), schema


def _stack(records: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    return {name: np.stack([np.asarray(record[name]) for record in records]) for name in records[0]}


@lru_cache(maxsize=64)
def _load(payload: bytes) -> tuple[Any, Any]:
    return cloudpickle.loads(payload)


@contextlib.contextmanager
def _captured() -> Iterator[io.StringIO]:
    """Keep what user code prints and warns from the terminal."""
    output = io.StringIO()
    with (
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield output
