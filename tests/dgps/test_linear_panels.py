"""Error components and interactive effects: shares, autocorrelations, ranks."""

import numpy as np
import pytest

from drawn_panels import assert_mean, covariance_by_period, draw
from mcsim import Design
from mcsim.dgps import ErrorComponents, InteractiveEffects


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


def test_a_traced_share_beyond_one_gives_nan_not_numbers():
    drawn, _ = draw(ErrorComponents(time_share=0.5), 2, Design({"unit_share": 0.8}))
    assert np.isnan(drawn["y"]).all()
