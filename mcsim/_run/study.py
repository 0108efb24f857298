"""The study: DGPs and designs crossed with estimators, and its cells."""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mcsim._core.calls import with_remedies
from mcsim._core.checks import faults_of_strings, is_finite
from mcsim._core.design import Design
from mcsim._core.keys import cell_identity, digest
from mcsim._core.markup import html_table, in_html
from mcsim._core.protocols import (
    described,
    faults_of_level,
    faults_of_null,
    with_null_and_level,
)
from mcsim._host.host import Version, faults_of_version
from mcsim._run.parts import faults_of_parts, faults_of_repeats, named
from mcsim.errors import InputError, did_you_mean, raise_all, warn
from mcsim.measures._compare import PUBLISHED_COLUMNS
from mcsim.measures._summarize import RESULT_COLUMNS

GENERATOR = "generator"
"""The factor that identifies the members of an ensemble."""

LEAST_LEVEL = 0.5
"""Confidence levels below it are warned of: the size of a test, in all likelihood."""

MOST_REPS = 2**32
"""Replications are numbered by 32 bits of their keys."""

_TABLE_COLUMNS = ("kind", "mcse", "given_shocks", f"{GENERATOR}s", *PUBLISHED_COLUMNS)


@with_remedies()
@dataclass(frozen=True)
class Study:
    """A simulation study: estimators on samples of DGPs under designs.

    Attributes
    ----------
    dgp : DGP, or mapping of name to DGP
        A DGP that has ``members()`` (an ensemble of generators) gives one cell per member,
        identified by the factor ``generator``.
    estimators : Estimator, sequence of them, or mapping of name to Estimator
        All of them get the same samples.
    designs : sequence of Design
        Usually from `grid`; each is crossed with each DGP.
    aim : str
        The question that the study answers.
    null : float
        The value of the null hypothesis.
    level : float
        Confidence level of intervals; tests reject at 1 - level. Estimators whose own p-values and
        limits depend on the null or the level take both from here.
    caveats : sequence of str
        Conclusions that results do not support; printed under every table, after the DGPs' own.
    reps : int
        Replications of every cell, where a run does not ask for another number.
    scale, unit : float, str
        Units of figures in tables: divided by ``scale``, called ``unit``.
    versions : mapping of name to int or str
        Your own versions of DGPs and estimators, by their names in the study. Changes of code,
        options and data show in the definition; raise the version of a part when something else
        changes, such as a file that a function reads. The run then stops with
        exit code 3, as for any change.

    Raises
    ------
    InputError
        For an empty grid, duplicate cells, two estimators of one name, a level outside (0, 1), an
        estimator that was given another null or level, data or a class in place of a DGP or an
        estimator, a factor with the name of a column of the results, or a version of a name that
        the study does not have: all reported together.

    Warns
    -----
    UserWarning
        For a confidence level below 0.5, which is the size of a test in all likelihood.

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
    versions: Mapping[str, Version] = field(default_factory=dict)

    def __post_init__(self):
        raise_all(_faults_of_designs(self.designs))
        designs = () if self.designs is None else tuple(self.designs)
        object.__setattr__(self, "designs", designs)
        raise_all(
            _faults_of_numbers(self)
            + _faults_of_texts(self)
            + _faults_of_each_design(designs)
            + faults_of_parts("dgp", self.dgp)
            + faults_of_parts("estimators", self.estimators)
        )
        for name in ("null", "level", "scale"):
            if not isinstance(value := getattr(self, name), (int, float)):  # of NumPy, say
                object.__setattr__(self, name, float(value))
        raise_all(
            faults_of_repeats("dgp", self.dgp)
            + faults_of_repeats("estimators", self.estimators)
            + _faults_of_names(designs)
            + _faults_of_factors(self.dgps, designs)
            + _faults_of_versions(self)
            + self._faults_of_null_and_level()
        )
        raise_all(_faults_of_cells(self.cells()))
        if self.level < LEAST_LEVEL:
            warn(
                f"level: {self.level:g} is the confidence level of intervals; for tests at "
                f"{self.level:g} write level={1 - self.level:g}"
            )

    def __repr__(self) -> str:
        dgps, estimators = ", ".join(self.dgps), ", ".join(self.methods)
        cells = len(self.cells())
        return f"Study({cells} cell{'s' if cells > 1 else ''} of {dgps} x {estimators})"

    def _repr_html_(self) -> str:
        """Return the parts of the study for a notebook."""
        factors = dict.fromkeys(name for design in self.designs for name in design)
        parts: list[tuple[str, Iterable[str]]] = [
            ("DGPs", self.dgps),
            ("estimators", self.methods),
            *((n, dict.fromkeys(_short(d[n]) for d in self.designs if n in d)) for n in factors),
        ]
        rows = [(name, ", ".join(values)) for name, values in parts]
        aim = f"<p>{in_html(self.aim)}</p>\n" if self.aim else ""
        return f"<p>{in_html(repr(self))}</p>\n{aim}{html_table([('part', 'values')], rows)}"

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
        """Return a fault for estimators with another null or level than the study's."""
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
        The DGP's argument: without ``generator``, so that the members of an ensemble share one
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
    members = described(dgp).members
    if GENERATOR in design:
        why = (
            f"the DGP {name!r} is an ensemble and brings the factor {GENERATOR!r} itself; take it "
            "out of the grid"
            if members
            else f"the factor {GENERATOR!r} identifies the members of an ensemble, and tables "
            "average over it; rename it"
        )
        raise InputError(f"designs: {why}")
    if not members:
        yield dgp, {}
        return
    for label, member in members().items():
        yield member, {GENERATOR: label}


