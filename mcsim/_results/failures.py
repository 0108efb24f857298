"""Failures of estimators: reasons in a store; numbers, as a frame and in sentences."""

import contextlib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mcsim._core.records import SUCCESSES, Status
from mcsim._host.worker import Outcome
from mcsim._results.results import Results, factors_of
from mcsim._results.store import Store
from mcsim._results.store_files import write_json
from mcsim._results.store_records import FailureRecord
from mcsim.errors import StoreError, one_line

MANY_FAILURES = 0.5
"""Share of replications from which the exit code is 4; it is too where a cell has no success."""

_TEXTS_KEPT = 20  # of a block and status
_TEXTS_READ = 200  # of an estimator in a cell
_MOST_REASONS = 5  # of a status there, each with a row
_OTHERS = "other reasons"  # the row of the rest
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}")  # of an object, another one in each call
_NAMED = 3  # labels or cells, in a sentence
_LABEL = ["estimand", "inference"]

COLUMNS = (
    "estimator", "labels", "status", "replications", "of", "reason", "first_rep", "cell",
)  # fmt: skip
"""Columns of `Results.failures` after the columns of DGP and design."""


def has_failed(rows: pd.DataFrame) -> pd.Series:
    """Return which rows are failures."""
    status: Any = rows["status"].array
    if not isinstance(status, pd.Categorical):
        return ~rows["status"].isin(SUCCESSES)
    failed = np.array([label not in SUCCESSES for label in status.categories], bool)
    return pd.Series(failed[status.codes], index=rows.index)  # four times as fast


def without_success(first_block: pd.DataFrame) -> bool:
    """Return whether a whole first block failed, so that the other blocks are skipped."""
    return bool(has_failed(first_block).all())


def with_skipped(rows: pd.DataFrame, first_block: pd.DataFrame, reps: int) -> pd.DataFrame:
    """Add the replications that are skipped, since all of the first block failed.

    Parameters
    ----------
    rows : pandas.DataFrame
        The stored rows of an estimator in a cell.
    first_block : pandas.DataFrame
        The rows of the block of replication 0.
    reps : int
        Replications asked for.
    """
    if not without_success(first_block):
        return rows
    skipped = np.setdiff1d(np.arange(reps), rows["rep"])
    if not len(skipped):
        return rows
    labels = first_block.groupby(_LABEL, sort=False, observed=True)
    truths = labels["truth"].agg(lambda truth: truth.iloc[0] if truth.nunique() == 1 else np.nan)
    added = pd.DataFrame({"rep": skipped}).merge(truths.reset_index(), how="cross")
    added["status"] = Status.SKIPPED.label
    added = added.reindex(columns=rows.columns)
    return pd.concat([rows, added], ignore_index=True).sort_values("rep", kind="stable")


# Reasons in the store


class Named(NamedTuple):
    """A cell, or an estimator, by its name in the study and the hash of its definition."""

    name: str
    hash: str


def store_reasons(
    store: Store, cell: Named, estimator: Named, start: int, outcomes: Sequence[Outcome]
) -> None:
    """Store the reasons of failures and of missing standard errors, each text once.

    Parameters
    ----------
    store : Store
        The store.
    cell, estimator : Named
        The cell and the estimator.
    start : int
        Number of the first replication.
    outcomes : sequence of Outcome
        One per replication.
    """
    folder = store.failures(cell.hash, estimator.hash)
    for (status, text), reps in _texts(outcomes, start):
        content = {
            "cell": cell.name,
            "estimator": estimator.name,
            "rep": reps[0],
            "reps": reps,
            "status": status,
            "reason": outcomes[reps[0] - start].reason,
            "trouble": text,
            "replay": f"mcsim replay FILE --store {shlex.quote(str(store.path))} "
            f"--cell {cell.hash[:12]} --rep {reps[0]}",
        }
        write_json(folder / f"r{reps[0]:07d}.json", content)


def _texts(outcomes: Sequence[Outcome], start: int) -> Iterator[tuple[tuple[str, str], list[int]]]:
    """Yield the first texts of every status of a block, with the replications that have them."""
    found: dict[tuple[str, str], list[int]] = {}
    for rep, outcome in enumerate(outcomes, start):
        if outcome.trouble:
            found.setdefault((outcome.status.label, outcome.trouble), []).append(rep)
        elif outcome.remark:
            found.setdefault((Status.NO_SE.label, outcome.remark), []).append(rep)
    kept: dict[str, int] = {}
    for (status, text), reps in found.items():
        kept[status] = kept.get(status, 0) + 1
        if kept[status] <= _TEXTS_KEPT:
            yield (status, text), reps


