"""`MacroPanel`: what it draws, what it refuses, and that a fit has the data's moments.

A fit costs ten seconds of compiling, so most tests draw from a generator that was not trained.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import mcsim
from mcsim import Panel
from mcsim._fidelity._panels.statistics import STATISTICS, panel_statistics
from mcsim.errors import InputError, TrainingDiverged
from mcsim.estimators import fixed_effects
from mcsim.generators import FittedMacroPanel, MacroPanel
from mcsim.generators._macro.simulated_moments import (
    flat_moments,
    moments,
    placebo_parts,
    placebo_size,
    positions,
)
from mcsim.generators._macro.structural_model import (
    COEFFICIENTS,
    common_shocks,
    draw_coefficients,
    draw_noise,
    factor_variance,
    fat_tailed,
    first_model,
    level_outliers,
    mean_loadings,
    own_parts,
    realized_shocks,
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
def model():
    return first_model((made_up() - made_up().mean()) / made_up().std())


@pytest.fixture(scope="module")
def generator(panel, model):
    """What a fit of no steps would give."""
    values = np.asarray(panel["growth"])
    center, scale = values.mean(), values.std()
    realized = realized_shocks(model, (values - center) / scale)
    schema = mcsim.infer_schema(panel)
    return FittedMacroPanel(QUICK, schema, model, center, scale, realized)


@pytest.fixture(scope="module")
def fitted(panel):
    return QUICK.fit(jax.random.key(0), panel, progress=False)


# Statistics


def test_statistics_agree_with_numpy_and_scipy():
    values = made_up(seed=3)
    found = {name: float(x) for name, x in jax.jit(panel_statistics)(values).items()}
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
    assert set(found) == set(STATISTICS)


def test_a_copied_unit_costs_a_rank():
    values = made_up()
    copies = np.concatenate([values[:6], values[:6]])
    assert float(panel_statistics(jnp.asarray(copies))["rank"]) == 6


# The model


@pytest.mark.parametrize(("skew", "tail"), [(0.0, 0.0), (0.3, 0.0), (-0.4, 0.2), (0.1, 0.4)])
def test_fat_tails_keep_mean_and_variance(skew, tail):
    nodes, weights = np.polynomial.hermite_e.hermegauss(180)
    weights = weights / weights.sum()
    values = np.asarray(fat_tailed(jnp.asarray(nodes), skew, tail))
    mean, variance = weights @ values, weights @ values**2
    assert mean == pytest.approx(0.0, abs=1e-8)
    assert variance == pytest.approx(1.0, rel=2e-3 if tail > 0.3 else 1e-8)


@pytest.mark.slow
def test_every_part_is_stationary(model):
    """First and last periods vary alike, over many draws."""
    noise = draw_noise(jax.random.key(1), 500, 40, (200,))
    persistence, ones = jnp.full((200, 500), 0.5), jnp.ones((200, 500))
    own = jax.jit(own_parts)(model, noise.units[:3], persistence, ones)
    outliers = level_outliers(model, noise.units[3, 1:])
    common = common_shocks(model, draw_noise(jax.random.key(2), 1, 40, (100_000,)).common)
    for name, part in (("own", own), ("outlier", outliers), ("slow", common.slow)):
        early, late = (np.asarray(part[t]).ravel() for t in (0, -1))
        ratio = early.var() / late.var()
        assert ratio == pytest.approx(1.0, abs=0.06), name
    assert np.asarray(common.factor[-1]).var() == pytest.approx(factor_variance(model), rel=0.12)


def test_coefficients_have_the_covariance_of_their_root(model):
    mixed = jnp.tril(0.1 * jnp.ones((len(COEFFICIENTS), len(COEFFICIENTS))), -1)
    model = model._replace(coefficient_root=model.coefficient_root + mixed)
    noise = draw_noise(jax.random.key(0), 200_000, 1).coefficients
    drawn = np.asarray(draw_coefficients(model, noise), np.float64)
    loading = np.exp(drawn[:, 1]) * drawn[:, 3]
    slow_loading = np.exp(drawn[:, 1]) * drawn[:, 4]
    fast, slow = mean_loadings(model)
    for expected, sampled in ((fast, loading), (slow, slow_loading)):
        assert abs(sampled.mean() - expected) < 4 * sampled.std() / np.sqrt(len(sampled))


def test_a_batch_is_drawn_as_single_panels_are(model):
    noise = draw_noise(jax.random.key(0), 5, 30, (3,))
    draw = jax.jit(simulate)
    batch = np.asarray(draw(model, noise))
    second = type(noise)(noise.coefficients[1], noise.common[:, :, 1], noise.units[:, :, 1])
    np.testing.assert_allclose(batch[1], np.asarray(draw(model, second)), rtol=2e-5)
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


def test_the_placebo_size_is_how_often_a_test_rejects():
    """Two-way regressions on adoption at random, of residuals with memory, in NumPy."""
    rng, n_units, n_periods = np.random.default_rng(0), 30, 100
    e = rng.normal(size=(n_units, n_periods))
    for t in range(1, n_periods):
        e[:, t] += 0.6 * e[:, t - 1]

    def demeaned(x):
        return x - x.mean(1, keepdims=True) - x.mean(0) + x.mean()

    e, rejections = demeaned(e), []
    for _ in range(3000):
        adopts, dates = rng.permutation(n_units) < 15, rng.integers(25, 75, size=n_units)
        d = demeaned((adopts[:, None] & (np.arange(n_periods) >= dates[:, None])).astype(float))
        value = (d * e).sum() / (d**2).sum()
        residual = e - value * d
        df = (n_units - 1) * (n_periods - 1) - 1
        se = np.sqrt((residual**2).sum() / df / (d**2).sum())
        rejections.append(abs(value / se) > 1.96)
    size = placebo_size(placebo_parts(jnp.asarray(e)).mean() / (e**2).mean())
    assert float(size) == pytest.approx(np.mean(rejections), abs=0.04)
    assert float(size) > 0.2


def test_moments_do_not_depend_on_the_order_of_units():
    values = made_up().astype(np.float32)
    turned = values[np.random.default_rng(1).permutation(N)]
    describe = jax.jit(flat_moments)
    np.testing.assert_allclose(describe(values), describe(turned), rtol=1e-3, atol=1e-4)


def test_positions_are_those_of_the_vector():
    values = jnp.asarray(made_up(), jnp.float32)
    vector, named = np.asarray(jax.jit(flat_moments)(values)), jax.jit(moments)(values)
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
        shocks: np.asarray(jax.vmap(lambda key, g=g: g.sample(key, N)["growth"].mean(axis=0))(keys))
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


@pytest.mark.parametrize(
    ("miss", "said"), [(0.2, ()), (-0.2, ()), (1.4, ("more",)), (-1.1, ("less",))]
)
def test_a_law_that_it_cannot_have_is_a_caveat(generator, miss, said):
    misses = np.concatenate([np.full(50, 9.0), np.full(100, miss)])
    caveats = dataclasses.replace(generator, losses={"placebo": misses}).caveats
    assert len(caveats) == len(said)
    assert all(
        f"vary {word} than on the data" in own for own, word in zip(caveats, said, strict=True)
    )


@pytest.mark.optimized
@pytest.mark.slow
def test_a_unit_with_a_trend_of_its_own_is_a_caveat():
    values = np.random.default_rng(0).normal(size=(10, 40)).cumsum(axis=1) * 0.3
    values = np.diff(values, axis=1, prepend=0.0)
    fit = MacroPanel(steps=200).fit
    assert fit(jax.random.key(0), mcsim.Panel({"y": values}), progress=False).caveats == ()
    values[0] += np.linspace(-1.0, 1.0, 40)
    (caveat,) = fit(jax.random.key(0), mcsim.Panel({"y": values}), progress=False).caveats
    assert "a unit with a trend" in caveat


@pytest.mark.slow
def test_the_losses_are_recorded(fitted):
    shapes = {name: loss.shape for name, loss in fitted.losses.items()}
    assert shapes == {"moments": (3,), "placebo": (3,)}


def test_copies_of_units_are_refused(panel):
    with pytest.raises(InputError, match="take resample='folds'"):
        mcsim.fit_many(QUICK, mcsim.keys(0, 3), panel, resample="bootstrap")


@pytest.mark.slow
def test_an_ensemble_on_folds(panel):
    keys = jax.random.split(jax.random.key(0), 3)
    fits = mcsim.fit_many(QUICK, keys, panel, progress=False)
    assert [len(fit.rows) for fit in fits] == [8, 8, 8]
    alone = QUICK.fit_members(keys[1:2], panel, [fits[1].rows], progress=False)[0]
    for one, other in zip(
        jax.tree.leaves(fits[1].model), jax.tree.leaves(alone.model), strict=True
    ):
        assert (one == other).all()
    different = fits[0].model.coefficient_mean != fits[1].model.coefficient_mean
    assert different.any()


@pytest.mark.slow
def test_a_fit_follows_the_scale_of_the_data(panel, fitted):
    """In other units the same panel gives the same law."""
    values = np.asarray(panel["growth"])
    scaled = QUICK.fit(jax.random.key(0), Panel({"growth": 100 + 64 * values}), progress=False)
    one, other = (g.sample(jax.random.key(1), 5)["growth"] for g in (fitted, scaled))
    np.testing.assert_allclose(other, 100 + 64 * one, rtol=5e-3, atol=0.5)


@pytest.mark.slow
def test_a_fit_that_runs_away_is_told(panel):
    trainer = MacroPanel(steps=40, panels=4, learning_rate=1e6)
    with pytest.raises(TrainingDiverged, match="lower learning_rate"):
        trainer.fit(jax.random.key(0), panel, progress=False)


@pytest.mark.slow
def test_a_fit_finds_a_law_that_it_can_draw(model):
    """Of a long and broad panel of known law, the moments are the law's own."""
    truth = model._replace(slow_persistence=jnp.float32(1.5), tail=jnp.float32(0.0))
    draw = jax.jit(lambda s, key: simulate(s, draw_noise(key, 40, 150, (64,))))
    values = np.asarray(draw(truth, jax.random.key(0)))[0]
    panel = Panel({"y": values.astype(float)})
    fit = MacroPanel(steps=200, panels=8).fit(jax.random.key(1), panel, progress=False)
    again = fit.center + fit.scale * draw(fit.model, jax.random.key(2))
    real = panel_statistics(jnp.asarray(values))
    found = jax.jit(jax.vmap(panel_statistics))(again)
    for name in ("sd", "ar1", "cross_correlation", "abs_ac1", "mean_path_variance"):
        tolerance = 2 * float(found[name].std())  # a fit that learned nothing is further off
        assert float(found[name].mean()) == pytest.approx(float(real[name]), abs=tolerance), name
    assert float(found["sd"].mean()) == pytest.approx(float(real["sd"]), rel=0.03)


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
        ({"y": np.arange(N)[:, None] + made_up(1, T)}, "nothing of their own"),
        ({"y": made_up(), "x": made_up()}, r"2 columns \(y, x\).*panel.select\(\['y'\]\)"),
    ],
)
def test_panels_that_cannot_be_learned(columns, words):
    with pytest.raises(InputError, match=words):
        QUICK.fit(jax.random.key(0), Panel(columns), progress=False)


