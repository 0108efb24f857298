"""The truth of an average effect on the treated, of the cells of one sample."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcsim._averages import Average, Bin
from mcsim._core import Panel
from mcsim.dgps._effects import periods_treated

Cells = Float[Array, "unit period"]


def true_average(average: Average, panel: Panel, treated: Cells, effect: Any) -> Array:
    """Average the effects of the treated cells that are observed; NaN where there is none.

    Parameters
    ----------
    average : Average
        Which one.
    panel : Panel
    treated : array (unit, period)
        Zeros and ones.
    effect : array (unit, period) or number
        The effect of every treated cell.
    """
    cells = treated if panel.mask is None else treated * panel.mask
    event = periods_treated(treated, panel.calendar) - 1.0
    start = jnp.argmax(treated > 0, axis=1)
    if average.kind == "event":
        return _over_bins(average.bins or (), cells, event, effect)
    if average.bins is not None:
        cells = cells * jnp.any(jnp.stack([_inside(b, event) for b in average.bins]), axis=0)
    periods = jnp.arange(cells.shape[1])
    if average.kind == "g":
        cells = cells * (start == average.position)[:, None]
    if average.kind == "t":
        cells = cells * (periods == average.position)
    if average.kind == "calendar":
        return _mean(*totals_by(cells, effect, axis=0))
    if average.kind == "group":
        member = (start == periods[:, None]) * (cells > 0).any(axis=1)
        total, count = totals_by(cells, effect, axis=1)
        return _mean(member @ total, member @ count, member.sum(axis=1))
    total, count = totals_by(cells, effect, axis=(0, 1))
    return total / count


def totals_by(
    cells: Float[Array, "*bin unit period"], effect: Any, axis: int | tuple[int, ...]
) -> tuple[Float[Array, "*many"], Float[Array, "*many"]]:
    """Return the sum of the effects over cells, and the number of cells."""
    return (cells * effect).sum(axis=axis), cells.sum(axis=axis)


def _over_bins(bins: tuple[Bin, ...], cells: Cells, event: Cells, effect: Any) -> Array:
    """The plain mean of bins of event times, of those that there are; 0 before treatment."""
    after = [cells * _inside(one, event) for one in bins if one[1] >= 0]
    if not after:
        return jnp.zeros(())
    return _mean(*totals_by(jnp.stack(after), effect, axis=(1, 2)))


def _inside(times: Bin, event: Cells) -> Bool[Array, "unit period"]:
    return (event >= times[0]) & (event <= times[1])


def _mean(
    total: Float[Array, " part"], count: Float[Array, " part"], weight: Array | float = 1.0
) -> Float[Array, ""]:
    """Weight the means of the parts that have cells."""
    weight = weight * (count > 0)
    means = total / jnp.where(count > 0, count, 1.0)
    return (weight * means).sum() / weight.sum()
