"""Native estimators: a formula, options and a pure function, as one immutable configuration.

The function (``numerics``) computes a `Fit`, or coefficients and their variances, and returns them
as estimates with `estimates_of` or `estimates_of_terms`.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from mcsim._core.calls import with_remedies
from mcsim._core.machine import require_float64
from mcsim._core.protocols import LEVEL, NULL, check_agreement
from mcsim._core.records import Estimate, Panel, Status, require_panel
from mcsim._data.schema import Schema
from mcsim._definitions.public_names import public_name, public_part
from mcsim.errors import InputError, UnknownAttribute, raise_all
from mcsim.estimators._explanation import explain_failure
from mcsim.estimators._formula import (
    DummyNames,
    check_columns,
    faults_of_categories,
    spread,
    with_axes,
    with_dummies,
)


@runtime_checkable
class Formula(Protocol):
    """A parsed formula: which columns it uses, and its canonical text as ``str``."""

    @property
    def columns(self) -> tuple[str, ...]: ...


Maker = TypeVar("Maker", bound=Callable[..., Any])

Numerics = Callable[..., Mapping[tuple[str, str], Estimate]]
"""``numerics(key, panel, formula, **options)`` gives estimates by (estimand, inference).

Pure, so that it can be jitted and vmapped; static are the formula and the options.
"""

Diagnosis = Callable[..., Mapping[str, Array]]
"""``diagnosis(panel, formula, **options)`` gives numbers by name; see `Diagnosed`."""


HOLDS_NO_DATA = "an estimator holds no data; mcsim.estimate({}, panel) estimates on them"


def makes_estimator(version: int = 1) -> Callable[[Maker], Maker]:
    """Return a decorator of the public functions that make an estimator.

    A store identifies the estimator by the name of the public function and by this version.

    Parameters
    ----------
    version : int
        The definition version. Raise it when the estimates on the same data change, so that a run
        on an older store stops and does not mix rows of both.
    """

    def decorate(make: Any) -> Any:
        def named(*args: Any, **kwargs: Any) -> NativeEstimator:
            made = make(*args, **kwargs)
            return replace(made, name=make.__name__, made_by=public_name(known) or "")

        known: Any = wraps(make)(named)
        known.definition_name = f"{public_part(make.__module__)}.{make.__name__}"
        known.definition_version = version
        return with_remedies(HOLDS_NO_DATA, data=HOLDS_NO_DATA)(known)

    return decorate


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
    groups : tuple of str
        The clusters of its variances; no part of the definition, since the options decide them.
    diagnosis : callable, optional
        The function that `diagnose` calls; part of the numerics and not of the definition.
    made_by : str
        Public name and definition version of the function that made it; its numerics are no part
        of the definition then.
    """

    name: str
    formula: Formula
    numerics: Numerics
    options: tuple[tuple[str, Any], ...] = ()
    groups: tuple[str, ...] = field(default=(), compare=False)
    diagnosis: Diagnosis | None = field(default=None, compare=False, repr=False)
    made_by: str = field(default="", compare=False, repr=False)

    def definition(self) -> dict[str, Any]:
        """Return its definition for a store: the public function that made it, formula, options."""
        made_by = self.made_by or (self.name, self.numerics)
        return {"estimator": made_by, "formula": self.formula, "options": self.options}

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns that it reads: of the formula, and of clusters."""
        groups = [name for name in self.groups if name not in ("unit", "time")]
        return tuple(dict.fromkeys([*self.formula.columns, *groups]))

    @property
    def treatment(self) -> str | None:
        """The column of the treatment whose effect it estimates; None if it is a regression."""
        return getattr(self.formula, "treatment", None)

    if not TYPE_CHECKING:  # type checkers still report missing attributes

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):  # Python and JAX probe for such names
                raise AttributeError(name)
            made = f"{self.name}({str(self.formula)!r})"
            raise UnknownAttribute(f"{made}.{name}: {HOLDS_NO_DATA.format(made)}")

    @with_remedies("", HOLDS_NO_DATA.format("estimator"))
    def __call__(
        self, key: Key[Array, ""] | None, panel: Panel, /
    ) -> Mapping[tuple[str, str], Estimate]:
        """Estimate on a panel; the key is for methods that resample.

        Raises
        ------
        InputError
            If the panel lacks a column or has a shape that the method does not take: known when
            the program is traced. Faults of the numbers are in each estimate's status.
        """
        require_float64("estimate")
        require_panel(panel)
        return _estimate(self._at(NULL, LEVEL), key, panel)

    @property
    def takes(self) -> tuple[str, ...]:
        """The options, ``"null"`` and ``"level"``, on which its own p-values and limits depend."""
        return tuple(name for name, _ in self.options if name in ("null", "level"))

    def with_null_and_level(self, null: float, level: float) -> "NativeEstimator":
        """Return the estimator whose own p-values and limits are of this null and level.

        It is the same estimator where no variance has p-values and limits of its own.

        Raises
        ------
        InputError
            If the estimator was given other values.
        """
        check_agreement(dict(self.options), {"null": null, "level": level})
        return self._at(null, level)

    def _at(self, null: float, level: float) -> "NativeEstimator":
        """Fill in the null and the level where the user gave none."""
        asked = {"null": float(null), "level": float(level)}
        options = tuple((n, asked.get(n) if v is None else v) for n, v in self.options)
        return self if options == self.options else replace(self, options=options)

    def diagnose(self, panel: Panel, /) -> Mapping[str, Array]:
        """Return the numbers to report as notes beside the estimate, by name.

        Raises
        ------
        InputError
            If the panel lacks a column or has a shape that the method does not take.
        """
        if self.diagnosis is None:
            return {}
        formula, options = _on_panel(self._at(NULL, LEVEL), panel)
        return self.diagnosis(panel, formula, **options)

    def explain(self, panel: Panel, /) -> str:
        """Return the reason of a failure on a panel of numbers, as a sentence; see `Explained`.

        Raises
        ------
        InputError
            If the panel lacks a column or has a shape that the method does not take.
        """
        formula, _ = _on_panel(self, panel)
        return explain_failure(formula, panel)

    def with_schema(self, schema: Schema, nominal: Mapping[str, int | None]) -> "NativeEstimator":
        """Return the estimator for data of a schema, with its names of unit and time translated.

        Raises
        ------
        InputError
            If a column is categorical and not nominal in the panel, since codes are no amounts; if
            an effect is no name of the panel's axes.
        """
        coded = [
            name
            for name in self.formula.columns
            if name in schema.names and schema[name].kind == "categorical" and name not in nominal
        ]
        raise_all(faults_of_categories(self.formula, coded))
        formula = with_axes(self.formula, schema.unit, schema.time)
        return self if formula is self.formula else replace(self, formula=formula)

    def __repr__(self) -> str:
        shown = ((name, _alone(value)) for name, value in self.options if value is not None)
        options = "".join(f", {name}={value!r}" for name, value in shown)
        return f"{self.name}({str(self.formula)!r}{options})"


@partial(jax.jit, static_argnums=0)
def _estimate(
    estimator: NativeEstimator, key: Key[Array, ""] | None, panel: Panel
) -> Mapping[tuple[str, str], Estimate]:
    formula, options = _on_panel(estimator, panel)
    estimates = estimator.numerics(key, panel, formula, **options)
    return OrderedDict(estimates)  # of a dict, JAX would sort the keys


def _on_panel(estimator: NativeEstimator, panel: Panel) -> tuple[Any, dict[str, Any]]:
    """Return formula and options, with dummies in place of the panel's nominal columns."""
    check_columns(estimator.formula.columns, panel)
    formula, names = with_dummies(estimator.formula, panel.nominal)
    return formula, _of_dummies(estimator, names) if names else dict(estimator.options)


