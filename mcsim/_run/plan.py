"""The plan of a run: cells and estimators with their keys and hashes, checked against the store.

The change rule: the definition that a store has of a name (cell or estimator) stays. Another one
under the same name stops the run with the difference, unless changes are accepted.
"""

import functools
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
from mcsim._definitions.describe import describe
from mcsim._host.host import HostDGP, HostEstimator
from mcsim._host.payload import Payload
from mcsim._readers import FullLabel
from mcsim._results.store import Store
from mcsim._results.store_files import size_of
from mcsim._results.store_packs import Packs, block_files
from mcsim._results.store_records import CellRecord, EstimatorRecord, differing_lines
from mcsim._run.compiled import estimate_labels, sample_shape
from mcsim._run.evaluate import with_schema
from mcsim._run.study import Cell, Study
from mcsim._version import __version__
from mcsim.errors import StoreMismatch, raise_all

NATIVE_BLOCK = 1024
"""Replications in a stored block of a native estimator, where samples are not large."""

HOST_BLOCK = 64
"""The same of a host estimator."""

_LARGE_SAMPLES = ((2**17, 16), (2**15, 128))  # more cells than these: replications of a block

_CHUNK_BYTES = 2**22  # of a chunk's panels on a CPU: the fastest of 1 to 8 MB


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
        Structure and shapes of a panel; cells of one form share the programs of estimators.
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
        """Key of the program that draws samples: the DGP's name and the design's structure."""
        return self.cell.dgp_name, jax.tree.structure(self.cell.seen)

    def estimating(self, estimator: EstimatorPlan) -> Hashable:
        """Return the key of a native estimator's program: its name and the form of panels."""
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
        if stream not in self._stream_keys:
            self._stream_keys[stream] = stream_key(self.key, stream)
        return replication_keys(self._stream_keys[stream], np.arange(start, stop, dtype=np.uint32))

    @functools.cached_property
    def _stream_keys(self) -> dict[Stream, Key[Array, ""]]:
        return {}


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
    planner = _Planner(study, seed, store)
    drafts = [planner.draft(cell) for cell in study.cells()]
    _check_defaults(store, drafts)
    differences = list(_differences(store, drafts, planner.methods))
    if differences and not accept_changes:
        raise StoreMismatch(
            f"the store {store.path} holds another definition:\n"
            + "\n".join(differences)
            + "\nuse another store, go back to the old definition, or compute the new one beside "
            "the old with --accept-changes (accept_changes=True)"
        )
    return drafts


def block_size(most: int, panel: Mapping[str, Any]) -> int:
    """Return the replications of a block: a power of two, fewer of large samples.

    Parameters
    ----------
    most : int
        `NATIVE_BLOCK` or `HOST_BLOCK`, by the kind of the estimator.
    panel : Panel
        The shapes of one sample's panel.

    Notes
    -----
    Samples of up to 32,768 cells (units by periods by columns) have blocks of ``most``, of up to
    131,072 cells at most 128, larger ones 16; not fewer, since a first block in which all fails
    ends the work.
    """
    cells = sum(leaf.size for leaf in jax.tree.leaves(panel))
    return min(most, next((size for bound, size in _LARGE_SAMPLES if cells > bound), most))


