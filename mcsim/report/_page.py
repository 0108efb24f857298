"""One page of a study's results: a file of HTML that needs no network, and is readable as text.

The page is written by functions of strings. Every name, caveat and message passes `in_html`, which
escapes it; the data of the script is JSON without ``<``. The table holds the figures once: its
script sorts, filters and exports what stands there (decision 0060).
"""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd

from mcsim._core.calls import with_remedies
from mcsim._core.checks import as_path
from mcsim._core.markup import in_html
from mcsim._fidelity.tables import FidelityTable, PanelFidelityTable
from mcsim._results.display import counted
from mcsim._results.results import Results, require_results
from mcsim._results.store import Store
from mcsim._results.store_records import RunRecord
from mcsim._run.study import GENERATOR
from mcsim._version import __version__
from mcsim.errors import Fault, InputError, Option, raise_all
from mcsim.report._notes import notes
from mcsim.report._page_measures import LABELS, SHOWN, intervals, measures, overview
from mcsim.report._page_words import COVERS, MARGIN, MISSES, OPEN, averages, cell_name, sentences
from mcsim.report._tables import label

MOST_ROWS = 5_000  # of the table: more would be no page that opens at once
_MOST_FAILURES = 200


@with_remedies()
def write_html(
    results: Results,
    path: str | Path,
    *,
    store: str | Path | None = None,
    fidelity: FidelityTable | PanelFidelityTable | None = None,
) -> Path:
    """Write the results of a study as one page of HTML, which asks no host for anything.

    The page says first which estimators' intervals cover, within two percentage points of the
    level. Its table can be sorted, and saved as CSV or LaTeX; for a chosen cell it draws intervals.

    Parameters
    ----------
    results : Results
        The results.
    path : path
        The file; its folder is made if it is not there.
    store : path, optional
        The store that they are from: versions, time and the command to replay are on the page then.
    fidelity : FidelityTable or PanelFidelityTable, optional
        What `mcsim.fidelity` says of the study's generators: a section, its verdict first.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If there are more than 5,000 rows of measures, ``fidelity`` is no fidelity table, or the
        file cannot be written.
    """
    require_results(results)
    if fidelity is not None and not isinstance(fidelity, FidelityTable | PanelFidelityTable):
        came = type(fidelity).__name__
        raise InputError(f"fidelity: got {came}, expected the table that mcsim.fidelity returns")
    file = as_path("path", path)
    text = _page(results, None if store is None else Store.open(store), fidelity)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"path: {file} cannot be written: {error}") from None
    return file


def _page(
    results: Results, store: Store | None, fidelity: FidelityTable | PanelFidelityTable | None
) -> str:
    factors = results.factors
    where = ["dgp", *factors]
    _require_size(results.replicates[[*where, *LABELS]].drop_duplicates(), factors)
    summary = results.summary(measures=SHOWN)
    cells = summary[where].drop_duplicates().reset_index(drop=True)
    names = [cell_name(factors, row) for row in cells.itertuples(index=False)]
    numbers = summary[where].merge(cells.assign(_cell=range(len(cells))), how="left", on=where)
    places = numbers["_cell"].tolist()
    aim = results.study.get("aim") or "Results of a Monte Carlo study"
    sections = [
        _verdict(results, summary),
        _ademp(results, summary),
        overview(results, summary),
        measures(results, summary, places, names),
        _fidelity(fidelity),
        _failures(results, store),
        _notes(results),
        _reproduce(results, store),
    ]
    island = {"level": results.study["level"], "zips": intervals(results, cells)}
    return _DOCUMENT.format(
        title=in_html(aim),
        style=_asset("style.css"),
        facts=_facts(results, len(cells)),
        fidelity="" if fidelity is None else '<a href="#fidelity">Fidelity</a>',
        body="\n".join(filter(None, sections)),
        data=_json(island),
        script=_asset("script.js"),
    )


def _require_size(rows: pd.DataFrame, factors: Sequence[str]) -> None:
    """Raise unless there are measures, and few enough for a page that opens at once."""
    if rows.empty:
        raise InputError("results: hold no replications, expected some; run the study first")
    if len(rows) <= MOST_ROWS:
        return
    factor = max(factors, key=lambda name: rows[name].nunique(), default="dgp")
    value = label(rows[factor].iloc[0])
    query = f"results.replicates.query('{factor} == {value}')"
    words = f"dataclasses.replace(results, replicates={query})"
    remedy = ["keep some cells, such as ", Option(words, "only", f"{factor}={value}")]
    fault = f"results: {len(rows):,} rows of measures, expected at most {MOST_ROWS:,} on a page"
    raise_all([Fault(fault, remedy)])


