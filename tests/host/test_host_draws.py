"""A host DGP draws from its argument rng alone: replications are independent, and come back.

A generator of its own gave one sample 2,000 times (a seed inside the function: SE 0, coverage 1),
other samples in every run (no seed), or rows 128 to 191 equal to rows 0 to 63 after a restart (a
generator at module level, which every process began anew).
"""

import itertools
import random
import subprocess
import sys
import textwrap
import warnings

import jax
import jaxtyping
import numpy as np
import pandas as pd
import pytest
from numpy.random import normal as global_normal
from scipy.stats import norm

import mcsim
from mcsim import Estimate, Study, run
from mcsim.errors import InputError

SEEDED = np.random.default_rng(1)
LEGACY = np.random.RandomState(1)
BITS = np.random.PCG64(1)
PYTHON = random.Random(1)
DRAW = SEEDED.normal
COUNTER, LIST, TABLE = itertools.count(), [0.0], np.zeros(3)
LARGE = np.zeros(2**18)
TOTAL = 0.0


@mcsim.host(estimand="mean")
def mean(frame):
    return Estimate(frame["y"].mean(), 0.3)


def rows_of(function, reps=4, store=None, workers=0):
    study = Study({"d": mcsim.host(function)}, {"e": mean})
    return run(study, reps=reps, store=store, workers=workers, progress=False).replicates


def frame_of(values):
    return pd.DataFrame({"y": values}), {"mean": 0.0}


def test_a_generator_with_a_seed_in_the_function_is_warned_of():
    def draw(rng, design):
        return frame_of(np.random.default_rng(1).normal(size=5))

    with pytest.warns(UserWarning, match=r"'d': replications 0 and 1 are the same.*argument rng"):
        assert rows_of(draw)["value"].nunique() == 1


