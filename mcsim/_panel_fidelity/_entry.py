"""`fidelity`: how close is a generator to the data? The door for cross-sections and panels."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Array, Key

from mcsim._calls import with_remedies
from mcsim._core import Estimator, Panel, require_panel
from mcsim._fidelity import FidelityTable
from mcsim._fidelity import fidelity as cross_section_fidelity
from mcsim._keys import key as key_of
from mcsim._keys import require_key
from mcsim._panel_fidelity._panels import panel_fidelity
from mcsim._panel_fidelity._row import Sizes
from mcsim._panel_fidelity._table import PanelFidelityTable
from mcsim._schema import Schema, infer_schema
from mcsim.errors import InputError, raise_all

N_GENERATED = 100_000

SPLITS, FOLDS, REPLICATIONS = 20, 5, 1_000


@with_remedies()
def fidelity(
    real: Panel,
    generators: Any,
    *,
    key: Key[Array, ""] | None = None,
    schema: Schema | None = None,
    given: Sequence[str] | None = None,
    outcome: str | Sequence[str] | None = None,
    estimators: Mapping[str, Estimator] | None = None,
    splits: int = SPLITS,
    folds: int = FOLDS,
    n_generated: int | None = None,
    replications: int = REPLICATIONS,
    draws: int | None = None,
    permutations: int = 500,
    progress: bool = False,
) -> FidelityTable | PanelFidelityTable:
    """Measure how close generators are to the data, beside reference generators.

    **Panels** give a `PanelFidelityTable`, whose documentation says how to read every number. Each
    generator is fit on a random half of the units and compared with the other half, in ``splits``
    fresh splits. The headline is the inference check: does the placebo effect of a difference in
    differences vary on generated panels as on real ones, at every break? Beside it stand rejection
    rates of placebo laws, a panel score over moments, a classifier's two-sample test, and
    memorization. The first rows are a bootstrap of the units, a smoothed one, a Gaussian copula, a
    factor model and a Gaussian mixture: what a generator has to beat. One of these that fails on
    the data has a status, and a verdict that says why; yours raise.

    **Cross-sections** give a `FidelityTable`. Each generator is fit on all rows but one fold and
    scored on that fold, beside a bootstrap of the rows and a multivariate normal; values are means
    over ``folds``.

    The row ``real`` lets real units play the generated ones: it is what a number reads when nothing
    is wrong, and bars are read against it.

    Parameters
    ----------
    real : Panel
        The data, without missing cells.
    generators : trainer, generator, list of generators, or mapping of str to one of these
        A trainer is fit on every half (without every fold); one with ``fit_members`` fits them in
        one compiled program. Fitted generators are used as they are, with the units of their
        ``rows`` as the training half; one that saw all units is compared with units that it knows,
        and what needs a hold-out is missing.
    key : key array (), optional
        Source of all randomness: the same key gives the same table. Default ``mcsim.key(0)``.
    schema : Schema, optional
        Kinds and mass points; default: found automatically.
    given : sequence of str, optional
        Cross-sections only: columns that the generators are given. If exactly one of them is binary
        it is the treatment, whose arms are shown apart.
    outcome : str or sequence of str, optional
        Panels: the outcomes; default all columns in which units move apart over time.
        Cross-sections: the column that the propensity score must not use.
    estimators : mapping of str to estimator, optional
        Native estimators: their estimates on the real data are placed in their laws on generated
        panels of the real size.
    splits : int
        Panels: number of half splits.
    folds : int
        Cross-sections: number of folds, unless generators come with theirs.
    n_generated : int, optional
        Cross-sections: rows drawn per fitted generator; default 100,000.
    replications : int
        Panels: placebo laws per generator, each on a generated panel of the real size of its own.
    draws : int, optional
        Samples per generator for the laws of the estimates; default 200, or 40 per estimate, so
        that p-values that are corrected for their number can fall below 5 %.
    permutations : int
        Permutations of the labels for classifiers; panels: at least 40, since with fewer no
        p-value over splits can fall below 5 %. The test needs 7 held-out units.
    progress : bool
        Show a progress bar.

    Returns
    -------
    PanelFidelityTable or FidelityTable
        ``print`` it, or take its frames and its ``verdicts``.

    Raises
    ------
    InputError
        For missing cells, too few units for the splits or folds, a generator that lacks columns,
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
    'copies its training units (100 % exact copies, memorization 0.00)'
    """
    require_panel(real, "real")
    key = key_of(0) if key is None else key
    require_key(key)
    if real.n_periods == 1:
        raise_all(_faults_of_panel_options(splits, replications))
        one = outcome if isinstance(outcome, str) or outcome is None else _only(outcome)
        return cross_section_fidelity(
            real, generators, key=key, schema=schema, given=given, outcome=one,
            estimators=estimators, folds=folds, n_generated=n_generated or N_GENERATED, draws=draws,
            permutations=permutations, progress=progress,
        )  # fmt: skip
    raise_all(_faults_of_options(given, n_generated, folds))
    return panel_fidelity(
        real,
        generators,
        key=key,
        schema=schema or infer_schema(real),
        outcome=outcome,
        estimators=estimators or {},
        splits=splits,
        sizes=Sizes(replications, draws, permutations),
        progress=progress,
    )


def _only(outcome: Sequence[str]) -> str:
    if len(outcome) != 1:
        raise InputError(f"outcome: got {list(outcome)} for a cross-section, expected one column")
    return outcome[0]


def _faults_of_panel_options(splits: int, replications: int) -> list[str]:
    options = (("splits", splits, SPLITS), ("replications", replications, REPLICATIONS))
    return [
        f"{name}: got {value} for a cross-section, which is compared fold by fold; leave it out"
        for name, value, usual in options
        if value != usual
    ]


def _faults_of_options(given: Any, n_generated: Any, folds: int) -> list[str]:
    faults = []
    if given:
        faults.append(
            f"given: got {list(given)} for a panel, expected none: all columns are generated; pass "
            "schema=schema.select(...) to leave columns out"
        )
    if folds != FOLDS:
        faults.append(
            f"folds: got {folds} for a panel, expected none: it is split in halves, splits="
        )
    if n_generated is not None:
        faults.append(f"n_generated: got {n_generated} for a panel, expected None: as many units "
                      "as the real panel has are drawn for each of the replications")  # fmt: skip
    return faults
