"""The stationary block bootstrap of dates: runs of dates, all units of a date together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mcsim._core.calls import with_remedies
from mcsim._core.pytree import pytree
from mcsim._data.schema import Schema
from mcsim.errors import InputError
from mcsim.generators._options import Rule, faults_of_numbers
from mcsim.generators._training.fitted_panel import CommonShocks, FittedPanel
from mcsim.generators._training.panels import Columns, LearnedPopulation, PanelRecipe, Units
from mcsim.generators._training.trainer import Trainer

MEAN_LENGTH: Rule = lambda value: value >= 1, "a mean length of at least 1"
MIN_PERIODS = 4


@pytree("columns", "block")
@dataclass(frozen=True, eq=False)
class RealDates:
    """The dates of the data.

    Attributes
    ----------
    columns : dict of str to array (unit, period)
        Their cells, NaN where missing.
    block : array ()
        Mean number of dates in a block.
    n_periods : int
        Number of periods of the data.
    complete : bool
        Whether no cell is missing.
    """

    columns: dict[str, Any]
    block: Any
    n_periods: int
    complete: bool

    @property
    def most_periods(self) -> None:
        """How many it can draw: any number."""
        return None

    def draw(
        self, key: Array, n_units: int, n_periods: int, common_shocks: CommonShocks
    ) -> dict[str, Float[Array, "unit period"]]:
        """Draw columns, NaN where a cell is missing."""
        of_units, of_dates = jax.random.split(key)
        unit, date = self._units(of_units, n_units), self._dates(of_dates, n_periods)
        return {n: jnp.asarray(values)[unit][:, date] for n, values in self.columns.items()}

    def _units(self, key: Array, n_units: int) -> Int[Array, " unit"]:
        known = len(next(iter(self.columns.values())))
        if n_units == known:
            return jnp.arange(known)
        return jax.random.choice(key, known, (n_units,), replace=n_units > known)

    def _dates(self, key: Array, n_periods: int) -> Int[Array, " period"]:
        """Draw runs of dates of geometric length, around a circle."""
        of_starts, of_ends = jax.random.split(key)
        starts = jax.random.randint(of_starts, (n_periods,), 0, self.n_periods)
        place = jnp.arange(n_periods)
        new = jax.random.uniform(of_ends, (n_periods,)) * self.block < 1
        last = jax.lax.cummax(jnp.where(new | (place == 0), place, 0))
        return (starts[last] + place - last) % self.n_periods


@with_remedies()
@dataclass(frozen=True, kw_only=True)
class BlockBootstrap(Trainer[FittedPanel]):
    """Blocks of dates of the data, drawn with replacement: for panels of few units, many periods.

    All units of a date stay together, so cross-sectional dependence, heteroskedasticity and tails
    are real, and common shocks are new in every panel; units are the data's. What lasts longer
    than a block is lost: slow components, on which the variance of placebo effects rests. Meant for
    stationary columns (growth, not levels).

    Parameters
    ----------
    block : float, optional
        Mean number of dates in a block, whose length is geometric; default the cube root of the
        number of periods.
    common_shocks : {"redraw"}
        Dates are always drawn anew.
    missing : {"error", "model"}
        Missing cells are refused, or carried along in the mask of what is drawn.

    References
    ----------
    Politis & Romano (1994), The stationary bootstrap, Journal of the American Statistical
    Association 89: 1303-1313.

    Examples
    --------
    >>> import jax
    >>> from mcsim import Panel
    >>> panel = Panel({"growth": jax.random.normal(jax.random.key(1), (12, 80))})
    >>> generator = BlockBootstrap(block=4).fit(jax.random.key(0), panel)
    >>> generator
    FittedPanel(BlockBootstrap: growth over 80 periods)
    >>> generator.sample(jax.random.key(1), 12, 200)
    Panel(12 units x 200 periods: growth)
    """

    common_shocks: CommonShocks = "redraw"
    block: float | None = None

    def faults(self) -> list[str]:
        """Check the length of blocks, and what dates drawn anew rule out."""
        faults = faults_of_numbers(self, MEAN_LENGTH, "block")
        if self.common_shocks == "fixed":
            faults.append(
                "common_shocks: got 'fixed', but blocks of dates are drawn anew in every panel; "
                "UnitBootstrap keeps the dates"
            )
        if self.cluster is not None:
            faults.append(
                f"cluster: got {self.cluster!r}, but units are kept as they are, their groups too; "
                "leave it out"
            )
        return faults

    def recipe(self, n_units: int, n_periods: int) -> PanelRecipe:
        """Return the recipe: dates are kept as they are, gaps and all."""
        return PanelRecipe(self, _populations, whole_paths=False, completes=False)


def _populations(
    config: BlockBootstrap,
    keys: Sequence[Array],
    members: Sequence[Units],
    schema: Schema,
    progress: bool,
) -> list[LearnedPopulation]:
    """Keep the dates."""
    return [(_population(units.columns, config.block), {}) for units in members]


def _population(columns: Columns, block: float | None) -> RealDates:
    periods = next(iter(columns.values())).shape[1]
    if periods < MIN_PERIODS:
        many = "s" if periods > 1 else ""
        raise InputError(
            f"panel: got {periods} period{many}, expected at least {MIN_PERIODS} to draw "
            "blocks of; UnitBootstrap draws units"
        )
    length = max(periods ** (1 / 3), 1.0) if block is None else float(block)
    complete = not any(np.isnan(values).any() for values in columns.values())
    return RealDates(columns, np.float64(length), periods, complete)
