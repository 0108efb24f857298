"""Least squares and the logit, for few regressors and many small problems at once.

Both solve with a Gram matrix scaled to unit diagonal and factored by Cholesky: the squared pivots
are then 1 - R2 of each column on the columns before it, which separates singular from poor designs.
A few columns are written out in closed form, which under vmap beats a batched LAPACK call several
times over.
"""

from functools import reduce
from operator import add
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcsim._core.numerics import cho_solve, cholesky

COLLINEAR = 1e-10  # 1 - R2 of a column on the others, below which the design is singular
ITERATIONS = 25  # of Newton's method: fixed, so that every replication costs the same
FEW = 6  # columns up to which sums and factors are written out
NEGLIGIBLE = 1e-9  # pivot of a dummy, relative to its diagonal, below which it is redundant
LONGEST = 5.0  # change of a linear predictor in one iteration
CONVERGED = 1e-8  # largest change of a linear predictor in the last iteration


class Inverse(NamedTuple):
    """The inverse of a Gram matrix, and whether it has none."""

    matrix: Float[Array, "regressor regressor"]
    singular: Bool[Array, ""]


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


def products(
    a: Float[Array, "left *cell"], b: Float[Array, "right *cell"]
) -> Float[Array, "left right"]:
    """Return the sums of products of two sets of columns over all cells."""
    if not (len(a) and len(b)):
        return jnp.zeros((len(a), len(b)))
    if max(len(a), len(b)) > FEW:
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
    if not 0 < len(columns) <= FEW or coef.ndim > 2 or not len(coef):
        return jnp.tensordot(coef, columns, axes=1)
    if coef.ndim == 1:
        return reduce(add, (c * column for c, column in zip(coef, columns, strict=True)))
    return jnp.stack([combine(row, columns) for row in coef])


def invert(gram: Float[Array, "regressor regressor"]) -> Inverse:
    """Invert a Gram matrix; NaN and a flag where it is singular."""
    scale = 1.0 / jnp.sqrt(jnp.diagonal(gram))
    scaled = gram * scale[:, None] * scale
    if len(gram) <= FEW:
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


def generalized_inverse(gram: Float[Array, "k k"]) -> Float[Array, "k k"]:
    """Return an inverse of a Gram matrix of dummies on its range, leaving out redundant columns.

    Sweeps column after column (Goodnight 1979) and skips columns that others before explain.
    """

    def sweep(p, a):
        pivot = a[p, p]
        redundant = ~(pivot > NEGLIGIBLE * gram[p, p])
        row = (a[p] / jnp.where(redundant, 1.0, pivot)).at[p].set(1.0 / pivot)
        swept = (a.at[:, p].set(0.0) - a[:, p][:, None] * row).at[p].set(row)
        dropped = a.at[p].set(0.0).at[:, p].set(0.0)
        return jnp.where(redundant, dropped, swept)

    return jax.lax.fori_loop(0, len(gram), sweep, gram)


def least_squares(
    x: Float[Array, "unit regressor"], y: Float[Array, " unit"], weight: Float[Array, " unit"]
) -> LeastSquares:
    """Regress ``y`` on ``x`` with weights; a weight of 0 leaves a unit out.

    One step of iterative refinement gives back the digits that a Gram matrix costs.
    """
    weighted = weight[:, None] * x
    inverse = invert(weighted.T @ x)
    coef = inverse.matrix @ (weighted.T @ y)
    coef = coef + inverse.matrix @ (weighted.T @ (y - x @ coef))
    return LeastSquares(coef, inverse.matrix, y - x @ coef, inverse.singular)


def logit(
    x: Float[Array, "unit regressor"], d: Float[Array, " unit"], weight: Float[Array, " unit"]
) -> Logit:
    """Fit P(d = 1 | x) by Newton's method; column 0 of ``x`` is the intercept.

    The iterations start at the share of ones; a step that moves a linear predictor by more than 5
    is shortened, or a rare treatment would overshoot. Under separation the estimates run away by
    steps that do not shrink, and the flag says not converged.
    """
    share = (weight * d).sum() / weight.sum()
    start = jnp.zeros(x.shape[1]).at[0].set(jnp.log(share / (1.0 - share)))

    def newton(_, state):
        coef, _ = state
        p = jax.nn.sigmoid(x @ coef)
        step = _information(x, p, weight).matrix @ (x.T @ (weight * (d - p)))
        change = jnp.abs(x @ step).max()
        return coef + step * jnp.minimum(1.0, LONGEST / change), change

    coef, change = jax.lax.fori_loop(0, ITERATIONS, newton, (start, jnp.inf))
    predictor = x @ coef
    p = jax.nn.sigmoid(predictor)
    information = _information(x, p, weight)
    return Logit(
        coef=coef,
        predictor=predictor,
        probability=p,
        inverse_information=information.matrix,
        singular=invert((weight[:, None] * x).T @ x).singular,
        converged=(change < CONVERGED) & ~information.singular,
    )


def _information(x, p, weight) -> Inverse:
    return invert((x * (weight * p * (1.0 - p))[:, None]).T @ x)
