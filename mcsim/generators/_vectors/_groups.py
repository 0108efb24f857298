"""Groups above the units (schools, states): their sizes, and how alike their units are.

In the space of scores the covariance of the units splits into a part between groups and a part
within them (analysis of variance). Drawn units are recolored to the part within, and share a normal
effect of their group.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from mcsim._pytree import pytree
from mcsim.generators._vectors._covariance import positive, recoloring


@pytree("sizes", "within", "between")
@dataclass(frozen=True, eq=False)
class Groups:
    """The group structure of the units.

    Attributes
    ----------
    name : str
        The column that tells the groups apart.
    sizes : array (group,)
        Units in each group of the data.
    within : array (coordinate, coordinate)
        What turns a unit's vector into its deviation from the group.
    between : array (coordinate, coordinate)
        Root of the covariance of the groups' effects.
    """

    name: str
    sizes: Any
    within: Any
    between: Any

    def draw(
        self, key: Array, vectors: Float[Array, "unit coordinate"]
    ) -> tuple[Float[Array, "unit coordinate"], Int[Array, " unit"]]:
        """Put units into groups of resampled sizes; return their vectors and groups."""
        chosen, effects = jax.random.split(key)
        units = len(vectors)
        sizes = jax.random.choice(chosen, jnp.asarray(self.sizes), (units,))
        group = jnp.searchsorted(jnp.cumsum(sizes), jnp.arange(units), side="right")
        shared = jax.random.normal(effects, vectors.shape, vectors.dtype) @ self.between.T
        return vectors @ self.within.T + shared[group], group


def fit_groups(
    name: str, codes: Num[np.ndarray, " unit"], vectors: Float[np.ndarray, "unit coordinate"]
) -> Groups:
    """Split the covariance of vectors with mean zero by analysis of variance."""
    _, group, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    units, count = len(codes), len(sizes)
    means = np.stack([np.bincount(group, column, count) / sizes for column in vectors.T], axis=1)
    deviations = vectors - means[group]
    inside = deviations.T @ deviations / (units - count)
    spread = (means * sizes[:, None]).T @ means / (count - 1)
    typical = (units - (sizes**2).sum() / units) / (count - 1)
    values, vectors_ = np.linalg.eigh((spread - inside) / typical)
    kept = np.maximum(values, 0.0)
    kept *= max(values.sum(), 0.0) / max(kept.sum(), 1e-12)  # the trace stays unbiased
    between = vectors_ * np.sqrt(kept)
    inside = positive(inside)
    return Groups(name, sizes, recoloring(inside + between @ between.T, inside), between)
