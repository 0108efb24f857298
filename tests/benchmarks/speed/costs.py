"""CPU seconds of work in this process, or of a program in a new one.

CPU seconds are user and system time of all threads, and of all processes that were started and have
ended (the worker processes of a run end with it). Unlike the time on the wall they hold, nearly, on
a machine that others use too.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, nan
from pathlib import Path
from typing import Any, NamedTuple

CPU_SECONDS = 0.3
"""Calls are repeated until they take as long, far beyond the grain of the clock."""


class Cost(NamedTuple):
    """CPU seconds of a unit of work; of a new process the wall's too, gigabytes, and a remark."""

    cpu: float
    wall: float = nan
    memory: float = nan
    remark: str = ""


def cpu_of(job: Callable[[], Any], calls: int = 1) -> float:
    """Call a function so many times; return the CPU seconds of all calls."""
    before = _cpu()
    for _ in range(calls):
        job()
    return _cpu() - before


def _cpu() -> float:
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@dataclass(frozen=True)
class Here:
    """A function, called in this process after a first call that is not counted.

    Attributes
    ----------
    job : callable
        The work; it returns when it is done.
    work : float
        Units of work, replications say, that a call does.
    less : callable, optional
        Work whose cost is subtracted: the smaller one of two sizes.
    answer : callable, optional
        Returns the estimates on the samples that all contestants share, which must agree.
    """

    job: Callable[[], Any]
    work: float = 1.0
    less: Callable[[], Any] | None = None
    answer: Callable[[], Any] | None = None

    def warm_up(self, cpu_seconds: float = CPU_SECONDS) -> int:
        """Compile, load and fill caches; return how many calls a measurement takes."""
        if self.less is not None:
            self.less()
        first = cpu_of(self.job)
        if not cpu_seconds:
            return 1
        warm = first if first < cpu_seconds else cpu_of(self.job)
        return max(1, ceil(cpu_seconds / max(warm, 1e-6)))

    def cost(self, calls: int) -> Cost:
        """Return the cost of a unit of work."""
        cpu = cpu_of(self.job, calls)
        if self.less is not None:
            cpu -= cpu_of(self.less, calls)
        return Cost(cpu / (calls * self.work))


@dataclass(frozen=True)
class Cache:
    """A folder of compiled programs, emptied for every process, or filled by another process.

    Attributes
    ----------
    folder : Path
        A contestant whose cache is emptied leaves it filled for the next one.
    emptied : bool
    """

    folder: Path
    emptied: bool = False

    def make_ready(self, run: Callable[[], Any]) -> None:
        """Empty the folder; or, where there is none yet, call a function that fills it."""
        if self.emptied and self.folder.exists():
            shutil.rmtree(self.folder)
        if not self.folder.exists():
            self.folder.mkdir(mode=0o700)
            if not self.emptied:
                run()

    def surroundings(self) -> dict[str, str]:
        """Return the environment of a new process that keeps its compiled programs here."""
        kept = {name: value for name, value in os.environ.items() if "CACHE" not in name}
        return {**kept, "MCSIM_COMPILE_CACHE": str(self.folder)}


@dataclass(frozen=True)
class NewProcess(ABC):
    """Work in a process of its own, which starts with the programs of a compile cache.

    Attributes
    ----------
    arguments : tuple of str
        Arguments of the command.
    cache : Cache
        Its compiled programs.
    """

    arguments: tuple[str, ...]
    cache: Cache
    answer: None = field(default=None, kw_only=True)

    def warm_up(self, cpu_seconds: float = CPU_SECONDS) -> int:
        """Return one call for each measurement: nothing stays warm between processes."""
        return 1

    def cost(self, calls: int) -> Cost:
        """Return the cost of a unit of work."""
        self.cache.make_ready(self.run)
        return self.run()

    @abstractmethod
    def run(self) -> Cost:
        """Start the process, wait for its end, and return its cost."""


@dataclass(frozen=True)
class Fresh(NewProcess):
    """A Python program in a new process, from its start to its end.

    The arguments are Python's: a file and its arguments, or ``-m``, ``-c``. The program may count
    its own CPU seconds, from after its imports say, and print them last: ``CPU 1.25``.

    Attributes
    ----------
    work : float
        Units of work in the program.
    """

    work: float = 1.0

    def run(self) -> Cost:
        """Run the program; a unit of work costs its share."""
        with tempfile.TemporaryFile("w+") as output:
            began = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, *self.arguments],
                env=self.cache.surroundings(),
                stdout=output,
                stderr=output,
            )
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            text = output.read().strip()
        last = text.rpartition("\n")[2]
        if process.returncode:
            raise RuntimeError(last or f"the exit code is {process.returncode}")
        counted = last.startswith("CPU ")
        cpu = float(last.removeprefix("CPU ")) if counted else usage.ru_utime + usage.ru_stime
        wall = nan if counted else wall / self.work
        return Cost(cpu / self.work, wall, _gigabytes(usage.ru_maxrss))


def _gigabytes(peak: int) -> float:
    """Return the peak memory of a child; a child begins with the peak of the process it left."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if peak > own else nan


def program(name: str, *arguments: object) -> tuple[str, ...]:
    """Return the arguments of Python that run a file of the folder ``programs``."""
    return (str(Path(__file__).parent / "programs" / f"{name}.py"), *map(str, arguments))