def test_a_column_of_counts_is_refused_and_a_bounded_one_stays_in_bounds(generator):
    counts = Panel({"y": np.random.default_rng(0).poisson(3.0, size=(N, T)).astype(float)})
    with pytest.raises(InputError, match=r"schema says integer.*schema.replace\(y="):
        QUICK.fit(jax.random.key(0), counts, progress=False)
    bounded = generator.schema.replace(growth={"lower": 0.0})
    drawn = dataclasses.replace(generator, schema=bounded).sample(jax.random.key(0), 50)
    assert float(drawn["growth"].min()) == 0.0


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


# What a fit to GDP growth must show


@pytest.fixture(scope="module")
def growth():
    try:
        frame = mcsim.datasets.load("oecd_gdp_growth")
    except InputError as error:
        pytest.skip(str(error))
    return mcsim.from_frame(frame, unit="country", time="date")[0]


@pytest.fixture(scope="module")
def growth_panels(growth):
    """Three hundred panels from one fit."""
    fit = MacroPanel().fit(jax.random.key(0), growth, progress=False)
    bare = dataclasses.replace(fit, losses={}, rows=None)
    draw = jax.jit(jax.vmap(lambda key: bare.sample(key, 25)["growth"]))
    return draw(jax.random.split(jax.random.key(1), 300))


