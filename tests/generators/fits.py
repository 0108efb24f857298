"""Small panels, trainers that take a moment, and fits made once, shared by the files here."""

import hashlib
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jaxtyping
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import mcsim
from mcsim import Panel
from mcsim.generators import (
    GAN,
    VAE,
    WGAN,
    BlockBootstrap,
    FactorVAR,
    Flow,
    GaussianCopula,
    GaussianMixture,
    SmoothedBootstrap,
    UnitBootstrap,
    load,
    save,
)

KEY = mcsim.key(1)
TOP = 25862.32  # of earnings in a cross-section
LONGEST_WAIT = 120  # seconds for the fit of another process, after which it is made here

# Trainers


WHOLE = [UnitBootstrap(), SmoothedBootstrap(), GaussianCopula(), GaussianMixture(), FactorVAR()]
"""Those that draw whole units."""

EVERY = [*WHOLE, BlockBootstrap()]

TINY_FLOW = Flow(steps=3, folds=2, couplings=2, hidden=(4,))
TINY_GAN = GAN(steps=3)
TINY_VAE = VAE(hidden=(8,), steps=20, folds=2)
TINY_WGAN = WGAN(hidden=(8,), critic_hidden=(8,), steps=5, batch_size=32, critic_steps=1)


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


# Panels


def effects_panel(n=300, t=6, seed=0, rho=0.5, common=0.0):
    """Two outcomes that move together, with unit effects, dynamics, period means and shocks."""
    rng = np.random.default_rng(seed)
    level = rng.normal(size=(n, 1, 2)) @ np.array([[1.0, 0.6], [0.0, 0.8]])
    shocks = rng.normal(size=(n, t, 2)) @ np.array([[1.0, -0.5], [0.0, 0.9]])
    for now in range(1, t):
        shocks[:, now] = rho * shocks[:, now - 1] + np.sqrt(1 - rho**2) * shocks[:, now]
    values = level + shocks + np.linspace(0, 1, t)[:, None]
    return Panel({"y": values[..., 0] + common, "x": 3 + 2 * values[..., 1]})


PANEL = effects_panel(common=np.random.default_rng(1).normal(size=6))


def changes(panel, name, at):
    """The unit's change in means, whose standard deviation is that of a placebo DiD."""
    values = np.asarray(panel[name])
    return values[:, at:].mean(axis=1) - values[:, :at].mean(axis=1)


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


def mixed_cross_section(n=300, seed=0):
    """Columns of all kinds: a derived binary, an excluded pair, earnings with two mass points."""
    rng = np.random.default_rng(seed)
    treat = (np.arange(n) % 3 == 0).astype(float)
    race = rng.integers(0, 3, n)
    school = rng.integers(7, 16, n).astype(float)
    wage = np.exp(rng.normal(9 + 0.05 * school, 0.8))
    wage = np.where(rng.uniform(size=n) < 0.3 - 0.15 * treat, 0.0, np.minimum(wage, TOP))
    return Panel(
        {
            "treat": treat,
            "age": rng.integers(17, 56, n).astype(float),
            "black": (race == 1).astype(float),
            "hispanic": (race == 2).astype(float),
            "school": school,
            "dropout": (school < 12).astype(float),
            "weeks": rng.integers(0, 3_000, n).astype(float),
            "wage": wage,
        }
    )


def treated(n, share=0.5):
    """The treatment that units are to be drawn with: this share of them, the first."""
    return {"treat": (np.arange(n) < share * n).astype(float)}


def volatile_panel(n=300, periods=8, seed=0):
    """Two paths of one level and a trait; a mass point at 2; volatility differs threefold."""
    rng = np.random.default_rng(seed)
    level = rng.normal(size=(n, 1))
    scale = np.exp(rng.choice([-0.8, 0.5], (n, 1)))
    wage = level + scale * rng.normal(size=(n, periods))
    hours = 2 + 0.3 * level + scale * rng.normal(size=(n, periods))
    steady = rng.uniform(size=(n, 1)) < 0.3
    stays = rng.uniform(size=(n, periods)) < np.where(steady, 0.95, 0.05)
    female = np.broadcast_to((rng.uniform(size=(n, 1)) < 0.4).astype(float), (n, periods))
    return Panel({"wage": wage, "hours": np.where(stays, 2.0, hours), "female": female})


VOLATILE = volatile_panel()


def schools(sizes, seed=0, t=3):
    """Units of schools that share a part of their level."""
    rng = np.random.default_rng(seed)
    code = np.repeat(np.arange(len(sizes)), sizes).astype(float)
    shared = rng.normal(size=(len(sizes), 1))[code.astype(int)]
    values = shared + rng.normal(size=(len(code), 1)) + rng.normal(size=(len(code), t))
    return Panel({"y": values, "school": np.repeat(code[:, None], t, axis=1)})


# Fits made once


class Fits:
    """Fits of a session, each made by the process that needs it first, for all of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.held = folder, {}
        folder.mkdir(exist_ok=True)

    def __call__(self, trainer: Any, panel: Panel = PANEL, key: Any = KEY, **options: Any) -> Any:
        """Return the fit of a trainer to a panel."""
        name = name_of(trainer, panel, key, options)
        if name not in self.held:
            path = self.folder / f"{name}.safetensors"
            self.held[name] = made_once(
                path, lambda: trainer.fit(key, panel, progress=False, **options)
            )
        return self.held[name]


def name_of(trainer: Any, panel: Panel, key: Any, options: dict[str, Any]) -> str:
    """Return the digest of all that decides a fit to a panel without missing cells."""
    assert panel.mask is None
    words = jax.random.key_data(key).tolist()
    content = hashlib.sha256(repr((trainer, words, sorted(options.items()))).encode())
    for name, values in panel.items():
        cells = np.asarray(values)
        content.update(f"{name} {cells.shape}".encode() + cells.tobytes())
    return content.hexdigest()


def made_once(path: Path, fit: Callable[[], Any]) -> Any:
    """Fit and save, or load what another process saved, once it is there.

    Files are complete or not there. A lock is held by the process that made its file; one whose
    process died is waited for only so long.
    """
    lock, until = path.with_suffix(".lock"), time.monotonic() + LONGEST_WAIT
    while not path.exists():
        try:
            lock.touch(exist_ok=False)
        except FileExistsError:
            if time.monotonic() < until:
                time.sleep(0.05)
                continue
        try:
            save(made := fit(), path)
            return made
        finally:
            lock.unlink(missing_ok=True)
    return load(path)
