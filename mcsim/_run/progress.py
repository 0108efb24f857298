"""Progress of a run: workers, programs, cells, time left, bias and coverage.

A terminal has a bar for each cell. A notebook and a log have one line, for which `Screen` knows the
place.
"""

import threading
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from mcsim._core.screen import Line, Screen, duration
from mcsim._run.plan import CellPlan, EstimatorPlan
from mcsim._run.study import Study
from mcsim.errors import printable
from mcsim.measures._replications import complete_intervals


@dataclass
class _Running:
    """Sums over the rows of one estimator in one cell."""

    n: int = 0
    error: float = 0.0
    covered: float = 0.0
    with_interval: int = 0

    def add(self, rows: pd.DataFrame, level: float) -> None:
        rows = complete_intervals(rows, level, null=0.0)
        errors = (rows["value"] - rows["truth"]).to_numpy()
        known = (rows["lower"].notna() & rows["truth"].notna()).to_numpy()
        inside = rows["truth"].between(rows["lower"], rows["upper"]).to_numpy()
        self.n += int(np.isfinite(errors).sum())
        self.error += float(np.nansum(errors))
        self.with_interval += int(known.sum())
        self.covered += float((inside & known).sum())

    def __str__(self) -> str:
        bias = f"bias {self.error / self.n:+.3g}" if self.n else ""
        cover = f"coverage {self.covered / self.with_interval:.3f}" if self.with_interval else ""
        return "  ".join(part for part in (bias, cover) if part)


@dataclass
class Pace:
    """Rates of a run, separately for native and host estimators, which differ by thousands.

    Attributes
    ----------
    clock : callable
        The time in seconds.
    """

    clock: Callable[[], float] = time.monotonic
    _began: float = 0.0
    _left: dict[str, int] = field(default_factory=dict)
    _computed: dict[str, int] = field(default_factory=dict)

    def begin(self) -> None:
        """Start the clock."""
        self._began = self.clock()

    def ask(self, kind: str, n: int) -> None:
        """Count replications that the run is to have."""
        self._left[kind] = self._left.get(kind, 0) + n
        self._computed.setdefault(kind, 0)

    def settle(self, kind: str, n: int, *, computed: bool) -> None:
        """Count replications that are done; only computed ones count for the rate."""
        self._left[kind] -= n
        if computed:
            self._computed[kind] += n

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self.clock() - self._began

    @property
    def rates(self) -> dict[str, float]:
        """Replications a second, by kind: computed in this run, over the time since its start."""
        seconds = max(self.elapsed, 1e-9)
        return {kind: n / seconds for kind, n in self._computed.items()}

    @property
    def remaining(self) -> float | None:
        """Seconds until the slower kind is done; None while an unfinished kind has no rate.

        Both kinds are computed at the same time.
        """
        left, rates = {kind: n for kind, n in self._left.items() if n > 0}, self.rates
        if not all(rates[kind] for kind in left):
            return None
        return max((n / rates[kind] for kind, n in left.items()), default=0.0)

    def __str__(self) -> str:
        several = len(self._left) > 1
        parts = [
            f"{_rate(rate)}/s" + (f" {kind}" if several else "")
            for kind, rate in self.rates.items()
            if rate and self._left[kind] > 0
        ]
        parts.append(duration(self.elapsed))
        if remaining := self.remaining:
            parts.append(f"{duration(remaining)} left")
        return "  ".join(parts)


def _rate(per_second: float) -> str:
    return f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.2g}"


def awaited(starting: int, *, compiled: int = 0, programs: int = 0, then: str = "") -> str:
    """Return in words which workers start and programs are compiled; empty once none is.

    Parameters
    ----------
    starting : int
        Worker processes that start; 0 once they take tasks.
    compiled, programs : int
        How many programs are compiled, of how many.
    then : str
        The next step.

    Examples
    --------
    >>> awaited(2, compiled=2, programs=8)
    'starting 2 workers, compiling 3 of 8'
    """
    workers = f"starting {starting} worker{'s' if starting > 1 else ''}" if starting else ""
    compiling = f"compiling {compiled + 1} of {programs}" if compiled < programs else ""
    return ", ".join(filter(None, (workers, compiling, then)))


