"""Fixed effects of units, of periods, or both, and the half-panel jackknife of their bias.

A short panel biases the coefficients of dynamic models with unit effects. The jackknife removes
this bias by means of the estimates from the two halves of the panel.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Key

from mcsim._core.records import Estimate, Panel
from mcsim.errors import InputError, TooFewPeriods
from mcsim.estimators._formula import RegressionFormula, require_axes
from mcsim.estimators._linear_model.data import (
    Regression,
    between_periods,
    read_regression,
    without_singletons,
)
from mcsim.estimators._linear_model.least_squares import LinearFit, fit_linear
from mcsim.estimators._native import NativeEstimator, first_status, makes_estimator
from mcsim.estimators._options import Names, names_of
from mcsim.estimators._parsing import parse_regression
from mcsim.estimators._regression.regression import (
    Inference,
    Resampling,
    faults_of_parts,
    labels,
    regression,
)
from mcsim.estimators._variance.inference import infer
from mcsim.estimators._variance.names import faults_of_vcov, parse_vcov

SHORTEST = 4  # periods: two in each half
VCOV_OF_HALVES = ("CR0", "CR1")

KEEP_SINGLETONS = ("stata-xtreg", "stata-areg", "linearmodels")
"""The rules of programs that count observations that the effects explain entirely."""


@makes_estimator(version=1)
def fixed_effects(
    formula: str,
    *,
    term: Names | None = None,
    estimand: str | None = None,
    vcov: Names = "CR1",
    cluster: Names = "unit",
    ssc: str = "fixest-0.13",
    resamples: int = 999,
    null: float | None = None,
    level: float | None = None,
) -> NativeEstimator:
    """Regress with unit effects, period effects, or both.

    The effects are projected off exactly, in panels with gaps too. Units and periods that are
    observed once are left out, as in fixest and reghdfe, unless the small-sample rule is one of
    Stata's or linearmodels'. They change only the numbers that the rules count.

    Parameters
    ----------
    formula : str
        ``"y ~ x1 + x2 | unit + time"``: regressors may be columns, products ``a:b`` and ``a*b``,
        ``log(x)``, ``sqrt(x)``, ``exp(x)``, ``I(x**2)`` and lags ``lag(x)``, ``lag(x, 2)``, which
        count periods of the panel's calendar; a nominal column ``g`` enters as its dummies, with
        the coefficients ``g[1]``, ``g[2]``, ... The effects are the panel's own axes, ``unit``,
        ``time``, or both; where the schema of the data is known (in a study: the DGP's), they may
        have the names of the data, ``"y ~ x | fcode + year"``.
    term : str or sequence of str, optional
        The coefficients to report, as the formula writes them; all by default.
    estimand : str, optional
        The label of the one coefficient that ``term`` chooses; its text by default.
    vcov : str or sequence of str
        Variances by name; each gives an estimate of its own, from the same fit.

        * ``"iid"``, ``"HC0"``, ``"HC1"``, ``"HC2"``, ``"HC3"``; ``"HC2:BM"`` with the degrees of
          freedom of Bell & McCaffrey.
        * ``"CR0"``, ``"CR1"``, ``"CR2"``, ``"CR3"``, ``"CR2:BM"``; in brackets clusters of their
          own, ``"CR3(state)"``; ``"CR0"`` and ``"CR1"`` also two-way, ``"CR1(unit + time)"``.
        * ``"DK"``, ``"NW"``: Driscoll-Kraay and Newey-West, in brackets the lags, ``"DK(3)"``.
        * ``"wild"``, ``"wild:webb"``, ``"wild(state)"``: the wild cluster bootstrap, null imposed,
          with weights -1 and 1 or Webb's six. All 2^G vectors of signs of G clusters are
          enumerated if they are no more than ``resamples``.
        * ``"RI"``, ``"RI(state)"``: randomization inference, across units or clusters of them.

        The last two give a p-value and limits of their own, and no standard error.
    cluster : str or sequence of str
        The clusters of names without clusters in brackets: ``"unit"``, ``"time"``, or a
        column that is constant over a unit's periods.
    ssc : {"fixest-0.13", "pyfixest-0.60", "stata-xtreg", "stata-areg", "linearmodels", \
"jackknife", "none"}
        The rule of small-sample factors and degrees of freedom: that of a program, the jackknife's
        (G-1)/G for ``"CR3"``, or factors of 1 and the normal distribution. ``"pyfixest-0.60"`` is
        ``"fixest-0.13"`` but for ``"HC2"`` and ``"HC3"``, which have a factor n/(n-k) there and do
        not exist with effects.
    resamples : int
        Draws of ``"wild"`` and ``"RI"``.
    null, level : float, optional
        The null that ``"wild"`` and ``"RI"`` test, and the level of their limits. Default: those of
        the study or of `mcsim.estimate`, else 0 and 0.95. A study refuses values that differ from
        its own.

    Returns
    -------
    NativeEstimator
        Called as ``estimator(key, panel)``; its estimates are labeled ``(term, vcov)``. A collinear
        design, or a regressor that the effects explain, is ``SINGULAR``; no more observations than
        parameters are ``INVALID_INPUT``; a NaN among the observed cells is ``NAN`` in a call;
        studies and `mcsim.estimate` leave such cells out.

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
    parsed = parse_regression(formula, own_names=True)
    faults = faults_of_parts(parsed, "fixed_effects")
    if not parsed.effects:
        faults.append(
            f"formula {str(parsed)!r}: it has no effects; write 'y ~ x | unit + time', or use ols"
        )
    asked = Inference(vcov, cluster, ssc, term, estimand, Resampling(resamples, null, level))
    return regression(fit_fixed_effects, parsed, asked, faults)


def fit_fixed_effects(
    key: Key[Array, ""] | None,
    panel: Panel,
    formula: RegressionFormula,
    *,
    term: tuple[str, ...],
    estimand: str | None,
    ssc: str,
    **inference: Any,
) -> dict[tuple[str, str], Estimate]:
    """Regress by least squares on the data less their unit and period means."""
    data = read_with_effects(formula, panel, ssc)
    fit = fit_linear(data, formula.effects, formula.positions(term))
    return infer(key, data, fit, panel, term=labels(term, estimand), ssc=ssc, **inference)


def read_with_effects(formula: RegressionFormula, panel: Panel, ssc: str) -> Regression:
    """Read the data, without observations that the effects explain if the rule leaves them out.

    Raises
    ------
    InputError
        If there are unit effects and one period: known when the program is traced.
    """
    require_axes(formula)
    if "unit" in formula.effects and panel.n_periods < 2:
        raise TooFewPeriods(
            f"formula {str(formula)!r}: unit effects need at least 2 periods, got "
            f"{panel.n_periods}; without them, write 'y ~ x | time' or use ols"
        )
    return as_counted(read_regression(formula, panel), formula.effects, ssc)


def as_counted(data: Regression, effects: tuple[str, ...], ssc: str) -> Regression:
    """Leave out observations that the effects explain, unless the rule counts them."""
    return data if ssc in KEEP_SINGLETONS else without_singletons(data, effects)


@makes_estimator(version=1)
def half_panel_jackknife(
    formula: str,
    *,
    term: Names | None = None,
    estimand: str | None = None,
    vcov: Names = "CR1",
    cluster: Names = "unit",
    ssc: str = "fixest-0.13",
) -> NativeEstimator:
    """Regress with fixed effects, less the bias of dynamic models in short panels.

    The estimate is twice that of the whole panel, less the mean of those of its two halves: the
    bias of order 1/T cancels. With an odd number of periods the panel is cut twice, before and
    after the middle period, and the mean is over both cuts. Halves have equal weights, also if one
    is a period longer.

    Parameters
    ----------
    formula : str
        As in `fixed_effects`, for instance ``"y ~ lag(y) + x | unit"``. Periods that only lags need
        are not counted.
    vcov : str or sequence of str
        ``"CR0"`` or ``"CR1"``: the sum of squared influences of units. An influence is twice that
        in the whole panel, less the mean of those in the halves, each with the residuals of its own
        regression. This variance is right for many units and any number of periods. The variance of
        fixed effects, which Dhaene & Jochmans show to be right for many periods, is a third too
        small in short panels.
    cluster : str or sequence of str
        ``"unit"``, or a column that is constant over a unit's periods.
    term, estimand, ssc
        As in `fixed_effects`.

    Returns
    -------
    NativeEstimator
        Called as ``estimator(key, panel)``; its estimates are labeled ``(term, vcov)``, with
        statuses as in `fixed_effects`, of the worst of the regressions.

    Raises
    ------
    InputError
        As `fixed_effects`; when called, for a panel with a mask or fewer than 4 periods after lags.

    References
    ----------
    Dhaene & Jochmans (2015), Review of Economic Studies 82: 991-1030, section 3.

    Examples
    --------
    >>> import jax
    >>> from mcsim import Panel
    >>> y = jax.random.normal(jax.random.key(0), (100, 9)).cumsum(axis=1)
    >>> estimate = half_panel_jackknife("y ~ lag(y) | unit")(None, Panel({"y": y}))["lag(y)", "CR1"]
    >>> round(float(estimate.value), 2), round(float(estimate.se), 2)
    (0.86, 0.05)
    """
    parsed = parse_regression(formula)
    faults = faults_of_parts(parsed, "half_panel_jackknife")
    if "unit" not in parsed.effects:
        faults.append(
            f"formula {str(parsed)!r}: it has no unit effects, whose bias the jackknife takes off; "
            "write 'y ~ x | unit'"
        )
    names = names_of(vcov)
    if not faults_of_vcov(names, names_of(cluster), VCOV_OF_HALVES):
        faults += [
            f"vcov: half_panel_jackknife has no {name!r} by 'time': halves are not independent; "
            "expected units or groups of them"
            for name in names
            if "time" in parse_vcov(name, names_of(cluster)).clusters
        ]
    asked = Inference(vcov, cluster, ssc, term, estimand)
    return regression(fit_half_panel_jackknife, parsed, asked, faults, known=VCOV_OF_HALVES)


def fit_half_panel_jackknife(
    key: Key[Array, ""] | None,
    panel: Panel,
    formula: RegressionFormula,
    *,
    term: tuple[str, ...],
    estimand: str | None,
    **inference: Any,
) -> dict[tuple[str, str], Estimate]:
    """Estimate twice the whole less the mean of the halves, in coefficients and influences."""
    data = read_regression(formula, panel)
    _check_halves(data, panel, formula)
    fit = jackknifed(data, formula.effects, formula.positions(term))
    return infer(key, data, fit, panel, term=labels(term, estimand), **inference)


def jackknifed(data: Regression, effects: tuple[str, ...], terms: tuple[int, ...]) -> LinearFit:
    """Combine the fits of the whole panel and of its halves into one.

    Its loadings are the combined influences, and its residuals are 1: each regression has its own
    residuals.
    """
    every = tuple(range(len(data.x)))
    whole = fit_linear(data, effects, every)
    halves = [
        (fit_linear(between_periods(data, *half), effects, every), half)
        for half in _halves(data.shape[1])
    ]
    coef, influence, status = 2.0 * whole.coef, 2.0 * whole.influence, whole.status
    for fit, (start, stop) in halves:
        coef = coef - fit.coef / len(halves)
        influence = influence.at[:, :, start:stop].add(-fit.influence / len(halves))
        status = first_status(status, fit.status)
    wanted = jnp.asarray(terms, dtype=int)
    return whole._replace(
        coef=coef[wanted],
        loading=influence[wanted],
        residual=jnp.ones(data.shape),
        status=status,
    )


def _halves(n_periods: int) -> list[tuple[int, int]]:
    """Return the periods of the halves, as (first, last + 1); of both cuts if T is odd."""
    cuts = sorted({n_periods // 2, n_periods - n_periods // 2})
    return [half for cut in cuts for half in ((0, cut), (cut, n_periods))]


def _check_halves(data: Regression, panel: Panel, formula: RegressionFormula) -> None:
    if panel.mask is not None:
        raise InputError(
            f"formula {str(formula)!r}: half_panel_jackknife needs a balanced panel, this one has "
            "a mask; keep the units that are observed in every period, or use fixed_effects"
        )
    if data.shape[1] < SHORTEST:
        raise InputError(
            f"formula {str(formula)!r}: half_panel_jackknife needs at least {SHORTEST} periods "
            f"after lags, got {data.shape[1]}"
        )