def _of_dummies(estimator: NativeEstimator, names: DummyNames) -> dict[str, Any]:
    """Return the options with dummies in place of the nominal columns that they name."""
    options = dict(estimator.options)
    for option in ("term", "predetermined", "endogenous"):
        if options.get(option):
            options[option] = spread(options[option], names)
    if options.get("estimand") is not None and len(options["term"]) > 1:
        raise InputError(
            f"estimand: {options['estimand']!r} labels one coefficient, but the category has "
            f"{len(options['term'])}: {', '.join(options['term'])}; leave estimand= out"
        )
    return options


def _alone(value: Any) -> Any:
    """Return the one name of a tuple without the tuple, as users write it."""
    return value[0] if isinstance(value, tuple) and len(value) == 1 else value


class Variance(NamedTuple):
    """A variance of an estimate, the degrees of freedom of its t reference, own limits and p-value.

    A method that tests without a standard error has a NaN variance and a p-value.
    """

    variance: Any
    df: Any = jnp.inf
    lower: Any = jnp.nan
    upper: Any = jnp.nan
    p_value: Any = jnp.nan


class Fit(NamedTuple):
    """An estimate and its variances.

    Attributes
    ----------
    value : array ()
    variances : mapping of str to Variance
        By the name of the variance; NaN where it is not defined.
    status : int array ()
        A `Status`.
    """

    value: Float[Array, ""]
    variances: Mapping[str, Variance]
    status: Int[Array, ""]


