"""Callaway and Sant'Anna's estimator against diff-diff, group means and stacked moments."""

import numpy as np
import pytest
import statsmodels.api as sm

from adoption_panels import (
    EXACT,
    KEY,
    REFERENCE,
    att,
    given_up_for_good,
    no_never_treated,
    reference_panel,
    staggered,
    statuses,
    three_cohorts,
    values,
)
from mcsim import Panel, Status
from mcsim.errors import InputError
from mcsim.estimators import callaway_santanna


@pytest.mark.parametrize("case", REFERENCE["callaway_santanna"])
def test_callaway_santanna_equals_diff_diff(case):
    """Values and standard errors by the influence function coincide.

    But for "dr" with covariates, whose weights diff-diff does not normalize: see the stacked
    moments below.
    """
    control, covariates, method = ("notyet", "", "dr") if case == "treated" else case.split(" | ")
    formula = "y ~ d" + (f" | {covariates}" if covariates else "")
    panel = reference_panel("treated" if case == "treated" else "balanced")
    options = {"control": control, "method": method}
    found = {"att": values(callaway_santanna(formula, **options), panel)["att"]}
    for aggregation in ("event",) if covariates else ("event", "group"):
        parts = values(callaway_santanna(formula, aggregation=aggregation, **options), panel)
        found |= parts
    for name, numbers in REFERENCE["callaway_santanna"][case].items():
        if covariates and name.startswith("g="):
            continue
        ours = found["att" if name == "att" else f"att[{name}]"]
        np.testing.assert_allclose(ours, numbers, **EXACT, err_msg=name)


def test_the_universal_base_gives_sun_and_abraham():
    """Without covariates the interaction-weighted estimates are those of cohort and period."""
    found = values(
        callaway_santanna("y ~ d", aggregation="event", base="universal"), reference_panel()
    )
    for time, value in REFERENCE["sun_abraham"].items():
        np.testing.assert_allclose(found[f"att[{time}]"][0], value, **EXACT)


def group_means(y, d, control: str) -> dict[tuple[int, int], float]:
    """ATT(g, t) as differences of means of changes."""
    n_periods = y.shape[1]
    start = np.where(d.any(axis=1), d.argmax(axis=1), n_periods)
    cells = {}
    for g in set(start) - {0, n_periods}:
        for t in range(1, n_periods):
            change = y[:, t] - y[:, g - 1 if t >= g else t - 1]
            never = start == n_periods
            controls = never if control == "never" else (start > t) & (start != g)
            if controls.any():
                cells[int(g), t] = change[start == g].mean() - change[controls].mean()
    return cells


@pytest.mark.parametrize("control", ["never", "notyet"])
@pytest.mark.parametrize("seed", range(3))
def test_callaway_santanna_equals_group_means(seed, control):
    columns = staggered(seed)
    y, d = columns["y"], columns["d"]
    sizes = {int(g): (d.argmax(axis=1) == g).sum() for g in range(1, 6)}
    cells = group_means(y, d, control)
    found = values(callaway_santanna("y ~ d", control=control, aggregation="event"), Panel(columns))
    for event in range(-4, 5):
        here = {c: v for c, v in cells.items() if c[1] - c[0] == event}
        weights = [sizes[g] for g, _ in here]
        expected = np.average(list(here.values()), weights=weights)
        np.testing.assert_allclose(found[f"att[{event}]"][0], expected, rtol=1e-10, atol=1e-12)
    simple = {c: v for c, v in cells.items() if c[1] >= c[0]}
    expected = np.average(list(simple.values()), weights=[sizes[g] for g, _ in simple])
    found = att(callaway_santanna("y ~ d", control=control), columns)
    np.testing.assert_allclose(found.value, expected, rtol=1e-10)


def stacked_moments(change, treated, x, method: str) -> tuple[float, float]:
    """Value and standard error over two periods, the moments' Jacobian by complex steps."""
    z = sm.add_constant(x)
    k, t, c = z.shape[1], treated == 1, treated == 0
    beta = np.linalg.lstsq(z[c], change[c], rcond=None)[0]
    gamma = sm.Logit(treated, z).fit(disp=0, tol=1e-13, maxiter=100).params
    use_regression, use_odds = method != "ipw", method != "reg"

    def moments(theta):
        b, g, m1, m0 = theta[:k], theta[k : 2 * k], theta[-2], theta[-1]
        rest = change - z @ b if use_regression else change
        odds = np.exp(z @ g)
        controls = c * odds * (rest - m0) if use_odds else -m0 * np.ones(len(change))
        score = z * (treated - odds / (1 + odds))[:, None]
        return np.column_stack(
            [z * (c * (change - z @ b))[:, None], score, t * (rest - m1), controls]
        )

    rest = change - z @ beta if use_regression else change
    m0 = np.average(rest[c], weights=np.exp(z @ gamma)[c]) if use_odds else 0.0
    theta = np.r_[beta, gamma, rest[t].mean(), m0].astype(complex)
    steps = 1e-30j * np.eye(len(theta))
    jacobian = np.column_stack([moments(theta + h).mean(0).imag / 1e-30 for h in steps])
    influence = moments(theta).real @ np.linalg.inv(jacobian).T / len(change)
    return theta[-2].real - m0, np.sqrt(((influence[:, -2] - influence[:, -1]) ** 2).sum())


