"""A regression as an estimator: its options checked together, and the notes on its clusters.

`regression` makes an estimator of any method: it checks the shared options, and attaches
`diagnose_regression`: notes on too few clusters, one treated cluster, clusters that change within
units.
"""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from mcsim._core.checks import FINITE, at_least, faults_of, plain
from mcsim._core.protocols import CONFIDENCE_LEVEL
from mcsim._core.records import Panel, Status
from mcsim.errors import raise_all
from mcsim.estimators._formula import INTERCEPT, RegressionFormula
from mcsim.estimators._linear_model.data import Regression, read_regression
from mcsim.estimators._native import NativeEstimator, Numerics
from mcsim.estimators._options import (
    Names,
    faults_of_names,
    faults_of_terms,
    names_of,
    native,
    spelled_terms,
)
from mcsim.estimators._variance.names import (
    KINDS,
    Groups,
    Vcov,
    cluster_sums,
    faults_of_vcov,
    n_clusters,
    parse_vcov,
    read_groups,
    spelled,
)
from mcsim.estimators._variance.small_sample import RULES, faults_of_rule

SUMS_OF_CLUSTERS = ("CR0", "CR1", "CR2")
"""Variances that are defined with one treated cluster, but far too small."""

TOLERATED = 1.1  # size of a test relative to its level, above which there is a note


REFITTED = tuple(kind for kind in KINDS if kind != "RI")
"""All variances but randomization inference, which permutes a column of the panel as it is."""

SUMS = ("iid", "HC0", "HC1", "CR0", "CR1", "DK", "NW")
"""Variances that need sums of influences only, which every estimator has."""

RESAMPLED = ("wild", "RI")


class Resampling(NamedTuple):
    """The options of variances by resampling; see `fixed_effects`.

    A null or a level of None is the study's.
    """

    resamples: Annotated[int, at_least(1)]
    null: Annotated[float, FINITE] | None
    level: Annotated[float, CONFIDENCE_LEVEL] | None


class Inference(NamedTuple):
    """The options of inference that regressions share; see `fixed_effects`.

    ``resampling`` is None for a method without variances by resampling.
    """

    vcov: Names
    cluster: Names
    ssc: str
    term: Names | None = None
    estimand: str | None = None
    resampling: Resampling | None = None


def regression(
    numerics: Numerics,
    formula: RegressionFormula,
    asked: Inference,
    faults: Sequence[str] = (),
    *,
    known: tuple[str, ...] = KINDS,
    constant: bool = False,
    **options: Any,
) -> NativeEstimator:
    """Return the estimator, or raise all faults of its arguments at once.

    Parameters
    ----------
    numerics, formula
        As in `native`.
    asked : Inference
        The options of inference.
    faults : sequence of str
        Faults of the formula and of the method's own options, found by the caller.
    known : tuple of str
        The kinds of variance that the method has.
    constant : bool
        Whether the constant has a coefficient, ``"Intercept"``.
    **options
        The method's own options.
    """
    method = numerics.__name__.removeprefix("fit_")
    names = (*formula.names, INTERCEPT) if constant else formula.names
    terms = spelled_terms(asked.term, formula.names or names, names)
    vcov, cluster = tuple(map(spelled, names_of(asked.vcov))), names_of(asked.cluster)
    raise_all(
        [
            *faults,
            *faults_of_terms(terms, asked.estimand, names, method),
            *_faults_of_clusters(vcov, cluster, known),
            *faults_of_names("ssc", (asked.ssc,), RULES, method),
            *faults_of_rule(asked.ssc, vcov, formula.effects),
            *(faults_of(asked.resampling) if asked.resampling else []),
        ]
    )
    variances = [parse_vcov(name, cluster) for name in vcov]
    resampled = any(variance.kind in RESAMPLED for variance in variances)
    return native(
        numerics,
        formula,
        diagnose_regression,
        groups=tuple(dict.fromkeys(name for variance in variances for name in variance.clusters)),
        term=terms,
        estimand=asked.estimand,
        vcov=vcov,
        cluster=cluster,
        ssc=asked.ssc,
        **(_as_options(asked.resampling) if resampled and asked.resampling else {}),
        **options,
    )


def labels(term: tuple[str, ...], estimand: str | None) -> tuple[str, ...]:
    """Return the labels of the estimates of terms: the one estimand, or their names."""
    return term if estimand is None else (estimand,)


