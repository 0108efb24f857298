"""Instrumental variables: two-stage least squares and LIML, as members of the k-class.

With P the projection on the instruments, the k-class solves X'(I - k(I - P))(y - Xb) = 0: k = 1 is
two-stage least squares, the least eigenvalue of a ratio of two quadratic forms is LIML (Anderson &
Rubin 1949, Annals of Mathematical Statistics 20: 46-63).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcsim._core.numerics import cholesky, eigvalsh, inv
from mcsim.estimators._linear_model.data import Cells, Columns, Regression, count, sums_of_squares
from mcsim.estimators._linear_model.least_squares import (
    LinearFit,
    absorb_all,
    combine,
    explained,
    invert,
    parameters,
    products,
    too_few,
)
from mcsim.estimators._native import worst


class Instrumented(NamedTuple):
    """Absorbed data, and the projections of the endogenous regressors on the instruments.

    Attributes
    ----------
    y : array (unit, period)
    x : array (regressor, unit, period)
        Endogenous regressors, then exogenous ones.
    fitted : array (regressor, unit, period)
        Projections of the regressors on the instruments; exogenous regressors stay as they are.
    instruments : array (instrument, unit, period)
        Excluded instruments, then exogenous regressors.
    n_endogenous : int
    singular : bool array ()
        Whether instruments are collinear, or effects explain a column.
    """

    y: Cells
    x: Columns
    fitted: Columns
    instruments: Columns
    n_endogenous: int
    singular: Bool[Array, ""]

    @property
    def endogenous(self) -> Columns:
        """The regressors that have instruments."""
        return self.x[: self.n_endogenous]

    @property
    def exogenous(self) -> Columns:
        """The regressors that are their own instruments."""
        return self.x[self.n_endogenous :]


def instrument(data: Regression, effects: tuple[str, ...], n_endogenous: int) -> Instrumented:
    """Absorb the effects and project the endogenous regressors on the instruments."""
    x = absorb_all(data.x, effects, data.weight)
    z = absorb_all(data.z, effects, data.weight)
    instruments = jnp.concatenate([z, x[n_endogenous:]])
    fitted, collinear = project(x[:n_endogenous], instruments)
    fitted = jnp.concatenate([fitted, x[n_endogenous:]])
    gone = explained(data.x, sums_of_squares(fitted))
    gone |= explained(data.z, sums_of_squares(z))
    y = absorb_all(data.y[None], effects, data.weight)[0]
    return Instrumented(y, x, fitted, instruments, n_endogenous, collinear | gone)


def project(
    columns: Columns, on: Float[Array, "other unit period"]
) -> tuple[Columns, Bool[Array, ""]]:
    """Return projections of columns on others, and whether the others are collinear."""
    if not len(on):
        return jnp.zeros_like(columns), jnp.asarray(False)
    inverse, collinear = invert(products(on, on))
    fitted = combine(products(columns, on) @ inverse, on)
    # As in least squares, one step of refinement.
    return fitted + combine(products(columns - fitted, on) @ inverse, on), collinear


def fit_k_class(
    design: Instrumented,
    data: Regression,
    effects: tuple[str, ...],
    terms: tuple[int, ...],
    kappa: Float[Array, ""] | None = None,
) -> LinearFit:
    """Solve the k-class for a kappa; None stands for 1, two-stage least squares.

    The loadings are those of the projections, as in the robust variances of linearmodels; in LIML
    they weight residuals, not outcomes.
    """
    x, fitted, y = design.x, design.fitted, design.y
    partly = fitted if kappa is None else (1.0 - kappa) * x + kappa * fitted
    inverse, collinear = invert(products(fitted, fitted) if kappa is None else products(partly, x))
    coef = inverse @ products(partly, y[None])[:, 0]
    residual = y - combine(coef, x)
    correction = inverse @ products(partly, residual[None])[:, 0]
    counts = count(data, len(x), effects)
    chosen = jnp.asarray(terms, dtype=int)
    return LinearFit(
        coef=(coef + correction)[chosen],
        loading=combine(inverse[chosen], fitted),
        residual=residual - combine(correction, x),
        x=fitted,
        inverse=inverse,
        weight=data.weight,
        counts=counts,
        status=worst(data.status, too_few(counts), collinear | design.singular),
    )


def liml_kappa(
    design: Instrumented, data: Regression, effects: tuple[str, ...], fuller: float
) -> Float[Array, ""]:
    """Return kappa of LIML, less Fuller's constant over the first stage's degrees of freedom.

    It is NaN, which makes the fit singular, if the residuals of the first stages are collinear.
    """
    columns = jnp.concatenate([design.y[None], design.endogenous])
    short = columns - project(columns, design.exogenous)[0]
    explained_part = project(short, design.instruments)[0]
    rest = short - explained_part
    left = products(rest, rest)
    least = least_eigenvalue(products(short, explained_part), left)
    counts = count(data, len(design.instruments), effects)
    df = jnp.asarray(counts.observations - parameters(counts), dtype=float)
    return jnp.where(invert(left).singular, jnp.nan, 1.0 + least - fuller / df)


def least_eigenvalue(a: Float[Array, "k k"], b: Float[Array, "k k"]) -> Float[Array, ""]:
    """Return the least root of det(a - root b), with b positive definite."""
    if len(a) == 2:
        det_b = b[0, 0] * b[1, 1] - b[0, 1] * b[1, 0]
        trace = (
            a[0, 0] * b[1, 1] + a[1, 1] * b[0, 0] - a[0, 1] * b[1, 0] - a[1, 0] * b[0, 1]
        ) / det_b
        det = (a[0, 0] * a[1, 1] - a[0, 1] * a[1, 0]) / det_b
        return 2.0 * det / (trace + jnp.sqrt(jnp.maximum(trace**2 - 4.0 * det, 0.0)))
    root = cholesky(b)
    inverse = inv(root)
    half = inverse @ a @ inverse.T
    return eigvalsh((half + half.T) / 2.0)[0]
