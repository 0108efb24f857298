"""Early stopping that costs no unit: copies that each leave out a fold judge the one that sees all.

All copies train in one program. Kept are the parameters of the first copy, which sees all units, at
the step where the others judged best what they had not seen. Without folds the last ones are kept.

References
----------
Prechelt (1998), Early stopping - but when? in Neural networks: tricks of the trade.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mcsim.generators._vectors._copies import UnitNumbers, identities

WORST = 1e3  # loss of held-out units: an outlier that training never saw is no divergence


class Judgment(NamedTuple):
    """The best parameters so far, and how they were found.

    Attributes
    ----------
    best : pytree
        Of the first copy.
    smooth, lowest : array ()
        Moving average of the held-out loss: now, and at its lowest.
    since : array ()
        Steps since then.
    """

    best: Any
    smooth: Any
    lowest: Any
    since: Any


def unjudged(params: Any) -> Judgment:
    """Return the judgment before the first step, of one copy's parameters."""
    return Judgment(params, np.float32(0), np.float32(np.inf), np.int32(0))


def judge(judgment: Judgment, params: Any, held: Array, number: Array, keep: float) -> Judgment:
    """Take the first of all copies' parameters if held-out units have never been likelier.

    ``keep`` is the decay of the moving average of their losses ``held``.
    """
    smooth = jnp.where(number == 0, held, keep * judgment.smooth + (1 - keep) * held)
    better = smooth < judgment.lowest
    best = jax.tree.map(lambda now, old: jnp.where(better, now[0], old), params, judgment.best)
    since = jnp.where(better, 0, judgment.since + 1)
    return Judgment(best, smooth, jnp.minimum(smooth, judgment.lowest), since)


def in_vain(judgment: Judgment, patience: int, folds: int) -> Array:
    """Say whether held-out units have not become likelier for long."""
    return judgment.since >= patience if folds else jnp.zeros((), bool)


def kept(judgment: Judgment, params: Any, folds: int) -> Any:
    """Return the best parameters, of all copies' ``params`` the first one's without folds."""
    last = jax.tree.map(lambda leaf: leaf[0], params)
    return jax.tree.map(np.asarray, judgment.best if folds else last)


def copied(params: Any, folds: int) -> Any:
    """Return parameters of all copies: they start alike."""
    return jax.tree.map(lambda leaf: np.stack([leaf] * (1 + folds)), params)


def folds_of(key: Array, rows: UnitNumbers, folds: int, length: int) -> Int[np.ndarray, " padded"]:
    """Draw the fold of each unit, one for all its copies, and pad with the first ones."""
    number = identities(rows)
    order = np.asarray(jax.random.permutation(key, number.max() + 1))[number]
    return np.resize(order % max(folds, 1), length).astype(np.int32)


def seen_by(fold: Int[Array, " unit"], folds: int) -> Bool[Array, "copy unit"]:
    """Say which units each copy learns from: the first from all, the others not from one fold."""
    return fold != jnp.arange(1 + folds)[:, None] - 1


def mean_over(
    values: Float[Array, "*copy unit"], chosen: Bool[Array, "*copy unit"]
) -> Float[Array, ""]:
    """Average over chosen units; 0 if there are none."""
    return jnp.where(chosen, values, 0).sum() / jnp.maximum(chosen.sum(), 1)
