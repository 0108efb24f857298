"""Assignments of treatment: sizes, starts, clusters, probabilities."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drawn_panels import assert_mean, assign
from mcsim import Design, Panel
from mcsim.dgps import at_random, by_cohort, by_path, by_probability, in_random_periods, with_effect


@pytest.mark.parametrize("size", [{"n_treated": 25}, {"share": 0.5}])
def test_at_random_treats_exactly_so_many_from_one_period_on(size):
    d = assign(at_random(**size, start=(6, 16)), reps=4000)
    assert set(d[:, :, -1].sum(1)) == {25}
    assert (np.diff(d, axis=2) >= 0).all()
    starts = 21 - d.max(1).sum(1)
    assert set(starts) == set(range(6, 17))
    assert_mean(np.eye(17)[starts.astype(int)][:, 6:], 1 / 11)
    assert_mean(d[:, :, -1], 0.5)
    assert_mean(d[:, 3, -1] * d[:, 4, -1], 25 * 24 / (50 * 49))


@pytest.mark.parametrize(("start", "first"), [(-10, 11), (20, 20), (0, 0)])
def test_a_single_start_counts_from_either_end(start, first):
    d = assign(at_random(n_treated=3, start=start), reps=3)
    assert set(d[:, :, first:].sum(1).ravel()) == {3}
    assert not d[:, :, :first].any()


def test_random_years_are_the_same_for_all_treated():
    d = assign(in_random_periods(n_treated=20, n_treated_periods=10), reps=2000)
    assert set(d.sum((1, 2))) == {200}
    assert set(d.max(2).sum(1)) == {20}
    assert set(d.max(1).sum(1)) == {10}
    assert_mean(d.max(1), 10 / 21)


def test_cohorts_have_their_sizes_and_starts():
    d = assign(by_cohort({3: 10, 12: 0.3, -1: 1}), reps=200)
    starts = np.where(d.any(2), d.argmax(2), 99)
    counts = [(starts == start).sum(1) for start in (3, 12, 20, 99)]
    np.testing.assert_array_equal(np.stack(counts), np.array([[10, 15, 1, 24]] * 200).T)
    assert_mean(starts == 3, 0.2)
    fixed = assign(by_cohort({3: 10, 12: 0.3}, shuffle=False), reps=2)
    assert np.argmax(fixed[1], axis=1).tolist() == [3] * 10 + [12] * 15 + [0] * 25


STATE = np.repeat(np.arange(10.0) * 7, 5)[:, None] * np.ones(21)


@pytest.mark.parametrize(
    "assignment",
    [
        at_random(n_treated=4, start=5, cluster="state"),
        at_random(share=0.4, start=5, cluster="state"),
        in_random_periods(n_treated=4, cluster="state"),
        by_cohort({5: 3, 9: 0.1}, cluster="state"),
    ],
)
def test_groups_above_the_unit_are_treated_together(assignment):
    mask = np.ones((50, 21), bool)
    mask[::2, 0] = False
    panel = Panel({"y": np.zeros((50, 21)), "state": STATE * mask}, jnp.asarray(mask))
    d = assign(assignment, panel, reps=300)
    by_state = d.reshape(300, 10, 5, 21)
    np.testing.assert_array_equal(by_state, by_state[:, :, :1] * np.ones(5)[:, None])
    assert set(by_state[:, :, 0].max(2).sum(1)) == {4}
    assert_mean(by_state[:, :, 0].max(2), 0.4)


def test_probabilities_at_least_one_and_at_most_so_many():
    p = np.linspace(0.0, 0.12, 50)
    chance = assign(by_probability(p, max_treated=10), reps=20_000)
    d = chance[:, :, -1]
    assert not chance[:, :, :11].any()
    rng = np.random.default_rng(0)
    came_up = rng.uniform(size=(20_000, 50)) < p
    count = came_up.sum(1)
    for size in range(1, 11):  # at 10: all that came up with more, and those drawn for none
        here = count == size if size < 10 else (count >= 10) | (count == 0)
        assert np.mean(d.sum(1) == size) == pytest.approx(here.mean(), abs=0.016)
    assert d.sum(1).min() >= 1
    assert d.sum(1).max() == 10
    few = d[d.sum(1) < 10]
    assert not few[:, 0].any()  # the first unit has probability zero
    assert d[d.sum(1) == 10][:, 0].mean() > 0.05  # unless none came up


def test_probabilities_can_be_a_column():
    p = np.where(np.arange(50) < 5, 1.0, 0.0)[:, None] * np.ones(21)
    panel = Panel({"y": np.zeros((50, 21)), "p": p})
    d = assign(by_probability("p", start=20), panel, reps=5)
    np.testing.assert_array_equal(d[:, :, 20], np.array([p[:, 0]] * 5))


@pytest.mark.parametrize("share", [0.0, 1.0, 2.0, -0.5, 50.0])
@pytest.mark.parametrize(
    "assignment",
    [
        at_random(share=0.5, start=2),
        at_random(share=0.5, start=2, staggered=True),
        in_random_periods(share=0.5, n_treated_periods=1),
        by_path(column="y", start=2),
    ],
    ids=lambda a: type(a).__name__,
)
def test_shares_of_a_design_that_are_none_give_no_sample(assignment, share):
    panel = Panel({"y": np.random.default_rng(0).normal(size=(12, 4))})
    dgp = with_effect(panel, outcome="y", assignment=assignment, effect=1.0)
    draw = jax.jit(lambda design: dgp(jax.random.key(0), design).panel["d"])
    assert np.isnan(draw(Design({"share": share}))[:, -1]).all()
    assert set(np.unique(draw(Design({"share": 0.5})))) == {0, 1}


def test_probabilities_of_a_design_that_are_none_give_no_sample():
    panel = Panel({"y": np.random.default_rng(0).normal(size=(12, 4))})
    assignment = by_probability(0.5, max_treated=5, start=2)
    dgp = with_effect(panel, outcome="y", assignment=assignment, effect=1.0)
    draw = jax.jit(lambda design: dgp(jax.random.key(0), design).panel["d"])
    assert np.isnan(draw(Design({"p": 2.0}))[:, -1]).all()
    assert np.isfinite(draw(Design({"p": 1.0}))).all()


def test_staggered_starts_are_drawn_for_each_unit_and_each_cluster():
    clusters = jnp.repeat(jnp.arange(40.0), 3)[:, None] * jnp.ones((1, 12))
    panel = Panel({"y": jnp.zeros((120, 12)), "state": clusters})
    assignment = at_random(share=0.5, start=(3, 8), staggered=True)
    treated = np.asarray(jax.jit(lambda key: assignment(key, panel))(jax.random.key(0)))
    starts = np.argmax(treated, axis=1)[treated.any(axis=1)]
    assert (np.diff(treated, axis=1) >= 0).all()
    assert len(starts) == 60
    assert set(starts) == set(range(3, 9))
    whole = replace(assignment, cluster="state")
    by_state = np.asarray(jax.jit(lambda key: whole(key, panel))(jax.random.key(0)))
    assert (by_state.reshape(40, 3, 12) == by_state.reshape(40, 3, 12)[:, :1]).all()
    chosen = by_state[::3][by_state[::3].any(axis=1)]
    assert len(chosen) == 20
    assert len(set(np.argmax(chosen, axis=1))) > 3
