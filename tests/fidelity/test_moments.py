"""Moments of panels, their weighted versions, and the score made of them."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcsim
from fidelity.panels import KEY, QUICK, draw, read
from mcsim import Panel, infer_schema
from mcsim._fidelity._panels import moments as _moments
from mcsim._fidelity._panels.layout import read_real
from mcsim._fidelity._panels.moments import read_grid, read_scale, scores, squared
from mcsim._fidelity._panels.protocol import split_halves
from mcsim.estimators import fixed_effects

pytestmark = pytest.mark.usefixtures("two_references")
moments = jax.jit(_moments.moments)


def cube_and_rows(seed=0, n_units=30, periods=6, outcomes=2):
    cube = np.random.default_rng(seed).normal(size=(n_units, periods, outcomes)).cumsum(axis=1)
    return cube, cube.transpose(0, 2, 1).reshape(n_units, -1)


def moments_of(cube, rows):
    grid = read_grid(cube, rows)
    found = moments(cube, rows, np.ones(len(cube)), grid)
    return {name: np.asarray(values) for name, values in found.items()}


@pytest.mark.slow
def test_moments_under_weights_are_those_of_repeated_units():
    cube, rows = cube_and_rows()
    weights = np.random.default_rng(1).integers(1, 4, len(cube))
    grid = read_grid(cube, rows)
    got = moments(cube, rows, weights.astype(float), grid)
    again = [np.repeat(x, weights, axis=0) for x in (cube, rows)]
    want = moments(*again, np.ones(weights.sum()), grid)
    assert set(got) == set(want) == {
        "marginals", "sliced", "acf", "acf_within", "ccf", "shares", "factor", "ar1",
        "slopes_within", "slopes_between",
    }  # fmt: skip
    for name in want:
        np.testing.assert_allclose(got[name], want[name], atol=1e-12)


def test_moments_against_numpy():
    cube, rows = cube_and_rows()
    found = moments_of(cube, rows)
    d = cube - cube.mean(axis=0)
    within = d - d.mean(axis=1, keepdims=True)
    acf = [(within[:, 2:] * within[:, :-2]).mean(axis=(0, 1)) / (within**2).mean(axis=(0, 1))]
    np.testing.assert_allclose(found["acf_within"].reshape(-1, 2)[1], acf[0])
    singular = np.linalg.svd(within[..., 0], compute_uv=False) ** 2
    assert found["factor"][0] == pytest.approx(singular[0] / singular.sum())
    x = cube[..., 0]
    parts = np.array([x.mean(1).var(), x.mean(0).var(), within[..., 0].var()])
    assert found["shares"].reshape(3, 2)[:, 0] == pytest.approx(parts / parts.sum())
    lagged = (d[:, 1:, 0] * d[:, :-1, 1]).mean() / np.sqrt((d**2).mean(axis=(0, 1)).prod())
    assert found["ccf"][3] == pytest.approx(lagged)  # lags -2, -1, 0, 1, 2 of the one pair


def test_slopes_and_autoregression_are_the_estimators():
    cube, rows = cube_and_rows()
    panel = Panel({"y": cube[..., 0], "x": cube[..., 1]})
    found = moments_of(cube, rows)
    slope = fixed_effects("y ~ x | unit + time", vcov="iid")(None, panel)["x", "iid"]
    assert found["slopes_within"][0] == pytest.approx(float(slope.value))
    lag = fixed_effects("y ~ lag(y) | unit + time", vcov="iid")(None, panel)["lag(y)", "iid"]
    assert found["ar1"][0] == pytest.approx(float(lag.value))


def test_unit_means_vary_with_what_never_changes():
    cube, rows = cube_and_rows()
    fixed = np.random.default_rng(2).normal(size=(len(cube), 2)), np.zeros((len(cube), 1))
    rows = np.concatenate([rows, *fixed], axis=1)  # the last level, no unit has
    grid = read_grid(cube, rows, 3)
    found = moments(cube, rows, np.ones(len(cube)), grid)
    means = cube[..., 1].mean(axis=1)
    want = [np.cov(column, means, ddof=0)[0, 1] for column in fixed[0].T] + [0.0]
    np.testing.assert_allclose(found["slopes_between"][2:].reshape(2, 3)[1], want, atol=1e-12)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ByLevel:
    """Outcomes differ by the level of a column, or by a hidden one."""

    hidden: float = 0.0

    def sample(self, key, n_units, n_periods=None, *, given=None):
        keys = jax.random.split(key, 4)
        level, other = jax.random.randint(keys[0], (2, n_units, 1), 0, 3)
        means = jnp.array([0.0, 1.5, 0.0])[jnp.where(self.hidden > 0, other, level)]
        y = (
            means
            + jax.random.normal(keys[1], (n_units, 1))
            + jax.random.normal(keys[2], (n_units, 4))
        )
        return Panel({"y": y, "level": jnp.broadcast_to(level, y.shape).astype(float)})


@dataclass(frozen=True)
class LevelTruth:
    """A trainer that knows the law, but for what it hides."""

    hidden: float = 0.0

    def fit(self, key, panel, *, given=(), schema=None, progress=True):
        return ByLevel(jnp.asarray(self.hidden))


@pytest.mark.slow
def test_rare_levels_do_not_blow_up_the_score():
    panel = ByLevel().sample(KEY, 200)
    level = np.array(panel["level"])
    level[:6] = np.arange(3, 9)[:, None]  # six levels of one unit each
    schema = infer_schema(panel, levels={"level": tuple("abcdefghi")})
    table = mcsim.fidelity(panel.with_columns({"level": level}), LevelTruth(), key=KEY,
                           schema=schema, **QUICK)  # fmt: skip
    parts = table.score.set_index(["generator", "component"])["value"]
    assert parts["real", "slopes_between"] < 1.4


@pytest.mark.slow
def test_outcomes_that_do_not_differ_by_level_are_told():
    panel = ByLevel().sample(KEY, 200)
    schema = infer_schema(panel, levels={"level": ("a", "b", "c")})
    generators = {"truth": LevelTruth(), "flat": LevelTruth(hidden=1.0)}
    table = mcsim.fidelity(panel, generators, key=KEY, schema=schema, **QUICK)
    parts = table.score.set_index(["generator", "component"])["value"]
    assert parts["truth", "slopes_between"] < 1.3
    assert parts["flat", "slopes_between"] > 2
    assert parts["flat", "score"] > 1.15 * parts["truth", "score"]


def test_two_periods_have_fewer_moments():
    cube, rows = cube_and_rows(periods=2, outcomes=1)
    assert set(moments_of(cube, rows)) == {"marginals", "sliced", "acf", "shares", "factor"}


def squares_of_halves(panel, seed):
    layout = read(panel)
    real = read_real(jax.random.key(seed), panel, layout)
    ((train, held),) = split_halves(jax.random.key(seed), panel.n_units, 1)
    sides = [real.half(units) for units in (train, held)]
    vectors = [side.vectors for side in sides]
    scale = read_scale(real.component_sizes, vectors, panel.n_units / 2)
    sizes = len(train), len(held)
    return scale, squared(sides[0].vectors, sides[1].vectors, scale, sizes)


@pytest.mark.slow
def test_real_against_real_scores_one():
    found = [squares_of_halves(draw(60, seed), seed) for seed in range(40)]
    by_component = {
        name: np.array([squares.value[place] for _, squares in found])
        for place, name in enumerate(found[0][0].components)
    }
    assert len(by_component) == 10
    # without a factor the leading singular values lie close: a bootstrap mixes them, and moves more
    assert by_component.pop("factor").mean() < 0.8
    for squares in by_component.values():
        error = squares.std(ddof=1) / np.sqrt(40)
        assert squares.mean() == pytest.approx(1, abs=4 * error)
    assert np.mean(list(by_component.values())) == pytest.approx(1, abs=0.2)


def test_bootstraps_of_squares_are_centered_on_the_squares():
    _, squares = squares_of_halves(draw(60), 0)
    assert (squares.draws >= 0).all()
    centered = squares.value > 0.5  # cut at zero less often
    assert centered.sum() > 3
    np.testing.assert_allclose(
        squares.draws.mean(axis=0)[centered], squares.value[centered], atol=0.3
    )
    found = scores([squares, squares])
    assert found.value[0] == pytest.approx(np.sqrt(squares.value.mean()))
