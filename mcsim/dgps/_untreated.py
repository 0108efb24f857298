"""Untreated outcomes of a panel that was treated: its own effect is removed once, on the host."""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from mcsim._core.design import Design
from mcsim._core.pytree import pytree
from mcsim._core.records import Panel, Sample
from mcsim.dgps._assignment.permuted import permuted
from mcsim.dgps._bootstrap import Bootstrap
from mcsim.dgps._ensemble import FIXED
from mcsim.dgps._fields import described_assignment
from mcsim.dgps._imposed_effect import WithEffect
from mcsim.dgps._own_effect import (
    Cells,
    OwnEffect,
    OwnTreatment,
    VarianceRatio,
    own_effect,
    pre_period_variances,
    two_way_residual,
)
from mcsim.dgps._random import numbered
from mcsim.errors import did_you_mean, raise_all, warn

Untreated = Literal["average", "event", "as is"]

_LEVEL = 0.05  # of the test whether variances before treatment differ


@pytree("panel", "drawn")
@dataclass(frozen=True)
class UntreatedPanel:
    """A real panel as a source of untreated outcomes: the same in every sample.

    Attributes
    ----------
    panel : Panel
        The panel as given, which defines the source.
    outcome, treatment : str
        Columns: the outcome that the treatment affected, and the treatment.
    untreated : {"average", "event", "as is"}
        The effect that is removed.
    permutation_df : int
        Units (clusters) that are permuted, less the number of strata.
    drawn : Panel
        The same panel with untreated outcomes.
    caveats : tuple of str
        Conclusions that results do not support.
    """

    definition_name = "mcsim.dgps.with_effect untreated"

    panel: Panel
    outcome: str
    treatment: str
    untreated: Untreated
    permutation_df: int
    drawn: Panel = field(compare=False)
    caveats: tuple[str, ...] = field(compare=False)

    @property
    def factors(self) -> tuple[str, ...]:
        """Factors of a design that the source reads: none."""
        return ()

    @property
    def summary(self) -> str:
        """One line for the head of a report."""
        if self.untreated == "as is":
            return repr(self.panel)
        what = {"average": "the average effect", "event": "the average effects by event time"}
        return f"{self.panel!r} less {what[self.untreated]} of {self.treatment}"

    def __call__(self, key: Key[Array, ""], design: Design) -> Sample:
        """Return the panel."""
        return Sample(self.drawn, {})


def untreated_source(dgp: WithEffect, untreated: Untreated | None) -> Any:
    """Return the source without the effect of its own treatment, or as it is if it has none.

    Raises
    ------
    InputError
        If the effect cannot be estimated.

    Warns
    -----
    UserWarning
        If one unit alone is treated, or if permuted units differ in their variances.
    """
    if untreated is None or not isinstance(dgp.source, Panel) or not _was_treated(dgp):
        return dgp.source
    if untreated != "as is":
        raise_all(_faults_of_removal(dgp, untreated))
    own, df, effect = _own(dgp), _permutation_df(dgp), None
    remarks, doubts, y = [FIXED], [], own.y
    if untreated != "as is":
        effect = own_effect(own, by_event=untreated == "event")
        y = _rescaled(own.y - effect.of_cell, own.observed, df)
        remarks.append(_of_removal(dgp, effect))
        doubts += _of_single_units(dgp, effect)
    if isinstance(dgp.assignment, permuted):
        found = _compared(dgp, own, y)
        differ = found is not None and found.p < _LEVEL
        (doubts if differ else remarks).append(_of_variances(dgp, found))
    for doubt in doubts:
        warn(doubt)
    drawn = dgp.source if effect is None else _with_outcome(dgp, own, y)
    columns = dgp.outcome, dgp.treatment
    return UntreatedPanel(dgp.source, *columns, untreated, df, drawn, (*remarks, *doubts))


def faults_of_untreated(dgp: WithEffect, untreated: Any) -> list[str]:
    """Return the faults of the option ``untreated``, given or missing."""
    faults, path, name = [], dgp.assignment, dgp.treatment
    if isinstance(path, permuted) and path.treatment != name:
        faults.append(
            f"treatment: got {name!r} beside permuted(treatment={path.treatment!r}), expected one "
            "name, that of the data's own treatment"
        )
    return [*faults, *_faults_of_word(dgp, untreated)]


def _faults_of_word(dgp: WithEffect, untreated: Any) -> list[str]:
    kinds = get_args(Untreated)
    if untreated is not None and untreated not in kinds:
        return [f"untreated: got {untreated!r}{did_you_mean(str(untreated), kinds)}"]
    if not _was_treated(dgp):
        if untreated in (None, "as is"):
            return []
        return [
            f"untreated: got {untreated!r}, but the source is no panel with a column "
            f"{dgp.treatment!r} that varies; name the data's own treatment with treatment=, or "
            "leave untreated= out"
        ]
    if isinstance(dgp.source, Bootstrap):
        return _faults_of_bootstrap(dgp, untreated)
    if untreated is None:
        return [
            f"untreated: got none for a panel that was treated itself (its column "
            f"{dgp.treatment!r} varies), whose outcomes contain that effect; expected 'average' or "
            "'event' to remove its estimate, 'as is' to keep it, or another name as treatment="
        ]
    return []


def _faults_of_bootstrap(dgp: WithEffect, untreated: Any) -> list[str]:
    """Return the fault where the units that are drawn were treated, and their effect not kept."""
    if untreated == "as is":
        return []
    return [
        f"untreated: got {'none' if untreated is None else repr(untreated)} for a Bootstrap of a "
        f"panel that was treated itself (its column {dgp.treatment!r} varies), whose outcomes "
        "contain that effect; expected 'as is' to keep it, another name as treatment=, or the "
        "panel itself as the source, with untreated='average'"
    ]


