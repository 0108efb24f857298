"""VAE: the bound against closed forms, the start at factor analysis, when training ends, shape."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom, multivariate_normal, norm
from scipy.stats import t as student_t

from generators.fits import TINY_VAE, VOLATILE, unchecked, volatile_panel
from mcsim import Panel, from_frame, infer_schema
from mcsim.datasets import load
from mcsim.errors import InputError, TrainingDiverged
from mcsim.generators import VAE, GaussianCopula, fit_many, latent, save
from mcsim.generators import load as load_model
from mcsim.generators._networks import Reader, Writer, apply, initialize
from mcsim.generators._scores.coding import encode
from mcsim.generators._training.steps import run_segment
from mcsim.generators._vae.model import (
    Intervals,
    divergence,
    encoded,
    fit_latent_distribution,
    log_probability,
)
from mcsim.generators._vae.trainer import plan_of
from mcsim.generators._vae.training import factor_analysis, first_autoencoder

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def panel():
    return VOLATILE


@pytest.fixture(scope="module")
def scores(panel):
    columns = {name: np.asarray(values) for name, values in panel.items()}
    return encode(columns, np.arange(panel.n_units), infer_schema(panel), np.random.default_rng(0))


@pytest.fixture(scope="module")
def generator(fit_once):
    return fit_once(TINY_VAE, VOLATILE, KEY)


def unit_sds(panel, name="wage"):
    return np.asarray(panel[name]).std(axis=1)


def blank(trainer, scores):
    return first_autoencoder(KEY, plan_of(trainer, scores.coding.layout), scores)


# The model


def test_factor_analysis_finds_the_factors_of_a_covariance():
    rng = np.random.default_rng(0)
    loadings, noise = rng.normal(size=(2, 9)), rng.uniform(0.3, 1.0, 9)
    found = factor_analysis(loadings.T @ loadings + np.diag(noise), 2)
    np.testing.assert_allclose(found.noise, noise, atol=0.01)
    np.testing.assert_allclose(found.loadings.T @ found.loadings, loadings.T @ loadings, atol=0.01)
    posterior = found.posterior()[1]
    np.testing.assert_allclose(posterior, np.diag(np.diag(posterior)), atol=1e-9)


@pytest.mark.slow
def test_before_the_first_step_the_bound_is_the_likelihood_of_factor_analysis(scores):
    """The encoder starts at the exact posterior, so nothing is lost to the divergence."""
    model = blank(VAE(likelihood="normal", volatility=False, latent=3), scores)
    x = scores.vectors.astype(np.float32)
    known = Intervals(x, x, x)
    found, bounds = model.encode(jnp.asarray(x)), []
    for key in jax.random.split(KEY, 200):
        noise = jax.random.normal(key, found.mean.shape, jnp.float32)
        z = found.mean + jnp.exp(0.5 * found.log_variance) * noise
        bounds.append(np.asarray(model.log_likelihood(z, known).sum(axis=1) - divergence(found)))
    factors = factor_analysis(scores.covariance, 3)
    covariance = factors.loadings.T @ factors.loadings + np.diag(factors.noise)
    expected = multivariate_normal(cov=covariance).logpdf(x)
    error = np.std(bounds, axis=0) / np.sqrt(200)
    assert np.quantile(np.abs(np.mean(bounds, axis=0) - expected) / error, 0.95) < 2.5


def test_before_the_first_step_draws_have_the_covariance_of_factor_analysis(scores):
    model = blank(VAE(likelihood="normal", volatility=False, latent=3), scores)
    drawn = fit_latent_distribution(model, scores.vectors, "prior").draw(KEY, 200_000)
    assert drawn.dtype == jnp.float32
    factors = factor_analysis(scores.covariance, 3)
    covariance = factors.loadings.T @ factors.loadings + np.diag(factors.noise)
    np.testing.assert_allclose(np.cov(drawn, rowvar=False), covariance, atol=0.015)


def test_student_noise_has_the_density_the_probabilities_and_the_draws_of_student_t(scores):
    model = blank(VAE(likelihood="student"), scores)
    df, size = float(np.asarray(model.df)[0]), len(np.asarray(model.df))
    assert df == pytest.approx(8.0, abs=0.01)
    points = np.linspace(-6, 6, 41, dtype=np.float32)
    away = np.repeat(points[:, None], size, axis=1)
    density = np.asarray(jax.jit(model._log_density)(away))[:, 0]
    np.testing.assert_allclose(density, student_t(df).logpdf(points), atol=1e-4)
    normal = jax.jit(model._normal)(away)
    below = norm.cdf(np.asarray(normal)[:, 0])
    np.testing.assert_allclose(below, student_t(df).cdf(points), atol=4e-4)
    back = np.asarray(jax.jit(model.draw_noise)(normal))[:, 0]
    np.testing.assert_allclose(back, points, atol=1e-3)


def test_log_probability_of_intervals_is_exact_in_the_tails_and_has_a_gradient():
    low = np.array([-1.0, -30.0, 4.0, -9.0, -30.0])
    high = np.array([1.0, 30.0, 5.0, -8.5, -2.0])
    flipped = low > 0
    a, b = np.where(flipped, -high, low), np.where(flipped, -low, high)
    expected = norm.logcdf(b) + np.log1p(-np.exp(norm.logcdf(a) - norm.logcdf(b)))
    found = jax.jit(log_probability)(low, high)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    slope = jax.jit(jax.grad(lambda ends: log_probability(*ends).sum()))((low, high))
    assert np.isfinite(slope).all()


def test_a_cell_counts_with_its_density_or_with_the_probability_of_its_interval(scores):
    model = blank(VAE(likelihood="normal"), scores)
    z = np.zeros((1, model.plan.latent), np.float32)
    mean, scale = (np.asarray(part)[0] for part in jax.jit(model.decode)(z))
    inside = np.zeros((1, len(mean)), np.float32)
    low, high = inside - 0.5, inside + 0.5
    low[0, 0] = high[0, 0] = 0.0
    low[0, 1], high[0, 2], low[0, 3], high[0, 3] = -np.inf, np.inf, -np.inf, np.inf
    found = np.asarray(jax.jit(model.log_likelihood)(z, Intervals(inside, low, high)))[0]
    law = norm(mean, scale)
    assert found[0] == pytest.approx(norm(mean[0], scale[0]).logpdf(0.0), abs=1e-5)
    expected = np.log((law.cdf(high[0]) - law.cdf(low[0]))[1:])
    np.testing.assert_allclose(found[1:], expected, atol=1e-5)
    assert found[3] == pytest.approx(0.0, abs=1e-6)  # a missing cell says nothing


def test_the_encoder_sees_mass_points_in_the_middle_of_their_intervals():
    low = np.array([[0.5, -np.inf, 1.0, -np.inf]])
    high = np.array([[0.5, 0.0, 1.2, np.inf]])
    found = encoded(np.array([[0.5, -9.0, 9.0, 0.7]]), low, high)
    assert found[0, [0, 3]].tolist() == [0.5, 0.7]  # known, and missing: the draw
    assert found[0, 1] == pytest.approx(-np.sqrt(2 / np.pi))
    assert 1.09 < found[0, 2] < 1.1


def test_lstms_write_and_read_vectors_in_the_order_of_perceptrons():
    writer, reader = Writer(2, 1, 8, 4, 3, 1, heads=2), Reader(8, 4, 3, 1, features=5)
    params, readings = initialize(KEY, (writer, reader), (1.0, 1.0))
    z = np.random.default_rng(0).normal(size=(6, 2 + 4)).astype(np.float32)
    write, read = jax.jit(partial(apply, writer)), jax.jit(partial(apply, reader))
    vectors = np.asarray(write(params, z))
    assert vectors.shape == (6, 2 * 13)
    assert read(readings, vectors[:, :13]).shape == (6, 5)
    z[:, 2 + 2] += 1.0  # the latent of the third period
    changed = (np.asarray(write(params, z)) != vectors).any(axis=0).reshape(2, 13)
    later = np.tile([False, False, True, True], 3)
    assert (changed == np.append(later, False)).all()


# Training


@pytest.mark.slow
def test_training_ends_when_held_out_units_become_less_likely():
    """Nothing but noise: there is nothing to learn beyond the start."""
    noise = Panel({"y": np.random.default_rng(0).normal(size=(60, 6))})
    options = {"hidden": (64,), "steps": 800, "learning_rate": 5e-3, "weight_decay": 0.0}
    stopped = VAE(patience=40, **options).fit(KEY, noise, progress=False).losses
    assert len(stopped["held"]) < 400
    ran = VAE(folds=0, **options).fit(KEY, noise, progress=False).losses
    assert len(ran["train"]) == 800
    assert ran["train"][-50:].mean() < stopped["train"][:50].mean() - 0.1  # it overfits


@pytest.mark.slow
def test_another_key_another_size_of_floats_and_an_ensemble_compile_nothing_anew(panel):
    TINY_VAE.fit(KEY, panel, progress=False)
    before = run_segment._cache_size()
    TINY_VAE.fit(jax.random.key(1), panel, progress=False)
    VAE(hidden=(8,), steps=20, folds=2, beta=0.5, learning_rate=1e-4, weight_decay=0.0).fit(
        KEY, panel, progress=False
    )
    assert run_segment._cache_size() == before


@pytest.mark.slow
def test_an_ensemble_learns_from_the_rows_of_each_member(panel):
    members = fit_many(TINY_VAE, jax.random.split(KEY, 3), panel, progress=False)
    assert [len(member.rows) for member in members] == [200, 200, 200]
    first, second = (np.asarray(m.sample(KEY, 5)["wage"]) for m in members[:2])
    assert (first != second).any()


@pytest.mark.slow
def test_divergence_is_told_with_a_remedy(panel):
    wild = VAE(hidden=(8,), steps=200, learning_rate=1e4, folds=0)
    with pytest.raises(TrainingDiverged, match="halve learning_rate"):
        wild.fit(KEY, panel, progress=False)


# What it draws


@pytest.mark.slow
def test_the_same_key_draws_the_same_units_and_jit_changes_nothing(generator):
    first = generator.sample(KEY, 10)
    again = jax.jit(lambda key: generator.sample(key, 10))(KEY)
    for name in first:
        np.testing.assert_allclose(first[name], again[name], rtol=1e-6)


@pytest.mark.slow
def test_units_differ_in_volatility_as_in_the_data_and_as_the_copula_cannot(panel):
    generator = VAE(steps=400).fit(KEY, panel, progress=False)
    copula = GaussianCopula().fit(KEY, panel)
    real, drawn, normal = (
        np.log(unit_sds(p)).std()
        for p in (panel, generator.sample(KEY, 4_000), copula.sample(KEY, 4_000))
    )
    assert normal < 0.6 * real
    assert 0.8 * real < drawn < 1.2 * real


def test_mass_points_have_their_share_and_stay_with_their_units(panel, generator):
    real, drawn = (np.asarray(p["hours"]) == 2.0 for p in (panel, generator.sample(KEY, 20_000)))
    assert drawn.mean() == pytest.approx(real.mean(), abs=0.01)
    chance = 1 - binom.cdf(5, 8, real.mean())  # six of eight, were periods independent
    assert (drawn.mean(axis=1) >= 0.75).mean() > 3 * chance


def test_variances_of_changes_are_those_of_the_data(panel, generator):
    drawn = generator.sample(KEY, 20_000)
    for name in ("wage", "hours"):
        changes = [np.asarray(p[name]) @ np.repeat([-0.25, 0.25], 4) for p in (panel, drawn)]
        assert np.log(changes[1].std() / changes[0].std()) == pytest.approx(0.0, abs=0.1)


def test_draws_are_as_far_from_training_units_as_fresh_units_are(panel, generator):
    fresh = volatile_panel(seed=1)
    cells = [
        np.concatenate([np.asarray(p[name]) for name in p], axis=1)
        for p in (panel, fresh, generator.sample(KEY, 300))
    ]
    nearest = [
        np.median([np.linalg.norm(cells[0] - row, axis=1).min() for row in own])
        for own in cells[1:]
    ]
    assert 0.9 < nearest[1] / nearest[0] < 1.6


@pytest.mark.parametrize("kind", ["normal", "prior"])
def test_other_latent_distributions_have_the_moments_too(panel, kind):
    drawn = VAE(hidden=(8,), steps=20, folds=2, latent_distribution=kind).fit(
        KEY, panel, progress=False
    )
    values = np.asarray(drawn.sample(KEY, 20_000)["wage"])
    assert values.std() == pytest.approx(np.asarray(panel["wage"]).std(), rel=0.05)


@pytest.mark.slow
def test_lstms_train_and_draw(panel):
    generator = VAE(arch="lstm", hidden=(8,), steps=10, folds=2).fit(KEY, panel, progress=False)
    values = np.asarray(generator.sample(KEY, 20_000)["wage"])
    assert values.std() == pytest.approx(np.asarray(panel["wage"]).std(), rel=0.05)


@pytest.mark.slow
def test_without_noise_draws_are_the_means_of_few_factors_and_too_alike(panel):
    """The chapter's network: two latents, affine, no noise, a heavy divergence."""
    chapter = VAE(
        latent=2, hidden=(), skip=False, noise=False, likelihood="normal",
        latent_distribution="prior", calibrate=False, beta=60.0, folds=0, steps=600,
    )  # fmt: skip
    generator = chapter.fit(KEY, panel, progress=False)
    vectors = np.asarray(generator.parts[0].distribution.draw(KEY, 500))
    singular = np.linalg.svd(vectors - vectors.mean(axis=0), compute_uv=False)
    assert (singular > 1e-3 * singular[0]).sum() == 2
    assert generator.parts[0].recolor is None
    drawn = generator.sample(KEY, 500)
    assert np.asarray(drawn["wage"]).std() < 0.7 * np.asarray(panel["wage"]).std()
    assert unit_sds(drawn).mean() < 0.75 * unit_sds(panel).mean()


