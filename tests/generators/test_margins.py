"""Margins: values to normal scores and back, mass points, bounds, levels without an order."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy.stats import norm

import mcsim
from generators.fits import KEY, WHOLE, named
from mcsim import Panel
from mcsim.generators import FactorVAR, GaussianCopula
from mcsim.generators._scores.margins import Margin, fit_margin, scaled_levels

value_of = jax.jit(Margin.value)


def margin_of(values, **changes):
    column = mcsim.infer_schema({"y": values})["y"]
    return fit_margin(replace(column, **changes), values)


def test_margin_gives_the_data_back():
    values = np.random.default_rng(0).gamma(2.0, size=(150, 2))
    margin = margin_of(values)
    low, high = margin.interval(values)
    np.testing.assert_array_equal(low, high)
    np.testing.assert_allclose(value_of(margin, low), values, rtol=1e-9)


def test_scores_of_a_margin_are_normal_scores():
    values = np.random.default_rng(0).gamma(2.0, size=(300, 1))
    ranks = values.ravel().argsort().argsort() + 0.5
    scores, _ = margin_of(values).interval(values)
    np.testing.assert_allclose(scores.ravel(), norm.ppf(ranks / 300), atol=1e-9)


def test_mass_points_are_drawn_as_often_as_they_are_seen():
    rng = np.random.default_rng(0)
    values = np.where(rng.uniform(size=(2_000, 1)) < 0.3, 0.0, rng.gamma(2.0, size=(2_000, 1)))
    drawn = np.asarray(value_of(margin_of(values), rng.normal(size=200_000)))
    share = (values == 0).mean()
    assert abs((drawn == 0).mean() - share) < 4 * np.sqrt(share * (1 - share) / 200_000)


POINTS = np.array([0.5, 1.25, 2.0, 3.5, 5.0, 7.25, 9.0, 12.0])


@pytest.mark.parametrize("others", [[], [4.1]], ids=["points only", "one other value"])
def test_where_all_values_are_mass_points_nothing_else_is_drawn(others):
    """Eight values of 50 cells each: .8 to 1 % of the draws were values that nobody has."""
    values = np.append(np.repeat(POINTS, 50), others)
    margin = margin_of(values[:, None])
    drawn = np.asarray(value_of(margin, np.random.default_rng(0).normal(size=200_000)))
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
    drawn = np.asarray(value_of(margin_of(values), rng.normal(size=400_000)))
    shares = np.array([0.01, 0.1, 0.5, 0.9, 0.99])
    found = np.array([(values <= q).mean() for q in np.quantile(drawn, shares)])
    np.testing.assert_allclose(found, shares, atol=0.004)


def test_margins_go_on_beyond_the_data():
    values = np.random.default_rng(0).normal(size=(400, 1))
    far = np.asarray(value_of(margin_of(values), np.array([-6.0, 6.0])))
    assert far[0] < values.min() - 1
    assert far[1] > values.max() + 1


def test_margins_keep_bounds():
    """And no mass piles up on them."""
    values = np.random.default_rng(0).gamma(2.0, size=(400, 1))
    far = np.asarray(value_of(margin_of(values), np.array([-9.0, -6.0, -3.5])))
    assert 0 < far[0] < far[1] < far[2] < values.min()


def test_levels_between_those_seen_are_not_drawn():
    margin = margin_of(np.repeat([8.0, 12.0, 16.0], 20)[:, None])
    assert set(np.asarray(value_of(margin, np.linspace(-6.0, 6.0, 9_999)))) == {8.0, 12.0, 16.0}


@pytest.mark.parametrize("levels", [40, 65, 500])
def test_integers_stay_integers_between_their_bounds(levels):
    rng = np.random.default_rng(0)
    values = rng.integers(3, 3 + levels, (1_000, 2)).astype(float)
    drawn = np.asarray(value_of(margin_of(values), 3 * rng.normal(size=10_000)))
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
    drawn = np.asarray(value_of(margin.moved(scores[0]), scores[1]))
    quantiles = np.quantile(drawn, [0.05, 0.25, 0.5, 0.75, 0.95])
    np.testing.assert_allclose(quantiles, np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95]), 0.03)


def test_a_margin_of_two_values_is_discrete():
    margin = margin_of(np.tile([1.5, 2.5], 20)[:, None])
    assert set(np.asarray(value_of(margin, np.linspace(-4.0, 4.0, 99)))) == {1.5, 2.5}


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
