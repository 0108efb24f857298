"""A fitted macro panel: draws panels of any number of units and periods."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcsim._core.calls import with_remedies
from mcsim._core.keys import require_key
from mcsim._core.pytree import pytree
from mcsim._core.records import Panel
from mcsim._data.schema import Schema
from mcsim.errors import Fault, Option, printable, raise_all
from mcsim.generators._macro.structural_model import (
    Common,
    StructuralModel,
    draw_noise,
    simulate,
    simulate_given,
)
from mcsim.generators._training.fitted_panel import FIXED_SHOCKS, faults_of_size

LAST_STEPS = 0.2  # share of the steps over which the miss of the placebo variance is averaged
WIDEST = 1.15  # ratio of standard deviations up to which inference counts as right


@pytree("model", "center", "scale", "realized", "losses", "rows")
@dataclass(frozen=True, eq=False, repr=False)
class FittedMacroPanel:
    """A fitted generator of macro panels of any number of units and periods.

    Made by `MacroPanel.fit` and `fit_many`. Immutable; a pytree.

    Attributes
    ----------
    config : MacroPanel
        The configuration of the fit.
    schema : Schema
        Name and labels of the column.
    model : StructuralModel
        The fitted parameters.
    center, scale : array ()
        Location and scale of the data, in which the model's units are expressed.
    realized : Common
        The data's common shocks, as far as the panel identifies them.
    losses : dict of str to array (step,)
        ``"moments"``: mean squared miss of the moments, in sampling variances; ``"placebo"``: the
        relative miss of the variance of a placebo estimate. Both as estimated from one step's
        panels; sampling variances are learned in the first steps, where misses look small.
    rows : array of int, or None
        The training units; None: all.
    """

    config: Any
    schema: Schema
    model: StructuralModel
    center: Any
    scale: Any
    realized: Common
    losses: Mapping[str, np.ndarray] = field(default_factory=dict)
    rows: np.ndarray | None = None

    def __repr__(self) -> str:
        shocks = "redrawn" if self.common_shocks == "redraw" else "those of the data"
        rows = "" if self.rows is None else f"; fit on {len(self.rows):,} units"
        name = printable(self.schema.names[0])
        return f"FittedMacroPanel({name}, common shocks {shocks}{rows})"

    @property
    def given(self) -> tuple[str, ...]:
        """Conditioning columns: none."""
        return ()

    @property
    def n_periods(self) -> int:
        """Number of periods of the data; with redrawn shocks it can draw any number."""
        return self.realized.factor.shape[-1]

    @property
    def common_shocks(self) -> str:
        """``"fixed"``: common shocks of the data; ``"redraw"``: drawn anew in every panel."""
        return self.config.common_shocks

    @property
    def summary(self) -> str:
        """One line for the head of a report."""
        return f"MacroPanel of {self.schema.names[0]}, common shocks {self.common_shocks}"

    @property
    def caveats(self) -> tuple[str, ...]:
        """Limits of conclusions from draws, as sentences."""
        shocks = () if self.common_shocks == "redraw" else (FIXED_SHOCKS,)
        return (*shocks, *_caveats_of_placebos(self.losses))

    def with_shocks(self, common_shocks: str) -> "FittedMacroPanel":
        """Return the generator with common shocks ``"fixed"`` or drawn anew (``"redraw"``)."""
        return replace(self, config=replace(self.config, common_shocks=common_shocks))

    @with_remedies()
    def sample(
        self,
        key: Array,
        n_units: int,
        n_periods: int | None = None,
        *,
        given: Mapping[str, Any] | None = None,
    ) -> Panel:
        """Draw a panel.

        Parameters
        ----------
        key : key
            Source of the noise.
        n_units, n_periods : int
            Its size; static under jit. By default the data's periods.
        given : mapping, optional
            Must be empty: there are no conditioning columns.

        Returns
        -------
        Panel
            One float64 column; values beyond the schema's bounds are set to them.

        Raises
        ------
        InputError
            For a wrong size, with fixed common shocks more periods than the data have, and given
            columns.
        """
        require_key(key)
        periods = self.n_periods if n_periods is None else n_periods
        raise_all(_faults_of_sample(self, n_units, periods, given))
        values = _draw(replace(self, losses={}, rows=None), int(n_units), int(periods), key)
        return self.schema.panel({self.schema.names[0]: values})


def _caveats_of_placebos(losses: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Warn of placebo estimates that vary more or less than on the data."""
    misses = np.asarray(losses.get("placebo", ()))
    misses = misses[-math.ceil(LAST_STEPS * len(misses)) :]
    ratio = float(np.sqrt(max(1.0 + misses.mean(), 0.0))) if len(misses) else 1.0
    if 1 / WIDEST < ratio < WIDEST:
        return ()
    return (
        f"Placebo estimates vary {'more' if ratio > 1 else 'less'} than on the data, by over "
        f"{WIDEST - 1:.0%}: MacroPanel cannot reproduce it (a unit with a trend or a break of its "
        "own?), or too few steps.",
    )


def _faults_of_sample(
    generator: Any, n_units: Any, n_periods: Any, given: Mapping[str, Any] | None
) -> list[str]:
    """Return the faults of the arguments of ``sample``."""
    faults = faults_of_size("n_units", n_units)
    wrong: list[str] = faults_of_size("n_periods", n_periods)
    redrawn = Option("generator.with_shocks('redraw')", "common_shocks", "redraw")
    if not wrong and generator.common_shocks == "fixed" and n_periods > generator.n_periods:
        wrong += [
            Fault(
                f"n_periods: got {n_periods}, but the common shocks are of the data's "
                f"{generator.n_periods} periods",
                ["ask for fewer, or draw them anew: ", redrawn],
            )
        ]
    if given:
        wrong.append(f"given: got {list(given)}, but MacroPanel conditions on nothing")
    return faults + wrong


@partial(jax.jit, static_argnums=(1, 2))
def _draw(
    generator: FittedMacroPanel, n_units: int, n_periods: int, key: Array
) -> Float[Array, "unit period"]:
    noise = draw_noise(key, n_units, n_periods)
    if generator.common_shocks == "redraw":
        drawn = simulate(generator.model, noise)
    else:
        shocks = jax.tree.map(lambda path: path[:n_periods], generator.realized)
        drawn = simulate_given(generator.model, noise, shocks)
    column = generator.schema.columns[0]
    values = generator.center + generator.scale * drawn.astype(jnp.float64)
    return jnp.clip(values, column.lower, column.upper)
