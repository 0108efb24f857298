"""Levels without an order: the numbers by which they are put on the line of scores.

A column of scores has an order, and so must levels that have none. They are put where they are most
unlike: on the direction in which the levels' means of the other columns differ most.

References
----------
Doledec & Chessel (1987), Rythmes saisonniers et composantes stationnelles en milieu aquatique, Acta
Oecologica 8: 403-426: principal components between groups.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri
from scipy.stats import rankdata

from mcsim._schema import Column, Schema

PRIOR_CELLS = 4.0  # the means of a level are shrunk to those of all by so many cells


def scaled_levels(
    cells: Mapping[str, np.ndarray], schema: Schema
) -> dict[str, Float[np.ndarray, " level"]]:
    """Return a number for each level of every column without an order.

    Parameters
    ----------
    cells : mapping of str to array (unit, period) or (unit, 1)
        Columns that change within units, and those that do not; NaN where missing.
    schema : Schema
    """
    nominal = [name for name in cells if schema[name].nominal]
    if not nominal:
        return {}
    features = {name: _features(schema[name], values) for name, values in cells.items()}
    return {
        name: _numbers(
            cells[name], len(schema[name].levels), [features[n] for n in cells if n != name]
        )
        for name in nominal
    }


def _features(
    column: Column, values: Float[np.ndarray, "unit period"]
) -> Float[np.ndarray, "unit period feature"]:
    """Return normal scores of a column, or indicators of its levels."""
    missing = np.isnan(values)
    if column.nominal:
        found = (values[..., None] == np.arange(len(column.levels))).astype(np.float64)
        return np.where(missing[..., None], np.nan, found)
    ranks = rankdata(values[~missing])
    found = np.full(values.shape, np.nan)
    found[~missing] = ndtri((ranks - 0.5) / len(ranks))
    return found[..., None]


def _numbers(
    codes: Float[np.ndarray, "unit period"],
    count: int,
    others: list[Float[np.ndarray, "unit _ _"]],
) -> Float[np.ndarray, " level"]:
    known = ~np.isnan(codes)
    level = codes[known].astype(int)
    sizes = np.bincount(level, minlength=count)
    if not others:
        return np.arange(count, dtype=np.float64)
    columns = [column for other in others for column in _standardized(other, codes.shape[1], known)]
    sums = np.array([np.bincount(level, column, count) for column in columns]).T
    means = sums / (sizes + PRIOR_CELLS)[:, None]
    direction = np.linalg.svd(means * np.sqrt(sizes)[:, None], full_matrices=False)[2][0]
    numbers = means @ direction * np.sign(direction[np.abs(direction).argmax()])
    return numbers + np.arange(count) * 1e-9 * max(float(np.ptp(numbers)), 1.0)  # no two are equal


def _standardized(
    features: Float[np.ndarray, "unit _ feature"], periods: int, known: np.ndarray
) -> Float[np.ndarray, "feature cell"]:
    """Return features at cells of known level: by period, or averaged over a unit's periods."""
    missing = np.isnan(features)
    centered = np.where(missing, 0.0, features - np.nanmean(features, axis=(0, 1)))
    if features.shape[1] != periods:  # of what is constant within units, or to it
        centered = centered.mean(axis=1, keepdims=True)
    centered = np.broadcast_to(centered, (len(features), periods, features.shape[2]))[known].T
    spread = centered.std(axis=1, keepdims=True)
    return centered / np.where(spread > 0, spread, 1.0)
