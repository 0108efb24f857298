"""Records of a store: fields and types of its JSON files and blocks, differences of definitions.

A record is checked against its class once, when it is read or written. Bounds are those beyond
which reading would fail: a hash is part of a path, a factor is a column.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, NotRequired, TypedDict

import pyarrow as pa

from mcsim._definitions.describe import FITTED_BY

FORMAT = 2
"""Of stores written now: JSON files hold a checksum, which format 1 (mcsim to 0.2) did not."""

READABLE = (1, FORMAT)

COLUMNS = {
    "rep": pa.int64(),
    "estimand": pa.dictionary(pa.int32(), pa.string()),
    "inference": pa.dictionary(pa.int32(), pa.string()),
    "value": pa.float64(),
    "se": pa.float64(),
    "lower": pa.float64(),
    "upper": pa.float64(),
    "df": pa.float64(),
    "p_value": pa.float64(),
    "truth": pa.float64(),
    "status": pa.dictionary(pa.int32(), pa.string()),
}
"""Columns of a block, in their order."""

MOST_LABELS = 10_000  # rows of a replication: the footer of a file of a few kB may claim 10**9

_OTHER_COLUMNS = ("dgp", "estimator")  # of a store's rows


def _within(low: float, high: float) -> Callable[[float], bool]:
    return lambda number: low <= number < high


def _is_number(number: float) -> bool:
    return isinstance(number, float) or -(2**63) <= number < 2**63


def _is_finite(number: float) -> bool:
    return _is_number(number) and abs(number) < float("inf")


Whole = Annotated[int, "a whole number below 2**63", _within(-(2**63), 2**63)]
Count = Annotated[int, "a whole number from 1", _within(1, 2**63)]
Number = Annotated[float, _is_number]
Finite = Annotated[float, "a finite number", _is_finite]
Positive = Annotated[Finite, "a number above 0", lambda number: number > 0]
Share = Annotated[float, "a number between 0 and 1", lambda number: 0 < number < 1]
Hash = Annotated[str, "a hash", re.compile("[0-9a-f]{12,64}").fullmatch]
Version = Annotated[str, "a version", re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})+").fullmatch]
Factor = Annotated[
    str, "another name than a column's", lambda name: name not in (*COLUMNS, *_OTHER_COLUMNS)
]
Level = bool | str | Number


class StoreRecord(TypedDict):
    """STORE.json: the format of the other files."""

    format: int


class CellOfStudy(TypedDict):
    """A cell of a study: the DGP, the design, and the hashes under which its rows are stored."""

    hash: Hash
    dgp: str
    design: dict[Factor, Level]
    estimators: list[tuple[str, Hash]]
    truth_computed: NotRequired[bool]


class StudyRecord(TypedDict):
    """study.json: a study, and its number of replications."""

    cells: list[CellOfStudy]
    reps: Count
    seed: int
    level: Share
    null: Finite
    caveats: list[str]
    dgps: dict[str, str]
    aim: NotRequired[str]
    scale: NotRequired[Positive]
    unit: NotRequired[str]
    common_shocks: NotRequired[dict[str, str]]
    taken: NotRequired[dict[str, list[str]]]


class Environment(TypedDict):
    """Versions and settings on which the bits of a sample depend (`environment` of a plan)."""

    mcsim: Version


class CellRecord(TypedDict):
    """cell.json: the definition of a DGP under a design."""

    dgp: str
    factors: dict[str, Any]
    seed: int
    design: dict[Factor, Level]
    hash: Hash
    environment: Environment


class EstimatorRecord(TypedDict):
    """est.json: the definition of an estimator."""

    estimator: str
    definition: Any
    hash: Hash


class TruthRecord(TypedDict):
    """truth.json of a cell: the value of each estimand, and its Monte Carlo error."""

    values: dict[str, tuple[Number, Number]]
    kind: str


class OwnTruthRecord(TypedDict):
    """truth.json of an estimator: its values on the population."""

    own: dict[str, Number]


NotesRecord = dict[str, Number]
"""notes.json: means of an estimator's diagnoses of panels."""