def _reasons_in(folder: Path, store: Store) -> Iterator[tuple[str, str, list[int]]]:
    """Yield status, reason and replications of the stored failures of an estimator in a cell."""
    for file in sorted(folder.glob("r*.json"))[:_TEXTS_READ]:
        with contextlib.suppress(StoreError):  # a reason, not a result
            record = store.read(file, FailureRecord)
            reason = one_line(record.get("reason") or _old_reason(record))
            yield record["status"], reason, record.get("reps") or [record["rep"]]


def _by_reason(
    status: str, reps: np.ndarray, stored: Sequence[tuple[str, str, list[int]]]
) -> list[tuple[str, np.ndarray]]:
    """Split replications of one status by reason, most frequent first, at most `_MOST_REASONS`.

    An only reason that is known is that of all, since explanations are made for the first of them.

    Examples
    --------
    >>> stored = [("error", "KeyError: 'x'", [0, 4]), ("error", "ValueError", [2])]
    >>> for reason, reps in _by_reason("error", np.array([0, 2, 4]), stored):
    ...     print(reason, reps)
    KeyError: 'x' [0 4]
    ValueError [2]
    """
    if status == Status.SKIPPED.label:
        return [("every replication of the first block failed", reps)]
    found: dict[str, list[int]] = {}
    for of, text, those in stored:
        if of == status and text and (mine := np.intersect1d(those, reps)).size:
            found.setdefault(_ADDRESS.sub("0x...", text), []).extend(mine.tolist())
    if len(found) < 2:
        return [(next(iter(found), ""), reps)]
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), min(item[1])))
    split = [(reason, np.sort(those)) for reason, those in ordered[:_MOST_REASONS]]
    rest = np.setdiff1d(reps, np.concatenate([those for _, those in split]))
    return [*split, (_OTHERS, rest)] if rest.size else split


def _old_reason(record: Mapping[str, Any]) -> str:
    """Return the reason in a record of mcsim to 0.2: the last line of a traceback."""
    lines = str(record["trouble"]).strip().splitlines()
    return "\n".join(lines if record["status"] == Status.NO_SE.label else lines[-1:])


# Failures by estimator


def failures_of(
    store: Store, cell: Mapping[str, Any], estimator: str, rows: pd.DataFrame
) -> Iterator[dict[str, Any]]:
    """Yield the failures of an estimator in a cell, by status and reason; see `Results.failures`.

    Parameters
    ----------
    store : Store
        The store, which holds the reasons.
    cell : mapping
        The cell, as a manifest describes it.
    estimator : str
        Hash of the estimator's definition.
    rows : pandas.DataFrame
        Its rows there.
    """
    failed = rows[has_failed(rows)]
    if failed.empty:
        return
    first = failed.drop_duplicates("rep")  # a replication has one status: of its first failure
    n_labels = len(rows[_LABEL].drop_duplicates())
    stored = list(_reasons_in(store.failures(cell["hash"], estimator), store))
    split = (
        (status, reason, those)
        for status, reps in first.groupby("status", sort=False)["rep"]
        for reason, those in _by_reason(str(status), reps.to_numpy(), stored)
    )
    for status, reason, reps in split:
        labels = failed.loc[failed["rep"].isin(reps), _LABEL].drop_duplicates()
        names = [" ".join(filter(None, label)) for label in labels.to_numpy()]
        yield {
            "dgp": cell["dgp"],
            **cell["design"],
            "estimator": rows["estimator"].iloc[0],
            "labels": tuple(names) if len(names) < n_labels else (),
            "status": status,
            "replications": len(reps),
            "of": rows["rep"].nunique(),
            "reason": reason,
            "first_rep": int(reps.min()),
            "cell": cell["hash"][:12],
        }


def often_failing(results: Results) -> list[str]:
    """Return the estimators with many failures, or without a success in a cell."""
    rows = results.replicates
    cell = ["dgp", *factors_of(results.study), "estimator"]
    counts = (
        rows[cell].assign(failed=has_failed(rows)).groupby(cell, sort=False, dropna=False)["failed"]
    ).agg(["sum", "size"])
    never = counts["sum"] == counts["size"]
    totals = counts.groupby("estimator", sort=False).sum()
    many = totals["sum"] > MANY_FAILURES * totals["size"]
    return [
        str(name) for name in totals.index if many[name] or never.xs(name, level="estimator").any()
    ]


# In sentences


def failure_sentences(results: Results, store: Store) -> Iterator[str]:
    """Yield a sentence for every estimator that failed, or that often has no standard error."""
    for name, failures in results.failures.groupby("estimator", sort=False):
        cells = [c for c in results.study["cells"] if name in dict(c["estimators"])]
        yield _sentence(str(name), failures, len(cells) * results.study["reps"], results.factors)
    for (name, inference), share in _without_se(results).items():
        reason = _reason_without_se(name, results, store)
        yield (
            f"estimator {name!r} has no standard error {inference} in {share:.0%} of replications: "
            "it is not defined there" + (f" ({reason})" if reason else "")
        )


