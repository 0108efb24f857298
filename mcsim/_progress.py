"""Progress of a run in the terminal: cells, rate, time left, running bias and coverage."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.text import Text

from mcsim._escapes import printable
from mcsim._intervals import complete_intervals
from mcsim._plan import CellPlan, EstimatorPlan
from mcsim._study import Study


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


class Progress:
    """A bar per cell; silent where there is no terminal.

    Parameters
    ----------
    study : Study
        Its level decides the running coverage.
    plans : sequence of CellPlan
        The cells.
    reps : int
        Replications asked for.
    shown : bool
        Whether to show anything.
    """

    def __init__(self, study: Study, plans: Sequence[CellPlan], reps: int, *, shown: bool):
        console = Console(stderr=True)
        self._level, self._reps = study.level, reps
        self._running: dict[tuple[str, str], _Running] = {}
        self._lock = threading.Lock()
        self._bars = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            _RateColumn(""),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[running]}", style="dim", markup=False),
            console=console,
            disable=not (shown and console.is_terminal),
        )
        self._tasks = {
            plan.hash: self._bars.add_task(
                printable(plan.cell.name),
                total=reps * len(plan.estimators),
                running="",
            )
            for plan in plans
        }

    def __enter__(self) -> "Progress":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def done(self, plan: CellPlan, estimator: EstimatorPlan, rows: pd.DataFrame) -> None:
        """Count a block that is in the store."""
        rows = rows[rows["rep"] < self._reps]
        with self._lock:
            running = self._running.setdefault((plan.hash, estimator.name), _Running())
            running.add(rows, self._level)
            self._bars.update(
                self._tasks[plan.hash],
                advance=rows["rep"].nunique(),
                running=printable(f"{estimator.name} {running}"),
            )


class _RateColumn(TextColumn):
    """Replications per second."""

    def render(self, task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "", style="cyan")
