"""Trainers that learn a law of vectors of scores: columns are coded, drawn vectors decoded."""

from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array

from mcsim._schema import Schema
from mcsim.generators._vectors._calibration import calibration, covariance_of
from mcsim.generators._vectors._coding import Scores, encode
from mcsim.generators._vectors._covariance import recoloring
from mcsim.generators._vectors._fitted_panel import Law, Part, Population
from mcsim.generators._vectors._groups import fit_groups
from mcsim.generators._vectors._shocks import shocks_of
from mcsim.generators._vectors._trainer import Trainer, Units, numpy_rng

CALIBRATION_UNITS = 20_000  # drawn to learn the covariance and the margins of a law


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
                covariance = covariance_of(drawn @ recolor.T)
                vectors = vectors @ recoloring(scores.covariance, covariance).T
        if self.cluster is not None:
            codes = units.columns[self.cluster][:, 0]
            groups = fit_groups(self.cluster, codes, units.rows, vectors, covariance)
        return Part(coding, law, recolor, margins, shocks_of(scores), groups)
