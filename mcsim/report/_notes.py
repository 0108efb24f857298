"""The notes under a table: marks, truths, what is missing, and caveats."""

from collections.abc import Callable, Mapping

from mcsim._core.markup import in_csv, in_html, in_markdown, latex_comment
from mcsim._results.caveats import NOTE, conditional_rows
from mcsim._results.display import label
from mcsim._results.failures import has_failed
from mcsim._results.results import Results, doubtful_se, require_results
from mcsim._run.study import GENERATOR
from mcsim.errors import printable
from mcsim.report._formats import require_format

_LINES: Mapping[str, Callable[[str], str]] = {
    "text": printable,
    "markdown": in_markdown,
    "latex": latex_comment,
    "html": lambda line: f'<p class="note">{in_html(line)}</p>',
    "csv": in_csv,
}


def notes(results: Results, kind: str = "text") -> str:
    """Return the notes under a table: marks, truths, and caveats.

    Parameters
    ----------
    results : Results
        The results.
    kind : {"text", "markdown", "latex", "html", "csv"}
        The format of the table; in LaTeX notes are comments.
    """
    require_format(kind)
    require_results(results)
    study = results.study
    lines = [
        f"{study['reps']:,} replications, seed {study['seed']}; in brackets the Monte Carlo "
        f"standard error; intervals at {study['level']:.0%}, tests of {study['null']:g}."
    ]
    lines += _incomplete(results) + _failed(results) + _skipped(results) + _without_se(results)
    if study.get("unit"):
        lines.append(f"Bias, standard errors and RMSE in {study['unit']}.")
    if GENERATOR in results.factors:
        lines.append(
            "Averages over the generators; in square brackets the standard deviation between them."
        )
    if conditional_rows(results.replicates, results.study).any():
        lines.append(NOTE)
    lines += [f"{name}: {summary}." for name, summary in study["dgps"].items() if summary]
    lines += [
        f"Note: {note} (mean over the samples of a cell's first block)." for note in results.notes
    ]
    lines += [f"Note: {note}." for note in doubtful_se(results)]
    lines += [f"Caveat: {caveat}" for caveat in results.caveats]
    return "\n".join(map(_LINES[kind], lines))


def _without_se(results: Results) -> list[str]:
    """Return where standard errors are undefined: coverage and power rest on the others."""
    rows = results.replicates
    where = [rows[c] for c in ("dgp", *results.factors, "estimator", "estimand", "inference")]
    missing = (rows["status"] == "no_se").groupby(where, dropna=False, sort=False)
    return [
        f"{' '.join(filter(None, map(label, row)))}: no standard error in {lacking:,} of {all_:,} "
        "replications, where it is not defined."
        for row, lacking, all_ in missing.agg(["sum", "size"]).itertuples()
        if lacking
    ]


def _failed(results: Results) -> list[str]:
    """Return the number of estimates that failed: measures rest on the others."""
    rows = results.replicates
    counts = (
        has_failed(rows).groupby(rows["estimator"], sort=False, observed=True).agg(["sum", "size"])
    )
    return [
        f"{printable(name)}: {failures:,} of {estimates:,} estimates failed (results.failures has "
        "the reasons); coverage_all counts them as misses, other measures leave them out."
        for name, failures, estimates in counts.itertuples()
        if failures
    ]


def _skipped(results: Results) -> list[str]:
    """Return the number of failures that are replications not computed."""
    failures = results.failures
    skipped = failures[failures["status"] == "skipped"]
    counts = skipped.groupby("estimator", sort=False)["replications"].sum()
    return [
        f"{name}: {n:,} of its failures are replications that were skipped, since all of a cell's "
        "first block failed."
        for name, n in counts.items()
    ]


def _incomplete(results: Results) -> list[str]:
    """Return a sentence if the store does not hold all replications yet."""
    study = results.study
    if not all(cell["hash"] for cell in study["cells"]):  # not from a store
        return []
    asked = study["reps"] * sum(len(cell["estimators"]) for cell in study["cells"])
    rows = results.replicates
    held = len(rows.drop_duplicates(["dgp", *results.factors, "estimator", "rep"]))
    if held == asked:
        return []
    return [
        f"INCOMPLETE: {held:,} of {asked:,} replications of estimators are in the store; mcsim run "
        "continues."
    ]
