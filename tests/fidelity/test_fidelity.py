"""The fidelity table: its distances and tests, its references, its verdicts, its bad input."""

import itertools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests

import mcsim
from mcsim import Estimate, Panel, Status, datasets, from_frame, infer_schema
from mcsim._fidelity import distances
from mcsim._fidelity._cross_sections.comparison import estimates_under
from mcsim._fidelity._cross_sections.layout import (
    draw_pool,
    generated_split,
    read_layout,
    real_split,
    rows_needed,
    stratified_parts,
)
from mcsim._fidelity._cross_sections.measures import fit_propensity
from mcsim._fidelity.candidates import Fit, Gaussian
from mcsim._fidelity.distances import Classifier, _auc
from mcsim._fidelity.estimates import (
    draws_for,
    holm,
    monte_carlo_p_value,
    on_real_data,
    outside,
    with_holm,
)
from mcsim._fidelity.fidelity import fidelity
from mcsim._fidelity.tables import FidelityTable
from mcsim._fidelity.verdicts import BARS, judged, verdict
from mcsim.errors import InputError, WrongCall
from mcsim.generators import UnitBootstrap

KEY = jax.random.key(20)
QUICK = {"n_generated": 6_000, "permutations": 200}


@dataclass(frozen=True)
class Normal:
    """The distribution of the data: y = x + treat + e; ``shift`` moves y away from the truth."""

    shift: float = 0.0
    given: tuple[str, ...] = ("treat",)

    def sample(self, key, n_units, *, given=None):
        x, noise = jax.random.normal(key, (2, n_units))
        treat = jnp.asarray(given["treat"]).reshape(n_units)
        return Panel({"treat": treat, "x": x, "y": x + treat + self.shift + noise})


@dataclass(frozen=True)
class Truth:
    """A trainer that knows the distribution."""

    shift: float = 0.0

    def fit(self, key, panel, *, given=(), schema=None, progress=True):
        return Normal(self.shift)


@dataclass(frozen=True)
class Memorizer:
    """Draws training rows and moves them by a hair: no exact copies, but nothing new."""

    given: tuple[str, ...] = ("treat",)

    def fit(self, key, panel, *, given=(), schema=None, progress=True):
        rows = UnitBootstrap().fit(key, panel, given=given, progress=False)

        @dataclass(frozen=True)
        class Fitted:
            def sample(self, key, n_units, *, given=None):
                drawn = rows.sample(key, n_units, given=given)
                move = 0.01 * jax.random.normal(key, (n_units, 1))
                return drawn.with_columns({"x": drawn["x"] + move, "y": drawn["y"] + move})

        return Fitted()


@dataclass(frozen=True)
class Fitted:
    """A fitted generator with rows, as `fit_many` returns them."""

    rows: np.ndarray | None
    law: Normal = Normal()
    schema: object = None
    given: tuple[str, ...] = ("treat",)

    def sample(self, key, n_units, *, given=None):
        return self.law.sample(key, n_units, given=given)


def draw(n_units=400, seed=0):
    treat = jnp.arange(n_units) % 4 == 0
    return Normal().sample(jax.random.key(seed), n_units, given={"treat": treat.astype(float)})


def difference(key, panel):
    treat, y = panel["treat"][:, 0], panel["y"][:, 0]
    value = (treat * y).sum() / treat.sum() - ((1 - treat) * y).sum() / (1 - treat).sum()
    return {("att", "a"): Estimate(value), ("att", "b"): Estimate(value, 1.0)}


def cell(table, generator, measure, arm="all"):
    m = table.measures
    found = m[(m["generator"] == generator) & (m["measure"] == measure) & (m["arm"] == arm)]
    assert len(found) == 1
    return found.iloc[0]


@pytest.fixture(scope="module")
def table() -> FidelityTable:
    generators = {"truth": Truth(), "shifted": Truth(shift=1.0), "parrot": Memorizer()}
    return fidelity(
        draw(),
        generators,
        key=KEY,
        given=("treat",),
        outcome="y",
        splits=3,
        estimators={"difference": difference},
        **QUICK,
    )


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


