"""Estimators that fail often, in a sentence with the reason: a table of dashes would hide it."""

from collections.abc import Iterator

from mcsim._results import Results
from mcsim._store import Store, read_json

MANY_FAILURES = 0.5
"""Share of replications from which an estimator's failures are told, and the exit code is 4."""


def frequent_failures(results: Results) -> dict[str, float]:
    """Return the share of failed replications of every estimator with many failures."""
    rows = results.replicates
    shares = rows["status"].ne("ok").groupby(rows["estimator"], sort=False).mean()
    return {str(name): float(share) for name, share in shares.items() if share > MANY_FAILURES}


def failure_sentences(results: Results, store: Store) -> Iterator[str]:
    """Yield a sentence for every estimator with many failures, with the reason of the first."""
    for name, share in frequent_failures(results).items():
        failed = results.replicates.query("estimator == @name and status != 'ok'")
        statuses = ", ".join(failed["status"].unique())
        yield f"estimator {name!r} failed in {share:.0%} of replications: {statuses}" + _reason(
            name, store
        )


def _reason(estimator: str, store: Store) -> str:
    for file in sorted(store.path.glob("failures/*/*/*.json")):
        record = read_json(file)
        if record["estimator"] == estimator:
            lines = [line for line in record["trouble"].splitlines() if line.strip()]
            return f" ({lines[-1].strip()})" if lines else ""
    return ""
