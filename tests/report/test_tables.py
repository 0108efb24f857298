"""Tables: the right figures in the right units, with their errors, safely escaped."""

import re
from dataclasses import replace

import jax
import numpy as np
import pandas as pd
import pytest

import mcsim
from mcsim import report
from mcsim._core.markup import figure
from mcsim._results.display import figures
from mcsim._results.results import doubtful_se
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
    assert table.loc["wrong", "bias"] == "-0.40"  # without error: no replication differs
    assert table.loc["wrong", "coverage"].startswith("0.000 (")
    assert table.loc["right", "model se"] == "0.10"
    assert table.loc["right", "coverage"].startswith("1.000 (")


def test_mse_is_divided_by_the_square_of_the_scale(results):
    table = report.results_table(results, measures=["mse"]).set_index("estimator")
    assert table.loc["wrong", "mse"] == "0.16"


def test_columns_that_tell_nothing_apart_are_left_out(results):
    assert list(report.results_table(results).columns[:2]) == ["dgp", "estimator"]
    assert "estimand" not in report.results_table(results)


@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [
        (0.12345, 0.0012, "0.1235 (0.0012)"),
        (1.5, 0.011, "1.500 (0.011)"),
        (-0.00004, 0.01234, "0.000 (0.012)"),
        (0.12345, 0.00996, "0.123 (0.010)"),  # 0.0100 to two digits is 0.010
        (-1234.5678, 98.76, "-1235 (99)"),
        (-1234.5678, 987.6, "-1235 (988)"),
        (0.0009, 0.000004, "0.0009000 (0.0000040)"),
        (2.5e-10, 1.23e-11, "2.50e-10 (1.2e-11)"),
        (-1e300, 1.2e299, "-1.00e+300 (1.2e+299)"),
        (1e300, np.nan, "1.0e+300"),
        (0.0, 1e-12, "0 (1.0e-12)"),
        (-0.0, 0.0, "0.00"),
        (0.75, 0.0, "0.75"),
        (0.1, 1e-18, "0.10"),  # 1e-18 is what floating-point numbers leave
        (0.00042, np.nan, "0.00042"),
        (np.inf, np.nan, "inf"),
        (np.nan, np.nan, "-"),
    ],
)
def test_a_figure_has_two_digits_of_its_own_error(value, error, shown):
    assert figure(value, error) == shown


def test_a_spread_between_generators_has_two_digits_of_its_own():
    assert figure(0.1234, 0.0123, 0.00456) == "0.123 (0.012) [0.0046]"


def test_no_row_is_rounded_by_the_errors_of_another():
    """Factors of 100, 1 and .001: the last rows read -0.00 (0.00), width 0.0009 (0.0000)."""

    def draw(key, design):
        y = design["scale"] * jax.random.normal(key, (20,))
        return mcsim.Sample(mcsim.Panel({"y": y}), {"mean": 0.0})

    def mean(key, panel):
        y = panel["y"]
        return {"mean": mcsim.Estimate(y.mean(), y.std(ddof=1) / y.size**0.5, df=y.size - 1)}

    measures = ["bias", "empirical_se", "model_se", "width", "coverage"]
    study = mcsim.Study({"d": draw}, {"mean": mean}, mcsim.grid(scale=[100.0, 1.0, 0.001]))
    results = mcsim.run(study, reps=64, workers=0, progress=False)
    shown, summary = report.results_table(results, measures=measures), results.summary()
    assert summary["bias"].abs().min() < 1e-4
    for name in measures:
        for text in shown[name.replace("_", " ")]:
            value, error = text.strip(")").split(" (")
            assert len(re.sub(r"^0\.0*|\.", "", error)) == 2
            assert len(value.partition(".")[2]) == len(error.partition(".")[2])
    rows = results.summary(measures=["bias"])
    for text, value, error in zip(shown["bias"], rows["bias"], rows["bias_mcse"], strict=True):
        first, second = (float(part.strip("()")) for part in text.split())
        assert second == pytest.approx(error, rel=0.05)
        assert abs(first - value) < 0.05 * error


