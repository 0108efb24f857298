"""Start-up: what is imported when, and what a run shows while it starts.

No test asserts a time: `tests/benchmarks/bench_startup.py` measures it.
"""

import ast
import io
import pickle
import re
import subprocess
import sys
import threading
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from rich.console import Console

import mcsim
from mcsim import Design, Study
from mcsim._core.screen import Screen
from mcsim._host.payload import Payload
from mcsim._host.pool import WorkerPool
from mcsim._host.worker import estimate_piece
from mcsim._run.plan import CellPlan
from mcsim._run.progress import Progress, awaited
from mcsim.testing import constant_dgp, exact_estimator

HEAVY = {
    "flax", "optax", "scipy.special", "scipy.stats", "scipy.optimize", "formulaic", "statsmodels",
    "sklearn", "matplotlib",
}  # fmt: skip
"""What comes in when it is first used."""


def printed_by(code):
    """Return the words that a new process prints, one set for every line."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [set(line.split()) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("package", [mcsim, mcsim.generators], ids=lambda package: package.__name__)
def test_the_door_and_the_imports_for_editors_are_the_same(package):
    tree = ast.parse(Path(package.__file__).read_text())
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    )
    listed = {
        alias.asname: f"{node.module}:{alias.name}".replace("mcsim:", "mcsim.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert listed == dict(package.__getattr__.homes)
    assert set(package.__all__) == set(listed)


def test_the_door_opens_and_names_what_is_not_there():
    from mcsim import open as opened

    assert opened is mcsim.open
    assert {"Panel", "open", "plots", "__version__"} <= set(dir(mcsim))
    with pytest.raises(AttributeError, match="module 'mcsim' has no attribute 'Panels'"):
        getattr(mcsim, "Panels")  # noqa: B009


def test_importing_mcsim_imports_nothing_heavy_and_switches_float64_on():
    alone, runner, x64 = printed_by(
        "import sys, mcsim; print(*sys.modules)\n"
        "mcsim.run, mcsim.Study, mcsim.host, mcsim.from_frame, mcsim.summarize, mcsim.open\n"
        "import mcsim.estimators, mcsim.dgps; print(*sys.modules)\n"
        "import jax; print(jax.numpy.ones(1).dtype)"
    )
    assert not {*HEAVY, "jax", "pandas", "numpy"} & alone
    assert not HEAVY & runner
    assert {"jax", "pandas"} <= runner
    assert x64 == {"float64"}


def test_jax_knows_designs_of_another_process_and_float64_where_it_came_first():
    sent = pickle.dumps(Design({"n": 50, "rho": 0.5}))
    x64, leaves = printed_by(
        "import os, pickle; os.environ.pop('JAX_ENABLE_X64', None)\n"
        "import jax, mcsim; print(jax.numpy.ones(1).dtype)\n"
        f"print(*jax.tree.leaves(pickle.loads({sent!r})))"
    )
    assert x64 == {"float64"}
    assert leaves == {"0.5"}


def test_help_needs_neither_jax_nor_pandas():
    *_, modules = printed_by(
        "import sys\n"
        "from mcsim.cli import main\n"
        "for words in (['--help'], ['--version'], ['run', '--help'], ['fit', '--help']):\n"
        "    sys.argv = ['mcsim', *words]\n"
        "    try: main()\n"
        "    except SystemExit as stop: assert not stop.code\n"
        "print(*sys.modules)"
    )
    assert "typer" in modules
    assert not {*HEAVY, "jax", "pandas", "numpy"} & modules


@mcsim.host(estimand="imported")
def imported(frame):
    """Estimate how many of the modules are imported here that no frame needs."""
    heavy = {"jax", "rich", "typer", "statsmodels", "scipy.special", "matplotlib"}
    return mcsim.Estimate(float(len(heavy & set(sys.modules))), 1.0)


STUDY = """
import mcsim
from mcsim.dgps import ErrorComponents
from mcsim.estimators import fixed_effects

