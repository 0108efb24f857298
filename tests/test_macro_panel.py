"""`MacroPanel`: what it draws, what it refuses, and that a fit has the data's moments."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import mcsim
from mcsim import Panel
from mcsim._panel_statistics import STATISTICS, panel_statistics
from mcsim.errors import InputError, TrainingDiverged
from mcsim.generators._macro import FittedMacroPanel, MacroPanel
from mcsim.generators._macro._moments import moments, placebo_parts
from mcsim.generators._macro._realized import factor_variance, mean_loadings
from mcsim.generators._macro._simulated_moments import flat_moments, positions
from mcsim.generators._macro._skeleton import (
    TRAITS,
    common_shocks,
    draw_noise,
    draw_traits,
    fat_tailed,
    first_skeleton,
    level_outliers,
    own_parts,
    simulate,
)

N, T = 12, 60
QUICK = MacroPanel(steps=3, panels=4)


def made_up(n_units=N, n_periods=T, seed=0):
    """Growth with a common shock, fat tails, and scales of units."""
    rng = np.random.default_rng(seed)
    shocks, noise = rng.normal(size=n_periods), rng.standard_t(5, size=(n_units, n_periods))
    scale = np.exp(rng.normal(0, 0.3, size=(n_units, 1)))
    return 2.0 + scale * (0.6 * shocks + noise)


@pytest.fixture(scope="module")
def panel():
    return Panel({"growth": made_up()})


@pytest.fixture(scope="module")
def generator(panel):
    return QUICK.fit(jax.random.key(0), panel, progress=False)


@pytest.fixture
def skeleton():
    return first_skeleton((made_up() - 2.0) / made_up().std())


# Statistics


def test_statistics_agree_with_numpy_and_scipy():
    values = made_up(seed=3)
    found = {name: float(x) for name, x in panel_statistics(jnp.asarray(values)).items()}
    deviations = values - values.mean(axis=1, keepdims=True)
    pairs = np.triu_indices(N, 1)
    shares = np.linalg.eigvalsh(np.corrcoef(values))[::-1] / N
    kurtosis = scipy.stats.kurtosis(values, axis=1, bias=False)

    def acf(x, lag):
        x = x - x.mean(axis=1, keepdims=True)
        return np.array([s[lag:] @ s[:-lag] / (s @ s) for s in x])

    expected = {
        "mean": values.mean(),
        "sd": values.std(axis=1, ddof=1).mean(),
        "ar1": acf(values, 1).mean(),
        "ar1_sd": acf(values, 1).std(ddof=1),
        "cross_correlation": np.corrcoef(values)[pairs].mean(),
        "kurtosis": kurtosis.mean(),
        "kurtosis_median": np.median(kurtosis),
        "rank": (np.cumsum(shares) < 0.99).sum() + 1,
        "leading_share": shares[0],
        "abs_ac1": acf(np.abs(deviations), 1).mean(),
        "abs_ac4": acf(np.abs(deviations), 4).mean(),
        "mean_path_variance": values.mean(axis=0).var(),
    }
    assert found == pytest.approx(expected, rel=1e-9)
    assert tuple(found) == STATISTICS


def test_a_copied_unit_costs_a_rank():
    values = made_up()
    copies = np.concatenate([values[:6], values[:6]])
    assert float(panel_statistics(jnp.asarray(copies))["rank"]) == 6


# The skeleton


@pytest.mark.parametrize(("skew", "tail"), [(0.0, 0.0), (0.3, 0.0), (-0.4, 0.2), (0.1, 0.4)])
def test_fat_tails_keep_mean_and_variance(skew, tail):
    nodes, weights = np.polynomial.hermite_e.hermegauss(180)
    weights = weights / weights.sum()
    values = np.asarray(fat_tailed(jnp.asarray(nodes), skew, tail))
    mean, variance = weights @ values, weights @ values**2
    assert mean == pytest.approx(0.0, abs=1e-8)
    assert variance == pytest.approx(1.0, rel=2e-3 if tail > 0.3 else 1e-8)


def test_every_part_is_stationary(skeleton):
    """First and last periods vary alike, over many draws."""
    noise = draw_noise(jax.random.key(1), 500, 40, (200,))
    own = own_parts(skeleton, noise.units[:3], jnp.full((200, 500), 0.5), jnp.ones((200, 500)))
    outliers = level_outliers(skeleton, noise.units[3, 1:])
    common = common_shocks(skeleton, draw_noise(jax.random.key(2), 1, 40, (100_000,)).common)
    for name, part in (("own", own), ("outlier", outliers), ("slow", common.slow)):
        early, late = (np.asarray(part[t]).ravel() for t in (0, -1))
        ratio = early.var() / late.var()
        assert ratio == pytest.approx(1.0, abs=0.06), name
    assert np.asarray(common.factor[-1]).var() == pytest.approx(
        factor_variance(skeleton), rel=0.12
    )


def test_traits_have_the_covariance_of_their_root(skeleton):
    mixed = jnp.tril(0.1 * jnp.ones((len(TRAITS), len(TRAITS))), -1)
    skeleton = skeleton._replace(trait_root=skeleton.trait_root + mixed)
    noise = draw_noise(jax.random.key(0), 200_000, 1).traits
    drawn = np.asarray(draw_traits(skeleton, noise), np.float64)
    loading = np.exp(drawn[:, 1]) * drawn[:, 3]
    slow_loading = np.exp(drawn[:, 1]) * drawn[:, 4]
    fast, slow = mean_loadings(skeleton)
    for expected, sampled in ((fast, loading), (slow, slow_loading)):
        assert abs(sampled.mean() - expected) < 4 * sampled.std() / np.sqrt(len(sampled))


def test_a_batch_is_drawn_as_single_panels_are(skeleton):
    noise = draw_noise(jax.random.key(0), 5, 30, (3,))
    batch = np.asarray(simulate(skeleton, noise))
    second = type(noise)(noise.traits[1], noise.common[:, :, 1], noise.units[:, :, 1])
    np.testing.assert_allclose(batch[1], np.asarray(simulate(skeleton, second)), rtol=2e-5)
    assert batch.shape == (3, 5, 30)


# Moments


def test_the_placebo_parts_is_its_variance_over_adoption():
    rng = np.random.default_rng(0)
    values = made_up(8, 40)
    e = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    draws = []
    for _ in range(40_000):
        adopts = rng.permutation(8) < 4
        dates = rng.integers(10, 30, size=8)
        draws.append(sum(e[i, dates[i] :].sum() for i in range(8) if adopts[i]))
    # the closed form up to terms of order 1 / units: units are drawn without replacement
    variance = np.var(draws)
    expected = 0.5 * 40 * float(placebo_parts(jnp.asarray(e)).sum())
    assert expected == pytest.approx(variance, rel=0.1)


def test_moments_do_not_depend_on_the_order_of_units():
    values = made_up().astype(np.float32)
    turned = values[np.random.default_rng(1).permutation(N)]
    np.testing.assert_allclose(
        flat_moments(jnp.asarray(values)), flat_moments(jnp.asarray(turned)), rtol=1e-3, atol=1e-4
    )


def test_positions_are_those_of_the_vector():
    values = jnp.asarray(made_up(), jnp.float32)
    vector, named = np.asarray(flat_moments(values)), moments(values)
    for name, place in positions(N, T).items():
        np.testing.assert_allclose(vector[place], np.ravel(named[name]), rtol=1e-5)


# What a fit returns


def test_any_number_of_units_and_periods(generator):
    drawn = generator.sample(jax.random.key(0), 7, 130)
    assert drawn["growth"].shape == (7, 130)
    assert drawn["growth"].dtype == jnp.float64
    assert np.isfinite(np.asarray(drawn["growth"])).all()
    assert generator.sample(jax.random.key(0), 3).n_periods == T
    assert repr(generator) == "FittedMacroPanel(growth, common shocks redrawn)"


def test_a_key_is_a_panel(generator):
    one, same, other = (generator.sample(jax.random.key(k), 4)["growth"] for k in (5, 5, 6))
    assert (one == same).all()
    assert not np.isclose(one, other).any()


def test_draws_run_under_jit_and_vmap(generator):
    keys = jax.random.split(jax.random.key(1), 3)
    bare = dataclasses.replace(generator, losses={}, rows=None)
    batch = jax.jit(jax.vmap(lambda key: bare.sample(key, N, T)["growth"]))(keys)
    alone = np.stack([generator.sample(key, N, T)["growth"] for key in keys])
    np.testing.assert_allclose(batch, alone, rtol=1e-4, atol=1e-4)


def test_units_are_exchangeable(generator):
    """No unit is the data's first: means of places differ by chance alone."""
    keys = jax.random.split(jax.random.key(2), 400)
    drawn = jax.vmap(lambda key: generator.sample(key, 4)["growth"])(keys)
    contrast = np.asarray(drawn.mean(axis=2)) @ np.array([1.0, -1.0, 1.0, -1.0])
    assert abs(contrast.mean()) < 4 * contrast.std() / np.sqrt(len(contrast))


