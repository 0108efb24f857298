"""Fitted panels: distributions of normal scores, and the way back from scores to columns."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from mcsim._core.calls import with_remedies
from mcsim._core.checks import at_least, faults_of_value
from mcsim._core.keys import require_key
from mcsim._core.pytree import pytree
from mcsim._core.records import Panel
from mcsim._data.schema import Schema
from mcsim.errors import did_you_mean, printable, raise_all
from mcsim.generators._scores.coding import Coding, Shocks
from mcsim.generators._scores.margins import Margin
from mcsim.generators._scores.vectors import Groups
from mcsim.generators._training.trainer import CommonShocks

FIXED_SHOCKS = (
    "Common shocks are those of the data in every replication: standard errors that allow for "
    "shocks (two-way clusters, Driscoll-Kraay) are judged given these shocks; "
    "common_shocks='redraw' draws them anew."
)
"""The caveat of generators whose time effects are fixed."""

SHOWN = 5  # unseen values named in a sentence


@runtime_checkable
class Distribution(Protocol):
    """A distribution of vectors of scores; a pytree."""

    def draw(self, key: Array, n_units: int) -> Float[Array, "unit coordinate"]:
        """Draw units, independent of each other."""
        ...


@runtime_checkable
class ShockedDistribution(Distribution, Protocol):
    """A distribution with shocks beyond the means of the periods: interactive factors."""

    def redrawn(self, key: Array) -> Distribution:
        """Return the distribution with other shocks."""
        ...


@runtime_checkable
class Population(Protocol):
    """The population of units with one set of given values; a pytree."""

    @property
    def n_periods(self) -> int:
        """Number of periods of the data."""
        ...

    @property
    def most_periods(self) -> int | None:
        """Largest number of periods of a draw; None: any number."""
        ...

    @property
    def complete(self) -> bool:
        """Whether draws have no missing cell."""
        ...

    def draw(
        self, key: Array, n_units: int, n_periods: int, common_shocks: CommonShocks
    ) -> dict[str, Float[Array, "unit period"]]:
        """Draw columns, NaN where a cell is missing."""
        ...


@pytree("coding", "distribution", "recolor", "margins", "shocks", "groups")
@dataclass(frozen=True, eq=False)
class Part:
    """The distribution of the units with one set of given values.

    Attributes
    ----------
    coding : Coding
        Of the training data.
    distribution : Distribution
        Of the vectors.
    recolor : array (coordinate, coordinate) or None
        Matrix that gives drawn vectors the covariance of the training data.
    margins : tuple of Margin
        Margins of the coding, requantiled so that drawn vectors have the training data's.
    shocks : Shocks
        The means of the periods.
    groups : Groups or None
        The groups above the units.
    """

    coding: Coding
    distribution: Any
    recolor: Any
    margins: tuple[Margin, ...]
    shocks: Shocks
    groups: Groups | None

    @property
    def n_periods(self) -> int:
        """Number of periods of the data."""
        return self.coding.layout.periods

    @property
    def most_periods(self) -> int:
        """Largest number of periods of a draw: the data's."""
        return self.n_periods

    @property
    def complete(self) -> bool:
        """True: draws have no missing cell."""
        return True

    def draw(
        self, key: Array, n_units: int, n_periods: int, common_shocks: CommonShocks
    ) -> dict[str, Float[Array, "unit period"]]:
        """Draw columns."""
        of_distribution, of_shocks, of_groups = jax.random.split(key, 3)
        distribution = self.distribution
        if common_shocks == "redraw" and isinstance(distribution, ShockedDistribution):
            distribution = distribution.redrawn(jax.random.fold_in(of_shocks, 1))
        vectors = distribution.draw(of_distribution, n_units).astype(jnp.float64)
        if self.recolor is not None:
            vectors = vectors @ self.recolor.T
        extra = {}
        if self.groups is not None:
            vectors, group = self.groups.draw(of_groups, vectors)
            shape = n_units, self.coding.layout.periods
            extra = {self.groups.name: jnp.broadcast_to(group[:, None], shape).astype(jnp.float64)}
        centers = jnp.asarray(self.coding.centers)
        if common_shocks == "redraw":
            drawn = self.shocks.draw(of_shocks).ravel()
            centers = jnp.concatenate([drawn, centers[len(drawn) :]])
        columns = replace(self.coding, margins=self.margins).values(vectors, centers)
        return {name: values[:, :n_periods] for name, values in (columns | extra).items()}


