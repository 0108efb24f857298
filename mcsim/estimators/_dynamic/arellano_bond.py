"""Arellano & Bond's GMM in first differences: the estimator and its instrumented variables."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Key

from mcsim._core.records import Estimate, Panel
from mcsim.errors import did_you_mean, raise_all
from mcsim.estimators._dynamic.differences import LaggedLevels, read_differences
from mcsim.estimators._dynamic.gmm import gmm, specification_tests, too_few
from mcsim.estimators._expression import Apply, Number, Term
from mcsim.estimators._formula import RegressionFormula
from mcsim.estimators._native import (
    NativeEstimator,
    Variance,
    estimates_of_terms,
    makes_estimator,
    worst,
)
from mcsim.estimators._options import (
    faults_of_names,
    faults_of_terms,
    names_of,
    native,
    spelled_terms,
)
from mcsim.estimators._parsing import parse_regression
from mcsim.estimators._regression.regression import labels

_VCOV = {1: ("robust", "conventional"), 2: ("windmeijer", "conventional")}


@makes_estimator(version=1)
def arellano_bond(
    formula: str,
    *,
    steps: int = 2,
    term: str | Sequence[str] | None = None,
    estimand: str | None = None,
    vcov: str | Sequence[str] | None = None,
    predetermined: str | Sequence[str] = (),
    endogenous: str | Sequence[str] = (),
    instrument_lags: tuple[int, int | None] = (2, None),
    collapse: bool = False,
    tests: bool = False,
) -> NativeEstimator:
    """Estimate a dynamic panel by GMM in first differences (Arellano & Bond 1991).

    Parameters
    ----------
    formula : str
        ``"n ~ lag(n) + lag(n, 2) + w + lag(w) + k"``. Lags of the outcome are instrumented by its
        levels of two and more periods ago, the other regressors by their own differences. Unit
        effects are always differenced out, so that ``| unit`` changes nothing; ``| time`` (or
        ``| unit + time``) gives every differenced equation an intercept, its own instrument. A last
        part ``| d ~ z`` takes the difference of ``z`` as the instrument of ``d``.
    steps : {2, 1}
        One step weights the moments as if the errors in levels were independent and alike; two
        steps weight by their covariance at the first step's residuals.
    term : str or sequence of str, optional
        The coefficients to report, as the formula writes them (spaces do not matter); default all
        but the period effects.
    estimand : str, optional
        The label of the one coefficient that ``term`` chooses; its text by default.
    vcov : str or sequence of str, optional
        In one step ``"robust"`` (the default; clustered by unit) or ``"conventional"``; in two
        ``"windmeijer"`` (the default; Windmeijer's correction) or ``"conventional"``, which takes
        the weights as known and is too small in small samples. Each gives an estimate of its own.
        All use the normal distribution.
    predetermined, endogenous : str or sequence of str
        Variables instrumented, with all their lags in the formula, by their own levels: endogenous
        ones like the outcome, predetermined ones by levels of one period less ago.
    instrument_lags : (int, int or None)
        How many periods ago the nearest and the farthest level used as instruments are, for the
        outcome and endogenous variables; both are one less for predetermined ones. None for all.
    collapse : bool
        One instrument for each lag, in place of one for each lag and period (Roodman 2009).
    tests : bool
        Give the tests of the specification too, statistics with p-values as estimates of their own:
        ``"sargan"`` (one step) or ``"hansen"`` (two), ``"ar(1)"`` and ``"ar(2)"``.

    Returns
    -------
    NativeEstimator
        Called as ``estimator(key, panel)``; its estimates are labeled ``(term, vcov)``.

    Raises
    ------
    InputError
        For a formula that cannot be parsed or has no lag of its outcome, an unknown term or
        variance, a variable that is not in the formula. When the program is traced: if the panel
        has too few periods, or there are fewer instruments than coefficients.

    Notes
    -----
    A unit's equation of a period is used where it and the one before are observed; instruments
    that are not observed are 0 (Holtz-Eakin, Newey & Rosen 1988). With more instruments than units
    the two-step weights are a generalized inverse, that of Moore and Penrose in correlation form,
    which the units of measurement do not change (plm takes it of the covariance itself): the
    estimate stands, but read it with suspicion. The df of ``"hansen"`` are the instruments beyond
    the number of coefficients.

    References
    ----------
    Arellano & Bond (1991), Review of Economic Studies 58: 277-297. Windmeijer (2005), Journal of
    Econometrics 126: 25-51. Roodman (2009), Stata Journal 9: 86-136.

    Examples
    --------
    >>> from mcsim import Panel
    >>> y = [[1, 2, 2, 1], [0, 1, 3, 4], [2, 1, 1, 2], [3, 1, 0, 0]]
    >>> estimates = arellano_bond("y ~ lag(y)", steps=1)(None, Panel({"y": y}))
    >>> estimate = estimates["lag(y)", "robust"]
    >>> round(float(estimate.value), 3), round(float(estimate.se), 3)
    (0.156, 0.223)
    """
    parsed = parse_regression(formula)
    terms = spelled_terms(term, parsed.names, parsed.names)
    known = _VCOV.get(steps, ()) if isinstance(steps, int) else ()
    names = names_of(vcov) if vcov is not None else known[:1]
    faults = [
        *faults_of_terms(terms, estimand, parsed.names, "arellano_bond"),
        *faults_of_lags(instrument_lags),
    ]
    if known:
        faults += faults_of_names("vcov", names, known, f"arellano_bond(steps={steps})")
    else:
        faults.append(f"steps: got {steps!r}, expected 1 or 2")
    options = {"predetermined": names_of(predetermined), "endogenous": names_of(endogenous)}
    faults += faults_of_variables(parsed, **options)
    raise_all(faults)
    return native(
        fit_arellano_bond,
        parsed,
        steps=steps,
        term=terms,
        estimand=estimand,
        vcov=names,
        **{name: variables or None for name, variables in options.items()},
        instrument_lags=tuple(instrument_lags),
        collapse=bool(collapse),
        tests=bool(tests),
    )


def fit_arellano_bond(
    key: Key[Array, ""] | None,
    panel: Panel,
    formula: RegressionFormula,
    *,
    steps: int,
    term: Sequence[str],
    estimand: str | None,
    vcov: Sequence[str],
    predetermined: Sequence[str] | None,
    endogenous: Sequence[str] | None,
    instrument_lags: tuple[int, int | None],
    collapse: bool,
    tests: bool,
) -> dict[tuple[str, str], Estimate]:
    """Estimate the differenced equations by GMM, in one step or two."""
    levels = instrumented_terms(formula, predetermined or (), endogenous or (), instrument_lags)
    own = own_instruments(formula, levels)
    data = read_differences(formula, panel, levels, own, collapse)
    fit = gmm(data, steps)
    status = worst(data.status, too_few(data), fit.first.singular | fit.last.singular)
    covariances = {name: fit.covariance(name) for name in vcov}
    chosen = jnp.array(formula.positions(tuple(term)))
    variances = {name: Variance(jnp.diagonal(c)[chosen]) for name, c in covariances.items()}
    names = labels(tuple(term), estimand)
    estimates = estimates_of_terms(names, fit.last.coef[chosen], variances, status)
    if tests:
        estimates |= specification_tests(data, fit, covariances, status)
    return estimates


def instrumented_terms(
    formula: RegressionFormula,
    predetermined: Sequence[str],
    endogenous: Sequence[str],
    lags: tuple[int, int | None],
) -> tuple[LaggedLevels, ...]:
    """Return the outcome and the named variables, with the lags of their levels."""
    nearest, farthest = lags
    earlier = None if farthest is None else farthest - 1
    term = _variables(formula)
    return (
        LaggedLevels(formula.outcome, nearest, farthest),
        *(LaggedLevels(term[name], nearest, farthest) for name in endogenous),
        *(LaggedLevels(term[name], nearest - 1, earlier) for name in predetermined),
    )


def own_instruments(
    formula: RegressionFormula, instrumented: Sequence[LaggedLevels]
) -> tuple[int, ...]:
    """Return the positions of the regressors that instrument themselves."""
    terms = {each.term for each in instrumented}
    own = range(len(formula.endogenous), len(formula.names))
    exogenous = dict(zip(own, formula.regressors, strict=True))
    return tuple(k for k, term in exogenous.items() if not terms.intersection((term, _base(term))))


def faults_of_variables(
    formula: RegressionFormula, predetermined: Sequence[str], endogenous: Sequence[str]
) -> list[str]:
    """Return the faults of the names of predetermined and endogenous variables."""
    known = _variables(formula)
    faults = []
    if formula.outcome not in (_base(term) for term in known.values()):
        outcome = str(formula).split(" ~ ", maxsplit=1)[0]
        faults.append(
            f"formula {str(formula)!r}: got no lag of the outcome, expected lag({outcome}) among "
            "the regressors; for a static model use fixed_effects or first_difference"
        )
    for argument, names in (("predetermined", predetermined), ("endogenous", endogenous)):
        faults += [
            f"{argument}: {name!r} is neither a regressor of the formula nor lagged in it"
            f"{did_you_mean(name, known)}"
            for name in names
            if name not in known
        ]
        faults += [
            f"{argument}: {name!r} is the outcome, whose levels are instruments anyway"
            for name in names
            if known.get(name) == formula.outcome
        ]
        if len(set(names)) < len(names):
            faults.append(f"{argument}: got {tuple(names)}, expected each name once")
    twice = set(predetermined) & set(endogenous)
    return faults + [
        f"endogenous: {name!r} is called predetermined too, expected one of the two"
        for name in sorted(twice)
    ]


def faults_of_lags(lags: tuple[int, int | None]) -> list[str]:
    """Return the faults of the lags of levels; the nearest valid one is two periods old."""
    match lags:
        case (int(nearest), int() | None as farthest) if 2 <= nearest <= (farthest or nearest):
            return []
    return [
        f"instrument_lags: got {lags!r}, expected (nearest, farthest) with nearest at least 2, the "
        "farthest not below it, or None for all there are"
    ]


def _variables(formula: RegressionFormula) -> dict[str, Term]:
    """Return every regressor, and every variable that is lagged in one, by its text."""
    variables = {}
    for text, term in zip(formula.names, (*formula.endogenous, *formula.regressors), strict=True):
        variables[text] = term
        match term:
            case (Apply("lag", (_, Number(periods))),):
                variables[text[4:-1].removesuffix(f", {periods}")] = _base(term)
    return variables


def _base(term: Term) -> Term:
    """Return the term inside a lag; a term without a lag as it is."""
    match term:
        case (Apply("lag", (lagged, _)),):
            return (lagged,)
    return term
