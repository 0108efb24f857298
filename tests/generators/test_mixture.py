"""Heads of networks: mixtures with mass points, levels, combinations that were never seen, odds."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from mcsim.generators._cross_sections.architecture import allowed_levels, group_columns
from mcsim.generators._cross_sections.levels import Levels
from mcsim.generators._cross_sections.mixture import Mixture
from mcsim.generators._cross_sections.training import _lift, odds_of

TOP = 25862.32


def draw(head, table, outputs, arm, allowed, uniforms, coupled):
    """Draw values by one program."""
    return np.asarray(
        jax.jit(head.draw, static_argnums=5)(table, outputs, arm, allowed, uniforms, coupled)
    )


def test_empty_combinations_by_brute_force():
    """A full row is reachable exactly if every watched set of its values was seen."""
    rng = np.random.default_rng(1)
    sizes = [2, 3, 4, 5]
    codes = np.stack([rng.integers(0, size, 25) for size in sizes], axis=1)
    (group,) = group_columns(sizes)
    tables = allowed_levels(group, codes)

    def possible(row):
        prefix = 0
        for column, size in enumerate(sizes):
            if not tables[column][prefix, row[column]]:
                return False
            prefix = prefix * size + row[column]
        return True

    def seen(row):
        for count in range(1, 5):
            for chosen in itertools.combinations(range(4), count):
                if np.prod([sizes[c] for c in chosen]) > 64:
                    continue
                match = (codes[:, chosen] == np.asarray(row)[list(chosen)]).all(axis=1)
                if not match.any():
                    return False
        return True

    rows = list(itertools.product(*map(range, sizes)))
    assert [possible(row) for row in rows] == [seen(row) for row in rows]
    assert any(seen(row) for row in rows)
    assert not all(seen(row) for row in rows)


@pytest.fixture(scope="module")
def earnings():
    rng = np.random.default_rng(0)
    values = np.exp(rng.normal(9, 0.7, 4_000))
    values = np.where(rng.uniform(size=4_000) < 0.2, 0.0, values)
    values = np.where(rng.uniform(size=4_000) < 0.1, 9_000.0, np.minimum(values, TOP))
    head = Mixture("wage", (0.0, 9_000.0, TOP), 3, 25, False, 0.0, TOP)
    arms = np.zeros(4_000, np.int64)
    return head, head.table(values, arms, 1, values), values


@pytest.mark.slow
def test_coupled_draws_follow_the_law_of_uncoupled_ones(earnings):
    head, table, _ = earnings
    n = 200_000
    uniforms = jax.random.uniform(jax.random.key(0), (n, 2), jnp.float32, 1e-7, 1 - 1e-7)
    outputs = jnp.tile(jax.random.normal(jax.random.key(1), (1, head.n_outputs)), (n, 1))
    arm = jnp.zeros(n, jnp.int32)
    outputs = outputs.astype(jnp.float32)
    coupled, free = (
        draw(head, table, outputs, arm, None, uniforms, flag) for flag in (True, False)
    )
    for point in head.mass_points:
        share = (free == point).mean()
        assert (coupled == point).mean() == pytest.approx(share, abs=4 * (2 * share / n) ** 0.5)
    levels = np.linspace(0.02, 0.98, 25)
    for q in levels:
        assert (coupled <= np.quantile(free, q)).mean() == pytest.approx(
            (free <= np.quantile(free, q)).mean(), abs=5 * (0.5 / n) ** 0.5
        )
    assert (np.diff(coupled[np.argsort(np.asarray(uniforms[:, 0]), kind="stable")]) >= 0).all()


def test_categories_that_an_arm_never_showed_share_half_a_row_as_mass_points_do():
    """By hand: 9 and 90 rows; an arm with all categories keeps its shares."""
    shares = np.array([[2 / 3, 1 / 3, 0.0, 0.0], [0.4, 0.3, 0.2, 0.1]])
    lifted = _lift(shares, [np.arange(9), np.arange(90)])
    assert lifted is not None
    by_hand = [6 / 9.5, 3 / 9.5, 0.25 / 9.5, 0.25 / 9.5]
    np.testing.assert_allclose(lifted, [by_hand, shares[1]], rtol=1e-6)


def test_a_heavy_mass_point_is_not_overwritten_by_the_next_ones():
    """The shares are those of the rows, by counting; more noise is a larger value.

    The interval of the uniforms that is the share of zeros reaches beyond the share of smaller
    values that are no mass points and the next mass point.
    """
    rng = np.random.default_rng(0)
    values = np.repeat([0.0, 1_000.0, 2_000.0], [1_200, 300, 300])
    values = np.append(values, rng.uniform(0, 10_000, 1_200))
    head = Mixture("y", (0.0, 1_000.0, 2_000.0), 3, 25, False, 0.0, np.inf)
    table = head.table(values, np.zeros(3_000, np.int64), 1, values)
    n = 10_000
    uniforms = np.float32((np.arange(n) + 0.5) / n)[:, None].repeat(2, 1)
    outputs, arm = np.zeros((n, head.n_outputs), np.float32), np.zeros(n, np.int32)
    drawn = draw(head, table, outputs, arm, None, uniforms, True)
    shares = [(drawn == point).mean() for point in head.mass_points]
    assert shares == pytest.approx([0.4, 0.1, 0.1], abs=2 / n)
    assert (np.diff(drawn) >= 0).all()


def test_scores_and_values_are_inverse(earnings):
    head, table, values = earnings
    loose = np.sort(values[~np.isin(values, head.mass_points)])[50:-50]
    score = jax.jit(head._score)(table, loose.astype(np.float32))
    np.testing.assert_allclose(jax.jit(head.value)(table, score), loose, rtol=1e-4)
    share = norm.cdf(np.asarray(score, np.float64))
    np.testing.assert_allclose(share, (np.arange(len(loose)) + 50) / (len(loose) + 100), atol=0.02)


def test_levels_draw_by_inverting_the_cumulative_law():
    head = Levels("school", (8.0, 9.0, 12.0), True)
    table = head.table(np.array([8.0, 9.0, 9.0, 12.0]), np.zeros(4, np.int64), 1)
    uniforms = np.linspace(0.0005, 0.9995, 1_000, dtype=np.float32)[:, None].repeat(2, 1)
    outputs, arm = np.zeros((1_000, 3), np.float32), np.zeros(1_000, np.int32)
    drawn = draw(head, table, outputs, arm, np.ones((1, 3), bool), uniforms, True)
    assert (np.diff(drawn) >= 0).all()
    assert [(drawn == level).mean() for level in head.values] == pytest.approx([0.25, 0.5, 0.25])
    masked = np.array([[True, False, True]])
    drawn = draw(head, table, outputs, arm, masked, uniforms, True)
    assert [(drawn == level).mean() for level in head.values] == pytest.approx([0.5, 0.0, 0.5])


def test_odds_turn_one_group_into_the_other():
    rng = np.random.default_rng(0)
    rows, target = rng.normal(0, 1, (20_000, 2)), rng.normal(0.8, 1, (20_000, 2))
    weights = odds_of(rows, target)
    np.testing.assert_allclose(np.average(rows, axis=0, weights=weights), 0.8, atol=0.05)
    expected = np.exp(0.8 * rows.sum(axis=1) - 0.64)  # the ratio of the two normal densities
    assert np.corrcoef(np.log(weights), np.log(expected))[0, 1] > 0.999