# Classifier


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


# References


def test_the_bootstrap_draws_rows_of_the_given_arm():
    panel = draw(40)
    bootstrap = UnitBootstrap().fit(KEY, panel, given=("treat",))
    treat = jnp.repeat(jnp.array([1.0, 0.0]), 500)
    drawn = jax.jit(lambda k: bootstrap.sample(k, 1_000, given={"treat": treat}))(KEY)
    np.testing.assert_array_equal(drawn["treat"][:, 0], treat)
    known = {tuple(row) for row in np.hstack([np.asarray(panel[n]) for n in panel])}
    found = [tuple(row) for row in np.hstack([np.asarray(drawn[n]) for n in panel])]
    assert set(found) == known  # 1,000 draws of 40 rows find each


def test_the_bootstrap_draws_rows_uniformly():
    bootstrap = UnitBootstrap().fit(KEY, Panel({"y": np.arange(8.0)}))
    counts = np.bincount(np.asarray(bootstrap.sample(KEY, 80_000)["y"]).astype(int).ravel())
    assert np.abs(counts - 10_000).max() < 4 * np.sqrt(80_000 * 1 / 8 * 7 / 8)


def test_the_normal_has_the_moments_of_each_arm():
    panel = draw(400)
    normal = Gaussian().fit(KEY, panel, given=("treat",))
    drawn = normal.sample(KEY, 200_000, given={"treat": jnp.ones(200_000)})
    rows = panel.take(np.asarray(panel["treat"][:, 0]) == 1)
    x, y = (np.asarray(rows[n])[:, 0] for n in ("x", "y"))
    gx, gy = (np.asarray(drawn[n])[:, 0] for n in ("x", "y"))
    assert gy.mean() == pytest.approx(y.mean(), abs=4 * y.std() / np.sqrt(200_000))
    assert np.cov(gx, gy) == pytest.approx(np.cov(x, y), abs=0.03)
    assert set(np.unique(drawn["treat"])) == {1.0}


def test_the_normal_gives_nan_for_an_unknown_arm_and_names_missing_columns():
    fitted = Gaussian().fit(KEY, draw(40), given=("treat",))
    drawn = fitted.sample(KEY, 2, given={"treat": jnp.array([2.0, 1.0])})
    assert np.isnan(drawn["y"][:, 0]).tolist() == [True, False]
    with pytest.raises(InputError, match=r"given: got no values of \['treat'\]"):
        fitted.sample(KEY, 2)


def test_the_normal_takes_constant_and_collinear_columns():
    panel = Panel({"a": [1.0, 2.0, 4.0], "b": [2.0, 4.0, 8.0], "c": [5.0, 5.0, 5.0]})
    drawn = Gaussian().fit(KEY, panel).sample(KEY, 100)
    np.testing.assert_allclose(drawn["b"], 2 * drawn["a"], atol=1e-6)
    np.testing.assert_allclose(drawn["c"], 5.0)


# The sampling distributions of the estimates


def test_p_value_counts_the_tails_and_is_never_zero():
    law = np.arange(1.0, 100.0)
    assert monte_carlo_p_value(1e9, law) == pytest.approx(0.02)
    assert monte_carlo_p_value(-1e9, law) == pytest.approx(0.02)
    assert monte_carlo_p_value(50.0, law) == 1.0
    assert np.isnan(monte_carlo_p_value(np.nan, law))


def test_holm_is_that_of_statsmodels():
    p_values = np.random.default_rng(0).uniform(size=12) ** 3
    expected = multipletests(p_values, method="holm")[1]
    np.testing.assert_allclose(holm(p_values), expected, rtol=1e-12)
    gaps = np.insert(p_values, [0, 5], np.nan)
    np.testing.assert_allclose(holm(gaps), np.insert(expected, [0, 5], np.nan), rtol=1e-12)


