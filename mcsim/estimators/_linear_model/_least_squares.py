"""Least squares on absorbed columns: coefficients, and what their variances are made of.

A coefficient is a weighted sum of outcomes; its weights (``loading``) are the residualized
regressor over its sum of squares (Frisch & Waugh 1933, Lovell 1963). Loading times residual is the
influence of a cell, and the robust variances are sums of squares of sums of influences.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mcsim.estimators._algebra import combine, products
from mcsim.estimators._fit import worst
from mcsim.estimators._linear_model._data import (
    Cells,
    Columns,
    Counts,
    Regression,
    count,
    sums_of_squares,
)
from mcsim.estimators._linear_model._solve import SOLVERS, Solution
from mcsim.estimators._linear_model._within import absorb

EXPLAINED = 1e-24  # share of a regressor's sum of squares, below which the effects explain it


class LinearFit(NamedTuple):
    """Coefficients of some terms of a linear regression.

    Attributes
    ----------
    coef : array (term,)
        The coefficients that were asked for.
    loading : array (term, unit, period)
        Their weights on the outcome: ``coef`` is the sum of loading times outcome.
    residual : array (unit, period)
        Outcome less prediction; 0 where nothing is observed.
    x : array (regressor, unit, period)
        The regressors after absorbing (instrumented ones: their projections).
    inverse : array (regressor, regressor)
        (X'X)^-1 of those.
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
        """What each cell contributes to the errors of the coefficients."""
        return self.loading * self.residual

    @property
    def observed(self) -> Cells:
        """1 where the cell is observed and 0 elsewhere."""
        return jnp.ones(self.residual.shape) if self.weight is None else self.weight


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
        Positions of the coefficients that are wanted; the number of regressors is the position of
        the constant, which only a regression without effects has.
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
    """Absorb effects from each column; one by one, which XLA fuses with what uses them."""
    if not constant or not len(columns):
        return columns
    return jnp.stack([absorb(column, effects, weight) for column in columns])


def explained(x: Columns, left: Float[Array, " regressor"]) -> Bool[Array, ""]:
    """Whether the sums of squares left of some regressors are nothing but rounding errors."""
    return (left <= EXPLAINED * sums_of_squares(x)).any()


def parameters(counts: Counts, absorbed: tuple[str, ...] | None = None) -> Float[Array, ""] | int:
    """Return the number of slopes and of what ``absorbed`` effects (default: all) take."""
    absorbed = counts.effects if absorbed is None else absorbed
    levels = {"unit": counts.units, "time": counts.periods}
    return counts.slopes + counts.constant + sum(levels[effect] - 1 for effect in absorbed)


def too_few(counts: Counts) -> Bool[Array, ""]:
    """Whether there are no more observations than parameters."""
    return jnp.asarray(counts.observations - parameters(counts) <= 0)


def _of_terms(
    terms: tuple[int, ...], solution: Solution, data: Regression
) -> tuple[Float[Array, " term"], Float[Array, "term unit period"]]:
    """Pick coefficients and loadings; the constant is what the means leave unexplained."""
    n_slopes = len(solution.coef)
    if n_slopes not in terms:
        wanted = jnp.asarray(terms, dtype=int)
        return solution.coef[wanted], combine(solution.root[wanted], solution.basis)
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
