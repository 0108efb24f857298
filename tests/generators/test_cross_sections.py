"""Generators of cross-sections: what is drawn is possible, coupled, jittable, and like the data."""

import warnings
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcsim
from generators.fits import TINY_WGAN, TOP, mixed_cross_section, treated
from mcsim import Panel
from mcsim.errors import InputError, TrainingDiverged
from mcsim.generators import WGAN, fit_many
from mcsim.generators._cross_sections.recipe import generation_order
from mcsim.generators._training.steps import run_segment


@pytest.fixture(scope="module")
def panel():
    return mixed_cross_section()


@pytest.fixture(scope="module")
def generator(panel, fit_once):
    return fit_once(TINY_WGAN, panel, jax.random.key(0), given=["treat"])


@pytest.mark.slow
def test_draws_are_possible(panel, generator):
    sample = generator.sample(jax.random.key(1), 40_000, given=treated(40_000))
    assert list(sample) == list(panel)
    draws = {name: np.asarray(sample[name])[:, 0] for name in sample}
    assert all(values.dtype == np.float64 for values in draws.values())
    for name in ("black", "hispanic", "dropout"):
        assert set(draws[name]) == {0.0, 1.0}
    for name in ("age", "school", "weeks"):
        column = generator.schema[name]
        assert (draws[name] == np.rint(draws[name])).all()
        assert column.lower <= draws[name].min() <= draws[name].max() <= column.upper
    assert not (draws["black"] * draws["hispanic"]).any()
    assert (draws["dropout"] == (draws["school"] < 12)).all()
    assert generator.schema["wage"].mass_points == (0.0, TOP)
    assert {0.0, TOP} < set(draws["wage"])
    inner = draws["wage"][(draws["wage"] != 0) & (draws["wage"] != TOP)]
    assert 0 < inner.min() < inner.max() < TOP
    assert len(np.unique(inner)) > 0.9 * len(inner)


@pytest.mark.slow
def test_a_constant_outcome_is_learned_with_a_warning():
    rng = np.random.default_rng(0)
    columns = {"treat": (np.arange(60) % 2).astype(float), "x": rng.normal(size=60)}
    panel = Panel({**columns, "y": np.full(60, 3.0)})
    trainer = WGAN(hidden=(8,), critic_hidden=(8,), steps=5, batch_size=16, outcome_share=0.25)
    with pytest.warns(UserWarning, match="'y' is constant"):
        generator = trainer.fit(jax.random.key(0), panel, given=["treat"], progress=False)
    drawn = generator.sample(jax.random.key(1), 20, given={"treat": np.arange(20) % 2.0})
    assert (np.asarray(drawn["y"]) == 3.0).all()


@pytest.mark.slow
def test_shares_are_raked_to_each_arm(panel, generator):
    n = 100_000
    for arm in (0.0, 1.0):
        rows = np.asarray(panel["treat"])[:, 0] == arm
        sample = generator.sample(jax.random.key(2), n, given={"treat": np.full(n, arm)})
        for name, value in (("wage", 0.0), ("wage", TOP), ("black", 1.0), ("dropout", 1.0)):
            drawn = (np.asarray(sample[name]) == value).mean()
            assert drawn == pytest.approx((np.asarray(panel[name])[rows] == value).mean(), abs=0.01)


@pytest.mark.slow
def test_same_key_same_noise_whatever_is_given(generator):
    key, n = jax.random.key(3), 500
    whole = generator.sample(key, n, given=treated(n))
    for known in (1, 4, len(generator.order)):
        given = {name: whole[name] for name in ("treat", *generator.order[:known])}
        again = generator.sample(key, n, given=given)
        for name in whole:
            np.testing.assert_array_equal(again[name], whole[name])


@pytest.mark.slow
def test_potential_outcomes_share_ranks(generator):
    """Two units of equal covariates: larger noise is the larger outcome, in both arms."""
    n = 2_000
    one = {
        name: jnp.repeat(values[:1], n, axis=0)
        for name, values in generator.sample(
            jax.random.key(4), 1, given={"treat": np.ones(1)}
        ).items()
        if name != "wage"
    }
    key = jax.random.key(5)
    y1 = np.asarray(generator.sample(key, n, given={**one, "treat": np.ones(n)})["wage"])[:, 0]
    y0 = np.asarray(generator.sample(key, n, given={**one, "treat": np.zeros(n)})["wage"])[:, 0]
    order = np.lexsort((y0, y1))
    assert (np.diff(y0[order]) >= 0).all()


