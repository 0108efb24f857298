"""Recipes of panels: units are drawn from populations, one for each value of the given columns.

Most generators learn a distribution of normal scores: columns are coded, drawn scores decoded.
Drawn scores are calibrated: with any generator, variances, autocorrelations and shares of mass
points are the data's, shrunk by the weight that left-out units favor.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool
from threadpoolctl import threadpool_limits

from mcsim._core.records import Panel
from mcsim._data.schema import Schema
from mcsim.errors import raise_all
from mcsim.generators._scores.coding import Coding, Scores, Vectors, encode, shocks_of
from mcsim.generators._scores.factor_model import factor_target
from mcsim.generators._scores.margins import Margin
from mcsim.generators._scores.vectors import (
    Layout,
    Square,
    UnitNumbers,
    fit_groups,
    identities,
    recoloring,
    shrunk_covariance,
)
from mcsim.generators._training.checks import check_panel
from mcsim.generators._training.fitted_panel import Distribution, FittedPanel, Part, Population
from mcsim.generators._training.trainer import Source

CALIBRATION_UNITS = 20_000  # drawn to learn the covariance and the margins of a distribution
Columns = dict[str, np.ndarray]

LearnedPopulation = tuple[Population, Mapping[str, np.ndarray]]
"""A population, and the losses by step."""

MATCHING_STEPS = 2.0  # total steps of matching the second moments of values
MATCHING_ROUNDS = 12  # most steps where only partial steps bring moments closer
PARTS_OF_STEPS = (1.0, 0.5, 0.25, 0.125)
FEWEST_UNITS, LEAST_SHARE = 4.0, 0.05  # least units that determine a variance


class Units(NamedTuple):
    """The training units of one member of an ensemble.

    Attributes
    ----------
    columns : dict of array (unit, period)
    rows : array (unit,)
        Their numbers in the panel; a bootstrap sample holds some of them several times.
    """

    columns: Columns
    rows: UnitNumbers


Populations = Callable[
    [Any, Sequence[Array], Sequence[Units], Schema, bool], list[LearnedPopulation]
]
"""Fits populations: trainer, keys of members, units of members, schema, whether to show a bar."""


@dataclass(frozen=True)
class PanelRecipe:
    """The recipe of a trainer for panels, and for cross-sections as panels of one period.

    Attributes
    ----------
    config : Trainer
    populations : function
        Fits the population of each member's units.
    refused : tuple of str
        Options for cross-sections alone.
    whole_paths : bool
        Whether a unit's whole path is one observation, so that many periods need many units.
    completes : bool
        Whether missing cells are completed, not kept as gaps.
    """

    config: Any
    populations: Populations
    refused: tuple[str, ...] = ()
    whole_paths: bool = True
    completes: bool = True

    @property
    def takes_missing(self) -> bool:
        """Whether cells may be missing, with ``missing="model"``: always."""
        return True

    def checked(
        self,
        panel: Panel,
        rows: Sequence[np.ndarray | None],
        given: Sequence[str],
        schema: Schema | None,
    ) -> Source:
        """Return schema, given columns and columns (unit, period), or raise all faults."""
        kinds = {"whole_paths": self.whole_paths, "completes": self.completes}
        return Source(*check_panel(self.config, panel, given, schema, **kinds))

    def train(
        self, source: Source, keys: Sequence[Array], rows: Sequence[np.ndarray], progress: bool
    ) -> list[FittedPanel]:
        """Fit every member at every level of the given columns; equal shapes share programs."""
        schema, given, columns = source
        members = [_units(columns, own, self.config.cluster) for own in rows]
        levels, parts, losses = _levels(columns, given, rows[0]), [], {}
        with threadpool_limits(1):  # matrices are small, and bits the same on any machine
            for number, level in enumerate(levels):
                here = [_at_level(units, given, level) for units in members]
                raise_all(_faults_of_duplicates(here))
                own = [jax.random.fold_in(key, number) for key in keys]
                found = self.populations(self.config, own, here, schema, progress)
                parts.append([part for part, _ in found])
                losses = losses or [recorded for _, recorded in found]
        common = self.config, schema, given, levels
        return [
            FittedPanel(*common, tuple(at_level[m] for at_level in parts), losses=dict(losses[m]))
            for m in range(len(members))
        ]


def _units(columns: Mapping[str, np.ndarray], rows: UnitNumbers, cluster: str | None) -> Units:
    chosen = {name: values[rows] for name, values in columns.items()}
    if cluster is not None:
        chosen[cluster] = _clusters_apart(chosen[cluster], rows)
    return Units(chosen, rows)


def _faults_of_duplicates(members: Sequence[Units]) -> list[str]:
    return [
        f"resample: the bootstrap sample of member {m} holds nothing but duplicates of one unit; "
        "take other keys, or resample='folds'"
        for m, units in enumerate(members)
        if len(units.rows) > 1 and not identities(units.rows).any()
    ]


def _clusters_apart(codes: np.ndarray, rows: UnitNumbers) -> np.ndarray:
    """Return codes (unit, period) that number each draw of a cluster as a cluster."""
    order = np.argsort(rows, kind="stable")
    first = np.searchsorted(rows[order], rows[order], side="left")
    duplicate = np.empty(len(rows), np.int64)
    duplicate[order] = np.arange(len(rows)) - first
    return codes if not duplicate.any() else codes + (np.ptp(codes) + 1) * duplicate[:, None]


def _levels(columns: Mapping[str, np.ndarray], given: tuple[str, ...], rows: np.ndarray) -> tuple:
    """Return the joint values of the given columns in these rows."""
    if not given:
        return ((),)
    joint = np.unique(np.stack([columns[name][rows, 0] for name in given], axis=1), axis=0)
    return tuple(map(tuple, joint.tolist()))


def _at_level(units: Units, given: tuple[str, ...], level: tuple) -> Units:
    """Return the units that hold these values, and their free columns."""
    inside = np.ones(len(units.rows), bool)
    for name, value in zip(given, level, strict=True):
        inside &= units.columns[name][:, 0] == value
    free = {n: values[inside] for n, values in units.columns.items() if n not in given}
    return Units(free, units.rows[inside])


class Learned(NamedTuple):
    """A distribution of normal scores, and the losses at each step of its training."""

    distribution: Distribution
    losses: Mapping[str, np.ndarray] = {}


Learn = Callable[[Any, Sequence[Array], Sequence[Scores], bool], list[Learned]]
"""Fits a distribution per key: trainer, keys, scores of one kind, whether to show a bar."""


def layout_of_scores(scores: Scores) -> Hashable:
    """Return the layout: members that share it are learned by one program.

    Members have different units: a column may be constant in one of them and not in another.
    """
    return scores.coding.layout


def of_scores(
    config: Any,
    learn: Learn,
    *,
    calibrate: bool = True,
    kind: Callable[[Scores], Hashable] = layout_of_scores,
    refused: tuple[str, ...] = (),
) -> PanelRecipe:
    """Return the recipe of a trainer that learns a distribution of normal scores.

    Parameters
    ----------
    config : Trainer
    learn : function
        Fits one distribution per key; all scores of a call are of one kind.
    calibrate : bool
        Whether drawn scores get the covariance and the margins of the data.
    kind : function
        Returns the common features of scores that share a program.
    refused : tuple of str
        Options for cross-sections alone.
    """
    return PanelRecipe(config, partial(_populations, learn, calibrate, kind), refused)


def _populations(
    learn: Learn,
    calibrate: bool,
    kind: Callable[[Scores], Hashable],
    config: Any,
    keys: Sequence[Array],
    members: Sequence[Units],
    schema: Schema,
    progress: bool,
) -> list[LearnedPopulation]:
    """Code each member's units, learn the distribution, and build the decoders."""
    triples = [jax.random.split(key, 3) for key in keys]
    data = [
        _scores(units, config.cluster, schema, triple[0])
        for units, triple in zip(members, triples, strict=True)
    ]
    kinds, learned = [kind(scores) for scores in data], {}
    for one in dict.fromkeys(kinds):
        alike = [member for member, own in enumerate(kinds) if own == one]
        own_keys, own_data = [triples[m][1] for m in alike], [data[m] for m in alike]
        learned |= zip(alike, learn(config, own_keys, own_data, progress), strict=True)
    return [
        (_part(triple[2], units, config.cluster, scores, learned[m].distribution, calibrate),
         learned[m].losses)
        for m, (triple, units, scores) in enumerate(zip(triples, members, data, strict=True))
    ]  # fmt: skip


