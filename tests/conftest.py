"""Programs of the tests: compiled quickly, kept between runs, freed when memory asks for it.

Compilation was three quarters of what the tests cost. They share JAX's persistent cache, in a
folder of their own, and skip most of XLA's optimizations: a fifth of the seconds. Tests of figures
that fully optimized programs gave are marked `optimized`. Slow tests run without type checks, which
the others make.
"""

import os
import shutil
from pathlib import Path

import jax
import jaxtyping
import pytest

from mcsim._cache import cache_folder

collect_ignore = ["data"]  # scripts that made stored references, with libraries that CI has not

CACHE = cache_folder("tests")
LARGEST_CACHE = 2**30  # bytes, above which it starts anew
OLD_EMITTERS = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
LARGEST_PROCESS = 3 * 2**30  # bytes, above which programs are freed


def compile_with(**settings: object) -> None:
    """Change settings of JAX, here and in the processes that tests start."""
    for name, value in settings.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)


os.environ["MCSIM_COMPILE_CACHE"] = ""  # the cache of the user is left alone
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


def bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*"))


def pytest_report_header() -> str:
    kept = sum(1 for _ in CACHE.glob("*-cache"))
    return f"compiled programs: {kept or 'none'} kept from earlier runs, in {CACHE}"


@pytest.fixture(scope="module", autouse=True)
def programs(request):
    """Compile a module's programs as it asks for; free them when memory does."""
    optimized = request.node.get_closest_marker("optimized") is not None
    if optimized:
        jax.clear_caches()
        compile_with(jax_disable_most_optimizations=False)
    yield
    if optimized:
        compile_with(jax_disable_most_optimizations=True)
    if optimized or bytes_in_use() > LARGEST_PROCESS:
        jax.clear_caches()


def bytes_in_use() -> float:
    """Return the memory of this process; infinity where Linux does not tell."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return float("inf")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(autouse=True)
def types_are_checked_once(request):
    """Run slow tests as users run mcsim, without the checks of types and shapes."""
    slow = request.node.get_closest_marker("slow") is not None
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", before or slow)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)
