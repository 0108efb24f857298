"""Imputation: untreated outcomes of treated cells, from a two-way model of the untreated cells.

Source: Borusyak, Jaravel & Spiess (2024), Review of Economic Studies 91: 3253-3285. An average
effect is linear in the outcomes; its weights on them are the adjoint of the imputation, and the
variance is made of weights times residuals (their theorem 3).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from mcsim._core.averages import ATT, named
from mcsim._core.records import Calendar, Estimate, Panel, Status
from mcsim.errors import InputError, raise_all
from mcsim.estimators._did.adoption import (
    LEFT_OUT,
    Adoption,
    event_times,
    faults_of_cluster,
    faults_of_horizons,
    read_adoption,
)
from mcsim.estimators._did.aggregation import (
    ALONE,
    Averages,
    estimates_by_influence,
    share_alone,
)
from mcsim.estimators._formula import TreatmentFormula
from mcsim.estimators._linear_model.data import generalized_inverse
from mcsim.estimators._linear_model.least_squares import EXPLAINED, invert
from mcsim.estimators._native import NativeEstimator, makes_estimator
from mcsim.estimators._options import Names, faults_of_names, names_of, native
from mcsim.estimators._parsing import parse_treatment_formula
from mcsim.estimators._variance.names import read_groups

POOLED = ("bjs:cohort", "bjs:event", "bjs:all")
"""Variances whose effects deviate from a mean over more than the cohort in the period."""

CONSERVATIVE = ("bjs", "bjs:loo", *POOLED)

Cells = Float[Array, "unit period"]
Columns = Float[Array, "column unit period"]
Targets = Float[Array, "target unit period"]


class Untreated(NamedTuple):
    """The cells that the model is fitted on, and its normal equations.

    Attributes
    ----------
    weight : array (unit, period)
        1 where a cell is observed and untreated.
    share : array (unit, period)
        The same, divided by the unit's number of such cells.
    inverse : array (period, period)
        Of the normal equations of the period effects.
    """

    weight: Cells
    share: Cells
    inverse: Float[Array, "period period"]


@makes_estimator(version=1)
def imputation(
    formula: str,
    *,
    horizons: int | Sequence[int] = (),
    vcov: Names = "bjs",
    cluster: str = "unit",
) -> NativeEstimator:
    """Impute untreated outcomes of treated cells from the untreated cells; average the differences.

    Unit effects, period effects and covariates are fitted on the untreated cells. Effects that
    cannot be imputed are left out of every average, as by ``autosample`` of did_imputation: of
    units without an untreated period, and of periods without an untreated unit. Treatment is for
    good. The panel may have gaps; a unit that is
    not observed just before its first treated cell counts in ``"att"`` and in no horizon.

    Parameters
    ----------
    formula : str
        ``"outcome ~ treatment | covariates"``; covariates vary over time.
    horizons : int or sequence of int
        Event times to estimate beside the overall average; 0 is the first treated period.
    vcov : str or sequence of str
        ``"bjs"``, conservative: effects count by their deviation from the mean of the cohort in the
        period. ``"bjs:loo"`` leaves the own effect out of that mean, for small cohorts. A cohort of
        one unit has no deviation: ``"bjs:loo"`` is not defined there, and ``"bjs"`` is too small
        (a note reports the share of the weight). ``"bjs:cohort"``, ``"bjs:event"`` and
        ``"bjs:all"`` take the mean of the others in the cohort, at the event time, or in all
        treated cells, as ``avgeffectsby`` with ``leaveout`` of did_imputation. All with the normal
        distribution, and not defined where all weight is on one treated unit or cluster.
    cluster : str
        ``"unit"``, or a column of groups of units.

    Returns
    -------
    NativeEstimator
        Called as ``estimator(key, panel)``; its estimates are labeled ``("att", vcov)``, the mean
        over the treated cells, and ``("att[0]", vcov)``, ... by event time. One without a cell that
        can be imputed is ``INVALID_INPUT``, as is all of it where treatment is not 0/1 or given up;
        collinear covariates are ``SINGULAR``.

    Raises
    ------
    InputError
        For a formula that cannot be parsed, an unknown variance or a negative horizon.

    References
    ----------
    Borusyak, Jaravel & Spiess (2024), Review of Economic Studies 91: 3253-3285, theorems 1 and 3,
    section 4.3 (pooling), appendix A.9 (leaving out).

    Examples
    --------
    >>> from mcsim import Panel
    >>> y = [[1.0, 2.0, 3.0], [2.0, 2.0, 3.0], [0.0, 0.0, 0.0]]
    >>> d = [[0, 1, 1], [0, 0, 1], [0, 0, 0]]
    >>> estimates = imputation("y ~ d", horizons=[0, 1])(None, Panel({"y": y, "d": d}))
    >>> {estimand: round(float(e.value), 6) for (estimand, _), e in estimates.items()}
    {'att[0]': 1.0, 'att[1]': 2.0, 'att': 1.333333}
    """
    parsed, names = parse_treatment_formula(formula), names_of(vcov)
    times = event_times(horizons)
    faults = faults_of_names("vcov", names, CONSERVATIVE, "imputation")
    faults += faults_of_cluster(cluster, "imputation")
    raise_all(faults + faults_of_horizons(times, negative=False))
    return native(
        fit_imputation,
        parsed,
        diagnose_imputation,
        horizons=times,
        vcov=names,
        cluster=cluster,
    )


def fit_imputation(
    key: Key[Array, ""] | None,
    panel: Panel,
    formula: TreatmentFormula,
    *,
    horizons: tuple[int, ...],
    vcov: tuple[str, ...],
    cluster: str,
) -> dict[tuple[str, str], Estimate]:
    """Impute effects where possible and average them, with conservative variances."""
    adoption = read_adoption(formula, panel)
    _check_horizons(horizons, adoption.data.calendar)
    treated = adoption.treated * adoption.data.observed
    model = _untreated(adoption.data.observed - treated)
    counted = treated * _imputable(model.weight)
    weights = _targets(adoption, counted, horizons)
    rest, loading, collinear = _impute(adoption.data.y, adoption.data.x[1:], model, weights)
    status = _statuses(adoption, weights, collinear)
    value = (weights * rest).sum(axis=(1, 2))
    estimates = {}
    for name in vcov:
        error = _errors_by(name, adoption, counted, rest, weights, cluster, panel)
        averages = Averages(value, (loading * error).sum(axis=2), (weights > 0).any(axis=2), status)
        estimates |= estimates_by_influence(
            key, panel, _labels(horizons), averages, vcov=(name,), cluster=cluster
        )
    return estimates


def diagnose_imputation(
    panel: Panel, formula: TreatmentFormula, *, vcov: tuple[str, ...], cluster: str, **options: Any
) -> dict[str, Float[Array, ""]]:
    """Count the treated cells that no average holds, and the weight on cohorts of one unit."""
    adoption = read_adoption(formula, panel)
    treated = adoption.treated * adoption.data.observed
    counted = treated * _imputable(adoption.data.observed - treated)
    found = {LEFT_OUT: treated.sum() - counted.sum()}
    if "bjs" in vcov:
        members = (counted > 0).any(axis=1)
        found[ALONE] = share_alone(adoption, members, counted.sum(axis=1), cluster, panel)
    return {name: jnp.where(adoption.status == Status.OK, n, 0.0) for name, n in found.items()}


def _impute(
    y: Cells, x: Columns, model: Untreated, weights: Targets
) -> tuple[Cells, Targets, Bool[Array, ""]]:
    """Return outcomes less the untreated model, each target's weights on them, and collinearity."""
    left = x - _predict(x, model)
    within = model.weight * left
    gram = (within[:, None] * within).sum(axis=(2, 3))
    inverse, singular = invert(gram)

    def remainder(y: Cells) -> Cells:
        rest = y - _predict(y[None], model)[0]
        slopes = inverse @ (within * rest).sum(axis=(1, 2))
        return rest - (slopes[:, None, None] * left).sum(axis=0)

    rest, adjoint = jax.vjp(remainder, y)
    loading = jax.vmap(lambda weight: adjoint(weight)[0])(weights)
    explained = jnp.diagonal(gram) <= EXPLAINED * (model.weight * x**2).sum(axis=(1, 2))
    return rest, loading, singular | explained.any()


