"""Results: the replications that a store holds of a study, and their summaries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from mcsim._core.calls import with_remedies
from mcsim._core.checks import require_type
from mcsim._results.caveats import conditional_rows
from mcsim._results.display import NOTEBOOK_MEASURES, in_notebook, in_short
from mcsim.errors import InputError, UnknownAttribute, UnknownName, did_you_mean
from mcsim.measures import MEASURES, summarize

DEFAULT_MEASURES = (
    "bias",
    "empirical_se",
    "rmse",
    "model_se",
    "coverage",
    "rejection",
    "share_failed",
)

FAR = 3.0
"""Model SE over empirical SE, or the other way round, from which it is noted."""

SURE = 3.0
"""Monte Carlo errors of the log ratio by which it must exceed the bound."""

VARIANCE = ": about its square; is a variance in the place of the standard error (take its root)?"

GENERAL_CAVEATS = (
    "A Monte Carlo error says how precisely the study describes its DGP, not how close the DGP is "
    "to the data.",
)


@dataclass(frozen=True)
class Results:
    """The replications of a study.

    Attributes
    ----------
    replicates : pandas.DataFrame
        One row per cell, estimator, estimand, inference and replication: the design's factors,
        dgp, estimator, estimand, inference, rep, value, se, lower, upper, df, p_value, truth,
        status. Limits and p-values are at the study's level and null.
    truth : pandas.DataFrame
        One row per cell and estimand of a truth that was computed once: value, Monte Carlo error
        and kind.
    study : dict
        The study as it was run: aim, null, level, seed, reps, cells.
    caveats : tuple of str
        Conclusions that the results do not support.
    notes : tuple of str
        Notes of estimators on the panels, such as treated cells that they leave out.
    failures : pandas.DataFrame
        One row per cell, estimator, status and reason of replications that failed:
        ``replications`` of them among ``of``, the first is ``first_rep``; the ``reason``: type and
        message of the exception, empty if the status is the whole reason (the five most frequent
        of a status, then the others together); ``labels``, which of the estimator's
        estimates failed, where others did not; and ``cell``, by which ``mcsim replay`` finds it.
        ``skipped`` replications were not computed, since all of the cell's first block failed.
    """

    replicates: pd.DataFrame
    truth: pd.DataFrame
    study: Mapping[str, Any]
    caveats: tuple[str, ...]
    notes: tuple[str, ...]
    failures: pd.DataFrame

    if not TYPE_CHECKING:  # a type checker still reports unknown attributes

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):  # Python expects this error
                raise AttributeError(name)
            raise UnknownAttribute(f"results.{name}: {_where(name, self.replicates)}")

        def __getitem__(self, name: object) -> Any:
            raise UnknownName(f"results[{name!r}]: {_where(str(name), self.replicates)}")

    def __repr__(self) -> str:
        return in_short(len(self.replicates), self.factors, self.study)

    def _repr_html_(self) -> str:
        """Return the main measures for a notebook: design x estimators."""
        over = "generator" if "generator" in self.factors else None
        summary = self.summary(measures=NOTEBOOK_MEASURES, over=over)
        factors = [name for name in self.factors if name != over]
        return in_notebook(summary, factors, self.study, repr(self))

    @property
    def factors(self) -> list[str]:
        """Names of the design's factors."""
        return factors_of(self.study)

    @with_remedies(level="mcsim.open(store, level=0.9) gives results at another")
    def summary(
        self,
        *,
        measures: Sequence[str] | None = DEFAULT_MEASURES,
        over: str | None = None,
        reference: str | None = None,
        mcse: Literal["jackknife", "normal"] = "jackknife",
    ) -> pd.DataFrame:
        """Return the performance measures of every estimator in every cell, with their errors.

        Parameters
        ----------
        measures : sequence of str, optional
            Names of measures (see `mcsim.summarize`); None for all.
        over : str, optional
            A factor, such as ``"generator"``, to average over: each measure gets its mean over the
            factor's values, the Monte Carlo error of that mean (``_mcse``) and the standard
            deviation between the values (``_between``).
        reference : str, optional
            Estimator that `relative_precision` compares with.
        mcse : {"jackknife", "normal"}
            How Monte Carlo errors are computed.

        Returns
        -------
        pandas.DataFrame
            One row per DGP, design, estimator, estimand and inference. ``given_shocks`` stands
            there if in any row: the error allows for common shocks, and every replication
            repeats the same ones.

        Raises
        ------
        InputError
            For an unknown measure or factor.
        """
        if over is not None and over not in self.factors:
            known = did_you_mean(str(over), self.factors) or "; this study has no factors"
            raise InputError(f"over: got {over!r}{known}")
        by = ["dgp", *self.factors, "estimand", "inference"]
        table = summarize(
            self._with_truth_mcse(),
            truth_mcse="truth_mcse",
            by=by,
            method="estimator",
            reference=reference,
            level=self.study["level"],
            null=self.study["null"],
            measures=measures,
            mcse=mcse,
        )
        table = table if over is None else average_over(table, over, [*by, "estimator"])
        given = conditional_rows(table, self.study)
        if given.any():
            table.insert(list(table).index("inference") + 1, "given_shocks", given)
        return table

    def _with_truth_mcse(self) -> pd.DataFrame:
        if self.truth.empty:  # joining would copy all rows
            return self.replicates.assign(truth_mcse=0.0)
        where = ["dgp", *self.factors, "estimand"]
        errors = self.truth[[*where, "mcse"]].rename(columns={"mcse": "truth_mcse"})
        rows = self.replicates.merge(errors, on=where, how="left")
        return rows.assign(truth_mcse=rows["truth_mcse"].astype(float).fillna(0.0))


