"""What ``import mcsim`` does: it opens doors, and has JAX compute in float64.

A public name is imported when it is first asked for. ``import mcsim`` is then quick, and imports
neither JAX nor pandas; ``mcsim --help`` and worker processes, which import the package too, pay for
what they use. A package with a `Door` lists its names twice: as imports under ``TYPE_CHECKING``,
for editors and pyright, and in the door's table; `tests/test_startup.py` holds the two together.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Door:
    """The ``__getattr__`` of a package, a function of the name that is asked for.

    Attributes
    ----------
    package : str
        The package, ``__name__``.
    homes : mapping of str to str
        Where each name is at home: ``"module:name"``, or a module that is itself the value.

    Examples
    --------
    >>> door = Door("mcsim", {"grid": "mcsim._core.design:grid"})
    >>> door("grid").__name__
    'grid'
    """

    package: str
    homes: Mapping[str, str]

    def __call__(self, name: str) -> Any:
        """Import a name, and keep it in the package, where the next one who asks finds it."""
        if name not in self.homes:
            raise AttributeError(f"module {self.package!r} has no attribute {name!r}")
        module, _, inside = self.homes[name].partition(":")
        value = import_module(module)
        if inside:
            value = getattr(value, inside)
        setattr(sys.modules[self.package], name, value)
        return value

    def names(self) -> list[str]:
        """Return all names of the package, for those who complete names: its ``__dir__``."""
        return sorted({*vars(sys.modules[self.package]), *self.homes})


def use_float64() -> None:
    """Have JAX compute in float64, unless ``JAX_ENABLE_X64``, the user's decision, is set.

    JAX is not imported for that: it reads the variable when it is. Studies check it loudly.
    """
    if "JAX_ENABLE_X64" in os.environ:
        return
    if "jax" in sys.modules:
        sys.modules["jax"].config.update("jax_enable_x64", True)
    else:
        os.environ["JAX_ENABLE_X64"] = "1"