def test_sample_is_jittable_and_an_ensemble_shares_one_program(panel):
    ensemble = fit_many(
        TINY_WGAN, jax.random.split(jax.random.key(0), 3), panel, given=["treat"], progress=False
    )
    traces = []

    @jax.jit
    def mean_wage(generator, key, treat):
        traces.append(1)
        return generator.sample(key, 64, given={"treat": treat})["wage"].mean()

    treat = jnp.asarray(treated(64)["treat"])
    means = [mean_wage(member, jax.random.key(1), treat) for member in ensemble]
    assert len(traces) == 1
    assert len({float(mean) for mean in means}) == 3
    keys = jax.random.split(jax.random.key(1), 4)
    many = jax.vmap(lambda key: mean_wage(ensemble[0], key, treat))(keys)
    single = [mean_wage(ensemble[0], key, treat) for key in keys]
    np.testing.assert_allclose(many, single, rtol=1e-5)


@pytest.mark.slow
def test_large_samples_come_in_chunks_of_equal_law(generator):
    """The first rows of the noise are the first rows of the sample, chunked or not."""
    n = 20_000
    sample = generator.sample(jax.random.key(6), n, given=treated(n))
    known = {name: sample[name][:100] for name in ("treat", *generator.order[:-1])}
    assert sample["wage"].shape == (n, 1)
    assert np.isfinite(np.asarray(sample["wage"])).all()
    assert generator.sample(jax.random.key(6), 100, given=known)["wage"].shape == (100, 1)


def test_unknown_category_is_an_error_and_under_jit_nan(generator):
    with pytest.raises(InputError, match=r"treat.*\[2.0\] unseen in training \(seen: 0, 1\)"):
        generator.sample(jax.random.key(0), 2, given={"treat": [0.0, 2.0]})

    @jax.jit
    def draw(treat):
        return generator.sample(jax.random.key(0), 2, given={"treat": treat})["wage"]

    assert np.isnan(draw(jnp.asarray([0.0, 2.0]))).ravel().tolist() == [False, True]


@pytest.mark.parametrize(
    ("n_units", "given", "message"),
    [
        (0, {}, "n_units: got 0"),
        (3, {}, "given column 'treat' is missing"),
        (3, {"treat": [0, 1]}, r"got shape \(2,\), expected \(3,\)"),
        (1, {"treat": [1.0], "wagge": [1.0]}, "did you mean 'wage'"),
        (1, {"treat": [np.nan]}, "not finite"),
        (1, {"treat": [1.0], "wage": [1.0]}, "give leading ones only"),
    ],
)
def test_bad_sample_arguments(generator, n_units, given, message):
    with pytest.raises(InputError, match=message):
        generator.sample(jax.random.key(0), n_units, given=given)


def change(panel, **columns):
    return panel.with_columns({name: np.asarray(values) for name, values in columns.items()})


@pytest.mark.parametrize(
    ("alter", "given", "message"),
    [
        (lambda p: p, ["treet"], "did you mean 'treat'"),
        (lambda p: p, "treat", r"given=\['treat'\]"),
        (lambda p: p, list(mixed_cross_section()), "at least one left to draw"),
        (lambda p: p.take(np.arange(19)), ["treat"], "got 19 rows, expected at least 20"),
        (lambda p: change(p, age=p["age"].at[3].set(np.nan)), [], "'age': 1 values are not finite"),
        (lambda p: change(p, age=p["age"].at[3].set(np.inf)), [], "'age': 1 values are not finite"),
        (lambda p: change(p, treat=np.ones(300)), ["treat"], "a stratum is empty"),
        (lambda p: change(p, treat=np.eye(1, 300)[0]), ["treat"], "1 row holds 1, expected"),
    ],
)
def test_bad_training_data(panel, alter, given, message):
    with pytest.raises(InputError, match=message):
        TINY_WGAN.fit(jax.random.key(0), alter(panel), given=given, progress=False)