def accusation_rates(correlation, shift=0.0, estimates=12, reps=1_500):
    """How often any of a generator's estimates is accused: one by one, and by the verdict.

    The real estimates have the law of the drawn ones, but for a shift of the first, in sds.
    """
    rng, draws = np.random.default_rng(0), draws_for(estimates)
    common = np.sqrt(correlation) * rng.normal(size=(reps, draws + 1, 1))
    found = common + np.sqrt(1 - correlation) * rng.normal(size=(reps, draws + 1, estimates))
    found[:, 0, 0] += shift
    single, together = [], []
    for real, law in zip(found[:, 0], found[:, 1:], strict=True):
        p_values = [monte_carlo_p_value(v, x) for v, x in zip(real, law.T, strict=True)]
        head = {"estimator": "e", "estimand": "", "draws": draws}
        single.append(min(p_values) < 0.05)
        together.append(bool(outside(with_holm([head | {"p_value": p} for p in p_values]))))
    return np.mean(single), np.mean(together)


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_a_perfect_generator_is_accused_in_five_percent_whatever_the_menu(correlation):
    """Twelve tests of 5 % accuse in 1 - .95^12 = 46 % of cases if they are independent."""
    single, together = accusation_rates(correlation)
    assert together < 0.05 + 3 * (0.05 * 0.95 / 1_500) ** 0.5
    if not correlation:
        assert single == pytest.approx(1 - 0.95**12, abs=0.04)
        assert together > 0.02
    assert accusation_rates(correlation, shift=6.0, reps=100)[1] == 1.0


def placed(p_values, draws=200):
    records = [
        {"estimator": f"e{k}", "estimand": "", "p_value": p, "draws": draws}
        for k, p in enumerate(p_values)
    ]
    return verdict([], with_holm(records))


def test_the_verdict_on_estimates_says_holm_and_what_it_cannot_resolve():
    assert placed([0.03]) == "would not produce your estimates: e0 (p 0.03)"
    two = "would not produce your estimates: e1 (p 0.02), by Holm over 2 estimates"
    assert placed([0.3, 0.01]) == two
    assert placed([0.03, 0.04]).endswith("your 2 estimates inside their sampling distributions")
    few = placed([2 / 201] + [0.5] * 11)
    assert few.endswith("not resolvable with 200 draws whether it would produce your 12 estimates "
                        "(draws=480 are enough)")  # fmt: skip
    assert "inside their sampling distributions" not in few
    assert placed([2 / 481] + [0.5] * 11, draws=480).startswith("would not produce")
    assert placed([0.5] * 12).endswith("your 12 estimates inside their sampling distributions")


@pytest.mark.slow
def test_without_a_number_of_draws_there_are_as_many_as_the_verdict_needs(monkeypatch):
    class Reached(Exception):
        pass

    def reached(*arguments):
        raise Reached(arguments[-1])

    def level(key, panel):
        return {f"e{k}": Estimate(panel["y"].mean() + k) for k in range(6)}

    monkeypatch.setattr("mcsim._fidelity._cross_sections.comparison.estimates_under", reached)
    options = {"key": KEY, "given": ("treat",), "splits": 2, "estimators": {"level": level}}
    for draws, expected in ((None, 240), (50, 50)):
        with pytest.raises(Reached, match=f"^{expected}$"):
            fidelity(draw(60), {"truth": Truth()}, draws=draws, **options, **QUICK)


def test_p_values_are_uniform_if_the_generator_is_the_truth():
    (program,) = on_real_data({"difference": difference}, draw(80), KEY, infer_schema(draw(80)))
    found = []
    for seed in range(60):
        real = draw(80, seed)
        layout, rows = read_layout(real, infer_schema(real), ("treat",), None)
        member = Fit(Normal(), np.arange(80), None)
        value = float(difference(KEY, real)["att", "a"].value)
        ran = [program._replace(values={"att": value})]
        records = estimates_under(jax.random.key(seed), "truth", [member], layout, rows, ran, 99)
        found.append(records[0]["p_value"])
    assert np.mean(found) == pytest.approx(0.5, abs=3 * np.sqrt(1 / 12 / 60))
    assert np.mean(np.array(found) <= 0.2) == pytest.approx(0.2, abs=3 * np.sqrt(0.16 / 60))


