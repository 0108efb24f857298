"""Tables of text as plain text, Markdown or LaTeX."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import pandas as pd

from mcsim._core.checks import require_type
from mcsim._core.markup import in_latex, in_markdown
from mcsim.errors import InputError, did_you_mean, printable

Format = Literal["text", "markdown", "latex"]


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
    require_type("table", table, pd.DataFrame, "results_table returns one")
    table = table.map(printable)
    labels = list(itertools.takewhile(lambda name: _is_label(table, name), table.columns))
    figures = list(table.columns[len(labels) :])
    sizes = {name: max(map(len, [printable(name), *table[name]])) for name in table.columns}
    room = (width or 10**6) - sum(sizes[name] + 2 for name in labels)
    blocks: list[list[str]] = [[]]
    for name in figures:
        taken = sum(sizes[other] + 2 for other in blocks[-1])
        if blocks[-1] and taken + sizes[name] > room:
            blocks.append([])
        blocks[-1].append(name)
    return "\n\n".join(_aligned(table[[*labels, *block]], sizes) for block in blocks)


def _aligned(table: pd.DataFrame, sizes: Mapping[str, int]) -> str:
    rows = [list(map(printable, table.columns)), *table.to_numpy().tolist()]
    lines = [
        "  ".join(
            cell.ljust(sizes[name]) if name in _LABELS else cell.rjust(sizes[name])
            for name, cell in zip(table.columns, row, strict=True)
        ).rstrip()
        for row in rows
    ]
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:]])


_LABELS = ("dgp", "estimator", "estimand", "inference", "generator", "status")


def _is_label(table: pd.DataFrame, name: Any) -> bool:
    """Return whether a column labels the rows; broken tables repeat it."""
    return name in table.attrs.get("labels", _LABELS)


def as_markdown(table: pd.DataFrame) -> str:
    r"""Return a table in Markdown.

    Examples
    --------
    >>> print(as_markdown(pd.DataFrame({"estimator": ["a|b"], "bias": ["0.01"]})))
    | estimator | bias |
    | :-- | --: |
    | a\|b | 0.01 |
    """
    require_type("table", table, pd.DataFrame, "results_table returns one")
    rows = [list(map(in_markdown, table.columns)), *table.map(in_markdown).to_numpy().tolist()]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    marks = [":--" if name in _LABELS else "--:" for name in table.columns]
    return "\n".join([lines[0], "| " + " | ".join(marks) + " |", *lines[1:]])


def as_latex(table: pd.DataFrame) -> str:
    r"""Return a table in LaTeX, with the rules of the package booktabs.

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
    require_type("table", table, pd.DataFrame, "results_table returns one")
    rows = [list(map(in_latex, table.columns)), *table.map(in_latex).to_numpy().tolist()]
    lines = [" & ".join(row) + r" \\" for row in rows]
    columns = "".join("l" if name in _LABELS else "r" for name in table.columns)
    head = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", lines[0], r"\midrule"]
    return "\n".join([*head, *lines[1:], r"\bottomrule", r"\end{tabular}"])


_MARKUP: Mapping[str, Callable[[pd.DataFrame], str]] = {
    "markdown": as_markdown,
    "latex": as_latex,
}


def render(table: pd.DataFrame, kind: str = "text", width: int | None = None) -> str:
    """Return a table in a format by its name: text (of some width), markdown or latex."""
    require_format(kind)
    return as_text(table, width) if kind == "text" else _MARKUP[kind](table)


_ENDINGS = {"tex": "latex", "md": "markdown", "txt": "text"}
"""Formats by how their files end."""


def require_format(kind: str) -> None:
    known = get_args(Format)
    if kind not in known:
        meant = _ENDINGS.get(str(kind))
        hint = f"; did you mean {meant!r}?" if meant else did_you_mean(kind, known)
        raise InputError(f"format: got {kind!r}{hint}")
