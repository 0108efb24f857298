"""Parametric panels, factor models, and known effects: moments, truths, counts, bad input."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.linalg import solve_discrete_lyapunov
from scipy.stats import norm

from mcsim import Design, Estimate, Panel, Sample, Study, from_frame, grid, run, to_frame
from mcsim._run.compiled import draw_chunk
from mcsim.dgps import (
    Bootstrap,
    DynamicPanel,
    ErrorComponents,
    FactorModel,
    InteractiveEffects,
    LinearIV,
    at_random,
    by_cohort,
    by_exposure,
    by_path,
    by_probability,
    by_unit_factors,
    heterogeneous,
    in_random_periods,
    unit_factor_probabilities,
    with_effect,
)
from mcsim.errors import InputError
from mcsim.testing import check_dgp

CPS = Path(os.environ.get("MCSIM_DATA", "nowhere")) / "cps_state_wages.csv"

needs_cps = pytest.mark.skipif(
    not CPS.exists(), reason="set MCSIM_DATA to a folder with cps_state_wages.csv"
)

EMPTY = Panel({"y": np.zeros((50, 21))})

STATES = ErrorComponents(n_units=50, n_periods=21, beta=None, rho=0.8)

LAWS = with_effect(STATES, outcome="y", assignment=at_random(n_treated=25, start=(6, 16)))

ALL = {
    "error components": ErrorComponents(n_groups=5, group_share=0.2, time_share=0.1, rho=0.5),
    "dynamic": DynamicPanel(),
    "burned in": DynamicPanel(burn_in=10),
    "interactive": InteractiveEffects(),
    "random z": LinearIV(n_instruments=3),
    "fixed z": LinearIV(instruments="fixed"),
    "limit": LinearIV(instruments="limit"),
    "laws": LAWS,
}


def draw(dgp, reps, design=None, seed=0):
    """Columns (rep, unit, period) and truths (rep,) as NumPy arrays."""
    keys = jax.random.split(jax.random.key(seed), reps)
    sample = draw_chunk("dgp", dgp, keys, design or Design())
    return jax.tree.map(np.asarray, (dict(sample.panel), dict(sample.truth)))


def assert_mean(values, expected, bound=4.5):
    """The mean over the first axis is what it should be, in its Monte Carlo standard errors."""
    error = np.std(values, axis=0, ddof=1) / len(values) ** 0.5
    distance = np.abs(np.mean(values, axis=0) - expected)
    assert np.all(distance <= bound * error + 1e-12), distance / error


@pytest.mark.parametrize("name", ALL)
def test_contracts(name):
    check_dgp(ALL[name])


@pytest.mark.parametrize("name", ALL)
def test_a_batch_gives_what_one_at_a_time_gives(name):
    keys = jax.random.split(jax.random.key(4), 3)
    batch = draw_chunk("dgp", ALL[name], keys, Design()).panel
    for i, key in enumerate(keys):
        alone = ALL[name](key, Design()).panel
        for column in alone:
            np.testing.assert_allclose(batch[column][i], alone[column], rtol=1e-12, atol=1e-13)
            assert alone[column].dtype == jnp.float64


def test_floats_of_a_grid_share_one_program():
    traces = []

    def counted(key, panel):
        traces.append(1)
        return at_random(n_treated=25, start=10)(key, panel)

    dgp = with_effect(STATES, outcome="y", assignment=counted)
    drawn = [
        draw(dgp, 4, design)[0]["y"]
        for design in grid(rho=[-0.4, 0, 0.8], unit_share=[0, 0.3], effect=[0, 0.02])
    ]
    assert len(traces) == 1
    assert len({values.tobytes() for values in drawn}) == 12


def test_a_factor_does_what_the_field_does():
    design = Design({"rho": 0.3, "n_units": 20, "unit_share": 0.4, "sd": 2.0})
    by_factor = ErrorComponents()(jax.random.key(1), design).panel
    by_field = ErrorComponents(rho=0.3, n_units=20, unit_share=0.4, sd=2.0)
    np.testing.assert_allclose(
        by_factor["y"], by_field(jax.random.key(1), Design()).panel["y"], rtol=1e-12
    )


# Error components


def covariance_by_period(left, right):
    """Products (rep, period, period) of two columns, averaged over units."""
    return np.einsum("rit,ris->rts", left, right) / left.shape[1]


@pytest.mark.parametrize("prefix", ["", "x_"])
def test_shares_and_autocorrelations_are_as_declared(prefix):
    shares = {"unit_share": 0.3, "time_share": 0.15, "group_share": 0.2, "rho": 0.6, "sd": 2.0}
    options = {prefix + name: value for name, value in shares.items()}
    dgp = ErrorComponents(n_units=24, n_periods=6, n_groups=4, beta=0.0, **options)
    drawn, truth = draw(dgp, 4000)
    u = drawn["x" if prefix else "y"]
    lag = np.abs(np.arange(6)[:, None] - np.arange(6))
    common, path = 4 * 0.15 * (lag == 0), 4 * 0.6**lag
    own = 4 * 0.3 + 0.35 * path
    group = np.arange(24) * 4 // 24
    np.testing.assert_array_equal(drawn["group"][7], np.repeat(group[:, None], 6, axis=1))
    assert_mean(covariance_by_period(u, u), own + 0.2 * path + common)
    assert_mean(covariance_by_period(u[:, [0, 6, 12]], u[:, [1, 7, 17]]), 0.2 * path + common)
    assert_mean(covariance_by_period(u[:, [0, 6]], u[:, [6, 12]]), common)
    assert set(truth["x"]) == {0.0}


def test_y_is_beta_x_plus_an_error_that_x_does_not_know():
    drawn, truth = draw(ErrorComponents(beta=1.5, rho=0.5, x_rho=0.9, unit_share=0.5), 2000)
    u = drawn["y"] - 1.5 * drawn["x"]
    assert_mean(covariance_by_period(u, drawn["x"]), 0.0)
    assert_mean((u**2).mean((1, 2)), 1.0)
    assert truth["x"][0] == 1.5


def test_petersens_ols_has_the_standard_error_of_his_formula():
    shares = {"unit_share": 0.5, "x_unit_share": 0.5}
    dgp = ErrorComponents(n_units=500, sd=2.0, **shares)
    drawn, _ = draw(dgp, 1000)
    x, y = (drawn[name].reshape(1000, -1) for name in ("x", "y"))
    x = x - x.mean(1, keepdims=True)
    slope = (x * y).sum(1) / (x**2).sum(1)
    exact = 0.02828 * np.sqrt(1 + 9 * 0.25)  # Petersen (2009), p. 443
    assert slope.std() == pytest.approx(exact, abs=4.5 * exact / np.sqrt(2000))
    assert_mean(slope, 1.0)


def test_without_noise_effects_are_additive_to_the_last_digit():
    dgp = ErrorComponents(beta=None, unit_share=0.5, time_share=0.5)
    y = draw(dgp, 2)[0]["y"]
    doubly = y - y.mean(1, keepdims=True) - y.mean(2, keepdims=True) + y.mean((1, 2), keepdims=True)
    assert np.abs(doubly).max() < 1e-14
    assert y.std() > 0.5


# Dynamic panels


@pytest.mark.parametrize("beta", [None, 0.7])
def test_the_stationary_start_is_stationary(beta):
    dgp = DynamicPanel(n_units=40, n_periods=4, alpha=0.6, beta=beta, x_rho=0.5, unit_sd=0.8)
    drawn, _ = draw(dgp, 6000)
    b = beta or 0.0
    step = np.array([[0.6, b * 0.5], [0.0, 0.5]])  # of (y, x), x's innovation entering y at once
    noise = np.array([[1.0 + b**2 * 0.9, b * 0.9], [b * 0.9, 0.9]])
    expected = solve_discrete_lyapunov(step, noise)
    effect = 0.8**2 / (1 - 0.6) ** 2
    assert_mean((drawn["y_lag"] ** 2).mean(1), expected[0, 0] + effect)
    assert_mean((drawn["y"] ** 2).mean(1), expected[0, 0] + effect)
    if beta is not None:
        assert_mean((drawn["x"] ** 2).mean(1), expected[1, 1])
        assert_mean((drawn["y"] * drawn["x"]).mean(1), expected[0, 1])


@pytest.mark.parametrize("burn_in", [None, 1, 10])
def test_the_recursion_holds(burn_in):
    dgp = DynamicPanel(n_units=30, alpha=0.4, beta=2.0, burn_in=burn_in)
    drawn, truth = draw(dgp, 3000)
    np.testing.assert_array_equal(drawn["y_lag"][..., 1:], drawn["y"][..., :-1])
    residual = drawn["y"] - 0.4 * drawn["y_lag"] - 2.0 * drawn["x"]
    assert_mean(covariance_by_period(residual, residual), 1.0 + np.eye(7))
    innovation = drawn["x"][..., 1:] - 0.8 * drawn["x"][..., :-1]
    assert_mean((innovation**2).mean(1), 0.9)
    assert {name: values[0] for name, values in truth.items()} == {
        "y_lag": 0.4, "lag(y)": 0.4, "x": 2.0,
    }  # fmt: skip
    if burn_in == 1:
        assert not drawn["y_lag"][..., 0].any()


def test_the_start_at_zero_is_one_of_the_discarded_cross_sections():
    """A random walk's variance counts the periods that were drawn: nine before the first kept."""
    dgp = DynamicPanel(alpha=1.0, beta=None, unit_sd=0.0, burn_in=10)
    drawn, _ = draw(dgp, 1000)
    assert_mean((drawn["y_lag"][..., 0] ** 2).mean(1), 9.0)
    assert_mean((drawn["y"][..., 0] ** 2).mean(1), 10.0)


