"""Least squares on absorbed columns: coefficients, and their loadings, of which variances are made.

A coefficient is a weighted sum of outcomes; its weights (``loading``) are the residualized
regressor over its sum of squares (Frisch & Waugh 1933, Lovell 1963). Loading times residual is the
influence of a cell, and the robust variances are sums of squares of sums of influences.

The normal equations are solved by Cholesky, or least squares by QR: speed or digits. On the NIST
reference sets (tests/estimators/test_ols.py) Cholesky with one step of refinement loses twice the
digits that the condition of the scaled regressors costs, QR loses them once.

Gram matrices are scaled to unit diagonal before they are inverted (`invert`): the squared pivots
are then 1 - R2 of each column on the columns before it, which separates singular from poor designs.
Sums of products and combinations of a few columns are written out in panels, where XLA fuses them
with the absorption of effects. In a cross-section they are products of matrices, which take a third
to two thirds of the time. Inverses are written out up to the order from which LAPACK is as fast and
compiles sooner.
"""

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mcsim._core.numerics import cho_solve, cholesky, qr, solve_triangular
from mcsim.estimators._linear_model.data import (
    Cells,
    Columns,
    Counts,
    Regression,
    absorb,
    count,
    sums_of_squares,
)
from mcsim.estimators._native import worst

EXPLAINED = 1e-24  # share of a regressor's sum of squares, below which the effects explain it
NEGLIGIBLE = 1e-14  # share of a column's length that others leave, below which QR calls it singular

COLLINEAR = 1e-10  # 1 - R2 of a column on the others, below which the design is singular
FEW_COLUMNS = 6  # of a panel, up to which sums of products and combinations are written out
FEW_REGRESSORS = 3  # up to which an inverse that is needed once is written out


class LinearFit(NamedTuple):
    """Coefficients of some terms of a linear regression.

    Attributes
    ----------
    coef : array (term,)
        The coefficients to report.
    loading : array (term, unit, period)
        Their weights on the outcome: ``coef`` is the sum of loading times outcome.
    residual : array (unit, period)
        Outcome less prediction; 0 where nothing is observed.
    x : array (regressor, unit, period)
        The regressors after absorbing (instrumented ones: their projections).
    inverse : array (regressor, regressor)
        (X'X)^-1 of these regressors.
    weight : array (unit, period) or None
        1 where observed; None where every cell is.
    counts : Counts
    status : int array ()
    """

    coef: Float[Array, " term"]
    loading: Float[Array, "term unit period"]
    residual: Cells
    x: Columns
    inverse: Float[Array, "regressor regressor"]
    weight: Cells | None
    counts: Counts
    status: Int[Array, ""]

    @property
    def influence(self) -> Float[Array, "term unit period"]:
        """The contribution of each cell to the errors of the coefficients."""
        return self.loading * self.residual

    @property
    def observed(self) -> Cells:
        """1 where the cell is observed and 0 elsewhere."""
        return jnp.ones(self.residual.shape) if self.weight is None else self.weight


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


def fit_linear(
    data: Regression,
    effects: tuple[str, ...],
    terms: tuple[int, ...],
    *,
    constant: bool = True,
    solver: str = "cholesky",
) -> LinearFit:
    """Regress the outcome on the regressors and the fixed effects.

    Parameters
    ----------
    data : Regression
    effects : tuple of {"unit", "time"}
        Absorbed; without any, the constant is.
    terms : tuple of int
        Positions of the coefficients to report; the number of regressors is the position of the
        constant, which only a regression without effects has.
    constant : bool
        False, without effects: nothing is absorbed.
    solver : {"cholesky", "qr"}
    """
    x = absorb_all(data.x, effects, data.weight, constant)
    y = absorb_all(data.y[None], effects, data.weight, constant)[0]
    solution = SOLVERS[solver](x, y)
    counts = count(data, len(x), effects, constant)
    coef, loading = _of_terms(terms, solution, data)
    collinear = solution.collinear | explained(data.x, solution.squares)
    return LinearFit(
        coef=coef,
        loading=loading,
        residual=solution.residual,
        x=x,
        inverse=solution.inverse,
        weight=data.weight,
        counts=counts,
        status=worst(data.status, too_few(counts), collinear),
    )


def absorb_all(
    columns: Columns, effects: tuple[str, ...], weight: Cells | None, constant: bool = True
) -> Columns:
    """Absorb effects from each column, one by one, which XLA fuses with their later use."""
    if not constant or not len(columns):
        return columns
    return jnp.stack([absorb(column, effects, weight) for column in columns])


def explained(x: Columns, left: Float[Array, " regressor"]) -> Bool[Array, ""]:
    """Return whether the sums of squares left of some regressors are rounding errors."""
    return (left <= EXPLAINED * sums_of_squares(x)).any()


