"""The smoothed bootstrap: units of the data with noise on their scores, variances kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcsim._calls import with_remedies
from mcsim._pytree import pytree
from mcsim.generators._options import Rule, faults_of_numbers
from mcsim.generators._training._fitted_panel import FittedPanel
from mcsim.generators._training._panels import Learned, PanelRecipe, of_scores
from mcsim.generators._training._trainer import Trainer
from mcsim.generators._vectors._coding import Scores
from mcsim.generators._vectors._covariance import square_root

BANDWIDTH: Rule = (
    lambda value: value > 0,
    "a positive number, such as 0.4; UnitBootstrap draws the units as they are",
)


@pytree("vectors", "root", "bandwidth")
@dataclass(frozen=True, eq=False)
class Kernel:
    """A normal kernel around vectors, drawn in to keep their covariance.

    Attributes
    ----------
    vectors : array (unit, coordinate)
        Of the data.
    root : array (coordinate, coordinate)
        Symmetric root of the covariance of the noise.
    bandwidth : array ()
        Standard deviation of the noise, as a share of the data's.
    """

    vectors: Any
    root: Any
    bandwidth: Any

    def draw(self, key: Array, n_units: int) -> Float[Array, "unit coordinate"]:
        """Draw units."""
        of_units, of_noise = jax.random.split(key)
        unit = jax.random.randint(of_units, (n_units,), 0, len(self.vectors))
        noise = jax.random.normal(of_noise, (n_units, len(self.root)), jnp.float32) @ self.root
        drawn = jnp.asarray(self.vectors)[unit] + self.bandwidth * noise
        return drawn / jnp.sqrt(1 + self.bandwidth**2)


@with_remedies()
@dataclass(frozen=True, kw_only=True)
class SmoothedBootstrap(Trainer[FittedPanel]):
    """Units of the data with normal noise on their scores: the bootstrap that does not copy.

    A drawn vector of normal scores is (z + h e) / sqrt(1 + h^2), with z a unit of the data and e
    normal with the data's covariance: whatever the bandwidth h, covariances stay. A small one
    draws near copies, a large one the Gaussian copula.

    Parameters
    ----------
    bandwidth : float
        Standard deviation of the noise, as a share of the data's.
    common_shocks, cluster, missing
        As in every trainer of panels: `VAE`.

    References
    ----------
    Silverman & Young (1987), The bootstrap: to smooth or not to smooth?, Biometrika 74: 469-479.

    Examples
    --------
    >>> import jax
    >>> from mcsim import Panel
    >>> panel = Panel({"y": jax.random.normal(jax.random.key(1), (100, 5))})
    >>> generator = SmoothedBootstrap(bandwidth=0.3).fit(jax.random.key(0), panel)
    >>> generator
    FittedPanel(SmoothedBootstrap: y over 5 periods)
    >>> generator.sample(jax.random.key(1), 300)
    Panel(300 units x 5 periods: y)
    """

    bandwidth: float = 0.4

    def faults(self) -> list[str]:
        """Check the bandwidth."""
        return faults_of_numbers(self, BANDWIDTH, "bandwidth")

    def recipe(self, n_units: int, n_periods: int) -> PanelRecipe:
        """Return the recipe: a kernel around the units' scores."""
        return of_scores(self, learn)


def learn(
    config: SmoothedBootstrap, keys: Sequence[Array], data: Sequence[Scores], progress: bool
) -> list[Learned]:
    """Keep the vectors, and take the root of each covariance."""
    return [Learned(_kernel(scores, config.bandwidth)) for scores in data]


def _kernel(scores: Scores, bandwidth: float) -> Kernel:
    root = square_root(scores.covariance)
    return Kernel(scores.vectors.astype(np.float32), root.astype(np.float32), np.float32(bandwidth))
