"""The average effect on the treated from means, a regression, a propensity score, or both.

The two arms of a cross-section are weights: shapes stay fixed while their sizes vary. A fault of
the data is data too: a status in place of an exception.

Each function gives the estimate and its variances by name. A ``"sandwich"`` sums the squares of
each unit's influence on the estimate, that of the estimated nuisance parameters included (stacked
M-estimation: Newey & McFadden 1994, section 6). ``"aimm2024"`` is the formula of Athey, Imbens,
Metzger & Munro (2024), which takes the nuisance parameters as known and does not center: with it
their tables can be reproduced.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mcsim._core.records import Estimate, Panel, Status
from mcsim.errors import InputError
from mcsim.estimators._cross_section.models import LeastSquares, Logit, least_squares, logit
from mcsim.estimators._expression import design_matrix, evaluate
from mcsim.estimators._formula import TreatmentFormula
from mcsim.estimators._native import Fit, Numerics, Variance, estimates_of, worst

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
        ``OK``, ``NAN`` or ``INVALID_INPUT``: the fault of the data, if any.
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


@on_arms
def fit_difference_in_means(arms: Arms, vcov: Sequence[str]) -> Fit:
    """Return the mean of the treated less the mean of the controls."""
    y, n1, n0 = arms.y, arms.n_treated, arms.n_control
    mean1, mean0 = mean(y, arms.treated), mean(y, arms.control)
    squares1 = (arms.treated * (y - mean1) ** 2).sum()
    squares0 = (arms.control * (y - mean0) ** 2).sum()
    n = n1 + n0
    iid = (squares1 + squares0) / (n - 2) * (1 / n1 + 1 / n0)
    hc1 = n / (n - 2) * (squares1 / n1**2 + squares0 / n0**2)
    hc2 = squares1 / (n1 * (n1 - 1)) + squares0 / (n0 * (n0 - 1))
    hc3 = squares1 / (n1 - 1) ** 2 + squares0 / (n0 - 1) ** 2
    # A single unit in an arm leaves no residual: only the pooled variance is then defined.
    pairs = (n1 > 1) & (n0 > 1)
    known = {
        "iid": Variance(iid, n - 2),
        "HC1": Variance(jnp.where(pairs, hc1, jnp.nan), n - 2),
        "HC2": Variance(hc2, _bell_mccaffrey(n1, n0)),
        "HC3": Variance(hc3, n - 2),
        "aimm2024": Variance(iid),
    }
    return Fit(mean1 - mean0, {name: known[name] for name in vcov}, arms.status)


def _bell_mccaffrey(n1, n0):
    """Return the degrees of freedom of HC2 with two groups (Imbens & Kolesar 2016)."""
    return (n1 + n0) ** 2 * (n1 - 1) * (n0 - 1) / (n1**2 * (n1 - 1) + n0**2 * (n0 - 1))


@on_arms
def fit_outcome_regression(arms: Arms, vcov: Sequence[str]) -> Fit:
    """Return the mean over the treated of the outcome less the controls' regression."""
    x = arms.regressors
    outcome = least_squares(x, arms.y, arms.control)
    value = mean(outcome.residual, arms.treated)
    influence = arms.treated * (outcome.residual - value) / arms.n_treated
    influence += _influence_of_regression(outcome, x, arms.control, -mean(x, arms.treated))
    terms = arms.treated * (outcome.residual - value)
    status = worst(arms.status, _too_few(arms, x), outcome.singular)
    return Fit(value, _variances(vcov, influence, terms, arms), status)


@on_arms
def fit_ipw(arms: Arms, vcov: Sequence[str], trim: float | None = None) -> Fit:
    """Return the mean of the treated less that of the controls, weighted by odds of treatment."""
    x = arms.regressors
    score = logit(x, arms.treated, arms.treated + arms.control)
    kept = _trim(arms, score, trim)
    weight = _relative_odds(kept, score)
    value = mean(arms.y, kept.treated) - mean(arms.y, weight)
    influence = _influence_of_means(arms.y, kept.treated, weight)
    influence -= _influence_of_logit(score, x, arms, weight, arms.y)
    terms = kept.treated * (arms.y - value) - _odds(kept, score) * arms.y
    status = worst(kept.status, False, score.singular, score.converged)
    return Fit(value, _variances(vcov, influence, terms, kept), status)