def least_squares(y, *regressors):
    """Slopes (rep, k) of pooled regressions without intercept."""
    x = np.stack([r.reshape(len(r), -1) for r in regressors], axis=-1)
    gram = np.einsum("rnk,rnl->rkl", x, x)
    return np.linalg.solve(gram, np.einsum("rnk,rn->rk", x, y.reshape(len(y), -1))[..., None])[
        ..., 0
    ]


def centered(column, axes):
    return column - column.mean(axes, keepdims=True)


def nickell_bias(rho, t):
    a = 1 - (1 - rho**t) / (t * (1 - rho))
    return -(1 + rho) / (t - 1) * a / (1 - 2 * rho * a / ((1 - rho) * (t - 1)))


@pytest.mark.parametrize(("alpha", "t"), [(0.5, 5), (0.9, 10)])
def test_within_has_nickells_bias(alpha, t):
    dgp = DynamicPanel(n_units=1000, n_periods=t, beta=None)
    drawn, _ = draw(dgp, 200, Design({"alpha": alpha}))
    slope = least_squares(*(centered(drawn[name], 2) for name in ("y", "y_lag")))[:, 0]
    assert_mean(slope, alpha + nickell_bias(alpha, t))


@pytest.mark.parametrize(
    ("alpha", "ols", "within"), [(0.2, 0.514, 0.099), (0.5, 0.729, 0.396), (0.8, 0.911, 0.710)]
)
def test_arellano_and_bonds_design(alpha, ols, within):
    """An independent simulation of theirs: y in 7 periods, hence 6 with a lag."""
    dgp = DynamicPanel(n_units=100, n_periods=7, alpha=alpha, burn_in=10)
    drawn, _ = draw(dgp, 1000)
    y, lag, x = (drawn[name][..., 1:] for name in ("y", "y_lag", "x"))
    pooled = least_squares(*(centered(column, (1, 2)) for column in (y, lag, x)))[:, 0]
    demeaned = least_squares(*(centered(column, 2) for column in (y, lag, x)))[:, 0]
    for slopes, expected in ((pooled, ols), (demeaned, within)):
        error = slopes.std() * np.sqrt(2 / 1000)
        assert abs(slopes.mean() - expected) < 4 * error + 0.0005


# Interactive effects


def test_the_regressor_follows_the_factors():
    dgp = InteractiveEffects(n_units=30, n_periods=10, rank=2, sd=0.5)
    drawn, truth = draw(dgp, 4000, Design({"confounding": 0.7, "beta": 2.0}))
    rest = drawn["y"] - 2.0 * drawn["x"]
    assert_mean((rest**2).mean((1, 2)), 2 + 0.25)
    assert_mean((drawn["x"] ** 2).mean((1, 2)), 0.7**2 * 6 + 1)
    assert_mean((rest * drawn["x"]).mean((1, 2)), 0.7 * 2)
    assert truth["x"][0] == 2.0


def test_what_is_common_has_the_rank_asked_for():
    dgp = InteractiveEffects(rank=3, sd=0.0, beta=0.5)
    drawn, _ = draw(dgp, 1)
    singular = np.linalg.svd((drawn["y"] - 0.5 * drawn["x"])[0], compute_uv=False)
    assert singular[2] > 1
    assert singular[3] < 1e-10


# Instruments


def first_stage(drawn, k):
    """First-stage F with an intercept (rep,)."""
    z = np.concatenate([drawn[f"z{j + 1}"] for j in range(k)], axis=-1)
    z, d = z - z.mean(1, keepdims=True), drawn["d"] - drawn["d"].mean(1, keepdims=True)
    fitted = z @ np.linalg.solve(z.swapaxes(1, 2) @ z, z.swapaxes(1, 2) @ d)
    n = d.shape[1]
    return ((fitted**2).sum((1, 2)) / k) / (((d - fitted) ** 2).sum((1, 2)) / (n - k - 1))


