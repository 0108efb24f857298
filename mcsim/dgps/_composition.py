"""What a source, an assignment and an effect must be to go together, and the schema they have."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from mcsim._averages import ATT, read_average
from mcsim._core import Panel
from mcsim._schema import Column, Schema, infer_schema
from mcsim.dgps._ensemble import is_frame, is_generator
from mcsim.dgps._factors import faults_of_schema, faults_of_sizes, is_number
from mcsim.errors import did_you_mean

if TYPE_CHECKING:
    from mcsim.dgps._with_effect import WithEffect

TruthOf = Literal["sample", "population"]


def faults_of_composition(dgp: "WithEffect") -> list[str]:
    """Say which parts of a DGP with a known effect are none, or do not go together."""
    source = dgp.source
    if kinds := [*faults_of_schema(dgp.schema), *_faults_of_kinds(dgp)]:
        return kinds
    faults = [] if is_generator(source) else _faults_of_own_sizes(dgp)
    columns = getattr(getattr(source, "schema", None), "names", None)
    if isinstance(source, Panel):
        columns = tuple(source)
        check = getattr(dgp.assignment, "faults", None)
        faults += check(source) if check else []
    elif is_generator(source):
        faults += _faults_of_drawing(dgp)
    elif not callable(source) or is_frame(source):
        kind = type(source).__name__
        frame = "; panel, schema = mcsim.from_frame(frame) makes one" if is_frame(source) else ""
        faults.append(f"source: got {kind}, expected a Panel, a DGP or a fitted generator{frame}")
    if columns is not None and dgp.outcome not in columns:
        faults.append(f"outcome: got {dgp.outcome!r}{did_you_mean(dgp.outcome, columns)}")
    schema = _schema_of(dgp)
    if schema is None and isinstance(source, Panel) and source.nominal:
        schema = infer_schema(source)
    if schema is not None and dgp.outcome in schema.names and schema[dgp.outcome].nominal:
        levels = ", ".join(map(str, schema[dgp.outcome].levels))
        faults.append(
            f"outcome: got {dgp.outcome!r}, whose values are categories ({levels}), expected a "
            "column of numbers to add an effect to"
        )
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
    number = is_number(dgp.effect) and np.isfinite(dgp.effect)
    if not number and not callable(dgp.effect):
        faults.append(
            f"effect: got {dgp.effect!r}, expected a finite number or a function of (key, "
            "exposure, panel)"
        )
    faults += [
        f"estimands: got {name!r}, expected an average as estimators label it, e.g. 'att[0..3]' or "
        "'att[group]'; horizons are event times, e.g. range(-2, 3)"
        for name in dgp.estimands
        if name != ATT and (not isinstance(name, str) or read_average(name) is None)
    ]
    if dgp.truth_of not in get_args(TruthOf):
        faults.append(f"truth: got {dgp.truth_of!r}{did_you_mean(dgp.truth_of, get_args(TruthOf))}")
    return faults


def _faults_of_kinds(dgp: "WithEffect") -> list[str]:
    """Say which parts are classes (``at_random``) where what they make is expected."""
    parts = {"source": dgp.source, "assignment": dgp.assignment, "effect": dgp.effect}
    faults = [
        f"{name}: got the class {part.__name__}, expected what it makes: {part.__name__}(...)"
        for name, part in parts.items()
        if isinstance(part, type)
    ]
    if not isinstance(dgp.outcome, str):
        faults.append(f"outcome: got {dgp.outcome!r}, expected the name of one column")
    return faults


def _faults_of_own_sizes(dgp: "WithEffect") -> list[str]:
    """A panel and a DGP have sizes of their own."""
    return [
        f"{name}: got {value!r}, which only a generator draws; the sizes of another source are its "
        "own"
        for name, value in {"n_units": dgp.n_units, "n_periods": dgp.n_periods}.items()
        if value is not None
    ]


def faults_of_ensemble(sources: Sequence[Any]) -> list[str]:
    """Say why these make no ensemble."""
    if not sources:
        return ["source: got an empty list, expected fitted generators"]
    if not all(map(is_generator, sources)):
        kinds = sorted({type(source).__name__ for source in sources if not is_generator(source)})
        return [f"source: got a list with {', '.join(kinds)}, expected fitted generators"]
    if any(getattr(s, "schema", None) != getattr(sources[0], "schema", None) for s in sources):
        return ["source: the generators' schemas differ, expected fits of one data set"]
    return []


def _faults_of_drawing(dgp: "WithEffect") -> list[str]:
    """Say why a generator draws no panel for this assignment."""
    source: Any = dgp.source
    sizes = {"n_units": 2, "n_periods": 2}
    faults = faults_of_sizes(dgp, {n: m for n, m in sizes.items() if getattr(dgp, n) is not None})
    if given := getattr(source, "given", ()):
        faults.append(
            f"source: the generator was fit given {list(given)}, so that it draws no whole panel; "
            "fit it without given="
        )
    names = getattr(getattr(source, "schema", None), "names", None)
    cluster = getattr(dgp.assignment, "cluster", None)
    if names is not None and cluster is not None and cluster not in names:
        faults.append(f"cluster: got {cluster!r}{did_you_mean(cluster, names)}")
    if np.shape(getattr(dgp.assignment, "p", 0.0)):
        faults.append(
            "p: got one probability per unit, but a generator draws other units in every panel; "
            "by_path and by_unit_factors(..., drawn=True) depend on the units drawn, and p may be "
            "the name of a column"
        )
    return faults


def _schema_of(dgp: "WithEffect") -> Schema | None:
    schema = dgp.schema or getattr(dgp.source, "schema", None)
    return schema if isinstance(schema, Schema) else None


def _index_named(name: str, schema: Schema | None) -> str:
    """Return what a name says in frames: "unit" or "period"; "" if neither."""
    index = schema if schema is not None else Schema  # whose defaults frames take then
    return {index.unit: "unit", index.time: "period"}.get(name, "")


def schema_with_treatment(dgp: "WithEffect") -> Schema | None:
    """The source's schema with the treatment; the outcome takes any value now."""
    schema = _schema_of(dgp)
    if schema is None:
        return None
    free = {"kind": "continuous", "lower": -np.inf, "upper": np.inf, "atoms": (), "levels": ()}
    if dgp.outcome in schema.names:
        schema = schema.replace(**{dgp.outcome: free})
    others = tuple(column for column in schema.columns if column.name != dgp.treatment)
    treatment = Column(dgp.treatment, "binary", 0.0, 1.0)
    return replace(schema, columns=(*others, treatment))
