"""First differences: least squares on changes from one period to the next."""

from typing import Any

from jaxtyping import Array, Key

from mcsim._core.records import Estimate, Panel
from mcsim.estimators._formula import RegressionFormula, parse_regression
from mcsim.estimators._linear_model.data import read_regression
from mcsim.estimators._linear_model.least_squares import fit_linear
from mcsim.estimators._linear_model.transforms import differences
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
    """Least squares on differences, without a constant unless there is a trend."""
    data = differences(read_regression(formula, panel))
    fit = fit_linear(
        data,
        formula.effects,
        formula.positions(term),
        constant=trend or bool(formula.effects),
    )
    return infer(key, data, fit, panel, term=labels(term, estimand), **inference)
