"""A known effect on top of untreated outcomes: placebo laws, power curves, staggered adoption.

After Bertrand, Duflo & Mullainathan (2004), Quarterly Journal of Economics 119: 249-275.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from mcsim._core.averages import ATT, named, read_average
from mcsim._core.calls import with_remedies
from mcsim._core.checks import faults_of_strings, is_number
from mcsim._core.protocols import described
from mcsim._core.records import Panel
from mcsim._data.schema import Column, Schema, infer_schema
from mcsim.dgps._assignment.permuted import with_treatment
from mcsim.dgps._ensemble import Ensemble, is_frame, is_generator, without_training_record
from mcsim.dgps._fields import (
    described_assignment,
    described_generator,
    faults_of_schema,
    faults_of_sizes,
)
from mcsim.dgps._imposed_effect import TruthOf, WithEffect
from mcsim.dgps._untreated import Untreated, faults_of_untreated, untreated_source
from mcsim.errors import did_you_mean, raise_all


@with_remedies()
def with_effect(
    source: Any,
    *,
    outcome: str,
    assignment: Any,
    effect: Any = 0.0,
    treatment: str = "d",
    untreated: Untreated | None = None,
    truth: TruthOf = "sample",
    horizons: Sequence[int] = (),
    estimands: Sequence[str] = (),
    n_units: int | None = None,
    n_periods: int | None = None,
    schema: Schema | None = None,
) -> WithEffect | Ensemble:
    """Make a DGP whose outcomes are the source's plus a known effect in the treated cells.

    Parameters
    ----------
    source : Panel, DGP, generator or sequence of generators
        Untreated outcomes: a real panel, which stays as it is while the treatment is drawn anew
        (placebo laws); a DGP of panels; or a fitted generator. A sequence (see `mcsim.fit_many`)
        makes an ensemble, whose members are cells of a study identified by the factor
        ``generator``.
    outcome : str
        The column to which the effect is added.
    assignment : callable
        ``assignment(key, panel)`` gives zeros and ones (unit, period): `permuted`, `at_random`,
        `in_random_periods`, `by_cohort`, `by_probability`, `by_path`, `by_unit_factors`, or a
        function (a value that is neither makes the sample NaN, so that estimators fail on it). A
        factor of the design with the name of one of its fields takes the field's place.
    effect : float or callable
        A number, or ``effect(key, exposure, panel)`` that gives the effect of every cell:
        `by_exposure`, `heterogeneous`, or a function. Exposure (unit, period) counts treated
        periods, 1 in a unit's first. A factor ``effect`` of the design takes precedence, so that
        ``grid(effect=[0, .02, .05])`` gives size and power; a factor ``effect_scale`` multiplies,
        for the same with a path.
    treatment : str
        Name of the treatment's column; one that the source has is replaced.
    untreated : {"average", "event", "as is"}, optional
        How the outcomes of a panel that was treated itself become untreated ones; it must be given
        where the panel's column ``treatment`` varies. The estimated average effect is removed from
        all treated cells, or the average effects by event time; or nothing is. It is estimated by
        `mcsim.estimators.imputation`, or is the two-way coefficient where treatment is given up.
        Then all deviations from unit and period means are multiplied by sqrt((G - 1) / (G - 2)), G
        the units (clusters) that are permuted, since the estimate removed a part of them; with
        S strata, by sqrt((G - S) / (G - S - 1)).
    truth : {"sample", "population"}
        The ATT over the treated cells of each sample; or over all samples, computed once per cell
        with its Monte Carlo error (none for a number).
    horizons : sequence of int
        Event times, 0 a unit's first treated period, of which the sample's average effect is a
        truth of its own, ``"att[0]"``, as event studies label it; before treatment it is 0.
    estimands : sequence of str
        Other averages over the sample's treated cells, as estimators label them: means over event
        times ``"att[0..3]"``, with a binned end ``"att[0..1+]"``, the end alone ``"att[1+]"``; over
        cohorts and periods ``"att[group]"``, ``"att[calendar]"``; of one, ``"att[g=3]"``,
        ``"att[t=3]"``.
    n_units, n_periods : int, optional
        Units and periods to draw from a generator, the periods by default as many as in training;
        factors ``n_units`` and ``n_periods`` take precedence.
    schema : Schema, optional
        The schema of a source that has none of its own, so that frames of host estimators have its
        names.

    Returns
    -------
    WithEffect or Ensemble
        A DGP. Its truth is ``"att"``, and the same number under the treatment's name, as
        regressions label its coefficient; beside them stand the truths of the source's samples.

    Raises
    ------
    InputError
        For a source that is none, an unknown outcome, an assignment that does not fit the panel, a
        panel that was treated itself without ``untreated``.

    Warns
    -----
    UserWarning
        If one unit alone is treated in the panel, whose own error leaves with the effect; if
        `permuted` units differ in their variances before treatment.

    References
    ----------
    Bertrand, Duflo & Mullainathan (2004), Quarterly Journal of Economics 119: 249-275. For
    staggered adoption: de Chaisemartin & D'Haultfoeuille (2020), American Economic Review 110:
    2964-2996.

    Examples
    --------
    Placebo laws on autocorrelated states, and their power:

    >>> import jax
    >>> from mcsim import Design
    >>> from mcsim.dgps import ErrorComponents, at_random, by_cohort, by_exposure
    >>> states = ErrorComponents(n_units=50, n_periods=21, beta=None, rho=0.8)
    >>> laws = at_random(n_treated=25, start=(6, 16))
    >>> dgp = with_effect(states, outcome="y", assignment=laws)
    >>> dgp(jax.random.key(0), Design({"effect": 0.02})).panel
    Panel(50 units x 21 periods: y, d)

    Staggered adoption with effects that grow, on noiseless two-way effects:

    >>> effects = ErrorComponents(n_units=9, n_periods=5, beta=None, unit_share=0.5, time_share=0.5)
    >>> cohorts = by_cohort({3: 1 / 3, 1: 1 / 3})
    >>> growing = by_exposure([1, 2, 3, 4])
    >>> dgp = with_effect(effects, outcome="y", assignment=cohorts, effect=growing)
    >>> round(float(dgp(jax.random.key(0), Design()).truth["att"]), 4)
    2.1667
    """
    if is_number(effect):
        effect = float(effect)
    raise_all(_faults_of_lists(horizons, estimands))
    ensemble = isinstance(source, (list, tuple))
    assignment = with_treatment(assignment, treatment)
    times, sizes = (*map(named, horizons), *estimands), (n_units, n_periods)
    dgps = [
        WithEffect(one, outcome, assignment, effect, treatment, truth, times, *sizes, schema)
        for one in map(without_training_record, source if ensemble else [source])
    ]
    raise_all(_faults_of_ensemble(source) if ensemble else [])
    found = [
        fault
        for dgp in dgps
        for fault in (*_faults_of_composition(dgp), *faults_of_untreated(dgp, untreated))
    ]
    raise_all(list(dict.fromkeys(found)))
    schemas = [_schema_with_treatment(dgp) for dgp in dgps]
    sources = [untreated_source(dgp, untreated) for dgp in dgps]
    dgps = tuple(
        replace(dgp, source=one, schema=its)
        for dgp, one, its in zip(dgps, sources, schemas, strict=True)
    )
    return Ensemble(dgps) if ensemble else dgps[0]


def _faults_of_lists(horizons: Any, estimands: Any) -> list[str]:
    faults = faults_of_strings("estimands", estimands)
    if isinstance(horizons, str) or not isinstance(horizons, Collection):
        faults.append(f"horizons: got {horizons!r}, expected event times, e.g. range(-2, 3)")
    return faults


def _faults_of_composition(dgp: WithEffect) -> list[str]:
    """Return the faults of the parts of a DGP with a known effect, alone and together."""
    if kinds := [*faults_of_schema(dgp.schema), *_faults_of_kinds(dgp)]:
        return kinds
    return [
        *_faults_of_source(dgp),
        *_faults_of_outcome(dgp),
        *_faults_of_treatment(dgp),
        *_faults_of_effect(dgp),
        *_faults_of_truth(dgp),
    ]


def _faults_of_source(dgp: WithEffect) -> list[str]:
    source = dgp.source
    if is_generator(source):
        return _faults_of_drawing(dgp)
    faults = _faults_of_own_sizes(dgp)
    if isinstance(source, Panel):
        check = described_assignment(dgp.assignment).faults
        faults += check(source) if check else []
    elif not callable(source) or is_frame(source):
        kind = type(source).__name__
        frame = "; panel, schema = mcsim.from_frame(frame) makes one" if is_frame(source) else ""
        faults.append(f"source: got {kind}, expected a Panel, a DGP or a fitted generator{frame}")
    return faults


def _faults_of_outcome(dgp: WithEffect) -> list[str]:
    source = dgp.source
    columns = getattr(described(source).schema, "names", None)
    if isinstance(source, Panel):
        columns = tuple(source)
    faults = []
    if columns is not None and dgp.outcome not in columns:
        faults.append(f"outcome: got {dgp.outcome!r}{did_you_mean(dgp.outcome, columns)}")
    schema = _known_schema(dgp)
    if schema is not None and dgp.outcome in schema.names and schema[dgp.outcome].nominal:
        levels = ", ".join(map(str, schema[dgp.outcome].levels))
        faults.append(
            f"outcome: got {dgp.outcome!r}, whose values are categories ({levels}), expected a "
            "column of numbers to add an effect to"
        )
    return faults


def _faults_of_treatment(dgp: WithEffect) -> list[str]:
    """Return the faults of the treatment's name and of its assignment."""
    faults = []
    schema = _known_schema(dgp)
    if not isinstance(dgp.treatment, str) or dgp.treatment in ("", dgp.outcome):
        faults.append(f"treatment: got {dgp.treatment!r}, expected a name, not the outcome's")
    elif which := _index_named(dgp.treatment, schema):
        faults.append(
            f"treatment: got {dgp.treatment!r}, which names the {which} in frames of this DGP; "
            "name the treatment otherwise: treatment='treated'"
        )
    if not callable(dgp.assignment):
        kind = type(dgp.assignment).__name__
        faults.append(
            f"assignment: got {kind}, expected a function of (key, panel), e.g. at_random"
        )
    return faults


