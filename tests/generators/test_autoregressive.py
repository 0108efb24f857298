"""Autoregressive likelihood on cross-sections: recipes, files, caches, the law that is learned."""

from dataclasses import replace

import jax
import numpy as np
import pytest

import mcsim
from generators.fits import TOP, mixed_cross_section, treated
from mcsim import Panel
from mcsim.dgps import PotentialOutcomes
from mcsim.errors import InputError, TrainingDiverged
from mcsim.generators import Autoregressive, fit_many, load, model_cache, save
from mcsim.generators._autoregressive.trainer import resolved
from mcsim.generators._cross_sections import training
from mcsim.generators._cross_sections.levels import Levels
from mcsim.generators._cross_sections.training import apply_some
from mcsim.generators._networks import apply, initialize
from mcsim.generators._training.steps import run_segment

KEY = jax.random.key(1)
TINY = Autoregressive(hidden=(8,), steps=5, batch_size=32)


@pytest.fixture(scope="module")
def panel():
    return mixed_cross_section().select(["treat", "age", "black", "hispanic", "wage"])


@pytest.fixture(scope="module")
def generator(panel):
    return TINY.fit(jax.random.key(0), panel, given=["treat"], progress=False)


@pytest.mark.slow
def test_draws_are_possible_and_shares_are_raked(panel, generator):
    n = 100_000
    treat = np.asarray(panel["treat"])[:, 0]
    for arm in (0.0, 1.0):
        sample = generator.sample(jax.random.key(1), n, given={"treat": np.full(n, arm)})
        draws = {name: np.asarray(sample[name])[:, 0] for name in sample}
        assert not (draws["black"] * draws["hispanic"]).any()
        assert 0 <= draws["wage"].min() <= draws["wage"].max() <= TOP
        for name, value in (("wage", 0.0), ("wage", TOP), ("black", 1.0)):
            real = (np.asarray(panel[name])[treat == arm, 0] == value).mean()
            assert (draws[name] == value).mean() == pytest.approx(real, abs=0.01)


def test_draws_have_the_moments_of_each_arm_before_anything_is_learned():
    rng = np.random.default_rng(4)
    treat = (np.arange(4_000) % 4 == 0).astype(float)
    wage = np.where(treat, rng.gamma(4.0, 3_000.0, 4_000), rng.gamma(2.0, 4_000.0, 4_000))
    wage = np.where(rng.uniform(size=4_000) < 0.25, 0.0, wage)
    real = {"treat": treat, "wage": wage}
    generator = TINY.fit(jax.random.key(0), Panel(real), given=["treat"], progress=False)
    for arm in (0.0, 1.0):
        drawn = generator.sample(jax.random.key(1), 100_000, given={"treat": np.full(100_000, arm)})
        drawn, own = np.asarray(drawn["wage"])[:, 0], wage[treat == arm]
        drawn, own = drawn[drawn > 0], own[own > 0]
        assert drawn.mean() == pytest.approx(own.mean(), rel=0.02)
        assert drawn.std() == pytest.approx(own.std(), rel=0.04)


@pytest.fixture(scope="module")
def heaped():
    """3,000 controls: 0 (40 %), 1,000 and 2,000 (10 % each), else any; 100 treated: any."""
    rng = np.random.default_rng(0)
    n, treat = 3_100, (np.arange(3_100) >= 3_000).astype(float)
    heap = np.select([(u := rng.uniform(size=n)) < 0.4, u < 0.5, u < 0.6], [0.0, 1e3, 2e3], np.nan)
    y = np.where((treat == 1) | np.isnan(heap), rng.uniform(0, 10_000, n), heap)
    columns = {"treat": treat, "x": rng.normal(size=n), "y": y}
    return columns, TINY.fit(jax.random.key(0), Panel(columns), given=["treat"], progress=False)


def drawn_outcome(generator, treat, n=50_000):
    return np.asarray(generator.sample(KEY, n, given={"treat": np.full(n, treat)})["y"])[:, 0]


