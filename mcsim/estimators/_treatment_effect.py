"""Estimators of the average effect on the treated, as configurations that are called on panels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
from jaxtyping import Array, Key

from mcsim._core import Estimate, Panel
from mcsim._precision import require_float64
from mcsim._schema import Schema
from mcsim.errors import did_you_mean, raise_all
from mcsim.estimators._arms import arms_of
from mcsim.estimators._fit import Fit, estimates_of
from mcsim.estimators._formula import TreatmentFormula, parse_treatment_formula


@dataclass(frozen=True)
class TreatmentEffect:
    """An estimator of the average effect on the treated (ATT) in a cross-section.

    Made by `difference_in_means`, `outcome_regression`, `ipw`, `aipw` or `matching`. Immutable and
    hashable; calling it is pure and can be jitted and vmapped.

    Attributes
    ----------
    name : str
        The method, by default the estimator's name in a study.
    formula : TreatmentFormula
        Outcome, treatment and covariates.
    vcov : tuple of str
        Names of the variances, each of which gives an estimate labeled ``("att", name)``.
    fit : callable
        The numerics: ``fit(arms, vcov, **options)``.
    options : tuple of (str, value)
        The method's own options.
    """

    name: str
    formula: TreatmentFormula
    vcov: tuple[str, ...]
    fit: Callable[..., Fit]
    options: tuple[tuple[str, Any], ...] = ()

    def __call__(
        self, key: Key[Array, ""] | None, panel: Panel, /
    ) -> dict[tuple[str, str], Estimate]:
        """Estimate the effect; the key is not used."""
        require_float64("estimate")
        return _estimate(self, panel)

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
        options = "".join(f", {name}={value!r}" for name, value in self.options)
        vcov = self.vcov[0] if len(self.vcov) == 1 else self.vcov
        return f"{self.name}({str(self.formula)!r}, vcov={vcov!r}{options})"


@partial(jax.jit, static_argnums=0)
def _estimate(estimator: TreatmentEffect, panel: Panel) -> dict[tuple[str, str], Estimate]:
    arms = arms_of(estimator.formula, panel)
    return estimates_of(estimator.fit(arms, estimator.vcov, **dict(estimator.options)), "att")


def configure(
    fit: Callable[..., Fit],
    formula: str,
    vcov: str | Sequence[str],
    known: Sequence[str],
    covariates: Literal["none", "optional", "needed"] = "optional",
    **options: Any,
) -> TreatmentEffect:
    """Check the arguments of a method, report all faults together, and return its estimator."""
    name = fit.__name__.removeprefix("fit_")
    parsed = parse_treatment_formula(formula)
    names = (vcov,) if isinstance(vcov, str) else tuple(vcov)
    faults = [
        f"vcov: {name} has no variance {unknown!r}{did_you_mean(unknown, known)}"
        for unknown in names
        if unknown not in known
    ]
    if not names or len(set(names)) < len(names):
        faults.append(f"vcov: got {names}, expected at least one name and each once")
    if covariates == "none" and parsed.covariates:
        remedy = f"write '{parsed.text.split(' | ')[0]}' or take another method"
        faults.append(f"formula {formula!r}: {name} uses no covariates; {remedy}")
    if covariates == "needed" and not parsed.covariates:
        faults.append(f"formula {formula!r}: {name} needs covariates; write 'y ~ d | x1 + x2'")
    faults += _faults_of_options(**options)
    raise_all(faults)
    return TreatmentEffect(name, parsed, names, fit, tuple(options.items()))


def _faults_of_options(trim: Any = None, n_neighbors: Any = 1) -> list[str]:
    faults = []
    number = isinstance(trim, (int, float)) and not isinstance(trim, bool)
    if trim is not None and not (number and 0 < trim <= 1):
        faults.append(f"trim: got {trim!r}, expected a probability in (0, 1], such as 0.9")
    whole = isinstance(n_neighbors, int) and not isinstance(n_neighbors, bool)
    if not (whole and n_neighbors >= 1):
        faults.append(f"n_neighbors: got {n_neighbors!r}, expected a whole number of at least 1")
    return faults
