"""Fits are kept in a folder by the hash of all that decides them: resuming never trains again."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jaxtyping import Array

from mcsim._escapes import warn
from mcsim._keys import digest
from mcsim._schema import Schema
from mcsim._version import __version__
from mcsim.errors import InputError, ModelFileError
from mcsim.generators._storage._files import FORMAT, describe_schema, load, save

T = TypeVar("T")

_folder: ContextVar[Path | None] = ContextVar("model_cache", default=None)


@contextmanager
def model_cache(path: str | Path) -> Iterator[Path]:
    """Keep the fits made inside in a folder, and load instead of training where one is there.

    A fit is found again if the data, configuration, schema, given columns, key, training rows and
    the versions of mcsim and JAX are the same. A file that cannot be read is trained anew.

    Parameters
    ----------
    path : str or Path
        The folder; made when the first fit is kept.

    Examples
    --------
    >>> import tempfile
    >>> with model_cache(tempfile.mkdtemp()) as folder:
    ...     pass  # every fit in here is kept
    """
    token = _folder.set(Path(path))
    try:
        yield Path(path)
    finally:
        _folder.reset(token)


def cached(
    config: Any,
    schema: Schema,
    given: tuple[str, ...],
    columns: Mapping[str, np.ndarray],
    keys: Array,
    rows: Sequence[np.ndarray | None],
    train: Callable[[list[int]], list[T]],
) -> list[T]:
    """Return the members' generators: those in the folder, and the others trained and kept."""
    folder, members = _folder.get(), range(len(keys))
    if folder is None:
        return train(list(members))
    common = _fingerprint(config, schema, given, columns)
    paths = [folder / f"{_address(common, keys[m], rows[m])}.safetensors" for m in members]
    found = {member: _load(path) for member, path in enumerate(paths)}
    missing = [member for member in members if found[member] is None]
    for member, generator in zip(missing, train(missing) if missing else [], strict=True):
        found[member] = generator
        try:
            save(generator, paths[member])
        except (OSError, InputError) as fault:
            warn(f"model_cache: a fit could not be kept, and will be trained again: {fault}")
    return [generator for generator in found.values() if generator is not None]


def _load(path: Path) -> Any:
    try:
        return load(path) if path.exists() else None
    except ModelFileError:
        return None


def _fingerprint(config, schema, given, columns) -> dict[str, Any]:
    data = hashlib.sha256()
    for name in schema.names:
        values = np.ascontiguousarray(columns[name])
        data.update(f"{name} {values.dtype} {values.shape}".encode() + values.tobytes())
    return {
        "config": {type(config).__name__: repr(sorted(asdict(config).items()))},
        "schema": describe_schema(schema),
        "given": list(given),
        "data": data.hexdigest(),
        "versions": [FORMAT, __version__, jax.__version__, jax.default_backend()],
    }


def _address(common: dict[str, Any], key: Array, rows: np.ndarray | None) -> str:
    words = np.asarray(jax.random.key_data(key)).tolist()
    chosen = "all" if rows is None else hashlib.sha256(np.asarray(rows).tobytes()).hexdigest()
    return digest({**common, "key": [str(jax.random.key_impl(key)), *words], "rows": chosen})
