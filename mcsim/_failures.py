"""Estimators that fail often, in a sentence with the reason: a table of dashes would hide it."""

import contextlib
from collections.abc import Iterator
from typing import Any

from mcsim._core import SUCCESSES
from mcsim._results import Results
from mcsim._store import Store
from mcsim.errors import StoreError

MANY_FAILURES = 0.5
"""Share of replications from which an estimator's failures are told, and the exit code is 4."""


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
        statuses = ", ".join(failed["status"].unique())
        yield f"estimator {name!r} failed in {share:.0%} of replications: {statuses}" + _reason(
            name, results, store
        )

    for (name, inference), share in _without_se(results).items():
        yield (
            f"estimator {name!r} has no standard error {inference} in {share:.0%} of replications: "
            "it is not defined there"
        )


def _without_se(results: Results) -> dict[tuple[str, str], float]:
    """Return the share without a standard error of every inference that often has none."""
    rows = results.replicates
    shares = rows["status"].eq("no_se").groupby([rows["estimator"], rows["inference"]]).mean()
    return {tuple(key): float(s) for key, s in shares.items() if s > MANY_FAILURES}  # type: ignore[misc]


def _reason(estimator: str, results: Results, store: Store) -> str:
    """Return the last line of the first failure among the rows shown, in brackets."""
    for record in _records(estimator, results, store):
        lines = [line for line in record["trouble"].splitlines() if line.strip()]
        return f" ({lines[-1].strip()})" if lines else ""
    return ""


def _records(estimator: str, results: Results, store: Store) -> Iterator[dict[str, Any]]:
    """Yield what is recorded of failures of this estimator, as these results define it."""
    for cell in results.study["cells"]:
        for name, definition in cell["estimators"]:
            files = store.failures(cell["hash"], definition).glob("r*.json")
            for file in sorted(files) if name == estimator else ():
                with contextlib.suppress(StoreError):  # a reason, not a result
                    record = store.read(file, "rep", "trouble")
                    if record["rep"] < results.study["reps"]:
                        yield record