def parameters(counts: Counts, absorbed: tuple[str, ...] | None = None) -> Float[Array, ""] | int:
    """Return the number of slopes and of levels of ``absorbed`` effects (default: all)."""
    absorbed = counts.effects if absorbed is None else absorbed
    levels = {"unit": counts.units, "time": counts.periods}
    return counts.slopes + counts.constant + sum(levels[effect] - 1 for effect in absorbed)


def too_few(counts: Counts) -> Bool[Array, ""]:
    """Return whether there are no more observations than parameters."""
    return jnp.asarray(counts.observations - parameters(counts) <= 0)


def _of_terms(
    terms: tuple[int, ...], solution: Solution, data: Regression
) -> tuple[Float[Array, " term"], Float[Array, "term unit period"]]:
    """Return coefficients and loadings; the constant is the mean that slopes leave unexplained."""
    n_slopes = len(solution.coef)
    if n_slopes not in terms:
        chosen = jnp.asarray(terms, dtype=int)
        return solution.coef[chosen], combine(solution.root[chosen], solution.basis)
    share = data.observed / data.observed.sum()
    means = products(data.x, share[None])[:, 0]
    slopes = jnp.eye(n_slopes)
    rows = jnp.stack([slopes[term] if term < n_slopes else -means for term in terms])
    of_constant = jnp.asarray([float(term == n_slopes) for term in terms])
    loading = combine(rows @ solution.root, solution.basis)
    return (
        rows @ solution.coef + of_constant * (share * data.y).sum(),
        loading + of_constant[:, None, None] * share,
    )


def by_cholesky(x: Columns, y: Cells) -> Solution:
    """Solve the normal equations; one step of refinement restores the digits lost."""
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
"""The solvers of least squares, by name."""


class Inverse(NamedTuple):
    """The inverse of a Gram matrix, and whether the matrix is singular."""

    matrix: Float[Array, "regressor regressor"]
    singular: Bool[Array, ""]


def products(
    a: Float[Array, "left *cell"], b: Float[Array, "right *cell"]
) -> Float[Array, "left right"]:
    """Return the sums of products of two sets of columns over all cells."""
    if not (len(a) and len(b)):
        return jnp.zeros((len(a), len(b)))
    if max(len(a), len(b)) > FEW_COLUMNS or a.shape[-1] == 1:
        return a.reshape(len(a), -1) @ b.reshape(len(b), -1).T
    # Written out, the columns are fused with their computation and never stored as a stack.
    sums = {}
    for i, j in ((i, j) for i in range(len(a)) for j in range(len(b))):
        sums[i, j] = sums[j, i] if a is b and j < i else (a[i] * b[j]).sum()
    return jnp.stack([jnp.stack([sums[i, j] for j in range(len(b))]) for i in range(len(a))])


def combine(
    coef: Float[Array, "*many column"], columns: Float[Array, "column *cell"]
) -> Float[Array, "..."]:
    """Return linear combinations of columns."""
    few = 0 < len(columns) <= FEW_COLUMNS and columns.shape[-1] > 1
    if not few or coef.ndim > 2 or not len(coef):
        return jnp.tensordot(coef, columns, axes=1)
    if coef.ndim == 1:
        return reduce(add, (c * column for c, column in zip(coef, columns, strict=True)))
    return jnp.stack([combine(row, columns) for row in coef])


def invert(gram: Float[Array, "regressor regressor"], few: int = FEW_REGRESSORS) -> Inverse:
    """Invert a Gram matrix; NaN and a flag where it is singular.

    Up to the order ``few`` the inverse is written out.
    """
    scale = 1.0 / jnp.sqrt(jnp.diagonal(gram))
    scaled = gram * scale[:, None] * scale
    if len(gram) <= few:
        inverse, pivots = _invert_few(scaled)
        singular = ~(pivots.min(initial=1.0) > COLLINEAR)  # NaN counts as singular
        inverse = inverse * scale[:, None] * scale
    else:
        factor = cholesky(scaled)
        singular = ~((jnp.diagonal(factor) ** 2).min() > COLLINEAR)
        inverse = cho_solve(factor, jnp.diag(scale)) * scale[:, None]
    return Inverse(jnp.where(singular, jnp.nan, inverse), singular)


def _invert_few(gram: Float[Array, "k k"]) -> tuple[Float[Array, "k k"], Float[Array, " k"]]:
    """Return the inverse by Gauss-Jordan steps and the pivots, with every step written out."""
    k, a, pivots = len(gram), [list(row) for row in gram], []
    for p in range(k):
        pivot = a[p][p]
        pivots.append(pivot)
        row = [1.0 / pivot if j == p else a[p][j] / pivot for j in range(k)]
        for i in range(k):
            if i != p:
                a[i] = [(0.0 if j == p else a[i][j]) - a[i][p] * row[j] for j in range(k)]
        a[p] = row
    if not k:
        return gram, jnp.ones(0)
    return jnp.stack([jnp.stack(row) for row in a]), jnp.stack(pivots)
