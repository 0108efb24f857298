"""The Gaussian copula with structured shrinkage: the reference that networks start from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcsim._calls import with_remedies
from mcsim._pytree import pytree
from mcsim.generators._training._fitted_panel import FittedPanel
from mcsim.generators._training._panels import Learned, PanelRecipe, of_scores
from mcsim.generators._training._trainer import Trainer
from mcsim.generators._vectors._coding import Scores
from mcsim.generators._vectors._covariance import square_root


@pytree("root")
@dataclass(frozen=True, eq=False)
class Normal:
    """A normal law of vectors with mean zero.

    Attributes
    ----------
    root : array (coordinate, coordinate)
        Symmetric root of the covariance.
    """

    root: Any

    def draw(self, key: Array, n_units: int) -> Float[Array, "unit coordinate"]:
        """Draw units."""
        return jax.random.normal(key, (n_units, len(self.root)), jnp.float32) @ self.root


@with_remedies()
@dataclass(frozen=True, kw_only=True)
class GaussianCopula(Trainer[FittedPanel]):
    """Normal scores with a covariance shrunk towards a factor model; margins as in the data.

    Mass points, integers and categories are intervals of a latent normal. The covariance is shrunk
    to that of `FactorVAR`, by the weight under which left-out units are most likely. Fits in half
    a second, and keeps variances, autocorrelations and how columns move together; it has no tails,
    volatility or asymmetry beyond those of the margins.

    Parameters
    ----------
    common_shocks, cluster, missing
        As in every trainer of panels: `VAE`.

    References
    ----------
    Hoff (2007), Annals of Applied Statistics 1: 265-283. Ledoit & Wolf (2004), Journal of
    Multivariate Analysis 88: 365-411, for shrinkage; the target here is a model of paths instead.

    Examples
    --------
    >>> import jax
    >>> from mcsim import Panel
    >>> level = jax.random.normal(jax.random.key(1), (100, 1))
    >>> panel = Panel({"y": level + jax.random.normal(jax.random.key(2), (100, 5))})
    >>> generator = GaussianCopula().fit(jax.random.key(0), panel)
    >>> generator
    FittedPanel(GaussianCopula: y over 5 periods)
    >>> generator.sample(jax.random.key(1), 300)
    Panel(300 units x 5 periods: y)
    """

    def faults(self) -> list[str]:
        """Return no fault: there are no options of its own."""
        return []

    def recipe(self, n_units: int, n_periods: int) -> PanelRecipe:
        """Return the recipe: a normal distribution of scores."""
        return of_scores(self, learn)


def learn(
    config: GaussianCopula, keys: Sequence[Array], data: Sequence[Scores], progress: bool
) -> list[Learned]:
    """Take the root of each covariance."""
    roots = [square_root(scores.covariance).astype(np.float32) for scores in data]
    return [Learned(Normal(root)) for root in roots]
