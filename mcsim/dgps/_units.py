"""What a column tells about each unit: values that are one per unit, and clusters of units."""

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from mcsim._core import Panel
from mcsim.errors import did_you_mean


def first_observed(panel: Panel, name: str) -> Array:
    """Each unit's value of a column in its first observed period."""
    if panel.mask is None:
        return panel[name][:, 0]
    first = jnp.argmax(panel.mask, axis=1)
    return jnp.take_along_axis(panel[name], first[:, None], axis=1)[:, 0]


def codes_of(panel: Panel, name: str) -> np.ndarray:
    """The same for a concrete panel, in NumPy, also while a program is traced."""
    values = np.asarray(panel[name])
    first = 0 if panel.mask is None else np.argmax(np.asarray(panel.mask), axis=1)
    return values[np.arange(len(values)), first]


def numbered(panel: Panel, name: str | None) -> np.ndarray:
    """Number from 0 the values that a concrete panel's units have; without a column, the units."""
    if name is None:
        return np.arange(panel.n_units)
    return np.unique(codes_of(panel, name), return_inverse=True)[1].reshape(-1)


def cluster_count(panel: Panel, cluster: str | None) -> int | None:
    """How many units (clusters) there are to draw from; None where that is not known yet."""
    if cluster is None:
        return panel.n_units
    codes = panel.get(cluster)
    known = codes is not None and not isinstance(codes, Tracer)
    return len(np.unique(codes_of(panel, cluster))) if known else None


def faults_of_cluster(panel: Panel, cluster: str | None) -> list[str]:
    """Say what is wrong with the column of the clusters above the units."""
    if cluster is None:
        return []
    if cluster not in panel:
        return [f"cluster: got {cluster!r}{did_you_mean(cluster, panel)}"]
    return [] if isinstance(panel[cluster], Tracer) else varying(panel, cluster, "cluster")


def varying(panel: Panel, name: str, argument: str) -> list[str]:
    """Say so if a column of a concrete panel varies within a unit."""
    values = np.asarray(panel[name])
    observed = np.ones(values.shape, bool) if panel.mask is None else np.asarray(panel.mask)
    own = codes_of(panel, name)[:, None]
    if not np.any((values != own) & observed):
        return []
    return [f"{argument}: {name!r} varies within units, expected one value per unit"]
