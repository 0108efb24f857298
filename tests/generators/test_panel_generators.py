"""Generators of panels: the core that all share, and the reference generators."""

import warnings
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from unittest import mock

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import mcsim
from mcsim import Panel
from mcsim.errors import InputError
from mcsim.generators import (
    GAN,
    VAE,
    WGAN,
    Autoregressive,
    BlockBootstrap,
    FactorVAR,
    Flow,
    GaussianCopula,
    GaussianMixture,
    SmoothedBootstrap,
    UnitBootstrap,
    fit_many,
)
from mcsim.generators._references.normals import best_mixture
from mcsim.generators._scores.coding import complete, encode, fit_shocks, truncated_normal
from mcsim.generators._scores.factor_model import (
    Autoregression,
    factor_target,
    fit_autoregression,
    fit_factor_model,
    implied_moments,
    moments_of,
)
from mcsim.generators._scores.margins import fit_margin, scaled_levels
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
from mcsim.generators._training import trainer as _trainer
from mcsim.generators._training.fitted_panel import _draw
from mcsim.generators._training.steps import folds_of

KEY = mcsim.key(1)
WHOLE = [UnitBootstrap(), SmoothedBootstrap(), GaussianCopula(), GaussianMixture(), FactorVAR()]
EVERY = [*WHOLE, BlockBootstrap()]


def named(trainers):
    return pytest.mark.parametrize("trainer", trainers, ids=lambda t: type(t).__name__)


@contextmanager
def unchecked():
    """What a user meets, who has no type checks."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def effects_panel(n=300, t=6, seed=0, rho=0.5):
    """Two outcomes that move together, with unit effects, dynamics and period means."""
    rng = np.random.default_rng(seed)
    level = rng.normal(size=(n, 1, 2)) @ np.array([[1.0, 0.6], [0.0, 0.8]])
    shocks = rng.normal(size=(n, t, 2)) @ np.array([[1.0, -0.5], [0.0, 0.9]])
    for now in range(1, t):
        shocks[:, now] = rho * shocks[:, now - 1] + np.sqrt(1 - rho**2) * shocks[:, now]
    values = level + shocks + np.linspace(0, 1, t)[:, None]
    return Panel({"y": values[..., 0], "x": 3 + 2 * values[..., 1]})


def mixed_frame(n=200, t=4, seed=0):
    """Columns of all kinds: heaped hours, an integer, a category, booleans, traits."""
    rng = np.random.default_rng(seed)
    level = np.repeat(rng.normal(size=n), t)
    hours = np.where(rng.uniform(size=n * t) < 0.3, 2080.0, 2080 + 300 * rng.normal(size=n * t))
    trait = norm.cdf(level + np.repeat(rng.normal(size=n), t))
    return pd.DataFrame(
        {
            "id": np.repeat(np.arange(n), t),
            "year": np.tile(np.arange(2000, 2000 + t), n),
            "wage": np.exp(level + 0.5 * rng.normal(size=n * t)),
            "hours": np.maximum(hours.round(1), 0.0),
            "children": rng.poisson(np.exp(0.3 * level)),
            "sector": np.array(["farm", "city", "sea"])[rng.integers(0, 3, n * t)],
            "union": rng.uniform(size=n * t) < norm.cdf(level),
            "female": np.repeat(rng.integers(0, 2, n), t),
            "school": np.round(8 + 8 * trait),
        }
    )


PANEL = effects_panel()


@pytest.fixture(scope="module")
def panel():
    return PANEL


@cache
def fitted(trainer):
    return trainer.fit(KEY, PANEL)


@pytest.fixture(scope="module")
def mixed():
    return mcsim.from_frame(mixed_frame(), unit="id", time="year", categorical=["sector"])


def changes(panel, name, at):
    """The unit's change in means, whose standard deviation is that of a placebo DiD."""
    values = np.asarray(panel[name])
    return values[:, at:].mean(axis=1) - values[:, :at].mean(axis=1)


# Layout


def test_layout_separates_time_varying_from_time_invariant_where_cells_are_missing():
    wage = np.array([[1.0, 2.0], [np.nan, 3.0]])
    school = np.array([[8.0, np.nan], [9.0, 9.0]])
    assert layout_of({"wage": wage, "school": school}) == Layout(("wage",), ("school",), 2)


def test_layout_of_a_cross_section_has_paths_only():
    assert layout_of({"y": np.ones((5, 1))}) == Layout(("y",), (), 1)


# Margins


def margin_of(values, **changes):
    column = mcsim.infer_schema({"y": values})["y"]
    return fit_margin(replace(column, **changes), values)


def test_margin_gives_the_data_back():
    values = np.random.default_rng(0).gamma(2.0, size=(150, 2))
    margin = margin_of(values)
    low, high = margin.interval(values)
    np.testing.assert_array_equal(low, high)
    np.testing.assert_allclose(margin.value(jnp.asarray(low)), values, rtol=1e-9)


def test_scores_of_a_margin_are_normal_scores():
    values = np.random.default_rng(0).gamma(2.0, size=(300, 1))
    ranks = values.ravel().argsort().argsort() + 0.5
    scores, _ = margin_of(values).interval(values)
    np.testing.assert_allclose(scores.ravel(), norm.ppf(ranks / 300), atol=1e-9)


def test_mass_points_are_drawn_as_often_as_they_are_seen():
    rng = np.random.default_rng(0)
    values = np.where(rng.uniform(size=(2_000, 1)) < 0.3, 0.0, rng.gamma(2.0, size=(2_000, 1)))
    drawn = np.asarray(margin_of(values).value(jnp.asarray(rng.normal(size=200_000))))
    share = (values == 0).mean()
    assert abs((drawn == 0).mean() - share) < 4 * np.sqrt(share * (1 - share) / 200_000)


POINTS = np.array([0.5, 1.25, 2.0, 3.5, 5.0, 7.25, 9.0, 12.0])


