"""Fits kept in a folder, each under the hash of its inputs: resuming never trains again.

Entering `model_cache` imports no generator: a run enters it for every study, and most have none.
Model files are opened through the package's door when a fit is made.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from mcsim import generators
from mcsim._core.keys import digest
from mcsim._core.pytree import identity_fields
from mcsim._version import __version__
from mcsim.errors import InputError, ModelFileError, warn
from mcsim.generators._storage.trees import FORMAT, describe_schema
from mcsim.generators._training.trainer import KEEPER, Source, Train


@contextmanager
def model_cache(path: str | Path) -> Iterator[Path]:
    """Keep the fits made inside in a folder, and load a fit that is there instead of training.

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
    token = KEEPER.set(partial(_kept, Path(path)))
    try:
        yield Path(path)
    finally:
        KEEPER.reset(token)


def _kept(
    folder: Path,
    config: Any,
    source: Source,
    keys: Array | Sequence[Array],
    rows: Sequence[np.ndarray | None],
    train: Train,
) -> list[Any]:
    """Return the members' generators: those in the folder, and the others trained and kept."""
    members, common = range(len(keys)), _fingerprint(config, source)
    paths = [folder / f"{_address(common, keys[m], rows[m])}.safetensors" for m in members]
    found = {member: _load(path) for member, path in enumerate(paths)}
    missing = [member for member in members if found[member] is None]
    for member, generator in zip(missing, train(missing) if missing else [], strict=True):
        found[member] = generator
        try:
            generators.save(generator, paths[member])
        except (OSError, InputError) as fault:
            warn(f"model_cache: a fit could not be kept, and will be trained again: {fault}")
    return [generator for generator in found.values() if generator is not None]


def _load(path: Path) -> Any:
    try:
        return generators.load(path) if path.exists() else None
    except ModelFileError:
        return None


def _fingerprint(config: Any, source: Source) -> dict[str, Any]:
    schema, given, columns = source
    data = hashlib.sha256()
    for name in schema.names:
        values = np.ascontiguousarray(columns[name])
        data.update(f"{name} {values.dtype} {values.shape}".encode() + values.tobytes())
    return {
        "config": {type(config).__name__: repr(sorted(identity_fields(config).items()))},
        "schema": describe_schema(schema),
        "given": list(given),
        "data": data.hexdigest(),
        "versions": [FORMAT, __version__, jax.__version__, jax.default_backend()],
    }


def _address(common: dict[str, Any], key: Array, rows: np.ndarray | None) -> str:
    words = np.asarray(jax.random.key_data(key)).tolist()
    chosen = "all" if rows is None else hashlib.sha256(np.asarray(rows).tobytes()).hexdigest()
    return digest({**common, "key": [str(jax.random.key_impl(key)), *words], "rows": chosen})
