"""Assignment by each unit's probability, after Arkhangelsky et al. (2021), section III."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Key

from mcsim._calls import with_remedies
from mcsim._core import Panel
from mcsim._pytree import pytree
from mcsim.dgps._factors import is_number, is_whole, shown
from mcsim.dgps._lots import draw_lots
from mcsim.dgps._starts import draw_start, faults_of_start
from mcsim.dgps._units import first_observed
from mcsim.errors import did_you_mean, raise_all


@pytree("p")
@with_remedies()
@dataclass(frozen=True)
class by_probability:
    """Treat each unit with its probability, at least one and at most so many, from one period on.

    If more than ``max_treated`` units come up, a random ``max_treated`` of them are treated; if
    none does, ``max_treated`` random units are.

    Parameters
    ----------
    p : float, array (unit,) or str
        Probability of treatment; a string names a column of the panel that holds it.
    max_treated : int
        The most units that are treated.
    start : int or (int, int)
        The first treated period, or the range from which one for all is drawn; -10 leaves the last
        ten periods treated.

    Raises
    ------
    InputError
        When it is called (`with_effect`: on a real panel, when it is made): for numbers that are no
        probabilities, an unknown column, a start outside the periods, ``max_treated`` not below
        the number of units.

    References
    ----------
    Arkhangelsky, Athey, Hirshberg, Imbens & Wager (2021), American Economic Review 111: 4088-4118,
    section III.

    Examples
    --------
    >>> import jax
    >>> panel = Panel({"y": jnp.zeros((50, 40))})
    >>> float(by_probability(0.5, max_treated=10, start=-10)(jax.random.key(0), panel).sum())
    100.0
    """

    p: Any
    max_treated: int = 10
    start: int | tuple[int, int] = -10
    column: str | None = field(default=None, init=False)

    def __post_init__(self):
        if isinstance(self.p, str):
            object.__setattr__(self, "column", self.p)
            object.__setattr__(self, "p", None)
        elif not is_number(self.p):
            object.__setattr__(self, "p", jnp.asarray(self.p, dtype=float))

    def __call__(self, key: Key[Array, ""], panel: Panel) -> Float[Array, "unit period"]:
        """Draw who is treated and when."""
        raise_all(self.faults(panel))
        n, t = panel.n_units, panel.n_periods
        chance_key, lot_key, period_key = jax.random.split(key, 3)
        p = jnp.asarray(self.p) if self.column is None else first_observed(panel, self.column)
        chosen = jax.random.uniform(chance_key, (n,), jnp.float32) < p
        lots = draw_lots(lot_key, panel).of_unit >> 1
        lots = jnp.where(chosen, lots, lots | jnp.uint32(2**31))  # those who came up go first
        came_up = chosen.sum()
        count = jnp.where(came_up > 0, jnp.minimum(came_up, self.max_treated), self.max_treated)
        treated = lots <= jnp.sort(lots)[count - 1]
        start = draw_start(period_key, self.start, t)
        cells = (treated[:, None] & (jnp.arange(t) >= start)).astype(float)
        return jnp.where(((p >= 0) & (p <= 1)).all(), cells, jnp.nan)  # a factor may be anything

    def faults(self, panel: Panel) -> list[str]:
        """Say what about this assignment does not fit a panel."""
        faults = faults_of_start(self.start, panel.n_periods)
        if not is_whole(self.max_treated) or not 1 <= self.max_treated < panel.n_units:
            came = shown(self.max_treated)
            faults.append(
                f"max_treated: got {came}, expected 1 to {panel.n_units - 1}, fewer than the units"
            )
        if self.column is not None and self.column not in panel:
            faults.append(f"p: got {self.column!r}{did_you_mean(self.column, panel)}")
        if self.column is None and np.shape(self.p) not in ((), (panel.n_units,)):
            shape = np.shape(self.p)
            faults.append(f"p: got shape {shape}, expected a number or one per unit "
                          f"({panel.n_units},)")  # fmt: skip
        concrete = self.p is not None and not isinstance(self.p, Tracer)
        if concrete and not np.all((np.asarray(self.p) >= 0) & (np.asarray(self.p) <= 1)):
            faults.append("p: got numbers outside 0 to 1, expected probabilities")
        return faults
