"""JAX on this machine: float64, CPUs and programs that may run at once, the compile cache.

Importing this file switches the compile cache on, before the first program: JAX decides then, once
for the process, whether programs are kept, and to make a key is a program. They are kept per user,
jaxlib version and kind of processor, so that no process compiles them again; compiled CPU programs
do not travel between processors. The cache is off on macOS, and where others may write to its
folder: programs in it are run. A cache that the user has set in JAX is used instead.
"""

import functools
import hashlib
import importlib
import math
import os
import platform
import stat
import sys
import threading
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import jax
from threadpoolctl import threadpool_limits

from mcsim.errors import InputError, warn

ROOT = Path("/")


def require_float64(task: str) -> None:
    """Raise if JAX computes in 32 bits: estimates would lose their digits silently.

    Examples
    --------
    >>> require_float64("estimate")
    """
    if not jax.config.read("jax_enable_x64"):
        raise InputError(
            f"{task}: JAX runs in float32, estimation needs float64; unset JAX_ENABLE_X64, or call "
            'jax.config.update("jax_enable_x64", True) before the first array'
        )


def available_cpus(root: Path = ROOT) -> int:
    """Return the number of CPUs that this process may use: the least of all limits.

    That is the affinity of the process, ``SLURM_CPUS_PER_TASK``, and the quota of its control
    group (of a container, say), of version 2 or 1.

    Parameters
    ----------
    root : Path
        Root of the file system with the control groups.
    """
    return min([_affinity(), *_of_scheduler(), *_of_quotas(root)])


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _of_scheduler() -> Iterator[int]:
    granted = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if granted.isdecimal() and int(granted):
        yield int(granted)


def _of_quotas(root: Path) -> Iterator[int]:
    """Yield the quotas of the process' control groups and of their parents, in whole CPUs."""
    for folder in _control_groups(root):
        quota, period = _quota(folder)
        if quota > 0 and period > 0:
            yield math.ceil(quota / period)


def _control_groups(root: Path) -> Iterator[Path]:
    """Yield the folders of the process' control groups for CPUs, up to where they are mounted.

    In a container a path may be the host's: a path that is not there has no quota.
    """
    mounted = root / "sys/fs/cgroup"
    for line in _words_of(root / "proc/self/cgroup", "\n"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            base = mounted
        elif "cpu" in controllers.split(","):
            base = next((m for m in (mounted / controllers, mounted / "cpu") if m.is_dir()), None)
        else:
            continue
        if base is not None:
            own = base / path.lstrip("/")
            yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(base))


def _quota(folder: Path) -> tuple[int, int]:
    """Return time and period in microseconds; a time of 0 where there is no limit."""
    if words := _words_of(folder / "cpu.max"):
        quota, period = words[0], words[-1]
    else:
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        quota, period = ("".join(_words_of(folder / name)) for name in names)
    return (int(quota), int(period)) if quota.isdecimal() and period.isdecimal() else (0, 0)


def _words_of(file: Path, between: str | None = None) -> list[str]:
    try:
        return file.read_text().strip().split(between)
    except (OSError, ValueError):
        return []


PROGRAMS = threading.BoundedSemaphore(max(1, _affinity() - 1))
"""Semaphore held while a compiled program runs: one of XLA's threads always stays free.

XLA has as many threads as there are CPUs, granted or not. A program waits for its batched LAPACK
calls, which are spread over the same threads: with a program on each of them none is left to do the
work, and all wait forever (seen with jaxlib 0.10.2 on 2 and on 4 CPUs). Estimators of mcsim make no
such calls (`numerics`); users' may.
"""


def one_blas_thread() -> threadpool_limits:
    """Return a context in which the BLAS under XLA's LAPACK has one thread.

    XLA calls SciPy's LAPACK for one small matrix after another, and OpenBLAS shares out even these:
    with 51 regressors on two busy CPUs a regression took up to 13 times the CPU time. OpenBLAS
    takes limits from one thread of a process: enter it in the thread that starts the others.
    """
    importlib.import_module("scipy.linalg.cython_lapack")  # XLA loads it later, after the limit
    return threadpool_limits(1, user_api="blas")


LEAST_SECONDS = 0.0
"""A program is kept if it took longer to compile: every one.

JAX's own default is a second, which few of a fit's programs take. The smallest takes 33 ms to
compile, 12 to read and 7 to write (CPU time under load), and 7 kB.
"""


@functools.lru_cache(maxsize=1)
def use_compile_cache() -> Path | None:
    """Switch the compile cache on and return its folder; None where it stays off.

    ``MCSIM_COMPILE_CACHE`` names another folder; empty switches the cache off.

    Warns
    -----
    UserWarning
        If the folder is not used, since others may write to it.
    """
    chosen = os.environ.get("MCSIM_COMPILE_CACHE")
    if chosen == "" or sys.platform == "darwin" or jax.config.values["jax_compilation_cache_dir"]:
        return None
    folder = Path(chosen) if chosen else cache_folder("xla")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fault = _fault_of_folder(folder)
    except OSError:
        return None
    if fault:
        warn(
            f"compile cache: {folder} {fault}, so that programs there may be another's; it is not "
            "used, and programs are compiled anew (MCSIM_COMPILE_CACHE names another folder)"
        )
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST_SECONDS)
    return folder


def _fault_of_folder(folder: Path) -> str:
    """Return a clause on others who may write to a folder; "" if nobody may."""
    about = folder.stat()
    if hasattr(os, "getuid") and about.st_uid != os.getuid():
        return "belongs to another user"
    if os.name == "posix" and about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"can be written to by others (chmod go-w {folder} changes that)"
    return ""


def cache_folder(kind: str) -> Path:
    """Return the user's folder for compiled programs of this jaxlib on this kind of processor."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "mcsim" / kind / _machine()


def _machine() -> str:
    """Return 'jaxlib-0.7.0-1a2b3c4d': the version and a hash of the processor's features."""
    text = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        text += "".join(sorted({ln for ln in lines if ln.startswith(("model name", "flags"))}))
    return f"jaxlib-{version('jaxlib')}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


use_compile_cache()
