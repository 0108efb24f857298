"""The published rule for the weights: Frank-Wolfe, stopped early, small weights set to zero.

Arkhangelsky, Athey, Hirshberg, Imbens & Wager (2021, American Economic Review 111: 4088-4118) go
100 steps, set the weights up to a quarter of the largest to zero, and go on from there, 10,000
steps at most. Where many weights fit equally well, as with many more controls than periods and next
to no ridge, this is not the optimum, and their figures depend on it.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from mcsim.estimators._synthetic._simplex import Weights

BEFORE, STEPS = 100, 10_000  # most steps before and after small weights are set to zero
SMALL = 0.25  # of the largest weight


class _State(NamedTuple):
    """Weights, ``G @ weights``, the objective and its last fall."""

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

    To run out of steps is part of the rule: its weights always count as converged.

    Parameters
    ----------
    gram : array (n, n)
        Positive semidefinite.
    allowed : bool array (n,)
        Who may have a weight.
    least : array ()
        Stop when a step lowers ``w'Gw`` by no more than this.
    start : array (n,)
        Weights to start from.
    """
    first = _descend(gram, allowed, least, start, BEFORE).weights
    large = jnp.where(first > SMALL * jnp.max(first), first, 0.0)
    end = _descend(gram, allowed, least, large / large.sum(), STEPS)
    return Weights(end.weights, jnp.array(True))


def _descend(gram, allowed, least, start, steps: int) -> _State:
    def step(state: _State) -> _State:
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
        return _State(weights, slope, objective, q - objective, state.step + 1)

    slope = gram @ start
    state = _State(start, slope, start @ slope, jnp.array(jnp.inf), jnp.zeros((), jnp.int32))
    return lax.while_loop(
        lambda state: (state.step < steps) & ((state.step < 2) | (state.fall > least)), step, state
    )
