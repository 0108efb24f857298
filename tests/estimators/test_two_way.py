"""Two-way fixed effects: did, event studies and weights of cells, against pyfixest and by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adoption_panels import (
    EXACT,
    KEY,
    REFERENCE,
    att,
    no_never_treated,
    reference_panel,
    staggered,
    statuses,
    three_cohorts,
    values,
)
from mcsim import Panel, Status
from mcsim.estimators import did, event_study, fixed_effects, twfe_weights

weights_of = jax.jit(twfe_weights, static_argnums=1)
"""As one program, not an operation at a time."""


def test_two_way_weights_of_three_cohorts():
    columns = three_cohorts()
    weights = weights_of(Panel(columns), "y ~ d")
    expected = np.zeros((6, 5))
    expected[2:4, 3:], expected[4:, 1:] = 0.3125, [0.25, 0.25, -0.0625, -0.0625]
    np.testing.assert_allclose(2 * weights, expected, atol=1e-14)
    effects = columns["d"] * np.cumsum(columns["d"], axis=1)
    np.testing.assert_allclose((weights * effects).sum(), 1.25, rtol=1e-13)


def test_the_illustration_of_de_chaisemartin_and_dhaultfoeuille():
    d = np.array([[0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
    effects = np.array([[0.0, 1.0, 4.0], [0.0, 0.0, 1.0]])
    weights = weights_of(Panel({"y": d, "d": d}), "y ~ d")
    np.testing.assert_allclose(weights, [[0, 1, -0.5], [0, 0, 0.5]], atol=1e-14)
    found = att(did("y ~ d", vcov="HC0"), {"y": effects, "d": d})
    np.testing.assert_allclose(found.value, -0.5, rtol=1e-13)


@functools.cache
def fit_did(name, covariate):
    """One fit with every variance, which several cases read."""
    formula = "y ~ d" + (f" | {covariate}" if covariate else "")
    return did(formula, vcov=["iid", "HC1", "CR1"])(KEY, reference_panel(name))


@pytest.mark.parametrize("case", REFERENCE["did"])
def test_did_equals_pyfixest(case):
    name, covariate, vcov = case.split(" | ")
    found = fit_did(name, covariate)["att", vcov]
    np.testing.assert_allclose([found.value, found.se], REFERENCE["did"][case], **EXACT)


@pytest.mark.parametrize("case", REFERENCE["event_study"])
def test_event_study_equals_pyfixest(case):
    window = {"leads": 4, "lags": 3} if case == "all" else {"leads": 2, "lags": 2, "ends": case}
    found = values(event_study("y ~ d", **window), reference_panel())
    expected = REFERENCE["event_study"][case]
    assert len(found) == len(expected)
    is_binned, last = case in ("all", "binned"), window["lags"]
    ends = {f"-{window['leads']}": f"-{window['leads']}-", f"{last}": f"{last}+"}
    names = {"att": f"0..{last}+" if is_binned else f"0..{last}"} | (ends if is_binned else {})
    for time, numbers in expected.items():
        name = f"att[{names.get(time, time)}]"
        np.testing.assert_allclose(found[name], numbers, **EXACT)


def test_the_weights_give_the_coefficient_of_noiseless_effects():
    columns = staggered(2)
    mask = jnp.asarray(np.random.default_rng(1).uniform(size=(40, 6)) > 0.2)
    effects = np.random.default_rng(2).normal(size=(40, 6))
    y = columns["d"] * effects + np.arange(40)[:, None] + np.arange(6)
    panel = Panel({**columns, "y": y}, mask)
    weights = weights_of(panel, "y ~ d | z")
    np.testing.assert_allclose((weights * (columns["d"] == 1)).sum(), 1.0, rtol=1e-12)
    np.testing.assert_allclose(np.asarray(weights)[~np.asarray(mask)], 0.0)
    found = att(did("y ~ d | z"), {**columns, "y": y}, mask)
    with_z = (weights * effects).sum()
    np.testing.assert_allclose(found.value, with_z, rtol=1e-10)


VCOVS = ["iid", "HC3", "CR1", "CR2:BM", "CR3", "DK(1)", "wild"]


@functools.cache
def fit_twice():
    """An event study, and the regression whose coefficient is its average."""
    columns = staggered(0)
    exposure = np.cumsum(columns["d"], axis=1)
    first, later = exposure == 1, exposure >= 2
    panel = Panel(columns | {"a": 2.0 * first, "b": later * 1.0 - first})
    study = event_study("y ~ d", leads=1, lags=1, vcov=VCOVS)
    other = fixed_effects("y ~ a + b | unit + time", term="a", estimand="att", vcov=VCOVS)
    return study(KEY, panel), other(KEY, panel)


@pytest.mark.parametrize("vcov", VCOVS)
def test_the_average_of_an_event_study_is_a_coefficient_like_others(vcov):
    """With regressors 2 D0 and D1 - D0 the first coefficient is the mean of those of D0 and D1."""
    study, other = fit_twice()
    average = [estimate for (_, name), estimate in study.items() if name == vcov][-1]
    np.testing.assert_allclose(average, other["att", vcov], rtol=1e-8)


def test_without_never_treated_an_event_study_needs_two_references():
    columns = no_never_treated(staggered(0))
    one = event_study("y ~ d", leads=5, lags=4)
    two_of_them = event_study("y ~ d", leads=5, lags=4, reference=(-5, -1))
    assert statuses(one, columns) == {Status.SINGULAR}
    assert statuses(two_of_them, columns) == {Status.OK}


@pytest.mark.parametrize("ssc", ["fixest-0.13", "stata-areg"])
def test_did_counts_as_fixed_effects_do(ssc):
    rng = np.random.default_rng(3)
    mask = rng.random((15, 8)) < 0.7
    mask[:2] = False
    mask[0, 1] = mask[1, 4] = True  # seen once
    d = (np.arange(8) >= 4) * (np.arange(15) % 2 == 0)[:, None] * 1.0
    panel = Panel({"y": rng.normal(size=(15, 8)), "d": d}, mask=jnp.asarray(mask))
    names = ["iid", "HC1", "CR1", "DK(1)"]
    one = did("y ~ d", vcov=names, ssc=ssc)(None, panel)
    other = fixed_effects("y ~ d | unit + time", vcov=names, ssc=ssc)(None, panel)
    for name in names:
        for field in ("value", "se", "df"):
            mine, theirs = (getattr(e, field) for e in (one["att", name], other["d", name]))
            np.testing.assert_allclose(mine, theirs, rtol=1e-12, err_msg=name)
