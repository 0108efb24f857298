"""Verdicts: bars, intervals, what cannot be resolved, and the words."""

import numpy as np
import pytest

from mcsim._fidelity.estimates import (
    with_holm,
)
from mcsim._fidelity.verdicts import equivalence, in_two_sample_test, judged, panel_verdict, verdict

# Cross-sections


def record(measure, value, lower=np.nan, upper=np.nan, generator="g", arm="all"):
    return dict(
        generator=generator, measure=measure, arm=arm, value=value, lower=lower, upper=upper
    )


@pytest.mark.parametrize(
    ("value", "lower", "upper", "status"),
    [
        (0.52, 0.51, 0.53, "passes"),
        (0.58, 0.55, 0.61, "passes"),
        (0.63, 0.58, 0.68, "fails"),
        (0.55, 0.49, 0.61, "not resolvable"),
        (0.62, 0.45, 0.79, "not resolvable"),
        (np.nan, np.nan, np.nan, "missing"),
    ],
)
def test_status_weighs_the_interval_against_floor_and_bar(value, lower, upper, status):
    records = [
        record("auc_cross", 0.49, generator="real"),
        record("auc_cross", value, lower, upper),
    ]
    _, found = judged(records)
    assert found["status"] == status
    assert (found["baseline"], found["bar"]) == (0.5, 0.6)


def test_an_area_of_one_fold_has_the_noise_of_chance():
    """No spread over folds: too few rows to say that a classifier distinguishes nothing."""

    def status(half):
        single = record("auc_cross", 0.52) | {"null_lower": 0.5 - half, "null_upper": 0.5 + half}
        return judged([record("auc_cross", 0.49, generator="real"), single])[1]["status"]

    assert [status(half) for half in (0.03, 0.2)] == ["passes", "not resolvable"]


def test_a_value_below_the_floor_but_above_its_bar_is_not_resolvable():
    def status(value):
        records = [record("mass_points", 4.0, generator="real"), record("mass_points", value)]
        return judged(records)[1]["status"]

    # The bar does not depend on the noise of the real rows.
    noisy = record("mass_points", 4.0, -9.0, 17.0, generator="real")
    assert judged([noisy, record("mass_points", 0.8, 0.7, 0.9)])[1]["status"] == "passes"
    assert [status(v) for v in (0.8, 3.0, 5.0)] == ["passes", "not resolvable", "fails"]


def test_bars_are_read_against_real_rows():
    records = [record("duplicates", 10.0, generator="real"), record("duplicates", 14.0)]
    assert judged(records)[1]["bar"] == 12.0
    records = [record("transport", 2.0, generator="real"), record("transport", 2.2)]
    assert judged(records)[1]["status"] == "passes"


def test_a_floor_read_off_few_rows_makes_its_bar_uncertain():
    def status(spread):
        real = record("duplicates", 3.0, 3.0 - spread, 3.0 + spread, generator="real")
        return judged([real, record("duplicates", 6.0, 5.0, 7.0)])[1]["status"]

    assert [status(s) for s in (0.5, 4.0)] == ["fails", "not resolvable"]


def test_the_training_auc_is_judged_on_both_sides():
    def status(value):
        records = [record("auc_training", 0.5, generator="real"), record("auc_training", value)]
        return judged(records)[1]["status"]

    assert [status(v) for v in (0.3, 0.45, 0.55, 0.7)] == ["fails", "passes", "passes", "fails"]


def test_a_copied_arm_is_named():
    records = [
        record(m, v, arm=a, generator=g)
        for a, ratio in (("all", 0.95), ("treated", 0.1))
        for g in ("real", "g")
        for m, v in (("duplicates", 3.0), ("nn_ratio", 1.0 if g == "real" else ratio))
    ]
    words = verdict([r for r in judged(records) if r["generator"] == "g"], [])
    assert words.startswith(
        "copies its treated training rows (3 % exact duplicates, nearest-neighbor"
    )


# Estimates


def placed(p_values, draws=200):
    records = [
        {"estimator": f"e{k}", "estimand": "", "p_value": p, "draws": draws}
        for k, p in enumerate(p_values)
    ]
    return verdict([], with_holm(records))


def test_the_verdict_on_estimates_says_holm_and_what_it_cannot_resolve():
    assert placed([0.03]) == "would not produce your estimates: e0 (p 0.03)"
    two = "would not produce your estimates: e1 (p 0.02), by Holm over 2 estimates"
    assert placed([0.3, 0.01]) == two
    assert placed([0.03, 0.04]).endswith("your 2 estimates inside their sampling distributions")
    few = placed([2 / 201] + [0.5] * 11)
    assert few.endswith("not resolvable with 200 draws whether it would produce your 12 estimates "
                        "(draws=480 are enough)")  # fmt: skip
    assert "inside their sampling distributions" not in few
    assert placed([2 / 481] + [0.5] * 11, draws=480).startswith("would not produce")
    assert placed([0.5] * 12).endswith("your 12 estimates inside their sampling distributions")


# Panels


@pytest.mark.parametrize(
    ("interval", "word"),
    [
        ((-0.1, 0.149), "right"),
        ((0.151, 0.3), "wrong"),
        ((-0.9, -0.2), "wrong"),
        ((0.1, 0.2), "not resolvable"),
        ((-0.3, 0.3), "not resolvable"),
    ],
)
def test_equivalence(interval, word):
    assert equivalence(*interval) == word


def test_a_verdict_that_resolves_nothing_says_so():
    records = [
        {"outcome": "y", "placebo_date": b, "value": 0.0, "verdict": "not resolvable"}
        for b in (1, 2)
    ]
    score = {"value": 1.2, "against": "mixture", "generator": "vae", "ratio": 1.1}
    score |= {"ratio_lower": 0.9, "ratio_upper": 1.3}
    floor = {"duplicates": 0.0}
    own = {"duplicates": 0.0, "nn_ratio": 0.8, "auc_holdout": 0.6, "auc_holdout_p_value": 0.2}
    words = panel_verdict(records, score, own | {"auc_holdout_noise": 0.15}, floor, [])
    assert words == (
        "stays close to its training units (nearest-neighbor ratio 0.80); inference not resolvable "
        "at any of 2 placebo dates: too few units; panel score 1.20, 1.10 [0.90, 1.30] x the best "
        "reference that does not copy (mixture): not resolvable; classifier not resolvable (AUC "
        "0.60 ± 0.15, p 0.20): too few units"
    )


@pytest.mark.parametrize(
    ("n_held", "auc", "words"),
    [
        (20, 0.50, "classifier not resolvable (AUC 0.50 ± 0.18, p 0.50): too few units"),
        (
            300,
            0.50,
            "a classifier does not distinguish its units from real ones (AUC 0.50, p 0.50)",
        ),
        (300, 0.58, "classifier not resolvable (AUC 0.58 ± 0.05, p 0.50): too few units"),
    ],
)
def test_a_classifier_that_could_not_tell_is_not_resolvable(n_held, auc, words):
    """The sd of the Mann-Whitney statistic under its null: sqrt((2 n + 1) / 12) / n."""
    noise = 1.96 * np.sqrt((2 * n_held + 1) / 12) / n_held
    found = {"auc_holdout": auc, "auc_holdout_noise": noise, "auc_holdout_p_value": 0.5}
    assert in_two_sample_test(found) == words
