"""Candidates: the generators of a fidelity table, fitted on parts of the units.

A candidate is a trainer, a fitted generator or a list of fitted generators.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from jaxtyping import Array, Int, Key
from numpy import ndarray

from mcsim._core.records import Panel, Status
from mcsim._core.screen import Screen, progress_bar
from mcsim.errors import InputError, McsimError, did_you_mean, raise_all

Units = Int[ndarray, " unit"]


class Fit(NamedTuple):
    """One fitted generator.

    Attributes
    ----------
    generator : Generator
    train, held : array of int (unit,)
        Training units, and held-out units; ``held`` is None if the fit used all units.
    """

    generator: Any
    train: Units
    held: Units | None

    @property
    def compared(self) -> Units:
        """The units with which draws are compared: held-out units, if there are any."""
        return self.train if self.held is None else self.held


@contextmanager
def progress_by_split(
    fits: Mapping[str, Sequence[Fit]], shown: bool
) -> Iterator[Callable[[], None]]:
    """Yield a function that advances a bar by one split of one generator."""
    with progress_bar("fidelity", sum(map(len, fits.values())), shown=shown) as advance:
        yield advance


class Failure(NamedTuple):
    """The reason why a reference has no numbers: a status, and a sentence."""

    status: str
    sentence: str


class Fits(NamedTuple):
    """Fits by the name of the candidate, references that failed, and notes for the reader."""

    fits: dict[str, list[Fit]]
    failed: dict[str, Failure]
    notes: tuple[str, ...]


Split = tuple[Units, Units]
"""The units on which a generator is fit, and the units with which it is compared."""


def named(generators: Any, taken: Sequence[str]) -> dict[str, Any]:
    """Return candidates by name: one, a list of fits of one, or a mapping."""
    if isinstance(generators, (Panel, pd.DataFrame)):
        raise InputError(
            f"generators: got {type(generators).__name__}, a sample; expected a trainer or a "
            "fitted generator, from which fidelity draws samples itself"
        )
    if not isinstance(generators, Mapping):
        first = generators[0] if isinstance(generators, Sequence) and generators else generators
        generators = {_name_of(first): generators}
    faults = [
        f"generators: the name {name!r} is taken by a reference row"
        for name in generators
        if name in taken
    ]
    for name, candidate in generators.items():
        if not is_trainer(candidate):
            faults += _faults_of_fits(str(name), listed(candidate))
        faults += _faults_of_groups(str(name), candidate)
    raise_all(faults)
    return dict(generators)


def is_trainer(candidate: Any) -> bool:
    """Return whether a candidate is a trainer, not yet fitted."""
    fitted = hasattr(candidate, "sample") and not isinstance(candidate, type)
    return hasattr(candidate, "fit") and not fitted


def listed(candidate: Any) -> list[Any]:
    """Return one fitted generator, or several, as a list."""
    return list(candidate) if isinstance(candidate, Sequence) else [candidate]


def given_of(candidates: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the given columns of the first fitted generator."""
    fitted = [listed(c)[0] for c in candidates.values() if not is_trainer(c)]
    return tuple(fitted[0].given) if fitted and getattr(fitted[0], "given", ()) else ()


def fit_on_splits(
    trainer: Any, key: Key[Array, ""], panel: Panel, splits: Sequence[Split], **options: Any
) -> list[Fit]:
    """Fit a trainer on the first part of every split, all at once if it has ``fit_members``."""
    keys = jax.random.split(key, len(splits))
    rows = [train for train, _ in splits]
    if hasattr(trainer, "fit_members"):
        fitted = trainer.fit_members(keys, panel, rows, **options)
    else:
        parts = [panel.take(train) for train in rows]
        fitted = [trainer.fit(k, part, **options) for k, part in zip(keys, parts, strict=True)]
    return [Fit(one, *split) for one, split in zip(fitted, splits, strict=True)]