@pytest.mark.parametrize("instruments", ["random", "fixed"])
def test_the_first_stage_is_as_strong_as_declared(instruments):
    dgp = LinearIV(n_units=100, n_instruments=3, concentration=12.0, instruments=instruments)
    drawn, truth = draw(dgp, 8000)
    strength = 12.0 * (0.99 if instruments == "random" else 1.0)  # z is centered: n - 1 of n
    assert_mean(first_stage(drawn, 3), (3 + strength) / 3 * 96 / 94)  # of a noncentral F
    assert truth["first_stage_F"][0] == 5.0


def test_errors_are_correlated_as_declared():
    drawn, truth = draw(LinearIV(rho=-0.6, beta=2.0, concentration=8.0), 4000)
    u, v = drawn["y"] - 2 * drawn["d"], drawn["d"] - np.sqrt(8 / 200) * drawn["z1"]
    assert_mean((u * v).mean((1, 2)), -0.6)
    assert_mean((v**2).mean((1, 2)), 1.0)
    assert truth["d"][0] == 2.0


def test_in_the_limit_only_the_scores_vary():
    dgp = LinearIV(n_units=40, n_instruments=2, instruments="limit", rho=0.7, concentration=6.0)
    drawn, _ = draw(dgp, 6000, Design({"beta": 1.0}))
    z = np.concatenate([drawn["z1"], drawn["z2"]], axis=-1)[0]
    np.testing.assert_allclose(
        z.T @ np.column_stack([np.ones(40), z]) / 40, np.eye(3)[1:], atol=1e-12
    )
    v = drawn["d"][..., 0] - np.sqrt(6 / 80) * z.sum(1)
    u = drawn["y"][..., 0] - drawn["d"][..., 0]
    scores = np.stack([u @ z, v @ z], axis=-1) / 40**0.5  # (rep, instrument, equation)
    errors = np.stack([u, v], axis=-1)
    rest = errors - np.einsum("nk,rke->rne", z, scores) / 40**0.5
    moments = np.einsum("rne,rnf->ref", rest, rest) / 40
    correlation = np.array([[1.0, 0.7], [0.7, 1.0]])
    np.testing.assert_allclose(moments, np.array([correlation] * 6000), atol=1e-12)
    assert_mean(np.einsum("rke,rkf->ref", scores, scores) / 2, correlation)


@pytest.mark.parametrize(
    ("concentration", "rho", "size"),
    [(5.771, 1.0, 0.102), (5.771, 0.95, 0.095), (1.818, 0.95, 0.140), (0.499, 0.8, 0.122)],
)
def test_the_limit_has_stock_and_yogos_size(concentration, rho, size):
    """2SLS by hand; the figures are from an independent simulation of the asymptotic design."""
    dgp = LinearIV(n_units=1000, instruments="limit", concentration=concentration, rho=rho)
    drawn, _ = draw(dgp, 16_000)
    y, d, z = (drawn[name][..., 0] for name in ("y", "d", "z1"))
    slope = (z * y).sum(1) / (z * d).sum(1)
    spread = np.sqrt(((y - slope[:, None] * d) ** 2).mean(1) * (z**2).sum(1))
    rejected = np.abs(slope) * np.abs((z * d).sum(1)) / spread > norm.ppf(0.975)
    assert rejected.mean() == pytest.approx(size, abs=4 * np.sqrt(size * (1 - size) / 16_000))


# Assignments


def assign(assignment, panel=EMPTY, reps=500, seed=2):
    keys = jax.random.split(jax.random.key(seed), reps)
    return np.asarray(jax.jit(jax.vmap(lambda key: assignment(key, panel)))(keys))


@pytest.mark.parametrize("size", [{"n_treated": 25}, {"share": 0.5}])
def test_at_random_treats_exactly_so_many_from_one_period_on(size):
    d = assign(at_random(**size, start=(6, 16)), reps=4000)
    assert set(d[:, :, -1].sum(1)) == {25}
    assert (np.diff(d, axis=2) >= 0).all()
    starts = 21 - d.max(1).sum(1)
    assert set(starts) == set(range(6, 17))
    assert_mean(np.eye(17)[starts.astype(int)][:, 6:], 1 / 11)
    assert_mean(d[:, :, -1], 0.5)
    assert_mean(d[:, 3, -1] * d[:, 4, -1], 25 * 24 / (50 * 49))


@pytest.mark.parametrize(("start", "first"), [(-10, 11), (20, 20), (0, 0)])
def test_a_single_start_counts_from_either_end(start, first):
    d = assign(at_random(n_treated=3, start=start), reps=3)
    assert set(d[:, :, first:].sum(1).ravel()) == {3}
    assert not d[:, :, :first].any()


def test_random_years_are_the_same_for_all_treated():
    d = assign(in_random_periods(n_treated=20, n_treated_periods=10), reps=2000)
    assert set(d.sum((1, 2))) == {200}
    assert set(d.max(2).sum(1)) == {20}
    assert set(d.max(1).sum(1)) == {10}
    assert_mean(d.max(1), 10 / 21)


def test_cohorts_have_their_sizes_and_starts():
    d = assign(by_cohort({3: 10, 12: 0.3, -1: 1}), reps=200)
    starts = np.where(d.any(2), d.argmax(2), 99)
    counts = [(starts == start).sum(1) for start in (3, 12, 20, 99)]
    np.testing.assert_array_equal(np.stack(counts), np.array([[10, 15, 1, 24]] * 200).T)
    assert_mean(starts == 3, 0.2)
    fixed = assign(by_cohort({3: 10, 12: 0.3}, shuffle=False), reps=2)
    assert np.argmax(fixed[1], axis=1).tolist() == [3] * 10 + [12] * 15 + [0] * 25


STATE = np.repeat(np.arange(10.0) * 7, 5)[:, None] * np.ones(21)


@pytest.mark.parametrize(
    "assignment",
    [
        at_random(n_treated=4, start=5, cluster="state"),
        at_random(share=0.4, start=5, cluster="state"),
        in_random_periods(n_treated=4, cluster="state"),
        by_cohort({5: 3, 9: 0.1}, cluster="state"),
    ],
)
def test_groups_above_the_unit_are_treated_together(assignment):
    mask = np.ones((50, 21), bool)
    mask[::2, 0] = False
    panel = Panel({"y": np.zeros((50, 21)), "state": STATE * mask}, jnp.asarray(mask))
    d = assign(assignment, panel, reps=300)
    by_state = d.reshape(300, 10, 5, 21)
    np.testing.assert_array_equal(by_state, by_state[:, :, :1] * np.ones(5)[:, None])
    assert set(by_state[:, :, 0].max(2).sum(1)) == {4}
    assert_mean(by_state[:, :, 0].max(2), 0.4)


