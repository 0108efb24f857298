"""The table of panel fidelity as text and as Markdown: blocks of cells, the headline first."""

import textwrap
from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from mcsim._core import Status
from mcsim._escapes import in_markdown, printable
from mcsim._panel_fidelity._inference import MARGIN, RIGHT, UNRESOLVED, WRONG
from mcsim._panel_fidelity._placebo import INFERENCES
from mcsim._panel_fidelity._score import SCORE

if TYPE_CHECKING:
    from mcsim._panel_fidelity._table import PanelFidelityTable

WIDTH = 100
BREAKS_SHOWN, COUNTS_WIDTH = 7, 28
SHORT = {"sliced_w1": "sliced W1", "marginal_w1": "marginal W1",
         "unit_correlation": "corr", "cd": "CD"}  # fmt: skip
MARKS = {RIGHT: " ", WRONG: "!", UNRESOLVED: "?"}
Cells = list[list[str]]

INFERENCE = (
    "Inference check: log ratio, generated over held-out, of the sd over units of the change in "
    "means at a break (the sampling sd of a placebo difference in differences). ! wrong: interval "
    f"outside {MARGIN:g}; ? not resolvable at this number of units; unmarked: right."
)
REJECTION = (
    "Rejections of placebo laws at 5 %, two-way fixed effects: real panel, then generated panels."
)
SCORES = (
    "Panel score (real halves against each other: about 1) with 95 % interval, and ratio to the "
    "best reference that does not copy; memorization (1 right, below .9 close to training units); "
    "classifier on jittered units: AUC, accuracy on real and on generated ones, p-value."
)
COMPONENTS = (
    "Components of the panel score: autocorrelations less period means (acf) and less unit means "
    "too (acf w.), autoregression (ar1), cross-correlations of outcomes (ccf), share of the first "
    "factor, distributions by period (marginals), shares of variance, projections of whole units "
    "(sliced), slopes between and within units."
)
MEASURES = (
    "Other measures: largest gap of a mass point's share, in points (atoms); Wasserstein distances "
    "in sd; by outcome the mean correlation of units, generated less held-out, as it is (corr) and "
    "as Pesaran's CD; and the share of date effects that is the same in every panel (frozen)."
)
ESTIMATES = (
    "Your estimates inside their law: mean (sd) over generated panels, p-value of each. Verdicts "
    "correct a generator's p-values for their number (Holm): one that is right is accused in at "
    "most 5 % of cases, however many the estimates are."
)
STATISTICS = "Statistics of the series: mean [5 %, 95 %] over generated panels; * real one outside."


class Block(NamedTuple):
    """A caption and rows of cells, the first of them the header."""

    caption: str
    cells: Cells


def as_text(table: "PanelFidelityTable") -> str:
    """Lay the table out in at most 100 columns."""
    head = (
        f"Fidelity to a panel of {table.n_units:,} units x {table.n_periods} periods, "
        f"{table.splits} half splits"
    )
    blocks = [f"{_wrapped(b.caption)}\n{_text(b.cells)}".lstrip() for b in blocks_of(table)]
    verdicts = [
        _wrapped(printable(f"{name}: {words}"), "  ") for name, words in table.verdicts.items()
    ]
    notes = [_wrapped(printable(f"Note. {note}"), "  ") for note in table.notes]
    return "\n\n".join([head, *blocks, "\n".join(verdicts), *notes])


def as_markdown(table: "PanelFidelityTable") -> str:
    """Write the tables, the verdicts and the notes in Markdown."""
    blocks = [f"{_escaped(b.caption)}\n\n{_markdown(b.cells)}".lstrip() for b in blocks_of(table)]
    verdicts = [f"- **{in_markdown(n)}**: {in_markdown(v)}" for n, v in table.verdicts.items()]
    notes = [f"Note. {in_markdown(note)}" for note in table.notes]
    return "\n\n".join([*blocks, "\n".join(verdicts), *notes])


