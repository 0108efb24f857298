"""The point of least norm in a polytope: exact weights on the simplex, many problems at once.

``min w'Gw`` over weights that sum to one has the direction of the solution of the nonnegative least
squares ``min w'(G + 11')w / 2 - 1'w``: the sum needs no multiplier. That is solved by the active
set method of Lawson & Hanson (1974, chapter 23), whose every step is one sweep (Goodnight 1979,
American Statistician 33: 149-158) of a tableau. The set grows from nothing, so that what is
inverted stays well conditioned; a fit takes one to two steps per positive weight, and no LAPACK.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

GAIN = 1e-15  # slope of the objective, relative to its scale, below which no weight enters
GAP = 1e-12  # distance to the optimum, relative to the scale, above which a fit has not converged
STEPS = 4  # most steps per weight


class Weights(NamedTuple):
    """Weights that sum to one, and whether they are the optimum."""

    weights: Float[Array, " n"]
    converged: Bool[Array, ""]


class _State(NamedTuple):
    """The tableau of ``[[G, 1], [1', 0]]`` swept on the active set, and a feasible point."""

    tableau: Float[Array, "n_and_1 n_and_1"]
    active: Bool[Array, " n"]
    point: Float[Array, " n"]
    done: Bool[Array, ""]
    step: Int[Array, ""]


def simplex_weights(gram: Float[Array, "n n"], allowed: Bool[Array, " n"]) -> Weights:
    """Return the weights that minimize ``w'Gw``: nonnegative, summing to one, 0 where not allowed.

    Parameters
    ----------
    gram : array (n, n)
        Positive definite on what is allowed. A ridge of less than 1e-10 of its largest diagonal
        entry is beyond what double precision resolves.
    allowed : bool array (n,)
        Who may have a weight.

    Returns
    -------
    Weights
        ``converged`` is the certificate that the duality gap ``w'Gw - min(Gw)`` is negligible.
    """
    n = gram.shape[0]
    scale = jnp.max(jnp.where(allowed, jnp.diagonal(gram), 0.0))
    scaled = jnp.where(allowed[:, None] & allowed[None, :], gram / scale + 1.0, 0.0)
    border = allowed.astype(float)
    start = _State(
        tableau=jnp.block([[scaled, border[:, None]], [border[None, :], jnp.zeros((1, 1))]]),
        active=jnp.zeros(n, bool),
        point=jnp.zeros(n),
        done=~(scale > 0),
        step=jnp.zeros((), jnp.int32),
    )
    end = lax.while_loop(
        lambda state: ~state.done & (state.step < STEPS * n),
        lambda state: _step(state, allowed),
        start,
    )
    weights = end.point / end.point.sum()
    slope = gram @ weights
    gap = weights @ slope - jnp.min(jnp.where(allowed, slope, jnp.inf))
    return Weights(weights, gap <= GAP * scale)


def _step(state: _State, allowed: Bool[Array, " n"]) -> _State:
    """Go to the optimum of the active set and let one in, or to its boundary and let one out."""
    n = state.point.size
    target = state.tableau[:n, n]  # of the active; of the others, what a little weight gains
    blocked = state.active & (target <= 0.0)
    leaves = blocked.any()
    share = state.point / jnp.where(blocked, state.point - target, 1.0)
    share = jnp.where(blocked, share, jnp.inf)
    gain = jnp.where(allowed & ~state.active, target, -jnp.inf)
    index = jnp.where(leaves, jnp.argmin(share), jnp.argmax(gain))
    chosen = jnp.arange(n) == index
    length = jnp.where(leaves, jnp.min(share), 1.0)
    point = state.point + length * (target - state.point)
    done = ~leaves & ~(jnp.max(gain) > GAIN)
    return _State(
        tableau=_sweep(state.tableau, index, jnp.where(leaves, -1.0, 1.0)),
        active=jnp.where(done, state.active, state.active ^ chosen),
        point=jnp.where(state.active & ~(leaves & chosen), point, 0.0),
        done=done,
        step=state.step + 1,
    )


def _sweep(tableau: jax.Array, index: jax.Array, sign: jax.Array) -> jax.Array:
    """Sweep a symmetric tableau on one index: sign 1 takes it into the inverse, -1 out of it."""
    row = tableau[index]
    scaled = row / row[index]
    here = jnp.arange(row.size) == index
    swept = tableau - scaled[:, None] * row[None, :]
    swept = jnp.where(here[:, None], sign * scaled[None, :], swept)
    swept = jnp.where(here[None, :], sign * scaled[:, None], swept)
    return jnp.where(here[:, None] & here[None, :], -1.0 / row[index], swept)
