"""Normal equations by Cholesky, or least squares by QR: speed or digits.

Digits on the NIST reference sets (tests/test_regressions.py): Cholesky with one step of refinement
loses twice the digits that the condition of the scaled regressors costs, QR loses them once.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcsim._lapack import qr, solve_triangular
from mcsim.estimators._algebra import combine, invert, products
from mcsim.estimators._linear_model._data import Cells, Columns

NEGLIGIBLE = 1e-14  # share of a column's length that others leave, below which QR calls it singular


class Solution(NamedTuple):
    """A least-squares solution.

    Attributes
    ----------
    coef : array (regressor,)
    residual : array (unit, period)
    squares : array (regressor,)
        Sums of squares of the regressors.
    inverse : array (regressor, regressor)
        (X'X)^-1.
    root, basis : array (regressor, column), array (column, unit, period)
        Their product is (X'X)^-1 X', the weights of the coefficients on the outcome.
    collinear : bool array ()
    """

    coef: Float[Array, " regressor"]
    residual: Cells
    squares: Float[Array, " regressor"]
    inverse: Float[Array, "regressor regressor"]
    root: Float[Array, "regressor column"]
    basis: Columns
    collinear: Bool[Array, ""]


def by_cholesky(x: Columns, y: Cells) -> Solution:
    """Solve the normal equations; one step of refinement gives back digits that they cost."""
    gram = products(x, x)
    inverse, collinear = invert(gram)
    coef = inverse @ products(x, y[None])[:, 0]
    residual = y - combine(coef, x)
    correction = inverse @ products(x, residual[None])[:, 0]
    residual = residual - combine(correction, x)
    return Solution(
        coef=coef + correction,
        residual=residual,
        squares=jnp.diagonal(gram),
        inverse=inverse,
        root=inverse,
        basis=x,
        collinear=collinear,
    )


def by_qr(x: Columns, y: Cells) -> Solution:
    """Factor the columns, scaled to unit length, into orthogonal ones and a triangle."""
    columns, outcome = x.reshape(len(x), y.size), y.reshape(-1)
    missing = max(0, len(x) - y.size)  # cells, for the triangle to be square
    length = jnp.sqrt((columns**2).sum(axis=1))
    q, r = qr(jnp.pad(columns / length[:, None], ((0, 0), (0, missing))).T)
    q = q[: y.size]
    collinear = ~(jnp.abs(jnp.diagonal(r)).min(initial=1.0) > NEGLIGIBLE)  # NaN is collinear
    root = solve_triangular(r, jnp.eye(len(x))) / length[:, None]
    root = jnp.where(collinear, jnp.nan, root)
    coef = solve_triangular(r, q.T @ outcome) / length
    residual = outcome - q @ (q.T @ outcome)
    return Solution(
        coef=jnp.where(collinear, jnp.nan, coef),
        residual=residual.reshape(y.shape),
        squares=length**2,
        inverse=root @ root.T,
        root=root,
        basis=q.T.reshape(x.shape),
        collinear=collinear,
    )


SOLVERS: dict[str, Callable[[Columns, Cells], Solution]] = {
    "cholesky": by_cholesky,
    "qr": by_qr,
}
"""How least squares are solved, by name."""
