"""Trainers of both kinds of data: cross-sections column by column, panels as vectors of scores."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mcsim._calls import with_remedies
from mcsim._core import Panel, require_panel
from mcsim._keys import require_key
from mcsim._schema import Schema
from mcsim.errors import raise_all
from mcsim.generators._columns._architecture import Architecture, design_heads
from mcsim.generators._columns._checks import check_training
from mcsim.generators._columns._fitted import FittedGenerator
from mcsim.generators._columns._preparation import as_columns, generation_order
from mcsim.generators._columns._raking import raked
from mcsim.generators._networks import Params
from mcsim.generators._storage._cache import cached
from mcsim.generators._vectors._panel_trainer import PanelTrainer

LARGE = 4_000  # rows from which the recipe for large samples is the default

LearnedColumns = tuple[Any, tuple[Params, ...], Mapping[str, np.ndarray]]
"""Training data with pools, targets and tables; parameters of the networks; losses by step."""


@dataclass(frozen=True, kw_only=True)
class ColumnTrainer(PanelTrainer):
    """A trainer that draws the columns of a cross-section in turn, and learns panels too.

    Subclasses have the options ``hidden``, ``components`` and ``order``, and say how to learn.
    """

    sequences: ClassVar[tuple[str, ...]]
    """Options that may come as lists."""

    cross_section_only: ClassVar[tuple[str, ...]]
    panel_only: ClassVar[tuple[str, ...]]
    """Options that are refused for the other kind of data."""

    free_from: ClassVar[float] = np.inf
    """Rows from which each level of a column has a logit of its own."""

    def __post_init__(self):
        for name in self.sequences:
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        super().__post_init__()

    @abstractmethod
    def resolve(self, n_rows: int) -> "ColumnTrainer":
        """Return the configuration for a cross-section of so many rows: no None but ``order``."""

    @abstractmethod
    def learn_columns(
        self,
        keys: Sequence[Array],
        architecture: Architecture,
        columns: dict[str, np.ndarray],
        arms: np.ndarray,
        rows: Sequence[np.ndarray],
        progress: bool,
    ) -> list[LearnedColumns]:
        """Learn a cross-section once per key, each time from its rows; the options are resolved."""

    @with_remedies()
    def fit(
        self,
        key: Array,
        panel: Panel,
        *,
        given: Sequence[str] = (),
        schema: Schema | None = None,
        progress: bool = True,
    ) -> Any:
        """Learn the law of a cross-section, conditional on the columns ``given``, or of a panel.

        Parameters
        ----------
        key : key
            Where the first parameters and the batches come from.
        panel : Panel
            The data. A cross-section has one period and is finite.
        given : sequence of str
            Columns of a cross-section that are conditioned on and never drawn, for instance the
            treatment.
        schema : Schema, optional
            Kinds, bounds and mass points; default `mcsim.infer_schema`.
        progress : bool
            Show a bar, if on a terminal.

        Returns
        -------
        FittedGenerator, or FittedPanel for several periods

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
    ) -> list[Any]:
        """Fit one generator per key, each on its rows of the panel (None: all); see `fit_many`."""
        require_panel(panel)
        raise_all(self._faults_of_kind(panel.n_periods))
        if panel.n_periods > 1:
            options: dict[str, Any] = {"given": given, "schema": schema, "progress": progress}
            return super().fit_members(keys, panel, rows, **options)
        config: Any = self.resolve(panel.n_units)
        schema, given = check_training(panel, given, schema, config.order)
        columns, order = as_columns(panel), config.order or generation_order(schema, given)
        free = panel.n_units >= self.free_from
        architecture = design_heads(
            columns, schema, given, order, config.hidden, config.components, free=free
        )
        vectors = {name: jnp.asarray(values) for name, values in columns.items()}
        arms = np.asarray(architecture.arm(vectors, panel.n_units))

        def train(missing: list[int]) -> list[FittedGenerator]:
            everyone = np.arange(panel.n_units)
            chosen = [everyone if rows[m] is None else np.asarray(rows[m]) for m in missing]
            own = [keys[m] for m in missing]
            learned = config.learn_columns(own, architecture, columns, arms, chosen, progress)
            generators = []
            for member, key, (data, params, losses) in zip(missing, own, learned, strict=True):
                tables = raked(architecture, data, params, key)
                parts = config, schema, architecture, tables, params
                generators.append(FittedGenerator(*parts, losses=losses, rows=rows[member]))
            return generators

        return cached(config, schema, given, columns, keys, rows, train)

    def _faults_of_kind(self, periods: int) -> list[str]:
        """Return which options are for data of the other kind."""
        names, kind, came = self.panel_only, "a panel of several periods", "one period"
        if periods > 1:
            names, kind, came = self.cross_section_only, "a cross-section", f"{periods} periods"
        defaults = {field.name: field.default for field in fields(self)}
        return [
            f"{name}: got {getattr(self, name)!r}, an option for {kind}, but the panel has {came}; "
            "leave it out"
            for name in names
            if getattr(self, name) != defaults[name]
        ]