def _sentence(name: str, failures: pd.DataFrame, total: int, factors: Sequence[str]) -> str:
    labels = list(dict.fromkeys(label for several in failures["labels"] for label in several))
    some = f" ({_first(labels)})" if failures["labels"].map(len).all() else ""
    skipped = failures["status"] == Status.SKIPPED.label
    n, n_skipped = failures["replications"].sum(), failures.loc[skipped, "replications"].sum()
    parts = [f"{name}{some}: {n:,} of {total:,} failed"]
    if n_skipped:
        parts.append(f", {n_skipped:,} of them skipped after a first block without a success")
    parts.append("" if n == total else _whole_cells(failures, factors))
    return "".join(parts) + f": {causes(failures[~skipped])}"


def _whole_cells(failures: pd.DataFrame, factors: Sequence[str]) -> str:
    """Name the cells in which every replication failed."""
    where = ["dgp", *factors]
    counts = failures.groupby(where, sort=False, dropna=False).agg(
        {"replications": "sum", "of": "first"}
    )
    whole = counts[counts["replications"] == counts["of"]].reset_index()[where]
    names = []
    for dgp, *values in whole.itertuples(index=False):
        pairs = zip(factors, values, strict=True)
        names.append(" ".join([dgp, *(f"{f}={_short(v)}" for f, v in pairs if pd.notna(v))]))
    return f", all in {_first(names)}" if names else ""


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _first(names: Sequence[str]) -> str:
    """Return the first names, and the number of others."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def causes(failures: pd.DataFrame) -> str:
    """Return the failures of estimates as text, with the first reasons of every status.

    Parameters
    ----------
    failures : pandas.DataFrame
        Columns status, replications and reason.

    Examples
    --------
    >>> causes(pd.DataFrame({"status": ["nan"], "replications": [3], "reason": [""]}))
    'nan'
    >>> causes(pd.DataFrame(
    ...     {"status": ["nan", "error"], "replications": [3, 1], "reason": ["", "KeyError: 'x'"]}
    ... ))
    "nan (3); KeyError: 'x' (1)"
    """
    found: list[tuple[str, int]] = []
    for status, rows in failures.groupby("status", sort=False):
        counts = rows.groupby("reason", sort=False)["replications"].sum()
        if len(known := counts[~counts.index.isin(["", _OTHERS])]) < 2:
            found.append((_cause(str(status), str(next(iter(known.index), ""))), int(counts.sum())))
            continue
        named = known.sort_values(ascending=False, kind="stable")
        found += [
            (_cause(str(status), str(reason)), int(n)) for reason, n in named[:_NAMED].items()
        ]
        if rest := int(counts.sum() - named[:_NAMED].sum()):
            found.append((f"{status}: {_OTHERS}", rest))
    if len(found) == 1:
        return found[0][0]
    return "; ".join(f"{cause} ({n:,})" for cause, n in found)


def _cause(status: str, reason: str) -> str:
    """Return a reason with its status; an exception needs none."""
    parts = [reason] if reason and status == Status.ERROR.label else [status, reason]
    return ": ".join(filter(None, parts))


def sentence_of_first_block(
    cell: str, estimator: str, rows: pd.DataFrame, reasons: Mapping[str, str]
) -> str:
    """Return that all of a first block failed, and why; the other blocks are skipped.

    Parameters
    ----------
    cell, estimator : str
        Their names.
    rows : pandas.DataFrame
        The block.
    reasons : mapping of status to str
        The reasons that are known.
    """
    statuses = rows.drop_duplicates("rep")["status"].value_counts(sort=False)
    failures = pd.DataFrame({"status": statuses.index, "replications": statuses.to_numpy()})
    failures["reason"] = [reasons.get(status, "") for status in failures["status"]]
    return (
        f"{estimator} failed in all {statuses.sum():,} replications of its first block in "
        f"cell {cell!r}: {causes(failures)}; its other replications there are skipped"
    )


def _without_se(results: Results) -> dict[tuple[str, str], float]:
    """Return the share without a standard error of every inference that often has none."""
    rows = results.replicates
    missing = rows["status"].eq(Status.NO_SE.label)
    shares = missing.groupby([rows["estimator"], rows["inference"]]).mean()
    return {tuple(key): float(s) for key, s in shares.items() if s > MANY_FAILURES}  # type: ignore[misc]


def _reason_without_se(name: str, results: Results, store: Store) -> str:
    """Return the reason of the first replication without a standard error."""
    for cell in results.study["cells"]:
        folder = store.failures(cell["hash"], dict(cell["estimators"]).get(name, ""))
        for status, reason, reps in _reasons_in(folder, store):
            if status == Status.NO_SE.label and reason and reps[0] < results.study["reps"]:
                return reason
    return ""
