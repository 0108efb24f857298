"""Distances between rows, and classifiers that tell generated rows from real ones."""

import itertools

import jax
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mcsim import (
    datasets,
    from_frame,
)
from mcsim._fidelity import distances
from mcsim._fidelity.distances import (
    Classifier,
    _auc,
    combined_p_value,
    features,
    ties_of,
    two_sample,
)
from mcsim._fidelity.references import Gaussian

KEY = jax.random.key(20)


# Distances


def test_marginal_wasserstein_of_a_shift_by_one_sd_is_one():
    rows = np.random.default_rng(0).normal(size=(50, 3))
    assert distances.marginal_wasserstein(rows, rows[::-1] + 1) == pytest.approx(1, abs=1e-12)
    assert distances.marginal_wasserstein(rows, rows + np.array([3.0, 0.0, 0.0])) == pytest.approx(
        1
    )


def test_sliced_wasserstein_of_a_shift_is_the_mean_projection():
    rows = np.random.default_rng(0).normal(size=(40, 2))
    got = distances.sliced_wasserstein(rows, rows + np.array([2.0, 0.0]))
    # E|2 cos(u)| = 4 / pi for a uniform angle; 200 directions leave an sd of .044
    assert got == pytest.approx(4 / np.pi, abs=0.13)
    assert distances.sliced_wasserstein(rows, rows) == 0


def test_transport_is_the_best_of_all_assignments():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(6, 2)), rng.normal(size=(6, 2))
    cost = np.linalg.norm(a[:, None] - b[None], axis=-1)
    best = min(cost[range(6), order].mean() for order in itertools.permutations(range(6)))
    assert distances.transport(a, b) == pytest.approx(best, abs=1e-12)


def test_transport_reproduces_the_published_normal_on_lalonde():
    # Athey et al. (2024, Table 3), experimental data, raw columns: 5,049 by their draws.
    panel, _ = from_frame(datasets.load("lalonde_experimental"))
    rows = np.column_stack([np.asarray(panel[name])[:, 0] for name in panel])
    normal = Gaussian().fit(KEY, panel)
    found = []
    for key in jax.random.split(KEY, 5):
        drawn = normal.sample(key, len(rows))
        found.append(distances.transport(rows, np.hstack([np.asarray(drawn[n]) for n in drawn])))
    assert np.mean(found) == pytest.approx(5_049, abs=3 * np.std(found, ddof=1))


def test_nearest_against_brute_force():
    rng = np.random.default_rng(2)
    rows, train = rng.normal(size=(20, 3)), rng.normal(size=(30, 3))
    cost = np.linalg.norm(rows[:, None] - train[None], axis=-1)
    np.testing.assert_allclose(distances.nearest(rows, train), cost.min(axis=1))
    own = np.linalg.norm(train[:, None] - train[None], axis=-1) + np.diag(np.full(30, np.inf))
    np.testing.assert_allclose(distances.nearest(train, train, itself=True), own.min(axis=1))


def test_copies_are_rows_equal_to_float32():
    train = np.array([[0.1, 25862.3], [-0.0, 2.0]])
    rows = np.array([[np.float32(0.1), np.float32(25862.3)], [0.0, 2.0], [0.1, 2.0]])
    assert distances.duplicates(rows, train).tolist() == [True, True, False]


def test_correlation_gap_with_weights_is_that_of_repeated_rows():
    rng = np.random.default_rng(3)
    rows, target = rng.normal(size=(30, 3)), rng.normal(size=(40, 3))
    counts = rng.integers(1, 5, 30)
    repeated = np.repeat(rows, counts, axis=0)
    got = distances.correlation_gap(rows, target, counts.astype(float))
    want = np.abs(np.corrcoef(repeated.T) - np.corrcoef(target.T)).max()
    assert got == pytest.approx(want, abs=1e-12)


def test_a_constant_column_correlates_with_none():
    rng = np.random.default_rng(3)
    x = rng.normal(size=100)
    target = np.column_stack([x, x])
    collapsed = np.column_stack([x, np.full(100, 0.3)])
    assert distances.correlation_gap(collapsed, target) == pytest.approx(1)


def test_atoms_count_in_percentage_points():
    rows = np.array([[0.0, 1.0], [0.0, 2.0], [5.0, 3.0], [7.0, 4.0]])
    other = np.array([[0.0, 1.0], [1.0, 2.0], [5.0, 3.0], [5.0, 4.0]])
    assert distances.mass_point_gap(rows, other, [(0.0,), ()]) == 25
    assert distances.mass_point_gap(rows, other, [(0.0, 5.0, 7.0), ()]) == 25
    assert distances.mass_point_gap(rows[:1], other, [(0.0,), ()]) == 75


