"""A stationary vector autoregression that all units share, seen in paths without their means.

What is left of a short path without its mean looks less persistent than it is (Nickell 1981,
Econometrica 49: 1417-1426). The coefficients are those under which paths without their means give
the least squares that the data give: indirect inference, with exact moments. Stationary covariances
by doubling: Anderson & Moore (1979), Optimal filtering, section 6.7.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mcsim.generators._vectors._covariance import Square, recoloring

RIDGE = 1e-3  # added to the variances of the regressors, as a share of them
MOST = 0.97  # the largest root
STEPS = 60
CLOSE = 1e-5
DOUBLINGS = 10  # MOST to the power of 2 ** DOUBLINGS is nothing


Autocovariances = Float[np.ndarray, "lag column column"]


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
        """Return the stationary covariances of now with so many periods before, from zero on."""
        columns, lagged = self.coefficients.shape
        companion = np.eye(lagged, k=-columns)
        companion[:columns] = self.coefficients
        noise = np.zeros((lagged, lagged))
        noise[:columns, :columns] = self.innovations
        state, found = (
            _stationary_covariance(companion, noise),
            np.empty((periods, columns, columns)),
        )
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
        Of a column so many periods before with one so many before, where all lags are there.
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
    for _ in range(STEPS):
        slopes, level = _least_squares(implied_moments(found.autocovariances(periods), lags))
        distance = np.abs(slopes - target).max() + np.abs(level - variance).max()
        if distance < least:
            best, least = found, distance
        if distance < CLOSE:
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
    lagged, level = _weights(len(ahead), lags)
    both = np.concatenate([ahead[:0:-1].transpose(0, 2, 1), ahead])  # the past, then the future
    return Moments(np.tensordot(lagged, both, 1), np.tensordot(level, both, 1))


@cache
def _weights(
    periods: int, lags: int
) -> tuple[Float[np.ndarray, "behind other lag"], Float[np.ndarray, " lag"]]:
    """Return what autocovariances at lags from 1 - periods on weigh in the moments."""
    found = []
    for lag in range(1 - periods, periods):
        alone = np.eye(periods, k=-lag)
        rows, columns = alone.mean(axis=0), alone.mean(axis=1, keepdims=True)
        found.append(moments_of(alone - rows - columns + rows.mean(), 1, lags))
    lagged, level = (np.stack(part, axis=-1) for part in zip(*found, strict=True))
    return lagged[:, :, 0, 0], level[0, 0]


def _stationary_covariance(transition: Square, noise: Square) -> Square:
    """Return the covariance of states, twice as many of whose shocks each round adds."""
    covariance, power = noise, transition
    for _ in range(DOUBLINGS):
        covariance = covariance + power @ covariance @ power.T
        power = power @ power
    return covariance


def _least_squares(moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Return the coefficients and the mean variance of paths with these moments."""
    lagged, level = moments
    size = (len(lagged) - 1) * len(level)
    square = lagged[1:, 1:].transpose(0, 2, 1, 3).reshape(size, size)
    square = square + RIDGE * np.diag(np.diag(square) + 1e-12)
    cross = lagged[0, 1:].transpose(1, 0, 2).reshape(len(level), size)
    return np.linalg.solve(square, cross.T).T, level


def _stationary(coefficients: np.ndarray, innovations: Square) -> Autoregression:
    """Draw roots in, and lift the innovations to a covariance."""
    columns, lagged = coefficients.shape
    companion = np.eye(lagged, k=-columns)
    companion[:columns] = coefficients
    radius = np.abs(np.linalg.eigvals(companion)).max()
    if radius > MOST:
        powers = np.repeat(np.arange(1, lagged // columns + 1), columns)
        coefficients = coefficients * (MOST / radius) ** powers
    values, axes = np.linalg.eigh(0.5 * (innovations + innovations.T))
    return Autoregression(coefficients, (axes * np.maximum(values, 1e-8)) @ axes.T)
