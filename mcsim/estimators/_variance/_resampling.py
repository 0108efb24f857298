"""What methods that resample share: keys, told apart by names, and when statistics are tied."""

import zlib

import jax
from jaxtyping import Array, Key

from mcsim.errors import InputError

TIE = 1e-9  # relative difference below which two statistics are equal, on any machine
CELLS = 2**14  # numbers of a batch of draws that are held at a time


def key_of(key: Key[Array, ""] | None, name: str) -> Key[Array, ""]:
    """Return the key of one variance; it does not depend on the others that are asked for.

    Raises
    ------
    InputError
        If there is no key.
    """
    if key is None:
        raise InputError(
            f"key: got None, and {name!r} draws random numbers; expected a key, such as "
            "mcsim.key(0), as the first argument of the estimator"
        )
    return jax.random.fold_in(key, zlib.crc32(name.encode()))
