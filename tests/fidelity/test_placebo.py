"""Placebo inference: sds of changes in means, equivalence, and rejections of true nulls."""

import numpy as np
import pytest

from fidelity.panels import KEY, draw
from mcsim._fidelity._panels.placebo import (
    changes_in_means,
    inference_records,
    log_sd,
    log_sd_weighted,
    placebo_rejections,
)


def test_changes_in_means_by_hand():
    cube = np.random.default_rng(0).normal(size=(7, 5, 2))
    changes = changes_in_means(cube)
    assert changes.shape == (7, 2, 4)
    for b in range(1, 5):
        want = cube[:, b:].mean(axis=1) - cube[:, :b].mean(axis=1)
        np.testing.assert_allclose(changes[:, :, b - 1], want)


def test_the_sd_of_changes_is_that_of_placebo_differences_in_differences():
    rng = np.random.default_rng(1)
    y = rng.standard_t(4, size=(60, 8)) + rng.normal(size=(60, 1))
    start, treated = 3, 20
    d = np.zeros((4_000, 60), bool)
    for row in d:
        row[rng.choice(60, treated, replace=False)] = True
    change = y[:, start:].mean(axis=1) - y[:, :start].mean(axis=1)
    effects = (d @ change) / treated - (~d @ change) / 40
    expected = np.exp(log_sd(changes_in_means(y[..., None]))[0, start - 1])
    expected *= np.sqrt(1 / treated + 1 / 40)  # exact under random assignment
    assert effects.std() == pytest.approx(expected, rel=4 / np.sqrt(2 * 4_000))


def test_weights_are_repetitions():
    rng = np.random.default_rng(2)
    cube, weights = rng.normal(size=(9, 4, 2)), rng.integers(1, 4, size=(3, 9))
    found = log_sd_weighted(changes_in_means(cube), weights.astype(float))
    for row, w in zip(found, weights, strict=True):
        np.testing.assert_allclose(row, log_sd(changes_in_means(np.repeat(cube, w, axis=0))))


def test_no_variation_at_all_is_wrong():
    ratios, draws = np.full((3, 1, 1), -np.inf), np.random.default_rng(0).normal(size=(9, 1, 1))
    (record,) = inference_records("flat", ratios, -np.inf + draws, ["y"], [1])
    assert record["verdict"] == "wrong"


def test_many_units_resolve_what_few_do_not():
    def verdicts(n_units):
        changes = changes_in_means(np.asarray(draw(n_units)["y"])[..., None])
        weights = np.random.default_rng(0).standard_exponential((200, n_units))
        draws = log_sd(changes) - log_sd_weighted(changes, weights)
        records = inference_records("truth", np.zeros((2, 1, 5)), draws, ["y"], range(5))
        return {record["verdict"] for record in records}

    assert verdicts(1_500) == {"right"}
    assert verdicts(16) == {"not resolvable"}


def test_rejection_rates_on_independent_errors_are_nominal():
    y = np.random.default_rng(8).normal(size=(20, 30, 6))
    rejected = placebo_rejections(KEY, y, 800)
    assert rejected.shape == (800, 3)
    error = np.sqrt(0.05 * 0.95 / 800)
    assert rejected[:, 0].mean() == pytest.approx(0.05, abs=4 * error)
    assert rejected[:, 2].mean() == pytest.approx(0.05, abs=4 * error + 0.01)


def test_slow_units_break_iid_errors_and_not_clustered_ones():
    y = np.random.default_rng(9).normal(size=(40, 30, 12)).cumsum(axis=2)
    iid, clustered, wild = placebo_rejections(KEY, y, 400).mean(axis=0)
    assert iid > 0.25
    assert clustered < 0.1
    assert wild < 0.1
