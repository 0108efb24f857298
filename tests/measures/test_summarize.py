"""The table of measures: invariances, columns, edges, bad input."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from mcsim.errors import InputError
from mcsim.measures import MEASURES, summarize
from replications import study

PROPORTIONS = (
    "coverage",
    "coverage_all",
    "bias_eliminated_coverage",
    "rejection",
    "type_s",
    "share_failed",
)


# --- invariances -------------------------------------------------------------------------------

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=25, deadline=None)
@given(seed=seeds, rule=st.sampled_from(["jackknife", "normal"]))
def test_order_of_rows_is_irrelevant_to_the_last_bit(seed, rule):
    frame = study(seed % 7, n=25, cells=3)
    options = dict(by="cell", method="method", reference="ols", truth_mcse=0.1, mcse=rule)
    shuffled = frame.sample(frac=1, random_state=seed % 2**31)
    one = summarize(frame, **options).sort_values(["cell", "method"], ignore_index=True)
    two = summarize(shuffled, **options).sort_values(["cell", "method"], ignore_index=True)
    pd.testing.assert_frame_equal(one, two, check_exact=True)


IN_UNITS = ("bias", "median_bias", "empirical_se", "mad", "model_se", "mean_se", "rmse", "width")


@settings(max_examples=25, deadline=None)
@given(seed=seeds, scale=st.floats(1e-6, 1e6))
def test_scale_equivariance(seed, scale):
    frame = study(seed, n=25).assign(truth_mcse=0.1)
    scaled = frame.copy()
    scaled[["value", "se", "truth", "truth_mcse"]] *= scale
    options = dict(method="method", reference="ols", truth_mcse="truth_mcse")
    one, two = summarize(frame, **options), summarize(scaled, **options)
    for name in set(MEASURES) - {"n"}:
        power = 2 if name == "mse" else int(name in IN_UNITS)
        for column in (name, f"{name}_mcse"):
            assert_allclose(two[column], one[column] * scale**power, rtol=1e-6, err_msg=column)


@settings(max_examples=25, deadline=None)
@given(seed=seeds, shift=st.floats(-100, 100))
def test_adding_a_constant_to_value_and_truth_changes_only_relative_bias(seed, shift):
    frame = study(seed, n=25)
    moved = frame.assign(value=frame["value"] + shift, truth=frame["truth"] + shift)
    one = summarize(frame, method="method", reference="ols", null=0.0)
    two = summarize(moved, method="method", reference="ols", null=shift)
    numbers = [c for c in one.columns if c != "method" and not c.startswith("relative_bias")]
    assert_allclose(two[numbers].astype(float), one[numbers].astype(float), rtol=1e-7, atol=1e-9)


def test_pairing_is_by_rep_and_not_by_row():
    frame = study(7, n=30)
    reversed_iv = pd.concat(
        [frame[frame["method"] == "ols"], frame[frame["method"] == "iv"].iloc[::-1]]
    )
    options = dict(method="method", reference="ols", measures="relative_precision")
    assert_allclose(
        summarize(reversed_iv, **options).set_index("method").loc["iv"].astype(float),
        summarize(frame, **options).set_index("method").loc["iv"].astype(float),
    )
    renumbered = frame.copy()
    renumbered.loc[frame["method"] == "iv", "rep"] = 29 - frame["rep"]
    other = summarize(renumbered, **options)["relative_precision_mcse"]
    assert abs(other[1] - summarize(frame, **options)["relative_precision_mcse"][1]) > 1e-3


def test_groups_do_not_touch_each_other():
    frame = study(8, n=20, cells=4)
    together = summarize(frame, by=["cell"], method="method", reference="iv")
    alone = pd.concat(
        [summarize(cell, by="cell", method="method", reference="iv")
         for _, cell in frame.groupby("cell")]
    ).set_index(["cell", "method"])  # fmt: skip
    pd.testing.assert_frame_equal(
        together.set_index(["cell", "method"]).loc[alone.index], alone, check_exact=True
    )


def test_rows_come_in_order_of_appearance_with_their_labels():
    frame = study(9, n=10, cells=2).replace({"cell": {0: np.nan}}).iloc[::-1]
    table = summarize(frame, by="cell", method="method", measures=["n"])
    assert table["method"].tolist() == ["iv", "iv", "ols", "ols"]
    assert table["cell"].isna().tolist() == [False, True, False, True]
    assert table.columns.tolist() == ["cell", "method", "n", "heavy_tails"]
    assert table.index.tolist() == [0, 1, 2, 3]


# --- edges -------------------------------------------------------------------------------------


def test_one_replication_gives_values_and_missing_standard_errors():
    frame = study(14, n=1).assign(value=1.5, se=0.5, truth=1.0, status="ok", df=np.nan)
    table = summarize(frame, method="method", reference="ols")
    assert_allclose(table["bias"], 0.5)
    assert_allclose(table["coverage"], 1)
    for name in set(MEASURES) - {"n"}:
        assert table[f"{name}_mcse"].isna().all(), name
    assert table[["empirical_se", "relative_error", "relative_precision"]].isna().all(axis=None)
    assert not table["heavy_tails"].any()


def test_two_replications_give_means_but_no_jackknife_of_a_standard_deviation():
    frame = pd.DataFrame({"value": [1.0, 3.0], "se": [1.0, 2.0]})
    row = summarize(frame, truth=0.0).iloc[0]
    assert_allclose([row["bias"], row["bias_mcse"], row["empirical_se"]], [2, 1, np.sqrt(2)])
    assert np.isnan(row["empirical_se_mcse"])
    normal = summarize(frame, truth=0.0, mcse="normal").iloc[0]
    assert_allclose(normal["empirical_se_mcse"], 1)


def test_all_failed():
    frame = study(15, n=12).assign(status="error")
    table = summarize(frame, method="method", reference="ols")
    assert table["n"].tolist() == [0, 0]
    assert table["share_failed"].tolist() == table["share_failed_upper"].tolist() == [1, 1]
    assert table["coverage_all"].tolist() == [0, 0]
    assert table["coverage_all_n"].tolist() == [12, 12]
    for name in set(MEASURES) - {"n", "share_failed", "coverage_all"}:
        assert table[[name, f"{name}_mcse"]].isna().all(axis=None), name
        assert (table[f"{name}_n"] == 0).all()


@pytest.mark.parametrize("missing", [np.nan, np.inf])
def test_a_failure_is_a_status_or_a_value_that_is_not_finite(missing):
    frame = pd.DataFrame(
        {"value": [1.0, missing, 9.0, 2.0], "status": ["ok", "ok", "singular", None]}
    )
    row = summarize(frame, truth=0.0).iloc[0]
    assert (row["n"], row["share_failed"], row["bias"]) == (1, 0.75, 1.0)


def test_failures_are_misses_in_coverage_all_only():
    frame = pd.DataFrame({"value": [0.0, 0.0, 5.0, np.nan, np.nan], "se": 1.0})
    row = summarize(frame, truth=0.0).iloc[0]
    assert_allclose([row["coverage"], row["coverage_all"]], [2 / 3, 2 / 5])
    assert_allclose(row["coverage_all"] + row["share_failed"], 4 / 5)


def test_a_missing_se_is_no_failure():
    frame = pd.DataFrame({"value": [1.0, 2.0, 6.0], "se": [1.0, np.nan, 2.0]})
    row = summarize(frame, truth=1.0).iloc[0]
    assert (row["share_failed"], row["n"], row["bias"], row["bias_n"]) == (0, 3, 2, 3)
    assert (row["coverage"], row["coverage_n"], row["model_se_n"]) == (0.5, 2, 2)
    assert_allclose(row["coverage_all"], 1 / 3)
    assert_allclose(row["model_se"], np.sqrt(2.5))


def test_a_method_without_intervals_has_no_coverage():
    frame = pd.DataFrame({"value": [1.0, 2.0], "se": [np.nan, np.nan]})
    row = summarize(frame, truth=1.0).iloc[0]
    assert np.isnan(row["coverage"])
    assert np.isnan(row["coverage_all"])


@pytest.mark.parametrize("rule", ["jackknife", "normal"])
def test_zero_variance(rule):
    frame = pd.DataFrame({"value": np.full(30, 0.1), "se": 0.2})
    row = summarize(frame, truth=0.3, mcse=rule).iloc[0]
    assert_allclose(row[["bias", "empirical_se", "rmse", "mad"]].astype(float), [-0.2, 0, 0.2, 0.2])
    for name in ("bias", "median_bias", "empirical_se", "model_se", "mse", "rmse", "mad", "width"):
        assert_allclose(row[f"{name}_mcse"], 0, atol=1e-15)
    assert np.isnan(row["relative_error"])
    exact = summarize(frame.assign(value=0.3), truth=0.3, mcse=rule).iloc[0]
    assert exact[["bias", "rmse", "rmse_mcse", "mse_mcse"]].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(("far", "share"), [(0.0, 1.0), (10.0, 0.0)])
def test_shares_of_zero_and_one_keep_a_standard_error_and_limits(far, share):
    frame = pd.DataFrame({"value": np.full(96, far), "se": 1.0})
    row = summarize(frame, truth=0.0).iloc[0]
    assert row["coverage"] == share
    assert_allclose(row["coverage_mcse"], np.sqrt(0.02 * 0.98 / 100))
    limits = stats.binomtest(round(96 * share), 96).proportion_ci(method="wilson")
    assert_allclose([row["coverage_lower"], row["coverage_upper"]], limits, atol=1e-15)


def test_a_truth_that_varies_is_taken_out_of_the_spread():
    rng = np.random.default_rng(16)
    truth = 100 * rng.normal(size=5000)
    frame = pd.DataFrame({"value": truth + rng.normal(size=5000) + 0.5, "se": 1.0, "truth": truth})
    row = summarize(frame).iloc[0]
    assert abs(row["empirical_se"] - 1) < 0.05
    assert abs(row["relative_error"]) < 5
    assert abs(row["bias_eliminated_coverage"] - 0.95) < 0.02
    assert row["coverage"] < row["bias_eliminated_coverage"] - 0.01


def test_without_a_truth_what_can_be_told_is_told():
    frame = study(17, n=30).drop(columns="truth")
    table = summarize(frame, method="method", reference="ols")
    assert "bias" not in table
    assert "coverage" not in table
    iv = frame.loc[frame["method"] == "iv", "value"].dropna()
    assert_allclose(table["empirical_se"][1], iv.std())
    unknown = summarize(frame.assign(truth=np.nan), method="method", reference="ols")
    assert unknown["bias"].isna().all()
    assert_allclose(unknown["bias_eliminated_coverage"], table["bias_eliminated_coverage"])
    assert_allclose(unknown["relative_precision"], table["relative_precision"])


def test_truth_zero_leaves_the_relative_bias_undefined():
    row = summarize(pd.DataFrame({"value": [1.0, 2.0]}), truth=0.0).iloc[0]
    assert np.isnan(row["relative_bias"])
    assert np.isnan(row["relative_bias_mcse"])


def test_limits_in_the_frame_win_and_gaps_are_filled_from_se():
    frame = pd.DataFrame({"value": 0.0, "se": 1.0, "lower": [-9, np.nan], "upper": [9, 9.0]})
    assert_allclose(summarize(frame)["width"], (18 + 2 * stats.norm.ppf(0.975)) / 2)
    assert_allclose(
        summarize(frame, lower=None, upper=None, level=0.9)["width"], 2 * stats.norm.ppf(0.95)
    )
    t = pd.DataFrame({"value": 0.0, "se": 1.0, "df": [5.0, np.inf, np.nan, 0.0]})
    row = summarize(t).iloc[0]
    expected = (2 * stats.t.ppf(0.975, 5) + 4 * stats.norm.ppf(0.975)) / 3
    assert_allclose(row["width"], expected)
    assert row["width_n"] == 3


def test_unbounded_and_empty_intervals():
    limits = {"lower": [-np.inf, 1.0, -1.0], "upper": [np.inf, -1.0, 1.0]}
    row = summarize(pd.DataFrame({"value": 0.0, **limits}), truth=0.0).iloc[0]
    assert_allclose(row["coverage"], 2 / 3)
    assert row["width"] == np.inf
    assert np.isnan(row["width_mcse"])
    row = summarize(pd.DataFrame({"value": [1.0, 2.0, 9.0], "se": [np.inf, 1, 1]}), truth=1.0).iloc[
        0
    ]
    assert_allclose(row["coverage"], 2 / 3)
    assert row["model_se"] == np.inf
    assert np.isnan(row["model_se_mcse"])


def test_rejection_by_p_value_else_by_interval():
    frame = pd.DataFrame({"value": [3.0, 3.0, 1.0, 1.0], "se": 1.0})
    frame["p_value"] = [0.2, np.nan, 0.049, np.nan]
    assert summarize(frame)["rejection"][0] == 0.5
    assert summarize(frame, p_value=None)["rejection"][0] == 0.5
    assert summarize(frame, null=3.0)["rejection"][0] == 0.5
    assert summarize(frame.assign(zero=3.0), null="zero", p_value=None)["rejection"][0] == 0.5
    edge = pd.DataFrame({"value": [1.0], "p_value": [0.05]})
    assert summarize(edge)["rejection"][0] == 0
    assert summarize(edge, level=0.9)["rejection"][0] == 1


def test_heavy_tails_are_flagged():
    rng = np.random.default_rng(18)
    frame = pd.DataFrame({"law": np.repeat(["normal", "cauchy", "t5"], 2000)})
    frame["value"] = np.r_[
        rng.normal(size=2000), rng.standard_cauchy(2000), rng.standard_t(5, size=2000)
    ]
    for truth in (0.0, None):
        table = summarize(frame, by="law", truth=truth).set_index("law")
        assert table["heavy_tails"].to_dict() == {"normal": False, "cauchy": True, "t5": False}
    assert not summarize(pd.DataFrame({"value": [0.0] * 50 + [1.0]}), truth=0.0)["heavy_tails"][0]


def test_columns_of_any_name_and_type():
    frame = study(19, n=15, cells=2)
    foreign = frame.rename(columns={"value": "est", "se": "std", "rep": "sim", "truth": "beta"})
    foreign["est"] = foreign["est"].astype("Float64")
    foreign["std"] = [None if np.isnan(x) else x for x in foreign["std"]]
    foreign["status"] = foreign["status"].astype("category")
    foreign["method"] = foreign["method"].astype("category")
    foreign["sim"] = foreign["sim"].map("run {}".format)
    options = dict(by="cell", method="method", reference="ols")
    table = summarize(foreign, value="est", se="std", rep="sim", truth="beta", **options)
    expected = summarize(frame, **options)
    numbers = [c for c in table if c != "method"]
    assert_allclose(table[numbers].astype(float), expected[numbers].astype(float), rtol=1e-12)


def test_headers_are_regular():
    table = summarize(study(20, n=10), method="method", reference="iv")
    expected = ["method"]
    for name in MEASURES[:-1]:
        limits = [f"{name}_lower", f"{name}_upper"] if name in PROPORTIONS else []
        expected += [name, f"{name}_mcse", *limits, f"{name}_n"]
    assert table.columns.tolist() == [*expected, "n", "heavy_tails"]


# --- bad input is a sentence -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(measures=["biass"]), "measures: unknown measure 'biass'; did you mean 'bias'"),
        (dict(value="valu"), "value: the frame has no column 'valu'; did you mean 'value'"),
        (dict(se="s_e"), "se: the frame has no column 's_e'"),
        (dict(truth="thruth"), "did you mean 'truth'"),
        (dict(truth_mcse="tau"), "truth_mcse: the frame has no column 'tau'"),
        (dict(by="cel"), "by: the frame has no column 'cel'; did you mean 'cell'"),
        (dict(method="estimator"), "method: the frame has no column"),
        (dict(rep="repp"), "did you mean 'rep'"),
        (dict(level=95), "level: got 95"),
        (dict(level=0.0), "level: got 0.0"),
        (dict(mcse="jacknife"), "mcse: unknown rule 'jacknife'; did you mean 'jackknife'"),
        (dict(reference="olss"), "reference: 'olss' is not in column 'method'; did you mean 'ols'"),
        (dict(method=None, reference="ols", by=["cell", "method"]), "reference: needs `method`"),
        (dict(reference="ols", rep=None), "rep: relative_precision pairs"),
        (dict(method=None), "rep: 20 rows repeat a replication of their group"),
        (dict(measures="relative_precision"), "needs a `reference` among the methods"),
        (dict(measures="bias", truth=None), "'bias' needs a truth"),
        (dict(measures="model_se", se=None), "'model_se' needs standard errors"),
        (dict(measures="rejection", se=None), "'rejection' needs tests"),
        (dict(value="method"), "value: column 'method' has dtype"),
        (dict(status="rep"), "status: column 'rep' has dtype int64, expected words"),
        (dict(truth_mcse=-1.0), "truth_mcse: -1.0 is negative"),
        (dict(lower="value"), "lower: got a column without upper"),
        (dict(p_value="se"), "p_value: 'se' is outside [0, 1]"),
    ],
)
def test_bad_arguments(options, message):
    frame = study(21, n=10, cells=2)
    with pytest.raises(InputError) as caught:
        summarize(frame, **({"by": "cell", "method": "method"} | options))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.iloc[:0], "frame: got no rows"),
        (lambda f: f.assign(value=f["value"].map(str)), "value: column 'value' has dtype"),
        (lambda f: f.assign(se=-f["se"]), "se: 'se' is negative in"),
        (lambda f: f.assign(lower=2.0, upper=1.0), "are they swapped?"),
        (lambda f: f.assign(rep=f["rep"].replace(3, np.nan)), "rep: column 'rep' is missing in"),
        (lambda f: pd.concat([f, f.iloc[[5]]]), "rep: 1 rows repeat"),
        (lambda f: f.assign(truth=f["truth"].where(f["rep"] > 3)), "truth: missing in some"),
        (lambda f: pd.concat([f, f["value"]], axis=1), "'value' occurs more than once"),
        (lambda f: f.assign(n=1).rename(columns={"cell": "x"}).assign(cell=0), None),
    ],
)
def test_bad_frames(change, message):
    frame = change(study(22, n=10, cells=2).assign(status="ok", value=1.0))
    if message is None:
        with pytest.raises(InputError, match="by: column 'n' has the name of a column"):
            summarize(frame, by=["x", "n"], method="method", measures=["n"])
        for measures in (["bias"], None):
            table = summarize(frame, by=["x", "n"], method="method", measures=measures)
            assert table["n"].eq(1).all()  # the column of the frame, no count
        return
    with pytest.raises(InputError) as caught:
        summarize(frame, by="cell", method="method")
    assert message in str(caught.value)


def test_all_faults_are_reported_at_once():
    with pytest.raises(InputError) as caught:
        summarize(study(23, n=5), level=2.0, mcse="x", measures=["bais"])
    assert "3 faults" in str(caught.value)
    with pytest.raises(InputError, match="2 faults"):
        summarize(study(23, n=5), se="a", truth="b")