def test_all_mass_points_of_the_last_column_have_their_shares(heaped):
    """Zeros were .19 for .40, and 2,000s .33 for .10: shares of rows, by counting."""
    columns, generator = heaped
    y, drawn = columns["y"][columns["treat"] == 0], drawn_outcome(generator, 0.0)
    for point in (0.0, 1_000.0, 2_000.0):
        assert (drawn == point).mean() == pytest.approx((y == point).mean(), abs=0.01)
    assert drawn.mean() == pytest.approx(y.mean(), rel=0.03)


def test_mass_points_that_an_arm_never_showed_share_half_a_row(heaped):
    """Half a row of 100 for all three together, not for each."""
    columns, generator = heaped
    heaps = (0.0, 1_000.0, 2_000.0)
    assert not np.isin(columns["y"][columns["treat"] == 1], heaps).any()
    share = np.isin(drawn_outcome(generator, 1.0), heaps).mean()
    assert share == pytest.approx(0.5 / 100.5, abs=4 * (0.005 / 50_000) ** 0.5)


def test_what_it_is(panel, generator):
    assert (
        repr(generator) == "FittedGenerator(Autoregressive: black, hispanic, age, wage given treat)"
    )
    assert {name: len(values) for name, values in generator.losses.items()} == {"likelihood": 5}
    assert generator.config == resolved(TINY, 300)
    assert generator.rows is None


def test_recipes_by_the_number_of_rows():
    small, large = (resolved(Autoregressive(), n) for n in (3_999, 4_000))
    assert (small.dropout, large.dropout) == (0.5, 0.0)
    assert large.steps > small.steps
    assert resolved(Autoregressive(steps=7), 10_000).steps == 7


def test_many_rows_give_every_level_a_logit():
    big = Panel({"age": np.arange(17.0, 56.0)[np.arange(4_000) % 39], "x": np.arange(4_000) % 2.0})
    for panel, free in ((mixed_cross_section().select(["age", "black"]), False), (big, True)):
        fit = replace(TINY, steps=1).fit(jax.random.key(0), panel, progress=False)
        (head,) = (h for h in fit.architecture.drawn if h.name == "age")
        assert isinstance(head, Levels)
        assert head.free is free
        assert head.n_outputs == (len(head.values) if free else 4)
        assert head.n_features == 1


def test_dropout_of_nothing_is_the_network_and_of_units_removes_them():
    sizes = (3, 5, 4, 2)
    (params,) = initialize(jax.random.key(0), (sizes,), (1.0,))
    x = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
    network, some_of = jax.jit(apply, static_argnums=0), jax.jit(apply_some, static_argnums=2)
    keep, without = np.ones((6, 9), bool), jax.tree.map(np.array, params)
    some = some_of(keep, np.float32(0), sizes, params, x)
    np.testing.assert_allclose(some, network(sizes, params, x), rtol=1e-5)
    keep[:, 2] = False
    dropped = some_of(keep, np.float32(0), sizes, params, x)
    without["layer_1"]["kernel"][2] = 0.0
    np.testing.assert_allclose(dropped, network(sizes, without, x), rtol=1e-5)


def test_files_hold_all(generator, tmp_path):
    loaded = load(save(generator, tmp_path / "model"))
    assert loaded.config == generator.config
    sample, again = (
        g.sample(jax.random.key(3), 50, given=treated(50)) for g in (generator, loaded)
    )
    for name in sample:
        np.testing.assert_array_equal(sample[name], again[name])


def test_the_cache_trains_once(panel, tmp_path, monkeypatch):
    counts, train = [], training.train_members

    def counting(recipe, data, *rest):
        counts.append(len(data))
        return train(recipe, data, *rest)

    monkeypatch.setattr(training, "train_members", counting)
    for trainer in (TINY, TINY, replace(TINY, dropout=0.1)):
        with model_cache(tmp_path):
            trainer.fit(jax.random.key(0), panel, given=["treat"], progress=False)
    assert counts == [1, 1]


