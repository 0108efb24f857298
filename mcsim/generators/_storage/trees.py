"""Trees of dataclasses, tuples and arrays as JSON and named tensors, and back.

The JSON holds the structure: the tag of each node's class, static values, and type and shape of
each array, whose numbers are the tensor named by its place. Only classes of an explicit mapping are
built, by their own constructors, so their checks apply; nothing is imported or executed by name.
"""

import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np

from mcsim._core.checks import fits
from mcsim._core.pytree import identity_fields, stored_name
from mcsim._data.schema import Column, Schema, decode_label, encode_label, faults_of_labels
from mcsim.errors import raise_all

Tensors = dict[str, np.ndarray]

FORMAT = 2
"""The format of model files: how trees are written."""

INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
DTYPES = ("bool", *INTEGERS, "float16", "float32", "float64")

MAX_SIZE = 1_000_000  # a larger whole number in a header is no plausible size
UNLIMITED = ("config", "schema")  # parts whose numbers are no sizes
INFINITE = ("low", "high")  # ends of intervals of scores; all other numbers are finite
MISSING = "columns"  # real units have missing cells; no other numbers are NaN
UNCHECKED = ("losses",)


@dataclass(frozen=True)
class Classes:
    """The classes that trees may hold.

    Attributes
    ----------
    by_tag : mapping of str to type
    former : mapping of str to str
        Current names by former tags, and by former fields as ``"tag.field"``.
    """

    by_tag: Mapping[str, type]
    former: Mapping[str, str] = field(default_factory=dict)

    def tag_of(self, tree: Any) -> str | None:
        """Return the tag of a node's class, if it has one."""
        return next((tag for tag, cls in self.by_tag.items() if type(tree) is cls), None)

    def tag_today(self, tag: Any) -> str | None:
        """Return the current tag for a tag of a file; None if it is unknown."""
        today = self.former.get(tag, tag) if isinstance(tag, str) else None
        return today if today in self.by_tag else None


def encode_tree(tree: Any, classes: Classes, tensors: Tensors, place: str = "") -> Any:
    """Return a tree as JSON, and put its arrays into ``tensors``.

    Raises
    ------
    TypeError
        For a node that model files cannot hold: its place and type.
    ValueError
        For arrays with NaN, or infinite values where none belong.
    """
    if isinstance(tree, (jax.Array, np.ndarray)):
        return _encode_array(tree, tensors, place)
    if (tag := classes.tag_of(tree)) is not None:
        parts = identity_fields(tree) if is_dataclass(tree) else tree._asdict()
        return {"class": tag, "fields": _encode_all(parts, classes, tensors, place)}
    if type(tree) in (tuple, list):
        numbered = {str(number): part for number, part in enumerate(tree)}
        return list(_encode_all(numbered, classes, tensors, place).values())
    if isinstance(tree, Mapping) and all(isinstance(key, str) for key in tree):
        return {"mapping": _encode_all(tree, classes, tensors, place)}
    return _encode_static(tree, place)


def decode_tree(entry: Any, classes: Classes, tensors: Tensors, place: str = "") -> Any:
    """Return the tree that `encode_tree` made into JSON; arrays are taken from ``tensors``.

    Raises
    ------
    ValueError
        For JSON that `encode_tree` never writes, and values that constructors refuse.
    TypeError
        For a class built with unknown fields, or without required fields.
    """
    if isinstance(entry, list):
        return tuple(
            decode_tree(part, classes, tensors, _below(place, str(number)))
            for number, part in enumerate(entry)
        )
    if not isinstance(entry, dict):
        return _checked_size(entry, place)
    if entry.keys() == {"class", "fields"}:
        tag = classes.tag_today(entry["class"])
        if tag is None:
            raise ValueError(f"{place or 'the model'}: the class {entry['class']!r} is unknown")
        parts = _decode_all(entry["fields"], classes, tensors, place)
        names = _names_of_fields(classes, tag)
        parts = {names.get(name, name): part for name, part in parts.items()}
        return _build(classes.by_tag[tag], parts)
    if entry.keys() == {"mapping"}:
        return _decode_all(entry["mapping"], classes, tensors, place)
    if entry.keys() <= {"numpy", "jax"}:
        return _decode_array(entry, tensors, place)
    return _decode_static(entry, place)


def _names_of_fields(classes: Classes, tag: str) -> dict[str, str]:
    """Return the names of a class's fields by their names in files, current and former."""
    cls, start = classes.by_tag[tag], f"{tag}."
    stored = {stored_name(f): f.name for f in fields(cls)} if is_dataclass(cls) else {}
    former = {
        old.removeprefix(start): new for old, new in classes.former.items() if old.startswith(start)
    }
    return stored | former


