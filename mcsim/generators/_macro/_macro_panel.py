"""A generator of macro panels: few units over many periods, with common shocks of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcsim._core import Panel, require_panel
from mcsim._keys import require_key
from mcsim._pytree import pytree
from mcsim._schema import Schema, infer_schema
from mcsim.errors import raise_all
from mcsim.generators._cache import cached
from mcsim.generators._fitted_panel import FIXED_SHOCKS
from mcsim.generators._macro._checks import (
    faults_of_options,
    faults_of_sample,
    faults_of_training,
)
from mcsim.generators._macro._realized import realized_shocks
from mcsim.generators._macro._simulated_moments import Rates, SimulatedMoments, target
from mcsim.generators._macro._skeleton import (
    Common,
    Skeleton,
    draw_noise,
    simulate,
    simulate_given,
)
from mcsim.generators._training import train_members


@dataclass(frozen=True)
class MacroPanel:
    """A generator of macro panels, fit by simulated moments; the configuration is the trainer.

    For one outcome of few units over many periods, such as growth of 25 countries over 59 years.
    A unit's series is its mean plus its scale times the sum of a common factor with stochastic
    volatility, a slow common component, a slow one of its own, an AR(2) with stochastic volatility,
    and outliers of the level; innovations have fat tails. Means, scales, persistence, loadings
    and the sizes of the parts are drawn from one population, so that units are exchangeable, and
    panels of any number of units and periods can be drawn. The slow parts decide how wrong
    standard errors are that take observations, or periods, for independent: the fit matches the
    variance of a placebo estimate.

    Parameters
    ----------
    steps : int
        Steps of Adam; each draws panels of the data's size.
    panels : int
        Panels that a step draws; an even number.
    learning_rate : float
        The first step size; it decays to zero by a cosine.
    average : float
        Decay of the moving average of the parameters, which draws in the end.
    placebo_weight : float
        Weight of the variance of a placebo estimate beside the other moments.
    common_shocks : {"redraw", "fixed"}
        Whether every panel has common shocks of its own, or those of the data: the cross-section
        mean path, less what units add to it by chance.

    References
    ----------
    Duffie & Singleton (1993), Simulated moments estimation of Markov models of asset prices,
    Econometrica 61: 929-952. Bertrand, Duflo & Mullainathan (2004), How much should we trust
    differences-in-differences estimates?, Quarterly Journal of Economics 119: 249-275.

    Examples
    --------
    >>> import jax, numpy as np
    >>> rng = np.random.default_rng(0)
    >>> shocks, noise = rng.normal(size=(1, 40)), rng.normal(size=(8, 40))
    >>> panel = Panel({"growth": 2.0 + 0.5 * shocks + noise})
    >>> trainer = MacroPanel(steps=3, panels=4)
    >>> generator = trainer.fit(jax.random.key(0), panel, progress=False)
    >>> generator
    FittedMacroPanel(growth, common shocks redrawn)
    >>> generator.sample(jax.random.key(1), 12, 60)
    Panel(12 units x 60 periods: growth)
    """

    steps: int = 500
    panels: int = 32
    learning_rate: float = 0.02
    average: float = 0.98
    placebo_weight: float = 10.0
    common_shocks: str = "redraw"

    def __post_init__(self):
        raise_all(faults_of_options(self))

    def fit(
        self,
        key: Array,
        panel: Panel,
        *,
        given: Sequence[str] = (),
        schema: Schema | None = None,
        progress: bool = True,
    ) -> "FittedMacroPanel":
        """Learn the law of a macro panel.

        Parameters
        ----------
        key : key
            Where the panels of the steps come from.
        panel : Panel
            The data: one column, complete, at least 4 units and 20 periods.
        given : sequence of str
            Must be empty: nothing is conditioned on.
        schema : Schema, optional
            Name and labels of the column; default `mcsim.infer_schema`.
        progress : bool
            Show a bar, if on a terminal.

        Returns
        -------
        FittedMacroPanel

        Raises
        ------
        InputError
            For data that cannot be learned from: all faults are reported together.
        TrainingDiverged
            If the losses end in NaN or run away.
        """
        require_key(key)
        options: dict[str, Any] = {"given": given, "schema": schema, "progress": progress}
        return self.fit_members(jnp.stack([key]), panel, [None], **options)[0]

    def fit_members(
        self,
        keys: Array,
        panel: Panel,
        rows: Sequence[np.ndarray | None],
        *,
        given: Sequence[str] = (),
        schema: Schema | None = None,
        progress: bool = True,
    ) -> "list[FittedMacroPanel]":
        """Fit one generator per key, each on its units of the panel (None: all); see `fit_many`."""
        require_panel(panel)
        raise_all(faults_of_training(panel, given, rows))
        (name,) = panel
        values = np.asarray(panel[name], np.float64)
        schema = infer_schema({name: values}) if schema is None else schema.select((name,))
        schema = replace(schema, unit_labels=())

        def train(missing: list[int]) -> list[FittedMacroPanel]:
            chosen = [values if rows[m] is None else values[rows[m]] for m in missing]
            fits = _fit_all(self, schema, chosen, [keys[m] for m in missing], progress)
            return [replace(fit, rows=rows[m]) for fit, m in zip(fits, missing, strict=True)]

        return cached(self, schema, (), {name: values}, keys, rows, train)


@pytree("skeleton", "center", "scale", "realized", "losses", "rows")
@dataclass(frozen=True, eq=False, repr=False)
class FittedMacroPanel:
    """A generator that has learned a macro panel: draws any number of units and periods.

    Made by `MacroPanel.fit` and `fit_many`. Immutable; a pytree.

    Attributes
    ----------
    config : MacroPanel
        The configuration that it was fit with.
    schema : Schema
        Name and labels of the column.
    skeleton : Skeleton
        The fitted parameters.
    center, scale : array ()
        What turns the skeleton's units into those of the data.
    realized : Common
        The data's common shocks, as far as they can be told from units' own.
    losses : dict of str to array (step,)
        ``"moments"``: mean squared miss of the moments, in sampling variances; ``"placebo"``: the
        relative miss of the variance of a placebo estimate. Both as estimated from one step's
        panels.
    rows : array of int, or None
        The units that it was trained on; None: all.
    """

    config: MacroPanel
    schema: Schema
    skeleton: Skeleton
    center: Any
    scale: Any
    realized: Common
    losses: Mapping[str, np.ndarray] = field(default_factory=dict)
    rows: np.ndarray | None = None

    def __repr__(self) -> str:
        shocks = "redrawn" if self.common_shocks == "redraw" else "those of the data"
        rows = "" if self.rows is None else f"; fit on {len(self.rows):,} units"
        return f"FittedMacroPanel({self.schema.names[0]}, common shocks {shocks}{rows})"

    @property
    def given(self) -> tuple[str, ...]:
        """Columns that are conditioned on: none."""
        return ()

    @property
    def n_periods(self) -> int:
        """Number of periods of the data; with redrawn shocks it can draw any number."""
        return self.realized.factor.shape[-1]

    @property
    def common_shocks(self) -> str:
        """Whether common shocks are those of the data, or drawn anew in every panel."""
        return self.config.common_shocks

    @property
    def summary(self) -> str:
        """One line for the head of a report."""
        return f"MacroPanel of {self.schema.names[0]}, common shocks {self.common_shocks}"

    @property
    def caveats(self) -> tuple[str, ...]:
        """What a reader may not conclude."""
        return () if self.common_shocks == "redraw" else (FIXED_SHOCKS,)

    def with_shocks(self, common_shocks: str) -> "FittedMacroPanel":
        """Return the generator with common shocks ``"fixed"`` or drawn anew (``"redraw"``)."""
        return replace(self, config=replace(self.config, common_shocks=common_shocks))

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
            Where the noise comes from.
        n_units, n_periods : int
            Its size; static under jit. By default as many periods as the data have.
        given : mapping, optional
            Must be empty: nothing is conditioned on.

        Returns
        -------
        Panel
            One float64 column.

        Raises
        ------
        InputError
            For a wrong size, with fixed common shocks more periods than the data have, and given
            columns.
        """
        require_key(key)
        periods = self.n_periods if n_periods is None else n_periods
        raise_all(faults_of_sample(self, n_units, periods, given))
        values = _draw(replace(self, losses={}, rows=None), int(n_units), int(periods), key)
        return Panel({self.schema.names[0]: values})


