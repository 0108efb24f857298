"""Factor models of a panel: decomposition, draws, variants, probabilities of treatment."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from drawn_panels import (
    CPS,
    assert_mean,
    assign,
    covariance_by_period,
    draw,
    known_panel,
    needs_cps,
    twfe,
)
from mcsim import Design, from_frame
from mcsim.dgps import FactorModel, by_unit_factors, unit_factor_probabilities, with_effect


def test_a_factor_model_is_its_decomposition():
    panel = known_panel()
    model = FactorModel.fit(panel, "y", rank=4, lags=2)
    y = np.asarray(panel["y"])
    y = (y - y.mean()) / y.std()
    left, singular, right = np.linalg.svd(y, full_matrices=False)
    low = (left * np.where(np.arange(25) < 4, singular, 0)) @ right
    f = low.mean(1, keepdims=True) + low.mean(0) - low.mean()
    np.testing.assert_allclose(model.additive, f, atol=1e-12)
    np.testing.assert_allclose(model.interactive, low - f, atol=1e-12)
    assert model.interactive.sum(0) == pytest.approx(np.zeros(25), abs=1e-10)
    e = y - low
    lagged = np.stack([e[:, 1:-1].ravel(), e[:, :-2].ravel()], axis=1)
    slopes = np.linalg.lstsq(lagged, e[:, 2:].ravel(), rcond=None)[0]
    assert model.coefficients == tuple(np.round(slopes, 2))
    assert np.linalg.norm(model.covariance) == pytest.approx(np.linalg.norm(e.T @ e / 60))
    a, b = model.coefficients
    path = [1.0, a / (1 - b)]
    for _ in range(23):
        path.append(a * path[-1] + b * path[-2])
    correlations = np.asarray(model.covariance)[0] / model.covariance[0, 0]
    np.testing.assert_allclose(correlations, path, atol=1e-10)


def test_a_factor_model_draws_what_it_says():
    model = FactorModel.fit(known_panel(n=20, t=8), "y", rank=3)
    drawn, _ = draw(model, 5000)
    noise = drawn["y"] - np.asarray(model.additive + model.interactive)
    assert_mean(covariance_by_period(noise, noise), np.asarray(model.covariance))
    assert_mean(noise.mean(1) * noise[:, 0, :1], np.asarray(model.covariance)[0] / 20)


def test_variants_leave_parts_out():
    model = FactorModel.fit(known_panel(n=20, t=8), "y", rank=3)
    f, m = np.asarray(model.additive), np.asarray(model.interactive)
    for parts, left in {("interactive",): f, ("additive",): m, (): f + m}.items():
        drawn, _ = draw(model.without("noise", *parts), 2)
        np.testing.assert_allclose(drawn["y"][0], left, atol=1e-12)
    white = model.without("additive", "interactive", "autocorrelation")
    covariance = np.asarray(white.covariance)
    np.testing.assert_allclose(covariance, covariance[0, 0] * np.eye(8), atol=1e-12)
    assert np.linalg.norm(covariance) == pytest.approx(np.linalg.norm(model.covariance))


def test_rows_are_resampled_with_what_they_carry():
    panel = known_panel(n=20, t=8)
    panel = panel.with_columns({"mark": np.arange(20.0)[:, None] * np.ones(8)})
    model = FactorModel.fit(panel, "y", rank=3, carry=["mark"]).without("noise")
    drawn, _ = draw(model, 3, Design({"n_units": 200}))
    assert drawn["y"].shape == (3, 200, 8)
    rows = drawn["mark"][..., 0].astype(int)
    systematic = np.asarray(model.additive + model.interactive)
    np.testing.assert_allclose(drawn["y"], systematic[rows], atol=1e-12)
    assert (rows[0] != rows[1]).any()


def test_unit_factors_give_a_logits_probabilities():
    from statsmodels.api import GLM, add_constant, families

    panel = known_panel()
    y, law = np.asarray(panel["y"]), np.asarray(panel["law"])[:, -1]
    left = np.linalg.svd((y - y.mean()) / y.std(), full_matrices=False)[0][:, :4]
    fitted = GLM(law, add_constant(left), family=families.Binomial()).fit().fittedvalues
    p = unit_factor_probabilities(panel, "y", "law")
    np.testing.assert_allclose(p, fitted, rtol=1e-7)
    at = partial(unit_factor_probabilities, panel, "y", "law")
    np.testing.assert_allclose(at(strength=0.0), law.mean(), rtol=1e-9)
    assert at(strength=2.0).std() > p.std() > at(strength=0.5).std()
    assert at(strength=2.0).mean() == pytest.approx(law.mean(), abs=1e-9)
    assignment = by_unit_factors(panel, "y", "law", max_treated=5, start=-3)
    assert set(assign(assignment, panel, reps=40).sum((1, 2))) <= {3.0 * k for k in range(1, 6)}


@needs_cps
@pytest.mark.parametrize(
    ("parts", "options", "rmse", "error"),
    [
        ((), {}, 0.04874, 0.00107),
        (("interactive",), {}, 0.01355, 0.00035),
        (("noise",), {}, 0.04689, 0.00112),
        ((), {"start": -1}, 0.06954, 0.00150),
        ((), {"max_treated": 1}, 0.12591, 0.00377),
    ],
)
def test_did_errs_as_in_arkhangelsky_and_others(parts, options, rmse, error):
    """RMSE of DID, and its Monte Carlo error, from the replicates that the authors published."""
    frame = pd.read_csv(CPS, sep=";").astype({"min_wage": float})
    panel, _ = from_frame(frame[["state", "year", "log_wage", "min_wage"]], "state", "year")
    model = FactorModel.fit(panel, "log_wage").without(*parts)
    laws = by_unit_factors(panel, "log_wage", "min_wage", **options)
    drawn, _ = draw(with_effect(model, outcome="log_wage", assignment=laws), 2000)
    slopes = [twfe(y, d) for y, d in zip(drawn["log_wage"], drawn["d"], strict=True)]
    squares = np.square(slopes)
    ours = squares.std() / (2 * np.sqrt(squares.mean() * 2000))
    assert model.coefficients in ((0.01, -0.06),)
    assert abs(np.sqrt(squares.mean()) - rmse) < 4 * np.hypot(error, ours)
