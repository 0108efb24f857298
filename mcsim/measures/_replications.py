"""Replications in groups: errors, Wald intervals, p-values and rejections, row by row.

Rows are sorted into groups, in the order of `rep`, and paired with the reference's rows. Sorting
comes first, so that no result depends on the order of rows. Intervals and p-values that an
estimator leaves to mcsim are of value -+ t(df) se, normal where df is infinite or missing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from mcsim.errors import did_you_mean, raise_all
from mcsim.measures._columns import Columns, Roles, read_columns


@dataclass(frozen=True)
class Replications:
    """Replications of one group. Arrays share one length; NaN is missing, or a failure."""

    error: Float[ndarray, " rep"]
    """value - truth; NaN without a truth."""
    spread: Float[ndarray, " rep"]
    """value - target: the deviation from the truth, or the value where no truth is known."""
    target: Float[ndarray, " rep"]
    """The truth, or 0 where none is known."""
    truth: Float[ndarray, " rep"]
    truth_mcse: Float[ndarray, " rep"]
    """Monte Carlo standard error of the truth; 0 where it is exact."""
    null: Float[ndarray, " rep"]
    se: Float[ndarray, " rep"]
    lower: Float[ndarray, " rep"]
    upper: Float[ndarray, " rep"]
    rejected: Float[ndarray, " rep"]
    """1 if the test rejects, 0 if not."""
    reference: Float[ndarray, " rep"]
    """`spread` of the reference method in the same replication."""
    failed: Bool[ndarray, " rep"]

    def complete(self, *names: str) -> tuple[Float[ndarray, " kept"], ...]:
        """Return the named arrays on the replications where none of them is missing."""
        arrays = [getattr(self, name) for name in names]
        kept = ~np.isnan(arrays[0])
        for array in arrays[1:]:
            kept &= ~np.isnan(array)
        return tuple(array[kept] for array in arrays)


def replications(columns: Columns, level: float, reference: Float[ndarray, " row"]) -> Replications:
    """Derive errors, intervals and rejections, row by row."""
    # A test or an interval may have no value: it counts in measures of tests and intervals alone.
    missing = columns.failed | np.isnan(columns.value)
    value = np.where(missing, np.nan, columns.value)
    target = np.where(np.isnan(columns.truth), 0.0, columns.truth)
    lower, upper = _intervals(columns, value, level)
    return Replications(
        error=value - columns.truth,
        spread=value - target,
        target=target,
        truth=columns.truth,
        truth_mcse=columns.truth_mcse,
        null=columns.null,
        se=np.where(missing, np.nan, columns.se),
        lower=lower,
        upper=upper,
        rejected=_rejections(columns, lower, upper, level),
        reference=reference,
        failed=columns.failed,
    )


def _intervals(
    columns: Columns, value: Float[ndarray, " row"], level: float
) -> tuple[Float[ndarray, " row"], Float[ndarray, " row"]]:
    """Return limits where both are given, else value -+ critical value x se."""
    given = ~(np.isnan(columns.lower) | np.isnan(columns.upper))
    with np.errstate(invalid="ignore"):
        radius = critical_values(columns.df, level) * columns.se
        lower = np.where(given, columns.lower, value - radius)
        upper = np.where(given, columns.upper, value + radius)
    lower[columns.failed] = np.nan
    upper[columns.failed] = np.nan
    return lower, upper


def _rejections(
    columns: Columns,
    lower: Float[ndarray, " row"],
    upper: Float[ndarray, " row"],
    level: float,
) -> Float[ndarray, " row"]:
    by_interval = np.where(
        np.isnan(lower) | np.isnan(columns.null),
        np.nan,
        (columns.null < lower) | (columns.null > upper),
    )
    # 1 - level is not exact in binary: 1 - 0.95 exceeds 0.05, and p = 0.05 must not reject
    by_p_value = columns.p_value < round(1 - level, 12)
    rejected = np.where(np.isnan(columns.p_value), by_interval, by_p_value)
    return np.where(columns.failed, np.nan, rejected)


def critical_values(df: Float[ndarray, " row"], level: float) -> Float[ndarray, " row"]:
    """Return the two-sided critical value of each row.

    Parameters
    ----------
    df : array (row,)
        Degrees of freedom; infinite or NaN for the normal, 0 or less gives NaN.
    level : float
        Confidence level.

    Examples
    --------
    >>> import numpy as np
    >>> critical_values(np.array([np.inf, 10.0]), 0.95).round(3).tolist()
    [1.96, 2.228]
    """
    tail = (1 + level) / 2
    critical = np.full(len(df), scipy.special.ndtri(tail))
    student = np.isfinite(df)
    critical[student] = np.where(df[student] > 0, scipy.special.stdtrit(df[student], tail), np.nan)
    return critical


def complete_intervals(rows: pd.DataFrame, level: float, null: float) -> pd.DataFrame:
    """Return rows with the limits and p-values that estimators leave to mcsim.

    Parameters
    ----------
    rows : pandas.DataFrame
        With the columns value, se, lower, upper, df, p_value.
    level, null : float
        Confidence level, and the value that the p-value is of.

    Returns
    -------
    pandas.DataFrame
        The same rows; an estimator's own limits and p-values stay. Own limits without a p-value get
        none: the test is then whether the null lies inside them.
    """
    value, se, df = (rows[name].to_numpy(dtype=float) for name in ("value", "se", "df"))
    lower, upper = (rows[name].to_numpy(dtype=float) for name in ("lower", "upper"))
    p_value = rows["p_value"].to_numpy(dtype=float)
    half = critical_values(df, level) * se
    incomplete = np.isnan(lower) & np.isnan(upper)
    tail = 2 * _lower_tail(-np.abs(value - null) / se, df)
    return rows.assign(
        lower=np.where(incomplete, value - half, lower),
        upper=np.where(incomplete, value + half, upper),
        p_value=np.where(np.isnan(p_value) & incomplete, tail, p_value),
    )


def _lower_tail(
    statistic: Float[ndarray, " row"], df: Float[ndarray, " row"]
) -> Float[ndarray, " row"]:
    """Return P(T < statistic), normal where df is infinite or missing."""
    tail = scipy.special.ndtr(statistic)
    student = np.isfinite(df)
    tail[student] = np.where(
        df[student] > 0, scipy.special.stdtr(df[student], statistic[student]), np.nan
    )
    return tail


@dataclass(frozen=True)
class Grouped:
    """Replications of all groups, contiguous: group g has the rows bounds[g] to bounds[g + 1]."""

    labels: pd.DataFrame
    replications: Replications
    bounds: Int[ndarray, " edge"]

    def __iter__(self) -> Iterator[Replications]:
        columns = vars(self.replications)
        for start, stop in zip(self.bounds[:-1], self.bounds[1:], strict=True):
            yield Replications(**{name: array[start:stop] for name, array in columns.items()})


def read(frame: pd.DataFrame, roles: Roles, level: float, reference: object) -> Grouped:
    """Read a frame of replications, sort it into groups and pair it with the reference."""
    columns = read_columns(frame, roles)
    group = _group_codes(frame, roles.keys)
    rep = _rep_codes(frame, roles, reference)
    _check_rows(frame, roles, columns, group, rep)
    rows = replications(columns, level, _reference_spread(frame, roles, columns, rep, reference))
    order = _order(group if rep is None else group * (rep.max() + 1) + rep)
    counts = np.bincount(group)
    bounds = np.concatenate([[0], np.cumsum(counts)])
    first = np.full(len(counts), len(group))
    np.minimum.at(first, group, np.arange(len(group)))
    return Grouped(
        labels=frame[roles.keys].iloc[first].reset_index(drop=True),
        replications=Replications(**{name: array[order] for name, array in vars(rows).items()}),
        bounds=bounds,
    )


def _group_codes(frame: pd.DataFrame, keys: Sequence[str]) -> Int[ndarray, " row"]:
    """Number the groups in their order of appearance; a missing key is a group too."""
    if not keys:
        return np.zeros(len(frame), dtype=np.int64)
    groups = frame.groupby(list(keys), sort=False, dropna=False, observed=True)
    return groups.ngroup().to_numpy(dtype=np.int64)


def _rep_codes(frame: pd.DataFrame, roles: Roles, reference: object) -> Int[ndarray, " row"] | None:
    if roles.rep is None:
        if reference is not None:
            raise_all(["rep: relative_precision pairs replications; name the column in rep"])
        return None
    codes = pd.factorize(frame[roles.rep], sort=True)[0].astype(np.int64)
    missing = int(np.sum(codes < 0))
    raise_all([f"rep: column {roles.rep!r} is missing in {missing} rows"] if missing else [])
    return codes


def _check_rows(
    frame: pd.DataFrame,
    roles: Roles,
    columns: Columns,
    group: Int[ndarray, " row"],
    rep: Int[ndarray, " row"] | None,
) -> None:
    faults = []
    if rep is not None:
        twice = pd.Series(group * (rep.max() + 1) + rep).duplicated().to_numpy()
        if twice.any():
            example = frame[[*roles.keys, roles.rep]].iloc[int(np.argmax(twice))].to_dict()
            faults.append(
                f"rep: {int(twice.sum())} rows repeat a replication of their group, the first is "
                f"{example}; add to `by` a column that distinguishes them (an estimand, say), or "
                "pass rep=None"
            )
    usable = np.bincount(group, weights=~columns.failed)
    known = np.bincount(group, weights=~columns.failed & ~np.isnan(columns.truth))
    partial = int(np.sum((known > 0) & (known < usable)))
    if partial:
        faults.append(
            f"truth: missing in some successful replications of {partial} groups that have it in "
            "others; fill it, or separate them with `by`"
        )
    raise_all(faults)


def _reference_spread(
    frame: pd.DataFrame,
    roles: Roles,
    columns: Columns,
    rep: Int[ndarray, " row"] | None,
    reference: object,
) -> Float[ndarray, " row"]:
    """`spread` of the reference in the same cell and replication; NaN where it has none."""
    paired = np.full(len(frame), np.nan)
    if reference is None or rep is None or roles.method is None:
        return paired
    is_reference = (frame[roles.method] == reference).fillna(False).to_numpy(dtype=bool)
    if not is_reference.any():
        options = map(str, frame[roles.method].dropna().unique())
        hint = did_you_mean(str(reference), options)
        raise_all([f"reference: {reference!r} is not in column {roles.method!r}{hint}"])
    cell = _group_codes(frame, [name for name in roles.keys if name != roles.method])
    keys = cell * (rep.max() + 1) + rep
    target = np.where(np.isnan(columns.truth), 0.0, columns.truth)
    spread = np.where(columns.failed, np.nan, columns.value - target)[is_reference]
    order = np.argsort(keys[is_reference])
    ordered = keys[is_reference][order]
    place = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
    found = ordered[place] == keys
    paired[found] = spread[order][place[found]]
    return paired


def _order(key: Int[ndarray, " row"]) -> Int[ndarray, " row"] | slice:
    return slice(None) if np.all(key[1:] >= key[:-1]) else np.argsort(key, kind="stable")