def test_faults_of_data_come_together(panel):
    schema = mcsim.infer_schema(panel)
    narrow = schema.replace(age={"upper": 40.0}, school={"kind": "binary", "upper": 20.0})
    with pytest.raises(InputError) as caught:
        TINY_WGAN.fit(jax.random.key(0), panel, schema=narrow.replace(wage={"kind": "integer"}))
    for piece in ("3 faults", "'age'", "outside the schema's bounds", "'wage'", "schema.replace"):
        assert piece in str(caught.value)


def test_bad_configurations_are_reported_together():
    with pytest.raises(InputError) as caught:
        WGAN(steps=0, hidden=(0,), learning_rate=-1.0, average=1.0, batch_size=3)
    for name in ("steps: got 0", "hidden", "learning_rate", "average", "batch_size"):
        assert name in str(caught.value)
    with pytest.raises(InputError, match="order: got"):
        WGAN(order=("wage",)).fit(jax.random.key(0), mixed_cross_section(), progress=False)


@pytest.mark.slow
def test_a_constant_column_is_a_warning_and_is_reproduced(panel):
    constant = change(panel, age=np.full(300, 2.5)).select(["treat", "age", "black"])
    with pytest.warns(UserWarning, match="'age' is constant"):
        generator = TINY_WGAN.fit(jax.random.key(0), constant, given=["treat"], progress=False)
    sample = generator.sample(jax.random.key(1), 50, given=treated(50))
    assert (np.asarray(sample["age"]) == 2.5).all()


def test_divergence_is_an_error_with_a_remedy(panel):
    wild = WGAN(
        hidden=(8,),
        critic_hidden=(8,),
        steps=40,
        batch_size=32,
        critic_steps=1,
        learning_rate=1e6,
        critic_learning_rate=1e6,
    )
    with pytest.raises(TrainingDiverged, match=r"diverged at step .* halve learning_rate"):
        wild.fit(jax.random.key(0), panel, given=["treat"], progress=False)


@pytest.mark.slow
def test_a_rare_stratum_has_outcome_rows(panel):
    """Half of the outcome rows are of the smallest stratum: another fit than one without them."""
    rare = panel.with_columns({"treat": np.arange(300) % 25 == 0})
    draws = []
    for share in (0.3, 0.0):
        trainer = replace(TINY_WGAN, outcome_share=share)
        generator = trainer.fit(jax.random.key(0), rare, given=["treat"], progress=False)
        assert all(np.isfinite(values).all() for values in generator.losses.values())
        sample = generator.sample(jax.random.key(1), 200, given=treated(200))
        draws.append(np.asarray(sample["wage"]))
        assert 0 <= draws[-1].min() <= draws[-1].max() <= TOP
    assert (draws[0] != draws[1]).any()


def test_floats_and_keys_do_not_compile_again(panel):
    TINY_WGAN.fit(jax.random.key(0), panel, given=["treat"], progress=False)
    before = run_segment._cache_size()
    other = replace(TINY_WGAN, learning_rate=2e-3, moment_weight=0.5, temperature=0.7)
    other.fit(jax.random.key(1), panel, given=["treat"], progress=False)
    fit_many(other, jax.random.split(jax.random.key(2), 3), panel, given=["treat"], progress=False)
    assert run_segment._cache_size() == before


@pytest.mark.slow
def test_without_given_columns_and_categories():
    rng = np.random.default_rng(0)
    panel = Panel({"x": rng.normal(size=100), "y": rng.normal(size=100)})
    generator = TINY_WGAN.fit(jax.random.key(0), panel, progress=False)
    assert generator.sample(jax.random.key(1), 7)["y"].shape == (7, 1)
    continuous = TINY_WGAN.fit(jax.random.key(0), panel, given=["x"], progress=False)
    sample = continuous.sample(jax.random.key(1), 3, given=Panel({"x": [0.1, 0.2, 0.3]}))
    np.testing.assert_array_equal(sample["x"][:, 0], [0.1, 0.2, 0.3])


def test_losses_and_repr(panel, generator):
    assert {name: len(losses) for name, losses in generator.losses.items()} == {
        "critic": 5,
        "penalty": 5,
        "moments": 5,
        "likelihood": 5,
    }
    assert "given treat" in repr(generator)
    assert generator.given == ("treat",)
    assert generator.order[-1] == "wage"
    assert generator.rows is None
    with pytest.raises(AttributeError):
        generator.rows = np.arange(3)


