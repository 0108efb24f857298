"""The fidelity table of cross-sections: its rows, evaluation splits, and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcsim
from fidelity.cross_sections import (
    KEY,
    QUICK,
    Fitted,
    Memorizer,
    Normal,
    Truth,
    cell,
    difference,
    draw,
)
from mcsim import Estimate, Panel, datasets, from_frame, infer_schema
from mcsim._fidelity._cross_sections.layout import (
    draw_pool,
    generated_split,
    read_layout,
    real_split,
    rows_needed,
    stratified_parts,
)
from mcsim._fidelity._cross_sections.measures import fit_propensity
from mcsim._fidelity.references import Gaussian
from mcsim._fidelity.verdicts import BARS
from mcsim.errors import InputError, WrongCall
from mcsim.generators import UnitBootstrap


@pytest.fixture(scope="module")
def table() -> mcsim.FidelityTable:
    generators = {"truth": Truth(), "shifted": Truth(shift=1.0), "parrot": Memorizer()}
    return mcsim.fidelity(
        draw(),
        generators,
        key=KEY,
        given=("treat",),
        outcome="y",
        splits=3,
        estimators={"difference": difference},
        **QUICK,
    )


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
    assert "(Holm)" in table.details()
    # sd of a difference in means with 100 and 300 units, variances 2
    assert rows.loc["truth", "sd"] == pytest.approx(np.sqrt(2 / 100 + 2 / 300), rel=0.2)


@pytest.mark.slow
def test_an_estimate_outside_the_law_is_named():
    def level(key, panel):
        return Estimate(panel["y"].mean())

    found = mcsim.fidelity(
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
    text = table.details()
    assert max(map(len, text.splitlines())) <= 100
    for word in ("real", "bootstrap", "normal", "truth", "shifted", "parrot", "auc_cross treated"):
        assert word in text
    assert "400 real rows, 3 folds" in text
    markdown = table.to_markdown(details=True)
    assert "\n\n| measure | bar | real |" in markdown
    assert "| difference att |" in markdown
    assert "**parrot**" in markdown


@pytest.mark.slow
def test_the_same_key_gives_the_same_table():
    def run(seed):
        return mcsim.fidelity(
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
    assert first.details() == again.details()
    assert not first.measures.equals(other.measures)


@pytest.mark.slow
def test_fits_that_come_with_their_folds_are_reused():
    panel = draw(100)
    folds = [np.arange(100) % 5 == fold for fold in range(5)]
    fits = [Fitted(np.flatnonzero(~held)) for held in folds]
    found = mcsim.fidelity(panel, {"many": fits}, key=KEY, **QUICK)
    assert found.splits == 5
    assert np.isfinite(cell(found, "many", "auc_cross")["value"])
    assert cell(found, "many", "nn_ratio")["sd"] > 0
    assert np.isfinite(cell(found, "bootstrap", "auc_cross")["value"])


@pytest.mark.slow
def test_a_generator_that_saw_all_rows_has_no_holdout():
    found = mcsim.fidelity(draw(100), Fitted(None), key=KEY, splits=2, **QUICK)
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
    found = mcsim.fidelity(panel, {"truth": Truth()}, key=KEY, given=("treat",), splits=2, **QUICK)
    row = cell(found, "truth", "auc_cross", "treated")
    assert row["status"] == "missing"
    assert row["note"] == "arm treated: 4 held-out rows, 10 needed"
    assert np.isfinite(cell(found, "truth", "auc_cross", "control")["value"])


@pytest.mark.slow
def test_without_given_columns_there_are_no_arms():
    panel = draw(60).select(["x", "y"])
    found = mcsim.fidelity(panel, Gaussian(), key=KEY, splits=2, **QUICK)
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
    found = mcsim.fidelity(
        real, {"rows": UnitBootstrap()}, key=KEY, schema=schema, splits=2, **QUICK
    )
    assert cell(found, "rows", "duplicates")["value"] == 100


@pytest.mark.slow
def test_every_measure_has_a_bar(table):
    assert set(table.measures["measure"]) <= set(BARS)


@pytest.mark.slow
def test_lalonde_references():
    panel, schema = from_frame(datasets.load("lalonde_experimental"))
    found = mcsim.fidelity(
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


# Evaluation splits


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
        mcsim.fidelity(draw(60), Truth(), key=KEY, folds=2)


def test_missing_cells_are_named():
    with pytest.raises(InputError, match="missing or infinite cells"):
        read_layout(Panel({"y": [1.0, np.nan]}), infer_schema({"y": np.ones(2)}), (), None)


def test_too_few_rows_for_the_folds():
    with pytest.raises(InputError, match="splits: got 5 for 30 rows"):
        mcsim.fidelity(draw(30), Truth(), key=KEY, given=("treat",))


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
        mcsim.fidelity(draw(60), Truth(), key=KEY, **{"given": ("treat",), **options})


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
        mcsim.fidelity(draw(60), generators, key=KEY, given=("treat",), **QUICK)


def test_a_generator_that_lacks_columns():
    small = infer_schema(draw(60).select(["treat", "x"]))
    with pytest.raises(InputError, match="column 'y' of real is not in its schema"):
        mcsim.fidelity(draw(60), Fitted(None, schema=small), key=KEY, splits=2, **QUICK)
