"""Tests of a dynamic panel's specification: overidentification and serial correlation.

Sargan (1958), Hansen (1982); Arellano & Bond (1991), equation 8, for errors in differences.
"""

import jax.numpy as jnp
from jax.scipy.special import gammaincc, ndtr
from jaxtyping import Array, Float

from mcsim._core import Estimate, Status
from mcsim.estimators._dynamic._differences import Differences
from mcsim.estimators._dynamic._gmm import Step, differenced_errors


def overidentification(
    step: Step, variance: Float[Array, ""] | float, instruments: Array, status: Array
) -> Estimate:
    """Test that the moments are zero: chi-square with instruments - coefficients df.

    ``variance`` is what the weights leave out: that of the errors in the first step.
    """
    total = step.moments.sum(axis=0)
    statistic = total @ step.weighting.matrix @ total / variance
    df = (instruments - len(step.coef)).astype(float)
    p_value = gammaincc(jnp.maximum(df, 1.0) / 2, statistic / 2)
    return _estimate(statistic, jnp.where(df > 0, p_value, jnp.nan), df, status)


def serial_correlation(
    data: Differences,
    step: Step,
    order: int,
    variance: Float[Array, "regressor regressor"],
    status: Array,
    alike: Float[Array, ""] | None = None,
) -> Estimate:
    """Test that differenced errors are uncorrelated with those of ``order`` periods before.

    ``variance`` is that of the coefficients; ``alike`` the variance of the errors where they are
    taken to be independent and alike, else the residuals of each unit stand for them.
    """
    e = step.residual
    before = jnp.pad(e, ((0, 0), (order, 0)))[:, : e.shape[1]]
    if data.use is not None:
        before = before * data.use
    product = (before * e).sum(axis=1)
    slope = (before * data.x).sum(axis=(1, 2))
    if alike is None:
        own = (product**2).sum()
        shared = step.influence.T @ product
    else:
        smooth = before @ differenced_errors(e.shape[1])
        own = alike * (before * smooth).sum()
        shared = alike * step.projection @ data.times_instruments(smooth).sum(axis=0)
    spread = own - 2 * slope @ shared + slope @ variance @ slope
    statistic = product.sum() / jnp.sqrt(spread)
    return _estimate(statistic, 2 * ndtr(-jnp.abs(statistic)), jnp.asarray(jnp.inf), status)


def _estimate(statistic: Array, p_value: Array, df: Array, status: Array) -> Estimate:
    """Return a statistic with its p-value; it has no standard error."""
    told = (status == Status.OK) & jnp.isfinite(p_value)
    nan = jnp.full((), jnp.nan)
    undefined = jnp.where(status == Status.OK, Status.INVALID_INPUT, status)
    return Estimate(
        value=jnp.where(told, statistic, nan),
        se=nan,
        lower=nan,
        upper=nan,
        df=jnp.where(told, df, nan),
        p_value=jnp.where(told, p_value, nan),
        status=jnp.where(told, Status.OK, undefined).astype(jnp.int32),
    )
