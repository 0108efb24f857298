"""Compiled programs: how many a study needs, and that they are compiled beside those that run."""

import contextlib
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcsim
from mcsim import Estimate, Panel, Sample, Study, estimators, generators, grid
from mcsim._core.design import Design
from mcsim._run import compiled
from mcsim._run.compiled import draw_chunk
from mcsim._run.replay import replay
from mcsim.dgps import Bootstrap, PotentialOutcomes


class _Names(logging.Handler):
    """The names of the programs that JAX compiles, or reads from its cache."""

    def __init__(self):
        super().__init__()
        self.names = []

    def emit(self, record):
        words = record.getMessage().partition("Finished XLA compilation of jit(")[2]
        if words:
            self.names.append(words.partition(")")[0])


@pytest.fixture
def programs():
    """Return the names of the programs compiled so far, a list that grows."""
    handler, logger = _Names(), logging.getLogger("jax")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler.names
    logger.removeHandler(handler)
    logger.setLevel(level)


def draw(key, design):
    x, noise = jax.random.normal(key, (2, 37, 1))
    y = design["slope"] * x + noise
    return Sample(Panel({"y": y, "x": x}), {"x": design["slope"]})


def study_of(dgp):
    ols = {
        name: estimators.ols("y ~ x", vcov=vcov) for name, vcov in {"a": "HC1", "b": "HC3"}.items()
    }
    return Study(dgp, {**ols, "again": estimators.ols("y ~ x", vcov="HC1")}, grid(slope=[0.5, 1.0]))


def test_a_study_compiles_a_program_for_drawing_and_one_for_every_estimator(programs, tmp_path):
    study = study_of(draw)
    for reps in (500, 1500):
        mcsim.run(study, reps=reps, store=tmp_path / "s", progress=False, workers=2)
    assert (programs.count("_draw"), programs.count("_estimate")) == (1, 2)
    assert len(programs) <= 8  # the others make keys
    del programs[:]
    mcsim.run(study, reps=100, seed=1, progress=False, workers=0)
    assert not programs


def test_a_replay_compiles_nothing_anew(programs, tmp_path):
    study = study_of(draw)
    mcsim.run(study, reps=50, store=tmp_path / "s", progress=False, workers=0)
    del programs[:]
    cell = sorted(folder.name for folder in (tmp_path / "s" / "cells").iterdir())[0]
    _, rows = replay(study, tmp_path / "s", cell, 3)
    assert (rows["value"] == rows["stored"]).all()
    assert not programs


def test_an_estimator_is_compiled_once_for_real_data_under_any_name(programs):
    x = jnp.linspace(0.0, 1.0, 41)[:, None]
    panel = Panel({"y": x**2, "x": x})
    for name in ("a", "b"):
        mcsim.estimate({name: estimators.ols("y ~ x")}, panel)
    assert programs.count("_estimate") == 1


class _Watched:
    """A semaphore that knows whether it is held."""

    def __init__(self):
        self.is_held = False

    def __enter__(self):
        self.is_held = True

    def __exit__(self, *_):
        self.is_held = False


def test_programs_are_traced_and_compiled_while_others_may_run(monkeypatch):
    watched, held = _Watched(), []
    monkeypatch.setattr(compiled, "PROGRAMS", watched)

    def drawn(key, design):
        held.append(watched.is_held)
        return Sample(Panel({"y": jax.random.normal(key, (11, 1))}), {"mean": 0.0})

    def estimated(key, panel):
        held.append(watched.is_held)
        return {"mean": Estimate(panel["y"].mean())}

    mcsim.run(Study(drawn, estimated), reps=5, progress=False, workers=0)
    assert held == [False, False]


def test_of_two_threads_one_compiles_and_the_other_waits(programs):
    both = threading.Barrier(2, timeout=30)

    def drawn(key, design):
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(timeout=0.5)  # met by no other thread
        return Sample(Panel({"y": jax.random.normal(key, (13, 1))}), {"mean": 0.0})

    keys = jax.random.split(jax.random.key(0), 4)
    with ThreadPoolExecutor(2) as executor:
        draws = [executor.submit(draw_chunk, "d", drawn, keys, Design()) for _ in range(2)]
        one, other = (each.result().panel["y"] for each in draws)
    assert jnp.array_equal(one, other)
    assert programs.count("_draw") == 1


# A twin of the main job, studies/lalonde.py, on 48 units


def twin():
    """Return data, fits of an ensemble, native estimators and a study."""
    rng = np.random.default_rng(19)
    treat, x = np.repeat([1.0, 0.0], [18, 30]), rng.normal(size=48)
    columns = {"treat": treat, "x": x, "y": x + treat + rng.normal(size=48)}
    panel = Panel({name: values[:, None] for name, values in columns.items()})
    fits = mcsim.generators.fit_many(
        generators.Autoregressive(steps=4), mcsim.keys(seed=1, n=2), panel, given=["treat"],
        schema=mcsim.infer_schema(panel), resample="folds", progress=False,
    )  # fmt: skip
    formula = "y ~ treat | x"
    methods = {"difference": estimators.difference_in_means("y ~ treat")} | {
        name: getattr(estimators, name)(formula) for name in ("outcome_regression", "ipw", "aipw")
    }
    learned = PotentialOutcomes(
        fits, outcome="y", treatment="treat", n_treated=18, n_control=30, truth_draws=4096
    )
    resampled = Bootstrap(panel, truth="own", strata="treat")
    return panel, fits, methods, Study({"learned": learned, "resampled": resampled}, methods)


@pytest.mark.slow
def test_the_programs_of_a_whole_job(programs):
    """Panels by one, by the chunk, and by the draws of fidelity: a program each, not one more.

    Issue 19 asks for one of an estimator, and for two that draw from a kind of DGP.
    """
    panel, fits, methods, study = twin()
    n = len(methods)

    def counts():
        found = programs.count("_draw"), programs.count("_estimate")
        del programs[:]
        return found

    counts()
    mcsim.run(study, reps=40, workers=0, progress=False)  # truths of a population too
    assert counts() == (2, 2 * n)  # two kinds draw; estimators run on one panel, and on a chunk
    mcsim.run(study, reps=40, seed=1, workers=0, progress=False)
    mcsim.estimate(methods, panel)
    assert counts() == (0, 0)
    mcsim.fidelity(
        panel, {"learned": fits}, key=mcsim.key(1), outcome="y", estimators=methods, splits=2,
        permutations=19, progress=False,
    )  # fmt: skip
    draws, estimates = counts()
    assert estimates <= n
    assert draws <= 2 * 3  # the fits, and the two reference rows
