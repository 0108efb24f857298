"""Effects by cohort and period, each from two groups and two periods.

Callaway & Sant'Anna (2021), Journal of Econometrics 225: 200-230.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from mcsim._core.records import Estimate, Panel, Status
from mcsim.estimators._cross_section.models import least_squares, logit
from mcsim.estimators._did.adoption import (
    LEFT_OUT,
    Adoption,
    CohortPeriods,
    at_horizons,
    cells_of,
    keep,
    read_adoption,
)
from mcsim.estimators._did.aggregation import (
    ALONE,
    GroupTime,
    aggregate,
    estimates_by_influence,
    share_alone,
)
from mcsim.estimators._formula import TreatmentFormula
from mcsim.estimators._native import worst

Method = Literal["dr", "reg", "ipw"]
Weights = Float[Array, " unit"]


def fit_callaway_santanna(
    key: Key[Array, ""] | None,
    panel: Panel,
    formula: TreatmentFormula,
    *,
    control: str,
    aggregation: str,
    horizons: tuple[int, ...] | None,
    method: Method,
    base: str,
    vcov: tuple[str, ...],
    cluster: str,
    resamples: int,
) -> dict[tuple[str, str], Estimate]:
    """Effects of cells, averaged; variances by influence functions."""
    adoption = read_adoption(formula, panel, balanced=True)
    cells = cells_of(adoption.data.calendar, base)
    if horizons is not None:
        cells = at_horizons(cells, horizons)
    if aggregation != "event":
        cells = keep(cells, cells.event >= 0)
    if formula.covariates:
        effects = _from_covariates(adoption, cells, control, method)
    else:
        effects = _from_means(adoption, cells, control)
    labels, averages = aggregate(adoption, cells, effects, aggregation)
    return estimates_by_influence(
        key, panel, labels, averages, vcov=vcov, cluster=cluster, resamples=resamples
    )


def diagnose_callaway_santanna(
    panel: Panel, formula: TreatmentFormula, *, control: str, cluster: str, **options: Any
) -> dict[str, Float[Array, ""]]:
    """Count the treated cells that no average holds, and the weight on cohorts of one unit.

    Whichever horizons are asked for.
    """
    adoption = read_adoption(formula, panel, balanced=True)
    n_periods = adoption.data.shape[1]
    cells = cells_of(adoption.data.calendar, "varying")
    cells = keep(cells, cells.event >= 0)
    present = _from_means(adoption, cells, control).present
    number = present @ (cells.cohort[:, None] == np.arange(n_periods + 1)).astype(float)
    held = number[adoption.start]
    found = {
        LEFT_OUT: adoption.treated.sum() - held.sum(),
        ALONE: share_alone(adoption, held > 0, held, cluster, panel),
    }
    return {name: jnp.where(adoption.status == Status.OK, n, 0.0) for name, n in found.items()}


def _from_means(adoption: Adoption, cells: CohortPeriods, control: str) -> GroupTime:
    """Estimate effects without covariates: linear in the cohorts' means, which are few."""
    n_periods = adoption.data.shape[1]
    y = adoption.data.y - adoption.data.y.mean(axis=1, keepdims=True)
    cohorts = np.arange(n_periods + 1)
    own = cells.cohort[:, None] == cohorts
    later = (np.maximum(cells.period, cells.base)[:, None] < cohorts) & ~own
    controls = later if control == "notyet" else np.broadcast_to(cohorts == n_periods, own.shape)
    member = (adoption.start == cohorts[:, None]).astype(float)
    size, total = member.sum(axis=1), member @ y
    n_own, n_controls = own @ size, controls @ size
    share = own / jnp.maximum(n_own, 1.0)[:, None]
    weight = controls / jnp.maximum(n_controls, 1.0)[:, None]
    change = (total[:, cells.period] - total[:, cells.base]).T
    means = (share * change).sum(axis=1), (weight * change).sum(axis=1)
    step = np.eye(n_periods)[cells.period] - np.eye(n_periods)[cells.base]

    def combine(weights: Float[Array, "target cell"]) -> Float[Array, "target unit"]:
        """Units of a cohort share their weights on the outcomes, and a constant."""
        loading = jnp.einsum("ac,ch,ct->aht", weights, share - weight, step)
        constant = weights @ (share * means[0][:, None] - weight * means[1][:, None])
        return (loading[:, adoption.start] * y).sum(axis=2) - constant[:, adoption.start]

    return GroupTime(
        value=means[0] - means[1],
        present=(n_own > 0) & (n_controls > 0),
        status=jnp.zeros(len(own), jnp.int32),
        combine=combine,
    )


