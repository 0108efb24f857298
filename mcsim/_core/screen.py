"""Where progress is shown: bars in a terminal, a line of a notebook, a line every 30 s of a log.

A notebook replaces its line, and stores it as it stood last, also where it is executed without a
browser. Where nothing can be replaced (a file, CI), a line is printed every 30 seconds, and so none
by work that ends before. A terminal has bars of rich, and a spinner while there are none.
"""

import html
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, Literal, NamedTuple

from rich.console import Console
from rich.errors import LiveError
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mcsim.errors import printable

LINE_EVERY = 30.0
"""Seconds between two lines of a log."""

LOOK_EVERY = 0.25
"""Seconds between two looks at what is to be shown."""


class Line(NamedTuple):
    """A line of progress.

    Attributes
    ----------
    text : str
        What is done.
    share : float, optional
        The share of the work that is done, of which a notebook draws a bar.
    """

    text: str
    share: float | None = None


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook; IPython is not imported for that."""
    shell = notebook_shell()
    return hasattr(shell, "kernel")  # the shell of a terminal has none


def notebook_shell() -> Any:
    """Return IPython's shell; None where there is none."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython else None


class Screen:
    """Where one piece of work shows its progress.

    Parameters
    ----------
    shown : bool
        Whether to show progress.
    clock : callable
        Returns the time in seconds.

    Attributes
    ----------
    kind : str
        ``"terminal"``, ``"notebook"``, ``"log"``, or ``"none"`` if nothing is shown.
    console : rich.console.Console
        Standard error.
    share : float, optional
        The share of the work that is done, once it is known.

    Examples
    --------
    >>> with Screen(shown=False).step("planning the study"):
    ...     pass
    """

    def __init__(self, *, shown: bool, clock: Callable[[], float] = time.monotonic):
        self.console = Console(stderr=True)
        self.kind: Literal["terminal", "notebook", "log", "none"] = "none"
        if shown and in_notebook():
            self.kind = "notebook"
        elif shown:
            self.kind = "terminal" if self.console.is_terminal else "log"
        self.share: float | None = None
        self._clock, self._due = clock, clock() + LINE_EVERY
        self._printed, self._last = False, Line("")
        self._id = ""

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Show a step of which no share is known."""
        if self.kind == "terminal":
            with self.console.status(text):
                yield
        else:
            with self.line(lambda: Line(text)):
                yield

    @contextmanager
    def line(self, read: Callable[[], Line], *, last: bool = False) -> Iterator[None]:
        """Show a line that is read again and again, in a notebook or a log.

        Parameters
        ----------
        read : callable
            Returns the line; called from a thread.
        last : bool
            Whether the work ends with it: a log that has lines closes with it.
        """
        if self.kind not in ("notebook", "log"):
            yield
            return
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(LOOK_EVERY):
                self._show(read())

        self._show(read())
        thread = threading.Thread(target=look, name="mcsim-progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self._show(read(), now=last and self._printed)

    def say(self, sentence: str) -> None:
        """Print a sentence, above the bars of a terminal, whether or not progress is shown."""
        if in_notebook():  # where rich would cut a long line
            print(printable(sentence), file=sys.stderr)
            return
        self.console.print(sentence, style="red", markup=False, highlight=False, soft_wrap=True)

    def _show(self, line: Line, *, now: bool = False) -> None:
        line = Line(printable(line.text), line.share)
        if self.kind == "notebook" and line != self._last:
            self._replace(line)
        elif self.kind == "log" and (now or self._clock() >= self._due):
            text = line.text if line.share is None else f"{100 * line.share:.0f} %  {line.text}"
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)
            self._due, self._printed = self._clock() + LINE_EVERY, True
        self._last = line

    def _replace(self, line: Line) -> None:
        """Show a line in the notebook, in the place of the line before."""
        shown = {"text/plain": line.text, "text/html": _in_html(line)}
        update, self._id = bool(self._id), self._id or uuid.uuid4().hex
        display = sys.modules["IPython"].display.display
        display(shown, raw=True, display_id=self._id, update=update)


def _in_html(line: Line) -> str:
    bar = "" if line.share is None else f'<progress value="{line.share:.4f}" max="1"></progress> '
    return f'<div style="font-family: monospace">{bar}{html.escape(line.text)}</div>'


def duration(seconds: float) -> str:
    """Return a time in hours, minutes and seconds.

    Examples
    --------
    >>> duration(83.4)
    '0:01:23'
    """
    return str(timedelta(seconds=round(seconds)))


@contextmanager
def progress_bar(
    title: str, total: int, *, shown: bool, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[], None]]:
    """Yield a function, safe to call from threads, that advances a bar by one.

    Parameters
    ----------
    title : str
        The work.
    total : int
        How often the function is called until the work is done.
    shown : bool
        Whether to show the bar.
    clock : callable
        Returns the time in seconds.
    """
    screen, done, began, lock = Screen(shown=shown, clock=clock), 0, clock(), threading.Lock()

    def read() -> Line:
        spent = clock() - began
        left = f"  {duration(spent / done * (total - done))} left" if 0 < done < total else ""
        return Line(f"{title}  {duration(spent)}{left}", min(1.0, done / max(1, total)))

    with screen.line(read, last=True), _bar_of_terminal(screen, title, total) as advance_bar:

        def advance() -> None:
            nonlocal done
            with lock:
                done += 1
                advance_bar()

        yield advance


@contextmanager
def _bar_of_terminal(screen: Screen, title: str, total: int) -> Iterator[Callable[[], None]]:
    """Yield a function that advances a bar of a terminal; there is one at a time."""
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    left = TextColumn("left"), TimeRemainingColumn()
    bar = Progress(*columns, *left, console=screen.console, disable=screen.kind != "terminal")
    task = bar.add_task(title, total=total)
    with suppress(LiveError):
        bar.start()
    try:
        yield lambda: bar.advance(task)
    finally:
        bar.stop()