@pytest.mark.parametrize("others", [[], [4.1]], ids=["points only", "one other value"])
def test_where_all_values_are_mass_points_nothing_else_is_drawn(others):
    """Eight values of 50 cells each: .8 to 1 % of the draws were values that nobody has."""
    values = np.append(np.repeat(POINTS, 50), others)
    margin = margin_of(values[:, None])
    drawn = np.asarray(margin.value(jnp.asarray(np.random.default_rng(0).normal(size=200_000))))
    shares = np.array([(drawn == value).mean() for value in (*POINTS, *others)])
    assert shares.sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(shares[:8], 50 / len(values), atol=4 * (0.125 / 200_000) ** 0.5)


@pytest.mark.slow
def test_a_panel_whose_values_are_mass_points_draws_no_others():
    values = np.random.default_rng(0).permutation(np.repeat(POINTS, 50)).reshape(100, 4)
    panel = Panel({"y": values, "x": np.random.default_rng(1).normal(size=(100, 4))})
    drawn = GaussianCopula().fit(KEY, panel).sample(KEY, 5_000)
    assert set(np.unique(drawn["y"])) == set(POINTS)


def test_quantiles_of_a_margin_are_those_of_the_data():
    rng = np.random.default_rng(0)
    values = rng.standard_t(3, size=(3_000, 1))
    drawn = np.asarray(margin_of(values).value(jnp.asarray(rng.normal(size=400_000))))
    shares = np.array([0.01, 0.1, 0.5, 0.9, 0.99])
    found = np.array([(values <= q).mean() for q in np.quantile(drawn, shares)])
    np.testing.assert_allclose(found, shares, atol=0.004)


def test_margins_go_on_beyond_the_data():
    values = np.random.default_rng(0).normal(size=(400, 1))
    far = np.asarray(margin_of(values).value(jnp.array([-6.0, 6.0])))
    assert far[0] < values.min() - 1
    assert far[1] > values.max() + 1


def test_margins_keep_bounds():
    """And no mass piles up on them."""
    values = np.random.default_rng(0).gamma(2.0, size=(400, 1))
    far = np.asarray(margin_of(values).value(jnp.array([-9.0, -6.0, -3.5])))
    assert 0 < far[0] < far[1] < far[2] < values.min()


def test_levels_between_those_seen_are_not_drawn():
    margin = margin_of(np.repeat([8.0, 12.0, 16.0], 20)[:, None])
    assert set(np.asarray(margin.value(jnp.linspace(-6.0, 6.0, 9_999)))) == {8.0, 12.0, 16.0}


@pytest.mark.parametrize("levels", [40, 65, 500])
def test_integers_stay_integers_between_their_bounds(levels):
    rng = np.random.default_rng(0)
    values = rng.integers(3, 3 + levels, (1_000, 2)).astype(float)
    drawn = np.asarray(margin_of(values).value(jnp.asarray(3 * rng.normal(size=10_000))))
    assert set(drawn) <= set(np.arange(values.min(), values.max() + 1))


def test_interval_of_a_level_holds_its_share():
    values = np.repeat([0.0, 1.0, 2.0], [20, 30, 50])[:, None]
    low, high = margin_of(values).interval(np.array([[1.0]]))
    assert norm.cdf(high - 0)[0, 0] - norm.cdf(low)[0, 0] == pytest.approx(0.3)


def test_a_missing_cell_has_no_interval():
    low, high = margin_of(np.arange(10.0)[:, None]).interval(np.array([[np.nan, 2.0]]))
    np.testing.assert_array_equal(np.isnan(low + high), [[True, False]])


@pytest.mark.parametrize("atom", [False, True])
def test_moved_margins_give_other_scores_the_same_law(atom):
    rng = np.random.default_rng(0)
    values = rng.gamma(2.0, size=(2_000, 1))
    if atom:
        values = np.where(rng.uniform(size=values.shape) < 0.3, 1.0, values)
    margin = margin_of(values)
    scores = 0.3 + np.sinh(0.7 * rng.normal(size=(2, 100_000)))
    drawn = np.asarray(margin.moved(scores[0]).value(jnp.asarray(scores[1])))
    quantiles = np.quantile(drawn, [0.05, 0.25, 0.5, 0.75, 0.95])
    np.testing.assert_allclose(quantiles, np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95]), 0.03)


def test_a_margin_of_two_values_is_discrete():
    margin = margin_of(np.tile([1.5, 2.5], 20)[:, None])
    assert set(np.asarray(margin.value(jnp.linspace(-4.0, 4.0, 99)))) == {1.5, 2.5}


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


@named(WHOLE)
def test_fixed_shocks_are_the_same_in_every_draw_and_redrawn_ones_are_not(trainer):
    data = effects_panel(80, 8)
    data = data.with_columns({"y": data["y"] + np.random.default_rng(1).normal(size=8)})
    generator, keys = trainer.fit(KEY, data), jax.random.split(mcsim.key(2), 12)
    spread = {}
    for kind in ("fixed", "redraw"):
        own = generator.with_shocks(kind)
        means = jax.vmap(lambda key, g=own: g.sample(key, 300)["y"].mean(axis=0))(keys)
        spread[kind] = float((means - means.mean(axis=1, keepdims=True)).std(axis=0).mean())
    assert spread["redraw"] > 5 * spread["fixed"]


@named(WHOLE)
def test_the_caveat_says_that_shocks_are_fixed(trainer, panel):
    generator = fitted(trainer)
    assert "those of the data" in generator.caveats[0]
    assert generator.with_shocks("redraw").caveats == ()


@pytest.mark.slow
def test_redrawn_shocks_move_the_mean_path_as_much_as_in_the_data():
    """The variance of the period means over time, against many panels of one law."""
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(8):
        shocks = rng.normal(size=30)
        data = Panel({"y": rng.normal(size=(60, 1)) + rng.normal(size=(60, 30)) + shocks})
        generator = GaussianCopula(common_shocks="redraw").fit(KEY, data)
        keys = jax.random.split(mcsim.key(2), 40)
        drawn = jax.vmap(lambda key, g=generator: g.sample(key, 60)["y"].mean(axis=0))(keys)
        ratios.append(float(drawn.var(axis=1).mean()) / np.asarray(data["y"]).mean(axis=0).var())
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.25)


# What every generator promises


