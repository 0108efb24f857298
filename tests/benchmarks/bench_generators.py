"""Seconds to fit panels: ``pytest -o addopts= tests/benchmarks/bench_generators.py -q``.

Every kind of generator on both micro panels, on one core, with compilation (cold) and without
(warm); an ensemble of ten beside one fit, on all cores; and steps per second of the whole-scan fit
beside a loop in Python over the same step, compiled by itself.
"""

import os
import time
import warnings
from contextlib import contextmanager
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcsim
from mcsim.datasets import load
from mcsim.generators import (
    GAN,
    VAE,
    WGAN,
    Autoregressive,
    BlockBootstrap,
    FactorVAR,
    Flow,
    GaussianCopula,
    GaussianMixture,
    SmoothedBootstrap,
    UnitBootstrap,
    fit_many,
)
from mcsim.generators._training import steps as training

pytestmark = pytest.mark.filterwarnings("ignore")

KEY = mcsim.key(0)
KINDS = {
    "UnitBootstrap": UnitBootstrap(),
    "SmoothedBootstrap": SmoothedBootstrap(),
    "BlockBootstrap": BlockBootstrap(),
    "GaussianCopula": GaussianCopula(),
    "FactorVAR": FactorVAR(),
    "GaussianMixture": GaussianMixture(),
    "VAE": VAE(),
    "Autoregressive": Autoregressive(),
    "Flow": Flow(),
    "WGAN": WGAN(),
    "GAN": GAN(),
    "VAE, LSTM": VAE(arch="lstm"),
    "WGAN, LSTM": WGAN(arch="lstm"),
    "GAN, LSTM": GAN(arch="lstm"),
}
NEURAL = ("VAE", "Autoregressive", "Flow", "WGAN", "GAN")
MEMBERS = 10
LOOPED = 200  # steps of the loop in Python


@pytest.fixture
def tell(capsys):
    def line(text):
        with capsys.disabled():
            print(f"\n  {text}", end="")

    return line


@contextmanager
def one_core():
    """Keep to one CPU, all threads of it."""
    tasks = [int(task) for task in os.listdir("/proc/self/task")]
    allowed = os.sched_getaffinity(0)
    for task in tasks:
        os.sched_setaffinity(task, {min(allowed)})
    yield
    for task in tasks:
        os.sched_setaffinity(task, allowed)


def wages():
    """545 men over 8 years: log wage and hours, a quarter of which are 2,080."""
    frame = load("wage_panel")[["nr", "year", "lwage", "hours"]]
    return mcsim.from_frame(frame, unit="nr", time="year")[0]


def states():
    """48 states over 16 years: growth of product and of employment."""
    frame = load("munnell").sort_values(["state", "year"])
    growth = {
        name: 100 * np.log(frame[column]).groupby(frame["state"]).diff()
        for name, column in (("product", "gsp"), ("employment", "emp"))
    }
    frame = frame[["state", "year"]].assign(**growth).dropna()
    return mcsim.from_frame(frame, unit="state", time="year")[0]


def seconds(job):
    """Wall clock."""
    began = time.perf_counter()
    job()
    return time.perf_counter() - began


def fit(trainer, panel):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return trainer.fit(KEY, panel, progress=False)


def test_fit_on_one_core(tell):
    panels = {"545 x 8 wages": wages(), "48 x 16 states": states()}
    tell("seconds to fit on one core           " + "".join(f"{name:>22s}" for name in panels))
    tell("                                     " + f"{'cold':>13s}{'warm':>9s}" * len(panels))
    with one_core():
        for name, trainer in KINDS.items():
            line = f"  {name:35s}"
            for panel in panels.values():
                jax.clear_caches()
                cold, warm = (seconds(partial(fit, trainer, panel)) for _ in range(2))
                line += f"{cold:13.2f}{warm:9.2f}"
            tell(line)
    tell("")


def test_ensemble_beside_one_fit(tell):
    panel = wages()
    tell(
        f"ensemble of {MEMBERS} on {os.cpu_count()} cores, 545 x 8      cold       warm  x one fit"
    )
    for name in NEURAL:
        trainer, keys = KINDS[name], jax.random.split(KEY, MEMBERS)
        ensemble = partial(fit_many, trainer, keys, panel, progress=False)
        jax.clear_caches()
        one_cold, one = (seconds(partial(fit, trainer, panel)) for _ in range(2))
        jax.clear_caches()
        many_cold, many = (seconds(ensemble) for _ in range(2))
        cold, warm = many_cold / one_cold, many / one
        tell(f"  {name:35s}{many_cold:10.2f} {many:10.2f}   {cold:5.1f} cold {warm:5.1f} warm")
    tell("")


def test_whole_scan_beside_a_loop_of_steps(tell, monkeypatch):
    panel, caught = wages(), {}

    def spy(recipe, data, rates, keys, progress):
        caught["fit"] = recipe, data[0], rates, keys[0]
        return original(recipe, data, rates, keys, progress)

    original = training.train_members
    tell("steps per second, 545 x 8, one core           scan      loop   scan / loop")
    with one_core():
        for name in NEURAL:
            module = type(KINDS[name]).__module__
            module = module.replace("_wgan", "_panel_wgan")
            module = module.replace("_autoregressive._trainer", "_autoregressive._training")
            monkeypatch.setattr(f"{module}.train_members", spy)
            fit(KINDS[name], panel)
            scan, loop = rates_of(*caught["fit"])
            tell(f"  {name:35s}{scan:13,.0f}{loop:10,.0f}{scan / loop:10.1f}")
    tell("")


def rates_of(recipe, data, rates, key):
    """Steps per second: a segment of the scan, and the same steps from Python."""
    first = recipe.first_state(data, key)

    def scan():
        start = jnp.asarray(0)
        jax.block_until_ready(training.run_segment(recipe, LOOPED, data, rates, first, start))

    step = jax.jit(recipe.step)

    def loop():
        state = first
        for number in range(LOOPED):
            state, losses = step(data, rates, state, jnp.asarray(number))
            float(losses[0])  # a loop is written to watch the loss

    return tuple(LOOPED / min(seconds(job) for _ in range(4)) for job in (scan, loop))
