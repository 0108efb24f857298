"""The generator of macro panels: few units over many periods, with common shocks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcsim._core.calls import with_remedies
from mcsim._core.checks import Rule, faults_of, is_whole
from mcsim._core.records import Panel
from mcsim._data.schema import Column, Schema, schema_of
from mcsim.errors import Fault, Option, raise_all
from mcsim.generators._macro.fitted_macro_panel import FittedMacroPanel
from mcsim.generators._macro.simulated_moments import (
    Rates,
    SimulatedMoments,
    fitted_model,
    target,
)
from mcsim.generators._macro.structural_model import realized_shocks
from mcsim.generators._training.steps import numbers_of, train_members
from mcsim.generators._training.trainer import (
    Count,
    Positive,
    Share,
    ShockOption,
    Source,
    Weight,
    fit,
    fit_members,
    set_plain_options,
)

MIN_UNITS, MIN_PERIODS = 4, 20
CELLS = 190_000  # that a step draws, about
EVEN = Rule(
    lambda value: is_whole(value) and value >= 4 and value % 2 == 0, "an even integer of at least 4"
)


@with_remedies()
@dataclass(frozen=True, kw_only=True)
class MacroPanel:
    """A generator of macro panels, fit by simulated moments; the configuration is the trainer.

    For one outcome of few units over many periods, such as growth of 25 countries over 59 years.
    A unit's series is its mean plus its scale times the sum of a common factor with stochastic
    volatility, a slow common component, a slow one of its own, an AR(2) with stochastic volatility,
    and outliers of the level; innovations have fat tails. Means, scales, persistence, loadings
    and the sizes of the parts are drawn from one population, so that units are exchangeable, and
    panels of any number of units and periods can be drawn. Slow parts govern the errors of
    standard errors that treat observations, or periods, as independent: the fit matches the
    variance of a placebo estimate. Where it cannot, as where one unit has its own trend, a
    sentence of ``caveats`` warns.

    Parameters
    ----------
    steps : int
        Steps of Adam; each draws panels of the data's size.
    panels : int, optional
        Panels per step; an even number. None: 32 of 25 x 236, fewer of larger ones, more
        of smaller ones, at least 8 and at most 64.
    learning_rate : float
        The first step size; it decays to zero by a cosine.
    average : float
        Decay of the moving average of the parameters, which the fit keeps.
    placebo_weight : float
        Weight of the variance of a placebo estimate beside the other moments.
    common_shocks : {"redraw", "fixed"}
        Whether every panel has its own common shocks, or the data's: the cross-section mean path,
        less the chance variation from units.

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

    steps: Count = 500
    panels: Annotated[int, EVEN] | None = None
    learning_rate: Positive = 0.02
    average: Share = 0.98
    placebo_weight: Weight = 30.0
    common_shocks: ShockOption = "redraw"

    def __post_init__(self):
        set_plain_options(self)
        raise_all(faults_of(self))

    @with_remedies()
    def fit(
        self,
        key: Array,
        panel: Panel,
        *,
        given: Sequence[str] = (),
        schema: Schema | None = None,
        progress: bool = True,
    ) -> FittedMacroPanel:
        """Learn the distribution of a macro panel.

        Parameters
        ----------
        key : key
            Source of the panels of the steps.
        panel : Panel
            The data: one column, complete, at least 4 units and 20 periods.
        given : sequence of str
            Must be empty: there are no conditioning columns.
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
        return fit(self, key, panel, given=given, schema=schema, progress=progress)

    def fit_members(
        self,
        keys: Array,
        panel: Panel,
        rows: Sequence[np.ndarray | None],
        *,
        given: Sequence[str] = (),
        schema: Schema | None = None,
        progress: bool = True,
    ) -> list[FittedMacroPanel]:
        """Fit one generator per key, each on its units of the panel (None: all); see `fit_many`."""
        options: dict[str, Any] = {"given": given, "schema": schema, "progress": progress}
        return fit_members(self, keys, panel, rows, **options)

    def recipe(self, n_units: int, n_periods: int) -> "MacroRecipe":
        """Return the recipe: simulated moments."""
        return MacroRecipe(self)


@dataclass(frozen=True)
class MacroRecipe:
    """The recipe of macro panels."""

    config: MacroPanel

    @property
    def refused(self) -> tuple[str, ...]:
        """Options for data of another kind: none."""
        return ()

    @property
    def takes_missing(self) -> bool:
        """False: cells may not be missing."""
        return False

    def checked(
        self,
        panel: Panel,
        rows: Sequence[np.ndarray | None],
        given: Sequence[str],
        schema: Schema | None,
    ) -> Source:
        """Return the schema and the one column (unit, period), or raise all faults."""
        raise_all(_faults_of_training(panel, given, rows))
        (name,) = panel
        schema = replace(schema_of(panel, schema), unit_labels=())
        raise_all(_faults_of_kind(schema[name]))
        return Source(schema, (), {name: np.asarray(panel[name], np.float64)})

    def train(
        self, source: Source, keys: Sequence[Array], rows: Sequence[np.ndarray], progress: bool
    ) -> list[FittedMacroPanel]:
        """Fit each member to its units."""
        (values,) = source.columns.values()
        members = [values[own] for own in rows]
        return _fit_all(self.config, source.schema, members, keys, progress)


def _fit_all(
    config: MacroPanel,
    schema: Schema,
    members: Sequence[Float[np.ndarray, "unit period"]],
    keys: Sequence[Array],
    progress: bool,
) -> list[FittedMacroPanel]:
    """Fit each member; members with equally many units share one program."""
    rates = numbers_of(config, Rates)
    fits: dict[int, FittedMacroPanel] = {}
    for n_units in sorted({len(values) for values in members}):
        alike = [m for m, values in enumerate(members) if len(values) == n_units]
        scales = [_center_and_scale(members[m]) for m in alike]
        data = [
            target((members[m] - center) / scale)
            for m, (center, scale) in zip(alike, scales, strict=True)
        ]
        n_periods = members[alike[0]].shape[1]
        panels = config.panels or _panels_of_a_step(n_units * n_periods)
        algorithm = SimulatedMoments(n_units, n_periods, panels)
        trained = train_members(algorithm, data, rates, [keys[m] for m in alike], progress)
        for m, (center, scale), own, (state, losses) in zip(
            alike, scales, data, trained, strict=True
        ):
            model = fitted_model(own, state)
            realized = realized_shocks(model, (members[m] - center) / scale)
            distribution = model, jnp.asarray(center), jnp.asarray(scale), realized
            fits[m] = FittedMacroPanel(config, schema, *distribution, losses=losses)
    return [fits[m] for m in range(len(members))]


def _panels_of_a_step(cells: int) -> int:
    return min(max(CELLS // cells // 2 * 2, 8), 64)


def _center_and_scale(values: Float[np.ndarray, "unit period"]) -> tuple[float, float]:
    return float(values.mean()), float(values.std(axis=1, ddof=1).mean())


def _faults_of_training(panel: Panel, given: Sequence[str], rows: Sequence[Any]) -> list[str]:
    """Return the faults of a panel."""
    faults = []
    if len(given):
        faults.append(
            f"given: got {given!r}, but MacroPanel draws whole series and conditions on nothing; "
            "leave it out"
        )
    first = next(iter(panel))
    if len(panel) > 1:
        faults.append(
            Fault(
                f"panel: got {len(panel)} columns ({', '.join(panel)}), but MacroPanel learns one "
                "outcome",
                ["choose it: ", Option(f"panel.select([{first!r}])", "select", first)],
            )
        )
    if any(chosen is not None and len(np.unique(chosen)) < len(chosen) for chosen in rows):
        faults.append(
            "resample: a bootstrap sample holds units twice, and MacroPanel would take duplicates "
            "for units that move together; take resample='folds', or None"
        )
    fewest = min(panel.n_units if chosen is None else len(chosen) for chosen in rows)
    if fewest < MIN_UNITS:
        whole = "" if fewest == panel.n_units else f" of {panel.n_units} in one of the fits"
        faults.append(
            f"panel: got {fewest} {'unit' if fewest == 1 else 'units'}{whole}, expected at least "
            f"{MIN_UNITS} to learn a population of units from"
        )
    if panel.n_periods < MIN_PERIODS:
        faults.append(
            f"panel: got {panel.n_periods} {'period' if panel.n_periods == 1 else 'periods'}, "
            f"expected at least {MIN_PERIODS} to learn dynamics from; for short panels use VAE or "
            "another generator of units' whole paths"
        )
    return faults + [fault for name in panel for fault in _faults_of_cells(panel, name)]


def _faults_of_cells(panel: Panel, name: str) -> list[str]:
    values = np.asarray(panel[name], np.float64)
    holes = ~np.isfinite(values)
    if panel.mask is not None:
        holes = holes | ~np.asarray(panel.mask)
    if holes.any():
        complete = int((~holes.any(axis=1)).sum())
        return [
            f"column {name!r}: {int(holes.sum())} cells are missing or not finite; fill them, or "
            f"keep the {complete} units that are complete"
        ]
    constant = np.flatnonzero(np.ptp(values, axis=1) <= 1e-13 * np.abs(values).max(axis=1))
    if constant.size:
        which = ", ".join(map(str, constant[:5]))
        return [
            Fault(
                f"column {name!r}: constant over all periods in {constant.size} of {len(values)} "
                f"units (numbers {which}), which have no dynamics to learn",
                [Option("drop them with panel.take", "take")],
            )
        ]
    own = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    if (own.std(axis=1) <= 1e-6 * values.std(axis=1)).any():
        return [
            f"column {name!r}: some units differ from the cross-section mean by a constant alone, "
            "and have nothing of their own to learn; is a common series in place of the units'?"
        ]
    return []


def _faults_of_kind(column: Column) -> list[str]:
    """Return the faults of a column's kind."""
    if column.kind == "continuous":
        return []
    return [
        f"column {column.name!r}: the schema says {column.kind}, but MacroPanel draws continuous "
        f"values; if they may stand for it, pass schema.replace({column.name}="
        "{'kind': 'continuous'})"
    ]
