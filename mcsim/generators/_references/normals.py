"""References in closed form: scores that are normal, a mixture of normals, or a factor model."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcsim._core.calls import with_remedies
from mcsim._core.checks import at_least, faults_of
from mcsim._core.pytree import ADDED_LATER, pytree
from mcsim.errors import InputError
from mcsim.generators._scores.coding import Scores, Shocks, fit_shocks
from mcsim.generators._scores.factor_model import (
    DYNAMIC_PERIODS,
    FactorModel,
    fit_factor_model,
)
from mcsim.generators._scores.unit_scales import ScaledNormal, fit_scaled_normal
from mcsim.generators._scores.vectors import (
    Layout,
    Square,
    effective_size,
    square_root,
    without_duplicates,
)
from mcsim.generators._training.checks import require_paths
from mcsim.generators._training.fitted_panel import FittedPanel
from mcsim.generators._training.panel_recipe import Learned, PanelRecipe, numpy_rng, of_scores
from mcsim.generators._training.trainer import Count, Switch, Trainer

SHAPES = ("spherical", "diag", "full")
PATIENCE = 2  # numbers of components without a better BIC after which a shape is given up
RIDGE = 1e-3  # added to the variances of a component, in whitened space
RESTARTS = 3


@pytree("root")
@dataclass(frozen=True, eq=False)
class Normal:
    """A normal distribution of vectors with mean zero.

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
    to the covariance of `FactorVAR`, by the weight under which left-out units are most likely. Fits
    in half a second, and keeps variances, autocorrelations and dependence between columns; it has
    no tails, volatility or asymmetry beyond the margins', but for ``volatility=True``.

    Parameters
    ----------
    volatility : bool
        Whether units differ in the scale of their deviations from their means, column by column;
        from 4 periods. The distribution of the scales is that of the units' true scales: the chance
        variation of short paths is no difference between units.
    common_shocks, cluster, missing
        As in every trainer of panels: `VAE`.

    References
    ----------
    Kiefer & Wolfowitz (1956), Annals of Mathematical Statistics 27: 887-906, for the scales. Hoff
    (2007), Annals of Applied Statistics 1: 265-283. Ledoit & Wolf (2004), Journal of
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

    volatility: Switch = field(default=False, metadata=ADDED_LATER)

    def faults(self) -> list[str]:
        """Return the faults of the options."""
        return faults_of(self)

    def recipe(self, n_units: int, n_periods: int) -> PanelRecipe:
        """Return the recipe: a normal distribution of scores."""
        return of_scores(self, learn_normals)


def learn_normals(
    config: GaussianCopula, keys: Sequence[Array], data: Sequence[Scores], progress: bool
) -> list[Learned]:
    """Take the root of each covariance, or fit the scales of the units besides."""
    return [Learned(_normal(config.volatility, scores)) for scores in data]


def _normal(volatility: bool, scores: Scores) -> Normal | ScaledNormal:
    layout = scores.coding.layout
    if volatility and layout.time_varying and layout.periods >= DYNAMIC_PERIODS:
        return fit_scaled_normal(scores.vectors, scores.covariance, layout)
    return Normal(square_root(scores.covariance).astype(np.float32))


@pytree("weights", "means", "roots")
@dataclass(frozen=True, eq=False)
class MixtureOfNormals:
    """A mixture of normal distributions of vectors.

    Attributes
    ----------
    weights : array (component,)
        Probabilities.
    means : array (component, coordinate)
        Means.
    roots : array (component, coordinate, coordinate)
        Roots by which standard normals are multiplied (from the left).
    """

    weights: Any
    means: Any
    roots: Any

    def draw(self, key: Array, n_units: int) -> Float[Array, "unit coordinate"]:
        """Draw units."""
        of_component, of_noise = jax.random.split(key)
        share = jax.random.uniform(of_component, (n_units, 1), jnp.float32)
        component = (share >= jnp.cumsum(jnp.asarray(self.weights))[:-1]).sum(axis=1)
        noise = jax.random.normal(of_noise, (n_units, self.means.shape[1]), jnp.float32)
        deviations = jnp.einsum("nd,kde->nke", noise, self.roots)
        chosen = jnp.take_along_axis(deviations, component[:, None, None], axis=1)[:, 0]
        return chosen + jnp.asarray(self.means)[component]


@with_remedies()
@dataclass(frozen=True, kw_only=True)
class GaussianMixture(Trainer[FittedPanel]):
    """A mixture of normals, fit to whitened normal scores; margins as in the data.

    Types of units, and the skewness, tails and interactions that a few types make. Whitening by the
    shrunk covariance makes the Gaussian copula the mixture with one component; the Bayesian
    information criterion chooses how many there are, and whether their covariances are spherical,
    diagonal or full, so that few units give one type. Fits in a fraction of a second.

    Parameters
    ----------
    components : int, optional
        Number of components; default by BIC.
    most : int
        The largest number of components to try.
    common_shocks, cluster, missing
        As in every trainer of panels: `VAE`.

    References
    ----------
    Fraley & Raftery (2002), Model-based clustering, discriminant analysis, and density estimation,
    Journal of the American Statistical Association 97: 611-631.

    Examples
    --------
    >>> import jax
    >>> from mcsim import Panel
    >>> kind = jax.random.bernoulli(jax.random.key(1), 0.3, (200, 1))
    >>> panel = Panel({"y": 4 * kind + jax.random.normal(jax.random.key(2), (200, 4))})
    >>> generator = GaussianMixture().fit(jax.random.key(0), panel)
    >>> generator
    FittedPanel(GaussianMixture: y over 4 periods)
    >>> len(generator.parts[0].distribution.weights)
    2
    >>> generator.sample(jax.random.key(1), 300)
    Panel(300 units x 4 periods: y)
    """

    components: Count | None = None
    most: Count = 8

    def faults(self) -> list[str]:
        """Return the faults of the options."""
        return faults_of(self)

    def recipe(self, n_units: int, n_periods: int) -> PanelRecipe:
        """Return the recipe: a mixture of normals."""
        return of_scores(self, learn_mixtures)


