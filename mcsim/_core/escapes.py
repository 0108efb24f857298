r"""Messages: text for each medium that obeys marks in a text, and warnings at the user's line.

Names, caveats and messages come from data, study files and stores. A terminal obeys control
characters, Markdown holds HTML and links, TeX reads commands. Here each mark becomes text:
``\x1b`` stands where an escape character was. Other text is left as it is.

Examples
--------
>>> printable("Größe β\x1b[31m\n")
'Größe β\\x1b[31m\\n'
>>> in_markdown("<b> [x](javascript:y)"), in_latex("50 %")
('&lt;b> [x\\](javascript:y)', '50 \\%')
"""

import re
import sys
import unicodedata
import warnings

_JOINERS = "\u200c\u200d"  # letters of Persian, Hindi and others join by them
_OBEYED = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Categories of control marks, format (bidi), half a character, breaks of lines."""

_INSIDE = ("mcsim", "jaxtyping")
"""Packages whose frames are not the user's; jaxtyping checks types between frames of mcsim."""

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


def printable(text: object) -> str:
    r"""Return text for one line of a terminal: control characters as escapes.

    Applied twice, it gives the same.
    """
    line = str(text)
    if line.isprintable():
        return line
    return "".join(_escaped(mark) if _is_obeyed(mark) else mark for mark in line)


def printable_lines(text: object) -> str:
    """Return a message for a terminal: its lines and tabs stay, all else is `printable`."""
    lines = (map(printable, line.split("\t")) for line in str(text).split("\n"))
    return "\n".join(map("\t".join, lines))


def in_markdown(text: object) -> str:
    """Return text for one line, or one cell of a table, of Markdown (CommonMark, GitHub's)."""
    return _MARKDOWN.sub(_escaped_in_markdown, printable(text)).replace("<", "&lt;")


def in_latex(text: object) -> str:
    r"""Return text for a cell of a table in LaTeX; one that begins with ``[`` follows ``\\``."""
    escaped = "".join(_LATEX.get(mark, mark) for mark in printable(text))
    return re.sub(r"^[\[*]", r"{\g<0>}", escaped)


def latex_comment(text: object) -> str:
    """Return text as one line that TeX passes over."""
    return f"% {printable(text)}"


def warn(sentence: str) -> None:
    """Warn at the line outside mcsim that led here, however deep in mcsim the warning arises."""
    frame, level = sys._getframe(), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _INSIDE:
        frame, level = frame.f_back, level + 1
    warnings.warn(printable_lines(sentence), UserWarning, stacklevel=level)


def _is_obeyed(mark: str) -> bool:
    return unicodedata.category(mark) in _OBEYED and mark not in _JOINERS


def _escaped(mark: str) -> str:
    return mark.encode("unicode_escape").decode("ascii")


def _escaped_in_markdown(found: re.Match[str]) -> str:
    marks = found.group()
    return f"{marks}\\" if marks.isdigit() else f"\\{marks}"
