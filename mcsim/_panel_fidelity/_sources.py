"""Sources: the generators under test and the references, each fit on halves of the units."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Int, Key
from numpy import ndarray

from mcsim import generators as trainers
from mcsim._core import Panel, Status
from mcsim._fidelity._sources import REAL, faults_of_columns, is_trainer, listed, named
from mcsim._panel_fidelity._layout import PanelLayout
from mcsim.errors import InputError, McsimError, raise_all

Units = Int[ndarray, " unit"]
Halves = Sequence[tuple[Units, Units]]


class Member(NamedTuple):
    """One fitted generator, the units that it saw, and those it is compared with.

    ``seen`` says that these are the same: it saw all units.
    """

    generator: Any
    train: Units
    held: Units
    seen: bool = False


class Failure(NamedTuple):
    """Why a reference has no numbers: a status, and a sentence."""

    status: str
    sentence: str


class Fits(NamedTuple):
    """Members of the rows of the table, references that failed, the halves, and what to note."""

    members: dict[str, list[Member]]
    failed: dict[str, Failure]
    halves: Halves
    notes: tuple[str, ...]


REFERENCES = {
    "bootstrap": trainers.UnitBootstrap(),
    "smoothed bootstrap": trainers.SmoothedBootstrap(),
    "copula": trainers.GaussianCopula(),
    "factor VAR": trainers.FactorVAR(),
    "mixture": trainers.GaussianMixture(),
}
"""The first rows of every table, by name."""


def split_halves(key: Key[Array, ""], n_units: int, splits: int) -> list[tuple[Units, Units]]:
    """Draw fresh random halves; of an odd number one unit is in neither."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel().tolist())
    shuffled = [rng.permutation(n_units) for _ in range(splits)]
    cut = n_units // 2
    return [(np.sort(order[:cut]), np.sort(order[cut : 2 * cut])) for order in shuffled]


def fit_halves(
    key: Key[Array, ""],
    generators: Any,
    real: Panel,
    layout: PanelLayout,
    splits: int,
    progress: bool,
) -> Fits:
    """Fit trainers on one half of every split; take fitted generators as they are."""
    generators = named(generators, (REAL, *REFERENCES))
    halves = split_halves(jax.random.fold_in(key, 0), real.n_units, splits)
    panel = real.select(layout.schema.names)
    members, failed, notes = _fit_references(key, panel, layout, halves)
    start = 1 + len(REFERENCES)
    for index, (name, candidate) in enumerate(generators.items(), start):
        if is_trainer(candidate):
            of_trainer = jax.random.fold_in(key, index)
            members[name] = _fit(of_trainer, candidate, panel, layout, halves, progress)
            continue
        members[name] = [_member(name, fit, real.n_units) for fit in listed(candidate)]
        raise_all(faults_of_columns(name, members[name][0].generator, layout.schema.names))
        if any(member.seen for member in members[name]):
            notes.append(
                f"{name}: it saw all units, so its draws are compared with units that it knows; "
                "pass a trainer for a comparison with units that it does not"
            )
    return Fits(members, failed, halves, tuple(notes))


def failure_of(error: Exception, status: Status = Status.ERROR) -> Failure:
    """Keep what a reference raised; generators under test are compared all the same."""
    kind = "" if isinstance(error, McsimError) else f"{type(error).__name__}: "
    return Failure(status.label, f"{kind}{error}")


def _fit_references(
    key: Key[Array, ""], panel: Panel, layout: PanelLayout, halves: Halves
) -> tuple[dict[str, list[Member]], dict[str, Failure], list[str]]:
    """Fit what can be fitted here; what the references warn of becomes a note."""
    members, failed, notes = {}, {}, []
    for index, (name, trainer) in enumerate(REFERENCES.items(), 1):
        of_trainer = jax.random.fold_in(key, index)
        try:
            with warnings.catch_warnings(record=True, action="always") as warned:
                members[name] = _fit(of_trainer, trainer, panel, layout, halves, False)
            notes += [f"reference rows: {w.message}" for w in warned if w.category is UserWarning]
        except InputError as error:
            failed[name] = failure_of(error, Status.INVALID_INPUT)
        except Exception as error:
            failed[name] = failure_of(error)
    return members, failed, list(dict.fromkeys(notes))


def _fit(
    key: Key[Array, ""],
    trainer: Any,
    panel: Panel,
    layout: PanelLayout,
    halves: Halves,
    progress: bool,
) -> list[Member]:
    """Fit a trainer on every half; one that can fit many at once does."""
    keys = jax.random.split(key, len(halves))
    rows = [train for train, _ in halves]
    options = {"schema": layout.schema, "progress": progress}
    if hasattr(trainer, "fit_members"):
        fits = trainer.fit_members(keys, panel, rows, **options)
    else:
        panels = [panel.take(train) for train in rows]
        fits = [trainer.fit(k, half, **options) for k, half in zip(keys, panels, strict=True)]
    return [Member(fit, *half) for fit, half in zip(fits, halves, strict=True)]


def _member(name: str, fit: Any, n_units: int) -> Member:
    everyone = np.arange(n_units)
    rows = getattr(fit, "rows", None)
    train = everyone if rows is None else np.unique(np.asarray(rows))
    if train.max() >= n_units:
        raise InputError(
            f"generators[{name!r}]: it was fit on unit {train.max()}, real has {n_units} units; "
            "pass the panel that it was fit on"
        )
    held = np.setdiff1d(everyone, train)
    return Member(fit, train, held) if len(held) > 1 else Member(fit, everyone, everyone, True)
