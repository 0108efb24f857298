"""`fidelity`: fit on all folds but one, score on that one, and set the references beside it."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Array, Key
from scipy.stats import t as student

from mcsim._core import Estimator, Panel, require_panel
from mcsim._fidelity._cast import cast_generator, cast_real, rows_needed
from mcsim._fidelity._classifier import Classifier
from mcsim._fidelity._law import laws, n_estimates, on_real_data
from mcsim._fidelity._layout import Layout, Matrix, read_layout
from mcsim._fidelity._menu import draws_for
from mcsim._fidelity._overlap import Propensity, fit_propensity
from mcsim._fidelity._pool import draw_pool
from mcsim._fidelity._score import Score, score
from mcsim._fidelity._sources import REAL, Member, given_of, members_of, named
from mcsim._fidelity._table import ESTIMATE_COLUMNS, MEASURE_COLUMNS, FidelityTable
from mcsim._fidelity._verdict import judged, verdict
from mcsim._keys import require_key
from mcsim._schema import Schema, infer_schema
from mcsim.errors import InputError

REAL_VERDICT = "real rows against real rows: what each measure reads when nothing is wrong"


def fidelity(
    real: Panel,
    generators: Any,
    *,
    key: Key[Array, ""],
    schema: Schema | None = None,
    given: Sequence[str] | None = None,
    outcome: str | None = None,
    estimators: Mapping[str, Estimator] | None = None,
    folds: int = 5,
    n_generated: int = 100_000,
    draws: int | None = None,
    permutations: int = 500,
    progress: bool = False,
) -> FidelityTable:
    """Measure how close generators of cross-sections are to the data.

    Each generator is fit on all rows but one fold and scored on that fold; values are means over
    the folds. `mcsim.fidelity` is the door to it, `FidelityTable` explains the measures.

    Parameters
    ----------
    real : Panel
        A cross-section without missing cells.
    generators : trainer, generator, list of generators, or mapping of str to one of these
        A trainer is fit in every fold. A list from ``fit_many(..., resample="folds")`` is used as
        it is, with its own folds. For a generator that saw all rows, what needs a hold-out is
        missing.
    key : key array ()
        Source of all randomness: the same key gives the same table.
    schema : Schema, optional
        Kinds and mass points; default: found automatically.
    given : sequence of str, optional
        Columns that the generators are given; default: those of the first fitted generator. If
        exactly one of them is binary it is the treatment, whose arms are shown apart.
    outcome : str, optional
        The column that the propensity score must not use.
    estimators : mapping of str to estimator, optional
        Native estimators, ``(key, panel) -> Estimate`` or a mapping of labels to them.
    folds : int
        Number of folds, unless generators come with theirs.
    n_generated : int
        Rows drawn per fitted generator.
    draws : int, optional
        Samples per generator for the laws of the estimates; default 200, or 40 per estimate, so
        that corrected p-values can fall below 5 %.
    permutations : int
        Permutations of the labels for the intervals of the AUCs.
    progress : bool
        Show a progress bar.

    Returns
    -------
    FidelityTable
        ``print`` it, or take its frames ``measures`` and ``estimates`` and its ``verdicts``.

    Raises
    ------
    InputError
        For data with several periods or missing cells, too few rows for the folds or too few
        generated rows, a generator that lacks columns or whose name is that of a reference.

    References
    ----------
    Athey, Imbens, Metzger & Munro (2024), Journal of Econometrics 240: 105076. Lopez-Paz & Oquab
    (2017), ICLR. Davison & Hinkley (1997), Bootstrap Methods, section 4.2 (p-values).

    Examples
    --------
    >>> import jax
    >>> x = jax.random.normal(jax.random.key(1), (200, 2))
    >>> panel = Panel({"x": x[:, 0], "y": x[:, 0] + x[:, 1]})
    >>> from mcsim._fidelity import MultivariateNormal
    >>> table = fidelity(panel, {"mine": MultivariateNormal}, key=jax.random.key(0), folds=2)
    >>> table.verdicts["bootstrap"].split(":")[0]
    'copies its training rows (100 % exact copies, nearest-neighbor ratio 0.00)'
    """
    require_panel(real, "real")
    require_key(key)
    candidates = named(generators)
    given = given_of(candidates) if given is None else given
    given = (given,) if isinstance(given, str) else tuple(given)
    layout, rows = read_layout(real, schema or infer_schema(real), given, outcome)
    _check_sizes(n_generated, rows_needed(layout, layout.arm(rows)), draws, permutations)
    keys = jax.random.split(key, 4)
    members, held = members_of(candidates, real, layout, layout.arm(rows), folds, keys[0], progress)
    propensity = fit_propensity(rows, layout)
    records = _real_records(keys[1], layout, rows, held, propensity, permutations)
    ran = on_real_data(estimators or {}, real, keys[2])
    draws = draws_for(n_estimates(ran)) if draws is None else draws
    law_records: list[dict[str, Any]] = []
    for index, (name, fits) in enumerate(_tracked(members, progress)):
        scoring, drawing = jax.random.split(jax.random.fold_in(keys[3], index))
        folded = [
            _member_scores(
                jax.random.fold_in(scoring, fold), fit, layout, rows, propensity,
                n_generated, permutations,
            )
            for fold, fit in enumerate(fits)
        ]  # fmt: skip
        records += _averaged(name, folded)
        law_records += laws(drawing, name, fits, layout, rows, ran, draws) if ran else []
    return _as_table(records, law_records, list(members), len(rows), len(held))


def _check_sizes(n_generated: int, needed: int, draws: int | None, permutations: int) -> None:
    if n_generated < needed:
        raise InputError(f"n_generated: got {n_generated:,}, expected at least {needed:,} here")
    if (draws is not None and draws < 1) or permutations < 1:
        raise InputError(f"draws, permutations: got {draws}, {permutations}, expected at least 1")


def _tracked(members: Mapping[str, list[Member]], progress: bool):
    from rich.progress import track

    return track(members.items(), "fidelity", len(members), transient=True, disable=not progress)


def _real_records(key, layout, rows, held, propensity, permutations) -> list[dict[str, Any]]:
    folded = []
    for fold, out in enumerate(held):
        seed = _seed(jax.random.fold_in(key, fold))
        train = np.delete(rows, out, axis=0)
        cast = cast_real(layout, train, rows[out], np.random.default_rng(seed))
        folded.append(score(cast, layout, _classifier(seed, layout, permutations), propensity))
    return _averaged(REAL, folded)


def _member_scores(
    key: Key[Array, ""],
    member: Member,
    layout: Layout,
    rows: Matrix,
    propensity: Propensity | None,
    n_generated: int,
    permutations: int,
) -> list[Score]:
    train = rows[member.train]
    held = None if member.held is None else rows[member.held]
    pool = draw_pool(key, member.generator, layout, train, n_generated)
    seed = _seed(key)
    cast = cast_generator(pool, layout, train, held, np.random.default_rng(seed))
    return score(cast, layout, _classifier(seed, layout, permutations), propensity)


def _classifier(seed: int, layout: Layout, permutations: int) -> Classifier:
    columns = layout.schema.columns
    many = tuple(i for i, c in enumerate(columns) if c.nominal)
    return Classifier(seed, many, permutations)


def _seed(key: Key[Array, ""]) -> int:
    return int(jax.random.bits(key)) % 2**31


def _averaged(name: str, folded: Sequence[Sequence[Score]]) -> list[dict[str, Any]]:
    """Average over folds; the interval is Student's from their spread."""
    records = []
    for scores in zip(*folded, strict=True):
        found = [s for s in scores if np.isfinite(s.value)]
        values = np.array([s.value for s in found])
        k = len(values)
        mean = float(values.mean()) if k else np.nan
        sd = float(values.std(ddof=1)) if k > 1 else np.nan
        half = float(student.ppf(0.975, k - 1)) * sd / np.sqrt(k) if k > 1 else np.nan
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
    records: list[dict[str, Any]],
    law_records: list[dict[str, Any]],
    names: list[str],
    n_units: int,
    folds: int,
) -> FidelityTable:
    records = judged(records)
    verdicts = {REAL: REAL_VERDICT}
    for name in names:
        verdicts[name] = verdict(
            [record for record in records if record["generator"] == name],
            [record for record in law_records if record["generator"] == name],
        )
    return FidelityTable(
        pd.DataFrame(records, columns=list(MEASURE_COLUMNS)),
        pd.DataFrame(law_records, columns=list(ESTIMATE_COLUMNS)),
        verdicts,
        n_units,
        folds,
    )
