"""Tables in LaTeX: the rules of booktabs, heads over several columns, figures for siunitx."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from mcsim._core.markup import in_latex, spans_of

_FIGURE = re.compile(r"(?P<value>-?(?P<whole>\d+)(?:\.(?P<part>\d+))?)(?: \((?P<error>[\d.]+)\))?")

_NAMES = (
    "α alpha β beta γ gamma δ delta ε varepsilon ζ zeta η eta θ theta ι iota κ kappa "  # noqa: RUF001
    "λ lambda μ mu ν nu ξ xi π pi ρ rho ς varsigma σ sigma τ tau υ upsilon φ varphi "  # noqa: RUF001
    "χ chi ψ psi ω omega Γ Gamma Δ Delta Θ Theta Λ Lambda Ξ Xi Π Pi Σ Sigma Υ Upsilon "  # noqa: RUF001
    "Φ Phi Ψ Psi Ω Omega ≤ le ≥ ge ≠ ne ≈ approx ∞ infty ∈ in √ surd"
)
_SYMBOLS = dict(re.findall(r"(\S) (\w+)", _NAMES))
_ACCENTS = {"\u0302": "hat", "\u0303": "tilde", "\u0304": "bar"}
_MARKS = {"†": "dagger", "<": "less", ">": "greater", "|": "bar", "`": "asciigrave"}
_MATH = re.compile(f"([a-zA-Z{''.join(_SYMBOLS)}])([{''.join(_ACCENTS)}])|[{''.join(_SYMBOLS)}]")
_LIGATURE = re.compile(r"(?<=[-',])(?=[-',])")
_MINUS = re.compile(r"^-(?=\.?\d)|\u2212")


def latex_of(
    heads: Sequence[Sequence[Any]],
    rows: Sequence[Sequence[Any]],
    left: Sequence[bool],
    labels: int,
    caption: str,
    label: str,
    notes: Sequence[str],
    siunitx: bool,
) -> str:
    """Return a tabular, in a ``table`` environment if there is a caption, a label or a note.

    Parameters
    ----------
    heads, rows : sequence of sequence
        Rows of heads, and of cells.
    left : sequence of bool
        Which columns are set to the left.
    labels : int
        Leading columns that label the rows.
    caption, label : str
        Of the environment.
    notes : sequence of str
        Below the tabular.
    siunitx : bool
        Whether figures stand in ``S`` columns.
    """
    columns = ["l" if to_left else "r" for to_left in left]
    text = [[_escaped(cell) for cell in row] for row in rows]
    if siunitx:
        for place in range(labels, len(columns)):
            cells = [str(row[place]) for row in rows]
            columns[place] = _s_column(cells) or columns[place]
            for row, cell in zip(text, cells, strict=True):
                row[place] = _for_siunitx(cell)
    lines = [rf"\begin{{tabular}}{{{''.join(columns)}}}", r"\toprule"]
    for level in range(len(heads)):
        lines += _head(heads, level, labels, siunitx)
    lines += [r"\midrule", *(" & ".join(row) + r" \\" for row in text)]
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(_floating(lines, caption, label, notes, siunitx))


def _escaped(cell: Any) -> str:
    """Return text that LaTeX prints as it stands, with a minus for the hyphen of a number.

    The fonts of LaTeX lack Greek letters, and show ``<`` and ``--`` as other characters.
    """
    text = _LIGATURE.sub("{}", in_latex(unicodedata.normalize("NFC", str(cell))))
    for mark, command in _MARKS.items():
        text = text.replace(mark, rf"\text{command}{{}}")
    return _MINUS.sub("$-$", _MATH.sub(_in_math, text))


def _in_math(found: re.Match[str]) -> str:
    letter = found[1] or found[0]
    symbol = rf"\{_SYMBOLS[letter]}" if letter in _SYMBOLS else letter
    return rf"$\{_ACCENTS[found[2]]}{{{symbol}}}$" if found[2] else f"${symbol}$"


def _head(heads: Sequence[Sequence[Any]], level: int, labels: int, siunitx: bool) -> list[str]:
    """Return a row of heads; columns that share one have a rule below it."""
    cells, rules = [], []
    for start, stop in spans_of(heads, level):
        text = _escaped(heads[level][start])
        if stop - start > 1 or (text and level < len(heads) - 1):
            cells.append(rf"\multicolumn{{{stop - start}}}{{c}}{{{text}}}")
            rules.append(rf"\cmidrule(lr){{{start + 1}-{stop}}}")
        else:
            cells.append(f"{{{text}}}" if siunitx and start >= labels else text)
    return [" & ".join(cells) + r" \\", *([" ".join(rules)] if rules else [])]


def _s_column(cells: Sequence[str]) -> str:
    """Return an ``S`` column with room for the longest figure; empty if there is no figure."""
    found = [match for cell in cells if (match := _FIGURE.fullmatch(cell))]
    if not found:
        return ""
    sign = "-" if any(match["value"].startswith("-") for match in found) else ""
    whole = max(len(match["whole"]) for match in found)
    part = max(len(match["part"] or "") for match in found)
    error = max(len(_digits(match["error"])) for match in found)
    room = f"{sign}{whole}.{part}" + (f"({error})" if error else "")
    return f"S[table-format={room}]"


def _for_siunitx(cell: str) -> str:
    """Return a figure with its error as siunitx reads it: ``0.123(12)``; other text in braces."""
    match = _FIGURE.fullmatch(cell)
    if not match:
        return f"{{{_escaped(cell)}}}"
    error = _digits(match["error"])
    return f"{match['value']}({error})" if error else match["value"]


def _digits(error: str | None) -> str:
    """Return the digits of an error, in units of the last place: 0.012 is 12."""
    return (error or "").replace(".", "").lstrip("0")


def _floating(
    lines: Sequence[str], caption: str, label: str, notes: Sequence[str], siunitx: bool
) -> list[str]:
    if not (caption or label or notes):
        return list(lines)
    packages = "booktabs, siunitx" if siunitx else "booktabs"
    head = [rf"% needs \usepackage{{{packages}}}", r"\begin{table}", r"\centering"]
    head += [rf"\caption{{{_escaped(caption)}}}"] if caption else []
    head += [rf"\label{{{re.sub('[^A-Za-z0-9:_.-]', '', label)}}}"] if label else []
    paragraphs = [_escaped(line) for note in notes for line in note.splitlines() if line]
    below = []
    if paragraphs:
        below = [
            r"\par\medskip",
            r"\begin{minipage}{\linewidth}\footnotesize",
            *(rf"{line}\par" for line in paragraphs),
            r"\end{minipage}",
        ]
    return [*head, *lines, *below, r"\end{table}"]
