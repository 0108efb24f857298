"""What all trainers of panels share: options, checks, cache, ensembles, and the way to a generator.

A subclass says what is learned from complete columns; all else is here.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from threadpoolctl import threadpool_limits

from mcsim._calls import with_remedies
from mcsim._core import Panel
from mcsim._keys import require_key
from mcsim._schema import Schema
from mcsim.errors import raise_all
from mcsim.generators._storage._cache import cached
from mcsim.generators._vectors._copies import UnitNumbers, identities
from mcsim.generators._vectors._fitted_panel import CommonShocks, FittedPanel, Population
from mcsim.generators._vectors._panel_checks import check_panel, faults_of_panel_options

Columns = dict[str, np.ndarray]


class Units(NamedTuple):
    """The units that one member of an ensemble learns from.

    Attributes
    ----------
    columns : dict of array (unit, period)
    rows : array (unit,)
        Their numbers in the panel; a bootstrap sample holds some of them several times.
    """

    columns: Columns
    rows: UnitNumbers


@dataclass(frozen=True, kw_only=True)
class Trainer(ABC):
    """A trainer of panels: a frozen configuration with ``fit`` and `fit_many`.

    Parameters
    ----------
    common_shocks : {"fixed", "redraw"}
        Whether the means of the periods are those of the data in every panel, or drawn anew.
    cluster : str, optional
        A column that holds the group (school, state) of each unit: it is generated with its group
        structure.
    missing : {"error", "model"}
        Missing cells are refused, or completed by a normal law given the unit's other cells;
        generated panels are complete.
    """

    common_shocks: CommonShocks = "fixed"
    cluster: str | None = None
    missing: Literal["error", "model"] = "error"

    whole_paths: ClassVar[bool] = True
    """Whether a unit's whole path is one observation, so that many periods need many units."""

    completes: ClassVar[bool] = True
    """Whether missing cells are completed, and not copied as gaps."""

    def __post_init__(self):
        raise_all([*faults_of_panel_options(self), *self.faults()])

    def faults(self) -> list[str]:
        """Return what is wrong with the options."""
        return []

    @abstractmethod
    def populations(
        self, keys: Sequence[Array], members: Sequence[Units], schema: Schema, progress: bool
    ) -> list[tuple[Population, Mapping[str, np.ndarray]]]:
        """Learn from each member's units; return what it draws from, and its losses by step."""

    @with_remedies()
    def fit(
        self,
        key: Array,
        panel: Panel,
        *,
        given: Sequence[str] = (),
        schema: Schema | None = None,
        progress: bool = True,
    ) -> FittedPanel:
        """Learn the law of a panel's units.

        Parameters
        ----------
        key : key
            Source of all randomness.
        panel : Panel
            The data; units are independent given common shocks, and groups.
        given : sequence of str
            Discrete columns of a cross-section that are conditioned on and never drawn.
        schema : Schema, optional
            Kinds, bounds and mass points; default `mcsim.infer_schema`.
        progress : bool
            Show a bar, if on a terminal.

        Returns
        -------
        FittedPanel

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
    ) -> list[FittedPanel]:
        """Fit one generator per key, each on its units of the panel (None: all); see `fit_many`."""
        schema, given, columns = check_panel(self, panel, given, schema)
        everyone = np.arange(panel.n_units)

        def train(missing: list[int]) -> list[FittedPanel]:
            chosen = [everyone if rows[m] is None else np.asarray(rows[m]) for m in missing]
            own = [self._units(columns, r) for r in chosen]
            with threadpool_limits(1):  # matrices are small, and bits the same on any machine
                fits = self._fit_all([keys[m] for m in missing], own, given, schema, progress)
            return [replace(fit, rows=rows[m]) for fit, m in zip(fits, missing, strict=True)]

        return cached(self, schema, given, columns, keys, rows, train)

    def _units(self, columns: Columns, rows: UnitNumbers) -> Units:
        chosen = {name: values[rows] for name, values in columns.items()}
        if self.cluster is not None:
            chosen[self.cluster] = _told_apart(chosen[self.cluster], rows)
        return Units(chosen, rows)

    def _fit_all(
        self,
        keys: Sequence[Array],
        members: Sequence[Units],
        given: tuple[str, ...],
        schema: Schema,
        progress: bool,
    ) -> list[FittedPanel]:
        """Fit every member at every level of the given columns; levels share programs if alike."""
        levels, parts, losses = _levels(members[0].columns, given), [], {}
        for number, level in enumerate(levels):
            here = [_at_level(units, given, level) for units in members]
            raise_all(_faults_of_copies(here))
            own = [jax.random.fold_in(key, number) for key in keys]
            found = self.populations(own, here, schema, progress)
            parts.append([part for part, _ in found])
            losses = losses or [recorded for _, recorded in found]
        return [
            FittedPanel(self, schema, given, levels, tuple(of_level[m] for of_level in parts),
                        losses=dict(losses[m]))
            for m in range(len(members))
        ]  # fmt: skip


def _faults_of_copies(members: Sequence[Units]) -> list[str]:
    return [
        f"resample: the bootstrap sample of member {m} holds nothing but copies of one unit; take "
        "other keys, or resample='folds'"
        for m, units in enumerate(members)
        if len(units.rows) > 1 and not identities(units.rows).any()
    ]


def _told_apart(codes: np.ndarray, rows: UnitNumbers) -> np.ndarray:
    """Return codes (unit, period) under which a cluster that was drawn twice is two clusters."""
    order = np.argsort(rows, kind="stable")
    first = np.searchsorted(rows[order], rows[order], side="left")
    copy = np.empty(len(rows), np.int64)
    copy[order] = np.arange(len(rows)) - first
    return codes if not copy.any() else codes + (np.ptp(codes) + 1) * copy[:, None]


def _levels(columns: Columns, given: tuple[str, ...]) -> tuple:
    if not given:
        return ((),)
    joint = np.unique(np.stack([columns[name][:, 0] for name in given], axis=1), axis=0)
    return tuple(map(tuple, joint.tolist()))


def _at_level(units: Units, given: tuple[str, ...], level: tuple) -> Units:
    """Return the units that hold these values, and their free columns."""
    inside = np.ones(len(units.rows), bool)
    for name, value in zip(given, level, strict=True):
        inside &= units.columns[name][:, 0] == value
    free = {n: values[inside] for n, values in units.columns.items() if n not in given}
    return Units(free, units.rows[inside])


def numpy_rng(key: Array) -> np.random.Generator:
    """Return a NumPy generator made from a key."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel().tolist())
