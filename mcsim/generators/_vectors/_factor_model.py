"""Second moments of paths as unit effects, a vector autoregression, and interactive factors.

Factors are the directions in which units differ more than their effects and the autoregression say:
principal components of whitened scores, so that serial correlation is not taken for factors. The
largest likelihood given the other parts: Tipping & Bishop (1999), Journal of the Royal Statistical
Society B 61: 611-622; eigenvalues freed of their bias as in Paul (2007), Statistica Sinica 17:
1617-1642.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mcsim.generators._vectors._covariance import Square, positive, square_root, stationary
from mcsim.generators._vectors._layout import Layout
from mcsim.generators._vectors._vector_autoregression import Autoregression, fit_autoregression

MOST_FACTORS = 8
MOST_LAGS = 2
DYNAMIC_PERIODS = 4  # fewer have neither factors nor dynamics
ROUNDS = 6


class FactorModel(NamedTuple):
    """A law of vectors with mean zero.

    Attributes
    ----------
    covariance : array (coordinate, coordinate)
        Of unit effects, traits and autoregression.
    factors : array (factor, coordinate)
        What a unit with a loading of one adds; loadings are standard normal.
    dynamics : Autoregression, optional
        None without lags.
    """

    covariance: Square
    factors: Float[np.ndarray, "factor coordinate"]
    dynamics: Autoregression | None


def factor_target(sample: Square, units: int, layout: Layout) -> Square:
    """Return the covariance of the model, with as many factors as predict best (AIC)."""
    if layout.periods < DYNAMIC_PERIODS or not layout.paths:
        return stationary(sample, layout)
    model = fit_factor_model(sample, units, layout, None, None, price=2.0)
    return model.covariance + model.factors.T @ model.factors


def fit_factor_model(
    second: Square,
    units: int,
    layout: Layout,
    factors: int | None,
    lags: int | None,
    price: float | None = None,
) -> FactorModel:
    """Fit to second moments.

    Numbers of factors and lags that are None are chosen by an information criterion; ``price`` is
    what a parameter costs, by default the logarithm of the number of units (BIC).
    """
    price = float(np.log(units)) if price is None else price
    dynamic = layout.periods >= DYNAMIC_PERIODS
    most = min(MOST_FACTORS, len(layout.paths) * (layout.periods - 1) // 3, units // 4) * dynamic
    orders = range(1, MOST_LAGS + 1) if lags is None else [lags]
    orders = sorted({min(order, layout.periods - 3) * dynamic for order in orders})
    alone = [_given_factors(second, second[:0], layout, order, None) for order in orders]
    misfits = [units * _misfit(model, second) for model in alone]
    costs = [price * order * len(layout.paths) ** 2 for order in orders]
    place = int(np.argmin(np.add(misfits, costs)))
    best, order = alone[place], orders[place]
    if factors is not None:
        return _with_factors(best, second, units, layout, min(factors, most), order)
    least = misfits[place]
    for number in range(1, most + 1):
        model = _with_factors(alone[place], second, units, layout, number, order)
        free = number * len(second) - number * (number - 1) / 2
        criterion = units * _misfit(model, second) + price * free
        if criterion >= least:
            break
        best, least = model, criterion
    return best


def _with_factors(
    alone: FactorModel, second: Square, units: int, layout: Layout, number: int, lags: int
) -> FactorModel:
    """Fit factors given the other parts, and these given factors, in turn."""
    found = alone
    for _ in range(ROUNDS if number else 0):
        factors = _components(second, found.covariance, units, number)
        found = _given_factors(second, factors, layout, lags, found.dynamics)
    return found


def _misfit(model: FactorModel, second: Square) -> float:
    """Return minus twice the mean log likelihood, but for a constant."""
    covariance = model.covariance + model.factors.T @ model.factors
    trace = np.trace(np.linalg.solve(covariance, second))
    return float(np.linalg.slogdet(covariance)[1] + trace)


def _given_factors(
    second: Square, factors: np.ndarray, layout: Layout, lags: int, start: Autoregression | None
) -> FactorModel:
    """Fit unit effects, traits and autoregression, with the variances that factors leave."""
    second = second - factors.T @ factors
    columns, periods, cells = len(layout.paths), layout.periods, layout.n_cells
    means = np.kron(np.eye(columns), np.full((periods, 1), periods**-0.5))
    within = np.eye(cells) - means @ means.T
    seen = within @ second[:cells, :cells] @ within
    dynamics = fit_autoregression(seen, columns, lags, start) if lags and columns else None
    noise = _noise(seen, columns, dynamics)
    effects = np.zeros((len(second), columns + len(layout.traits)))
    effects[:cells, :columns], effects[cells:, columns:] = means, np.eye(len(layout.traits))
    between = effects.T @ second @ effects
    between[:columns, :columns] -= means.T @ noise @ means
    values, axes = np.linalg.eigh(between)
    total = effects @ ((axes * np.maximum(values, 0.0)) @ axes.T) @ effects.T
    total[:cells, :cells] += noise
    variances = np.stack([np.diag(second), np.diag(total)])
    means_ = [variances[:, layout.place(name)].mean(axis=1) for name in layout.names]
    scale = np.repeat([np.sqrt(own[0] / own[1]) for own in means_], layout.widths)
    return FactorModel(positive(total * np.outer(scale, scale)), factors, dynamics)


def _noise(seen: Square, columns: int, dynamics: Autoregression | None) -> Square:
    """Return the covariance of what deviations from unit means show."""
    if not columns:
        return seen
    periods = len(seen) // columns
    if dynamics is not None:
        return dynamics.covariance(periods)
    variance = np.einsum("jtkt->jk", seen.reshape(columns, periods, columns, periods))
    return np.kron(variance / max(periods - 1, 1), np.eye(periods))


def _components(second: Square, base: Square, units: int, number: int) -> np.ndarray:
    """Return the factors that make a law with covariance ``base`` most likely."""
    root = square_root(base)
    inverse = np.linalg.inv(root)
    values, axes = np.linalg.eigh(inverse @ second @ inverse)
    values, axes = values[::-1][:number], axes[:, ::-1][:, :number]
    excess = np.maximum(_unbiased(values, len(base) / units) - 1, 0.0)
    return (root @ axes * np.sqrt(excess)).T


def _unbiased(values: np.ndarray, ratio: float) -> np.ndarray:
    """Return what the largest eigenvalues of a whitened sample covariance estimate."""
    middle = values + 1 - ratio
    return 0.5 * (middle + np.sqrt(np.maximum(middle**2 - 4 * values, 0.0)))
