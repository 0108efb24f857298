"""Two groups, two periods: the effect on the treated from changes of the outcome.

Regression among the controls, odds weighting (Hajek), and both: Sant'Anna & Zhao (2020), Journal of
Econometrics 219: 101-122.
"""

from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mcsim._core import Status
from mcsim.estimators._algebra import least_squares, logit
from mcsim.estimators._fit import worst

Method = Literal["dr", "reg", "ipw"]
Weights = Float[Array, " unit"]


class Effect(NamedTuple):
    """The effect on one group in one period.

    Attributes
    ----------
    value : array ()
        0 where the group or its controls are empty.
    influence : array (unit,)
        What each unit adds to the effect's error.
    present : bool array ()
        Whether there are treated units and controls.
    status : int array ()
    """

    value: Float[Array, ""]
    influence: Float[Array, " unit"]
    present: Bool[Array, ""]
    status: Int[Array, ""]


def effect_on_treated(
    change: Weights,
    treated: Weights,
    control: Weights,
    x: Float[Array, "unit covariate"],
    method: Method,
) -> Effect:
    """Estimate the effect on the treated.

    Parameters
    ----------
    change : array (unit,)
        The outcome less that of the base period.
    treated, control : array (unit,)
        1 for members of the group, 0 for others; a unit may be in neither.
    x : array (unit, covariate)
        Covariates, column 0 the constant.
    method : {"dr", "reg", "ipw"}
    """
    present = (treated.sum() > 0) & (control.sum() > 0)
    share = treated / jnp.maximum(treated.sum(), 1.0)
    value, influence, singular, converged = _adjusted(change, treated, control, share, x, method)
    status = jnp.where(present, worst(Status.OK, False, singular, converged), Status.OK)
    fine = present & (status == Status.OK)
    value, influence = jnp.where(fine, value, 0.0), jnp.where(fine, influence, 0.0)
    return Effect(value, influence, present, status.astype(jnp.int32))


def _adjusted(change, treated, control, share, x, method):
    """Value, influence, and whether the models are singular or converged."""
    singular, converged = jnp.asarray(False), jnp.asarray(True)
    rest, by_regression = change, jnp.zeros_like(x)
    if method != "ipw":
        fit = least_squares(x, change, control)
        rest, singular = fit.residual, fit.singular
        by_regression = ((control * rest)[:, None] * x) @ fit.inverse_gram
    mean = share @ rest
    influence = share * (rest - mean) - by_regression @ (share @ x)
    if method == "reg":
        return mean, influence, singular, converged
    model = logit(x, treated, treated + control)
    odds = control * jnp.exp(model.predictor)
    weight = odds / odds.sum()
    controls_mean = weight @ rest
    score = ((treated + control) * (treated - model.probability))[:, None] * x
    by_odds = score @ model.inverse_information @ ((weight * (rest - controls_mean)) @ x)
    of_controls = weight * (rest - controls_mean) + by_odds - by_regression @ (weight @ x)
    return mean - controls_mean, influence - of_controls, singular | model.singular, model.converged


def standardize(x: Float[Array, "covariate unit period"]) -> Float[Array, "covariate unit period"]:
    """Center and scale covariates: nothing depends on it but the digits of the logit."""
    centered = x - x.mean(axis=(1, 2), keepdims=True)
    spread = jnp.sqrt((centered**2).mean(axis=(1, 2), keepdims=True))
    return centered / jnp.where(spread > 0, spread, 1.0)
