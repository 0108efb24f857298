"""Fidelity for panels: the inference check, the score, the tests, the table and its bad input."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import mcsim
from mcsim import Estimate, FidelityTable, Panel, PanelFidelityTable, infer_schema
from mcsim._fidelity._panels import layout as _layout
from mcsim._fidelity._panels import moments as _moments
from mcsim._fidelity._panels import placebo as _placebo
from mcsim._fidelity._panels import rows as measures
from mcsim._fidelity._panels.comparison import split_halves
from mcsim._fidelity._panels.layout import draw_panels, read_panel_layout, read_real
from mcsim._fidelity._panels.moments import moments, read_grid, read_scale, scores, squared
from mcsim._fidelity._panels.placebo import (
    changes_in_means,
    inference_records,
    log_sd,
    log_sd_weighted,
    placebo_rejections,
)
from mcsim._fidelity._panels.rows import statistic_records, statistics_on
from mcsim._fidelity.candidates import PANEL_REFERENCES
from mcsim._fidelity.distances import combined_p_value, features, ties_of, two_sample
from mcsim._fidelity.estimates import on_real_data
from mcsim._fidelity.verdicts import equivalence, in_two_sample_test, panel_verdict
from mcsim.errors import InputError, TrainingDiverged, WrongCall
from mcsim.estimators import fixed_effects
from mcsim.generators import GaussianCopula

KEY = mcsim.key(4)
SMALL = {"splits": 2, "replications": 6, "draws": 2, "permutations": 40}
QUICK = {"splits": 4, "replications": 80, "permutations": 99, "draws": 40}
SHOCKS = jnp.array([0.0, 1.0, -1.0, 0.5, 2.0, -0.5])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Law:
    """y = unit effect + shocks + noise, x = y + noise, educ fixed; ``within`` scales the noise."""

    within: float = 1.0
    redraw: float = 0.0

    def sample(self, key, n_units, n_periods=None, *, given=None):
        keys = jax.random.split(key, 5)
        unit = jax.random.normal(keys[0], (n_units, 1))
        fresh = 1.5 * jax.random.normal(keys[1], SHOCKS.shape)
        noise = jax.random.normal(keys[2], (2, n_units, len(SHOCKS)))
        shocks = jnp.where(self.redraw > 0, fresh, SHOCKS)
        y = unit + shocks + self.within * noise[0]
        educ = jnp.broadcast_to(jnp.round(12 + 2 * unit), y.shape)
        return Panel({"y": y, "x": 0.5 * y + self.within * noise[1], "educ": educ})


@dataclass(frozen=True)
class Truth:
    """A trainer that knows the law, but for what it gets wrong."""

    within: float = 1.0
    redraw: float = 0.0

    def fit(self, key, panel, *, given=(), schema=None, progress=True):
        return Law(jnp.asarray(self.within), jnp.asarray(self.redraw))


def draw(n_units=120, seed=0):
    return Law().sample(jax.random.key(seed), n_units)


def read(panel):
    return read_panel_layout(panel, infer_schema(panel), None)


@pytest.fixture(scope="module", autouse=True)
def two_references():
    """The other references have tests of their own, and compile for long; a slow test has all.

    They come back in their old order, by which they are given their keys.
    """
    everyone = dict(PANEL_REFERENCES)
    for name in ("smoothed bootstrap", "factor VAR", "mixture"):
        del PANEL_REFERENCES[name]
    yield
    PANEL_REFERENCES.clear()
    PANEL_REFERENCES.update(everyone)


@pytest.fixture(scope="module")
def table(two_references) -> PanelFidelityTable:
    generators = {"truth": Truth(), "tame": Truth(within=0.6), "redrawn": Truth(redraw=1.0)}
    estimators = {"twfe": fixed_effects("y ~ x | unit + time", vcov="CR1")}
    return mcsim.fidelity(draw(), generators, key=KEY, estimators=estimators, **QUICK)


def measure(table, generator, name, outcome=""):
    m = table.measures
    found = m[(m["generator"] == generator) & (m["measure"] == name) & (m["outcome"] == outcome)]
    assert len(found) == 1
    return found.iloc[0]


# Inference check


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


@pytest.mark.parametrize(
    ("interval", "word"),
    [
        ((-0.1, 0.149), "right"),
        ((0.151, 0.3), "wrong"),
        ((-0.9, -0.2), "wrong"),
        ((0.1, 0.2), "not resolvable"),
        ((-0.3, 0.3), "not resolvable"),
    ],
)
def test_equivalence(interval, word):
    assert equivalence(*interval) == word


def test_no_variation_at_all_is_wrong():
    ratios, draws = np.full((3, 1, 1), -np.inf), np.random.default_rng(0).normal(size=(9, 1, 1))
    (record,) = inference_records("flat", ratios, -np.inf + draws, ["y"], [1])
    assert record["verdict"] == "wrong"


@pytest.mark.slow
def test_the_check_sees_shrunk_dispersion_and_passes_the_truth(table):
    frame = table.inference.set_index(["generator", "outcome"])
    for outcome in ("y", "x"):
        tame, truth = frame.loc[("tame", outcome)], frame.loc[("truth", outcome)]
        assert set(tame["verdict"]) == {"wrong"}
        assert tame["value"].to_numpy() == pytest.approx(np.log(0.6), abs=0.2)
        assert "wrong" not in set(truth["verdict"])
        assert "wrong" not in set(frame.loc[("bootstrap", outcome)]["verdict"])
        assert np.abs(frame.loc[("real", outcome)]["value"]).max() < 0.15
    assert list(dict.fromkeys(table.inference["placebo_date"])) == [1, 2, 3, 4, 5]


def test_many_units_resolve_what_few_do_not():
    def verdicts(n_units):
        changes = changes_in_means(np.asarray(draw(n_units)["y"])[..., None])
        weights = np.random.default_rng(0).standard_exponential((200, n_units))
        draws = log_sd(changes) - log_sd_weighted(changes, weights)
        records = inference_records("truth", np.zeros((2, 1, 5)), draws, ["y"], range(5))
        return {record["verdict"] for record in records}

    assert verdicts(1_500) == {"right"}
    assert verdicts(16) == {"not resolvable"}


# Moments and score


def cube_and_rows(seed=0, n_units=30, periods=6, outcomes=2):
    cube = np.random.default_rng(seed).normal(size=(n_units, periods, outcomes)).cumsum(axis=1)
    return cube, cube.transpose(0, 2, 1).reshape(n_units, -1)


def moments_of(cube, rows):
    grid = read_grid(cube, rows)
    found = moments(jnp.asarray(cube), jnp.asarray(rows), jnp.ones(len(cube)), grid)
    return {name: np.asarray(values) for name, values in found.items()}


@pytest.mark.slow
def test_moments_under_weights_are_those_of_repeated_units():
    cube, rows = cube_and_rows()
    weights = np.random.default_rng(1).integers(1, 4, len(cube))
    grid = read_grid(cube, rows)
    got = moments(jnp.asarray(cube), jnp.asarray(rows), jnp.asarray(weights, float), grid)
    again = [jnp.asarray(np.repeat(x, weights, axis=0)) for x in (cube, rows)]
    want = moments(*again, jnp.ones(weights.sum()), grid)
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
    found = moments(jnp.asarray(cube), jnp.asarray(rows), jnp.ones(len(cube)), grid)
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


@pytest.mark.slow
def test_the_score_ranks_the_generators(table):
    frame = table.score[table.score["component"] == "score"].set_index("generator")
    assert frame.loc["real", "value"] == pytest.approx(1, abs=0.25)
    assert frame.loc["truth", "value"] < 1.15
    assert frame.loc["tame", "value"] > 1.5
    assert frame.loc["tame", "ratio_lower"] > 1.15
    best = frame["against"].unique()
    assert len(best) == 1
    row = frame.loc[best[0]]
    assert (row["ratio"], row["ratio_lower"], row["ratio_upper"]) == (1, 1, 1)
    assert measure(table, best[0], "nn_ratio")["value"] >= 0.9


# Two-sample test


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


# Measures


def test_memorization_of_copies_is_zero_and_of_fresh_units_one():
    rng = np.random.default_rng(4)
    train, held, fresh = rng.normal(size=(3, 400, 6))
    assert measures.neighbor_ratio(train[:100], train, held) == 0
    assert measures.neighbor_ratio(fresh, train, held) == pytest.approx(1, abs=0.05)
    assert measures.neighbor_ratio(train, train, held, itself=True) == pytest.approx(1, abs=0.05)
    near = train + 0.01 * fresh
    assert measures.neighbor_ratio(near, train, held) < 0.05


@pytest.mark.slow
def test_the_bootstrap_copies_and_the_truth_does_not(table):
    assert measure(table, "bootstrap", "duplicates")["value"] == 100
    assert measure(table, "bootstrap", "nn_ratio")["value"] == 0
    assert measure(table, "truth", "duplicates")["value"] == 0
    assert measure(table, "truth", "nn_ratio")["value"] == pytest.approx(1, abs=0.12)
    assert measure(table, "real", "nn_ratio")["value"] == pytest.approx(1, abs=0.12)


def test_frozen_share_of_fixed_and_of_redrawn_shocks():
    rng = np.random.default_rng(5)
    shocks, noise = rng.normal(size=8), 0.05 * rng.normal(size=(40, 8, 1))
    fixed = shocks[:, None] + noise
    redrawn = rng.normal(size=(40, 8, 1)) + noise
    assert measures.fixed_shock_share([fixed, fixed])[0] == pytest.approx(1, abs=0.02)
    many = [rng.normal(size=(10, 8, 1)) for _ in range(300)]
    assert measures.fixed_shock_share(many)[0] == pytest.approx(0, abs=0.02)
    assert abs(measures.fixed_shock_share([redrawn])[0]) < 0.06


@pytest.mark.slow
def test_frozen_shares_of_the_table(table):
    assert measure(table, "truth", "fixed_shocks", "y")["value"] > 0.9
    assert measure(table, "bootstrap", "fixed_shocks", "y")["value"] > 0.9
    assert abs(measure(table, "redrawn", "fixed_shocks", "y")["value"]) < 0.15


def test_mean_correlation_and_cd_against_numpy():
    x = np.random.default_rng(6).normal(size=(9, 12)) + np.linspace(0, 3, 12)
    pairs = np.corrcoef(x)[np.triu_indices(9, 1)]
    assert measures.mean_correlation(x[None])[0] == pytest.approx(pairs.mean())
    cd = np.sqrt(2 * 12 / (9 * 8)) * pairs.sum()
    assert measures.cross_dependence(float(pairs.mean()), 9, 12) == pytest.approx(cd)
    still = np.concatenate([x, np.ones((2, 12))])  # units that never move have no correlation
    assert measures.mean_correlation(still[None])[0] == pytest.approx(pairs.mean())


def test_the_atom_gap_counts_percentage_points():
    hours = np.where(np.random.default_rng(7).random((40, 5)) < 0.5, 2080.0, 1000 + np.arange(5.0))
    hours += np.arange(40)[:, None] * (hours != 2080)
    panel = Panel({"hours": hours})
    schema = infer_schema(panel).replace(hours={"kind": "continuous", "mass_points": (2080.0,)})
    layout = read_panel_layout(panel, schema, None)
    units = layout.units(panel)
    share = 100 * np.mean(hours == 2080)
    moved = layout.units({"hours": hours + 1})
    assert measures.mass_point_gap(moved, units, layout) == pytest.approx(share)
    assert measures.mass_point_gap(units, units, layout) == 0


# Placebo laws


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


@pytest.mark.slow
def test_rejections_of_the_table_have_their_errors(table):
    frame = table.rejection.set_index(["generator", "outcome", "inference"])
    assert set(frame.index.get_level_values("inference")) == {"iid", "CR1", "wild"}
    row = frame.loc[("real", "y", "iid")]
    assert row["reps"] == 80
    assert row["mcse"] == pytest.approx(np.sqrt(row["rejection"] * (1 - row["rejection"]) / 80))
    assert (frame["rejection"] < 0.3).all()


# Draws


def test_draws_share_one_program_over_splits():
    before = _layout._draw_compiled._cache_size()
    for within in (0.2, 0.5, 1.0):
        drawn = draw_panels(KEY, Law(jnp.asarray(within), jnp.asarray(0.0)), 3, (11, 6), ("y",))
    assert _layout._draw_compiled._cache_size() == before + 1
    assert drawn["y"].shape == (3, 11, 6)
    assert drawn["y"].dtype == np.float64


@pytest.mark.slow
def test_a_table_compiles_a_bounded_number_of_programs():
    real = draw(40)
    mcsim.fidelity(real, {"truth": Truth()}, key=KEY, **SMALL)
    counted = _moments.mean_moments, _moments.weighted_moments, _placebo._program(40, 6)
    before = [program._cache_size() for program in counted]
    mcsim.fidelity(real, {"other": Truth(0.9)}, key=mcsim.key(9), **SMALL)
    assert [program._cache_size() for program in counted] == before


class OnHost:
    """A generator that leaves JAX."""

    rows = None

    def sample(self, key, n_units, n_periods=None, *, given=None):
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel().tolist())
        return Panel({"y": rng.normal(size=(n_units, 6))})


def test_a_generator_of_host_code_draws_panel_by_panel():
    drawn = draw_panels(KEY, OnHost(), 3, (5, 6), ("y",))["y"]
    assert len(np.unique(drawn)) == drawn.size


# The table


@pytest.mark.slow
def test_rows_and_their_order(table):
    names = ["real", "bootstrap", "copula"]
    for frame in (table.inference, table.rejection, table.score, table.measures):
        assert list(dict.fromkeys(frame["generator"])) == [*names, "truth", "tame", "redrawn"]
    assert table.outcomes == ("y", "x")
    assert table.references == tuple(names)
    assert (table.n_units, table.n_periods, table.splits) == (120, 6, 4)
    assert set(table.samples) == set(table.verdicts) - {"real"}
    assert table.samples["truth"].n_units == 120


@pytest.mark.slow
def test_verdicts_in_words(table):
    words = table.verdicts
    assert words["bootstrap"].startswith("copies its training units (100 % exact duplicates")
    assert "inference wrong: y at 5 placebo dates (sd of placebo effects" in words["tame"]
    assert "too small" in words["tame"]
    assert "a classifier distinguishes its units from real ones" in words["tame"]
    assert "wrong" not in words["truth"]
    assert "copies" not in words["truth"]
    assert "the best reference that does not copy" in words["truth"]
    assert "a classifier distinguishes" not in words["truth"]


@pytest.mark.slow
def test_the_text_fits_a_terminal_with_the_headline_first(table):
    text = str(table)
    assert max(len(line) for line in text.splitlines()) <= 100
    dated = table.inference.assign(placebo_date=pd.Timestamp(1961, 4, 1))
    dated["placebo_date"] += pd.to_timedelta(90 * table.inference["placebo_date"], unit="D")
    dated["generator"] = dated["generator"].replace("bootstrap", "a generator with a long name")
    dated = str(replace(table, inference=dated))
    assert "1962-06" in dated
    assert max(len(line) for line in dated.splitlines()) <= 100
    assert text.index("Inference check") < text.index("Rejections") < text.index("Panel score")
    assert "tame: copies" not in text
    assert "inference wrong: y at 5 placebo dates" in " ".join(text.split())
    markdown = table.to_markdown()
    assert "| generator | 1 | 2 | 3 | 4 | 5 | right | wrong | ? | widest |" in markdown
    assert "- **tame**: " in markdown


@pytest.mark.slow
def test_estimates_lie_inside_the_law_of_the_truth(table):
    frame = table.estimates.set_index("generator")
    real = fixed_effects("y ~ x | unit + time", vcov="CR1")(None, draw())["x", "CR1"]
    assert frame["value"].to_numpy() == pytest.approx(float(real.value))
    assert frame.loc["truth", "p_value"] > 0.01
    assert frame.loc["truth", "draws"] == 40
    assert frame["p_holm"].equals(frame["p_value"])  # one estimate
    assert " ".join(str(table).split()).count("for their number (Holm)") == 1
    # plim of within slope: .5 (1 + s^2) / ... with x = .5 y + e: cov / var = .5 / (.25 + 1)
    assert frame.loc["truth", "mean"] == pytest.approx(0.4, abs=0.02)


@mcsim.host(estimand="gap")
def gap_on_host(frame):
    assert list(frame.index.names) == ["unit", "time"]
    late = frame.index.get_level_values("time") >= 3
    return Estimate(frame.loc[late, "y"].mean() - frame.loc[~late, "y"].mean())


def gap(key, panel):
    return {"gap": Estimate(panel["y"][:, 3:].mean() - panel["y"][:, :3].mean())}


def test_a_host_estimator_of_a_study_has_the_values_of_the_native_one():
    real, names = draw(20), ("y", "x", "educ")
    layout = read(real)
    ran = on_real_data({"host": gap_on_host, "native": gap}, real, KEY, layout.schema)
    drawn = draw_panels(KEY, Law(), 5, (20, 6), names)
    found = measures._estimates(KEY, ran, drawn, layout, 4)
    assert ran[0].values["gap"] == pytest.approx(ran[1].values["gap"], abs=1e-12)
    assert found["host", "gap"].shape == (4,)
    np.testing.assert_allclose(found["host", "gap"], found["native", "gap"], atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("periods", [1, 6])
def test_a_host_estimator_of_a_study_is_a_row_of_the_table(periods):
    @mcsim.host(estimand="mean")
    def mean(frame):
        return Estimate(frame["y"].mean())

    real = draw(60) if periods > 1 else Panel({"y": draw(60)["y"][:, 0]})
    options = SMALL if periods > 1 else {"splits": 2, "n_generated": 6_000, "draws": 5}
    found = mcsim.fidelity(real, {"t": GaussianCopula()}, estimators=mean, **options)
    rows = found.estimates.set_index("generator")
    assert rows["value"].to_numpy() == pytest.approx(float(real["y"].mean()))
    assert np.isfinite(rows["mean"]).all()
    assert (rows["status"] == "ok").all()


@pytest.mark.slow
def test_the_same_key_gives_the_same_table_and_more_generators_change_none():
    real = draw(40)
    one = mcsim.fidelity(real, {"truth": Truth()}, **SMALL)
    two = mcsim.fidelity(real, {"truth": Truth(), "tame": Truth(0.6)}, key=mcsim.key(0), **SMALL)
    for name in ("inference", "rejection", "measures"):
        first, second = getattr(one, name), getattr(two, name)
        second = second[second["generator"] != "tame"].reset_index(drop=True)
        assert first.equals(second)


class Raising:
    """A trainer whose fit raises."""

    def __init__(self, error):
        self.error = error

    def fit(self, key, panel, **_):
        raise self.error


class DrawsNaN:
    """A trainer whose generator draws NaN."""

    def fit(self, key, panel, **_):
        return Diverged()


FAILING = [
    (Raising(InputError("too few periods")), "invalid_input", "too few periods"),
    (Raising(TrainingDiverged("ran away")), "error", "ran away"),
    (Raising(np.linalg.LinAlgError("singular")), "error", "LinAlgError: singular"),
    (DrawsNaN(), "error", "generators: Diverged draws"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("trainer", "status", "sentence"), FAILING)
def test_a_reference_that_fails_is_a_row_with_a_status_and_a_sentence(
    monkeypatch, trainer, status, sentence
):
    monkeypatch.setitem(PANEL_REFERENCES, "copula", trainer)
    found = mcsim.fidelity(draw(40), {"t": Truth()}, **SMALL)
    assert found.verdicts["copula"].startswith(f"no numbers: {sentence}")
    score = found.score[found.score["component"] == "score"].set_index("generator")
    assert score["status"].to_dict() == {"real": "ok", "bootstrap": "ok", "t": "ok",
                                         "copula": status}  # fmt: skip
    assert np.isnan(score.loc["copula", "value"])
    assert np.isfinite(score.loc["t", "value"])
    assert set(found.samples) == {"bootstrap", "t"}
    for text in (str(found), found.to_markdown()):
        assert any("copula" in line and status in line for line in text.splitlines())
        assert "nan" not in text.replace("that are NaN", "")
    assert max(len(line) for line in str(found).splitlines()) <= 100


@pytest.mark.slow
@pytest.mark.parametrize("trainer", [trainer for trainer, *_ in FAILING])
def test_a_trainer_under_test_that_fails_raises(trainer):
    with pytest.raises((InputError, TrainingDiverged, np.linalg.LinAlgError)):
        mcsim.fidelity(draw(40), {"mine": trainer}, **SMALL)


@dataclass(frozen=True)
class Fit:
    """A fitted generator that says what it saw."""

    rows: np.ndarray | None

    def sample(self, key, n_units, n_periods=None, *, given=None):
        return Law().sample(key, n_units)


@pytest.mark.slow
def test_fitted_generators_are_used_as_they_are():
    generators = {"all": Fit(None), "some": [Fit(np.arange(20)), Fit(np.arange(10, 30))]}
    found = mcsim.fidelity(draw(40), generators, **SMALL)
    assert np.isnan(measure(found, "all", "nn_ratio")["value"])
    assert measure(found, "some", "nn_ratio")["splits"] == 2
    assert found.notes[0].startswith("all: its fit used all units")
    assert found.verdicts["all"].startswith("compared with its training units; ")
    assert "fit on" not in found.verdicts["some"]
    frame = found.rejection.set_index(["generator", "outcome", "inference"])
    assert frame.loc[("some", "y", "iid"), "reps"] == 6


@pytest.mark.slow
def test_long_panels_are_described_beside_their_ranges(table):
    panels = np.random.default_rng(10).normal(size=(40, 16, 24))
    own, found = (statistics_on({"y": x}, ["y"]) for x in (panels[:1], panels))
    assert statistics_on({"y": panels[..., :19]}, ["y"]) == {}
    frame = pd.DataFrame(statistic_records("long", own, [found, found]))
    row = frame[frame["statistic"] == "sd"].iloc[0]
    assert row["value"] == pytest.approx(panels[0].std(axis=1, ddof=1).mean())
    assert row["mean"] == pytest.approx(1, abs=0.02)
    assert row["lower"] < row["mean"] < row["upper"]
    assert frame["inside"].mean() > 0.5
    several = [frame.assign(generator=f"generator {name}", outcome="growth") for name in "abc"]
    for statistics in (frame, pd.concat(several)):
        text = str(replace(table, statistics=statistics))
        assert "Statistics of the series" in text
        assert max(len(line) for line in text.splitlines()) <= 100
    assert all(f"generator {name}" in text for name in "abc")


def test_a_verdict_that_resolves_nothing_says_so():
    records = [
        {"outcome": "y", "placebo_date": b, "value": 0.0, "verdict": "not resolvable"}
        for b in (1, 2)
    ]
    score = {"value": 1.2, "against": "mixture", "generator": "vae", "ratio": 1.1}
    score |= {"ratio_lower": 0.9, "ratio_upper": 1.3}
    floor = {"duplicates": 0.0}
    own = {"duplicates": 0.0, "nn_ratio": 0.8, "auc_holdout": 0.6, "auc_holdout_p_value": 0.2}
    words = panel_verdict(records, score, own | {"auc_holdout_noise": 0.15}, floor, [])
    assert words == (
        "stays close to its training units (nearest-neighbor ratio 0.80); inference not resolvable "
        "at any of 2 placebo dates: too few units; panel score 1.20, 1.10 [0.90, 1.30] x the best "
        "reference that does not copy (mixture): not resolvable; classifier not resolvable (AUC "
        "0.60 ± 0.15, p 0.20): too few units"
    )


@pytest.mark.parametrize(
    ("n_held", "auc", "words"),
    [
        (20, 0.50, "classifier not resolvable (AUC 0.50 ± 0.18, p 0.50): too few units"),
        (
            300,
            0.50,
            "a classifier does not distinguish its units from real ones (AUC 0.50, p 0.50)",
        ),
        (300, 0.58, "classifier not resolvable (AUC 0.58 ± 0.05, p 0.50): too few units"),
    ],
)
def test_a_classifier_that_could_not_tell_is_not_resolvable(n_held, auc, words):
    """The sd of the Mann-Whitney statistic under its null: sqrt((2 n + 1) / 12) / n."""
    noise = 1.96 * np.sqrt((2 * n_held + 1) / 12) / n_held
    found = {"auc_holdout": auc, "auc_holdout_noise": noise, "auc_holdout_p_value": 0.5}
    assert in_two_sample_test(found) == words


def test_the_noise_of_an_area_is_that_of_the_mann_whitney_statistic():
    n = 200
    found = compare(rows_of(0, n), rows_of(1, n), permutations=999)
    assert found.auc_noise == pytest.approx(1.96 * np.sqrt((2 * n + 1) / 12) / n, rel=0.15)


def test_outcomes_move_apart_over_time():
    panel = draw(20)
    age = jnp.arange(6.0) + jnp.arange(20.0)[:, None]
    kind = jnp.tile(jnp.arange(3.0), 40).reshape(20, 6)
    panel = panel.with_columns({"age": age, "kind": kind})
    schema = infer_schema(panel, levels={"kind": ("a", "b", "c")})
    layout = read_panel_layout(panel, schema, None)
    assert layout.outcomes == ("y", "x")
    assert layout.time_varying == ("age", "kind")
    assert layout.time_invariant == ("educ",)
    assert layout.units(panel).rows.shape == (20, 6 + 6 + 6 + 18 + 1)
    assert read_panel_layout(panel, schema, "x").outcomes == ("x",)


# Figures


@pytest.mark.slow
def test_the_figure_sets_real_and_generated_side_by_side(table):
    from mcsim import plots

    figure = plots.fidelity(table, generator="tame")
    titles = [axes.get_title() for axes in figure.axes[:5]]
    assert titles[-1] == "paths of tame"
    assert len(figure.axes) == 10
    real = figure.axes[3].lines[-1].get_ydata()
    np.testing.assert_allclose(real, np.asarray(table.real["y"]).mean(axis=0))
    assert len(plots.fidelity(table, outcome="x").axes) == 5
    assert plots.fidelity(table).axes[4].get_title() == "paths of truth"
    assert [axes.get_xlabel() for axes in figure.axes[:5:4]] == [
        "band and dashes: 10 % and 90 %; lines: median", "red: mean of all units",
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"generator: got 'tam'; did you mean 'tame'"):
        plots.fidelity(table, generator="tam")
    with pytest.raises(InputError, match="outcome: got 'educ'"):
        plots.fidelity(table, outcome="educ")
    with pytest.raises(InputError, match="expected the PanelFidelityTable of a panel"):
        plots.fidelity(FidelityTable(pd.DataFrame(), pd.DataFrame()))


def test_zeros_and_ones_are_drawn_as_shares():
    from mcsim.plots import _fidelity

    rng = np.random.default_rng(0)
    binary = Panel({"d": rng.integers(0, 2, (30, 5)), "y": rng.normal(size=(30, 5))})
    table = PanelFidelityTable(*[pd.DataFrame()] * 6, {}, (), 30, 5, 2, binary, {"mine": binary},
                               infer_schema(binary), ("d", "y"), ())  # fmt: skip
    axes = _fidelity.fidelity(table).axes
    np.testing.assert_allclose(axes[0].lines[0].get_ydata(), np.asarray(binary["d"]).mean(axis=0))
    first, second = (axes[3].lines[unit].get_ydata() for unit in (0, 1))
    assert 0 < (second - first).round(6).max() % 1 < 0.1
    assert axes[5].get_xlabel().startswith("band")


# Bad input


@pytest.mark.slow
def test_a_cross_section_goes_to_its_own_table():
    rng = np.random.default_rng(0)
    panel = Panel({"x": rng.normal(size=60), "y": rng.normal(size=60)})
    found = mcsim.fidelity(panel, GaussianCopula(), splits=2, n_generated=6_000)
    assert isinstance(found, FidelityTable)
    assert found.splits == 2
    with pytest.raises(InputError, match="replications: got 3 for a cross-section"):
        mcsim.fidelity(panel, GaussianCopula(), replications=3)
    with pytest.raises(InputError, match=r"outcome: got .* for a cross-section"):
        mcsim.fidelity(panel, GaussianCopula(), outcome=["x", "y"])


@pytest.mark.parametrize(
    ("panel", "message"),
    [
        (draw(7), "got 7 units, expected at least 8"),
        (draw(20).with_columns({"y": jnp.full((20, 6), jnp.nan)}), r"cells in \['y'\]"),
        (Panel({"y": jnp.ones((20, 6))}), "no column moves within units"),
        (Panel({"y": draw(20)["y"]}, jnp.zeros((20, 6), bool)), "got missing cells"),
    ],
)
def test_wrong_panels(panel, message):
    with pytest.raises(InputError, match=message):
        mcsim.fidelity(panel, Truth(), schema=infer_schema(draw(20).select(list(panel))))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"splits": 1}, "splits: got 1, expected a whole number of at least 2"),
        ({"replications": 0, "draws": 0}, "replications: got 0"),
        ({"permutations": 39}, "permutations: got 39, expected a whole number of at least 40"),
        ({"outcome": "educ"}, "outcome: got 'educ', which is nominal or moves alike"),
        ({"outcome": "z"}, "column 'z' is not in real"),
        ({"given": ("educ",)}, r"given: got \['educ'\] for a panel, expected none"),
        ({"n_generated": 10}, "n_generated: got 10 for a panel"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        mcsim.fidelity(draw(20), Truth(), **options)


def test_the_old_name_of_an_option_says_the_new_one():
    with pytest.raises(WrongCall, match="has no option 'folds'; its name is splits"):
        mcsim.fidelity(draw(20), Truth(), folds=3)


@pytest.mark.parametrize("periods", [1, 4])
def test_generators_of_groups_are_refused(periods):
    rng = np.random.default_rng(0)
    code = np.repeat(np.arange(10.0), 6)[:, None] * np.ones(periods)
    panel = mcsim.Panel({"y": rng.normal(size=(60, periods)), "g": code})
    trainer = mcsim.generators.GaussianCopula(cluster="g")
    for candidate in (trainer, trainer.fit(KEY, panel)):
        with pytest.raises(InputError, match="has cluster='g', but fidelity compares units one by"):
            mcsim.fidelity(panel, {"mine": candidate})


@dataclass(frozen=True)
class Short:
    """Draws other columns and periods."""

    names: tuple[str, ...]
    rows: None = None

    def sample(self, key, n_units, n_periods=None, *, given=None):
        return Panel({name: jax.random.normal(key, (n_units, 5)) for name in self.names})


@pytest.mark.parametrize(
    ("generators", "message"),
    [
        ({"copula": Truth()}, "the name 'copula' is taken by a reference row"),
        ({"x": 3}, "got int, expected a trainer"),
        ([], "got an empty list"),
        ([Fit(np.arange(500))], "it was fit on unit 499, real has 40 units"),
        (Short(("y",)), r"draws no columns \['x', 'educ'\]"),
        (Short(("y", "x", "educ")), "draws 5 periods, expected the 6 of real"),
    ],
)
def test_wrong_generators(generators, message):
    with pytest.raises(InputError, match=message):
        mcsim.fidelity(draw(40), generators, **SMALL)


@dataclass(frozen=True)
class Diverged:
    """Draws NaN in one cell of a column; traced or on the host."""

    rows: None = None
    on_host: bool = False

    def sample(self, key, n_units, n_periods=None, *, given=None):
        drawn = OnHost().sample(key, n_units) if self.on_host else Law().sample(key, n_units)
        return drawn.with_columns({"y": drawn["y"].at[0, 1].set(jnp.nan)})


@pytest.mark.slow
@pytest.mark.parametrize("on_host", [False, True])
def test_a_generator_that_draws_nan_is_refused(on_host):
    real, generator = draw(40).select(["y"]), Diverged(on_host=on_host)
    with pytest.raises(InputError, match=r"Diverged draws .* of column 'y'") as caught:
        mcsim.fidelity(real, {"mine": generator}, **SMALL)
    assert caught.value.__notes__ == ["in fidelity: the draws of generator 'mine'"]
    with pytest.raises(InputError, match=r"draws 3 of 90 values of .* NaN or .*; fit it again"):
        draw_panels(KEY, generator, 3, (5, 6), ("y",))


@pytest.mark.slow
def test_a_generator_that_raises_is_named():
    class Raising:
        rows = None

        def sample(self, key, n_units, n_periods=None, *, given=None):
            raise ZeroDivisionError("no mass")

    with pytest.raises(ZeroDivisionError, match="no mass") as caught:
        mcsim.fidelity(draw(40), {"mine": Raising()}, **SMALL)
    assert "in fidelity: the draws of generator 'mine'" in caught.value.__notes__


@pytest.mark.slow
@pytest.mark.parametrize("n_units", [8, 14])
def test_few_units_have_a_table_and_from_14_on_a_classifier(n_units):
    found = mcsim.fidelity(draw(n_units), {"t": Truth()}, **SMALL)
    tested = n_units >= 14
    for name in ("real", "t", "bootstrap"):
        assert np.isfinite(measure(found, name, "auc_holdout")["value"]) == tested
    assert ("classifier" in found.verdicts["t"]) == tested
    assert any("no classifier test where fewer than 7 units" in n for n in found.notes) != tested
    assert "nan" not in str(found)


def test_forty_permutations_can_reject():
    found = compare(rows_of(0), rows_of(1, scale=9.0), permutations=40)
    assert combined_p_value(np.array([found.p_value] * 2)) < 0.05


@pytest.mark.slow
def test_an_estimator_that_cannot_run_is_a_row_with_a_status():
    def broken(key, panel):
        return Estimate(panel["wage"].mean())

    found = mcsim.fidelity(draw(40), Truth(), estimators={"broken": broken}, **SMALL)
    assert set(found.estimates["status"]) == {"invalid_input"}
    assert "invalid_input" in str(found)


@pytest.mark.slow
def test_wage_panel_references(monkeypatch):
    for name in ("SmoothedBootstrap", "FactorVAR", "GaussianMixture"):
        trainer = getattr(mcsim.generators, name)()
        monkeypatch.setitem(PANEL_REFERENCES, name, trainer)
    frame = mcsim.datasets.load("wage_panel")
    columns = ["lwage", "hours"]
    panel, schema = mcsim.from_frame(frame, unit="nr", time="year", columns=columns)
    found = mcsim.fidelity(panel, {"again": mcsim.generators.UnitBootstrap()}, schema=schema)
    ratios = found.inference.set_index(["generator", "outcome"])["value"]
    for outcome in columns:
        assert np.abs(ratios[("bootstrap", outcome)]).max() < 0.05
        assert np.abs(ratios[("real", outcome)]).max() < 0.05
    score = found.score[found.score["component"] == "score"].set_index("generator")["value"]
    assert score["real"] == pytest.approx(1, abs=0.1)
    assert score["bootstrap"] == pytest.approx(1, abs=0.1)
    assert measure(found, "real", "auc_holdout")["value"] == pytest.approx(0.5, abs=0.05)
    assert measure(found, "again", "mass_points")["value"] < 1
