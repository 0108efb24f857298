"""Fixed effects absorbed: columns less their projection on unit and period dummies.

Without effects it is the constant that is absorbed. Balanced panels need means only. With gaps, two
effects are projected off exactly and without iteration: unit means first, then the dummies of the
periods through their own normal equations, whose order is the number of periods.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from mcsim.estimators._algebra import generalized_inverse

Columns = Float[Array, "*column unit period"]
Cells = Float[Array, "unit period"]


def absorb(columns: Columns, effects: tuple[str, ...], weight: Cells | None = None) -> Columns:
    """Return columns less their projection on the effects, 0 where the weight is.

    Parameters
    ----------
    columns : array (..., unit, period)
        One column or several.
    effects : tuple of {"unit", "time"}
        None of them absorbs the constant.
    weight : array (unit, period), optional
        1 where observed, 0 elsewhere.
    """
    if weight is None:
        return _absorb_balanced(columns, effects)
    columns = weight * (columns - _mean(columns, weight, (-2, -1)))
    match effects:
        case ("unit",):
            return weight * (columns - _mean(columns, weight, (-1,)))
        case ("time",):
            return weight * (columns - _mean(columns, weight, (-2,)))
        case ("unit", "time"):
            return _absorb_both(columns, weight)
    return columns


def _absorb_balanced(columns: Columns, effects: tuple[str, ...]) -> Columns:
    match effects:
        case ("unit",):
            return columns - columns.mean(axis=-1, keepdims=True)
        case ("time",):
            return columns - columns.mean(axis=-2, keepdims=True)
        case ("unit", "time"):
            over_time = columns.mean(axis=-1, keepdims=True)
            over_units = columns.mean(axis=-2, keepdims=True)
            return columns - over_time - (over_units - over_time.mean(axis=-2, keepdims=True))
    return columns - columns.mean(axis=(-2, -1), keepdims=True)


def _mean(columns: Columns, weight: Cells, axes: tuple[int, ...]) -> Float[Array, "..."]:
    """Weighted means, kept as axes of length one; 0 where nothing is observed."""
    total = weight.sum(axis=axes, keepdims=True)
    return (weight * columns).sum(axis=axes, keepdims=True) / jnp.maximum(total, 1.0)


def _absorb_both(columns: Columns, weight: Cells) -> Columns:
    """Project off both dummies; the shorter axis is the one whose equations are solved."""
    if weight.shape[1] > weight.shape[0]:
        return _absorb_both(columns.swapaxes(-1, -2), weight.T).swapaxes(-1, -2)
    within = weight * (columns - _mean(columns, weight, (-1,)))
    shared = (weight / jnp.maximum(weight.sum(axis=1, keepdims=True), 1.0)).T @ weight
    normal = jnp.diag(weight.sum(axis=0)) - shared
    effect = within.sum(axis=-2) @ generalized_inverse(normal)
    left = within - weight * effect[..., None, :]
    return weight * (left - _mean(left, weight, (-1,)))
