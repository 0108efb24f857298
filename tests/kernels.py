"""A kernel of Jupyter, as a notebook has one; tests with it are skipped where ipykernel is not."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

Message = dict[str, Any]


class Kernel:
    """A running kernel: executes cells, and is interrupted."""

    def __init__(self, manager: Any, client: Any):
        self._manager, self._client = manager, client

    def execute(self, code: str, look: Callable[[Message], None] = lambda _: None) -> list[Message]:
        """Execute a cell; return what it showed (displays, results, errors), each looked at."""
        name, shown = self._client.execute(code), []
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            message = self._client.get_iopub_msg(timeout=120)
            kind, content = message["msg_type"], message["content"]
            if message["parent_header"].get("msg_id") != name:
                continue
            if kind == "status" and content["execution_state"] == "idle":
                return shown
            if kind in ("display_data", "update_display_data", "execute_result", "error"):
                shown.append(message)
                look(message)
        raise TimeoutError(code)

    def interrupt(self) -> None:
        """Press the button of the notebook."""
        self._manager.interrupt_kernel()


@contextmanager
def running_kernel() -> Iterator[Kernel]:
    """Yield a kernel in a process of its own."""
    pytest.importorskip("ipykernel")
    manager, client = pytest.importorskip("jupyter_client.manager").start_new_kernel()
    try:
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