def blocks_of(table: "PanelFidelityTable") -> list[Block]:
    """Make all blocks, in the order in which they are read."""
    outcomes = table.outcomes
    shown = list(map(printable, outcomes))
    captions = [f"{INFERENCE}\n{shown[0]}", *shown[1:]]
    blocks = [Block(c, _inference(table, name)) for c, name in zip(captions, outcomes, strict=True)]
    blocks += _captioned(REJECTION, _side_by_side(outcomes, lambda part: _rejection(table, part)))
    blocks += [Block(SCORES, _scores(table)), Block(COMPONENTS, _components(table))]
    blocks += _captioned(MEASURES, _measures(table))
    blocks += _captioned(ESTIMATES, _estimates(table)) if len(table.estimates) else []
    blocks += _captioned(STATISTICS, _statistics(table)) if len(table.statistics) else []
    return blocks


def _captioned(caption: str, parts: Sequence[Cells]) -> list[Block]:
    """Say what a table is above the first of its parts."""
    return [Block("" if number else caption, cells) for number, cells in enumerate(parts)]


def _side_by_side(items: Sequence[Any], made: Callable[[Sequence[Any]], Cells]) -> list[Cells]:
    """Make a table of items as columns: in parts, if it is too wide for a page."""
    parts: list[Cells] = []
    for count in range(len(items), 0, -1):
        starts = range(0, len(items), count)
        parts = [made(items[start : start + count]) for start in starts]
        if all(len(line) <= WIDTH for cells in parts for line in _text(cells).splitlines()):
            break
    return parts


