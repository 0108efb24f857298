"""Trainers that learn a law of vectors of scores: columns are coded, drawn vectors decoded."""

from abc import abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool

from mcsim._schema import Schema
from mcsim.generators._vectors._coding import Coding, Scores, Vectors, encode
from mcsim.generators._vectors._covariance import Square, recoloring, shrunk_covariance
from mcsim.generators._vectors._factor_model import factor_target
from mcsim.generators._vectors._fitted_panel import Law, Part, Population
from mcsim.generators._vectors._groups import fit_groups
from mcsim.generators._vectors._layout import Layout
from mcsim.generators._vectors._margins import Margin
from mcsim.generators._vectors._shocks import shocks_of
from mcsim.generators._vectors._trainer import Trainer, Units, numpy_rng

CALIBRATION_UNITS = 20_000  # drawn to learn the covariance and the margins of a law
STEPS = 2.0  # of matching the second moments of values, in all
ROUNDS = 12  # at most, where only parts of steps bring them closer
PARTS = (1.0, 0.5, 0.25, 0.125)
FEWEST = 3.0, 0.05  # units, and share of them, that make up a variance: fewer are chance


def calibration(drawn: Vectors, scores: Scores) -> tuple[Square, tuple[Margin, ...]]:
    """Return the matrix and the margins under which a law's draws have the data's second moments.

    First those of scores, then those of values: where a margin is steep, equal changes of scores
    are unequal changes of values, and what tests see is how much values change.
    """
    coding = scores.coding
    real = np.asarray(_numbers(coding, scores.vectors))
    center, spread = real.mean(axis=0), real.std(axis=0)
    told = (spread > 1e-9 * np.abs(center)) & _told_by_many(real - center, coding.layout)

    def standard(values: Vectors, vectors: Vectors) -> Vectors:
        """Standardize values; where the data's do not tell variances, scores stand for them."""
        return np.where(told, (values - center) / np.where(told, spread, 1.0), vectors)

    known = standard(real, scores.vectors)
    aim = shrunk_covariance(known, coding.layout, scores.rows, factor_target, scores.weight)

    def second(recolor: Square) -> Square:
        vectors = drawn @ recolor.T
        moved = replace(coding, margins=coding.moved(vectors, scores))
        return _covariance(standard(np.asarray(_numbers(moved, vectors)), vectors))

    recolor = _matched(second, recoloring(_covariance(drawn), scores.covariance), aim)
    return recolor, coding.moved(drawn @ recolor.T, scores)


def _told_by_many(deviations: Vectors, layout: Layout) -> Bool[np.ndarray, " coordinate"]:
    """Say of which columns no variance is made up by a few units, as it is with heavy tails."""
    squares = np.square(deviations)
    units = squares.sum(axis=0) ** 2 / np.maximum(np.square(squares).sum(axis=0), 1e-300)
    least = [units[layout.place(name)].min() for name in layout.names]
    fewest = min(FEWEST[0], FEWEST[1] * len(deviations))
    return np.repeat(np.array(least) >= fewest, layout.widths)


def _matched(second: Callable[[Square], Square], recolor: Square, aim: Square) -> Square:
    """Move a matrix until the second moments under it are those aimed at.

    A step is right where values are linear in scores. Where they are steep, as with heavy tails, it
    goes too far, and the next one back: of each step only so much is taken as brings them closer.
    """
    found, taken = second(recolor), 0.0
    for _ in range(ROUNDS):
        step = recoloring(found, aim)
        for part in PARTS:
            tried = (part * step + (1 - part) * np.eye(len(aim))) @ recolor
            there = second(tried)
            if _distance(there, aim) < _distance(found, aim):
                break
        else:
            return recolor
        recolor, found, taken = tried, there, taken + part
        if taken >= STEPS:
            break
    return recolor


def _distance(found: Square, aim: Square) -> float:
    return float(np.square(found - aim).sum())


@jax.jit
def _numbers(coding: Coding, vectors: Array) -> Array:
    return coding.numbers(vectors)


def _covariance(vectors: Vectors) -> Square:
    return np.atleast_2d(np.cov(vectors, rowvar=False, ddof=0))


class Learned(NamedTuple):
    """A law, and what was recorded at each step of its training."""

    law: Law
    losses: Mapping[str, np.ndarray] = {}


@dataclass(frozen=True, kw_only=True)
class PanelTrainer(Trainer):
    """A trainer of panels that learns a law of vectors of scores; subclasses say how."""

    @property
    def calibrated(self) -> bool:
        """Whether drawn vectors are recolored to the covariance and the margins of the data."""
        return getattr(self, "calibrate", True)

    @abstractmethod
    def learn(self, keys: Sequence[Array], data: Sequence[Scores], progress: bool) -> list[Learned]:
        """Learn one law per key, each from its data; all data are of one kind."""

    def kind(self, scores: Scores) -> Hashable:
        """Return what members must have in common to be learned by one program.

        Members see other units: in one of them a column may never change, in another it does.
        """
        return scores.coding.layout

    def populations(
        self, keys: Sequence[Array], members: Sequence[Units], schema: Schema, progress: bool
    ) -> list[tuple[Population, Mapping[str, np.ndarray]]]:
        """Code each member's units, learn, and find the way back."""
        triples = [jax.random.split(key, 3) for key in keys]
        data = [
            self._scores(units, schema, triple[0])
            for units, triple in zip(members, triples, strict=True)
        ]
        learned = self._learn_by_kind([triple[1] for triple in triples], data, progress)
        return [
            (self._part(triple[2], units, scores, law), losses)
            for triple, units, scores, (law, losses) in zip(
                triples, members, data, learned, strict=True
            )
        ]

    def _learn_by_kind(
        self, keys: Sequence[Array], data: Sequence[Scores], progress: bool
    ) -> list[Learned]:
        kinds, found = [self.kind(scores) for scores in data], {}
        for kind in dict.fromkeys(kinds):
            alike = [member for member, own in enumerate(kinds) if own == kind]
            theirs = [keys[member] for member in alike], [data[member] for member in alike]
            found |= zip(alike, self.learn(*theirs, progress), strict=True)
        return [found[member] for member in range(len(data))]

    def _scores(self, units: Units, schema: Schema, key: Array) -> Scores:
        free = {name: own for name, own in units.columns.items() if name != self.cluster}
        return encode(free, units.rows, schema, numpy_rng(key))

    def _part(self, key: Array, units: Units, scores: Scores, law: Law) -> Part:
        coding, recolor, margins = scores.coding, None, scores.coding.margins
        vectors, covariance, groups = scores.vectors, scores.covariance, None
        if self.calibrated:
            drawn = np.asarray(law.draw(key, CALIBRATION_UNITS), np.float64)
            recolor, margins = calibration(drawn, scores)
            if self.cluster is not None:  # groups are those of vectors as they are drawn
                covariance = _covariance(drawn @ recolor.T)
                vectors = vectors @ recoloring(scores.covariance, covariance).T
        if self.cluster is not None:
            codes = units.columns[self.cluster][:, 0]
            groups = fit_groups(self.cluster, codes, units.rows, vectors, covariance)
        return Part(coding, law, recolor, margins, shocks_of(scores), groups)
