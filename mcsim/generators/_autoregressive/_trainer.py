"""Columns and periods in turn, each given those before, by maximum likelihood."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mcsim._core import Panel, require_panel
from mcsim._keys import require_key
from mcsim._schema import Schema
from mcsim.errors import InputError, raise_all
from mcsim.generators._autoregressive._training import learn_cells
from mcsim.generators._columns._architecture import design_heads
from mcsim.generators._columns._checks import check_training, faults_of_likelihood
from mcsim.generators._columns._fitted import FittedGenerator
from mcsim.generators._columns._likelihood import Likelihood, Rates, TrainingRows
from mcsim.generators._columns._preparation import (
    Batches,
    arm_rows,
    as_columns,
    generation_order,
    training_rows,
)
from mcsim.generators._columns._raking import raked
from mcsim.generators._storage._cache import cached
from mcsim.generators._training import Trained, train_members
from mcsim.generators._vectors._coding import Scores
from mcsim.generators._vectors._panel_trainer import Learned, PanelTrainer

LARGE = 4_000  # rows from which the recipe for large samples is the default


CROSS_SECTION_ONLY = "dropout", "smallest_arm"
PANEL_ONLY = "folds", "patience", "common_shocks", "cluster", "missing"


@dataclass(frozen=True, kw_only=True)
class Autoregressive(PanelTrainer):
    """Columns and periods in turn, each given those before, by maximum likelihood.

    There is no adversary and no latent row: likelihoods are exact, and a fit takes seconds.

    In a cross-section, the law of each column given the columns before it is a network: categories
    have softmax heads, continuous columns mixtures of mass points and logistic components. Small
    samples are held back by dropout, weight decay and few steps. In the end the shares of atoms and
    categories are raked to those of the training rows, arm by arm. Options left at None are chosen
    by the number of rows: one recipe below 4,000 rows and another above.

    In a panel of several periods, cells are drawn period by period and column by column. Their
    conditional means are those of the Gaussian copula with structured shrinkage; a network per
    column, the same in all periods, gives the law of the standardized innovation, a mixture of
    normals and mass points, given the unit's last two periods, the mean and the spread of its
    history, its mass points so far, the columns before and the period. Training starts at the
    copula and ends when units that copies of the networks have not seen become less likely. Columns
    that are constant within units are drawn first, by the copula. In the end the shares of mass
    points are raked to those of the data, period by period, draws are recolored to the covariance
    of the data, and margins moved to theirs.

    Parameters
    ----------
    hidden : tuple of int, optional
        Widths of the hidden layers of each column's network. None: (64,), large (64, 64); for
        panels (16,).
    components : int, optional
        Components of a continuous column. None: 5 logistic ones; for panels 3 normal ones.
    steps : int, optional
        Steps of the optimizer, for panels at most. None: 400, large 2,000; for panels 400.
    batch_size : int, optional
        Rows of a step; for panels units, all if there are no more. None: 128, large 512; for
        panels 1,024.
    learning_rate : float, optional
        Adam's step size (b1 = 0.9, b2 = 0.99); in cross-sections it decays to zero by a cosine.
        None: 1e-3, large and for panels 3e-3.
    weight_decay : float, optional
        By which parameters shrink, times the step size, at each step. None: 1, large 0; for panels
        0.1.
    dropout : float, optional
        Cross-sections: share of the hidden units that each row of a step goes without. None: 0.5,
        large 0.
    smallest_arm : float
        Cross-sections: share of a step's rows that each arm (joint value of the discrete given
        columns) holds at least.
    order : tuple of str, optional
        Order in which the columns are drawn. None: discrete columns in ascending number of levels,
        then continuous ones, the last column last; for panels the columns that vary over time as
        they come.
    folds : int
        Panels: copies that leave out a part of the units each and say when to stop. 0: all steps
        are taken.
    patience : int
        Panels: steps without a better judgment after which training ends.
    common_shocks : {"fixed", "redraw"}
        Panels: whether the means of the periods are those of the data in every panel, or drawn
        anew.
    cluster : str, optional
        Panels: a column that holds the group (school, state) of each unit: it is generated with its
        group structure.
    missing : {"error", "model"}
        Panels: missing cells are refused, or completed by a normal law given the unit's other
        cells; generated panels are complete.

    References
    ----------
    Uria, Murray & Larochelle (2013), RNADE: the real-valued neural autoregressive
    density-estimator, NeurIPS. Srivastava et al. (2014), Dropout, JMLR 15: 1929-1958.

    Examples
    --------
    >>> import jax, numpy as np
    >>> rng = np.random.default_rng(0)
    >>> treat = np.repeat([0.0, 1.0], 30)
    >>> panel = Panel({"treat": treat, "wage": np.exp(rng.normal(2 + 0.1 * treat, 0.5))})
    >>> trainer = Autoregressive(hidden=(8,), steps=3, batch_size=16)
    >>> generator = trainer.fit(jax.random.key(0), panel, given=["treat"], progress=False)
    >>> generator
    FittedGenerator(Autoregressive: wage given treat)
    >>> generator.sample(jax.random.key(1), 4, given={"treat": np.ones(4)})
    Panel(4 units x 1 period: treat, wage)
    """

    hidden: tuple[int, ...] | None = None
    components: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    dropout: float | None = None
    smallest_arm: float = 0.03
    order: tuple[str, ...] | None = None
    folds: int = 4
    patience: int = 40

    def __post_init__(self):
        for name in ("hidden", "order"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        super().__post_init__()

    def faults(self) -> list[str]:
        """Return what is wrong with the options."""
        return faults_of_likelihood(self)

    def resolve(self, n_rows: int) -> "Autoregressive":
        """Return the configuration for a cross-section: every None but ``order`` filled in."""
        large = n_rows >= LARGE
        return self._filled(
            hidden=(64, 64) if large else (64,),
            components=5,
            steps=2_000 if large else 400,
            batch_size=512 if large else 128,
            learning_rate=3e-3 if large else 1e-3,
            weight_decay=0.0 if large else 1.0,
            dropout=0.0 if large else 0.5,
        )

    def resolve_panel(self) -> "Autoregressive":
        """Return the configuration for a panel: every None but ``order`` filled in."""
        return self._filled(
            hidden=(16,),
            components=3,
            steps=400,
            batch_size=1_024,
            learning_rate=3e-3,
            weight_decay=0.1,
        )

    def _filled(self, **defaults: Any) -> "Autoregressive":
        return replace(self, **{n: v for n, v in defaults.items() if getattr(self, n) is None})

    def fit(
        self,
        key: Array,
        panel: Panel,
        *,
        given: Sequence[str] = (),
        schema: Schema | None = None,
        progress: bool = True,
    ) -> Any:
        """Learn the law of a cross-section given some of its columns, or that of a panel's units.

        Parameters
        ----------
        key : key
            Where the first parameters and the batches come from.
        panel : Panel
            The data.
        given : sequence of str
            Columns of a cross-section that are conditioned on and never drawn, for instance the
            treatment.
        schema : Schema, optional
            Kinds, bounds and mass points; default `mcsim.infer_schema`.
        progress : bool
            Show a bar, if on a terminal.

        Returns
        -------
        FittedGenerator or FittedPanel
            For a cross-section, or for a panel of several periods.

        Raises
        ------
        InputError
            For data that cannot be learned from: all faults are reported together.
        TrainingDiverged
            If the likelihood ends in NaN or runs away.
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
    ) -> list[Any]:
        """Fit one generator per key, each on its rows of the panel (None: all); see `fit_many`."""
        require_panel(panel)
        raise_all(_faults_of_kind(self, panel.n_periods))
        if panel.n_periods > 1:
            options: dict[str, Any] = {"given": given, "schema": schema, "progress": progress}
            return super().fit_members(keys, panel, rows, **options)
        schema, given = check_training(panel, given, schema, self.order)
        columns, config = as_columns(panel), self.resolve(panel.n_units)
        order, large = self.order or generation_order(schema, given), panel.n_units >= LARGE
        architecture = design_heads(
            columns, schema, given, order, config.hidden or (), config.components or 0, free=large
        )
        vectors = {name: jnp.asarray(values) for name, values in columns.items()}
        arms = np.asarray(architecture.arm(vectors, panel.n_units))
        counts = arm_rows(arms, Batches(config.batch_size or 0, config.smallest_arm, 0.0))
        recipe = Likelihood(architecture, counts, bool(config.dropout))
        rates = Rates(*(jnp.float32(getattr(config, name)) for name in Rates._fields))

        def fitted(member: int, data: TrainingRows, trained: Trained) -> FittedGenerator:
            params = trained.state.params
            tables = raked(architecture, data, params, keys[member])
            parts = config, schema, architecture, tables, params
            return FittedGenerator(*parts, losses=trained.losses, rows=rows[member])

        def train(missing: list[int]) -> list[FittedGenerator]:
            everyone = np.arange(panel.n_units)
            chosen = [everyone if rows[m] is None else np.asarray(rows[m]) for m in missing]
            data = [training_rows(architecture, columns, arms, r) for r in chosen]
            trained = train_members(recipe, data, rates, [keys[m] for m in missing], progress)
            return [fitted(*parts) for parts in zip(missing, data, trained, strict=True)]

        return cached(config, schema, given, columns, keys, rows, train)

    def learn(self, keys: Sequence[Array], data: Sequence[Scores], progress: bool) -> list[Learned]:
        """Learn the cells of a panel."""
        paths = data[0].coding.layout.paths
        if self.order is not None and sorted(self.order) != sorted(paths):
            raise InputError(
                f"order: got {list(self.order)}, expected each column that varies over time once: "
                f"{list(paths)}"
            )
        return learn_cells(self.resolve_panel(), keys, data, progress)


def _faults_of_kind(config: Autoregressive, periods: int) -> list[str]:
    """Refuse options that are for the other kind of data."""
    names = CROSS_SECTION_ONLY if periods > 1 else PANEL_ONLY
    kind = "a cross-section" if periods > 1 else "a panel of several periods"
    came = f"{periods} periods" if periods > 1 else "one period"
    defaults = {field.name: field.default for field in fields(config)}
    return [
        f"{name}: got {getattr(config, name)!r}, an option for {kind}, but the panel has {came}; "
        "leave it out"
        for name in names
        if getattr(config, name) != defaults[name]
    ]
