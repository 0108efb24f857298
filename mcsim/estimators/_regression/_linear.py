"""Least squares on absorbed columns: coefficients, and what their variances are made of.

A coefficient is a weighted sum of outcomes; its weights (``loading``) are the residualized
regressor over its sum of squares (Frisch & Waugh 1933, Lovell 1963). Loading times residual is the
influence of a cell, and the robust variances are sums of squares of sums of influences.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mcsim.estimators._algebra import combine, invert, products
from mcsim.estimators._fit import worst
from mcsim.estimators._regression._data import Cells, Columns, Counts, Regression, count
from mcsim.estimators._regression._within import absorb

EXPLAINED = 1e-24  # sum of squares left of a regressor, below which the effects explain it


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


def fit_linear(data: Regression, effects: tuple[str, ...], terms: tuple[int, ...]) -> LinearFit:
    """Regress the outcome on the regressors and the fixed effects.

    Parameters
    ----------
    data : Regression
    effects : tuple of {"unit", "time"}
        Absorbed; without any, the constant is.
    terms : tuple of int
        Positions of the coefficients that are wanted.
    """
    x = absorb(data.x, effects, data.weight)
    y = absorb(data.y, effects, data.weight)
    gram = products(x, x)
    inverse, collinear = invert(gram)
    coef = inverse @ _sums(x, y)
    residual = y - combine(coef, x)
    # One step of refinement gives back the digits that a Gram matrix costs.
    correction = inverse @ _sums(x, residual)
    wanted = jnp.asarray(terms, dtype=int)
    counts = count(data, len(x), effects)
    return LinearFit(
        coef=(coef + correction)[wanted],
        loading=combine(inverse[wanted], x),
        residual=residual - combine(correction, x),
        x=x,
        inverse=inverse,
        weight=data.weight,
        counts=counts,
        status=worst(
            data.status, too_few(counts), collinear | explained(data.x, jnp.diagonal(gram))
        ),
    )


def explained(x: Columns, left: Float[Array, " regressor"]) -> Bool[Array, ""]:
    """Whether the effects leave nothing but rounding errors of some regressor."""
    total = (x**2).sum(axis=(1, 2))
    return (left <= EXPLAINED * total).any()


def parameters(counts: Counts, absorbed: tuple[str, ...] | None = None) -> Float[Array, ""] | int:
    """Return the number of slopes and of what ``absorbed`` effects (default: all) take."""
    absorbed = counts.effects if absorbed is None else absorbed
    levels = {"unit": counts.units, "time": counts.periods}
    return counts.slopes + 1 + sum(levels[effect] - 1 for effect in absorbed)


def too_few(counts: Counts) -> Bool[Array, ""]:
    """Whether there are no more observations than parameters."""
    return jnp.asarray(counts.observations - parameters(counts) <= 0)


def check_periods(n_periods: int, effects: tuple[str, ...], formula: str) -> None:
    """Unit effects need two periods: known when the program is traced."""
    from mcsim.errors import InputError

    if "unit" in effects and n_periods < 2:
        raise InputError(
            f"formula {formula!r}: unit effects need at least 2 periods, got {n_periods}"
        )


def _sums(x: Columns, y: Cells) -> Float[Array, " regressor"]:
    return products(x, y[None])[:, 0]
