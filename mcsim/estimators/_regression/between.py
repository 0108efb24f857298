"""The between estimator: least squares on unit means."""

from typing import Any

from jaxtyping import Array, Key

from mcsim._core.records import Estimate, Panel
from mcsim.estimators._formula import RegressionFormula, parse_regression
from mcsim.estimators._linear_model.data import read_regression
from mcsim.estimators._linear_model.least_squares import fit_linear
from mcsim.estimators._linear_model.transforms import unit_means
from mcsim.estimators._native import NativeEstimator, makes_estimator
from mcsim.estimators._regression.options import (
    REFITTED,
    Inference,
    Names,
    Resampling,
    faults_of_parts,
    labels,
    regression,
)
from mcsim.estimators._variance.inference import infer


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
    """Least squares on unit means."""
    means = unit_means(read_regression(formula, panel))
    fit = fit_linear(means, (), formula.positions(term))
    return infer(key, means, fit, panel, term=labels(term, estimand), **inference)
