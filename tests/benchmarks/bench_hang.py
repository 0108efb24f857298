"""How often a program waits for itself: ``pytest -o addopts= tests/benchmarks/bench_hang.py``.

Fresh processes on two loaded CPUs, a program in each, called over and over. With batched LAPACK
calls of JAX's own (jaxlib 0.10) some wait forever; those of mcsim must not (decision 0018).
MCSIM_BENCH_RUNS says how many processes.
"""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

RUNS = int(os.environ.get("MCSIM_BENCH_RUNS", "10"))
PATIENCE = 180  # seconds for a process, which needs a tenth of them
CALLS = 300

START = """
import os
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
import jax, jax.numpy as jnp, numpy as np
import mcsim
rng = np.random.default_rng(0)
"""

JAX = """
grams = jnp.asarray(rng.normal(size=(8, 63, 63)))
grams = grams @ jnp.swapaxes(grams, 1, 2)
program = jax.jit(lambda grams: [jnp.linalg.eigh(grams + i)[0] for i in range(4)])
data = grams
"""

MCSIM = """
n, t = 60, 8
columns = {name: rng.normal(size=(n, t)) for name in ("y", "a", "b", "c")}
columns["state"] = np.broadcast_to(np.arange(n)[:, None] % 7.0, (n, t))
late = (np.arange(n)[:, None] % 3 == 0) & (np.arange(t) <= 1)
data = mcsim.Panel(columns, jnp.asarray(~late))
vcov = [f"CR1({c})" for c in ("unit", "time", "state", "unit + time", "state + time")]
vcov += ["CR3(time)", "CR3(state)", "iid", "HC1", "NW", "DK", "NW(3)", "DK(3)"]
estimator = mcsim.estimators.fixed_effects("y ~ a + b + c | unit + time", vcov=vcov)
program = jax.jit(lambda panel: estimator(None, panel))
"""

END = f"""
for _ in range({CALLS}):
    jax.block_until_ready(program(data))
"""


@pytest.fixture(scope="module", autouse=True)
def load() -> Iterator[None]:
    """Keep two CPUs busy, politely."""
    busy = [subprocess.Popen(["nice", sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    yield
    for process in busy:
        process.kill()


def hangs(program: str) -> bool:
    ours = {name: value for name, value in os.environ.items() if name != "NPROC"}
    command = [sys.executable, "-c", START + program + END]
    try:
        subprocess.run(command, check=True, timeout=PATIENCE, env=ours)
    except subprocess.TimeoutExpired:
        return True
    return False


@pytest.mark.parametrize("program", ["JAX", "MCSIM"])
def test_how_many_processes_wait_forever(program, capsys):
    hung = sum(hangs(globals()[program]) for _ in range(RUNS))
    with capsys.disabled():
        print(f"\n  {program}: {hung} of {RUNS} processes waited for {PATIENCE} s", end="")
    assert program == "JAX" or not hung