def adoptions(key, n_units, n_periods):
    """Half of the units adopt, at dates drawn evenly from the middle half of the periods."""
    who, when = jax.random.split(key)
    adopts = jax.random.permutation(who, n_units) < (n_units + 1) // 2
    dates = jax.random.randint(when, (n_units,), n_periods // 4, n_periods - n_periods // 4)
    return (adopts[:, None] & (jnp.arange(n_periods) >= dates[:, None])).astype(float)


def test_the_real_panel_has_the_figures_that_were_published(growth):
    """The row of the chapter's table, and the placebo's sd and rejection rates."""
    y = growth["growth"]
    found = jax.jit(panel_statistics)(y)
    row = {"mean": 0.787, "sd": 1.331, "ar1": 0.106, "ar1_sd": 0.212, "cross_correlation": 0.204,
           "kurtosis": 6.76, "leading_share": 0.258, "rank": 25}  # fmt: skip
    for name, value in row.items():
        assert float(found[name]) == pytest.approx(value, abs=0.005 if name == "kurtosis" else 6e-4)
    assert float(found["kurtosis_median"]) == pytest.approx(4.0, abs=0.05)
    assert float(found["mean_path_variance"]) == pytest.approx(0.367, abs=6e-4)


BARS = {
    "sd": 0.05 * 1.331, "ar1": 0.04, "ar1_sd": 0.05, "cross_correlation": 0.04,
    "kurtosis_median": 0.25 * 4.0, "rank": 1.0, "abs_ac1": 0.05, "abs_ac4": 0.05,
    "mean_path_variance": 0.084,
}  # fmt: skip
"""How far the average over generated panels may be from the real panel."""


@pytest.mark.optimized
@pytest.mark.slow
def test_generated_growth_has_the_moments_of_growth(growth, growth_panels):
    real = jax.jit(panel_statistics)(growth["growth"])
    found = jax.jit(jax.vmap(panel_statistics))(growth_panels)
    for name in STATISTICS:
        low, high = np.quantile(np.asarray(found[name]), [0.05, 0.95])
        assert low <= float(real[name]) <= high, name
        if name in BARS:
            assert float(found[name].mean()) == pytest.approx(float(real[name]), abs=BARS[name])
    assert 4 < float(found["kurtosis"].mean()) < 10


@pytest.mark.optimized
@pytest.mark.slow
def test_generated_growth_is_new(growth, growth_panels):
    paths = np.asarray(growth_panels.mean(axis=1))
    frozen = paths.mean(axis=0).var() / paths.var(axis=1).mean() - 1 / len(paths)
    assert frozen < 0.05
    assert not np.isin(np.asarray(growth_panels), np.asarray(growth["growth"])).any()


@pytest.mark.optimized
@pytest.mark.slow
def test_placebo_inference_on_generated_growth_is_as_wrong_as_on_growth(growth, growth_panels):
    estimator = fixed_effects("y ~ d | unit + time", vcov=["iid", "DK"])

    def one(y, key):
        found = estimator(None, Panel({"y": y, "d": adoptions(key, *y.shape)}))
        rejects = [jnp.abs(e.value / e.se) > 1.97 for e in found.values()]
        return found["d", "iid"].value, jnp.stack(rejects)

    def law(panels):
        keys = jax.random.split(jax.random.key(2), len(panels))
        values, rejects = jax.jit(
            lambda p, k: jax.lax.map(lambda pair: one(*pair), (p, k), batch_size=20)
        )(panels, keys)
        return float(values.std()), np.asarray(rejects).mean(axis=0)

    real_sd, real_rates = law(jnp.broadcast_to(growth["growth"], (3000, 25, 236)))
    sd, rates = law(jnp.repeat(growth_panels, 10, axis=0))
    assert real_sd == pytest.approx(0.118, abs=0.003)
    np.testing.assert_allclose(real_rates, [0.32, 0.33], atol=0.025)
    assert sd == pytest.approx(real_sd, rel=0.15)
    np.testing.assert_allclose(rates, real_rates, atol=0.05)
