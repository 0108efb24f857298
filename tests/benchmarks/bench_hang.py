"""How often a program waits for itself: ``pytest -o addopts= tests/benchmarks/bench_hang.py``.

Fresh processes on two loaded CPUs, in each a regression with two CR3 variances, called over and
over: with batches of matrices for LAPACK, of which jaxlib 0.10 waits for some forever, and as it
is, with a loop, which must not wait (decision 0018). MCSIM_BENCH_RUNS says how many processes.
"""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

RUNS = int(os.environ.get("MCSIM_BENCH_RUNS", "10"))
PATIENCE = 60  # seconds for a process, which needs a quarter of them
CALLS = 300

BATCHES = """
import jax.numpy
from mcsim._core import numerics
numerics._eigh = jax.numpy.linalg.eigh
"""

PROGRAM = f"""
import jax, jax.numpy as jnp, numpy as np
import mcsim

draws = np.random.default_rng(0).normal(size=(4, 60, 8))
unit, time = np.arange(60)[:, None], np.arange(8)
columns = dict(zip("yabc", draws)) | {{"state": np.broadcast_to(unit % 7.0, (60, 8))}}
panel = mcsim.Panel(columns, jnp.asarray((unit % 3 > 0) | (time > 1)))
clusters = ("unit", "time", "state", "unit + time", "state + time")
vcov = ["iid", "HC1", "NW", "DK", "NW(3)", "DK(3)", *(f"CR1({{name}})" for name in clusters)]
vcov += ["CR3(time)", "CR3(state)"]
estimator = mcsim.estimators.fixed_effects("y ~ a + b + c | unit + time", vcov=vcov)
program = jax.jit(lambda panel: estimator(None, panel))
for _ in range({CALLS}):
    jax.block_until_ready(program(panel))
"""


@pytest.fixture(scope="module", autouse=True)
def two_loaded_cpus() -> Iterator[None]:
    """Leave two CPUs to this process and those it starts, and keep them busy, politely."""
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cpus)[:2])
    busy = [subprocess.Popen(["nice", sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    yield
    for process in busy:
        process.kill()
        process.wait()
    os.sched_setaffinity(0, cpus)


def waits_forever(program: str) -> bool:
    ours = {name: value for name, value in os.environ.items() if name != "NPROC"}
    try:
        subprocess.run([sys.executable, "-c", program], check=True, timeout=PATIENCE, env=ours)
    except subprocess.TimeoutExpired:
        return True
    return False


@pytest.mark.parametrize("before", [BATCHES, ""], ids=["batches", "loops"])
def test_how_many_processes_wait_forever(before, capsys):
    hung = sum(waits_forever(before + PROGRAM) for _ in range(RUNS))
    with capsys.disabled():
        print(f"\n  {hung} of {RUNS} processes waited for {PATIENCE} s", end="")
    assert before or not hung
