"""The study: DGPs and designs crossed with estimators, and the cells that come of it."""

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mcsim._design import Design
from mcsim._host import HostDGP, HostEstimator
from mcsim._keys import cell_identity, digest
from mcsim._null_and_level import with_null_and_level
from mcsim.errors import InputError, did_you_mean, raise_all

GENERATOR = "generator"
"""The factor that tells the members of an ensemble apart."""


@dataclass(frozen=True)
class Study:
    """A simulation study: which estimators, on samples of which DGPs, under which designs.

    Attributes
    ----------
    dgp : DGP, or mapping of name to DGP
        A DGP that has ``members()`` (an ensemble of generators) gives one cell per member, told
        apart by the factor ``generator``.
    estimators : Estimator, sequence of them, or mapping of name to Estimator
        All of them see the same samples.
    designs : sequence of Design
        Usually from `grid`; each is crossed with each DGP.
    aim : str
        What the study is to find out.
    null : float
        The value that tests are of.
    level : float
        Confidence level of intervals; tests reject at 1 - level. Estimators whose own p-values and
        limits depend on the null or the level take both from here.
    caveats : sequence of str
        What a reader may not conclude; printed under every table, after the DGPs' own.
    reps : int
        Replications of every cell, where a run does not ask for another number.
    scale, unit : float, str
        How tables show figures in units of the outcome: divided by ``scale``, called ``unit``.

    Raises
    ------
    InputError
        For an empty grid, duplicate cells, two estimators of one name, a level outside (0, 1), or
        an estimator that was given another null or level.

    Examples
    --------
    >>> from mcsim.testing import constant_dgp, exact_estimator
    >>> study = Study(dgp=constant_dgp(truth=1.0), estimators=exact_estimator(truth=1.0))
    >>> len(study.cells())
    1
    """

    dgp: Any
    estimators: Any
    designs: Iterable[Design] = (Design(),)
    aim: str = ""
    null: float = 0.0
    level: float = 0.95
    caveats: Sequence[str] = ()
    reps: int = 2000
    scale: float = 1.0
    unit: str = ""

    def __post_init__(self):
        designs = tuple(self.designs or ())
        object.__setattr__(self, "designs", designs)
        raise_all(
            _faults_of_numbers(self.level, self.null, self.reps)
            + _faults_of_designs(designs)
            + _faults_of_parts("dgp", self.dgp)
            + _faults_of_parts("estimators", self.estimators)
        )
        raise_all(_faults_of_factors(self.dgps, designs) + self._faults_of_null_and_level())
        raise_all(_faults_of_cells(self.cells()))

    @property
    def dgps(self) -> dict[str, Any]:
        """The DGPs by name."""
        return dict(named("dgp", self.dgp))

    @functools.cached_property
    def methods(self) -> dict[str, Any]:
        """The estimators by name, at the study's null and level."""
        return {
            name: with_null_and_level(estimator, self.null, self.level)
            for name, estimator in named("estimators", self.estimators)
        }

    def _faults_of_null_and_level(self) -> list[str]:
        """Say which estimators were given another null or level than the study's."""
        faults = []
        for name, estimator in named("estimators", self.estimators):
            try:
                with_null_and_level(estimator, self.null, self.level)
            except InputError as error:
                faults.append(f"estimators: {name!r}: {error}")
        return faults

    def cells(self) -> list["Cell"]:
        """Return every cell: one DGP (one member of an ensemble) under one design."""
        return [
            Cell(name, member, design.with_factors(label), seen=design)
            for name, dgp in self.dgps.items()
            for design in self.designs
            for member, label in _members(name, dgp, design)
        ]


@dataclass(frozen=True)
class Cell:
    """One DGP under one design.

    Attributes
    ----------
    dgp_name : str
        Name of the DGP in the study.
    dgp : DGP
        The DGP itself; of an ensemble, one member.
    design : Design
        The factors' values, the ensemble's ``generator`` included.
    seen : Design
        What the DGP sees: without ``generator``, so that the members of an ensemble share one
        compiled program.
    """

    dgp_name: str
    dgp: Any
    design: Design
    seen: Design

    @property
    def name(self) -> str:
        """A readable name: ``"wgan generator=2"``."""
        factors = [f"{factor}={_short(value)}" for factor, value in self.design.items()]
        return " ".join([self.dgp_name, *factors])


def _short(value: Any) -> str:
    exact = isinstance(value, float) and float(f"{value:g}") == value
    return f"{value:g}" if exact else str(value)


