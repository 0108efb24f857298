"""Figures of a study beside published ones: the difference in Monte Carlo standard errors."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
import pandas as pd
import scipy

from mcsim._core.calls import with_remedies
from mcsim._core.markup import figure, html_table, in_html
from mcsim.errors import InputError, did_you_mean, raise_all
from mcsim.measures._definitions import MEASURES, meant

_COLUMNS = ("measure", "published")
EXACT = 1e-9  # difference, relative to the figure, that floating point may make

_OPTIONAL = ("published_mcse", "published_reps", "decimals")

PUBLISHED_COLUMNS = (*_COLUMNS, *_OPTIONAL)
"""Columns of published figures that are no labels; a study has no factor of such a name."""

_OWN = ("ours", "mcse", "z")

PAIRED = (
    "it sets a summary beside published figures; two estimators are contrasted, in pairs, by "
    'results.summary(measures=["relative_precision"], reference="...")'
)


@dataclass(frozen=True)
class Comparison:
    """Published figures and a study's own, cell by cell; made by `compare`.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per figure: its labels, ``measure``, ``published``, ``published_mcse``, ``ours``,
        ``mcse``, and ``z``, the difference over the combined standard error.
    """

    table: pd.DataFrame

    @property
    def labels(self) -> list[str]:
        """The columns that identify the cell of a figure."""
        return list(self.table.columns[: list(self.table.columns).index("measure")])

    @property
    def chi_square(self) -> float:
        """Sum of the squared differences; chi-square with `df` degrees if cells are independent."""
        return float((self.table["z"] ** 2).sum(min_count=1))

    @property
    def df(self) -> int:
        """Number of figures that could be compared."""
        return int(self.table["z"].notna().sum())

    @property
    def p_value(self) -> float:
        """Upper tail of the chi-square."""
        return float(scipy.special.chdtrc(self.df, self.chi_square))

    @property
    def largest(self) -> float:
        """Largest difference, in combined standard errors."""
        return float(self.table["z"].abs().max())

    def __repr__(self) -> str:
        return f"Comparison({self})"

    def _repr_html_(self) -> str:
        """Return the figures for a notebook, published and ours, with their errors."""
        heads = [*self.labels, "measure", "published", "ours", "difference / MCSE"]
        rows = [
            (
                *row[: len(self.labels) + 1],
                figure(own["published"], own["published_mcse"]),
                figure(own["ours"], own["mcse"]),
                f"{own['z']:+.1f}",
            )
            for own in self.table.to_dict("records")
            for row in [list(own.values())]
        ]
        return f"<p>{in_html(self)}</p>\n{html_table([heads], rows, len(self.labels) + 1)}"

    def __str__(self) -> str:
        return (
            f"{self.df} of {len(self.table)} figures compared: largest difference "
            f"{self.largest:.1f} Monte Carlo standard errors, chi-square {self.chi_square:.1f} "
            f"(p = {self.p_value:.3f})"
        )


@with_remedies(PAIRED)
def compare(summary: pd.DataFrame, published: pd.DataFrame) -> Comparison:
    """Set a study's figures beside published ones.

    Parameters
    ----------
    summary : pandas.DataFrame
        From `Results.summary` or `mcsim.summarize`.
    published : pandas.DataFrame
        One row per figure: columns of the summary that identify its row (``estimator``, ``rho``,
        ...), ``measure``, ``published``. Its Monte Carlo standard error is
        ``published_mcse``; or follows from ``published_reps``, its number of replications:
        binomial for shares, else the study's own error, scaled; without either the figure
        is exact.
        ``decimals`` is the number printed: the error of rounding is part of its standard
        error.

    Returns
    -------
    Comparison
        In the order of the published figures. A figure that the study has not is NaN.

    Raises
    ------
    InputError
        For unknown columns or measures, or labels that fit several rows of the summary.

    Examples
    --------
    >>> import pandas as pd
    >>> summary = pd.DataFrame({"rho": [0.0, 0.8], "bias": [0.1, 0.4], "bias_mcse": [0.03, 0.04]})
    >>> paper = pd.DataFrame({"rho": [0.8], "measure": ["bias"], "published": [0.31]})
    >>> print(compare(summary, paper.assign(published_mcse=0.03)))
    1 of 1 figures compared: largest difference 1.8 Monte Carlo standard errors, chi-square 3.2 \
