"""Fixed effects against pyfixest and dummies; Nickell's bias and the half-panel jackknife."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from mcsim import Panel
from mcsim.errors import InputError
from mcsim.estimators import first_difference, fixed_effects, half_panel_jackknife
from regression_panels import (
    LINEARMODELS,
    PYFIXEST,
    RTOL,
    assert_as_linearmodels,
    by_linearmodels,
    by_pyfixest,
    draw,
    frame_of,
    numbers,
)


@pytest.mark.parametrize("effects", ["unit", "time", "unit + time"])
@pytest.mark.parametrize("seed", range(4))
def test_random_panels_with_gaps_as_pyfixest(effects, seed):
    panel = draw(seed, n_units=25, n_periods=7, observed=0.5)
    ours = fixed_effects(f"y ~ x + w | {effects}", vcov=list(PYFIXEST))(None, panel)
    frame = frame_of(panel)
    for vcov in PYFIXEST:
        theirs = by_pyfixest(f"y ~ x + w | {effects}", frame, vcov)
        for term in ("x", "w"):
            estimate = ours[term, vcov]
            assert float(estimate.value) == pytest.approx(theirs.coef()[term], rel=RTOL)
            assert float(estimate.se) == pytest.approx(theirs.se()[term], rel=RTOL)
            assert float(estimate.df) == pytest.approx(theirs._df_t)


def test_linearmodels_counts_units_that_are_observed_once():
    models = pytest.importorskip("linearmodels.panel")
    panel = draw(0, n_units=25, n_periods=7, observed=0.4)
    frame = frame_of(panel).set_index(["unit", "time"])
    assert (frame.groupby("unit")["y"].count() == 1).any()
    model = models.PanelOLS(frame["y"], frame[["x", "w"]], entity_effects=True, time_effects=True)
    estimator = fixed_effects(
        "y ~ x + w | unit + time", vcov=list(LINEARMODELS), ssc="linearmodels"
    )
    ours = estimator(None, panel)
    for vcov in LINEARMODELS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = by_linearmodels(model, vcov)
        assert_as_linearmodels(ours, theirs, vcov)
        assert {float(ours[t, vcov].df) for t in "xw"} == {theirs.df_resid}


# Identities -------------------------------------------------------------------------------------


@pytest.mark.parametrize("observed", [None, 0.6])
def test_fixed_effects_are_dummies(observed):
    panel = draw(6, n_units=12, n_periods=5, observed=observed)
    frame = frame_of(panel)
    dummies = pd.get_dummies(frame[["unit", "time"]].astype(str), drop_first=True, dtype=float)
    design = np.column_stack([frame[["x", "w"]], np.ones(len(frame)), dummies])
    coef, squares, rank, _ = np.linalg.lstsq(design, frame["y"].to_numpy(), rcond=None)
    assert rank == design.shape[1]
    variance = squares[0] / (len(frame) - rank) * np.linalg.inv(design.T @ design)
    ours = fixed_effects("y ~ x + w | unit + time", vcov="iid")(None, panel)
    for position, term in enumerate(("x", "w")):
        assert float(ours[term, "iid"].value) == pytest.approx(coef[position], rel=1e-10)
        assert float(ours[term, "iid"].se) == pytest.approx(variance[position, position] ** 0.5)


def test_periods_that_share_no_unit_have_dummies_too():
    """Units 0 to 9 are seen in periods 0 to 2, the others in 3 to 5: two panels side by side."""
    panel = draw(7, n_units=20, n_periods=6)
    early = jnp.arange(20)[:, None] < 10
    panel = Panel(dict(panel), early == (jnp.arange(6) < 3))
    frame = frame_of(panel)
    dummies = pd.get_dummies(frame[["unit", "time"]].astype(str), dtype=float)
    design = np.column_stack([frame[["x", "w"]], dummies])
    coef = np.linalg.lstsq(design, frame["y"].to_numpy(), rcond=None)[0]
    ours = fixed_effects("y ~ x + w | unit + time")(None, panel)
    np.testing.assert_allclose([float(ours[t, "CR1"].value) for t in "xw"], coef[:2], rtol=1e-9)


@pytest.mark.parametrize(("effects", "trend"), [("unit", False), ("unit + time", True)])
def test_with_two_periods_differences_are_fixed_effects(effects, trend):
    panel = draw(8, n_periods=2)
    within = fixed_effects(f"y ~ x + w | {effects}", vcov=["iid", "CR1"], ssc="none")(None, panel)
    changes = first_difference("y ~ x + w", trend=trend, vcov=["iid", "CR1"], ssc="none")
    differenced = changes(None, panel)
    np.testing.assert_allclose(numbers(within), numbers(differenced), rtol=1e-10)
    for term in "xw":
        se = [float(fit[term, "CR1"].se) for fit in (within, differenced)]
        assert se[0] == pytest.approx(se[1], rel=1e-10)
    with_dummies = first_difference("y ~ x + w | time", ssc="none")(None, panel)
    if trend:
        np.testing.assert_allclose(
            [float(e.value) for e in with_dummies.values()],
            [float(differenced[t, "CR1"].value) for t, _ in with_dummies],
            rtol=1e-10,
        )


def test_the_jackknife_is_what_it_says():
    for n_periods, cuts in ((6, [3]), (7, [3, 4])):
        panel = draw(11, n_periods=n_periods)
        whole = fixed_effects("y ~ x + w | unit")

        def part(start, stop, panel=panel, whole=whole):
            return numbers(whole(None, Panel({n: c[:, start:stop] for n, c in panel.items()})))

        halves = [part(*half) for cut in cuts for half in ((0, cut), (cut, n_periods))]
        ours = half_panel_jackknife("y ~ x + w | unit")(None, panel)
        expected = 2 * numbers(whole(None, panel)) - np.mean(halves, axis=0)
        np.testing.assert_allclose(numbers(ours), expected, rtol=1e-10)


# Simulations ------------------------------------------------------------------------------------


def nickell(rho, n_periods):
    """The bias of fixed effects (Nickell 1981, eq. 18)."""
    a = 1 - (1 - rho**n_periods) / (n_periods * (1 - rho))
    return -(1 + rho) / (n_periods - 1) * a / (1 - 2 * rho * a / ((1 - rho) * (n_periods - 1)))


def autoregression(key, rho, n_units, n_periods):
    """A stationary AR(1) with unit effects, and the period before the first."""
    effects, start, shocks = jax.random.split(key, 3)
    effect = jax.random.normal(effects, (n_units,))
    first = effect / (1 - rho) + jax.random.normal(start, (n_units,)) / jnp.sqrt(1 - rho**2)

    def step(y, shock):
        y = rho * y + effect + shock
        return y, y

    _, later = jax.lax.scan(step, first, jax.random.normal(shocks, (n_periods, n_units)))
    return Panel({"y": jnp.concatenate([first[None], later]).T})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rho", "n_periods", "jackknife_bias"),
    [(0.5, 5, -0.019), (0.5, 10, 0.006), (0.5, 20, 0.005), (0.9, 5, -0.098), (0.9, 20, 0.004)],
)
def test_nickells_bias_and_what_the_jackknife_leaves_of_it(rho, n_periods, jackknife_bias):
    reps, within, corrected = (
        300,
        fixed_effects("y ~ lag(y) | unit"),
        half_panel_jackknife("y ~ lag(y) | unit"),
    )

    def one(key):
        panel = autoregression(key, rho, 1000, n_periods)
        return [fit(None, panel)["lag(y)", "CR1"].value - rho for fit in (within, corrected)]

    draws = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), reps))
    for errors, bias, printed in zip(
        draws, (nickell(rho, n_periods), jackknife_bias), (0.0005, 0.0015), strict=True
    ):
        mcse = float(errors.std()) / reps**0.5
        assert abs(float(errors.mean()) - bias) < 4 * mcse + printed


@pytest.mark.slow
def test_standard_errors_of_the_jackknife_cover():
    corrected = half_panel_jackknife("y ~ lag(y) | unit")

    def one(key):
        estimate = corrected(None, autoregression(key, 0.5, 100, 10))["lag(y)", "CR1"]
        return estimate.value, estimate.se

    value, se = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(2), 2000))
    assert float(se.mean()) == pytest.approx(float(value.std()), rel=4 / 4000**0.5)
    assert abs(float((jnp.abs(value - value.mean()) < 1.96 * se).mean()) - 0.95) < 0.02


def test_the_jackknife_needs_two_periods_in_each_half():
    panel = Panel({name: column[:, :4] for name, column in draw().items()})
    half_panel_jackknife("y ~ x | unit")(None, panel)
    with pytest.raises(InputError, match="at least 4 periods after lags, got 3"):
        half_panel_jackknife("y ~ lag(x) | unit")(None, panel)


def test_the_jackknife_refuses_gaps():
    with pytest.raises(InputError, match="keep the units that are observed in every period"):
        half_panel_jackknife("y ~ x | unit")(None, draw(observed=0.9))
