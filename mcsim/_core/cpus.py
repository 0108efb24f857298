"""How many CPUs this process was granted, and how many compiled programs may run at once."""

import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


def available_cpus(root: Path = ROOT) -> int:
    """Return how many CPUs this process may use: the least that anything grants.

    That is the affinity of the process, ``SLURM_CPUS_PER_TASK``, and the quota of its control
    group (of a container, say), of version 2 or 1.

    Parameters
    ----------
    root : Path
        Of the file system in which the control groups are looked up.
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
    """Yield the quotas of the process' control groups and of those above them, in whole CPUs."""
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
"""Held while a compiled program runs: one of XLA's threads always stays free.

XLA has as many threads as there are CPUs, granted or not. A program waits for its batched LAPACK
calls, which are spread over the same threads: with a program on each of them none is left to do the
work, and all wait forever (seen with jaxlib 0.10.2 on 2 and on 4 CPUs). Estimators of mcsim make no
such calls (`_numerics`); users' may.
"""
