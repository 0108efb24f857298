"""Second moments of paths as unit effects, a vector autoregression, and interactive factors.

Factors are the directions in which units differ more than effects and autoregression imply:
principal components of whitened scores, so that serial correlation does not appear as factors. The
largest likelihood given the other parts: Tipping & Bishop (1999), Journal of the Royal Statistical
Society B 61: 611-622; eigenvalues freed of their bias as in Paul (2007), Statistica Sinica 17:
1617-1642.

Moments come alone or in stacks: the folds of a cross-validation are fit side by side.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from mcsim.generators._scores.autoregression import Autoregression, fit_autoregression
from mcsim.generators._scores.vectors import (
    Counts,
    Layout,
    Square,
    Squares,
    diagonal,
    positive,
    square_root,
    stationary_target,
    transposed,
)

Factors = Float[np.ndarray, "*stack factor coordinate"]
MOST_FACTORS = 8
MOST_LAGS = 2
DYNAMIC_PERIODS = 4  # with fewer periods, neither factors nor dynamics
ROUNDS = 6


class FactorModel(NamedTuple):
    """A distribution of vectors with mean zero, or a stack of them.

    Attributes
    ----------
    covariance : array (..., coordinate, coordinate)
        Of unit effects, time-invariant columns and autoregression.
    factors : array (..., factor, coordinate)
        Addition to a unit with a loading of one; loadings are standard normal.
    dynamics : Autoregression, optional
        None without lags.
    """

    covariance: Squares
    factors: Factors
    dynamics: Autoregression | None

    @property
    def total(self) -> Squares:
        """The covariance with that of the factors."""
        return self.covariance + transposed(self.factors) @ self.factors

    def take(self, places: Any) -> "FactorModel":
        """Return some of a stack, or one."""
        dynamics = None if self.dynamics is None else self.dynamics.take(places)
        return FactorModel(self.covariance[places], self.factors[places], dynamics)


def factor_target(sample: Squares, units: int | Counts, layout: Layout) -> Squares:
    """Return the covariance of the model, with as many factors as predict best (AIC)."""
    if layout.periods < DYNAMIC_PERIODS or not layout.time_varying:
        return stationary_target(sample, units, layout)
    stack = sample.reshape(-1, *sample.shape[-2:])
    each = np.broadcast_to(units, len(stack))
    models = fit_factor_models(stack, each, layout, None, None, penalty=2.0)
    return np.stack([model.total for model in models]).reshape(sample.shape)


def fit_factor_model(
    second: Square, units: int, layout: Layout, factors: int | None, lags: int | None
) -> FactorModel:
    """Fit to second moments; see `fit_factor_models`."""
    return fit_factor_models(second[None], np.array([units]), layout, factors, lags)[0]


def fit_factor_models(
    second: Float[np.ndarray, "stack coordinate coordinate"],
    units: Counts,
    layout: Layout,
    factors: int | None,
    lags: int | None,
    penalty: float | None = None,
) -> list[FactorModel]:
    """Fit to a stack of second moments, each of its own number of units.

    Numbers of factors and lags that are None are chosen by an information criterion; ``penalty`` is
    the penalty per parameter, by default the logarithm of the number of units (BIC).
    """
    penalties = np.log(units) if penalty is None else np.full(len(units), penalty)
    dynamic, columns = layout.periods >= DYNAMIC_PERIODS, len(layout.time_varying)
    most = min(MOST_FACTORS, columns * (layout.periods - 1) // 3) * dynamic
    orders = range(1, MOST_LAGS + 1) if lags is None else [lags]
    orders = sorted({min(order, layout.periods - 3) * dynamic for order in orders})
    alone = [_given_factors(second, second[:, :0], layout, order, None) for order in orders]
    misfits = np.stack([units * _misfit(model, second) for model in alone])
    costs = [penalties * order * columns**2 for order in orders]
    place, found = np.argmin(misfits + costs, axis=0), {}
    for number, order in enumerate(orders):
        own = np.flatnonzero(place == number)
        data = _Data(second[own], units[own], np.minimum(units[own] // 4, most), layout, order)
        if factors is not None:
            models = _with_number(alone[number].take(own), data, factors)
        else:
            models = _by_criterion(
                alone[number].take(own), data, misfits[number, own], penalties[own]
            )
        found |= zip(own.tolist(), models, strict=True)
    return [found[index] for index in range(len(second))]


class _Data(NamedTuple):
    """Second moments with one number of lags, their units, and the most factors of each."""

    second: Float[np.ndarray, "stack coordinate coordinate"]
    units: Counts
    most: Counts
    layout: Layout
    lags: int

    def take(self, places: np.ndarray) -> "_Data":
        second, units, most = (part[places] for part in (self.second, self.units, self.most))
        return self._replace(second=second, units=units, most=most)


def _with_number(alone: FactorModel, data: _Data, factors: int) -> list[FactorModel]:
    """Add a number of factors, or as many as there may be."""
    counts = np.minimum(factors, data.most)
    found = [
        _with_factors(alone.take(slice(one, one + 1)), data.take(np.array([one])), count)
        for one, count in enumerate(counts.tolist())
    ]
    return [model.take(0) for model in found]


def _by_criterion(
    alone: FactorModel,
    data: _Data,
    least: Float[np.ndarray, " stack"],
    penalties: Float[np.ndarray, " stack"],
) -> list[FactorModel]:
    """Add factors as long as the criterion falls; ``least`` is that of models without any."""
    best, growing = [alone.take(one) for one in range(len(least))], np.arange(len(least))
    for number in range(1, data.most.max(initial=0) + 1):
        growing = growing[data.most[growing] >= number]
        if not len(growing):
            break
        own = data.take(growing)
        model = _with_factors(alone.take(growing), own, number)
        free = number * own.second.shape[-1] - number * (number - 1) / 2
        criterion = own.units * _misfit(model, own.second) + penalties[growing] * free
        better = np.flatnonzero(criterion < least[growing])
        for one in better.tolist():
            best[growing[one]] = model.take(one)
        least[growing[better]] = criterion[better]
        growing = growing[better]
    return best


def _with_factors(alone: FactorModel, data: _Data, number: int) -> FactorModel:
    """Fit factors given the other parts, and the other parts given factors, in turn."""
    found = alone
    for _ in range(ROUNDS if number else 0):
        factors = _components(data.second, found.covariance, data.units, number)
        found = _given_factors(data.second, factors, data.layout, data.lags, found.dynamics)
    return found


def _misfit(model: FactorModel, second: Squares) -> Float[np.ndarray, " stack"]:
    """Return minus twice the mean log likelihood, but for a constant."""
    covariance = model.total
    trace = diagonal(np.linalg.solve(covariance, second)).sum(axis=-1)
    return np.linalg.slogdet(covariance)[1] + trace


def _given_factors(
    second: Squares, factors: Factors, layout: Layout, lags: int, start: Autoregression | None
) -> FactorModel:
    """Fit unit effects, time-invariant columns and autoregression to what factors leave."""
    second = second - transposed(factors) @ factors
    columns, periods, cells = len(layout.time_varying), layout.periods, layout.n_cells
    means = np.kron(np.eye(columns), np.full((periods, 1), periods**-0.5))
    within = np.eye(cells) - means @ means.T
    seen = within @ second[..., :cells, :cells] @ within
    dynamics = fit_autoregression(seen, columns, lags, start) if lags and columns else None
    noise = _noise(seen, columns, dynamics)
    effects = np.zeros((layout.size, columns + len(layout.time_invariant)))
    effects[:cells, :columns], effects[cells:, columns:] = means, np.eye(len(layout.time_invariant))
    between = effects.T @ second @ effects
    between[..., :columns, :columns] -= means.T @ noise @ means
    values, axes = np.linalg.eigh(between)
    total = (axes * np.maximum(values, 0.0)[..., None, :]) @ transposed(axes)
    total = effects @ total @ effects.T
    total[..., :cells, :cells] += noise
    known, fitted = diagonal(second), diagonal(total)
    means_ = [
        [x[..., layout.place(n)].mean(axis=-1) for x in (known, fitted)] for n in layout.names
    ]
    scale = np.stack([np.sqrt(own[0] / own[1]) for own in means_], axis=-1)
    scale = np.repeat(scale, layout.widths, axis=-1)
    return FactorModel(
        positive(total * (scale[..., :, None] * scale[..., None, :])), factors, dynamics
    )


def _noise(seen: Squares, columns: int, dynamics: Autoregression | None) -> Squares:
    """Return the covariance of what deviations from unit means show."""
    if not columns:
        return seen
    periods = seen.shape[-1] // columns
    if dynamics is not None:
        return dynamics.covariance(periods)
    cells = seen.reshape(*seen.shape[:-2], columns, periods, columns, periods)
    variance = np.einsum("...jtkt->...jk", cells) / max(periods - 1, 1)
    return (variance[..., :, None, :, None] * np.eye(periods)[:, None, :]).reshape(seen.shape)


def _components(second: Squares, base: Squares, units: Counts, number: int) -> Factors:
    """Return the factors that make a distribution with covariance ``base`` most likely."""
    root = square_root(base)
    inverse = np.linalg.inv(root)
    values, axes = np.linalg.eigh(inverse @ second @ inverse)
    values, axes = values[..., ::-1][..., :number], axes[..., ::-1][..., :number]
    excess = np.maximum(_unbiased(values, base.shape[-1] / units[:, None]) - 1, 0.0)
    return transposed(root @ axes * np.sqrt(excess)[..., None, :])


def _unbiased(values: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """Return the largest eigenvalues of a whitened sample covariance, freed of their bias."""
    middle = values + 1 - ratio
    return 0.5 * (middle + np.sqrt(np.maximum(middle**2 - 4 * values, 0.0)))
