"""Type S and type M errors: signs and sizes of what is significant."""

import numpy as np
import pandas as pd
from scipy import stats

from mcsim.measures import summarize

MEASURES = ["rejection", "type_s", "type_m"]


def estimates(n=400_000, truth=0.02, se=0.081, seed=0):
    value = truth + se * np.random.default_rng(seed).normal(size=n)
    return pd.DataFrame({"rep": np.arange(n), "value": value, "se": se, "truth": truth})


def test_the_example_of_gelman_and_carlin():
    """Estimates N(.02, .081^2) at 5 %: power .0570, type S .240, type M 9.54, by integration."""
    truth, se, z = 0.02, 0.081, stats.norm.ppf(0.975)
    above, below = (stats.norm(truth, se).expect(abs, lb=lo, ub=hi)
                    for lo, hi in ((z * se, 5), (-5, -z * se)))  # fmt: skip
    up, down = stats.norm.sf(z - truth / se), stats.norm.cdf(-z - truth / se)
    expected = {"rejection": up + down, "type_s": down / (up + down)}
    expected["type_m"] = (above + below) / (up + down) / truth
    np.testing.assert_allclose(list(expected.values()), [0.0570, 0.240, 9.54], rtol=4e-3)
    table = summarize(estimates(), measures=MEASURES).iloc[0]
    for name, value in expected.items():
        assert abs(table[name] - value) < 4 * table[f"{name}_mcse"]


def test_their_errors_are_those_of_repeated_simulation():
    tables = [summarize(estimates(4000, seed=seed), measures=MEASURES) for seed in range(300)]
    table = pd.concat(tables)
    for name in ("type_s", "type_m"):
        ratio = table[f"{name}_mcse"].mean() / table[name].std()
        assert abs(ratio - 1) < 4 / np.sqrt(2 * 300)


def test_they_are_about_the_null():
    shifted = estimates(10_000).assign(truth=1.02)
    shifted["value"] += 1.0
    at_one = summarize(shifted, null=1.0, measures=MEASURES)
    at_zero = summarize(estimates(10_000), measures=MEASURES)
    np.testing.assert_allclose(at_one[MEASURES], at_zero[MEASURES], rtol=1e-9)


def test_under_a_true_null_they_are_not_defined():
    table = summarize(estimates(1000, truth=0.0), measures=MEASURES).iloc[0]
    assert np.isnan(table["type_s"])
    assert np.isnan(table["type_m"])
    assert table["type_s_n"] == table["type_m_n"] == 0