def test_members_do_not_depend_on_each_other(panel):
    keys = jax.random.split(jax.random.key(4), 3)
    ensemble = fit_many(TINY, keys, panel, given=["treat"], resample="bootstrap", progress=False)
    rows = [ensemble[1].rows]
    (alone,) = TINY.fit_members(keys[1:2], panel, rows, given=["treat"], progress=False)
    for one, two in zip(jax.tree.leaves(ensemble[1]), jax.tree.leaves(alone), strict=True):
        np.testing.assert_array_equal(one, two)


def test_one_program_under_vmap_gives_the_same_members(panel, monkeypatch):
    keys = jax.random.split(jax.random.key(0), 3)
    threads = fit_many(TINY, keys, panel, given=["treat"], progress=False)
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    together = fit_many(TINY, keys, panel, given=["treat"], progress=False)
    for one, two in zip(threads, together, strict=True):
        for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(two.params), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_floats_and_keys_do_not_compile_again(panel):
    TINY.fit(jax.random.key(0), panel, given=["treat"], progress=False)
    before = run_segment._cache_size()
    other = replace(TINY, learning_rate=2e-3, dropout=0.2, weight_decay=0.5)
    fit_many(other, jax.random.split(jax.random.key(2), 3), panel, given=["treat"], progress=False)
    assert run_segment._cache_size() == before


def test_bad_configurations_are_reported_together():
    with pytest.raises(InputError) as caught:
        Autoregressive(
            steps=0, hidden=(0,), learning_rate=-1.0, dropout=1.0, batch_size=3, weight_decay=-1.0
        )
    for name in (
        "steps: got 0",
        "hidden",
        "learning_rate",
        "dropout",
        "batch_size",
        "weight_decay",
    ):
        assert name in str(caught.value)
    with pytest.raises(InputError, match="order: got"):
        Autoregressive(order=("wage",)).fit(
            jax.random.key(0), mixed_cross_section(), progress=False
        )


def test_divergence_is_an_error_with_a_remedy(panel):
    with pytest.raises(TrainingDiverged, match=r"diverged at step .* halve learning_rate"):
        replace(TINY, steps=60, learning_rate=1e6).fit(jax.random.key(0), panel, progress=False)


@pytest.mark.slow
def test_effects_are_read_off(generator):
    dgp = PotentialOutcomes(generator, outcome="wage", treatment="treat", n_treated=9, n_control=9)
    effect, error = dgp.truth(mcsim.key(0), mcsim.Design())["att"]
    assert np.isfinite(effect)
    assert 0 < error < np.inf


@pytest.mark.slow
def test_a_known_law_is_learned():
    """Means, a slope, an effect and an interaction with a mass point, from 6,000 rows."""
    rng = np.random.default_rng(0)
    n = 6_000
    treat, x = rng.integers(0, 2, n).astype(float), rng.normal(size=n)
    y = 1.5 * x + 2.0 * treat + rng.normal(size=n)
    y = np.where(rng.uniform(size=n) < 1 / (1 + np.exp(2 - 2 * x)), 0.0, y)
    panel = Panel({"treat": treat, "x": x, "y": y})
    generator = Autoregressive().fit(jax.random.key(0), panel, given=["treat"], progress=False)
    m = 100_000
    drawn = generator.sample(jax.random.key(1), m, given=treated(m))
    x1, y1 = (np.asarray(drawn[name])[:, 0] for name in ("x", "y"))
    d1 = treated(m)["treat"]

    def fit(d, x, y):
        kept = y != 0
        return np.linalg.lstsq(np.stack([np.ones(len(y)), d, x], 1)[kept], y[kept], rcond=None)[0]

    assert fit(d1, x1, y1) == pytest.approx([0.0, 2.0, 1.5], abs=0.1)
    for low, high in ((-9, 0), (0, 1), (1, 9)):
        inside, drawn_inside = (x > low) & (x < high), (x1 > low) & (x1 < high)
        assert (y1[drawn_inside] == 0).mean() == pytest.approx((y[inside] == 0).mean(), abs=0.04)