def _from_covariates(
    adoption: Adoption, cells: CohortPeriods, control: str, method: Method
) -> GroupTime:
    """Estimate effects given covariates, some cells at a time to bound the memory."""
    data, start = adoption.data, adoption.start
    n_units, n_periods = data.shape
    covariates = standardize(data.x[1:])

    def effect(cell: tuple[Int[Array, ""], ...]) -> Effect:
        cohort, period, base = cell
        treated = start == cohort
        later = (start > jnp.maximum(period, base)) & ~treated
        controls = later if control == "notyet" else start == n_periods
        change = data.y[:, period] - data.y[:, base]
        x = jnp.concatenate([jnp.ones((1, n_units)), covariates[:, :, base]]).T
        return effect_on_treated(change, treated.astype(float), controls.astype(float), x, method)

    number = len(cells.cohort)
    batch = max(size for size in range(1, n_periods + 1) if number % size == 0)
    positions = tuple(map(jnp.asarray, (cells.cohort, cells.period, cells.base)))
    effects = jax.lax.map(effect, positions, batch_size=batch)
    return GroupTime(
        value=effects.value,
        present=effects.present,
        status=effects.status,
        combine=lambda weights: weights @ effects.influence,
    )


class Effect(NamedTuple):
    """The effect on one group in one period.

    Attributes
    ----------
    value : array ()
        0 where the group or its controls are empty.
    influence : array (unit,)
        The contribution of each unit to the error of the effect.
    present : bool array ()
        Whether there are treated units and controls.
    status : int array ()
    """

    value: Float[Array, ""]
    influence: Float[Array, " unit"]
    present: Bool[Array, ""]
    status: Int[Array, ""]


def effect_on_treated(
    change: Weights,
    treated: Weights,
    control: Weights,
    x: Float[Array, "unit covariate"],
    method: Method,
) -> Effect:
    """Estimate the effect on the treated.

    Parameters
    ----------
    change : array (unit,)
        The outcome less that of the base period.
    treated, control : array (unit,)
        1 for members of the group, 0 for others; a unit may be in neither.
    x : array (unit, covariate)
        Covariates, column 0 the constant.
    method : {"dr", "reg", "ipw"}
    """
    present = (treated.sum() > 0) & (control.sum() > 0)
    share = treated / jnp.maximum(treated.sum(), 1.0)
    value, influence, singular, converged = _adjusted(change, treated, control, share, x, method)
    status = jnp.where(present, worst(Status.OK, False, singular, converged), Status.OK)
    fine = present & (status == Status.OK)
    value, influence = jnp.where(fine, value, 0.0), jnp.where(fine, influence, 0.0)
    return Effect(value, influence, present, status.astype(jnp.int32))


def _adjusted(change, treated, control, share, x, method):
    """Value, influence, and whether the models are singular or converged."""
    singular, converged = jnp.asarray(False), jnp.asarray(True)
    rest, by_regression = change, jnp.zeros_like(x)
    if method != "ipw":
        fit = least_squares(x, change, control)
        rest, singular = fit.residual, fit.singular
        by_regression = ((control * rest)[:, None] * x) @ fit.inverse_gram
    mean = share @ rest
    influence = share * (rest - mean) - by_regression @ (share @ x)
    if method == "reg":
        return mean, influence, singular, converged
    model = logit(x, treated, treated + control)
    odds = control * jnp.exp(model.predictor)
    weight = odds / odds.sum()
    controls_mean = weight @ rest
    score = ((treated + control) * (treated - model.probability))[:, None] * x
    by_odds = score @ model.inverse_information @ ((weight * (rest - controls_mean)) @ x)
    of_controls = weight * (rest - controls_mean) + by_odds - by_regression @ (weight @ x)
    return mean - controls_mean, influence - of_controls, singular | model.singular, model.converged


def standardize(x: Float[Array, "covariate unit period"]) -> Float[Array, "covariate unit period"]:
    """Center and scale covariates: nothing depends on it but the digits of the logit."""
    centered = x - x.mean(axis=(1, 2), keepdims=True)
    spread = jnp.sqrt((centered**2).mean(axis=(1, 2), keepdims=True))
    return centered / jnp.where(spread > 0, spread, 1.0)