@pytest.mark.slow
@named(EVERY)
def test_one_key_one_panel(trainer, panel):
    fits = [trainer.fit(KEY, panel) for _ in range(2)]
    draws = [generator.sample(mcsim.key(2), 50)["y"] for generator in fits]
    np.testing.assert_array_equal(draws[0], draws[1])


@named(EVERY)
def test_other_keys_other_panels(trainer, panel):
    generator = fitted(trainer)
    draws = [np.asarray(generator.sample(mcsim.key(seed), 50)["y"]) for seed in (2, 3)]
    assert (draws[0] != draws[1]).any()


@named(EVERY)
def test_samples_under_vmap_are_those_without(trainer, panel):
    generator = fitted(trainer)
    keys = jax.random.split(mcsim.key(2), 3)
    many = jax.jit(jax.vmap(lambda key: generator.sample(key, 40)))(keys)
    one = generator.sample(keys[1], 40)
    np.testing.assert_allclose(many["x"][1], one["x"], rtol=1e-5, atol=1e-5)


@named(EVERY)
def test_a_fitted_generator_is_a_pytree(trainer, panel):
    generator = fitted(trainer)
    leaves, structure = jax.tree.flatten(generator)
    again = jax.tree.unflatten(structure, leaves)
    np.testing.assert_array_equal(again.sample(KEY, 9)["y"], generator.sample(KEY, 9)["y"])


@named(EVERY)
def test_a_size_is_traced_once(trainer, panel):
    generator = fitted(trainer)
    _draw.clear_cache()
    for seed in range(3):
        generator.sample(mcsim.key(seed), 33)
    assert _draw._cache_size() == 1


@named(EVERY)
def test_fewer_periods_are_the_first_or_blocks(trainer, panel):
    assert fitted(trainer).sample(KEY, 20, 3)["y"].shape == (20, 3)


@named(WHOLE)
def test_more_periods_than_the_data_are_refused_with_the_remedy(trainer, panel):
    with pytest.raises(InputError, match=r"learned 6 periods and draws no more.*MacroPanel"):
        fitted(trainer).sample(KEY, 20, 7)


@named(EVERY)
def test_generators_tell_who_they_are(trainer, panel):
    generator = fitted(trainer)
    name = type(trainer).__name__
    assert repr(generator) == f"FittedPanel({name}: y, x over 6 periods)"
    assert (generator.config, generator.given, generator.rows) == (trainer, (), None)
    assert generator.summary.startswith(f"{name} of y, x, common shocks")


@pytest.mark.slow
@named(WHOLE)
def test_spreads_and_dynamics_are_the_datas(trainer, panel):
    """Sds of changes of unit means within 8 % (6 periods of 300 units, shrinkage included)."""
    drawn = fitted(trainer).sample(mcsim.key(2), 100_000)
    ratios = [
        np.log(changes(drawn, name, at).std() / changes(panel, name, at).std())
        for name in panel
        for at in range(1, 6)
    ]
    assert np.abs(ratios).max() < 0.08


@named(WHOLE)
def test_outcomes_move_together_within_and_between_units(trainer, panel):
    drawn = fitted(trainer).sample(mcsim.key(2), 100_000)
    slopes = {}
    for which, source in (("data", panel), ("drawn", drawn)):
        y, x = (np.asarray(source[n]) - np.asarray(source[n]).mean(axis=0) for n in ("y", "x"))
        between = (y.mean(axis=1) @ x.mean(axis=1)) / (x.mean(axis=1) @ x.mean(axis=1))
        within_y, within_x = (v - v.mean(axis=1, keepdims=True) for v in (y, x))
        within = (within_y * within_x).sum() / np.square(within_x).sum()
        slopes[which] = between, within
    np.testing.assert_allclose(slopes["drawn"], slopes["data"], atol=0.04)


@pytest.mark.slow
@named(WHOLE)
def test_mixed_columns_come_back_as_they_were(trainer, mixed):
    data, schema = mixed
    drawn = trainer.fit(KEY, data, schema=schema).sample(mcsim.key(2), 4_000)
    frame, real = mcsim.to_frame(drawn, schema), mcsim.to_frame(data, schema)
    assert (frame.dtypes == real.dtypes).all()
    assert set(frame["sector"]) == {"farm", "city", "sea"}
    assert set(frame["union"]) == {True, False}
    assert frame["children"].between(real["children"].min(), real["children"].max()).all()
    share = (real["hours"] == 2080).mean()
    assert (frame["hours"] == 2080).mean() == pytest.approx(share, abs=0.03)
    assert frame.groupby(level=0)[["female", "school"]].nunique().max().max() == 1
    for name in ("union", "female"):
        assert frame[name].mean() == pytest.approx(real[name].mean(), abs=0.05)


@named(WHOLE)
def test_binary_traits_go_with_the_outcome_as_in_the_data(trainer, mixed):
    data, schema = mixed
    drawn = trainer.fit(KEY, data, schema=schema).sample(mcsim.key(2), 20_000)
    found = [
        np.corrcoef(np.asarray(source["union"]).mean(axis=1), np.log(source["wage"]).mean(axis=1))
        for source in (data, drawn)
    ]
    assert found[1][0, 1] == pytest.approx(found[0][0, 1], abs=0.1)


# Shapes at the edge


@named(WHOLE)
@pytest.mark.parametrize(("n", "t"), [(40, 2), (8, 3), (12, 20), (60, 1)])
def test_small_and_odd_panels_can_be_learned(trainer, n, t):
    if t == 1 and isinstance(trainer, FactorVAR):
        pytest.skip("needs periods; its message is tested below")
    data = effects_panel(n, t)
    drawn = trainer.fit(KEY, data).sample(mcsim.key(2), 200)
    assert all(np.isfinite(drawn[name]).all() for name in drawn)


@named(WHOLE)
def test_constant_columns_are_learned_with_a_warning(trainer):
    data = effects_panel(30, 4).with_columns({"one": np.full((30, 4), 1.0)})
    with pytest.warns(UserWarning, match="'one' is constant"):
        drawn = trainer.fit(KEY, data).sample(mcsim.key(2), 50)
    np.testing.assert_array_equal(drawn["one"], 1.0)


@pytest.mark.slow
@named(WHOLE)
def test_many_periods_of_few_units_are_warned_about(trainer):
    with pytest.warns(UserWarning, match="MacroPanel learns such panels"):
        trainer.fit(KEY, effects_panel(8, 40))


