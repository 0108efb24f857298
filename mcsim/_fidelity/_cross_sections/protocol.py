"""The protocol for cross-sections: fit on all rows but one fold, compare with that fold."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
import scipy
from jaxtyping import Array, Int, Key
from numpy import ndarray

from mcsim._core.protocols import Estimator
from mcsim._core.records import Panel
from mcsim._data.schema import Schema
from mcsim._fidelity._cross_sections.layout import (
    EvaluationSplit,
    Layout,
    Matrix,
    draw_pool,
    generate,
    generated_split,
    read_layout,
    real_split,
    rows_needed,
    stratified_parts,
)
from mcsim._fidelity._cross_sections.measures import Propensity, Score, fit_propensity, score
from mcsim._fidelity.candidates import (
    Fit,
    Fits,
    faults_of_columns,
    fit_on_splits,
    fit_references,
    fits_of,
    given_of,
    is_trainer,
    named,
    progress_by_split,
)
from mcsim._fidelity.distances import Classifier
from mcsim._fidelity.estimates import (
    OnRealData,
    Values,
    draws_for,
    estimate_records,
    estimates_on,
    n_estimates,
    on_real_data,
)
from mcsim._fidelity.references import CROSS_SECTION_REFERENCES as REFERENCES
from mcsim._fidelity.references import REAL
from mcsim._fidelity.tables import ESTIMATE_COLUMNS, MEASURE_COLUMNS, FidelityTable
from mcsim._fidelity.verdicts import REAL_ROWS, judged, verdict
from mcsim.errors import InputError, raise_all

FOLD_ROWS = 10  # with fewer held-out rows no measure is informative
BATCH_ROWS = 500_000  # drawn at once
NO_OUTCOME = (
    "overlap: the propensity score is of all columns; name the outcome (outcome=) to leave it out"
)
Records = list[dict[str, Any]]


class Options(NamedTuple):
    """Rows drawn per fit, samples for the sampling distributions, permutations of labels."""

    n_generated: int
    draws: int | None
    permutations: int


def cross_section_fidelity(
    real: Panel,
    generators: Any,
    *,
    key: Key[Array, ""],
    schema: Schema,
    given: Sequence[str] | None,
    outcome: str | None,
    estimators: Mapping[str, Estimator],
    splits: int,
    options: Options,
    progress: bool,
) -> FidelityTable:
    """Measure how close generators of cross-sections are to the data; see `mcsim.fidelity`."""
    candidates = named(generators, (REAL, *REFERENCES))
    given = given_of(candidates) if given is None else given
    given = (given,) if isinstance(given, str) else tuple(given)
    layout, rows = read_layout(real, schema, given, outcome)
    _check_options(options, rows_needed(layout, layout.arm(rows)))
    keys = jax.random.split(key, 4)
    fits, held = fit_folds(candidates, real, layout, layout.arm(rows), splits, keys[0], progress)
    propensity = fit_propensity(rows, layout)
    if propensity is not None and outcome is None:
        fits = fits._replace(notes=(*fits.notes, NO_OUTCOME))
    known = RealRows(layout, rows, propensity, options.n_generated, options.permutations)
    records = _averaged(REAL, known.against_themselves(keys[1], held))
    ran = on_real_data(estimators, real, keys[2], schema)
    draws = draws_for(n_estimates(ran)) if options.draws is None else options.draws
    estimates: Records = []
    with progress_by_split(fits.fits, progress) as tick:
        for index, (name, own) in enumerate(fits.fits.items()):
            scoring, drawing = jax.random.split(jax.random.fold_in(keys[3], index))
            records += _averaged(name, known.against_draws(scoring, own, tick))
            if ran:
                estimates += estimates_under(drawing, name, own, layout, rows, ran, draws)
    return _as_table(records, estimates, fits, len(rows), len(held))


def _check_options(options: Options, needed: int) -> None:
    n_generated, draws, permutations = options
    if n_generated < needed:
        raise InputError(f"n_generated: got {n_generated:,}, expected at least {needed:,} here")
    if (draws is not None and draws < 1) or permutations < 1:
        raise InputError(f"draws, permutations: got {draws}, {permutations}, expected at least 1")


# Fits, fold by fold


def fit_folds(
    candidates: Mapping[str, Any],
    real: Panel,
    layout: Layout,
    arm: Int[ndarray, " row"],
    splits: int,
    key: Key[Array, ""],
    progress: bool,
) -> tuple[Fits, list[Int[ndarray, " held"]]]:
    """Fit trainers on all rows but one fold, for every fold; reuse fitted generators as they are.

    The first fitted generators with ``rows`` give the folds; else the key draws them.
    """
    n_rows, names = real.n_units, layout.schema.names
    fits = {
        name: fits_of(name, candidate, n_rows, 1, "row")
        for name, candidate in candidates.items()
        if not is_trainer(candidate)
    }
    for name, own in fits.items():
        raise_all(faults_of_columns(name, own[0].generator, names))
        raise_all(_faults_of_arms(name, own, layout, arm))
    held = next((_held_out(own) for own in fits.values() if len(_held_out(own)) > 1), None)
    held = held or _new_folds(arm, splits, key)
    folds = [(np.setdiff1d(np.arange(n_rows), out), out) for out in held]
    options = {"given": layout.given, "schema": layout.schema}
    keys = [jax.random.fold_in(key, n) for n in range(len(REFERENCES) + len(candidates))]
    panel, own_keys = real.select(names), iter(keys[len(REFERENCES) :])
    references = fit_references(
        REFERENCES, keys[: len(REFERENCES)], panel, folds, progress, **options
    )
    for name, trainer in candidates.items():
        if name not in fits:
            fits[name] = fit_on_splits(
                trainer, next(own_keys), real, folds, progress=progress, **options
            )
    ordered = {**references.fits, **{name: fits[name] for name in candidates}}
    return references._replace(fits=ordered), held


def _held_out(fits: Sequence[Fit]) -> list[Int[ndarray, " held"]]:
    return [fit.held for fit in fits if fit.held is not None]


def _new_folds(arm: Int[ndarray, " row"], splits: int, key: Key[Array, ""]) -> list[ndarray]:
    if splits < 2 or len(arm) < FOLD_ROWS * splits:
        raise InputError(
            f"splits: got {splits} for {len(arm)} rows, expected at least 2 folds of at least "
            f"{FOLD_ROWS} rows; lower splits, or pass a fitted generator (no hold-out)"
        )
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    return [np.sort(part) for part in stratified_parts(rng, arm, splits)]


def _faults_of_arms(
    name: str, fits: Sequence[Fit], layout: Layout, arm: Int[ndarray, " row"]
) -> list[str]:
    return [
        f"generators[{name!r}]: fit {index} saw no {label} rows, expected some of each arm"
        for index, fit in enumerate(fits)
        for code, label in enumerate(layout.arms)
        if not (arm[fit.train] == code).any()
    ]


# Real and generated rows, fold by fold


class RealRows(NamedTuple):
    """The real rows, and the options of comparisons with them.

    Attributes
    ----------
    layout : Layout
    rows : array (row, column)
    propensity : Propensity or None
    n_generated, permutations : int
        Rows drawn per fit, permutations of the labels.
    """

    layout: Layout
    rows: Matrix
    propensity: Propensity | None
    n_generated: int
    permutations: int

    def against_themselves(self, key: Key[Array, ""], held: Sequence[ndarray]) -> list[list[Score]]:
        """Score real rows in place of generated ones, in every fold."""
        folded = []
        for fold, out in enumerate(held):
            seed = _seed(jax.random.fold_in(key, fold))
            train = np.delete(self.rows, out, axis=0)
            rng = np.random.default_rng(seed)
            folded.append(self._scores(real_split(self.layout, train, self.rows[out], rng), seed))
        return folded

    def against_draws(
        self, key: Key[Array, ""], fits: Sequence[Fit], tick: Callable[[], None]
    ) -> list[list[Score]]:
        """Score the draws of every fit of one generator; call ``tick`` after each."""
        folded = []
        for fold, fit in enumerate(fits):
            own, train = jax.random.fold_in(key, fold), self.rows[fit.train]
            held, seed = None if fit.held is None else self.rows[fit.held], _seed(own)
            pool = draw_pool(own, fit.generator, self.layout, train, self.n_generated)
            rng = np.random.default_rng(seed)
            folded.append(self._scores(generated_split(pool, self.layout, train, held, rng), seed))
            tick()
        return folded

    def _scores(self, split: EvaluationSplit, seed: int) -> list[Score]:
        nominal = tuple(i for i, c in enumerate(self.layout.schema.columns) if c.nominal)
        classifier = Classifier(seed, nominal, self.permutations)
        return score(split, self.layout, classifier, self.propensity)


def _seed(key: Key[Array, ""]) -> int:
    return int(jax.random.bits(key)) % 2**31


# Sampling distributions of the estimates


def estimates_under(
    key: Key[Array, ""],
    name: str,
    fits: Sequence[Fit],
    layout: Layout,
    rows: Matrix,
    estimators: Sequence[OnRealData],
    draws: int,
) -> Records:
    """Draw samples of the real size and arms, evenly from the fits; one record per estimate."""
    each = -(-draws // len(fits))
    drawn = [
        _drawn(jax.random.fold_in(key, index), fit, layout, rows, estimators, each)
        for index, fit in enumerate(fits)
    ]
    return estimate_records(name, estimators, drawn)


def _drawn(
    key: Key[Array, ""],
    fit: Fit,
    layout: Layout,
    rows: Matrix,
    estimators: Sequence[OnRealData],
    reps: int,
) -> Values:
    batches = -(-reps * len(rows) // BATCH_ROWS)
    size = -(-reps // batches)
    found: list[Values] = []
    for batch in range(batches):
        draw, estimate = jax.random.split(jax.random.fold_in(key, batch))
        # Units are independent given the given columns: one long draw is many samples.
        long = generate(draw, fit.generator, layout, np.tile(rows, (size, 1)))
        panels = jax.tree.map(lambda x: x.reshape(size, len(rows), 1), long)
        keys = [jax.random.split(estimate, size)] * len(estimators)
        found.append(estimates_on(estimators, keys, panels))
    missing = np.full(size, np.nan)
    labels = [(e.name, estimand) for e in estimators for estimand in e.values]
    return {
        label: np.concatenate([values.get(label, missing) for values in found])[:reps]
        for label in labels
    }


# The table


def _averaged(name: str, folded: Sequence[Sequence[Score]]) -> list[dict[str, Any]]:
    """Average over folds; the interval is Student's from their spread."""
    records = []
    for scores in zip(*folded, strict=True):
        found = [s for s in scores if np.isfinite(s.value)]
        values = np.array([s.value for s in found])
        k = len(values)
        mean = float(values.mean()) if k else np.nan
        sd = float(values.std(ddof=1)) if k > 1 else np.nan
        half = float(scipy.stats.t.ppf(0.975, k - 1)) * sd / np.sqrt(k) if k > 1 else np.nan
        nulls = [s.null for s in found if s.null is not None]
        chance = np.quantile(np.mean(nulls, axis=0), [0.025, 0.975]) if nulls else (np.nan, np.nan)
        records.append(
            {
                "generator": name,
                "measure": scores[0].measure,
                "arm": scores[0].arm,
                "value": mean,
                "sd": sd,
                "lower": mean - half,
                "upper": mean + half,
                "null_lower": float(chance[0]),
                "null_upper": float(chance[1]),
                "note": next((s.note for s in scores if s.note), ""),
            }
        )
    return records


def _as_table(
    records: Records, estimates: Records, fits: Fits, n_units: int, splits: int
) -> FidelityTable:
    records = judged(records)
    verdicts = {REAL: REAL_ROWS}
    for name in fits.fits:
        verdicts[name] = verdict(
            [record for record in records if record["generator"] == name],
            [record for record in estimates if record["generator"] == name],
        )
    verdicts |= {name: f"no numbers: {f.sentence}" for name, f in fits.failed.items()}
    return FidelityTable(
        pd.DataFrame(records, columns=list(MEASURE_COLUMNS)),
        pd.DataFrame(estimates, columns=list(ESTIMATE_COLUMNS)),
        verdicts,
        n_units,
        splits,
        fits.notes,
    )
