"""Estimates on the real data."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from patsy import PatsyError

import mcsim
from mcsim._data import about_names
from mcsim.errors import TooFewPeriods
from mcsim.estimators import did, difference_in_means


@mcsim.host(term="treat", estimand="att")
def ols(frame):
    return sm.OLS(frame["re78"], sm.add_constant(frame[["treat"]])).fit(cov_type="HC1")


def test_native_and_host_estimates_agree_on_lalonde():
    panel, schema = mcsim.from_frame(mcsim.datasets.load("lalonde_experimental"))
    native = difference_in_means("re78 ~ treat", vcov=["iid", "HC1"])
    rows = mcsim.estimate({"native": native, "ols": ols}, panel, schema=schema)
    rows = rows.set_index(["estimator", "inference"])
    assert rows.loc[("native", "HC1"), "value"] == pytest.approx(1794.342, abs=5e-4)
    assert rows.loc[("native", "HC1"), "se"] == pytest.approx(670.824, abs=5e-4)
    np.testing.assert_allclose(
        rows.loc[("native", "HC1"), ["value", "se"]].astype(float),
        rows.loc[("ols", ""), ["value", "se"]].astype(float),
        rtol=1e-10,
    )
    # without use_t statsmodels' robust results are normal, ours t with n - 2 degrees of freedom
    assert rows.loc[("ols", ""), "df"] == np.inf
    assert rows.loc[("native", "HC1"), "df"] == 443


def test_limits_are_wald_at_the_level():
    panel, _ = mcsim.from_frame(mcsim.datasets.load("lalonde_experimental"))
    row = mcsim.estimate(ols, panel, level=0.9).iloc[0]
    assert row["upper"] - row["value"] == pytest.approx(1.6448536 * row["se"], rel=1e-6)


def test_unknown_columns_are_named():
    panel, _ = mcsim.from_frame(mcsim.datasets.load("lalonde_experimental"))
    with pytest.raises(mcsim.errors.InputError, match="did you mean 're78'"):
        mcsim.estimate(difference_in_means("re79 ~ treat"), panel)


def test_an_exception_says_what_a_name_of_a_formula_is():
    index = pd.MultiIndex.from_product([range(5), range(2000, 2004)], names=["nr", "year"])
    panel, schema = mcsim.from_frame(pd.DataFrame({"y": np.arange(20.0) ** 2}, index=index))

    @mcsim.host(term="y")
    def dummies(frame):
        return smf.ols("y ~ C(year)", frame).fit()

    with pytest.raises(PatsyError) as caught:
        mcsim.estimate(dummies, panel, schema=schema)
    assert caught.value.__notes__ == [
        "'year' is in the index: frame.reset_index() makes it a column"
    ]


FRAME = pd.DataFrame({"y": [1.0, 4.0, 2.0, 8.0], "x": [0.0, 1.0, 1.0, 3.0]}).rename_axis("nr")


def test_a_cross_section_that_is_none_is_told_its_index():
    panel, _ = mcsim.from_frame(mcsim.datasets.load("lalonde_experimental"))
    with pytest.raises(TooFewPeriods, match=r"at least 2.*; a cross-section is for difference_in"):
        mcsim.estimate(did("re78 ~ treat"), panel)
    wages = mcsim.datasets.load("wage_panel")
    with pytest.warns(UserWarning, match="is this a panel"):
        panel, _ = mcsim.from_frame(wages)
    with pytest.raises(
        TooFewPeriods, match=r"from_frame\(frame, unit='nr', time='year'\)"
    ) as caught:
        mcsim.estimate(did("lwage ~ union"), panel)
    assert "difference_in_means" not in str(caught.value)


def library(name):
    return pytest.importorskip(name, reason=f"needs {name}")


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # of pyfixest
@pytest.mark.parametrize(
    ("fit", "said"),
    [
        (lambda frame: smf.ols("y ~ nr", frame), "'nr' is in the index"),
        (lambda frame: smf.ols("y ~ C(z)", frame), "the frame has no column 'z'"),
        (lambda frame: library("pyfixest").feols("y ~ x | nr", frame), "'nr' is in the index"),
        (
            lambda frame: library("pyfixest").feols("y ~ xx", frame),
            "no column 'xx'; did you mean 'x'?",
        ),
        (
            lambda frame: library("formulaic").model_matrix("y ~ log(z)", frame),
            "the frame has no column 'z'",
        ),
        (lambda frame: frame.query("z > 1"), "the frame has no column 'z'"),
        (lambda frame: frame[["y", "nr"]], "'nr' is in the index"),
        (lambda frame: frame[["nr"]], "'nr' is in the index"),
        (lambda frame: frame.drop(columns="z"), "the frame has no column 'z'"),
        (lambda frame: frame.nr, "'nr' is in the index"),
        (lambda frame: undefined, ""),  # type: ignore[name-defined]
        (lambda frame: frame["y"].nothing, ""),
        (lambda frame: np.linalg.inv(np.zeros((2, 2))), ""),
    ],
)
def test_names_that_a_frame_lacks_are_looked_up_whoever_misses_them(fit, said):
    with pytest.raises(Exception) as caught:
        fit(FRAME)
    found = about_names(caught.value, FRAME)
    assert said in found
    assert bool(said) == bool(found)
