"""Sources: the generators under test and the references, each as members with their folds."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from jaxtyping import Array, Int, Key
from numpy import ndarray

from mcsim._core import Panel
from mcsim._fidelity._layout import Layout, stratified_parts
from mcsim._fidelity._references import MultivariateNormal, RowBootstrap
from mcsim.errors import InputError, did_you_mean, raise_all

REAL = "real"
REFERENCES = {"bootstrap": RowBootstrap, "normal": MultivariateNormal}
FOLD_ROWS = 10  # fewer held-out rows say nothing


class Member(NamedTuple):
    """One fitted generator, the rows that it saw, and those that it did not (None: it saw all)."""

    generator: Any
    train: Int[ndarray, " train"]
    held: Int[ndarray, " held"] | None


def named(generators: Any, taken: Sequence[str] = (REAL, *REFERENCES)) -> dict[str, Any]:
    """Return generators by name: one, a list of fits of one, or a mapping."""
    if isinstance(generators, (Panel, pd.DataFrame)):
        raise InputError(
            f"generators: got {type(generators).__name__}, a sample; expected a trainer or a "
            "fitted generator, of which fidelity draws samples itself"
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


def _faults_of_groups(name: str, candidate: Any) -> list[str]:
    """Refuse what draws groups: codes are no numbers, and units of a group not independent."""
    if not is_trainer(candidate):
        candidate = getattr(next(iter(listed(candidate)), None), "config", None)
    cluster = getattr(candidate, "cluster", None)
    if cluster is None:
        return []
    return [
        f"generators[{name!r}]: has cluster={cluster!r}, but fidelity compares units one by one; "
        f"pass dataclasses.replace(trainer, cluster=None), and a panel without {cluster!r}"
    ]


def given_of(generators: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns that the first fitted generator is given."""
    fits = [listed(g)[0] for g in generators.values() if not is_trainer(g)]
    return tuple(fits[0].given) if fits and getattr(fits[0], "given", ()) else ()


def members_of(
    generators: Mapping[str, Any],
    real: Panel,
    layout: Layout,
    arm: Int[ndarray, " row"],
    folds: int,
    key: Key[Array, ""],
    progress: bool,
) -> tuple[dict[str, list[Member]], list[Int[ndarray, " held"]]]:
    """Fit what must be fitted, on all rows but one fold, for every fold; reuse fits as they are.

    The folds are those of the first generators that come with them, else drawn by the key.
    """
    fitted = {
        name: [_member(name, fit, real.n_units) for fit in listed(candidate)]
        for name, candidate in generators.items()
        if not is_trainer(candidate)
    }
    for name, members in fitted.items():
        raise_all(faults_of_columns(name, members[0].generator, layout.schema.names))
        raise_all(_faults_of_arms(name, members, layout, arm))
    held = next((_held_out(m) for m in fitted.values() if len(_held_out(m)) > 1), None)
    held = held or _new_folds(arm, folds, key)
    trainers = {**REFERENCES, **{n: g for n, g in generators.items() if n not in fitted}}
    for index, (name, trainer) in enumerate(trainers.items()):
        fitted[name] = _fit(trainer, jax.random.fold_in(key, index), real, held, layout, progress)
    return {name: fitted[name] for name in (*REFERENCES, *generators)}, held


def _fit(
    trainer: Any,
    key: Key[Array, ""],
    real: Panel,
    held: Sequence[ndarray],
    layout: Layout,
    progress: bool,
) -> list[Member]:
    """Fit a trainer without each fold; one that can fit many at once does."""
    keys = jax.random.split(key, len(held))
    rows = [np.setdiff1d(np.arange(real.n_units), out) for out in held]
    options = {"given": layout.given, "schema": layout.schema, "progress": progress}
    if hasattr(trainer, "fit_members"):
        fits = trainer.fit_members(keys, real, rows, **options)
    else:
        panels = [real.take(train) for train in rows]
        fits = [trainer.fit(k, panel, **options) for k, panel in zip(keys, panels, strict=True)]
    return [Member(*parts) for parts in zip(fits, rows, held, strict=True)]


def _member(name: str, fit: Any, n_rows: int) -> Member:
    rows = getattr(fit, "rows", None)
    if rows is None:
        return Member(fit, np.arange(n_rows), None)
    train = np.unique(np.asarray(rows))
    if train.max() >= n_rows:
        raise InputError(
            f"generators[{name!r}]: it was fit on row {train.max()}, real has {n_rows} rows; "
            "pass the panel that it was fit on"
        )
    held = np.setdiff1d(np.arange(n_rows), train)
    return Member(fit, train, held if len(held) else None)


def _held_out(members: Sequence[Member]) -> list[Int[ndarray, " held"]]:
    return [member.held for member in members if member.held is not None]


def _new_folds(arm: Int[ndarray, " row"], folds: int, key: Key[Array, ""]) -> list[ndarray]:
    if folds < 2 or len(arm) < FOLD_ROWS * folds:
        raise InputError(
            f"folds: got {folds} for {len(arm)} rows, expected at least 2 folds of at least "
            f"{FOLD_ROWS} rows; lower folds, or pass a fitted generator (no hold-out)"
        )
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    return [np.sort(part) for part in stratified_parts(rng, arm, folds)]


def listed(candidate: Any) -> list[Any]:
    """Return fits as a list, of one where there is one."""
    return list(candidate) if isinstance(candidate, Sequence) else [candidate]


def is_trainer(candidate: Any) -> bool:
    """Whether it is yet to be fitted."""
    fitted = hasattr(candidate, "sample") and not isinstance(candidate, type)
    return hasattr(candidate, "fit") and not fitted


def _name_of(candidate: Any) -> str:
    """Name a trainer by its class, and a fit by that of its configuration, if it has one."""
    if isinstance(candidate, type):
        return candidate.__name__.lower()
    config = candidate if is_trainer(candidate) else getattr(candidate, "config", None)
    return "generator" if config is None else type(config).__name__.lower()


def _faults_of_fits(name: str, fits: list[Any]) -> list[str]:
    if not fits:
        return [f"generators[{name!r}]: got an empty list, expected at least one fitted generator"]
    return [
        f"generators[{name!r}]: got {type(fit).__name__}, expected a trainer (with fit), "
        "a fitted generator (with sample), or a list of fitted generators"
        for fit in fits
        if not hasattr(fit, "sample")
    ][:1]


def faults_of_columns(name: str, generator: Any, names: Sequence[str]) -> list[str]:
    """Say which columns of the real data a fitted generator does not draw."""
    schema = getattr(generator, "schema", None)
    known = schema.names if schema is not None else names
    drawn = {*known, *(getattr(generator, "given", None) or ())}
    return [
        f"generators[{name!r}]: column {column!r} of real is not in its schema"
        f"{did_you_mean(column, known)}"
        for column in names
        if column not in drawn
    ]


def _faults_of_arms(
    name: str, members: Sequence[Member], layout: Layout, arm: Int[ndarray, " row"]
) -> list[str]:
    return [
        f"generators[{name!r}]: fit {index} saw no {label} rows, expected some of each arm"
        for index, member in enumerate(members)
        for code, label in enumerate(layout.arms)
        if not (arm[member.train] == code).any()
    ]
