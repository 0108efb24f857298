"""Gates: what passes, fails or is inconclusive, and how many replications are asked for."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest

import mcsim
from generators.fits import unchecked
from mcsim.errors import Inconclusive, InputError
from mcsim.testing import (
    assert_coverage,
    assert_se_calibrated,
    assert_size,
    assert_unbiased,
    constant_dgp,
    exact_estimator,
)

Z = 1.959963984540054


@pytest.fixture(scope="module")
def empty():
    """Results whose replications a test replaces."""
    study = mcsim.Study(constant_dgp(), {"mean": exact_estimator()})
    return mcsim.run(study, reps=8, progress=False)


def results_of(empty, n, bias=0.0, se=1.0, failed=0, truth=0.0, **columns):
    """Return results of n estimates N(truth + bias, 1), whose standard errors are `se`."""
    rng = np.random.default_rng(n)
    value, status = truth + bias + rng.normal(size=n), np.full(n, "ok", dtype=object)
    value[:failed], status[:failed] = np.nan, "singular"
    first = empty.replicates.iloc[np.zeros(n, int)].reset_index(drop=True)
    rows = first.assign(
        rep=np.arange(n),
        value=value,
        se=np.where(np.isnan(value), np.nan, se),
        truth=truth,
        status=status,
        lower=value - Z * se,
        upper=value + Z * se,
        p_value=np.nan,
        **columns,
    )
    return dataclasses.replace(empty, replicates=rows)


def test_few_replications_pass_nothing_and_many_forgive_what_lies_within(empty):
    with pytest.raises(Inconclusive, match="it needs about"):
        assert_coverage(results_of(empty, 50))
    assert_coverage(results_of(empty, 20_000))
    covers_945 = 1.918876 / Z  # P(|N(0, 1)| < 1.918876) = .945
    assert_coverage(results_of(empty, 1_000_000, se=covers_945))
    with pytest.raises(AssertionError, match=r"outside 0\.95 -\+ 0\.004"):
        assert_coverage(results_of(empty, 1_000_000, se=covers_945), within=0.004)


def test_the_replications_asked_for_settle_it(empty):
    with pytest.raises(Inconclusive) as caught:
        assert_coverage(results_of(empty, 1000))
    needed = int(re.search(r"about ([\d,]+) rep", str(caught.value))[1].replace(",", ""))
    assert 1000 < needed < 10_000
    assert_coverage(results_of(empty, 3 * needed))


@pytest.mark.parametrize(("bias", "outcome"), [(0.0, None), (0.3, AssertionError)])
def test_bias_is_judged_in_standard_errors(empty, bias, outcome):
    for scale in (1.0, 1e-6):
        results = results_of(empty, 4000, bias=bias)
        rows = results.replicates
        numbers = rows[["value", "se", "truth", "lower", "upper"]] * scale
        results = dataclasses.replace(results, replicates=rows.assign(**numbers))
        if outcome is None:
            assert_unbiased(results)
        else:
            with pytest.raises(outcome, match=r"standardized bias of mean: 0\.[23]"):
                assert_unbiased(results)


@pytest.mark.parametrize(("se", "fails"), [(1.0, False), (0.8, True), (1.25, True)])
def test_standard_errors_are_held_against_the_spread(empty, se, fails):
    results = results_of(empty, 4000, se=se)
    if not fails:
        assert_se_calibrated(results)
        return
    with pytest.raises(AssertionError, match="model SE / empirical SE of mean"):
        assert_se_calibrated(results)


def test_the_size_of_a_test(empty):
    assert_size(results_of(empty, 20_000))
    with pytest.raises(AssertionError, match=r"size of mean: 0\.1"):
        assert_size(results_of(empty, 20_000, se=0.8))
    with pytest.raises(
        InputError, match=r"study\.null: got 0\.0, but the truth of mean mean is 2, where"
    ):
        assert_size(results_of(empty, 100, truth=2.0))


def test_failed_replications_fail_the_gate_unless_it_allows_them(empty):
    results = results_of(empty, 20_000, failed=400)
    with pytest.raises(AssertionError, match="2 % of the replications failed, 0 % may"):
        assert_coverage(results)
    assert_coverage(results, most_failed=0.02)


def test_rows_are_chosen_by_name_and_each_must_pass(empty):
    good, bad = results_of(empty, 20_000), results_of(empty, 20_000, se=0.5)
    rows = pd.concat([good.replicates, bad.replicates.assign(estimator="half")])
    both = dataclasses.replace(good, replicates=rows)
    assert_coverage(both, estimator="mean")
    with pytest.raises(AssertionError, match=r"^coverage of half: 0\.6[^\n]*$"):
        assert_coverage(both)
    with pytest.raises(InputError, match=r"estimator: got 'hlf'; did you mean 'half'\?"):
        assert_coverage(both, estimator="hlf")


def test_a_row_that_fails_is_not_hidden_by_one_that_is_inconclusive(empty):
    few, bad = results_of(empty, 50), results_of(empty, 20_000, se=0.5)
    rows = pd.concat([few.replicates, bad.replicates.assign(estimator="half")])
    with pytest.raises(AssertionError, match="coverage of half"):
        assert_coverage(dataclasses.replace(few, replicates=rows))


def test_heavy_tails_settle_nothing(empty):
    results = results_of(empty, 4000)
    value = results.replicates["value"].to_numpy().copy()
    value[:3] = [1e6, -1e6, 1e6]
    heavy = dataclasses.replace(results, replicates=results.replicates.assign(value=value))
    for gate in (assert_unbiased, assert_se_calibrated):
        with pytest.raises(Inconclusive, match="heavy tails"):
            gate(heavy)


def test_an_estimate_that_does_not_vary_is_unbiased_or_not(empty):
    results = results_of(empty, 100)
    for bias, error in ((0.0, None), (1.0, AssertionError)):
        still = dataclasses.replace(results, replicates=results.replicates.assign(value=bias))
        if error is None:
            assert_unbiased(still)
        else:
            with pytest.raises(error):
                assert_unbiased(still)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"within": 0}, "within: got 0, expected a positive number"),
        ({"confidence": 1.0}, "confidence: got 1.0, expected a number from 0.5 to below 1"),
        ({"most_failed": 2}, "most_failed: got 2, expected a number from 0 to 1"),
    ],
)
def test_options_out_of_range_are_a_sentence(empty, options, message):
    with pytest.raises(InputError, match=re.escape(message)):
        assert_coverage(empty, **options)


def test_other_things_than_results_are_a_sentence():
    with unchecked(), pytest.raises(InputError, match="results: got DataFrame"):
        assert_coverage(pd.DataFrame())


def test_a_gate_without_replications_or_with_two_is_a_sentence(empty):
    none = dataclasses.replace(empty, replicates=empty.replicates.iloc[:0])
    for gate in (assert_coverage, assert_size, assert_unbiased, assert_se_calibrated):
        with pytest.raises(InputError, match=r"^results: hold no replications, expected some; run"):
            gate(none)
    two = results_of(empty, 2)
    with pytest.raises(Inconclusive, match="2 replications are too few to judge by; run some"):
        assert_unbiased(two)


def test_a_name_that_no_estimate_has_is_left_out(empty):
    results = results_of(empty, 100)
    with pytest.raises(InputError, match=r"'CR1'; the estimates have no inference, leave it out$"):
        assert_coverage(results, inference="CR1")
