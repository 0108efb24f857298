"""Programs of the tests: compiled quickly, kept between runs, freed when memory asks for it.

Compilation was three quarters of what the tests cost. They share JAX's persistent cache, in a
folder of their own, and skip most of XLA's optimizations: a program then compiles in a fifth of the
time. Tests marked `optimized` run long enough to repay all of them. Slow tests run without the
checks of types at run time, which the others make.
"""

import gc
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import jax
import jaxtyping
import pytest

os.environ["MCSIM_COMPILE_CACHE"] = ""  # the cache of the user is left alone

from mcsim._core.machine import cache_folder

collect_ignore = [
    "references",
    "benchmarks/bench_speed.py",
    "benchmarks/speed",
    "benchmarks/bench_predicted_rates.py",
    "benchmarks/predicted_rates",
]
"""Scripts: of stored references, with libraries that CI has not, and of processes of their own."""

CACHE = cache_folder("tests")
LARGEST_CACHE = 2**30  # bytes, above which it starts anew
OLD_EMITTERS = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
GARBAGE = (100_000, 10, 10)  # new objects before they are looked through; Python says 700
LARGEST_PROCESS = 2 * 2**30  # bytes, above which programs are freed
GROWTH = 2**29  # bytes since they were freed last: the process itself does not shrink by it


def compile_with(**settings: object) -> None:
    """Change settings of JAX, here and in the processes that tests start."""
    for name, value in settings.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)


if jax.__version_info__ < (0, 11):  # later ones do not know the flag, and stop
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {OLD_EMITTERS}"
compile_with(
    jax_compilation_cache_dir=str(CACHE),
    jax_persistent_cache_min_compile_time_secs=0,
    jax_persistent_cache_min_entry_size_bytes=-1,
    jax_disable_most_optimizations=True,
)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and bytes_in(CACHE) > LARGEST_CACHE:
        shutil.rmtree(CACHE)


def pytest_collection_finish() -> None:
    """Look for garbage seldom, never among what was imported: JAX makes much while it traces."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE)


def bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*"))


def pytest_report_header() -> str:
    kept = sum(1 for _ in CACHE.glob("*-cache"))
    return f"compiled programs: {kept or 'none'} kept from earlier runs, in {CACHE}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Run a test, and the fixtures that it asks for first, as its marks say."""
    slow, optimized = (item.get_closest_marker(mark) for mark in ("slow", "optimized"))
    with without_types() if slow else nullcontext(), full_speed() if optimized else nullcontext():
        return (yield)


@contextmanager
def without_types() -> Iterator[None]:
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@contextmanager
def full_speed() -> Iterator[None]:
    """Compile with all optimizations: programs that run for a minute repay it."""
    jax.clear_caches()
    compile_with(jax_disable_most_optimizations=False)
    yield
    compile_with(jax_disable_most_optimizations=True)
    jax.clear_caches()


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute and store few replications at once: a host DGP draws no thousand for a few rows."""
    for name, replications in (
        ("plan.NATIVE_BLOCK", 32),
        ("cell.NATIVE_BLOCK", 32),
        ("plan.HOST_BLOCK", 16),
    ):
        monkeypatch.setattr(f"mcsim._run.{name}", replications)


@pytest.fixture(scope="session")
def memory() -> dict[str, float]:
    """The bytes in use from which programs are freed."""
    return {"bound": LARGEST_PROCESS}


@pytest.fixture(scope="module", autouse=True)
def free_programs(memory: dict[str, float]) -> Iterator[None]:
    yield
    if bytes_in_use() > memory["bound"]:
        jax.clear_caches()
        memory["bound"] = min(bytes_in_use() + GROWTH, 2 * LARGEST_PROCESS)


def bytes_in_use() -> float:
    """Return the memory of this process; infinity where it is not known."""
    pages = Path("/proc/self/statm")
    if not pages.exists():
        return float("inf")
    return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