def _faults_of_effect(dgp: WithEffect) -> list[str]:
    number = is_number(dgp.effect) and np.isfinite(dgp.effect)
    if number or callable(dgp.effect):
        return []
    return [
        f"effect: got {dgp.effect!r}, expected a finite number or a function of (key, exposure, "
        "panel)"
    ]


def _faults_of_truth(dgp: WithEffect) -> list[str]:
    """Return the faults of the averages that have a truth, and of their population."""
    faults = [
        f"estimands: got {name!r}, expected an average as estimators label it, e.g. 'att[0..3]' or "
        "'att[group]'; horizons are event times, e.g. range(-2, 3)"
        for name in dgp.estimands
        if name != ATT and (not isinstance(name, str) or read_average(name) is None)
    ]
    if dgp.truth_of not in get_args(TruthOf):
        faults.append(f"truth: got {dgp.truth_of!r}{did_you_mean(dgp.truth_of, get_args(TruthOf))}")
    return faults


def _faults_of_kinds(dgp: WithEffect) -> list[str]:
    """Return the faults of parts that are classes (``at_random``), not instances."""
    parts = {"source": dgp.source, "assignment": dgp.assignment, "effect": dgp.effect}
    faults = [
        f"{name}: got the class {part.__name__}, expected what it makes: {part.__name__}(...)"
        for name, part in parts.items()
        if isinstance(part, type)
    ]
    if not isinstance(dgp.outcome, str):
        faults.append(f"outcome: got {dgp.outcome!r}, expected the name of one column")
    return faults


