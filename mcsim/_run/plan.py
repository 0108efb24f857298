"""The plan of a run: cells and estimators with their keys and hashes, checked against the store.

The change rule: what a store holds under a name stays what it is. Another definition under the
same name (cell or estimator) stops the run with the difference, unless changes are accepted.
"""

import difflib
import functools
import json
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key

from mcsim._core.keys import (
    Stream,
    canonical_value,
    cell_identity,
    cell_key,
    digest,
    replication_keys,
    root_key,
    stream_key,
)
from mcsim._core.protocols import DescribedDGP, described
from mcsim._definitions.describe import FITTED_BY, describe
from mcsim._host.host import HostDGP, HostEstimator
from mcsim._host.payload import Payload
from mcsim._readers import FullLabel
from mcsim._results.store import Store
from mcsim._results.store_records import CellRecord, EstimatorRecord
from mcsim._run.compiled import (
    HOST_BLOCK,
    NATIVE_BLOCK,
    block_size,
    chunk_size,
    estimate_labels,
    sample_shape,
)
from mcsim._run.evaluate import with_schema
from mcsim._run.study import Cell, Study
from mcsim._version import __version__
from mcsim.errors import StoreMismatch, raise_all


@dataclass(frozen=True)
class EstimatorPlan:
    """An estimator in a cell.

    Attributes
    ----------
    name : str
        Its name in the study.
    estimator : Estimator
        The estimator.
    hash : str
        SHA-256 of its definition.
    block : int
        Replications in a stored block.
    labels : tuple of (estimand, inference)
        Labels of its estimates, from a dry run: none for host estimators.
    definition : dict
        The content of the hash.
    """

    name: str
    estimator: Any
    hash: str
    block: int
    labels: tuple[FullLabel, ...]
    definition: Mapping[str, Any]

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
    estimands : tuple of str
        Estimands whose truth the samples carry, from a dry run: none for host DGPs.
    definition : dict
        The content of the hash.
    form : hashable
        On it, beside their names, the programs of estimators depend: cells share them.
    """

    cell: Cell
    hash: str
    key: Key[Array, ""]
    chunk: int
    estimators: tuple[EstimatorPlan, ...]
    estimands: tuple[str, ...]
    definition: Mapping[str, Any]
    form: Hashable = None

    @property
    def is_native(self) -> bool:
        """Whether its samples are drawn by a compiled program."""
        return not isinstance(self.cell.dgp, HostDGP)

    @property
    def drawing(self) -> Hashable:
        """The compiled program that draws its samples, by what it depends on."""
        return self.cell.dgp_name, jax.tree.structure(self.cell.seen)

    def estimating(self, estimator: EstimatorPlan) -> Hashable:
        """Return the compiled program of a native estimator, by what it depends on."""
        return estimator.name, self.form

    @functools.cached_property
    def dgp(self) -> DescribedDGP:
        """The optional attributes of the cell's DGP."""
        return described(self.cell.dgp)

    @functools.cached_property
    def payload(self) -> Payload:
        """The host DGP for worker processes, in its state before the first draw."""
        return Payload(self.cell.dgp)

    def keys(self, stream: Stream, start: int, stop: int) -> Key[Array, " rep"]:
        """Return the keys of replications start..stop of a stream."""
        return replication_keys(self._stream_keys[stream], np.arange(start, stop, dtype=np.uint32))

    @functools.cached_property
    def _stream_keys(self) -> dict[Stream, Key[Array, ""]]:
        return {stream: stream_key(self.key, stream) for stream in Stream}


