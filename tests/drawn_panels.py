"""Many draws of a DGP as NumPy arrays, and what tests of several DGPs draw from."""

import os
from pathlib import Path

import jax
import numpy as np
import pytest

from mcsim import Design, Panel
from mcsim._run.compiled import draw_chunk
from mcsim.dgps import ErrorComponents, at_random, with_effect

CPS = Path(os.environ.get("MCSIM_DATA", "nowhere")) / "cps_state_wages.csv"

needs_cps = pytest.mark.skipif(
    not CPS.exists(), reason="set MCSIM_DATA to a folder with cps_state_wages.csv"
)

EMPTY = Panel({"y": np.zeros((50, 21))})

STATES = ErrorComponents(n_units=50, n_periods=21, beta=None, rho=0.8)

LAWS = with_effect(STATES, outcome="y", assignment=at_random(n_treated=25, start=(6, 16)))


def draw(dgp, reps, design=None, seed=0):
    """Columns (rep, unit, period) and truths (rep,) as NumPy arrays."""
    keys = jax.random.split(jax.random.key(seed), reps)
    sample = draw_chunk("dgp", dgp, keys, design or Design())
    return jax.tree.map(np.asarray, (dict(sample.panel), dict(sample.truth)))


def one_sample(dgp, seed=0, **factors):
    """Draw one sample by one program: eagerly, every operation would compile its own."""

    @jax.jit
    def draw_one(key, design):
        return dgp(key, design)

    return draw_one(jax.random.key(seed), Design(factors))


def assert_mean(values, expected, bound=4.5):
    """The mean over the first axis is what it should be, in its Monte Carlo standard errors."""
    error = np.std(values, axis=0, ddof=1) / len(values) ** 0.5
    distance = np.abs(np.mean(values, axis=0) - expected)
    assert np.all(distance <= bound * error + 1e-12), distance / error


def covariance_by_period(left, right):
    """Products (rep, period, period) of two columns, averaged over units."""
    return np.einsum("rit,ris->rts", left, right) / left.shape[1]


def assign(assignment, panel=EMPTY, reps=500, seed=2):
    keys = jax.random.split(jax.random.key(seed), reps)
    return np.asarray(jax.jit(jax.vmap(lambda key: assignment(key, panel)))(keys))


def twfe(y, d):
    """The slope of y on d and two-way effects, by Frisch, Waugh and Lovell."""
    residual = d - d.mean(0) - d.mean(1, keepdims=True) + d.mean()
    return (residual * y).sum() / (residual * d).sum()


class Uniform:
    """A generator: an object with a sample method."""

    def sample(self, key, n_units, *, given=None):
        return Panel({"y": jax.random.uniform(key, (n_units, 6))})


def known_panel(n=60, t=25, noise=0.3):
    rng = np.random.default_rng(3)
    e = rng.normal(size=(n, t + 50))
    for s in range(2, t + 50):
        e[:, s] += 0.5 * e[:, s - 1] - 0.2 * e[:, s - 2]
    systematic = 3 * rng.normal(size=(n, 1)) + rng.normal(size=(1, t))
    systematic = systematic + rng.normal(size=(n, 2)) @ rng.normal(size=(2, t))
    law = (rng.uniform(size=n) < 1 / (1 + np.exp(-systematic.mean(1) / 2))).astype(float)
    y = 40 + 7 * (systematic + noise * e[:, 50:])
    return Panel({"y": y, "law": np.repeat(law[:, None], t, axis=1)})
