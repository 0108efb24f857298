"""Data in files, as a model reads and writes them."""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import pandas as pd

from mcsim._core.records import Panel
from mcsim._data import TAB, read_table, require_ending
from mcsim._data.frames import from_frame
from mcsim._data.schema import Schema
from mcsim.errors import Fault, InputError, message_of, raise_all

WRITTEN = (".csv", ".parquet")
"""The endings of files that commands write."""

ARGUMENTS = {
    "path": "data",
    "n_periods": "--periods",
    **{name: f"--{name}" for name in ("sep", "decimal", "encoding", "thousands")},
}
"""Names of Python's arguments on the command line."""

OPTIONS: dict[str, Callable[[Any], str]] = {
    "read_table": lambda ways: " or ".join(map(as_options, ways)),
    "categorical": lambda name: f"--categorical {name}",
    "columns": lambda _: "--columns naming the others",
    "select": lambda name: f"--columns {name}",
    "model_missing": lambda _: "--missing model",
    "common_shocks": lambda value: f"--common-shocks {value}",
    "time": lambda _: "with --time",
    "take": lambda _: "leave them out of the data",
}
"""Words for the options that remedies name."""

REMEDY = "drop or impute them first"
COMPLETED = "drop them, or pass --missing model"


def read_frame(path: Path, options: Mapping[str, Any]) -> pd.DataFrame:
    """Read a frame with `read_table`, whose messages then name options of the command line.

    Raises
    ------
    InputError
        If it is not there, of another kind, or cannot be read.
    """
    with options_named():
        return read_table(path, **options)


def as_options(arguments: Mapping[str, str | Sequence[str]]) -> str:
    """Return arguments of `read_table` as they are typed on the command line.

    Examples
    --------
    >>> as_options({"sep": ";", "encoding": "latin-1", "missing_values": ["-99", ".."]})
    "--sep=';' --encoding=latin-1 --missing-values='-99,..'"
    """
    texts = {n: v if isinstance(v, str) else ",".join(v) for n, v in arguments.items()}
    return " ".join(f"--{n.replace('_', '-')}={_typed(text)}" for n, text in texts.items())


def _typed(text: str) -> str:
    text = text.replace("\t", TAB)
    return text if re.fullmatch(r"[\w-]+", text) else "'" + text.replace("'", "'\\''") + "'"


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame with its index to a CSV or Parquet file; an existing one is replaced.

    Raises
    ------
    InputError
        If the file is of another kind, or cannot be written.
    """
    ending = require_ending(path, WRITTEN, "--out")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_csv(path) if ending == ".csv" else frame.to_parquet(path)
    except OSError as fault:
        raise InputError(f"--out: {path} cannot be written: {fault}") from None


def require_folder(path: Path) -> None:
    """Make a folder to write into, before anything is computed for it.

    Raises
    ------
    InputError
        If it is a file, or nothing can be written there.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path):
            pass
    except OSError as fault:
        raise InputError(f"--out: {path} cannot be a folder to write to: {fault}") from None


@contextmanager
def options_named(*, completes: bool = False, then: str = "") -> Iterator[None]:
    """Let messages name options in place of Python's arguments.

    Remedies of missing values are ``then``, or ``--missing model`` if ``completes``.
    """
    remedy = then or (COMPLETED if completes else REMEDY)
    try:
        yield
    except InputError as fault:
        words = {**OPTIONS, "missing": lambda _: remedy}
        faults = (one if isinstance(one, Fault) else Fault(one) for one in fault.faults)
        fault.args = (message_of([one.worded(words, ARGUMENTS) for one in faults]),)
        raise


def categories(frame: pd.DataFrame, names: Sequence[str], cluster: str | None) -> list[str]:
    """Return the columns that are categories: those named, and a cluster that is not a number."""
    if cluster is None or cluster not in frame or cluster in names:
        return [*names]
    return [*names] if pd.api.types.is_numeric_dtype(frame[cluster]) else [*names, cluster]


def is_complete(panel: Panel) -> bool:
    """Return whether no cell of a panel is missing."""
    observed = panel.mask is None or bool(np.asarray(panel.mask).all())
    return observed and all(np.isfinite(np.asarray(values)).all() for values in panel.values())


def panel_for(frame: pd.DataFrame, generator: Any) -> tuple[Panel, Schema]:
    """Return data as the schema of a model reads them.

    Raises
    ------
    InputError
        If columns are not there, or hold other categories than the model learned.
    """
    schema, cluster = generator.schema, getattr(generator.config, "cluster", None)
    known = [column.name for column in schema.columns if column.kind == "categorical"]
    categorical = categories(frame, known, cluster)
    long = len(schema.period_labels) > 1
    unit = schema.unit if long or schema.unit in frame else None
    time = schema.time if long else None
    panel, found = from_frame(frame, unit, time, columns=schema.names, categorical=categorical)
    raise_all(
        [
            f"column {name!r}: its categories are {list(found[name].levels)}, but the model's "
            f"are {list(schema[name].levels)}"
            for name in schema.names
            if name != cluster and found[name].levels != schema[name].levels
        ]
    )
    columns = tuple(found[name] if name == cluster else schema[name] for name in schema.names)
    return panel, replace(schema, columns=columns)


def schema_for(schema: Schema, periods: int) -> Schema:
    """Return the schema with a label for each period; beyond the data's they go on in its step."""
    labels = schema.period_labels
    if periods > len(labels):
        labels = _continued(labels, periods)
    return replace(schema, period_labels=labels[:periods])


def _continued(labels: Sequence[Any], periods: int) -> tuple[Any, ...]:
    """Continue whole numbers and dates; other labels give way to positions."""
    if all(isinstance(label, int) for label in labels) and len(set(np.diff(labels))) == 1:
        step = labels[1] - labels[0]
        return tuple(labels[0] + step * period for period in range(periods))
    frequency = _frequency(labels)
    if frequency is None:
        return tuple(range(periods))
    later = pd.date_range(labels[0], periods=periods, freq=frequency)
    return tuple(later if isinstance(labels[0], pd.Timestamp) else later.strftime("%Y-%m-%d"))


def _frequency(labels: Sequence[Any]) -> Any:
    """Return the frequency of dates, as they are or as text; None where there is none."""
    if not all(isinstance(label, (str, pd.Timestamp)) for label in labels):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas 3 announces another type, which serves as well
        try:
            return pd.infer_freq(pd.DatetimeIndex(pd.to_datetime(list(labels), format="ISO8601")))
        except (TypeError, ValueError):
            return None