@pytest.mark.slow
def test_a_cross_section_is_learned_by_the_values_of_given_columns():
    rng = np.random.default_rng(0)
    treat = np.repeat([0.0, 1.0], 60)
    wage = np.exp(rng.normal(1 + treat, 0.4))
    school = rng.integers(8, 17, 120).astype(float)
    panel = Panel({"treat": treat, "school": school, "wage": wage})
    generator = TINY_VAE.fit(KEY, panel, given=["treat"], progress=False)
    drawn = generator.sample(KEY, 4_000, given={"treat": np.arange(4_000) % 2})
    low, high = (np.median(np.asarray(drawn["wage"])[k::2]) for k in (0, 1))
    assert np.log(high / low) == pytest.approx(1.0, abs=0.15)
    assert set(np.unique(drawn["school"])) <= set(school)
    with pytest.raises(InputError, match="fit given"):
        latent(generator)


@pytest.mark.slow
def test_traits_missing_cells_and_clusters(panel):
    rng = np.random.default_rng(0)
    wage = np.array(panel["wage"])
    wage[rng.uniform(size=wage.shape) < 0.1] = np.nan
    school = np.repeat(rng.integers(8, 17, (300, 1)).astype(float), 8, axis=1)
    state = np.repeat(rng.integers(0, 10, (300, 1)).astype(float), 8, axis=1)
    full = Panel({"wage": wage, "school": school, "state": state})
    trainer = VAE(hidden=(8,), steps=20, folds=2, missing="model", cluster="state")
    drawn = trainer.fit(KEY, full, progress=False).sample(KEY, 200)
    assert all(np.isfinite(values).all() for values in drawn.values())
    assert (np.asarray(drawn["school"]) == np.asarray(drawn["school"])[:, :1]).all()


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(30, 1), (30, 6)])
def test_a_single_column_and_nothing_but_traits(shape):
    values = np.repeat(np.random.default_rng(0).normal(size=(30, 1)), shape[1], axis=1)
    drawn = TINY_VAE.fit(KEY, Panel({"y": values}), progress=False).sample(KEY, 2_000)["y"]
    assert drawn.shape == (2_000, shape[1])
    assert np.asarray(drawn).std() == pytest.approx(values.std(), rel=0.15)


