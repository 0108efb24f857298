"""Models of a cross-section's outcome and treatment: weighted least squares and the logit."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcsim.estimators._linear_model.least_squares import Inverse, invert

ITERATIONS = 25  # of Newton's method, at most
LONGEST = 5.0  # change of a linear predictor in one iteration
CONVERGED = 1e-8  # change of a linear predictor in the last iteration; the error is its square
FEW = 6  # regressors up to which inverses are written out: one in every iteration


class LeastSquares(NamedTuple):
    """A weighted least-squares fit.

    Attributes
    ----------
    coef : array (regressor,)
    inverse_gram : array (regressor, regressor)
        (X'WX)^-1.
    residual : array (unit,)
        Outcome less prediction, for all units.
    singular : bool array ()
    """

    coef: Float[Array, " regressor"]
    inverse_gram: Float[Array, "regressor regressor"]
    residual: Float[Array, " unit"]
    singular: Bool[Array, ""]


class Logit(NamedTuple):
    """A logit fit by maximum likelihood.

    Attributes
    ----------
    coef : array (regressor,)
    predictor, probability : array (unit,)
        X'coef and its logistic transform.
    inverse_information : array (regressor, regressor)
    singular, converged : bool array ()
        Whether the regressors are collinear; whether the last step was negligible.
    """

    coef: Float[Array, " regressor"]
    predictor: Float[Array, " unit"]
    probability: Float[Array, " unit"]
    inverse_information: Float[Array, "regressor regressor"]
    singular: Bool[Array, ""]
    converged: Bool[Array, ""]


def least_squares(
    x: Float[Array, "unit regressor"], y: Float[Array, " unit"], weight: Float[Array, " unit"]
) -> LeastSquares:
    """Regress ``y`` on ``x`` with weights; a weight of 0 leaves a unit out.

    One step of iterative refinement gives back the digits that a Gram matrix costs.
    """
    weighted = weight[:, None] * x
    inverse = invert(weighted.T @ x, FEW)
    coef = inverse.matrix @ (weighted.T @ y)
    coef = coef + inverse.matrix @ (weighted.T @ (y - x @ coef))
    return LeastSquares(coef, inverse.matrix, y - x @ coef, inverse.singular)


def logit(
    x: Float[Array, "unit regressor"], d: Float[Array, " unit"], weight: Float[Array, " unit"]
) -> Logit:
    """Fit P(d = 1 | x) by Newton's method; column 0 of ``x`` is the intercept.

    The iterations start at the share of ones; a step that moves a linear predictor by more than 5
    is shortened, or a rare treatment would overshoot. They end with the first negligible step.
    Under separation the steps do not shrink, the estimates diverge, and ``converged`` is False.
    """
    share = (weight * d).sum() / weight.sum()
    start = jnp.zeros(x.shape[1]).at[0].set(jnp.log(share / (1.0 - share)))

    def goes_on(state):
        iteration, _, change = state
        return (iteration < ITERATIONS) & (change >= CONVERGED)  # NaN, which stays, ends it

    def newton(state):
        iteration, coef, _ = state
        p = jax.nn.sigmoid(x @ coef)
        step = _information(x, p, weight).matrix @ (x.T @ (weight * (d - p)))
        change = jnp.abs(x @ step).max()
        return iteration + 1, coef + step * jnp.minimum(1.0, LONGEST / change), change

    # Under vmap all replications go on until the last has converged; bits do not depend on others.
    _, coef, change = jax.lax.while_loop(goes_on, newton, (0, start, jnp.inf))
    predictor = x @ coef
    p = jax.nn.sigmoid(predictor)
    information = _information(x, p, weight)
    return Logit(
        coef=coef,
        predictor=predictor,
        probability=p,
        inverse_information=information.matrix,
        singular=invert((weight[:, None] * x).T @ x, FEW).singular,
        converged=(change < CONVERGED) & ~information.singular,
    )


def _information(x, p, weight) -> Inverse:
    return invert((x * (weight * p * (1.0 - p))[:, None]).T @ x, FEW)