def _build(cls: Any, parts: dict[str, Any]) -> Any:
    """Call a class's constructor with parts of the types that its fields declare."""
    hints = get_type_hints(cls)
    for name, part in parts.items():
        if not fits(part, hints.get(name, Any)):
            raise ValueError(
                f"{cls.__name__}.{name}: {reprlib.repr(part)} is not of the type declared"
            )
    return cls(**parts)


def _encode_all(
    parts: Mapping[str, Any], classes: Classes, tensors: Tensors, place: str
) -> dict[str, Any]:
    return {
        name: encode_tree(part, classes, tensors, _below(place, name))
        for name, part in parts.items()
    }


def _decode_all(entries: Any, classes: Classes, tensors: Tensors, place: str) -> dict[str, Any]:
    if not isinstance(entries, dict):
        raise ValueError(f"{place}: got {type(entries).__name__}, expected a mapping")
    return {
        name: decode_tree(part, classes, tensors, _below(place, name))
        for name, part in entries.items()
    }


def _below(place: str, name: str) -> str:
    """Name a place; a slash in a name is escaped as in JSON pointers, so places stay apart."""
    own = name.replace("~", "~0").replace("/", "~1")
    return f"{place}/{own}" if place else own


def _encode_array(array: Any, tensors: Tensors, place: str) -> dict[str, Any]:
    values = np.array(array, order="C")
    if values.dtype.name not in DTYPES:
        raise TypeError(f"{place}: model files hold no arrays of {values.dtype}")
    _require_values(place, values)
    tensors[place] = values
    kind = "jax" if isinstance(array, jax.Array) else "numpy"
    return {kind: [values.dtype.name, *values.shape]}


def _decode_array(entry: dict[str, Any], tensors: Tensors, place: str) -> Any:
    """Take an array out of the tensors, and check it against the header."""
    ((kind, (dtype, *shape)),) = entry.items()
    if place not in tensors:
        raise ValueError(f"tensors missing or unknown: {place}")
    tensor, expected = tensors.pop(place), _dtype(dtype)
    if tensor.dtype != expected or list(tensor.shape) != shape:
        found = f"{tensor.dtype}{list(tensor.shape)}"
        raise ValueError(f"tensor {place} is {found}, expected {expected}{shape}")
    _require_values(place, tensor)
    return jnp.asarray(tensor) if kind == "jax" else tensor


def _require_values(place: str, values: np.ndarray) -> None:
    """Refuse NaN and infinite values where none belong."""
    steps = place.split("/")
    if steps[0] in UNCHECKED or values.dtype.kind != "f":
        return
    nan, infinite = np.isnan(values).any(), np.isinf(values).any()
    if (nan and MISSING not in steps) or (infinite and steps[-1] not in INFINITE):
        raise ValueError(f"tensor {place} holds NaN or infinite values")


def _dtype(name: Any) -> np.dtype:
    if name not in DTYPES:
        raise ValueError(f"the type {name!r} is unknown")
    return np.dtype(name)


def _encode_static(value: Any, place: str) -> Any:
    if isinstance(value, np.generic) and not isinstance(value, np.datetime64):
        return {"scalar": [value.dtype.name, _encode_static(value.item(), place)]}
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):
            raise ValueError(f"{place}: model files hold no NaN")
        return {"float": str(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    try:
        return {"label": encode_label(value)}
    except TypeError:
        raise TypeError(f"{place}: model files hold no {type(value).__name__}") from None


def _decode_static(entry: dict[str, Any], place: str) -> Any:
    if len(entry) != 1:
        raise ValueError(f"{place}: an entry with {sorted(entry)} is unknown")
    ((kind, content),) = entry.items()
    if kind == "float" and content in ("inf", "-inf"):
        return float(content)
    if kind == "scalar":
        dtype, value = content
        return _dtype(dtype).type(float(value["float"]) if isinstance(value, dict) else value)
    if kind == "label":
        return decode_label(content)
    raise ValueError(f"{place}: an entry of kind {kind!r} is unknown")


def _checked_size(value: Any, place: str) -> Any:
    limited = place.split("/", maxsplit=1)[0] not in UNLIMITED
    if limited and isinstance(value, int) and abs(value) > MAX_SIZE:
        raise ValueError(f"{place}: {value} is no size that a model has")
    return value


def describe_schema(schema: Schema) -> Any:
    """Return a schema as JSON."""
    raise_all(faults_of_labels(schema))
    return encode_tree(schema, Classes({"Column": Column, "Schema": Schema}), {}, "schema")
