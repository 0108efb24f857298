"""Trainers that learn a law of vectors of scores: columns are coded, drawn vectors decoded."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import numpy as np
from jaxtyping import Array

from mcsim._schema import Schema
from mcsim.generators._vectors._coding import Scores, encode
from mcsim.generators._vectors._covariance import recoloring
from mcsim.generators._vectors._fitted_panel import Law, Part, Population
from mcsim.generators._vectors._groups import fit_groups
from mcsim.generators._vectors._shocks import shocks_of
from mcsim.generators._vectors._trainer import Columns, Trainer, numpy_rng

CALIBRATION_UNITS = 20_000  # drawn to learn the covariance and the margins of a law


class Learned(NamedTuple):
    """A law, and what was recorded at each step of its training."""

    law: Law
    losses: Mapping[str, np.ndarray] = {}


@dataclass(frozen=True, kw_only=True)
class PanelTrainer(Trainer):
    """A trainer of panels that learns a law of vectors of scores; subclasses say how."""

    calibrated: ClassVar[bool] = True
    """Whether drawn vectors are recolored to the covariance and the margins of the data."""

    @abstractmethod
    def learn(self, keys: Sequence[Array], data: Sequence[Scores], progress: bool) -> list[Learned]:
        """Learn one law per key, each from its data."""

    def populations(
        self, keys: Sequence[Array], members: Sequence[Columns], schema: Schema, progress: bool
    ) -> list[tuple[Population, Mapping[str, np.ndarray]]]:
        """Code each member's columns, learn, and find the way back."""
        triples = [jax.random.split(key, 3) for key in keys]
        free = [{n: v for n, v in columns.items() if n != self.cluster} for columns in members]
        data = [
            encode(columns, schema, numpy_rng(triple[0]))
            for columns, triple in zip(free, triples, strict=True)
        ]
        learned = self.learn([triple[1] for triple in triples], data, progress)
        return [
            (self._part(triple[2], columns, scores, law), losses)
            for triple, columns, scores, (law, losses) in zip(
                triples, members, data, learned, strict=True
            )
        ]

    def _part(self, key: Array, columns: Columns, scores: Scores, law: Law) -> Part:
        coding, recolor, margins = scores.coding, None, scores.coding.margins
        if self.calibrated:
            drawn = np.asarray(law.draw(key, CALIBRATION_UNITS), np.float64)
            found = np.atleast_2d(np.cov(drawn, rowvar=False, ddof=0))
            recolor = recoloring(found, scores.covariance)
            margins = coding.moved(drawn @ recolor.T)
        groups = None
        if self.cluster is not None:
            groups = fit_groups(self.cluster, columns[self.cluster][:, 0], scores.vectors)
        shocks = shocks_of(scores.vectors, coding.centers, coding.spreads, coding.layout)
        return Part(coding, law, recolor, margins, shocks, groups)
