"""The parts of a study, DGPs and estimators: their names and their faults."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import pandas as pd

from mcsim._core.design import Design
from mcsim._core.protocols import Generator, TakesNullAndLevel, described, keywords_taken
from mcsim._core.records import Panel
from mcsim._data.schema import Schema
from mcsim._host.host import HostDGP, HostEstimator
from mcsim.errors import InputError

_EXPECTED = {
    "dgp": "a function of (key, design) that returns a Sample",
    "estimators": "a function of (key, panel) that returns an Estimate",
}
_LIFT = {
    "dgp": "lift one of (rng, design) that returns a frame with @mcsim.host",
    "estimators": "lift one of a frame with @mcsim.host",
}

_DATA = (pd.DataFrame, Panel, Schema, Design)


@runtime_checkable
class FitsMembers(Protocol):
    """The configuration of a generator, which is fitted before it can draw."""

    def fit_members(self, *arguments: Any, **options: Any) -> Any:
        """Fit an ensemble."""
        ...


@runtime_checkable
class HasFactors(Protocol):
    """A DGP that names the factors of a design that it reads."""

    @property
    def factors(self) -> Any:
        """The names; None where it may read any."""
        ...


def faults_of_parts(argument: str, parts: Any) -> list[str]:
    """Return the faults of the DGPs or the estimators of a study."""
    if fault := _fault_of_data(argument, parts):
        return [f"{argument}: {fault}"]
    try:
        listed = list(named(argument, parts))
    except InputError as error:
        return [str(error)]
    if not listed:
        return [f"{argument}: got none, expected at least one"]
    faults = ((name, _fault_of_part(argument, part)) for name, part in listed)
    return [f"{argument}: {name!r} {fault}" for name, fault in faults if fault]


def faults_of_repeats(argument: str, parts: Any) -> list[str]:
    """Return a fault for every name of two DGPs or two estimators."""
    names = [name for name, _ in named(argument, parts)]
    return [
        f"{argument}: two are called {name!r}; give them names with a dict, {{'a': ..., 'b': ...}}"
        for name in sorted({name for name in names if names.count(name) > 1})
    ]


def _fault_of_data(argument: str, part: Any) -> str:
    """Return the remedy for data in the place of a DGP or an estimator."""
    if argument == "dgp" and isinstance(part, Panel):
        return (
            "is a Panel, which is one sample; mcsim.dgps.Bootstrap(panel) draws its units anew, "
            "mcsim.dgps.with_effect(panel, outcome=..., assignment=...) a treatment"
        )
    if part is None or isinstance(part, str):
        return f"got {part!r}, expected {_EXPECTED[argument]}"
    if isinstance(part, _DATA):
        remedy = "; panel, schema = mcsim.from_frame(frame) makes a panel of a frame"
        more = remedy if isinstance(part, pd.DataFrame) else ""
        return f"is {type(part).__name__}, expected {_EXPECTED[argument]}{more}"
    return ""


def _fault_of_part(argument: str, part: Any) -> str:
    """Return the fault of one DGP or estimator, as a sentence without its name."""
    if described(part).members is not None and not isinstance(part, type):
        return ""
    fault = _fault_of_data(argument, part)
    if not fault and isinstance(part, type):
        fault = f"is a class, expected {_EXPECTED[argument]}: write {part.__name__}(...)"
    if not fault and not callable(part):
        fault = _fault_of_object(argument, part)
    return fault or _fault_of_place(argument, part) or _fault_of_arguments(argument, part)


def _fault_of_object(argument: str, part: Any) -> str:
    """Return the remedy for an object that cannot be called: a trainer, a generator."""
    kind = type(part).__name__
    if isinstance(part, FitsMembers):
        return (
            f"is a trainer; fit it first, {kind}(...).fit(key, panel), and give the generator "
            "to mcsim.dgps.with_effect"
        )
    if argument == "dgp" and isinstance(part, Generator):
        return (
            f"is a generator ({kind}), which has no truth; "
            "mcsim.dgps.with_effect(generator, outcome=..., assignment=..., effect=...) makes "
            "it a DGP, and so does a function of (key, design) that returns a Sample"
        )
    return f"is {kind}, expected a callable, {_EXPECTED[argument]}"


def _fault_of_place(argument: str, part: Any) -> str:
    """Return the fault of an estimator in the place of a DGP, or of a DGP among estimators."""
    if argument == "dgp" and isinstance(part, HostEstimator):
        return "was lifted to an estimator; a host DGP takes (rng, design)"
    if argument == "dgp" and isinstance(part, TakesNullAndLevel):
        return "is an estimator; give it as estimators="
    if argument == "estimators" and isinstance(part, HostDGP):
        return "takes (rng, design) and so is a DGP"
    if argument == "estimators" and isinstance(part, HasFactors):
        return "is a DGP; give it as dgp="
    return ""


def _fault_of_arguments(argument: str, part: Any) -> str:
    """Return the fault of a function that cannot be called as DGPs and estimators are."""
    try:
        signature = inspect.signature(part)
    except (TypeError, ValueError):
        return ""
    try:
        signature.bind(None, None, **dict.fromkeys(keywords_taken(part)))
    except TypeError:
        own = str(getattr(part, "__module__", "")).startswith("mcsim.")
        example = "('y ~ x')" if argument == "estimators" else "(...)"
        remedy = f"call it first: {part.__name__}{example}" if own else _LIFT[argument]
        takes = ", ".join(signature.parameters)
        return f"takes ({takes}), expected {_EXPECTED[argument]}; {remedy}"
    return ""


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