class Checked(Exception):
    """Raised where training would begin."""


@pytest.mark.parametrize("n_periods", [1, 100])
@named([Autoregressive(), Flow(), GAN(), VAE(), WGAN(), *WHOLE])
def test_warnings_point_at_the_line_of_the_user(trainer, n_periods, monkeypatch):
    monkeypatch.setattr(_trainer, "KEEPER", mock.Mock(get=lambda: mock.Mock(side_effect=Checked)))
    data = effects_panel(20, n_periods).with_columns({"one": np.ones((20, n_periods))})
    with warnings.catch_warnings(record=True, action="always") as caught:
        with pytest.raises(Checked):
            trainer.fit(KEY, data)
        with pytest.raises(Checked):
            fit_many(trainer, mcsim.keys(0, 2), data)
    said = "'one' is constant", *["MacroPanel learns such panels"] * (n_periods > 1)
    assert len(caught) == 2 * len(said)
    for warning, words in zip(caught, said * 2, strict=True):
        assert words in str(warning.message)
        assert warning.filename == __file__


def test_a_block_bootstrap_is_made_for_many_periods():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BlockBootstrap().fit(KEY, effects_panel(8, 40))


# Missing cells


def holed(panel, share=0.15, seed=0):
    observed = np.random.default_rng(seed).uniform(size=panel["y"].shape) > share
    observed[:, 0] = True
    return Panel(dict(panel.items()), jnp.asarray(observed))


@named(EVERY)
def test_missing_cells_are_refused_with_the_remedy(trainer, panel):
    with pytest.raises(InputError, match=r"are missing, the first is unit .*\(missing='model'\)"):
        trainer.fit(KEY, holed(panel))


def test_rows_that_are_missing_are_one_sentence_with_the_users_labels():
    frame = pd.DataFrame({"firm": list("aabbccddeeffgghh"), "year": [1, 2] * 8, "y": range(16)})
    data, schema = mcsim.from_frame(frame.drop(index=5), "firm", "year")
    with pytest.raises(InputError) as caught:
        GaussianCopula().fit(KEY, data, schema=schema)
    assert str(caught.value).startswith("panel: 1 of 16 rows of units and periods are missing, the "
                                        "first is unit c, period 2; drop")  # fmt: skip


@named([SmoothedBootstrap(), GaussianCopula(), GaussianMixture(), FactorVAR()])
def test_missing_cells_are_completed(trainer, panel):
    generator = replace(trainer, missing="model").fit(KEY, holed(panel))
    drawn = generator.sample(mcsim.key(2), 50_000)
    assert drawn.mask is None
    ratio = changes(drawn, "y", 3).std() / changes(panel, "y", 3).std()
    assert ratio == pytest.approx(1.0, abs=0.1)


@named([UnitBootstrap(missing="model"), BlockBootstrap(missing="model")])
def test_bootstraps_carry_the_mask_along(trainer, panel):
    data = holed(panel)
    drawn = trainer.fit(KEY, data).sample(mcsim.key(2), 3_000)
    assert float(drawn.mask.mean()) == pytest.approx(float(data.mask.mean()), abs=0.03)
    assert np.isin(np.asarray(drawn["y"])[np.asarray(drawn.mask)], panel["y"]).all()


def test_a_unit_without_any_cell_is_refused(panel):
    mask = np.ones(panel["y"].shape, bool)
    mask[3] = False
    with pytest.raises(InputError, match="1 units have no cell at all"):
        GaussianCopula(missing="model").fit(KEY, Panel(dict(panel.items()), jnp.asarray(mask)))


SMALL = [
    VAE(steps=3, folds=2),
    Autoregressive(steps=3, folds=2),
    Flow(steps=3, folds=2, couplings=2, hidden=(4,)),
    WGAN(steps=3, hidden=(8,), critic_hidden=(8,)),
    GAN(steps=3),
]


@pytest.mark.slow
@named([*WHOLE, *SMALL])
def test_members_may_see_columns_that_others_never_see_change(trainer):
    rng = np.random.default_rng(0)
    educ = np.repeat(rng.integers(8, 17, (60, 1)).astype(float), 4, axis=1)
    educ[7, 2:] += 1  # one man, who is in all folds but one
    data = Panel({"y": rng.normal(size=(60, 4)), "educ": educ})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that educ changes within one man only
        fits = fit_many(trainer, jax.random.split(KEY, 3), data, progress=False)
    sizes = [getattr(fit.parts[0], "coding", None) for fit in fits]
    assert len({coding.layout for coding in sizes if coding is not None}) != 1
    for fit in fits:
        still = 7 not in fit.rows
        drawn = np.asarray(fit.sample(mcsim.key(2), 50)["educ"])
        assert not still or (drawn == drawn[:, :1]).all()


def test_columns_that_hardly_ever_change_are_told():
    educ = np.full((60, 4), 12.0)
    educ[:30] = 16.0
    educ[7, 2:] += 1
    data = Panel({"y": np.random.default_rng(0).normal(size=(60, 4)), "educ": educ})
    with pytest.warns(UserWarning, match="'educ' changes within 1 of 60 units only"):
        GaussianCopula().fit(KEY, data)
    UnitBootstrap().fit(KEY, data)  # copies men as they are


@pytest.mark.parametrize(("turn", "word"), [(1, "falls"), (-1, "rises")])
def test_columns_that_go_one_way_are_told(turn, word):
    rng = np.random.default_rng(0)
    adopted = turn * (np.arange(6) >= rng.integers(2, 9, (80, 1))).astype(float)
    data = Panel({"y": rng.normal(size=(80, 6)), "d": adopted})
    with pytest.warns(UserWarning, match=f"'d' never {word} within a unit; in generated panels"):
        GaussianCopula().fit(KEY, data)
    with pytest.warns(UserWarning, match=f"'d' never {word} within a unit"):
        BlockBootstrap().fit(KEY, data)
    UnitBootstrap().fit(KEY, data)


# Heavy tails, and cells that are missing because of others


