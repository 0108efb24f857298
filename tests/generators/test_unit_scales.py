"""Scales of units: their distribution without the chance of short paths, and draws from it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

import mcsim
from mcsim import Panel
from mcsim.generators import GaussianCopula
from mcsim.generators._scores.unit_scales import _squares, fit_scaled_normal
from mcsim.generators._scores.vectors import Layout

PERIODS = 8
LAYOUT = Layout(("y", "x"), ("z",), PERIODS)


def covariance_of_paths():
    """A covariance of two autocorrelated columns, which share levels with z."""
    lag = np.abs(np.subtract.outer(np.arange(PERIODS), np.arange(PERIODS)))
    noise = 0.5 * np.kron([[1.0, 0.4], [0.4, 1.0]], 0.6**lag)
    loading = np.concatenate([np.repeat([0.7, 0.5], PERIODS), [0.8]])
    total = np.outer(loading, loading)
    total[:-1, :-1] += noise
    total[-1, -1] = 1.0
    return total


def vectors_with_scales(rng, n_units, scales):
    """Normal vectors whose deviations from unit means are multiplied by scales (unit, column)."""
    vectors = (
        rng.standard_normal((n_units, LAYOUT.size)) @ np.linalg.cholesky(covariance_of_paths()).T
    )
    paths = vectors[:, : LAYOUT.n_cells].reshape(n_units, 2, PERIODS)
    means = paths.mean(axis=2, keepdims=True)
    vectors[:, : LAYOUT.n_cells] = (means + scales[..., None] * (paths - means)).reshape(
        n_units, -1
    )
    return vectors


def two_kinds(rng, n_units):
    """Scales 1 and 4, a fifth of the units 4, over their root mean square of 2."""
    high = rng.random((n_units, 1)) < 0.2
    return np.where(high, 4.0, 1.0) / 2.0 * np.ones((1, 2))


def moments(vectors):
    return vectors.T @ vectors / len(vectors)


def test_scales_of_two_kinds_are_recovered():
    """The share of the high scale is .2; its standard error over 4,000 units is .0063."""
    rng = np.random.default_rng(1)
    vectors = vectors_with_scales(rng, 4000, two_kinds(rng, 4000))
    fit = fit_scaled_normal(vectors, moments(vectors), LAYOUT)
    for points, cumulative in zip(fit.points, fit.cumulative, strict=True):
        assert 1 - cumulative[np.searchsorted(points, 1.0)] == pytest.approx(0.2, abs=0.02)
        weights = np.diff(cumulative, prepend=0.0)
        assert weights @ points**2 == pytest.approx(1.0, rel=1e-5)
        high = points > 1.0
        assert weights[high] @ points[high] / weights[high].sum() == pytest.approx(2.0, rel=0.04)
    correlation = (fit.dependence @ fit.dependence)[0, 1]
    assert correlation == pytest.approx(0.95, abs=1e-3)  # the bound: columns have one scale


def test_units_that_are_alike_have_one_scale():
    """Squared lengths of 7 degrees of freedom have a log sd of .55 by chance; scales none."""
    rng = np.random.default_rng(2)
    vectors = vectors_with_scales(rng, 2000, np.ones((2000, 2)))
    fit = fit_scaled_normal(vectors, moments(vectors), LAYOUT)
    weights = np.diff(fit.cumulative, prepend=0.0)
    means = (weights * np.log(fit.points)).sum(axis=1, keepdims=True)
    spreads = np.sqrt((weights * (np.log(fit.points) - means) ** 2).sum(axis=1))
    assert (spreads < 0.1).all()


def test_weights_are_the_most_likely_ones():
    """No weights on the grid are more likely, by more than EM leaves, than those of the fit."""
    rng = np.random.default_rng(3)
    vectors = vectors_with_scales(rng, 60, two_kinds(rng, 60))
    fit = fit_scaled_normal(vectors, covariance_of_paths(), LAYOUT)
    place = LAYOUT.place("y")
    off = np.eye(PERIODS) - 1 / PERIODS
    whitened = np.linalg.pinv(off @ covariance_of_paths()[place, place] @ off)
    squares = np.einsum("it,tu,iu->i", vectors[:, place], whitened, vectors[:, place])
    grid = np.sqrt(squares.mean() / (PERIODS - 1)) * np.logspace(-1, 1, 120)
    logs = -(PERIODS - 1) * np.log(grid) - squares[:, None] / (2 * grid**2)

    def misfit(logits):
        weights = np.exp(logits - logits.max())
        return -np.log(np.exp(logs) @ (weights / weights.sum())).sum()

    found = np.diff(np.asarray(fit.cumulative[0], np.float64), prepend=0.0)
    start = np.log(np.maximum(found, 1e-12))
    best = minimize(misfit, start, method="L-BFGS-B", options={"maxiter": 500}).fun
    assert misfit(start) - best < 0.2  # of a log likelihood


def test_draws_have_the_covariance_given():
    """Within four Monte Carlo errors of 200,000 draws; scales make fourth moments large."""
    rng = np.random.default_rng(4)
    vectors = vectors_with_scales(rng, 2000, two_kinds(rng, 2000))
    given = moments(vectors)
    fit = fit_scaled_normal(vectors, given, LAYOUT)
    drawn = np.asarray(fit.draw(jax.random.key(1), 200_000), np.float64)
    errors = np.sqrt((moments(drawn**2) - moments(drawn) ** 2) / len(drawn))
    away = np.abs(moments(drawn) - given)
    same_column = np.zeros((LAYOUT.size, LAYOUT.size), bool)
    for name in LAYOUT.names:
        same_column[LAYOUT.place(name), LAYOUT.place(name)] = True
    assert (away[same_column] < 4 * errors[same_column] + 0.01).all()
    assert away.max() < 0.05  # between columns the joint moment of two scales is approximate


def test_the_variance_of_levels_is_no_deviation_where_it_dwarfs_them():
    """Rounding of the levels' variance is above the usual cutoff of a pseudoinverse."""
    rng = np.random.default_rng(6)
    layout = Layout(("y",), (), PERIODS)
    for _ in range(20):
        axes, _ = np.linalg.qr(np.c_[np.ones(PERIODS), rng.standard_normal((PERIODS, PERIODS - 1))])
        given = axes * np.array([7.9, *np.geomspace(1e-3, 3e-2, PERIODS - 1)]) @ axes.T
        vectors = rng.multivariate_normal(np.zeros(PERIODS), given, 60)
        squares = _squares(vectors, given, layout.place("y"))
        assert (squares >= 0).all()
        assert squares.mean() == pytest.approx(PERIODS - 1, rel=0.3)
        fit = fit_scaled_normal(vectors, given, layout)
        assert np.isfinite(fit.points).all()


