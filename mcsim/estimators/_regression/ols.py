"""Ordinary least squares of a panel's cells, of its unit means, or of its first differences.

The three estimators differ in the transformation of the data before the fit.
"""

from typing import Any, Literal

from jaxtyping import Array, Key

from mcsim._core.records import Estimate, Panel
from mcsim.estimators._formula import RegressionFormula
from mcsim.estimators._linear_model.data import differences, read_regression, unit_means
from mcsim.estimators._linear_model.least_squares import SOLVERS, fit_linear
from mcsim.estimators._native import NativeEstimator, makes_estimator
from mcsim.estimators._options import Names, faults_of_names
from mcsim.estimators._parsing import parse_regression
from mcsim.estimators._regression.regression import (
    REFITTED,
    Inference,
    Resampling,
    faults_of_parts,
    labels,
    regression,
)
from mcsim.estimators._variance.inference import infer


@makes_estimator(version=1)
def ols(
    formula: str,
    *,
    term: Names | None = None,
    estimand: str | None = None,
    vcov: Names = "HC1",
    cluster: Names = "unit",
    ssc: str = "fixest-0.13",
    resamples: int = 999,
    null: float | None = None,
    level: float | None = None,
    solver: Literal["cholesky", "qr"] = "cholesky",
) -> NativeEstimator:
    """Regress on all cells of a panel, or on a cross-section, by least squares.

    Parameters
    ----------
    formula : str
        ``"y ~ x1 + x2"``, with terms as in `fixed_effects`; a constant is always there.
    term : str or sequence of str, optional
        The coefficients to report; by default all but the constant, whose name is ``"Intercept"``.
    estimand, vcov, cluster, ssc, resamples, null, level
        As in `fixed_effects`.
    solver : {"cholesky", "qr"}
        The method of least squares. ``"cholesky"`` is fast and safe unless regressors are nearly
        collinear: it keeps 13 digits on NIST's Longley data, 9 on Wampler1, and calls Filip (a
        polynomial of degree 10) singular. ``"qr"`` keeps 13, 9 and 7.

    Returns
    -------
    NativeEstimator
        Called as ``estimator(key, panel)``; its estimates are labeled ``(term, vcov)``, with
        statuses as in `fixed_effects`.

    Raises
    ------
    InputError
        As `fixed_effects`, and for a formula with effects.

    References
    ----------
    White (1980), Econometrica 48: 817-838. National Institute of Standards and Technology,
    Statistical Reference Datasets, linear regression.

    Examples
    --------
    >>> from mcsim import Panel
    >>> panel = Panel({"y": [1.0, 3.0, 2.0, 5.0], "x": [0.0, 1.0, 2.0, 3.0]})
    >>> estimates = ols("y ~ x", term=["Intercept", "x"])(None, panel)
    >>> [round(float(estimate.value), 3) for estimate in estimates.values()]
    [1.1, 1.1]
    """
    parsed = parse_regression(formula, own_names=True)
    faults = faults_of_parts(parsed, "ols", effects="use fixed_effects for them")
    faults += faults_of_names("solver", (solver,), tuple(SOLVERS), "ols")
    asked = Inference(vcov, cluster, ssc, term, estimand, Resampling(resamples, null, level))
    return regression(fit_ols, parsed, asked, faults, constant=True, solver=solver)


def fit_ols(
    key: Key[Array, ""] | None,
    panel: Panel,
    formula: RegressionFormula,
    *,
    term: tuple[str, ...],
    estimand: str | None,
    solver: str,
    **inference: Any,
) -> dict[tuple[str, str], Estimate]:
    """Regress by least squares on the data less their means."""
    data = read_regression(formula, panel)
    fit = fit_linear(data, (), formula.positions(term), solver=solver)
    return infer(key, data, fit, panel, term=labels(term, estimand), **inference)


