"""Study files: plain Python that defines ``study``, imported once by the command that runs it."""

import importlib.util
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from mcsim._run.study import Study
from mcsim.errors import InputError, McsimError, type_and_message


@dataclass(frozen=True)
class StudyFile:
    """A study file, imported.

    Attributes
    ----------
    path : Path
        The file.
    study : Study
        Its study.
    report : callable, optional
        Its function ``report(results, folder)``: figures and further tables, made after a run.
    """

    path: Path
    study: Study
    report: Callable[[Any, Path], None] | None


def load_study_file(path: Path) -> StudyFile:
    """Import a study file and build its study.

    Study files are Python and run with the user's rights.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    InputError
        If there is no such file, it raises, or it defines no study.
    """
    if not path.is_file():
        raise InputError(f"file: {path} does not exist, expected a Python file with a study")
    module = _import(path)
    if not hasattr(module, "study"):
        raise InputError(
            f"file: {path} defines no 'study', expected study = mcsim.Study(...) or a function "
            "study() that returns one"
        )
    study = _in_sentences(path, module.study) if callable(module.study) else module.study
    if not isinstance(study, Study):
        raise InputError(
            f"file: 'study' in {path} is {type(study).__name__}, expected an mcsim.Study or a "
            "function that returns one"
        )
    return StudyFile(path, study, getattr(module, "report", None))


def _import(path: Path) -> ModuleType:
    name = f"mcsim_study_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"file: {path} cannot be imported, expected a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent.resolve()))
    cloudpickle.register_pickle_by_value(module)  # workers cannot import it by this name
    _in_sentences(path, lambda: spec.loader.exec_module(module))  # type: ignore[union-attr]
    return module


def _in_sentences(path: Path, step: Callable[[], Any]) -> Any:
    """Run a step of the user's file; an error becomes a sentence with its line."""
    try:
        return step()
    except (McsimError, KeyboardInterrupt):
        raise
    except BaseException as error:  # sys.exit() too: a run would end without a word
        raise InputError(f"{_place(path, error)}\n{type_and_message(error)}") from error


def _place(path: Path, error: BaseException) -> str:
    """Return the line of an error in the user's file, or in another that cannot be compiled."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        file = path if Path(error.filename).resolve() == path.resolve() else error.filename
        return f"{file}, line {error.lineno}: {(error.text or '').strip()}"
    frames = traceback.extract_tb(error.__traceback__)
    mine = [frame for frame in frames if Path(frame.filename).resolve() == path.resolve()]
    return f"{path}, line {mine[-1].lineno}: {mine[-1].line}" if mine else str(path)
