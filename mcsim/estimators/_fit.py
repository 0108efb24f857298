"""Fits: a value, its variances by name, and a status, as the numerics of estimators return them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mcsim._core.records import Estimate, Status


class Variance(NamedTuple):
    """A variance of an estimate, the degrees of freedom of its t reference, own limits and p-value.

    A method that tests without a standard error leaves the variance NaN and gives a p-value.
    """

    variance: Any
    df: Any = jnp.inf
    lower: Any = jnp.nan
    upper: Any = jnp.nan
    p_value: Any = jnp.nan


class Fit(NamedTuple):
    """An estimate and its variances.

    Attributes
    ----------
    value : array ()
    variances : mapping of str to Variance
        By the name of the variance; NaN where it is not defined.
    status : int array ()
        A `Status`.
    """

    value: Float[Array, ""]
    variances: Mapping[str, Variance]
    status: Int[Array, ""]


def worst(status: Any, invalid: Any, singular: Any, converged: Any = True) -> Int[Array, ""]:
    """Combine statuses and faults; the status of the data comes first, then in the order given."""
    fitted = jnp.where(converged, Status.OK, Status.NONCONVERGED)
    fitted = jnp.where(singular, Status.SINGULAR, fitted)
    return first_status(status, jnp.where(invalid, Status.INVALID_INPUT, fitted))


def first_status(status: Any, other: Any) -> Int[Array, "*many"]:
    """Return the first of two statuses that is not ``OK``, elementwise."""
    return jnp.where(status == Status.OK, other, status).astype(jnp.int32)


def estimates_of(fit: Fit, estimand: str) -> dict[tuple[str, str], Estimate]:
    """Turn a fit into one estimate per variance; after a failure every number is NaN.

    Where the value exists and its variance does not, the value stays: its status is NO_SE.
    """
    return {(estimand, name): _estimate(fit, variance) for name, variance in fit.variances.items()}


def estimates_of_terms(
    names: Sequence[str],
    coef: Float[Array, " term"],
    variances: Mapping[str, Variance],
    status: Int[Array, "*term"],
) -> dict[tuple[str, str], Estimate]:
    """Return an estimate for every term and variance.

    A part of a variance, or a status, that has no axes is common to all terms.
    """
    estimates = {}
    for position, name in enumerate(names):
        of_term = {
            label: Variance(*(_at(part, position) for part in variance))
            for label, variance in variances.items()
        }
        estimates |= estimates_of(Fit(coef[position], of_term, _at(status, position)), name)
    return estimates


def statistic(value: Any, status: Any, *, p_value: Any = jnp.nan, df: Any = jnp.inf) -> Estimate:
    """Return a number without a standard error as an estimate; NaN after a failure.

    A number that is not finite though nothing failed is ``INVALID_INPUT``.
    """
    defined = (jnp.asarray(status) == Status.OK) & jnp.isfinite(value)
    nan = jnp.full((), jnp.nan)
    return Estimate(
        value=jnp.where(defined, value, nan),
        se=nan,
        lower=nan,
        upper=nan,
        df=jnp.where(defined, jnp.asarray(df, dtype=float), nan),
        p_value=jnp.where(defined, p_value, nan),
        status=first_status(status, jnp.where(defined, Status.OK, Status.INVALID_INPUT)),
    )


def _at(part: Any, position: int) -> Any:
    """Return the part of one term; a part without axes is common to all terms."""
    return part[position] if jnp.ndim(part) else part


def _estimate(fit: Fit, variance: Variance) -> Estimate:
    failed = (fit.status != Status.OK) | ~jnp.isfinite(fit.value)
    known = ~failed & jnp.isfinite(variance.variance)
    tested = ~failed & jnp.isfinite(jnp.asarray(variance.p_value))
    nan = jnp.full((), jnp.nan)
    status = jnp.where(failed & (fit.status == Status.OK), Status.NAN, fit.status)
    status = jnp.where(~failed & ~known & ~tested, Status.NO_SE, status)
    return Estimate(
        value=jnp.where(failed, nan, fit.value),
        se=jnp.where(known, jnp.sqrt(jnp.where(known, variance.variance, 0.0)), nan),
        lower=jnp.where(failed, nan, variance.lower),
        upper=jnp.where(failed, nan, variance.upper),
        df=jnp.where(known, jnp.asarray(variance.df, dtype=float), nan),
        p_value=jnp.where(tested, variance.p_value, nan),
        status=status.astype(jnp.int32),
    )