def lognormal(s):
    r = np.random.default_rng(0)
    return s * (0.9 * r.normal(size=(500, 1)) + 0.45 * r.normal(size=(500, 8)))


@pytest.mark.slow
@pytest.mark.parametrize("s", [0.5, 1.0, 1.5, 2.5])
@named([GaussianCopula(), SmoothedBootstrap()])
def test_heavy_tails_keep_their_periods_and_their_paths(trainer, s):
    """Where values are steep in scores, full steps towards the second moments go back and forth."""
    logs = lognormal(s) + np.linspace(0, 1, 8)
    drawn = trainer.fit(KEY, Panel({"sales": np.exp(logs)})).sample(mcsim.key(2), 20_000)["sales"]
    assert float(drawn.min()) > 0
    found = np.log(np.asarray(drawn))
    np.testing.assert_allclose(found.mean(axis=0), logs.mean(axis=0), atol=0.15 * s)
    np.testing.assert_allclose(found.std(axis=0), logs.std(axis=0), rtol=0.15)
    assert np.diff(found).std() == pytest.approx(np.diff(logs).std(), rel=0.15)


@pytest.mark.slow
@named([GaussianCopula(), FactorVAR(), VAE(steps=50)])
def test_cells_missing_because_of_others_do_not_move_the_mean(trainer):
    """y is missing where w, which is seen, is large: the mean of what is seen is far too small."""
    r = np.random.default_rng(0)
    w = r.normal(size=(600, 6))
    y = 0.7 * w + 0.7 * r.normal(size=(600, 6)) + 0.5 * r.normal(size=(600, 1))
    gone = r.random((600, 6)) < 1 / (1 + np.exp(0.8 - 1.5 * w))
    gone[gone.all(axis=1)] = False
    seen = np.where(gone, np.nan, y)
    assert np.nanmean(seen) < y.mean() - 0.2
    fit = replace(trainer, missing="model").fit(KEY, Panel({"w": w, "y": seen}), progress=False)
    drawn = np.asarray(fit.sample(mcsim.key(2), 20_000)["y"])
    assert drawn.mean() == pytest.approx(y.mean(), abs=0.08)
    assert drawn.std() == pytest.approx(y.std(), rel=0.05)


# Levels without an order


def levels_data(t, seed=0, n=600):
    """Outcomes that differ by a level that never changes and by one that does, in no order."""
    rng = np.random.default_rng(seed)
    place, job = rng.integers(0, 4, (n, 1)), rng.integers(0, 3, (n, t))
    means = np.array([0.0, 1.2, -0.6, 0.3])[place] + np.array([0.0, 0.8, 0.1])[job]
    y = means + 0.6 * rng.normal(size=(n, 1)) + 0.5 * rng.normal(size=(n, t))
    columns = {"y": y, "place": np.repeat(place, t, axis=1), "job": job}
    levels = {"place": tuple("abcd"), "job": tuple("xyz")}
    schema = mcsim.infer_schema(columns, levels=levels)
    return Panel({n: v.astype(float) for n, v in columns.items()}), schema


def level_means(panel, name):
    y, level = np.asarray(panel["y"]), np.asarray(panel[name]).astype(int)
    means = np.bincount(level.ravel(), y.ravel()) / np.bincount(level.ravel())
    return means - y.mean()


@pytest.mark.slow
@pytest.mark.parametrize("t", [1, 4])
@named([t for t in WHOLE if not isinstance(t, FactorVAR)])
def test_outcomes_differ_between_levels_as_in_the_data(trainer, t):
    data, schema = levels_data(t)
    drawn = trainer.fit(KEY, data, schema=schema).sample(mcsim.key(2), 50_000)
    for name in ("place", "job"):
        share = [np.bincount(np.asarray(p[name]).astype(int).ravel()) / p[name].size
                 for p in (data, drawn)]  # fmt: skip
        np.testing.assert_allclose(*share, atol=0.02)
        # how far apart levels on a line are follows from their shares, not from their means
        np.testing.assert_allclose(level_means(drawn, name), level_means(data, name), atol=0.25)


def test_levels_are_put_where_they_are_most_unlike():
    data, schema = levels_data(4)
    cells = {n: np.asarray(data[n])[:, :1] if n == "place" else np.asarray(data[n]) for n in data}
    found = scaled_levels(cells, schema)
    assert np.argsort(found["place"]).tolist() in ([2, 0, 3, 1], [1, 3, 0, 2])
    assert np.argsort(found["job"]).tolist() in ([0, 2, 1], [1, 2, 0])
    # what the levels are called is no matter
    names = np.random.default_rng(0).permutation(4).astype(float)
    other = scaled_levels({**cells, "place": names[cells["place"].astype(int)]}, schema)
    np.testing.assert_allclose(other["place"][names.astype(int)], found["place"], atol=1e-6)
    alone = {"place": cells["place"]}
    assert scaled_levels(alone, schema)["place"].tolist() == [0, 1, 2, 3]


@pytest.mark.slow
def test_a_level_that_a_fit_never_saw_is_not_drawn():
    data, schema = levels_data(4)
    seen = np.asarray(data["place"])[:, 0] != 1
    part = Panel({name: np.asarray(values)[seen] for name, values in data.items()})
    drawn = GaussianCopula().fit(KEY, part, schema=schema).sample(mcsim.key(2), 2_000)
    assert set(np.unique(drawn["place"])) == {0, 2, 3}


# Groups


def schools(sizes, seed=0, t=3):
    rng = np.random.default_rng(seed)
    code = np.repeat(np.arange(len(sizes)), sizes).astype(float)
    shared = rng.normal(size=(len(sizes), 1))[code.astype(int)]
    values = shared + rng.normal(size=(len(code), 1)) + rng.normal(size=(len(code), t))
    return Panel({"y": values, "school": np.repeat(code[:, None], t, axis=1)})


SIZES = np.tile([4, 9, 14], 25)


def alike(panel):
    """Intraclass correlation of unit means, by analysis of variance."""
    code, mean = np.asarray(panel["school"])[:, 0], np.asarray(panel["y"]).mean(axis=1)
    groups = pd.Series(mean).groupby(code)
    sizes, count = groups.size(), groups.ngroups
    inside = ((mean - groups.transform("mean")) ** 2).sum() / (len(mean) - count)
    between = (sizes * (groups.mean() - mean.mean()) ** 2).sum() / (count - 1)
    typical = (len(mean) - (sizes**2).sum() / len(mean)) / (count - 1)
    part = (between - inside) / typical
    return part / (part + inside)


