"""Architecture of a cross-section: a head and a network for every column, tables of the data.

Combinations of categories that no training row holds are never drawn. Discrete columns are drawn
one after another. For every set of them with at most 64 joint cells, a combination without a
training row is forbidden; a value is allowed only if the columns still to come can complete it.
Neighboring columns are treated jointly up to 65,536 cells; sets that reach over two such groups are
left to the networks.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mcsim._core.pytree import stored_as
from mcsim._data.schema import Column, Schema, taken_by_value
from mcsim.generators._cross_sections.levels import Levels
from mcsim.generators._cross_sections.mixture import Mixture
from mcsim.generators._networks import Sizes

MAX_CELLS = 64  # sets of columns with more joint cells are too sparse to rule out combinations
MAX_JOINT = 65_536  # most joint cells of columns treated jointly

Group = tuple[tuple[int, int], ...]
"""Positions in the order of generation, with the number of levels at each."""

Head = Levels | Mixture
FEW_KNOTS, MANY_KNOTS, MANY_ROWS = 25, 200, 2_000
MANY_STRATA = 16  # most joint values of the given columns that are strata


def group_columns(levels: Sequence[int | None]) -> tuple[Group, ...]:
    """Split discrete columns into consecutive groups; ``levels`` is None where continuous.

    Examples
    --------
    >>> group_columns([2, 2, None, 300, 5])
    (((0, 2), (1, 2), (4, 5)),)
    """
    groups: list[Group] = []
    group: Group = ()
    for position, count in enumerate(levels):
        if count is None or count > MAX_CELLS:
            continue
        if math.prod(size for _, size in group) * count > MAX_JOINT:
            groups.append(group)
            group = ()
        group = (*group, (position, count))
    return (*groups, group) if group else tuple(groups)


def allowed_levels(group: Group, codes: np.ndarray) -> list[Bool[np.ndarray, "prefix level"]]:
    """Return, for each column of a group, the levels allowed after each combination before it.

    Parameters
    ----------
    group : tuple of (position, number of levels)
        The columns.
    codes : array of int (row, position)
        The training rows' levels.

    Returns
    -------
    list of array of bool (prefix, level)
        Prefixes are numbered with the last column varying fastest.
    """
    sizes = [size for _, size in group]
    rows = codes[:, [position for position, _ in group]]
    feasible = np.ones(sizes, bool)
    for chosen in _largest_sets(sizes):
        seen = np.zeros([sizes[column] for column in chosen], bool)
        seen[tuple(rows[:, chosen].T)] = True
        shape = [size if column in chosen else 1 for column, size in enumerate(sizes)]
        feasible &= seen.reshape(shape)
    tables = []
    for column, size in enumerate(sizes):
        possible = feasible.any(axis=tuple(range(column + 1, len(sizes))))
        tables.append(possible.reshape(-1, size))
    return tables


def _largest_sets(sizes: Sequence[int]) -> list[list[int]]:
    """Return the maximal sets of columns with at most 64 cells."""
    fitting: list[set[int]] = []
    for count in range(len(sizes), 0, -1):
        for chosen in itertools.combinations(range(len(sizes)), count):
            if math.prod(sizes[column] for column in chosen) > MAX_CELLS:
                continue
            if not any(larger.issuperset(chosen) for larger in fitting):
                fitting.append(set(chosen))
    return [sorted(chosen) for chosen in fitting]


class Tables(NamedTuple):
    """The tables of the training rows, learned without networks."""

    given: tuple[Any, ...]
    drawn: tuple[Any, ...]
    allowed: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Architecture:
    """The static part of a generator: heads in order, groups of categories, strata, hidden layers.

    A stratum is a joint level in the data of the discrete given columns.
    """

    given: tuple[Head, ...]
    drawn: tuple[Head, ...]
    strata: tuple[tuple[int, ...], ...] = field(metadata=stored_as("arms"))  # as in `Column`
    hidden: Sizes

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Groups of drawn columns whose combinations are restricted jointly."""
        return group_columns([_watched(head) for head in self.drawn])

    @property
    def n_given(self) -> int:
        """Number of features of the given columns."""
        return sum(head.n_features for head in self.given)

    @property
    def n_drawn(self) -> int:
        """Number of features of the drawn columns."""
        return sum(head.n_features for head in self.drawn)

    @cached_property
    def sizes(self) -> tuple[Sizes, ...]:
        """Layer sizes of each drawn column's network; its inputs start with a constant."""
        sizes, inputs = [], 1 + self.n_given
        for head in self.drawn:
            sizes.append((inputs, *self.hidden, head.n_outputs))
            inputs += head.n_features
        return tuple(sizes)

    def stratum(self, columns: Mapping[str, Array], rows: int) -> Int[Array, " row"]:
        """Return the stratum of every row; ``len(strata)`` if no row of the data is in it."""
        codes = [h.index(columns[h.name]) for h in self.given if isinstance(h, Levels)]
        if len(self.strata) == 1 or not codes:
            return jnp.zeros(rows, jnp.int32)
        joint = jnp.stack(codes, axis=1)[:, None, :]
        equal = (joint == jnp.asarray(self.strata)).all(axis=2)
        found = jnp.argmax(equal, axis=1)
        return jnp.where(equal.any(axis=1), found, len(self.strata)).astype(jnp.int32)

    def tables(
        self, columns: Mapping[str, np.ndarray], rows: np.ndarray, strata: np.ndarray
    ) -> Tables:
        """Describe the training rows of columns (row,); ``strata``: the stratum of every row."""
        count, chosen = len(self.strata), strata[rows]

        def describe(head: Head) -> Any:
            values = columns[head.name]
            if isinstance(head, Levels):
                return head.table(values[rows], chosen, count)
            return head.table(values[rows], chosen, count, values)

        codes = np.stack([_codes(h, columns[h.name][rows]) for h in self.drawn], axis=1)
        allowed = tuple(tuple(allowed_levels(group, codes)) for group in self.groups)
        given, drawn = (tuple(describe(h) for h in hs) for hs in (self.given, self.drawn))
        tables = Tables(given, drawn, allowed)
        features = represent(self, tables, dict(columns))
        return Tables(
            _normalize(self.given, given, np.asarray(features.given, np.float64)[rows]),
            _normalize(self.drawn, drawn, np.asarray(features.drawn, np.float64)[rows]),
            allowed,
        )