def learn_mixtures(
    config: GaussianMixture, keys: Sequence[Array], data: Sequence[Scores], progress: bool
) -> list[Learned]:
    """Fit each mixture."""
    numbers = range(1, config.most + 1) if config.components is None else [config.components]
    return [
        Learned(_fit_mixture(numpy_rng(key), scores, numbers))
        for key, scores in zip(keys, data, strict=True)
    ]


def _fit_mixture(
    rng: np.random.Generator, scores: Scores, numbers: Sequence[int]
) -> MixtureOfNormals:
    variances, axes = np.linalg.eigh(scores.covariance)
    back = np.sqrt(variances)[:, None] * axes.T
    vectors = scores.vectors[without_duplicates(scores.rows)]  # duplicates would be a component
    found = best_mixture(rng, vectors @ axes / np.sqrt(variances), numbers)
    roots = np.stack([_root(found, number) for number in range(found.n_components)])
    # Components that are never drawn make the number a power of two: splits share programs.
    more = 2 ** math.ceil(math.log2(found.n_components)) - found.n_components
    means, roots = (_with_last(part @ back, more) for part in (found.means_, roots))
    distribution = np.append(found.weights_, np.zeros(more)), means, roots
    return MixtureOfNormals(*(part.astype(np.float32) for part in distribution))


def _with_last(parts: np.ndarray, more: int) -> np.ndarray:
    """Repeat the last of some arrays."""
    return np.concatenate([parts, np.repeat(parts[-1:], more, axis=0)])


def best_mixture(
    rng: np.random.Generator, vectors: Float[np.ndarray, "unit coordinate"], numbers: Sequence[int]
) -> Any:
    """Return scikit-learn's mixture of the least BIC, over numbers of components and shapes."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture as Mixture

    best, least = None, np.inf
    for shape in SHAPES:
        waited, own = 0, np.inf
        for number in [n for n in numbers if n < len(vectors)] or [1]:
            mixture = Mixture(
                number, covariance_type=shape, reg_covar=RIDGE, n_init=RESTARTS, max_iter=200,
                init_params="k-means++", random_state=int(rng.integers(2**31)),
            )  # fmt: skip
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                criterion = mixture.fit(vectors).bic(vectors)
            if criterion < least:
                best, least = mixture, criterion
            waited, own = (0, criterion) if criterion < own else (waited + 1, own)
            if waited == PATIENCE:
                break
    return best


def _root(mixture: Any, number: int) -> Square:
    """Return the transposed root of a component's covariance."""
    covariance, coordinates = mixture.covariances_[number], mixture.means_.shape[1]
    if mixture.covariance_type == "full":
        return np.linalg.cholesky(covariance).T
    return np.diag(np.broadcast_to(np.sqrt(covariance), coordinates))


@pytree("root", "factors", "shocks")
@dataclass(frozen=True, eq=False)
class FactorDistribution:
    """The distribution of vectors.

    Attributes
    ----------
    root : array (coordinate, coordinate)
        Symmetric root of the covariance of unit effects and autoregression.
    factors : array (factor, coordinate)
        Vector of a factor: added to a unit with a loading of one.
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
        """Return the distribution with new factor paths; time-invariant columns keep their part."""
        if not len(self.factors):
            return self
        paths = self.shocks.draw(key).reshape(len(self.factors), -1).astype(jnp.float32)
        invariant = jnp.asarray(self.factors)[:, paths.shape[1] :]
        return replace(self, factors=jnp.concatenate([paths, invariant], axis=1))


@with_remedies()
@dataclass(frozen=True, kw_only=True)
class FactorVAR(Trainer[FittedPanel]):
    """Unit effects, interactive factors and a vector autoregression of normal scores.

    A unit's scores are its means, its loadings times common factors, and a stationary vector
    autoregression over periods, the same for all units; means, loadings and time-invariant
    columns are jointly normal, as are the innovations of the columns. So columns move together
    between units, within them and over time, with few parameters: the model behind interactive
    fixed effects, and of simulation studies of synthetic control. The distribution of the
    scores is normal, and nothing is matched to the data afterwards: levels that few cells have, and
    how often a sticky binary column switches, are as far from the data's as its scores are from
    normal ones. With
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

    factors: Annotated[int, at_least(0)] | None = None
    lags: Count | None = None

    def faults(self) -> list[str]:
        """Return the faults of the options."""
        return faults_of(self)

    def recipe(self, n_units: int, n_periods: int) -> PanelRecipe:
        """Return the recipe: a factor model, to which nothing is matched afterwards."""
        return of_scores(self, learn_factors, calibrate=False)


def learn_factors(
    config: FactorVAR, keys: Sequence[Array], data: Sequence[Scores], progress: bool
) -> list[Learned]:
    """Fit each model."""
    return [Learned(_fit_factors(config, scores)) for scores in data]


def _fit_factors(config: FactorVAR, scores: Scores) -> FactorDistribution:
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
    count, columns = len(model.factors), len(layout.time_varying)
    paths = model.factors[:, : layout.n_cells].reshape(count * columns, layout.periods)
    noise = np.zeros((count * columns, count * columns))  # the precision of the paths is not
    return FactorDistribution(
        square_root(model.covariance).astype(np.float32),
        model.factors.astype(np.float32),
        fit_shocks(paths, noise),
    )
