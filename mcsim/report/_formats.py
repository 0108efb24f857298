"""Tables of text as plain text, Markdown, LaTeX, HTML or CSV."""

import csv
import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import pandas as pd

from mcsim._core.checks import require_type
from mcsim._core.markup import html_table, in_csv, in_html, in_markdown, spans_of
from mcsim.errors import InputError, did_you_mean, printable
from mcsim.report._latex import latex_of

Format = Literal["text", "markdown", "latex", "html", "csv"]


def as_text(table: pd.DataFrame, width: int | None = None) -> str:
    """Return a table as aligned plain text.

    Parameters
    ----------
    table : pandas.DataFrame
        Strings.
    width : int, optional
        Characters in a line: a wider table is broken into several, each with the labels.

    Examples
    --------
    >>> print(as_text(pd.DataFrame({"estimator": ["aipw"], "bias": ["0.01 (0.02)"]})))
    estimator         bias
    ----------------------
    aipw       0.01 (0.02)
    """
    _require(table)
    heads, rows = [list(map(printable, head)) for head in heads_of(table)], _cells(table, printable)
    left = _left(table)
    labels = range(label_count(table))
    sizes = [max(len(line[i]) for line in [*heads[-1:], *rows]) for i in range(len(left))]
    for level in range(len(heads) - 1):
        for start, stop in spans_of(heads, level):
            missing = len(heads[level][start]) - sum(sizes[start:stop]) - 2 * (stop - start - 1)
            sizes[stop - 1] += max(0, missing)
    room = (width or 10**6) - sum(sizes[i] + 2 for i in labels)
    blocks: list[list[int]] = [[]]
    for i in range(len(labels), len(left)):
        taken = sum(sizes[other] + 2 for other in blocks[-1])
        if blocks[-1] and taken + sizes[i] > room:
            blocks.append([])
        blocks[-1].append(i)
    return "\n\n".join(_aligned(heads, rows, [*labels, *block], sizes, left) for block in blocks)


def _aligned(
    heads: Sequence[Sequence[str]],
    rows: Sequence[Sequence[str]],
    columns: Sequence[int],
    sizes: Sequence[int],
    left: Sequence[bool],
) -> str:
    heads = [[head[i] for i in columns] for head in heads]
    lines = []
    for level, head in enumerate(heads[:-1]):
        widths = [
            (head[a], sum(sizes[i] for i in columns[a:b]) + 2 * (b - a - 1))
            for a, b in spans_of(heads, level)
        ]
        lines.append("  ".join(text.center(width) for text, width in widths).rstrip())
    for row in [heads[-1], *([row[i] for i in columns] for row in rows)]:
        cells = zip(columns, row, strict=True)
        justified = (c.ljust(sizes[i]) if left[i] else c.rjust(sizes[i]) for i, c in cells)
        lines.append("  ".join(justified).rstrip())
    rule = "-" * max(map(len, lines))
    return "\n".join([*lines[: len(heads)], rule, *lines[len(heads) :]])


_LABELS = ("dgp", "estimator", "estimand", "inference", "generator", "status")


def _require(table: Any) -> None:
    require_type("table", table, pd.DataFrame, "results_table returns one")


def _names(table: pd.DataFrame) -> list[Any]:
    """Return the name of every column: of columns below others, that of the first."""
    return [name[0] if isinstance(name, tuple) else name for name in table.columns]


def label_count(table: pd.DataFrame) -> int:
    """Return the number of leading columns that label the rows; broken tables repeat them."""
    known = table.attrs.get("labels", _LABELS)
    return len(list(itertools.takewhile(lambda name: name in known, _names(table))))


def _left(table: pd.DataFrame) -> list[bool]:
    """Return which columns are set to the left."""
    return [name in _LABELS or name in table.attrs.get("left", ()) for name in _names(table)]


def heads_of(table: pd.DataFrame) -> list[list[Any]]:
    """Return the rows of heads, from the top; a label stands in the last."""
    if table.columns.nlevels == 1:
        return [list(table.columns)]
    heads = [list(table.columns.get_level_values(k)) for k in range(table.columns.nlevels)]
    for place in range(label_count(table)):
        heads[0][place], heads[-1][place] = "", heads[0][place]
    return heads


def _flat_head(table: pd.DataFrame) -> list[str]:
    """Return one head for each column, for formats without heads over several columns."""
    return [", ".join(str(part) for part in parts if part != "") for parts in _tuples(table)]


def _tuples(table: pd.DataFrame) -> list[tuple]:
    return [name if isinstance(name, tuple) else (name,) for name in table.columns]


def _cells(table: pd.DataFrame, escaped: Callable[[Any], str]) -> list[list[str]]:
    return [list(map(escaped, row)) for row in table.to_numpy().tolist()]


