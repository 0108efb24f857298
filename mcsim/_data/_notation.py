"""Texts that stand for numbers in another notation, and for missing values."""

import re
from collections.abc import Iterable, Mapping

from mcsim.errors import Option

DOTS = (".", *(f".{letter}" for letter in "abcdefghijklmnopqrstuvwxyz_ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
"""The missing values of Stata and SAS in text files: ``.``, ``.a`` to ``.z``, ``._``."""

NOTATIONS = (
    {"thousands": ","},
    {"decimal": ","},
    {"decimal": ",", "thousands": "."},
    {"decimal": ",", "thousands": " "},
    {"thousands": " "},
    {"thousands": "'"},
)
"""Options of `read_table`, other than those of a plain number; the likely first."""


def notations_of(cells: Iterable[str]) -> list[dict[str, str]]:
    """Return the options of `read_table` under which all of these texts are numbers.

    Parameters
    ----------
    cells : iterable of str
        The cells of a column, of which some are no number in plain notation.

    Examples
    --------
    >>> notations_of(["3,5", "12"]), notations_of(["1,303.48", "7"])
    ([{'decimal': ','}], [{'thousands': ','}])
    >>> notations_of(["1,303"])  # which may be near 1 or 1,303
    [{'thousands': ','}, {'decimal': ','}]
    >>> notations_of(["north", "3,5"])
    []
    """
    texts = [cell.strip() for cell in cells]
    occur = {sign for text in texts for sign in text}
    likely = [options for options in NOTATIONS if occur.issuperset(options.values())]
    return [options for options in likely if _are_numbers(texts, **options)]


def _are_numbers(texts: list[str], decimal: str = ".", thousands: str = "") -> bool:
    point, between = re.escape(decimal), re.escape(thousands)
    whole = rf"(\d{{1,3}}({between}\d{{3}})+|\d+)" if thousands else r"\d+"
    number = re.compile(rf"[-+]?{whole}({point}\d*)?|[-+]?{point}\d+")
    return all(number.fullmatch(text) for text in texts)


def call_of_reader(*ways: Mapping[str, object]) -> Option:
    """Return how to call `read_table` with these options, or with others.

    Examples
    --------
    >>> call_of_reader({"sep": ";", "decimal": ","})
    "mcsim.read_table(path, sep=';', decimal=',')"
    """
    calls = [", ".join(["path", *(f"{n}={value!r}" for n, value in way.items())]) for way in ways]
    words = " or ".join(f"mcsim.read_table({call})" for call in calls)
    return Option(words, "read_table", ways)