class RunRecord(TypedDict):
    """runs/<name>.json: a run of a study, and its place among all runs."""

    study: Hash
    order: NotRequired[Whole]


class FailureRecord(TypedDict):
    """failures/<cell>/<est>/<rep>.json: the failure of a replication, the first of ``reps``."""

    rep: Whole
    status: str
    trouble: str
    reps: NotRequired[list[Whole]]
    reason: NotRequired[str]


class Footer(TypedDict):
    """The footer of a block."""

    format: int
    address: list[str]
    rows: int
    sha256: str


_LINES_OF_BLOCKS = re.compile(
    r"([0-9a-f]{12} [0-9a-f]{12} r[0-9]{7,15}-[0-9]{7,15} [0-9]{1,12}\n)+"
)


class PackedGroup(TypedDict):
    """A group of a pack: a line for each of its blocks, with its cell, estimator, name and rows."""

    blocks: Annotated[str, "lines of blocks", _LINES_OF_BLOCKS.fullmatch]  # a list is slow to check
    sha256: str


class PackFooter(TypedDict):
    """The footer of a pack."""

    format: int
    groups: list[PackedGroup]


# Differences for readers: short values, and fitted generators by name

SHOWN, LEAD = 200, 40  # characters of a value; of these before the place where two part


def differing_lines(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines in which two definitions of the same name differ."""
    yield f"{what}:"
    before, after = dict(_flat(old)), dict(_flat(new))
    for path in sorted(before.keys() | after.keys()):
        left, right = before.get(path), after.get(path)
        if left == right or path in ("hash", "design") or path.startswith("design."):
            continue
        if left is not None and right is not None and _is_fitted(left) and _is_fitted(right):
            yield f"  {path}: {_of_fits(left, right)}"
        elif isinstance(left, str) and isinstance(right, str) and "\n" in left + right:
            lines = difflib.unified_diff(left.splitlines(), right.splitlines(), lineterm="", n=1)
            yield f"  {path}:"
            yield from (f"    {_cut(line)}" for line in list(lines)[2:])
        else:
            yield f"  {path}: {_change(left, right)}"


def _change(left: Any, right: Any) -> str:
    """Show two values, long ones around the place at which they part."""
    before, after = json.dumps(left), json.dumps(right)
    if max(len(before), len(after)) <= SHOWN:
        return f"{before} -> {after}"
    pairs = enumerate(zip(before, after, strict=False))
    part = next((k for k, (one, other) in pairs if one != other), min(len(before), len(after)))
    start = max(0, part - LEAD)
    return f"{_cut(before, start)} -> {_cut(after, start)}"


def _cut(text: str, start: int = 0) -> str:
    head, tail = "..." if start else "", "..." if len(text) > start + SHOWN else ""
    return f"{head}{text[start : start + SHOWN]}{tail}"


def _is_fitted(definition: Any) -> bool:
    """Whether a definition is of a fitted generator, whose numbers do not inform a reader."""
    return isinstance(definition, Mapping) and FITTED_BY in definition


def _of_fits(left: Mapping[str, Any], right: Mapping[str, Any]) -> str:
    before, after = dict(_flat(left[FITTED_BY])), dict(_flat(right[FITTED_BY]))
    kinds = (config.get("class", config.get("class.name")) for config in (before, after))
    old, new = map(_short, map(str, kinds))
    if old != new:
        return f"a fitted {old} -> a fitted {new}"
    names = [name for name in before | after if before.get(name) != after.get(name)]
    if not names:
        return f"a fitted {old} -> another of the same configuration (other data or another key)"
    changes = (f"{name} {_change(before.get(name), after.get(name))}" for name in names)
    return f"a fitted {old} -> one of another configuration: {_cut(', '.join(changes))}"


def _short(name: str) -> str:
    """Return the last part of a public name, without its version: ``WGAN``."""
    return name.rpartition(".")[2].partition(" ")[0]


def _flat(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping) and not (path and _is_fitted(tree)):
        for name, value in tree.items():
            yield from _flat(value, f"{path}.{name}" if path else str(name))
    else:
        yield path, tree