# Classifiers


def test_auc_with_ties_is_scikit_learns_and_its_null_is_centered():
    rng = np.random.default_rng(4)
    labels = rng.random(300) < 0.3
    scores = np.round(rng.normal(size=300) + labels, 1)
    found = _auc(scores, labels, rng, 2_000)
    assert found.value == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    positives = labels.sum()
    sd = np.sqrt(301 / (12 * positives * (300 - positives)))  # Mann-Whitney
    assert found.null.mean() == pytest.approx(0.5, abs=4 * sd / np.sqrt(2_000))
    assert found.null.std() == pytest.approx(sd, rel=0.07)


def test_the_classifier_sees_a_difference_in_shape_only():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(4, 400))
    tied = [np.column_stack([v, np.abs(v)]) for v in x[:2]]
    free = [np.column_stack([v, np.abs(rng.permutation(v))]) for v in x[2:]]
    unlike = Classifier(0).auc_between(tied[0], free[0], tied[1], free[1])
    assert unlike.value > 0.9
    assert unlike.value > unlike.null.max()


def test_auc_within_of_copies_is_below_one_half():
    rng = np.random.default_rng(6)
    rows = rng.normal(size=(200, 3))
    copied = rows[rng.integers(0, 200, 200)]
    fresh = rng.normal(size=(200, 3))
    assert Classifier(1).auc_within(rows, copied).value < 0.40
    assert Classifier(1).auc_within(rows, fresh).value == pytest.approx(0.5, abs=0.12)


# Two-sample tests


def rows_of(seed, n_units=50, scale=1.0):
    paths = np.random.default_rng(seed).normal(size=(n_units, 2, 4)) * scale
    return paths.reshape(n_units, -1)


def compare(real, generated, seed=0, permutations=199, ties=None):
    rng = np.random.default_rng(10_000 + seed)
    sides = [features(rng, rows, (2, 4)) for rows in (real, generated)]
    ties = np.arange(len(generated)) if ties is None else ties
    return two_sample(rng, *sides, ties, permutations)


@pytest.mark.slow
def test_p_values_are_uniform_if_both_sides_have_one_law():
    p_values = [compare(rows_of(s), rows_of(1_000 + s), s, 99).p_value for s in range(30)]
    assert np.mean(p_values) == pytest.approx(0.5, abs=4 * np.sqrt(1 / 12 / 30))
    assert np.mean(np.array(p_values) <= 0.1) < 0.1 + 3 * np.sqrt(0.09 / 30)


def test_the_classifier_sees_dispersion_and_says_on_which_side():
    found = compare(rows_of(0, 150), rows_of(1, 150, scale=0.5))
    assert found.auc > 0.9
    assert found.p_value == 1 / 200
    assert min(found.accuracy_real, found.accuracy_generated) > 0.75


@pytest.mark.slow
def test_ties_share_a_fold_so_that_a_bootstrap_is_not_given_away():
    rng = np.random.default_rng(3)
    apart, together = [], []
    for seed in range(6):
        source = rows_of(50 + seed, 60)
        drawn = source[rng.integers(0, 60, 60)]
        ties = ties_of(drawn)
        assert len(set(ties)) == len(np.unique(drawn, axis=0))
        apart.append(compare(rows_of(seed, 60), drawn, seed, 9).auc)
        together.append(compare(rows_of(seed, 60), drawn, seed, 9, ties=ties).auc)
    assert np.mean(apart) > np.mean(together) + 0.03
    assert np.mean(together) < 0.62


def test_p_values_of_splits_combine_to_twice_their_median():
    assert combined_p_value(np.array([0.2, 0.01, 0.04])) == 0.08
    assert combined_p_value(np.array([0.7, 0.9])) == 1


def test_the_noise_of_an_area_is_that_of_the_mann_whitney_statistic():
    n = 200
    found = compare(rows_of(0, n), rows_of(1, n), permutations=999)
    assert found.auc_noise == pytest.approx(1.96 * np.sqrt((2 * n + 1) / 12) / n, rel=0.15)


def test_forty_permutations_can_reject():
    found = compare(rows_of(0), rows_of(1, scale=9.0), permutations=40)
    assert combined_p_value(np.array([found.p_value] * 2)) < 0.05
