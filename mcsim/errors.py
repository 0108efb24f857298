"""Exceptions of mcsim: every message names the argument, what came, what was expected, the remedy.

McsimError
├── InputError      an argument or a study is wrong            exit code 2
│   └── ContractError   an estimator or DGP returned something else than agreed
├── StoreMismatch   the store holds another definition         exit code 3
├── StoreError      the store cannot be read or written        exit code 1
├── ModelFileError  a file is not a model of mcsim             exit code 2
└── TrainingDiverged    a fit ended in NaN or ran away         exit code 1
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from mcsim._escapes import printable_lines

LEAST_PART = 3  # letters of a name by which it is found
LONGEST_LINE = 400  # characters of a message in one line


class McsimError(Exception):
    """Base of all errors that mcsim raises on purpose."""

    exit_code = 1

    def __str__(self) -> str:
        return printable_lines(Exception.__str__(self))  # it may quote a study file or a store


class InputError(McsimError, ValueError):
    """An argument, a data set or a study file is not what is needed."""

    exit_code = 2


class UnknownName(InputError, KeyError):
    """A column, factor or data set of this name does not exist."""


class ContractError(InputError):
    """A user's estimator or DGP returned something that the contract does not allow."""


class StoreMismatch(McsimError):
    """The store holds another definition under a name that the study uses."""

    exit_code = 3


class StoreError(McsimError):
    """The store cannot be read or written."""


class ModelFileError(InputError):
    """A file is not a model file that this version can load."""


class TrainingDiverged(McsimError):
    """The training of a generator ended in NaN or ran away."""


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for a close match or the one part of a name, else all.

    Examples
    --------
    >>> did_you_mean("educ8", ["educ", "age"])
    "; did you mean 'educ'?"
    >>> did_you_mean("zzz", ["educ", "age"])
    '; known are age, educ'
    >>> did_you_mean("copula", ["gaussian-copula", "vae"])
    "; did you mean 'gaussian-copula'?"
    """
    known = [str(option) for option in options]
    close = get_close_matches(str(word), known, n=1)
    parts = [option for option in known if str(word).lower() in option.lower()]
    if not close and len(parts) == 1 and len(str(word)) >= LEAST_PART:
        close = parts
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known are {', '.join(sorted(known))}" if known else ""


def raise_all(faults: Sequence[str], error: type[McsimError] = InputError) -> None:
    """Raise one error that reports every fault, or return if there is none.

    Examples
    --------
    >>> raise_all([])
    >>> raise_all(["reps: got 0, expected at least 1"])
    Traceback (most recent call last):
    mcsim.errors.InputError: reps: got 0, expected at least 1
    """
    if not faults:
        return
    if len(faults) == 1:
        raise error(faults[0])
    raise error(f"{len(faults)} faults:\n" + "\n".join(f"  - {fault}" for fault in faults))


def type_and_message(error: BaseException) -> str:
    """Return the type and the message of an exception in one line."""
    try:
        message = one_line(str(error))
    except Exception:  # of a class of the user
        message = "its message cannot be shown"
    return ": ".join(filter(None, (type(error).__name__, message)))


def one_line(text: str) -> str:
    r"""Return a text in one line: lines that only point at others left out, odd characters escaped.

    Examples
    --------
    >>> one_line("name 'z' is not defined\n    y ~ z\n        ^")
    "name 'z' is not defined; y ~ z"
    """
    lines = (" ".join(line.split()) for line in text[: 10 * LONGEST_LINE].splitlines())
    joined = "; ".join(line for line in lines if any(map(str.isalnum, line)))
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in joined)
    return shown if len(shown) <= LONGEST_LINE else f"{shown[:LONGEST_LINE]} ..."
