"""Callaway & Sant'Anna's estimator: effects by cohort and period, each from two groups and periods.

Callaway & Sant'Anna (2021), Journal of Econometrics 225: 200-230.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from mcsim._core.checks import at_least, faults_of_value, one_of, plain
from mcsim._core.records import Estimate, Panel, Status
from mcsim.errors import raise_all
from mcsim.estimators._cross_section.models import least_squares, logit
from mcsim.estimators._did.adoption import (
    LEFT_OUT,
    Adoption,
    CohortPeriods,
    at_horizons,
    cells_of,
    event_times,
    faults_of_cluster,
    faults_of_horizons,
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
from mcsim.estimators._native import NativeEstimator, makes_estimator, worst
from mcsim.estimators._options import Names, faults_of_names, names_of, native
from mcsim.estimators._parsing import parse_treatment_formula

Method = Literal["dr", "reg", "ipw"]
Weights = Float[Array, " unit"]

CONTROLS = ("never", "notyet")
AGGREGATIONS = ("simple", "event", "group", "calendar")
METHODS = ("dr", "reg", "ipw")
BASES = ("varying", "universal")
INFLUENCE = ("influence", "bootstrap", "bootstrap:mammen")


@makes_estimator(version=1)
def callaway_santanna(
    formula: str,
    *,
    control: str = "never",
    aggregation: str = "simple",
    horizons: int | Sequence[int] | None = None,
    method: str = "dr",
    base: str = "varying",
    vcov: Names = "influence",
    cluster: str = "unit",
    resamples: int = 999,
) -> NativeEstimator:
    """Estimate effects cohort by cohort and period by period, and average them.

    Each cohort in each period is compared with units that are not treated, from the last period
    before it adopts that the panel has. Event times count periods of the calendar. Units treated
    from the first period on are left out, and so are cells without a control. The panel must be
    balanced and treatment is for good.

    Parameters
    ----------
    formula : str
        ``"outcome ~ treatment | covariates"``; a covariate's value is that of the base period.
    control : {"never", "notyet"}
        Units that are never treated, or all units that are not treated yet.
    aggregation : {"simple", "event", "group", "calendar"}
        ``"simple"`` averages over all treated cells. The others give averages by event time, by
        cohort and by period, and over them: by cohort weighted with the cohorts' sizes, else the
        plain mean of the event times after adoption. These are other estimands than the mean over
        cells.
    horizons : int or sequence of int, optional
        The event times that count; default all that the panel can have.
    method : {"dr", "reg", "ipw"}
        With covariates: regression of the change among controls, weighting with the odds of
        treatment (logit, normalized, not trimmed), or both. Without, all are the same.
    base : {"varying", "universal"}
        The period with which a period before treatment is compared: the one before it, or the last
        one before treatment. After treatment both are the same. The defaults follow did for R.
    vcov : str or sequence of str
        ``"influence"``, by the influence function, cohort sizes taken as estimates;
        ``"bootstrap"``, its multiplier bootstrap with Rademacher signs, or ``"bootstrap:mammen"``.
        All with the normal distribution. Not defined where all weight is on one treated unit or
        cluster; where only some cohorts are of one, it is too small, and a note reports the share
        of the weight on them.
    cluster : str
        ``"unit"``, or a column of groups of units.
    resamples : int
        Draws of the bootstrap.

    Returns
    -------
    NativeEstimator
        Called as ``estimator(key, panel)``; its estimates are labeled ``("att", vcov)``, the mean
        over treated cells; by event time ``"att[-2]"``, ``"att[0]"``, ..., and their mean
        ``"att[0..3]"``; by cohort ``"att[g=3]"`` and over them ``"att[group]"``; by period
        ``"att[t=3]"`` and over them ``"att[calendar]"``: positions, counted from 0. Where
        ``horizons`` choose cells, the label names them: ``"att[group, 0..1]"``. One that a
        replication does not have is ``INVALID_INPUT`` there, as is all of it where treatment is not
        0/1 or given up, or there is no control; collinear covariates are ``SINGULAR``, a logit that
        separates is ``NONCONVERGED``.

    Raises
    ------
    InputError
        For a formula that cannot be parsed, an unknown name or a number out of range.

    References
    ----------
    Callaway & Sant'Anna (2021), Journal of Econometrics 225: 200-230. Sant'Anna & Zhao (2020),
    Journal of Econometrics 219: 101-122.

    Examples
    --------
    The effect grows with exposure, and one unit adopts a period after the other.

    >>> from mcsim import Panel
    >>> y = [[1.0, 2.0, 3.0], [2.0, 2.0, 3.0], [0.0, 0.0, 0.0]]
    >>> d = [[0, 1, 1], [0, 0, 1], [0, 0, 0]]
    >>> estimates = callaway_santanna("y ~ d", aggregation="event")(None, Panel({"y": y, "d": d}))
    >>> {estimand: round(float(e.value), 6) for (estimand, _), e in estimates.items()}
    {'att[-1]': 0.0, 'att[0]': 1.0, 'att[1]': 2.0, 'att[0..1]': 1.5}
    """
    parsed, names = parse_treatment_formula(formula), names_of(vcov)
    faults = faults_of_names("vcov", names, INFLUENCE, "callaway_santanna")
    faults += faults_of_value("control", control, one_of(*CONTROLS))
    faults += faults_of_value("aggregation", aggregation, one_of(*AGGREGATIONS))
    faults += faults_of_value("method", method, one_of(*METHODS))
    faults += faults_of_value("base", base, one_of(*BASES))
    faults += faults_of_cluster(cluster, "callaway_santanna")
    faults += faults_of_value("resamples", resamples, at_least(2))
    times = None if horizons is None else event_times(horizons)
    if times is not None:
        faults += faults_of_horizons(times, negative=aggregation == "event")
        faults += [] if times else ["horizons: got none, expected event times, or None for all"]
    raise_all(faults)
    return native(
        fit_callaway_santanna,
        parsed,
        diagnose_callaway_santanna,
        control=control,
        aggregation=aggregation,
        horizons=times,
        method=method,
        base=base,
        vcov=names,
        cluster=cluster,
        resamples=plain(resamples),
    )


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
    """Estimate and average the effects of cells, with variances by influence functions."""
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

    The counts do not depend on the horizons of the estimator.
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
        """Return units' influences; units of a cohort share weights on outcomes, and a constant."""
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
    """Return value and influence, and whether the models are singular and converged."""
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
    """Center and scale covariates, which changes only the digits of the logit."""
    centered = x - x.mean(axis=(1, 2), keepdims=True)
    spread = jnp.sqrt((centered**2).mean(axis=(1, 2), keepdims=True))
    return centered / jnp.where(spread > 0, spread, 1.0)
