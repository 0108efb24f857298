"""Panels of a known distribution, and generators that know it or miss it."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

import mcsim
from mcsim import Panel, infer_schema
from mcsim._fidelity._panels.layout import read_panel_layout

KEY = mcsim.key(4)
SMALL = {"splits": 2, "replications": 6, "draws": 2, "permutations": 40}
QUICK = {"splits": 4, "replications": 80, "permutations": 99, "draws": 40}
SHOCKS = np.array([0.0, 1.0, -1.0, 0.5, 2.0, -0.5])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Law:
    """y = unit effect + shocks + noise, x = y + noise, educ fixed; ``within`` scales the noise."""

    within: float = 1.0
    redraw: float = 0.0

    def sample(self, key, n_units, n_periods=None, *, given=None):
        keys = jax.random.split(key, 5)
        unit = jax.random.normal(keys[0], (n_units, 1))
        fresh = 1.5 * jax.random.normal(keys[1], SHOCKS.shape)
        noise = jax.random.normal(keys[2], (2, n_units, len(SHOCKS)))
        shocks = jnp.where(self.redraw > 0, fresh, SHOCKS)
        y = unit + shocks + self.within * noise[0]
        educ = jnp.broadcast_to(jnp.round(12 + 2 * unit), y.shape)
        return Panel({"y": y, "x": 0.5 * y + self.within * noise[1], "educ": educ})


@dataclass(frozen=True)
class Truth:
    """A trainer that knows the law, but for what it gets wrong."""

    within: float = 1.0
    redraw: float = 0.0

    def fit(self, key, panel, *, given=(), schema=None, progress=True):
        return Law(np.asarray(self.within), np.asarray(self.redraw))


_sample = jax.jit(Law.sample, static_argnums=2)


def draw(n_units=120, seed=0):
    """Draw a panel by one program."""
    return _sample(Law(), jax.random.key(seed), n_units)


def measure(table, generator, name, outcome=""):
    m = table.measures
    found = m[(m["generator"] == generator) & (m["measure"] == name) & (m["outcome"] == outcome)]
    assert len(found) == 1
    return found.iloc[0]


def read(panel):
    return read_panel_layout(panel, infer_schema(panel), None)
