"""Host functions: ordinary Python as estimators and DGPs, run in worker processes.

Their arguments are frames with the user's own column and index names, and a NumPy generator made
from the replication's key; the global NumPy and `random` states are seeded from it too.
"""

import contextlib
import inspect
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, overload

import numpy as np
import pandas as pd

from mcsim._core.checks import is_finite
from mcsim._core.protocols import function_with_null_and_level, keywords_taken
from mcsim._core.pytree import ADDED_LATER
from mcsim._core.records import Estimate
from mcsim._definitions.public_names import HOST
from mcsim._readers import FullLabel, Terms, read_result
from mcsim.errors import InputError, raise_all

Version = int | str
"""A user's own version of an estimator or a DGP, raised when something changes unseen."""


@dataclass(frozen=True)
class HostEstimator:
    """An ordinary function as an estimator; made by `host`.

    Attributes
    ----------
    function : callable
        ``f(frame)`` or ``f(rng, frame)``.
    term : str or mapping of estimand to str, optional
        The coefficient to read where the function returns a fitted model, or several.
    estimand : str, optional
        The estimand, if the function returns none; default: the study's only one.
    extract : callable, optional
        Turns the function's result into a readable one.
    timeout : float, optional
        Seconds after which a replication is stopped and gets the status ``timeout``; no part of
        the definition.
    version : int or str, optional
        The user's own version of it.
    """

    definition_name = HOST

    function: Callable[..., Any]
    term: Terms = None
    estimand: str | None = None
    extract: Callable[[Any], Any] | None = None
    timeout: float | None = field(default=None, compare=False)
    version: Version | None = field(default=None, repr=False, metadata=ADDED_LATER)

    @property
    def name(self) -> str:
        """The function's name."""
        return self.function.__name__

    def __call__(self, rng: np.random.Generator, frame: pd.DataFrame) -> dict[FullLabel, Estimate]:
        """Run the function on a copy of the frame and read its result at once."""
        takes_rng = len(_positions(self.function)) == 2
        arguments = (rng, frame.copy()) if takes_rng else (frame.copy(),)
        with seeded_global_state(rng):
            result = self.function(*arguments)
            return read_result(result, term=self.term, estimand=self.estimand, extract=self.extract)

    @property
    def takes(self) -> tuple[str, ...]:
        """Which of ``null`` and ``level`` its function has as keywords."""
        return keywords_taken(self.function)

    def with_null_and_level(self, null: float, level: float) -> "HostEstimator":
        """Return the estimator with this null and level as its function's keywords, if any.

        Raises
        ------
        InputError
            If the function was given other values.
        """
        bound = function_with_null_and_level(self.function, null, level)
        return self if bound is self.function else replace(self, function=bound)


@dataclass(frozen=True)
class HostDGP:
    """An ordinary function as a DGP; made by `host`.

    Attributes
    ----------
    function : callable
        ``f(rng, design) -> (frame, truth)``.
    version : int or str, optional
        The user's own version of it.
    most_reps : int, optional
        The number of samples that there are, of a function ``f(rng, design, rep)`` that looks them
        up (`mcsim.from_files`); None: any number is drawn.
    summary : str
        The DGP in words, for reports.
    """

    definition_name = HOST

    function: Callable[..., Any]
    version: Version | None = field(default=None, repr=False, metadata=ADDED_LATER)
    most_reps: int | None = field(default=None, compare=False, repr=False)
    summary: str = field(default="", compare=False, repr=False)

    @property
    def name(self) -> str:
        """The function's name."""
        return self.function.__name__

    def __call__(self, rng: np.random.Generator, design: Mapping[str, Any], rep: int = 0) -> Any:
        """Draw one frame and its truth: those of replication ``rep``, where they are looked up."""
        with seeded_global_state(rng):
            numbered = () if self.most_reps is None else (rep,)
            return self.function(rng, design, *numbered)


@overload
def host(function: Callable[..., Any], /) -> Any: ...
@overload
def host(
    *,
    term: Terms = None,
    estimand: str | None = None,
    extract: Callable[[Any], Any] | None = None,
    timeout: float | None = None,
    version: Version | None = None,
) -> Callable[[Callable[..., Any]], Any]: ...
def host(
    function: Callable[..., Any] | None = None,
    /,
    *,
    term: Any = None,
    estimand: Any = None,
    extract: Any = None,
    timeout: float | None = None,
    version: Any = None,
) -> Any:
    """Lift an ordinary function to an estimator, or to a DGP if its second argument is ``design``.

    Parameters
    ----------
    function : callable
        An estimator ``f(frame)`` or ``f(rng, frame)`` that returns an `Estimate` or a fitted result
        of statsmodels, linearmodels, pyfixest, DoubleML, econml or diff-diff; a dict of label to
        either; or a generator of pairs (label, either), each read before the next is made. Where
        its own limits and p-value need the study's level and null, it takes them as keywords,
        ``f(frame, *, level=0.95, null=0.0)``. Or a DGP ``f(rng, design) -> (frame, truth)``.
    term : str or mapping of estimand to str, optional
        The coefficient to read from a fitted result; a mapping reads several, each a row. Not
        needed where a result has one coefficient only.
    estimand : str, optional
        The estimand. The keys of a dict are then names of inference (``{"HC1": ...,
        "CR1": ...}``); without it they are estimands, or pairs (estimand, inference).
    extract : callable, optional
        Applied to the function's result, if no reader takes it: ``lambda result: Estimate`` or a
        dict of them.
    timeout : float, optional
        Seconds for one replication. Another timeout is no change of the estimator: rows that a
        store holds stay.
    version : int or str, optional
        Raise it when something outside the code changes, such as a file that the function
        reads; a run on an old store then stops. ``Study(versions={name: ...})`` does the same.

    Returns
    -------
    HostEstimator or HostDGP

    Raises
    ------
    InputError
        If the function takes other arguments, an option has a wrong value, or a DGP has options: it
        returns a frame, and has no time limit.

    Notes
    -----
    With the degrees of freedom, value -+ t(df) se is the library's own 95 % interval; without such
    a number (bootstraps, medians over repetitions), limits and p-value are kept as they are. A fit
    that reports no convergence gets the status ``nonconverged``.

    Examples
    --------
    >>> import mcsim
    >>> @mcsim.host(estimand="mean")
    ... def sample_mean(frame):
    ...     y = frame["y"]
    ...     return mcsim.Estimate(y.mean(), y.std() / len(y) ** 0.5, df=len(y) - 1)
    >>> sample_mean.name
    'sample_mean'
    """
    options = {"term": term, "estimand": estimand, "extract": extract, "timeout": timeout}
    _check_options(**options, version=version)
    if function is None:
        return lambda inner: _lift(inner, options, version)
    return _lift(function, options, version)


