"""Fields of a DGP, and of its parts: factors of a design take precedence; checks of values.

Floats of a design are traced, so that only concrete numbers can be checked; a traced one outside
its range gives samples of NaN, which estimators mark.
"""

import copy
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from mcsim._core.checks import is_number, is_whole
from mcsim._core.design import Design
from mcsim._data.schema import Schema

T = TypeVar("T")


class DescribedAssignment(NamedTuple):
    """Optional attributes of an assignment: one without an attribute has the value given here.

    Attributes
    ----------
    faults : callable, optional
        ``faults(panel)``: the faults of the assignment on a panel.
    cluster, strata : str, optional
        Columns of clusters, and of strata, within which units exchange treatments.
    p : float, array (unit,) or str
        Probability of treatment; without one 0, for every unit.
    """

    faults: Any = None
    cluster: Any = None
    strata: Any = None
    p: Any = 0.0


def described_assignment(assignment: Any) -> DescribedAssignment:
    """Return the optional attributes of an assignment, which may be any function."""
    without = DescribedAssignment()._asdict()
    return DescribedAssignment(**{n: getattr(assignment, n, v) for n, v in without.items()})


class DescribedGenerator(NamedTuple):
    """Optional attributes of a generator: one without an attribute has the value given here.

    Attributes
    ----------
    given : sequence of str
        Conditioning columns.
    order : sequence of str
        The other columns, in the order in which they are drawn; empty if they are drawn jointly.
    config : object, optional
        The trainer.
    """

    given: Any = ()
    order: Any = ()
    config: Any = None


def described_generator(generator: Any) -> DescribedGenerator:
    """Return the optional attributes of a generator."""
    without = DescribedGenerator()._asdict()
    return DescribedGenerator(**{n: getattr(generator, n, v) for n, v in without.items()})


def with_factors(thing: T, design: Design) -> T:
    """Return a dataclass whose fields are the design's factors, where it has such factors."""
    names = [field.name for field in dataclasses.fields(thing) if field.name in design]  # type: ignore[arg-type]
    changed = copy.copy(thing) if names else thing
    for name in names:  # not through __init__, whose checks are for users' numbers, not tracers
        object.__setattr__(changed, name, design[name])
    return changed


def field_names(thing: Any) -> tuple[str, ...]:
    """Return the names of the factors that may take a field's place."""
    return tuple(field.name for field in dataclasses.fields(thing))


def faults_of_sizes(thing: Any, sizes: Mapping[str, int]) -> list[str]:
    """Return the faults of fields that are no whole numbers of at least the given sizes."""
    faults = []
    for name, least in sizes.items():
        value = getattr(thing, name)
        if not is_whole(value):
            faults.append(
                f"{name}: got {shown(value)}, expected a whole number: it sets a shape, so write "
                "it without a decimal point or quotes, in every cell of the grid"
            )
        elif value < least:
            faults.append(f"{name}: got {value}, expected at least {least}")
    return faults


def faults_of_flags(thing: Any, names: Iterable[str]) -> list[str]:
    """Return the faults of fields that are neither True nor False."""
    values = {name: getattr(thing, name) for name in names}
    return [
        f"{name}: got {value!r}, expected True or False"
        for name, value in values.items()
        if not isinstance(value, (bool, np.bool_))
    ]


def faults_of_schema(schema: Any) -> list[str]:
    """Return the fault of a schema of another type."""
    if schema is None or isinstance(schema, Schema):
        return []
    kind = type(schema).__name__
    return [f"schema: got {kind}, expected a Schema: panel, schema = mcsim.from_frame(frame)"]


def faults_of_numbers(thing: Any, names: Iterable[str], lower: float = -np.inf) -> list[str]:
    """Return the faults of fields that are no finite numbers of at least ``lower``."""
    faults = []
    for name in names:
        value: Any = getattr(thing, name)
        wrong_kind = isinstance(value, (str, bool)) or value is None
        if wrong_kind or (is_number(value) and not np.isfinite(value)):
            faults.append(f"{name}: got {value!r}, expected a finite number")
        elif is_number(value) and value < lower:
            faults.append(f"{name}: got {value}, expected at least {lower:g}")
    return faults


def faults_of_persistence(thing: Any, names: Iterable[str], why: str) -> list[str]:
    """Return the faults of fields that are autocorrelations outside (-1, 1)."""
    return [
        f"{name}: got {getattr(thing, name)}, expected a number between -1 and 1{why}"
        for name in names
        if is_number(getattr(thing, name)) and not -1 < getattr(thing, name) < 1
    ]


def shown(value: Any) -> str:
    """Return a value as text for messages; a tracer is "a traced number"."""
    plain = is_number(value) or isinstance(value, (str, bool, tuple, list)) or value is None
    return repr(value) if plain else "a traced number"


def brief(part: Any) -> str:
    """Return a function or a dataclass in a line, without defaults and arrays."""
    if not dataclasses.is_dataclass(part):
        return getattr(part, "__name__", None) or repr(part)
    values = {field: getattr(part, field.name) for field in dataclasses.fields(part)}
    said = [
        f"{field.name}={value!r}"
        for field, value in values.items()
        if isinstance(value, tuple) or np.ndim(value) == 0
        if value is not field.default and value is not None
    ]
    return f"{type(part).__name__}({', '.join(said)})"