def as_markdown(table: pd.DataFrame) -> str:
    r"""Return a table in Markdown.

    Examples
    --------
    >>> print(as_markdown(pd.DataFrame({"estimator": ["a|b"], "bias": ["0.01"]})))
    | estimator | bias |
    | :-- | --: |
    | a\|b | 0.01 |
    """
    _require(table)
    rows = [list(map(in_markdown, _flat_head(table))), *_cells(table, in_markdown)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    marks = [":--" if left else "--:" for left in _left(table)]
    return "\n".join([lines[0], "| " + " | ".join(marks) + " |", *lines[1:]])


def as_latex(
    table: pd.DataFrame,
    *,
    caption: str = "",
    label: str = "",
    notes: str | Sequence[str] = (),
    siunitx: bool = False,
) -> str:
    r"""Return a table in LaTeX, with the rules of the package booktabs.

    Parameters
    ----------
    table : pandas.DataFrame
        Strings.
    caption, label : str
        With either, or with notes, the tabular stands in a ``table`` environment. All text is
        escaped; the label keeps letters, digits and ``:-_.`` only.
    notes : str or sequence of str
        Below the table, small; `mcsim.report.notes` gives lines.
    siunitx : bool
        Align figures at the decimal point, in ``S`` columns of the package siunitx. Errors are
        then written as uncertainties, ``0.123(12)``; siunitx prints them in full after
        ``\sisetup{uncertainty-mode=full}``.

    Examples
    --------
    >>> print(as_latex(pd.DataFrame({"estimator": ["a_b"], "bias": ["0.01"]})))
    \begin{tabular}{lr}
    \toprule
    estimator & bias \\
    \midrule
    a\_b & 0.01 \\
    \bottomrule
    \end{tabular}
    """
    _require(table)
    rows = table.to_numpy().tolist()
    labels, below = label_count(table), [notes] if isinstance(notes, str) else list(notes)
    return latex_of(
        heads_of(table), rows, _left(table), labels, caption, label, list(filter(None, below)),
        siunitx,
    )  # fmt: skip


def as_html(table: pd.DataFrame, *, caption: str = "", notes: str | Sequence[str] = ()) -> str:
    """Return a table in HTML, of class ``mcsim``; names and notes are escaped.

    Parameters
    ----------
    table : pandas.DataFrame
        Strings.
    caption : str
        The caption.
    notes : str or sequence of str
        Paragraphs below the table.

    Examples
    --------
    >>> as_html(pd.DataFrame({"estimator": ["<b>"], "bias": ["0.01"]})).splitlines()[5]
    '<tr><th scope="row">&lt;b&gt;</th><td>0.01</td></tr>'
    """
    _require(table)
    below = [notes] if isinstance(notes, str) else notes
    lines = [line for note in below for line in note.splitlines() if line]
    cells, labels = _cells(table, str), label_count(table)
    text = html_table(heads_of(table), cells, labels, caption, plain=True)
    return "\n".join([text, *(f'<p class="note">{in_html(line)}</p>' for line in lines)])


def as_csv(table: pd.DataFrame) -> str:
    """Return a table in CSV, one row of heads; no cell is a formula to a spreadsheet.

    A dash, for a missing figure, becomes an empty cell. ``results.summary().to_csv(...)`` writes
    numbers in place of text.

    Examples
    --------
    >>> print(as_csv(pd.DataFrame({"estimator": ["=A1", "b,c"], "bias": ["-0.01", "-"]})), end="")
    estimator,bias
    '=A1,-0.01
    "b,c",
    """
    _require(table)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(in_csv, _flat_head(table)))
    writer.writerows(_cells(table, lambda cell: "" if cell == "-" else in_csv(cell)))
    return text.getvalue()


_MARKUP: Mapping[str, Callable[[pd.DataFrame], str]] = {
    "markdown": as_markdown,
    "latex": as_latex,
    "html": as_html,
    "csv": as_csv,
}


def render(table: pd.DataFrame, kind: str = "text", width: int | None = None) -> str:
    """Return a table by the name of a format: text (of some width), markdown, latex, html, csv."""
    require_format(kind)
    return as_text(table, width) if kind == "text" else _MARKUP[kind](table)


ENDINGS = {"tex": "latex", "md": "markdown", "txt": "text", "html": "html", "csv": "csv"}
"""Formats by how their files end."""


def require_format(kind: str) -> None:
    """Raise unless a format is known."""
    known = get_args(Format)
    if kind not in known:
        meant = ENDINGS.get(str(kind))
        hint = f"; did you mean {meant!r}?" if meant else did_you_mean(kind, known)
        raise InputError(f"format: got {kind!r}{hint}")
