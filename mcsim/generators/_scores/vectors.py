"""Units as vectors of scores: places of cells, duplicates of units, and the covariance.

A bootstrap sample holds some units several times. A duplicate adds no information on the units'
distribution: a unit with a duplicate among training units is not left out, and twenty duplicates
are not twenty units; else every overfit would appear right.

The covariance is shrunk to a structured one rather than to the identity. The plainest target
averages the correlations of two columns over all pairs of periods at the same lag: it keeps how
columns move together, within units and between them, which shrinking to the identity destroys. The
weight is the one under which left-out units are most likely.

Groups above the units (schools, states) split the covariance into a part between groups and a part
within them (analysis of variance), in the directions in which left-out groups are likelier for it.
Drawn units are recolored to the part within, and share a normal effect of their group.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num
from scipy.linalg import cho_factor, cho_solve

from mcsim._core.pytree import pytree, stored_as

LEAST_COORDINATES = 4  # least coordinates of an informative length
SMALL_SQUARE = 0.1  # of mean squares, so that no length is infinitely small
Spans = tuple[tuple[int, int], ...]
UnitNumbers = Int[np.ndarray, " unit"]
WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0)
FOLDS = 5
FLOOR = 1e-3  # the least eigenvalue, as a share of the mean one
Square = Float[np.ndarray, "coordinate coordinate"]
Squares = Float[np.ndarray, "*stack coordinate coordinate"]
"""A matrix, or a stack of them."""
Counts = Int[np.ndarray, "*stack"]


@dataclass(frozen=True)
class Layout:
    """The coordinates of a unit: its paths, column by column; its time-invariant columns.

    Attributes
    ----------
    time_varying : tuple of str
        Columns that change within some unit; each has a path, a coordinate per period.
    time_invariant : tuple of str
        Columns that are constant within every unit; each has one coordinate.
    periods : int
        Number of periods.

    Examples
    --------
    >>> layout = Layout(("wage", "hours"), ("educ",), 8)
    >>> layout.size
    17
    >>> layout.place("hours")
    slice(8, 16, None)
    """

    time_varying: tuple[str, ...] = field(metadata=stored_as("paths"))  # as in `Column`
    time_invariant: tuple[str, ...] = field(metadata=stored_as("traits"))
    periods: int

    @property
    def names(self) -> tuple[str, ...]:
        """All columns, in the order of their coordinates."""
        return (*self.time_varying, *self.time_invariant)

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return self.n_cells + len(self.time_invariant)

    @property
    def n_cells(self) -> int:
        """Number of coordinates of the paths."""
        return len(self.time_varying) * self.periods

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Number of coordinates of each column."""
        return (self.periods,) * len(self.time_varying) + (1,) * len(self.time_invariant)

    def place(self, name: str) -> slice:
        """Return the place of a column's coordinates."""
        column = self.names.index(name)
        start = sum(self.widths[:column])
        return slice(start, start + self.widths[column])


def layout_of(columns: dict[str, np.ndarray]) -> Layout:
    """Sort columns (unit, period) into time-varying and time-invariant ones.

    In a cross-section all vary, over one period. A missing cell (NaN) may hold any value.
    """
    periods = next(iter(columns.values())).shape[1]
    constant = [name for name, values in columns.items() if periods > 1 and _is_constant(values)]
    return Layout(tuple(n for n in columns if n not in constant), tuple(constant), periods)


def _is_constant(values: np.ndarray) -> bool:
    highest = np.where(np.isnan(values), -np.inf, values).max(axis=1)
    lowest = np.where(np.isnan(values), np.inf, values).min(axis=1)
    return bool((highest <= lowest).all())


def length_groups(layout: Layout) -> Spans:
    """Return first and last (exclusive) coordinates: of all, and of each path."""
    places = [layout.place(name) for name in layout.time_varying]
    groups = dict.fromkeys([(0, layout.size), *((place.start, place.stop) for place in places)])
    return tuple((start, stop) for start, stop in groups if stop - start >= LEAST_COORDINATES)


def log_lengths(
    vectors: Float[Array, "unit coordinate"], groups: Spans
) -> Float[Array, "unit group"]:
    """Return the logarithm of the mean square of each group."""
    squares = [(vectors[:, start:stop] ** 2).mean(axis=1) for start, stop in groups]
    return jnp.log(jnp.stack(squares, axis=1) + SMALL_SQUARE) if groups else vectors[:, :0]


def identities(rows: UnitNumbers) -> UnitNumbers:
    """Number the units of a sample in the order in which they first appear, duplicates alike.

    Examples
    --------
    >>> identities(np.array([7, 7, 3, 5, 3]))
    array([0, 0, 1, 2, 1])
    """
    _, first, number = np.unique(rows, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number]