@makes_estimator(version=1)
def between(
    formula: str,
    *,
    term: Names | None = None,
    estimand: str | None = None,
    vcov: Names = "HC1",
    cluster: Names = "unit",
    ssc: str = "fixest-0.13",
    resamples: int = 999,
    null: float | None = None,
    level: float | None = None,
) -> NativeEstimator:
    """Regress unit means on unit means, each unit counting once.

    Parameters
    ----------
    formula : str
        ``"y ~ x1 + x2"``, with terms as in `fixed_effects`; they are evaluated, then averaged.
    term : str or sequence of str, optional
        The coefficients to report; by default all but the constant, whose name is ``"Intercept"``.
    estimand, vcov, cluster, ssc, resamples, null, level
        As in `fixed_effects`; there is no ``"RI"``. The variances count the units as observations.

    Returns
    -------
    NativeEstimator
        Called as ``estimator(key, panel)``; its estimates are labeled ``(term, vcov)``, with
        statuses as in `fixed_effects`.

    Raises
    ------
    InputError
        As `fixed_effects`, and for a formula with effects.

    References
    ----------
    Wooldridge (2010), Econometric Analysis of Cross Section and Panel Data, 2nd ed., section 10.2.

    Examples
    --------
    >>> from mcsim import Panel
    >>> panel = Panel({"y": [[1.0, 3.0], [3.0, 5.0], [2.0, 7.0]], "x": [[0, 2], [2, 4], [1, 6]]})
    >>> estimate = between("y ~ x")(None, panel)["x", "HC1"]
    >>> round(float(estimate.value), 3)
    1.0
    """
    parsed = parse_regression(formula, own_names=True)
    remedy = "between units there are none; use fixed_effects for them"
    faults = faults_of_parts(parsed, "between", effects=remedy)
    asked = Inference(vcov, cluster, ssc, term, estimand, Resampling(resamples, null, level))
    return regression(fit_between, parsed, asked, faults, known=REFITTED, constant=True)


def fit_between(
    key: Key[Array, ""] | None,
    panel: Panel,
    formula: RegressionFormula,
    *,
    term: tuple[str, ...],
    estimand: str | None,
    **inference: Any,
) -> dict[tuple[str, str], Estimate]:
    """Regress by least squares on unit means."""
    means = unit_means(read_regression(formula, panel))
    fit = fit_linear(means, (), formula.positions(term))
    return infer(key, means, fit, panel, term=labels(term, estimand), **inference)


@makes_estimator(version=1)
def first_difference(
    formula: str,
    *,
    trend: bool = False,
    term: Names | None = None,
    estimand: str | None = None,
    vcov: Names = "CR1",
    cluster: Names = "unit",
    ssc: str = "fixest-0.13",
    resamples: int = 999,
    null: float | None = None,
    level: float | None = None,
) -> NativeEstimator:
    """Regress the changes of the outcome on the changes of the regressors.

    Unit effects drop out, and with them the constant. A change needs a period and the one before it
    on the panel's calendar: across a gap there is none. With two periods it is `fixed_effects`.

    Parameters
    ----------
    formula : str
        ``"y ~ x1 + x2"``, or ``"y ~ x1 + x2 | time"`` with effects of the periods; terms as in
        `fixed_effects`. They are evaluated in levels and then differenced.
    trend : bool
        Keep a constant in the differenced equation: a linear trend that all units share. plm's
        ``model = "fd"`` does, linearmodels' FirstDifferenceOLS does not.
    term, estimand, vcov, cluster, ssc, resamples, null, level
        As in `fixed_effects`; there is no ``"RI"``. The variances count the changes as
        observations.

    Returns
    -------
    NativeEstimator
        Called as ``estimator(key, panel)``; its estimates are labeled ``(term, vcov)``, with
        statuses as in `fixed_effects`.

    Raises
    ------
    InputError
        As `fixed_effects`, and for unit effects in the formula.

    References
    ----------
    Wooldridge (2010), Econometric Analysis of Cross Section and Panel Data, 2nd ed., section 10.6.

    Examples
    --------
    >>> from mcsim import Panel
    >>> panel = Panel({"y": [[1.0, 2.0], [3.0, 5.0], [2.0, 2.0]], "x": [[0, 1], [1, 2], [1, 1]]})
    >>> estimate = first_difference("y ~ x")(None, panel)["x", "CR1"]
    >>> round(float(estimate.value), 3), round(float(estimate.se), 3)
    (1.5, 0.433)
    """
    parsed = parse_regression(formula)
    faults = faults_of_parts(parsed, "first_difference")
    if "unit" in parsed.effects:
        faults.append(
            f"formula {str(parsed)!r}: it has unit effects, which differences take out; leave "
            "'unit' out"
        )
    asked = Inference(vcov, cluster, ssc, term, estimand, Resampling(resamples, null, level))
    return regression(
        fit_first_difference, parsed, asked, faults, known=REFITTED, trend=bool(trend)
    )


def fit_first_difference(
    key: Key[Array, ""] | None,
    panel: Panel,
    formula: RegressionFormula,
    *,
    term: tuple[str, ...],
    estimand: str | None,
    trend: bool,
    **inference: Any,
) -> dict[tuple[str, str], Estimate]:
    """Regress by least squares on differences, without a constant unless there is a trend."""
    data = differences(read_regression(formula, panel))
    fit = fit_linear(
        data,
        formula.effects,
        formula.positions(term),
        constant=trend or bool(formula.effects),
    )
    return infer(key, data, fit, panel, term=labels(term, estimand), **inference)
