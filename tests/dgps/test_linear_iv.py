"""Linear models with instruments: first stage, correlation, limit, published sizes."""

import numpy as np
import pytest
from scipy.stats import norm

from drawn_panels import assert_mean, draw
from mcsim import Design
from mcsim.dgps import LinearIV


def first_stage(drawn, k):
    """First-stage F with an intercept (rep,)."""
    z = np.concatenate([drawn[f"z{j + 1}"] for j in range(k)], axis=-1)
    z, d = z - z.mean(1, keepdims=True), drawn["d"] - drawn["d"].mean(1, keepdims=True)
    fitted = z @ np.linalg.solve(z.swapaxes(1, 2) @ z, z.swapaxes(1, 2) @ d)
    n = d.shape[1]
    return ((fitted**2).sum((1, 2)) / k) / (((d - fitted) ** 2).sum((1, 2)) / (n - k - 1))


@pytest.mark.parametrize("instruments", ["random", "fixed"])
def test_the_first_stage_is_as_strong_as_declared(instruments):
    dgp = LinearIV(n_units=100, n_instruments=3, concentration=12.0, instruments=instruments)
    drawn, truth = draw(dgp, 8000)
    strength = 12.0 * (0.99 if instruments == "random" else 1.0)  # z is centered: n - 1 of n
    assert_mean(first_stage(drawn, 3), (3 + strength) / 3 * 96 / 94)  # of a noncentral F
    assert truth["first_stage_F"][0] == 5.0


def test_errors_are_correlated_as_declared():
    drawn, truth = draw(LinearIV(rho=-0.6, beta=2.0, concentration=8.0), 4000)
    u, v = drawn["y"] - 2 * drawn["d"], drawn["d"] - np.sqrt(8 / 200) * drawn["z1"]
    assert_mean((u * v).mean((1, 2)), -0.6)
    assert_mean((v**2).mean((1, 2)), 1.0)
    assert truth["d"][0] == 2.0


def test_in_the_limit_only_the_scores_vary():
    dgp = LinearIV(n_units=40, n_instruments=2, instruments="limit", rho=0.7, concentration=6.0)
    drawn, _ = draw(dgp, 6000, Design({"beta": 1.0}))
    z = np.concatenate([drawn["z1"], drawn["z2"]], axis=-1)[0]
    np.testing.assert_allclose(
        z.T @ np.column_stack([np.ones(40), z]) / 40, np.eye(3)[1:], atol=1e-12
    )
    v = drawn["d"][..., 0] - np.sqrt(6 / 80) * z.sum(1)
    u = drawn["y"][..., 0] - drawn["d"][..., 0]
    scores = np.stack([u @ z, v @ z], axis=-1) / 40**0.5  # (rep, instrument, equation)
    errors = np.stack([u, v], axis=-1)
    rest = errors - np.einsum("nk,rke->rne", z, scores) / 40**0.5
    moments = np.einsum("rne,rnf->ref", rest, rest) / 40
    correlation = np.array([[1.0, 0.7], [0.7, 1.0]])
    np.testing.assert_allclose(moments, np.array([correlation] * 6000), atol=1e-12)
    assert_mean(np.einsum("rke,rkf->ref", scores, scores) / 2, correlation)


@pytest.mark.parametrize(
    ("concentration", "rho", "size"),
    [(5.771, 1.0, 0.102), (5.771, 0.95, 0.095), (1.818, 0.95, 0.140), (0.499, 0.8, 0.122)],
)
def test_the_limit_has_stock_and_yogos_size(concentration, rho, size):
    """2SLS by hand; the figures are from an independent simulation of the asymptotic design.

    Residuals are orthogonal to the one instrument: no number here depends on how many units.
    """
    dgp = LinearIV(n_units=100, instruments="limit", concentration=concentration, rho=rho)
    drawn, _ = draw(dgp, 16_000)
    y, d, z = (drawn[name][..., 0] for name in ("y", "d", "z1"))
    slope = (z * y).sum(1) / (z * d).sum(1)
    spread = np.sqrt(((y - slope[:, None] * d) ** 2).mean(1) * (z**2).sum(1))
    rejected = np.abs(slope) * np.abs((z * d).sum(1)) / spread > norm.ppf(0.975)
    assert rejected.mean() == pytest.approx(size, abs=4 * np.sqrt(size * (1 - size) / 16_000))
