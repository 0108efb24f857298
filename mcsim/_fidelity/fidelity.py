"""`fidelity`: how close generators are to the data, for cross-sections and panels."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Array, Key

from mcsim._core.calls import with_remedies
from mcsim._core.keys import key as key_of
from mcsim._core.keys import require_key
from mcsim._core.protocols import Estimator
from mcsim._core.records import Panel, require_panel
from mcsim._data.schema import Schema, infer_schema
from mcsim._fidelity._cross_sections.protocol import Options, cross_section_fidelity
from mcsim._fidelity._panels.protocol import panel_fidelity
from mcsim._fidelity._panels.rows import DrawCounts
from mcsim._fidelity.tables import FidelityTable, PanelFidelityTable
from mcsim._run.parts import named
from mcsim.errors import InputError, raise_all

N_GENERATED, REPLICATIONS = 100_000, 1_000
HALF_SPLITS, FOLDS = 20, 5


@with_remedies(folds="its name is splits: folds of a cross-section, half splits of a panel")
def fidelity(
    real: Panel,
    generators: Any,
    *,
    key: Key[Array, ""] | None = None,
    schema: Schema | None = None,
    given: Sequence[str] | None = None,
    outcome: str | Sequence[str] | None = None,
    estimators: Estimator | Sequence[Estimator] | Mapping[str, Estimator] | None = None,
    splits: int | None = None,
    n_generated: int | None = None,
    replications: int = REPLICATIONS,
    draws: int | None = None,
    permutations: int = 500,
    progress: bool = False,
) -> FidelityTable | PanelFidelityTable:
    """Measure how close generators are to the data, beside reference generators.

    **Panels** give a `PanelFidelityTable`, whose documentation explains every number. Each
    generator is fit on a random half of the units and compared with the other half, in ``splits``
    fresh splits. The headline is the inference check: does the placebo effect of a difference in
    differences vary on generated panels as on real ones, at every placebo date? The table adds
    rejection rates of placebo laws, a panel score over moments, a classifier's two-sample test, and
    the nearest-neighbor ratio. The first rows are a bootstrap of the units, a smoothed one, a
    Gaussian copula, a factor model and a Gaussian mixture, which a generator has to beat.

    **Cross-sections** give a `FidelityTable`. Each generator is fit on all rows but one fold and
    scored on that fold, by turns, beside a bootstrap of the rows and a Gaussian.

    The row ``real`` scores real units as if they were generated: it shows each number when
    nothing is wrong, and bars are read against it. A reference that fails on the data has a verdict
    with the reason; your generators raise.

    Parameters
    ----------
    real : Panel
        The data, without missing cells.
    generators : trainer, generator, list of generators, or mapping of str to one of these
        A trainer is fit on one part of every split; one with ``fit_members`` fits them in
        one compiled program. Fitted generators are used as they are, with the units of their
        ``rows`` as the training half; one that saw all units is compared with its training
        units, and measures that need a hold-out are missing.
    key : key array (), optional
        Source of all randomness: the same key gives the same table. Default ``mcsim.key(0)``.
    schema : Schema, optional
        Kinds and mass points; default: found automatically.
    given : sequence of str, optional
        Cross-sections only: columns that the generators are given. If exactly one of them is binary
        it is the treatment, whose arms have rows of their own.
    outcome : str or sequence of str, optional
        Panels: the outcomes; default all columns whose changes over time differ between units, a
        treatment among them, so name the outcomes where there is one. Cross-sections: the column
        left out of the propensity score.
    estimators : estimator, sequence of estimators, or mapping of str to estimator, optional
        As in a `Study`, native or host: their estimates on the real data are placed in their
        sampling distributions on generated panels of the real size. Host estimators run in this
        process.
    splits : int, optional
        Panels: number of half splits, default 20. Cross-sections: number of folds, default 5,
        unless fitted generators bring their folds.
    n_generated : int, optional
        Cross-sections: rows drawn per fitted generator; default 100,000.
    replications : int
        Panels: placebo laws per generator, each on its own generated panel of the real size.
    draws : int, optional
        Samples per generator for the sampling distributions; default 200, or 40 per estimate, so
        that p-values corrected for their number can fall below 5 %.
    permutations : int
        Permutations of the labels for classifiers; panels: at least 40, since with fewer no
        p-value over splits can fall below 5 %. The test needs 7 held-out units.
    progress : bool
        Show a progress bar.

    Returns
    -------
    PanelFidelityTable or FidelityTable
        ``print`` shows the verdict in a paragraph and a short table, ``details()`` returns the
        rest as text; the frames and ``verdicts`` hold all of it.

    Raises
    ------
    InputError
        For missing cells, too few units for the splits, a generator that lacks columns,
        draws NaN or has the name of a reference, and options of the other kind of data.

    References
    ----------
    Bertrand, Duflo & Mullainathan (2004), Quarterly Journal of Economics 119: 249-275 (placebo
    laws). Athey, Imbens, Metzger & Munro (2024), Journal of Econometrics 240: 105076. Lopez-Paz &
    Oquab (2017), ICLR. Rubin (1981), Annals of Statistics 9: 130-134 (the bootstrap of units).

    Examples
    --------
    >>> import jax
    >>> from mcsim.generators import GaussianCopula
    >>> level, shocks = jax.random.normal(jax.random.key(1), (60, 1)), jax.random.key(2)
    >>> panel = Panel({"y": level + jax.random.normal(shocks, (60, 4))})
    >>> table = fidelity(panel, {"mine": GaussianCopula()}, splits=2, replications=20)
    >>> table.verdicts["bootstrap"].split(";")[0]
    'copies its training units (100 % exact duplicates, nearest-neighbor ratio 0.00)'
    """
    require_panel(real, "real")
    key = key_of(0) if key is None else key
    require_key(key)
    schema = schema or infer_schema(real)
    by_name = {} if estimators is None else dict(named("estimators", estimators))
    if real.n_periods == 1:
        raise_all(_faults_of_panel_options(replications))
        return cross_section_fidelity(
            real,
            generators,
            key=key,
            schema=schema,
            given=given,
            outcome=outcome if isinstance(outcome, str) or outcome is None else _only(outcome),
            estimators=by_name,
            splits=FOLDS if splits is None else splits,
            options=Options(n_generated or N_GENERATED, draws, permutations),
            progress=progress,
        )
    raise_all(_faults_of_cross_section_options(given, n_generated))
    return panel_fidelity(
        real,
        generators,
        key=key,
        schema=schema,
        outcome=outcome,
        estimators=by_name,
        splits=HALF_SPLITS if splits is None else splits,
        counts=DrawCounts(replications, draws, permutations),
        progress=progress,
    )


def _only(outcome: Sequence[str]) -> str:
    if len(outcome) != 1:
        raise InputError(f"outcome: got {list(outcome)} for a cross-section, expected one column")
    return outcome[0]


def _faults_of_panel_options(replications: int) -> list[str]:
    if replications == REPLICATIONS:
        return []
    return [
        f"replications: got {replications} for a cross-section, which is compared fold by fold; "
        "leave it out"
    ]


def _faults_of_cross_section_options(given: Any, n_generated: Any) -> list[str]:
    faults = []
    if given:
        faults.append(
            f"given: got {list(given)} for a panel, expected none: all columns are generated; pass "
            "schema=schema.select(...) to leave columns out"
        )
    if n_generated is not None:
        faults.append(
            f"n_generated: got {n_generated} for a panel, expected None: as many units as the real "
            "panel has are drawn for each of the replications"
        )
    return faults
