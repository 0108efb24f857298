"""Differences in differences, as they are called by users."""

from collections.abc import Sequence
from typing import Any

from mcsim.errors import raise_all
from mcsim.estimators._did._adoption import as_regression
from mcsim.estimators._did._arguments import (
    faults_of_choice,
    faults_of_horizons,
    faults_of_window,
    is_whole,
)
from mcsim.estimators._did._group_time import fit_callaway_santanna
from mcsim.estimators._did._imputation import fit_imputation
from mcsim.estimators._did._two_way import fit_did, fit_event_study
from mcsim.estimators._formula import parse_treatment_formula
from mcsim.estimators._native import (
    NativeEstimator,
    Numerics,
    faults_of_names,
    names_of,
    native,
)
from mcsim.estimators._regression._options import Inference, Names, regression

ENDS = ("binned", "restricted", "dropped")
CONTROLS = ("never", "notyet")
AGGREGATIONS = ("simple", "event", "group", "calendar")
METHODS = ("dr", "reg", "ipw")
BASES = ("varying", "universal")
INFLUENCE = ("influence", "bootstrap", "bootstrap:mammen")
CONSERVATIVE = ("bjs", "bjs:loo")


def did(
    formula: str,
    *,
    vcov: Names = "CR1",
    cluster: Names = "unit",
    ssc: str = "fixest-0.13",
    resamples: int = 999,
    null: float = 0.0,
    level: float = 0.95,
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
    asked = Inference(None, None, vcov, cluster, ssc, resamples, null, level)
    return _two_way(fit_did, formula, asked)


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
    null: float = 0.0,
    level: float = 0.95,
) -> NativeEstimator:
    """Estimate effects by periods since treatment started, by two-way fixed effects with dummies.

    Event time 0 is the first treated period. Unbiased where cohorts have the same effects; where
    they differ, `callaway_santanna` and `imputation` average over cohorts as one would wish. (The
    interaction-weighted estimates of Sun & Abraham (2021) on a balanced panel without covariates
    are those of ``callaway_santanna(..., aggregation="event", base="universal")``.)

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
        What becomes of event times outside the window: they share the dummies of its ends; their
        effects are taken as zero; or their cells are left out.
    vcov, cluster, ssc, resamples, null, level
        As for `fixed_effects`.

    Returns
    -------
    NativeEstimator
        Called as ``estimator(key, panel)``; its estimates are labeled ``("att[-2]", vcov)``,
        ``("att[0]", vcov)``, ... by event time, and ``("att", vcov)`` is the plain mean of those
        from 0 on. A treatment that is not 0/1, or is given up, is ``INVALID_INPUT``.

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
    {'att[-2]': 0.0, 'att[0]': 2.0, 'att[1]': 4.0, 'att': 3.0}
    """
    asked = Inference(None, None, vcov, cluster, ssc, resamples, null, level)
    references = (reference,) if isinstance(reference, int) else tuple(reference)
    faults = faults_of_choice("ends", ends, ENDS) + faults_of_window(leads, lags, references)
    window = {"leads": leads, "lags": lags, "reference": references, "ends": ends}
    return _two_way(fit_event_study, formula, asked, faults, **window)