def test_probabilities_at_least_one_and_at_most_so_many():
    p = np.linspace(0.0, 0.12, 50)
    chance = assign(by_probability(p, max_treated=10), reps=20_000)
    d = chance[:, :, -1]
    assert not chance[:, :, :11].any()
    rng = np.random.default_rng(0)
    came_up = rng.uniform(size=(20_000, 50)) < p
    count = came_up.sum(1)
    for size in range(1, 11):  # at 10: all that came up with more, and those drawn for none
        here = count == size if size < 10 else (count >= 10) | (count == 0)
        assert np.mean(d.sum(1) == size) == pytest.approx(here.mean(), abs=0.016)
    assert d.sum(1).min() >= 1
    assert d.sum(1).max() == 10
    few = d[d.sum(1) < 10]
    assert not few[:, 0].any()  # the first unit has probability zero
    assert d[d.sum(1) == 10][:, 0].mean() > 0.05  # unless none came up


def test_probabilities_can_be_a_column():
    p = np.where(np.arange(50) < 5, 1.0, 0.0)[:, None] * np.ones(21)
    panel = Panel({"y": np.zeros((50, 21)), "p": p})
    d = assign(by_probability("p", start=20), panel, reps=5)
    np.testing.assert_array_equal(d[:, :, 20], np.array([p[:, 0]] * 5))


# Known effects


def twfe(y, d):
    """The slope of y on d and two-way effects, by Frisch, Waugh and Lovell."""
    residual = d - d.mean(0) - d.mean(1, keepdims=True) + d.mean()
    return (residual * y).sum() / (residual * d).sum()


@pytest.mark.parametrize("shuffle", [True, False])
def test_staggered_adoption_is_exact(shuffle):
    """Three cohorts: never, from the fourth and from the second of five periods."""
    effects = ErrorComponents(
        n_units=30, n_periods=5, beta=None, unit_share=0.5, time_share=0.5, sd=3.0
    )
    dgp = with_effect(
        effects,
        outcome="y",
        assignment=by_cohort({3: 1 / 3, 1: 1 / 3}, shuffle=shuffle),
        effect=by_exposure([1, 2, 3, 4]),
    )
    drawn, truth = draw(dgp, 3)
    for i in range(3):
        assert twfe(drawn["y"][i], drawn["d"][i]) == pytest.approx(1.25, abs=1e-12)
        assert truth["att"][i] == pytest.approx(13 / 6, abs=1e-12)


def rejections(y, d):
    """How often a z-test on two-way OLS with iid standard errors rejects that d does nothing."""

    def within(a):
        return (
            a - a.mean(1, keepdims=True) - a.mean(2, keepdims=True) + a.mean((1, 2), keepdims=True)
        )

    n, t = y.shape[1:]
    y, d = within(y), within(d)
    square = (d**2).sum((1, 2))
    slope = (d * y).sum((1, 2)) / square
    residual = y - slope[:, None, None] * d
    variance = (residual**2).sum((1, 2)) / (n * t - n - t) / square
    return np.mean(np.abs(slope) > 1.96 * np.sqrt(variance))


def assert_rate(rate, expected, reps=4000):
    assert abs(rate - expected) < 4 * np.sqrt(2 * expected * (1 - expected) / reps)


@pytest.mark.parametrize(("rho", "rate"), [(-0.4, 0.003), (0.0, 0.047), (0.8, 0.396)])
def test_placebo_laws_reject_as_in_bertrand_and_others(rho, rate):
    """An independent simulation of their AR(1) design, 4,000 replications."""
    drawn, _ = draw(LAWS, 4000, Design({"rho": rho}))
    assert_rate(rejections(drawn["y"], drawn["d"]), rate)


def test_a_factor_scales_a_path_and_does_not_replace_it():
    panel = ErrorComponents(n_units=9, n_periods=5, beta=None)
    growing = by_exposure([1, 2])
    dgp = with_effect(panel, outcome="y", assignment=by_cohort({3: 9}), effect=growing)
    assert float(
        dgp(jax.random.key(0), Design({"effect_scale": 0.1})).truth["att"]
    ) == pytest.approx(0.15)
    with pytest.raises(
        InputError, match="vary the size of the path with the factor 'effect_scale'"
    ):
        dgp(jax.random.key(0), Design({"effect": 0.1}))


@pytest.mark.parametrize(
    ("dgp", "factor"),
    [
        (LAWS, "efect"),
        (STATES, "rhoo"),
        (with_effect(EMPTY, outcome="y", assignment=at_random(share=0.5, start=2)), "rho"),
        (Bootstrap(EMPTY), "n"),
    ],
)
def test_a_factor_that_nothing_reads_is_refused(dgp, factor):
    with pytest.raises(InputError, match=f"no DGP of the study reads the factor '{factor}'"):
        Study(dgp=dgp, estimators=lambda key, panel: Estimate(0.0), designs=grid(**{factor: [0.1]}))


def test_horizons_have_truths_of_their_own():
    panel = ErrorComponents(n_units=9, n_periods=5, beta=None)
    dgp = with_effect(
        panel,
        outcome="y",
        assignment=by_cohort({3: 1 / 3, 1: 1 / 3}),
        effect=by_exposure([1, 2, 3, 4]),
        horizons=(0, 1, 3, 4),
    )
    truth = dgp(jax.random.key(0), Design()).truth
    assert [float(truth[f"att[{e}]"]) for e in (0, 1, 3)] == [1.0, 2.0, 4.0]
    assert np.isnan(truth["att[4]"])  # nobody is treated for so long
    constant = with_effect(panel, outcome="y", assignment=by_cohort({2: 3}), horizons=[1], effect=2)
    assert float(constant(jax.random.key(0), Design()).truth["att[1]"]) == 2.0
    before = with_effect(panel, outcome="y", assignment=by_cohort({2: 3}), horizons=[-1], effect=2)
    assert float(before(jax.random.key(0), Design()).truth["att[-1]"]) == 0.0


@needs_cps
@pytest.mark.parametrize(
    ("resampled", "laws", "rate"),
    [
        (False, at_random(n_treated=25, start=(6, 16)), 0.437),
        (True, at_random(n_treated=25, start=(6, 16)), 0.426),
        (False, in_random_periods(n_treated=25, n_treated_periods=10), 0.060),
    ],
)
def test_placebo_laws_on_state_wages(resampled, laws, rate):
    """Wages by state and year, 1979 to 1999; 4,000 replications of an independent simulation."""
    frame = pd.read_csv(CPS, sep=";").query("year <= 1999")
    panel, _ = from_frame(frame[["state", "year", "log_wage"]], "state", "year")
    source = Bootstrap(panel) if resampled else panel
    drawn, _ = draw(with_effect(source, outcome="log_wage", assignment=laws), 4000)
    assert_rate(rejections(drawn["log_wage"], drawn["d"]), rate)


