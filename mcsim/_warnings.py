"""Warnings at the user's line, however deep in mcsim they arise."""

import sys
import warnings

from mcsim._escapes import printable_lines

OURS = ("mcsim", "jaxtyping")  # which checks types between our frames, where it is asked to


def warn(sentence: str) -> None:
    """Warn at the line outside mcsim that led here."""
    frame, level = sys._getframe(), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in OURS:
        frame, level = frame.f_back, level + 1
    warnings.warn(printable_lines(sentence), UserWarning, stacklevel=level)
