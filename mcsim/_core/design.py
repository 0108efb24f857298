"""Designs: the cells of a study as values of factors, and the grid that crosses them."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mcsim._core.checks import faults_of_strings
from mcsim._core.pytree import registers_once
from mcsim.errors import InputError, UnknownName, did_you_mean, no_attribute, raise_all

Scalar = bool | int | float | str

_ROW_COLUMNS = ("dgp", "estimator", "estimand", "inference", "rep", "value", "se", "lower", "upper")
_OTHER_COLUMNS = ("df", "p_value", "truth", "truth_mcse", "status", "seed", "heavy_tails")

RESERVED_NAMES = frozenset((*_ROW_COLUMNS, *_OTHER_COLUMNS))
"""Columns of replications and summaries, which no factor may be called."""

LARGEST = 2**63  # from which whole numbers do not fit the columns of results


@registers_once
def _register() -> None:
    import jax

    jax.tree_util.register_pytree_node_class(Design)
    jax.tree_util.register_pytree_node_class(WatchedDesign)


class Design(Mapping[str, Any]):
    """One cell of a study: the value of each factor.

    A pytree: floats are leaves, so that cells that differ only in floats share one compiled
    program; integers, booleans, strings and the floats named in ``static`` are compile-time
    constants, fit for shapes and branches.

    Parameters
    ----------
    factors : mapping of str to bool, int, float or str
        The factors' values in this cell.
    static : sequence of str
        Floats that stay concrete under jit.
    defaults : mapping of str to value
        Declared defaults. A factor at its default stays out of the cell's key and hash, so that a
        factor can be added to a study without moving its older cells.

    Examples
    --------
    >>> design = Design({"n": 50, "rho": 0.5})
    >>> design["rho"]
    0.5
    """

    def __init__(
        self,
        factors: Mapping[str, Any] | None = None,
        *,
        static: Sequence[str] = (),
        defaults: Mapping[str, Any] | None = None,
    ):
        _register()
        raise_all(_faults_of_arguments(factors, static, defaults))
        self._factors = dict(factors or {})
        self._static = frozenset(static)
        self.defaults: dict[str, Any] = dict(defaults or {})
        raise_all(_faults_of_design(self._factors, self._static, self.defaults))

    def __getitem__(self, name: str) -> Any:
        if name in self._factors:
            return self._factors[name]
        if name in self.defaults:
            return self.defaults[name]
        known = did_you_mean(name, (*self.defaults, *self._factors))
        remedy = known or f"; give the study designs=mcsim.grid({name}=[...])"
        raise UnknownName(f"factor {name!r} is not in the design{remedy}")

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a factor, or another where the design does not have it."""
        if name not in self:
            return default
        return self[name]

    if not TYPE_CHECKING:  # for which attributes that are not there stay mistakes

        def __getattr__(self, name: str) -> Any:
            raise no_attribute(name, "design", () if name.startswith("_") else self.effective())

    def __contains__(self, name: object) -> bool:
        return name in self._factors or name in self.defaults

    def __iter__(self) -> Iterator[str]:
        return iter(self._factors)

    def __len__(self) -> int:
        return len(self._factors)

    def __repr__(self) -> str:
        return f"Design({', '.join(f'{name}={value!r}' for name, value in self.items())})"

    def with_factors(self, factors: Mapping[str, Any]) -> "Design":
        """Return a design with these factors added or replaced."""
        return Design(
            {**self._factors, **factors}, static=tuple(self._static), defaults=self.defaults
        )

    def effective(self) -> dict[str, Any]:
        """Return the value of every factor, defaults included."""
        return {**self.defaults, **self._factors}

    def __setstate__(self, state: dict[str, Any]) -> None:
        _register()
        self.__dict__.update(state)

    def tree_flatten(self):
        """Split into (traced floats, everything else), for JAX."""
        traced = tuple(
            name
            for name, value in self._factors.items()
            if not isinstance(value, (bool, int, str)) and name not in self._static
        )
        constants = tuple((name, v) for name, v in self._factors.items() if name not in traced)
        order, defaults = tuple(self._factors), tuple(sorted(self.defaults.items()))
        static = tuple(sorted(self._static))
        return [self._factors[name] for name in traced], (
            order,
            traced,
            constants,
            static,
            defaults,
        )

    @classmethod
    def tree_unflatten(cls, aux: tuple, leaves: Sequence[Any]) -> "Design":
        """Rebuild without checks: JAX passes tracers through here."""
        _register()
        order, traced, constants, static, defaults = aux
        values = {**dict(zip(traced, leaves, strict=True)), **dict(constants)}
        design = object.__new__(cls)
        design._factors = {name: values[name] for name in order}
        design._static = frozenset(static)
        design.defaults = dict(defaults)
        return design