def test_effects_by_cohort():
    effect = by_exposure({3: [5.0], 1: [1.0, 2.0]})
    dgp = with_effect(
        Panel({"y": np.zeros((3, 5))}),
        outcome="y",
        assignment=by_cohort({3: 1, 1: 1}, shuffle=False),
        effect=effect,
    )
    y = dgp(jax.random.key(0), Design()).panel["y"]
    assert y.tolist() == [[0, 0, 0, 5, 5], [0, 1, 2, 2, 2], [0] * 5]
    assert "path=((3, (5.0,)), (1, (1.0, 2.0)))" in dgp.summary  # what a study writes down
    other = with_effect(
        Panel({"y": np.zeros((3, 5))}), outcome="y", assignment=by_cohort({2: 1}), effect=effect
    )
    assert np.isnan(other(jax.random.key(0), Design()).truth["att"])  # a cohort without a path


@pytest.mark.parametrize("share", [0.0, 1.0, 2.0, -0.5, 50.0])
@pytest.mark.parametrize(
    "assignment",
    [
        at_random(share=0.5, start=2),
        at_random(share=0.5, start=2, staggered=True),
        in_random_periods(share=0.5, n_treated_periods=1),
        by_path(column="y", start=2),
    ],
    ids=lambda a: type(a).__name__,
)
def test_shares_of_a_design_that_are_none_give_no_sample(assignment, share):
    panel = Panel({"y": np.random.default_rng(0).normal(size=(12, 4))})
    dgp = with_effect(panel, outcome="y", assignment=assignment, effect=1.0)
    draw = jax.jit(lambda design: dgp(jax.random.key(0), design).panel["d"])
    assert np.isnan(draw(Design({"share": share}))[:, -1]).all()
    assert set(np.unique(draw(Design({"share": 0.5})))) == {0, 1}


def test_probabilities_of_a_design_that_are_none_give_no_sample():
    panel = Panel({"y": np.random.default_rng(0).normal(size=(12, 4))})
    assignment = by_probability(0.5, max_treated=5, start=2)
    dgp = with_effect(panel, outcome="y", assignment=assignment, effect=1.0)
    draw = jax.jit(lambda design: dgp(jax.random.key(0), design).panel["d"])
    assert np.isnan(draw(Design({"p": 2.0}))[:, -1]).all()
    assert np.isfinite(draw(Design({"p": 1.0}))).all()


def test_a_real_panel_stays_as_it_is():
    panel = Panel({"y": np.arange(8.0).reshape(4, 2), "d": np.ones((4, 2))})
    laws = at_random(n_treated=2, start=1)
    drawn, truth = draw(with_effect(panel, outcome="y", assignment=laws), 50)
    np.testing.assert_array_equal(drawn["y"], np.array([panel["y"]] * 50))
    assert set(drawn["d"].sum((1, 2))) == {2}
    assert len({d.tobytes() for d in drawn["d"]}) == 6
    drawn, truth = draw(
        with_effect(panel, outcome="y", assignment=laws, treatment="law", effect=0.5), 5
    )
    np.testing.assert_array_equal(drawn["y"] - 0.5 * drawn["law"], np.array([panel["y"]] * 5))
    assert set(truth["att"]) == {0.5}


def test_the_average_effect_is_over_observed_treated_cells():
    mask = jnp.array([[True, True, True], [True, True, False], [True, True, True]])
    panel = Panel({"y": np.zeros((3, 3))}, mask)
    cohorts = by_cohort({1: 2}, shuffle=False)
    dgp = with_effect(panel, outcome="y", assignment=cohorts, effect=by_exposure([1, 4]))
    sample = dgp(jax.random.key(0), Design())
    assert float(sample.truth["att"]) == pytest.approx(2.0)  # 1, 4, 1
    np.testing.assert_array_equal(sample.panel.mask, mask)


def test_any_function_assigns_and_has_effects():
    def first(key, panel):
        return jnp.zeros((panel.n_units, panel.n_periods)).at[0].set(jnp.array([0, 1, 0, 1]))

    def scaled(key, exposure, panel):
        return exposure * panel["y"]

    panel = Panel({"y": np.full((3, 4), 2.0)})
    dgp = with_effect(panel, outcome="y", assignment=first, effect=scaled)
    sample = dgp(jax.random.key(0), Design())
    assert sample.panel["y"][0].tolist() == [2, 4, 2, 6]  # exposure 1 and 2
    assert float(sample.truth["att"]) == 3.0


def test_heterogeneous_effects_have_their_moments_and_a_population_truth():
    options = {"outcome": "y", "assignment": at_random(n_treated=10, start=-5)}
    effect = heterogeneous(0.5, 0.2)
    _, truth = draw(with_effect(STATES, effect=effect, **options), 3000)
    assert_mean(truth["att"], 0.5)
    assert truth["att"].std() == pytest.approx(0.2 / np.sqrt(10), rel=0.06)
    population = with_effect(STATES, effect=effect, truth="population", **options)
    assert "att" not in population(jax.random.key(0), Design()).truth
    value, mcse = population.truth(jax.random.key(0), Design())["att"]
    assert mcse == pytest.approx(0.2 / np.sqrt(10 * 4096), rel=0.06)
    assert abs(value - 0.5) < 4 * mcse
    constant = with_effect(STATES, effect=0.2, truth="population", **options)
    assert constant.truth(jax.random.key(0), Design({"effect_scale": 0.5}))["att"] == (0.1, 0.0)


def differences(key, panel):
    """Difference in differences with the standard error of independent units."""
    d = panel["d"]
    treated, after = d.max(1), d.max(0)
    change = (panel["y"] * after).sum(1) / after.sum() - (panel["y"] * (1 - after)).sum(1) / (
        1 - after
    ).sum()
    means = [(change * w).sum() / w.sum() for w in (treated, 1 - treated)]
    spread = [
        (((change - m) ** 2) * w).sum() / w.sum() ** 2
        for m, w in zip(means, (treated, 1 - treated), strict=True)
    ]
    return {"att": Estimate(means[0] - means[1], jnp.sqrt(sum(spread)))}


