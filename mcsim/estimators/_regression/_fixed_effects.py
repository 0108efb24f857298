"""Fixed effects: least squares within units, within periods, or both (two-way)."""

from typing import Any

from jaxtyping import Array, Key

from mcsim._core import Estimate, Panel
from mcsim.estimators._formula import RegressionFormula, parse_regression
from mcsim.estimators._linear_model._data import (
    Regression,
    read_regression,
    without_singletons,
)
from mcsim.estimators._linear_model._least_squares import check_periods, fit_linear
from mcsim.estimators._native import NativeEstimator
from mcsim.estimators._regression._options import (
    Inference,
    Names,
    faults_of_parts,
    labels,
    positions,
    regression,
)
from mcsim.estimators._variance._inference import infer

KEEP_SINGLETONS = ("stata-xtreg", "stata-areg", "linearmodels")
"""Rules of programs that count observations which effects explain entirely."""


def fixed_effects(
    formula: str,
    *,
    term: Names | None = None,
    estimand: str | None = None,
    vcov: Names = "CR1",
    cluster: Names = "unit",
    ssc: str = "fixest-0.13",
    resamples: int = 999,
    null: float = 0.0,
    level: float = 0.95,
) -> NativeEstimator:
    """Regress with unit effects, period effects, or both.

    The effects are projected off exactly, in panels with gaps too. Units and periods that are
    observed once are left out, as in fixest and reghdfe, unless the small-sample rule is one of
    Stata's or linearmodels': they change nothing but the numbers that the rules count.

    Parameters
    ----------
    formula : str
        ``"y ~ x1 + x2 | unit + time"``: regressors may be columns, products ``a:b`` and ``a*b``,
        ``log(x)``, ``sqrt(x)``, ``exp(x)``, ``I(x**2)`` and lags ``lag(x)``, ``lag(x, 2)``; the
        effects are the panel's own axes, ``unit``, ``time``, or both.
    term : str or sequence of str, optional
        The coefficients to report, as the formula writes them; all by default.
    estimand : str, optional
        What to call the one coefficient that ``term`` chooses; its text by default.
    vcov : str or sequence of str
        Variances by name: ``"iid"``, ``"HC0"`` to ``"HC3"``, ``"CR0"`` to ``"CR3"``, ``"CR2:BM"``
        (degrees of freedom of Bell & McCaffrey), ``"CR1(unit + time)"`` (two-way), ``"DK(3)"``,
        ``"NW(3)"``, ``"wild"``, ``"RI"``. Each gives an estimate of its own, from the same fit.
    cluster : str or sequence of str
        The clusters of names that do not say theirs in brackets: ``"unit"``, ``"time"``, or a
        column that is constant over a unit's periods.
    ssc : str
        The rule of small-sample factors and degrees of freedom.
    resamples : int
        Draws of the variances that resample.
    null, level : float
        The value that their p-values test, and the level of their own limits.

    Returns
    -------
    NativeEstimator
        Called as ``estimator(key, panel)``; its estimates are labeled ``(term, vcov)``. A collinear
        design, or a regressor that the effects explain, is ``SINGULAR``; no more observations than
        parameters are ``INVALID_INPUT``; a NaN among the observed cells is ``NAN``.

    Raises
    ------
    InputError
        For a formula that cannot be parsed or has no effects, an unknown term, variance or rule;
        when called, for a column that the panel does not have, or one period.

    References
    ----------
    Frisch & Waugh (1933), Econometrica 1: 387-401. Wooldridge (2010), Econometric Analysis of Cross
    Section and Panel Data, 2nd ed., section 10.5. Arellano (1987), Oxford Bulletin of Economics and
    Statistics 49: 431-434, for ``"CR0"`` by unit.

    Examples
    --------
    >>> from mcsim import Panel
    >>> panel = Panel({"y": [[1.0, 2.0], [3.0, 6.5], [2.0, 2.5]], "d": [[0, 0], [0, 1], [0, 0]]})
    >>> twfe = fixed_effects("y ~ d | unit + time", term="d", estimand="att", vcov=["iid", "CR1"])
    >>> estimate = twfe(None, panel)["att", "iid"]
    >>> round(float(estimate.value), 3), round(float(estimate.se), 3)
    (2.75, 0.433)
    >>> twfe
    fixed_effects('y ~ d | unit + time', term='d', estimand='att', vcov=('iid', 'CR1'), \
cluster='unit', ssc='fixest-0.13')
    """
    parsed = parse_regression(formula)
    faults = faults_of_parts(parsed, "fixed_effects")
    if not parsed.effects:
        faults.append(
            f"formula {str(parsed)!r}: it has no effects; write 'y ~ x | unit + time', or use ols"
        )
    asked = Inference(term, estimand, vcov, cluster, ssc, resamples, null, level)
    return regression(fit_fixed_effects, parsed, asked, faults)


def fit_fixed_effects(
    key: Key[Array, ""] | None,
    panel: Panel,
    formula: RegressionFormula,
    *,
    term: tuple[str, ...],
    estimand: str | None = None,
    ssc: str = "fixest-0.13",
    **inference: Any,
) -> dict[tuple[str, str], Estimate]:
    """Least squares on the data less their unit and period means."""
    data = read_with_effects(formula, panel, ssc)
    fit = fit_linear(data, formula.effects, positions(formula, term))
    return infer(key, data, fit, panel, term=labels(term, estimand), ssc=ssc, **inference)


def read_with_effects(formula: RegressionFormula, panel: Panel, ssc: str) -> Regression:
    """Read the data, less the observations that effects explain where the rule does not count them.

    Raises
    ------
    InputError
        If there are unit effects and one period: known when the program is traced.
    """
    check_periods(panel.n_periods, formula.effects, str(formula))
    data = read_regression(formula, panel)
    return data if ssc in KEEP_SINGLETONS else without_singletons(data, formula.effects)