def volatile_panel(n_units=300, n_periods=PERIODS):
    of_level, of_noise, of_kind = jax.random.split(jax.random.key(5), 3)
    scale = jnp.where(jax.random.bernoulli(of_kind, 0.2, (n_units, 1)), 4.0, 1.0)
    level = jax.random.normal(of_level, (n_units, 1))
    return Panel({"y": level + scale * jax.random.normal(of_noise, (n_units, n_periods))})


def kurtosis_of_changes(panel):
    y = np.asarray(panel["y"])
    half = y.shape[1] // 2
    change = y[:, half:].mean(axis=1) - y[:, :half].mean(axis=1)
    return (change**4).mean() / (change**2).mean() ** 2


def test_the_copula_keeps_heavy_tails_of_changes_with_volatility_alone():
    """Changes of units with two volatilities have kurtosis 3 E s^4 / (E s^2)^2 = 9.75."""
    kurtosis = {
        volatility: kurtosis_of_changes(
            GaussianCopula(volatility=volatility)
            .fit(mcsim.key(1), volatile_panel())
            .sample(mcsim.key(2), 40_000)
        )
        for volatility in (False, True)
    }
    assert kurtosis[False] < 5
    assert 7 < kurtosis[True] < 12


def test_short_panels_have_no_scales():
    panel = volatile_panel(n_periods=3)
    one, other = (
        GaussianCopula(volatility=v).fit(mcsim.key(1), panel).sample(mcsim.key(2), 50)
        for v in (False, True)
    )
    np.testing.assert_array_equal(one["y"], other["y"])


def test_a_fit_with_scales_is_saved_and_read(tmp_path):
    fit = GaussianCopula(volatility=True).fit(mcsim.key(1), volatile_panel(60))
    mcsim.save(fit, tmp_path / "copula.safetensors")
    read = mcsim.load(tmp_path / "copula.safetensors")
    drawn, again = (one.sample(mcsim.key(2), 20)["y"] for one in (fit, read))
    np.testing.assert_array_equal(drawn, again)
