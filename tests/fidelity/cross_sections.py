"""Cross-sections of a known distribution, and generators that know it, miss it or copy rows."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from mcsim import Estimate, Panel
from mcsim.generators import UnitBootstrap

KEY = jax.random.key(20)
QUICK = {"n_generated": 6_000, "permutations": 200}


@dataclass(frozen=True)
class Normal:
    """The distribution of the data: y = x + treat + e; ``shift`` moves y away from the truth."""

    shift: float = 0.0
    given: tuple[str, ...] = ("treat",)

    def sample(self, key, n_units, *, given=None):
        x, noise = jax.random.normal(key, (2, n_units))
        treat = jnp.asarray(given["treat"]).reshape(n_units)
        return Panel({"treat": treat, "x": x, "y": x + treat + self.shift + noise})


@dataclass(frozen=True)
class Truth:
    """A trainer that knows the distribution."""

    shift: float = 0.0

    def fit(self, key, panel, *, given=(), schema=None, progress=True):
        return Normal(self.shift)


@dataclass(frozen=True)
class Memorizer:
    """Draws training rows and moves them by a hair: no exact copies, but nothing new."""

    given: tuple[str, ...] = ("treat",)

    def fit(self, key, panel, *, given=(), schema=None, progress=True):
        rows = UnitBootstrap().fit(key, panel, given=given, progress=False)

        @dataclass(frozen=True)
        class Fitted:
            def sample(self, key, n_units, *, given=None):
                drawn = rows.sample(key, n_units, given=given)
                move = 0.01 * jax.random.normal(key, (n_units, 1))
                return drawn.with_columns({"x": drawn["x"] + move, "y": drawn["y"] + move})

        return Fitted()


@dataclass(frozen=True)
class Fitted:
    """A fitted generator with rows, as `fit_many` returns them."""

    rows: np.ndarray | None
    law: Normal = Normal()
    schema: object = None
    given: tuple[str, ...] = ("treat",)

    def sample(self, key, n_units, *, given=None):
        return self.law.sample(key, n_units, given=given)


@partial(jax.jit, static_argnums=1)
def _sample(key, n_units, treat):
    return Normal().sample(key, n_units, given={"treat": treat})


def draw(n_units=400, seed=0):
    """Draw rows, a fourth of them treated, by one program."""
    treat = (np.arange(n_units) % 4 == 0).astype(float)
    return _sample(jax.random.key(seed), n_units, treat)


def difference(key, panel):
    treat, y = panel["treat"][:, 0], panel["y"][:, 0]
    value = (treat * y).sum() / treat.sum() - ((1 - treat) * y).sum() / (1 - treat).sum()
    return {("att", "a"): Estimate(value), ("att", "b"): Estimate(value, 1.0)}


def cell(table, generator, measure, arm="all"):
    m = table.measures
    found = m[(m["generator"] == generator) & (m["measure"] == measure) & (m["arm"] == arm)]
    assert len(found) == 1
    return found.iloc[0]
