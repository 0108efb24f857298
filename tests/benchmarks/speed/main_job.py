"""The README's main job, split by what its store shows: fits, replications, tables and figures."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from math import nan
from pathlib import Path

from .cases import Case, Contestant
from .costs import Cache, Cost, NewProcess

ROOT = Path(__file__).parents[3]
LOOK_EVERY = 0.25  # seconds
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class MainJob(NewProcess):
    """``mcsim run`` on a study file, with a new store; Linux counts the CPU time of its processes.

    The arguments are the study file and options of the command.
    """

    def run(self) -> Cost:
        """Run the study; the remark has CPU and wall seconds of each phase."""
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as output:
            store = Path(folder, "store")
            process = subprocess.Popen(
                [sys.executable, "-m", "mcsim", "run", *self.arguments, "--store", str(store)],
                env=self.cache.surroundings(),
                cwd=ROOT,
                stdout=output,
                stderr=output,
            )
            phases = watch(process, store)
            output.seek(0)
            text = output.read().strip()
        if process.returncode:
            raise RuntimeError(text.rpartition("\n")[2])
        shown = (f"{name} {cpu:.0f} s ({wall:.0f})" for name, (cpu, wall) in phases.items())
        cpu, wall = map(sum, zip(*phases.values(), strict=True))
        return Cost(cpu, wall, nan, f"CPU (wall): {', '.join(shown)}")


def watch(process: subprocess.Popen[str], store: Path) -> dict[str, tuple[float, float]]:
    """Wait for the end; return CPU and wall seconds by phase."""
    spent: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    cpu, wall = 0.0, time.perf_counter()
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        time.sleep(LOOK_EVERY)
        phase, now = _phase(store), (_cpu_of_tree(process.pid), time.perf_counter())
        spent[phase][0] += max(0.0, now[0] - cpu)
        spent[phase][1] += now[1] - wall
        cpu, wall = max(cpu, now[0]), now[1]
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    spent[_phase(store)][0] += max(0.0, usage.ru_utime + usage.ru_stime - cpu)
    return {phase: (cpu, wall) for phase, (cpu, wall) in spent.items()}


def _phase(store: Path) -> str:
    """Return the phase of a run: its record is written when the replications begin, and after."""
    records = list(store.glob("runs/*.json"))
    if not records:
        return "imports and fits"
    running = json.loads(records[0].read_text())["state"] == "running"
    return "replications" if running else "tables and figures"


def _cpu_of_tree(process: int) -> float:
    """Return the CPU seconds of a process and of its child processes, living or ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{process}/task").glob("*/children")
        living = [int(child) for file in children for child in file.read_text().split()]
    except OSError:  # it ended meanwhile
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS + sum(map(_cpu_of_tree, living))


def main_job(folder: Path, study: str, options: tuple[str, ...] = ()) -> tuple[MainJob, MainJob]:
    arguments = (str(ROOT / "studies" / f"{study}.py"), *options)
    cache = folder / "cache"
    return MainJob(arguments, Cache(cache, emptied=True)), MainJob(arguments, Cache(cache))


CASES = (
    Case(
        "main-job",
        "`mcsim run studies/lalonde.py`, a new store",
        (Contestant("empty cache"), Contestant("cache filled")),
        main_job,
        full={"study": "lalonde"},
        tiny={"study": "staggered_adoption", "options": ("--reps", "2")},
    ),
)
