"""Weights of units and periods, and the effect that they give on a block of treated cells.

The block and any draw of its units are weights: shapes stay fixed while the block varies. A
bootstrap draw is a count per unit: the duplicates of a control share its weight, so that the ridge
on it is divided by their number. Draws keep the sample's penalties. A fault of the data gives a
status in place of an exception.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mcsim._core.records import Panel, Status
from mcsim.errors import InputError, raise_all
from mcsim.estimators._expression import evaluate
from mcsim.estimators._formula import TreatmentFormula
from mcsim.estimators._synthetic.simplex import Weights, frank_wolfe_weights, simplex_weights

PRE, ALL = 2, 3  # fewest periods before treatment, and altogether

Solver = Literal["active-set", "aahiw2021"]

NEAR_ZERO = 1e-10  # ridge relative to the scale: chooses the smallest among weights that fit alike
ROUNDING = 1e-22  # ridge relative to the outcome's squares, for Gram matrices of rounding errors
TINY = 1e-200  # ridge where the outcome is constant
PUBLISHED = 1e-6  # near-zero penalty of the published rule, in units of the noise
STOP = 1e-5  # root of the fall of the mean squared error at which that rule stops, likewise


class Block(NamedTuple):
    """Outcomes, the treated and control units, and the periods before and after treatment.

    Attributes
    ----------
    y : array (unit, period)
        Outcome less the mean of the controls in the period, which no estimate depends on.
    treated, control : array (unit,)
        1 where the unit is ever treated, or never.
    pre, post : array (period,)
        1 before and after treatment starts.
    noise : array ()
        Standard deviation of the controls' first differences before treatment.
    status : int array ()
        ``OK``, ``NAN`` or ``INVALID_INPUT``: the fault of the data, if any.
    """

    y: Float[Array, "unit period"]
    treated: Float[Array, " unit"]
    control: Float[Array, " unit"]
    pre: Float[Array, " period"]
    post: Float[Array, " period"]
    noise: Float[Array, ""]
    status: Int[Array, ""]


def block_of(formula: TreatmentFormula, panel: Panel) -> Block:
    """Read the block off a panel.

    Raises
    ------
    InputError
        If the panel is unbalanced or too short: known when the program is traced.
    """
    _check_shape(panel)
    y = evaluate(formula.outcome, panel)
    d = panel[formula.treatment].astype(float)
    treated, post = (d == 1).any(axis=1), (d == 1).any(axis=0)
    on_block = (d == (treated[:, None] & post[None, :])).all()
    lasting = (jnp.diff(post.astype(int)) >= 0).all()
    enough = treated.any() & ~treated.all() & ((~post).sum() >= PRE)
    finite = jnp.isfinite(y).all() & jnp.isfinite(d).all()
    status = jnp.where(on_block & lasting & enough, Status.OK, Status.INVALID_INPUT)
    control = (~treated).astype(float)
    return Block(
        y=y - control @ y / control.sum(),
        treated=treated.astype(float),
        control=control,
        pre=(~post).astype(float),
        post=post.astype(float),
        noise=_noise(y, control, (~post).astype(float)),
        status=jnp.where(finite, status, Status.NAN).astype(jnp.int32),
    )


def _noise(y, control, pre):
    """Return the standard deviation (divisor n - 1) of controls' differences before treatment."""
    change, counted = jnp.diff(y, axis=1), control[:, None] * pre[None, 1:]
    n = counted.sum()
    mean = (counted * change).sum() / n
    return jnp.sqrt((counted * (change - mean) ** 2).sum() / jnp.maximum(n - 1.0, 1.0))


def _check_shape(panel: Panel) -> None:
    faults = []
    if panel.mask is not None:
        faults.append(
            "panel: got an unbalanced panel (it has a mask), expected every unit in every period; "
            "drop the units or periods with gaps from the frame, or fill them"
        )
    if panel.n_periods < ALL or panel.n_units < 2:
        faults.append(
            f"panel: got {panel.n_units} units x {panel.n_periods} periods, expected at least "
            f"2 units and {ALL} periods, {PRE} of them before treatment"
        )
    raise_all(faults, InputError)


@dataclass(frozen=True)
class Weighting:
    """The options in which the synthetic methods differ.

    Attributes
    ----------
    ridge : bool
        Whether unit weights are penalized by ``(N1 T1)^(1/4)`` times the noise, or next to not.
    intercept : bool
        Whether unit weights need to match trends only, or levels too.
    periods : str
        ``"fitted"`` weights of the pre-treatment periods, ``"uniform"``, or ``"none"``.
    """

    ridge: bool
    intercept: bool
    periods: Literal["fitted", "uniform", "none"]


