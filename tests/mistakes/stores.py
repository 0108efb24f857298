"""Mistakes with stores, models and other files."""

from command_line import mcsim_command
from mistakes import Mistake

MISTAKES = [
    Mistake(
        "a store that is not there",
        lambda folder: mcsim_command("show", folder / "nothing"),
        "store: ",
    ),
]
