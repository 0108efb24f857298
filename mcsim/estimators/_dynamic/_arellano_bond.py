"""Arellano & Bond's GMM in first differences, as it is called by users."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Key

from mcsim._core import Estimate, Panel
from mcsim.errors import raise_all
from mcsim.estimators._dynamic._differences import read_differences
from mcsim.estimators._dynamic._gmm import gmm, too_few
from mcsim.estimators._dynamic._specification import specification_tests
from mcsim.estimators._dynamic._variables import (
    faults_of_lags,
    faults_of_terms,
    faults_of_variables,
    instrumented_terms,
    own_instruments,
)
from mcsim.estimators._fit import Variance, estimates_of_terms, worst
from mcsim.estimators._formula import RegressionFormula, parse_regression
from mcsim.estimators._native import (
    NativeEstimator,
    faults_of_names,
    makes_estimator,
    names_of,
    native,
)
from mcsim.estimators._regression._options import labels, spelled_terms

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
        effects are always differenced out, so that ``| unit`` says nothing more; ``| time`` (or
        ``| unit + time``) gives every differenced equation an intercept, its own instrument. A last
        part ``| d ~ z`` takes the difference of ``z`` as the instrument of ``d``.
    steps : {2, 1}
        One step weights the moments as if the errors in levels were independent and alike; two
        steps weight by their covariance at the first step's residuals.
    term : str or sequence of str, optional
        The coefficients that are wanted, as the formula writes them but for spaces; default all but
        the period effects.
    estimand : str, optional
        A label for the one term that is wanted, in place of its text.
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
    A unit's equation of a period is used where it and the one before are observed; of instruments,
    what is not observed is 0 (Holtz-Eakin, Newey & Rosen 1988). With more instruments than units
    the two-step weights are a generalized inverse, that of Moore and Penrose in correlation form,
    which the units of measurement do not change (plm takes it of the covariance itself): the
    estimate stands, but read it with suspicion. The df of ``"hansen"`` tell how many instruments
    there are beyond the coefficients.

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
    faults = [*faults_of_terms(parsed, terms, estimand), *faults_of_lags(instrument_lags)]
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
    """GMM on the differenced equations, in one step or two."""
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
