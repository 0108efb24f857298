"""Second moments of paths as unit effects, a vector autoregression, and interactive factors.

Factors are the directions in which units differ more than effects and autoregression imply:
principal components of whitened scores, so that serial correlation does not appear as factors. The
largest likelihood given the other parts: Tipping & Bishop (1999), Journal of the Royal Statistical
Society B 61: 611-622; eigenvalues freed of their bias as in Paul (2007), Statistica Sinica 17:
1617-1642.

The autoregression is stationary, the same for all units, and fit to paths without their means. A
short path without its mean looks less persistent than it is (Nickell 1981, Econometrica 49:
1417-1426). The coefficients imply for paths without their means the data's least squares:
indirect inference, with exact moments. Stationary covariances by doubling:
Anderson & Moore (1979), Optimal filtering, section 6.7.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mcsim.generators._scores.vectors import (
    Layout,
    Square,
    positive,
    recoloring,
    square_root,
    stationary,
)

RIDGE = 1e-3  # added to the variances of the regressors, as a share of them
MOST_ROOT = 0.97  # the largest root
MATCHING_STEPS = 60
CLOSE_MOMENTS = 1e-5
NEGLIGIBLE = 1e-10  # of the power of a transition: its square adds nothing to a float64
DOUBLINGS = 10  # MOST_ROOT to the power of 2 ** DOUBLINGS is negligible
Autocovariances = Float[np.ndarray, "lag column column"]
MOST_FACTORS = 8
MOST_LAGS = 2
DYNAMIC_PERIODS = 4  # with fewer periods, neither factors nor dynamics
ROUNDS = 6


class Autoregression(NamedTuple):
    """A vector autoregression.

    Attributes
    ----------
    coefficients : array (column, lag and column)
        Side by side, one square per lag.
    innovations : array (column, column)
        Covariance.
    """

    coefficients: Float[np.ndarray, "column lagged"]
    innovations: Square

    def autocovariances(self, periods: int) -> Autocovariances:
        """Return the stationary autocovariances at lags from zero on."""
        columns, lagged = self.coefficients.shape
        companion = _companion(self.coefficients)
        noise = np.zeros((lagged, lagged))
        noise[:columns, :columns] = self.innovations
        state = _stationary_covariance(companion, noise)
        found = np.empty((periods, columns, columns))
        for lag in range(periods):
            found[lag] = state[:columns, :columns]
            state = companion @ state
        return found

    def covariance(self, periods: int) -> Square:
        """Return the stationary covariance of paths, column by column and period by period."""
        ahead, columns = self.autocovariances(periods), len(self.innovations)
        lag = np.arange(periods)[:, None] - np.arange(periods)
        either = ahead[np.abs(lag)]
        blocks = np.where((lag >= 0)[..., None, None], either, either.transpose(0, 1, 3, 2))
        return blocks.transpose(2, 0, 3, 1).reshape(columns * periods, columns * periods)


class Moments(NamedTuple):
    """Mean products of columns over the periods of paths.

    Attributes
    ----------
    lagged : array (lag, lag, column, column)
        Of two columns at two lags, over periods with all lags.
    level : array (column, column)
        Of the same period, over all periods.
    """

    lagged: Float[np.ndarray, "behind other column column"]
    level: Square


def fit_autoregression(
    seen: Square, columns: int, lags: int, start: Autoregression | None = None
) -> Autoregression:
    """Fit to the covariance of paths less their means, by matching least squares and variances."""
    periods = len(seen) // columns
    target, variance = _least_squares(moments_of(seen, columns, lags))
    found = _stationary(target, variance) if start is None else start
    best, least = found, np.inf
    for _ in range(MATCHING_STEPS):
        slopes, level = _least_squares(implied_moments(found.autocovariances(periods), lags))
        distance = np.abs(slopes - target).max() + np.abs(level - variance).max()
        if distance < least:
            best, least = found, distance
        if distance < CLOSE_MOMENTS:
            break
        move = recoloring(level, variance)
        found = _stationary(found.coefficients + target - slopes, move @ found.innovations @ move.T)
    return best


def moments_of(covariance: Square, columns: int, lags: int) -> Moments:
    """Return the moments of paths with a covariance."""
    periods = len(covariance) // columns
    cells = covariance.reshape(columns, periods, columns, periods)
    windows = [slice(lags - behind, periods - behind) for behind in range(lags + 1)]
    products = [
        [np.einsum("jtkt->jk", cells[:, one, :, other]) for other in windows] for one in windows
    ]
    return Moments(np.array(products) / (periods - lags), np.einsum("jtkt->jk", cells) / periods)


def implied_moments(ahead: Autocovariances, lags: int) -> Moments:
    """Return the moments of stationary paths less their means."""
    periods, columns = ahead.shape[:2]
    both = np.concatenate([ahead[:0:-1].transpose(0, 2, 1), ahead])  # the past, then the future
    found = _weights(periods, lags) @ both.reshape(2 * periods - 1, -1)
    found = found.reshape(-1, columns, columns)
    return Moments(found[:-1].reshape(lags + 1, lags + 1, columns, columns), found[-1])


@cache
def _weights(periods: int, lags: int) -> Float[np.ndarray, "moment lag"]:
    """Return the weights in the moments of autocovariances at lags from 1 - periods on.

    A row for each pair of lags, then one for the level.
    """
    found = []
    for lag in range(1 - periods, periods):
        alone = np.eye(periods, k=-lag)
        rows, columns = alone.mean(axis=0), alone.mean(axis=1, keepdims=True)
        found.append(moments_of(alone - rows - columns + rows.mean(), 1, lags))
    rows = [np.append(own.lagged[:, :, 0, 0].ravel(), own.level[0, 0]) for own in found]
    return np.stack(rows, axis=1)


def _stationary_covariance(transition: Square, noise: Square) -> Square:
    """Return the covariance of states by doubling: each round adds twice as many shocks.

    It ends where further shocks are lost in the rounding of the covariance.
    """
    covariance, power = noise, transition
    for _ in range(DOUBLINGS):
        covariance = covariance + power @ covariance @ power.T
        power = power @ power
        if np.abs(power).max() < NEGLIGIBLE:
            break
    return covariance


def _companion(coefficients: np.ndarray) -> Square:
    """Return the matrix from one state to the next."""
    columns, lagged = coefficients.shape
    companion = np.eye(lagged, k=-columns)
    companion[:columns] = coefficients
    return companion


def _least_squares(moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Return the coefficients and the mean variance of paths with these moments."""
    lagged, level = moments
    size = (len(lagged) - 1) * len(level)
    square = lagged[1:, 1:].transpose(0, 2, 1, 3).reshape(size, size)
    square = square + RIDGE * np.diag(np.diag(square) + 1e-12)
    cross = lagged[0, 1:].transpose(1, 0, 2).reshape(len(level), size)
    return np.linalg.solve(square, cross.T).T, level


