"""The app of all commands: errors as sentences with exit codes, printing."""

import functools
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Annotated, Any, ParamSpec

import typer
from rich.console import Console

from mcsim._version import __version__
from mcsim.cli._usage import usage_hint
from mcsim.errors import InputError, McsimError, printable_lines

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Monte Carlo studies of econometric estimators on data like yours.",
)


P = ParamSpec("P")


def in_sentences(command: Callable[P, None]) -> Callable[P, None]:
    """Run a command so that errors are sentences and exit codes, not tracebacks."""

    @functools.wraps(command)
    def run_in_sentences(*arguments: P.args, **options: P.kwargs) -> None:
        try:
            command(*arguments, **options)
        except McsimError as error:
            complain("\n".join([f"error: {error}", *getattr(error, "__notes__", ())]))
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            complain("interrupted: finished blocks are in the store; the run continues if repeated")
            _leave(130)

    return run_in_sentences


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGTERM, _terminate)
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    try:
        app()
    except SystemExit as stop:
        if stop.code == InputError.exit_code and (hint := usage_hint(sys.argv[1:], _commands())):
            complain(hint)
        raise


def _commands() -> dict[str, Callable[..., Any]]:
    registered = ((command.name, command.callback) for command in app.registered_commands)
    return {name: callback for name, callback in registered if name and callback}


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        typer.echo(f"mcsim {__version__}")
        raise typer.Exit()


def _terminate(*_: object) -> None:
    raise SystemExit(143)


def _leave(code: int) -> None:
    """End at once: threads that are still computing would crash the interpreter's shutdown."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    complain(f"warning: {message}")


def say(text: object, *, err: bool = False) -> None:
    """Print text of several lines, its control characters escaped."""
    typer.echo(printable_lines(text), err=err)


@contextmanager
def waiting_for(what: str, *, shown: bool = True) -> Iterator[None]:
    """Show in a terminal what takes seconds."""
    console = Console(stderr=True)
    with console.status(what) if shown and console.is_terminal else nullcontext():
        yield


def complain(text: str) -> None:
    """Print to stderr, in red on a terminal."""
    console = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)
    console.print(printable_lines(text), style="red", markup=False)