def _where(name: str, replicates: pd.DataFrame) -> str:
    """Return where the results have an attribute of this name."""
    if name in MEASURES:
        return f"results.summary(measures=[{name!r}]) is a frame with this measure"
    if name.startswith("plot"):
        return "mcsim.plots draws results: mcsim.plots.bias(results)"
    if hasattr(pd.DataFrame, name) or name in replicates:
        return f"results.replicates and results.summary() are frames that have {name!r}"
    known = [field.name for field in fields(Results)] + ["factors", "summary"]
    return f"results have no {name!r}{did_you_mean(name, known)}"


def doubtful_se(results: Results, *, variances_only: bool = False) -> list[str]:
    """Return a sentence for all standard errors that are far from the spread of the estimates.

    That is a model SE of less than a third of the empirical SE, or more than three times it, by
    more than `SURE` Monte Carlo errors of their ratio. Where few replications carry the variance
    (heavy tails) neither is known.

    Parameters
    ----------
    results : Results
        The results.
    variances_only : bool
        Only standard errors of the size of a variance: the square of the empirical SE.
    """
    rows = results.replicates
    if not _may_be_far(rows, results.factors):
        return []
    table = results.summary(measures=["empirical_se", "model_se", "relative_error"])
    with np.errstate(all="ignore"):
        ratio = 1 + table["relative_error"] / 100
        of_few = np.sqrt(0.5 / np.maximum(table["relative_error_n"] - 1, 1))  # of normal estimates
        error = np.maximum(table["relative_error_mcse"] / (100 * ratio), of_few)
        far = np.abs(np.log(ratio)) - SURE * error > np.log(FAR)
        squared = np.abs(np.log(table["model_se"] / table["empirical_se"] ** 2)) < np.log(2)
    where = ["dgp", *results.factors, "estimator", "estimand", "inference"]
    return [
        f"{' '.join(str(part) for part in row[where] if part != '' and pd.notna(part))}: the "
        f"standard errors are {row['model_se']:.3g}, the standard deviation of the estimates is "
        f"{row['empirical_se']:.3g}" + (VARIANCE if squared[i] else "")
        for i, row in table[far & ~table["heavy_tails"]].iterrows()
        if squared[i] or not variances_only
    ]


def _may_be_far(rows: pd.DataFrame, factors: Sequence[str]) -> bool:
    """Return whether any standard error is far from the spread, ignoring the ratio's error."""
    where = [rows[c] for c in ("dgp", *factors, "estimator", "estimand", "inference")]
    known = rows["se"].notna()
    spread = (rows["value"] - rows["truth"].fillna(0.0)).where(known)
    groups = pd.DataFrame({"square": rows["se"] ** 2, "spread": spread}).groupby(
        where, dropna=False
    )
    with np.errstate(all="ignore"):
        ratio = groups["square"].mean() ** 0.5 / groups["spread"].std()
        far = np.abs(np.log(ratio.to_numpy(dtype=float))) > np.log(FAR)
    return bool((far & np.isfinite(ratio)).any())


def require_results(results: Any) -> None:
    """Raise unless the argument holds the results of a study."""
    require_type("results", results, Results, "mcsim.run and mcsim.open return them")


def factors_of(study: Mapping[str, Any]) -> list[str]:
    """Return the names of the factors of a study's cells, in the order in which they occur."""
    return list(dict.fromkeys(name for cell in study["cells"] for name in cell["design"]))


def average_over(table: pd.DataFrame, over: str, by: Sequence[str]) -> pd.DataFrame:
    """Average a table of measures over the values of one factor.

    Parameters
    ----------
    table : pandas.DataFrame
        A table of measures with their ``_mcse``.
    over : str
        The factor.
    by : sequence of str
        All columns that identify a row.

    Returns
    -------
    pandas.DataFrame
        For each measure: mean, the Monte Carlo error of the mean, and ``<measure>_between``, the
        standard deviation between the factor's values (missing where there is only one).
    """
    names = [c.removesuffix("_mcse") for c in map(str, table.columns) if c.endswith("_mcse")]
    keys = [name for name in by if name != over]
    groups = table.groupby(keys, sort=False, dropna=False)
    count = f"{over}s" if f"{over}s" not in table else f"values of {over}"
    columns: dict[str, Any] = {count: groups.size()}
    for name in names:
        columns[name] = groups[name].mean()
        columns[f"{name}_mcse"] = groups[[name, f"{name}_mcse"]].apply(_mcse_of_mean)
        columns[f"{name}_between"] = groups[name].std(ddof=1)
    if "n" in table and "n" not in by:  # where it is no factor
        columns["n"] = groups["n"].sum()
    return pd.DataFrame(columns).reset_index()


def _mcse_of_mean(members: pd.DataFrame) -> float:
    """Return the error of a mean over members with a value; missing if one has no error."""
    errors = members.dropna(subset=members.columns[:1]).iloc[:, 1].to_numpy(dtype=float)
    return float(np.sqrt((errors**2).sum()) / len(errors)) if len(errors) else np.nan
