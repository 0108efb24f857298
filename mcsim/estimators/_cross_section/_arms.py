"""The two arms of a cross-section, as weights: shapes stay fixed while their sizes vary.

What is wrong with the data is data too: a status in place of an exception.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mcsim._core import Estimate, Panel, Status
from mcsim.errors import InputError
from mcsim.estimators._expression import design_matrix, evaluate
from mcsim.estimators._fit import Fit, estimates_of
from mcsim.estimators._formula import TreatmentFormula
from mcsim.estimators._native import Numerics

CONSTANT = 1e-12  # a column whose sd is below this share of its mean is rounding error


class Arms(NamedTuple):
    """Outcome, arms and covariates of a cross-section.

    Attributes
    ----------
    y : array (unit,)
        Outcome.
    treated, control : array (unit,)
        1 where the unit is treated, or a control; both 0 where it is not observed.
    x : array (unit, covariate)
        Covariates, centered and scaled to unit standard deviation; 0 where a column is constant.
    status : int array ()
        ``OK``, ``NAN`` or ``INVALID_INPUT``: what the data allow.
    """

    y: Float[Array, " unit"]
    treated: Float[Array, " unit"]
    control: Float[Array, " unit"]
    x: Float[Array, "unit covariate"]
    status: Int[Array, ""]

    @property
    def n_treated(self) -> Float[Array, ""]:
        """Number of treated units."""
        return self.treated.sum()

    @property
    def n_control(self) -> Float[Array, ""]:
        """Number of controls."""
        return self.control.sum()

    @property
    def regressors(self) -> Float[Array, "unit regressor"]:
        """An intercept and the covariates."""
        return jnp.column_stack([jnp.ones_like(self.y), self.x])


def on_arms(fit: Callable[..., Fit]) -> Numerics:
    """Lift ``fit(arms, vcov, **options)`` to the numerics of an estimator of the ATT."""

    @wraps(fit)
    def numerics(
        _key: Any, panel: Panel, formula: TreatmentFormula, **options: Any
    ) -> dict[tuple[str, str], Estimate]:
        return estimates_of(fit(arms_of(formula, panel), **options), "att")

    return numerics


def arms_of(formula: TreatmentFormula, panel: Panel) -> Arms:
    """Read outcome, treatment and covariates off a cross-section.

    Raises
    ------
    InputError
        If the panel has several periods: known when the program is traced.
    """
    if panel.n_periods != 1:
        raise InputError(
            f"panel: got {panel.n_periods} periods, expected a cross-section (one period); "
            "select a period first"
        )
    observed = jnp.ones(panel.n_units) if panel.mask is None else panel.mask[:, 0].astype(float)
    y = evaluate(formula.outcome, panel)[:, 0]
    d = panel[formula.treatment][:, 0].astype(float)
    x = design_matrix(formula.covariates, panel)
    finite = jnp.isfinite(y) & jnp.isfinite(d) & jnp.isfinite(x).all(axis=1)
    binary = (d == 0) | (d == 1)
    seen = observed > 0
    clean = seen & finite & binary
    treated, control = jnp.where(clean, d, 0.0), jnp.where(clean, 1.0 - d, 0.0)
    empty = (treated.sum() == 0) | (control.sum() == 0) | (seen & ~binary).any()
    status = jnp.where(empty, Status.INVALID_INPUT, Status.OK)
    return Arms(
        y=jnp.where(clean, y, 0.0),
        treated=treated,
        control=control,
        x=standardize(jnp.where(clean[:, None], x, 0.0), treated + control),
        status=jnp.where((seen & ~finite).any(), Status.NAN, status).astype(jnp.int32),
    )


def standardize(
    x: Float[Array, "unit covariate"], weight: Float[Array, " unit"]
) -> Float[Array, "unit covariate"]:
    """Center columns and scale them to unit variance (divisor n - 1) over the units of weight 1.

    Centering comes before any product, so that dollars and squares lose no digits.
    """
    n = weight.sum()
    mean = (weight[:, None] * x).sum(axis=0) / n
    centered = weight[:, None] * (x - mean)
    sd = jnp.sqrt((centered**2).sum(axis=0) / (n - 1.0))
    constant = ~(sd > CONSTANT * jnp.abs(mean))
    return jnp.where(constant, 0.0, centered / jnp.where(constant, 1.0, sd))