def test_a_generator_without_a_seed_stops_before_anything_is_stored(tmp_path):
    def draw(rng, design):
        return frame_of(np.random.default_rng().normal(size=5) + rng.normal())

    with pytest.raises(InputError, match=r"two draws of replication 0 differ \(in y\).*rng alone"):
        rows_of(draw, store=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["STORE.json"]

    def mended(rng, design):
        return frame_of(rng.normal(size=5))

    assert rows_of(mended, store=tmp_path)["value"].nunique() == 4


def test_a_truth_that_differs_between_two_draws_stops():
    def draw(rng, design):
        return pd.DataFrame({"y": rng.normal(size=5)}), {"mean": np.random.default_rng().normal()}

    with pytest.raises(InputError, match=r"two draws of replication 0 differ \(in the truth\)"):
        rows_of(draw)


def closed_over(generator):
    return lambda rng, design: frame_of(rng.normal(size=5) + generator.normal())


def as_default(rng, design, generator=SEEDED):
    return frame_of(rng.normal(size=5) + generator.normal())


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda rng, design: frame_of(SEEDED.normal(size=5)), "numpy Generator 'SEEDED'"),
        (lambda rng, design: frame_of(LEGACY.normal(size=5)), "numpy RandomState 'LEGACY'"),
        (lambda rng, design: frame_of(BITS.random_raw(5) / 2**64), "numpy PCG64 'BITS'"),
        (lambda rng, design: frame_of([PYTHON.gauss(0, 1)]), "random Random 'PYTHON'"),
        (lambda rng, design: frame_of(DRAW(size=5)), "numpy Generator"),
        (closed_over(np.random.default_rng(2)), "numpy Generator 'generator'"),
        (lambda rng, design: as_default(rng, design), "numpy Generator"),  # noqa: PLW0108
    ],
    ids=["global", "legacy", "bits", "random", "bound", "closure", "helper"],
)
@pytest.mark.filterwarnings("ignore:the definition of an object")
def test_a_generator_that_outlives_a_call_is_refused(function, named, tmp_path):
    with pytest.raises(InputError, match=rf"'<lambda>'.* of its own \({named}\).*rng alone"):
        rows_of(function, store=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["STORE.json"]


def changing_its_globals(rng, design):
    global TOTAL  # noqa: PLW0603
    TOTAL += 1.0
    LIST[0] += 1.0
    TABLE[:] += 1.0
    own = changing_its_globals.__dict__
    own["calls"] = own.get("calls", 0.0) + 1.0
    shift = [TOTAL, LIST[0], TABLE[0], next(COUNTER), own["calls"]]
    return frame_of(rng.normal(size=5) + np.array(shift))


def without_globals(rng, design):
    return frame_of(rng.normal(size=5) + np.array([1.0, 1.0, 1.0, 0.0, 1.0]))


@pytest.mark.filterwarnings("ignore:the definition of an object")
def test_every_call_starts_from_the_same_globals(tmp_path):
    """Equal to a function without any, in one run, after a restart, and in worker processes."""
    expected = rows_of(without_globals, reps=192)
    together = rows_of(changing_its_globals, reps=192)
    pd.testing.assert_frame_equal(together, expected, check_exact=True)
    for reps in (128, 192):
        restarted = rows_of(changing_its_globals, reps=reps, store=tmp_path)
    pd.testing.assert_frame_equal(restarted, expected, check_exact=True)
    in_workers = rows_of(changing_its_globals, reps=192, workers=2)
    pd.testing.assert_frame_equal(in_workers, expected, check_exact=True)


def test_large_arrays_are_shared_between_calls_and_cannot_be_changed():
    def reading(rng, design):
        return frame_of(rng.choice(LARGE, size=5) + rng.normal(size=5))

    def changing(rng, design):
        LARGE[0] += 1.0
        return frame_of(rng.normal(size=5))

    assert rows_of(reading)["value"].nunique() == 4
    with pytest.raises(InputError, match=r"fails in replication 0:(?s:.*)read-only"):
        rows_of(changing)


def with_global_functions(rng, design):
    return frame_of([global_normal(), norm.rvs(), random.gauss(0.0, 1.0), np.random.normal()])  # noqa: NPY002


def test_global_functions_of_numpy_scipy_and_random_draw_from_the_key():
    """Also under their own names: the generator that they hold is the one that is seeded."""
    rows = rows_of(with_global_functions, reps=64)
    assert rows["value"].nunique() == 64
    np.random.seed(5)  # noqa: NPY002
    in_workers = rows_of(with_global_functions, reps=64, workers=1)
    pd.testing.assert_frame_equal(in_workers, rows, check_exact=True)


RESTARTED = """
    import numpy as np, pandas as pd, sys, mcsim
    from mcsim.testing import exact_estimator

    STATE = {"rows": 0}

    @mcsim.host
    def draw(rng, design):
        STATE["rows"] += 1
        return pd.DataFrame({"y": rng.normal(size=3) + STATE["rows"]}), {"mean": 0.0}

    @mcsim.host(estimand="mean")
    def mean(frame):
        return mcsim.Estimate(frame["y"].mean(), 0.3)

    study = mcsim.Study({"d": draw}, {"e": mean})
    reps, store = int(sys.argv[1]), sys.argv[2]
    results = mcsim.run(study, reps=reps, store=store, workers=0, progress=False)
    print(results.replicates["value"].tolist())
"""


@pytest.mark.slow
def test_a_restart_in_another_process_repeats_no_rows(tmp_path):
    file = tmp_path / "restarted.py"
    file.write_text(textwrap.dedent(RESTARTED))

    def in_a_process(reps, store):
        command = [sys.executable, str(file), str(reps), str(tmp_path / store)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    in_a_process(128, "a")
    restarted, at_once = in_a_process(192, "a"), in_a_process(192, "b")
    assert restarted == at_once
    values = restarted.strip("[]\n").split(", ")
    assert len(set(values)) == 192


def test_a_cell_that_the_store_knows_is_not_drawn_to_be_checked(tmp_path):
    calls = tmp_path / "calls"

    def draw(rng, design):
        with calls.open("a") as file:
            file.write("x")
        return frame_of(rng.normal(size=5))

    for blocks in (1, 1, 2):
        rows_of(draw, reps=64 * blocks, store=tmp_path / "store")
        assert calls.stat().st_size == 3 + 64 * blocks


def test_nothing_is_said_of_a_dgp_that_draws_from_rng():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows_of(without_globals)


HELPER = """
import numpy as np

generator = np.random.default_rng(1)

def noise():
    return generator.normal(size=5)
"""


@pytest.mark.filterwarnings("ignore:the definition of an object")
def test_a_generator_in_an_imported_module_stops_before_anything_is_stored(tmp_path, monkeypatch):
    """A module that is imported is not copied: its state outlives the call, and shows."""
    (tmp_path / "noisy_helper.py").write_text(HELPER)
    monkeypatch.syspath_prepend(tmp_path)
    import noisy_helper  # type: ignore[import-not-found]
    from noisy_helper import noise  # type: ignore[import-not-found]

    for draws in (
        lambda rng, design: frame_of(rng.normal(size=5) + noisy_helper.noise()),
        lambda rng, design: frame_of(rng.normal(size=5) + noise()),
    ):
        with pytest.raises(InputError, match=r"two draws of replication 0 differ \(in y\)"):
            rows_of(draws, store=tmp_path / "s")
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["STORE.json"]


def reading(read):
    """A host DGP that does something with its design before it draws."""

    @mcsim.host
    def dgp(rng, design):
        read(design)
        return pd.DataFrame({"y": rng.normal(size=8)}), {"mean": 0.0}

    return dgp


@pytest.fixture
def as_users_have_it(monkeypatch):
    """Without checks of types, which look into a design themselves."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.usefixtures("as_users_have_it", "small_blocks")
@pytest.mark.parametrize(
    "read",
    [
        lambda design: design["rho"],
        lambda design: "rho" in design,
        dict,
        lambda design: design.effective(),
        lambda design: design.with_factors({"n": 3})["rho"],
        jax.tree.leaves,
        jax.jit(lambda design: design["rho"] + 1.0),
    ],
)
def test_a_factor_that_is_read_in_any_way_is_not_warned_of(read):
    study = Study({"d": reading(read)}, {"e": mean}, mcsim.grid(rho=[0.0, 0.5]))
    run(study, reps=2, workers=0, progress=False)  # a warning is an error


@pytest.mark.usefixtures("as_users_have_it", "small_blocks")
def test_a_factor_that_one_cell_reads_is_not_warned_of():
    def read(design):
        return design["rho"] if design["law"] == "ar" else 0.0

    designs = mcsim.grid(law=["iid", "ar"], rho=[0.0, 0.5])
    run(Study({"d": reading(read)}, {"e": mean}, designs), reps=2, workers=0, progress=False)


@pytest.mark.usefixtures("as_users_have_it", "small_blocks")
def test_a_factor_that_no_cell_reads_is_warned_of():
    study = Study({"d": reading(lambda design: None)}, {"e": mean}, mcsim.grid(rho=[0.0]))
    with pytest.warns(UserWarning, match="factor 'rho': no cell of dgp 'd' reads it"):
        run(study, reps=2, workers=0, progress=False)
