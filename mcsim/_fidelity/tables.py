"""Fidelity tables: the measures, the estimates and the verdicts, as frames and as text."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from mcsim._core.records import Panel
from mcsim._data.schema import Schema
from mcsim._fidelity.details import BY_CHANCE, HOLM, LEGEND, cross_section_blocks, panel_blocks
from mcsim._fidelity.formats import (
    WIDTH,
    Block,
    as_markdown,
    as_text,
    summary_as_html,
    summary_as_markdown,
    summary_as_text,
)
from mcsim._fidelity.panel_summary import summary_of_panel
from mcsim._fidelity.references import CROSS_SECTION_REFERENCES, REAL
from mcsim._fidelity.summary import Summary, by_generator, summary_of_rows
from mcsim._fidelity.verdicts import beyond_by_chance

ESTIMATE_COLUMNS = ("generator", "estimator", "estimand", "value", "mean", "sd", "sd_between",
                    "lower", "upper", "p_value", "p_holm", "draws", "failed", "status",
                    "note")  # fmt: skip
"""Of both tables."""

MEASURE_COLUMNS = ("generator", "measure", "arm", "value", "sd", "lower", "upper", "null_lower",
                   "null_upper", "baseline", "bar", "status", "note")  # fmt: skip

INFERENCE_COLUMNS = ("generator", "outcome", "placebo_date", "value", "se", "lower", "upper", "sd",
                     "verdict")  # fmt: skip
REJECTION_COLUMNS = ("generator", "outcome", "inference", "rejection", "mcse", "reps")
SCORE_COLUMNS = ("generator", "component", "value", "sd", "lower", "upper", "against",
                 "difference", "difference_lower", "difference_upper", "ratio", "ratio_lower",
                 "ratio_upper", "status")  # fmt: skip
PANEL_MEASURE_COLUMNS = ("generator", "measure", "outcome", "value", "sd", "baseline", "splits")
STATISTIC_COLUMNS = ("generator", "outcome", "statistic", "value", "mean", "lower", "upper",
                     "inside")  # fmt: skip


@dataclass(frozen=True, eq=False)
class FidelityTable:
    """Fidelity of generators of cross-sections: measures, estimates, verdicts.

    ``print`` shows the verdict on your generators in a paragraph, and at most eight rows;
    ``print(table.details())`` shows all measures.

    The row ``real`` scores real rows as if they were generated: it shows each measure when
    nothing is wrong, and bars are read against it. A status is ``passes``, ``fails``, ``not
    resolvable`` (the noise over folds spans both the baseline and the bar) or ``missing``.

    How to read the measures:

    ``auc_training``
        A classifier (gradient-boosted trees) distinguishes training rows from generated ones, out
        of sample: .5 if it cannot. Duplicates push it *below* .5, so it is judged on both sides.
    ``auc_holdout``
        The same with held-out rows, which no generator saw; few rows, so a weak test.
    ``auc_cross``
        Fit on training and generated rows, scored on held-out and fresh generated ones, also in
        each arm by itself (a classifier for all rows neglects a small arm). Blind to copying: read
        it with the next two. ``null_lower`` and ``null_upper`` hold 95 % of its values if labels
        are permuted, that is if generated and real rows had one distribution.
    ``duplicates``
        Percent of generated rows that equal a training row; ``real`` shows the share in the
        data themselves.
    ``nn_ratio``
        Median distance of generated rows to their nearest training row over that of held-out
        rows: 1 is right, far below 1 memorizes, far above lies off the data.
    ``transport``
        Mean distance of the best one-to-one assignment of generated to held-out rows (exact, at
        most 500 rows; columns divided by their sd).
    ``sliced_w1``, ``marginal_w1``
        Wasserstein-1 distances to the held-out rows: over 200 fixed projections, over columns;
        in sd. All three are averages over samples of the hold-out's size.
    ``overlap``
        Wasserstein-1 distance of the propensity index (a logit of the treatment on all columns
        but ``outcome``, fit on the real data, in sd) within each arm: does the generator keep
        units comparable?
    ``correlations``
        Largest difference of a correlation between a large draw and the training rows.
    ``mass_points``
        Largest difference of the share of a mass point, in percentage points, between a large
        draw and the training rows, within arms. ``baseline`` of these two is one real half against
        the other; a value above its bar but below the baseline is *not resolvable*.
    ``estimates``
        Each estimator's value on the real data within its sampling distribution under the
        generator, at the real numbers of units and arms: with a small p-value the generator
        would hardly produce your estimate. The bootstrap does by construction. Verdicts use
        p-values corrected for the number of estimates (Holm 1979), so that a right generator is
        rejected in at most 5 % of cases.

    Attributes
    ----------
    measures : pandas.DataFrame
        One row per generator, measure and arm: ``value`` (mean over folds), ``sd`` (over folds),
        ``lower`` and ``upper`` (95 % interval from that spread; rough, since folds share rows),
        ``null_lower`` and ``null_upper`` (permutation interval of an AUC), ``baseline`` (real
        against real), ``bar``, ``status`` and ``note`` (why a value is missing).
    estimates : pandas.DataFrame
        One row per generator and estimator: ``value`` on the real data; ``mean``, ``sd``,
        ``lower``, ``upper`` (2.5 and 97.5 %) of its sampling distribution under the generator,
        ``sd_between`` the means of its fits, two-sided ``p_value``, ``p_holm`` (corrected for the
        number of the generator's estimates), ``draws``, ``failed``, ``status``.
    verdicts : dict of str to str
        A sentence per generator.
    n_units, splits : int
        Size of the real data, number of folds.
    notes : tuple of str
        Remarks on the reference rows.
    """

    measures: pd.DataFrame
    estimates: pd.DataFrame
    verdicts: Mapping[str, str] = field(default_factory=dict)
    n_units: int = 0
    splits: int = 0
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"FidelityTable({', '.join(self.verdicts)}: {self._head()})"

    def _repr_html_(self) -> str:
        """Return the summary for a notebook."""
        return summary_as_html(self._head(), self._summary(), self.notes)

    def __str__(self) -> str:
        return summary_as_text(self._head(), self._summary(), self.notes)

    def details(self) -> str:
        """Return all measures and estimates as text, with a verdict on every row."""
        blocks = self._blocks(WIDTH)
        return as_text(self._head(), blocks, self._legends(), self.verdicts, self.notes)

    def to_markdown(self, details: bool = False) -> str:
        """Return the summary in Markdown, with ``details`` all measures and verdicts too."""
        summary = summary_as_markdown(self._summary(), self.notes)
        if not details:
            return summary
        blocks = self._blocks(math.inf)
        return f"{summary}\n\n{as_markdown(blocks, self._legends(), self.verdicts)}"

    def _head(self) -> str:
        return f"Fidelity to {self.n_units:,} real rows, {self.splits} folds"

    def _summary(self) -> Summary:
        references = (REAL, *CROSS_SECTION_REFERENCES)
        return summary_of_rows(self.measures, self.estimates, self.n_units, references)

    def _blocks(self, width: float) -> list[Block]:
        return cross_section_blocks(self.measures, self.estimates, width)

    def _legends(self) -> list[str]:
        """Return the meaning of marks and of p-values."""
        rows = by_generator(self.measures).get(REAL, [])
        chance = [BY_CHANCE] if any(map(beyond_by_chance, rows)) else []
        return [LEGEND, *chance, *([HOLM] if len(self.estimates) else [])]


@dataclass(frozen=True, eq=False)
class PanelFidelityTable:
    """Fidelity of generators of panels; one row per generator, ``real`` first.

    ``print`` shows the verdict on your generators in a paragraph, and at most eight rows;
    ``print(table.details())`` shows all measures.

    The row ``real`` scores one real half against the other, as if it were generated: it shows
    each number when nothing is wrong. Reference generators stand in every table.

    Attributes
    ----------
    inference : pandas.DataFrame
        The headline. One row per generator, outcome and ``placebo_date`` (the period from which a
        placebo treatment is on): ``value``, the log ratio, generated over held-out, of the standard
        deviation over units of a unit's change in means, which is the sampling standard deviation
        of a placebo difference in differences; mean over splits. ``se``, ``lower``, ``upper``: from
        a bootstrap of the real units and the spread ``sd`` over splits (95 %). ``verdict``:
        ``"right"`` if the interval lies within .15 of zero, ``"wrong"`` if it lies outside, else
        ``"not resolvable"`` at this number of units.
    rejection : pandas.DataFrame
        Share of nominal 5 % tests that reject placebo laws, which have no effect, in two-way fixed
        effects: on generated panels of the real size, and on the real panel (row ``real``);
        ``inference`` is the standard error (iid; CR1, clustered by unit; wild cluster bootstrap),
        ``mcse`` the Monte Carlo error.
    score : pandas.DataFrame
        ``component`` ``"score"`` is the panel score: a root mean square of (moment generated -
        moment held out) / standard error of a difference between two real halves, so that real
        against real reads about 1; then its components. ``lower``, ``upper`` are from a bootstrap
        of the real units, as the limits of ``difference`` and ``ratio`` to ``against``, the best
        reference that does not copy, paired. ``status`` is ``"ok"``; a reference that could not be
        fitted, raised or drew NaN has this row alone, with ``"invalid_input"`` or ``"error"``, and
        a verdict with the reason.
    measures : pandas.DataFrame
        Means over splits, with ``sd`` over them and the values of ``real`` (``baseline``):

        * ``nn_ratio``: median distance of generated units to the nearest training unit, over
          that of held-out units; 1 is right, far below 1 memorizes. ``duplicates``: percent of
          units that equal a training unit.
        * ``auc_holdout``, ``accuracy_real``, ``accuracy_generated``, ``auc_holdout_p_value``:
          gradient-boosted trees distinguish generated from held-out units, out of fold, after noise
          of .15 standard deviations on both; AUC .5 if they cannot. The p-value permutes labels,
          and is twice the median over splits (which share units). ``auc_holdout_noise`` is half
          the width of the interval that holds 95 % of the areas under permuted labels: where the
          AUC plus this noise is above .6 and the p-value is not small, units are too few to show
          that a classifier does not distinguish them: *not resolvable*.
        * ``sliced_w1``, ``marginal_w1``: Wasserstein-1 distances of whole units over projections,
          and by outcome and period, in standard deviations.
        * ``mass_points``: largest difference of the share of a mass point, in percentage points.
        * ``unit_correlation``, ``cd``: mean correlation of pairs of units over time, generated less
          held-out, and the same in units of Pesaran's CD statistic.
        * ``fixed_shocks``: share of the variance of the date effects that is the same in every
          generated panel, net of the 1/R of independent panels: 1 for fixed common shocks, 0 where
          each panel draws its own.
    estimates : pandas.DataFrame
        Each estimator's value on the real data, and mean, sd, 2.5 and 97.5 % of its sampling
        distribution on generated panels of the real size; with a small ``p_value`` the
        generator would hardly produce your estimate. Verdicts use ``p_holm``, corrected for the
        number of the generator's estimates (Holm 1979): a right generator is rejected in at most
        5 % of cases.
    statistics : pandas.DataFrame
        Of panels with 20 periods or more: `mcsim`'s panel statistics of the real panel, mean and
        5-95 % range over generated ones, and whether the real one lies inside.
    verdicts : dict of str to str
        A sentence per generator.
    notes : tuple of str
        Remarks on single rows.
    n_units, n_periods, splits : int
        Size of the real panel, number of half splits.
    real, samples, schema
        The real panel and one generated panel of the real size per generator, for
        `mcsim.plots.fidelity`.
    outcomes, references : tuple of str
        The compared columns; the names of the reference rows.
    """

    inference: pd.DataFrame
    rejection: pd.DataFrame
    score: pd.DataFrame
    measures: pd.DataFrame
    estimates: pd.DataFrame
    statistics: pd.DataFrame
    verdicts: Mapping[str, str]
    notes: tuple[str, ...]
    n_units: int
    n_periods: int
    splits: int
    real: Panel = field(repr=False)
    samples: Mapping[str, Panel] = field(repr=False)
    schema: Schema = field(repr=False)
    outcomes: tuple[str, ...] = ()
    references: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"PanelFidelityTable({', '.join(self.verdicts)}: {self._head()})"

    def _repr_html_(self) -> str:
        """Return the summary for a notebook."""
        return summary_as_html(self._head(), self._summary(), self.notes)

    def __str__(self) -> str:
        return summary_as_text(self._head(), self._summary(), self.notes)

    def details(self) -> str:
        """Return all measures and estimates as text, with a verdict on every row."""
        return as_text(self._head(), self._blocks(), (), self.verdicts, self.notes)

    def to_markdown(self, details: bool = False) -> str:
        """Return the summary in Markdown, with ``details`` all measures and verdicts too."""
        summary = summary_as_markdown(self._summary(), self.notes)
        if not details:
            return summary
        return f"{summary}\n\n{as_markdown(self._blocks(), (), self.verdicts)}"

    def _head(self) -> str:
        return (
            f"Fidelity to a panel of {self.n_units:,} units x {self.n_periods} periods, "
            f"{self.splits} half splits"
        )

    def _summary(self) -> Summary:
        frames = self.inference, self.rejection, self.score, self.measures, self.estimates
        return summary_of_panel(*frames, self.n_units, self.verdicts, self.references)

    def _blocks(self) -> list[Block]:
        return panel_blocks(self.outcomes, self.inference, self.rejection, self.score,
                            self.measures, self.estimates, self.statistics)  # fmt: skip