@partial(jax.jit, static_argnums=(1, 2))
def _draw(
    generator: FittedMacroPanel, n_units: int, n_periods: int, key: Array
) -> Float[Array, "unit period"]:
    noise = draw_noise(key, n_units, n_periods)
    if generator.common_shocks == "redraw":
        drawn = simulate(generator.skeleton, noise)
    else:
        shocks = jax.tree.map(lambda path: path[:n_periods], generator.realized)
        drawn = simulate_given(generator.skeleton, noise, shocks)
    return generator.center + generator.scale * drawn.astype(jnp.float64)


def _fit_all(
    config: MacroPanel,
    schema: Schema,
    members: Sequence[Float[np.ndarray, "unit period"]],
    keys: Sequence[Array],
    progress: bool,
) -> list[FittedMacroPanel]:
    """Fit each member; those with as many units share one program."""
    numbers = config.steps, config.learning_rate, config.average, config.placebo_weight
    rates = Rates(*(jnp.float32(number) for number in numbers))
    fits: dict[int, FittedMacroPanel] = {}
    for n_units in sorted({len(values) for values in members}):
        alike = [m for m, values in enumerate(members) if len(values) == n_units]
        scales = [_center_and_scale(members[m]) for m in alike]
        data = [
            target((members[m] - center) / scale)
            for m, (center, scale) in zip(alike, scales, strict=True)
        ]
        recipe = SimulatedMoments(n_units, members[alike[0]].shape[1], config.panels)
        trained = train_members(recipe, data, rates, [keys[m] for m in alike], progress)
        for m, (center, scale), (state, losses) in zip(alike, scales, trained, strict=True):
            realized = realized_shocks(state.average, (members[m] - center) / scale)
            numbers = jnp.asarray(center), jnp.asarray(scale)
            fits[m] = FittedMacroPanel(
                config, schema, state.average, *numbers, realized, losses=losses
            )
    return [fits[m] for m in range(len(members))]


def _center_and_scale(values: Float[np.ndarray, "unit period"]) -> tuple[float, float]:
    return float(values.mean()), float(values.std(axis=1, ddof=1).mean())
