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

from mcsim._core.pytree import pytree
from mcsim.generators._scores.vectors import (
    FOLDS,
    Square,
    UnitNumbers,
    identities,
    positive,
    recoloring,
)

LEAST_COMPANY = 0.1  # other units in a group, on average: where there are hardly any
MOST_SHARED = 0.99  # of the variance
Means = Float[np.ndarray, "group coordinate"]
Sizes = Int[np.ndarray, " group"]
Variances = Float[np.ndarray, " direction"]


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
    name: str,
    codes: Num[np.ndarray, " unit"],
    rows: UnitNumbers,
    vectors: Float[np.ndarray, "unit coordinate"],
    covariance: Square,
) -> Groups:
    """Split the covariance of vectors with mean zero by analysis of variance.

    The covariance is given, shrunk: in directions in which few units vary little by chance, any
    group would seem to have an effect.
    """
    _, first, group, sizes = np.unique(
        codes, return_index=True, return_inverse=True, return_counts=True
    )
    sums = np.stack([np.bincount(group, column, len(sizes)) for column in vectors.T], axis=1)
    means = sums / sizes[:, None]
    variances, directions = _effects(means, sizes, covariance)
    told = _directions_that_tell(means, sizes, identities(rows[first]), covariance)
    variances[told:] = 0.0
    between = directions * np.sqrt(variances)
    inside = positive(covariance - between @ between.T)
    return Groups(name, sizes, recoloring(covariance, inside), between)


def _effects(means: Means, sizes: Sizes, covariance: Square) -> tuple[Variances, Square]:
    """Return the variances of the groups' effects in orthogonal directions, descending."""
    units, count = sizes.sum(), len(sizes)
    typical = (units - (sizes**2).sum() / units) / (count - 1)
    spread = (means * sizes[:, None]).T @ means / (count - 1)
    company = max(typical - 1, LEAST_COMPANY)
    variances, directions = np.linalg.eigh((spread - covariance) / company)
    most = MOST_SHARED * _along(directions, covariance)
    return np.clip(variances, 0.0, most)[::-1].copy(), directions[:, ::-1]


def _directions_that_tell(
    means: Means, sizes: Sizes, number: UnitNumbers, covariance: Square
) -> int:
    """Return in how many directions effects make the means of left-out groups most likely.

    All others are noise; were they kept, they would hide how alike the units of a group are. Groups
    with one number are duplicates.
    """
    fold = number % FOLDS
    gains = np.zeros(means.shape[1])
    for out in np.unique(fold):
        stay = fold != out
        if len(np.unique(number[stay])) < 2:  # one group does not say how groups differ
            continue
        effects, directions = _effects(means[stay], sizes[stay], covariance)
        own, variances = sizes[~stay, None], _along(directions, covariance)
        alone, total = variances / own, effects + (variances - effects) / own
        squares = (means[~stay] @ directions) ** 2
        gains += (squares / alone - squares / total - np.log(total / alone)).sum(axis=0)
    return int(np.argmax(np.cumsum([0.0, *gains])))


def _along(directions: Square, covariance: Square) -> Variances:
    return np.einsum("ik,ij,jk->k", directions, covariance, directions)