@on_arms
def fit_aipw(arms: Arms, vcov: Sequence[str], trim: float | None = None) -> Fit:
    """Return the effect by outcome regression, with residuals of the controls weighted by odds."""
    x = arms.regressors
    outcome = least_squares(x, arms.y, arms.control)
    score = logit(x, arms.treated, arms.treated + arms.control)
    kept = _trim(arms, score, trim)
    weight = _relative_odds(kept, score)
    residual = outcome.residual
    value = mean(residual, kept.treated) - mean(residual, weight)
    gradient = mean(x, weight) - mean(x, kept.treated)
    influence = _influence_of_means(residual, kept.treated, weight)
    influence -= _influence_of_logit(score, x, arms, weight, residual)
    influence += _influence_of_regression(outcome, x, arms.control, gradient)
    terms = kept.treated * (residual - value) - _odds(kept, score) * residual
    singular = outcome.singular | score.singular
    status = worst(kept.status, _too_few(arms, x), singular, score.converged)
    return Fit(value, _variances(vcov, influence, terms, kept), status)


def mean(
    values: Float[Array, "unit *rest"], weight: Float[Array, " unit"]
) -> Float[Array, "*rest"]:
    """Return the weighted mean over units."""
    return weight @ values / weight.sum()


def _trim(arms: Arms, score: Logit, trim: float | None) -> Arms:
    """Drop units whose propensity score exceeds ``trim``; the models stay fitted on all."""
    if trim is None:
        return arms
    kept = (score.probability <= trim).astype(float)
    treated, control = kept * arms.treated, kept * arms.control
    emptied = (treated.sum() == 0) | (control.sum() == 0)
    return arms._replace(
        treated=treated, control=control, status=worst(arms.status, emptied, False)
    )


def _relative_odds(kept: Arms, score: Logit) -> Float[Array, " unit"]:
    """Return the controls' odds of treatment, scaled so that the largest is 1: none overflows."""
    largest = jnp.where(kept.control > 0, score.predictor, -jnp.inf).max()
    return jnp.where(kept.control > 0, jnp.exp(score.predictor - largest), 0.0)


def _odds(kept: Arms, score: Logit) -> Float[Array, " unit"]:
    return jnp.where(kept.control > 0, jnp.exp(score.predictor), 0.0)


def _influence_of_means(values, treated, weight):
    """Return the influence of each unit on mean(values; treated) - mean(values; weight)."""
    first = treated * (values - mean(values, treated)) / treated.sum()
    return first - weight * (values - mean(values, weight)) / weight.sum()


def _influence_of_logit(score: Logit, x, arms: Arms, weight, values):
    """Return the influence of each unit on mean(values; weight) through the estimated odds."""
    gradient = mean(x * (values - mean(values, weight))[:, None], weight)
    observed = arms.treated + arms.control
    scores = observed * (arms.treated - score.probability)
    return scores * (x @ (score.inverse_information @ gradient))


def _influence_of_regression(outcome: LeastSquares, x, control, gradient):
    """Return the influence of each unit on gradient'coef through the controls' regression."""
    return control * outcome.residual * (x @ (outcome.inverse_gram @ gradient))


def _variances(vcov: Sequence[str], influence, terms, kept: Arms) -> dict[str, Variance]:
    """Return the named variances; a single unit in an arm leaves them undefined."""
    known = {"sandwich": (influence**2).sum(), "aimm2024": _aimm2024(terms, kept)}
    estimable = (kept.n_treated > 1) & (kept.n_control > 1)
    return {name: Variance(jnp.where(estimable, known[name], jnp.nan)) for name in vcov}


def _aimm2024(terms, kept: Arms):
    """Return the sample variance of the terms per unit over n, without normalizing or centering.

    The odds are not normalized, the outcome is not centered.
    """
    units = kept.treated + kept.control
    n = units.sum()
    scaled = terms * n / kept.n_treated
    return (units * (scaled - mean(scaled, units)) ** 2).sum() / ((n - 1) * n)


def _too_few(arms: Arms, x):
    return arms.n_control < x.shape[1]
