"""Unit effects, interactive factors and a vector autoregression, for several outcomes jointly."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcsim._core.calls import with_remedies
from mcsim._core.pytree import pytree
from mcsim.errors import InputError
from mcsim.generators._options import faults_of_counts
from mcsim.generators._scores.coding import Scores, Shocks, fit_shocks
from mcsim.generators._scores.factor_model import FactorModel, fit_factor_model
from mcsim.generators._scores.vectors import Layout, effective_size, square_root
from mcsim.generators._training.checks import require_paths
from mcsim.generators._training.fitted_panel import FittedPanel
from mcsim.generators._training.panels import Learned, PanelRecipe, of_scores
from mcsim.generators._training.trainer import Trainer


@pytree("root", "factors", "shocks")
@dataclass(frozen=True, eq=False)
class FactorDistribution:
    """The distribution of vectors.

    Attributes
    ----------
    root : array (coordinate, coordinate)
        Symmetric root of the covariance of unit effects and autoregression.
    factors : array (factor, coordinate)
        What a unit with a loading of one adds.
    shocks : Shocks
        The distribution of the factors' paths, as rows (factor and column, period).
    """

    root: Any
    factors: Any
    shocks: Shocks

    def draw(self, key: Array, n_units: int) -> Float[Array, "unit coordinate"]:
        """Draw units."""
        count, size = self.factors.shape
        noise = jax.random.normal(key, (n_units, size + count), jnp.float32)
        return noise[:, :size] @ self.root + noise[:, size:] @ self.factors

    def redrawn(self, key: Array) -> "FactorDistribution":
        """Return the distribution with other paths of the factors; their part in traits stays."""
        if not len(self.factors):
            return self
        paths = self.shocks.draw(key).reshape(len(self.factors), -1).astype(jnp.float32)
        traits = jnp.asarray(self.factors)[:, paths.shape[1] :]
        return replace(self, factors=jnp.concatenate([paths, traits], axis=1))


@with_remedies()
@dataclass(frozen=True, kw_only=True)
class FactorVAR(Trainer[FittedPanel]):
    """Unit effects, interactive factors and a vector autoregression of normal scores.

    A unit's scores are its means, its loadings times common factors, and a stationary vector
    autoregression over periods, the same for all units; means, loadings and traits are jointly
    normal, as are the innovations of the columns. So columns move together between units, within
    them and over time, with few parameters: the model behind interactive fixed effects, and that of
    simulation studies of synthetic control. The distribution of the scores is normal, and
    nothing is matched to the data afterwards: levels that few cells have, and how often a sticky
    binary column switches, are as far from the data's as its scores are from normal ones. With
    ``common_shocks="redraw"`` the factors' paths too are drawn anew, by a line and an
    autoregression.

    Parameters
    ----------
    factors : int, optional
        Number of factors; default by BIC.
    lags : int, optional
        Order of the autoregression; default 1 or 2, by BIC.
    common_shocks, cluster, missing
        As in every trainer of panels: `VAE`.

    References
    ----------
    Bai & Ng (2002), Determining the number of factors in approximate factor models, Econometrica
    70: 191-221. Arkhangelsky, Athey, Hirshberg, Imbens & Wager (2021), American Economic Review
    111: 4088-4118, section III, for one outcome.

    Examples
    --------
    >>> import jax
    >>> from mcsim import Panel
    >>> loadings, noise = (jax.random.normal(jax.random.key(k), (100, 10)) for k in (1, 2))
    >>> factor = jax.random.normal(jax.random.key(3), (1, 10))
    >>> panel = Panel({"y": loadings[:, :1] * factor + noise})
    >>> generator = FactorVAR().fit(jax.random.key(0), panel)
    >>> generator
    FittedPanel(FactorVAR: y over 10 periods)
    >>> len(generator.parts[0].distribution.factors)
    1
    >>> generator.sample(jax.random.key(1), 300)
    Panel(300 units x 10 periods: y)
    """

    factors: int | None = None
    lags: int | None = None

    def faults(self) -> list[str]:
        """Check the numbers of factors and lags."""
        return faults_of_counts(self, factors=0, lags=1)

    def recipe(self, n_units: int, n_periods: int) -> PanelRecipe:
        """Return the recipe: a factor model, to which nothing is matched afterwards."""
        return of_scores(self, learn, calibrate=False)


def learn(
    config: FactorVAR, keys: Sequence[Array], data: Sequence[Scores], progress: bool
) -> list[Learned]:
    """Fit each model."""
    return [Learned(_fit(config, scores)) for scores in data]


def _fit(config: FactorVAR, scores: Scores) -> FactorDistribution:
    layout, vectors = scores.coding.layout, scores.vectors
    if layout.periods == 1:
        raise InputError(
            "panel: got 1 period, but FactorVAR takes paths apart; GaussianCopula and "
            "Autoregressive learn cross-sections"
        )
    require_paths(layout)
    second = vectors.T @ vectors / len(vectors)
    units = effective_size(scores.rows)
    model = fit_factor_model(second, units, layout, config.factors, config.lags)
    return _distribution_of(model, layout)


def _distribution_of(model: FactorModel, layout: Layout) -> FactorDistribution:
    count, columns = len(model.factors), len(layout.paths)
    paths = model.factors[:, : layout.n_cells].reshape(count * columns, layout.periods)
    noise = np.zeros((count * columns, count * columns))  # how well the paths are known is not
    return FactorDistribution(
        square_root(model.covariance).astype(np.float32),
        model.factors.astype(np.float32),
        fit_shocks(paths, noise),
    )