def design_heads(
    columns: Mapping[str, np.ndarray],
    schema: Schema,
    given: tuple[str, ...],
    order: tuple[str, ...],
    hidden: Sizes,
    components: int,
    free: bool = False,
) -> Architecture:
    """Choose a head for every column, and find the strata; ``free``: a logit for every level."""
    names = (*given, *order)
    heads = {name: _head(schema[name], columns[name], components, free) for name in names}
    chosen = tuple(heads[name] for name in given)
    codes = [_codes(head, columns[head.name]) for head in chosen if isinstance(head, Levels)]
    joint = np.unique(np.stack(codes, axis=1), axis=0).tolist() if codes else [[]]
    strata = tuple(map(tuple, joint)) if len(joint) <= MANY_STRATA else ((),)
    return Architecture(chosen, tuple(heads[name] for name in order), strata, hidden)


def _head(column: Column, values: np.ndarray, components: int, free: bool) -> Head:
    distinct = np.unique(values)
    levels = tuple(distinct.tolist())
    if column.kind in ("binary", "categorical"):
        return Levels(column.name, levels, ordered=False)
    if taken_by_value(column, distinct):
        return Levels(column.name, levels, ordered=True, free=free)
    many = np.sum(~np.isin(values, column.mass_points)) >= MANY_ROWS
    knots, integer = MANY_KNOTS if many else FEW_KNOTS, column.kind == "integer"
    bounds = column.lower, column.upper
    return Mixture(column.name, column.mass_points, components, knots, integer, *bounds)


def _watched(head: Head) -> int | None:
    return len(head.values) if isinstance(head, Levels) else None


def _codes(head: Head, values: np.ndarray) -> np.ndarray:
    if not isinstance(head, Levels):
        return np.zeros(len(values), np.int32)
    return np.searchsorted(head.values, values).astype(np.int32)


def _normalize(heads: tuple[Head, ...], tables: tuple, features: np.ndarray) -> tuple:
    normalized, start = [], 0
    for head, table in zip(heads, tables, strict=True):
        own = features[:, start : start + head.n_features]
        start += head.n_features
        scale = np.maximum(own.std(axis=0), head.spread_floor).astype(np.float32)
        center = own.mean(axis=0).astype(np.float32)
        normalized.append(table._replace(center=center, scale=scale))
    return tuple(normalized)


class Features(NamedTuple):
    """Rows as inputs of networks: features, numbers of levels or mass points, scores, strata."""

    given: Float[Array, "row given"]
    drawn: Float[Array, "row feature"]
    codes: Int[Array, "row column"]
    scores: Float[Array, "row column"]
    strata: Int[Array, " row"]


@partial(jax.jit, static_argnums=0)
def represent(
    architecture: Architecture, tables: Tables, columns: Mapping[str, Float[Array, " row"]]
) -> Features:
    """Return the features of complete rows."""
    rows = len(next(iter(columns.values())))
    pairs = list(zip(architecture.drawn, tables.drawn, strict=True))
    codes = [head.index(columns[head.name]) for head, _ in pairs]
    scores = [head.score(table, columns[head.name]) for head, table in pairs]
    return Features(
        encode(architecture.given, tables.given, columns, rows),
        encode(architecture.drawn, tables.drawn, columns, rows),
        jnp.stack(codes, axis=1),
        jnp.stack(scores, axis=1),
        architecture.stratum(columns, rows),
    )


def encode(heads: tuple[Head, ...], tables: tuple, columns: Mapping[str, Array], rows: int):
    """Return the features (row, feature) of columns of shape (row,)."""
    parts = [h.encode(t, columns[h.name]) for h, t in zip(heads, tables, strict=True)]
    return jnp.concatenate([jnp.zeros((rows, 0), jnp.float32), *parts], axis=1)
