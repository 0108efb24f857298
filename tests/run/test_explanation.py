"""Why estimators fail on a panel, in sentences."""

import numpy as np
import pytest

import mcsim
from mcsim import Panel
from mcsim.estimators import (
    aipw,
    did,
    difference_in_means,
    event_study,
    fixed_effects,
    ols,
    synthetic_control,
)

TREATED = (np.arange(10) < 4)[:, None] * np.ones((1, 5))
AFTER = (np.arange(5) > 2) * np.ones((10, 1))
Y = np.random.default_rng(0).normal(size=(10, 5))

PANEL = Panel(
    {
        "y": Y,
        "d": TREATED * AFTER,
        "always": TREATED,
        "never": 0 * Y,
        "once": TREATED * (np.arange(5) == 2),
        "common": AFTER,
        "hours": np.abs(Y) * 1000.0 + 2.0,
        "black": np.arange(10)[:, None] % 2 * np.ones((10, 5)),
        "year": np.arange(5) * np.ones((10, 1)),
        "low": np.arange(50.0).reshape(10, 5) - 2.0,
    }
)

CROSS_SECTION = Panel(
    {
        "y": Y[:, 0],
        "d": TREATED[:, 0],
        "age": Y[:, 1],
        "three": np.full(10, 3),
        "coded": TREATED[:, 0] + 1,
    }
)


@pytest.mark.parametrize(
    ("estimator", "panel", "reason"),
    [
        (did("y ~ hours"), PANEL, "treatment 'hours' must hold 0 and 1, got "),
        (aipw("d ~ y | age"), CROSS_SECTION, "are outcome and treatment swapped?"),
        (difference_in_means("y ~ coded"), CROSS_SECTION, "make it one, frame['coded'] == 2"),
        (did("y ~ never"), PANEL, "nobody is treated: treatment 'never' is 0 in every row"),
        (
            difference_in_means("y ~ d"),
            CROSS_SECTION.take(slice(0, 4)),
            "nobody is untreated: treatment 'd' is 1 in every row",
        ),
        (did("y ~ always"), PANEL, "no period before treatment: where 'always' is ever 1"),
        (
            event_study("y ~ common", leads=1, lags=1),
            PANEL,
            "no control: in every period in which anyone has",
        ),
        (synthetic_control("y ~ once"), PANEL, "4 of 4 treated units give the treatment 'once' up"),
        (fixed_effects("y ~ black | unit + time"), PANEL, "'black' does not vary within units"),
        (fixed_effects("y ~ year | unit + time"), PANEL, "'year' does not vary within periods"),
        (fixed_effects("y ~ never | unit"), PANEL, "'never' is the same in every row"),
        (ols("y ~ three"), CROSS_SECTION, "'three' is the same in every row"),
        (
            ols("y ~ log(low)"),
            PANEL,
            "log(low) is no number in 3 of 50 rows, as where low = -2; leave these rows out",
        ),
        (
            ols("log(never) ~ hours"),
            PANEL,
            "log(never) is no number in 50 of 50 rows, as where never = 0",
        ),
        (
            ols("y ~ age + I(age**2)"),
            CROSS_SECTION.take(slice(0, 3)),
            "3 rows are too few for 3 coefficients and effects",
        ),
        (
            ols("y ~ sqrt(three) + I(1 / sqrt(age))"),
            CROSS_SECTION,
            "I(1 / sqrt(age)) is no number in ",
        ),
    ],
    ids=lambda part: str(part)[:40],
)
def test_a_panel_on_which_an_estimator_fails_says_why(estimator, panel, reason):
    assert reason in estimator.explain(panel)


@pytest.mark.parametrize(
    "estimator",
    [
        did("y ~ d"),
        event_study("y ~ d", leads=1, lags=1),
        fixed_effects("y ~ hours + lag(y) | unit + time"),
    ],
)
def test_where_nothing_is_wrong_nothing_is_said(estimator):
    assert estimator.explain(PANEL) == ""


def test_cells_that_are_not_observed_explain_nothing():
    mask = PANEL["low"] > 0
    gaps = Panel({name: PANEL[name] for name in PANEL}, mask)
    assert ols("y ~ log(low)").explain(gaps) == ""


def test_an_estimator_of_the_user_may_explain_itself():
    class Picky:
        name = "picky"

        def __call__(self, key, panel):
            return mcsim.Estimate(np.nan, status=mcsim.Status.INVALID_INPUT)

        def explain(self, panel):
            return f"it wants more than {panel.n_units} units"

    with pytest.warns(UserWarning, match="picky: invalid_input: it wants more than 10 units"):
        mcsim.estimate(Picky(), CROSS_SECTION)
