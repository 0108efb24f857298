"""Vectors of normal scores: layout, completion, covariances, coding, shocks, factors, groups."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

import mcsim
from generators.fits import KEY
from mcsim.generators._scores.autoregression import (
    Autoregression,
    fit_autoregression,
    implied_moments,
    moments_of,
)
from mcsim.generators._scores.coding import complete, encode, fit_shocks, truncated_normal
from mcsim.generators._scores.factor_model import factor_target, fit_factor_model
from mcsim.generators._scores.vectors import (
    Layout,
    best_weight,
    fit_groups,
    layout_of,
    recoloring,
    square_root,
    stationary,
    stationary_target,
    structured_covariance,
)
from mcsim.generators._training.steps import folds_of

# Layout


def test_layout_separates_time_varying_from_time_invariant_where_cells_are_missing():
    wage = np.array([[1.0, 2.0], [np.nan, 3.0]])
    school = np.array([[8.0, np.nan], [9.0, 9.0]])
    assert layout_of({"wage": wage, "school": school}) == Layout(("wage",), ("school",), 2)


def test_layout_of_a_cross_section_has_paths_only():
    assert layout_of({"y": np.ones((5, 1))}) == Layout(("y",), (), 1)


# Completion and covariance


def test_truncated_normals_lie_between_their_bounds_in_both_tails():
    low = np.repeat([-np.inf, -40.0, 1.0, 8.0, 38.0, -0.5], 500)
    high = np.repeat([-35.0, -39.0, 1.5, np.inf, 39.0, 0.5], 500)
    drawn = truncated_normal(np.random.default_rng(0), low, high)
    assert ((drawn >= low) & (drawn <= high) & np.isfinite(drawn)).all()


def test_truncated_normals_have_the_law():
    drawn = truncated_normal(np.random.default_rng(0), np.full(50_000, 1.0), np.full(50_000, 2.0))
    mean = (norm.pdf(1) - norm.pdf(2)) / (norm.cdf(2) - norm.cdf(1))
    assert drawn.mean() == pytest.approx(mean, abs=4 * 0.28 / np.sqrt(50_000))


def test_completed_cells_follow_the_regression_on_the_others():
    rng = np.random.default_rng(0)
    covariance = np.array([[1.0, 0.8], [0.8, 1.0]])
    scores = rng.normal(size=(4_000, 2)) @ np.linalg.cholesky(covariance).T
    low, high = scores.copy(), scores.copy()
    low[:, 1], high[:, 1] = -np.inf, np.inf
    filled = complete(rng, scores, low, high, covariance)
    slope = (filled[:, 0] @ filled[:, 1]) / (filled[:, 0] @ filled[:, 0])
    assert slope == pytest.approx(0.8, abs=4 * 0.6 / np.sqrt(4_000))


def test_recoloring_gives_the_covariance_asked_for():
    rng = np.random.default_rng(0)
    source, target = (np.cov(rng.normal(size=(6, 50))) for _ in range(2))
    turn = recoloring(source, target)
    np.testing.assert_allclose(turn @ source @ turn.T, target, atol=1e-8)


def test_the_stationary_target_averages_lags():
    sample = np.array([[1.0, 0.5, 0.1], [0.5, 1.0, 0.3], [0.1, 0.3, 1.0]])
    target = stationary(sample, Layout(("y",), (), 3))
    np.testing.assert_allclose(target[0], [1.0, 0.4, 0.1], atol=1e-12)


def test_shrinkage_beats_the_sample_and_keeps_the_columns_together():
    """Few units, stationary truth: nearer to it than the sample, no less cross-correlation."""
    layout, lag = Layout(("y", "x"), (), 8), np.abs(np.arange(8)[:, None] - np.arange(8))
    truth = np.kron([[1.0, 0.8], [0.8, 1.0]], 0.5 + 0.5 * 0.6**lag)
    rng, near, far, cross = np.random.default_rng(0), 0.0, 0.0, []
    for _ in range(20):
        scores = rng.normal(size=(24, 16)) @ np.linalg.cholesky(truth).T
        found = structured_covariance(scores, layout, np.arange(len(scores)))
        near += np.square(found - truth).sum()
        far += np.square(scores.T @ scores / 24 - truth).sum()
        cross.append(np.diag(found[:8, 8:]).mean() / np.diag(found).mean())
    assert near < 0.9 * far
    assert np.mean(cross) == pytest.approx(0.8, abs=0.04)


def test_copies_of_a_unit_do_not_vouch_for_each_other():
    """A sample that holds every unit twice is shrunk as far as one that holds it once."""
    layout, lag = Layout(("y",), (), 12), np.abs(np.arange(12)[:, None] - np.arange(12))
    scores = np.random.default_rng(0).normal(size=(24, 12)) @ np.linalg.cholesky(0.6**lag).T
    once = best_weight(scores, layout, np.arange(24), stationary_target)
    target = structured_covariance(scores, layout, np.arange(24), factor_target)
    for rows in (np.repeat(np.arange(24), 2), np.tile(np.arange(24), 2)):
        assert best_weight(scores[rows], layout, rows, stationary_target) == once
        same = structured_covariance(scores[rows], layout, rows, factor_target)
        np.testing.assert_allclose(same, target, rtol=1e-9)
    blind = best_weight(scores[rows], layout, np.arange(48), stationary_target)
    assert blind < once
    assert len(set(zip(rows, folds_of(KEY, rows, 5, 48), strict=True))) == 24


# Coding


def encoded(panel, schema):
    columns = {name: np.asarray(values) for name, values in panel.items()}
    return encode(columns, np.arange(panel.n_units), schema, np.random.default_rng(0))


def test_decoded_vectors_are_the_data(panel):
    columns = {name: np.asarray(values) for name, values in panel.items()}
    found = encoded(panel, mcsim.infer_schema(panel))
    back = found.coding.values(jnp.asarray(found.vectors))
    worst = max(np.abs(back[name] - columns[name]).max() for name in columns)
    assert worst < 0.02  # quantile functions of 1,800 values have 400 knots


def test_decoded_vectors_of_discrete_columns_are_the_data_exactly(mixed):
    data, schema = mixed
    columns = {name: np.asarray(values) for name, values in data.items()}
    found = encoded(data, schema)
    back = found.coding.values(jnp.asarray(found.vectors))
    for name in ("children", "sector", "union", "female", "school"):
        np.testing.assert_array_equal(back[name], columns[name], err_msg=name)


def test_vectors_are_standardized(mixed):
    data, schema = mixed
    vectors = encoded(data, schema).vectors
    assert np.abs(vectors.mean(axis=0)).max() < 1e-9
    assert np.abs(vectors.std(axis=0) - 1).max() < 0.1


# Shocks


@pytest.mark.slow
def test_shocks_recover_a_trend_and_an_autoregression():
    rng, time = np.random.default_rng(0), np.arange(400)
    path = np.zeros(400)
    for now in time[1:]:
        path[now] = 0.7 * path[now - 1] + 0.3 * rng.normal()
    found = fit_shocks((path + 2 + 0.05 * time)[None], np.zeros((1, 1)))
    assert found.slope[0] == pytest.approx(0.05, abs=0.002)
    assert found.persistence[0] == pytest.approx(0.7, abs=0.1)
    drawn = jax.vmap(found.draw)(jax.random.split(KEY, 2_000))[:, 0]
    assert float(drawn[:, 0].std()) == pytest.approx(0.3 / np.sqrt(1 - 0.49), rel=0.2)


@pytest.mark.parametrize("persistence", [-0.3, 0.0, 0.6])
@pytest.mark.parametrize("periods", [2, 3, 5, 8, 16])
def test_short_paths_change_as_much_as_those_they_are_fit_on(periods, persistence):
    rng, late = np.random.default_rng(0), np.arange(periods) >= periods // 2
    change = np.where(late, 1 / late.sum(), -1 / (~late).sum())
    lags = np.abs(np.subtract.outer(np.arange(periods), np.arange(periods)))
    paths = rng.normal(size=(400, periods)) @ np.linalg.cholesky(persistence**lags).T
    fits = [fit_shocks(path[None], np.zeros((1, 1))) for path in paths]
    found = [
        float(f.innovation[0, 0] ** 2 / (1 - f.persistence[0] ** 2))
        * (change @ f.persistence[0] ** lags @ change)
        for f in fits
    ]
    truth = change @ persistence**lags @ change
    error = np.std(found) / truth / 20  # and a quarter for the curvature of the fit
    assert np.mean(found) / truth == pytest.approx(1, abs=0.25 + 3 * error)
    assert np.mean([f.slope[0] != 0 for f in fits]) < 0.2


def test_means_that_differ_by_chance_alone_are_no_shocks():
    rng = np.random.default_rng(0)
    means = rng.normal(size=(1, 12)) / np.sqrt(50)
    found = fit_shocks(means, np.eye(1) / 50)
    assert float(jnp.abs(found.innovation).max()) < 0.1


# Autoregressions and factors


def test_an_autoregression_is_found_behind_the_means():
    """From the exact covariance of demeaned paths, which look far less persistent."""
    coefficients = np.array([[0.5, 0.2], [-0.1, 0.3]])
    truth = Autoregression(coefficients, np.array([[1.0, 0.4], [0.4, 0.8]]))
    within = np.eye(16) - np.kron(np.eye(2), np.full((8, 8), 1 / 8))
    found = fit_autoregression(within @ truth.covariance(8) @ within, 2, 1)
    np.testing.assert_allclose(found.coefficients, coefficients, atol=0.01)
    np.testing.assert_allclose(found.innovations, truth.innovations, atol=0.02)


def test_moments_without_means_are_those_of_the_projected_covariance():
    lags = np.array([[0.5, 0.2, 0.1, 0.0], [-0.1, 0.3, 0.0, 0.2]])
    law = Autoregression(lags, np.array([[1.0, 0.4], [0.4, 0.8]]))
    within = np.eye(14) - np.kron(np.eye(2), np.full((7, 7), 1 / 7))
    expected = moments_of(within @ law.covariance(7) @ within, 2, 2)
    for one, other in zip(implied_moments(law.autocovariances(7), 2), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_the_covariance_of_an_autoregression_is_that_of_its_paths():
    truth = Autoregression(np.array([[0.5, 0.2, 0.1, 0.0], [-0.1, 0.3, 0.0, 0.2]]), np.eye(2))
    rng, path = np.random.default_rng(0), np.zeros((200_000, 2))
    noise = rng.normal(size=path.shape)
    for now in range(2, len(path)):
        before = np.concatenate([path[now - 1], path[now - 2]])
        path[now] = truth.coefficients @ before + noise[now]
    stacked = np.stack([path[k : len(path) - 3 + k, j] for j in range(2) for k in range(3)])
    np.testing.assert_allclose(truth.covariance(3), np.cov(stacked), atol=0.04)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_factors_are_counted_and_serial_correlation_is_not_taken_for_one(number):
    rng = np.random.default_rng(0)
    layout, lag = Layout(("y",), (), 12), np.abs(np.arange(12)[:, None] - np.arange(12))
    loads = np.linalg.qr(rng.normal(size=(12, 12)))[0][:number] * 2.5
    covariance = 0.5 + 0.6**lag + loads.T @ loads
    vectors = rng.normal(size=(400, 12)) @ square_root(covariance)
    model = fit_factor_model(vectors.T @ vectors / 400, 400, layout, None, None)
    assert len(model.factors) == number


@pytest.mark.parametrize(("columns", "periods"), [(1, 3), (1, 12), (2, 6)])
def test_a_stack_of_moments_has_the_models_of_each(columns, periods):
    """Members of a stack stop apart, and have numbers of lags and factors apart."""
    rng, layout = np.random.default_rng(1), Layout(("y", "x")[:columns], ("z",), periods)
    lag = np.abs(np.arange(columns * periods)[:, None] - np.arange(columns * periods))
    loads = 2.0 * np.eye(columns * periods)[:2]
    samples = []
    for persistence, factors in ((0.1, 0), (0.6, 1), (0.9, 2)):
        covariance = np.eye(columns * periods + 1)
        covariance[:-1, :-1] = persistence**lag + loads[:factors].T @ loads[:factors]
        vectors = rng.normal(size=(80, len(covariance))) @ square_root(covariance)
        samples.append(vectors.T @ vectors / 80)
    units = np.array([80, 60, 12])
    found = factor_target(np.stack(samples), units, layout)
    for sample, number, target in zip(samples, units.tolist(), found, strict=True):
        alone = factor_target(sample, number, layout)
        np.testing.assert_allclose(target, alone, rtol=0, atol=1e-12)


# Groups


def test_the_split_of_a_covariance_by_groups_is_unbiased():
    rng = np.random.default_rng(0)
    code, found = np.repeat(np.arange(20), np.tile([3, 7], 10)), []
    for _ in range(300):
        vectors = rng.normal(size=(20, 1))[code] * 0.6 + rng.normal(size=(100, 1)) * 0.8
        groups = fit_groups("g", code, np.arange(100), vectors, vectors.T @ vectors / 100)
        found.append(float((groups.between @ groups.between.T)[0, 0]))
    assert np.mean(found) == pytest.approx(0.36, abs=4 * np.std(found) / np.sqrt(300) + 0.01)


@pytest.mark.slow
@pytest.mark.parametrize("sd", [0.0, 0.7])
@pytest.mark.parametrize(("sizes", "t"), [((10,) * 40, 6), ((4,) * 15, 20), ((2,) * 20, 30)])
def test_many_coordinates_neither_hide_nor_invent_what_groups_share(sizes, t, sd):
    code, average, found = np.repeat(np.arange(len(sizes)), sizes), np.full(t, 1 / t), []
    layout, units = Layout(("y",), (), t), sum(sizes)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        level = sd * rng.normal(size=(len(sizes), 1))[code] + 0.6 * rng.normal(size=(units, 1))
        vectors = level + 0.8 * rng.normal(size=(units, t))
        vectors -= vectors.mean(axis=0)
        covariance = structured_covariance(vectors, layout, np.arange(units))
        groups = fit_groups("g", code, np.arange(units), vectors, covariance)
        shared = np.square(groups.between.T @ average).sum()
        found.append(shared / (average @ covariance @ average))
    truth = sd**2 / (sd**2 + 0.36 + 0.64 / t)
    assert np.mean(found) == pytest.approx(truth, abs=4 * np.std(found) / np.sqrt(20) + 0.02)


@pytest.mark.slow
def test_copies_of_a_group_do_not_tell_it_apart():
    """Groups share nothing; a sample that holds each of them twice does not say they do."""
    rng, found = np.random.default_rng(0), {}
    rows = np.repeat(np.arange(60).reshape(20, 3), 2, axis=0).ravel()
    samples = [rng.normal(size=(60, 30))[rows] for _ in range(20)]
    for name, numbers in (("known", rows), ("blind", np.arange(120))):
        groups = [
            fit_groups("g", np.repeat(np.arange(40), 3), numbers, vectors, np.eye(30))
            for vectors in samples
        ]
        found[name] = np.mean([np.square(own.between).sum() / 30 for own in groups])
    assert found["known"] < 0.02
    assert found["blind"] > 0.1