@pytest.mark.parametrize("method", ["dr", "reg", "ipw"])
def test_covariates_equal_stacked_moments(method):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 2)) @ np.array([[1.0, 0.5], [0.0, 2.0]])
    treated = (rng.uniform(size=150) < 1 / (1 + np.exp(0.3 - 0.8 * x[:, 0]))).astype(float)
    y = rng.normal(size=(150, 2)) + np.outer(x @ [1.0, -0.5] + treated * (2 + x[:, 1]), [0, 1])
    columns = {"y": y, "d": np.outer(treated, [0, 1])}
    columns |= {"a": np.outer(x[:, 0], [1, np.pi]), "b": np.outer(x[:, 1], [1, np.e])}
    found = att(callaway_santanna("y ~ d | a + b", method=method), columns)
    expected = stacked_moments(y[:, 1] - y[:, 0], treated, x, method)
    np.testing.assert_allclose([found.value, found.se], expected, rtol=1e-8)


@pytest.mark.parametrize("name", ["bootstrap", "bootstrap:mammen"])
def test_the_multiplier_bootstrap_approaches_the_influence_function(name):
    """The quartiles of 20,000 draws tell the standard error within 1 %: MCSE 0.8 %."""
    estimator = callaway_santanna("y ~ d", vcov=["influence", name], resamples=20_000)
    found = estimator(KEY, Panel(staggered(0, n=300)))
    ratio = found["att", name].se / found["att", "influence"].se
    assert abs(ratio - 1) < 0.035
    assert ratio != 1


def test_covariates_that_explain_nothing_leave_group_means():
    """A covariate with mean zero in every cohort and no slope changes no value."""
    columns = staggered(0, n=60)
    twice = {name: np.repeat(column, 2, axis=0) for name, column in columns.items()}
    twice["z"] = np.tile([[1.0], [-1.0]], (60, 6))
    expected = att(callaway_santanna("y ~ d"), twice).value
    for method in ("dr", "reg", "ipw"):
        found = att(callaway_santanna("y ~ d | z", method=method), twice)
        np.testing.assert_allclose(found.value, expected, rtol=1e-9)


def test_horizons_choose_cells():
    panel = Panel(staggered(0))
    all_of_them = values(callaway_santanna("y ~ d", aggregation="event"), panel)
    some = values(callaway_santanna("y ~ d", aggregation="event", horizons=[-1, 0, 2]), panel)
    assert list(some) == ["att[-1]", "att[0]", "att[2]", "att[0,2]"]
    for name in list(some)[:-1]:
        np.testing.assert_allclose(some[name], all_of_them[name], rtol=1e-12)
    mean = (some["att[0]"][0] + some["att[2]"][0]) / 2
    np.testing.assert_allclose(some["att[0,2]"][0], mean, rtol=1e-12)


def test_an_event_time_that_a_replication_lacks_is_a_status_of_its_own():
    found = callaway_santanna("y ~ d", aggregation="event")(KEY, Panel(three_cohorts()))
    assert found["att[-3]", "influence"].status == Status.INVALID_INPUT
    assert np.isnan(found["att[-3]", "influence"].value)
    assert found["att[0..3]", "influence"].status == Status.OK


@pytest.mark.parametrize("aggregation", ["event", "group", "calendar"])
def test_a_treatment_given_up_is_refused_in_every_aggregation(aggregation):
    estimator = callaway_santanna("y ~ d", aggregation=aggregation, control="notyet")
    assert statuses(estimator, given_up_for_good(staggered(0))) == {Status.INVALID_INPUT}


def test_no_never_treated_is_fine_with_those_not_yet():
    estimator = callaway_santanna("y ~ d", control="notyet")
    assert statuses(estimator, no_never_treated(staggered(0))) == {Status.OK}


@pytest.mark.parametrize("method", ["dr", "ipw"])
def test_separation_is_not_converged(method):
    columns = staggered(0)
    columns["z"] = columns["d"].any(axis=1, keepdims=True) + 0.01 * columns["z"]
    estimator = callaway_santanna("y ~ d | z", method=method)
    assert statuses(estimator, columns) == {Status.NONCONVERGED}


def test_an_unbalanced_panel_is_a_sentence():
    with pytest.raises(InputError, match="panel: got an unbalanced panel"):
        callaway_santanna("y ~ d")(KEY, reference_panel("unbalanced"))


def test_one_untreated_unit_is_the_control():
    """Changes since the period before treatment, less those of the only other unit."""
    y = np.random.default_rng(0).normal(size=(5, 4))
    d = np.outer(np.arange(5) < 4, np.arange(4) >= 2) * 1.0
    found = callaway_santanna("y ~ d", control="never")(None, Panel({"y": y, "d": d}))
    change = y[:, 2:] - y[:, [1]]
    expected = (change[:4].mean(axis=0) - change[4]).mean()
    (estimate,) = found.values()
    assert float(estimate.value) == pytest.approx(expected, rel=1e-12)
