"""Compiled programs: how many a study needs, and that they are compiled beside those that run."""

import contextlib
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import pytest

import mcsim
from mcsim import Design, Estimate, Panel, Sample, Study, estimators, grid
from mcsim._run import compiled
from mcsim._run.compiled import draw_chunk
from mcsim._run.replay import replay


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