@pytest.mark.slow
@named([replace(t, cluster="school") for t in WHOLE])
def test_units_of_a_group_are_as_alike_as_in_the_data(trainer):
    data = schools(SIZES)
    drawn = trainer.fit(KEY, data).sample(mcsim.key(2), 30_000)
    assert alike(drawn) == pytest.approx(alike(data), abs=0.06)


@pytest.mark.slow
@pytest.mark.parametrize("resample", ["folds", "bootstrap"])
def test_ensembles_resample_whole_groups(resample):
    rng = np.random.default_rng(0)
    code = np.repeat(np.arange(40.0), 5)[:, None] * np.ones(3)
    data = Panel({"y": rng.normal(size=(200, 1)) + rng.normal(size=(200, 3)), "school": code})
    trainer, keys = GaussianCopula(cluster="school"), jax.random.split(KEY, 8)
    fits = fit_many(trainer, keys, data, resample=resample, progress=False)
    for fit in fits:
        times = np.bincount(fit.rows, minlength=200).reshape(40, 5)
        assert (times == times[:, :1]).all()
        assert (times == 0).any()
    drawn = [alike(fit.sample(mcsim.key(2), 10_000)) for fit in fits]
    assert np.mean(drawn) < 0.05  # units are alike in no group; copies of a group would be
    with pytest.raises(InputError, match="the panel has 40 clusters"):
        fit_many(trainer, jax.random.split(KEY, 41), data, progress=False)


@named([replace(t, cluster="school") for t in WHOLE])
def test_groups_have_the_sizes_of_the_data(trainer):
    drawn = trainer.fit(KEY, schools(SIZES)).sample(mcsim.key(2), 9_000)
    sizes = np.unique_counts(np.asarray(drawn["school"])[:, 0]).counts[:-1]
    assert set(sizes) == {4, 9, 14}


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
@named([GaussianCopula(), Flow(steps=2, folds=2), VAE(steps=2)])
def test_members_with_few_units_and_many_copies(trainer):
    data = Panel({"y": np.random.default_rng(0).normal(size=(8, 3))})
    rows = [np.repeat([2, 5], 4), np.repeat([0, 1, 6], [1, 1, 6])]
    for fit in trainer.fit_members(mcsim.keys(0, 2), data, rows, progress=False):
        assert np.isfinite(fit.sample(KEY, 20)["y"]).all()
    with pytest.raises(InputError, match="member 1 holds nothing but duplicates of one unit"):
        trainer.fit_members(mcsim.keys(0, 2), data, [None, np.full(8, 3)], progress=False)


@pytest.mark.slow
def test_copies_are_no_component_of_a_mixture():
    data = Panel({"y": np.random.default_rng(0).normal(size=(60, 8))})
    fits = fit_many(GaussianMixture(), mcsim.keys(0, 4), data, resample="bootstrap")
    assert np.mean([len(fit.parts[0].distribution.weights) for fit in fits]) < 2


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


def test_drawn_clusters_of_the_bootstrap_are_whole_and_real():
    data = schools(np.array([4, 4, 4, 4, 9, 9]))
    drawn = UnitBootstrap(cluster="school").fit(KEY, data).sample(mcsim.key(2), 200)
    real = {tuple(sorted(np.asarray(data["y"])[np.asarray(data["school"])[:, 0] == c, 0]))
            for c in range(6)}  # fmt: skip
    code, first = np.asarray(drawn["school"])[:, 0], np.asarray(drawn["y"])[:, 0]
    assert {tuple(sorted(first[code == c])) for c in range(int(code.max()))} <= real


# Given columns


def arms(n=120, seed=0):
    rng = np.random.default_rng(seed)
    treat = np.arange(n) % 2.0
    return Panel({"treat": treat, "y": 2 * treat + rng.normal(size=n), "x": rng.normal(size=n)})


@named([t for t in WHOLE if not isinstance(t, FactorVAR)])
def test_each_given_level_has_a_law_of_its_own(trainer):
    generator = trainer.fit(KEY, arms(), given=["treat"])
    treat = np.repeat([0.0, 1.0], 4_000)
    drawn = generator.sample(mcsim.key(2), 8_000, given={"treat": treat})
    gap = np.asarray(drawn["y"])[treat == 1].mean() - np.asarray(drawn["y"])[treat == 0].mean()
    data = arms()
    real = np.asarray(data["y"])[data["treat"] == 1].mean() - (
        np.asarray(data["y"])[data["treat"] == 0].mean()
    )
    assert gap == pytest.approx(real, abs=0.12)
    np.testing.assert_array_equal(drawn["treat"][:, 0], treat)


def test_an_unseen_given_value_is_an_error_and_under_jit_nan():
    """As of generators that draw column by column: no rows of NaN among the others."""
    generator = GaussianCopula().fit(KEY, arms(), given=["treat"])
    treat = [0, 1, 2]
    with pytest.raises(
        InputError, match=r"column 'treat': \[2.0\] unseen in training \(seen: 0, 1\)"
    ):
        generator.sample(KEY, 3, given={"treat": treat})
    with pytest.raises(InputError, match="column 'treat': 1 values are not finite"):
        generator.sample(KEY, 2, given={"treat": [0.0, np.nan]})
    drawn = jax.jit(lambda given: generator.sample(KEY, 3, given={"treat": given})["y"])(
        jnp.asarray(treat)
    )
    np.testing.assert_array_equal(np.isnan(drawn[:, 0]), [False, False, True])


