"""Distances between two samples of rows: transport, Wasserstein, neighbors, correlations, atoms.

Peyre & Cuturi (2019, Foundations and Trends in Machine Learning 11: 355-607); sliced: Bonneel,
Rabin, Peyre & Pfister (2015, Journal of Mathematical Imaging and Vision 51: 22-45).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

Matrix = Float[ndarray, "row column"]
Other = Float[ndarray, "other column"]

DIRECTIONS = 200  # of the sliced distance, the same for every table
TRANSPORT_ROWS = 500  # the exact assignment costs the cube of it


def transport(a: Matrix, b: Other) -> float:
    """Mean Euclidean distance of the best one-to-one assignment of rows (exact)."""
    rows = min(len(a), len(b), TRANSPORT_ROWS)
    cost = cdist(a[:rows], b[:rows])
    return float(cost[linear_sum_assignment(cost)].mean())


def marginal_wasserstein(a: Matrix, b: Other) -> float:
    """Wasserstein-1 distance of each column, averaged over columns; the longer sample is cut.

    Examples
    --------
    >>> x = np.linspace(0, 1, 50)[:, None]
    >>> round(marginal_wasserstein(x, x + 1), 12)
    1.0
    """
    rows = min(len(a), len(b))
    return float(np.abs(np.sort(a[:rows], axis=0) - np.sort(b[:rows], axis=0)).mean())


def sliced_wasserstein(a: Matrix, b: Other) -> float:
    """Wasserstein-1 distance of projections, averaged over fixed random directions."""
    directions = np.random.default_rng(0).standard_normal((a.shape[1], DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    return marginal_wasserstein(a @ directions, b @ directions)


def nearest(rows: Matrix, train: Other, *, itself: bool = False) -> Float[ndarray, " row"]:
    """Distance of each row to the nearest training row (the second nearest if it is one itself)."""
    neighbors = 2 if itself else 1
    distance, _ = KDTree(train).query(rows, k=neighbors, workers=2)
    return np.asarray(distance).reshape(len(rows), neighbors)[:, -1]


def copies(rows: Matrix, train: Other) -> ndarray:
    """Say of each row whether a training row equals it, to float32 (generators draw in it)."""
    known = {row.tobytes() for row in _bytes(train)}
    return np.array([row.tobytes() in known for row in _bytes(rows)], dtype=bool)


def _bytes(rows: ndarray) -> ndarray:
    return np.ascontiguousarray(rows, dtype=np.float32) + np.float32(0)  # -0 becomes 0


def correlation_gap(
    a: Matrix, b: Other, a_weights: ndarray | None = None, b_weights: ndarray | None = None
) -> float:
    """Largest absolute difference of the correlations; a constant column correlates with none."""
    if a.shape[1] < 2:
        return 0.0
    return float(np.abs(_correlations(a, a_weights) - _correlations(b, b_weights)).max())


def _correlations(x: ndarray, weights: ndarray | None) -> ndarray:
    covariance = np.cov(x, rowvar=False, aweights=weights)
    sd = np.sqrt(np.diag(covariance))
    sd = np.where(sd > 1e-12 * np.abs(x).max(axis=0, initial=1.0), sd, np.inf)
    return covariance / np.outer(sd, sd) * (1 - np.eye(len(sd)))


def atom_gap(a: Matrix, b: Other, atoms: Sequence[tuple[float, ...]]) -> float:
    """Largest difference of the shares of mass points, in percentage points.

    Parameters
    ----------
    a, b : array (row, column)
    atoms : sequence of tuple
        The mass points of each column.

    Examples
    --------
    >>> a, b = np.array([[0.0], [0.0], [3.0], [4.0]]), np.array([[0.0], [1.0], [3.0], [4.0]])
    >>> atom_gap(a, b, [(0.0,)])
    25.0
    """
    gaps = [0.0]
    for column, points in enumerate(atoms):
        for point in np.asarray(points, dtype=np.float32):
            shares = [(x[:, column].astype(np.float32) == point).mean() for x in (a, b)]
            gaps.append(100 * abs(float(shares[0] - shares[1])))
    return max(gaps)
