"""Linear GMM on differenced equations: one step, two steps, variances, tests of specification.

Everything is written with the moments of each unit, g = Z'e: a sandwich is a sum of squares of
projected moments, and Windmeijer's correction (2005, equation 3.2) needs no three-way array. The
tests are of overidentification (Sargan 1958, Hansen 1982) and of serial correlation (Arellano &
Bond 1991, equation 8), for errors in differences.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaincc, ndtr
from jaxtyping import Array, Bool, Float, Int

from mcsim._core.numerics import eigh
from mcsim._core.records import Calendar, Estimate
from mcsim.estimators._dynamic.differences import Differences
from mcsim.estimators._expression import lagged
from mcsim.estimators._linear_model.data import generalized_inverse
from mcsim.estimators._linear_model.least_squares import combine, invert
from mcsim.estimators._native import statistic

NEGLIGIBLE = 1e-12  # eigenvalue relative to the largest, below which a direction has no weight

Matrix = Float[Array, "regressor regressor"]


class Weighting(NamedTuple):
    """A weighting matrix and the number of moments it weights, redundant ones not counted."""

    matrix: Float[Array, "instrument instrument"]
    rank: Int[Array, ""]


class Cross(NamedTuple):
    """Z'X and Z'y, summed over units; X of every unit apart, for Windmeijer's correction."""

    x_of_unit: Float[Array, "regressor unit instrument"]
    x: Float[Array, "instrument regressor"]
    y: Float[Array, " instrument"]


class Step(NamedTuple):
    """A GMM estimate.

    Attributes
    ----------
    coef : array (regressor,)
    bread : array (regressor, regressor)
        (X'Z W Z'X)^-1.
    projection : array (regressor, instrument)
        From moments to errors of the coefficients.
    residual : array (unit, equation)
    moments : array (unit, instrument)
        Z'e of every unit.
    weighting : Weighting
    singular : bool array ()
    """

    coef: Float[Array, " regressor"]
    bread: Float[Array, "regressor regressor"]
    projection: Float[Array, "regressor instrument"]
    residual: Float[Array, "unit equation"]
    moments: Float[Array, "unit instrument"]
    weighting: Weighting
    singular: Bool[Array, ""]

    @property
    def influence(self) -> Float[Array, "unit regressor"]:
        """The contribution of each unit to the errors of the coefficients."""
        return self.moments @ self.projection.T

    @property
    def sandwich(self) -> Float[Array, "regressor regressor"]:
        """The variance clustered by unit, for weights that are known."""
        return self.influence.T @ self.influence


class Gmm(NamedTuple):
    """A one-step estimate, or a two-step one and the first step that its weights come from.

    Attributes
    ----------
    steps : int
    first, last : Step
        The same in one step.
    cross : Cross
    error_variance : array ()
        Of the errors in levels, if they are independent and alike, by the first step.
    """

    steps: int
    first: Step
    last: Step
    cross: Cross
    error_variance: Float[Array, ""]

    def covariance(self, name: str) -> Float[Array, "regressor regressor"]:
        """Return the variance of this name of the coefficients."""
        if name == "robust":
            return self.first.sandwich
        if name == "windmeijer":
            return windmeijer(self.first, self.last, self.cross)
        return self.last.bread * self.conventional_scale

    @property
    def conventional_scale(self) -> Float[Array, ""] | float:
        """The scale that the last step's weights leave out: the errors' variance in one step."""
        return self.error_variance if self.steps == 1 else 1.0


def gmm(data: Differences, steps: int) -> Gmm:
    """Estimate in one step or two."""
    cross = cross_products(data)
    first = first_step(data, cross)
    last = first if steps == 1 else second_step(data, cross, first)
    return Gmm(steps, first, last, cross, error_variance(data, first))


def differenced_errors(equations: Calendar) -> Float[np.ndarray, "equation equation"]:
    """Return the covariance of first differences of independent errors, H.

    It is 2 on the diagonal, and -1 for two differences that follow one another.
    """
    distance = np.abs(np.subtract.outer(equations.places, equations.places))
    return 2.0 * (distance == 0) - (distance == 1)


def cross_products(data: Differences) -> Cross:
    """Return the products of instruments with regressors and outcome."""
    x_of_unit = data.times_instruments(data.x)
    return Cross(x_of_unit, x_of_unit.sum(axis=1).T, data.times_instruments(data.y).sum(axis=0))


