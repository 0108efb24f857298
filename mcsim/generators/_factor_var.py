"""Interactive factors, unit effects and a vector autoregression, for several outcomes jointly."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcsim._pytree import pytree
from mcsim.errors import InputError
from mcsim.generators._coding import Scores
from mcsim.generators._covariance import Square, square_root
from mcsim.generators._layout import Layout
from mcsim.generators._panel_trainer import Learned, PanelTrainer
from mcsim.generators._shocks import Shocks, fit_shocks
from mcsim.generators._vector_autoregression import fit_autoregression

MOST_FACTORS = 8
MOST_LAGS = 2
DYNAMIC_PERIODS = 4  # fewer have neither factors nor dynamics


@pytree("effects", "factors", "shocks", "noise")
@dataclass(frozen=True, eq=False)
class FactorLaw:
    """The law of vectors.

    Attributes
    ----------
    effects : array (effect, effect)
        Root of the covariance of each unit's means (column), loadings (factor) and traits.
    factors : array (factor, column, period)
        The factors' paths.
    shocks : Shocks
        Their law, as rows (factor and column, period).
    noise : array (cell, cell)
        Root of the covariance of the remaining part.
    """

    effects: Any
    factors: Any
    shocks: Shocks
    noise: Any

    def draw(self, key: Array, n_units: int) -> Float[Array, "unit coordinate"]:
        """Draw units."""
        of_effects, of_noise = jax.random.split(key)
        factors, columns, _ = self.factors.shape
        drawn = jax.random.normal(of_effects, (n_units, len(self.effects)), jnp.float32)
        drawn = drawn @ self.effects
        means, loadings = drawn[:, :columns], drawn[:, columns : columns + factors]
        paths = means[:, :, None] + jnp.einsum("nr,rkt->nkt", loadings, self.factors)
        noise = jax.random.normal(of_noise, (n_units, len(self.noise)), jnp.float32) @ self.noise
        cells = paths.reshape(n_units, -1) + noise
        return jnp.concatenate([cells, drawn[:, columns + factors :]], axis=1)

    def redrawn(self, key: Array) -> "FactorLaw":
        """Return the law with other paths of the factors."""
        paths = self.shocks.draw(key).reshape(self.factors.shape)
        return replace(self, factors=paths.astype(jnp.float32))


@dataclass(frozen=True, kw_only=True)
class FactorVAR(PanelTrainer):
    """Unit effects, interactive factors and a vector autoregression of normal scores.

    A unit's scores are its means, its loadings times common factors, and a stationary vector
    autoregression over periods, the same for all units; means, loadings and traits are jointly
    normal, as are the innovations of the columns. So columns move together between units, within
    them and over time, with few parameters: the model behind interactive fixed effects, and that of
    simulation studies of synthetic control. The law of the scores is normal; margins are the
    data's. With ``common_shocks="redraw"`` the factors' paths too are drawn anew, by a line and an
    autoregression.

    Parameters
    ----------
    factors : int, optional
        Number of factors; default by the information criterion IC_p2 of Bai & Ng.
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
    >>> panel = Panel({"y": 2 * loadings[:, :1] * factor + noise})
    >>> generator = FactorVAR().fit(jax.random.key(0), panel)
    >>> generator
    FittedPanel(FactorVAR: y over 10 periods)
    >>> len(generator.parts[0].law.factors)
    1
    >>> generator.sample(jax.random.key(1), 300)
    Panel(300 units x 10 periods: y)
    """

    factors: int | None = None
    lags: int | None = None

    calibrated: ClassVar[bool] = False

    def faults(self) -> list[str]:
        """Check the numbers of factors and lags."""
        asked = {"factors": (self.factors, 0), "lags": (self.lags, 1)}
        return [
            f"{name}: got {value!r}, expected an integer of at least {least}, or None"
            for name, (value, least) in asked.items()
            if value is not None
            and (not isinstance(value, int) or isinstance(value, bool) or value < least)
        ]

    def learn(self, keys: Sequence[Array], data: Sequence[Scores], progress: bool) -> list[Learned]:
        """Fit each model."""
        return [Learned(_fit(scores, self.factors, self.lags)) for scores in data]


class Model(NamedTuple):
    """Numbers of a factor model with autoregressive noise, of scores in orthogonal coordinates.

    Attributes
    ----------
    known : array (cell, effect)
        Orthonormal: the mean of each column, and the factors' paths.
    covariance : array (effect, effect)
        Of the coordinates of units along ``known``, and of their traits.
    noise : array (cell, cell)
        Covariance of the autoregression.
    parameters : int
        How many there are.
    """

    known: Float[np.ndarray, "cell _"]
    covariance: Float[np.ndarray, "effect effect"]
    noise: Float[np.ndarray, "cell cell"]
    parameters: int

    def implied(self) -> Float[np.ndarray, "coordinate coordinate"]:
        """Return the covariance of vectors."""
        cells, traits = len(self.noise), len(self.covariance) - self.known.shape[1]
        design = np.zeros((cells + traits, len(self.covariance)))
        design[:cells, : self.known.shape[1]] = self.known
        design[cells:, self.known.shape[1] :] = np.eye(traits)
        total = design @ self.covariance @ design.T
        total[:cells, :cells] += self.noise
        return total


def _fit(scores: Scores, factors: int | None, lags: int | None) -> FactorLaw:
    layout, sample = scores.coding.layout, scores.vectors
    if layout.periods == 1:
        raise InputError(
            "panel: got 1 period, but FactorVAR takes paths apart; GaussianCopula and "
            "Autoregressive learn cross-sections"
        )
    second = sample.T @ sample / len(sample)
    best, least = None, np.inf
    for number in range(MOST_FACTORS+1) if factors is None else [factors]:
        for order in range(1, MOST_LAGS + 1) if lags is None else [lags]:
            model = fit_model(second, layout, number, order)
            bic = _bic(model, second, len(sample))
            print(number, order, round(bic,1))
            if bic < least:
                best, least = model, bic
    return _law(best, second, layout)


def _bic(model: Model, second: Square, units: int) -> float:
    covariance = model.implied() + 1e-6 * np.eye(len(second))
    misfit = np.linalg.slogdet(covariance)[1] + np.trace(np.linalg.solve(covariance, second))
    return units * misfit + model.parameters * np.log(units)


def fit_model(second: Square, layout: Layout, factors: int, lags: int) -> Model:
    """Fit to the second moments of vectors."""
    columns, periods, cells = len(layout.paths), layout.periods, layout.n_cells
    level = np.kron(np.eye(columns), np.full((periods, 1), periods**-0.5))
    within = np.eye(cells) - level @ level.T
    axes = np.linalg.eigh(within @ second[:cells, :cells] @ within)[1]
    known = np.hstack([level, axes[:, cells - factors :]])
    projection = np.eye(cells) - known @ known.T
    seen = projection @ second[:cells, :cells] @ projection
    noise = fit_autoregression(seen, projection, columns, lags).covariance(periods)
    design = np.zeros((len(second), known.shape[1] + len(layout.traits)))
    design[:cells, : known.shape[1]] = known
    design[cells:, known.shape[1] :] = np.eye(len(layout.traits))
    covariance = design.T @ second @ design
    covariance[: known.shape[1], : known.shape[1]] -= known.T @ noise @ known
    values, rotation = np.linalg.eigh(covariance)
    covariance = (rotation * np.maximum(values, 0.0)) @ rotation.T
    effects = len(covariance)
    count = factors * (cells - columns) + effects * (effects + 1) // 2
    count += lags * columns**2 + columns * (columns + 1) // 2
    return Model(known, covariance, noise, count)


def _law(model: Model, second: Square, layout: Layout) -> FactorLaw:
    """Give each column the variance of the data, and each unit's mean its size."""
    columns, periods, cells = len(layout.paths), layout.periods, layout.n_cells
    variances = np.stack([np.diag(second), np.diag(model.implied())])[:, :cells]
    scale = np.sqrt(np.divide(*variances.reshape(2, columns, periods).mean(axis=2)))
    of_cells = np.repeat(scale, periods)
    of_effects = np.ones(len(model.covariance))
    of_effects[:columns] = scale * periods**-0.5
    paths = model.known[:, columns:].T * of_cells
    factors = len(paths)
    means = paths.reshape(factors * columns, periods)
    return FactorLaw(
        square_root(model.covariance * np.outer(of_effects, of_effects)).astype(np.float32),
        means.reshape(factors, columns, periods).astype(np.float32),
        fit_shocks(means, np.zeros((len(means), len(means)))),
        square_root(model.noise * np.outer(of_cells, of_cells)).astype(np.float32),
    )