def without_duplicates(rows: UnitNumbers) -> Int[np.ndarray, " place"]:
    """Return the places in a sample at which units appear for the first time.

    Examples
    --------
    >>> without_duplicates(np.array([7, 7, 3, 5, 3]))
    array([0, 2, 3])
    """
    return np.sort(np.unique(rows, return_index=True)[1])


def effective_size(rows: UnitNumbers) -> int:
    """Return the effective sample size for a mean: Kish (1965), section 11.7.

    Examples
    --------
    >>> effective_size(np.array([7, 7, 3, 5, 3]))
    2
    """
    _, times = np.unique(rows, return_counts=True)
    return int(times.sum() ** 2 // (times**2).sum())


Target = Callable[[Squares, int | Counts, Layout], Squares]
"""The target of shrinkage: a function of sample covariances, numbers of units and layout."""


def stationary_target(sample: Squares, units: int | Counts, layout: Layout) -> Squares:
    """Return the sample covariances as if periods were alike."""
    stack = sample.reshape(-1, *sample.shape[-2:])
    return np.stack([stationary(one, layout) for one in stack]).reshape(sample.shape)


def structured_covariance(
    scores: Float[np.ndarray, "unit coordinate"],
    layout: Layout,
    rows: UnitNumbers,
    target: Target = stationary_target,
) -> Square:
    """Estimate the covariance of scores with mean zero, shrunk to a target by the best weight."""
    weight = best_weight(scores, layout, rows, target)
    return shrunk_covariance(scores, layout, rows, target, weight)


def shrunk_covariance(
    scores: Float[np.ndarray, "unit coordinate"],
    layout: Layout,
    rows: UnitNumbers,
    target: Target,
    weight: float,
) -> Square:
    """Estimate the covariance of scores with mean zero, shrunk to a target by a weight."""
    sample = scores.T @ scores / len(scores)
    if weight == 0:
        return positive(sample)
    return _blend(sample, target(sample, effective_size(rows), layout), weight)


def stationary(sample: Square, layout: Layout) -> Square:
    """Average a covariance over the pairs of periods at each lag, and make it positive definite."""
    target, periods = np.array(sample), layout.periods
    lag = np.arange(periods)[:, None] - np.arange(periods)
    places = [layout.place(name) for name in layout.names]
    for row in places:
        for column in places:
            block = sample[row, column]
            if block.shape != lag.shape:
                target[row, column] = block.mean()
                continue
            sums = np.bincount((lag + periods).ravel(), block.ravel(), 2 * periods)
            counts = np.bincount((lag + periods).ravel(), minlength=2 * periods)
            target[row, column] = (sums / np.maximum(counts, 1))[lag + periods]
    return positive(target)


def positive(matrix: Squares) -> Squares:
    """Lift the eigenvalues to the floor, and keep the variances."""
    values, vectors = np.linalg.eigh(0.5 * (matrix + transposed(matrix)))
    floor = FLOOR * np.maximum(values.mean(axis=-1, keepdims=True), 1e-12)
    lifted = (vectors * np.maximum(values, floor)[..., None, :]) @ transposed(vectors)
    scale = np.sqrt(np.maximum(diagonal(matrix), 1e-12) / diagonal(lifted))
    return lifted * (scale[..., :, None] * scale[..., None, :])


def square_root(matrix: Squares) -> Squares:
    """Return the symmetric root of a covariance matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]) @ transposed(vectors)


def recoloring(source: Squares, target: Squares) -> Squares:
    """Return the matrix that turns vectors with one covariance into vectors with the other.

    Of all such matrices it moves the vectors least: the optimal transport between two normals.
    """
    values, vectors = np.linalg.eigh(source)
    values = np.sqrt(np.maximum(values, 0.0))[..., None, :]
    root = (vectors * values) @ transposed(vectors)
    least = 1e-6 * values.max(axis=-1, keepdims=True)
    inverse = (vectors / np.maximum(values, least)) @ transposed(vectors)
    return inverse @ square_root(root @ target @ root) @ inverse


def transposed(matrix: np.ndarray) -> np.ndarray:
    """Exchange the last two axes."""
    return matrix.swapaxes(-1, -2)


def diagonal(matrix: Squares) -> Float[np.ndarray, "*stack coordinate"]:
    """Return the diagonals."""
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def _blend(sample: Square, target: Square, weight: float | np.ndarray) -> Squares:
    return positive(weight * target + (1 - weight) * sample)


def best_weight(scores: np.ndarray, layout: Layout, rows: UnitNumbers, target: Target) -> float:
    """Return the weight of the target under which left-out units are most likely."""
    if layout.periods == 1 and effective_size(rows) > 10 * layout.size:
        return 0.0
    number = identities(rows)
    if not number.any():  # only duplicates of one unit
        return WEIGHTS[-1]
    fold = number % min(FOLDS, number.max() + 1)
    stay = [fold != out for out in range(fold.max() + 1)]
    samples = np.stack([scores[own].T @ scores[own] / own.sum() for own in stay])
    sizes = np.array([effective_size(rows[own]) for own in stay])
    totals, weights = np.zeros(len(WEIGHTS)), np.array(WEIGHTS)[:, None, None]
    for own, sample, aim in zip(stay, samples, target(samples, sizes, layout), strict=True):
        for place, covariance in enumerate(_blend(sample, aim, weights)):
            totals[place] += _log_likelihood(scores[~own], covariance)
    return WEIGHTS[int(totals.argmax())]


def _log_likelihood(scores: np.ndarray, covariance: Square) -> float:
    factor = cho_factor(covariance, lower=True)
    logarithm = 2 * np.log(np.diag(factor[0])).sum()
    return -0.5 * float((scores * cho_solve(factor, scores.T).T).sum() + len(scores) * logarithm)


LEAST_OTHERS = 0.1  # other units in a group, on average: where there are hardly any
MOST_SHARED = 0.99  # of the variance
Means = Float[np.ndarray, "group coordinate"]
Sizes = Int[np.ndarray, " group"]
Variances = Float[np.ndarray, " direction"]


@pytree("sizes", "within", "between")
@dataclass(frozen=True, eq=False)
class Groups:
    """The group structure of the units.

    Attributes
    ----------
    name : str
        The column that identifies the groups.
    sizes : array (group,)
        Units in each group of the data.
    within : array (coordinate, coordinate)
        Matrix from a unit's vector to its deviation from the group.
    between : array (coordinate, coordinate)
        Root of the covariance of the groups' effects.
    """

    name: str
    sizes: Any
    within: Any
    between: Any

    def draw(
        self, key: Array, vectors: Float[Array, "unit coordinate"]
    ) -> tuple[Float[Array, "unit coordinate"], Int[Array, " unit"]]:
        """Put units into groups of resampled sizes; return their vectors and groups."""
        chosen, effects = jax.random.split(key)
        units = len(vectors)
        sizes = jax.random.choice(chosen, jnp.asarray(self.sizes), (units,))
        group = jnp.searchsorted(jnp.cumsum(sizes), jnp.arange(units), side="right")
        shared = jax.random.normal(effects, vectors.shape, vectors.dtype) @ self.between.T
        return vectors @ self.within.T + shared[group], group


def fit_groups(
    name: str,
    codes: Num[np.ndarray, " unit"],
    rows: UnitNumbers,
    vectors: Float[np.ndarray, "unit coordinate"],
    covariance: Square,
) -> Groups:
    """Split the covariance of vectors with mean zero by analysis of variance.

    The covariance is given, shrunk: in directions in which few units vary little by chance, any
    group would seem to have an effect.
    """
    _, first, group, sizes = np.unique(
        codes, return_index=True, return_inverse=True, return_counts=True
    )
    sums = np.stack([np.bincount(group, column, len(sizes)) for column in vectors.T], axis=1)
    means = sums / sizes[:, None]
    variances, directions = _effects(means, sizes, covariance)
    kept = _predictive_directions(means, sizes, identities(rows[first]), covariance)
    variances[kept:] = 0.0
    between = directions * np.sqrt(variances)
    inside = positive(covariance - between @ between.T)
    return Groups(name, sizes, recoloring(covariance, inside), between)


def _effects(means: Means, sizes: Sizes, covariance: Square) -> tuple[Variances, Square]:
    """Return the variances of the groups' effects in orthogonal directions, descending."""
    units, count = sizes.sum(), len(sizes)
    typical = (units - (sizes**2).sum() / units) / (count - 1)
    spread = (means * sizes[:, None]).T @ means / (count - 1)
    others = max(typical - 1, LEAST_OTHERS)
    variances, directions = np.linalg.eigh((spread - covariance) / others)
    most = MOST_SHARED * _along(directions, covariance)
    return np.clip(variances, 0.0, most)[::-1].copy(), directions[:, ::-1]


def _predictive_directions(
    means: Means, sizes: Sizes, number: UnitNumbers, covariance: Square
) -> int:
    """Return the number of directions of effects under which left-out groups are likeliest.

    Effects in other directions are noise, and would bias the likeness of units of a group. Groups
    with one number are duplicates.
    """
    fold = number % FOLDS
    gains = np.zeros(means.shape[1])
    for out in np.unique(fold):
        stay = fold != out
        if len(np.unique(number[stay])) < 2:  # one group has no differences between groups
            continue
        effects, directions = _effects(means[stay], sizes[stay], covariance)
        own, variances = sizes[~stay, None], _along(directions, covariance)
        alone, total = variances / own, effects + (variances - effects) / own
        squares = (means[~stay] @ directions) ** 2
        gains += (squares / alone - squares / total - np.log(total / alone)).sum(axis=0)
    return int(np.argmax(np.cumsum([0.0, *gains])))


def _along(directions: Square, covariance: Square) -> Variances:
    return np.einsum("ik,ij,jk->k", directions, covariance, directions)