def test_a_grid_of_effects_gives_size_and_power():
    laws = at_random(n_treated=25, start=10)
    quiet = ErrorComponents(n_units=50, n_periods=21, beta=None, sd=0.1)
    study = Study(
        with_effect(quiet, outcome="y", assignment=laws),
        differences,
        designs=grid(effect=[0, 0.01, 0.05]),
    )
    rows = run(study, reps=512, workers=0, progress=False).replicates
    power = rows.groupby("effect")["p_value"].apply(lambda p: (p < 0.05).mean())
    error = 0.1 * np.sqrt((1 / 10 + 1 / 11) * 2 / 25)
    for effect, share in power.items():
        expected = norm.sf(norm.ppf(0.975) - effect / error)
        assert share == pytest.approx(max(expected, 0.05), abs=0.045)
    assert (rows["truth"] == rows["effect"]).all()


def test_factors_of_the_design_reach_the_assignment():
    drawn, _ = draw(LAWS, 20, Design({"n_treated": 5, "start": -1}))
    assert set(drawn["d"].sum((1, 2))) == {5}
    shared = with_effect(STATES, outcome="y", assignment=at_random(share=0.1, start=3))
    drawn, _ = draw(shared, 20, Design({"share": 0.3}))
    assert set(drawn["d"][:, :, -1].sum(1)) == {15}


class Uniform:
    """A generator: an object with a sample method."""

    def sample(self, key, n_units, *, given=None):
        return Panel({"y": jax.random.uniform(key, (n_units, 6))})


def plain(key, design):
    return Sample(Panel({"y": jax.random.normal(key, (8, 6)), "x": jnp.ones((8, 6))}), {"x": 2.0})


@pytest.mark.parametrize(
    ("source", "options"),
    [(plain, {}), (Uniform(), {"n_units": 8}), (Bootstrap(Panel({"y": np.eye(8)})), {})],
)
def test_sources_of_every_kind(source, options):
    assignment = at_random(n_treated=3, start=2)
    dgp = with_effect(source, outcome="y", assignment=assignment, effect=1.0, **options)
    check_dgp(dgp)
    drawn, truth = draw(dgp, 4)
    assert drawn["y"].shape[1] == 8
    assert set(drawn["d"][:, :, -1].sum(1)) == {3}
    assert set(truth["att"]) == {1.0}
    if source is plain:
        assert set(truth["x"]) == {2.0}


def test_it_says_what_it_is():
    dgp = with_effect(EMPTY, outcome="y", assignment=by_probability(np.full(50, 0.3)), effect=0.5)
    said = "Panel(50 units x 21 periods: y); d: by_probability(); effect: 0.5"
    assert dgp.summary == said
    assert Study(dgp, differences).cells()[0].dgp_name == "with_effect"
    assert "only the treatment is random" in dgp.caveats[0]
    assert LAWS.summary.endswith("at_random(start=(6, 16), n_treated=25); effect: 0.0")


def test_host_estimators_see_names_and_any_outcome():
    frame = pd.DataFrame(
        {"state": list("aabbcc"), "year": [1, 2] * 3, "y": [0, 1, 2, 3, 4, 5], "x": [0, 1] * 3}
    )
    panel, schema = from_frame(frame, "state", "year")
    laws = at_random(n_treated=1, start=1)
    dgp = with_effect(panel, outcome="y", assignment=laws, effect=0.5, schema=schema)
    seen = to_frame(dgp(jax.random.key(0), Design()).panel, dgp.schema)
    assert seen.index.names == ["state", "year"]
    assert (seen["y"] % 1).max() == 0.5  # y was integer, and is no longer
    assert seen["d"].dtype == np.int64


# Factor models


def known_panel(n=60, t=25, noise=0.3):
    rng = np.random.default_rng(3)
    e = rng.normal(size=(n, t + 50))
    for s in range(2, t + 50):
        e[:, s] += 0.5 * e[:, s - 1] - 0.2 * e[:, s - 2]
    systematic = 3 * rng.normal(size=(n, 1)) + rng.normal(size=(1, t))
    systematic = systematic + rng.normal(size=(n, 2)) @ rng.normal(size=(2, t))
    law = (rng.uniform(size=n) < 1 / (1 + np.exp(-systematic.mean(1) / 2))).astype(float)
    y = 40 + 7 * (systematic + noise * e[:, 50:])
    return Panel({"y": y, "law": np.repeat(law[:, None], t, axis=1)})


def test_a_factor_model_is_its_decomposition():
    panel = known_panel()
    model = FactorModel.fit(panel, "y", rank=4, lags=2)
    y = np.asarray(panel["y"])
    y = (y - y.mean()) / y.std()
    left, singular, right = np.linalg.svd(y, full_matrices=False)
    low = (left * np.where(np.arange(25) < 4, singular, 0)) @ right
    f = low.mean(1, keepdims=True) + low.mean(0) - low.mean()
    np.testing.assert_allclose(model.additive, f, atol=1e-12)
    np.testing.assert_allclose(model.interactive, low - f, atol=1e-12)
    assert model.interactive.sum(0) == pytest.approx(np.zeros(25), abs=1e-10)
    e = y - low
    lagged = np.stack([e[:, 1:-1].ravel(), e[:, :-2].ravel()], axis=1)
    slopes = np.linalg.lstsq(lagged, e[:, 2:].ravel(), rcond=None)[0]
    assert model.coefficients == tuple(np.round(slopes, 2))
    assert np.linalg.norm(model.covariance) == pytest.approx(np.linalg.norm(e.T @ e / 60))
    a, b = model.coefficients
    path = [1.0, a / (1 - b)]
    for _ in range(23):
        path.append(a * path[-1] + b * path[-2])
    correlations = np.asarray(model.covariance)[0] / model.covariance[0, 0]
    np.testing.assert_allclose(correlations, path, atol=1e-10)


def test_a_factor_model_draws_what_it_says():
    model = FactorModel.fit(known_panel(n=20, t=8), "y", rank=3)
    drawn, _ = draw(model, 5000)
    noise = drawn["y"] - np.asarray(model.additive + model.interactive)
    assert_mean(covariance_by_period(noise, noise), np.asarray(model.covariance))
    assert_mean(noise.mean(1) * noise[:, 0, :1], np.asarray(model.covariance)[0] / 20)


def test_variants_leave_parts_out():
    model = FactorModel.fit(known_panel(n=20, t=8), "y", rank=3)
    f, m = np.asarray(model.additive), np.asarray(model.interactive)
    for parts, left in {("interactive",): f, ("additive",): m, (): f + m}.items():
        drawn, _ = draw(model.without("noise", *parts), 2)
        np.testing.assert_allclose(drawn["y"][0], left, atol=1e-12)
    white = model.without("additive", "interactive", "autocorrelation")
    covariance = np.asarray(white.covariance)
    np.testing.assert_allclose(covariance, covariance[0, 0] * np.eye(8), atol=1e-12)
    assert np.linalg.norm(covariance) == pytest.approx(np.linalg.norm(model.covariance))