def first_step(data: Differences, cross: Cross) -> Step:
    """Weight by the covariance of the moments under iid errors in levels."""
    covariance = data.cross_instruments(differenced_errors(data.calendar))
    return _solve(data, cross, covariance)


def second_step(data: Differences, cross: Cross, first: Step) -> Step:
    """Weight by the covariance of the moments at the first step's residuals."""
    return _solve(data, cross, first.moments.T @ first.moments)


def error_variance(data: Differences, step: Step) -> Float[Array, ""]:
    """Return the variance of the errors in levels, half that of their differences."""
    return (step.residual**2).sum() / (2 * (n_equations(data) - len(data.x)))


def windmeijer(first: Step, second: Step, cross: Cross) -> Float[Array, "regressor regressor"]:
    """Return the two-step variance, corrected for the first step's error in the weights."""
    weighted = second.weighting.matrix @ second.moments.sum(axis=0)
    at_moments = first.moments @ weighted
    at_regressors = cross.x_of_unit @ weighted
    derivative = at_regressors @ first.moments + jnp.einsum(
        "i,kil->kl", at_moments, cross.x_of_unit
    )
    slope = second.projection @ derivative.T
    crossed = slope @ second.bread
    return second.bread + crossed + crossed.T + slope @ first.sandwich @ slope.T


def n_equations(data: Differences) -> Float[Array, ""] | int:
    """Return the number of equations that are used, over all units."""
    return data.y.size if data.use is None else data.use.sum()


def too_few(data: Differences) -> Bool[Array, ""]:
    """Return whether there are no more equations than coefficients, or a single unit."""
    units = len(data.y) if data.use is None else data.use.any(axis=1).sum()
    return jnp.asarray((n_equations(data) <= len(data.x)) | (units < 2))


def _solve(data: Differences, cross: Cross, covariance: Array) -> Step:
    weighting = _weighting(covariance, data)
    weighted = cross.x.T @ weighting.matrix
    bread = invert(weighted @ cross.x + _unidentified(data))
    projection = bread.matrix @ weighted
    coef = projection @ cross.y
    residual = data.y - combine(coef, data.x)
    # One step of refinement gives back the digits that the weighting matrix costs.
    correction = projection @ data.times_instruments(residual).sum(axis=0)
    residual = residual - combine(correction, data.x)
    return Step(
        coef=coef + correction,
        bread=bread.matrix,
        projection=projection,
        residual=residual,
        moments=data.times_instruments(residual),
        weighting=weighting,
        singular=bread.singular,
    )


def _unidentified(data: Differences) -> Float[Array, "regressor regressor"] | float:
    """Return 1 on the diagonal for dummies of periods without observed units: coefficients of 0."""
    if data.use is None or len(data.x) == data.n_slopes:
        return 0.0
    empty = data.use.sum(axis=0) == 0
    return jnp.diag(jnp.concatenate([jnp.zeros(data.n_slopes), empty]))


def _weighting(covariance: Float[Array, "instrument instrument"], data: Differences) -> Weighting:
    """Invert the moments' covariance in correlation form, so that units do not matter.

    It is singular where instruments are redundant; leaving them out changes no estimate. With more
    instruments than units (or gaps, which may make it so) the choice of the generalized inverse
    matters: it is that of Moore & Penrose.
    """
    scale = jnp.sqrt(jnp.diagonal(covariance))
    scale = 1.0 / jnp.where(scale > 0, scale, 1.0)
    correlation = covariance * scale[:, None] * scale
    if data.use is None and len(data.y) >= len(covariance):
        inverse = generalized_inverse(correlation)
        rank = (jnp.diagonal(inverse) != 0).sum()
    else:
        size, direction = eigh(correlation)
        kept = size > NEGLIGIBLE * size[-1]
        inverse = (direction * jnp.where(kept, 1.0 / size, 0.0)) @ direction.T
        rank = kept.sum()
    return Weighting(inverse * scale[:, None] * scale, rank)


def specification_tests(
    data: Differences, fit: Gmm, covariances: Mapping[str, Matrix], status: Int[Array, ""]
) -> dict[tuple[str, str], Estimate]:
    """Return all tests; serial correlation has one for each variance of the coefficients."""
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

    ``covariance`` is of the coefficients; ``error_variance`` of errors in levels, if independent
    and alike: without it the residuals of each unit replace the errors.
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