def _labels(horizons: tuple[int, ...]) -> tuple[str, ...]:
    return (*map(named, horizons), ATT)


def _check_horizons(horizons: tuple[int, ...], calendar: Calendar) -> None:
    """Refuse event times that no unit with an untreated period can have."""
    after = calendar.places[1:]
    possible = {later - first for first in after for later in after if later >= first}
    wrong = [horizon for horizon in horizons if horizon not in possible]
    if wrong:
        known = (
            f"at most {max(possible)}" if calendar.consecutive else f"some of {sorted(possible)}"
        )
        raise InputError(
            f"horizons: got {wrong}, expected {known}: a panel of {len(calendar.places)} periods "
            "has one before treatment"
        )


def _untreated(weight: Cells) -> Untreated:
    """Prepare the two-way model: unit effects are swept out, period effects solved for."""
    share = weight / jnp.maximum(weight.sum(axis=1, keepdims=True), 1.0)
    normal = jnp.diag(weight.sum(axis=0)) - share.T @ weight
    return Untreated(weight, share, generalized_inverse(normal))


def _predict(columns: Columns, model: Untreated) -> Columns:
    """Predict columns in all cells by unit and period effects of the untreated ones."""
    mean = (model.share * columns).sum(axis=-1, keepdims=True)
    of_period = (model.weight * (columns - mean)).sum(axis=-2) @ model.inverse
    of_unit = mean[..., 0] - of_period @ model.share.T
    return of_unit[..., None] + of_period[:, None, :]


