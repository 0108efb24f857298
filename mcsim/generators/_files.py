"""Model files: safetensors for numbers, JSON for the rest. Loading executes nothing.

The JSON (configuration, schema, heads) stands in the header. From it the names, shapes and types of
all tensors follow, and the file must hold exactly those.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any
from uuid import uuid4

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mcsim._schema import Column, Schema
from mcsim._version import __version__
from mcsim.errors import InputError, ModelFileError
from mcsim.generators._architecture import Architecture
from mcsim.generators._fitted import FittedGenerator
from mcsim.generators._levels import Levels
from mcsim.generators._mixture import Mixture
from mcsim.generators._networks import param_shapes

FORMAT = 1
KIND = "mcsim.generator"


def save(generator: FittedGenerator, path: str | Path) -> Path:
    """Write a generator to a file.

    The file is complete or not there at all: it is written beside its place and renamed.

    Parameters
    ----------
    generator : FittedGenerator
        What a fit returned.
    path : str or Path
        The file; an existing one is replaced.

    Returns
    -------
    Path
        Where it was written.

    Raises
    ------
    InputError
        If a label of the schema is no string, number or bool.

    Examples
    --------
    >>> import tempfile, jax, numpy as np
    >>> from mcsim import Panel
    >>> from mcsim.generators import WGAN
    >>> panel = Panel({"wage": np.exp(np.random.default_rng(0).normal(2, 0.5, 60))})
    >>> trainer = WGAN(hidden=(8,), critic_hidden=(8,), steps=3, batch_size=16, critic_steps=1)
    >>> generator = trainer.fit(jax.random.key(0), panel, progress=False)
    >>> path = save(generator, tempfile.mkdtemp() + "/wages.safetensors")
    >>> same = load(path)
    >>> key = jax.random.key(1)
    >>> bool((same.sample(key, 5)["wage"] == generator.sample(key, 5)["wage"]).all())
    True
    """
    from mcsim.generators._wgan import WGAN

    if not isinstance(generator, FittedGenerator) or not isinstance(generator.config, WGAN):
        raise InputError(
            f"generator: got {type(generator).__name__}, expected what WGAN(...).fit returns"
        )
    header = {
        "kind": KIND,
        "format": FORMAT,
        "mcsim": __version__,
        "trainer": type(generator.config).__name__,
        "config": asdict(generator.config),
        "schema": describe_schema(generator.schema),
        "given": [_describe_head(head) for head in generator.architecture.given],
        "arms": generator.architecture.arms,
        "drawn": [_describe_head(head) for head in generator.architecture.drawn],
    }
    tensors = _named({"params": generator.params, "tables": generator.tables})
    tensors |= {f"losses/{name}": np.asarray(v) for name, v in generator.losses.items()}
    if generator.rows is not None:
        tensors["rows"] = np.asarray(generator.rows, np.int64)
    tensors = {name: np.array(tensor, order="C") for name, tensor in tensors.items()}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        save_file(tensors, beside, metadata={"mcsim": json.dumps(header, allow_nan=False)})
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def load(path: str | Path) -> FittedGenerator:
    """Read a generator from a file that `save` wrote.

    Nothing in the file is executed; names, shapes, types and values are checked.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    FittedGenerator
        Its samples equal, bit by bit, those of the generator that was saved.

    Raises
    ------
    ModelFileError
        If the file is not there, truncated, foreign, of a later version, or inconsistent.
    """
    header, tensors = _read(Path(path))
    try:
        config, schema, architecture = _rebuild(header)
        template = _template(architecture)
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as fault:
        raise ModelFileError(f"{path}: the header is damaged: {fault}") from None
    losses = {n[7:]: tensors.pop(n) for n in list(tensors) if n.startswith("losses/")}
    rows = tensors.pop("rows", None)
    expected = _named(template)
    _check(path, tensors, expected)
    leaves = [jnp.asarray(tensors[name]) for name in expected]
    parts = jax.tree.unflatten(jax.tree.structure(template), leaves)
    return FittedGenerator(
        config, schema, architecture, parts["tables"], parts["params"], losses=losses, rows=rows
    )


def describe_schema(schema: Schema) -> dict[str, Any]:
    """Return a schema as JSON."""
    columns = [
        {
            "name": column.name,
            "kind": column.kind,
            "lower": _finite(column.lower),
            "upper": _finite(column.upper),
            "atoms": list(column.atoms),
            "levels": [_label(column.name, level) for level in column.levels],
        }
        for column in schema.columns
    ]
    periods = [_label(schema.time, label) for label in schema.period_labels]
    return {"columns": columns, "unit": schema.unit, "time": schema.time, "periods": periods}


def _label(name: str, label: Any) -> Any:
    label = label.item() if isinstance(label, np.generic) else label
    if not isinstance(label, (str, int, float, bool)):
        raise InputError(
            f"column {name!r}: the label {label!r} is a {type(label).__name__}; model files hold "
            "strings, numbers and bools: convert the labels before the fit"
        )
    return label


def _finite(bound: float) -> float | str:
    return float(bound) if math.isfinite(bound) else str(float(bound))


def _describe_head(head: Levels | Mixture) -> dict[str, Any]:
    entries = {f.name: getattr(head, f.name) for f in fields(head)}
    bounds = {n: _finite(entries[n]) for n in ("lower", "upper") if n in entries}
    return {"head": type(head).__name__, **entries, **bounds}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get("mcsim", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise ModelFileError(f"{path}: there is no such file") from None
    except (SafetensorError, OSError, ValueError, TypeError, RecursionError, MemoryError) as fault:
        raise ModelFileError(
            f"{path}: not a model file, or a truncated one ({fault}); fit and save again"
        ) from None
    if not isinstance(header, dict) or header.get("kind") != KIND:
        raise ModelFileError(f"{path}: a safetensors file, but not a generator saved by mcsim")
    if header.get("format") != FORMAT:
        raise ModelFileError(
            f"{path}: format {header.get('format')!r}, this version of mcsim reads {FORMAT}; "
            "load it with the version that wrote it, or fit again"
        )
    return header, tensors


def _rebuild(header: Mapping[str, Any]) -> tuple[Any, Schema, Architecture]:
    from mcsim.generators._wgan import WGAN

    if header["trainer"] != WGAN.__name__:
        raise ValueError(f"trainer {header['trainer']!r} is unknown")
    lists = {n: tuple(v) for n, v in header["config"].items() if isinstance(v, list)}
    config = WGAN(**{**header["config"], **lists})
    given = tuple(_rebuild_head(entries) for entries in header["given"])
    drawn = tuple(_rebuild_head(entries) for entries in header["drawn"])
    described = header["schema"]
    columns = tuple(
        Column(
            str(c["name"]),
            c["kind"],
            float(c["lower"]),
            float(c["upper"]),
            tuple(float(atom) for atom in c["atoms"]),
            tuple(c["levels"]),
        )
        for c in described["columns"]
    )
    labels = tuple(described["periods"])
    schema = Schema(columns, str(described["unit"]), str(described["time"]), labels)
    if sorted(schema.names) != sorted(head.name for head in (*given, *drawn)):
        raise ValueError("the heads are not those of the schema's columns")
    arms = tuple(tuple(int(code) for code in arm) for arm in header["arms"])
    hash((config, schema))
    return config, schema, Architecture(given, drawn, arms, config.hidden or ())


def _rebuild_head(entries: Mapping[str, Any]) -> Levels | Mixture:
    name = str(entries["name"])
    if entries["head"] == "Levels":
        values = _ascending(entries["values"])
        if not values:
            raise ValueError(f"column {name!r} has no values")
        return Levels(name, values, bool(entries["ordered"]))
    if entries["head"] != "Mixture":
        raise ValueError(f"head {entries['head']!r} is unknown")
    components, knots = int(entries["components"]), int(entries["n_knots"])
    if not (1 <= components <= 1_000 and 2 <= knots <= 100_000):
        raise ValueError(f"column {name!r} has {components} components and {knots} knots")
    bounds = float(entries["lower"]), float(entries["upper"])
    atoms = _ascending(entries["atoms"])
    return Mixture(name, atoms, components, knots, bool(entries["integer"]), *bounds)


def _ascending(values: Any) -> tuple[float, ...]:
    values = tuple(float(value) for value in values)
    if not all(math.isfinite(v) for v in values) or sorted(set(values)) != list(values):
        raise ValueError("values or atoms do not ascend")
    return values


def _template(architecture: Architecture) -> dict[str, Any]:
    return {"params": param_shapes(architecture.sizes), "tables": architecture.table_shapes()}


def _named(tree: Any) -> dict[str, Any]:
    flat = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in flat}


def _check(path: Any, tensors: Mapping[str, np.ndarray], expected: Mapping[str, Any]) -> None:
    if set(tensors) != set(expected):
        differ = sorted(set(tensors) ^ set(expected))
        raise ModelFileError(f"{path}: tensors missing or unknown: {differ[:5]}")
    for name, leaf in expected.items():
        tensor = tensors[name]
        if tensor.shape != leaf.shape or tensor.dtype != leaf.dtype:
            raise ModelFileError(
                f"{path}: tensor {name} is {tensor.dtype}{list(tensor.shape)}, expected "
                f"{leaf.dtype}{list(leaf.shape)}"
            )
        if not np.isfinite(tensor).all():
            raise ModelFileError(f"{path}: tensor {name} holds NaN or infinite values")
