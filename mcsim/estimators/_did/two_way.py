"""Two-way fixed effects of a treatment: one coefficient, or one for each period of exposure."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from mcsim._core.averages import ATT, at_event_times
from mcsim._core.checks import at_least, faults_of_value, is_whole, one_of, plain
from mcsim._core.machine import require_float64
from mcsim._core.records import Calendar, Estimate, Panel, Status
from mcsim.errors import InputError
from mcsim.estimators._did.adoption import (
    BOTH,
    Adoption,
    as_regression,
    event_times,
    read_adoption,
    read_treatment,
)
from mcsim.estimators._formula import TreatmentFormula, check_columns, with_dummies
from mcsim.estimators._linear_model.data import Regression
from mcsim.estimators._linear_model.least_squares import LinearFit, fit_linear
from mcsim.estimators._native import NativeEstimator, Numerics, makes_estimator
from mcsim.estimators._options import Names, native
from mcsim.estimators._parsing import parse_treatment_formula
from mcsim.estimators._regression.fixed_effects import as_counted
from mcsim.estimators._regression.regression import (
    Inference,
    Resampling,
    diagnose_regression,
    regression,
)
from mcsim.estimators._variance.inference import infer

ENDS = ("binned", "restricted", "dropped")


@makes_estimator(version=1)
def did(
    formula: str,
    *,
    vcov: Names = "CR1",
    cluster: Names = "unit",
    ssc: str = "fixest-0.13",
    resamples: int = 999,
    null: float | None = None,
    level: float | None = None,
) -> NativeEstimator:
    """Estimate one effect by two-way fixed effects: in a block design, differences in differences.

    The coefficient of treatment beside unit and period effects. Where adoption is staggered and
    effects differ it is a weighted sum of them with weights that may be negative: `twfe_weights`.
    Treatment may be given up, and the panel may have gaps.

    Parameters
    ----------
    formula : str
        ``"outcome ~ treatment | covariates"``; treatment is 1 in the treated periods of treated
        units, covariates are regressors.
    vcov, cluster, ssc, resamples, null, level
        As for `fixed_effects`.

    Returns
    -------
    NativeEstimator
        Called as ``estimator(key, panel)``; its estimates are labeled ``("att", vcov)``. A
        treatment that is not 0/1, or that nobody gets, is ``INVALID_INPUT``; one that the effects
        explain is ``SINGULAR``.

    Raises
    ------
    InputError
        For a formula that cannot be parsed, or an unknown variance.

    References
    ----------
    de Chaisemartin & D'Haultfoeuille (2020), American Economic Review 110: 2964-2996.

    Examples
    --------
    >>> from mcsim import Panel
    >>> panel = Panel({"y": [[1.0, 5.0], [2.0, 3.0], [0.0, 2.0]], "d": [[0, 1], [0, 0], [0, 0]]})
    >>> estimate = did("y ~ d", vcov="iid")(None, panel)["att", "iid"]
    >>> round(float(estimate.value), 3), round(float(estimate.se), 3)
    (2.5, 0.866)
    """
    asked = Inference(vcov, cluster, ssc, resampling=Resampling(resamples, null, level))
    return _two_way(fit_did, formula, asked)


@makes_estimator(version=1)
def event_study(
    formula: str,
    *,
    leads: int,
    lags: int,
    reference: int | Sequence[int] = -1,
    ends: str = "binned",
    vcov: Names = "CR1",
    cluster: Names = "unit",
    ssc: str = "fixest-0.13",
    resamples: int = 999,
    null: float | None = None,
    level: float | None = None,
) -> NativeEstimator:
    """Estimate effects by periods since treatment started, by two-way fixed effects with dummies.

    Event time 0 is the first treated period. Unbiased where cohorts have the same effects; where
    they differ, `callaway_santanna` and `imputation` average over cohorts with chosen weights. (The
    interaction-weighted estimates of Sun & Abraham (2021) on a balanced panel without covariates
    equal ``callaway_santanna(..., aggregation="event", base="universal")``.)

    Parameters
    ----------
    formula : str
        ``"outcome ~ treatment | covariates"``; covariates are regressors.
    leads, lags : int
        The window of event times, from ``-leads`` to ``lags``. Each but the reference must occur in
        the data: a replication in which one does not is singular.
    reference : int or sequence of int
        Event times without a dummy, effects are relative to theirs. Without never-treated units
        two are needed.
    ends : {"binned", "restricted", "dropped"}
        Event times outside the window share the dummies of its ends; have effects of zero; or
        their cells are left out.
    vcov, cluster, ssc, resamples, null, level
        As for `fixed_effects`.

    Returns
    -------
    NativeEstimator
        Called as ``estimator(key, panel)``; its estimates are labeled ``("att[-2]", vcov)``,
        ``("att[0]", vcov)``, ... by event time, a binned end ``("att[1+]", vcov)`` or
        ``("att[-3-]", vcov)``, and the plain mean of the event times from 0 on by its window,
        ``("att[0..1+]", vcov)``. A treatment that is not 0/1, or is given up, is
        ``INVALID_INPUT``. A unit that is not observed just before its first treated cell has no
        event times and is left out.

    Raises
    ------
    InputError
        For a formula that cannot be parsed, an unknown variance, or a window that does not hold
        the reference.

    References
    ----------
    Schmidheiny & Siegloch (2023), Journal of Applied Econometrics 38: 695-713 (binned ends).

    Examples
    --------
    >>> from mcsim import Panel
    >>> y = [[1.0, 1.0, 4.0, 6.0], [2.0, 2.0, 3.0, 3.0], [0.0, 0.0, 1.0, 1.0]]
    >>> d = [[0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    >>> estimates = event_study("y ~ d", leads=2, lags=1)(None, Panel({"y": y, "d": d}))
    >>> {estimand: round(abs(float(e.value)), 6) for (estimand, _), e in estimates.items()}
    {'att[-2-]': 0.0, 'att[0]': 2.0, 'att[1+]': 4.0, 'att[0..1+]': 3.0}
    """
    asked = Inference(vcov, cluster, ssc, resampling=Resampling(resamples, null, level))
    references = event_times(reference)
    faults = faults_of_value("ends", ends, one_of(*ENDS)) + _faults_of_window(
        leads, lags, references
    )
    window = {"leads": plain(leads), "lags": plain(lags), "reference": references, "ends": ends}
    return _two_way(fit_event_study, formula, asked, faults, **window)


def fit_did(
    key: Key[Array, ""] | None, panel: Panel, formula: TreatmentFormula, *, ssc: str, **options: Any
) -> dict[tuple[str, str], Estimate]:
    """Regress the outcome on treatment, covariates, unit and period effects."""
    data = as_counted(read_treatment(formula, panel), BOTH, ssc)
    fit = fit_linear(data, BOTH, (0,))
    return infer(key, data, fit, panel, term=(ATT,), ssc=ssc, **options)


def fit_event_study(
    key: Key[Array, ""] | None,
    panel: Panel,
    formula: TreatmentFormula,
    *,
    leads: int,
    lags: int,
    reference: tuple[int, ...],
    ends: str,
    ssc: str,
    **inference: Any,
) -> dict[tuple[str, str], Estimate]:
    """Regress the outcome on dummies of event times but the reference, and on the effects."""
    adoption = read_adoption(formula, panel)
    times = tuple(e for e in range(-leads, lags + 1) if e not in reference)
    _check_event_times([e for e in times if -leads < e < lags], adoption.data.calendar)
    data = as_counted(_with_dummies(adoption, leads, lags, times, ends), BOTH, ssc)
    fit = fit_linear(data, BOTH, tuple(range(len(times))))
    terms, over = _labels(times, leads, lags, panel.n_periods, ends)
    if over not in terms:
        fit = _with_average(fit, tuple(k for k, e in enumerate(times) if e >= 0))
        terms = (*terms, over)
    return infer(key, data, fit, panel, term=terms, ssc=ssc, **inference)


def diagnose_two_way(
    panel: Panel, formula: TreatmentFormula, **options: Any
) -> dict[str, Float[Array, ""]]:
    """Return the notes on clusters of the regression on the treatment."""
    regression_of = as_regression(formula)
    return diagnose_regression(panel, regression_of, term=regression_of.names[:1], **options)


def twfe_weights(panel: Panel, formula: str) -> Float[Array, "unit period"]:
    """Return the weights that the two-way fixed effects coefficient gives to cells' effects.

    The coefficient that `did` estimates is, but for noise and trends that differ, the sum of these
    weights times the treatment effects in the cells. They sum to one over the treated cells; where
    adoption is staggered some may be negative, and the coefficient may then have the wrong sign
    though every effect has the same.

    Parameters
    ----------
    panel : Panel
        The data; a pure function of them, which may be jitted and vmapped.
    formula : str
        As for `did`: ``"outcome ~ treatment"``, covariates after ``|``. The outcome has no part in
        the weights.

    Returns
    -------
    array (unit, period)
        0 in untreated and in unobserved cells; NaN where the coefficient is not identified.

    Raises
    ------
    InputError
        For a formula that cannot be parsed, an unknown column, or a panel of one period.

    References
    ----------
    de Chaisemartin & D'Haultfoeuille (2020), American Economic Review 110: 2964-2996, theorem 1.

    Examples
    --------
    In the last period the early adopter serves as a control of the late ones, and its effect there
    counts negatively.

    >>> d = [[0, 1, 1, 1], [0, 0, 0, 1], [0, 0, 0, 1]]
    >>> twfe_weights(Panel({"y": d, "d": d}), "y ~ d").round(3).tolist()
    [[0.0, 0.5, 0.5, -0.5], [0.0, 0.0, 0.0, 0.25], [0.0, 0.0, 0.0, 0.25]]
    """
    require_float64("twfe_weights")
    parsed = parse_treatment_formula(formula)
    check_columns(parsed.columns, panel)
    parsed, _ = with_dummies(parsed, panel.nominal)
    data = read_treatment(parsed, panel)
    fit = fit_linear(data, BOTH, (0,))
    treated = data.x[0] == 1
    return jnp.where(fit.status == Status.OK, jnp.where(treated, fit.loading[0], 0.0), jnp.nan)


def _faults_of_window(leads: Any, lags: Any, reference: tuple[Any, ...]) -> list[str]:
    """Return the faults of a window of event times, and of the event times without a dummy."""
    faults = faults_of_value("leads", leads, at_least(0))
    faults += faults_of_value("lags", lags, at_least(0))
    if faults:
        return faults
    outside = [time for time in reference if not is_whole(time) or not -leads <= time <= lags]
    if outside or not reference:
        return [
            f"reference: got {reference}, expected event times of the window, {-leads} to {lags}"
        ]
    if set(range(lags + 1)) <= set(reference):
        return [f"reference: got {reference}, which leaves no event time after treatment"]
    return []


def _check_event_times(times: Sequence[int], calendar: Calendar) -> None:
    """Refuse event times inside the window that a calendar with gaps cannot have."""
    possible = {later - first for first in calendar.places for later in calendar.places}
    absent = [event for event in times if event not in possible]
    if absent and not calendar.consecutive:
        raise InputError(
            f"reference: no unit of a panel of {calendar} can have the event times {absent}; add "
            "them to reference=, or take a narrower window"
        )


def _with_dummies(
    adoption: Adoption, leads: int, lags: int, times: tuple[int, ...], ends: str
) -> Regression:
    """Put a dummy of each event time in the treatment's place, with ends as in `event_study`."""
    data = adoption.data
    n_periods = data.shape[1]
    event = adoption.event
    ever = (adoption.start < n_periods)[:, None]
    inside = ~ever | ((event >= -leads) & (event <= lags))
    if ends == "binned":
        event = jnp.clip(event, -leads, lags)
    dummies = jnp.stack([data.observed * (ever & (event == e)) for e in times])
    columns = jnp.concatenate([dummies, data.x[1:]])
    data = data._replace(x=columns, status=adoption.status)
    kept = adoption.dated[:, None] & (inside | (ends != "dropped"))
    if data.weight is None and ends != "dropped":
        return data
    return data._replace(y=data.y * kept, x=columns * kept, weight=data.observed * kept)


def _labels(
    times: tuple[int, ...], leads: int, lags: int, n_periods: int, ends: str
) -> tuple[tuple[str, ...], str]:
    """Name the coefficients, and their mean from event time 0 on.

    An end is binned where a unit that is seen before its treatment can have event times beyond it.
    """
    before = ends == "binned" and leads < n_periods - 1
    after = ends == "binned" and lags < n_periods - 2
    names = [
        at_event_times([e], before=before and e == -leads, after=after and e == lags) for e in times
    ]
    post = [e for e in times if e >= 0]
    return tuple(names), at_event_times(post, after=after and lags in post)


def _with_average(fit: LinearFit, post: tuple[int, ...]) -> LinearFit:
    """Append the mean of some coefficients as another coefficient."""
    chosen = jnp.asarray(post)
    return fit._replace(
        coef=jnp.append(fit.coef, fit.coef[chosen].mean()),
        loading=jnp.concatenate([fit.loading, fit.loading[chosen].mean(axis=0)[None]]),
    )


def _two_way(
    fit: Numerics, formula: str, asked: Inference, faults: Sequence[str] = (), **options: Any
) -> NativeEstimator:
    """Return the estimator, with options checked as in any regression."""
    parsed = parse_treatment_formula(formula)
    checked = dict(regression(fit, as_regression(parsed), asked, faults, **options).options)
    del checked["term"], checked["estimand"]
    return native(fit, parsed, diagnose_two_way, **checked)
