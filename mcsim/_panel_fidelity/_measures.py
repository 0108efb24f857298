"""Measures of one split besides moments: copying, distances, mass points, dependence of units."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.distance import cdist

from mcsim._fidelity import _distances as distances
from mcsim._panel_fidelity._layout import PanelLayout, Units

NEIGHBOR_ROWS = 2_000
DISTANCE_PIECES = 4  # generated panels over which distances are averaged
PathDraws = Float[ndarray, "panel unit period outcome"]
Rows = Float[ndarray, "unit coordinate"]
Others = Float[ndarray, "other coordinate"]


def measures_of(
    fresh: Units, pieces: int, train: Units, held: Units, layout: PanelLayout, *, real: bool
) -> dict[tuple[str, str], float]:
    """Compare units of several generated panels, end to end, with real ones.

    Parameters
    ----------
    fresh : Units
        Generated units, or training units in their place.
    pieces : int
        Number of panels that these are.
    train, held : Units
        Units that the generator saw and did not see.
    layout : PanelLayout
    real : bool
        Whether the fresh units are the training units themselves.

    Returns
    -------
    dict of (measure, outcome) to float
        The outcome is empty where a measure is of all.
    """
    cubes = fresh.cube.reshape(pieces, -1, *fresh.cube.shape[1:])
    rows = fresh.rows.reshape(pieces, -1, fresh.rows.shape[1])
    found = {
        "memorization": memorization(fresh.rows, train.rows, held.rows, itself=real),
        "copies": copies(held if real else fresh, train),
        "atoms": atom_gap(fresh, held if real else train, layout),
        "sliced_w1": sliced_distance(rows[:DISTANCE_PIECES], held.rows),
        "marginal_w1": marginal_distance(cubes[:DISTANCE_PIECES], held.cube),
    }
    gaps = {}
    for k, outcome in enumerate(layout.outcomes):
        real_one = mean_correlation(held.cube[None, ..., k])[0]
        gap = float(mean_correlation(cubes[..., k]).mean() - real_one)
        gaps["unit_correlation", outcome] = gap
        gaps["cd", outcome] = cross_dependence(gap, *held.cube.shape[:2])
    return {**{(measure, ""): value for measure, value in found.items()}, **gaps}


def memorization(fresh: Rows, train: Others, held: ndarray, *, itself: bool = False) -> float:
    """Median distance of generated units to training units, over that of held-out units.

    1 is right, far below 1 memorizes, far above lies off the data; NaN if most units have a twin.
    ``itself`` says that the fresh units are the training units: each is left out of its own search.
    """
    base = np.median(_nearest(held[:NEIGHBOR_ROWS], train))
    distance = np.median(_nearest(fresh[:NEIGHBOR_ROWS], train, itself=itself))
    return float(distance / base) if base > 0 else np.nan


def _nearest(rows: Rows, train: Others, *, itself: bool = False) -> Float[ndarray, " unit"]:
    """Distance to the nearest training unit; by brute force, since paths are long vectors."""
    place = 1 if itself else 0
    return np.partition(cdist(rows, train), place, axis=1)[:, place]


def copies(fresh: Units, train: Units) -> float:
    """Percent of units that equal a training unit, to float32."""
    return 100 * float(distances.copies(fresh.flat(), train.flat()).mean())


def sliced_distance(pieces: Float[ndarray, "panel unit coordinate"], held: Rows) -> float:
    """Sliced Wasserstein-1 distance of whole units, averaged over generated panels, in sd."""
    return float(np.mean([distances.sliced_wasserstein(piece, held) for piece in pieces]))


def marginal_distance(pieces: PathDraws, held: Float[ndarray, "unit period outcome"]) -> float:
    """Wasserstein-1 distance by outcome and period, averaged, in sd."""
    flat = held.reshape(len(held), -1)
    found = [distances.marginal_wasserstein(p.reshape(len(p), -1), flat) for p in pieces]
    return float(np.mean(found))


def atom_gap(generated: Units, train: Units, layout: PanelLayout) -> float:
    """Largest difference of the share of a mass point, in percentage points; NaN without any."""
    names = [name for name in layout.outcomes if layout.schema[name].atoms]
    if not names:
        return np.nan
    a, b = (np.column_stack([units.raw[n].ravel() for n in names]) for units in (generated, train))
    return distances.atom_gap(a, b, [layout.schema[name].atoms for name in names])


def mean_correlation(panels: Float[ndarray, "panel unit period"]) -> Float[ndarray, " panel"]:
    """Mean over pairs of units of their correlation over time; units that never move have none.

    Examples
    --------
    >>> mean_correlation(np.array([[[1.0, 2.0], [0.0, 5.0], [3.0, 2.0]]])).round(3).tolist()
    [-0.333]
    """
    deviations = panels - panels.mean(axis=-1, keepdims=True)
    length = np.sqrt((deviations**2).sum(axis=-1, keepdims=True))
    moves = length > 1e-9 * np.abs(panels).max(initial=1e-300)
    unit = np.where(moves, deviations / np.where(moves, length, 1.0), 0.0)
    count = moves.sum(axis=(-2, -1))
    total = (unit.sum(axis=-2) ** 2).sum(axis=-1) - count
    return total / np.maximum(count * (count - 1), 1)


def cross_dependence(correlation: float, n_units: int, n_periods: int) -> float:
    """Pesaran's (2021, Empirical Economics 60: 13-50) CD statistic of a mean correlation."""
    return float(correlation * np.sqrt(n_periods * n_units * (n_units - 1) / 2))


def frozen_share(
    paths: Sequence[Float[ndarray, "panel period outcome"]],
) -> Float[ndarray, " outcome"]:
    """Share of the variance of the date effects that is one and the same in every panel.

    Variance over periods of the mean path averaged over panels, over the mean variance of the paths
    of single panels, net of what averaging independent paths leaves (1 / number of panels): 1 where
    common shocks are fixed, 0 where every panel draws its own. Mean over the fits; ``paths`` are
    cross-section means.
    """
    return np.mean([_frozen(path) for path in paths], axis=0)


def _frozen(paths: Float[ndarray, "panel period outcome"]) -> ndarray:
    if len(paths) < 2:
        return np.full(paths.shape[-1], np.nan)
    floor = 1 / len(paths)
    share = paths.mean(axis=0).var(axis=0) / paths.var(axis=1).mean(axis=0)
    return (share - floor) / (1 - floor)