(p = 0.072)
    """
    frames = {"summary": summary, "published": published}
    raise_all(
        [
            f"{argument}: got {type(frame).__name__}, expected a pandas DataFrame"
            + ("; results.summary() is one" if argument == "summary" else "")
            for argument, frame in frames.items()
            if not isinstance(frame, pd.DataFrame)
        ]
    )
    labels = _labels(summary, published)
    rows = [_row(summary, labels, figure) for figure in published.to_dict("records")]
    return Comparison(pd.DataFrame(rows))


def _labels(summary: pd.DataFrame, published: pd.DataFrame) -> list[str]:
    faults = [f"published: has no column {name!r}" for name in _COLUMNS if name not in published]
    if published.empty:
        faults.append("published: got no rows, expected at least one figure")
    if faults:
        raise InputError(f"{'; '.join(faults)}: one row for each figure, its cell in more columns")
    labels = [str(name) for name in published if name not in PUBLISHED_COLUMNS]
    measures = [c.removesuffix("_mcse") for c in map(str, summary) if c.endswith("_mcse")]
    faults = [
        f"published: column {name!r} is not in the summary{did_you_mean(name, map(str, summary))}"
        for name in labels
        if name not in summary
    ]
    faults += [
        f"published: the summary has no measure {name!r}{meant(str(name), measures)}"
        for name in dict.fromkeys(published["measure"])
        if name not in measures
    ]
    faults += [
        f"published: column {name!r} has dtype {published[name].dtype}, expected numbers"
        for name in ("published", *_OPTIONAL)
        if name in published and not all(isinstance(cell, Real) for cell in published[name])
    ]
    raise_all(faults)
    return labels


def _row(summary: pd.DataFrame, labels: Sequence[str], figure: dict) -> dict:
    fits = np.ones(len(summary), dtype=bool)
    for name in labels:
        fits &= _equal(summary[name], figure[name])
    if fits.sum() > 1:
        cell = {name: figure[name] for name in labels}
        raise InputError(
            f"published: {cell} fits {fits.sum()} rows of the summary, expected one; add a column "
            "that distinguishes them"
        )
    measure = figure["measure"]
    ours, mcse, reps = (
        float(summary.loc[fits, column].iloc[0]) if fits.any() and column in summary else np.nan
        for column in (measure, f"{measure}_mcse", f"{measure}_n")
    )
    error = float(np.hypot(_published_error(figure, mcse, reps), _rounding(figure)))
    combined = float(np.hypot(error, np.nan_to_num(mcse)))
    difference = ours - figure["published"]
    return {
        **{_apart(name): figure[name] for name in labels},
        "measure": measure,
        "published": figure["published"],
        "published_mcse": error,
        "ours": ours,
        "mcse": mcse,
        "z": _in_errors(difference, combined, figure["published"]),
    }


def _apart(label: str) -> str:
    """Rename a label that has the name of a column of the comparison."""
    return f"{label} (design)" if label in _OWN else label


def _equal(column: pd.Series, value: object) -> np.ndarray:
    if isinstance(value, float):
        return np.isclose(pd.to_numeric(column, errors="coerce"), value, rtol=1e-12, atol=0)
    return (column == value).to_numpy()


def _published_error(figure: dict, mcse: float, reps: float) -> float:
    """Return the published figure's Monte Carlo error: its own, from its replications, or none.

    The error of a share follows from it; that of another measure is scaled from the study's own.
    """
    own, published = (figure.get(f"published_{name}", np.nan) for name in ("mcse", "reps"))
    if not pd.isna(own):
        return float(own)
    if pd.isna(published):
        return 0.0
    measure, share = figure["measure"], figure["published"]
    if measure in MEASURES and MEASURES[measure].proportion:
        return float(np.sqrt(share * (1 - share) / published))
    return float(mcse * np.sqrt(reps / published))


def _rounding(figure: dict) -> float:
    """Standard deviation of a uniform error of half a unit in the last printed place."""
    decimals = figure.get("decimals", np.nan)
    return 0.0 if pd.isna(decimals) else 10.0 ** -float(decimals) / np.sqrt(12)


def _in_errors(difference: float, error: float, published: float) -> float:
    """A difference in standard errors; figures that agree but for floating point differ by 0."""
    if abs(difference) <= EXACT * max(1.0, abs(published)):
        return 0.0
    with np.errstate(divide="ignore"):
        return float(np.divide(difference, error))
