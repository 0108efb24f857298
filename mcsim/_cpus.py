"""How many CPUs there are, and how many compiled programs may run at once."""

import os
import threading


def available_cpus() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


PROGRAMS = threading.BoundedSemaphore(max(1, available_cpus() - 1))
"""Held while a compiled program runs: one of XLA's threads always stays free.

XLA has as many threads as there are CPUs. A program waits for its batched LAPACK calls, which are
spread over the same threads: with a program on each of them none is left to do the work, and all
wait forever (seen with jaxlib 0.10.2 on 2 and on 4 CPUs). Estimators of mcsim make no such calls
(`_lapack`); users' may.
"""