def test_rows_are_resampled_with_what_they_carry():
    panel = known_panel(n=20, t=8)
    panel = panel.with_columns({"mark": np.arange(20.0)[:, None] * np.ones(8)})
    model = FactorModel.fit(panel, "y", rank=3, carry=["mark"]).without("noise")
    drawn, _ = draw(model, 3, Design({"n_units": 200}))
    assert drawn["y"].shape == (3, 200, 8)
    rows = drawn["mark"][..., 0].astype(int)
    systematic = np.asarray(model.additive + model.interactive)
    np.testing.assert_allclose(drawn["y"], systematic[rows], atol=1e-12)
    assert (rows[0] != rows[1]).any()


def test_unit_factors_give_a_logits_probabilities():
    from statsmodels.api import GLM, add_constant, families

    panel = known_panel()
    y, law = np.asarray(panel["y"]), np.asarray(panel["law"])[:, -1]
    left = np.linalg.svd((y - y.mean()) / y.std(), full_matrices=False)[0][:, :4]
    fitted = GLM(law, add_constant(left), family=families.Binomial()).fit().fittedvalues
    p = unit_factor_probabilities(panel, "y", "law")
    np.testing.assert_allclose(p, fitted, rtol=1e-7)
    at = partial(unit_factor_probabilities, panel, "y", "law")
    np.testing.assert_allclose(at(strength=0.0), law.mean(), rtol=1e-9)
    assert at(strength=2.0).std() > p.std() > at(strength=0.5).std()
    assert at(strength=2.0).mean() == pytest.approx(law.mean(), abs=1e-9)
    assignment = by_unit_factors(panel, "y", "law", max_treated=5, start=-3)
    assert set(assign(assignment, panel, reps=40).sum((1, 2))) <= {3.0 * k for k in range(1, 6)}


@needs_cps
@pytest.mark.parametrize(
    ("parts", "options", "rmse", "error"),
    [
        ((), {}, 0.04874, 0.00107),
        (("interactive",), {}, 0.01355, 0.00035),
        (("noise",), {}, 0.04689, 0.00112),
        ((), {"start": -1}, 0.06954, 0.00150),
        ((), {"max_treated": 1}, 0.12591, 0.00377),
    ],
)
def test_did_errs_as_in_arkhangelsky_and_others(parts, options, rmse, error):
    """RMSE of DID, and its Monte Carlo error, from the replicates that the authors published."""
    frame = pd.read_csv(CPS, sep=";").astype({"min_wage": float})
    panel, _ = from_frame(frame[["state", "year", "log_wage", "min_wage"]], "state", "year")
    model = FactorModel.fit(panel, "log_wage").without(*parts)
    laws = by_unit_factors(panel, "log_wage", "min_wage", **options)
    drawn, _ = draw(with_effect(model, outcome="log_wage", assignment=laws), 2000)
    slopes = [twfe(y, d) for y, d in zip(drawn["log_wage"], drawn["d"], strict=True)]
    squares = np.square(slopes)
    ours = squares.std() / (2 * np.sqrt(squares.mean() * 2000))
    assert model.coefficients in ((0.01, -0.06),)
    assert abs(np.sqrt(squares.mean()) - rmse) < 4 * np.hypot(error, ours)


# The bootstrap of panels


def test_units_are_drawn_with_all_their_periods_and_their_mask():
    mask = jnp.asarray(np.arange(24).reshape(6, 4) % 5 > 0)
    y = np.arange(24.0).reshape(6, 4)
    drawn = Bootstrap(Panel({"y": y}, mask))(jax.random.key(1), Design()).panel
    rows = np.asarray(drawn["y"])[:, 0].astype(int) // 4
    np.testing.assert_array_equal(drawn["y"], y[rows])
    np.testing.assert_array_equal(drawn.mask, mask[rows])
    assert len(set(rows)) < 6


def test_clusters_are_drawn_whole_and_numbered_anew():
    state = np.repeat([4.0, 9.0, 2.0, 7.0], 3)[:, None] * np.ones(2)
    panel = Panel({"y": np.arange(24.0).reshape(12, 2), "state": state})
    drawn, _ = draw(Bootstrap(panel, cluster="state"), 300)
    rows = drawn["y"][..., 0].reshape(300, 4, 3) // 2
    assert (np.diff(rows, axis=2) == 1).all()
    assert (rows[..., 0] % 3 == 0).all()
    assert_mean(rows[..., 0] == 3, 0.25)
    np.testing.assert_array_equal(
        drawn["state"], np.array([np.repeat(np.arange(4.0), 3)[:, None] * np.ones(2)] * 300)
    )


def test_fewer_clusters():
    state = np.repeat([4.0, 9.0, 2.0, 7.0], 3)[:, None] * np.ones(2)
    panel = Panel({"y": np.arange(24.0).reshape(12, 2), "state": state})
    drawn, _ = draw(Bootstrap(panel, cluster="state"), 5, Design({"n_units": 6}))
    assert drawn["state"][..., 0].tolist() == [[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]] * 5


def test_fewer_units_and_subsets():
    panel = Panel({"y": np.arange(20.0).reshape(10, 2)})
    drawn, _ = draw(Bootstrap(panel), 5, Design({"n_units": 6}))
    assert drawn["y"].shape == (5, 6, 2)
    subsets, _ = draw(Bootstrap(panel, n_units=6, replacement=False), 400)
    assert all(len(set(y[:, 0])) == 6 for y in subsets["y"])
    assert_mean([(y[:, 0] == 4.0).any() for y in subsets["y"]], 0.6)


# Bad input

PANEL = Panel({"y": np.zeros((6, 4)), "state": np.repeat(np.arange(3.0), 2)[:, None] * np.ones(4)})

