"""Mistakes that users make, and the first words of the sentence that each of them meets."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from command_line import Done
from mcsim.errors import McsimError


class Mistake(NamedTuple):
    """A mistake.

    Attributes
    ----------
    what : str
        What the user did, in a few words.
    do : callable of Path
        Does it, in an empty folder. A command is run by `command_line.mcsim_command`, and returned.
    says : str
        The first words of the message: an error's, a command's or a warning's.
    """

    what: str
    do: Callable[[Path], object]
    says: str


def sentence_of(mistake: Mistake, folder: Path) -> str:
    """Make the mistake, and return the message: of an error, else of the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            done = mistake.do(folder)
        except McsimError as error:
            return str(error)
    if isinstance(done, Done) and done.returncode:
        assert "Traceback" not in done.stderr, done.stderr
        return re.sub(r"^(error|usage): ", "", done.stderr)
    printed = done.stderr.splitlines() if isinstance(done, Done) else []
    return "\n".join([*(str(warning.message) for warning in caught), *printed])
