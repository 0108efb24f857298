"""A bar for a fit, on terminals only; silent elsewhere and inside another live display."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(title: str, total: int, show: bool) -> Iterator[Callable[[], None]]:
    """Yield a function, safe to call from threads, that advances the bar by one."""
    if not show:
        yield lambda: None
        return
    from rich.console import Console
    from rich.errors import LiveError
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    bar = Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console)
    try:
        if console.is_terminal:
            bar.start()
    except LiveError:
        pass
    task, lock = bar.add_task(title, total=total), threading.Lock()

    def advance() -> None:
        with lock:
            bar.advance(task)

    try:
        yield advance
    finally:
        bar.stop()
