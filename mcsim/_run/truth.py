"""The truth of a cell where samples do not carry it: computed once, with its Monte Carlo error."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import pandas as pd

from mcsim._core.averages import ATT, read_average
from mcsim._core.keys import Stream
from mcsim._core.records import Panel
from mcsim._host.pool import WorkerPool
from mcsim._readers import DEFAULT_ESTIMAND, UNNAMED, FullLabel
from mcsim._results.store import Store
from mcsim._results.store_records import OwnTruthRecord, TruthRecord
from mcsim._run.compiled import readable_errors
from mcsim._run.evaluate import batch_of_one, evaluate
from mcsim._run.plan import CellPlan, EstimatorPlan
from mcsim.errors import ContractError, did_you_mean, nearest


@dataclass(frozen=True)
class CellTruth:
    """The truth of a cell.

    Attributes
    ----------
    values : dict of estimand to (value, mcse)
        From ``dgp.truth``; the error is shared by all replications.
    own : dict of estimator to dict of "estimand|inference" to value
        Where the DGP's truth is a population: each estimator's own value there.
    kind : str
        A description of the truth.
    """

    values: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    own: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    kind: str = "known"

    def known_estimands(self, plan: CellPlan) -> set[str]:
        """Return the estimands with a truth in the samples or the cell."""
        return {*plan.estimands, *self.values}

    def leaves_open(self, plan: CellPlan, estimand: str) -> bool:
        """Return whether an estimate has no name, and the study not exactly one estimand."""
        return not estimand and len(without_synonyms(plan, self.known_estimands(plan))) != 1

    def of(self, estimator: str, estimand: str, inference: str) -> float:
        """Return the truth of an estimate; NaN where there is none."""
        if estimator in self.own:
            own = self.own[estimator]
            unnamed = own.get(f"{UNNAMED}|{inference}", np.nan)
            return own.get(f"{estimand}|{inference}", unnamed)
        return self.values.get(estimand, (np.nan, 0.0))[0]

    def filled_in(self, rows: pd.DataFrame, estimator: str, single_estimand: str) -> pd.DataFrame:
        """Return an estimator's rows with the cell's truth where the samples carry none.

        Parameters
        ----------
        rows : pandas.DataFrame
            A block.
        estimator : str
            Its name.
        single_estimand : str
            Estimand of an estimate without a name.
        """
        truth = rows["truth"].to_numpy(copy=True)
        if not np.isnan(truth).any():
            return rows
        labels = rows.groupby(["estimand", "inference"], observed=True).indices
        for label, mine in labels.items():
            estimand, inference = cast("tuple[str, str]", label)
            if np.isnan(truth[mine]).all():
                truth[mine] = self.of(estimator, estimand or single_estimand, inference)
        return rows.assign(truth=truth)


def store_truths(plans: list[CellPlan], store: Store, pool: WorkerPool) -> dict[str, CellTruth]:
    """Return the truth of every cell, computing and storing missing ones."""
    return {p.hash: _cell_truth(p, store, pool) for p in plans}


def warn_without_truth(dgp: str, estimates: Iterable[tuple[str, str]], known: set[str]) -> None:
    """Warn once for every estimator of estimands without a truth."""
    unknown: dict[str, list[str]] = {}
    for estimator, estimand in sorted(set(estimates)):
        if estimand not in known:
            unknown.setdefault(estimator, []).append(estimand or DEFAULT_ESTIMAND)
    for estimator, estimands in unknown.items():
        why = (
            _unnamed(dgp, known)
            if estimands == [DEFAULT_ESTIMAND]
            else _unknown(dgp, estimands, known)
        )
        warnings.warn(
            f"estimator {estimator!r}: {why}; bias and coverage will be missing",
            UserWarning,
            stacklevel=2,
        )


def estimands_without_truth(rows: pd.DataFrame) -> set[str]:
    """Return the estimands of which no replication has a truth."""
    known = rows["truth"].notna().groupby(rows["estimand"], observed=True).any()
    return {str(estimand) for estimand in known.index[~known] if estimand}


@runtime_checkable
class OfTreatment(Protocol):
    """A DGP that draws a treatment, or an estimator of a treatment's effect."""

    @property
    def treatment(self) -> str | None:
        """The treatment's column; None if there is no treatment."""
        ...


def warn_of_other_treatments(plan: CellPlan) -> None:
    """Warn of estimators of another treatment's effect than the one whose truth the DGP has."""
    dgp = plan.cell.dgp
    if not isinstance(dgp, OfTreatment) or dgp.treatment is None:
        return
    for e in plan.estimators:
        theirs = e.estimator.treatment if isinstance(e.estimator, OfTreatment) else None
        if theirs not in (None, dgp.treatment):
            warnings.warn(
                f"estimator {e.name!r} estimates the effect of {theirs!r}, but the DGP "
                f"{plan.cell.dgp_name!r} draws the treatment {dgp.treatment!r}; write "
                f"{dgp.treatment!r} in the formula, or treatment={theirs!r} in the DGP",
                UserWarning,
                stacklevel=2,
            )


