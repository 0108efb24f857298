"""Imputation of untreated outcomes against diff-diff, pyfixest and least squares on dummies."""

import functools

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from adoption_panels import EXACT, KEY, REFERENCE, att, reference_panel, staggered, values
from mcsim import Panel, Status
from mcsim.estimators import event_study, imputation


@functools.cache
def fit_imputation(name, covariate, horizons):
    """One fit with both variances, which two cases read."""
    formula = "y ~ d" + (f" | {covariate}" if covariate else "")
    estimator = imputation(formula, horizons=horizons, vcov=["bjs", "bjs:loo"])
    return estimator(KEY, reference_panel(name))


@pytest.mark.parametrize("case", REFERENCE["imputation"])
def test_imputation_equals_diff_diff(case):
    """With gaps the average only: diff-diff dates a start that is not observed, mcsim does not."""
    name, covariate, vcov = case.split(" | ")
    expected = REFERENCE["imputation"][case]
    horizons = tuple(int(time) for time in expected if time != "att")
    found = fit_imputation(name, covariate, horizons)
    for time, numbers in expected.items():
        if name != "unbalanced" or time == "att":
            ours = found["att" if time == "att" else f"att[{time}]", vcov]
            np.testing.assert_allclose([ours.value, ours.se], numbers, **EXACT, err_msg=time)


def test_imputation_has_the_value_of_did2s():
    found = values(imputation("y ~ d"), reference_panel())["att"][0]
    np.testing.assert_allclose(found, REFERENCE["did2s"], rtol=1e-6)  # theirs is iterative


def imputed_by_dummies(columns, mask, formula_has_z: bool):
    """Value and conservative standard error from least squares on all dummies."""
    y, d = columns["y"], columns["d"]
    n, n_periods = y.shape
    unit, period = np.indices(y.shape)
    dummies = np.hstack([np.eye(n)[unit[mask]], np.eye(n_periods)[period[mask]]])
    x = np.column_stack([dummies, columns["z"][mask]]) if formula_has_z else dummies
    on = d[mask] == 1
    project = x[on] @ np.linalg.pinv(x[~on], rcond=1e-10)
    effect = y[mask][on] - project @ y[mask][~on]
    weight = np.full(on.sum(), 1 / on.sum())
    v, error = np.empty(mask.sum()), np.empty(mask.sum())
    v[on], v[~on] = weight, -weight @ project
    error[~on] = y[mask][~on] - x[~on] @ np.linalg.pinv(x[~on], rcond=1e-10) @ y[mask][~on]
    seen = (d * mask).argmax(axis=1)  # adoption as far as it is observed
    cells = pd.DataFrame({"g": seen[unit[mask][on]], "t": period[mask][on]})
    error[on] = effect - cells.assign(e=effect).groupby(["g", "t"])["e"].transform("mean")
    sums = np.bincount(unit[mask], v * error, minlength=n)
    return weight @ effect, np.sqrt((sums**2).sum())


@pytest.mark.parametrize("formula", ["y ~ d", "y ~ d | z"])
@pytest.mark.parametrize("unbalanced", [False, True])
def test_imputation_equals_dummies(formula, unbalanced):
    columns = staggered(1)
    mask = np.ones((40, 6), bool)
    if unbalanced:
        mask = np.random.default_rng(5).uniform(size=(40, 6)) > 0.15
        mask[:, 0] = True
    expected = imputed_by_dummies(columns, mask, "z" in formula)
    broken = {name: np.where(mask, column, np.nan) for name, column in columns.items()}
    found = att(imputation(formula), broken, jnp.asarray(mask) if unbalanced else None)
    np.testing.assert_allclose([found.value, found.se], expected, rtol=1e-9)


def test_one_cluster_has_no_standard_error():
    columns = staggered(0) | {"state": np.ones((40, 6))}
    found = att(imputation("y ~ d", cluster="state"), columns)
    assert np.isfinite(found.value)
    assert np.isnan(found.se)
    assert found.status == Status.NO_SE


def test_leaving_out_widens():
    found = imputation("y ~ d", vcov=["bjs", "bjs:loo"])(KEY, Panel(staggered(0)))
    assert found["att", "bjs:loo"].se > found["att", "bjs"].se
    assert found["att", "bjs:loo"].value == found["att", "bjs"].value


def test_periods_linked_through_other_units_are_imputed():
    """Unit 0 is never seen untreated when its treated period is: other units make the link."""
    mask = jnp.array([[1, 0, 1], [1, 1, 0], [0, 1, 1], [0, 0, 1]], bool)
    d = jnp.array([[0, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 1.0]])
    unit, time = jnp.array([[1.0], [2.0], [5.0], [7.0]]), jnp.array([0.0, 1.0, 3.0])
    found = att(imputation("y ~ d"), {"y": unit + time + 2 * d, "d": d}, mask)
    np.testing.assert_allclose(found.value, 2.0, rtol=1e-12)
    apart = mask.at[1, 0].set(False)
    assert att(imputation("y ~ d"), {"y": unit + time, "d": d}, apart).status == 9


def test_a_unit_never_observed_is_no_cluster():
    columns = staggered(0) | {"state": np.r_[np.zeros(39), 1][:, None] * np.ones((1, 6))}
    mask = jnp.ones((40, 6), bool).at[39].set(False)
    found = att(imputation("y ~ d", cluster="state"), columns, mask)
    assert found.status == Status.NO_SE
    assert np.isfinite(found.value)


def test_who_is_not_seen_before_treatment_has_no_event_time():
    y = np.array([[0, 0, 0, 10, 20, 30.0]] * 2 + [[0.0] * 6] * 2)
    d = np.array([[0, 0, 0, 1, 1, 1.0]] * 2 + [[0.0] * 6] * 2)
    mask = np.ones((4, 6), bool)
    mask[0, 3] = False
    panel = Panel({"y": y, "d": d}, mask=jnp.asarray(mask))
    found = imputation("y ~ d", horizons=(0, 1, 2))(None, panel)
    values = [float(found[f"att[{e}]", "bjs"].value) for e in (0, 1, 2)]
    np.testing.assert_allclose(values, [10, 20, 30], atol=1e-12)
    assert float(found["att", "bjs"].value) == pytest.approx((20 + 30 + 10 + 20 + 30) / 5)
    study = event_study("y ~ d", leads=1, lags=2)(None, panel)
    values = [float(study[f"att[{e}]", "CR1"].value) for e in ("0", "1", "2+")]
    np.testing.assert_allclose(values, [10, 20, 30], atol=1e-12)
