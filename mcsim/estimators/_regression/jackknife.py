"""The half-panel jackknife: fixed effects less an estimate of their incidental-parameter bias."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Key

from mcsim._core.records import Estimate, Panel
from mcsim.errors import InputError
from mcsim.estimators._fit import first_status
from mcsim.estimators._formula import RegressionFormula, parse_regression
from mcsim.estimators._linear_model.data import Regression, read_regression
from mcsim.estimators._linear_model.least_squares import LinearFit, fit_linear
from mcsim.estimators._linear_model.transforms import between_periods
from mcsim.estimators._native import NativeEstimator, makes_estimator, names_of
from mcsim.estimators._regression.options import (
    Inference,
    Names,
    faults_of_parts,
    labels,
    regression,
)
from mcsim.estimators._variance.inference import infer
from mcsim.estimators._variance.names import faults_of_vcov, parse_vcov

SHORTEST = 4  # periods: two in each half
KNOWN = ("CR0", "CR1")


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
    """Regress with fixed effects, and take off the bias that short panels give dynamic models.

    Twice the estimate of the whole panel, less the mean of the estimates of its two halves: the
    bias of order 1/T cancels. With an odd number of periods the middle one goes to the first half
    and then to the second, and the mean is over both cuts. Halves weigh equally, however long they
    are: that of one period more does not count for more.

    Parameters
    ----------
    formula : str
        As in `fixed_effects`, for instance ``"y ~ lag(y) + x | unit"``. Periods that only lags need
        are not counted.
    vcov : str or sequence of str
        ``"CR0"`` or ``"CR1"``: sums of squares of units' influences, twice that on the whole less
        the mean of those on the halves, each with the residuals of its own regression. That is
        right for many units and any number of periods, while the variance of fixed effects, which
        Dhaene & Jochmans show to be right for many periods, is a third too small in short panels.
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
    if not faults_of_vcov(names, names_of(cluster), KNOWN):
        faults += [
            f"vcov: half_panel_jackknife has no {name!r} by 'time': halves are not independent; "
            "expected units or groups of them"
            for name in names
            if "time" in parse_vcov(name, names_of(cluster)).clusters
        ]
    asked = Inference(vcov, cluster, ssc, term, estimand)
    return regression(fit_half_panel_jackknife, parsed, asked, faults, known=KNOWN)


def fit_half_panel_jackknife(
    key: Key[Array, ""] | None,
    panel: Panel,
    formula: RegressionFormula,
    *,
    term: tuple[str, ...],
    estimand: str | None,
    **inference: Any,
) -> dict[tuple[str, str], Estimate]:
    """Twice the whole less the mean of the halves, in coefficients and in influences."""
    data = read_regression(formula, panel)
    _check(data, panel, formula)
    fit = jackknifed(data, formula.effects, formula.positions(term))
    return infer(key, data, fit, panel, term=labels(term, estimand), **inference)


def jackknifed(data: Regression, effects: tuple[str, ...], terms: tuple[int, ...]) -> LinearFit:
    """Combine the fits of the whole panel and of its halves into one.

    Its loadings are influences and its residuals ones: the regressions have residuals of their own.
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
    """The periods of the halves, as (first, one after the last); of both cuts if odd."""
    cuts = sorted({n_periods // 2, n_periods - n_periods // 2})
    return [half for cut in cuts for half in ((0, cut), (cut, n_periods))]


def _check(data: Regression, panel: Panel, formula: RegressionFormula) -> None:
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
