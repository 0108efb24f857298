"""Autoregressive likelihood on panels: innovations, mass points, histories, what is refused."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import truncnorm

from mcsim import Panel
from mcsim.errors import InputError, TrainingDiverged
from mcsim.generators import Autoregressive, FittedPanel, GaussianCopula, fit_many, load, save
from mcsim.generators._autoregressive import distribution
from mcsim.generators._autoregressive.distribution import (
    RAKING_ROUNDS,
    Innovation,
    draw_innovation,
    innovation,
    log_shares,
    middle,
    within,
)
from mcsim.generators._autoregressive.likelihood import log_density
from mcsim.generators._training.steps import run_segment

TINY = Autoregressive(hidden=(4,), components=2, steps=5, folds=2)
density_of, shares_of = jax.jit(log_density), jax.jit(log_shares)
drawn_of = jax.jit(draw_innovation)
LOW, HIGH = np.array([-1.0, 0.2]), np.array([-0.4, 0.9])


def a_law(units, tilts=(1.5, -2.0)):
    parts = np.log([0.3, 0.7]), [-0.5, 0.6], np.log([0.5, 1.2]), tilts
    return Innovation(*(np.tile(np.asarray(part, np.float32), (units, 1)) for part in parts))


def intervals(units):
    return tuple(np.tile(np.asarray(side, np.float32), (units, 1)) for side in (LOW, HIGH))


@pytest.mark.parametrize("tilts", [(0.0, 0.0), (1.5, -2.0), (-30.0, 3.0)])
def test_densities_and_shares_sum_to_one(tilts):
    grid = np.arange(-9, 9, 0.001) + 0.0005
    n = len(grid)
    law, points, none = a_law(n, tilts), intervals(n), np.zeros((n, 2), np.float32)
    cells = grid.astype(np.float32)
    density = np.exp(density_of(law, cells, (cells, cells), points, none))
    outside = ~((grid[:, None] > LOW) & (grid[:, None] < HIGH)).any(axis=1)
    shares = np.exp(shares_of(law, *points)[0][0])
    assert density[outside].sum() * 0.001 + shares.sum() == pytest.approx(1, abs=2e-3)
    at = np.tile(np.float32([1.0, 0.0]), (n, 1))
    said = density_of(law, cells, (points[0][:, 0], points[1][:, 0]), points, at)
    np.testing.assert_allclose(np.exp(said), shares[0], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("tilts", [(0.0, 0.0), (1.5, -2.0), (-30.0, 3.0)])
def test_draws_follow_the_density(tilts):
    n = 200_000
    law, points = a_law(n, tilts), intervals(n)
    uniforms = jax.random.uniform(jax.random.key(0), (2, n), jnp.float32, 1e-7, 1 - 1e-7)
    drawn = np.asarray(drawn_of(law, *points, uniforms))
    shares = np.exp(shares_of(law, *points)[0][0])
    for share, low, high in zip(shares, LOW, HIGH, strict=True):
        assert ((drawn > low) & (drawn < high)).mean() == pytest.approx(share, abs=0.005)
    edges = np.array([-3.0, -1.5, -1.0, -0.4, -0.1, 0.2, 0.9, 1.5, 3.0])
    for low, high in itertools.pairwise(edges):
        if low in LOW:
            continue
        grid = np.float32(np.linspace(low, high, 2_001)[:-1] + (high - low) / 4_000)
        few = tuple(side[:2_000] for side in points)
        own = jax.tree.map(lambda part: part[:2_000], law)
        density = np.exp(density_of(own, grid, (grid, grid), few, np.zeros((2_000, 2), np.float32)))
        expected = density.mean() * (high - low)
        assert ((drawn > low) & (drawn < high)).mean() == pytest.approx(expected, abs=0.005)


@pytest.mark.slow
def test_zeros_are_about_a_standard_normal():
    for components in (1, 2, 3, 5):
        law = innovation(components, jnp.zeros((100_000, 3 * components), jnp.float32))
        uniforms = jax.random.uniform(jax.random.key(1), (2, 100_000), jnp.float32, 1e-7, 1 - 1e-7)
        none = np.zeros((100_000, 0), np.float32)
        drawn = np.asarray(drawn_of(law, none, none, uniforms))
        assert drawn.mean() == pytest.approx(0, abs=0.02)
        assert drawn.std() == pytest.approx(1, abs=0.02)
        assert (np.abs(drawn) > 1.96).mean() == pytest.approx(0.05, abs=0.012)


def test_offsets_give_the_target_shares():
    rng = np.random.default_rng(0)
    law = a_law(500)._replace(tilts=rng.normal(size=(500, 2)).astype(np.float32))
    targets, zeros = np.float32([0.4, 0.01]), np.zeros(2, np.float32)
    offsets_of = jax.jit(distribution.offsets_of)
    offsets = offsets_of(law, intervals(500), zeros, targets, RAKING_ROUNDS)
    moved = law._replace(tilts=law.tilts + offsets)
    shares = np.exp(shares_of(moved, *intervals(500))[0]).mean(axis=0)
    np.testing.assert_allclose(shares, targets, rtol=1e-3)
    np.testing.assert_array_equal(offsets_of(law, intervals(500), offsets, targets, 0), offsets)


def test_truncated_normals():
    low, high = np.array([-np.inf, -1.0, 0.3, 2.5, -4.0]), np.array([-0.5, 2.0, np.inf, 3.0, -3.0])
    np.testing.assert_allclose(middle(low, high), truncnorm(low, high).mean(), atol=1e-6)
    uniform = np.full(5, 0.3, np.float32)
    drawn = np.asarray(jax.jit(within)(low.astype(np.float32), high.astype(np.float32), uniform))
    level = np.where(low > 0, 0.7, 0.3)
    np.testing.assert_allclose(drawn, truncnorm(low, high).ppf(level), atol=2e-3)


def mixed_panel(n=120, periods=5, seed=0):
    """Wages, hours with persistent mass points, a discrete column, a trait."""
    rng = np.random.default_rng(seed)
    level = rng.normal(size=(n, 1))
    full = rng.uniform(size=(n, 1)) < 0.5
    at = rng.uniform(size=(n, periods)) < np.where(full, 0.8, 0.1)
    hours = np.where(at, 2_080.0, np.rint(np.clip(rng.normal(2_100, 500, (n, periods)), 0, 4_000)))
    shocks = rng.normal(size=(n, periods)) * np.where(full, 0.3, 1.0)
    wage = level + np.arange(periods) * 0.1 + shocks
    union = (rng.uniform(size=(n, periods)) < 0.3).astype(float)
    school = np.broadcast_to(rng.integers(8, 17, (n, 1)).astype(float), (n, periods))
    return Panel({"wage": wage, "hours": hours, "union": union, "school": school})


@pytest.fixture(scope="module")
def panel():
    return mixed_panel()


@pytest.fixture(scope="module")
def generator(panel):
    return TINY.fit(jax.random.key(0), panel, progress=False)


@pytest.mark.slow
def test_draws_are_possible(panel, generator):
    assert isinstance(generator, FittedPanel)
    assert repr(generator).startswith(
        "FittedPanel(Autoregressive: wage, hours, union, school over 5"
    )
    sample = generator.sample(jax.random.key(1), 4_000)
    draws = {name: np.asarray(values) for name, values in sample.items()}
    assert set(np.unique(draws["union"])) == {0.0, 1.0}
    assert (draws["hours"] == np.rint(draws["hours"])).all()
    assert (draws["school"] == draws["school"][:, :1]).all()
    assert set(np.unique(draws["school"])) <= set(np.arange(8.0, 17.0))
    assert draws["hours"].min() >= np.asarray(panel["hours"]).min()


@pytest.mark.slow
def test_mass_points_have_the_shares_of_the_data(panel, generator):
    sample = generator.sample(jax.random.key(2), 40_000)
    for name, point in (("hours", 2_080.0), ("union", 1.0)):
        real = (np.asarray(panel[name]) == point).mean()
        assert (np.asarray(sample[name]) == point).mean() == pytest.approx(real, abs=0.01)


@pytest.mark.slow
def test_losses_and_the_end(panel, generator):
    assert {name: len(values) for name, values in generator.losses.items()} == {
        "train": 5,
        "held": 5,
    }
    long = replace(TINY, steps=400, patience=3, learning_rate=0.05)
    assert len(long.fit(jax.random.key(0), panel, progress=False).losses["train"]) < 400


@pytest.mark.slow
def test_before_training_it_is_the_copula():
    rng = np.random.default_rng(0)
    panel = Panel({"y": rng.normal(size=(200, 1)) + rng.normal(size=(200, 4))})
    still = replace(TINY, steps=1, learning_rate=1e-9)
    both = [g.fit(jax.random.key(0), panel, progress=False) for g in (still, GaussianCopula())]
    one, two = (np.cov(np.asarray(g.sample(jax.random.key(1), 40_000)["y"]).T) for g in both)
    error = 1.9 * np.sqrt(2 / 40_000 + 2 * 2 / 20_000)  # of draws, and of both calibrations
    np.testing.assert_allclose(one, two, atol=3 * error)


@pytest.mark.slow
def test_files_and_members(panel, generator, tmp_path):
    loaded = load(save(generator, tmp_path / "model"))
    sample, again = (g.sample(jax.random.key(3), 50) for g in (generator, loaded))
    for name in sample:
        np.testing.assert_array_equal(sample[name], again[name])
    keys = jax.random.split(jax.random.key(4), 2)
    ensemble = fit_many(TINY, keys, panel, progress=False)
    (alone,) = TINY.fit_members(keys[1:], panel, [ensemble[1].rows], progress=False)
    drawn, lone = (g.sample(jax.random.key(5), 20)["wage"] for g in (ensemble[1], alone))
    np.testing.assert_array_equal(drawn, lone)


@pytest.mark.slow
def test_floats_and_keys_do_not_compile_again(panel, generator):
    before = run_segment._cache_size()
    replace(TINY, learning_rate=1e-3, weight_decay=0.0).fit(
        jax.random.key(9), panel, progress=False
    )
    assert run_segment._cache_size() == before


@pytest.mark.slow
def test_shocks_groups_and_missing_cells(panel):
    options = {"progress": False}
    redraw = replace(TINY, common_shocks="redraw").fit(jax.random.key(0), panel, **options)
    one, two = (np.asarray(redraw.sample(jax.random.key(k), 500)["wage"]) for k in (1, 2))
    assert np.abs(one.mean(axis=0) - two.mean(axis=0)).max() > 0.05
    state = np.broadcast_to((np.arange(120) % 12.0)[:, None], (120, 5))
    clustered = replace(TINY, cluster="state").fit(
        jax.random.key(0), panel.with_columns({"state": state}), **options
    )
    assert len(np.unique(clustered.sample(jax.random.key(1), 120)["state"])) > 1
    gaps = jnp.asarray(np.random.default_rng(3).uniform(size=(120, 5)) < 0.9)
    some = replace(TINY, missing="model").fit(
        jax.random.key(0), Panel(dict(panel.items()), gaps), **options
    )
    assert np.isfinite(np.asarray(some.sample(jax.random.key(1), 30)["wage"])).all()


@pytest.mark.slow
def test_bad_options(panel):
    with pytest.raises(InputError, match=r"dropout: got 0.5, an option for a cross-section"):
        replace(TINY, dropout=0.5).fit(jax.random.key(0), panel, progress=False)
    with pytest.raises(InputError, match=r"folds: got 2, an option for a panel of several periods"):
        TINY.fit(jax.random.key(0), Panel({"x": np.arange(40.0)}), progress=False)
    with pytest.raises(InputError, match=r"order: got \['wage'\], expected each column"):
        replace(TINY, order=("wage",)).fit(jax.random.key(0), panel, progress=False)
    with pytest.raises(
        InputError, match="folds: got 1, expected a whole number of at least 2, or 0"
    ):
        Autoregressive(folds=1)
    with pytest.raises(TrainingDiverged, match="halve learning_rate"):
        replace(TINY, learning_rate=1e7, steps=60).fit(jax.random.key(0), panel, progress=False)


@pytest.mark.slow
def test_histories_are_learned():
    """Persistence at a mass point, and units that differ in volatility: 500 units of 8 periods."""
    panel = mixed_panel(500, 8).select(["wage", "hours"])
    generator = Autoregressive().fit(jax.random.key(0), panel, progress=False)
    sample = generator.sample(jax.random.key(1), 20_000)

    def read(wage, hours):
        at = hours == 2_080
        stay, come = at[:, 1:][at[:, :-1]].mean(), at[:, 1:][~at[:, :-1]].mean()
        size = np.log(np.diff(wage, axis=1).std(axis=1))
        return stay, come, size.std(), np.corrcoef(at.mean(axis=1), size)[0, 1]

    real, drawn = (read(*(np.asarray(p[n]) for n in ("wage", "hours"))) for p in (panel, sample))
    np.testing.assert_allclose(drawn, real, atol=0.09)
    assert real[2] > 0.5
    assert real[3] < -0.5
