"""Pooled least squares, of panels and of cross-sections."""

from typing import Any, Literal

from jaxtyping import Array, Key

from mcsim._core.records import Estimate, Panel
from mcsim.estimators._formula import RegressionFormula, parse_regression
from mcsim.estimators._linear_model.data import read_regression
from mcsim.estimators._linear_model.least_squares import SOLVERS, fit_linear
from mcsim.estimators._native import NativeEstimator, faults_of_names, makes_estimator
from mcsim.estimators._regression.options import (
    Inference,
    Names,
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
        How least squares are solved. ``"cholesky"`` is fast and safe unless regressors are nearly
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
    """Least squares on the data less their means."""
    data = read_regression(formula, panel)
    fit = fit_linear(data, (), formula.positions(term), solver=solver)
    return infer(key, data, fit, panel, term=labels(term, estimand), **inference)
