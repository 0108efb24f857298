"""What a source, an assignment and an effect must be to go together, and the schema they have."""

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from mcsim._core import Panel
from mcsim._schema import Column, Schema
from mcsim.dgps._factors import faults_of_sizes, is_number, is_whole
from mcsim.errors import did_you_mean

if TYPE_CHECKING:
    from mcsim.dgps._with_effect import WithEffect

TruthOf = Literal["sample", "population"]


def faults_of_composition(dgp: "WithEffect") -> list[str]:
    """Say which parts of a DGP with a known effect are none, or do not go together."""
    source, faults = dgp.source, []
    columns = getattr(getattr(source, "schema", None), "names", None)
    if isinstance(source, Panel):
        columns = tuple(source)
        check = getattr(dgp.assignment, "faults", None)
        faults += check(source) if check else []
    elif (not callable(source) and not hasattr(type(source), "sample")) or is_frame(source):
        kind = type(source).__name__
        frame = "; panel, schema = mcsim.from_frame(frame) makes one" if is_frame(source) else ""
        faults.append(f"source: got {kind}, expected a Panel, a DGP or a fitted generator{frame}")
    elif not callable(source) and dgp.n_units is not None:
        faults += faults_of_sizes(dgp, {"n_units": 2})
    if columns is not None and dgp.outcome not in columns:
        faults.append(f"outcome: got {dgp.outcome!r}{did_you_mean(dgp.outcome, columns)}")
    if not isinstance(dgp.treatment, str) or dgp.treatment == dgp.outcome:
        faults.append(f"treatment: got {dgp.treatment!r}, expected a name, not the outcome's")
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
    if not all(is_whole(e) for e in dgp.horizons):
        faults.append(f"horizons: got {dgp.horizons!r}, expected event times, e.g. range(-2, 3)")
    if dgp.truth_of not in get_args(TruthOf):
        faults.append(f"truth: got {dgp.truth_of!r}{did_you_mean(dgp.truth_of, get_args(TruthOf))}")
    return faults


def is_frame(thing: object) -> bool:
    """Whether it is a data frame, which has a ``sample`` of its own; pandas is not imported."""
    return type(thing).__name__ == "DataFrame"


def schema_with_treatment(dgp: "WithEffect") -> Schema | None:
    """The source's schema with the treatment; the outcome takes any value now."""
    schema = dgp.schema or getattr(dgp.source, "schema", None)
    if not isinstance(schema, Schema):
        return None
    free = {"kind": "continuous", "lower": -np.inf, "upper": np.inf, "atoms": (), "levels": ()}
    if dgp.outcome in schema.names:
        schema = schema.replace(**{dgp.outcome: free})
    others = tuple(column for column in schema.columns if column.name != dgp.treatment)
    treatment = Column(dgp.treatment, "binary", 0.0, 1.0)
    return replace(schema, columns=(*others, treatment))
