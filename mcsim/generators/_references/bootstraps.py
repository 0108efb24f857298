"""Bootstraps: units of the data drawn with replacement, also with noise, and blocks of dates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mcsim._core.calls import with_remedies
from mcsim._core.checks import Rule, faults_of, is_finite
from mcsim._core.pytree import pytree
from mcsim._data.schema import Schema
from mcsim.errors import InputError
from mcsim.generators._scores.coding import Coding, Scores, Shocks, encode, shocks_of
from mcsim.generators._scores.vectors import square_root
from mcsim.generators._training.fitted_panel import FittedPanel
from mcsim.generators._training.panel_recipe import (
    Columns,
    Learned,
    LearnedPopulation,
    PanelRecipe,
    Units,
    numpy_rng,
    of_scores,
)
from mcsim.generators._training.trainer import CommonShocks, ShockOption, Trainer

BANDWIDTH = Rule(
    lambda value: is_finite(value) and value > 0,
    "a positive number, such as 0.4; UnitBootstrap draws the units as they are",
)


@pytree("columns", "vectors", "coding", "shocks", "sizes")
@dataclass(frozen=True, eq=False)
class RealUnits:
    """The units of the data, cluster by cluster.

    Attributes
    ----------
    columns : dict of str to array (unit, period)
        Their cells, NaN where missing.
    vectors : array (unit, coordinate)
        Their scores, which redrawn common shocks shift.
    coding : Coding
        From scores to cells.
    shocks : Shocks
        The means of the periods.
    sizes : array (cluster,)
        Number of units of each cluster; ones without clusters.
    cluster : str or None
        The column that numbers the drawn clusters.
    complete : bool
        Whether no cell is missing.
    """

    columns: dict[str, Any]
    vectors: Any
    coding: Coding
    shocks: Shocks
    sizes: Any
    cluster: str | None
    complete: bool

    @property
    def n_periods(self) -> int:
        """Number of periods of the data."""
        return self.coding.layout.periods

    @property
    def most_periods(self) -> int:
        """Largest number of periods of a draw: the data's."""
        return self.n_periods

    def draw(
        self, key: Array, n_units: int, n_periods: int, common_shocks: CommonShocks
    ) -> dict[str, Float[Array, "unit period"]]:
        """Draw columns, NaN where a cell is missing."""
        of_units, of_shocks = jax.random.split(key)
        unit, cluster = self._units(of_units, n_units)
        cells = {name: jnp.asarray(values)[unit] for name, values in self.columns.items()}
        if common_shocks == "redraw":
            centers = jnp.asarray(self.coding.centers)
            drawn = self.shocks.draw(of_shocks).ravel()
            centers = jnp.concatenate([drawn, centers[len(drawn) :]])
            moved = self.coding.values(jnp.asarray(self.vectors)[unit], centers)
            cells = {n: jnp.where(jnp.isnan(old), jnp.nan, moved[n]) for n, old in cells.items()}
        if self.cluster is not None:
            number = cluster[:, None].astype(jnp.float64)
            cells[self.cluster] = jnp.broadcast_to(number, (n_units, self.n_periods))
        return {name: values[:, :n_periods] for name, values in cells.items()}

    def _units(self, key: Array, n_units: int) -> tuple[Int[Array, " unit"], Int[Array, " unit"]]:
        """Draw clusters until there are enough units; return rows, and numbers of the draws."""
        sizes = jnp.asarray(self.sizes)
        chosen = jax.random.randint(key, (n_units,), 0, len(sizes))
        ends, place = jnp.cumsum(sizes[chosen]), jnp.arange(n_units)
        cluster = jnp.searchsorted(ends, place, side="right")
        within = place - (ends - sizes[chosen])[cluster]
        first = jnp.cumsum(sizes) - sizes
        return first[chosen[cluster]] + within, cluster


@with_remedies()
@dataclass(frozen=True, kw_only=True)
class UnitBootstrap(Trainer[FittedPanel]):
    """Units of the data, drawn with replacement: every path is a real one.

    The upper reference for distributions of units. It repeats units:
    draws are as confidential as the data, and a generator is better only where new units matter.
    Missing cells stay missing. With ``common_shocks="redraw"`` a path is shifted, on the scale of
    normal scores, by the redrawn minus the realized means of the periods.

    Parameters
    ----------
    common_shocks
        As in every trainer of panels: `VAE`.
    cluster : str, optional
        A column that holds the group of each unit: groups are drawn whole, but for the last.
    missing : {"error", "model"}
        Missing cells are refused, or kept as gaps under a mask of the draws.

    References
    ----------
    Efron (1979), Bootstrap methods: another look at the jackknife, Annals of Statistics 7: 1-26.
    Cameron, Gelbach & Miller (2008), Review of Economics and Statistics 90: 414-427, for clusters.

    Examples
    --------
    >>> import jax
    >>> from mcsim import Panel
    >>> panel = Panel({"y": jax.random.normal(jax.random.key(1), (100, 5))})
    >>> generator = UnitBootstrap().fit(jax.random.key(0), panel)
    >>> generator
    FittedPanel(UnitBootstrap: y over 5 periods)
    >>> drawn = generator.sample(jax.random.key(1), 300)
    >>> bool(jax.numpy.isin(drawn["y"], panel["y"]).all())
    True
    """

    def faults(self) -> list[str]:
        """Return the faults of the options."""
        return faults_of(self)

    def recipe(self, n_units: int, n_periods: int) -> PanelRecipe:
        """Return the recipe: units are kept as they are, gaps and all."""
        return PanelRecipe(self, _unit_populations, completes=False)


