"""The benchmark of predicted rates: errors by hand, distributions' moments, a run that goes on."""

import jax
import numpy as np
import pandas as pd
import pytest

from benchmarks.predicted_rates.distributions import DISTRIBUTIONS, realized
from benchmarks.predicted_rates.rates import METHODS, all_rates, key_of
from benchmarks.predicted_rates.tables import as_text, averages, errors
from mcsim import Design

N_UNITS = 4000


def by_hand():
    """Two methods on three realizations: errors of 1, 2, 3 points, and of 1, -1, 1."""
    predicted = {"raw panel": (0.11, 0.12, 0.13), "other": (0.11, 0.09, 0.11)}
    return pd.DataFrame(
        {
            "distribution": "one",
            "design": "few",
            "inference": "CR1",
            "method": method,
            "realization": number,
            "rejection": rate,
            "true_rejection": 0.10,
            "empirical_se": 2.0 if method == "other" else 1.0,
            "true_empirical_se": 1.0,
        }
        for method, rates in predicted.items()
        for number, rate in enumerate(rates)
    )


def test_errors_are_those_of_a_hand_calculation():
    raw, other = errors(by_hand()).to_dict("records")
    assert raw["rmse"] == pytest.approx(np.sqrt(14 / 3))
    assert (raw["bias"], raw["spread"]) == pytest.approx((2.0, 1.0))
    assert np.isnan(raw["paired"])
    assert other["rmse"] == pytest.approx(1.0)
    differences = np.array([0.0, -3.0, -8.0])
    assert other["paired"] == pytest.approx(differences.mean() / (differences.std(ddof=1) / 3**0.5))
    assert (other["log_sd"], other["log_sd_paired"]) == pytest.approx((np.log(2), np.log(2)))
    assert other["rmse_lower"] <= other["rmse"] <= other["rmse_upper"]


def test_tables_have_a_row_per_distribution_and_a_mean_over_them():
    table = errors(by_hand())
    assert "bias +2.0" in as_text(table, "few", "CR1")
    assert averages(table)["largest"].tolist() == pytest.approx(table["rmse"].tolist())


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_paths_are_stationary_and_what_is_common_stands(name):
    """Changes of many units have one scale early and late, around the factor's; draws differ."""
    one, drawn = DISTRIBUTIONS[name], realized(name, jax.random.key(1))
    shape = N_UNITS, one.n_periods
    first, second = (one.draw(jax.random.key(k), shape, drawn.path) for k in (2, 3))
    assert not np.array_equal(first, second)
    changes = np.log1p(np.abs(np.diff(first, axis=1) - np.diff(drawn.path))).mean(axis=0)
    assert changes[0] == pytest.approx(changes[-1], rel=0.15)
    panel = drawn(jax.random.key(4), Design()).panel
    assert (panel.n_units, panel.n_periods) == (one.n_units, one.n_periods)


def test_keys_differ_by_distribution_realization_and_part():
    keys = [
        tuple(jax.random.key_data(key_of(name, number, part)).tolist())
        for name in DISTRIBUTIONS
        for number in range(2)
        for part in range(3)
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.slow
def test_a_run_goes_on_where_it_was_stopped(tmp_path):
    """What was computed is read: a rate that was changed in its file stands in the table."""
    asked = ["N = 12, T = 30"], 1, ("CR1",), (64, 64)
    first = all_rates(tmp_path, *asked)
    assert set(first["method"]) == set(METHODS)
    file = tmp_path / "N_=_12,_T_=_30" / "0.csv"
    pd.read_csv(file).assign(rejection=0.5).to_csv(file, index=False)
    assert (all_rates(tmp_path, *asked)["rejection"] == 0.5).all()
