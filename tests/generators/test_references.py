"""The reference generators one by one: bootstraps, mixtures, factors, and their options."""

import numpy as np
import pytest

import mcsim
from generators.fits import KEY, changes, effects_panel, schools, unchecked
from mcsim import Panel
from mcsim.errors import InputError
from mcsim.generators import (
    BlockBootstrap,
    FactorVAR,
    GaussianCopula,
    GaussianMixture,
    SmoothedBootstrap,
    UnitBootstrap,
    fit_many,
)
from mcsim.generators._references.normals import best_mixture


def test_the_bootstrap_draws_real_rows(panel, fit_once):
    drawn = fit_once(UnitBootstrap()).sample(mcsim.key(2), 500)
    real = {tuple(row) for row in np.hstack([np.asarray(panel[n]) for n in panel])}
    assert {tuple(row) for row in np.hstack([np.asarray(drawn[n]) for n in panel])} <= real


def test_the_bootstrap_draws_all_units_alike(panel, fit_once):
    drawn = fit_once(UnitBootstrap()).sample(mcsim.key(2), 60_000)
    counts = np.unique_counts(np.asarray(drawn["y"])[:, 0]).counts
    statistic = np.square(counts - 200).sum() / 200  # chi-squared with 299 degrees of freedom
    assert abs(statistic - 299) < 5 * np.sqrt(2 * 299)


def test_drawn_clusters_of_the_bootstrap_are_whole_and_real():
    data = schools(np.array([4, 4, 4, 4, 9, 9]))
    drawn = UnitBootstrap(cluster="school").fit(KEY, data).sample(mcsim.key(2), 200)
    real = {tuple(sorted(np.asarray(data["y"])[np.asarray(data["school"])[:, 0] == c, 0]))
            for c in range(6)}  # fmt: skip
    code, first = np.asarray(drawn["school"])[:, 0], np.asarray(drawn["y"])[:, 0]
    assert {tuple(sorted(first[code == c])) for c in range(int(code.max()))} <= real


def test_redrawn_shocks_shift_bootstrapped_paths_alike(panel, fit_once):
    generator = fit_once(UnitBootstrap())
    fixed = np.asarray(generator.sample(mcsim.key(2), 400)["y"])
    shifted = np.asarray(generator.with_shocks("redraw").sample(mcsim.key(2), 400)["y"])
    shift = shifted - fixed
    assert (shift.std(axis=0) < 0.5 * np.abs(shift.mean(axis=0)).max() + 0.1).all()


@pytest.mark.parametrize("bandwidth", [0.2, 0.4, 1.0])
def test_smoothing_keeps_spreads_and_copies_less(panel, bandwidth, fit_once):
    drawn = fit_once(SmoothedBootstrap(bandwidth=bandwidth)).sample(mcsim.key(2), 20_000)
    assert changes(drawn, "y", 3).std() == pytest.approx(changes(panel, "y", 3).std(), rel=0.05)
    assert not np.isin(drawn["y"], panel["y"]).any()


@pytest.mark.slow
def test_a_small_bandwidth_draws_near_copies(panel, fit_once):
    vectors = np.hstack([np.asarray(panel[n]) for n in panel])
    nearest = []
    for bandwidth in (0.1, 0.4, 2.0):
        drawn = fit_once(SmoothedBootstrap(bandwidth=bandwidth)).sample(mcsim.key(2), 200)
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


@pytest.mark.slow
def test_copies_are_no_component_of_a_mixture():
    data = Panel({"y": np.random.default_rng(0).normal(size=(60, 8))})
    fits = fit_many(GaussianMixture(), mcsim.keys(0, 4), data, resample="bootstrap")
    assert np.mean([len(fit.parts[0].distribution.weights) for fit in fits]) < 2


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
