"""Published figures beside a study's own."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mcsim
from mcsim import plots, report
from mcsim.errors import InputError
from mcsim.testing import constant_dgp, exact_estimator

SUMMARY = pd.DataFrame(
    {
        "rho": [0.0, 0.5, 0.8],
        "bias": [0.10, 0.20, 0.40],
        "bias_mcse": [0.03, 0.03, 0.04],
        "coverage": [0.95, 0.90, np.nan],
        "coverage_mcse": [0.005, 0.006, np.nan],
    }
)


def paper(**columns):
    figures = {"rho": [0.0, 0.8], "measure": ["bias", "bias"], "published": [0.07, 0.31]}
    return pd.DataFrame({**figures, **columns})


def test_differences_are_in_combined_errors():
    table = mcsim.compare(SUMMARY, paper(published_mcse=[0.04, 0.03])).table
    np.testing.assert_allclose(table["z"], [0.03 / 0.05, 0.09 / 0.05])
    assert list(table.columns) == [
        "rho", "measure", "published", "published_mcse", "ours", "mcse", "z",
    ]  # fmt: skip


def test_chi_square_is_that_of_scipy():
    compared = mcsim.compare(SUMMARY, paper())
    z = np.array([0.03 / 0.03, 0.09 / 0.04])
    assert compared.chi_square == pytest.approx((z**2).sum())
    assert compared.p_value == pytest.approx(stats.chi2.sf((z**2).sum(), 2))
    assert compared.largest == pytest.approx(z.max())


def test_rounding_of_print_is_an_error_of_its_own():
    exact = mcsim.compare(SUMMARY, paper()).table
    rounded = mcsim.compare(SUMMARY, paper(decimals=[2, 1])).table
    np.testing.assert_allclose(rounded["published_mcse"], [0.01 / 12**0.5, 0.1 / 12**0.5])
    assert (rounded["z"].abs() < exact["z"].abs()).all()


def test_errors_of_published_figures_follow_from_their_replications():
    summary = SUMMARY.assign(bias_n=[100, 100, 100])
    table = mcsim.compare(summary, paper(published_reps=[400, np.nan])).table
    np.testing.assert_allclose(table["published_mcse"], [0.03 / 2, 0.0])


def test_published_shares_tell_their_own_error():
    summary = pd.DataFrame({"rejection": [0.0], "rejection_mcse": [0.0], "rejection_n": [100]})
    figure = pd.DataFrame({"measure": ["rejection"], "published": [0.1], "published_reps": [900]})
    table = mcsim.compare(summary, figure).table
    np.testing.assert_allclose(table["z"], [-0.1 / (0.1 * 0.9 / 900) ** 0.5])


def test_floating_point_is_no_difference():
    summary = SUMMARY.assign(bias=SUMMARY["bias"] + 1e-14, bias_mcse=1e-17)
    assert mcsim.compare(summary, paper(published=[0.1, 0.4])).table["z"].tolist() == [0.0, 0.0]


def test_figures_without_errors_agree_or_do_not():
    summary = SUMMARY.assign(bias_mcse=0.0)
    table = mcsim.compare(summary, paper(published=[0.1, 0.31])).table
    assert table["z"].tolist() == [0.0, np.inf]


def test_what_the_study_does_not_have_is_missing_and_counted():
    figures = pd.DataFrame({"rho": [0.9, 0.8, 0.0], "measure": ["bias", "coverage", "bias"]})
    compared = mcsim.compare(SUMMARY, figures.assign(published=0.1))
    assert compared.table["z"].isna().tolist() == [True, True, False]
    assert compared.df == 1
    assert "1 of 3 figures" in str(compared)


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        (pd.DataFrame({"rh": [0.0], "measure": ["bias"], "published": [0.1]}), "mean 'rho'"),
        (pd.DataFrame({"rho": [0.0], "measure": ["biass"], "published": [0.1]}), "mean 'bias'"),
        (pd.DataFrame({"rho": [0.0], "measure": ["bias"]}), "no column 'published'"),
        (pd.DataFrame({"measure": ["bias"], "published": [0.1]}), "fits 3 rows"),
        (paper().iloc[:0], "got no rows"),
    ],
)
def test_wrong_figures_are_sentences(figures, message):
    with pytest.raises(InputError, match=message):
        mcsim.compare(SUMMARY, figures)


def test_table_and_figure():
    compared = mcsim.compare(SUMMARY, paper(published_mcse=[0.04, 0.03]))
    table = report.comparison_table(compared)
    assert table["difference / MCSE"].tolist() == ["+0.6", "+1.8"]
    assert table["ours"].tolist() == ["0.100 (0.030)", "0.400 (0.040)"]
    axes = plots.comparison(compared).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0.0", "0.8"]


def test_it_is_written_where_it_is_wanted(tmp_path, capsys):
    report.write_comparison(mcsim.compare(SUMMARY, paper()), tmp_path / "figures")
    assert "2 of 2 figures" in capsys.readouterr().out
    assert (tmp_path / "figures" / "comparison.md").read_text().startswith("| rho")
    assert (tmp_path / "figures" / "comparison.png").stat().st_size > 1000


def test_a_study_says_how_many_replications_it_needs():
    study = mcsim.Study(dgp=constant_dgp(truth=1.0), estimators=exact_estimator(truth=1.0), reps=7)
    assert len(mcsim.run(study, workers=0, progress=False).replicates) == 7
    assert len(mcsim.run(study, reps=3, workers=0, progress=False).replicates) == 3
    with pytest.raises(InputError, match="reps: got 0"):
        mcsim.Study(dgp=constant_dgp(), estimators=exact_estimator(), reps=0)
