"""Words of the command line: kinds of generators, and hints at the command that was meant."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from itertools import pairwise, takewhile
from typing import Any, get_type_hints

import mcsim
from mcsim.errors import InputError, did_you_mean, raise_all


def usage_hint(arguments: Sequence[str], commands: Mapping[str, Callable[..., Any]]) -> str:
    """Return a hint at the arguments that were meant; empty if unknown.

    Parameters
    ----------
    arguments : sequence of str
        The arguments of ``mcsim``.
    commands : mapping of str to callable
        The commands, whose parameters are their options.

    Examples
    --------
    >>> usage_hint(["study.py", "--reps", "20"], {"run": print})
    'write mcsim run study.py --reps 20'
    >>> usage_hint(["run", "study.py", "20"], {"run": print})
    'write mcsim run study.py --reps 20'
    >>> def fit(data: str, columns: list[str]): ...
    >>> usage_hint(["fit", "wages.csv", "--columns", "wage", "educ"], {"fit": fit})
    'write --columns wage,educ'
    """
    command, *rest = arguments or [""]
    if command not in commands:
        return f"write mcsim run {' '.join(arguments)}" if command.endswith(".py") else ""
    if command == "run":
        for file, number in pairwise(rest):
            if file.endswith(".py") and number.isdigit():
                return f"write mcsim run {file} --reps {number}"
    hint = _hint_of_lists(rest, commands[command])
    return hint or (_hint_of_trainers(rest, commands[command]) if command == "fit" else "")


def _hint_of_lists(arguments: Sequence[str], command: Callable[..., Any]) -> str:
    """Return a hint on several names for one option, which Stata separates by spaces."""
    own = get_type_hints(command, include_extras=True)
    for at, argument in enumerate(arguments):
        name = argument.removeprefix("--").replace("-", "_")
        if argument.startswith("--") and "list[str]" in str(own.get(name)):
            words = list(takewhile(_is_name, arguments[at + 1 :]))
            if len(words) > 1:
                return f"write {argument} {','.join(words)}"
    return ""


def _is_name(word: str) -> bool:
    return not word.startswith("-") and "." not in word


def _hint_of_trainers(arguments: Sequence[str], command: Callable[..., Any]) -> str:
    """Return a hint on options of trainers, which the command line does not take."""
    own = inspect.signature(command).parameters
    for argument in arguments:
        option = argument.removeprefix("--").partition("=")[0].replace("-", "_")
        having = [t.__name__ for t in kinds().values() if option in {f.name for f in fields(t)}]
        if argument.startswith("--") and having and option not in own:
            return (
                f"{argument.partition('=')[0]}: is an option of {', '.join(having)} in Python, "
                f"not of the command: mcsim.generators.{having[-1]}({option}=...).fit(key, panel)"
            )
    return ""


def kinds() -> Mapping[str, type]:
    """Return the public trainers by name.

    Examples
    --------
    >>> [kind for kind in kinds() if "copula" in kind]
    ['gaussian-copula']
    """
    trainers = [
        thing
        for thing in (getattr(mcsim.generators, name) for name in mcsim.generators.__all__)
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
