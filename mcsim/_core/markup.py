r"""Tables as text: figures rounded by their errors, names escaped for Markdown, TeX, HTML, CSV.

Names, caveats and messages come from data, study files and stores. Markdown holds HTML and links,
TeX reads commands, a spreadsheet computes formulas: here each such mark becomes text, and other
text is left as it is.

Examples
--------
>>> in_markdown("<b> [x](javascript:y)"), in_latex("50 %")
('&lt;b> [x\\](javascript:y)', '50 \\%')
"""

import html
import math
import re
from collections.abc import Sequence

from mcsim.errors import printable

LEAST_DECIMALS = 2  # of a figure without an error
MOST_DECIMALS, MOST_BEFORE = 8, 9  # digits after and before the point, then powers of ten
ROUNDING = 1e-12  # an error below this share of its figure is due to floating-point numbers

_MARKDOWN = re.compile(
    r"[|`]"  # cells and code
    r"|[*~](?=\S)|(?<!\w)_(?=\w)"  # emphasis begins
    r"|\](?=[(\[:])"  # the text of a link ends
    r"|&(?=#?\w+;)"  # a character by its name
    r"|\\(?=[!-/:-@\[-`{-~]|$)"  # escapes the next character
    r"|^(?:>|(?:#+|[-+*]|\d+(?=[.)]))(?=[.)]?\s))"  # quotations, headings, lists
)