# The latent space


def test_units_are_encoded_moved_decoded_and_reconstructed(panel, generator):
    space = latent(generator)
    some = panel.take(np.array([3, 5]))
    where = space.encode(some)
    assert where.mean.shape == where.log_variance.shape == (2, space.size)
    np.testing.assert_allclose(where.mean, space.encode(panel).mean[np.array([3, 5])], atol=1e-4)
    back = space.reconstruct(panel)
    assert tuple(back) == tuple(panel)
    levels = [np.asarray(p["wage"]).mean(axis=1) for p in (panel, back)]
    assert np.corrcoef(levels)[0, 1] > 0.9
    moved = space.decode(where.mean + 1.0)
    assert (np.asarray(moved["wage"]) != np.asarray(space.decode(where.mean)["wage"])).all()


def test_the_latent_distribution_of_a_unit_is_the_same_after_saving(panel, tmp_path):
    generator = TINY_VAE.fit(KEY, panel, progress=False)  # not one that was itself read from a file
    same = load_model(save(generator, tmp_path / "vae.safetensors"))
    np.testing.assert_array_equal(
        latent(same).encode(panel).mean, latent(generator).encode(panel).mean
    )
    np.testing.assert_array_equal(same.sample(KEY, 9)["wage"], generator.sample(KEY, 9)["wage"])