def callaway_santanna(
    formula: str,
    *,
    control: str = "never",
    aggregation: str = "simple",
    horizons: Sequence[int] | None = None,
    method: str = "dr",
    base: str = "varying",
    vcov: Names = "influence",
    cluster: str = "unit",
    resamples: int = 999,
) -> NativeEstimator:
    """Estimate effects cohort by cohort and period by period, and average them.

    Each cohort in each period is compared with units that are not treated, from the last period
    before it adopts. Units treated from the first period on are left out, and so are cells without
    a control. The panel must be balanced and treatment is for good.

    Parameters
    ----------
    formula : str
        ``"outcome ~ treatment | covariates"``; a covariate's value is that of the base period.
    control : {"never", "notyet"}
        Units that are never treated, or those and all that are not treated yet.
    aggregation : {"simple", "event", "group", "calendar"}
        ``"simple"`` averages over all treated cells. The others give averages by event time, by
        cohort and by period, and over them: by cohort weighted with the cohorts' sizes, else the
        plain mean of those after adoption.
    horizons : sequence of int, optional
        The event times that count; default all that the panel can have.
    method : {"dr", "reg", "ipw"}
        With covariates: regression of the change among controls, weighting with the odds of
        treatment (logit, normalized, not trimmed), or both. Without, all are the same.
    base : {"varying", "universal"}
        What periods before treatment are compared with: the period before each, or the last one
        before treatment. After it both are the same. The defaults are those of did for R.
    vcov : str or sequence of str
        ``"influence"``, by the influence function, cohort sizes taken as estimates;
        ``"bootstrap"``, its multiplier bootstrap with Rademacher signs, or ``"bootstrap:mammen"``.
        All with the normal distribution.
    cluster : str
        ``"unit"``, or a column of groups of units.
    resamples : int
        Draws of the bootstrap.

    Returns
    -------
    NativeEstimator
        Called as ``estimator(key, panel)``; its estimates are labeled ``("att", vcov)``, by event
        time ``"att[-2]"``, ``"att[0]"``, ..., by cohort ``"att[g=3]"``, by period ``"att[t=3]"``:
        positions, counted from 0. One that a replication does not have is ``INVALID_INPUT`` there,
        as is all of it where treatment is not 0/1 or given up, or there is no control; collinear
        covariates are ``SINGULAR``, a logit that separates is ``NONCONVERGED``.

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
    {'att[-1]': 0.0, 'att[0]': 1.0, 'att[1]': 2.0, 'att': 1.5}
    """
    parsed, names = parse_treatment_formula(formula), names_of(vcov)
    faults = faults_of_names("vcov", names, INFLUENCE, "callaway_santanna")
    faults += faults_of_choice("control", control, CONTROLS)
    faults += faults_of_choice("aggregation", aggregation, AGGREGATIONS)
    faults += faults_of_choice("method", method, METHODS)
    faults += faults_of_choice("base", base, BASES)
    if horizons is not None:
        faults += faults_of_horizons(horizons, negative=aggregation == "event")
        faults += [] if horizons else ["horizons: got none, expected event times, or None for all"]
    if not is_whole(resamples) or resamples < 2:
        faults.append(f"resamples: got {resamples!r}, expected a whole number of at least 2")
    raise_all(faults)
    return native(
        fit_callaway_santanna,
        parsed,
        control=control,
        aggregation=aggregation,
        horizons=None if horizons is None else tuple(horizons),
        method=method,
        base=base,
        vcov=names,
        cluster=cluster,
        resamples=resamples,
    )


def imputation(
    formula: str,
    *,
    horizons: Sequence[int] = (),
    vcov: Names = "bjs",
    cluster: str = "unit",
) -> NativeEstimator:
    """Impute what treated units would have had from the untreated cells, and average the rest.

    Unit effects, period effects and covariates are fitted on the untreated cells. Effects that
    cannot be imputed are left out of every average, as by ``autosample`` of did_imputation: of
    units without an untreated period, and of periods without an untreated unit. Treatment is for
    good. The panel may have gaps; a unit adopts in its first treated period that is observed.

    Parameters
    ----------
    formula : str
        ``"outcome ~ treatment | covariates"``; covariates vary over time.
    horizons : sequence of int
        Event times to estimate beside the overall average; 0 is the first treated period.
    vcov : str or sequence of str
        ``"bjs"``, conservative: effects count by their deviation from the mean of the cohort in the
        period. ``"bjs:loo"`` leaves the own effect out of that mean, for small cohorts. Both with
        the normal distribution.
    cluster : str
        ``"unit"``, or a column of groups of units.

    Returns
    -------
    NativeEstimator
        Called as ``estimator(key, panel)``; its estimates are labeled ``("att", vcov)``, the mean
        over the treated cells, and ``("att[0]", vcov)``, ... by event time. One without a cell that
        can be imputed is ``INVALID_INPUT``, as is all of it where treatment is not 0/1 or given up;
        collinear covariates are ``SINGULAR``.

    Raises
    ------
    InputError
        For a formula that cannot be parsed, an unknown variance or a negative horizon.

    References
    ----------
    Borusyak, Jaravel & Spiess (2024), Review of Economic Studies 91: 3253-3285, theorems 1 and 3,
    appendix A.9 (leaving out).

    Examples
    --------
    >>> from mcsim import Panel
    >>> y = [[1.0, 2.0, 3.0], [2.0, 2.0, 3.0], [0.0, 0.0, 0.0]]
    >>> d = [[0, 1, 1], [0, 0, 1], [0, 0, 0]]
    >>> estimates = imputation("y ~ d", horizons=[0, 1])(None, Panel({"y": y, "d": d}))
    >>> {estimand: round(float(e.value), 6) for (estimand, _), e in estimates.items()}
    {'att[0]': 1.0, 'att[1]': 2.0, 'att': 1.333333}
    """
    parsed, names = parse_treatment_formula(formula), names_of(vcov)
    faults = faults_of_names("vcov", names, CONSERVATIVE, "imputation")
    raise_all(faults + faults_of_horizons(horizons, negative=False))
    return native(fit_imputation, parsed, horizons=tuple(horizons), vcov=names, cluster=cluster)


def _two_way(
    fit: Numerics, formula: str, asked: Inference, faults: Sequence[str] = (), **options: Any
) -> NativeEstimator:
    """Check the options as of any regression; the terms are the method's own."""
    parsed = parse_treatment_formula(formula)
    checked = dict(regression(fit, as_regression(parsed), asked, faults, **options).options)
    del checked["term"], checked["estimand"]
    return native(fit, parsed, **checked)