def test_laws_say_how_far_members_disagree_and_skip_failures():
    def fragile(key, panel):
        value = panel["y"].mean()
        return Estimate(value, status=jnp.where(value > 1.5, Status.SINGULAR, Status.OK))

    real = draw(80)
    layout, rows = read_layout(real, infer_schema(real), ("treat",), None)
    members = [Fit(Normal(shift), np.arange(80), None) for shift in (0.0, 1.0, 3.0)]
    ran = on_real_data({"fragile": fragile}, real, KEY, infer_schema(real))
    (record,) = estimates_under(KEY, "three", members, layout, rows, ran, 60)
    assert 20 <= record["failed"] < 45
    assert record["draws"] + record["failed"] == 60
    assert record["sd_between"] > 0.4
    assert record["mean"] < 1.5


def group_of(frame):
    """The labels of a category, and the unit's index: a frame as a study's host functions see."""
    assert frame.index.name == "unit"
    return frame["c"].isin(["v", "w"])


def test_a_host_estimator_of_a_study_has_the_values_of_the_native_one():
    @mcsim.host(estimand="share")
    def by_label(frame):
        return Estimate(group_of(frame).mean())

    @mcsim.host
    def fragile_mean(rng, frame):
        if frame["y"].mean() > most:
            raise ZeroDivisionError("no luck")
        return {"mean": Estimate(frame["y"].mean() + rng.normal())}

    def by_code(key, panel):
        return {"share": Estimate((panel["c"] >= 1).astype(float).mean())}

    rng = np.random.default_rng(0)
    real = draw(60).with_columns({"c": rng.integers(0, 3, 60).astype(float)[:, None]})
    schema, most = infer_schema(real, levels={"c": ("u", "v", "w")}), float(real["y"].mean()) + 1e-6
    layout, rows = read_layout(real, schema, ("treat",), None)
    bootstrap = UnitBootstrap().fit(KEY, real, given=("treat",), schema=schema, progress=False)
    estimators = {"host": by_label, "native": by_code, "fragile": fragile_mean}
    ran = on_real_data(estimators, real, mcsim.key(1), schema)
    fit = Fit(bootstrap, np.arange(60), None)
    host, native, fragile = estimates_under(KEY, "b", [fit], layout, rows, ran, 12)
    assert host["estimand"] == native["estimand"] == "share"
    for name in ("value", "mean", "sd", "lower", "upper", "p_value"):
        assert host[name] == pytest.approx(native[name], abs=1e-12)
    assert (host["draws"], host["failed"], host["status"]) == (12, 0, "ok")
    assert 0 < fragile["failed"] < 12
    assert fragile["draws"] + fragile["failed"] == 12


def test_a_host_estimator_that_raises_on_the_real_data_has_a_status_and_a_note():
    @mcsim.host
    def broken(frame):
        return Estimate(frame["wage"].mean())

    (found,) = on_real_data({"broken": broken}, draw(20), KEY, infer_schema(draw(20)))
    assert found.status == "error"
    assert found.note.startswith("KeyError: 'wage'")
    assert found.estimator is None


@pytest.mark.slow
def test_an_estimator_that_cannot_run_is_a_row_with_a_status():
    def unknown_column(key, panel):
        return Estimate(panel["wage"].mean())

    def broken(key, panel):
        raise RuntimeError("no luck")

    estimators = {"unknown": unknown_column, "broken": broken}
    found = fidelity(
        draw(60), Fitted(None), key=KEY, estimators=estimators, splits=2, draws=5, **QUICK
    )
    rows = found.estimates[found.estimates["generator"] == "generator"].set_index("estimator")
    assert rows.loc["unknown", "status"] == "invalid_input"
    assert "'wage' is not in the panel" in rows.loc["unknown", "note"]
    assert rows.loc["broken", "status"] == "error"
    assert rows.loc["broken", "note"] == "RuntimeError: no luck"
    assert rows["p_value"].isna().all()
    assert "invalid_input" in str(found)


# The table