study = mcsim.Study(ErrorComponents(n_units=8, n_periods=3), fixed_effects("y ~ x | unit + time"))
"""


def test_a_run_of_native_parts_imports_no_networks_and_no_libraries_of_estimators(tmp_path):
    """Of `HEAVY` it needs the parser of formulas alone; no generator is imported either."""
    (tmp_path / "study.py").write_text(STUDY)
    command = ["mcsim", "run", str(tmp_path / "study.py"), "--store", str(tmp_path / "store")]
    (*_, imported) = printed_by(
        f"import sys\nsys.argv = {[*command, '--reps', '8']}\n"
        "from mcsim.cli import main\ntry:\n    main()\nfinally:\n    print(*sys.modules)"
    )
    assert imported & HEAVY <= {"formulaic", "scipy.special"}
    assert "mcsim.generators._storage.model_files" not in imported


def test_a_new_process_knows_every_kind_of_generator():
    """Names behind a door are not in ``vars`` before somebody asks for them."""
    (known,) = printed_by("from mcsim.cli._usage import kinds; print(*kinds())")
    assert {"vae", "wgan", "macro-panel", "gaussian-copula"} <= known


def test_workers_import_what_their_functions_need_and_nothing_else():
    pool, warm = WorkerPool(1), threading.Event()
    try:
        payload = Payload(imported, None)
        pool.warm_up(payload, then=warm.set)
        words = np.zeros((1, 2), dtype=np.uint32)
        task = pool.submit(estimate_piece, payload, {"y": np.ones((1, 3, 1))}, words)
        (outcome,) = task.result()
        assert warm.is_set()
    finally:
        pool.stop()
    assert outcome.trouble == ""
    assert [estimate.value for estimate in outcome.estimates.values()] == [0.0]


def test_what_is_awaited_in_words():
    assert awaited(2, compiled=2, programs=8) == "starting 2 workers, compiling 3 of 8"
    assert awaited(1, then="planning the study") == "starting 1 worker, planning the study"
    assert awaited(0, compiled=7, programs=8) == "compiling 8 of 8"
    assert awaited(0, compiled=8, programs=8) == ""


@pytest.fixture
def terminal():
    """A terminal, and a function that returns what it has shown since it was last asked."""
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=160, color_system=None)

    def since():
        text = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", shown.getvalue())
        shown.truncate(shown.seek(0))
        return text

    with mock.patch("mcsim._core.screen.Console", return_value=console):
        yield since


def display(cells):
    plans = []
    for name in cells:
        cell = mock.Mock()
        cell.name = name
        plans.append(mock.Mock(spec=CellPlan, hash=name, estimators=[], cell=cell))
    return Progress(mock.Mock(spec=Study, level=0.95), plans, 4, screen=Screen(shown=True))


@pytest.mark.parametrize("cells", [["one"], ["one", "other"]])
def test_the_display_shows_what_the_first_replications_wait_for(terminal, cells):
    bars = display(cells)
    with bars:
        bars.wait_for({"draw", "ols", "did"}, 2)
        bars.ran("of a chunk of another study")
    assert "starting 2 workers, compiling 1 of 3" in terminal()
    with bars:
        bars.started()
        bars.ran("draw")
        bars.ran("draw")
    last = terminal().splitlines()[-1]
    assert "compiling 2 of 3" in last
    assert "starting" not in last
    with bars:
        bars.ran("ols")
        bars.ran("did")
    assert "compiling" not in terminal().splitlines()[-1]


def test_a_run_says_what_it_prepares_in_a_terminal_alone(terminal):
    with Screen(shown=True).step("starting 2 workers, planning the study"):
        pass
    assert "starting 2 workers, planning the study" in terminal()
    with Screen(shown=False).step("planning the study"):
        pass
    assert terminal() == ""


def test_a_run_is_never_silent(terminal):
    mcsim.run(Study(constant_dgp(), exact_estimator()), reps=2, workers=0)
    shown = terminal()
    said = "planning the study", "computing truths", "compiling 1 of 2", "compiling 2 of 2"
    places = [shown.index(words) for words in said]
    assert places == sorted(places)
    assert "starting" not in shown
