"""Weights on the simplex that minimize a quadratic form: exactly, or by the published rule.

`simplex_weights` finds the point of least norm in a polytope. ``min w'Gw`` over weights that sum to
one has the direction of the solution of the nonnegative least squares
``min w'(G + 11')w / 2 - 1'w``: the sum needs no multiplier. The active set method of Lawson &
Hanson (1974, chapter 23) solves that; its every step is one sweep (Goodnight 1979, American
Statistician 33: 149-158) of a tableau. The set starts empty, so that the inverse stays well
conditioned; a fit takes one to two steps per positive weight, and no LAPACK.

`frank_wolfe_weights` is the rule of Arkhangelsky, Athey, Hirshberg, Imbens & Wager (2021, American
Economic Review 111: 4088-4118): Frank-Wolfe for 100 steps, then weights up to a quarter of the
largest set to zero, then 10,000 steps at most. Where many weights fit equally well, as with many
more controls than periods and next to no ridge, this is not the optimum, and their figures depend
on it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

GAIN = 1e-15  # slope of the objective, relative to its scale, below which no weight enters
GAP = 1e-12  # distance to the optimum, relative to the scale, above which a fit has not converged
SWEEPS = 4  # most per weight

BEFORE, AFTER = 100, 10_000  # most steps before and after small weights are set to zero
SMALL = 0.25  # of the largest weight


class Weights(NamedTuple):
    """Weights that sum to one, and whether they are the optimum."""

    weights: Float[Array, " n"]
    converged: Bool[Array, ""]


class _Tableau(NamedTuple):
    """The tableau of ``[[G, 1], [1', 0]]`` swept on the active set, and a feasible point."""

    tableau: Float[Array, "n_and_1 n_and_1"]
    active: Bool[Array, " n"]
    point: Float[Array, " n"]
    done: Bool[Array, ""]
    sweeps: Int[Array, ""]


def simplex_weights(gram: Float[Array, "n n"], allowed: Bool[Array, " n"]) -> Weights:
    """Return the weights that minimize ``w'Gw``: nonnegative, summing to one, 0 where not allowed.

    Parameters
    ----------
    gram : array (n, n)
        Positive definite on the allowed positions. A ridge of less than 1e-10 of its largest
        diagonal entry is beyond double precision.
    allowed : bool array (n,)
        Positions that may have a weight.

    Returns
    -------
    Weights
        ``converged`` is the certificate that the duality gap ``w'Gw - min(Gw)`` is negligible.
    """
    n = gram.shape[0]
    scale = jnp.max(jnp.where(allowed, jnp.diagonal(gram), 0.0))
    scaled = jnp.where(allowed[:, None] & allowed[None, :], gram / scale + 1.0, 0.0)
    border = allowed.astype(float)
    start = _Tableau(
        tableau=jnp.block([[scaled, border[:, None]], [border[None, :], jnp.zeros((1, 1))]]),
        active=jnp.zeros(n, bool),
        point=jnp.zeros(n),
        done=~(scale > 0),
        sweeps=jnp.zeros((), jnp.int32),
    )
    end = lax.while_loop(
        lambda state: ~state.done & (state.sweeps < SWEEPS * n),
        lambda state: _sweep_once(state, allowed),
        start,
    )
    weights = end.point / end.point.sum()
    slope = gram @ weights
    gap = weights @ slope - jnp.min(jnp.where(allowed, slope, jnp.inf))
    return Weights(weights, gap <= GAP * scale)


def _sweep_once(state: _Tableau, allowed: Bool[Array, " n"]) -> _Tableau:
    """Move to the optimum of the active set and add one weight, or to its boundary and drop one."""
    n = state.point.size
    target = state.tableau[:n, n]  # the active weights; of the others, the gain of a little weight
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
    return _Tableau(
        tableau=_sweep(state.tableau, index, jnp.where(leaves, -1.0, 1.0)),
        active=jnp.where(done, state.active, state.active ^ chosen),
        point=jnp.where(state.active & ~(leaves & chosen), point, 0.0),
        done=done,
        sweeps=state.sweeps + 1,
    )


def _sweep(tableau: jax.Array, index: jax.Array, sign: jax.Array) -> jax.Array:
    """Sweep a symmetric tableau on one index: into the inverse (sign 1) or out of it (-1)."""
    row = tableau[index]
    scaled = row / row[index]
    here = jnp.arange(row.size) == index
    swept = tableau - scaled[:, None] * row[None, :]
    swept = jnp.where(here[:, None], sign * scaled[None, :], swept)
    swept = jnp.where(here[None, :], sign * scaled[:, None], swept)
    return jnp.where(here[:, None] & here[None, :], -1.0 / row[index], swept)


class _Descent(NamedTuple):
    """Weights of a descent, ``G @ weights``, the objective and its last fall."""

    weights: Float[Array, " n"]
    slope: Float[Array, " n"]
    objective: Float[Array, ""]
    fall: Float[Array, ""]
    step: Int[Array, ""]


def frank_wolfe_weights(
    gram: Float[Array, "n n"],
    allowed: Bool[Array, " n"],
    least: Float[Array, ""],
    start: Float[Array, " n"],
) -> Weights:
    """Return the weights of the published rule for ``min w'Gw`` on the simplex.

    A limit of steps is part of the rule: its weights always count as converged.

    Parameters
    ----------
    gram : array (n, n)
        Positive semidefinite.
    allowed : bool array (n,)
        Positions that may have a weight.
    least : array ()
        Stop when a step lowers ``w'Gw`` by no more than this.
    start : array (n,)
        Weights to start from.
    """
    first = _descend(gram, allowed, least, start, BEFORE).weights
    large = jnp.where(first > SMALL * jnp.max(first), first, 0.0)
    end = _descend(gram, allowed, least, large / large.sum(), AFTER)
    return Weights(end.weights, jnp.array(True))


def _descend(gram, allowed, least, start, steps: int) -> _Descent:
    def step(state: _Descent) -> _Descent:
        index = jnp.argmin(jnp.where(allowed, state.slope, jnp.inf))
        row, slope, q = gram[index], state.slope, state.objective
        # Along the line to the vertex: its slope is 2 * down, its curvature 2 * curvature.
        down = slope[index] - q
        curvature = q - 2.0 * slope[index] + row[index]
        ratio = -down / jnp.where(curvature > 0.0, curvature, 1.0)
        length = jnp.where(curvature > 0.0, jnp.clip(ratio, 0.0, 1.0), 0.0)
        weights = state.weights * (1.0 - length) + length * (jnp.arange(row.size) == index)
        slope = slope + length * (row - slope)
        objective = weights @ slope
        return _Descent(weights, slope, objective, q - objective, state.step + 1)

    slope = gram @ start
    state = _Descent(start, slope, start @ slope, jnp.array(jnp.inf), jnp.zeros((), jnp.int32))
    return lax.while_loop(
        lambda state: (state.step < steps) & ((state.step < 2) | (state.fall > least)), step, state
    )
