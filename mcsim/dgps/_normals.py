"""Normals in one call, and the linear maps that turn them into AR(1) paths.

A unit's draws are a row of normals times a matrix that all units share: one product for all units
of all replications, faster than a recursion over periods.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key


def normals(key: Key[Array, ""], *shapes: tuple[int, ...]) -> list[Float[Array, "..."]]:
    """Draw independent standard normals of these shapes in one call, in float32, and cast them."""
    sizes = [math.prod(shape) for shape in shapes]
    drawn = jax.random.normal(key, (sum(sizes),), dtype=jnp.float32).astype(float)
    pieces = jnp.split(drawn, np.cumsum(sizes)[:-1].tolist())
    return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]


def recursion(rho: Any, n_periods: int) -> Float[Array, "innovation period"]:
    """The map from innovations to ``u_t = rho u_{t-1} + e_t``, from ``u_0 = e_0``."""
    lag = np.arange(n_periods) - np.arange(n_periods)[:, None]
    powers = jnp.cumprod(jnp.concatenate([jnp.ones(1), jnp.full(n_periods - 1, rho)]))
    return jnp.where(lag >= 0, powers[np.maximum(lag, 0)], 0.0)


def stationary(rho: Any, n_periods: int) -> Float[Array, "innovation period"]:
    """The map from standard normals to an AR(1) of variance 1 that starts stationary."""
    later = jnp.sqrt(1 - jnp.square(rho))
    scale = jnp.where(np.arange(n_periods) == 0, 1.0, later)
    return scale[:, None] * recursion(rho, n_periods)
