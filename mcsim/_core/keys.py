"""Keys: every random number of a study has an address, (seed, cell, stream, replication).

A cell's key is the root folded with two words of the SHA-256 of the cell's canonical values, so
that adding cells, estimators or replications changes nothing drawn before.
"""

import hashlib
import json
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Integer, Key

from mcsim._core import machine  # noqa: F401  keeps programs from the first on: to make a key is one
from mcsim._core.calls import with_remedies
from mcsim._core.design import Design
from mcsim.errors import InputError


class Stream(IntEnum):
    """The purpose of a random number."""

    DGP = 0
    ESTIMATOR = 1
    TRUTH = 2
    GENERATOR = 3


def root_key(seed: int) -> Key[Array, ""]:
    """Return the root key of a seed.

    The bit generator is named, so that a global JAX setting cannot change a study.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise InputError(f"seed: got {seed!r}, expected an integer from 0 to 2**63 - 1")
    return jax.random.key(seed, impl="threefry2x32")


def canonical_value(value: Any) -> str:
    """Return the canonical text of a factor's value: 1 and 1.0 are the same number.

    Examples
    --------
    >>> canonical_value(0.5)
    '0x1.0000000000000p-1'
    >>> canonical_value(1) == canonical_value(1.0)
    True
    """
    if isinstance(value, bool):
        return f"bool:{value}"
    if isinstance(value, str):
        return f"str:{value}"
    if isinstance(value, int) and (value.bit_length() > 1023 or int(float(value)) != value):
        return f"int:{value}"
    return (float(value) + 0.0).hex()  # -0.0 is 0.0


def cell_identity(dgp: str, design: Design) -> dict[str, Any]:
    """Return the name of a cell: its DGP and its factors that are not at their default."""
    factors = {
        name: canonical_value(value)
        for name, value in sorted(design.items())
        if name not in design.defaults
        or canonical_value(design.defaults[name]) != canonical_value(value)
    }
    return {"dgp": dgp, "factors": factors}


def digest(canonical: Mapping[str, Any]) -> str:
    """Return the SHA-256, in hexadecimal, of a JSON-able mapping written canonically."""
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def cell_key(root: Key[Array, ""], dgp: str, design: Design) -> Key[Array, ""]:
    """Return the key of a cell."""
    words = digest(cell_identity(dgp, design))
    key = jax.random.fold_in(root, int(words[:8], 16))
    return jax.random.fold_in(key, int(words[8:16], 16))


def stream_key(cell: Key[Array, ""], stream: Stream) -> Key[Array, ""]:
    """Return the key of one stream of a cell."""
    return jax.random.fold_in(cell, int(stream))


@jax.jit
def replication_keys(stream: Key[Array, ""], reps: Integer[Any, " rep"]) -> Key[Array, " rep"]:
    """Return the keys of these replications of a stream."""
    return jax.vmap(lambda rep: jax.random.fold_in(stream, rep))(jnp.asarray(reps, jnp.uint32))


@with_remedies()
def keys(seed: int, n: int) -> Key[Array, " fit"]:
    """Return keys for n fits of a generator.

    Parameters
    ----------
    seed : int
        Seed.
    n : int
        Number of keys; the first ones do not depend on it.

    Examples
    --------
    >>> len(keys(seed=1, n=5))
    5
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise InputError(f"n: got {n!r}, expected a whole number from 1")
    return replication_keys(stream_key(root_key(seed), Stream.GENERATOR), jnp.arange(n))


def require_key(key: Any, argument: str = "key") -> None:
    """Raise unless the argument is one key."""
    dtype = getattr(key, "dtype", None)
    is_key = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    if not is_key or key.shape != ():
        came = f"keys of shape {key.shape}" if is_key else repr(key)
        raise InputError(f"{argument}: got {came}, expected one key, such as mcsim.key(0)")


@with_remedies()
def key(seed: int) -> Key[Array, ""]:
    """Return one key, for a fit, a draw or a fidelity table.

    Parameters
    ----------
    seed : int
        Seed.

    Examples
    --------
    >>> key(1).shape
    ()
    """
    return keys(seed, 1)[0]
