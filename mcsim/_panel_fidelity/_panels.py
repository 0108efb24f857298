"""The protocol for panels: fit on one half of the units, compare with the other, many times."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Array, Key

from mcsim._core import Estimator, Panel, Status
from mcsim._fidelity._law import on_real_data
from mcsim._fidelity._sources import REAL
from mcsim._panel_fidelity._estimates import estimate_records, statistic_records, statistics_on
from mcsim._panel_fidelity._inference import inference_records
from mcsim._panel_fidelity._layout import PanelLayout, read_panel_layout
from mcsim._panel_fidelity._measures import frozen_share
from mcsim._panel_fidelity._placebo import rejection_records
from mcsim._panel_fidelity._real import RealPanel, read_real
from mcsim._panel_fidelity._row import Row, Sizes, generated_row, real_row
from mcsim._panel_fidelity._score import SCORE, Scores, read_ruler, score_records, scores
from mcsim._panel_fidelity._sources import REFERENCES, Failure, Fits, failure_of, fit_halves
from mcsim._panel_fidelity._table import (
    ESTIMATE_COLUMNS,
    INFERENCE_COLUMNS,
    MEASURE_COLUMNS,
    REJECTION_COLUMNS,
    SCORE_COLUMNS,
    STATISTIC_COLUMNS,
    PanelFidelityTable,
)
from mcsim._panel_fidelity._two_sample import (
    FEWEST_HELD,
    FEWEST_PERMUTATIONS,
    combined_p_value,
)
from mcsim._panel_fidelity._verdict import REAL_VERDICT, best_reference, of_all_outcomes, verdict
from mcsim._schema import Schema
from mcsim.errors import raise_all

Records = list[dict[str, Any]]


def panel_fidelity(
    real: Panel,
    generators: Any,
    *,
    key: Key[Array, ""],
    schema: Schema,
    outcome: str | Sequence[str] | None,
    estimators: Mapping[str, Estimator],
    splits: int,
    sizes: Sizes,
    progress: bool,
) -> PanelFidelityTable:
    """Measure how close generators of panels are to the data; see `mcsim.fidelity`."""
    layout = read_panel_layout(real, schema, outcome)
    raise_all(_faults_of_sizes(splits, sizes))
    keys = jax.random.split(key, 5)
    fits = _with_note_on_test(fit_halves(keys[0], generators, real, layout, splits, progress))
    known = read_real(keys[1], real, layout)
    sides = [known.side(units) for half in fits.halves for units in half]
    vectors = [side.vectors for side in sides]
    ruler = read_ruler(known.component_sizes, vectors, real.n_units / 2)
    laws = on_real_data(estimators, real, keys[2])
    rows = {REAL: real_row(keys[3], known, fits.halves, ruler, sizes)}
    failed = dict(fits.failed)
    for index, (name, members) in enumerate(_tracked(fits.members, progress)):
        row_key = jax.random.fold_in(keys[4], index)
        try:
            rows[name] = generated_row(row_key, members, known, ruler, laws, sizes)
        except Exception as error:
            if name not in REFERENCES:
                error.add_note(f"in fidelity: the draws of generator {name!r}")
                raise
            failed[name] = failure_of(error)
    return _as_table(rows, failed, known, fits, ruler, laws)


def _tracked(members: Mapping[str, Any], progress: bool) -> Iterable[tuple[str, Any]]:
    from rich.progress import track

    return track(members.items(), "fidelity", len(members), transient=True, disable=not progress)


def _with_note_on_test(fits: Fits) -> Fits:
    few = [name for name, of in fits.members.items() if min(len(m.held) for m in of) < FEWEST_HELD]
    if not few:
        return fits
    note = (
        f"no classifier test where fewer than {FEWEST_HELD} units are held out ({', '.join(few)}): "
        "a tree could not split so few"
    )
    return fits._replace(notes=(*fits.notes, note))


def _faults_of_sizes(splits: int, sizes: Sizes) -> list[str]:
    least = Sizes(1, 1, FEWEST_PERMUTATIONS)._asdict()
    given = {"splits": (splits, 2)}
    given |= {name: (n, least[name]) for name, n in sizes._asdict().items() if n is not None}
    return [
        f"{name}: got {n!r}, expected a whole number of at least {least}"
        for name, (n, least) in given.items()
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < least
    ]


def _as_table(
    rows: Mapping[str, Row],
    failed: Mapping[str, Failure],
    real: RealPanel,
    fits: Fits,
    ruler: Any,
    laws: Any,
) -> PanelFidelityTable:
    layout, generated = real.layout, {name: row for name, row in rows.items() if name != REAL}
    inference = [record for name, row in rows.items() for record in _inference(name, row, real)]
    rejection = [
        record
        for name, row in rows.items()
        for outcome, found in row.rejected.items()
        for record in rejection_records(name, outcome, found)
    ]
    measures = _measures(rows, layout)
    by_name = {name: of_all_outcomes(measures, name) for name in rows}
    scored = {name: scores([split.squares for split in row.splits]) for name, row in rows.items()}
    best = best_reference(scored, tuple(REFERENCES), by_name)
    score = _score(scored, failed, ruler, best)
    estimates = [
        record
        for name, row in generated.items()
        for record in estimate_records(name, laws, [split.estimates for split in row.splits])
    ]
    verdicts = {REAL: REAL_VERDICT}
    for name in generated:
        verdicts[name] = verdict(
            [r for r in inference if r["generator"] == name],
            next(r for r in score if (r["generator"], r["component"]) == (name, SCORE)),
            by_name[name],
            by_name[REAL],
            [r for r in estimates if r["generator"] == name],
            any(member.seen for member in fits.members[name]),
        )
    verdicts |= {name: f"no numbers: {failure.sentence}" for name, failure in failed.items()}
    return PanelFidelityTable(
        pd.DataFrame(inference, columns=list(INFERENCE_COLUMNS)),
        pd.DataFrame(rejection, columns=list(REJECTION_COLUMNS)),
        pd.DataFrame(score, columns=list(SCORE_COLUMNS)),
        measures,
        pd.DataFrame(estimates, columns=list(ESTIMATE_COLUMNS)),
        pd.DataFrame(_statistics(generated, real), columns=list(STATISTIC_COLUMNS)),
        verdicts,
        fits.notes,
        *real.shape,
        len(fits.halves),
        real.panel,
        {name: row.sample for name, row in generated.items()},
        layout.schema,
        layout.outcomes,
        (REAL, *REFERENCES),
    )


def _inference(name: str, row: Row, real: RealPanel) -> Records:
    ratios = np.stack([split.ratio for split in row.splits])
    draws = np.mean([split.ratio_draws for split in row.splits], axis=0)
    return inference_records(name, ratios, draws, real.layout.outcomes, real.breaks)


def _score(
    scored: Mapping[str, Scores], failed: Mapping[str, Failure], ruler: Any, best: str | None
) -> Records:
    against = None if best is None else (best, scored[best])
    nothing = {"component": SCORE, "against": ""}
    failures = [{"generator": n, **nothing, "status": f.status} for n, f in failed.items()]
    records = [
        {**record, "status": Status.OK.label}
        for name, found in scored.items()
        for record in score_records(name, found, ruler, against)
    ]
    return records + failures


def _measures(rows: Mapping[str, Row], layout: PanelLayout) -> pd.DataFrame:
    """Average over the splits; the floor is what real units read."""
    records: Records = []
    for name, row in rows.items():
        labels = dict.fromkeys(label for split in row.splits for label in split.measures)
        for measure, outcome in labels:
            found = np.array([s.measures.get((measure, outcome), np.nan) for s in row.splits])
            records.append(_measure(name, measure, outcome, found[np.isfinite(found)]))
        if name != REAL:
            share = frozen_share([split.paths for split in row.splits])
            records += [
                _measure(name, "frozen", outcome, share[[k]])
                for k, outcome in enumerate(layout.outcomes)
            ]
    floor = {(r["measure"], r["outcome"]): r["value"] for r in records if r["generator"] == REAL}
    for record in records:
        record["floor"] = floor.get((record["measure"], record["outcome"]), np.nan)
    return pd.DataFrame(records, columns=list(MEASURE_COLUMNS))


def _measure(name: str, measure: str, outcome: str, values: np.ndarray) -> dict[str, Any]:
    mean = np.nan
    if len(values):
        mean = combined_p_value(values) if measure == "c2st_p_value" else values.mean()
    return {
        "generator": name,
        "measure": measure,
        "outcome": outcome,
        "value": float(mean),
        "sd": float(values.std(ddof=1)) if len(values) > 1 else np.nan,
        "splits": len(values),
    }


def _statistics(generated: Mapping[str, Row], real: RealPanel) -> Records:
    one = {name: values[None] for name, values in real.units.raw.items()}
    own = statistics_on(one, real.layout.outcomes)
    return [
        record
        for name, row in generated.items()
        for record in statistic_records(name, own, [split.statistics for split in row.splits])
    ]
