"""A stationary vector autoregression that all units share, seen through a projection.

What is left of a short path without its mean and its factors looks less persistent than it is
(Nickell 1981, Econometrica 49: 1417-1426). The coefficients are those whose projected covariance
gives the least squares that the data give: indirect inference, with exact moments. Stationary
covariances by doubling: Anderson & Moore (1979), Optimal filtering, section 6.7.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mcsim.generators._vectors._covariance import Square, recoloring

RIDGE = 1e-3  # added to the variances of the regressors, as a share of them
MOST = 0.97  # the largest root
STEPS = 60
STEP = 0.8
CLOSE = 1e-5
DOUBLINGS = 10  # MOST to the power of 2 ** DOUBLINGS is nothing


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

    def covariance(self, periods: int) -> Square:
        """Return the stationary covariance of paths, column by column and period by period."""
        columns, lagged = self.coefficients.shape
        companion = np.eye(lagged, k=-columns)
        companion[:columns] = self.coefficients
        noise = np.zeros((lagged, lagged))
        noise[:columns, :columns] = self.innovations
        state = _stationary_covariance(companion, noise)
        lags = []
        for _ in range(periods):
            lags.append(state[:columns, :columns])
            state = companion @ state
        ahead = np.array(lags)  # (lag, column, column): of now with then
        lag = np.arange(periods)[:, None] - np.arange(periods)
        either = ahead[np.abs(lag)]
        blocks = np.where((lag >= 0)[..., None, None], either, either.transpose(0, 1, 3, 2))
        return blocks.transpose(2, 0, 3, 1).reshape(columns * periods, columns * periods)


def fit_autoregression(
    seen: Square,
    projection: Square,
    columns: int,
    lags: int,
    start: Autoregression | None = None,
) -> Autoregression:
    """Fit to the covariance of projected paths, by matching least squares and variances."""
    periods = len(seen) // columns
    target, variance = _least_squares(seen, columns, lags)
    found = _stationary(target, variance) if start is None else start
    best, least = found, np.inf
    for _ in range(STEPS):
        implied = projection @ found.covariance(periods) @ projection
        slopes, level = _least_squares(implied, columns, lags)
        distance = np.abs(slopes - target).max() + np.abs(level - variance).max()
        if distance < least:
            best, least = found, distance
        if distance < CLOSE:
            break
        move = recoloring(level, variance)
        found = _stationary(
            found.coefficients + STEP * (target - slopes), move @ found.innovations @ move.T
        )
    return best


def _stationary_covariance(transition: Square, noise: Square) -> Square:
    """Return the covariance of states, twice as many of whose shocks each round adds."""
    covariance, power = noise, transition
    for _ in range(DOUBLINGS):
        covariance = covariance + power @ covariance @ power.T
        power = power @ power
    return covariance


def _least_squares(covariance: Square, columns: int, lags: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the coefficients and the mean variance of paths with a covariance."""
    periods = len(covariance) // columns
    cells = covariance.reshape(columns, periods, columns, periods)

    def moment(lag: int, other: int) -> np.ndarray:
        now, then = (slice(lags - back, periods - back) for back in (lag, other))
        return np.einsum("jtkt->jk", cells[:, now, :, then]) / (periods - lags)

    behind = range(1, lags + 1)
    square = np.block([[moment(a, b) for b in behind] for a in behind])
    square += RIDGE * np.diag(np.diag(square) + 1e-12)
    cross = np.hstack([moment(0, b) for b in behind])
    level = np.einsum("jtkt->jk", cells) / periods
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