def test_an_unseen_joint_value_is_an_error_though_each_value_was_seen():
    groups = np.repeat([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]], 20, axis=0)
    y = np.random.default_rng(0).normal(size=60)
    panel = Panel({"a": groups[:, 0], "b": groups[:, 1], "y": y})
    generator = GaussianCopula().fit(KEY, panel, given=["a", "b"])
    with pytest.raises(
        InputError, match=r"columns \['a', 'b'\]: \[\(1.0, 1.0\)\] unseen in training"
    ):
        generator.sample(KEY, 2, given={"a": [0.0, 1.0], "b": [1.0, 1.0]})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("treat", r"expected names: given=\['treat'\]"),
        (["trat"], "did you mean 'treat'"),
        (["treat", "y", "x"], "expected at least one left to draw"),
        (["y"], "120 joint values.*at most 16"),
    ],
)
def test_wrong_given_columns_are_a_sentence(given, message):
    with pytest.raises(InputError, match=message):
        GaussianCopula().fit(KEY, arms(), given=given)


def test_given_values_are_checked_all_at_once():
    generator = GaussianCopula().fit(KEY, arms(), given=["treat"])
    with pytest.raises(InputError, match=r"(?s)2 faults.*'x'.*'treat' is missing"):
        generator.sample(KEY, 5, given={"x": np.ones(5)})


# Ensembles


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trainer", "resample"),
    [*((trainer, "folds") for trainer in EVERY), (GaussianCopula(), "bootstrap"),
     (GaussianCopula(), None)],
    ids=str,
)  # fmt: skip
def test_ensembles_learn_from_the_rows_they_are_given(trainer, panel, resample):
    keys = mcsim.keys(seed=3, n=3)
    ensemble = fit_many(trainer, keys, panel, resample=resample, progress=False)
    member = ensemble[1]
    if resample == "bootstrap":  # a panel of copies would not say that they are
        alone = trainer.fit_members(keys[1:2], panel, [member.rows])[0]
    else:
        chosen = panel if member.rows is None else panel.take(member.rows)
        alone = trainer.fit_members(keys[1:2], chosen, [None])[0]
    np.testing.assert_array_equal(member.sample(KEY, 9)["y"], alone.sample(KEY, 9)["y"])


# Bad input


@named(EVERY)
def test_one_unit_is_refused(trainer):
    data = effects_panel(1, 30)
    with pytest.raises(InputError, match=r"got 1 unit, expected at least 8.*a single series"):
        trainer.fit(KEY, data)


@named([FactorVAR(), BlockBootstrap()])
def test_one_period_is_refused_where_time_is_needed(trainer):
    with pytest.raises(InputError, match="got 1 period"):
        trainer.fit(KEY, effects_panel(40, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"common_shocks": "redrawn"}, "did you mean 'redraw'"),
        ({"missing": "drop"}, "missing: got 'drop', expected one of 'error', 'model'"),
        ({"cluster": 3}, "expected the name of a column"),
        ({"common_shocks": "x", "missing": "y"}, "2 faults"),
    ],
)
def test_wrong_options_are_a_sentence(options, message):
    with unchecked(), pytest.raises(InputError, match=message):
        GaussianCopula(**options)


@pytest.mark.parametrize(
    ("trainer", "options", "message"),
    [
        (SmoothedBootstrap, {"bandwidth": 0}, "expected a positive number.*UnitBootstrap"),
        (GaussianMixture, {"components": 0}, "components: got 0"),
        (GaussianMixture, {"most": 1.5}, "most: got 1.5"),
        (FactorVAR, {"factors": -1, "lags": 0}, "2 faults"),
        (BlockBootstrap, {"block": 0.5}, "expected a mean length of at least 1"),
        (BlockBootstrap, {"common_shocks": "fixed"}, "UnitBootstrap keeps the dates"),
        (BlockBootstrap, {"cluster": "state"}, "leave it out"),
    ],
)
def test_wrong_options_of_reference_generators_are_a_sentence(trainer, options, message):
    with unchecked(), pytest.raises(InputError, match=message):
        trainer(**options)


@pytest.mark.parametrize(
    ("cluster", "message"),
    [("scool", "did you mean 'school'"), ("y", "changes within a unit"), ("id", "of its own")],
)
def test_wrong_clusters_are_a_sentence(cluster, message):
    data = schools(SIZES)
    data = data.with_columns({"id": np.repeat(np.arange(len(data["y"]))[:, None] * 1.0, 3, axis=1)})
    with pytest.raises(InputError, match=message):
        GaussianCopula(cluster=cluster).fit(KEY, data)


def test_infinite_values_are_refused(panel):
    values = np.asarray(panel["y"]).copy()
    values[0, 0] = np.inf
    with pytest.raises(InputError, match="'y': 1 values are infinite"):
        GaussianCopula().fit(KEY, panel.with_columns({"y": values}))


def test_a_frame_is_no_panel():
    with unchecked(), pytest.raises(InputError, match=r"mcsim\.from_frame"):
        GaussianCopula().fit(KEY, mixed_frame())


@pytest.mark.parametrize("units", [0, 2.5, True])
def test_wrong_numbers_of_units_are_a_sentence(panel, units):
    with unchecked(), pytest.raises(InputError, match="n_units: got"):
        fitted(GaussianCopula()).sample(KEY, units)


def test_values_outside_the_schema_are_refused(panel):
    schema = mcsim.infer_schema(panel).replace(y={"lower": 0.0})
    with pytest.raises(InputError, match="lie outside the schema's bounds"):
        GaussianCopula().fit(KEY, panel, schema=schema)


# The reference generators one by one


def test_the_bootstrap_draws_real_rows(panel):
    drawn = fitted(UnitBootstrap()).sample(mcsim.key(2), 500)
    real = {tuple(row) for row in np.hstack([np.asarray(panel[n]) for n in panel])}
    assert {tuple(row) for row in np.hstack([np.asarray(drawn[n]) for n in panel])} <= real


def test_the_bootstrap_draws_all_units_alike(panel):
    drawn = fitted(UnitBootstrap()).sample(mcsim.key(2), 60_000)
    counts = np.unique_counts(np.asarray(drawn["y"])[:, 0]).counts
    statistic = np.square(counts - 200).sum() / 200  # chi-squared with 299 degrees of freedom
    assert abs(statistic - 299) < 5 * np.sqrt(2 * 299)


def test_redrawn_shocks_shift_bootstrapped_paths_alike(panel):
    generator = fitted(UnitBootstrap())
    fixed = np.asarray(generator.sample(mcsim.key(2), 400)["y"])
    shifted = np.asarray(generator.with_shocks("redraw").sample(mcsim.key(2), 400)["y"])
    shift = shifted - fixed
    assert (shift.std(axis=0) < 0.5 * np.abs(shift.mean(axis=0)).max() + 0.1).all()


