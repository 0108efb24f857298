"""A panel for regressions, and fits by linearmodels and pyfixest to compare them with."""

import warnings

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from mcsim import Panel

RTOL = 1e-8
INTERCEPT = "Intercept"


def draw(seed=0, n_units=30, n_periods=6, observed=None):
    """A panel with endogenous x, exogenous w, instruments z and v, and unit effects."""
    rng = np.random.default_rng(seed)
    effect, e, u, w, z, v = rng.normal(size=(6, n_units, n_periods))
    effect = effect[:, :1]
    x = z + 0.5 * v + u + effect + 0.3 * w
    y = 1.0 + 2.0 * x - w + effect + e + 0.5 * u
    columns = {"y": y, "x": x, "w": w, "z": z, "v": v}
    mask = None
    if observed is not None:
        mask = jnp.asarray(rng.random((n_units, n_periods)) < observed)
    return Panel(columns, mask)


def frame_of(panel):
    """The observed cells, one row each."""
    cells = pd.DataFrame({name: np.asarray(column).ravel() for name, column in panel.items()})
    cells["unit"] = np.repeat(np.arange(panel.n_units), panel.n_periods)
    cells["time"] = np.tile(np.arange(panel.n_periods), panel.n_units)
    return cells if panel.mask is None else cells[np.asarray(panel.mask).ravel()].copy()


def numbers(estimates, what="value"):
    return np.array([float(getattr(estimate, what)) for estimate in estimates.values()])


LINEARMODELS = {"iid": "unadjusted", "HC1": "robust", "CR1": "clustered"}


def by_linearmodels(model, vcov):
    clusters = {"cluster_entity": True} if vcov == "CR1" else {}
    return model.fit(cov_type=LINEARMODELS[vcov], **clusters)


def assert_as_linearmodels(estimates, theirs, vcov):
    ours = {term: estimate for (term, name), estimate in estimates.items() if name == vcov}
    np.testing.assert_allclose(numbers(ours), theirs.params[list(ours)], rtol=RTOL)
    np.testing.assert_allclose(numbers(ours, "se"), theirs.std_errors[list(ours)], rtol=RTOL)


PYFIXEST = {"iid": "iid", "HC1": "hetero", "CR1": {"CRV1": "unit"}, "CR1(time)": {"CRV1": "time"}}


def by_pyfixest(formula, frame, vcov):
    pyfixest = pytest.importorskip("pyfixest")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pyfixest.feols(formula, frame, vcov=PYFIXEST[vcov], fixef_tol=1e-13)
