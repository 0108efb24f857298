"""Generators as sources of DGPs: ensembles with a cell per member, and caveats on fitted DGPs."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from mcsim._core.design import Design
from mcsim._core.records import Sample
from mcsim.errors import InputError, printable

ONE_FIT = (
    "One fitted generator: its errors are Monte Carlo errors only; another fit may give "
    "other biases and coverages by far more than they say."
)

FITTED = (
    "On DGPs fitted to data, ranking estimators by bias did worse than choosing at random, "
    "ranking by MSE better, and a bootstrap at least as well (Advani, Kitagawa & "
    "Sloczynski 2019, Journal of Applied Econometrics 34: 893-910)."
)

FIXED = (
    "The panel is one and the same in every replication, only the treatment is random: "
    "bias and coverage are over assignments, given these outcomes."
)


def is_generator(source: Any) -> bool:
    """Return whether an object draws panels by ``sample``; a data frame's ``sample`` does not."""
    return not callable(source) and hasattr(type(source), "sample") and not is_frame(source)


def is_frame(thing: object) -> bool:
    """Return whether an object is a data frame; pandas is not imported for it."""
    return type(thing).__name__ == "DataFrame"


def without_training_record(source: Any) -> Any:
    """Return a generator without its losses and training rows, so that fits share programs."""
    if not is_generator(source) or not is_dataclass(source) or isinstance(source, type):
        return source
    recorded = {"losses": {}, "rows": None}
    kept = {field.name for field in fields(source)} & set(recorded)
    return replace(source, **{name: recorded[name] for name in kept})


@dataclass(frozen=True)
class Ensemble:
    """DGPs that differ in their generator; a study makes each a cell of its own.

    Attributes
    ----------
    dgps : tuple of DGP
        The members.
    """

    dgps: tuple[Any, ...]

    def __repr__(self) -> str:
        return f"Ensemble({printable(self.summary)})"

    @property
    def name(self) -> str:
        """Default name in a study."""
        return self.dgps[0].name

    @property
    def factors(self) -> tuple[str, ...] | None:
        """Factors of a design that the members read."""
        return self.dgps[0].factors

    @property
    def summary(self) -> str:
        """One line for the head of a report."""
        return f"{len(self.dgps)} x {self.dgps[0].summary}"

    @property
    def schema(self) -> Any:
        """The members' schema."""
        return self.dgps[0].schema

    @property
    def common_shocks(self) -> str | None:
        """Whether common shocks are fixed or redrawn."""
        return self.dgps[0].common_shocks

    @property
    def caveats(self) -> tuple[str, ...]:
        """Conclusions that results do not support, as sentences."""
        own = dict.fromkeys(caveat for dgp in self.dgps for caveat in dgp.caveats)
        return tuple(caveat for caveat in own if caveat != ONE_FIT or len(self.dgps) == 1)

    def members(self) -> Mapping[int, Any]:
        """Return the members by number."""
        return dict(enumerate(self.dgps))

    def __call__(self, key: Any, design: Design) -> Sample:
        """Refuse: an ensemble draws nothing itself."""
        raise InputError("an ensemble draws nothing itself; take one of its members()")