def _members(name: str, dgp: Any, design: Design) -> Iterator[tuple[Any, dict[str, Any]]]:
    if not hasattr(dgp, "members"):
        yield dgp, {}
        return
    if GENERATOR in design:
        raise InputError(
            f"designs: the DGP {name!r} is an ensemble and brings the factor {GENERATOR!r} itself; "
            "take it out of the grid"
        )
    for label, member in dgp.members().items():
        yield member, {GENERATOR: label}


def _faults_of_numbers(level: float, null: float, reps: Any) -> list[str]:
    faults = []
    if not 0 < level < 1:
        faults.append(f"level: got {level!r}, expected a number between 0 and 1, e.g. 0.95")
    if not math.isfinite(null):
        faults.append(f"null: got {null!r}, expected a finite number")
    return faults + faults_of_reps(reps)


def faults_of_reps(reps: Any) -> list[str]:
    """Return what is wrong with a number of replications."""
    if isinstance(reps, int) and not isinstance(reps, bool) and reps >= 1:
        return []
    return [f"reps: got {reps!r}, expected a whole number from 1"]


def _faults_of_designs(designs: Sequence[Any]) -> list[str]:
    if not designs:
        return ["designs: got an empty grid, expected at least one design"]
    return [
        f"designs: got {design!r}, expected designs, e.g. mcsim.grid(n_units=[50])"
        for design in designs
        if not isinstance(design, Design)
    ]


def _faults_of_factors(dgps: Mapping[str, Any], designs: Sequence[Design]) -> list[str]:
    """A factor that no DGP reads would label rows with what they are not."""
    read = [getattr(dgp, "factors", None) for dgp in dgps.values()]
    if any(names is None for names in read):
        return []
    known = sorted({name for names in read for name in names or ()})
    given = dict.fromkeys(name for design in designs for name in design)
    return [
        f"designs: no DGP of the study reads the factor {name!r}{did_you_mean(name, known)}"
        for name in given
        if name not in known
    ]


def _faults_of_cells(cells: Sequence[Cell]) -> list[str]:
    """Cells are told apart by their canonical values: 1 and 1.0 are one cell."""
    seen, faults = set(), []
    for cell in cells:
        identity = digest(cell_identity(cell.dgp_name, cell.design))
        if identity in seen:
            faults.append(f"designs: cell {cell.name!r} occurs twice")
        seen.add(identity)
    return faults


def _faults_of_parts(argument: str, parts: Any) -> list[str]:
    faults: list[str] = []
    try:
        listed = list(named(argument, parts))
    except InputError as error:
        return [str(error)]
    if not listed:
        faults.append(f"{argument}: got none, expected at least one")
    names = [name for name, _ in listed]
    for name in sorted({name for name in names if names.count(name) > 1}):
        faults.append(
            f"{argument}: two are called {name!r}; give them names with a dict, "
            f"{{'a': ..., 'b': ...}}"
        )
    for name, part in listed:
        if argument == "dgp" and hasattr(type(part), "sample") and not callable(part):
            faults.append(
                f"dgp: {name!r} is a generator ({type(part).__name__}), which knows no truth; "
                "mcsim.dgps.with_effect(generator, outcome=..., assignment=..., effect=...) makes "
                "it a DGP, and so does a function of (key, design) that returns a Sample"
            )
        elif not callable(part) and not hasattr(part, "members"):
            faults.append(f"{argument}: {name!r} is {type(part).__name__}, expected a callable")
        if argument == "dgp" and isinstance(part, HostEstimator):
            faults.append(
                f"dgp: {name!r} was lifted to an estimator; a host DGP takes (rng, design)"
            )
        if argument == "estimators" and isinstance(part, HostDGP):
            faults.append(f"estimators: {name!r} takes (rng, design) and so is a DGP")
    return faults


def named(argument: str, parts: Any) -> Iterator[tuple[str, Any]]:
    """Yield (name, part) of one part, a sequence of parts, or a dict of them."""
    if isinstance(parts, Mapping) and not callable(parts):
        for name, part in parts.items():
            if not isinstance(name, str) or not name:
                raise InputError(f"{argument}: got the name {name!r}, expected a string")
            yield name, part
    elif isinstance(parts, (list, tuple)):
        for part in parts:
            yield _name_of(part), part
    else:
        yield _name_of(parts), parts


def _name_of(part: Callable | Any) -> str:
    for attribute in ("name", "__name__"):
        name = getattr(part, attribute, None)
        if isinstance(name, str):
            return name
    return type(part).__name__.lower()