def test_fixed_shocks_are_those_of_the_data(generator, panel):
    fixed = generator.with_shocks("fixed")
    keys = jax.random.split(jax.random.key(3), 200)
    paths = {
        shocks: np.asarray(
            jax.vmap(lambda key, g=g: g.sample(key, N)["growth"].mean(axis=0))(keys)
        )
        for shocks, g in (("fixed", fixed), ("redraw", generator))
    }
    frozen = {s: path.mean(axis=0).var() / path.var(axis=1).mean() for s, path in paths.items()}
    assert frozen["redraw"] - 1 / 200 < 0.05
    assert frozen["fixed"] > 0.5
    real = np.asarray(panel["growth"]).mean(axis=0)
    assert np.corrcoef(paths["fixed"].mean(axis=0), real)[0, 1] > 0.9
    assert "those of the data" in fixed.caveats[0]
    assert generator.caveats == ()
    assert fixed.common_shocks == "fixed"
    assert fixed.sample(jax.random.key(0), 2, 10).n_periods == 10


def test_the_losses_are_recorded(generator):
    assert {name: loss.shape for name, loss in generator.losses.items()} == {
        "moments": (3,),
        "placebo": (3,),
    }


def test_an_ensemble_on_folds(panel):
    fits = mcsim.fit_many(QUICK, jax.random.split(jax.random.key(0), 3), panel, progress=False)
    assert [len(fit.rows) for fit in fits] == [8, 8, 8]
    assert all(isinstance(fit, FittedMacroPanel) for fit in fits)
    alone = QUICK.fit_members(
        jax.random.split(jax.random.key(0), 3)[1:2], panel, [fits[1].rows], progress=False
    )[0]
    for one, other in zip(
        jax.tree.leaves(fits[1].skeleton), jax.tree.leaves(alone.skeleton), strict=True
    ):
        assert (one == other).all()