_DOCUMENT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<style>{style}</style></head>
<body><header><h1>{title}</h1><p class="facts">{facts}</p>
<nav aria-label="Sections"><a href="#verdict">Coverage</a><a href="#study">Study</a><a href="#overview">Overview</a><a href="#table">Table</a>{fidelity}<a href="#notes">Notes</a><a href="#again">How to reproduce</a></nav></header>
<main>
{body}
</main>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body></html>
"""  # noqa: E501


def _asset(name: str) -> str:
    return (files("mcsim.report") / "page" / name).read_text(encoding="utf-8")


def _json(value: Any) -> str:
    """Return JSON that no parser of HTML takes for markup."""
    marks = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
    return json.dumps(value).translate(str.maketrans(marks))


def _facts(results: Results, n_cells: int) -> str:
    study = results.study
    return in_html(
        f"{n_cells:,} {'cell' if n_cells == 1 else 'cells'} of {study['reps']:,} replications"
        f"{_seed(study)}; intervals at {study['level']:.0%}, tests of {study['null']:g}; "
        f"written by mcsim {__version__}."
    )


def _seed(study: Mapping[str, Any]) -> str:
    return f", seed {study['seed']}" if study.get("seed") is not None else ""


def _list(items: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{item}' for item in items)}</ul>"


def _verdict(results: Results, summary: pd.DataFrame) -> str:
    level, of_ensemble = results.study["level"], GENERATOR in results.factors
    where = ["dgp", *results.factors]
    if of_ensemble:
        summary = averages(summary, GENERATOR, [*where, *LABELS])
        where.remove(GENERATOR)
    cells = [cell_name(where[1:], row) for row in summary[where].itertuples(index=False)]
    nouns = "DGPs" if of_ensemble and len(where) == 1 else "cells"
    found = sentences(summary, level, cells, nouns)
    more = "replications or generators" if of_ensemble else "replications"
    heads = {
        MISSES: ("no", "Intervals that do not cover"),
        COVERS: ("yes", "Intervals that cover"),
        OPEN: ("open", f"Not resolved: more {more} are needed"),
        "": ("none", "No coverage"),
    }
    parts = [
        f'<div class="{kind}"><h3>{head}</h3>'
        + _list(
            f"<b>{in_html(s.name)}</b> {in_html(s.text)}" for s in found if s.verdict == verdict
        )
        + "</div>"
        for verdict, (kind, head) in heads.items()
        if any(s.verdict == verdict for s in found)
    ]
    margin = f"A coverage is right here within {100 * MARGIN:.0f} percentage points of {level:.0%}."
    if of_ensemble:
        margin += (
            " The coverage of a DGP is the average over its generators; its limits allow for the"
            " spread between them. The table below has every generator."
        )
    caveats = _list(map(in_html, results.caveats))
    return (
        f'<section id="verdict" class="verdict"><h2>Which intervals cover</h2>{"".join(parts)}'
        f'<p class="note">{margin}</p><h3>What does not follow</h3>{caveats}</section>'
    )


def _ademp(results: Results, summary: pd.DataFrame) -> str:
    study, rows = results.study, results.replicates
    dgps = [f"{name}: {about}" if about else name for name, about in study["dgps"].items()]
    factors = [
        f"{name} = {', '.join(label(v) for v in dict.fromkeys(rows[name].dropna()))}"
        for name in results.factors
    ]
    estimators = rows[["estimator", "inference"]].drop_duplicates().groupby("estimator", sort=False)
    methods = [
        f"{name} ({', '.join(known)})" if (known := [i for i in part["inference"] if i]) else name
        for name, part in estimators
    ]
    parts = {
        "Aim": [study.get("aim") or "not stated"],
        "DGPs": dgps,
        "Designs": factors or ["one design, without factors"],
        "Estimands": [_estimand(name, part) for name, part in rows.groupby("estimand", sort=False)],
        "Methods": methods,
        "Measures": [", ".join(name.replace("_", " ") for name in SHOWN)],
    }
    listed = (
        f"<dt>{name}</dt><dd>{'<br>'.join(map(in_html, texts))}</dd>"
        for name, texts in parts.items()
    )
    return f'<section id="study"><h2>The study</h2><dl>{"".join(listed)}</dl></section>'


def _estimand(name: object, rows: pd.DataFrame) -> str:
    truths = rows["truth"].dropna()
    if truths.empty:
        return f"{name}: truth not known"
    low, high = truths.min(), truths.max()
    return f"{name}: truth {low:.4g}" + (f" to {high:.4g}" if high > low else "")


def _fidelity(table: FidelityTable | PanelFidelityTable | None) -> str:
    """Return the verdict on the generators and its table; all measures are folded away."""
    if table is None:
        return ""
    return (
        f'<section id="fidelity"><h2>Fidelity of the generators</h2>{table._repr_html_()}'
        f"<details><summary>All measures and verdicts</summary>"
        f'<pre tabindex="0">{in_html(table.details())}</pre></details></section>'
    )


def _failures(results: Results, store: Store | None) -> str:
    failures = results.failures
    if failures.empty:
        return '<section id="failures"><h2>Failures</h2><p>No replication failed.</p></section>'
    heads = "".join(
        f'<th scope="col"{kind}>{name}'
        for name, kind in (
            ("estimator", ' class="l"'), ("cell", ' class="l"'), ("status", ' class="l"'),
            ("failed", ""), ("of", ""), ("reason", ' class="l"'), ("replay", ' class="l"'),
        )
    )  # fmt: skip
    factors = results.factors
    where = ["dgp", *factors]
    lines = [
        f'<tr><td class="l">{in_html(row["estimator"])}'
        f'<td class="l">{in_html(cell_name(factors, row[where].tolist()))}'
        f'<td class="l">{in_html(row["status"])}<td>{row["replications"]:,}<td>{row["of"]:,}'
        f'<td class="l w">{in_html(row["reason"])}'
        f'<td class="l"><code>{in_html(_replay(row, store))}</code>'
        for _, row in failures.head(_MOST_FAILURES).iterrows()
    ]
    rest = len(failures) - len(lines)
    more = f"<p>{rest:,} more: results.failures has them all.</p>" if rest > 0 else ""
    return (
        '<section id="failures"><h2>Failures</h2><div class="scroll" tabindex="0" role="region" '
        f'aria-label="Failures"><table><thead><tr>{heads}</thead><tbody>{"".join(lines)}</tbody>'
        f"</table></div>{more}</section>"
    )


def _replay(row: Any, store: Store | None) -> str:
    if not row["cell"]:
        return ""
    folder = "STORE" if store is None else shlex.quote(str(store.path))
    return f"mcsim replay FILE --store {folder} --cell {row['cell']} --rep {row['first_rep']}"


def _notes(results: Results) -> str:
    listed = _list(map(in_html, notes(results).splitlines()))
    return f'<section id="notes"><h2>Notes</h2>{listed}</section>'


def _reproduce(results: Results, store: Store | None) -> str:
    study, parts = results.study, []
    if store is not None:
        folder = shlex.quote(str(store.path))
        asked = f"--reps {study['reps']} --seed {study['seed']} --store {folder}"
        commands = f"mcsim show {folder}", f"mcsim run FILE {asked}"
        parts = _about_store(store, study)
        parts.append(f"<pre><code>{'<br>'.join(map(in_html, commands))}</code></pre>")
    if hashes := [cell["hash"][:12] for cell in study["cells"] if cell.get("hash")]:
        listed = f"<p><code>{in_html(' '.join(hashes))}</code></p>"
        parts.append(f"<details><summary>Hashes of the cells</summary>{listed}</details>")
    text = "".join(parts) or "<p>The results are not from a store of mcsim.</p>"
    return f'<section id="again"><h2>How to reproduce</h2>{text}</section>'


def _about_store(store: Store, study: Mapping[str, Any]) -> list[str]:
    """Return versions and times as HTML."""
    known = {cell["hash"][:12] for cell in study["cells"]}
    environments = {
        ", ".join(f"{name} {value}" for name, value in about["environment"].items())
        for hash_, about in store.cells(known)
        if hash_ in known
    }
    found = [f"Samples drawn by {text}." for text in sorted(environments)]
    runs = [store.read(file, RunRecord) for file in sorted(store.path.glob("runs/*.json"))]
    if seconds := [run["seconds"] for run in runs if isinstance(run.get("seconds"), int | float)]:
        found.append(f"{counted(len(seconds), 'run')} of this store: {sum(seconds):,.1f} seconds.")
    return [_list(map(in_html, found))]