def _faults_of_own_sizes(dgp: WithEffect) -> list[str]:
    """Return the faults of sizes for a panel or a DGP, which have sizes of their own."""
    return [
        f"{name}: got {value!r}, which only a generator draws; the sizes of another source are its "
        "own"
        for name, value in {"n_units": dgp.n_units, "n_periods": dgp.n_periods}.items()
        if value is not None
    ]


def _faults_of_ensemble(sources: Sequence[Any]) -> list[str]:
    """Return the faults of generators that make no ensemble."""
    if not sources:
        return ["source: got an empty list, expected fitted generators"]
    if not all(map(is_generator, sources)):
        kinds = sorted({type(source).__name__ for source in sources if not is_generator(source)})
        return [f"source: got a list with {', '.join(kinds)}, expected fitted generators"]
    if any(described(s).schema != described(sources[0]).schema for s in sources):
        return ["source: the generators' schemas differ, expected fits of one data set"]
    return []


def _faults_of_drawing(dgp: WithEffect) -> list[str]:
    """Return the faults of a generator as a source of panels for this assignment."""
    source: Any = dgp.source
    sizes = {"n_units": 2, "n_periods": 2}
    faults = faults_of_sizes(dgp, {n: m for n, m in sizes.items() if getattr(dgp, n) is not None})
    if given := described_generator(source).given:
        faults.append(
            f"source: the generator was fit given {list(given)}, so that it draws no whole panel; "
            "fit it without given="
        )
    names = getattr(described(source).schema, "names", None)
    assignment = described_assignment(dgp.assignment)
    cluster = assignment.cluster
    if names is not None and cluster is not None and cluster not in names:
        faults.append(f"cluster: got {cluster!r}{did_you_mean(cluster, names)}")
    if np.shape(assignment.p):
        faults.append(
            "p: got one probability per unit, but a generator draws other units in every panel; "
            "by_path and by_unit_factors(..., drawn=True) depend on the units drawn, and p may be "
            "the name of a column"
        )
    return faults


def _schema_of(dgp: WithEffect) -> Schema | None:
    schema = dgp.schema or described(dgp.source).schema
    return schema if isinstance(schema, Schema) else None


def _known_schema(dgp: WithEffect) -> Schema | None:
    """Return the schema, inferred for a panel of categories that came without one."""
    schema, source = _schema_of(dgp), dgp.source
    inferred = schema is None and isinstance(source, Panel) and source.nominal
    return infer_schema(source) if inferred else schema


def _index_named(name: str, schema: Schema | None) -> str:
    """Return the index level of this name in frames, "unit" or "period"; "" if there is none."""
    index = schema if schema is not None else Schema  # frames take its defaults
    return {index.unit: "unit", index.time: "period"}.get(name, "")


def _schema_with_treatment(dgp: WithEffect) -> Schema | None:
    """Return the source's schema with the treatment; the outcome may take any value."""
    schema = _schema_of(dgp)
    if schema is None:
        return None
    free = {
        "kind": "continuous",
        "lower": -np.inf,
        "upper": np.inf,
        "mass_points": (),
        "levels": (),
    }
    if dgp.outcome in schema.names:
        schema = schema.replace(**{dgp.outcome: free})
    others = tuple(column for column in schema.columns if column.name != dgp.treatment)
    treatment = Column(dgp.treatment, "binary", 0.0, 1.0)
    return replace(schema, columns=(*others, treatment))
