"""Worker processes: spawned, never forked; a crash or a hang costs one replication, not the run."""

import contextlib
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

import pebble

from mcsim._host.worker import ready, watch_parent
from mcsim.errors import McsimError

_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "MPLBACKEND": "Agg",
    "PYTHONHASHSEED": "0",
}

LOOK_EVERY = 0.5
"""Seconds between checks whether the pool was stopped."""

_RESTARTS = 3  # pools started anew before the run gives up

_starting = threading.Lock()


class PoolStopped(Exception):
    """The pool was stopped; no result of it may be stored."""


class WorkerPool:
    """Runs functions in worker processes, or in this process if there are none.

    Parameters
    ----------
    workers : int
        Number of processes; 0 runs everything here, for debugging.
    """

    def __init__(self, workers: int):
        self.workers, self.stopped = workers, False
        self._room = threading.Semaphore(4 * max(1, workers))  # bounds the tasks in memory
        self._lock, self._restarts = threading.Lock(), 0
        self._context = _Context()
        self._pool = self._start() if workers else None

    def submit(
        self, function: Callable[..., Any], *arguments: Any, timeout: float | None = None
    ) -> "Task":
        """Run ``function(*arguments)``; wait while too many tasks are waiting."""
        while not self._room.acquire(timeout=LOOK_EVERY):
            self.check()
        return Task(self, function, arguments, timeout)

    def warm_up(self, *payloads: Any, then: Callable[[], None]) -> None:
        """Start the imports of functions in every process, before there are tasks.

        Parameters
        ----------
        *payloads : Payload
            The functions.
        then : callable
            Called once for every process that can take tasks; never where there is none.
        """
        for _ in range(self.workers):
            future, _ = self.send(ready, payloads, None)
            future.add_done_callback(lambda _: then())

    def check(self) -> None:
        """Raise `PoolStopped` if the pool was stopped."""
        if self.stopped:
            raise PoolStopped

    def close(self) -> None:
        """Wait for the tasks that run."""
        if self._pool is not None:
            self._pool.close()
            self._pool.join()

    def stop(self) -> None:
        """Stop the processes now; whoever waits for a task gets `PoolStopped`."""
        self.stopped = True
        with self._lock:
            if self._pool is not None:
                self._end()

    def send(
        self, function: Callable[..., Any], arguments: tuple, timeout: float | None
    ) -> tuple[Future, int]:
        """Schedule a task in a process, for any number of waiting tasks.

        Returns
        -------
        future : Future
            Of the task.
        generation : int
            Number of pools that were started before this one.
        """
        if self._pool is None:
            return _run_here(function, arguments), 0
        with self._lock:
            self.check()
            if not self._pool.active:
                self._restart()
            future = self._pool.schedule(function, args=arguments, timeout=timeout)
            return future, self._restarts

    def has_lost(self, generation: int) -> bool:
        """Return whether the pool of this generation has been replaced or has ended."""
        with self._lock:
            return self._pool is not None and (generation < self._restarts or not self._pool.active)

    def release(self) -> None:
        """Make room for another task."""
        self._room.release()

    def _start(self) -> pebble.ProcessPool:
        pool = pebble.ProcessPool(self.workers, initializer=watch_parent, context=self._context)
        pool.schedule(ready)  # processes start, and import, while the programs are compiled
        return pool

    def _restart(self) -> None:
        """Start anew after all processes died between two tasks."""
        self._restarts += 1
        if self._restarts > _RESTARTS:
            raise McsimError(
                f"worker processes died {self._restarts} times before they took a task; run with "
                "workers=0 to see why"
            )
        self._end()
        self._pool = self._start()

    def _end(self) -> None:
        for process in self._context.processes:
            if process.pid is not None and process.is_running():
                process.kill()  # compiled code that hangs ignores a milder signal
        assert self._pool is not None
        self._pool.stop()
        self._pool.join()


class Task:
    """A function call on its way through the pool; sent again if the whole pool breaks."""

    def __init__(self, pool: WorkerPool, function: Any, arguments: tuple, timeout: float | None):
        self._pool, self._call = pool, (function, arguments, timeout)
        self._future, self._generation = pool.send(*self._call)
        self._future.add_done_callback(lambda _: pool.release())

    def done(self) -> bool:
        """Return whether the call has ended."""
        return self._future.done()

    def result(self) -> Any:
        """Wait for the result.

        Raises
        ------
        TimeoutError
            If the call took longer than its timeout.
        pebble.ProcessExpired
            If its process died.
        PoolStopped
            If the pool was stopped.
        """
        while True:
            wait([self._future], timeout=LOOK_EVERY)
            self._pool.check()
            done = self._future.done()
            if done and not isinstance(self._future.exception(), BrokenProcessPool):
                return self._future.result()
            if done or self._pool.has_lost(self._generation):
                self._future, self._generation = self._pool.send(*self._call)


def _run_here(function: Callable[..., Any], arguments: tuple) -> Future:
    future: Future = Future()
    try:
        future.set_result(function(*arguments))
    except Exception as error:
        future.set_exception(error)
    return future


class _Process(SpawnProcess):
    """A spawned process in a quiet environment that does not run the user's script again."""

    _seen_dead = False

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        with _starting, _worker_surroundings():
            return SpawnProcess._Popen(process_obj)  # type: ignore[attr-defined]

    def is_running(self) -> bool:
        """Return whether the process lives."""
        return super().is_alive()

    def is_alive(self) -> bool:
        """Return whether the process lives; a death is reported at the second call only.

        The pool reads the last message of a process after the first call.
        """
        if super().is_alive() or self._seen_dead:
            return super().is_alive()
        self._seen_dead = True
        return True

    def join(self, timeout: Any = None) -> None:
        """Wait for the end."""
        super().join(timeout)
        self._seen_dead = True

    @property
    def exitcode(self) -> int | None:
        """The exit code; workers never end by themselves, so that 0 counts as a crash."""
        code = super().exitcode
        return 1 if code == 0 else code


class _Context(SpawnContext):
    """Spawns processes and keeps a list of them."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[_Process] = []

    def Process(self, *args: Any, **kwargs: Any) -> _Process:  # type: ignore[override]
        process = _Process(*args, **kwargs)
        self.processes.append(process)
        return process


@contextlib.contextmanager
def _worker_surroundings() -> Iterator[None]:
    """Set the environment of a new process: one thread, and no ``__main__`` to import.

    Spawned processes import the parent's main script, which would run a script without a
    ``__main__`` guard again; the functions that workers need travel by value.
    """
    main, before = sys.modules["__main__"], {name: os.environ.get(name) for name in _ENVIRONMENT}
    sys.modules["__main__"] = types.ModuleType("__main__")
    os.environ.update(_ENVIRONMENT)
    signals = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # Ctrl-C is the parent's
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        sys.modules["__main__"] = main
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