@pytest.mark.slow
def test_the_truth_passes(table):
    auc = cell(table, "truth", "auc_cross")
    assert auc["null_lower"] <= auc["value"] <= auc["null_upper"]
    assert cell(table, "truth", "nn_ratio")["value"] == pytest.approx(1, abs=0.15)
    assert cell(table, "truth", "duplicates")["value"] == 0
    for measure in ("transport", "sliced_w1", "marginal_w1"):
        row = cell(table, "truth", measure)
        assert row["value"] == pytest.approx(row["baseline"], rel=0.3)
    assert table.verdicts["truth"].startswith("passes: ")
    assert "estimates inside their sampling distributions" in table.verdicts["truth"]


@pytest.mark.slow
def test_real_against_real_is_the_reference(table):
    rows = table.measures[table.measures["generator"] == "real"].set_index(["measure", "arm"])
    assert set(rows["status"]) == {"reference"}
    assert rows.loc[("auc_cross", "all"), "value"] == pytest.approx(0.5, abs=0.1)
    assert rows.loc[("nn_ratio", "all"), "value"] == pytest.approx(1, abs=0.15)
    assert rows.loc[("duplicates", "all"), "value"] == 0


@pytest.mark.slow
def test_the_bootstrap_is_called_out_as_copying(table):
    assert cell(table, "bootstrap", "duplicates")["value"] == 100
    assert cell(table, "bootstrap", "nn_ratio")["value"] == 0
    assert cell(table, "bootstrap", "nn_ratio")["status"] == "fails"
    assert table.verdicts["bootstrap"].startswith(
        "copies its training rows (100 % exact duplicates"
    )
    assert "passes" not in table.verdicts["bootstrap"]


@pytest.mark.slow
def test_a_memorizer_is_called_out_without_exact_copies(table):
    assert cell(table, "parrot", "duplicates")["value"] == 0
    assert cell(table, "parrot", "nn_ratio")["value"] < 0.3
    assert table.verdicts["parrot"].startswith("copies its training rows (0 % exact duplicates")


@pytest.mark.slow
def test_a_shift_is_detected_in_every_arm(table):
    for arm in ("all", "control", "treated"):
        auc = cell(table, "shifted", "auc_cross", arm)
        assert auc["value"] > auc["null_upper"]
    assert cell(table, "shifted", "auc_cross")["status"] == "fails"
    # y has sd of about 1.5: the shift of 1 in one of three columns
    assert cell(table, "shifted", "marginal_w1")["value"] > 0.2
    assert table.verdicts["shifted"].startswith("fails: ")
    assert "auc_cross" in table.verdicts["shifted"]


@pytest.mark.slow
def test_the_gaussian_reference_is_right_where_it_is_the_law(table):
    assert cell(table, "normal", "auc_cross")["status"] != "fails"
    assert cell(table, "normal", "correlations")["value"] < 0.05


@pytest.mark.slow
def test_the_estimates_lie_within_the_right_laws(table):
    rows = table.estimates.set_index("generator")
    assert (rows.loc[["truth", "bootstrap", "normal", "shifted"], "p_value"] > 0.05).all()
    real = difference(KEY, draw())["att", "a"].value
    assert rows["value"].to_numpy() == pytest.approx(float(real), abs=1e-12)
    assert (rows["estimand"] == "att").all()
    assert (rows["p_holm"] == rows["p_value"]).all()  # one estimate
    assert "(Holm)" in str(table)
    # sd of a difference in means with 100 and 300 units, variances 2
    assert rows.loc["truth", "sd"] == pytest.approx(np.sqrt(2 / 100 + 2 / 300), rel=0.2)


@pytest.mark.slow
def test_an_estimate_outside_the_law_is_named():
    def level(key, panel):
        return Estimate(panel["y"].mean())

    found = fidelity(
        draw(60),
        {"shifted": Truth(shift=3.0)},
        key=KEY,
        given=("treat",),
        splits=2,
        draws=60,
        estimators={"level": level},
        **QUICK,
    )
    assert "would not produce your estimates: level (p 0.03)" in found.verdicts["shifted"]