def _inference(table: "PanelFidelityTable", outcome: str) -> Cells:
    here = table.inference[table.inference["outcome"] == outcome]
    breaks = list(dict.fromkeys(here["break"]))
    taken = max(map(len, here["generator"])) + COUNTS_WIDTH
    most = max(1, (WIDTH - taken) // (max(6, *(len(_period(b)) for b in breaks)) + 2))
    many = min(BREAKS_SHOWN, most)
    places = np.unique(np.linspace(0, len(breaks) - 1, many).round().astype(int))
    shown = [breaks[place] for place in places]
    cells = [["generator", *map(_period, shown), "right", "wrong", "?", "widest"]]
    for name in _generators(here):
        mine = here[here["generator"] == name]
        found = {record["break"]: record for record in mine.to_dict("records")}
        row = [f"{found[b]['value']:+.2f}{MARKS[found[b]['verdict']]}" for b in shown]
        counts = [str((mine["verdict"] == word).sum()) for word in MARKS]
        half = ((mine["upper"] - mine["lower"]) / 2).max()  # NaN where units are too few for any
        cells.append([name, *row, *counts, "-" if np.isnan(half) else f"±{half:.2f}"])
    return cells


def _period(label: object) -> str:
    """Write a period: of a date year and month."""
    return f"{label:%Y-%m}" if isinstance(label, date) else str(label)


def _rejection(table: "PanelFidelityTable", outcomes: Sequence[str]) -> Cells:
    found = table.rejection.set_index(["generator", "outcome", "inference"])["rejection"]
    labels = [f"{outcome} {inference}" for outcome in outcomes for inference in INFERENCES]
    cells = [["generator", *labels]]
    for name in _generators(table.rejection):
        keys = [(name, outcome, inference) for outcome in outcomes for inference in INFERENCES]
        cells.append([name, *(_share(float(found[key])) for key in keys)])
    return cells


def _scores(table: "PanelFidelityTable") -> Cells:
    cells = [["generator", "score", "95 %", "ratio", "95 %", "mem.", "copies",
              "AUC", "real", "gen.", "p"]]  # fmt: skip
    measures = table.measures[table.measures["outcome"] == ""]
    found = measures.set_index(["generator", "measure"])["value"]
    names = ("memorization", "copies", "c2st_auc", "c2st_accuracy_real",
             "c2st_accuracy_generated", "c2st_p_value")  # fmt: skip
    for row in table.score[table.score["component"] == SCORE].to_dict("records"):
        if row["status"] != Status.OK.label:
            cells.append([row["generator"], "-", row["status"], *["-"] * (len(cells[0]) - 3)])
            continue
        mine = [float(found.get((row["generator"], name), np.nan)) for name in names]
        memory, copies, *tested = mine
        cells.append(
            [row["generator"], _number(row["value"]), _interval(row["lower"], row["upper"]),
             _number(row["ratio"]), _interval(row["ratio_lower"], row["ratio_upper"]),
             _number(memory), f"{copies:.0f} %", *(_share(value) for value in tested)]
        )  # fmt: skip
    return cells


def _components(table: "PanelFidelityTable") -> Cells:
    parts = table.score[table.score["component"] != SCORE]
    names = list(dict.fromkeys(parts["component"]))
    found = parts.set_index(["generator", "component"])["value"]
    short = [name.replace("slopes_", "").replace("_within", " w.") for name in names]
    rows = [[g, *(_number(found[g, n]) for n in names)] for g in _generators(parts)]
    return [["generator", *short], *rows]


def _measures(table: "PanelFidelityTable") -> list[Cells]:
    told = ("memorization", "copies", "c2st_")
    rest = table.measures[~table.measures["measure"].str.startswith(told)]
    rest = rest[rest["value"].notna()]
    columns = list(dict.fromkeys(zip(rest["measure"], rest["outcome"], strict=True)))
    found = rest.set_index(["generator", "measure", "outcome"])["value"]

    def made(part: Sequence[tuple[str, str]]) -> Cells:
        header = ["generator", *(" ".join([SHORT.get(m, m), o]).strip() for m, o in part)]
        rows = [
            [g, *(_number(found.get((g, *pair), np.nan)) for pair in part)]
            for g in _generators(rest)
        ]
        return [header, *rows]

    whole = [pair for pair in columns if not pair[1]]
    by_outcome = [pair for pair in columns if pair[1]]
    return [*_side_by_side(whole, made), *_side_by_side(by_outcome, made)]


def _estimates(table: "PanelFidelityTable") -> list[Cells]:
    frame = table.estimates
    return _laws(frame, ["estimator", "estimand"], lambda r: (
        f"{_short(r['mean'])} ({_short(r['sd'])}) p {r['p_value']:.2f}"
    ))  # fmt: skip


def _statistics(table: "PanelFidelityTable") -> list[Cells]:
    return _laws(table.statistics, ["outcome", "statistic"], lambda r: (
        f"{_short(r['mean'])}{'' if r['inside'] else '*'} "
        f"[{_short(r['lower'])}, {_short(r['upper'])}]"
    ))  # fmt: skip


def _laws(frame: pd.DataFrame, labels: list[str], worded) -> list[Cells]:
    """Laws of several generators side by side."""
    return _side_by_side(_generators(frame), lambda part: _law(frame, labels, worded, part))


def _law(frame: pd.DataFrame, labels: list[str], worded, names: Sequence[str]) -> Cells:
    """Rows are labels, the first column the real value."""
    cells = [[labels[-1] if labels[0] == "outcome" else labels[0], "real", *names]]
    for label, rows in frame.groupby(labels, sort=False):
        mine = {row["generator"]: row for row in rows.to_dict("records")}
        value = rows["value"].iloc[0]
        known = [worded(mine[n]) if np.isfinite(mine[n]["mean"]) else "-" for n in names]
        real = _short(value) if np.isfinite(value) else str(rows.iloc[0].get("status", "-"))
        cells.append([" ".join(filter(None, map(str, label))), real, *known])
    return cells


def _generators(frame: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(frame["generator"]))


def _number(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "-"


def _share(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1) if np.isfinite(value) else "-"


def _interval(lower: float, upper: float) -> str:
    return f"[{lower:.2f}, {upper:.2f}]" if np.isfinite([lower, upper]).all() else ""


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _wrapped(words: str, indent: str = "") -> str:
    lines = map(printable, words.split("\n"))
    return "\n".join(textwrap.fill(line, WIDTH, subsequent_indent=indent) for line in lines)


def _text(cells: Cells) -> str:
    cells = [[printable(cell) for cell in row] for row in cells]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = []
    for row in cells:
        rest = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        lines.append("  ".join([row[0].ljust(widths[0]), *rest]).rstrip())
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _markdown(cells: Cells) -> str:
    header, *rows = [[in_markdown(cell) for cell in row] for row in cells]
    rule = ["---", *("---:" for _ in header[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def _escaped(caption: str) -> str:
    return "\n".join(map(in_markdown, caption.split("\n")))