def chunk_size(panel: Mapping[str, Any]) -> int:
    """Return the replications of a chunk: a power of two that divides every native block.

    On a CPU the panels of a chunk fill about four megabytes; an accelerator takes a whole block.

    Parameters
    ----------
    panel : Panel
        The shapes of one sample's panel.
    """
    block = block_size(NATIVE_BLOCK, panel)
    if jax.default_backend() != "cpu":
        return block
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(panel))
    fitting = max(1, _CHUNK_BYTES // max(1, size))
    return min(block, 2 ** (fitting.bit_length() - 1))


class _Planner:
    """Plans the cells of a study; DGPs are described, and programs traced, once for all cells.

    Parameters
    ----------
    study, seed, store
        As in `plan`.

    Attributes
    ----------
    methods : dict of estimator to dict
        Definitions of the estimators.
    """

    def __init__(self, study: Study, seed: int, store: Store):
        self.methods = {name: _estimator_definition(name, study) for name in study.methods}
        self._hashes = {name: digest(method) for name, method in self.methods.items()}
        self._study, self._seed, self._store = study, seed, store
        self._root = root_key(seed)
        self._described: dict[int, Any] = {}  # by the DGP, which the cell keeps alive
        self._samples: dict[Hashable, Any] = {}
        self._bound: dict[Hashable, tuple[Any, tuple[FullLabel, ...]]] = {}

    def draft(self, cell: Cell) -> CellPlan:
        """Plan a cell; native parts are traced, so that faults are reported before the run."""
        sample = None if isinstance(cell.dgp, HostDGP) else self._sample(cell)
        chunk = HOST_BLOCK if sample is None else chunk_size(sample.panel)
        if id(cell.dgp) not in self._described:
            self._described[id(cell.dgp)] = describe(cell.dgp)
        definition = {
            **cell_identity(cell.dgp_name, cell.design),
            "definition": self._described[id(cell.dgp)],
            **_version(cell.dgp_name, self._study),
            "seed": self._seed,
            "environment": environment(chunk),
        }
        hash_, form = digest(definition), _form(cell, sample)
        estimators = [self._estimator(name, cell, hash_, sample, form) for name in self.methods]
        key = cell_key(self._root, cell.dgp_name, cell.design)
        truths = sample.truth if sample else {}
        return CellPlan(cell, hash_, key, chunk, tuple(estimators), tuple(truths), definition, form)

    def _sample(self, cell: Cell) -> Any:
        """Return the shapes of one sample."""
        leaves, structure = jax.tree.flatten(cell.seen)
        of_leaves = tuple((np.shape(leaf), getattr(leaf, "dtype", type(leaf))) for leaf in leaves)
        key = (id(cell.dgp), structure, of_leaves)
        if key not in self._samples:
            self._samples[key] = sample_shape(cell.dgp_name, cell.dgp, cell.seen)
        return self._samples[key]

    def _estimator(
        self, name: str, cell: Cell, hash_: str, sample: Any, form: Hashable
    ) -> EstimatorPlan:
        estimator, labels = self._study.methods[name], ()
        if sample is not None and not isinstance(estimator, HostEstimator):
            estimator, labels = self._of_form(name, described(cell.dgp).schema, sample, form)
        method, own = self.methods[name], self._hashes[name]
        block = self._block(hash_, own, method["block"], sample)
        return EstimatorPlan(name, estimator, own, block, labels, method)

    def _of_form(
        self, name: str, schema: Any, sample: Any, form: Hashable
    ) -> tuple[Any, tuple[FullLabel, ...]]:
        """Return a native estimator for panels of a schema, and the labels of its estimates."""
        key = (name, id(schema), form)
        if key not in self._bound:
            estimator = with_schema(self._study.methods[name], schema, sample.panel.nominal)
            self._bound[key] = estimator, tuple(estimate_labels(name, estimator, sample.panel))
        return self._bound[key]

    def _block(self, cell: str, estimator: str, most: int, sample: Any) -> int:
        """Return the replications of a block; estimators begun in larger blocks keep them.

        Definitions have ``most``, not the size: older stores hold the same estimators.
        """
        block = most if sample is None else block_size(most, sample.panel)
        large = block < most and self._has_blocks(cell, estimator, most)
        return most if large else block

    def _has_blocks(self, cell: str, estimator: str, size: int) -> bool:
        """Return whether the store has any block of this many replications."""
        files = block_files(self._store.estimator(cell, estimator))
        names = (*(file.stem for file in files), *self._packs.names(cell, estimator))
        return any(size_of(name) == size for name in names)

    @functools.cached_property
    def _packs(self) -> Packs:
        return Packs(self._store.path)


def _form(cell: Cell, sample: Any) -> Hashable:
    """Return structure and shapes of a panel; of the design where a host DGP draws it."""
    if sample is None:
        return cell.dgp_name, jax.tree.structure(cell.seen)
    leaves, structure = jax.tree.flatten(sample.panel)
    return structure, tuple((leaf.shape, leaf.dtype.name) for leaf in leaves)


def environment(chunk: int) -> dict[str, Any]:
    """Return the versions, the device and the chunk, on which the bits of a sample depend."""
    return {
        "mcsim": ".".join(__version__.split(".")[:2]),
        "jax": _installed("jax"),
        "float64": bool(jax.config.read("jax_enable_x64")),
        "partitionable": bool(getattr(jax.config, "jax_threefry_partitionable", True)),
        "device": jax.devices()[0].device_kind,
        "chunk": chunk,
    }


_installed = functools.cache(version)  # reading it takes a millisecond


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
            yield from differing_lines(f"cell {draft.cell.name!r}", _last(held), draft.definition)
    hashes = {name: digest(method) for name, method in methods.items()}
    held_of: dict[str, dict[str, dict]] = {}
    for cell in stored:
        for hash_, other in store.estimators(cell, known=hashes.values()):
            held_of.setdefault(other["estimator"], {})[hash_] = other
    for name, method in methods.items():
        held = held_of.get(name)
        if held and hashes[name][:12] not in held:
            yield from differing_lines(f"estimator {name!r}", _last(held), method)


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
