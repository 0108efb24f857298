"""The compiled half: one trace for a shape, tracer errors as sentences, independent lanes."""

import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from mcsim import Design, Estimate, Panel, Sample, Status, Study, grid, run
from mcsim._core.pytree import pytree
from mcsim._run.compiled import (
    draw_chunk,
    estimate_chunk,
    estimate_labels,
    sample_shape,
)
from mcsim._run.plan import chunk_size
from mcsim.errors import ContractError, InputError, UnknownName
from mcsim.estimators import fixed_effects
from mcsim.generators import WGAN
from mcsim.testing import constant_dgp, exact_estimator

KEYS = jax.random.split(jax.random.key(0), 4)
PANELS = Panel.batch({"y": jnp.arange(12.0).reshape(4, 3, 1)})


class Counted:
    """A DGP, and an estimator, that count how often Python runs through them."""

    def __init__(self):
        self.drawn, self.estimated = 0, 0

    def draw(self, key, design):
        self.drawn += 1
        y = design["rho"] + jax.random.normal(key, (design["n_units"], 1))
        return Sample(Panel({"y": y}), {"mean": design["rho"]})

    def estimate(self, key, panel):
        self.estimated += 1
        return {"mean": Estimate(panel["y"].mean(), 0.25)}


def test_one_trace_for_a_shape_however_many_cells_and_replications():
    counted = Counted()
    designs = grid(n_units=[10, 20], rho=[0.0, 0.25, 0.5])
    study = Study({"d": counted.draw}, {"mean": counted.estimate}, designs)
    run(study, reps=3000, progress=False, workers=2)
    assert (counted.drawn, counted.estimated) == (2, 2)
    run(study, reps=10, seed=1, progress=False, workers=0)
    assert (counted.drawn, counted.estimated) == (2, 2)


@pytree("mean")
@dataclass(frozen=True, eq=False)
class Member:
    """A fitted generator: its numbers are leaves."""

    mean: jax.Array
    traces: list

    def __call__(self, key, design):
        self.traces.append(1)
        return Sample(Panel({"y": self.mean + jax.random.normal(key, (5, 1))}), {"mean": self.mean})


class _Ledger(list):
    """A list that hashes by identity, as static parts must."""

    __hash__ = object.__hash__

    def __eq__(self, other):
        return self is other


@dataclass(frozen=True)
class Ensemble:
    """An ensemble of two."""

    fits: tuple

    def members(self):
        return dict(enumerate(self.fits))


@pytest.mark.filterwarnings("ignore:the definition")
def test_the_members_of_an_ensemble_share_one_trace():
    ledger = _Ledger()
    fits = tuple(Member(jnp.asarray(mean), ledger) for mean in (0.0, 1.0, 2.0))
    study = Study({"fits": Ensemble(fits)}, exact_estimator())
    assert len(run(study, reps=10, progress=False, workers=0).replicates) == 30
    assert len(ledger) == 1


def branching(key, panel):
    return Estimate(1.0 if panel["y"].mean() > 0 else 2.0)


def converting(key, panel):
    return Estimate(float(panel["y"].mean()))


def counting(key, panel):
    return Estimate(np.asarray(panel["y"]).mean())


def masking(key, panel):
    return Estimate(panel["y"][panel["y"] > 0].mean())


@pytest.mark.parametrize("estimator", [branching, converting, counting, masking])
def test_tracer_errors_are_sentences(estimator):
    with pytest.raises(InputError, match=r"estimator 'e': it cannot be traced.*@mcsim.host"):
        estimate_chunk("e", estimator, KEYS, PANELS)


def test_other_errors_of_user_code_are_sentences():
    with pytest.raises(InputError, match="estimator 'e': ZeroDivisionError"):
        estimate_chunk("e", lambda key, panel: Estimate(1 / 0), KEYS, PANELS)
    with pytest.raises(InputError, match=r"estimator 'e': TypeError.*1 positional"):
        estimate_chunk("e", lambda frame: Estimate(1.0), KEYS, PANELS)


def test_an_unknown_factor_or_column_has_a_suggestion():
    def draw(key, design):
        return Sample(Panel({"y": jnp.zeros(3)}), {"mean": design["rhoo"]})

    with pytest.raises(UnknownName, match="did you mean 'rho'"):
        sample_shape("d", draw, Design({"rho": 0.5}))
    with pytest.raises(UnknownName, match="column 'yy'"):
        estimate_chunk("e", lambda key, panel: Estimate(panel["yy"].mean()), KEYS, PANELS)


@pytest.mark.parametrize(
    ("sample", "match"),
    [
        (3.0, "returned float, expected Sample"),
        (({"y": 1.0}, {}), r"returned \(dict, dict\), expected Sample"),
        ((Panel({"y": [1.0]}), 1.0), "the truth is float, expected a dict"),
        ((Panel({"y": [1.0]}), {"mean": jnp.zeros(3)}), "the truth of mean is not a number"),
    ],
)
def test_dgps_that_break_the_contract(sample, match):
    with pytest.raises(ContractError, match=match):
        draw_chunk("d", lambda key, design: sample, KEYS, Design())


