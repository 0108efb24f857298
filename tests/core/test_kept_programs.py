"""Compiled programs are kept by whatever compiles: a new process reads them all."""

import json
import os
import subprocess
import sys

import pytest

COUNTING = """
import json, sys
import jax
{first}
import mcsim

read, compiled = [], []
def on_event(event, **_):
    if event.endswith("/cache_hits"):
        read.append(event)
    if event.endswith("/cache_misses"):
        compiled.append(event)
jax.monitoring.register_event_listener(on_event)
{work}
folder = jax.config.values["jax_compilation_cache_dir"]
print(json.dumps([len(read), len(compiled), folder]))
"""

FIT = """
import numpy as np
from mcsim.generators import GaussianCopula
rng = np.random.default_rng(0)
panel = mcsim.Panel({"y": rng.normal(size=(20, 3)), "d": rng.integers(0, 2, (20, 3)) * 1.0})
fitted = GaussianCopula().fit(mcsim.key(1), panel, progress=False)
fitted.sample(mcsim.key(2), 30)
"""


def in_new_process(work, folder, first="", **environment):
    """Return how many programs were read and compiled, and the folder in which they are kept."""
    clean = {n: v for n, v in os.environ.items() if "COMPILATION_CACHE" not in n.upper()}
    clean.pop("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", None)
    found = subprocess.run(
        [sys.executable, "-c", COUNTING.format(work=work, first=first)],
        env={**clean, "MCSIM_COMPILE_CACHE": str(folder), **environment},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return tuple(json.loads(found.stdout.splitlines()[-1]))


@pytest.mark.skipif(sys.platform == "darwin", reason="the cache is off there")
def test_a_fit_in_a_new_process_compiles_nothing_that_one_before_compiled(tmp_path):
    folder = tmp_path / "kept"
    _, compiled, used = in_new_process(FIT, folder)
    assert compiled > 0
    assert used == str(folder)
    assert len(list(folder.glob("*-cache"))) == compiled  # the smallest too
    assert in_new_process(FIT, folder) == (compiled, 0, str(folder))


@pytest.mark.skipif(sys.platform == "darwin", reason="the cache is off there")
def test_a_cache_that_the_user_has_set_in_jax_is_used(tmp_path):
    mine = str(tmp_path / "mine")
    by_variable = in_new_process("", tmp_path / "kept", JAX_COMPILATION_CACHE_DIR=mine)
    set_before = f'jax.config.update("jax_compilation_cache_dir", {mine!r})'
    by_setting = in_new_process("", tmp_path / "kept", set_before)
    assert by_variable[-1] == by_setting[-1] == mine
    assert not (tmp_path / "kept").exists()


def test_the_cache_is_off_where_the_variable_is_empty():
    assert in_new_process("", "")[-1] is None
