"""Estimators that fail often, in a sentence with the reason: a table of dashes would hide it."""

import contextlib
from collections.abc import Iterator, Sequence
from textwrap import shorten
from typing import Any

from mcsim._core import SUCCESSES, Status
from mcsim._results import Results
from mcsim._store import Store
from mcsim._store_records import FailureRecord
from mcsim.errors import StoreError

MANY_FAILURES = 0.5
"""Share of replications from which an estimator's failures are told, and the exit code is 4."""

LONGEST = 400  # characters of a reason


def frequent_failures(results: Results) -> dict[str, float]:
    """Return the share of failed replications of every estimator with many failures."""
    rows = results.replicates
    shares = (~rows["status"].isin(SUCCESSES)).groupby(rows["estimator"], sort=False).mean()
    return {str(name): float(share) for name, share in shares.items() if share > MANY_FAILURES}


def failure_sentences(results: Results, store: Store) -> Iterator[str]:
    """Yield a sentence for every estimator with many failures, with the reason of the first."""
    for name, share in frequent_failures(results).items():
        rows = results.replicates
        failed = rows[(rows["estimator"] == name) & ~rows["status"].isin(SUCCESSES)]
        statuses = list(failed["status"].unique())
        yield (
            f"estimator {name!r} failed in {share:.0%} of replications: {', '.join(statuses)}"
            + _bracketed(_said(name, statuses, results, store)[-1:])
        )

    for (name, inference), share in _without_se(results).items():
        yield (
            f"estimator {name!r} has no standard error {inference} in {share:.0%} of replications: "
            "it is not defined there"
            + _bracketed(_said(name, [Status.NO_SE.label], results, store))
        )


def _without_se(results: Results) -> dict[tuple[str, str], float]:
    """Return the share without a standard error of every inference that often has none."""
    rows = results.replicates
    missing = rows["status"].eq(Status.NO_SE.label)
    shares = missing.groupby([rows["estimator"], rows["inference"]]).mean()
    return {tuple(key): float(s) for key, s in shares.items() if s > MANY_FAILURES}  # type: ignore[misc]


def _said(estimator: str, statuses: Sequence[str], results: Results, store: Store) -> list[str]:
    """Return the lines of the first record of these statuses among the rows shown."""
    for record in _records(estimator, results, store):
        if record["status"] in statuses:
            return [line.strip() for line in record["trouble"].splitlines() if line.strip()]
    return []


def _records(estimator: str, results: Results, store: Store) -> Iterator[dict[str, Any]]:
    """Yield what is recorded of failures of this estimator, as these results define it."""
    for cell in results.study["cells"]:
        for name, definition in cell["estimators"]:
            files = store.failures(cell["hash"], definition).glob("r*.json")
            for file in sorted(files) if name == estimator else ():
                with contextlib.suppress(StoreError):  # a reason, not a result
                    record = store.read(file, FailureRecord)
                    if record["rep"] < results.study["reps"]:
                        yield record


def _bracketed(lines: Sequence[str]) -> str:
    return f" ({shorten('; '.join(lines), LONGEST, placeholder=' ...')})" if lines else ""
