"""Float64 for estimation: importing this file switches it on, unless the user decided otherwise.

The environment variable ``JAX_ENABLE_X64`` is the user's decision; studies check it loudly.
"""

import os

import jax

from mcsim.errors import InputError

if "JAX_ENABLE_X64" not in os.environ:
    jax.config.update("jax_enable_x64", True)


def require_float64(task: str) -> None:
    """Raise if JAX computes in 32 bits: estimates would lose their digits silently.

    Examples
    --------
    >>> require_float64("estimate")
    """
    if not jax.config.read("jax_enable_x64"):
        raise InputError(
            f"{task}: JAX runs in float32, estimation needs float64; unset JAX_ENABLE_X64, or call "
            'jax.config.update("jax_enable_x64", True) before the first array'
        )
