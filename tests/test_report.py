"""Tables: the right figures in the right units, with their errors, safely escaped."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import mcsim
from mcsim import report
from mcsim.testing import constant_dgp, exact_estimator


@pytest.fixture(scope="module")
def results() -> mcsim.Results:
    study = mcsim.Study(
        dgp=constant_dgp(truth=2000.0, sd=500.0),
        estimators={
            "right": exact_estimator(truth=2000.0, se=100.0),
            "wrong": exact_estimator(truth=2000.0, bias=-400.0, se=100.0),
        },
        scale=1000.0,
        unit="thousand dollars",
    )
    return mcsim.run(study, reps=50, workers=0, progress=False)


def test_scale_divides_outcome_units_only(results):
    table = report.results_table(results).set_index("estimator")
    assert table.loc["wrong", "bias"].startswith("-0.40 ")
    assert table.loc["wrong", "coverage"].startswith("0.00")
    assert table.loc["right", "model se"].startswith("0.10 ")
    assert table.loc["right", "coverage"].startswith("1.00")


def test_mse_is_divided_by_the_square_of_the_scale(results):
    table = report.results_table(results, measures=["mse"]).set_index("estimator")
    assert table.loc["wrong", "mse"].startswith("0.16 ")


def test_columns_that_tell_nothing_apart_are_left_out(results):
    assert list(report.results_table(results).columns[:2]) == ["dgp", "estimator"]
    assert "estimand" not in report.results_table(results)


def test_digits_follow_the_monte_carlo_error():
    summary = pd.DataFrame({"bias": [0.12345, 1.5], "bias_mcse": [0.0012, 0.0011]})
    assert report._figures(summary, "bias", 1.0) == ["0.123 (0.001)", "1.500 (0.001)"]


def test_missing_figures_are_dashes():
    summary = pd.DataFrame({"bias": [np.nan], "bias_mcse": [np.nan]})
    assert report._figures(summary, "bias", 1.0) == ["-"]


def test_latex_and_markdown_escape_names():
    table = pd.DataFrame({"estimator": ["50%_|\\input{x}"], "bias": ["0.1"]})
    latex = report.as_latex(table)
    assert "\\input" not in latex
    assert "50\\%\\_" in latex
    assert "50%_\\|" in report.as_markdown(table)


def test_notes_state_replications_units_and_caveats(results):
    notes = report.notes(results)
    assert "50 replications" in notes
    assert "thousand dollars" in notes
    assert "Caveat:" in notes


LABELS = ("CR1", "DK(2)", "CR1(a + b)", "CR1(time)", "CR1(state)")


def regression(key, panel):
    """Standard errors of one mean."""
    mean = panel["y"].mean()
    return {("mean", name): mcsim.Estimate(mean, 1.0) for name in LABELS}


@pytest.fixture(scope="module")
def on_shocks(tmp_path_factory):
    """A study of two DGPs, the common shocks of one of which are fixed."""

    class OnGenerator:
        common_shocks = "fixed"

        def __call__(self, key, design):
            return constant_dgp(truth=1.0)(key, design)

    class Redrawn(OnGenerator):
        common_shocks = "redraw"

    dgps = {"kept": OnGenerator(), "drawn": Redrawn(), "other": constant_dgp(truth=1.0)}
    store = tmp_path_factory.mktemp("shocks") / "store"
    study = mcsim.Study(dgps, {"mean": regression})
    mcsim.run(study, reps=8, store=store, workers=0, progress=False)
    return mcsim.open(store)


def test_errors_that_allow_for_shocks_are_marked_where_shocks_are_fixed(on_shocks):
    table = report.results_table(on_shocks, measures=["empirical_se"])
    marked = table[table["inference"].str.contains("†")]
    assert marked["dgp"].unique().tolist() == ["kept"]
    assert marked["inference"].tolist() == ["DK(2) †", "CR1(a + b) †", "CR1(time) †"]
    assert report.notes(on_shocks).count("†") == 1
    summary = on_shocks.summary(measures=["empirical_se"])
    given = summary.loc[summary["given_shocks"], ["dgp", "inference"]]
    assert given["dgp"].tolist() == ["kept"] * 3
    assert given["inference"].tolist() == ["DK(2)", "CR1(a + b)", "CR1(time)"]
    assert "judged given these shocks" in report.notes(on_shocks)


def test_without_an_inference_column_the_estimator_is_marked(on_shocks):
    rows = on_shocks.replicates
    alone = replace(on_shocks, replicates=rows[rows["inference"] == "DK(2)"])
    table = report.results_table(alone, measures=["empirical_se"])
    assert table["estimator"].tolist() == ["mean †", "mean", "mean"]


def test_no_marks_without_fixed_shocks(results):
    assert "†" not in report.notes(results) + report.as_text(report.results_table(results))
    assert "given_shocks" not in results.summary()


def test_unknown_format_is_a_sentence():
    with pytest.raises(mcsim.errors.InputError, match="did you mean 'markdown'"):
        report.render(pd.DataFrame({"a": ["b"]}), "markdwn")


def test_wide_tables_are_broken_and_keep_their_labels():
    table = pd.DataFrame({"estimator": ["aipw"], "bias": ["1.00 (0.10)"], "rmse": ["2.00 (0.20)"]})
    text = report.as_text(table, width=30)
    assert text.count("estimator") == 2
    assert max(map(len, text.splitlines())) <= 30
    assert report.as_text(table, width=40).count("estimator") == 1


@pytest.mark.parametrize(("version", "told"), [("0.2.0", 1), ("0.3.0.dev0", 0)])
def test_rows_of_a_mended_variance_are_shown_with_a_remark(tmp_path, monkeypatch, version, told):
    """HC2 and HC3 under fixest-0.13 meant another number in stores of 0.2 (decision 0017)."""
    monkeypatch.setattr("mcsim._plan.__version__", version)
    panels = mcsim.dgps.ErrorComponents(n_units=8, n_periods=2)
    estimators = {
        "old": mcsim.estimators.ols("y ~ x", vcov=["HC2", "HC1"]),
        "same": mcsim.estimators.ols("y ~ x", vcov=["HC2"], ssc="none"),
    }
    study = mcsim.Study(dgp=panels, estimators=estimators)
    mcsim.run(study, reps=2, workers=0, progress=False, store=tmp_path)
    lines = report.notes(mcsim.open(tmp_path)).splitlines()
    found = [line for line in lines if "multiplied these variances with n/(n - k)" in line]
    assert len(found) == told
    assert all("HC2 of estimator 'old' were stored by mcsim 0.2" in line for line in found)
