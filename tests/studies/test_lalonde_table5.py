"""Athey, Imbens, Metzger & Munro (2024), Table 5, to the printed digits.

Estimates (standard errors) in thousand dollars on the real data: the experiment (E) and the
experiment's treated with controls from the CPS.
"""

import pytest

from mcsim import datasets, from_frame
from mcsim.estimators import aipw, difference_in_means, ipw, matching, outcome_regression

FORMULA = "re78 ~ treat | age + educ + black + hisp + marr + nodegree + re74 + re75"
PAPER = "aimm2024"
ROWS = {
    "DIFF": difference_in_means("re78 ~ treat", vcov=PAPER),
    "BCM": matching(FORMULA, vcov=PAPER),
    "Outcome L": outcome_regression(FORMULA, vcov=PAPER),
    "Propensity L": ipw(FORMULA, vcov=PAPER, trim=0.9),
    "DR L": aipw(FORMULA, vcov=PAPER, trim=0.9),
}
PRINTED = {
    ("lalonde_experimental", "DIFF"): ("1.79", "0.63"),
    ("lalonde_experimental", "BCM"): ("2.12", "0.88"),
    ("lalonde_experimental", "Outcome L"): ("1.79", "0.57"),
    ("lalonde_experimental", "Propensity L"): ("1.81", "0.83"),
    ("lalonde_experimental", "DR L"): ("1.80", "0.67"),
    ("lalonde_cps", "DIFF"): ("-8.50", "0.71"),
    ("lalonde_cps", "BCM"): ("2.15", "0.87"),
    ("lalonde_cps", "Outcome L"): ("0.69", "0.60"),
    ("lalonde_cps", "Propensity L"): ("1.18", "0.77"),
    ("lalonde_cps", "DR L"): ("1.27", "0.65"),
}


@pytest.fixture(scope="module")
def panels():
    return {name: from_frame(datasets.load(name))[0] for name, _ in PRINTED}


@pytest.mark.parametrize(("data", "row"), PRINTED)
def test_table_5_to_the_printed_digits(panels, data, row):
    estimate = ROWS[row](None, panels[data])["att", PAPER]
    printed = f"{estimate.value / 1000:.2f}", f"{estimate.se / 1000:.2f}"
    assert printed == PRINTED[data, row]


def test_the_papers_trimming_drops_nobody_on_these_data(panels):
    for panel in panels.values():
        trimmed = ipw(FORMULA, trim=0.9)(None, panel)["att", "sandwich"]
        assert trimmed.value == ipw(FORMULA)(None, panel)["att", "sandwich"].value


def test_matching_conventions_to_more_digits(panels):
    """2.120 (.876): ties averaged, controls weighted by match counts, one variance for all."""
    estimate = ROWS["BCM"](None, panels["lalonde_experimental"])["att", PAPER]
    assert f"{estimate.value / 1000:.3f} {estimate.se / 1000:.3f}" == "2.120 0.876"