def test_a_fit_follows_the_scale_of_the_data(panel, generator):
    """In other units the same panel gives the same law."""
    values = np.asarray(panel["growth"])
    scaled = QUICK.fit(jax.random.key(0), Panel({"growth": 100 + 64 * values}), progress=False)
    one, other = (g.sample(jax.random.key(1), 5)["growth"] for g in (generator, scaled))
    np.testing.assert_allclose(other, 100 + 64 * one, rtol=5e-3, atol=0.5)


# What is refused


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "steps: got 0"),
        ({"panels": 5}, "even integer"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"average": 1.0}, "average"),
        ({"common_shocks": "redrawn"}, "did you mean 'redraw'"),
    ],
)
def test_options_out_of_range(options, words):
    with pytest.raises(InputError, match=words):
        MacroPanel(**options)


def test_all_faults_of_options_at_once():
    with pytest.raises(InputError, match="2 faults"):
        MacroPanel(steps=0, panels=1)


def with_hole():
    values = made_up()
    values[3, 7] = np.nan
    return values


def with_constant():
    values = made_up()
    values[3] = 1.5
    return values


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"y": made_up(1, T)}, "got 1 unit, expected at least 4"),
        ({"y": made_up(N, 1)}, "got 1 period, expected at least 20"),
        ({"y": made_up(N, 19)}, "got 19 periods"),
        ({"y": with_hole()}, "1 cells are missing or not finite.*11 units that are complete"),
        ({"y": with_constant()}, r"constant over all periods in 1 of 12 units \(numbers 3\)"),
        ({"y": made_up(), "x": made_up()}, r"2 columns \(y, x\).*panel.select\(\['y'\]\)"),
    ],
)
def test_panels_that_cannot_be_learned(columns, words):
    with pytest.raises(InputError, match=words):
        QUICK.fit(jax.random.key(0), Panel(columns), progress=False)


def test_masked_cells_and_given_columns_are_refused_together():
    mask = jnp.ones((N, T), bool).at[2, 5].set(False)
    with pytest.raises(InputError, match=r"(?s)given: got \['y'\].*1 cells are missing"):
        QUICK.fit(jax.random.key(0), Panel({"y": made_up()}, mask), given=["y"], progress=False)


def test_sizes_that_cannot_be_drawn(generator):
    fixed, key = generator.with_shocks("fixed"), jax.random.key(0)
    with pytest.raises(InputError, match=r"got 61.*60 periods.*with_shocks\('redraw'\)"):
        fixed.sample(key, 3, 61)
    with pytest.raises(InputError, match="n_units: got 0"):
        generator.sample(key, 0)
    with pytest.raises(InputError, match="conditions on nothing"):
        generator.sample(key, 3, given={"growth": np.ones(3)})
    with pytest.raises(InputError, match="did you mean"):
        generator.with_shocks("redrawn")


def test_a_fit_that_runs_away_is_told(panel):
    with pytest.raises(TrainingDiverged, match="lower learning_rate"):
        MacroPanel(steps=40, panels=4, learning_rate=1e6).fit(
            jax.random.key(0), panel, progress=False
        )