class WatchedDesign(Design):
    """A design that records the names of factors looked up, present or not.

    Attributes
    ----------
    asked : set of str
        Names of factors looked up; all names, once the design is iterated.
    """

    def __init__(self, design: Design):
        self._factors, self._static = design._factors, design._static
        self.defaults = design.defaults
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.asked.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self.asked.add(str(name))
        return super().__contains__(name)

    def __iter__(self) -> Iterator[str]:
        self.asked.update(self._factors)
        return super().__iter__()

    def with_factors(self, factors: Mapping[str, Any]) -> Design:
        """Return another design, without a record of look-ups."""
        self.asked.update(self._factors)
        return super().with_factors(factors)

    def effective(self) -> dict[str, Any]:
        """Return the value of every factor."""
        self.asked.update(self._factors)
        return super().effective()

    def tree_flatten(self) -> Any:
        """Split like a plain design; a program may read any factor."""
        self.asked.update(self._factors)
        return super().tree_flatten()

    @classmethod
    def tree_unflatten(cls, aux: tuple, leaves: Sequence[Any]) -> Design:
        """Rebuild a plain design, without a record of look-ups."""
        return Design.tree_unflatten(aux, leaves)


def _faults_of_arguments(factors: Any, static: Any, defaults: Any) -> list[str]:
    given = {"factors": factors, "defaults": defaults}
    faults = [
        f"{argument}: got {value!r}, expected a dict of names and values"
        for argument, value in given.items()
        if value is not None and not isinstance(value, Mapping)
    ]
    return faults + faults_of_strings("static", static)


def _faults_of_design(factors: dict, static: frozenset[str], defaults: dict) -> list[str]:
    faults = [
        f"factor {name!r}: expected a name of at least one letter"
        for name in factors
        if not isinstance(name, str) or not name
    ]
    if faults:
        return faults
    faults += [
        f"factor {name!r}: the name is reserved; rename the factor"
        for name in sorted(RESERVED_NAMES.intersection(factors))
    ]
    faults += [
        f"static: {name!r} is not a factor{did_you_mean(name, factors)}"
        for name in sorted(static.difference(factors))
    ]
    for name, value in (*factors.items(), *defaults.items()):
        if not isinstance(value, Scalar):
            faults.append(
                f"factor {name!r}: got {value!r}, expected a bool, an int, a float or a string"
            )
        elif isinstance(value, float) and not math.isfinite(value):
            faults.append(f"factor {name!r}: got {value}, expected a finite number")
        elif isinstance(value, int) and not -LARGEST <= value < LARGEST:
            faults.append(
                f"factor {name!r}: got {value}, expected a whole number below 2**63; write it as a "
                "float or a string"
            )
    return faults


def _is_single(values: Any) -> bool:
    """Return whether values are one: a string, or an array without axes."""
    return isinstance(values, Scalar) or getattr(values, "ndim", 1) == 0


def grid(
    *, static: Sequence[str] = (), defaults: Mapping[str, Any] | None = None, **factors: Any
) -> list[Design]:
    """Cross factors into designs, the last factor varying fastest.

    A factor with any float among its values is float in every cell, and traced; bools, integers
    and strings are static. Without factors the grid has one empty design.

    Parameters
    ----------
    static : sequence of str
        Float factors that stay concrete under jit (shares that set a shape, for instance).
    defaults : mapping of str to value
        Declared defaults of factors: see `Design`.
    **factors : value or sequence of values
        The values of each factor.

    Returns
    -------
    list of Design
        One design per combination.

    Raises
    ------
    InputError
        For a factor without values, with values twice, with a reserved name, or with whole numbers
        from 2**63.

    Examples
    --------
    >>> grid(n=[50, 100], rho=[0, 0.5])[1]
    Design(n=50, rho=0.5)
    >>> len(grid())
    1
    """
    levels = {name: _levels(name, values) for name, values in factors.items()}
    return [
        Design(dict(zip(levels, combination, strict=True)), static=static, defaults=defaults)
        for combination in itertools.product(*levels.values())
    ]


def _levels(name: str, values: Any) -> list:
    if values is None or isinstance(values, Mapping):
        raise InputError(
            f"factor {name!r}: got {values!r}, expected values, e.g. {name}=[0.0, 0.5]"
        )
    listed = list(values) if isinstance(values, Iterable) and not _is_single(values) else [values]
    listed = [getattr(value, "item", lambda value=value: value)() for value in listed]
    if not listed:
        raise InputError(f"factor {name!r}: got no values, expected at least one")
    for value in listed:
        raise_all(_faults_of_design({name: value}, frozenset(), {}))
    if len(set(listed)) < len(listed):
        raise InputError(f"factor {name!r}: got {listed}, expected every value once")
    if any(isinstance(value, float) for value in listed):
        return [float(value) for value in listed]
    return listed