@pytest.mark.slow
def test_the_text_fits_and_says_everything(table):
    text = str(table)
    assert max(map(len, text.splitlines())) <= 100
    for word in ("real", "bootstrap", "normal", "truth", "shifted", "parrot", "auc_cross treated"):
        assert word in text
    assert "400 real rows, 3 folds" in text
    markdown = table.to_markdown()
    assert markdown.startswith("| measure | bar | real |")
    assert "| difference att |" in markdown
    assert "**parrot**" in markdown


@pytest.mark.slow
def test_the_same_key_gives_the_same_table():
    def run(seed):
        return fidelity(
            draw(60),
            Fitted(None),
            key=jax.random.key(seed),
            splits=2,
            draws=5,
            estimators={"difference": difference},
            **QUICK,
        )

    first, again, other = run(1), run(1), run(2)
    assert first.measures.equals(again.measures)
    assert first.estimates.equals(again.estimates)
    assert str(first) == str(again)
    assert not first.measures.equals(other.measures)


@pytest.mark.slow
def test_fits_that_come_with_their_folds_are_reused():
    panel = draw(100)
    folds = [np.arange(100) % 5 == fold for fold in range(5)]
    fits = [Fitted(np.flatnonzero(~held)) for held in folds]
    found = fidelity(panel, {"many": fits}, key=KEY, **QUICK)
    assert found.splits == 5
    assert np.isfinite(cell(found, "many", "auc_cross")["value"])
    assert cell(found, "many", "nn_ratio")["sd"] > 0
    assert np.isfinite(cell(found, "bootstrap", "auc_cross")["value"])


@pytest.mark.slow
def test_a_generator_that_saw_all_rows_has_no_holdout():
    found = fidelity(draw(100), Fitted(None), key=KEY, splits=2, **QUICK)
    row = cell(found, "generator", "auc_cross")
    assert row["status"] == "missing"
    assert row["note"].startswith("no hold-out")
    assert cell(found, "generator", "nn_ratio")["value"] == pytest.approx(1, abs=0.4)
    assert "missing: auc_holdout, auc_cross" in found.verdicts["generator"]
    assert np.isfinite(cell(found, "bootstrap", "auc_cross")["value"])


@pytest.mark.slow
def test_an_arm_too_small_is_missing_with_a_reason():
    treat = jnp.zeros(100).at[:8].set(1.0)
    panel = Normal().sample(KEY, 100, given={"treat": treat})
    found = fidelity(panel, {"truth": Truth()}, key=KEY, given=("treat",), splits=2, **QUICK)
    row = cell(found, "truth", "auc_cross", "treated")
    assert row["status"] == "missing"
    assert row["note"] == "arm treated: 4 held-out rows, 10 needed"
    assert np.isfinite(cell(found, "truth", "auc_cross", "control")["value"])


@pytest.mark.slow
def test_without_given_columns_there_are_no_arms():
    panel = draw(60).select(["x", "y"])
    found = fidelity(panel, Gaussian(), key=KEY, splits=2, **QUICK)
    assert set(found.measures["arm"]) == {"all"}
    assert "overlap" not in set(found.measures["measure"])
    assert "gaussian" in found.verdicts


@pytest.mark.slow
def test_categories_count_as_categories():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, 90).astype(float)
    real = Panel({"c": codes, "y": rng.normal(size=90) + (codes == 1)})
    schema = infer_schema(real, levels={"c": ("u", "v", "w")})
    layout, rows = read_layout(real, schema, (), None)
    assert layout.encoded_names == ("c", "c", "c", "y")
    np.testing.assert_allclose(layout.standardized(rows).std(axis=0), 1)
    found = fidelity(real, {"rows": UnitBootstrap()}, key=KEY, schema=schema, splits=2, **QUICK)
    assert cell(found, "rows", "duplicates")["value"] == 100


# Verdicts


def record(measure, value, lower=np.nan, upper=np.nan, generator="g", arm="all"):
    return dict(
        generator=generator, measure=measure, arm=arm, value=value, lower=lower, upper=upper
    )