class Effect(NamedTuple):
    """An effect, with its weights and changes.

    Attributes
    ----------
    value : array ()
    units : array (unit,)
        Weights of the controls.
    change : array (unit,)
        Each unit's post-treatment mean less its weighted pre-treatment mean.
    converged : bool array ()
    """

    value: Float[Array, ""]
    units: Float[Array, " unit"]
    change: Float[Array, " unit"]
    converged: Bool[Array, ""]


class Problem(NamedTuple):
    """A block, with the products and the penalty that all draws of its units share.

    Attributes
    ----------
    block : Block
    products : array (unit, unit)
        Inner products of the units' outcomes before treatment.
    penalty : array ()
        Ridge on unit weights per period, in squared units of the outcome; 0 for next to none.
    """

    block: Block
    products: Float[Array, "unit unit"]
    penalty: Float[Array, ""]


def problem_of(block: Block, weighting: Weighting) -> Problem:
    """Return the products and the penalty of a block, for a method."""
    before = block.y * block.pre
    if weighting.intercept:
        before = (before - before.sum(axis=1, keepdims=True) / block.pre.sum()) * block.pre
    cells = block.treated.sum() * block.post.sum()
    penalty = (cells**0.25 * block.noise) ** 2 if weighting.ridge else jnp.zeros(())
    return Problem(block, before @ before.T, penalty)


def effect_of(
    problem: Problem,
    treated: Float[Array, " unit"],
    control: Float[Array, " unit"],
    weighting: Weighting,
    solver: Solver,
) -> Effect:
    """Return the effect for a draw of units.

    Parameters
    ----------
    problem : Problem
        The block.
    treated, control : array (unit,)
        Count of each unit in the draw, as treated and as control.
    weighting, solver
        The method.
    """
    block = problem.block
    treated_mean = treated / treated.sum()
    units = _unit_weights(problem, treated_mean, control, solver)
    periods = _period_weights(block, control, weighting, solver)
    change = block.y @ (block.post / block.post.sum() - periods.weights)
    value = (treated_mean - units.weights) @ change
    return Effect(value, units.weights, change, units.converged & periods.converged)


def _unit_weights(problem: Problem, treated_mean, control, solver: Solver) -> Weights:
    """Return unit weights that match the treated units' mean before treatment."""
    block = problem.block
    with_mean = problem.products @ treated_mean
    gram = problem.products - with_mean[:, None] - with_mean[None, :] + treated_mean @ with_mean
    ridge = block.pre.sum() * problem.penalty / jnp.where(control > 0, control, 1.0)
    return _solve(block, gram, ridge, control, block.pre.sum(), solver)


def _period_weights(block: Block, control, weighting: Weighting, solver: Solver) -> Weights:
    """Return period weights that match the controls' mean after treatment, up to a constant."""
    if weighting.periods == "none":
        return Weights(jnp.zeros_like(block.pre), jnp.array(True))
    if weighting.periods == "uniform":
        return Weights(block.pre / block.pre.sum(), jnp.array(True))
    n = control.sum()
    less_post = block.y - (block.y @ block.post / block.post.sum())[:, None]
    centered = (less_post - control @ less_post / n) * jnp.sqrt(control)[:, None]
    no_ridge = jnp.zeros_like(block.pre)
    return _solve(block, centered.T @ centered, no_ridge, block.pre, n, solver)


def _solve(block: Block, gram, ridge, counts, n, solver: Solver) -> Weights:
    """Return the weights for a Gram matrix of sums over n periods or units, with a ridge."""
    allowed = counts > 0
    if solver == "aahiw2021":
        variance = n * block.noise**2
        published = gram + jnp.diag(jnp.maximum(ridge, PUBLISHED**2 * variance))
        return frank_wolfe_weights(published, allowed, STOP**2 * variance, counts / counts.sum())
    scale = jnp.max(jnp.where(allowed, jnp.diagonal(gram), 0.0))
    least = jnp.maximum(NEAR_ZERO * scale, ROUNDING * (block.y**2).sum() + TINY)
    least = least / jnp.where(allowed, counts, 1.0)
    return simplex_weights(gram + jnp.diag(jnp.maximum(ridge, least)), allowed)
