"""Programs of fits: a training step is traced once, what starts at zero needs none."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import mcsim
from mcsim import Panel
from mcsim.generators import VAE, WGAN
from mcsim.generators._scores.margins import fit_margin
from mcsim.generators._training.steps import (
    EarlyStopping,
    first_optimizer_state,
    train_members,
)
from mcsim.generators._vae.training import Bound


class Rates(NamedTuple):
    steps: Any


class Losses(NamedTuple):
    loss: Any


@dataclass(frozen=True)
class Halving:
    """An algorithm that halves its state, and notes when it is traced."""

    traces: list

    remedy = "none"

    def __hash__(self):
        return id(self.traces)

    def first_state(self, data, key):
        return data

    def step(self, data, rates, state, number):
        self.traces.append(number)
        return state / 2, Losses(state)

    def finished(self, state):
        return False


def test_a_training_step_is_traced_once():
    algorithm = Halving([])
    keys = [mcsim.key(1), mcsim.key(2)]
    data = [np.float32(8), np.float32(4)]
    one, two = train_members(algorithm, data, Rates(np.float32(90)), keys, progress=False)
    assert len(algorithm.traces) == 1
    assert len(one.losses["loss"]) == len(two.losses["loss"]) == 90
    np.testing.assert_array_equal(two.losses["loss"][:3], [4, 2, 1])
    assert np.asarray(one.state) == np.float32(8) / 2**90


def programs_of(work):
    """Return how many programs JAX compiles meanwhile."""
    found = []

    def note(event, duration, **_):
        if event.endswith("/backend_compile_duration"):
            found.append(duration)

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        work()
    finally:
        jax.monitoring.unregister_event_duration_listener(note)
    return len(found)


def test_the_first_state_of_an_optimizer_is_its_own_without_a_program():
    params = {"a": np.ones((3, 17), np.float32), "b": np.ones((3, 19), np.float32)}
    for init in (optax.scale_by_adam().init, jax.vmap(optax.scale_by_adam().init)):
        work = partial(first_optimizer_state, init, params)
        assert programs_of(work) == 0
        jax.tree.map(np.testing.assert_array_equal, work(), init(params))


def test_early_stopping_is_decided_without_a_program():
    stopping = EarlyStopping.start({"a": np.ones((2, 23), np.float32)})
    stopping = stopping._replace(since=jnp.asarray([3, 7]))
    assert programs_of(lambda: stopping.should_stop(5, 4)) == 0
    assert stopping.should_stop(5, 4).tolist() == [False, True]
    assert stopping.should_stop(5, 0) is False


def test_fits_of_other_keys_and_units_share_a_training_step(monkeypatch):
    traces, step = [], Bound.step

    def noted(self, *arguments):
        traces.append(self)
        return step(self, *arguments)

    monkeypatch.setattr(Bound, "step", noted)
    rng = np.random.default_rng(0)
    panel = Panel({"y": rng.normal(size=(24, 4)), "x": rng.normal(size=(24, 4))})
    trainer = VAE(hidden=(4,), steps=3, folds=2)
    trainer.fit(mcsim.key(1), panel, progress=False)
    others = [np.arange(1, 24).repeat(2)[:24], None]
    trainer.fit_members(mcsim.keys(2, 2), panel, others, progress=False)
    assert len(traces) == 1


def test_a_cross_sections_fit_compiles_few_programs_beside_its_own():
    rng = np.random.default_rng(0)
    panel = Panel({"d": np.repeat([0.0, 1.0], 23), "y": rng.normal(size=46)})
    trainer = WGAN(hidden=(4,), critic_hidden=(4,), steps=2, batch_size=16, critic_steps=1)
    jax.clear_caches()
    count = programs_of(lambda: trainer.fit(mcsim.key(1), panel, given=["d"], progress=False))
    assert count <= 24  # 62 before; four are its own, the others make and split keys


def test_padded_margins_code_and_decode_as_before():
    levels = np.array([3.0, 5.0, 8.0, 9.0, 12.0])
    rng = np.random.default_rng(1)
    values = rng.choice(levels, (30, 2), p=[0.1, 0.2, 0.3, 0.3, 0.1])
    schema = mcsim.infer_schema(Panel({"x": values}))
    margin = fit_margin(schema["x"], values)
    padded = margin.padded()
    assert len(padded.points) == 16
    assert len(margin.points) == 5
    scores = jnp.asarray([*np.linspace(-8, 8, 101), -np.inf, np.inf, np.nan])
    for decode in ("value", "number"):
        one, two = (getattr(table, decode)(scores) for table in (margin, padded))
        np.testing.assert_array_equal(one, two)
    asked = np.array([[3.0, 4.0, 12.0, 13.0, np.nan]])
    for one, two in zip(margin.interval(asked), padded.interval(asked), strict=True):
        np.testing.assert_array_equal(one, two)
    draws = rng.normal(size=1_000)
    moved = margin.moved(draws).value(scores)
    np.testing.assert_array_equal(padded.moved(draws).value(scores), moved)
