"""Groups above the units (schools, states): their sizes, and how alike their units are.

In the space of scores the covariance of the units splits into a part between groups and a part
within them (analysis of variance), in as many directions as tell left-out groups apart. Drawn units
are recolored to the part within, and share a normal effect of their group.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from mcsim._pytree import pytree
from mcsim.generators._vectors._covariance import FOLDS, positive, recoloring, square_root

Means = Float[np.ndarray, "group coordinate"]
Sizes = Int[np.ndarray, " group"]


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
    inside = positive(deviations.T @ deviations / (units - count))
    root = square_root(inside)
    means = np.linalg.solve(root, means.T).T
    variances, directions = _effects(means, sizes)
    variances[_directions_that_tell(means, sizes) :] = 0.0
    between = root @ directions * np.sqrt(np.maximum(variances, 0.0))
    return Groups(name, sizes, recoloring(inside + between @ between.T, inside), between)


def _effects(means: Means, sizes: Sizes) -> tuple[Float[np.ndarray, " direction"], np.ndarray]:
    """Return the variances of the groups' effects in independent directions, descending.

    ``means`` are those of the groups' units, whose deviations from them are standard normal.
    """
    units, count = sizes.sum(), len(sizes)
    typical = (units - (sizes**2).sum() / units) / (count - 1)
    spread = (means * sizes[:, None]).T @ means / (count - 1)
    variances, directions = np.linalg.eigh((spread - np.eye(means.shape[1])) / typical)
    return variances[::-1].copy(), directions[:, ::-1]


def _directions_that_tell(means: Means, sizes: Sizes) -> int:
    """Return in how many directions effects make the means of left-out groups most likely.

    All others are noise; were they kept, they would hide how alike the units of a group are.
    """
    fold = np.arange(len(sizes)) % min(FOLDS, len(sizes))
    gains = np.zeros(means.shape[1])
    for out in range(fold.max() + 1 if len(sizes) > 2 else 0):
        variances, directions = _effects(means[fold != out], sizes[fold != out])
        noise = 1 / sizes[fold == out, None]
        total = np.maximum(variances, 0.0) + noise
        squares = (means[fold == out] @ directions) ** 2
        gains += (squares / noise - squares / total - np.log(total / noise)).sum(axis=0)
    return int(np.argmax(np.cumsum([0.0, *gains])))
