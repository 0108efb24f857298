"""LAPACK for estimators and generators, without waiting for threads.

On CPUs LAPACK is called for one matrix after another, so that no program waits for XLA's threads.
jaxlib from 0.10 shares out a batch of matrices over XLA's threads, and waits for them on one of
these threads. A program of independent batches, or several programs at once, may wait on all of
them, and then do so forever (decision 0018). A single matrix is factored where it is asked for.
These functions are as in jax.numpy and jax.scipy; under vmap they are loops.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_batching import custom_vmap


def _one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make vmap a loop on CPUs; derivatives, which would lose it, are the function's own."""

    def plain(*arrays: Array) -> Any:
        return function(*arrays)

    def loop(*arrays: Array) -> Any:
        return jax.lax.map(lambda each: looped(*each), arrays)

    looped = custom_vmap(plain)

    @looped.def_vmap
    def _(size: int, batched: list[bool], *arrays: Array) -> tuple[Any, Any]:
        full = [
            array if is_batched else jnp.broadcast_to(array, (size, *array.shape))
            for array, is_batched in zip(arrays, batched, strict=True)
        ]
        found = jax.lax.platform_dependent(*full, cpu=loop, default=jax.vmap(plain))
        return found, jax.tree.map(lambda _: True, found)

    differentiable = jax.custom_jvp(looped)
    differentiable.defjvp(lambda primals, tangents: jax.jvp(plain, primals, tangents))
    return differentiable


def _of_symmetric(function: Callable[..., Any]) -> Callable[[Array], Any]:
    """Average with the transpose before the loop: XLA rounds it there as it does for a batch."""
    factor = _one_by_one(partial(function, symmetrize_input=False))
    return lambda matrix: factor((matrix + matrix.T) / 2.0)


def _cho_solve(factor: Array, right: Array) -> Array:
    return jax.scipy.linalg.cho_solve((factor, True), right)


cholesky = _of_symmetric(jax.lax.linalg.cholesky)
cho_solve = _one_by_one(_cho_solve)  # of a lower factor
_eigh = _of_symmetric(jnp.linalg.eigh)
inv = _one_by_one(jnp.linalg.inv)
qr = _one_by_one(jnp.linalg.qr)
slogdet = _one_by_one(jnp.linalg.slogdet)
solve = _one_by_one(jnp.linalg.solve)
solve_triangular = _one_by_one(jax.scipy.linalg.solve_triangular)  # of an upper one


def eigh(matrix: Array) -> tuple[Array, Array]:
    """Return the eigenvalues of a symmetric matrix, the least first, and its eigenvectors."""
    if len(matrix) == 1:
        return matrix[0], jnp.ones_like(matrix)
    return _eigh(matrix)


def eigvalsh(matrix: Array) -> Array:
    """Return the eigenvalues of a symmetric matrix, the least first."""
    return eigh(matrix)[0]
