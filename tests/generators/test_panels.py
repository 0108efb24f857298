"""Generators of panels: what all of them promise, of shocks, shapes, tails, groups and strata."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import mcsim
from generators.fits import EVERY, KEY, WHOLE, changes, effects_panel, named, schools
from mcsim import Panel
from mcsim.errors import InputError
from mcsim.generators import (
    FactorVAR,
    GaussianCopula,
    SmoothedBootstrap,
    fit_many,
)
from mcsim.generators._training.fitted_panel import _draw

# Every generator


@pytest.mark.slow
@named(EVERY)
def test_one_key_one_panel(trainer, panel):
    fits = [trainer.fit(KEY, panel) for _ in range(2)]
    draws = [generator.sample(mcsim.key(2), 50)["y"] for generator in fits]
    np.testing.assert_array_equal(draws[0], draws[1])


@named(EVERY)
def test_other_keys_other_panels(trainer, panel, fit_once):
    generator = fit_once(trainer)
    draws = [np.asarray(generator.sample(mcsim.key(seed), 40)["y"]) for seed in (2, 3)]
    assert (draws[0] != draws[1]).any()


@named(EVERY)
def test_samples_under_vmap_are_those_without(trainer, panel, fit_once):
    generator = fit_once(trainer)
    keys = jax.random.split(mcsim.key(2), 3)
    many = jax.jit(jax.vmap(lambda key: generator.sample(key, 40)))(keys)
    one = generator.sample(keys[1], 40)
    np.testing.assert_allclose(many["x"][1], one["x"], rtol=1e-5, atol=1e-5)


@named(EVERY)
def test_a_fitted_generator_is_a_pytree(trainer, panel, fit_once):
    generator = fit_once(trainer)
    leaves, structure = jax.tree.flatten(generator)
    again = jax.tree.unflatten(structure, leaves)
    np.testing.assert_array_equal(again.sample(KEY, 40)["y"], generator.sample(KEY, 40)["y"])


@named(EVERY)
def test_a_size_is_traced_once(trainer, panel, fit_once):
    generator = fit_once(trainer)
    before = _draw._cache_size()
    for seed in range(3):
        generator.sample(mcsim.key(seed), 33)
    assert _draw._cache_size() == before + 1


@named(EVERY)
def test_fewer_periods_are_the_first_or_blocks(trainer, panel, fit_once):
    assert fit_once(trainer).sample(KEY, 20, 3)["y"].shape == (20, 3)


@named(WHOLE)
def test_more_periods_than_the_data_are_refused_with_the_remedy(trainer, panel, fit_once):
    with pytest.raises(InputError, match=r"learned 6 periods and draws no more.*MacroPanel"):
        fit_once(trainer).sample(KEY, 20, 7)


@named(EVERY)
def test_generators_tell_who_they_are(trainer, panel, fit_once):
    generator = fit_once(trainer)
    name = type(trainer).__name__
    assert repr(generator) == f"FittedPanel({name}: y, x over 6 periods)"
    assert (generator.config, generator.given, generator.rows) == (trainer, (), None)
    assert generator.summary.startswith(f"{name} of y, x, common shocks")


@pytest.mark.slow
@named(WHOLE)
def test_spreads_and_dynamics_are_the_datas(trainer, panel, fit_once):
    """Sds of changes of unit means within 8 % (6 periods of 300 units, shrinkage included)."""
    drawn = fit_once(trainer).sample(mcsim.key(2), 100_000)
    ratios = [
        np.log(changes(drawn, name, at).std() / changes(panel, name, at).std())
        for name in panel
        for at in range(1, 6)
    ]
    assert np.abs(ratios).max() < 0.08


@named(WHOLE)
def test_outcomes_move_together_within_and_between_units(trainer, panel, fit_once):
    drawn = fit_once(trainer).sample(mcsim.key(2), 100_000)
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
def test_mixed_columns_come_back_as_they_were(trainer, mixed, fit_once):
    data, schema = mixed
    drawn = fit_once(trainer, data, schema=schema).sample(mcsim.key(2), 4_000)
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
def test_binary_traits_go_with_the_outcome_as_in_the_data(trainer, mixed, fit_once):
    data, schema = mixed
    drawn = fit_once(trainer, data, schema=schema).sample(mcsim.key(2), 20_000)
    found = [
        np.corrcoef(np.asarray(source["union"]).mean(axis=1), np.log(source["wage"]).mean(axis=1))
        for source in (data, drawn)
    ]
    assert found[1][0, 1] == pytest.approx(found[0][0, 1], abs=0.1)


# Common shocks


@named(WHOLE)
def test_fixed_shocks_are_the_same_in_every_draw_and_redrawn_ones_are_not(trainer, fit_once):
    generator, keys = fit_once(trainer), jax.random.split(mcsim.key(2), 12)
    spread = {}
    for kind in ("fixed", "redraw"):
        own = generator.with_shocks(kind)
        drawn = jax.vmap(lambda key, g=own: g.sample(key, 300)["y"])(keys)
        means = np.asarray(drawn).mean(axis=1)
        spread[kind] = (means - means.mean(axis=1, keepdims=True)).std(axis=0).mean()
    assert spread["redraw"] > 5 * spread["fixed"]


@named(WHOLE)
def test_the_caveat_says_that_shocks_are_fixed(trainer, panel, fit_once):
    generator = fit_once(trainer)
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


# Shapes at the edge, and heavy tails


@named(WHOLE)
@pytest.mark.parametrize(("n", "t"), [(40, 2), (8, 3), (12, 20), (60, 1)])
def test_small_and_odd_panels_can_be_learned(trainer, n, t):
    if t == 1 and isinstance(trainer, FactorVAR):
        pytest.skip("needs periods; its message is tested below")
    data = effects_panel(n, t)
    drawn = trainer.fit(KEY, data).sample(mcsim.key(2), 200)
    assert all(np.isfinite(drawn[name]).all() for name in drawn)


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


# Groups


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
def test_units_of_a_group_are_as_alike_as_in_the_data(trainer, fit_once):
    data = schools(SIZES)
    drawn = fit_once(trainer, data).sample(mcsim.key(2), 30_000)
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
def test_groups_have_the_sizes_of_the_data(trainer, fit_once):
    drawn = fit_once(trainer, schools(SIZES)).sample(mcsim.key(2), 9_000)
    sizes = np.unique_counts(np.asarray(drawn["school"])[:, 0]).counts[:-1]
    assert set(sizes) == {4, 9, 14}


@pytest.mark.parametrize(
    ("cluster", "message"),
    [("scool", "did you mean 'school'"), ("y", "changes within a unit"), ("id", "of its own")],
)
def test_wrong_clusters_are_a_sentence(cluster, message):
    data = schools(SIZES)
    data = data.with_columns({"id": np.repeat(np.arange(len(data["y"]))[:, None] * 1.0, 3, axis=1)})
    with pytest.raises(InputError, match=message):
        GaussianCopula(cluster=cluster).fit(KEY, data)


# Given columns


def arms(n=120, seed=0):
    rng = np.random.default_rng(seed)
    treat = np.arange(n) % 2.0
    return Panel({"treat": treat, "y": 2 * treat + rng.normal(size=n), "x": rng.normal(size=n)})


@named([t for t in WHOLE if not isinstance(t, FactorVAR)])
def test_each_given_level_has_a_law_of_its_own(trainer, fit_once):
    generator = fit_once(trainer, arms(), given=["treat"])
    treat = np.repeat([0.0, 1.0], 4_000)
    drawn = generator.sample(mcsim.key(2), 8_000, given={"treat": treat})
    gap = np.asarray(drawn["y"])[treat == 1].mean() - np.asarray(drawn["y"])[treat == 0].mean()
    data = arms()
    real = np.asarray(data["y"])[data["treat"] == 1].mean() - (
        np.asarray(data["y"])[data["treat"] == 0].mean()
    )
    assert gap == pytest.approx(real, abs=0.12)
    np.testing.assert_array_equal(drawn["treat"][:, 0], treat)


def test_an_unseen_given_value_is_an_error_and_under_jit_nan(fit_once):
    """As of generators that draw column by column: no rows of NaN among the others."""
    generator = fit_once(GaussianCopula(), arms(), given=["treat"])
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


def test_given_values_are_checked_all_at_once(fit_once):
    generator = fit_once(GaussianCopula(), arms(), given=["treat"])
    with pytest.raises(InputError, match=r"(?s)2 faults.*'x'.*'treat' is missing"):
        generator.sample(KEY, 5, given={"x": np.ones(5)})
