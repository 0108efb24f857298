"""Calls with wrong arguments: sentences with the intended option or call.

A decorator of public functions and configurations. Their signatures, docstrings and definitions do
not change, and only a failed call is inspected.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FunctionType
from typing import Any, NamedTuple, TypeVar

from mcsim.errors import WrongCall, did_you_mean, raise_all

T = TypeVar("T", bound=Callable[..., Any])

OTHERS = {
    "steps": "epochs n_epochs iterations n_iter max_iter iters",
    "n_units": "N n units n_obs nobs size num",
    "n_periods": "T periods n_times",
    "level": "alpha conf_level confidence ci",
    "reps": "n_reps nreps nsim n_sim n_sims replications repetitions R n",
    "se": "std_error stderr std_err bse",
    "value": "coef estimate b beta",
    "resamples": "B n_boot nboot bootstraps reps n_reps",
    "vcov": "cov_type vce se_type robust",
    "cluster": "clusters groups cluster_id",
    "seed": "random_state rng random_seed",
    "workers": "n_jobs cores n_workers processes n_cores",
    "learning_rate": "lr",
    "hidden": "layers hidden_layers hidden_sizes",
    "unit": "entity id i index",
    "time": "t period year",
    "estimators": "estimator methods",
    "designs": "grid factors",
    "store": "out path output folder",
}
"""Words of other libraries, by the name of the option here."""

MOST_NAMES = 6  # of options in a sentence

_MARK = "_fails_with_remedies"
_BOUND = ("self", "cls", "_cls")
_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_BY_NAME = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def with_remedies(surplus: str = "", lack: str = "", /, **options: str) -> Callable[[T], T]:
    """Return a decorator under which a call that does not fit raises `WrongCall`.

    Parameters
    ----------
    surplus, lack : str
        The remedy for too many and for too few arguments; by default the signature. Each may
        hold ``{}``, the place of the corrected call.
    **options : str
        The remedy for an option that does not exist, by its name; it may hold ``{}`` too.

    Examples
    --------
    >>> @with_remedies()
    ... def run(study, *, reps=1): ...
    >>> run(None, nsim=20)
    Traceback (most recent call last):
    mcsim.errors.WrongCall: run: has no option 'nsim'; did you mean 'reps'?
    """
    remedies = _Remedies(surplus, lack, options)

    def decorate(thing: Any) -> Any:
        if not isinstance(thing, type):
            return _decorated(thing, remedies)
        if issubclass(thing, tuple):
            thing.__new__ = staticmethod(_decorated(thing.__new__, remedies))
        else:
            thing.__init__ = _decorated(thing.__init__, remedies)
        return thing

    return decorate


class _Remedies(NamedTuple):
    surplus: str
    lack: str
    options: Mapping[str, str]

    def given(self, fits: str) -> "_Remedies":
        """Return the remedies with the corrected call."""
        options = {name: remedy.format(fits) for name, remedy in self.options.items()}
        return _Remedies(self.surplus.format(fits), self.lack.format(fits), options)


def as_written(function: Any) -> Any:
    """Return the function that `with_remedies` decorated; any other as it is."""
    decorated = isinstance(function, FunctionType) and vars(function).get(_MARK) is function
    return vars(function)["__wrapped__"] if decorated else function


def _decorated(function: Callable[..., Any], remedies: _Remedies) -> Callable[..., Any]:
    @functools.wraps(function)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except TypeError:
            faults = _faults_of_call(function, args, kwargs, remedies)
            if not faults:  # raised inside the function
                raise
        raise_all(faults, WrongCall)

    setattr(decorated, _MARK, decorated)  # itself, since functools.wraps copies attributes
    return decorated


def _faults_of_call(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    remedies: _Remedies,
) -> list[str]:
    """Return the faults of arguments for a signature; empty if it takes them."""
    signature = inspect.signature(function)
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        parameters, name = list(signature.parameters.values()), function.__name__
        if args and parameters and parameters[0].name in _BOUND:
            name = _name_of_method(name, args[0])
            parameters, args = parameters[1:], args[1:]
        n_taken = sum(parameter.kind in _BY_POSITION for parameter in parameters)
        remedies = remedies.given(f"{name}({', '.join(map(_shown, args[:n_taken]))})")
        faults = _faults_of_names(parameters, kwargs, remedies.options)
        faults += _faults_of_surplus(parameters, args, kwargs, remedies.surplus)
        faults = faults or _faults_of_lack(name, parameters, args, kwargs, remedies.lack)
        return [f"{name}: {fault}" for fault in faults]
    return []


def _name_of_method(name: str, owner: Any) -> str:
    kind = (owner if isinstance(owner, type) else type(owner)).__name__
    return kind if name in ("__init__", "__new__") else f"{kind}.{name}".removesuffix(".__call__")


def _faults_of_names(
    parameters: Sequence[inspect.Parameter], given: Iterable[str], options: Mapping[str, str]
) -> list[str]:
    """Return the faults of unknown options, with their names here."""
    known = [parameter.name for parameter in parameters if parameter.kind in _BY_NAME]
    faults = []
    for option in given:
        if option in known:
            continue
        ours = [name for name, words in OTHERS.items() if option in words.split() and name in known]
        hint = f"; did you mean {ours[0]!r}?" if ours else did_you_mean(option, known)
        remedy = f"; {options[option]}" if option in options else hint
        faults.append(f"has no option {option!r}{remedy}")
    return faults


def _faults_of_surplus(
    parameters: Sequence[inspect.Parameter],
    args: Sequence[Any],
    given: Iterable[str],
    remedy: str,
) -> list[str]:
    """Return the faults of arguments by position: too many of them, or one given by name too."""
    taken = [parameter.name for parameter in parameters if parameter.kind in _BY_POSITION]
    faults = [f"got {name!r} twice" for name in taken[: len(args)] if name in given]
    if len(args) <= len(taken):
        return faults
    came = ", ".join(map(_shown, args[len(taken) :]))
    named = [f"{p.name}=" for p in parameters if p.kind == p.KEYWORD_ONLY and p.name not in given]
    listed = ", ".join(named[:MOST_NAMES]) + (", ..." if len(named) > MOST_NAMES else "")
    by_default = f"options have names: {listed}" if named else f"expected {', '.join(taken)} alone"
    return [*faults, f"got {came} by position; {remedy or by_default}"]


def _faults_of_lack(
    name: str,
    parameters: Sequence[inspect.Parameter],
    args: Sequence[Any],
    given: Iterable[str],
    remedy: str,
) -> list[str]:
    """Return the fault of arguments that are needed and missing."""
    by_position = [p.name for p in parameters if p.kind in _BY_POSITION][: len(args)]
    takes = [p for p in parameters if p.kind in (*_BY_POSITION, p.KEYWORD_ONLY)]
    needed = {p.name: p.kind for p in takes if p.default is p.empty}
    lacking = [one for one in needed if one not in (*by_position, *given)]
    written = [f"{n}=..." if kind not in _BY_POSITION else n for n, kind in needed.items()]
    key = ", where key is mcsim.key(1)" if "key" in written else ""
    remedy = remedy or f"write {name}({', '.join(written)}){key}"
    return [f"lacks {' and '.join(map(repr, lacking))}; {remedy}"]


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str | int | float) else type(value).__name__
