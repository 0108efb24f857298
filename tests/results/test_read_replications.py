"""Replications that other programs wrote: their layouts, the same measures, bad tables."""

import numpy as np
import pandas as pd
import pytest

import mcsim
from mcsim.errors import InputError

N = 60


@pytest.fixture
def long() -> pd.DataFrame:
    """Two methods in two cells, with names that mcsim uses."""
    rng = np.random.default_rng(1)
    parts = [
        pd.DataFrame({"rep": np.arange(N), "dgp": dgp, "estimator": method, "truth": 0.5}).assign(
            value=lambda rows: 0.5 + rng.normal(size=len(rows)), se=1.0
        )
        for dgp in ("a", "b")
        for method in ("ols", "iv")
    ]
    return pd.concat(parts, ignore_index=True)


def of(frame, **options):
    measures = ["bias", "empirical_se", "coverage"]
    table = mcsim.read_replications(frame, **options).summary(measures=measures)
    return table.set_index(["dgp", "estimator"])[measures].sort_index()


def expected(long):
    """Return the same measures in NumPy, by cell and method."""
    groups = long.assign(e=long["value"] - long["truth"]).groupby(["dgp", "estimator"])["e"]
    hits = groups.apply(lambda e: (e.abs() <= 1.959963984540054).mean())
    return pd.DataFrame({"bias": groups.mean(), "empirical_se": groups.std(), "coverage": hits})


def test_layouts_are_recognized(long):
    right = expected(long)
    rsimsum = long.set_axis(["dataset", "dgp", "method", "true", "b", "se"], axis=1)
    siman = long.set_axis(["rep", "dgm", "method", "true", "est", "se"], axis=1)
    simhelpers = long.set_axis(["iteration", "dgm", "method", "true_param", "est", "var"], axis=1)
    for layout in (long, rsimsum, siman, simhelpers):
        pd.testing.assert_frame_equal(of(layout), right, check_names=False)


@pytest.mark.parametrize("names", ["est_{}", "{}.est", "est{}"])
def test_wide_tables_become_long(long, names):
    methods = {"ols": "1", "iv": "2"} if names == "est{}" else {"ols": "ols", "iv": "iv"}
    wide = long.pivot(index=["rep", "dgp", "truth"], columns="estimator", values=["value", "se"])
    stub = {"value": "est", "se": "se"}
    wide.columns = [names.replace("est", stub[a]).format(methods[b]) for a, b in wide.columns]
    right = expected(long).rename(index=methods).sort_index()
    pd.testing.assert_frame_equal(of(wide.reset_index()), right, check_names=False)


@pytest.mark.parametrize("ending", ["csv", "parquet", "dta"])
def test_files_give_what_frames_give(long, tmp_path, ending):
    file = tmp_path / f"sim.{ending}"
    writers = {"csv": long.to_csv, "parquet": long.to_parquet, "dta": long.to_stata}
    options = {"write_index": False} if ending == "dta" else {"index": False}
    writers[ending](file, **options)
    pd.testing.assert_frame_equal(of(file), expected(long), check_names=False)


def test_other_columns_with_few_values_are_factors(long):
    frame = long.assign(n=np.where(long["dgp"] == "a", 50, 100), seed=np.arange(len(long)) * 7.5)
    with pytest.warns(UserWarning, match=r"the columns \['seed'\] have many values"):
        results = mcsim.read_replications(frame)
    assert results.factors == ["n"]
    assert mcsim.read_replications(frame, by="n").factors == ["n"]
    assert len(results.study["cells"]) == 2


def test_failures_are_counted(long):
    long.loc[[0, 1], "value"] = np.nan
    results = mcsim.read_replications(long)
    (failure,) = results.failures.to_dict("records")
    assert (failure["replications"], failure["of"], failure["estimator"]) == (2, N, "ols")
    assert results.summary(measures=["share_failed"])["share_failed"].max() == 2 / N
    assert "INCOMPLETE" not in mcsim.report.notes(results)


def test_a_truth_may_be_a_number(long):
    frame = long.drop(columns="truth")
    pd.testing.assert_frame_equal(of(frame, truth=0.5), expected(long), check_names=False)
    with pytest.warns(UserWarning, match="give truth="):
        mcsim.read_replications(frame)


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (lambda f: f, {"value": "estimat"}, "has no column 'estimat'; did you mean 'estimator'"),
        (lambda f: f.rename(columns={"value": "x"}), {}, "name it: value='estimate'"),
        (lambda f: f.assign(truth=f["rep"] / 10), {}, "truth: the values differ within 2 cells"),
        (lambda f: f.assign(rep=0), {}, r"rep: 236 replications occur twice.*by="),
        (lambda f: f.assign(value="a"), {}, "column 'value' holds .*, expected numbers"),
        (lambda f: f.assign(se=-1.0), {}, "numbers below 0"),
        (lambda f: f.head(0), {}, "the table has no rows"),
        (lambda f: f, {"level": 5.0}, "level: got 5.0"),
        (lambda f: f.assign(upper_=1), {"by": ["status"]}, "by: the table has no column 'status'"),
    ],
)
def test_bad_tables_are_sentences(long, change, options, said):
    with pytest.raises(InputError, match=said):
        mcsim.read_replications(change(long), **options)


def test_a_column_for_each_estimator():
    rng = np.random.default_rng(0)
    columns = {name: rng.normal(size=20) for name in ("mean", "median")}
    wide = pd.DataFrame({"size": np.repeat([30, 60], 10), **columns, "se_a": 1.0, "se_b": 2.0})
    results = mcsim.read_replications(
        wide, value=["mean", "median"], se=["se_a", "se_b"], truth=0.0, by="size"
    )
    rows = results.replicates
    assert rows.groupby("estimator", sort=False)["se"].first().to_dict() == {"mean": 1, "median": 2}
    np.testing.assert_array_equal(rows.loc[rows["estimator"] == "median", "value"], wide["median"])
    assert [cell["design"] for cell in results.study["cells"]] == [{"size": 30}, {"size": 60}]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"value": ["mean", "mode"]}, "value: the table has no column 'mode'"),
        ({"value": ["mean", "median"], "se": ["size"]}, "se: got 1 columns, expected one for each"),
        ({"value": ["mean", "median"], "se": "size"}, "se: got 'size', expected a list, a column"),
        ({"value": "mean", "se": ["size"]}, r"se: got \['size'\], expected one column"),
    ],
)
def test_columns_of_estimators_are_checked(options, says):
    frame = pd.DataFrame({"mean": [1.0], "median": [2.0], "size": [1]})
    with pytest.raises(InputError, match=says):
        mcsim.read_replications(frame, truth=0.0, **options)


def test_columns_of_stata_are_the_example_of_the_remedy():
    frame = pd.DataFrame({"_b_x": [1.0], "_se_x": [1.0], "_b_cons": [1.0], "_se_cons": [1.0]})
    with pytest.raises(InputError, match=r"name it: value='_b_x', se='_se_x'$"):
        mcsim.read_replications(frame, truth=0.0)