@pytest.mark.parametrize(
    ("value", "lower", "upper", "status"),
    [
        (0.52, 0.51, 0.53, "passes"),
        (0.58, 0.55, 0.61, "passes"),
        (0.63, 0.58, 0.68, "fails"),
        (0.55, 0.49, 0.61, "not resolvable"),
        (0.62, 0.45, 0.79, "not resolvable"),
        (np.nan, np.nan, np.nan, "missing"),
    ],
)
def test_status_weighs_the_interval_against_floor_and_bar(value, lower, upper, status):
    records = [
        record("auc_cross", 0.49, generator="real"),
        record("auc_cross", value, lower, upper),
    ]
    _, found = judged(records)
    assert found["status"] == status
    assert (found["baseline"], found["bar"]) == (0.5, 0.6)


def test_an_area_of_one_fold_has_the_noise_of_chance():
    """No spread over folds: too few rows to say that a classifier distinguishes nothing."""

    def status(half):
        single = record("auc_cross", 0.52) | {"null_lower": 0.5 - half, "null_upper": 0.5 + half}
        return judged([record("auc_cross", 0.49, generator="real"), single])[1]["status"]

    assert [status(half) for half in (0.03, 0.2)] == ["passes", "not resolvable"]


def test_a_value_below_the_floor_but_above_its_bar_is_not_resolvable():
    def status(value):
        records = [record("mass_points", 4.0, generator="real"), record("mass_points", value)]
        return judged(records)[1]["status"]

    # The bar does not depend on the noise of the real rows.
    noisy = record("mass_points", 4.0, -9.0, 17.0, generator="real")
    assert judged([noisy, record("mass_points", 0.8, 0.7, 0.9)])[1]["status"] == "passes"
    assert [status(v) for v in (0.8, 3.0, 5.0)] == ["passes", "not resolvable", "fails"]


def test_bars_are_read_against_real_rows():
    records = [record("duplicates", 10.0, generator="real"), record("duplicates", 14.0)]
    assert judged(records)[1]["bar"] == 12.0
    records = [record("transport", 2.0, generator="real"), record("transport", 2.2)]
    assert judged(records)[1]["status"] == "passes"


def test_a_floor_read_off_few_rows_makes_its_bar_uncertain():
    def status(spread):
        real = record("duplicates", 3.0, 3.0 - spread, 3.0 + spread, generator="real")
        return judged([real, record("duplicates", 6.0, 5.0, 7.0)])[1]["status"]

    assert [status(s) for s in (0.5, 4.0)] == ["fails", "not resolvable"]


def test_the_training_auc_is_judged_on_both_sides():
    def status(value):
        records = [record("auc_training", 0.5, generator="real"), record("auc_training", value)]
        return judged(records)[1]["status"]

    assert [status(v) for v in (0.3, 0.45, 0.55, 0.7)] == ["fails", "passes", "passes", "fails"]


def test_a_copied_arm_is_named():
    records = [
        record(m, v, arm=a, generator=g)
        for a, ratio in (("all", 0.95), ("treated", 0.1))
        for g in ("real", "g")
        for m, v in (("duplicates", 3.0), ("nn_ratio", 1.0 if g == "real" else ratio))
    ]
    words = verdict([r for r in judged(records) if r["generator"] == "g"], [])
    assert words.startswith(
        "copies its treated training rows (3 % exact duplicates, nearest-neighbor"
    )


# Roles and parts


def test_parts_hold_the_arms_in_their_shares_and_every_row_once():
    arm = (np.arange(103) < 20).astype(np.int64)
    parts = stratified_parts(np.random.default_rng(0), arm, 5)
    assert sorted(np.concatenate(parts).tolist()) == list(range(103))
    assert [int(arm[part].sum()) for part in parts] == [4] * 5


def test_casts_never_show_a_row_twice_to_the_classifier():
    real = draw(200)
    layout, rows = read_layout(real, infer_schema(real), ("treat",), "y")
    train, held = rows[:160], rows[160:]
    split = real_split(layout, train, held, np.random.default_rng(0))
    seen = {row.tobytes() for x in (*split.pair, split.scored[0], split.scored[1]) for row in x}
    assert len(seen) == 200
    pool = draw_pool(KEY, Normal(), layout, train, rows_needed(layout, layout.arm(rows)))
    split = generated_split(pool, layout, train, held, np.random.default_rng(0))
    drawn = np.concatenate([split.pair[1], *split.subsamples])
    assert len({row.tobytes() for row in drawn}) == 160 + 4 * 40
    assert all(layout.arm(piece).sum() == layout.arm(held).sum() for piece in split.subsamples)
    assert pool.weights.sum() == pytest.approx(1)