def test_latent_needs_a_vae_the_columns_and_the_shape(panel, generator):
    with pytest.raises(InputError, match="GaussianCopula made, expected VAE"):
        latent(GaussianCopula().fit(KEY, panel))
    with unchecked(), pytest.raises(InputError, match="expected what VAE"):
        latent(panel)
    space = latent(generator)
    with pytest.raises(InputError, match=r"column 'hours' is missing[\s\S]*8 that"):
        space.encode(Panel({"wage": np.zeros((2, 5)), "hour": np.ones((2, 5))}))
    with pytest.raises(InputError, match=r"posterior\.mean has this shape"):
        space.decode(np.zeros(3))
    with pytest.raises(InputError, match="z: got str, expected numbers"):
        space.decode("a")
    with pytest.raises(InputError, match="not finite"):
        space.decode(np.full((1, space.size), np.nan))


# Options


def test_more_factors_than_cells_are_refused():
    panel = Panel({"y": np.random.default_rng(0).normal(size=(60, 5))})
    with pytest.raises(InputError, match="latent: got 999, but a unit has 5 cells"):
        VAE(latent=999).fit(KEY, panel, progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arch": "lsm"}, "arch: got 'lsm', expected one of 'mlp', 'lstm'; did you mean 'lstm'"),
        ({"arch": "transformer"}, "got 'transformer', expected one of 'mlp', 'lstm'$"),
        ({"likelihood": "poisson"}, "likelihood: got 'poisson'"),
        ({"latent_distribution": "posteriors"}, "did you mean 'posterior'"),
        ({"noise": 1}, "noise: got 1, expected True or False"),
        ({"latent": 0}, "latent: got 0, expected a whole number of at least 1"),
        ({"hidden": 64}, r"hidden: got 64, expected a tuple of widths"),
        ({"hidden": ()  , "arch": "lstm"}, "one size of the LSTM's state"),
        ({"folds": 1}, "folds: got 1, expected a whole number of at least 2, or 0"),
        ({"folds": True}, "folds: got True, expected a whole number"),
        ({"beta": -1.0}, "beta: got -1.0, expected a number of at least 0"),
        ({"learning_rate": 0.0}, "learning_rate: got 0.0, expected a positive number"),
        ({"weight_decay": float("nan")}, "weight_decay: got nan"),
        ({"steps": 0, "batch_size": 1, "patience": 0}, r"patience[\s\S]*steps[\s\S]*batch_size"),
    ],
)  # fmt: skip
def test_faults_of_options_are_sentences(options, message):
    with unchecked(), pytest.raises(InputError, match=message):
        VAE(**options)