@pytest.mark.parametrize("bandwidth", [0.2, 0.4, 1.0])
def test_smoothing_keeps_spreads_and_copies_less(panel, bandwidth):
    drawn = fitted(SmoothedBootstrap(bandwidth=bandwidth)).sample(mcsim.key(2), 20_000)
    assert changes(drawn, "y", 3).std() == pytest.approx(changes(panel, "y", 3).std(), rel=0.05)
    assert not np.isin(drawn["y"], panel["y"]).any()


@pytest.mark.slow
def test_a_small_bandwidth_draws_near_copies(panel):
    vectors = np.hstack([np.asarray(panel[n]) for n in panel])
    nearest = []
    for bandwidth in (0.1, 0.4, 2.0):
        drawn = fitted(SmoothedBootstrap(bandwidth=bandwidth)).sample(mcsim.key(2), 200)
        own = np.hstack([np.asarray(drawn[n]) for n in panel])
        nearest.append(np.median(np.linalg.norm(own[:, None] - vectors, axis=2).min(axis=1)))
    assert nearest[0] < 0.5 * nearest[1] < nearest[2]


def test_blocks_keep_dates_together():
    data = effects_panel(9, 60)
    drawn = BlockBootstrap().fit(KEY, data).sample(mcsim.key(2), 9, 500)
    dates = {tuple(column) for column in np.asarray(data["y"]).T}
    assert {tuple(column) for column in np.asarray(drawn["y"]).T} <= dates


@pytest.mark.filterwarnings("ignore:column 't' never falls")  # it holds the dates
@pytest.mark.parametrize("block", [1, 5, 25])
def test_blocks_have_the_length_asked_for(block):
    time = np.repeat(np.arange(300.0)[None], 9, axis=0)
    generator = BlockBootstrap(block=block).fit(KEY, Panel({"t": time + np.arange(9)[:, None]}))
    path = np.asarray(generator.sample(mcsim.key(2), 9, 40_000)["t"])[0]
    runs = 1 / ((np.diff(path) % 300) != 1).mean()
    assert runs == pytest.approx(block, rel=0.1)


def test_blocks_take_fewer_units_once_and_more_with_repetition():
    data = effects_panel(9, 40)
    generator = BlockBootstrap().fit(KEY, data)
    known = np.asarray(data["y"])
    few = np.asarray(generator.sample(mcsim.key(2), 5)["y"])
    owner = [int((np.isin(known, row)).sum(axis=1).argmax()) for row in few]
    assert len(set(owner)) == 5
    assert generator.sample(mcsim.key(2), 30)["y"].shape == (30, 40)


def test_the_mixture_is_that_of_scikit_learn_with_the_least_bic():
    from sklearn.mixture import GaussianMixture as Reference

    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(400, 3)) + 4 * rng.integers(0, 2, (400, 1))
    found = best_mixture(np.random.default_rng(1), vectors, range(1, 5))
    assert (found.n_components, found.covariance_type) == (2, "spherical")
    assert found.bic(vectors) <= Reference(2, n_init=5, random_state=0).fit(vectors).bic(vectors)


@pytest.mark.slow
def test_the_mixture_keeps_types_of_units():
    """Two kinds of units, apart in the middle: the copula fills the gap, the mixture less so."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, (400, 1)) * 2 - 1
    data = Panel({"y": 3 * kind + rng.normal(size=(400, 4))})
    held = {}
    for trainer in (GaussianMixture(), GaussianCopula()):
        drawn = trainer.fit(KEY, data).sample(mcsim.key(2), 20_000)
        signs = np.sign(np.asarray(drawn["y"])).sum(axis=1)
        held[type(trainer).__name__] = (np.abs(signs) == 4).mean()
    real = (np.abs(np.sign(np.asarray(data["y"])).sum(axis=1)) == 4).mean()
    assert held["GaussianCopula"] + 0.1 < held["GaussianMixture"] < real


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


@pytest.mark.slow
def test_factors_stay_or_are_redrawn_with_the_other_shocks():
    rng = np.random.default_rng(0)
    factor = rng.normal(size=20)
    data = Panel({"y": rng.normal(size=(200, 1)) * factor + 0.5 * rng.normal(size=(200, 20))})
    generator = FactorVAR(factors=1).fit(KEY, data)
    like = {}
    for kind in ("fixed", "redraw"):
        drawn = generator.with_shocks(kind).sample(mcsim.key(2), 2_000)["y"]
        leading = np.linalg.svd(np.asarray(drawn) - np.asarray(drawn).mean(axis=0))[2][0]
        like[kind] = abs(np.corrcoef(leading, factor)[0, 1])
    assert like["redraw"] < 0.8 < like["fixed"]


def test_a_period_that_nobody_observed_is_refused():
    mask = np.ones((40, 5), bool)
    mask[:, 0] = False
    panel = Panel({"y": np.random.default_rng(0).normal(size=(40, 5))}, jnp.asarray(mask))
    with pytest.raises(InputError, match="no unit has a cell in the periods 0"):
        GaussianCopula(missing="model").fit(jax.random.key(0), panel)
    with pytest.raises(InputError, match=r"40 of 200 rows of units.*gaps and all, under a mask"):
        UnitBootstrap().fit(jax.random.key(0), panel)


@pytest.mark.parametrize("trainer", [FactorVAR(), Autoregressive(steps=2)])
def test_columns_that_never_vary_within_units_are_no_paths(trainer):
    values = np.repeat(np.random.default_rng(0).normal(size=(40, 1)), 5, axis=1)
    with pytest.raises(InputError, match="no column varies over periods"):
        trainer.fit(jax.random.key(0), Panel({"y": values}), progress=False)


@pytest.mark.slow
def test_a_schema_is_a_schema():
    panel = Panel({"y": np.random.default_rng(0).normal(size=(40, 5))})
    with pytest.raises((InputError, TypeError), match="schema"):
        GaussianCopula().fit(jax.random.key(0), panel, schema="x")
