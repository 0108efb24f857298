"""The plan of a run: cells and estimators with their keys and hashes, checked against the store.

The change rule: what a store holds under a name stays what it is. Another definition under the
same name (cell or estimator) stops the run with the difference, unless changes are accepted.
"""

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from mcsim._engine import HOST_BLOCK, NATIVE_BLOCK, chunk_size
from mcsim._fingerprint import describe
from mcsim._host import HostDGP, HostEstimator
from mcsim._keys import (
    Stream,
    cell_identity,
    cell_key,
    digest,
    replication_keys,
    root_key,
    stream_key,
)
from mcsim._store import Store, write_json
from mcsim._study import Cell, Study
from mcsim._version import __version__
from mcsim.errors import StoreMismatch


@dataclass(frozen=True)
class EstimatorPlan:
    """An estimator in a cell.

    Attributes
    ----------
    name : str
        Its name in the study.
    estimator : Estimator
        Itself.
    hash : str
        SHA-256 of its definition.
    block : int
        Replications in a stored block.
    """

    name: str
    estimator: Any
    hash: str
    block: int

    @property
    def is_host(self) -> bool:
        """Whether it runs in worker processes."""
        return isinstance(self.estimator, HostEstimator)


@dataclass(frozen=True)
class CellPlan:
    """A cell with its keys, its chunk and its estimators.

    Attributes
    ----------
    cell : Cell
        DGP and design.
    hash : str
        SHA-256 of its definition.
    key : Key
        The cell's key.
    chunk : int
        Replications drawn at once.
    estimators : tuple of EstimatorPlan
        All of the study's.
    """

    cell: Cell
    hash: str
    key: Key[Array, ""]
    chunk: int
    estimators: tuple[EstimatorPlan, ...]

    @property
    def is_native(self) -> bool:
        """Whether its samples are drawn by a compiled program."""
        return not isinstance(self.cell.dgp, HostDGP)

    def keys(self, stream: Stream, start: int, stop: int) -> Key[Array, " rep"]:
        """Return the keys of replications start..stop of a stream."""
        return replication_keys(stream_key(self.key, stream), jnp.arange(start, stop))


def plan(study: Study, seed: int, store: Store, *, accept_changes: bool = False) -> list[CellPlan]:
    """Plan a run and register its cells and estimators in the store.

    Parameters
    ----------
    study : Study
        The study.
    seed : int
        Seed of its root key.
    store : Store
        Where it goes.
    accept_changes : bool
        Compute changed definitions beside the old ones instead of stopping.

    Raises
    ------
    StoreMismatch
        If the store holds another definition under a name of this study.
    """
    root = root_key(seed)
    drafts = [_draft(cell, root, seed) for cell in study.cells()]
    methods = {name: _estimator_definition(name, e) for name, e in study.methods.items()}
    differences = list(_differences(store, drafts, methods))
    if differences and not accept_changes:
        raise StoreMismatch(
            f"the store {store.path} holds another definition:\n"
            + "\n".join(differences)
            + "\nuse another store, go back to the old definition, or compute the new one beside "
            "the old with --accept-changes (accept_changes=True)"
        )
    plans = [
        CellPlan(
            cell,
            digest(definition),
            key,
            definition["environment"]["chunk"],
            tuple(
                EstimatorPlan(name, study.methods[name], digest(method), method["block"])
                for name, method in methods.items()
            ),
        )
        for cell, key, definition in drafts
    ]
    for cell_plan, (_, _, definition) in zip(plans, drafts, strict=True):
        _register(store, cell_plan, definition, methods)
    return plans


def _draft(cell: Cell, root: Key[Array, ""], seed: int) -> tuple[Cell, Any, dict[str, Any]]:
    chunk = (
        HOST_BLOCK
        if isinstance(cell.dgp, HostDGP)
        else chunk_size(cell.dgp_name, cell.dgp, cell.design)
    )
    definition = {
        **cell_identity(cell.dgp_name, cell.design),
        "definition": describe(cell.dgp),
        "seed": seed,
        "environment": environment(chunk),
    }
    return cell, cell_key(root, cell.dgp_name, cell.design), definition


def environment(chunk: int) -> dict[str, Any]:
    """Return what else decides the bits of a sample: versions, device, chunk."""
    return {
        "mcsim": ".".join(__version__.split(".")[:2]),
        "jax": version("jax"),
        "float64": bool(jax.config.read("jax_enable_x64")),
        "device": jax.devices()[0].device_kind,
        "chunk": chunk,
    }


def _estimator_definition(name: str, estimator: Any) -> dict[str, Any]:
    block = HOST_BLOCK if isinstance(estimator, HostEstimator) else NATIVE_BLOCK
    return {"estimator": name, "definition": describe(estimator), "block": block}


def _register(store: Store, plan: CellPlan, definition: dict, methods: Mapping[str, dict]) -> None:
    folder = store.cell(plan.hash)
    if not (folder / "cell.json").exists():
        factors = dict(plan.cell.design)
        write_json(folder / "cell.json", {**definition, "design": factors, "hash": plan.hash})
    for estimator in plan.estimators:
        file = store.estimator(plan.hash, estimator.hash) / "est.json"
        if not file.exists():
            write_json(file, {**methods[estimator.name], "hash": estimator.hash})


def _differences(store: Store, drafts: list, methods: Mapping[str, dict]) -> Iterator[str]:
    stored = dict(store.cells())
    for cell, _, definition in drafts:
        mine = digest(definition)
        identity = {name: definition[name] for name in ("dgp", "factors")}
        held = {
            hash_: other
            for hash_, other in stored.items()
            if {name: other[name] for name in ("dgp", "factors")} == identity
        }
        if mine[:12] in held:
            yield from _estimator_differences(store, mine, cell.name, methods)
        elif held:
            yield from _difference(f"cell {cell.name!r}", list(held.values())[-1], definition)


def _estimator_differences(store: Store, cell: str, name: str, methods: Mapping) -> Iterator[str]:
    held: dict[str, dict[str, dict]] = {}
    for hash_, definition in store.estimators(cell):
        held.setdefault(definition["estimator"], {})[hash_] = definition
    for estimator, method in methods.items():
        versions = held.get(estimator, {})
        if versions and digest(method)[:12] not in versions:
            what = f"estimator {estimator!r} in cell {name!r}"
            yield from _difference(what, list(versions.values())[-1], method)


def _difference(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    yield f"{what}:"
    before, after = dict(_flat(old)), dict(_flat(new))
    for path in sorted(before.keys() | after.keys()):
        left, right = before.get(path), after.get(path)
        if left == right or path in ("hash", "design") or path.startswith("design."):
            continue
        if isinstance(left, str) and isinstance(right, str) and "\n" in left + right:
            lines = difflib.unified_diff(left.splitlines(), right.splitlines(), lineterm="", n=1)
            yield f"  {path}:"
            yield from (f"    {line}" for line in list(lines)[2:])
        else:
            yield f"  {path}: {json.dumps(left)} -> {json.dumps(right)}"


def _flat(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from _flat(value, f"{path}.{name}" if path else str(name))
    else:
        yield path, tree
