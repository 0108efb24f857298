"""The tasks of a developer and of CI, a word each: `nox -s quick`. CONTRIBUTING tells when.

They use the tools of the active environment. Only `lowest` and `newest` make environments.
"""

import os
import subprocess
import sys
from pathlib import Path

import nox

nox.options.sessions = ["quick"]
nox.options.default_venv_backend = "none"

CORE = [
    *("tests/core/test_core.py", "tests/core/test_keys.py", "tests/data/test_frames.py"),
    *("tests/host/test_host.py", "tests/results/test_store.py", "tests/measures"),
    *(f"tests/run/test_{noun}.py" for noun in ("study", "runner", "engine", "estimate")),
    "tests/estimators/test_formula.py",
    "tests/generators/test_autoregressive.py",
    *("tests/report/test_tables.py", "tests/test_exports.py"),
]
"""The core, the runner, estimators and one generator: what changes break first."""

WITHOUT_TYPES = ["-o", "addopts=--strict-markers --import-mode=importlib -m 'not slow'"]
"""Options of pytest that leave out the checks of types at run time, and doctests."""


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and layout: seconds."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types."""
    session.run("pyright", "--pythonpath", sys.executable)


@nox.session
def quick(session: nox.Session) -> None:
    """Run the tests of the core: what a developer runs every ten minutes."""
    session.run("pytest", "-n", "auto", *WITHOUT_TYPES, *CORE, *session.posargs)


@nox.session
def test(session: nox.Session) -> None:
    """Run the README's test command."""
    session.run("pytest", "-n", "auto", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """Run the tests that take over five seconds each."""
    session.run("pytest", "-n", "auto", "-m", "slow", *session.posargs)


@nox.session
def every(session: nox.Session) -> None:
    """Run `test` and `slow` at once: what CI runs."""
    session.run("pytest", "-n", "auto", "-m", "slow or not slow", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; its warnings are errors."""
    session.run("sphinx-build", "-W", "--quiet", "docs", "docs/_build")


@nox.session
def lowest(session: nox.Session) -> None:
    """Run the tests of the core against the oldest dependencies that pyproject.toml allows."""
    with_dependencies(session, "3.11", "lowest-direct", "-o", "filterwarnings=default")


@nox.session
def newest(session: nox.Session) -> None:
    """Run the tests of the core against the newest dependencies there are."""
    with_dependencies(session, "3.13", "highest")


def with_dependencies(session: nox.Session, python: str, resolution: str, *options: str) -> None:
    """Run the tests of the core in an environment of their own."""
    interpreter = find_python(python)
    if interpreter is None:
        session.skip(f"no Python {python} here")
    isolated = ("uv", "run", "--isolated", "--no-project", "--with-editable", ".[test]")
    versions = ("--python", interpreter, "--resolution", resolution)
    command = ("python", "-m", "pytest", "-n", "auto", *WITHOUT_TYPES, *options, *CORE)
    session.run(*isolated, *versions, *command)


def find_python(version: str) -> str | None:
    """Return a Python of this version that runs: on the path, or of pyenv, whose shims may not."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [f"python{version}", *sorted(map(str, pyenv.glob(f"{version}.*/bin/python")))]
    for candidate in candidates:
        try:
            subprocess.run([candidate, "-c", ""], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    return None


@nox.session(name="all")
def everything(session: nox.Session) -> None:
    """Run what CI runs."""
    for task in ("lint", "types", "every", "docs", "lowest", "newest"):
        session.notify(task)
