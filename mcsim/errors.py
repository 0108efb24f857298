"""Exceptions and warnings of mcsim: the argument, what came, what was expected, the remedy.

A remedy is a part of its own, so that each front end may word it: `Fault` and `Option`.

McsimError
├── InputError      an argument or a study is wrong            exit code 2
│   ├── UnknownName, UnknownAttribute   nothing of this name
│   ├── TooFewPeriods   a panel is too short for an estimator
│   ├── WrongCall       a call does not fit a signature
│   └── ContractError   an estimator or DGP returned something else than agreed
├── StoreMismatch   the store holds another definition         exit code 3
├── StoreError      the store cannot be read or written        exit code 1
├── ModelFileError  a file is not a model of mcsim             exit code 2
├── Inconclusive    a gate needs more replications             exit code 1
└── TrainingDiverged    a fit ended in NaN or ran away         exit code 1
"""

import sys
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

LEAST_PART = 3  # letters of a name by which it is found
LONGEST_LINE = 400  # characters of a message in one line

_JOINERS = "\u200c\u200d"  # letters of Persian, Hindi and others join by them
_OBEYED = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Categories of control marks, format (bidi), half a character, breaks of lines."""

_INSIDE = ("mcsim", "jaxtyping")
"""Packages whose frames are not the user's; jaxtyping checks types between frames of mcsim."""


class McsimError(Exception):
    """Base of all errors that mcsim raises on purpose."""

    exit_code = 1
    faults: tuple[str, ...] = ()

    def __str__(self) -> str:
        return printable_lines(Exception.__str__(self))  # it may quote a study file or a store


class InputError(McsimError, ValueError):
    """An argument, a data set or a study file has faults."""

    exit_code = 2

    def __init__(self, text: str = "", remedy: str | Sequence[str] = "") -> None:
        fault = Fault(text, remedy) if remedy else text
        super().__init__(str(fault))
        self.faults = (fault,)


class UnknownName(InputError, KeyError):
    """A column, factor or data set of this name does not exist."""


class UnknownAttribute(InputError, AttributeError):
    """A column or a factor was asked for as an attribute."""


class WrongCall(InputError, TypeError):
    """A call has an option that is none, an argument too many or one too few."""


class ContractError(InputError):
    """A user's estimator or DGP returned something that the contract does not allow."""


class StoreMismatch(McsimError):
    """The store holds another definition under a name that the study uses."""

    exit_code = 3


class StoreError(McsimError):
    """The store cannot be read or written."""


class TooFewPeriods(InputError):
    """A panel has fewer periods than an estimator needs."""


class ModelFileError(InputError):
    """A file is not a model file that this version can load."""


class TrainingDiverged(McsimError):
    """The training of a generator ended in NaN or ran away."""


class Inconclusive(McsimError):
    """The replications are too few for a gate to pass or to fail; the message says how many do."""


class Option(str):
    """The words by which users of Python choose an option; a front end may have others for it.

    Attributes
    ----------
    name : str
        The option: what a front end looks up.
    value : object
        The value that the words give it.
    """

    name: str
    value: Any

    def __new__(cls, words: str, name: str = "", value: Any = None) -> "Option":
        """Make the words of an option, which are a string."""
        option = super().__new__(cls, words)
        option.name, option.value = name, value
        return option