def fit_references(
    references: Mapping[str, Any],
    keys: Sequence[Key[Array, ""]],
    panel: Panel,
    splits: Sequence[Split],
    shown: bool = False,
    **options: Any,
) -> Fits:
    """Fit the references that can be fitted on the data; their warnings become notes.

    With ``shown`` a line names the reference that is being fitted.
    """
    fits, failed, notes = {}, {}, []
    screen = Screen(shown=shown)
    for key, (name, trainer) in zip(keys, references.items(), strict=True):
        try:
            with (
                screen.step(f"fitting the reference {name} on {len(splits)} splits"),
                warnings.catch_warnings(record=True, action="always") as warned,
            ):
                fits[name] = fit_on_splits(trainer, key, panel, splits, progress=False, **options)
            notes += [f"reference rows: {w.message}" for w in warned if w.category is UserWarning]
        except InputError as error:
            failed[name] = failure_of(error, Status.INVALID_INPUT)
        except Exception as error:
            failed[name] = failure_of(error)
    return Fits(fits, failed, tuple(dict.fromkeys(notes)))


def failure_of(error: Exception, status: Status = Status.ERROR) -> Failure:
    """Return the failure of a reference; the other generators are compared all the same."""
    kind = "" if isinstance(error, McsimError) else f"{type(error).__name__}: "
    return Failure(status.label, f"{kind}{error}")


def fits_of(name: str, candidate: Any, n_units: int, fewest_held: int, unit: str) -> list[Fit]:
    """Take fitted generators as they are, with the units of their ``rows`` as training units.

    Parameters
    ----------
    name : str
        Of the candidate.
    candidate : generator, or sequence of generators
    n_units : int
        Of the real data.
    fewest_held : int
        With fewer held-out units, a generator counts as fitted on all units.
    unit : str
        The word for a unit in messages.
    """
    everyone, found = np.arange(n_units), []
    for generator in listed(candidate):
        rows = getattr(generator, "rows", None)
        train = everyone if rows is None else np.unique(np.asarray(rows))
        if train.max() >= n_units:
            raise InputError(
                f"generators[{name!r}]: it was fit on {unit} {train.max()}, real has {n_units} "
                f"{unit}s; pass the panel that it was fit on"
            )
        held = np.setdiff1d(everyone, train)
        some = len(held) >= fewest_held
        found.append(Fit(generator, train, held) if some else Fit(generator, everyone, None))
    return found


def faults_of_columns(name: str, generator: Any, names: Sequence[str]) -> list[str]:
    """Return a fault for each column of the real data that a fitted generator does not draw."""
    schema = getattr(generator, "schema", None)
    known = schema.names if schema is not None else names
    drawn = {*known, *(getattr(generator, "given", None) or ())}
    return [
        f"generators[{name!r}]: column {column!r} of real is not in its schema"
        f"{did_you_mean(column, known)}"
        for column in names
        if column not in drawn
    ]


def require_columns(generator: Any, panel: Panel, names: Sequence[str]) -> None:
    """Raise if a generated panel lacks columns of the real data."""
    missing = [name for name in names if name not in panel]
    if missing:
        raise InputError(
            f"generators: {type(generator).__name__} draws no columns {missing}, expected all "
            "columns of real; pass schema=schema.select(...) to compare fewer"
        )


def _name_of(candidate: Any) -> str:
    """Name a trainer by its class, and a fit by the class of its configuration, if any."""
    if isinstance(candidate, type):
        return candidate.__name__.lower()
    config = candidate if is_trainer(candidate) else getattr(candidate, "config", None)
    return "generator" if config is None else type(config).__name__.lower()


def _faults_of_fits(name: str, fitted: list[Any]) -> list[str]:
    if not fitted:
        return [f"generators[{name!r}]: got an empty list, expected at least one fitted generator"]
    return [
        f"generators[{name!r}]: got {type(one).__name__}, expected a trainer (with fit), "
        "a fitted generator (with sample), or a list of fitted generators"
        for one in fitted
        if not hasattr(one, "sample")
    ][:1]


def _faults_of_groups(name: str, candidate: Any) -> list[str]:
    """Return faults of generators of groups, whose units depend on each other."""
    if not is_trainer(candidate):
        candidate = getattr(next(iter(listed(candidate)), None), "config", None)
    cluster = getattr(candidate, "cluster", None)
    if cluster is None:
        return []
    return [
        f"generators[{name!r}]: has cluster={cluster!r}, but fidelity compares units one by one; "
        f"pass dataclasses.replace(trainer, cluster=None), and a panel without {cluster!r}"
    ]
