"""Names of factors: refused when a study is made, or shown in every summary, table and figure."""

from dataclasses import replace

import numpy as np
import pytest

import mcsim
from mcsim import Estimate, Panel, Sample, Study, grid, plots, report
from mcsim.errors import InputError
from mcsim.measures import MEASURES
from mcsim.testing import constant_dgp, exact_estimator

ODD = ("self", "index", "level_0", "size", "sum", "missing", "ours", "z", "n", "reps", "cell")
"""Names of arguments and of columns, of pandas and of mcsim, that factors may have."""


def dgp(key, design):
    return constant_dgp()(key, design)


def noisy(key, panel):
    return {"mean": Estimate(panel["y"].mean(), 0.25)}


class Ensemble:
    """Two DGPs that a study tells apart by ``generator``."""

    def members(self):
        return {0: constant_dgp(), 1: constant_dgp(sd=2.0)}


@pytest.fixture(scope="module")
def results():
    designs = grid(**dict.fromkeys(ODD[1:], 3), self=[1, 2])
    return mcsim.run(Study(dgp, noisy, designs), reps=64, workers=0, progress=False)


def test_odd_names_stand_in_results_and_summaries(results):
    assert set(ODD) < set(results.replicates)
    for measures in (["bias", "coverage"], None):
        summary = results.summary(measures=measures)
        assert summary["self"].tolist() == [1, 2]
        assert (summary[list(ODD[1:])] == 3).all().all()
    averaged = results.summary(measures=["bias"], over="self")
    assert averaged["selfs"].tolist() == [2]


def test_odd_names_stand_in_tables_and_figures(results):
    for over in (None, "self", "n"):
        assert len(report.results_table(results, over=over)) == (1 if over == "self" else 2)
    assert "64 replications" in report.notes(results)
    assert plots.coverage(results).axes
    one = results.replicates["self"] == 1
    first = replace(results, replicates=results.replicates[one])
    assert plots.bias(first).axes
    assert plots.zip_plot(first).axes


def test_odd_names_are_compared(results):
    summary = results.summary(measures=["bias"])
    labels = summary[list(ODD)]
    published = labels.assign(measure="bias", published=summary["bias"] + summary["bias_mcse"])
    compared = mcsim.compare(summary, published)
    np.testing.assert_allclose(compared.table["z"], -1.0)
    assert [name.removesuffix(" (design)") for name in compared.labels] == list(ODD)
    assert compared.table["z (design)"].tolist() == [3, 3]
    shown = report.comparison_table(compared)
    assert shown["difference / MCSE"].tolist() == ["-1.0", "-1.0"]
    assert plots.comparison(compared).axes


def test_an_ensemble_with_a_factor_n_is_averaged():
    study = Study({"e": Ensemble()}, noisy, grid(n=[10, 20]))
    results = mcsim.run(study, reps=16, workers=0, progress=False)
    averaged = results.summary(measures=["bias"], over="generator")
    assert averaged["n"].tolist() == [10, 20]
    assert averaged["generators"].tolist() == [2, 2]
    assert report.results_table(results, measures=["bias"])["n"].tolist() == ["10", "20"]
    every = results.summary(measures=None, over="generator")
    assert every["n"].tolist() == [10, 20]


def test_a_plural_that_is_a_factor_keeps_its_column():
    study = Study(dgp, exact_estimator(), grid(rhos=[7], rho=[1, 2]))
    results = mcsim.run(study, reps=8, workers=0, progress=False)
    averaged = results.summary(measures=["bias"], over="rho")
    assert averaged["rhos"].tolist() == [7]
    assert averaged["values of rho"].tolist() == [2]


COLUMNS = [
    *(name for name in MEASURES if name != "n"), "bias_mcse", "coverage_lower", "rmse_n",
    "width_between", "kind", "mcse", "given_shocks", "generators", "measure", "published",
    "published_mcse", "decimals", "generator",
]  # fmt: skip


@pytest.mark.parametrize("name", COLUMNS)
def test_a_factor_with_the_name_of_a_column_of_results_is_refused(name):
    with pytest.raises(InputError, match=f"designs: the factor '{name}'"):
        Study(dgp, exact_estimator(), grid(**{name: [1, 2]}))


def test_every_column_of_a_summary_is_a_label_or_refused(results):
    labels = {"dgp", "estimator", "estimand", "inference", *ODD}
    for column in set(results.summary(measures=None)) - labels:
        with pytest.raises(InputError, match=column):
            Study(dgp, exact_estimator(), grid(**{column: [1, 2]}))


def test_whole_numbers_that_columns_do_not_hold_are_refused():
    with pytest.raises(InputError, match=r"factor 'k': got 9223372036854775808, .* below 2\*\*63"):
        grid(k=[2**63])
    largest = grid(k=[2**63 - 1, -(2**63)])
    results = mcsim.run(Study(dgp, exact_estimator(), largest), reps=2, workers=0, progress=False)
    assert results.summary(measures=["bias"])["k"].tolist() == [2**63 - 1, -(2**63)]


def test_names_of_factors_are_words():
    with pytest.raises(InputError, match="expected a name of at least one letter"):
        mcsim.Design({"": 1})


def test_a_sample_of_a_design_is_read_by_name():
    design = mcsim.Design({"n": 3})
    sample = Sample(Panel({"y": [1.0, 2.0]}), {})
    with pytest.raises(InputError, match=r"design\.n: write design\['n'\]"):
        _ = design.n
    with pytest.raises(AttributeError, match=r"panel\.y: write panel\['y'\]"):
        _ = sample.panel.y
    assert not hasattr(design, "m")
    assert not hasattr(sample.panel, "__wrapped__")
