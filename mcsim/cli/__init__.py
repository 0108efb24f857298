"""The command line: ``mcsim run``, ``show``, ``replay``; ``fit``, ``fidelity``, ``sample``."""

from mcsim.cli import _commands as _commands
from mcsim.cli._app import main as main
