"""Effects that differ between units and over time, as ``effect(key, exposure, panel)``, and means.

Exposure (unit, period) is 1 in a unit's first treated period, 2 in the next of the calendar, 0
where it is not treated. Any function that returns the effect of every cell is such an effect;
these are ready-made.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from mcsim._core.averages import Average, Bin
from mcsim._core.calls import with_remedies
from mcsim._core.checks import is_whole
from mcsim._core.pytree import pytree
from mcsim._core.records import Calendar, Panel
from mcsim.dgps._fields import faults_of_numbers
from mcsim.dgps._random import normals
from mcsim.errors import raise_all

Cells = Float[Array, "unit period"]


@pytree()
@with_remedies()
@dataclass(frozen=True)
class by_exposure:
    """Effects that depend on how long a unit has been treated, and on its cohort if asked.

    Parameters
    ----------
    path : sequence of float, or dict of start to sequence
        The effect in the first treated period, the second, ...; the last one holds on. A dict has
        a path for each cohort, by the position of its first treated period.

    Raises
    ------
    InputError
        For a path without numbers, or a cohort whose start is no position.

    Examples
    --------
    >>> import jax
    >>> exposure = jnp.array([[0, 1, 2, 3]])
    >>> by_exposure([1.0, 2.0])(jax.random.key(0), exposure, Panel({"y": exposure}))
    Array([[0., 1., 2., 2.]], dtype=float64)
    """

    path: Any

    def __post_init__(self):
        cohorts = isinstance(self.path, Mapping)
        paths = self.path.values() if cohorts else [self.path]
        faults = [fault for path in paths for fault in _faults_of_path(path)]
        starts = [start for start in self.path if not is_whole(start)] if cohorts else []
        expected = "expected the position of a cohort's first treated period"
        raise_all([*faults, *(f"path: got start {start!r}, {expected}" for start in starts)])
        kept = (
            tuple((int(start), tuple(map(float, path))) for start, path in self.path.items())
            if cohorts
            else tuple(map(float, self.path))
        )
        object.__setattr__(self, "path", kept)

    def __call__(
        self, key: Key[Array, ""], exposure: Int[Array, "unit period"], panel: Panel
    ) -> Float[Array, "unit period"]:
        """Return the effect of every cell; NaN in cohorts without a path."""
        if not self.path or not isinstance(self.path[0], tuple):
            return _along(self.path, exposure)
        start = jnp.argmax(exposure > 0, axis=1)[:, None]
        effect = jnp.where(exposure > 0, jnp.nan, 0.0)
        for cohort, path in self.path:
            position = cohort + exposure.shape[1] if cohort < 0 else cohort
            effect = jnp.where(start == position, _along(path, exposure), effect)
        return effect


@pytree()
@with_remedies()
@dataclass(frozen=True)
class heterogeneous:
    """Effects that differ between units: normal, one per unit, constant over periods.

    Parameters
    ----------
    mean, sd : float
        Mean and standard deviation over units.

    Raises
    ------
    InputError
        For a mean that is no finite number, or a negative spread.

    Examples
    --------
    >>> import jax
    >>> exposure = jnp.array([[0, 1, 2], [0, 0, 0]])
    >>> effect = heterogeneous(0.5, 0.1)(jax.random.key(0), exposure, Panel({"y": exposure}))
    >>> bool(effect[0, 1] == effect[0, 2]), effect.shape
    (True, (2, 3))
    """

    mean: float
    sd: float

    def __post_init__(self):
        faults = faults_of_numbers(self, ("mean",))
        raise_all([*faults, *faults_of_numbers(self, ("sd",), lower=0.0)])

    def __call__(
        self, key: Key[Array, ""], exposure: Int[Array, "unit period"], panel: Panel
    ) -> Float[Array, "unit period"]:
        """Draw the effect of every unit."""
        (z,) = normals(key, (panel.n_units, 1))
        return jnp.broadcast_to(self.mean + self.sd * z, exposure.shape)


def periods_treated(
    treated: Float[Array, "unit period"], calendar: Calendar
) -> Float[Array, "unit period"]:
    """Return the number of calendar periods since a unit's adoption, the present one included.

    A treatment in two successive periods of the panel holds in between.
    """
    if calendar.consecutive:
        return jnp.cumsum(treated, axis=1)
    passed = jnp.asarray(np.diff(calendar.places, prepend=calendar.places[0] - 1))
    before = jnp.pad(treated, ((0, 0), (1, 0)))[:, :-1]
    return jnp.cumsum(treated * jnp.where(before > 0, passed, 1), axis=1)


def _along(path: tuple[float, ...], exposure: Int[Array, "unit period"]) -> Any:
    effects = jnp.asarray(path)[jnp.clip(exposure - 1, 0, len(path) - 1)]
    return jnp.where(exposure > 0, effects, 0.0)


def _faults_of_path(path: Any) -> list[str]:
    try:
        numbers = np.asarray(path, dtype=float)
    except (TypeError, ValueError):
        return [f"path: got {path!r}, expected numbers"]
    if numbers.ndim != 1 or not numbers.size or not np.isfinite(numbers).all():
        return [f"path: got {path!r}, expected at least one finite number"]
    return []


def true_average(average: Average, panel: Panel, treated: Cells, effect: Any) -> Array:
    """Average the effects of the treated cells that are observed; NaN where there is none.

    Parameters
    ----------
    average : Average
        The average.
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
    """Return the plain mean over the bins of event times that have cells; 0 before treatment."""
    after = [cells * _inside(one, event) for one in bins if one[1] >= 0]
    if not after:
        return jnp.zeros(())
    return _mean(*totals_by(jnp.stack(after), effect, axis=(1, 2)))


def _inside(times: Bin, event: Cells) -> Bool[Array, "unit period"]:
    return (event >= times[0]) & (event <= times[1])


def _mean(
    total: Float[Array, " part"], count: Float[Array, " part"], weight: Array | float = 1.0
) -> Float[Array, ""]:
    """Return the weighted mean over the parts that have cells."""
    weight = weight * (count > 0)
    means = total / jnp.where(count > 0, count, 1.0)
    return (weight * means).sum() / weight.sum()
