"""PanelFidelityTable: the checks, the scores and the verdicts, as frames and as text."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from mcsim._core import Panel
from mcsim._panel_fidelity._text import as_markdown, as_text
from mcsim._schema import Schema

INFERENCE_COLUMNS = ("generator", "outcome", "break", "value", "se", "lower", "upper", "sd",
                     "verdict")  # fmt: skip
REJECTION_COLUMNS = ("generator", "outcome", "inference", "rejection", "mcse", "reps")
SCORE_COLUMNS = ("generator", "component", "value", "sd", "lower", "upper", "against",
                 "difference", "difference_lower", "difference_upper", "ratio", "ratio_lower",
                 "ratio_upper", "status")  # fmt: skip
MEASURE_COLUMNS = ("generator", "measure", "outcome", "value", "sd", "floor", "splits")
ESTIMATE_COLUMNS = ("generator", "estimator", "estimand", "value", "mean", "sd", "sd_between",
                    "lower", "upper", "p_value", "p_holm", "draws", "failed", "status",
                    "note")  # fmt: skip
STATISTIC_COLUMNS = ("generator", "outcome", "statistic", "value", "mean", "lower", "upper",
                     "inside")  # fmt: skip


@dataclass(frozen=True, eq=False)
class PanelFidelityTable:
    """How close generators of panels are to the data; one row per generator, ``real`` first.

    The row ``real`` lets one real half play the generated one against the other half, so that it
    shows what each number reads when nothing is wrong. Reference generators stand in every table.

    Attributes
    ----------
    inference : pandas.DataFrame
        The headline. One row per generator, outcome and break (the period from which a placebo
        treatment is on): ``value``, the log ratio, generated over held-out, of the standard
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
        of the real units, as are those of ``difference`` and ``ratio`` to ``against``, the best
        reference that does not copy, paired. ``status`` is ``"ok"``, or of a reference that could
        not be fitted, raised or drew NaN, ``"invalid_input"`` or ``"error"``: it has this row, and
        a verdict that says why.
    measures : pandas.DataFrame
        Means over splits, with ``sd`` over them and what ``real`` reads (``floor``):

        * ``memorization``: median distance of generated units to the nearest training unit, over
          that of held-out units; 1 is right, far below 1 memorizes. ``copies``: percent of units
          that equal a training unit.
        * ``c2st_auc``, ``c2st_accuracy_real``, ``c2st_accuracy_generated``, ``c2st_p_value``:
          gradient-boosted trees tell generated units from held-out ones, out of fold, after noise
          of .15 standard deviations on both; AUC .5 if they cannot. The p-value permutes labels,
          and is twice the median over splits (which share units). ``c2st_auc_noise`` is half the
          width of the interval that holds 95 % of the areas under permuted labels: where the AUC
          plus that is above .6 and the p-value is not small, units are too few to say that a
          classifier does not tell them apart: *not resolvable*.
        * ``sliced_w1``, ``marginal_w1``: Wasserstein-1 distances of whole units over projections,
          and by outcome and period, in standard deviations.
        * ``atoms``: largest difference of the share of a mass point, in percentage points.
        * ``unit_correlation``, ``cd``: mean correlation of pairs of units over time, generated less
          held-out, and the same in units of Pesaran's CD statistic.
        * ``frozen``: share of the variance of the date effects that is the same in every generated
          panel, net of its 1/R floor: 1 for fixed common shocks, 0 where each panel draws its own.
    estimates : pandas.DataFrame
        Each estimator's value on the real data, and mean, sd, 2.5 and 97.5 % of its law on
        generated panels of the real size; a small ``p_value`` says that the generator would not
        have produced your estimate. Verdicts go by ``p_holm``, corrected for the number of the
        generator's estimates (Holm 1979): one that is right is accused in at most 5 % of cases.
    statistics : pandas.DataFrame
        Of panels with 20 periods or more: `mcsim`'s panel statistics of the real panel, mean and
        5-95 % range over generated ones, and whether the real one lies inside.
    verdicts : dict of str to str
        A sentence per generator.
    notes : tuple of str
        What a reader must know of single rows.
    n_units, n_periods, splits : int
        Size of the real panel, number of half splits.
    real, samples, schema
        The real panel and one generated panel of the real size per generator, for
        `mcsim.plots.fidelity`.
    outcomes, references : tuple of str
        The columns that are compared; the rows that stand in every table.
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

    def __str__(self) -> str:
        return as_text(self)

    def to_markdown(self) -> str:
        """Return the tables and the verdicts in Markdown."""
        return as_markdown(self)