def plan(study: Study, seed: int, store: Store, *, accept_changes: bool = False) -> list[CellPlan]:
    """Plan a run and check it against the store, in which nothing is written.

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
    methods = {name: _estimator_definition(name, study) for name in study.methods}
    drafts = [_draft(cell, study, methods, root, seed, store) for cell in study.cells()]
    _check_defaults(store, drafts)
    differences = list(_differences(store, drafts, methods))
    if differences and not accept_changes:
        raise StoreMismatch(
            f"the store {store.path} holds another definition:\n"
            + "\n".join(differences)
            + "\nuse another store, go back to the old definition, or compute the new one beside "
            "the old with --accept-changes (accept_changes=True)"
        )
    return drafts


def _draft(
    cell: Cell,
    study: Study,
    methods: Mapping[str, dict],
    root: Key[Array, ""],
    seed: int,
    store: Store,
) -> CellPlan:
    """Plan a cell; native parts are traced, so that their faults are reported before the run."""
    native = not isinstance(cell.dgp, HostDGP)
    sample = sample_shape(cell.dgp_name, cell.dgp, cell.seen) if native else None
    chunk = HOST_BLOCK if sample is None else chunk_size(sample.panel)
    definition = {
        **cell_identity(cell.dgp_name, cell.design),
        "definition": describe(cell.dgp),
        **_version(cell.dgp_name, study),
        "seed": seed,
        "environment": environment(chunk),
    }
    hash_, estimators = digest(definition), []
    for name, method in methods.items():
        estimator, labels = study.methods[name], []
        if sample is not None and not isinstance(estimator, HostEstimator):
            schema = described(cell.dgp).schema
            estimator = with_schema(estimator, schema, sample.panel.nominal)
            labels = estimate_labels(name, estimator, sample.panel)
        own = digest(method)
        block = _block(store, hash_, own, method["block"], sample)
        estimators.append(EstimatorPlan(name, estimator, own, block, tuple(labels), method))
    key, truths = cell_key(root, cell.dgp_name, cell.design), sample.truth if sample else {}
    form = _form(cell, sample)
    return CellPlan(cell, hash_, key, chunk, tuple(estimators), tuple(truths), definition, form)


def _block(store: Store, cell: str, estimator: str, most: int, sample: Any) -> int:
    """Return the replications of a block; what was begun in larger blocks is continued in them.

    Definitions have ``most``, and not the size, so that a store written before large samples had
    smaller blocks holds the same estimators.
    """
    block = most if sample is None else block_size(most, sample.panel)
    return most if block < most and store.has_blocks(cell, estimator, most) else block


def _form(cell: Cell, sample: Any) -> Hashable:
    """Return what programs of estimators depend on; of a host DGP, no sample is known yet."""
    if sample is None:
        return cell.dgp_name, jax.tree.structure(cell.seen)
    leaves, structure = jax.tree.flatten(sample.panel)
    return structure, tuple((leaf.shape, leaf.dtype.name) for leaf in leaves)


def environment(chunk: int) -> dict[str, Any]:
    """Return the versions, the device and the chunk, on which the bits of a sample depend."""
    return {
        "mcsim": ".".join(__version__.split(".")[:2]),
        "jax": version("jax"),
        "float64": bool(jax.config.read("jax_enable_x64")),
        "partitionable": bool(getattr(jax.config, "jax_threefry_partitionable", True)),
        "device": jax.devices()[0].device_kind,
        "chunk": chunk,
    }


def _estimator_definition(name: str, study: Study) -> dict[str, Any]:
    estimator = study.methods[name]
    block = HOST_BLOCK if isinstance(estimator, HostEstimator) else NATIVE_BLOCK
    definition = {"estimator": name, "definition": describe(estimator), "block": block}
    return {**definition, **_version(name, study)}


def _version(name: str, study: Study) -> dict[str, Any]:
    """Return the version that the user declares of a part of the study, if there is one."""
    return {"version": study.versions[name]} if name in study.versions else {}


def register(store: Store, plan: CellPlan) -> None:
    """Write the definitions of a cell and its estimators to the store, where it lacks them."""
    definition = {**plan.definition, "design": plan.cell.design.effective(), "hash": plan.hash}
    store.keep(store.cell(plan.hash) / "cell.json", CellRecord, definition)
    for estimator in plan.estimators:
        file = store.estimator(plan.hash, estimator.hash) / "est.json"
        store.keep(file, EstimatorRecord, {**estimator.definition, "hash": estimator.hash})


def _differences(
    store: Store, drafts: list[CellPlan], methods: Mapping[str, dict]
) -> Iterator[str]:
    stored = dict(store.cells(known=[draft.hash for draft in drafts]))
    for draft in drafts:
        identity = _identity(draft.definition)
        held = {hash_: other for hash_, other in stored.items() if _identity(other) == identity}
        if held and draft.hash[:12] not in held:
            yield from _in_lines(f"cell {draft.cell.name!r}", _last(held), draft.definition)
    hashes = {name: digest(method) for name, method in methods.items()}
    held_of: dict[str, dict[str, dict]] = {}
    for cell in stored:
        for hash_, other in store.estimators(cell, known=hashes.values()):
            held_of.setdefault(other["estimator"], {})[hash_] = other
    for name, method in methods.items():
        held = held_of.get(name)
        if held and hashes[name][:12] not in held:
            yield from _in_lines(f"estimator {name!r}", _last(held), method)


def _check_defaults(store: Store, plans: list[CellPlan]) -> None:
    """Refuse another default: no hash contains it, so that no cell could be computed beside."""
    faults = []
    for plan in plans:
        stored = store.peek(store.cell(plan.hash) / "cell.json", CellRecord)
        held = stored["design"] if stored else {}
        for name, value in plan.cell.design.effective().items():
            if name in held and canonical_value(held[name]) != canonical_value(value):
                faults.append(
                    f"default of {name!r}: the store has {held[name]!r}, got {value!r}; leave the "
                    f"default and put {name}={value!r} into the grid"
                )
    raise_all(list(dict.fromkeys(faults)), StoreMismatch)


def _identity(definition: Mapping[str, Any]) -> dict[str, Any]:
    return {name: definition[name] for name in ("dgp", "factors")}


def _last(held: Mapping[str, dict]) -> dict[str, Any]:
    return list(held.values())[-1]


# Differences for readers: short values, and fitted generators by name

SHOWN, LEAD = 200, 40  # characters of a value; of these before the place where two part


def _in_lines(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
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