def _unnamed(dgp: str, known: set[str]) -> str:
    truths = f"the truths of {', '.join(map(repr, sorted(known)))}" if known else "no truth"
    name = min(known, default="att")
    return (
        f"its estimate has no estimand, and the DGP {dgp!r} has {truths}; "
        f"return {{{name!r}: Estimate(...)}}, or lift it with @mcsim.host(estimand={name!r})"
    )


def _unknown(dgp: str, estimands: list[str], known: set[str]) -> str:
    many = "s" if len(estimands) > 1 else ""
    return (
        f"the DGP {dgp!r} has no truth of its estimand{many} "
        f"{', '.join(map(repr, estimands))}{_hint(estimands, known)} (estimand= labels an estimate "
        "as a known one)"
    )


def without_synonyms(plan: CellPlan, estimands: Iterable[str]) -> set[str]:
    """Return estimands without the second names that a cell's DGP has for them."""
    return set(estimands).difference(plan.dgp.synonyms)


def computes_truth(plan: CellPlan) -> bool:
    """Return whether the truth of a cell is computed once, and stored in truth.json."""
    return callable(plan.dgp.truth)


def _hint(estimands: list[str], known: set[str]) -> str:
    """Return which truths are known instead; another average of the effect is no misspelling."""
    averages = [name for name in estimands if read_average(name)]
    if averages and ATT in known:
        return (
            f"; {ATT!r} is another average than {', '.join(map(repr, averages))}, whose truth "
            f"with_effect(..., estimands={averages}) computes"
        )
    if len(estimands) == 1:
        return did_you_mean(estimands[0], known)
    meant = [f"{near!r} for {name!r}" for name in estimands if (near := nearest(name, known))]
    if meant:
        return f"; did you mean {', '.join(meant)}?"
    return f"; known are {', '.join(sorted(known))}" if known else ""


def _cell_truth(plan: CellPlan, store: Store, pool: WorkerPool) -> CellTruth:
    file, kind = store.cell(plan.hash) / "truth.json", str(plan.dgp.truth_kind)
    if not computes_truth(plan):
        return CellTruth(kind=kind)
    stored = store.recover(file, TruthRecord)
    if stored is None:
        with readable_errors(f"dgp {plan.cell.dgp_name!r}: its truth"):
            found = plan.dgp.truth(plan.keys(Stream.TRUTH, 0, 1)[0], plan.cell.seen)
        if isinstance(found, Panel):
            return CellTruth(own=_own_truths(found, plan, store, pool), kind=kind)
        stored = {"values": _checked(plan, found), "kind": kind}
        store.write(file, stored)
    values = {name: (pair[0], pair[1]) for name, pair in stored["values"].items()}
    return CellTruth(values=values, kind=kind)


def _checked(plan: CellPlan, found: Any) -> dict[str, list[float]]:
    try:
        return {str(name): [float(v), float(mcse)] for name, (v, mcse) in found.items()}
    except (AttributeError, TypeError, ValueError):
        raise ContractError(
            f"dgp {plan.cell.dgp_name!r}: truth(key, design) returned {found!r}, expected "
            "{estimand: (value, mcse)} or a Panel"
        ) from None


def _own_truths(
    population: Panel, plan: CellPlan, store: Store, pool: WorkerPool
) -> dict[str, dict[str, float]]:
    own = {}
    for estimator in plan.estimators:
        file = store.estimator(plan.hash, estimator.hash) / "truth.json"
        if store.recover(file, OwnTruthRecord) is None:
            store.write(file, {"own": _own_truth(population, plan, estimator, pool)})
        own[estimator.name] = store.read(file, OwnTruthRecord)["own"]
    return own


def _own_truth(
    population: Panel, plan: CellPlan, estimator: EstimatorPlan, pool: WorkerPool
) -> dict[str, float]:
    """Return an estimator's values on the population, by "estimand|inference"."""
    keys, batch = plan.keys(Stream.TRUTH, 1, 2), batch_of_one(population)
    # Native estimators of a plan are bound to the schema already.
    schema = plan.dgp.schema if estimator.is_host else None
    found = evaluate(estimator.name, estimator.estimator, keys, batch, schema, pool=pool)
    if found.outcomes and (trouble := found.outcomes[0].trouble):
        raise ContractError(
            f"estimator {estimator.name!r} fails on the population that is to give its truth:\n"
            f"{trouble}"
        )
    return {_name(label): float(e.value[0]) for label, e in found.estimates.items()}


def _name(label: FullLabel) -> str:
    return "|".join(label)
