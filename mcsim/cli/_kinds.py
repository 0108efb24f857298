"""Kinds of generators by their names on the command line: ``gaussian-copula``, ``vae``."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from mcsim import generators
from mcsim.errors import InputError, did_you_mean, raise_all


def kinds() -> Mapping[str, type]:
    """Return the public trainers by name.

    Examples
    --------
    >>> [kind for kind in kinds() if "copula" in kind]
    ['gaussian-copula']
    """
    trainers = [
        thing
        for thing in vars(generators).values()
        if inspect.isclass(thing) and hasattr(thing, "fit_members")
    ]
    return {_kebab(trainer.__name__): trainer for trainer in trainers}


def trainer_of(kind: str, options: Mapping[str, Any]) -> Any:
    """Return a trainer of this kind; options that are None stay at their default.

    Raises
    ------
    InputError
        For an unknown kind, and an option that this kind does not have.
    """
    known = kinds()
    found = {_plain(name): trainer for name, trainer in known.items()}.get(_plain(kind))
    if found is None:
        raise InputError(f"--kind: got {kind!r}{did_you_mean(kind, known)}")
    given = {name: value for name, value in options.items() if value is not None}
    has = {field.name for field in fields(found)}
    raise_all(
        [
            f"--{_plain(name, '-')}: {found.__name__} has no such option"
            for name in given
            if name not in has
        ]
    )
    return found(**given)


def completes(trainer: Any, periods: bool) -> bool:
    """Return whether a trainer takes missing cells, of panels with periods or of cross-sections."""
    return trainer.recipe(n_units=1, n_periods=2 if periods else 1).takes_missing


def _kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


def _plain(name: str, between: str = "") -> str:
    return re.sub("[-_ ]", between, name).lower()