def _stationary(coefficients: np.ndarray, innovations: Square) -> Autoregression:
    """Shrink roots inside the unit circle, and make the innovations' covariance positive."""
    columns, lagged = coefficients.shape
    radius = np.abs(np.linalg.eigvals(_companion(coefficients))).max()
    if radius > MOST_ROOT:
        powers = np.repeat(np.arange(1, lagged // columns + 1), columns)
        coefficients = coefficients * (MOST_ROOT / radius) ** powers
    values, axes = np.linalg.eigh(0.5 * (innovations + innovations.T))
    return Autoregression(coefficients, (axes * np.maximum(values, 1e-8)) @ axes.T)


class FactorModel(NamedTuple):
    """A distribution of vectors with mean zero.

    Attributes
    ----------
    covariance : array (coordinate, coordinate)
        Of unit effects, time-invariant columns and autoregression.
    factors : array (factor, coordinate)
        Addition to a unit with a loading of one; loadings are standard normal.
    dynamics : Autoregression, optional
        None without lags.
    """

    covariance: Square
    factors: Float[np.ndarray, "factor coordinate"]
    dynamics: Autoregression | None


def factor_target(sample: Square, units: int, layout: Layout) -> Square:
    """Return the covariance of the model, with as many factors as predict best (AIC)."""
    if layout.periods < DYNAMIC_PERIODS or not layout.time_varying:
        return stationary(sample, layout)
    model = fit_factor_model(sample, units, layout, None, None, penalty=2.0)
    return model.covariance + model.factors.T @ model.factors


def fit_factor_model(
    second: Square,
    units: int,
    layout: Layout,
    factors: int | None,
    lags: int | None,
    penalty: float | None = None,
) -> FactorModel:
    """Fit to second moments.

    Numbers of factors and lags that are None are chosen by an information criterion; ``penalty`` is
    the penalty per parameter, by default the logarithm of the number of units (BIC).
    """
    penalty = float(np.log(units)) if penalty is None else penalty
    dynamic = layout.periods >= DYNAMIC_PERIODS
    most = (
        min(MOST_FACTORS, len(layout.time_varying) * (layout.periods - 1) // 3, units // 4)
        * dynamic
    )
    orders = range(1, MOST_LAGS + 1) if lags is None else [lags]
    orders = sorted({min(order, layout.periods - 3) * dynamic for order in orders})
    alone = [_given_factors(second, second[:0], layout, order, None) for order in orders]
    misfits = [units * _misfit(model, second) for model in alone]
    costs = [penalty * order * len(layout.time_varying) ** 2 for order in orders]
    place = int(np.argmin(np.add(misfits, costs)))
    best, order = alone[place], orders[place]
    if factors is not None:
        return _with_factors(best, second, units, layout, min(factors, most), order)
    least = misfits[place]
    for number in range(1, most + 1):
        model = _with_factors(alone[place], second, units, layout, number, order)
        free = number * len(second) - number * (number - 1) / 2
        criterion = units * _misfit(model, second) + penalty * free
        if criterion >= least:
            break
        best, least = model, criterion
    return best


def _with_factors(
    alone: FactorModel, second: Square, units: int, layout: Layout, number: int, lags: int
) -> FactorModel:
    """Fit factors given the other parts, and the other parts given factors, in turn."""
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
    """Fit unit effects, time-invariant columns and autoregression to what factors leave."""
    second = second - factors.T @ factors
    columns, periods, cells = len(layout.time_varying), layout.periods, layout.n_cells
    means = np.kron(np.eye(columns), np.full((periods, 1), periods**-0.5))
    within = np.eye(cells) - means @ means.T
    seen = within @ second[:cells, :cells] @ within
    dynamics = fit_autoregression(seen, columns, lags, start) if lags and columns else None
    noise = _noise(seen, columns, dynamics)
    effects = np.zeros((len(second), columns + len(layout.time_invariant)))
    effects[:cells, :columns], effects[cells:, columns:] = means, np.eye(len(layout.time_invariant))
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
    """Return the factors that make a distribution with covariance ``base`` most likely."""
    root = square_root(base)
    inverse = np.linalg.inv(root)
    values, axes = np.linalg.eigh(inverse @ second @ inverse)
    values, axes = values[::-1][:number], axes[:, ::-1][:, :number]
    excess = np.maximum(_unbiased(values, len(base) / units) - 1, 0.0)
    return (root @ axes * np.sqrt(excess)).T


def _unbiased(values: np.ndarray, ratio: float) -> np.ndarray:
    """Return the largest eigenvalues of a whitened sample covariance, freed of their bias."""
    middle = values + 1 - ratio
    return 0.5 * (middle + np.sqrt(np.maximum(middle**2 - 4 * values, 0.0)))