def _faults_of_numbers(study: Study) -> list[str]:
    faults = faults_of_level(study.level) + faults_of_null(study.null)
    return faults + faults_of_reps(study.reps) + faults_of_scale(study.scale)


def faults_of_scale(scale: Any) -> list[str]:
    """Return the faults of the divisor of figures."""
    if is_finite(scale) and scale > 0:
        return []
    return [f"scale: got {scale!r}, expected a number above 0"]


def _faults_of_texts(study: Study) -> list[str]:
    texts = {"aim": study.aim, "unit": study.unit}
    faults = [
        f"{name}: got {text!r}, expected a string"
        for name, text in texts.items()
        if not isinstance(text, str)
    ]
    return faults + faults_of_strings("caveats", study.caveats)


def _faults_of_versions(study: Study) -> list[str]:
    """Return the faults of versions: of wrong types, or of unknown parts."""
    versions: Any = study.versions
    if not isinstance(versions, Mapping):
        return [f"versions: got {versions!r}, expected a dict, e.g. {{'ols': 2}}"]
    names = [name for name, _ in named("estimators", study.estimators)]
    known = list(dict.fromkeys([*study.dgps, *names]))
    faults = [
        f"versions: got {name!r}{did_you_mean(str(name), known)}"
        for name in versions
        if name not in known
    ]
    for name, version in versions.items():
        faults += faults_of_version(f"versions[{name!r}]", version)
    return faults


def faults_of_reps(reps: Any, dgps: Mapping[str, Any] | None = None) -> list[str]:
    """Return the faults of a number of replications, of these DGPs."""
    if not isinstance(reps, int) or isinstance(reps, bool) or reps < 1:
        return [f"reps: got {reps!r}, expected a whole number from 1"]
    if reps > MOST_REPS:
        return [f"reps: got {reps}, expected at most 2**32: a replication's key has 32 bits for it"]
    most = {name: described(dgp).most_reps for name, dgp in (dgps or {}).items()}
    return [
        f"reps: got {reps:,}, but dgp {name!r} has samples for {samples:,} replications; ask for "
        f"at most reps={samples}"
        for name, samples in most.items()
        if samples is not None and reps > samples
    ]


def _faults_of_designs(designs: Any) -> list[str]:
    """Return the faults of a value as a collection of designs."""
    if isinstance(designs, Design):
        return ["designs: got one Design, expected a list: [design]"]
    if isinstance(designs, Mapping):
        given = ", ".join(f"{name}={values!r}" for name, values in designs.items())
        return [f"designs: got a dict, expected designs: mcsim.grid({given})"]
    if designs is None or (isinstance(designs, Iterable) and not isinstance(designs, str)):
        return []
    return [f"designs: got {designs!r}, expected designs, e.g. mcsim.grid(n_units=[50])"]


def _faults_of_each_design(designs: Sequence[Any]) -> list[str]:
    if not designs:
        return ["designs: got an empty grid, expected at least one design"]
    wrong = [design for design in designs if not isinstance(design, Design)]
    return [
        f"designs: got {design!r}, expected designs, e.g. mcsim.grid(n_units=[50])"
        for design in wrong[:1]
    ]


def _faults_of_names(designs: Sequence[Design]) -> list[str]:
    """Return a fault for factors with the name of a column of the results."""
    given = dict.fromkeys(name for design in designs for name in design.effective())
    return [
        f"designs: the factor {name!r} has the name of a column of the results; rename it, e.g. "
        f"{name + '_'!r}"
        for name in given
        if name in RESULT_COLUMNS or name in _TABLE_COLUMNS
    ]


def _faults_of_factors(dgps: Mapping[str, Any], designs: Sequence[Design]) -> list[str]:
    """Return a fault for factors that no DGP reads, which would mislabel rows."""
    read = [described(dgp).factors for dgp in dgps.values()]
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
    """Return a fault for cells with equal canonical values: 1 and 1.0 are one cell."""
    seen, faults = set(), []
    for cell in cells:
        identity = digest(cell_identity(cell.dgp_name, cell.design))
        if identity in seen:
            faults.append(f"designs: cell {cell.name!r} occurs twice")
        seen.add(identity)
    return faults
