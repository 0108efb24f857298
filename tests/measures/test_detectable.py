"""The smallest effect with a power: beside the normal formula, with the error that repeats show."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import mcsim
from mcsim.errors import InputError
from mcsim.measures import detectable_effect

SE = 0.5
EFFECTS = np.arange(0.0, 2.6, 0.25)


def power_of(effects, se=SE, level=0.05):
    critical = norm.isf(level / 2)
    return norm.sf(critical - effects / se) + norm.cdf(-critical - effects / se)


def summary_of(shares, n, effects=EFFECTS):
    table = pd.DataFrame({"tau": effects, "rejection": shares})
    table["rejection_mcse"] = np.sqrt(table["rejection"] * (1 - table["rejection"]) / n)
    return table.assign(rejection_n=n)


@pytest.mark.parametrize(("power", "errors"), [(0.8, 2.8016), (0.5, 1.96), (0.9, 3.2415)])
def test_a_normal_test_detects_two_point_eight_standard_errors(power, errors):
    exact = detectable_effect(summary_of(power_of(EFFECTS), 10**9), power=power, effect="tau")
    assert exact["detectable_effect"].item() == pytest.approx(errors * SE, rel=2e-3)


def test_replications_give_the_effect_within_their_error():
    rng = np.random.default_rng(3)
    n = 4000
    frames = [
        pd.DataFrame({"tau": tau, "rep": np.arange(n), "value": rng.normal(tau, SE, n), "se": SE})
        for tau in EFFECTS
    ]
    table = mcsim.summarize(pd.concat(frames), by="tau", truth="tau", measures=["rejection"])
    (found,) = detectable_effect(table, effect="tau").itertuples()
    assert 0.004 < found.detectable_effect_mcse < 0.02
    assert abs(found.detectable_effect - 2.8016 * SE) < 3 * found.detectable_effect_mcse


def test_the_error_is_the_spread_over_repeated_studies():
    rng = np.random.default_rng(0)
    n, shares = 400, power_of(EFFECTS)
    found = pd.concat(
        detectable_effect(summary_of(rng.binomial(n, shares) / n, n), effect="tau")
        for _ in range(400)
    )
    spread = found["detectable_effect"].std()
    assert found["detectable_effect_mcse"].mean() == pytest.approx(spread, rel=0.15)


def test_a_share_that_falls_is_pooled_with_its_neighbor():
    shares = np.array([0.05, 0.6, 0.5, 0.9])
    pooled = np.array([0.05, 0.55, 0.55, 0.9])
    effects = np.array([0.0, 1.0, 2.0, 3.0])
    given, monotone = (
        detectable_effect(summary_of(s, 100, effects), effect="tau")["detectable_effect"].item()
        for s in (shares, pooled)
    )
    assert given == monotone
    assert 2.0 < given < 3.0


def test_negative_effects_are_read_by_size():
    table = summary_of(power_of(EFFECTS), 10**6, -EFFECTS)
    assert detectable_effect(table, effect="tau")["detectable_effect"].item() < -1.3


def test_an_effect_outside_the_grid_is_missing_with_the_reason():
    few = detectable_effect(summary_of(power_of(EFFECTS[:3]), 500, EFFECTS[:3]), effect="tau")
    assert np.isnan(few["detectable_effect"].item())
    assert few["note"].item() == "power is 0.17 at the largest tau, 0.5: add larger ones"
    many = detectable_effect(summary_of(power_of(EFFECTS[8:]), 500, EFFECTS[8:]), effect="tau")
    assert many["note"].item() == "power is 0.98 at the smallest tau, 2: add smaller ones"


def test_each_estimator_has_a_row():
    parts = [
        summary_of(power_of(EFFECTS, se), 1000).assign(estimator=name, n=n)
        for name, se, n in (("ols", 0.5, 50), ("iv", 0.6, 50))
    ]
    table = pd.concat(parts)[["n", "estimator", "tau", *parts[0].columns[1:4]]]
    found = detectable_effect(table, effect="tau")
    assert found["estimator"].tolist() == ["ols", "iv"]
    assert found["detectable_effect"].is_monotonic_increasing


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"power": 80}, "power: got 80, expected a number between 0 and 1"),
        ({}, {"effect": "tao"}, "effect: got 'tao'"),
        ({"tau": 1.0}, {}, "has one value, expected a grid"),
        ({"tau": np.linspace(-1, 1, len(EFFECTS))}, {}, "both signs"),
        ({"tau": "big"}, {}, "expected numbers"),
    ],
)
def test_wrong_arguments_are_sentences(change, options, message):
    table = summary_of(power_of(EFFECTS), 100).assign(**change)
    with pytest.raises(InputError, match=message):
        detectable_effect(table, **{"effect": "tau", **options})
    with pytest.raises(InputError, match='no "rejection"'):
        detectable_effect(table.drop(columns="rejection"), effect="tau")


def test_a_number_of_units_is_named_in_the_reason():
    table = pd.DataFrame({"n": [20, 40], "rejection": [0.2, 0.4], "rejection_mcse": 0.01})
    found = detectable_effect(table, effect="n")["note"].item()
    assert found == "power is 0.40 at the largest n, 40: add larger ones"