# What it must show


@pytest.mark.slow
def test_wages_on_random_halves():
    """Five halves of 545 men: the sd of changes in means, copying, hours of exactly 2,080."""
    frame = load("wage_panel")[["nr", "year", "lwage", "hours"]]
    panel, schema = from_frame(frame, unit="nr", time="year")
    ratios, memorization, gaps = [], [], []
    for split in range(5):
        order = np.random.default_rng(split).permutation(panel.n_units)
        train, held = panel.take(np.sort(order[:272])), panel.take(np.sort(order[272:]))
        generator = VAE().fit(jax.random.key(split), train, schema=schema, progress=False)
        drawn = generator.sample(KEY, 20_000)
        ratios.append(log_sd_of_changes(drawn) - log_sd_of_changes(held))
        memorization.append(nearest(drawn, train, panel) / nearest(held, train, panel))
        shares = [(np.asarray(p["hours"]) == 2080).mean() for p in (drawn, train)]
        gaps.append(shares[0] - shares[1])
    assert np.abs(np.mean(ratios, axis=0)).max() < 0.15
    assert np.mean(memorization) > 0.9
    assert np.abs(gaps).max() < 0.01


def log_sd_of_changes(panel):
    """By column and break: log sd of the mean from the break on less the mean before."""
    periods = panel.n_periods
    contrasts = np.stack(
        [np.where(np.arange(periods) >= b, 1 / (periods - b), -1 / b) for b in range(1, periods)]
    )
    return np.stack([np.log((np.asarray(panel[n]) @ contrasts.T).std(axis=0)) for n in panel])


def nearest(panel, train, whole):
    """Median distance of (at most 1,000) units to the nearest training unit, columns scaled."""
    scales = {name: np.asarray(whole[name]).std() for name in whole}
    rows, known = (
        np.concatenate([np.asarray(p[name]) / scale for name, scale in scales.items()], axis=1)
        for p in (panel, train)
    )
    return np.median([np.linalg.norm(known - row, axis=1).min() for row in rows[:1_000]])
