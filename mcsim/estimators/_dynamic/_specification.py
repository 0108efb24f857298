"""Tests of a dynamic panel's specification: overidentification and serial correlation.

Sargan (1958), Hansen (1982); Arellano & Bond (1991), equation 8, for errors in differences.
"""

from collections.abc import Mapping

import jax.numpy as jnp
from jax.scipy.special import gammaincc, ndtr
from jaxtyping import Array, Float, Int

from mcsim._core import Estimate
from mcsim.estimators._dynamic._differences import Differences
from mcsim.estimators._dynamic._gmm import Gmm, differenced_errors
from mcsim.estimators._expression import lagged
from mcsim.estimators._fit import statistic

Matrix = Float[Array, "regressor regressor"]


def specification_tests(
    data: Differences, fit: Gmm, covariances: Mapping[str, Matrix], status: Int[Array, ""]
) -> dict[tuple[str, str], Estimate]:
    """Return all tests; those of serial correlation depend on the coefficients' variance."""
    tests = {("sargan" if fit.steps == 1 else "hansen", ""): overidentification(fit, status)}
    for name, covariance in covariances.items():
        homoskedastic = name == "conventional" and fit.steps == 1
        variance = fit.error_variance if homoskedastic else None
        for order in (1, 2):
            value = serial_correlation(data, fit, order, covariance, variance)
            p_value = 2 * ndtr(-jnp.abs(value))
            tests[f"ar({order})", name] = statistic(value, status, p_value=p_value)
    return tests


def overidentification(fit: Gmm, status: Int[Array, ""]) -> Estimate:
    """Test that the moments are zero: chi-square with instruments - coefficients df."""
    step = fit.last
    total = step.moments.sum(axis=0)
    value = total @ step.weighting.matrix @ total / fit.conventional_scale
    df = (fit.first.weighting.rank - len(step.coef)).astype(float)
    p_value = gammaincc(jnp.maximum(df, 1.0) / 2, value / 2)
    return statistic(jnp.where(df > 0, value, jnp.nan), status, p_value=p_value, df=df)


def serial_correlation(
    data: Differences,
    fit: Gmm,
    order: int,
    covariance: Matrix,
    error_variance: Float[Array, ""] | None = None,
) -> Float[Array, ""]:
    """Return the statistic, standard normal if errors do not correlate over ``order`` periods.

    ``covariance`` is that of the coefficients; ``error_variance`` that of errors in levels taken to
    be independent and alike: without it the residuals of each unit stand for them.
    """
    step = fit.last
    e = step.residual
    before = _residuals_before(data, e, order)
    if data.use is not None:
        before = before * data.use
    product = (before * e).sum(axis=1)
    slope = (before * data.x).sum(axis=(1, 2))
    if error_variance is None:
        own = (product**2).sum()
        shared = step.influence.T @ product
    else:
        smooth = before @ differenced_errors(data.calendar)
        own = error_variance * (before * smooth).sum()
        shared = error_variance * step.projection @ data.times_instruments(smooth).sum(axis=0)
    spread = own - 2 * slope @ shared + slope @ covariance @ slope
    return product.sum() / jnp.sqrt(spread)


def _residuals_before(
    data: Differences, residual: Float[Array, "unit equation"], order: int
) -> Float[Array, "unit equation"]:
    """Return the residuals of some periods before; 0 where there is no equation."""
    if data.calendar.consecutive:
        return jnp.pad(residual, ((0, 0), (order, 0)))[:, : residual.shape[1]]
    return jnp.nan_to_num(lagged(residual, order, data.calendar))