def worst(status: Any, invalid: Any, singular: Any, converged: Any = True) -> Int[Array, ""]:
    """Combine statuses and faults; the status of the data comes first, then in the order given."""
    fitted = jnp.where(converged, Status.OK, Status.NONCONVERGED)
    fitted = jnp.where(singular, Status.SINGULAR, fitted)
    return first_status(status, jnp.where(invalid, Status.INVALID_INPUT, fitted))


def first_status(status: Any, other: Any) -> Int[Array, "*many"]:
    """Return the first of two statuses that is not ``OK``, elementwise."""
    return jnp.where(status == Status.OK, other, status).astype(jnp.int32)


def estimates_of(fit: Fit, estimand: str) -> dict[tuple[str, str], Estimate]:
    """Return one estimate of a fit per variance; after a failure every number is NaN.

    Where the value exists and its variance does not, the value stays: its status is NO_SE.
    """
    return {
        (estimand, name): _estimate_by(fit, variance) for name, variance in fit.variances.items()
    }


def estimates_of_terms(
    names: Sequence[str],
    coef: Float[Array, " term"],
    variances: Mapping[str, Variance],
    status: Int[Array, "*term"],
) -> dict[tuple[str, str], Estimate]:
    """Return an estimate for every term and variance.

    A part of a variance, or a status, that has no axes is common to all terms.
    """
    estimates = {}
    for position, name in enumerate(names):
        of_term = {
            label: Variance(*(_at(part, position) for part in variance))
            for label, variance in variances.items()
        }
        estimates |= estimates_of(Fit(coef[position], of_term, _at(status, position)), name)
    return estimates


def statistic(value: Any, status: Any, *, p_value: Any = jnp.nan, df: Any = jnp.inf) -> Estimate:
    """Return a number without a standard error as an estimate; NaN after a failure.

    A number that is not finite without a failure is ``INVALID_INPUT``.
    """
    defined = (jnp.asarray(status) == Status.OK) & jnp.isfinite(value)
    nan = jnp.full((), jnp.nan)
    return Estimate(
        value=jnp.where(defined, value, nan),
        se=nan,
        lower=nan,
        upper=nan,
        df=jnp.where(defined, jnp.asarray(df, dtype=float), nan),
        p_value=jnp.where(defined, p_value, nan),
        status=first_status(status, jnp.where(defined, Status.OK, Status.INVALID_INPUT)),
    )


def _at(part: Any, position: int) -> Any:
    """Return the part of one term; a part without axes is common to all terms."""
    return part[position] if jnp.ndim(part) else part


def _estimate_by(fit: Fit, variance: Variance) -> Estimate:
    failed = (fit.status != Status.OK) | ~jnp.isfinite(fit.value)
    known = ~failed & jnp.isfinite(variance.variance)
    tested = ~failed & jnp.isfinite(jnp.asarray(variance.p_value))
    nan = jnp.full((), jnp.nan)
    status = jnp.where(failed & (fit.status == Status.OK), Status.NAN, fit.status)
    status = jnp.where(~failed & ~known & ~tested, Status.NO_SE, status)
    return Estimate(
        value=jnp.where(failed, nan, fit.value),
        se=jnp.where(known, jnp.sqrt(jnp.where(known, variance.variance, 0.0)), nan),
        lower=jnp.where(failed, nan, variance.lower),
        upper=jnp.where(failed, nan, variance.upper),
        df=jnp.where(known, jnp.asarray(variance.df, dtype=float), nan),
        p_value=jnp.where(tested, variance.p_value, nan),
        status=status.astype(jnp.int32),
    )
