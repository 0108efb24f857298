"""Differences of two definitions, for readers: short values, and fitted generators by name."""

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from mcsim._definitions.describe import FITTED_BY

SHOWN, LEAD = 200, 40  # characters of a value; of these before the place where two part


def difference(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that tell two definitions of the same name apart."""
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


def _is_fitted(described: Any) -> bool:
    """Whether this describes a fitted generator, whose numbers say nothing to a reader."""
    return isinstance(described, Mapping) and FITTED_BY in described


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
