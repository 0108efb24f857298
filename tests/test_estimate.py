"""Estimates on the real data."""

import numpy as np
import pytest
import statsmodels.api as sm

import mcsim
from mcsim.estimators import difference_in_means


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
