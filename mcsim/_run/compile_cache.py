"""The persistent compile cache: a second run does not compile again.

Kept per user, jaxlib version and kind of processor, because compiled CPU programs do not travel
between processors. Off on macOS, where the user has set a cache of their own, and where others may
write to its folder: programs in it are run.
"""

import functools
import hashlib
import os
import platform
import stat
import sys
from importlib.metadata import version
from pathlib import Path

import jax

from mcsim.errors import warn


@functools.lru_cache(maxsize=1)
def use_compile_cache() -> Path | None:
    """Switch the cache on and return its folder; None where it stays off.

    ``MCSIM_COMPILE_CACHE`` names another folder; empty switches the cache off.

    Warns
    -----
    UserWarning
        If the folder is not used, since others may write to it.
    """
    chosen = os.environ.get("MCSIM_COMPILE_CACHE")
    if chosen == "" or sys.platform == "darwin" or jax.config.values["jax_compilation_cache_dir"]:
        return None
    folder = Path(chosen) if chosen else cache_folder("xla")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fault = _fault_of_folder(folder)
    except OSError:
        return None
    if fault:
        warn(
            f"compile cache: {folder} {fault}, so that programs there may be another's; it is not "
            "used, and programs are compiled anew (MCSIM_COMPILE_CACHE names another folder)"
        )
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    return folder


def _fault_of_folder(folder: Path) -> str:
    """Return who else may write to a folder; "" if nobody may."""
    about = folder.stat()
    if hasattr(os, "getuid") and about.st_uid != os.getuid():
        return "belongs to another user"
    if os.name == "posix" and about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"can be written to by others (chmod go-w {folder} changes that)"
    return ""


def cache_folder(kind: str) -> Path:
    """Return the user's folder for compiled programs of this jaxlib on this kind of processor."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "mcsim" / kind / _machine()


def _machine() -> str:
    """Return 'jaxlib-0.7.0-1a2b3c4d': the version and a hash of the processor's features."""
    text = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        text += "".join(sorted({ln for ln in lines if ln.startswith(("model name", "flags"))}))
    return f"jaxlib-{version('jaxlib')}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
