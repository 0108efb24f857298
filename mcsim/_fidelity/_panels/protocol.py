"""The protocol for panels: fit on one half of the units, compare with the other half."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Array, Key

from mcsim._core.protocols import Estimator
from mcsim._core.records import Panel, Status
from mcsim._data.schema import Schema
from mcsim._fidelity._panels.layout import (
    PanelLayout,
    RealPanel,
    note_on_outcomes,
    read_panel_layout,
    read_real,
)
from mcsim._fidelity._panels.moments import Scale, Scores, read_scale, score_records, scores
from mcsim._fidelity._panels.placebo import inference_records, rejection_records
from mcsim._fidelity._panels.rows import (
    DrawCounts,
    Row,
    fixed_shock_share,
    generated_row,
    real_row,
    statistic_records,
    statistics_on,
)
from mcsim._fidelity.candidates import (
    Failure,
    Fits,
    Split,
    failure_of,
    faults_of_columns,
    fit_on_splits,
    fit_references,
    fits_of,
    is_trainer,
    named,
    progress_by_split,
)
from mcsim._fidelity.distances import FEWEST_HELD, FEWEST_PERMUTATIONS, combined_p_value
from mcsim._fidelity.estimates import estimate_records, on_real_data
from mcsim._fidelity.references import PANEL_REFERENCES as REFERENCES
from mcsim._fidelity.references import REAL
from mcsim._fidelity.tables import (
    ESTIMATE_COLUMNS,
    INFERENCE_COLUMNS,
    PANEL_MEASURE_COLUMNS,
    REJECTION_COLUMNS,
    SCORE_COLUMNS,
    STATISTIC_COLUMNS,
    PanelFidelityTable,
)
from mcsim._fidelity.verdicts import (
    REAL_HALVES,
    SCORE,
    best_reference,
    of_all_outcomes,
    panel_verdict,
)
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
    counts: DrawCounts,
    progress: bool,
) -> PanelFidelityTable:
    """Measure how close generators of panels are to the data; see `mcsim.fidelity`."""
    layout = read_panel_layout(real, schema, outcome)
    raise_all(_faults_of_counts(splits, counts))
    keys = jax.random.split(key, 5)
    fits, halves = _fit_halves(keys[0], generators, real, layout, splits, progress)
    if outcome is None:
        fits = fits._replace(notes=(*fits.notes, *note_on_outcomes(layout)))
    known = read_real(keys[1], real, layout)
    vectors = [known.half(units).vectors for split in halves for units in split]
    scale = read_scale(known.component_sizes, vectors, real.n_units / 2)
    ran = on_real_data(estimators, real, keys[2], layout.schema)
    rows = {REAL: real_row(keys[3], known, halves, scale, counts)}
    with progress_by_split(fits.fits, progress) as tick:
        for index, (name, own) in enumerate(fits.fits.items()):
            row_key = jax.random.fold_in(keys[4], index)
            try:
                rows[name] = generated_row(row_key, own, known, scale, ran, counts, tick)
            except Exception as error:
                if name not in REFERENCES:
                    error.add_note(f"in fidelity: the draws of generator {name!r}")
                    raise
                fits.failed[name] = failure_of(error)
    estimates = [
        record
        for name, row in rows.items()
        if name != REAL
        for record in estimate_records(name, ran, [split.estimates for split in row.splits])
    ]
    return _as_table(rows, estimates, known, fits, halves, scale)


def _faults_of_counts(splits: int, counts: DrawCounts) -> list[str]:
    least = DrawCounts(1, 1, FEWEST_PERMUTATIONS)._asdict()
    given = {"splits": (splits, 2)}
    given |= {name: (n, least[name]) for name, n in counts._asdict().items() if n is not None}
    return [
        f"{name}: got {n!r}, expected a whole number of at least {least}"
        for name, (n, least) in given.items()
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < least
    ]


# Fits, half by half


def split_halves(key: Key[Array, ""], n_units: int, splits: int) -> list[Split]:
    """Draw fresh random halves; of an odd number one unit is in neither."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel().tolist())
    shuffled = [rng.permutation(n_units) for _ in range(splits)]
    cut = n_units // 2
    return [(np.sort(order[:cut]), np.sort(order[cut : 2 * cut])) for order in shuffled]


def _fit_halves(
    key: Key[Array, ""],
    generators: Any,
    real: Panel,
    layout: PanelLayout,
    splits: int,
    progress: bool,
) -> tuple[Fits, list[Split]]:
    """Fit trainers on one half of every split; take fitted generators as they are."""
    candidates = named(generators, (REAL, *REFERENCES))
    first = 1 + len(REFERENCES)
    keys = [jax.random.fold_in(key, index) for index in range(first + len(candidates))]
    halves = split_halves(keys[0], real.n_units, splits)
    panel, options = real.select(layout.schema.names), {"schema": layout.schema}
    found = fit_references(REFERENCES, keys[1:first], panel, halves, progress, **options)
    notes = list(found.notes)
    for own_key, (name, candidate) in zip(keys[first:], candidates.items(), strict=True):
        if is_trainer(candidate):
            own = fit_on_splits(candidate, own_key, panel, halves, progress=progress, **options)
        else:
            own = fits_of(name, candidate, real.n_units, 2, "unit")
            raise_all(faults_of_columns(name, own[0].generator, layout.schema.names))
        found.fits[name] = own
        if any(fit.held is None for fit in own):
            notes.append(
                f"{name}: its fit used all units, so its draws are compared with training units; "
                "pass a trainer for a comparison with held-out units"
            )
    few = [n for n, own in found.fits.items() if min(len(f.compared) for f in own) < FEWEST_HELD]
    if few:
        notes.append(
            f"no classifier test where fewer than {FEWEST_HELD} units are held out "
            f"({', '.join(few)}): too few for a tree to split"
        )
    return found._replace(notes=tuple(notes)), halves


