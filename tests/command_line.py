"""The command line in this process: a new one would spend seconds on imports."""

import contextlib
import io
import signal
import sys
import warnings
from typing import NamedTuple
from unittest import mock

from mcsim.cli import main


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def mcsim_command(*arguments: object) -> Done:
    """Run ``mcsim`` with these arguments."""
    stdout, stderr, code = io.StringIO(), io.StringIO(), 0
    handler = signal.getsignal(signal.SIGTERM)
    with (
        warnings.catch_warnings(),
        mock.patch.object(sys, "argv", ["mcsim", *map(str, arguments)]),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        warnings.simplefilter("default")
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
    signal.signal(signal.SIGTERM, handler)
    return Done(code, stdout.getvalue(), stderr.getvalue())