def test_estimates_on_real_data_show_two_digits_of_their_error_and_three_decimals():
    about = {"estimator": [*"abc"], "estimand": "att", "inference": "", "status": "ok"}
    numbers = {"value": [-0.1, 0.25, 250.0], "se": [0.4, 31.0, np.nan], "upper": 60.0}
    numbers |= {"lower": [-0.9, -60.0, np.nan]}
    table = report.estimates_table(pd.DataFrame(about | numbers), scale=1000.0)
    assert table["value"].tolist() == ["-0.00010", "0.000", "0.250"]
    assert table["se"].tolist() == ["0.00040", "0.031", "nan"]
    assert table["lower"].tolist() == ["-0.00090", "-0.060", "nan"]


def test_missing_figures_are_dashes():
    summary = pd.DataFrame({"bias": [np.nan], "bias_mcse": [np.nan]})
    assert figures(summary, "bias", 1.0) == ["-"]


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
    monkeypatch.setattr("mcsim._run.plan.__version__", version)
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


def drawn(values, se, truth=0.0):
    """Results of one estimator with these estimates and standard errors."""
    rows = {"dgp": "d", "estimator": "e", "estimand": "att", "inference": "HC1"}
    numbers = {"rep": np.arange(len(values)), "value": values, "se": se, "truth": truth}
    frame = pd.DataFrame({**numbers, "status": "ok"}).assign(**rows)
    frame = frame.assign(lower=np.nan, upper=np.nan, df=np.inf, p_value=np.nan)
    truth_frame = pd.DataFrame(columns=["dgp", "estimand", "value", "mcse", "kind"])
    no_failures = pd.DataFrame(columns=["estimator", "status", "replications"])
    study = {"cells": [], "level": 0.95, "null": 0.0}
    return mcsim.Results(frame, truth_frame, study, (), (), no_failures)


def normal(n, sd=1.0, seed=0):
    return sd * np.random.default_rng(seed).normal(size=n)


def test_a_variance_in_the_place_of_a_standard_error_is_noted():
    values = normal(64, sd=0.2)
    for results in (drawn(values, 0.04), drawn(values + 5, 0.04, truth=5.0)):
        (sentence,) = doubtful_se(results)
        assert sentence.startswith(
            "d e att HC1: the standard errors are 0.04, the standard deviation"
        )
        assert "is a variance in the place of the standard error" in sentence
        assert doubtful_se(results, variances_only=True) == [sentence]
    assert doubtful_se(drawn(values, np.sqrt(0.04))) == []


@pytest.mark.parametrize(("se", "noted"), [(0.2, 1), (0.4, 0), (1.0, 0), (2.5, 0), (5.0, 1)])
def test_standard_errors_beyond_three_times_the_spread_or_below_a_third_are_noted(se, noted):
    results = drawn(normal(400), se)
    assert len(doubtful_se(results)) == noted
    assert doubtful_se(results, variances_only=True) == []


def test_few_replications_and_heavy_tails_raise_no_alarm():
    for seed in range(400):
        n = 2 + seed % 9
        assert doubtful_se(drawn(normal(n, seed=seed), 1.0)) == []
    assert doubtful_se(drawn(normal(4), 0.2)) == []
    assert doubtful_se(drawn(normal(400), 0.31)) == []  # below a third, but not surely
    cauchy = np.random.default_rng(1).standard_cauchy(400)
    assert doubtful_se(drawn(cauchy, 1.0)) == []
    assert doubtful_se(drawn(normal(100), np.nan)) == []
    assert doubtful_se(drawn(np.zeros(100), 1.0)) == []


def test_a_doubtful_standard_error_stands_under_the_table():
    noisy = {"noisy": lambda key, panel: {"mean": mcsim.Estimate(panel["y"].mean(), 0.02)}}
    study = mcsim.Study(constant_dgp(), noisy)
    results = mcsim.run(study, reps=64, workers=0, progress=False)
    below = report.notes(results)
    assert "Note: constant_dgp noisy mean: the standard errors are 0.02, the standard dev" in below
