"""Clusters: units, periods, groups of units, and the cells where two of them meet."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mcsim._core import Panel, Status
from mcsim.estimators._regression._data import group_of_units

AXES = {"unit": -2, "time": -1}


class Groups(NamedTuple):
    """Groups of units by column, and what is wrong with them.

    Attributes
    ----------
    of_unit : dict of column to array of int (unit,)
        The group of every unit, a number below the number of units.
    status : int array ()
    """

    of_unit: Mapping[str, Int[Array, " unit"]]
    status: Int[Array, ""]


def read_groups(clusters: set[str], panel: Panel) -> Groups:
    """Read the columns that are clusters above the unit."""
    found = {name: group_of_units(name, panel) for name in sorted(clusters.difference(AXES))}
    status = jnp.stack([jnp.asarray(Status.OK, jnp.int32), *(s for _, s in found.values())]).max()
    return Groups({name: group for name, (group, _) in found.items()}, status)


def cluster_sums(
    cells: Float[Array, "term unit period"], clusters: tuple[str, ...], groups: Groups
) -> Float[Array, "term *cluster"]:
    """Return sums over the cells of each cluster; of two, over those where they meet."""
    if "unit" not in clusters:
        for name in clusters:
            if name in groups.of_unit:
                group = groups.of_unit[name]
                cells = jax.vmap(lambda c, g=group: jax.ops.segment_sum(c, g, len(g)))(cells)
                break
        else:
            cells = cells.sum(axis=-2, keepdims=True)
    if "time" not in clusters:
        cells = cells.sum(axis=-1, keepdims=True)
    return cells


def n_clusters(
    weight: Float[Array, "unit period"], clusters: tuple[str, ...], groups: Groups
) -> Float[Array, ""]:
    """Return how many clusters have an observation."""
    return (cluster_sums(weight[None], clusters, groups) > 0).sum().astype(float)