def test_folds_partition_the_rows_by_arm(panel):
    keys = jax.random.split(jax.random.key(0), 5)
    ensemble = fit_many(TINY_WGAN, keys, panel, given=["treat"], progress=False)
    left_out = [np.setdiff1d(np.arange(300), member.rows) for member in ensemble]
    assert sorted(np.concatenate(left_out)) == list(range(300))
    treat = np.asarray(panel["treat"])[:, 0]
    assert {int(treat[rows].sum()) for rows in left_out} == {20}


@pytest.mark.slow
def test_members_do_not_depend_on_each_other(panel):
    """An ensemble of three holds what three single fits on its rows give."""
    keys = jax.random.split(jax.random.key(4), 3)
    ensemble = fit_many(
        TINY_WGAN, keys, panel, given=["treat"], resample="bootstrap", progress=False
    )
    alone = TINY_WGAN.fit_members(
        keys[1:2], panel, [ensemble[1].rows], given=["treat"], progress=False
    )[0]
    for one, two in zip(jax.tree.leaves(ensemble[1]), jax.tree.leaves(alone), strict=True):
        np.testing.assert_array_equal(one, two)
    counts = np.unique(ensemble[1].rows, return_counts=True)[1]
    assert len(ensemble[1].rows) == 300
    assert counts.max() > 1


@pytest.mark.slow
def test_one_program_under_vmap_gives_the_same_members(panel, monkeypatch):
    """What accelerators run, run here: equal up to rounding."""
    keys = jax.random.split(jax.random.key(0), 3)

    def ensemble():
        return fit_many(TINY_WGAN, keys, panel, given=["treat"], progress=False)

    threads = ensemble()
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    for one, two in zip(threads, ensemble(), strict=True):
        for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(two.params), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)
        np.testing.assert_allclose(one.losses["critic"], two.losses["critic"], atol=1e-3)


def test_bad_ensembles(panel):
    keys = jax.random.split(jax.random.key(0), 2)
    with pytest.raises(InputError, match="expected at least 2"):
        fit_many(TINY_WGAN, keys[:1], panel, given=["treat"])
    with pytest.raises(InputError, match="expected keys of shape"):
        fit_many(TINY_WGAN, jax.random.key(0), panel, given=["treat"])
    with pytest.raises(InputError, match="did you mean 'folds'"):
        fit_many(TINY_WGAN, keys, panel, given=["treat"], resample="fold")
    with pytest.raises(InputError, match=r"got the class WGAN, expected WGAN\(\)"):
        fit_many(WGAN, keys, panel)
    with pytest.raises(InputError, match="trainer: got PRNGKeyArray"):
        fit_many(keys, keys, panel)
    few = panel.take(np.r_[0, np.arange(1, 60)[np.arange(1, 60) % 3 != 0]])
    with pytest.raises(InputError, match="smallest stratum has 1 rows"):
        fit_many(TINY_WGAN, keys, few, given=["treat"])


def test_order_of_generation():
    schema = mcsim.infer_schema(mixed_cross_section())
    order = generation_order(schema, ("treat",))
    assert order == ("black", "hispanic", "dropout", "school", "age", "weeks", "wage")


@pytest.mark.slow
def test_a_known_law_is_learned():
    """Means, a slope and an effect of a simulated law, from 1,500 rows."""
    rng = np.random.default_rng(0)
    n = 1_500
    treat, x = rng.integers(0, 2, n).astype(float), rng.normal(size=n)
    panel = Panel({"treat": treat, "x": x, "y": 1.5 * x + 2.0 * treat + rng.normal(size=n)})
    trainer = WGAN(hidden=(32,), critic_hidden=(64, 64), steps=800, batch_size=128)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generator = trainer.fit(jax.random.key(0), panel, given=["treat"], progress=False)
    m = 50_000
    drawn = generator.sample(jax.random.key(1), m, given=treated(m))
    x1, y1 = (np.asarray(drawn[name])[:, 0] for name in ("x", "y"))
    d1 = treated(m)["treat"]

    def fit(d, x, y):
        return np.linalg.lstsq(np.stack([np.ones(len(y)), d, x], 1), y, rcond=None)[0]

    real = fit(treat, x, np.asarray(panel["y"])[:, 0])
    assert fit(d1, x1, y1) == pytest.approx(real, abs=0.15)
    assert y1.std() == pytest.approx(np.asarray(panel["y"]).std(), rel=0.06)