def faults_of_parts(
    formula: RegressionFormula, method: str, *, effects: str = "", instruments: bool = False
) -> list[str]:
    """Return the faults of a formula with parts that a method cannot use.

    Parameters
    ----------
    formula, method
        The formula, and the name of the method.
    effects : str
        The remedy for effects; empty if the method takes them.
    instruments : bool
        Whether the method needs instruments; if not, it refuses them.
    """
    faults = []
    if effects and formula.effects:
        faults.append(f"has effects {' + '.join(formula.effects)!r}; {effects}")
    if formula.endogenous and not instruments:
        faults.append(f"has instruments, which {method} does not use; use iv_2sls or liml")
    if instruments and not formula.endogenous:
        faults.append(f"has no instruments, which {method} needs; write 'y ~ x | d ~ z'")
    return [f"formula {str(formula)!r}: it {fault}" for fault in faults]


def _faults_of_clusters(
    vcov: tuple[str, ...], cluster: tuple[str, ...], known: tuple[str, ...]
) -> list[str]:
    if not all(isinstance(name, str) for name in cluster):
        return [f"cluster: got {cluster!r}, expected 'unit', 'time' or the name of a column"]
    return faults_of_vcov(vcov, cluster, known)


def _as_options(asked: Resampling) -> dict[str, Any]:
    return {
        "resamples": plain(asked.resamples),
        "null": None if asked.null is None else float(asked.null),
        "level": None if asked.level is None else float(asked.level),
    }


def diagnose_regression(
    panel: Panel,
    formula: RegressionFormula,
    *,
    term: tuple[str, ...],
    vcov: tuple[str, ...],
    cluster: tuple[str, ...],
    level: float = 0.95,
    resamples: int = 0,
    **options: Any,
) -> dict[str, Float[Array, ""]]:
    """Return notes on clusters: they change within units, one is treated, or they are too few."""
    specs = [parse_vcov(name, cluster) for name in vcov]
    groups = read_groups({name for spec in specs for name in spec.clusters}, panel)
    crossing = _crossing(specs, groups)
    signs = [s for s in specs if s.kind == "wild" and s.variant != "webb"]
    sums = [s for s in specs if s.kind in SUMS_OF_CLUSTERS]
    if not signs and not sums:
        return crossing
    data = read_regression(formula, panel)
    positions = formula.positions(tuple(name for name in term if name != INTERCEPT))
    found = {
        f"{spec.name} rests on one treated cluster": _rests_on_one(data, positions, spec, groups)
        for spec in sums
    }
    alpha = round(1.0 - level, 12)
    for spec in signs:
        number = n_clusters(data.observed, spec.clusters, groups)
        size = attainable_size(alpha, number)
        coarse = (2.0**number <= resamples) & (size > TOLERATED * alpha)
        name = f"{spec.name} has so few clusters that a test at {alpha:.3g} rejects true nulls at"
        found[name] = jnp.where(coarse, size, 0.0)
    return found | crossing


def attainable_size(alpha: float, n_clusters: Float[Array, ""]) -> Float[Array, ""]:
    """Return the probability that a test by all vectors of signs rejects a true null.

    The p-value is the share of 2^(G-1) vectors of signs (a vector and its opposite count once)
    whose statistic exceeds the data's. Under the null it is 0, 1, 2, ... over their number with
    equal probabilities.

    Examples
    --------
    >>> [float(attainable_size(0.05, jnp.asarray(float(number)))) for number in (3, 6, 8)]
    [0.25, 0.0625, 0.0546875]
    """
    vectors = 2.0 ** (n_clusters - 1.0)
    return jnp.minimum(jnp.ceil(alpha * vectors) / vectors, 1.0)


def treated_clusters(
    column: Float[Array, "unit period"],
    observed: Float[Array, "unit period"],
    cluster: str,
    groups: Groups,
) -> Float[Array, ""]:
    """Return the number of clusters in which a 0/1 column is ever 1; NaN for another column."""
    binary = ((column == 0) | (column == 1)).all() & (column == 1).any()
    treated = cluster_sums((column * observed)[None], (cluster,), groups) > 0
    return jnp.where(binary, treated.sum().astype(float), jnp.nan)


def _crossing(specs: list[Vcov], groups: Groups) -> dict[str, Float[Array, ""]]:
    """Return notes on variances that are not defined, since their clusters change within units."""
    return {
        f"share of panels without inference by {spec.name}, since {name!r} changes within units or "
        "is missing": (groups.status[name] != Status.OK).astype(float)
        for spec in specs
        for name in spec.clusters
        if name in groups.status
    }


def _rests_on_one(
    data: Regression, positions: tuple[int, ...], spec: Vcov, groups: Groups
) -> Float[Array, ""]:
    """Return 1 if only one cluster has the treatment of one of the coefficients, else 0."""
    numbers = [
        treated_clusters(data.x[position], data.observed, name, groups)
        for position in positions
        for name in spec.clusters
    ]
    return (jnp.stack(numbers) == 1).any().astype(float) if numbers else jnp.zeros(())
