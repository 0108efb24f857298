"""Native estimators: a formula, options and a pure function, as one immutable configuration."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Key

from mcsim._core import Estimate, Panel
from mcsim._precision import require_float64
from mcsim._schema import Schema
from mcsim.errors import did_you_mean, raise_all
from mcsim.estimators._formula import check_columns


@runtime_checkable
class Formula(Protocol):
    """A parsed formula: which columns it uses, and its canonical text as ``str``."""

    @property
    def columns(self) -> tuple[str, ...]: ...


Numerics = Callable[..., Mapping[tuple[str, str], Estimate]]
"""``numerics(key, panel, formula, **options)`` gives estimates by (estimand, inference).

Pure, so that it can be jitted and vmapped; static are the formula and the options.
"""

Diagnosis = Callable[..., Mapping[str, Array]]
"""``diagnosis(panel, formula, **options)`` gives numbers by what they count; see `Diagnosed`."""


@dataclass(frozen=True)
class NativeEstimator:
    """An estimator in JAX; made by the functions of `mcsim.estimators`.

    Immutable and hashable; calling it is pure and can be jitted and vmapped.

    Attributes
    ----------
    name : str
        The method, by default the estimator's name in a study.
    formula : Formula
        Outcome, treatment or regressors, and the rest.
    numerics : callable
        ``numerics(key, panel, formula, **options)``.
    options : tuple of (str, value)
        The method's options, its variances (``vcov``) among them.
    diagnosis : callable, optional
        What `diagnose` calls; it belongs to the numerics and is no part of the definition.
    """

    name: str
    formula: Formula
    numerics: Numerics
    options: tuple[tuple[str, Any], ...] = ()
    diagnosis: Diagnosis | None = field(default=None, compare=False, repr=False)

    def __call__(
        self, key: Key[Array, ""] | None, panel: Panel, /
    ) -> Mapping[tuple[str, str], Estimate]:
        """Estimate on a panel; the key is for methods that resample.

        Raises
        ------
        InputError
            If the panel lacks a column or has a shape that the method does not take: known when
            the program is traced. What the numbers allow is told by each estimate's status.
        """
        require_float64("estimate")
        return _estimate(self, key, panel)

    def diagnose(self, panel: Panel, /) -> Mapping[str, Array]:
        """Return what a reader should know beside the estimate, by what it counts.

        Raises
        ------
        InputError
            If the panel lacks a column or has a shape that the method does not take.
        """
        if self.diagnosis is None:
            return {}
        check_columns(self.formula.columns, panel)
        return self.diagnosis(panel, self.formula, **dict(self.options))

    def check_schema(self, schema: Schema) -> None:
        """Raise if a column is categorical: its codes would be taken as amounts."""
        coded = [
            name
            for name in self.formula.columns
            if name in schema.names and schema[name].kind == "categorical"
        ]
        raise_all(
            [
                f"formula {str(self.formula)!r}: {name!r} is categorical; make a 0/1 column of "
                "each level but one, for instance with pandas.get_dummies"
                for name in coded
            ]
        )

    def __repr__(self) -> str:
        shown = ((name, _alone(value)) for name, value in self.options if value is not None)
        options = "".join(f", {name}={value!r}" for name, value in shown)
        return f"{self.name}({str(self.formula)!r}{options})"


@partial(jax.jit, static_argnums=0)
def _estimate(
    estimator: NativeEstimator, key: Key[Array, ""] | None, panel: Panel
) -> Mapping[tuple[str, str], Estimate]:
    check_columns(estimator.formula.columns, panel)
    estimates = estimator.numerics(key, panel, estimator.formula, **dict(estimator.options))
    return OrderedDict(estimates)  # of a dict, JAX would sort the keys


def native(
    numerics: Numerics, formula: Formula, diagnosis: Diagnosis | None = None, /, **options: Any
) -> NativeEstimator:
    """Return the estimator called after its numerics, ``fit_ols`` giving ``ols``."""
    name = numerics.__name__.removeprefix("fit_")
    return NativeEstimator(name, formula, numerics, tuple(options.items()), diagnosis)


def names_of(argument: Any) -> tuple[Any, ...]:
    """Return one name or several as a tuple; what is neither stands alone, for its fault."""
    if isinstance(argument, str) or not isinstance(argument, Iterable):
        return (argument,)
    return tuple(argument)


def faults_of_names(
    argument: str, names: tuple[str, ...], known: Sequence[str], method: str
) -> list[str]:
    """Return what is wrong with names chosen from those that a method knows."""
    faults = [
        f"{argument}: {method} has no {argument} {unknown!r}{did_you_mean(unknown, known)}"
        for unknown in names
        if unknown not in known
    ]
    if not names or len(set(map(str, names))) < len(names):
        faults.append(f"{argument}: got {names}, expected at least one name and each once")
    return faults


def _alone(value: Any) -> Any:
    """One name in a tuple is shown as it is usually written, without the tuple."""
    return value[0] if isinstance(value, tuple) and len(value) == 1 else value