def _scores(units: Units, cluster: str | None, schema: Schema, key: Array) -> Scores:
    free = {name: own for name, own in units.columns.items() if name != cluster}
    return encode(free, units.rows, schema, numpy_rng(key))


def _part(
    key: Array,
    units: Units,
    cluster: str | None,
    scores: Scores,
    distribution: Distribution,
    calibrate: bool,
) -> Part:
    """Return the population that a distribution of scores gives."""
    coding, recolor, margins = scores.coding, None, scores.coding.margins
    vectors, covariance, groups = scores.vectors, scores.covariance, None
    if calibrate:
        drawn = np.asarray(distribution.draw(key, CALIBRATION_UNITS), np.float64)
        recolor, margins = calibration(drawn, scores)
        if cluster is not None:  # groups are fit to vectors as drawn
            covariance = covariance_of(drawn @ recolor.T)
            vectors = vectors @ recoloring(scores.covariance, covariance).T
    if cluster is not None:
        codes = units.columns[cluster][:, 0]
        groups = fit_groups(cluster, codes, units.rows, vectors, covariance)
    margins = tuple(margin.padded() for margin in margins)
    return Part(coding.padded(), distribution, recolor, margins, shocks_of(scores), groups)


def numpy_rng(key: Array) -> np.random.Generator:
    """Return a NumPy generator made from a key."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel().tolist())


def calibration(drawn: Vectors, scores: Scores) -> tuple[Square, tuple[Margin, ...]]:
    """Return the matrix and the margins that give draws the second moments of the data.

    First moments of scores, then moments of values: where a margin is steep, equal changes of
    scores are unequal changes of values, and tests use the changes of values.
    """
    coding, units = scores.coding, len(scores.vectors)
    shape = max(units, len(drawn)), drawn.shape[1]  # as draws, whose program decodes them
    real = _numbers(coding, np.resize(scores.vectors, shape))[:units]
    center, spread = real.mean(axis=0), real.std(axis=0)
    varies = spread > 1e-9 * np.abs(center)
    spread = np.where(varies, spread, 1.0)
    reliable = varies & _rests_on_many(
        np.where(varies, (real - center) / spread, 1.0), coding.layout
    )

    def standard(values: Vectors, vectors: Vectors) -> Vectors:
        """Standardize values; without reliable variances, take scores."""
        return np.where(reliable, (values - center) / spread, vectors)

    known = standard(real, scores.vectors)
    aim = shrunk_covariance(known, coding.layout, scores.rows, factor_target, scores.weight)

    def second(recolor: Square) -> Square:
        vectors = drawn @ recolor.T
        moved = replace(coding, margins=coding.moved(vectors, scores))
        return covariance_of(standard(_numbers(moved, vectors), vectors))

    recolor = _matched(second, recoloring(covariance_of(drawn), scores.covariance), aim)
    return recolor, coding.moved(drawn @ recolor.T, scores)


def _rests_on_many(standardized: Vectors, layout: Layout) -> Bool[np.ndarray, " coordinate"]:
    """Return the coordinates of columns whose variances rest on more than a few units."""
    squares = np.square(standardized)
    share = np.square(squares).sum(axis=0) / squares.sum(axis=0) ** 2  # one over the units
    shares = np.array([share[layout.place(name)].mean() for name in layout.names])
    fewest = min(FEWEST_UNITS, LEAST_SHARE * len(squares))
    return np.repeat(shares * fewest <= 1, layout.widths)


def _matched(second: Callable[[Square], Square], recolor: Square, aim: Square) -> Square:
    """Move a matrix until the second moments under it are the targets.

    A full step is right where values are linear in scores. Where margins are steep, as with heavy
    tails, it overshoots: the share of each step is taken that brings moments closer.
    """
    found, taken = second(recolor), 0.0
    for _ in range(MATCHING_ROUNDS):
        step = recoloring(found, aim)
        for part in PARTS_OF_STEPS:
            tried = (part * step + (1 - part) * np.eye(len(aim))) @ recolor
            there = second(tried)
            if _distance(there, aim) < _distance(found, aim):
                break
        else:
            return recolor
        recolor, found, taken = tried, there, taken + part
        if taken >= MATCHING_STEPS:
            break
    return recolor


def _distance(found: Square, aim: Square) -> float:
    return float(np.square(found - aim).sum())


def _numbers(coding: Coding, vectors: Vectors) -> Vectors:
    return np.asarray(_numbers_of(coding.padded(), vectors))


@jax.jit
def _numbers_of(coding: Coding, vectors: Array) -> Array:
    return coding.numbers(vectors)


def covariance_of(vectors: Vectors) -> Square:
    """Return the covariance of vectors."""
    return np.atleast_2d(np.cov(vectors, rowvar=False, ddof=0))
