"""The tables of the page: Markdown between two comments, one pair for each family of cases."""

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from math import isnan
from pathlib import Path
from statistics import median

from .cases import Case, Row

HEAD = "| work | what runs | CPU | times the first | wall | memory | |\n"
HEAD += "| :-- | :-- | --: | --: | --: | --: | :-- |\n"
PACKAGES = ("jax", "numpy", "pandas", "statsmodels", "scikit-learn", "pyfixest", "linearmodels")
PEERS = ("DoubleML", "diff-diff", "StatsPAI", "wildboottest", "pydynpd")


def table_of(contests: Sequence[tuple[Case, Sequence[Row]]]) -> str:
    """Return the table of some cases: a line for each contestant."""
    lines = []
    for case, rows in contests:
        for number, row in enumerate(rows):
            title = case.title if number == 0 else ""
            lines.append("| " + " | ".join((title, row.name, *_figures(row, rows[0]))) + " |")
    return HEAD + "\n".join(lines)


def _figures(row: Row, first: Row) -> tuple[str, ...]:
    """Return the cells of a row: medians of its rounds, and ratios within a round."""
    if row.problem or not row.cpu:
        problem = (row.problem or "not measured").replace("|", "/")
        return "", "", "", "", problem
    memory = "" if row.memory is None else f"{row.memory:.2g} GB"
    cpu, wall = (in_units(median(seconds)) for seconds in (row.cpu, row.wall))
    return cpu, ratios(row, first), wall, memory, row.remark


def ratios(row: Row, first: Row) -> str:
    """Return the CPU time beside the first contestant's, the median and the range of all rounds."""
    if row is first or first.problem:
        return ""
    found = [own / other for own, other in zip(row.cpu, first.cpu, strict=False) if other > 0]
    if not found:
        return ""
    spread = f" ({_plain(min(found))} to {_plain(max(found))})" if len(found) > 1 else ""
    return f"{_plain(median(found))}{spread}"


def _plain(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def in_units(seconds: float) -> str:
    """Return seconds with a unit and three digits.

    >>> in_units(0.0000123), in_units(0.5), in_units(75.2)
    ('12.3 µs', '500 ms', '75.2 s')
    """
    if isnan(seconds):
        return ""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(seconds) >= size or unit == "µs":
            break
    return f"{seconds / size:.3g} {unit}" if abs(seconds) < 1000 else f"{seconds:.0f} s"


def measured_on(root: Path, repeat: int) -> str:
    """Return when, on which machine and with which versions something was measured."""
    commit = _said(root, "git", "rev-parse", "--short", "HEAD")
    changed = " with changes" if _said(root, "git", "status", "--porcelain", "mcsim") else ""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "?"
    packages = ", ".join(
        f"{name} {found}" for name in (*PACKAGES, *PEERS) if (found := _version_of(name))
    )
    rounds = f"{repeat} round{'' if repeat == 1 else 's'}"
    return (
        f"Commit {commit}{changed}, {datetime.now(UTC):%Y-%m-%d}, {rounds}, {cpus} CPUs "
        f"({_processor()}; load {load}), {platform.system()}, Python {platform.python_version()}, "
        f"{packages}."
    )


def _said(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout.strip() or ""


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.*)", info.read_text()) if info.exists() else None
    return found[1] if found else platform.machine()


def marks(family: str) -> tuple[str, str]:
    """Return the comments around a family's table."""
    return f"<!-- speed: {family} -->", f"<!-- end of speed: {family} -->"


def within(page: str, family: str) -> str:
    """Return the text between a family's marks."""
    begin, end = marks(family)
    return page.partition(begin)[2].partition(end)[0]


def written(page: str, family: str, text: str) -> str:
    """Return a page with a new text between a family's marks."""
    begin, end = marks(family)
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"page: it lacks {begin} and {end}, expected both")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def rows_within(page: str, family: str) -> list[tuple[str, str]]:
    """Return (work, what runs) of each line of a family's table."""
    found, title = [], ""
    for line in within(page, family).splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if line.startswith("| ") and "--" not in cells[0] and cells[0] != "work":
            title = cells[0] or title
            found.append((title, cells[1]))
    return found