class Progress:
    """A bar for each cell, or a line for all of them, and the time left.

    Parameters
    ----------
    study : Study
        Its level decides the running coverage.
    plans : sequence of CellPlan
        The cells.
    reps : int
        Replications asked for.
    screen : Screen
        Where progress is shown.
    clock : callable
        Returns the time in seconds.
    """

    def __init__(
        self,
        study: Study,
        plans: Sequence[CellPlan],
        reps: int,
        *,
        screen: Screen,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._level, self._reps, self._screen = study.level, reps, screen
        self._running: dict[tuple[str, str], _Running] = {}
        self._lock = threading.Lock()
        self._programs: set[Hashable] = set()
        self._compiled: set[Hashable] = set()
        self._starting = 0
        self._latest = ""
        self.pace = Pace(clock)
        for estimator in (e for plan in plans for e in plan.estimators):
            self.pace.ask(_kind(estimator), reps)
        self._bars = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            _PaceColumn(self.pace),
            TextColumn("{task.fields[running]}", style="dim", markup=False),
            console=screen.console,
            disable=screen.kind != "terminal",
        )
        per_cell = {plan.hash: (plan.cell.name, reps * len(plan.estimators)) for plan in plans}
        self._left = {cell: total for cell, (_, total) in per_cell.items()}
        self._total = sum(self._left.values())
        self._tasks = {
            cell: self._bars.add_task(
                printable(name), total=total, running="", pace=len(plans) == 1
            )
            for cell, (name, total) in per_cell.items()
        }
        if len(plans) > 1:
            self._whole = self._bars.add_task("all cells", total=self._total, running="", pace=True)
        self._shown = ExitStack()

    def __enter__(self) -> "Progress":
        self.pace.begin()
        self._bars.start()
        self._shown.enter_context(self._screen.line(self.line, last=True))
        return self

    def __exit__(self, *_: object) -> None:
        self._screen.share = self.share
        self._shown.close()
        self._bars.stop()

    @property
    def share(self) -> float:
        """The share of the estimates that the store holds, or that will not be computed."""
        return 1 - sum(self._left.values()) / self._total if self._total else 1.0

    def line(self) -> Line:
        """Return the progress of all cells as a line."""
        with self._lock:
            left = list(self._left.values())
            cells = f"{left.count(0)}/{len(left)} cells" if len(left) > 1 else ""
            estimates = f"{self._total - sum(left):,}/{self._total:,}"
            running = (self._awaited() or self._latest) if any(left) else ""
            parts = (cells, estimates, str(self.pace), running)
            return Line("  ".join(filter(None, parts)), self.share)

    def wait_for(self, programs: Iterable[Hashable], workers: int) -> None:
        """Show starting workers and programs to compile, until `started` and `ran` are called."""
        with self._lock:
            self._programs, self._starting = set(programs), workers
            self._show_awaited()

    def started(self) -> None:
        """Note that the workers take tasks."""
        with self._lock:
            self._starting = 0
            self._show_awaited()

    def ran(self, program: Hashable) -> None:
        """Note a program that has run, and so is compiled."""
        with self._lock:
            if program in self._programs and program not in self._compiled:
                self._compiled.add(program)
                self._show_awaited()

    def found(self, plan: CellPlan, estimator: EstimatorPlan, rows: pd.DataFrame) -> None:
        """Count a block that the store holds already."""
        self._add(plan, estimator, rows, computed=False)

    def computed(self, plan: CellPlan, estimator: EstimatorPlan, rows: pd.DataFrame) -> None:
        """Count a block that this run has computed."""
        self._add(plan, estimator, rows, computed=True)

    def skipped(self, plan: CellPlan, estimator: EstimatorPlan, starts: Iterable[int]) -> None:
        """Count blocks that will not be computed."""
        n = sum(min(estimator.block, self._reps - start) for start in starts)
        with self._lock:
            self.pace.settle(_kind(estimator), n, computed=False)
            self._advance(plan, n)

    def say(self, sentence: str) -> None:
        """Print a sentence above the bars; on standard error even without bars."""
        self._screen.say(sentence)

    def _add(
        self, plan: CellPlan, estimator: EstimatorPlan, rows: pd.DataFrame, *, computed: bool
    ) -> None:
        reps = rows["rep"].to_numpy()
        n = len(np.unique(reps[reps < self._reps]))
        with self._lock:
            self.pace.settle(_kind(estimator), n, computed=computed)
            running = ""
            if self._screen.kind in ("terminal", "notebook"):  # sums take longer than the rows
                sums = self._running.setdefault((plan.hash, estimator.name), _Running())
                sums.add(rows[reps < self._reps], self._level)
                running = printable(f"{estimator.name} {sums}")
                self._latest = f"{plan.cell.name}: {running}" if len(self._left) > 1 else running
            self._advance(plan, n, running=running)

    def _awaited(self) -> str:
        """Return in words which workers and programs are waited for."""
        return awaited(self._starting, compiled=len(self._compiled), programs=len(self._programs))

    def _show_awaited(self) -> None:
        """Show workers and programs beside all cells, a line without numbers, or the only cell."""
        task = self._whole if len(self._tasks) > 1 else next(iter(self._tasks.values()))
        if len(self._tasks) > 1 or not self._running:
            self._bars.update(task, running=self._awaited(), refresh=True)

    def _advance(self, plan: CellPlan, n: int, **fields: Any) -> None:
        self._left[plan.hash] -= n
        if self._bars.disable:
            return
        self._bars.update(self._tasks[plan.hash], advance=n, **fields)
        if len(self._tasks) > 1:
            self._bars.update(self._whole, advance=n)


def _kind(estimator: EstimatorPlan) -> str:
    return "host" if estimator.is_host else "native"


class _PaceColumn(ProgressColumn):
    """A column with the rates, the time since the start and the time left of the whole run."""

    def __init__(self, pace: Pace):
        super().__init__()
        self._pace = pace

    def render(self, task: Task) -> Text:
        """Return the pace."""
        return Text(str(self._pace) if task.fields["pace"] else "", style="cyan")