# The table


def _as_table(
    rows: Mapping[str, Row],
    estimates: Records,
    real: RealPanel,
    fits: Fits,
    halves: Sequence[Split],
    scale: Scale,
) -> PanelFidelityTable:
    inference = [record for name, row in rows.items() for record in _inference(name, row, real)]
    measures, generated = _measures(rows, real.layout), dict(rows)
    del generated[REAL]
    by_name = {name: of_all_outcomes(measures, name) for name in rows}
    score = _score(rows, fits.failed, scale, by_name)
    verdicts = {REAL: REAL_HALVES}
    for name in generated:
        verdicts[name] = panel_verdict(
            [r for r in inference if r["generator"] == name],
            next(r for r in score if (r["generator"], r["component"]) == (name, SCORE)),
            by_name[name],
            by_name[REAL],
            [r for r in estimates if r["generator"] == name],
            any(fit.held is None for fit in fits.fits[name]),
        )
    verdicts |= {name: f"no numbers: {failure.sentence}" for name, failure in fits.failed.items()}
    return PanelFidelityTable(
        pd.DataFrame(inference, columns=list(INFERENCE_COLUMNS)),
        pd.DataFrame(_rejections(rows), columns=list(REJECTION_COLUMNS)),
        pd.DataFrame(score, columns=list(SCORE_COLUMNS)),
        measures,
        pd.DataFrame(estimates, columns=list(ESTIMATE_COLUMNS)),
        pd.DataFrame(_statistics(generated, real), columns=list(STATISTIC_COLUMNS)),
        verdicts,
        fits.notes,
        *real.shape,
        len(halves),
        real.panel,
        {name: row.sample for name, row in generated.items()},
        real.layout.schema,
        real.layout.outcomes,
        (REAL, *REFERENCES),
    )


def _inference(name: str, row: Row, real: RealPanel) -> Records:
    ratios = np.stack([split.ratio for split in row.splits])
    draws = np.mean([split.ratio_draws for split in row.splits], axis=0)
    return inference_records(name, ratios, draws, real.layout.outcomes, real.dates)


def _rejections(rows: Mapping[str, Row]) -> Records:
    return [
        record
        for name, row in rows.items()
        for outcome, found in row.rejected.items()
        for record in rejection_records(name, outcome, found)
    ]


def _score(
    rows: Mapping[str, Row],
    failed: Mapping[str, Failure],
    scale: Scale,
    measures: Mapping[str, Mapping[str, float]],
) -> Records:
    """Score every row, paired with the best reference that does not copy."""
    scored: dict[str, Scores] = {
        name: scores([split.squares for split in row.splits]) for name, row in rows.items()
    }
    values = {name: float(found.value[0]) for name, found in scored.items()}
    best = best_reference(values, tuple(REFERENCES), measures)
    against = None if best is None else (best, scored[best])
    empty = {"component": SCORE, "against": ""}
    failures = [{"generator": n, **empty, "status": f.status} for n, f in failed.items()]
    records = [
        {**record, "status": Status.OK.label}
        for name, found in scored.items()
        for record in score_records(name, found, scale, against)
    ]
    return records + failures


def _measures(rows: Mapping[str, Row], layout: PanelLayout) -> pd.DataFrame:
    """Average over the splits; the baseline is the value of the row ``real``."""
    records: Records = []
    for name, row in rows.items():
        labels = dict.fromkeys(label for split in row.splits for label in split.measures)
        for measure, outcome in labels:
            found = np.array([s.measures.get((measure, outcome), np.nan) for s in row.splits])
            records.append(_measure(name, measure, outcome, found[np.isfinite(found)]))
        if name != REAL:
            share = fixed_shock_share([split.paths for split in row.splits])
            records += [
                _measure(name, "fixed_shocks", outcome, share[[k]])
                for k, outcome in enumerate(layout.outcomes)
            ]
    baseline = {(r["measure"], r["outcome"]): r["value"] for r in records if r["generator"] == REAL}
    for record in records:
        record["baseline"] = baseline.get((record["measure"], record["outcome"]), np.nan)
    return pd.DataFrame(records, columns=list(PANEL_MEASURE_COLUMNS))


def _measure(name: str, measure: str, outcome: str, values: np.ndarray) -> dict[str, Any]:
    mean = np.nan
    if len(values):
        mean = combined_p_value(values) if measure == "auc_holdout_p_value" else values.mean()
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
