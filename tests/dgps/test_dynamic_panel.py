"""Dynamic panels: the stationary start, the recursion, Nickell's bias, published designs."""

import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

from drawn_panels import assert_mean, covariance_by_period, draw
from mcsim import Design
from mcsim.dgps import DynamicPanel


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