_LATEX = {
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def figure(value: float, error: float = math.nan, spread: float = math.nan) -> str:
    """Return a figure with its error in round brackets and a spread in square ones.

    Parameters
    ----------
    value : float
        The figure; a dash where it is missing.
    error : float
        Its Monte Carlo error, shown to two digits; the figure has the same decimals. Left out where
        it is missing, or zero: replications do not vary then.
    spread : float
        A standard deviation between generators, to two digits of its own.

    Examples
    --------
    >>> figure(0.12345, 0.0123), figure(-0.0001, 0.0123), figure(1234.5, 678.9)
    ('0.123 (0.012)', '0.000 (0.012)', '1234 (679)')
    >>> figure(0.25, 0.0), figure(0.00042), figure(2.5e-10, 1.23e-11)
    ('0.25', '0.00042', '2.50e-10 (1.2e-11)')
    """
    if math.isnan(value):
        return "-"
    text = rounded(value, error)
    if not math.isnan(error) and abs(error) > ROUNDING * abs(value):
        text += f" ({rounded(error, error)})"
    return text if math.isnan(spread) else f"{text} [{rounded(spread, spread)}]"


def rounded(value: float, error: float = math.nan) -> str:
    """Return a number with the decimals that show two digits of an error; of its own without one.

    Examples
    --------
    >>> rounded(0.12345, 0.00996), rounded(-0.004, 0.5), rounded(3.0), rounded(-0.0)
    ('0.123', '0.00', '3.00', '0.00')
    """
    if not math.isfinite(value):
        return f"{value}"
    known = math.isfinite(error) and abs(error) > ROUNDING * abs(value)
    decimals = decimals_of(error if known else value)
    size = _exponent(max(abs(value), abs(error)) if known else value)
    if decimals > MOST_DECIMALS or size >= MOST_BEFORE:
        text = f"{value:.{max(1, decimals + _exponent(value))}e}" if value else "0"
    else:
        text = f"{value:.{max(0 if known else LEAST_DECIMALS, decimals)}f}"
    return text.removeprefix("-") if _is_zero(text) else text


def decimals_of(number: float) -> int:
    """Return the decimals that show two digits of a number, fewer than none for 100 and more."""
    return 1 - _exponent(number)


def _exponent(number: float) -> int:
    """Return the power of ten of the first digit, after rounding to two digits."""
    return int(f"{number:.1e}".partition("e")[2])


def _is_zero(text: str) -> bool:
    return not any(digit in text.partition("e")[0] for digit in "123456789")


def in_markdown(text: object) -> str:
    """Return text for one line, or one cell of a table, of Markdown (CommonMark, GitHub's)."""
    return _MARKDOWN.sub(_escaped_in_markdown, printable(text)).replace("<", "&lt;")


def in_latex(text: object) -> str:
    r"""Return text for a cell of a table in LaTeX; one that begins with ``[`` follows ``\\``."""
    escaped = "".join(_LATEX.get(mark, mark) for mark in printable(text))
    return re.sub(r"^[\[*]", r"{\g<0>}", escaped)


def latex_comment(text: object) -> str:
    """Return text as one line of a TeX comment."""
    return f"% {printable(text)}"


def in_html(text: object) -> str:
    """Return text for the content of an element, or an attribute in quotes, of HTML."""
    return html.escape(printable(text))


_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_NUMBER = r"[\d.,]+(?:e[+-]?\d+)?"
_FIGURE = re.compile(rf"[+-]?{_NUMBER}(?: \({_NUMBER}\))?(?: \[{_NUMBER}\])?(?: \u2020)?")


def in_csv(text: object) -> str:
    """Return text for a cell of CSV that a spreadsheet does not compute; figures stay figures.

    Examples
    --------
    >>> in_csv("=HYPERLINK(A1)"), in_csv("-0.12 (0.03)"), in_csv("-2+3")
    ("'=HYPERLINK(A1)", '-0.12 (0.03)', "'-2+3")
    """
    cell = printable(text)
    return f"'{cell}" if _FORMULA.match(cell) and not _FIGURE.fullmatch(cell) else cell


def html_table(
    heads: Sequence[Sequence[object]],
    rows: Sequence[Sequence[object]],
    labels: int = 1,
    caption: str = "",
    *,
    plain: bool = False,
) -> str:
    """Return a table in HTML, its text escaped: rows of heads, then rows, the first cells labels.

    Neighbors of one text in all rows of heads but the last share a cell. So do equal labels of
    neighboring rows, the last label aside, and text is left-aligned: notebooks align all cells
    right. A ``plain`` table has neither.
    """
    parts = ['<table class="mcsim">']
    styles = [""] * len(heads[-1]) if plain else _styles(rows, labels, len(heads[-1]))
    if caption:
        lines = "<br>".join(map(in_html, caption.split("\n")))
        parts.append(f"<caption{'' if plain else _LEFT}>{lines}</caption>")
    parts.append("<thead>")
    for level, head in enumerate(heads):
        cells = []
        for start, stop in spans_of(heads, level):
            span = f' colspan="{stop - start}"' if stop - start > 1 else ""
            cells.append(f'<th scope="col"{span}{styles[start]}>{in_html(head[start])}</th>')
        parts.append(f"<tr>{''.join(cells)}</tr>")
    parts.append("</thead>\n<tbody>")
    shared = {} if plain else _shared_labels(rows, labels)
    for place, row in enumerate(rows):
        cells = [
            f'<th scope="row"{span}{styles[column]}>{in_html(row[column])}</th>'
            for column in range(labels)
            if (span := shared.get((place, column), "")) is not None
        ]
        cells += [
            f"<td{style}>{in_html(cell)}</td>"
            for cell, style in zip(row[labels:], styles[labels:], strict=True)
        ]
        parts.append(f"<tr>{''.join(cells)}</tr>")
    return "\n".join([*parts, "</tbody>", "</table>"])


_LEFT = ' style="text-align: left; vertical-align: top"'
_ONE_LINE = ' style="text-align: right; white-space: nowrap"'
_NUMERIC = re.compile(r"[-+\u00b1.(\[<]*(?:\d|$|nan|inf)")


def _styles(rows: Sequence[Sequence[object]], labels: int, columns: int) -> list[str]:
    """Return the style of each column: labels and text are left-aligned, figures do not wrap."""
    numeric = [
        all(_NUMERIC.match(printable(row[column])) for row in rows) for column in range(columns)
    ]
    return [_ONE_LINE if numeric[c] and c >= labels else _LEFT for c in range(columns)]


def _shared_labels(
    rows: Sequence[Sequence[object]], labels: int
) -> dict[tuple[int, int], str | None]:
    """Return by (row, column) how many rows a label stands for; None where one above does."""
    columns = list(zip(*(row[:labels] for row in rows), strict=True))
    shared: dict[tuple[int, int], str | None] = {}
    for column in range(len(columns) - 1):
        for start, stop in spans_of(columns, column):
            if stop - start > 1:
                shared |= {(place, column): None for place in range(start, stop)}
                shared[start, column] = f' rowspan="{stop - start}"'
    return shared


def spans_of(heads: Sequence[Sequence[object]], level: int) -> list[tuple[int, int]]:
    """Return (start, stop) of neighbors under one head; each column by itself in the last row."""
    last, spans = level == len(heads) - 1, []
    for place in range(len(heads[level])):
        above = [head[place] for head in heads[: level + 1]]
        begins = last or not above[-1] or not place
        if begins or above != [head[place - 1] for head in heads[: level + 1]]:
            spans.append((place, place + 1))
        else:
            spans[-1] = (spans[-1][0], place + 1)
    return spans


def _escaped_in_markdown(found: re.Match[str]) -> str:
    marks = found.group()
    return f"{marks}\\" if marks.isdigit() else f"\\{marks}"
