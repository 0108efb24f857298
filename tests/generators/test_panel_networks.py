"""Flow, GAN and WGAN on panels: laws at the start, what is drawn, faults, and what they learn."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

import mcsim
from generators.fits import TINY_FLOW, TINY_GAN, VOLATILE, unchecked, volatile_panel
from mcsim import Panel, from_frame
from mcsim.datasets import load
from mcsim.errors import InputError, TrainingDiverged
from mcsim.generators import GAN, WGAN, FittedPanel, Flow, GaussianCopula, fit_many, save
from mcsim.generators import load as load_model
from mcsim.generators._adversarial.vectors import Rates, Wasserstein, _moment_distance, adversaries
from mcsim.generators._flow.distribution import (
    MOST,
    MOST_RADIAL,
    FlowDistribution,
    FlowPlan,
    SinhArcsinh,
    bounded,
    forward,
    forward_length,
    inverse,
    inverse_length,
)
from mcsim.generators._flow.trainer import _innovations
from mcsim.generators._scores.vectors import Layout
from mcsim.generators._training.steps import run_segment

KEY = mcsim.key(0)
TINY = [
    TINY_FLOW,
    TINY_GAN,
    GAN(steps=3, arch="lstm", hidden=(4,)),
    WGAN(hidden=(8,), critic_hidden=(8,), steps=3, batch_size=16, critic_steps=2),
    WGAN(hidden=(4,), critic_hidden=(4,), steps=3, batch_size=16, critic_steps=1, arch="lstm"),
]


PERCEPTRONS = [TINY[0], TINY[1], TINY[3]]


def named(trainers):
    return pytest.mark.parametrize(
        "trainer", trainers, ids=lambda t: f"{type(t).__name__} {getattr(t, 'arch', '')}"
    )


@pytest.fixture(scope="module")
def panel():
    return VOLATILE


@pytest.fixture(scope="module")
def fitted(fit_once):
    return lambda trainer: fit_once(trainer, VOLATILE, KEY)


@pytest.mark.slow
@named(TINY)
def test_panels_have_the_columns_and_kinds_of_the_data(trainer, panel, fitted):
    drawn = fitted(trainer).sample(mcsim.key(1), 500)
    assert isinstance(fitted(trainer), FittedPanel)
    assert list(drawn) == list(panel)
    values = {name: np.asarray(column) for name, column in drawn.items()}
    assert all(v.shape == (500, 8) and v.dtype == np.float64 for v in values.values())
    assert set(np.unique(values["female"])) <= {0.0, 1.0}
    assert (values["female"] == values["female"][:, :1]).all()
    assert all(np.isfinite(v).all() for v in values.values())


@named(TINY)
def test_sampling_is_pure(trainer, fitted):
    generator, key = fitted(trainer), mcsim.key(3)
    plain = generator.sample(key, 7)
    jitted = jax.jit(lambda g, k: g.sample(k, 7))(generator, key)
    many = jax.vmap(lambda k: generator.sample(k, 7))(jnp.stack([key, mcsim.key(4)]))
    for name in plain:
        np.testing.assert_allclose(plain[name], jitted[name], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(plain[name], many[name][0], rtol=1e-5, atol=1e-5)
    assert (
        np.asarray(plain["wage"]) != np.asarray(generator.sample(mcsim.key(4), 7)["wage"])
    ).any()


@pytest.mark.slow
@named(PERCEPTRONS)
def test_same_key_same_generator(trainer, panel, fitted):
    again = trainer.fit(KEY, panel, progress=False).sample(mcsim.key(1), 9)
    other = trainer.fit(mcsim.key(5), panel, progress=False).sample(mcsim.key(1), 9)
    first = fitted(trainer).sample(mcsim.key(1), 9)
    np.testing.assert_array_equal(first["wage"], again["wage"])
    assert (np.asarray(first["wage"]) != np.asarray(other["wage"])).any()


@pytest.mark.slow
@named(PERCEPTRONS)
def test_other_data_of_the_same_shape_compile_nothing(trainer, panel):
    trainer.fit(KEY, panel, progress=False)
    before = run_segment._cache_size()
    trainer.fit(KEY, volatile_panel(seed=9), progress=False)
    assert run_segment._cache_size() == before


@named(TINY)
def test_files_give_the_same_draws(trainer, panel, tmp_path):
    generator = trainer.fit(KEY, panel, progress=False)  # not one that was itself read from a file
    same = load_model(save(generator, tmp_path / "model.safetensors"))
    for name, column in generator.sample(KEY, 11).items():
        np.testing.assert_array_equal(same.sample(KEY, 11)[name], column)
    assert same.config == trainer


@pytest.mark.slow
@named(TINY[3:4])
def test_ensembles_differ_by_member(trainer, panel):
    members = fit_many(trainer, jax.random.split(KEY, 3), panel, progress=False)
    draws = [np.asarray(m.sample(mcsim.key(1), 5)["wage"]) for m in members]
    assert [len(m.rows) for m in members] == [200, 200, 200]
    assert (draws[0] != draws[1]).any()
    assert (draws[1] != draws[2]).any()


@pytest.mark.parametrize(
    ("trainer", "names"),
    [
        (TINY[0], {"train", "held"}),
        (TINY[1], {"discriminator", "generator"}),
        (TINY[3], {"critic", "penalty", "moments"}),
    ],
    ids=["Flow", "GAN", "WGAN"],
)
def test_losses_are_recorded_by_step(trainer, names, fitted):
    losses = fitted(trainer).losses
    assert set(losses) == names
    assert all(len(values) == 3 and np.isfinite(values).all() for values in losses.values())


@pytest.mark.slow
def test_redrawn_shocks_and_clusters_work_with_networks(panel):
    groups = np.repeat(np.arange(30), 10)[:, None] * np.ones((1, 8))
    grouped = Panel({**panel, "school": groups})
    trainer = WGAN(
        hidden=(8,), critic_hidden=(8,), steps=3, batch_size=16, cluster="school",
        common_shocks="redraw",
    )  # fmt: skip
    generator = trainer.fit(KEY, grouped, progress=False)
    one, two = (np.asarray(generator.sample(mcsim.key(k), 2_000)["wage"]) for k in (1, 2))
    assert generator.common_shocks == "redraw"
    assert "school" in generator.sample(KEY, 10)
    assert one.shape == two.shape == (2_000, 8)


# ------------------------------------------------------------------------------------- bends


bend, unbend = jax.jit(forward), jax.jit(inverse)


@pytest.fixture(scope="module")
def some_bends():
    free = np.random.default_rng(0).normal(size=(4, 50)).astype(np.float32)
    return bounded(jnp.asarray(free), MOST)


def test_bends_are_undone(some_bends):
    normal = np.linspace(-3, 3, 50, dtype=np.float32)
    back, _ = unbend(bend(normal, some_bends), some_bends)
    np.testing.assert_allclose(back, normal, atol=2e-3)


def test_slopes_of_bends_are_derivatives(some_bends):
    bent = bend(np.linspace(-2, 2, 50, dtype=np.float32), some_bends)
    slope = jax.vmap(jax.grad(lambda y, *by: inverse(y, SinhArcsinh(*by))[0]))
    slopes = np.log(jax.jit(slope)(bent, *some_bends))
    np.testing.assert_allclose(unbend(bent, some_bends)[1], slopes, atol=1e-4)


def test_lengths_are_bent_and_their_volume_is_right():
    by = bounded(jnp.array([0.3, 0.5, -0.2, 0.4], jnp.float32), MOST_RADIAL)
    normal = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    bent = jax.jit(forward_length)(normal, by)
    back, slope = jax.jit(inverse_length)(bent, by)
    np.testing.assert_allclose(back, normal, rtol=1e-4, atol=1e-4)
    directions = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (bent, normal)]
    np.testing.assert_allclose(*directions, atol=1e-5)
    jacobian = jax.vmap(jax.jacfwd(lambda v: inverse_length(v[None], by)[0][0]))
    volume = np.linalg.slogdet(np.asarray(jax.jit(jacobian)(bent)))[1]
    np.testing.assert_allclose(slope, volume, atol=1e-3)


def test_zero_bends_nothing():
    x = np.linspace(-5, 5, 11, dtype=np.float32)
    np.testing.assert_allclose(bend(x, bounded(jnp.zeros(4, jnp.float32), MOST)), x, atol=1e-6)


def test_free_parameters_of_any_size_stay_within_bounds():
    huge = bounded(jnp.array([1e6, -1e6, 1e6, -1e6], jnp.float32), MOST)
    np.testing.assert_allclose(huge, [4.0, -2.0, 1.0, -0.7], rtol=1e-6)


# -------------------------------------------------------------------------------------- flow


density_of = jax.jit(FlowDistribution.log_density)


def random_law(couplings=2, seed=0):
    """A flow with parameters that bend."""
    rng = np.random.default_rng(seed)
    plan = FlowPlan((3, 3, 1), ((0, 7), (0, 3)), 2, couplings, (5,))
    params = jax.tree.map(
        lambda leaf: jnp.asarray(leaf + 0.3 * rng.normal(size=leaf.shape), jnp.float32),
        plan.initialize(KEY),
    )
    turns = np.stack([np.linalg.qr(rng.normal(size=(7, 7)))[0] for _ in range(2)])
    root = np.linalg.cholesky(np.eye(7) + 0.5)
    root = (root @ root.T).astype(np.float32)
    return FlowDistribution(plan, root, turns.astype(np.float32), params)


@pytest.mark.slow
def test_before_it_learns_a_flow_is_the_gaussian_copula(panel):
    """With no step that helps, the law's density is the normal one with the copula's covariance."""
    trainer = replace(TINY[0], learning_rate=1e-12)
    law = trainer.fit(KEY, panel, progress=False).parts[0].distribution
    copula = GaussianCopula().fit(KEY, panel, progress=False).parts[0].distribution
    covariance = np.asarray(copula.root, np.float64) @ np.asarray(copula.root, np.float64)
    vectors = np.random.default_rng(0).normal(size=(40, len(covariance)))
    expected = multivariate_normal(cov=covariance).logpdf(vectors)
    np.testing.assert_allclose(density_of(law, vectors), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.slow
def test_densities_are_those_of_what_is_drawn():
    """The change of variables: density at a draw, from the Jacobian of the way from noise to it."""
    law = random_law()
    normal = jax.random.normal(KEY, (10, 7), jnp.float32)

    def to_vector(z):
        return law.plan.forward(law.params, jnp.asarray(law.turns), z[None])[0] @ law.root

    vectors = jax.jit(jax.vmap(to_vector))(normal)
    volume = jnp.linalg.slogdet(jax.jit(jax.vmap(jax.jacfwd(to_vector)))(normal))[1]
    expected = norm.logpdf(normal).sum(axis=1) - volume
    np.testing.assert_allclose(density_of(law, vectors), expected, rtol=1e-3, atol=5e-3)


def test_draws_have_the_density_of_the_law():
    """Mean log density of draws is minus the entropy, here by change of variables of fresh ones."""
    law = random_law(couplings=0)
    drawn = jax.jit(law.draw, static_argnums=1)(mcsim.key(1), 4_000)
    normal = np.random.default_rng(2).normal(size=(4_000, 7)).astype(np.float32)
    vectors = jax.jit(law.plan.forward)(law.params, law.turns, normal) @ law.root
    one, two = np.asarray(density_of(law, drawn)), np.asarray(density_of(law, vectors))
    assert one.mean() == pytest.approx(two.mean(), abs=4 * one.std() * np.sqrt(2 / 4_000))


def test_innovations_are_a_rotation_and_uncorrelated_with_the_past():
    rng = np.random.default_rng(0)
    half = rng.normal(size=(5, 5))
    covariance, order = half @ half.T + np.eye(5), np.array([2, 0, 4, 1, 3])
    turn = _innovations(covariance, order)
    np.testing.assert_allclose(turn.T @ turn, np.eye(5), atol=1e-10)
    values, vectors = np.linalg.eigh(covariance)
    to_innovations = (vectors / np.sqrt(values)) @ vectors.T @ turn
    for place, name in enumerate(order):  # the innovation of a coordinate needs no later one
        np.testing.assert_allclose(to_innovations[order[place + 1 :], name], 0.0, atol=1e-10)


@pytest.mark.slow
def test_a_flow_learns_volatility_that_the_copula_lacks():
    """Units not seen are likelier under the flow than under the normal law."""
    panel, other = volatile_panel(400), volatile_panel(400, seed=1)
    paths = [Panel({"wage": p["wage"]}) for p in (panel, other)]
    law = (part := Flow(steps=200).fit(KEY, paths[0], progress=False).parts[0]).distribution
    low, _ = part.coding.intervals({"wage": np.asarray(paths[1]["wage"])})
    root = np.asarray(law.root, np.float64)
    normal = multivariate_normal(cov=root @ root).logpdf(low)
    gain = np.asarray(density_of(law, low)) - normal
    assert gain.mean() > 0.1 + 2 * gain.std() / np.sqrt(len(gain))


@pytest.mark.slow
def test_training_ends_when_units_not_seen_are_no_likelier(panel):
    rng = np.random.default_rng(0)
    gaussian = Panel({"y": rng.normal(size=(60, 1)) + rng.normal(size=(60, 5))})
    generator = Flow(patience=40).fit(KEY, gaussian, progress=False)
    assert len(generator.losses["held"]) < 1_000


@pytest.mark.slow
@pytest.mark.parametrize("periods", [1, 2])
def test_a_flow_learns_short_panels(periods):
    rng = np.random.default_rng(0)
    panel = Panel(
        {"y": rng.normal(size=(60, periods)), "d": rng.integers(0, 2, (60, periods)) * 1.0}
    )
    given = ["d"] if periods == 1 else []
    generator = Flow(steps=3, folds=2).fit(KEY, panel, given=given, progress=False)
    values = {"d": np.ones(8)} if given else None
    assert generator.sample(KEY, 8, given=values)["y"].shape == (8, periods)


# --------------------------------------------------------------------------------- adversaries


def test_moments_of_whitened_vectors_are_at_distance_zero_on_average():
    keys = jax.random.split(KEY, 400)
    vectors = jax.vmap(lambda key: jax.random.normal(key, (32, 4), jnp.float32))(keys)
    distances = np.asarray(jax.vmap(_moment_distance)(vectors))
    assert abs(distances.mean()) < 4 * distances.std() / 20
    assert np.asarray(jax.vmap(_moment_distance)(0.5 * vectors)).mean() > 0.1


def test_the_penalty_is_that_of_slopes_above_one():
    """A linear critic with slope 3 everywhere: the penalty is (3 - 1)^2."""
    recipe = Wasserstein((4, 8, 4), (5, 1), 4, 16, 1, ((0, 4),))
    kernel = jnp.array([[3.0], [0.0], [0.0], [0.0], [0.0]], jnp.float32)
    critic = {"layer_0": {"kernel": kernel, "bias": jnp.zeros(1, jnp.float32)}}
    rates = Rates(*(jnp.float32(1) for _ in Rates._fields))
    real, fake = jax.random.normal(KEY, (2, 16, 4), jnp.float32)
    _, (distance, penalty) = recipe.critic_loss(critic, real, fake, rates, KEY)
    assert float(penalty) == pytest.approx(4.0, rel=1e-5)
    assert float(distance) == pytest.approx(
        3 * float(real[:, 0].mean() - fake[:, 0].mean()), rel=1e-4
    )


def test_networks_of_both_kinds_fit_the_vectors():
    layout = Layout(("a", "b"), ("c",), 4)
    generator, critic, noise = adversaries("mlp", layout, 3, (8,), (6,), 2)
    assert (generator, critic, noise) == ((3, 8, 9), (11, 6, 1), 3)
    writer, reader, noise = adversaries("lstm", layout, 3, (8,), (6,), 2)
    assert noise == 3 + 2 * 4
    assert (writer.state, reader.state, reader.invariant) == (8, 6, 3)


def test_the_chapters_gan_is_the_chapters():
    gan = GAN()
    assert (gan.latent, gan.hidden, gan.steps, gan.batch_size) == (2, (16,), 1_000, 12)
    assert gan.learning_rate == 1e-4
    assert not gan.calibrate


def test_the_chapters_gan_varies_in_few_directions(panel):
    """Without calibration: two noises and a hidden layer, so most variance is in two directions."""
    law = GAN(steps=50).fit(KEY, panel, progress=False).parts[0].distribution
    values = np.linalg.eigvalsh(np.cov(np.asarray(law.draw(KEY, 2_000)).T))[::-1]
    assert values[:2].sum() > 0.8 * values.sum()


@pytest.mark.slow
def test_calibration_gives_the_variances_of_the_data(panel):
    for calibrate, tolerance in ((True, 0.06), (False, None)):
        trainer = WGAN(hidden=(8,), critic_hidden=(8,), steps=3, batch_size=16, calibrate=calibrate)
        drawn = trainer.fit(KEY, panel, progress=False).sample(KEY, 20_000)
        ratio = np.asarray(drawn["wage"]).std() / np.asarray(panel["wage"]).std()
        if tolerance:
            assert ratio == pytest.approx(1, abs=tolerance)
        else:
            assert abs(ratio - 1) > 0.1


def test_a_wgan_learns_cross_sections_as_before():
    rng = np.random.default_rng(0)
    table = Panel({"wage": np.exp(rng.normal(size=60))})
    trainer = WGAN(hidden=(8,), critic_hidden=(8,), steps=3, batch_size=16, critic_steps=1)
    assert repr(trainer.fit(KEY, table, progress=False)) == "FittedGenerator(WGAN: wage)"


# -------------------------------------------------------------------------------------- faults


def test_options_for_the_other_kind_of_data_are_refused(panel):
    with pytest.raises(InputError, match=r"temperature: got .*an option for a cross-section"):
        WGAN(temperature=0.3).fit(KEY, panel)
    table = Panel({"wage": np.random.default_rng(0).normal(size=60)})
    with pytest.raises(InputError) as caught:
        WGAN(arch="lstm", cluster="wage", common_shocks="redraw").fit(KEY, table)
    for name in ("arch", "cluster", "common_shocks"):
        assert f"{name}: got" in str(caught.value)
    assert "the panel has one period; leave it out" in str(caught.value)


BAD = [
    (Flow, {"folds": 1, "learning_rate": -1.0, "rounds": -1}, ["folds", "learning_rate", "rounds"]),
    (Flow, {"hidden": (0,), "jitter": -0.1, "calibrate": 1}, ["hidden", "jitter", "calibrate"]),
    (GAN, {"latent": 0, "arch": "lstn", "batch_size": 1}, ["latent", "arch", "batch_size"]),
    (GAN, {"hidden": (), "learning_rate": np.nan}, ["hidden", "learning_rate"]),
    (WGAN, {"arch": "conv", "latent": 0, "common_shocks": "both"}, ["arch", "latent", "common_sh"]),
]


@pytest.mark.parametrize(("kind", "options", "named"), BAD)
def test_bad_options_are_named_all_at_once(kind, options, named):
    with unchecked(), pytest.raises(InputError) as caught:
        kind(**options)
    for name in named:
        assert f"{name}" in str(caught.value)
    assert str(caught.value).count("expected") >= len(named)


def test_an_unknown_architecture_gets_a_suggestion():
    with unchecked(), pytest.raises(InputError, match="did you mean 'lstm'"):
        GAN(arch="lstn")


@pytest.mark.parametrize(
    ("trainer", "remedy"),
    [
        (replace(TINY_GAN, learning_rate=1e6), "lower learning_rate"),
        (replace(TINY[3], learning_rate=1e6, critic_learning_rate=1e6), "halve"),
        (replace(TINY_FLOW, learning_rate=np.float64(1e38).item()), "halve learning_rate"),
    ],
    ids=["GAN", "WGAN", "Flow"],
)
def test_divergence_is_told_with_a_remedy(trainer, remedy, panel):
    with pytest.raises(TrainingDiverged, match=remedy):
        trainer.fit(KEY, panel, progress=False)


def test_given_columns_are_refused_for_panels(panel):
    with pytest.raises(InputError, match="given: got"):
        WGAN().fit(KEY, panel, given=["female"])


# ------------------------------------------------------------------------------------- quality


@pytest.mark.optimized
@pytest.mark.slow
@named([Flow(), WGAN()])
def test_wages_are_learned_without_copying(trainer):
    """On half of the men: changes in means vary as in the half trained on, new men are new."""
    frame = load("wage_panel")[["nr", "year", "lwage", "hours"]]
    whole, _ = from_frame(frame, unit="nr", time="year")
    order = np.random.default_rng(0).permutation(whole.n_units)
    train, held = (whole_rows(whole, rows) for rows in np.array_split(order, 2))
    drawn = paths_of(trainer.fit(KEY, Panel(train), progress=False).sample(mcsim.key(1), 4_000))
    real, other = paths_of(Panel(train)), paths_of(Panel(held))
    for period in range(2, 8):
        ratios = np.log(spread_of_change(drawn, period) / spread_of_change(real, period))
        assert (np.abs(ratios) < 0.15).all()
    center, scale = real.mean((0, 2))[:, None], real.std((0, 2))[:, None]
    real, other, drawn = (((x - center) / scale).reshape(len(x), -1) for x in (real, other, drawn))
    memorization = np.median(nearest(drawn[:1_000], real)) / np.median(nearest(other, real))
    assert memorization > 0.9
    hours = trainer.fit(KEY, whole, progress=False).sample(mcsim.key(2), 50_000)["hours"]
    assert (np.asarray(hours) == 2080).mean() == pytest.approx(0.26, abs=0.01)


def whole_rows(panel, rows):
    return {name: np.asarray(values)[rows] for name, values in panel.items()}


def paths_of(panel):
    return np.stack([np.asarray(values) for values in panel.values()], axis=1)


def spread_of_change(paths, period):
    return (paths[:, :, period:].mean(axis=2) - paths[:, :, :period].mean(axis=2)).std(axis=0)


def nearest(points, others):
    return np.sqrt(((points[:, None] - others) ** 2).sum(axis=2).min(axis=1))