def _unit_populations(
    config: UnitBootstrap,
    keys: Sequence[Array],
    members: Sequence[Units],
    schema: Schema,
    progress: bool,
) -> list[LearnedPopulation]:
    """Keep the units, and find their scores."""
    return [
        (_real_units(key, units, config.cluster, schema), {})
        for key, units in zip(keys, members, strict=True)
    ]


def _real_units(key: Array, units: Units, cluster: str | None, schema: Schema) -> RealUnits:
    columns, rows = units
    sizes = np.ones(len(rows), np.int64)
    if cluster is not None:
        codes = columns[cluster][:, 0]
        order, sizes = np.argsort(codes, kind="stable"), np.unique_counts(codes).counts
        columns = {n: values[order] for n, values in columns.items() if n != cluster}
        rows = rows[order]
    found: Scores = encode(columns, rows, schema, numpy_rng(key))
    coding, shocks = found.coding.padded(), shocks_of(found)
    complete = not any(np.isnan(values).any() for values in columns.values())
    return RealUnits(columns, found.vectors, coding, shocks, sizes, cluster, complete)


@pytree("vectors", "root", "bandwidth")
@dataclass(frozen=True, eq=False)
class Kernel:
    """A normal kernel around vectors, shrunk to keep their covariance.

    Attributes
    ----------
    vectors : array (unit, coordinate)
        Of the data.
    root : array (coordinate, coordinate)
        Symmetric root of the covariance of the noise.
    bandwidth : array ()
        Standard deviation of the noise, as a share of the data's.
    """

    vectors: Any
    root: Any
    bandwidth: Any

    def draw(self, key: Array, n_units: int) -> Float[Array, "unit coordinate"]:
        """Draw units."""
        of_units, of_noise = jax.random.split(key)
        unit = jax.random.randint(of_units, (n_units,), 0, len(self.vectors))
        noise = jax.random.normal(of_noise, (n_units, len(self.root)), jnp.float32) @ self.root
        drawn = jnp.asarray(self.vectors)[unit] + self.bandwidth * noise
        return drawn / jnp.sqrt(1 + self.bandwidth**2)


@with_remedies()
@dataclass(frozen=True, kw_only=True)
class SmoothedBootstrap(Trainer[FittedPanel]):
    """Units of the data with normal noise on their scores: a bootstrap without duplicates.

    A drawn vector of normal scores is (z + h e) / sqrt(1 + h^2), with z a unit of the data and e
    normal with the data's covariance: under any bandwidth h, covariances stay. A small one
    draws near duplicates, a large one the Gaussian copula.

    Parameters
    ----------
    bandwidth : float
        Standard deviation of the noise, as a share of the data's.
    common_shocks, cluster, missing
        As in every trainer of panels: `VAE`.

    References
    ----------
    Silverman & Young (1987), The bootstrap: to smooth or not to smooth?, Biometrika 74: 469-479.

    Examples
    --------
    >>> import jax
    >>> from mcsim import Panel
    >>> panel = Panel({"y": jax.random.normal(jax.random.key(1), (100, 5))})
    >>> generator = SmoothedBootstrap(bandwidth=0.3).fit(jax.random.key(0), panel)
    >>> generator
    FittedPanel(SmoothedBootstrap: y over 5 periods)
    >>> generator.sample(jax.random.key(1), 300)
    Panel(300 units x 5 periods: y)
    """

    bandwidth: Annotated[float, BANDWIDTH] = 0.4

    def faults(self) -> list[str]:
        """Return the faults of the options."""
        return faults_of(self)

    def recipe(self, n_units: int, n_periods: int) -> PanelRecipe:
        """Return the recipe: a kernel around the units' scores."""
        return of_scores(self, learn_kernels)


def learn_kernels(
    config: SmoothedBootstrap, keys: Sequence[Array], data: Sequence[Scores], progress: bool
) -> list[Learned]:
    """Keep the vectors, and take the root of each covariance."""
    return [Learned(_kernel(scores, config.bandwidth)) for scores in data]


def _kernel(scores: Scores, bandwidth: float) -> Kernel:
    root = square_root(scores.covariance)
    return Kernel(scores.vectors.astype(np.float32), root.astype(np.float32), np.float32(bandwidth))


MEAN_LENGTH = Rule(lambda value: is_finite(value) and value >= 1, "a mean length of at least 1")
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
        """Largest number of periods of a draw: None, any number."""
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
    are real, and common shocks are new in every panel; units are the data's. Components slower
    than a block are lost, which govern the variance of placebo effects. Meant for
    stationary columns (growth, not levels).

    Parameters
    ----------
    block : float, optional
        Mean number of dates in a block, whose length is geometric; default the cube root of the
        number of periods.
    common_shocks : {"redraw"}
        Dates are always drawn anew.
    missing : {"error", "model"}
        Missing cells are refused, or kept as gaps under a mask of the draws.

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

    common_shocks: ShockOption = "redraw"
    block: Annotated[float, MEAN_LENGTH] | None = None

    def faults(self) -> list[str]:
        """Return the faults of the options, and of options that blocks of dates rule out."""
        faults = faults_of(self)
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
        return PanelRecipe(self, _date_populations, whole_paths=False, completes=False)


def _date_populations(
    config: BlockBootstrap,
    keys: Sequence[Array],
    members: Sequence[Units],
    schema: Schema,
    progress: bool,
) -> list[LearnedPopulation]:
    """Keep the dates."""
    return [(_real_dates(units.columns, config.block), {}) for units in members]


def _real_dates(columns: Columns, block: float | None) -> RealDates:
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
