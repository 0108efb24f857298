"""Assignment by what a unit's own path of a column says: confounding and overlap with two knobs."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Key

from mcsim._calls import with_remedies
from mcsim._core import Panel
from mcsim._pytree import pytree
from mcsim.dgps._factors import faults_of_numbers, is_number, shown
from mcsim.dgps._probabilities import by_probability
from mcsim.errors import InputError, did_you_mean, raise_all

_BISECTIONS = 50


@pytree("weights", "share", "strength")
@with_remedies()
@dataclass(frozen=True, kw_only=True)
class by_path:
    """Treat units with probabilities that depend on their own paths, from one period on.

    The log odds of treatment are linear in a weighted sum of the unit's path of a column. Unlike
    `by_probability` it suits generators, which draw other units in every panel.

    Parameters
    ----------
    column : str
        The column whose path decides, such as the (untreated) outcome.
    weights : float or array (period,)
        Weight of each period in the index. A number weighs all alike: the unit's level decides;
        weights on the periods before ``start`` make selection on the past.
    strength : float
        By how much the log odds rise with one standard deviation of the index over units: 0 is
        assignment at random with full overlap, larger is more confounding and worse overlap.
    share : float
        Mean probability over the units, in every panel.
    max_treated : int, optional
        The most units that are treated, as in `by_probability`; default all but one.
    start : int or (int, int)
        The first treated period, or the range from which one for all is drawn.

    Raises
    ------
    InputError
        When it is called (`with_effect`: on a real panel, when it is made): for an unknown column,
        weights that are not one per period, a share outside 0 to 1.

    References
    ----------
    Arkhangelsky, Athey, Hirshberg, Imbens & Wager (2021), American Economic Review 111: 4088-4118,
    section III: adoption by a logit in unit factors.

    Examples
    --------
    >>> import jax
    >>> panel = Panel({"y": jnp.arange(40.0)[:, None] * jnp.ones((40, 6))})
    >>> d = by_path(column="y", strength=5.0, start=3)(jax.random.key(0), panel)
    >>> bool((d[:, -1] * panel["y"][:, -1]).sum() / d[:, -1].sum() > 25)
    True
    """

    column: str
    start: int | tuple[int, int]
    weights: Any = 1.0
    strength: Any = 1.0
    share: Any = 0.5
    max_treated: int | None = None

    def __post_init__(self):
        if not is_number(self.weights):
            object.__setattr__(self, "weights", _as_weights(self.weights))

    def __call__(self, key: Key[Array, ""], panel: Panel) -> Float[Array, "unit period"]:
        """Draw who is treated and when."""
        raise_all(self.faults(panel))
        values = panel[self.column] if panel.mask is None else panel[self.column] * panel.mask
        index = (values * self.weights).sum(axis=1)
        index = (index - index.mean()) / jnp.maximum(index.std(), 1e-12)
        within = (jnp.asarray(self.share) > 0) & (jnp.asarray(self.share) < 1)  # of a factor too
        p = jnp.where(within, _with_mean(self.strength * index, self.share), jnp.nan)
        most = panel.n_units - 1 if self.max_treated is None else self.max_treated
        return by_probability(p, max_treated=most, start=self.start)(key, panel)

    def faults(self, panel: Panel) -> list[str]:
        """Say what about this assignment does not fit a panel."""
        faults = faults_of_numbers(self, ["strength"])
        if self.column not in panel:
            faults.append(f"column: got {self.column!r}{did_you_mean(self.column, panel)}")
        shape = np.shape(self.weights)
        if shape not in ((), (panel.n_periods,)):
            faults.append(
                f"weights: got shape {shape}, expected a number or one per period "
                f"({panel.n_periods},)"
            )
        elif not isinstance(self.weights, Tracer) and not np.isfinite(self.weights).all():
            faults.append("weights: got numbers that are not finite")
        concrete = not isinstance(self.share, Tracer)
        if concrete and not (is_number(self.share) and 0 < self.share < 1):
            faults.append(f"share: got {shown(self.share)}, expected a share between 0 and 1")
        most = 1 if self.max_treated is None else self.max_treated
        return faults + by_probability(0.5, max_treated=most, start=self.start).faults(panel)


def _as_weights(weights: Any) -> Array:
    try:
        return jnp.asarray(weights, dtype=float)
    except (TypeError, ValueError):
        raise InputError(
            f"weights: got {weights!r}, expected a number, or one for each period"
        ) from None


def _with_mean(index: Float[Array, " unit"], share: Array | float) -> Float[Array, " unit"]:
    """Return the logit probabilities of an index whose mean is ``share``, by bisection."""
    reach = 40.0 + jnp.abs(index).max()

    def halve(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = 0.5 * (low + high)
        more = jax.nn.sigmoid(middle + index).mean() < share
        return jnp.where(more, middle, low), jnp.where(more, high, middle)

    low, high = jax.lax.fori_loop(0, _BISECTIONS, halve, (-reach, reach))
    return jax.nn.sigmoid(0.5 * (low + high) + index)
