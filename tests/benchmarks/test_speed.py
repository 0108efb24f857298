"""The benchmark of speed: its page has the rows of the script, and cases of every kind run."""

import subprocess
import sys
from itertools import compress
from pathlib import Path

import numpy as np
import pytest

from benchmarks.speed import FAMILIES
from benchmarks.speed.cases import Case, Contestant, Row, contest
from benchmarks.speed.costs import Cache, Fresh, Here
from benchmarks.speed.main_job import watch
from benchmarks.speed.page import in_units, rows_within, table_of, written

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
TESTED = ("", "statsmodels", "pyfixest", "linearmodels")
"""Packages that the tests install; the others may be missing, or fail beside the newest NumPy."""

CASES = [case for cases in FAMILIES.values() for case in cases]
OF_EACH_KIND = {case.build: case for case in reversed(CASES)}.values()
"""The first case of each function that builds cases: the others have other sizes or data."""


@pytest.mark.parametrize("family", FAMILIES)
def test_the_page_has_the_rows_of_the_script(family):
    expected = [(case.title, one.name) for case in FAMILIES[family] for one in case.contestants]
    assert rows_within(PAGE.read_text(encoding="utf-8"), family) == expected


def test_names_are_unique():
    names = [*FAMILIES, *(case.name for case in CASES)]
    assert len(names) == len(set(names))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", OF_EACH_KIND, ids=lambda case: case.name)
def test_cases_run(case, tmp_path):
    rows = contest(case, tmp_path, repeat=1, size=case.tiny, cpu_seconds=0)
    tested = [one.needs in TESTED for one in case.contestants]
    problems = [(row.name, row.problem) for row in compress(rows, tested) if row.problem]
    assert not problems
    assert all(len(row.cpu) == (not row.problem) for row in rows)


def case_of(*jobs):
    contestants = tuple(Contestant(f"job {number}") for number in range(len(jobs)))
    return Case("name", "title", contestants, lambda folder: jobs)


def test_a_contestant_that_fails_or_disagrees_has_a_problem_and_the_others_go_on(tmp_path):
    def fails():
        raise ZeroDivisionError("no")

    jobs = (
        Here(int, answer=lambda: [1.0, 2.0]),
        Here(int, answer=lambda: [1.0, 2.0 + 1e-9]),
        Here(int, answer=lambda: [1.0, 2.1]),
        Here(fails),
    )
    rows = contest(case_of(*jobs), tmp_path, repeat=2, cpu_seconds=0)
    problems = ["", "", "ValueError: its estimates differ by 5.0e-02", "ZeroDivisionError: no"]
    assert [row.problem for row in rows] == problems
    assert [len(row.cpu) for row in rows] == [2, 2, 0, 0]
    assert rows[1].remark == "agrees to 1e-08"


def test_a_missing_library_is_listed(tmp_path):
    case = Case("name", "title", (Contestant("peer", "no_such_library"),), lambda folder: [None])
    (row,) = contest(case, tmp_path)
    assert row.problem == "not installed"


def test_contestants_take_turns(tmp_path):
    turns = []
    jobs = [Here(lambda name=name: turns.append(name)) for name in "ab"]
    contest(case_of(*jobs), tmp_path, repeat=3, cpu_seconds=0)
    assert "".join(turns) == "ab" + "ab" + "ba" + "ab"  # once before, then in rounds


def test_a_table_shows_medians_and_ratios_within_rounds():
    rows = [Row("mcsim", cpu=[1.0, 2.0, 4.0], wall=[1.0] * 3)]
    rows += [Row("peer", "does more", cpu=[3.0, 4.0, 16.0], wall=[1.0] * 3)]
    rows += [Row("other", problem="not installed")]
    text = table_of([(case_of(), rows)])
    assert text.splitlines()[2:] == [
        "| title | mcsim | 2 s |  | 1 s |  |  |",
        "|  | peer | 4 s | 3 (2 to 4) | 1 s |  | does more |",
        "|  | other |  |  |  |  | not installed |",
    ]
    begun = "# Page\n\n<!-- speed: a -->\n\nold\n\n<!-- end of speed: a -->\n\nafter\n"
    page = written(begun, "a", text)
    assert "old" not in page
    assert page.endswith("after\n")
    assert rows_within(page, "a") == [("title", "mcsim"), ("title", "peer"), ("title", "other")]
    assert written(page, "a", "old") == begun


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(1.23e-5, "12.3 µs"), (0.5, "500 ms"), (75.24, "75.2 s"), (1234, "1234 s")],
)
def test_units(seconds, shown):
    assert in_units(seconds) == shown


def python(code, cache):
    return Fresh(("-c", code), cache)


def test_a_program_may_count_its_own_seconds_and_its_last_line_says_why_it_failed(tmp_path):
    cache = Cache(tmp_path / "cache")
    cost = python("print('CPU 1.5')", cache).cost(1)
    assert cost.cpu == 1.5
    assert np.isnan(cost.wall)
    assert 0 < python("pass", cache).cost(1).cpu < 10
    with pytest.raises(RuntimeError, match=r"^ValueError: no$"):
        python("raise ValueError('no')", cache).cost(1)


def test_a_cache_is_emptied_for_every_process_or_filled_by_one_that_is_not_counted(tmp_path):
    folder = tmp_path / "cache"
    code = "import os; open(f\"{os.environ['MCSIM_COMPILE_CACHE']}/{os.getpid()}\", 'w')"
    python(code, Cache(folder)).cost(1)
    assert len(list(folder.iterdir())) == 2
    python(code, Cache(folder)).cost(1)
    assert len(list(folder.iterdir())) == 3
    python(code, Cache(folder, emptied=True)).cost(1)
    assert len(list(folder.iterdir())) == 1


PHASES = """
import json, pathlib, subprocess, sys, time
runs = pathlib.Path(sys.argv[1], "runs")
burn = "import time\\nwhile time.process_time() < 1: pass"
subprocess.run([sys.executable, "-c", burn])
runs.mkdir(parents=True)
for state in ("running", "complete"):
    (runs / "a.json").write_text(json.dumps({"state": state}))
    time.sleep(1)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="Linux shows what processes take")
def test_the_main_job_is_split_by_what_its_store_shows(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", PHASES, str(tmp_path)])
    spent = watch(process, tmp_path)
    assert process.returncode == 0
    assert list(spent) == ["imports and fits", "replications", "tables and figures"]
    cpu, wall = zip(*spent.values(), strict=True)
    assert cpu[0] > 0.5
    assert sum(cpu) > 1
    assert min(wall) > 0.4