@pytree("parts", "losses", "rows")
@dataclass(frozen=True, eq=False, repr=False)
class FittedPanel:
    """A fitted generator of panels of any number of units.

    Made by the trainers' ``fit``, `fit_many` and `load`. Immutable; a pytree.

    Attributes
    ----------
    config
        The configuration of the fit.
    schema : Schema
        Kinds, bounds and labels of the columns.
    given : tuple of str
        Conditioning columns of a cross-section.
    levels : tuple of tuple of float
        The values of ``given`` that the data hold, one part for each.
    parts : tuple of Population
        The populations.
    losses : dict of str to array (step,)
        Recorded losses; empty for generators that are not trained by steps.
    rows : array of int, or None
        The training units; None: all.
    """

    config: Any
    schema: Schema
    given: tuple[str, ...]
    levels: tuple[tuple[float, ...], ...]
    parts: tuple[Population, ...]
    losses: Mapping[str, np.ndarray] = field(default_factory=dict)
    rows: np.ndarray | None = None

    def __repr__(self) -> str:
        kind = type(self.config).__name__
        given = f" given {', '.join(self.given)}" if self.given else ""
        drawn = ", ".join(name for name in self.schema.names if name not in self.given)
        many = f" over {self.n_periods} periods" if self.n_periods > 1 else ""
        rows = "" if self.rows is None else f"; fit on {len(self.rows):,} units"
        return printable(f"FittedPanel({kind}: {drawn}{given}{many}{rows})")

    @property
    def n_periods(self) -> int:
        """Number of periods of the data."""
        return self.parts[0].n_periods

    @property
    def common_shocks(self) -> CommonShocks:
        """``"fixed"``: period means of the data; ``"redraw"``: period means drawn anew."""
        return self.config.common_shocks

    @property
    def summary(self) -> str:
        """One line for the head of a report."""
        shocks = f", common shocks {self.common_shocks}" if self.n_periods > 1 else ""
        return f"{type(self.config).__name__} of {', '.join(self.schema.names)}{shocks}"

    @property
    def caveats(self) -> tuple[str, ...]:
        """Limits of conclusions from draws, as sentences."""
        if self.n_periods == 1 or self.common_shocks == "redraw":
            return ()
        return (FIXED_SHOCKS,)

    def with_shocks(self, common_shocks: CommonShocks) -> "FittedPanel":
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
        n_units : int
            Number of units; static under jit.
        n_periods : int, optional
            Number of periods, default as in the data; fewer are the first ones.
        given : mapping of str to array (unit,) or (unit, 1), optional
            Values of the fit's given columns.

        Returns
        -------
        Panel
            Float64 columns in the schema's order. Under jit, a unit with given values that were not
            seen in training is NaN; outside it is an error. Bootstraps of units with missing cells
            give a mask.

        Raises
        ------
        InputError
            For a wrong number of units, more periods than the data had, and given columns that are
            missing, unknown, of another length, or hold values unseen in training.
        """
        require_key(key)
        periods = self.n_periods if n_periods is None else n_periods
        known = dict(given or {})
        raise_all(
            [
                *faults_of_size("n_units", n_units),
                *faults_of_periods(periods, self.parts[0].most_periods),
                *_faults_of_given(self.given, known, n_units),
            ]
        )
        values = [jnp.asarray(known[n], jnp.float64).reshape(n_units) for n in self.given]
        raise_all(faults_of_given_values(self.given, values, self.levels) if self.given else [])
        columns = _draw(replace(self, losses={}, rows=None), n_units, periods, key, values)
        columns = {name: columns[name] for name in self.schema.names}
        if all(part.complete for part in self.parts):
            return self.schema.panel(columns)
        observed = [jnp.isfinite(values) for values in columns.values()]
        return self.schema.panel(columns, jnp.stack(observed).all(axis=0))


def faults_of_size(name: str, value: Any) -> list[str]:
    """Check a number of units or periods."""
    return faults_of_value(name, value, at_least(1))


def faults_of_periods(asked: Any, known: int | None) -> list[str]:
    """Return the faults of a number of periods; ``known`` is the largest, if any."""
    faults = faults_of_size("n_periods", asked)
    if faults or known is None or asked <= known:
        return faults
    return [
        f"n_periods: got {asked}, but this generator learned {known} periods and draws no more; "
        "ask for fewer, or fit MacroPanel or BlockBootstrap, which draw any number"
    ]


def _faults_of_given(names: tuple[str, ...], known: Mapping[str, Any], n_units: Any) -> list[str]:
    faults = [
        f"given column {name!r}: the generator was fit given {list(names) or 'nothing'}"
        f"{did_you_mean(name, names)}"
        for name in known
        if name not in names
    ]
    faults += [f"given column {name!r} is missing" for name in names if name not in known]
    shapes = {name: np.shape(known[name]) for name in known if name in names}
    return faults + [
        f"given column {name!r}: got shape {shape}, expected ({n_units},)"
        for name, shape in shapes.items()
        if shape not in ((n_units,), (n_units, 1))
    ]


@partial(jax.jit, static_argnums=(1, 2))
def _draw(
    generator: FittedPanel, n_units: int, n_periods: int, key: Array, given: list[Array]
) -> dict[str, Float[Array, "unit period"]]:
    shocks = generator.common_shocks
    drawn = [part.draw(key, n_units, n_periods, shocks) for part in generator.parts]
    if not generator.given:
        return drawn[0]
    values = jnp.stack(given, axis=1)
    known = [(values == jnp.asarray(level)).all(axis=1)[:, None] for level in generator.levels]
    columns = {
        name: jnp.select(known, [columns[name] for columns in drawn], jnp.nan) for name in drawn[0]
    }
    own = {name: values[:, [place]] for place, name in enumerate(generator.given)}
    return {**columns, **own}


def faults_of_given_values(
    names: Sequence[str], values: Sequence[Array], seen: Collection[tuple[float, ...]] | None
) -> list[str]:
    """Return the faults of the values of given columns, taken together.

    Parameters
    ----------
    names : sequence of str
        The columns.
    values : sequence of array (unit,)
        Their values. Traced values cannot be checked: units with unseen values are NaN there.
    seen : collection of tuple of float, or None
        The joint values of the training rows; None: any finite value is allowed.
    """
    if any(isinstance(column, Tracer) for column in values):
        return []
    infinite = {n: int((~np.isfinite(v)).sum()) for n, v in zip(names, values, strict=True)}
    faults = [f"given column {n!r}: {k} values are not finite" for n, k in infinite.items() if k]
    if faults or seen is None:
        return faults
    known = set(seen)
    found = np.unique(np.stack([np.asarray(column) for column in values], axis=1), axis=0)
    rows: list[tuple[float, ...]] = [tuple(row) for row in found.tolist()]
    unseen = [row for row in rows if row not in known]
    if not unseen:
        return []
    columns = f"columns {list(names)}" if len(names) > 1 else f"column {names[0]!r}"
    came = [row[0] if len(names) == 1 else row for row in unseen[:SHOWN]]
    were = ", ".join(map(_worded, seen))
    return [f"given {columns}: {came} unseen in training (seen: {were}); give seen values only"]


def _worded(row: tuple[float, ...]) -> str:
    """Write one value, or a joint value in parentheses."""
    words = ", ".join(f"{value:g}" for value in row)
    return f"({words})" if len(row) > 1 else words