def _check_options(
    term: Any, estimand: Any, extract: Any, timeout: float | None, version: Any
) -> None:
    faults = []
    if term is not None and not isinstance(term, str | Mapping):
        faults.append(f"term: got {term!r}, expected a coefficient or {{estimand: coefficient}}")
    if not (estimand is None or isinstance(estimand, str)):
        faults.append(f"estimand: got {estimand!r}, expected a name")
    elif isinstance(term, Mapping) and estimand is not None:
        faults.append(f"estimand: got {estimand!r}, but term names the estimands already")
    if extract is not None and not callable(extract):
        faults.append(f"extract: got {extract!r}, expected a function of the result")
    if timeout is not None and not (is_finite(timeout) and timeout > 0):
        faults.append(f"timeout: got {timeout!r}, expected seconds above 0")
    faults += faults_of_version("version", version) if version is not None else []
    raise_all([f"host: {fault}" for fault in faults])


def faults_of_version(argument: str, version: Any) -> list[str]:
    """Return the faults of a user's own version of a part of a study."""
    if isinstance(version, Version) and not isinstance(version, bool):
        return []
    return [f"{argument}: got {version!r}, expected a whole number or a string"]


def _lift(
    function: Any, options: Mapping[str, Any], version: Version | None
) -> "HostEstimator | HostDGP":
    if isinstance(function, str):
        raise InputError(
            f"host: got {function!r}, expected a function; options have names, "
            f"@mcsim.host(term={function!r})"
        )
    if not callable(function) or isinstance(function, HostEstimator | HostDGP):
        raise InputError(f"host: got {function!r}, expected a function that is not lifted yet")
    names = _positions(function)
    if len(names) == 2 and names[1] == "design":
        raise_all(_faults_of_dgp_options(_name_of(function), options))
        return HostDGP(function, version)
    if len(names) not in (1, 2) or names[0] == "design" or names[1:] == ["rng"]:
        raise InputError(
            f"host: {_name_of(function)!r} takes {names}, expected (frame), (rng, frame) or, for a "
            "DGP, (rng, design)"
        )
    return HostEstimator(function, **options, version=version)


def _faults_of_dgp_options(name: str, options: Mapping[str, Any]) -> list[str]:
    """Return a fault for every option of a DGP, which has no result to read and no time limit."""
    return [
        f"host: {name!r} takes (rng, design) and so is a DGP, which has no option {option!r}; "
        "leave it out"
        for option, value in options.items()
        if value is not None
    ]


def _name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _positions(function: Callable[..., Any]) -> list[str]:
    """Return the names of the arguments but for the keywords that a study fills in."""
    taken = keywords_taken(function)
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:
        raise InputError(
            f"host: {_name_of(function)!r} does not say its arguments; write a function of (frame)"
        ) from None
    return [name for name in parameters if name not in taken]


def kind_of(returned: Any) -> str:
    """Return the type of a function's result in words: of a pair, both types."""
    if isinstance(returned, tuple):
        return f"({', '.join(type(part).__name__ for part in returned)})"
    return type(returned).__name__


def rng_from_words(words: np.ndarray) -> np.random.Generator:
    """Return the NumPy generator of a replication from its key's two 32-bit words."""
    low, high = (int(word) for word in words)
    return np.random.Generator(np.random.Philox(key=low | high << 32))


@contextlib.contextmanager
def seeded_global_state(rng: np.random.Generator) -> Iterator[None]:
    """Seed NumPy's and Python's global generators from a copy of ``rng``, and put them back."""
    state = rng.bit_generator.state["state"]
    words = np.concatenate([state["key"], state["counter"]]).astype(np.uint64)
    seeds = np.random.SeedSequence([int(word) for word in words]).generate_state(2)
    before = np.random.get_state(), random.getstate()  # noqa: NPY002  users may use the global ones
    np.random.seed(int(seeds[0]))  # noqa: NPY002
    random.seed(int(seeds[1]))
    try:
        yield
    finally:
        np.random.set_state(before[0])  # noqa: NPY002
        random.setstate(before[1])