def test_the_propensity_index_leaves_the_outcome_out():
    real = draw(200)
    layout, rows = read_layout(real, infer_schema(real), ("treat",), "y")
    propensity = fit_propensity(rows, layout)
    assert propensity is not None
    moved = rows + np.array([0.0, 0.0, 5.0])
    assert propensity.gap(rows, moved) == 0
    moved = rows + np.array([0.0, 1.0, 0.0])  # one covariate: the index is x in sd
    assert propensity.gap(rows, moved) == pytest.approx(1 / rows[:, 1].std(), rel=1e-9)


# Bad input


def test_the_old_name_of_an_option_says_the_new_one():
    with pytest.raises(WrongCall, match="has no option 'folds'; its name is splits"):
        fidelity(draw(60), Gaussian(), key=KEY, folds=2)


def test_missing_cells_are_named():
    with pytest.raises(InputError, match="missing or infinite cells"):
        read_layout(Panel({"y": [1.0, np.nan]}), infer_schema({"y": np.ones(2)}), (), None)


def test_too_few_rows_for_the_folds():
    with pytest.raises(InputError, match="splits: got 5 for 30 rows"):
        fidelity(draw(30), Truth(), key=KEY, given=("treat",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"given": ("treta",)}, "column 'treta' is not in real; did you mean 'treat'"),
        ({"outcome": "z"}, "column 'z' is not in real"),
        ({"n_generated": 10}, "n_generated: got 10, expected at least"),
        ({"draws": 0}, "draws, permutations: got 0, 500"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        fidelity(draw(60), Truth(), key=KEY, **{"given": ("treat",), **options})


@pytest.mark.parametrize(
    ("generators", "message"),
    [
        ({"bootstrap": Truth()}, "the name 'bootstrap' is taken by a reference row"),
        ([], "got an empty list"),
        ({"x": 3}, "got int, expected a trainer"),
        ([Fitted(np.arange(1, 4))], "fit 0 saw no treated rows"),
        ([Fitted(np.arange(500))], "it was fit on row 499, real has 60 rows"),
    ],
)
def test_wrong_generators(generators, message):
    with pytest.raises(InputError, match=message):
        fidelity(draw(60), generators, key=KEY, given=("treat",), **QUICK)


def test_a_generator_that_lacks_columns():
    small = infer_schema(draw(60).select(["treat", "x"]))
    with pytest.raises(InputError, match="column 'y' of real is not in its schema"):
        fidelity(draw(60), Fitted(None, schema=small), key=KEY, splits=2, **QUICK)


@pytest.mark.slow
def test_every_measure_has_a_bar(table):
    assert set(table.measures["measure"]) <= set(BARS)


@pytest.mark.slow
def test_lalonde_references():
    panel, schema = from_frame(datasets.load("lalonde_experimental"))
    found = fidelity(
        panel, {"again": UnitBootstrap()}, key=KEY, schema=schema, given=("treat",), outcome="re78"
    )
    assert cell(found, "bootstrap", "auc_training")["value"] == pytest.approx(0.29, abs=0.04)
    assert cell(found, "normal", "auc_cross")["value"] > 0.99
    assert cell(found, "normal", "mass_points", "control")["value"] > 60
    assert cell(found, "real", "duplicates")["value"] == pytest.approx(4, abs=2)
    transport = found.measures[found.measures["measure"] == "transport"].set_index("generator")
    # A bootstrap is a fresh draw of the training rows here, so it is no closer than real rows.
    assert 1.0 < transport.loc["bootstrap", "value"] / transport.loc["real", "value"] < 1.15
    assert transport.loc["normal", "value"] > 1.3 * transport.loc["real", "value"]
