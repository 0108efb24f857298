"""Effects by cohort or cell, averaged: the estimators, as they are called by users."""

from collections.abc import Sequence
from typing import Any

from mcsim._core.checks import at_least, faults_of_value, is_whole, one_of, plain
from mcsim.errors import raise_all
from mcsim.estimators._did.adoption import event_times
from mcsim.estimators._did.group_time import diagnose_callaway_santanna, fit_callaway_santanna
from mcsim.estimators._did.imputation import POOLED, diagnose_imputation, fit_imputation
from mcsim.estimators._native import NativeEstimator, makes_estimator
from mcsim.estimators._options import Names, faults_of_names, names_of, native
from mcsim.estimators._parsing import parse_treatment_formula

CONTROLS = ("never", "notyet")
AGGREGATIONS = ("simple", "event", "group", "calendar")
METHODS = ("dr", "reg", "ipw")
BASES = ("varying", "universal")
INFLUENCE = ("influence", "bootstrap", "bootstrap:mammen")
CONSERVATIVE = ("bjs", "bjs:loo", *POOLED)


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
        Units that are never treated, or those and all that are not treated yet.
    aggregation : {"simple", "event", "group", "calendar"}
        ``"simple"`` averages over all treated cells. The others give averages by event time, by
        cohort and by period, and over them: by cohort weighted with the cohorts' sizes, else the
        plain mean of those after adoption. These are other estimands than the mean over cells.
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
        cluster; where only some cohorts are of one, it is too small, and a note says by which share
        of the weight.
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
        ``horizons`` choose cells, the label says which: ``"att[group, 0..1]"``. One that a
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
    faults += _faults_of_cluster(cluster, "callaway_santanna")
    faults += faults_of_value("resamples", resamples, at_least(2))
    times = None if horizons is None else event_times(horizons)
    if times is not None:
        faults += _faults_of_horizons(times, negative=aggregation == "event")
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


@makes_estimator(version=1)
def imputation(
    formula: str,
    *,
    horizons: int | Sequence[int] = (),
    vcov: Names = "bjs",
    cluster: str = "unit",
) -> NativeEstimator:
    """Impute untreated outcomes of treated cells from the untreated cells; average the differences.

    Unit effects, period effects and covariates are fitted on the untreated cells. Effects that
    cannot be imputed are left out of every average, as by ``autosample`` of did_imputation: of
    units without an untreated period, and of periods without an untreated unit. Treatment is for
    good. The panel may have gaps; a unit that is
    not observed just before its first treated cell counts in ``"att"`` and in no horizon.

    Parameters
    ----------
    formula : str
        ``"outcome ~ treatment | covariates"``; covariates vary over time.
    horizons : int or sequence of int
        Event times to estimate beside the overall average; 0 is the first treated period.
    vcov : str or sequence of str
        ``"bjs"``, conservative: effects count by their deviation from the mean of the cohort in the
        period. ``"bjs:loo"`` leaves the own effect out of that mean, for small cohorts. A cohort of
        one unit has no deviation: ``"bjs:loo"`` is not defined there, and ``"bjs"`` is too small
        (a note says by which share of the weight). ``"bjs:cohort"``, ``"bjs:event"`` and
        ``"bjs:all"`` take the mean of the others in the cohort, at the event time, or in all
        treated cells, as ``avgeffectsby`` with ``leaveout`` of did_imputation. All with the normal
        distribution, and not defined where all weight is on one treated unit or cluster.
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
    section 4.3 (pooling), appendix A.9 (leaving out).

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
    times = event_times(horizons)
    faults = faults_of_names("vcov", names, CONSERVATIVE, "imputation")
    faults += _faults_of_cluster(cluster, "imputation")
    raise_all(faults + _faults_of_horizons(times, negative=False))
    return native(
        fit_imputation,
        parsed,
        diagnose_imputation,
        horizons=times,
        vcov=names,
        cluster=cluster,
    )


def _faults_of_cluster(cluster: Any, method: str) -> list[str]:
    """Return what is wrong with the clusters of a method that has clusters of units alone."""
    if isinstance(cluster, str) and cluster != "time":
        return []
    return [
        f"cluster: got {cluster!r}, expected 'unit' or one column of groups of units, the clusters "
        f"that {method} has; did and event_study have others"
    ]


def _faults_of_horizons(horizons: tuple[Any, ...], *, negative: bool) -> list[str]:
    """Return what is wrong with event times, before treatment only where ``negative``."""
    wrong = [h for h in horizons if not is_whole(h) or (h < 0 and not negative)]
    if wrong:
        got = ", ".join(map(repr, wrong))
        least = "" if negative else " of at least 0"
        return [f"horizons: got {got}, expected event times{least}, whole numbers such as [0, 1]"]
    if len(set(horizons)) < len(horizons):
        return [f"horizons: got {horizons}, expected each once"]
    if negative and not any(h >= 0 for h in horizons):
        return [f"horizons: got {horizons}, expected at least one of 0 or more among them"]
    return []