on = partial(with_effect, PANEL, outcome="y")


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: ErrorComponents(rho=1.0), "rho: got 1.0, expected a number between -1 and 1"),
        (lambda: ErrorComponents(unit_share=0.7, time_share=0.7), "add up to 1.4"),
        (lambda: ErrorComponents(group_share=0.1), "without groups; set n_groups"),
        (lambda: ErrorComponents(sd=-1.0, n_units=0), "2 faults(.|\n)*n_units(.|\n)*sd: got -1.0"),
        (lambda: ErrorComponents(n_groups=60), "at most the 50 units"),
        (lambda: DynamicPanel(alpha=1.0), "alpha: got 1.0(.|\n)*or set burn_in"),
        (lambda: DynamicPanel(burn_in=0), "burn_in: got 0, expected at least 1"),
        (lambda: InteractiveEffects(rank=0), "rank: got 0"),
        (lambda: LinearIV(rho=1.5), "rho: got 1.5, expected a correlation"),
        (lambda: LinearIV(n_units=3), "n_instruments \\+ 3 = 4"),
        (lambda: LinearIV(concentration=-1.0), "concentration: got -1.0"),
        (lambda: on(assignment=at_random(n_treated=0, start=1)), "n_treated: got 0"),
        (lambda: on(assignment=at_random(n_treated=6, start=1)), "fewer than the 6 units"),
        (lambda: on(assignment=at_random(n_treated=2, share=0.5, start=1)), "got both"),
        (lambda: on(assignment=at_random(start=1)), "got neither"),
        (lambda: on(assignment=at_random(share=0.01, start=1)), "makes 0 treated"),
        (lambda: on(assignment=at_random(n_treated=2, start=4)), "within the 4 periods"),
        (lambda: on(assignment=at_random(n_treated=2, start=(3, 1))), "first comes after"),
        (
            lambda: on(assignment=at_random(n_treated=3, start=1, cluster="state")),
            "fewer than the 3 clusters of 'state'",
        ),
        (
            lambda: on(assignment=at_random(n_treated=1, start=1, cluster="stat")),
            "did you mean 'state'",
        ),
        (
            lambda: on(assignment=in_random_periods(n_treated=2, n_treated_periods=5)),
            "expected 1 to 4",
        ),
        (lambda: on(assignment=by_cohort({1: 4, 2: 3})), "exceed the 6 there are"),
        (lambda: on(assignment=by_cohort({})), "cohorts: got none"),
        (
            lambda: on(assignment=by_cohort({(1, 3): 2})),
            "start: got \\(1, 3\\), expected one period",
        ),
        (lambda: on(assignment=by_cohort([([1, 3], 2)])), "expected one period"),
        (lambda: on(assignment=by_cohort({1.5: 2})), "start: got 1.5"),
        (lambda: on(assignment=by_cohort({9: 2, 1: -1})), "2 faults"),
        (lambda: on(assignment=by_probability(1.5, max_treated=2, start=1)), "outside 0 to 1"),
        (lambda: on(assignment=by_probability(0.5, max_treated=6, start=1)), "expected 1 to 5"),
        (lambda: on(assignment=by_probability([0.5], max_treated=2, start=1)), "one per unit"),
        (lambda: on(assignment=None), "assignment: got NoneType"),
        (lambda: on(assignment=at_random(n_treated=2, start=1), effect="big"), "effect: got 'big'"),
        (
            lambda: on(assignment=at_random(n_treated=2, start=1), treatment="y"),
            "not the outcome's",
        ),
        (
            lambda: with_effect(
                PANEL, outcome="yy", assignment=at_random(n_treated=9, start=9), effect=np.nan
            ),
            "4 faults",
        ),
        (
            lambda: with_effect(3, outcome="y", assignment=at_random(n_treated=1, start=1)),
            "source: got int",
        ),
        (lambda: by_exposure([]), "path: got"),
        (lambda: by_exposure({(1, 3): [1.0]}), "path: got start \\(1, 3\\)"),
        (lambda: heterogeneous(0.0, -1.0), "sd: got -1.0, expected at least 0"),
        (lambda: FactorModel.fit(PANEL, "y"), "2 faults"),
        (lambda: FactorModel.fit(known_panel(), "z", carry=["y"]), "2 faults"),
        (lambda: FactorModel.fit(known_panel(), "y").without("nois"), "did you mean 'noise'"),
        (lambda: unit_factor_probabilities(known_panel(), "y", "y"), "expected zeros and ones"),
        (lambda: Bootstrap(PANEL, cluster="stat", strata="y"), "2 faults"),
        (lambda: Bootstrap(PANEL.take(jnp.arange(5)), cluster="state"), "1 to 2 units"),
        (lambda: Bootstrap(PANEL, n_units=7, replacement=False), "at most 6"),
        (lambda: Bootstrap(PANEL, n_units=8, cluster="state", replacement=False), "at most 6"),
        (lambda: Bootstrap(PANEL, n_units=5, cluster="state"), "a multiple of 2, the size of"),
        (lambda: FactorModel.fit(known_panel(), "y", rank=True), "rank: got True"),
    ],
)
def test_bad_input_is_a_sentence(make, match):
    with pytest.raises(InputError, match=match):
        make()


@pytest.mark.parametrize(
    ("dgp", "design", "match"),
    [
        (ErrorComponents(), {"n_units": 20.0}, "n_units: got a traced number"),
        (ErrorComponents(), {"n_periods": 0}, "n_periods: got 0"),
        (LAWS, {"n_treated": 50}, "fewer than the 50 units"),
        (
            with_effect(Uniform(), outcome="y", assignment=at_random(n_treated=1, start=1)),
            {},
            "n_units: got none for a generator",
        ),
        (LAWS, {"n_periods": 5}, "within the 5 periods"),
        (with_effect(STATES, outcome="z", assignment=at_random(n_treated=2, start=1)), {}, "'z'"),
        (
            with_effect(STATES, outcome="y", assignment=lambda key, panel: jnp.zeros(3)),
            {},
            "assignment: it returned shape \\(3,\\)",
        ),
        (
            with_effect(
                STATES,
                outcome="y",
                assignment=at_random(n_treated=2, start=1),
                effect=lambda key, exposure, panel: 0.5,
            ),
            {},
            "effect: it returned shape \\(\\)",
        ),
    ],
)
def test_what_is_known_when_the_program_is_traced(dgp, design, match):
    with pytest.raises(InputError, match=match):
        draw(dgp, 2, Design(design))


def test_a_traced_share_beyond_one_gives_nan_not_numbers():
    drawn, _ = draw(ErrorComponents(time_share=0.5), 2, Design({"unit_share": 0.8}))
    assert np.isnan(drawn["y"]).all()


def test_staggered_starts_are_drawn_for_each_unit_and_each_cluster():
    clusters = jnp.repeat(jnp.arange(40.0), 3)[:, None] * jnp.ones((1, 12))
    panel = Panel({"y": jnp.zeros((120, 12)), "state": clusters})
    laws = at_random(share=0.5, start=(3, 8), staggered=True)
    treated = np.asarray(laws(jax.random.key(0), panel))
    starts = np.argmax(treated, axis=1)[treated.any(axis=1)]
    assert (np.diff(treated, axis=1) >= 0).all()
    assert len(starts) == 60
    assert set(starts) == set(range(3, 9))
    by_state = np.asarray(replace(laws, cluster="state")(jax.random.key(0), panel))
    assert (by_state.reshape(40, 3, 12) == by_state.reshape(40, 3, 12)[:, :1]).all()
    chosen = by_state[::3][by_state[::3].any(axis=1)]
    assert len(chosen) == 20
    assert len(set(np.argmax(chosen, axis=1))) > 3
