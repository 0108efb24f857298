"""The public surface of mcsim as text: signatures, fields, and columns of tables.

`tests/test_surface.py` holds it to ``tests/golden/surface.txt``. A change of a public name, of a
parameter or of a column shows in the diff of that file, and belongs into CHANGELOG.md. To renew
it, from the root of the repository::

    python tests/surface.py > tests/golden/surface.txt
"""

import dataclasses
import enum
import importlib
import inspect
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PARTS = (
    "", "dgps", "estimators", "generators", "measures", "plots", "report", "testing", "errors",
    "datasets",
)  # fmt: skip
FILE = Path(__file__).parent / "golden" / "surface.txt"
ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def surface() -> str:
    """Return all public names with their parameters, and the columns of tables."""
    return "\n".join([*_names(), *_tables()]) + "\n"


def _names() -> Iterator[str]:
    for part in PARTS:
        module = importlib.import_module(f"mcsim.{part}".rstrip("."))
        yield f"# {module.__name__}"
        for name in sorted(dir(module)):
            value = getattr(module, name)
            if not name.startswith("_") and _is_ours(value, module):
                yield from _described(name, value)
        yield ""


def _is_ours(value: Any, module: types.ModuleType) -> bool:
    """Whether a value is mcsim's, not one that a module of one file imported for itself."""
    if inspect.ismodule(value):  # which packages there are depends on what was imported before
        return False
    if module.__name__ == "mcsim.errors" and not inspect.isclass(value):
        return False  # functions that raise them
    if module.__name__ == "mcsim.errors" and not issubclass(value, Exception):
        return False  # parts of their messages
    is_package = hasattr(module, "__path__")
    home = getattr(value, "__module__", module.__name__)
    return home.startswith("mcsim") if is_package else home == module.__name__


def _described(name: str, value: Any) -> Iterator[str]:
    """Yield a line for a name, one for each parameter, and those of public methods."""
    if inspect.isclass(value):
        yield f"class {name}{_bases(value)}"
        yield from _members(value)
    elif callable(value):
        yield f"def {name}"
        yield from _parameters(value, "    ")
    else:
        yield f"{name} = {_default(value)}"


def _bases(cls: type) -> str:
    """Return the bases: of errors all, by which they are caught; else those from elsewhere."""
    error = issubclass(cls, Exception)
    bases = [b for b in cls.__bases__ if error or not b.__module__.startswith("mcsim")]
    known = [base.__name__ for base in bases if base is not object]
    return f"({', '.join(known)})" if known else ""


def _members(cls: type) -> Iterator[str]:
    if issubclass(cls, enum.Enum):
        yield from (f"    {member.name} = {member.value!r}" for member in cls)
        return
    taken: list[str] = []
    built = "__init__" in vars(cls) or "__new__" in vars(cls)
    if built and not getattr(cls, "_is_protocol", False):
        yield from _parameters(cls, "    ")
        taken = [*inspect.signature(cls).parameters]
    names = (
        [field.name for field in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []
    )
    names += getattr(cls, "_fields", ())
    if names and names != taken:
        yield f"    fields: {', '.join(names)}"
    if issubclass(cls, Exception):
        return
    for name in sorted(set(dir(cls))):
        member = inspect.getattr_static(cls, name)
        mine = any(
            name in vars(base) for base in cls.__mro__ if base.__module__.startswith("mcsim")
        )
        if not mine or (name.startswith("_") and name != "__call__"):
            continue
        if isinstance(member, property) or type(member).__name__ == "cached_property":
            yield f"    .{name}"
        elif isinstance(member, (staticmethod, classmethod)) or inspect.isfunction(member):
            yield f"    .{name}()"
            yield from _parameters(getattr(cls, name), "        ")


def _parameters(function: Any, indent: str) -> Iterator[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return
    marks = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}
    kinds = {"POSITIONAL_ONLY": " (by position)", "KEYWORD_ONLY": " (by name)"}
    for parameter in parameters:
        if parameter.name == "self":
            continue
        kind = parameter.kind.name
        given = parameter.default is not parameter.empty
        default = f" = {_default(parameter.default)}" if given else ""
        yield f"{indent}{marks.get(kind, '')}{parameter.name}{default}{kinds.get(kind, '')}"


def _default(value: Any) -> str:
    """Return the repr of a value; of a function or class its name, which files do not change."""
    if inspect.isclass(value) or inspect.isroutine(value):
        return value.__name__
    if isinstance(value, (dict, tuple, list)) and len(value) > 3:
        return f"{type(value).__name__} of {', '.join(map(str, value))}"
    return ADDRESS.sub("", repr(value)).replace("\n", " ")


def _tables() -> Iterator[str]:
    """Yield the columns of what a small study returns; `tests/test_golden.py` has fidelity's."""
    import mcsim
    from mcsim.dgps import ErrorComponents
    from mcsim.estimators import ols

    study = mcsim.Study({"c": ErrorComponents(n_units=8, n_periods=3)}, {"ols": ols("y ~ x")})
    results = mcsim.run(study, reps=3, workers=0, progress=False)
    frames = {
        "results.replicates": results.replicates,
        "results.truth": results.truth,
        "results.failures": results.failures,
        "results.summary()": results.summary(),
        "mcsim.summarize(results.replicates)": mcsim.summarize(results.replicates),
        "mcsim.estimate(...)": mcsim.estimate(ols("y ~ x"), _panel()),
    }
    yield "# columns"
    for name, frame in frames.items():
        yield name
        yield from (f"    {column}" for column in frame)


def _panel() -> Any:
    import mcsim

    return mcsim.Panel({"y": [1.0, 2.0, 4.0, 3.0], "x": [0.0, 1.0, 2.0, 4.0]})


if __name__ == "__main__":
    sys.stdout.write(surface())
