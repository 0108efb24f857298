"""Names in definitions: of libraries with their versions, of mcsim with definition versions.

A definition names a class or function of mcsim by its public name and its *definition version*,
never by the path of a private file: files and private names may change without a change of any
store. The version is 1, unless the attribute ``definition_version`` of a class, or the decorator
of a function that makes an estimator, sets another. Raise it when the same options come to mean
other numbers: a run on a store of before then stops with exit code 3.

A private class that a definition names has a ``definition_name``; any other is described by its
fields alone.
"""

import functools
import inspect
import itertools
import sys
import types
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Any

from mcsim._core.startup import Door

HOST = "mcsim.host"
"""Name of lifted functions, and of the function that lifts them."""


def is_library(module: str | None) -> bool:
    """Return whether a module belongs to Python or an installed package, which have a version."""
    root = (module or "builtins").split(".")[0]
    return root in sys.stdlib_module_names or root == "mcsim" or root in _distributions()


def public_name(thing: type | types.FunctionType) -> str | None:
    """Return the public name of a class or function of mcsim with its definition version.

    None for a thing that is not of mcsim, or private without a ``definition_name``.

    Examples
    --------
    >>> public_name(is_library) is None
    True
    >>> from mcsim import Panel
    >>> public_name(Panel)
    'mcsim.Panel 1'
    """
    if not _is_of_mcsim(thing.__module__):
        return None
    name = vars(thing).get("definition_name") or _exported_as(thing)
    return f"{name} {vars(thing).get('definition_version', 1)}" if name else None


def name_of_class(cls: type) -> str | None:
    """Return the name of a library's class with the version; None for a private one of mcsim."""
    if _is_of_mcsim(cls.__module__):
        return public_name(cls)
    return f"{versioned(cls.__module__)}.{cls.__qualname__}"


def name_of_function(function: types.FunctionType) -> str:
    """Return the name of a library's function with the version; a private one has no path."""
    if _is_of_mcsim(function.__module__):
        return public_name(function) or f"mcsim: {function.__name__}"
    return f"{versioned(function.__module__)}.{function.__qualname__}"


@functools.lru_cache(maxsize=512)
def versioned(module: str) -> str:
    """Return 'statsmodels.api 0.14'; mcsim's own version is in the environment instead."""
    root = module.split(".", maxsplit=1)[0]
    if root in sys.stdlib_module_names:
        return module
    if root == "mcsim":
        return public_part(module)
    try:
        full = version(_distributions().get(root, [root])[0])
    except PackageNotFoundError:
        return module
    return f"{module} {'.'.join(full.split('.')[:2])}"


def _is_of_mcsim(module: str | None) -> bool:
    return (module or "").partition(".")[0] == "mcsim"


def _exported_as(thing: type | types.FunctionType) -> str | None:
    """Return the name under which the nearest public package exports a thing of mcsim.

    A function within the decorators of mcsim has the name of the decorated one; a user's function
    that wraps it has none, though it copies its module.
    """
    home = public_part(thing.__module__)
    own = isinstance(thing, types.FunctionType) and _is_of_mcsim(thing.__globals__["__name__"])
    for name, exported in _exports(home):
        same = exported is thing or (own and _innermost(exported) is _innermost(thing))
        if same and not name.startswith("_"):
            return f"{home}.{name}"
    return None


def _exports(package: str) -> Iterator[tuple[str, Any]]:
    """Yield the names of a package with their values; of a door's those whose home is imported."""
    names = dict(vars(sys.modules[package]))
    yield from names.items()
    door = names.get("__getattr__")
    if isinstance(door, Door):
        for name, home in door.homes.items():
            if name not in names and home.partition(":")[0] in sys.modules:
                yield name, door(name)


def public_part(module: str) -> str:
    """Return the nearest public package of a module.

    Examples
    --------
    >>> public_part("mcsim.estimators._regression.ols")
    'mcsim.estimators'
    """
    path = itertools.takewhile(lambda part: not part.startswith("_"), module.split("."))
    return ".".join(path)


def _innermost(thing: Any) -> Any:
    """Return the function within all decorators."""
    return inspect.unwrap(thing) if isinstance(thing, types.FunctionType) else thing


@functools.lru_cache(maxsize=1)
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()