def _imputable(untreated: Cells) -> Bool[Array, "unit period"]:
    """Return the cells whose unit and period are linked by untreated cells, also through others."""
    linked = untreated.T @ untreated > 0
    for _ in range(max(len(linked) - 1, 1).bit_length()):
        linked = (linked.astype(float) @ linked.astype(float)) > 0
    return untreated @ linked.astype(float) > 0


def _targets(adoption: Adoption, counted: Cells, horizons: tuple[int, ...]) -> Targets:
    """Return each target's weights on the effects: the same for all cells it averages."""
    event = adoption.event
    dated = counted * adoption.dated[:, None]
    chosen = jnp.stack([*(dated * (event == h) for h in horizons), counted])
    return chosen / jnp.maximum(chosen.sum(axis=(1, 2), keepdims=True), 1.0)


def _errors(adoption: Adoption, counted: Cells, rest: Cells, *, leave_out: bool) -> Cells:
    """Return residuals; for effects, less their mean over the cohort in the period.

    ``leave_out`` leaves the own effect out of that mean.
    """
    member = (adoption.start == jnp.arange(rest.shape[1])[:, None]).astype(float)
    number = member @ counted
    mean = (member @ (counted * rest)) / jnp.maximum(number, 1.0)
    factor = jnp.where(number > 1, number / jnp.maximum(number - 1, 1.0), 1.0)
    factor = factor if leave_out else jnp.ones_like(factor)
    return jnp.where(counted > 0, (rest - member.T @ mean) * (member.T @ factor), rest)


def _errors_by(
    name: str,
    adoption: Adoption,
    counted: Cells,
    rest: Cells,
    weights: Targets,
    cluster: str,
    panel: Panel,
) -> Float[Array, "_ unit period"]:
    """Return the errors of every target, or of all, by the name of the variance; NaN without."""
    if name in POOLED:
        return _pooled_errors(name, adoption, rest, weights, cluster, panel)
    errors = _errors(adoption, counted, rest, leave_out=name == "bjs:loo")
    if name != "bjs:loo":
        return errors[None]
    member = (adoption.start == jnp.arange(rest.shape[1])[:, None]).astype(float)
    alone = counted * (member.T @ (member @ counted)) == 1
    lost = (alone & (weights > 0)).any(axis=(1, 2), keepdims=True)
    return jnp.where(lost, jnp.nan, errors)


def _pooled_errors(
    name: str, adoption: Adoption, rest: Cells, weights: Targets, cluster: str, panel: Panel
) -> Targets:
    """Return residuals; for effects, less the mean of other clusters by cohort, event time, or all.

    Their mean weighs clusters with their cells squared, the paper's equation (8), as avgeffectsby
    of did_imputation for Stata has it; with leaveout, own effects count by 1 - their share in it.
    NaN where a group has one cluster.
    """
    n_periods = rest.shape[1]
    chosen = (weights > 0).astype(float)
    event = jnp.arange(n_periods) - adoption.start[:, None]
    start = jnp.broadcast_to(adoption.start[:, None], event.shape)
    group = {"bjs:cohort": start, "bjs:event": event}.get(name, jnp.zeros_like(event))
    of = (group[..., None] == jnp.arange(n_periods)).astype(float)
    own = read_groups({cluster}, panel).of_unit.get(cluster, jnp.arange(len(rest)))

    def of_cluster(cells: Targets) -> Float[Array, "target group unit"]:
        """Return sums over each unit's cluster."""
        sums = jnp.einsum("aut,utg->agu", cells, of)
        flat = sums.reshape(-1, len(rest))
        return jax.vmap(lambda row: jax.ops.segment_sum(row, own, len(rest))[own])(flat).reshape(
            sums.shape
        )

    number = of_cluster(chosen)
    within = jnp.einsum("aut,utg->agu", chosen, of)
    squares = (within * number).sum(axis=2, keepdims=True)  # of every cluster's cells
    mean = (number * jnp.einsum("aut,utg->agu", chosen * rest, of)).sum(axis=2, keepdims=True)
    mean = mean / jnp.maximum(squares, 1.0)
    others = squares - number**2
    factor = jnp.where(others > 0, squares / jnp.where(others > 0, others, 1.0), jnp.nan)
    factor = jnp.where(within > 0, factor, 0.0)
    mean, factor = (
        jnp.einsum("agu,utg->aut", jnp.broadcast_to(part, within.shape), of)
        for part in (mean, factor)
    )
    return jnp.where(chosen > 0, (rest - mean) * factor, rest)


def _statuses(
    adoption: Adoption, weights: Targets, collinear: Bool[Array, ""]
) -> Int[Array, " target"]:
    """Return the status of each target, which is not identified without a cell to average."""
    found = jnp.where(collinear, Status.SINGULAR, Status.OK)
    found = jnp.where(weights.any(axis=(1, 2)), found, Status.INVALID_INPUT)
    return jnp.where(adoption.status == Status.OK, found, adoption.status).astype(jnp.int32)
