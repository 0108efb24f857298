"""Small panels, generators that are fit to them, and what else several files here share."""

from contextlib import contextmanager
from functools import cache

import jaxtyping
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import mcsim
from mcsim import Panel
from mcsim.generators import (
    BlockBootstrap,
    FactorVAR,
    GaussianCopula,
    GaussianMixture,
    SmoothedBootstrap,
    UnitBootstrap,
)

KEY = mcsim.key(1)


WHOLE = [UnitBootstrap(), SmoothedBootstrap(), GaussianCopula(), GaussianMixture(), FactorVAR()]


EVERY = [*WHOLE, BlockBootstrap()]


def named(trainers):
    return pytest.mark.parametrize("trainer", trainers, ids=lambda t: type(t).__name__)


@contextmanager
def unchecked():
    """What a user meets, who has no type checks."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


def effects_panel(n=300, t=6, seed=0, rho=0.5):
    """Two outcomes that move together, with unit effects, dynamics and period means."""
    rng = np.random.default_rng(seed)
    level = rng.normal(size=(n, 1, 2)) @ np.array([[1.0, 0.6], [0.0, 0.8]])
    shocks = rng.normal(size=(n, t, 2)) @ np.array([[1.0, -0.5], [0.0, 0.9]])
    for now in range(1, t):
        shocks[:, now] = rho * shocks[:, now - 1] + np.sqrt(1 - rho**2) * shocks[:, now]
    values = level + shocks + np.linspace(0, 1, t)[:, None]
    return Panel({"y": values[..., 0], "x": 3 + 2 * values[..., 1]})


PANEL = effects_panel()


def changes(panel, name, at):
    """The unit's change in means, whose standard deviation is that of a placebo DiD."""
    values = np.asarray(panel[name])
    return values[:, at:].mean(axis=1) - values[:, :at].mean(axis=1)


@cache
def fitted(trainer):
    return trainer.fit(KEY, PANEL)


def mixed_frame(n=200, t=4, seed=0):
    """Columns of all kinds: heaped hours, an integer, a category, booleans, traits."""
    rng = np.random.default_rng(seed)
    level = np.repeat(rng.normal(size=n), t)
    hours = np.where(rng.uniform(size=n * t) < 0.3, 2080.0, 2080 + 300 * rng.normal(size=n * t))
    trait = norm.cdf(level + np.repeat(rng.normal(size=n), t))
    return pd.DataFrame(
        {
            "id": np.repeat(np.arange(n), t),
            "year": np.tile(np.arange(2000, 2000 + t), n),
            "wage": np.exp(level + 0.5 * rng.normal(size=n * t)),
            "hours": np.maximum(hours.round(1), 0.0),
            "children": rng.poisson(np.exp(0.3 * level)),
            "sector": np.array(["farm", "city", "sea"])[rng.integers(0, 3, n * t)],
            "union": rng.uniform(size=n * t) < norm.cdf(level),
            "female": np.repeat(rng.integers(0, 2, n), t),
            "school": np.round(8 + 8 * trait),
        }
    )


def schools(sizes, seed=0, t=3):
    rng = np.random.default_rng(seed)
    code = np.repeat(np.arange(len(sizes)), sizes).astype(float)
    shared = rng.normal(size=(len(sizes), 1))[code.astype(int)]
    values = shared + rng.normal(size=(len(code), 1)) + rng.normal(size=(len(code), t))
    return Panel({"y": values, "school": np.repeat(code[:, None], t, axis=1)})
