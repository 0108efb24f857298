"""Clusters: units, periods, groups of units, and the cells where two of them meet."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mcsim._core.records import Panel
from mcsim.estimators._linear_model.data import group_of_units

AXES = {"unit": -2, "time": -1}


class Groups(NamedTuple):
    """Groups of units by column, and whether they are groups.

    Attributes
    ----------
    of_unit : dict of column to array of int (unit,)
        The group of every unit, a number below the number of units.
    status : dict of column to int array ()
    """

    of_unit: Mapping[str, Int[Array, " unit"]]
    status: Mapping[str, Int[Array, ""]]


def read_groups(clusters: set[str], panel: Panel) -> Groups:
    """Read the columns that are clusters above the unit."""
    found = {name: group_of_units(name, panel) for name in sorted(clusters.difference(AXES))}
    return Groups(
        {name: group for name, (group, _) in found.items()},
        {name: status for name, (_, status) in found.items()},
    )


def cluster_sums(
    cells: Float[Array, "column unit period"], clusters: tuple[str, ...], groups: Groups
) -> Float[Array, "column *cluster"]:
    """Return sums over the cells of each cluster; of two, over those where they meet."""
    if "unit" not in clusters:
        above = [groups.of_unit[name] for name in clusters if name in groups.of_unit]
        cells = _group_sums(cells, above) if above else cells.sum(axis=-2, keepdims=True)
    if "time" not in clusters:
        cells = cells.sum(axis=-1, keepdims=True)
    return cells


def cluster_grams(
    columns: Float[Array, "column unit period"], cluster: str, groups: Groups
) -> Float[Array, "cluster column column"]:
    """Return the sums of products of columns over the cells of each cluster."""
    if cluster == "time":
        return jnp.einsum("pnt,qnt->tpq", columns, columns)
    of_unit = jnp.einsum("pnt,qnt->npq", columns, columns)
    if cluster == "unit":
        return of_unit
    return jax.ops.segment_sum(of_unit, groups.of_unit[cluster], len(of_unit))


def n_clusters(
    observed: Float[Array, "unit period"], clusters: tuple[str, ...], groups: Groups
) -> Float[Array, ""]:
    """Return how many clusters have an observation."""
    return (cluster_sums(observed[None], clusters, groups) > 0).sum().astype(float)


def _group_sums(
    cells: Float[Array, "column unit period"], above: list[Int[Array, " unit"]]
) -> Float[Array, "column group period"]:
    group = above[0]
    for other in above[1:]:
        pair = group * len(group) + other
        group = jnp.searchsorted(jnp.sort(pair), pair).astype(jnp.int32)
    return jax.vmap(lambda column: jax.ops.segment_sum(column, group, len(group)))(cells)
