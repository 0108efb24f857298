"""Cases as data, and their contests: answers must agree, then contestants take turns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .costs import CPU_SECONDS, Fresh, Here


class Contestant(NamedTuple):
    """A contestant: its name, the package it needs, and a remark on how fair the contest is."""

    name: str
    needs: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Case:
    """Work that several contestants do.

    Attributes
    ----------
    name : str
        Its name on the command line.
    title : str
        The unit of work.
    contestants : tuple of Contestant
        The first is mcsim, with which the others are compared.
    build : callable
        ``build(folder, **size)`` returns the contestants' jobs, in their order; the jobs import the
        libraries.
    full, tiny : mapping
        The size that is measured, and one for a test.
    one_cpu : bool
        Whether all keep to one CPU: a contest of programs, not of numbers of threads.
    agree : float
        Relative and absolute tolerance of the answers.
    """

    name: str
    title: str
    contestants: tuple[Contestant, ...]
    build: Callable[..., Sequence[Here | Fresh]]
    full: Mapping[str, Any] = field(default_factory=dict)
    tiny: Mapping[str, Any] = field(default_factory=dict)
    one_cpu: bool = False
    agree: float = 1e-8


@dataclass
class Row:
    """What a contestant took in each round, or why it did not.

    Attributes
    ----------
    name, remark : str
    cpu, wall : list of float
        Seconds of each round, for a unit of work.
    memory : float or None
        Gigabytes of a new process.
    problem : str
        Why there is no figure.
    """

    name: str
    remark: str = ""
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    memory: float | None = None
    problem: str = ""


def contest(
    case: Case,
    folder: Path,
    *,
    repeat: int = 3,
    size: Mapping[str, Any] | None = None,
    cpu_seconds: float = CPU_SECONDS,
) -> list[Row]:
    """Hold a contest: answers first, then rounds in which all take turns.

    An error of a contestant is its row's problem; the others go on.

    Parameters
    ----------
    case : Case
    folder : Path
        For files.
    repeat : int
        Rounds.
    size : mapping, optional
        By default the case's full size.
    cpu_seconds : float
        The least that a measurement in this process takes; 0: one call.
    """
    rows = {one.name: Row(one.name, one.remark) for one in case.contestants}
    built = case.build(folder, **(case.full if size is None else size))
    jobs = dict(zip(rows, built, strict=True))
    calls: dict[str, int] = {}
    first: list[Any] = []
    for one in case.contestants:
        if one.needs and find_spec(one.needs) is None:
            rows[one.name].problem = "not installed"
        else:
            _try(rows[one.name], lambda row, job: _agree(row, job, first, case.agree), jobs)
    for row in rows.values():
        _try(row, lambda row, job: calls.update({row.name: job.warm_up(cpu_seconds)}), jobs)
    for number in range(repeat):
        for name in list(calls)[:: -1 if number % 2 else 1]:
            _try(rows[name], lambda row, job: _measure(row, job, calls[row.name]), jobs)
    return list(rows.values())


def _try(row: Row, step: Callable[[Row, Any], Any], jobs: Mapping[str, Any]) -> None:
    """Take a step for a row that has no problem yet; an error becomes one."""
    if row.problem:
        return
    try:
        step(row, jobs[row.name])
    except Exception as error:
        row.problem = f"{type(error).__name__}: {error}".splitlines()[0][:200]


def _agree(row: Row, job: Here | Fresh, first: list[Any], tolerance: float) -> None:
    """Compare a contestant's answer with the first contestant's that gave one."""
    if job.answer is None:
        return
    answer = np.asarray(job.answer(), float)
    if not first:
        first.append(answer)
        return
    away = np.abs(answer - first[0]) / np.maximum(1.0, np.abs(first[0]))
    if not (away <= tolerance).all():
        raise ValueError(f"its estimates differ by {np.nanmax(away):.1e}")
    row.remark = "; ".join(filter(None, (row.remark, f"agrees to {tolerance:.0e}")))


def _measure(row: Row, job: Here | Fresh, calls: int) -> None:
    cost = job.cost(calls)
    row.cpu.append(cost.cpu)
    row.wall.append(cost.wall)
    if not np.isnan(cost.memory):
        row.memory = max(cost.memory, row.memory or 0.0)
    if cost.remark:
        row.remark = cost.remark
