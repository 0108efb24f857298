"""The command line: ``mcsim run``, ``check``, ``show``, ``report``; ``fit``, ``sample`` ..."""

from mcsim.cli import _commands as _commands
from mcsim.cli._app import main as main