@pytest.mark.parametrize(
    ("result", "match"),
    [
        (1.0, "the result is .*, expected an Estimate"),
        ((1.0, 0.1), "the result is tuple"),
        ({"att": 1.0}, "att is float"),
        ({}, "empty dict"),
        ({3: Estimate(1.0)}, "the label 3 is neither"),
        ({("att", 1): Estimate(1.0)}, "is neither"),
        ({"att": Estimate(1.0), ("att", ""): Estimate(2.0)}, "two estimates of one label"),
        (Estimate(jnp.zeros(2)), "got arrays, expected numbers: {'value': .2,.}"),
    ],
)
def test_estimators_that_break_the_contract(result, match):
    with pytest.raises(ContractError, match=match):
        estimate_chunk("e", lambda key, panel: result, KEYS, PANELS)


def test_labels_are_known_before_anything_is_computed():
    def estimator(key, panel):
        return {"att": Estimate(1.0), ("att", "HC1"): Estimate(1.0)}

    shape = sample_shape("d", constant_dgp(), Design())
    labels = estimate_labels("e", estimator, shape.panel)
    assert sorted(labels) == [("att", ""), ("att", "HC1")]


def solving(key, panel):
    """OLS slope; singular where x is constant, told as data."""
    x = panel["x"][:, 0] - panel["x"].mean()
    slope = jnp.linalg.solve((x @ x)[None, None], (x @ panel["y"])[None])[0, 0]
    return Estimate(slope, 1.0, status=jnp.where(x @ x == 0, int(Status.SINGULAR), 0))


def test_a_singular_lane_leaves_its_neighbors_as_they_are():
    x, y = jnp.asarray(np.random.default_rng(0).normal(size=(2, 64, 30, 1)))
    keys = jax.random.split(jax.random.key(0), 64)
    spoiled = x.at[17].set(1.0)
    whole, holed = (
        estimate_chunk("ols", solving, keys, Panel.batch({"x": batch, "y": y}))
        for batch in (x, spoiled)
    )
    others = np.arange(64) != 17
    values = [np.asarray(found["", ""].value)[others] for found in (whole, holed)]
    np.testing.assert_array_equal(*values)
    assert np.asarray(holed["", ""].status)[17] == Status.SINGULAR


def test_a_chunk_is_a_power_of_two_of_about_four_megabytes():
    for n_units in (1, 50, 445, 16_177, 10**6):
        size = chunk_size(sample_shape("d", constant_dgp(n_units=n_units), Design()).panel)
        assert size in [2**k for k in range(11)]
        assert size * n_units * 8 <= 2**22 or size == 1


DEADLOCK = """
import threading
import jax, jax.numpy as jnp
import mcsim
from mcsim._core.machine import available_cpus
from mcsim._run.compiled import estimate_chunk

def solve(key, panel):
    x = panel["x"]
    solved = jax.scipy.linalg.solve_triangular(x, jnp.ones((16, 3)), lower=True)
    return mcsim.Estimate(solved.sum())

panels = mcsim.Panel.batch({"x": jnp.eye(16) + jnp.full((512, 16, 16), 0.1)})
keys = jax.random.split(jax.random.key(0), 512)

def work():
    for _ in range(300):
        estimate_chunk("solve", solve, keys, panels)

threads = [threading.Thread(target=work) for _ in range(available_cpus())]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("done")
"""


@pytest.mark.slow
def test_programs_on_all_cpus_do_not_wait_for_each_other_forever():
    found = subprocess.run(
        [sys.executable, "-c", DEADLOCK], capture_output=True, text=True, timeout=120, check=True
    )
    assert found.stdout == "done\n"


@contextmanager
def programs_kept_in(folder):
    """Keep compiled programs in this folder; None compiles them anew."""
    before = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", folder and str(folder))
    reset_cache()
    yield
    jax.config.update("jax_compilation_cache_dir", before)
    reset_cache()


def regression_rows():
    """Rows of a study whose functions are new to JAX."""

    def draw(key, design):
        x, e = jax.random.normal(key, (2, 30, 4))
        return Sample(Panel({"x": x, "y": x + e}), {"x": 1.0})

    study = Study(draw, fixed_effects("y ~ x | unit", vcov=["CR1", "HC1"]))
    return run(study, reps=20, workers=0, progress=False).replicates


def network_draws():
    """Draws of a network trained by programs that are new to this process."""
    rng = np.random.default_rng(0)
    panel = Panel({"treat": np.repeat([0.0, 1.0], 30), "y": rng.lognormal(size=60)})
    trainer = WGAN(hidden=(4,), critic_hidden=(4,), steps=2, batch_size=16, critic_steps=1)
    jax.clear_caches()
    fitted = trainer.fit(jax.random.key(0), panel, given=["treat"], progress=False)
    return fitted.sample(jax.random.key(1), 50, given={"treat": np.repeat([0.0, 1.0], 25)})


@pytest.mark.slow
@pytest.mark.parametrize("numbers", [regression_rows, network_draws])
def test_compiled_anew_or_read_from_the_cache_the_bits_are_the_same(numbers, tmp_path):
    with programs_kept_in(None):
        compiled = numbers()
    with programs_kept_in(tmp_path):
        stored, kept = numbers(), set(tmp_path.glob("*-cache"))
        read = numbers()
    assert kept
    assert set(tmp_path.glob("*-cache")) == kept
    for other in (stored, read):
        for name in compiled:
            np.testing.assert_array_equal(np.asarray(other[name]), np.asarray(compiled[name]))