def _was_treated(dgp: WithEffect) -> bool:
    """Return whether the source's panel has a varying column of the treatment's name."""
    source = dgp.source.panel if isinstance(dgp.source, Bootstrap) else dgp.source
    names = (dgp.treatment, dgp.outcome)
    if not isinstance(source, Panel) or not all(name in source for name in names):
        return False
    values = np.asarray(source[dgp.treatment], dtype=float)
    observed = np.isfinite(values) & (True if source.mask is None else np.asarray(source.mask))
    return len(np.unique(values[observed])) > 1


def _own(dgp: WithEffect) -> OwnTreatment:
    panel: Panel = dgp.source
    y, d = (np.asarray(panel[name], dtype=float) for name in (dgp.outcome, dgp.treatment))
    seen = np.ones(y.shape, bool) if panel.mask is None else np.asarray(panel.mask)
    observed = seen & np.isfinite(y) & np.isfinite(d)
    return OwnTreatment(y, observed & (d == 1), observed)


def _permutation_df(dgp: WithEffect) -> int:
    number, stratum = _exchanged(dgp)
    return len(np.unique(number)) - len(np.unique(stratum))


def _exchanged(dgp: WithEffect) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers of the units (clusters) that an assignment exchanges, and of their strata."""
    panel, assignment = dgp.source, described_assignment(dgp.assignment)
    number, strata = numbered(panel, assignment.cluster), assignment.strata
    return number, np.zeros_like(number) if strata is None else numbered(panel, strata)


def _faults_of_removal(dgp: WithEffect, untreated: Untreated) -> list[str]:
    own, name = _own(dgp), dgp.treatment
    if not np.isin(np.asarray(dgp.source[name])[own.observed], (0.0, 1.0)).all():
        return [
            f"untreated: got {untreated!r}, but {name!r} has other values than 0 and 1; expected "
            "'as is', outcomes from which you removed the effect"
        ]
    if untreated == "event" and not own.absorbing:
        return [
            f"untreated: got 'event', but {name!r} switches off again, so that event times are not "
            "defined; expected 'average' or 'as is'"
        ]
    faults = []
    if not np.isfinite(own_effect(own).average):
        faults.append(
            f"untreated: got {untreated!r}, but the effect of {name!r} is not identified: no unit "
            "is observed treated and untreated beside others; expected 'as is', outcomes from "
            "which you removed it"
        )
    df = _permutation_df(dgp)
    if df < 2:
        faults.append(
            f"untreated: got {untreated!r} with {df + 1} units (clusters) to permute, expected at "
            "least 3, more than the treated and the untreated one"
        )
    return faults


def _rescaled(y: Cells, observed: np.ndarray, df: int) -> Cells:
    """Inflate deviations from unit and period effects by the variance that the removal took.

    An effect estimated in these data takes one degree of freedom of the permuted units: without
    the factor the residuals of treated units are too small, as in any regression.
    """
    return y + (np.sqrt(df / (df - 1)) - 1.0) * two_way_residual(y, observed)


def _with_outcome(dgp: WithEffect, own: OwnTreatment, y: Cells) -> Panel:
    values = dgp.source[dgp.outcome]
    kept = np.where(own.observed, y, np.asarray(values, dtype=float))
    return dgp.source.with_columns({dgp.outcome: jnp.asarray(kept, dtype=float)})


def _of_removal(dgp: WithEffect, effect: OwnEffect) -> str:
    by_event = " by event time" if effect.by_event else ""
    return (
        f"The estimated average effect of {dgp.treatment} on {dgp.outcome}, {effect.average:.3g} "
        f"({effect.method}), was removed from the treated cells{by_event}; what differs between "
        "treated units stays in their outcomes."
    )


def _of_single_units(dgp: WithEffect, effect: OwnEffect) -> list[str]:
    """Return a warning about estimates that rest on one treated unit or cluster."""
    cluster = described_assignment(dgp.assignment).cluster
    number = numbered(dgp.source, cluster)
    groups = {what: number[cells.any(axis=1)] for what, cells in effect.used.items()}
    alone = [what for what, treated in groups.items() if len(np.unique(treated)) == 1]
    if not alone:
        return []
    what = "unit" if cluster is None else f"cluster of {cluster!r}"
    return [
        f"One {what} alone is treated ({', '.join(alone)}), so that its own error left with the "
        "effect: its treated outcomes vary too little."
    ]


def _compared(dgp: WithEffect, own: OwnTreatment, y: Cells) -> VarianceRatio | None:
    number, stratum = _exchanged(dgp)
    return pre_period_variances(y, own.observed, own.start, number=number, stratum=stratum)


def _of_variances(dgp: WithEffect, found: VarianceRatio | None) -> str:
    """Return a sentence on the variances of treated and untreated units before treatment."""
    if found is None:
        return (
            "Variances of treated and untreated units before treatment cannot be compared: no "
            "period has changes of two units of each."
        )
    said = (
        f"Before treatment the variance of changes in {dgp.outcome!r} was {found.ratio:.2g} times "
        f"as large in treated units as in untreated ones (p = {found.p:.3f})"
    )
    if found.p >= _LEVEL:
        return f"{said}."
    return (
        f"{said}: placebo estimates of permuted paths mix the two, and have another variance than "
        "the estimate on the data; permute within strata= of alike units."
    )
