"""The golden record: what small studies, generators and fidelity tables gave, stored as it was.

A change that moves or merges code must leave every number as it stands here. On the machine and
with the versions of ``tests/golden/machine.json`` numbers are compared bit for bit. Elsewhere
the rows of studies must agree to 1e-6 (estimators agree to 1e-9, but normals are drawn in
float32), and what was trained is skipped.

To record anew, from the root of the repository::

    python tests/golden.py --record                   # everything
    python tests/golden.py --record -k references     # one part

This is allowed for one reason only: a change that is *meant* to change numbers, in a commit that
holds nothing else, whose message says which numbers moved and why. A new machine or a new version
of a library is none: the test then compares what can be compared. Studies and generators that are
new get a part of their own. The record is made by the tests themselves, so that its programs are
compiled with the settings of `tests/conftest.py`.
"""

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest

FOLDER = Path(__file__).parent / "golden"
RECORD = "MCSIM_RECORD_GOLDEN"
LIBRARIES = ("jax", "jaxlib", "numpy", "scipy", "scikit-learn", "pandas")
TOLERANCE = 1e-6  # normals are drawn in float32, whose last bit depends on how programs are fused
ROW = ["value", "se", "lower", "upper", "df", "p_value", "truth"]


def machine() -> dict[str, str]:
    """Return the processor and the versions on which numbers are the same bit for bit."""
    versions = {name: version(name) for name in LIBRARIES}
    unoptimized = jax.config.values["jax_disable_most_optimizations"]
    return {
        "processor": _processor(),
        "system": platform.system(),
        "python": ".".join(platform.python_version_tuple()[:2]),
        **versions,
        "compiled": f"{'without' if unoptimized else 'with'} most optimizations",
    }


def _processor() -> str:
    """Return the model of the processor and a hash of its instruction sets."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor() or platform.machine()
    lines = [line.partition(":") for line in cpuinfo.read_text().splitlines()]
    about = {name.strip(): text.strip() for name, _, text in lines}
    known = [about.get(name, "") for name in ("model name", "cpu family", "model")]
    flags = " ".join(sorted(about.get("flags", about.get("Features", "")).split()))
    return " ".join([*known, hashlib.sha256(flags.encode()).hexdigest()[:8]])


def differences_of_machine() -> str:
    """Say how this machine differs from the record's; empty where it does not."""
    then, now = _read("machine"), machine()
    return ", ".join(
        f"{name} {now[name]} (recorded: {then.get(name)})"
        for name in now
        if now[name] != then.get(name)
    )


def check(part: str, found: Mapping[str, Any], *, elsewhere: bool = False) -> None:
    """Compare a part with the record, or record it.

    Parameters
    ----------
    part : str
        Name of the file in `FOLDER`.
    found : mapping of str to list
        Rows of texts and numbers, by what they are of.
    elsewhere : bool
        Whether they are compared on other machines too, to `TOLERANCE`.
    """
    found = json.loads(_text(found))
    if os.environ.get(RECORD):
        (FOLDER / f"{part}.json").write_text(_text(found))
        (FOLDER / "machine.json").write_text(json.dumps(machine(), indent=1) + "\n")
        return
    recorded, other = _read(part), differences_of_machine()
    if not other:
        wrong = [name for name in {**recorded, **found} if not _same(recorded, found, name)]
        assert not wrong, _report(part, wrong, recorded, found)
        return
    assert _heads(found) == _heads(recorded)
    if elsewhere:
        for name, rows in recorded.items():
            _assert_close(found[name], rows, f"{part}: {name}")
    else:
        pytest.skip(f"{part} is not compared here, where this differs: {other}")


def _heads(tables: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the columns of each table, which are the same on all machines."""
    heads = {name: rows[0] for name, rows in tables.items()}
    return {
        name: head if all(isinstance(cell, str) for cell in head) else []
        for name, head in heads.items()
    }


def _same(recorded: Mapping[str, Any], found: Mapping[str, Any], name: str) -> bool:
    return json.dumps(recorded.get(name)) == json.dumps(found.get(name))


def _report(part: str, wrong: list[str], recorded: Mapping[str, Any], found: Mapping[str, Any]):
    """Show the first rows that differ."""
    lines = [f"{part}: {len(wrong)} of {len(found)} differ from the record: {', '.join(wrong)}"]
    for name in wrong[:3]:
        before, after = recorded.get(name, []), found.get(name, [])
        pairs = [(a, b) for a, b in zip(before, after, strict=False) if str(a) != str(b)]
        lines += [f"{name}: {len(before)} rows, now {len(after)}"] * (len(before) != len(after))
        lines += [f"{name}\n  recorded {a}\n  now      {b}" for a, b in pairs[:3]]
    return "\n".join(lines)


def _assert_close(found: Any, recorded: Any, where: str) -> None:
    if isinstance(recorded, list):
        assert len(found) == len(recorded), where
        for one, other in zip(found, recorded, strict=True):
            _assert_close(one, other, where)
    elif isinstance(recorded, float):
        np.testing.assert_allclose(found, recorded, TOLERANCE, TOLERANCE, err_msg=where)
    else:
        assert found == recorded, where


def _text(found: Mapping[str, Any]) -> str:
    """Return JSON with a row a line, in which floats come back bit for bit."""
    parts = [
        f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]"
        for name, rows in found.items()
    ]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _read(part: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{part}.json").read_text())


def rows_of(frame: pd.DataFrame, columns: list[str] | None = None) -> list[list[Any]]:
    """Return the rows of a frame as lists of texts and numbers, its columns first."""
    chosen = frame if columns is None else frame[columns]
    rows = chosen.astype(object).to_numpy().tolist()
    return [[str(name) for name in chosen], *([_plain(cell) for cell in row] for row in rows)]


def replicates_of(results: Any) -> list[list[Any]]:
    """Return the replications of a study as rows."""
    factors = ["dgp", *results.factors, "estimator", "estimand", "inference", "rep"]
    return rows_of(results.replicates, [*factors, *ROW, "status"])


def draw_of(panel: Any) -> list[list[Any]]:
    """Return the shape, first values and a hash of each column of a panel."""
    found = {name: np.asarray(column, dtype=np.float64) for name, column in panel.items()}
    return [
        [name, list(values.shape), values.ravel()[:3].tolist(), _digest(values)]
        for name, values in found.items()
    ]


def _digest(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]


def _plain(cell: Any) -> Any:
    if isinstance(cell, (float, np.floating)):
        return float(cell)
    if isinstance(cell, (bool, np.bool_)):
        return bool(cell)
    if isinstance(cell, (int, np.integer)):
        return int(cell)
    return "" if cell is None or cell is pd.NA else str(cell)


def record(arguments: list[str]) -> int:
    """Run the tests so that they write what they find."""
    tests = str(FOLDER.parent / "test_golden.py")
    command = [sys.executable, "-m", "pytest", "-q", "-m", "slow or not slow", tests, *arguments]
    return subprocess.run(command, env={**os.environ, RECORD: "1"}, check=False).returncode


if __name__ == "__main__":
    if sys.argv[1:2] != ["--record"]:
        sys.exit(__doc__)
    sys.exit(record(sys.argv[2:]))
