"""Cells and captions as text of at most 100 columns, as Markdown and as HTML."""

import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from mcsim._core.markup import html_table, in_html, in_markdown
from mcsim._fidelity.summary import Summary
from mcsim.errors import printable

WIDTH = 100
NAME_WIDTH = 9  # from which names in the header of a summary are broken
Cells = list[list[str]]
"""Rows of cells, the first of them the header."""


class Block(NamedTuple):
    """A caption, and rows of cells."""

    caption: str
    cells: Cells


# A summary


def summary_as_text(head: str, summary: Summary, notes: Sequence[str]) -> str:
    """Lay a summary out in at most 100 columns, the verdict first."""
    text, places = partial(text_of, breaking=True), range(2, len(summary.cells[0]))

    def chosen(own: Sequence[int]) -> Cells:
        return [[row[place] for place in (0, 1, *own)] for row in summary.cells]

    parts = side_by_side(places, chosen, text=text)
    remarks = [_wrapped(printable(f"Note. {note}"), "  ") for note in notes]
    said = [_wrapped(printable(words)) for words in summary.remarks]
    paragraphs = [_wrapped(printable(words)) for words in summary.paragraphs]
    return "\n\n".join([head, *paragraphs, *map(text, parts), "\n".join(said), *remarks])


def summary_as_markdown(summary: Summary, notes: Sequence[str]) -> str:
    """Write a summary in Markdown, the verdict first."""
    said = [in_markdown(words) for words in (*summary.remarks, *(f"Note. {n}" for n in notes))]
    paragraphs = map(in_markdown, summary.paragraphs)
    return "\n\n".join([*paragraphs, _markdown_of(summary.cells), *said])


def summary_as_html(head: str, summary: Summary, notes: Sequence[str]) -> str:
    """Write a summary in HTML for a notebook, the verdict first."""
    above = [f"<p>{in_html(words)}</p>" for words in (head, *summary.paragraphs)]
    below = [f"<p><small>{in_html(words)}</small></p>" for words in (*summary.remarks, *notes)]
    table = html_table(summary.cells[:1], summary.cells[1:], 1)
    return "\n".join([*above, table, *below])


# All measures


def as_text(
    head: str,
    blocks: Sequence[Block],
    legends: Sequence[str],
    verdicts: Mapping[str, str],
    notes: Sequence[str],
) -> str:
    """Lay a table out in at most 100 columns."""
    parts = [f"{_wrapped(b.caption)}\n{text_of(b.cells)}".lstrip() for b in blocks]
    words = [_wrapped(printable(f"{name}: {said}"), "  ") for name, said in verdicts.items()]
    remarks = [_wrapped(printable(f"Note. {note}"), "  ") for note in notes]
    return "\n\n".join([head, *parts, *map(_wrapped, legends), "\n".join(words), *remarks])


def as_markdown(
    blocks: Sequence[Block], legends: Sequence[str], verdicts: Mapping[str, str]
) -> str:
    """Write the tables and the verdicts in Markdown."""
    parts = [f"{_escaped(b.caption)}\n\n{_markdown_of(b.cells)}".lstrip() for b in blocks]
    words = [f"- **{in_markdown(n)}**: {in_markdown(said)}" for n, said in verdicts.items()]
    return "\n\n".join([*parts, *map(_wrapped, legends), "\n".join(words)])


# Cells


def text_of(cells: Cells, breaking: bool = False) -> str:
    """Align cells: the first column to the left, the others to the right.

    With ``breaking`` long names in the header are broken between words.
    """
    header, *rows = [[printable(cell) for cell in row] for row in cells]
    heads = _broken(header) if breaking else [header]
    widths = [max(len(row[column]) for row in (*heads, *rows)) for column in range(len(header))]
    lines = []
    for row in (*heads, *rows):
        rest = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        lines.append("  ".join([row[0].ljust(widths[0]), *rest]).rstrip())
    rule = "-" * max(map(len, lines))
    return "\n".join([*lines[: len(heads)], rule, *lines[len(heads) :]])


def _broken(header: Sequence[str]) -> Cells:
    """Break names between words, ``GaussianCopula`` too; all end in the last line."""
    words = [re.findall(r"[A-Z]?[^A-Z\s]+|[A-Z]+|\s", name) if len(name) > NAME_WIDTH else [name]
             for name in header]  # fmt: skip
    words = [[word for word in own if word.strip()] or [""] for own in words]
    most = max(map(len, words))
    filled = [[""] * (most - len(own)) + own for own in words]
    return [list(line) for line in zip(*filled, strict=True)]


def _markdown_of(cells: Cells) -> str:
    header, *rows = [[in_markdown(cell) for cell in row] for row in cells]
    rule = ["---", *("---:" for _ in header[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def _wrapped(words: str, indent: str = "") -> str:
    lines = map(printable, words.split("\n"))
    return "\n".join(textwrap.fill(line, WIDTH, subsequent_indent=indent) for line in lines)


def _escaped(caption: str) -> str:
    return "\n".join(map(in_markdown, caption.split("\n")))


def side_by_side(
    items: Sequence[Any],
    made: Callable[[Sequence[Any]], Cells],
    width: float = WIDTH,
    text: Callable[[Cells], str] = text_of,
) -> list[Cells]:
    """Return a table with items as columns: in parts, if one is too wide for a page."""
    parts: list[Cells] = []
    for count in range(len(items), 0, -1):
        starts = range(0, len(items), count)
        parts = [made(items[start : start + count]) for start in starts]
        if all(len(line) <= width for cells in parts for line in text(cells).splitlines()):
            break
    return parts
