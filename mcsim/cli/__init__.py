"""The command line: ``mcsim run``, ``show``, ``replay``; ``fit``, ``fidelity``, ``sample``."""

from mcsim.cli import _generators as _generators
from mcsim.cli import _studies as _studies
from mcsim.cli._app import main as main
