"""Stationary vector autoregressions of paths, the same for all units, fit to their covariance.

A short path without its mean looks less persistent than it is (Nickell 1981, Econometrica 49:
1417-1426). The coefficients imply for paths without their means the data's least squares:
indirect inference, with exact moments. Stationary covariances by doubling:
Anderson & Moore (1979), Optimal filtering, section 6.7.

Matrices come alone or in stacks, whose members are fit side by side: most of the time of one fit
is that of calls, not of arithmetic.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from mcsim.generators._scores.vectors import Squares, diagonal, recoloring, transposed

RIDGE = 1e-3  # added to the variances of the regressors, as a share of them
MOST_ROOT = 0.97  # the largest root
MATCHING_STEPS = 60
CLOSE_MOMENTS = 1e-5
NEGLIGIBLE = 1e-10  # of the power of a transition: its square adds nothing to a float64
DOUBLINGS = 10  # MOST_ROOT to the power of 2 ** DOUBLINGS is negligible
Autocovariances = Float[np.ndarray, "*stack lag column column"]
Coefficients = Float[np.ndarray, "*stack column lagged"]


class Autoregression(NamedTuple):
    """A vector autoregression, or a stack of them.

    Attributes
    ----------
    coefficients : array (..., column, lag and column)
        Side by side, one square per lag.
    innovations : array (..., column, column)
        Covariance.
    """

    coefficients: Coefficients
    innovations: Squares

    def take(self, places: Any) -> "Autoregression":
        """Return some of a stack, or one."""
        return Autoregression(self.coefficients[places], self.innovations[places])

    def autocovariances(self, periods: int) -> Autocovariances:
        """Return the stationary autocovariances at lags from zero on."""
        columns, companion = self.coefficients.shape[-2], _companion(self.coefficients)
        noise = np.zeros(companion.shape)
        noise[..., :columns, :columns] = self.innovations
        state = _stationary_covariance(companion, noise)
        found = np.empty((*companion.shape[:-2], periods, columns, columns))
        for lag in range(periods):
            found[..., lag, :, :] = state[..., :columns, :columns]
            state = companion @ state
        return found

    def covariance(self, periods: int) -> Squares:
        """Return the stationary covariance of paths, column by column and period by period."""
        ahead, size = self.autocovariances(periods), self.innovations.shape[-1] * periods
        lag = np.arange(periods)[:, None] - np.arange(periods)
        either = ahead[..., np.abs(lag), :, :]
        blocks = np.where((lag >= 0)[..., None, None], either, transposed(either))
        by_column = np.moveaxis(blocks, (-2, -4, -1, -3), (-4, -3, -2, -1))
        return by_column.reshape(*ahead.shape[:-3], size, size)


class Moments(NamedTuple):
    """Mean products of columns over the periods of paths.

    Attributes
    ----------
    lagged : array (..., lag, lag, column, column)
        Of two columns at two lags, over periods with all lags.
    level : array (..., column, column)
        Of the same period, over all periods.
    """

    lagged: Float[np.ndarray, "*stack behind other column column"]
    level: Squares


def fit_autoregression(
    seen: Squares, columns: int, lags: int, start: Autoregression | None = None
) -> Autoregression:
    """Fit to the covariance of paths less their means, by matching least squares and variances.

    Of a stack every one moves until its own moments match.
    """
    if seen.ndim == 2:
        alone = None if start is None else start.take(None)
        return fit_autoregression(seen[None], columns, lags, alone).take(0)
    periods = seen.shape[-1] // columns
    target, variance = _least_squares(moments_of(seen, columns, lags))
    found = _stationary(target, variance) if start is None else start
    best, least = Autoregression(*map(np.array, found)), np.full(len(seen), np.inf)
    moving = np.arange(len(seen))
    for _ in range(MATCHING_STEPS):
        slopes, level = _least_squares(implied_moments(found.autocovariances(periods), lags))
        distance = _largest(slopes - target[moving]) + _largest(level - variance[moving])
        closer, apart = distance < least[moving], ~(distance < CLOSE_MOMENTS)
        for mine, now in zip(best, found, strict=True):
            mine[moving[closer]] = now[closer]
        least[moving[closer]] = distance[closer]
        if not apart.any():
            break
        moving, found = moving[apart], found.take(apart)
        move = recoloring(level[apart], variance[moving])
        found = _stationary(
            found.coefficients + target[moving] - slopes[apart],
            move @ found.innovations @ transposed(move),
        )
    return best


def _largest(differences: Float[np.ndarray, "stack row column"]) -> Float[np.ndarray, " stack"]:
    return np.abs(differences).max(axis=(-2, -1))


def moments_of(covariance: Squares, columns: int, lags: int) -> Moments:
    """Return the moments of paths with a covariance."""
    periods = covariance.shape[-1] // columns
    cells = covariance.reshape(*covariance.shape[:-2], columns, periods, columns, periods)
    windows = [slice(lags - behind, periods - behind) for behind in range(lags + 1)]
    products = [
        [np.einsum("...jtkt->...jk", cells[..., one, :, other]) for other in windows]
        for one in windows
    ]
    lagged = np.moveaxis(np.array(products), (0, 1), (-4, -3)) / (periods - lags)
    return Moments(lagged, np.einsum("...jtkt->...jk", cells) / periods)


def implied_moments(ahead: Autocovariances, lags: int) -> Moments:
    """Return the moments of stationary paths less their means."""
    *stack, periods, columns = ahead.shape[:-1]
    past = transposed(ahead[..., :0:-1, :, :])
    both = np.concatenate([past, ahead], axis=-3).reshape(*stack, 2 * periods - 1, -1)
    lagged, level = (weights @ both for weights in _weights(periods, lags))
    shape = lags + 1, lags + 1, columns, columns
    return Moments(lagged.reshape(*stack, *shape), level.reshape(*stack, columns, columns))


@cache
def _weights(
    periods: int, lags: int
) -> tuple[Float[np.ndarray, "pair lag"], Float[np.ndarray, "1 lag"]]:
    """Return the weights in the moments of autocovariances at lags from 1 - periods on.

    A row for each pair of lags, and one for the level.
    """
    found = []
    for lag in range(1 - periods, periods):
        alone = np.eye(periods, k=-lag)
        rows, columns = alone.mean(axis=0), alone.mean(axis=1, keepdims=True)
        found.append(moments_of(alone - rows - columns + rows.mean(), 1, lags))
    lagged = np.stack([own.lagged[:, :, 0, 0].ravel() for own in found], axis=1)
    return lagged, np.stack([own.level[0] for own in found], axis=1)


def _stationary_covariance(transition: Squares, noise: Squares) -> Squares:
    """Return the covariance of states by doubling: each round adds twice as many shocks.

    It ends where further shocks are lost in the rounding of the covariance.
    """
    covariance, power = noise, transition
    for _ in range(DOUBLINGS):
        covariance = covariance + power @ covariance @ transposed(power)
        power = power @ power
        if np.abs(power).max() < NEGLIGIBLE:
            break
    return covariance


def _companion(coefficients: Coefficients) -> Squares:
    """Return the matrix from one state to the next."""
    *stack, columns, lagged = coefficients.shape
    companion = np.zeros((*stack, lagged, lagged))
    companion[...] = np.eye(lagged, k=-columns)
    companion[..., :columns, :] = coefficients
    return companion


def _least_squares(moments: Moments) -> tuple[Coefficients, Squares]:
    """Return the coefficients and the mean variance of paths with these moments."""
    lagged, level = moments
    *stack, columns = level.shape[:-1]
    size = (lagged.shape[-3] - 1) * columns
    square = lagged[..., 1:, 1:, :, :].swapaxes(-3, -2).reshape(*stack, size, size)
    square = square + RIDGE * np.eye(size) * (diagonal(square) + 1e-12)[..., None, :]
    cross = lagged[..., 0, 1:, :, :].swapaxes(-3, -2).reshape(*stack, columns, size)
    return transposed(np.linalg.solve(square, transposed(cross))), level


def _stationary(coefficients: Coefficients, innovations: Squares) -> Autoregression:
    """Shrink roots inside the unit circle, and make the innovations' covariance positive."""
    columns, lagged = coefficients.shape[-2:]
    radius = np.abs(np.linalg.eigvals(_companion(coefficients))).max(axis=-1)
    if (radius > MOST_ROOT).any():
        powers = np.repeat(np.arange(1, lagged // columns + 1), columns)
        shrink = np.where(radius > MOST_ROOT, MOST_ROOT / np.maximum(radius, MOST_ROOT), 1.0)
        coefficients = coefficients * shrink[..., None, None] ** powers
    values, axes = np.linalg.eigh(0.5 * (innovations + transposed(innovations)))
    positive_ = (axes * np.maximum(values, 1e-8)[..., None, :]) @ transposed(axes)
    return Autoregression(coefficients, positive_)