class Fault(str):
    """A fault as Python users read it, ``"argument: what came; remedy"``, and its parts.

    Attributes
    ----------
    text : str
        The fault without its remedy.
    remedy : tuple of str
        The pieces of the remedy, options among them.

    Examples
    --------
    >>> fault = Fault("reps: got 0", ["write ", Option("reps=10", "reps", 10)])
    >>> fault, fault.worded({"reps": lambda value: f"--reps {value}"}, {"reps": "--reps"})
    ('reps: got 0; write reps=10', '--reps: got 0; write --reps 10')
    """

    text: str
    remedy: tuple[str, ...]

    def __new__(cls, text: str, remedy: str | Sequence[str] = "") -> "Fault":
        """Join a fault and its remedy, which is a string or its pieces."""
        pieces = (remedy,) if isinstance(remedy, str) else tuple(remedy)
        fault = super().__new__(cls, "; ".join(filter(None, (text, "".join(pieces)))))
        fault.text, fault.remedy = text, pieces
        return fault

    def worded(
        self, options: Mapping[str, Callable[[Any], str]], arguments: Mapping[str, str]
    ) -> str:
        """Return the fault in the words of a front end.

        Parameters
        ----------
        options : mapping of str to callable
            Its words for options of a remedy, as functions of their values.
        arguments : mapping of str to str
            Its names of arguments.
        """
        argument, colon, rest = self.text.partition(": ")
        text = f"{arguments.get(argument, argument)}{colon}{rest}"
        pieces = [
            options[piece.name](piece.value)
            if isinstance(piece, Option) and piece.name in options
            else piece
            for piece in self.remedy
        ]
        return "; ".join(filter(None, (text, "".join(pieces))))


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
    if close := nearest(word, known):
        return f"; did you mean {close!r}?"
    return f"; known are {', '.join(sorted(known))}" if known else ""


def nearest(word: str, options: Iterable[str]) -> str:
    """Return the one of some names that a word is meant to be; empty if none is like it.

    Examples
    --------
    >>> nearest("atr", ["att", "ate_on_controls"])
    'att'
    """
    known = [str(option) for option in options]
    close = get_close_matches(str(word), known, n=1)
    parts = [option for option in known if str(word).lower() in option.lower()]
    if not close and len(parts) == 1 and len(str(word)) >= LEAST_PART:
        close = parts
    return close[0] if close else ""


def no_attribute(name: str, thing: str, items: Iterable[str]) -> AttributeError:
    """Return the error for ``thing.name``, where items are read in square brackets.

    Parameters
    ----------
    name : str
        The attribute that was asked for.
    thing : str
        The object, in a word.
    items : iterable of str
        The names of its items.
    """
    if name.startswith("_"):  # names that Python, NumPy and JAX look up, and do without
        return AttributeError(name)
    known = list(items)
    if name in known:
        return UnknownAttribute(f"{thing}.{name}: write {thing}[{name!r}]")
    return UnknownAttribute(
        f"{thing}.{name}: a {thing} has no attribute {name!r}; its items are read by name, "
        f"{thing}[...]{did_you_mean(name, known)}"
    )


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
    raised = error(message_of(faults))
    raised.faults = tuple(faults)
    raise raised


def message_of(faults: Sequence[str]) -> str:
    """Return one message for all faults: one alone as it is, several as a list."""
    if len(faults) == 1:
        return str(faults[0])
    return f"{len(faults)} faults:\n" + "\n".join(f"  - {fault}" for fault in faults)


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


def warn(sentence: str) -> None:
    """Warn at the line outside mcsim that led here, however deep in mcsim the warning arises."""
    frame, level = sys._getframe(), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _INSIDE:
        frame, level = frame.f_back, level + 1
    warnings.warn(printable_lines(sentence), UserWarning, stacklevel=level)


def printable(text: object) -> str:
    r"""Return text for one line of a terminal: control characters as escapes.

    Applied twice, it gives the same.

    Examples
    --------
    >>> printable("Größe β\x1b[31m\n")
    'Größe β\\x1b[31m\\n'
    """
    line = str(text)
    if line.isprintable():
        return line
    return "".join(_escaped(mark) if _is_obeyed(mark) else mark for mark in line)


def printable_lines(text: object) -> str:
    """Return a message for a terminal: its lines and tabs stay, all else is `printable`."""
    lines = (map(printable, line.split("\t")) for line in str(text).split("\n"))
    return "\n".join(map("\t".join, lines))


def _is_obeyed(mark: str) -> bool:
    return unicodedata.category(mark) in _OBEYED and mark not in _JOINERS


def _escaped(mark: str) -> str:
    return mark.encode("unicode_escape").decode("ascii")
