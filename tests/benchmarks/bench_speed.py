"""How fast mcsim is, beside others, in CPU seconds: ``python tests/benchmarks/bench_speed.py``.

Every case runs in a process of its own; in it the contestants, after their answers have agreed,
take turns. Families that take long run only if they are named.

    --list                      the cases
    --only NAME                 a case, or a family of cases; may be repeated
    --repeat K                  rounds (3)
    --write docs/benchmarks.md  put the tables of whole families into the page
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # this tree is measured, here and in the processes that are started
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.getenv("PYTHONPATH"))))

from speed import FAMILIES, IF_NAMED  # noqa: E402
from speed.cases import Case, Row, contest  # noqa: E402
from speed.page import measured_on, table_of, written  # noqa: E402

SECONDS = 7200  # of a case, at most


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--repeat", type=int, default=3, metavar="K")
    parser.add_argument("--write", type=Path, metavar="PAGE")
    parser.add_argument("--in-this-process", metavar="NAME", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.in_this_process:
        print(json.dumps(hold(asked.in_this_process, asked.repeat)))
    elif asked.list:
        for family, cases in FAMILIES.items():
            print(f"{family}{', if named' if family in IF_NAMED else ''}")
            print("\n".join(f"  {case.name:20s} {case.title}" for case in cases))
    else:
        measure(chosen(asked.only), asked.repeat, asked.write)


def chosen(names: Sequence[str]) -> dict[str, list[Case]]:
    """Return the cases to run, by family; an unknown name ends the command."""
    known = {*FAMILIES, *(case.name for cases in FAMILIES.values() for case in cases)}
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"--only: got {', '.join(unknown)}, expected names of --list")
    found = {}
    for family, cases in FAMILIES.items():
        whole = family in names or (not names and family not in IF_NAMED)
        found[family] = [case for case in cases if whole or case.name in names]
    return {family: cases for family, cases in found.items() if cases}


def measure(families: Mapping[str, Sequence[Case]], repeat: int, page: Path | None) -> None:
    """Run cases one after the other; print each table, and write it if its family is whole."""
    for family, cases in families.items():
        where = measured_on(ROOT, repeat)
        rows = {case.name: [Row(one.name) for one in case.contestants] for case in cases}
        for case in cases:
            rows[case.name] = rows_of(case, repeat)
            text = f"{table_of([(case, rows[case.name]) for case in cases])}\n\n{where}"
            if page is not None and len(cases) == len(FAMILIES[family]):  # what is done stays
                before = page.read_text(encoding="utf-8")
                page.write_text(written(before, family, text), encoding="utf-8")
        print(f"\n{family}\n\n{text}", flush=True)
        if page is not None and len(cases) < len(FAMILIES[family]):
            print(f"not written: {family} has other cases too", file=sys.stderr)


def rows_of(case: Case, repeat: int) -> list[Row]:
    """Run a case in a process of its own; if it fails, that is the problem of all rows."""
    print(f"{case.name} ...", file=sys.stderr, flush=True)
    options = ("--in-this-process", case.name, "--repeat", str(repeat))
    try:
        done = subprocess.run(
            [sys.executable, __file__, *options],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=SECONDS,
        )
        return [Row(**row) for row in json.loads(done.stdout.splitlines()[-1])]
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        problem = f"the case failed: {type(error).__name__}"
        return [Row(one.name, problem=problem) for one in case.contestants]


def hold(name: str, repeat: int) -> list[dict[str, Any]]:
    """Hold a case's contest in this process; problems go to standard error too."""
    case = next(case for cases in FAMILIES.values() for case in cases if case.name == name)
    if case.one_cpu and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    warnings.simplefilter("ignore")  # of libraries
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MCSIM_COMPILE_CACHE"] = f"{folder}/programs"
        rows = contest(case, Path(folder), repeat=repeat)
    for row in rows:
        if row.problem:
            print(f"  {row.name}: {row.problem}", file=sys.stderr)
    return [asdict(row) for row in rows]


if __name__ == "__main__":
    main()
