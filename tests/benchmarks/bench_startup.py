"""Start-up: CPU seconds of each door, as medians of interleaved new processes.

Each is measured beyond what its user pays anyway: ``import mcsim`` beyond ``import jax, pandas``,
the command line beyond Python itself, a worker beyond nothing. From the root of the repository::

    python tests/benchmarks/bench_startup.py                  # of this tree
    python tests/benchmarks/bench_startup.py --repeat 9
    python tests/benchmarks/bench_startup.py --against OTHER  # beside a tree of before

CPU seconds of a busy machine are larger than those of a quiet one; compare within one run.
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent

NAMES = ["run", "Study", "host", "from_frame", "estimate", "summarize", "open"]
RUNNER = f"import jax, pandas, mcsim; {', '.join(f'mcsim.{name}' for name in NAMES)}"
WORKER = "import mcsim._host.pool"
STATSMODELS = "import statsmodels.formula.api"


class Door(NamedTuple):
    """Two commands of Python: the one measured, and the one whose cost is subtracted."""

    name: str
    arguments: Sequence[str]
    beyond: Sequence[str] | None
    aim: float | None = None


PYTHON, LIBRARIES = ("-c", "pass"), ("-c", "import jax, pandas")

DOORS = (
    Door("import mcsim", ("-c", "import jax, pandas, mcsim"), LIBRARIES, 0.3),
    Door("the names for a run", ("-c", RUNNER), LIBRARIES, 0.3),
    Door("mcsim.estimators, dgps", ("-c", f"{RUNNER}, mcsim.estimators, mcsim.dgps"), LIBRARIES),
    Door("mcsim.generators", ("-c", "import jax, pandas, mcsim.generators"), LIBRARIES),
    Door("mcsim --help", ("-m", "mcsim", "--help"), PYTHON, 0.5),
    Door("mcsim --version", ("-m", "mcsim", "--version"), PYTHON, 0.5),
    Door("mcsim run --help", ("-m", "mcsim", "run", "--help"), PYTHON, 0.5),
    Door("a worker", ("-c", WORKER), None),
    Door("a worker, statsmodels", ("-c", f"{WORKER}\n{STATSMODELS}"), None, 2.0),
    Door("a worker, statsmodels, jax", ("-c", f"import jax\n{WORKER}\n{STATSMODELS}"), None),
)


def cpu_seconds(arguments: Sequence[str], tree: Path) -> float:
    """Return user and system time of a new Python process that imports mcsim from a tree."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "OPENBLAS_NUM_THREADS": "1"}
    before = os.times()
    subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        cwd=tree,  # which Python looks through first
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = os.times()
    return (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )


def measured(trees: Sequence[Path], repeat: int) -> dict[tuple[Path, tuple[str, ...]], float]:
    """Return the median CPU seconds of each process, each once in every round."""
    every = dict.fromkeys(
        tuple(arguments)
        for door in DOORS
        for arguments in (door.arguments, door.beyond)
        if arguments is not None
    )
    seconds: dict[tuple[Path, tuple[str, ...]], list[float]] = {}
    for _ in range(repeat):
        for arguments in every:
            for tree in trees:
                seconds.setdefault((tree, arguments), []).append(cpu_seconds(arguments, tree))
    return {what: statistics.median(times) for what, times in seconds.items()}


def main() -> None:
    """Print a table of the doors."""
    parser = argparse.ArgumentParser(description="CPU seconds of start-up")
    parser.add_argument("--repeat", type=int, default=5, help="rounds")
    parser.add_argument("--against", type=Path, help="another tree, shown first")
    options = parser.parse_args()
    trees = [*([options.against.resolve()] if options.against else []), ROOT]
    found = measured(trees, options.repeat)
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, {options.repeat} rounds")
    print(f"{'CPU seconds':28}", *(f"{tree.name:>20}" for tree in trees), "      aim")
    for door in DOORS:
        cells = []
        for tree in trees:
            whole = found[tree, tuple(door.arguments)]
            own = whole if door.beyond is None else whole - found[tree, tuple(door.beyond)]
            cells.append(f"{own:10.2f} of {whole:5.2f} ")
        print(f"{door.name:28}", *(f"{cell:>20}" for cell in cells), f"{door.aim or '':>9}")


if __name__ == "__main__":
    main()
