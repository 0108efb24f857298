"""Worker processes: spawned, never forked; a crash or a hang costs one replication, not the run."""

import contextlib
import os
import sys
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

import cloudpickle
import pebble

_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "MPLBACKEND": "Agg",
    "PYTHONHASHSEED": "0",
}

_starting = threading.Lock()


class WorkerPool:
    """Runs functions in worker processes, or in this process if there are none.

    Parameters
    ----------
    workers : int
        Number of processes; 0 runs everything here, for debugging.
    """

    def __init__(self, workers: int):
        self.workers = workers
        self._room = threading.Semaphore(4 * max(1, workers))  # bounds what waits in memory
        self._pool = pebble.ProcessPool(workers, context=_Context()) if workers else None

    def submit(
        self, function: Callable[..., Any], *arguments: Any, timeout: float | None = None
    ) -> Future:
        """Run ``function(*arguments)``; wait while too much is waiting already."""
        self._room.acquire()
        if self._pool is None:
            future: Future = _run_here(function, arguments)
        else:
            future = self._pool.schedule(function, args=arguments, timeout=timeout)
        future.add_done_callback(lambda _: self._room.release())
        return future

    @staticmethod
    def payload(*parts: Any) -> bytes:
        """Pickle functions by value, for the way to the workers."""
        return cloudpickle.dumps(parts)

    def close(self) -> None:
        """Let what is running finish."""
        if self._pool is not None:
            self._pool.close()
            self._pool.join()

    def stop(self) -> None:
        """Stop the processes now."""
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()


def _run_here(function: Callable[..., Any], arguments: tuple) -> Future:
    future: Future = Future()
    try:
        future.set_result(function(*arguments))
    except Exception as error:
        future.set_exception(error)
    return future


class _Process(SpawnProcess):
    """A spawned process that sees a quiet environment and does not run the user's script again."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        with _starting, _worker_surroundings():
            return SpawnProcess._Popen(process_obj)  # type: ignore[attr-defined]


class _Context(SpawnContext):
    Process = _Process  # type: ignore[assignment]


@contextlib.contextmanager
def _worker_surroundings() -> Iterator[None]:
    """Set what a new process inherits: one thread each, and no ``__main__`` to import.

    Spawned processes import the parent's main script, which would run a script without a
    ``__main__`` guard again; the functions that workers need travel by value.
    """
    main, before = sys.modules["__main__"], {name: os.environ.get(name) for name in _ENVIRONMENT}
    sys.modules["__main__"] = types.ModuleType("__main__")
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
