"""Identities: a store knows the parts of mcsim by public names, so that files may move."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mcsim
from mcsim import dgps, estimators, generators
from mcsim._core.calls import as_written
from mcsim._definitions.describe import describe
from mcsim._results.store import Store
from mcsim._run.plan import plan
from mcsim.estimators import NativeEstimator, ols
from mcsim.testing import constant_dgp
from public_parts import ESTIMATORS, parts

ROOT = Path(mcsim.__file__).parent


@pytest.fixture(scope="module")
def definitions():
    return {name: json.dumps(describe(part)) for name, part in parts().items()}


def names_of_mcsim(text):
    return set(re.findall(r"mcsim(?:\.\w+)+", text))


def is_private(part):
    """Return whether a folder or a file is private; what stands in a private folder is too."""
    return part.startswith("_") and not part.startswith("__")


def private_classes(packages=(".",)):
    """Return the names of classes of mcsim that no public module exports, of some packages."""
    found, exported = set(), set()
    for file in (file for package in packages for file in ROOT.glob(f"{package}/**/*.py")):
        tree = ast.parse(file.read_text())
        found |= {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
        if not any(map(is_private, file.relative_to(ROOT).with_suffix("").parts)):
            exported |= {n.asname for node in ast.walk(tree) for n in getattr(node, "names", ())
                         if isinstance(n, ast.alias)}  # fmt: skip
            exported |= {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    return found - exported


def test_definitions_hold_no_path_of_a_private_file(definitions):
    for name, text in definitions.items():
        private = [found for found in names_of_mcsim(text) if "._" in found]
        assert not private, f"{name}: {private}"
        assert "mcsim: " not in text, name


def test_definitions_hold_no_name_of_a_private_class(definitions):
    private = private_classes()
    assert {"WithEffect", "HostEstimator", "RegressionFormula"} <= private
    for name, text in definitions.items():
        assert not private & set(re.findall(r'"(\w+) \d+"|\.(\w+) \d+"', text)), name
        assert not [kind for kind in private if re.search(rf'"[\w. ]*\b{kind}\b[ \d]*"', text)], (
            name
        )


def test_the_set_is_of_all_that_a_study_takes(definitions):
    makers = {n for n, made in vars(estimators).items() if hasattr(made, "definition_version")}
    assert makers == set(ESTIMATORS)
    for name in makers:
        assert f"mcsim.estimators.{name} 1" in definitions[name]
    made = " ".join(definitions.values())
    functions = {"by_unit_factors", "unit_factor_probabilities"}  # return others
    for package, but in ((dgps, functions), (generators, set())):
        named = {n: getattr(package, n) for n in dir(package) if not n.startswith("_")}
        public = {n for n, kind in named.items() if isinstance(kind, type)} - but
        fitted = {"FittedGenerator", "FittedMacroPanel", "Latent", "Posterior"}
        for name in public - fitted:
            assert f"{package.__name__}.{name} 1" in made


def moved(folder):
    """Copy mcsim, and rename private folders and modules, numerical functions, private classes."""
    copy = folder / "mcsim"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("__pycache__"))
    files = sorted(copy.rglob("*.py"))
    stems = {part for file in files for part in file.relative_to(copy).with_suffix("").parts}
    stems = {stem for stem in stems if is_private(stem)}
    stems -= {"_version"}
    text_of = {file: file.read_text() for file in files}
    numerics = set(re.findall(r"^def (fit_\w+)", "\n".join(text_of.values()), re.MULTILINE))
    numerics -= {*generators.__all__, "fit_members"}  # public functions, a public method
    classes = private_classes(("dgps", "estimators", "generators")) & private_classes()
    classes |= {"HostEstimator", "HostDGP"}
    names = re.compile(rf"(?<!ast\.)\b({'|'.join(numerics | classes)})\b(?!['\"])")
    for file, text in text_of.items():
        file.write_text(names.sub(r"\1_moved", _with_imports(text, stems)))
    for path in sorted(copy.rglob("_*"), key=lambda path: -len(path.parts)):
        if path.stem in stems:
            path.rename(path.with_name(f"_moved{path.name}"))
    return copy


def _with_imports(text, stems):
    """Rename modules in paths, and where they are imported by name."""
    text = re.sub(r"\bmcsim(?:\.\w+)+", lambda path: _renamed(path[0], stems), text)
    text = re.sub(r"(?<=import )_\w+", lambda name: _renamed(name[0], stems), text)
    lists = re.compile(r"(?<=import \()[^)]*")

    def aliased(name):
        return f"_moved{name[0]} as {name[0]}" if name[0] in stems else name[0]

    return lists.sub(lambda names: re.sub(r"(?<!\w)_\w+(?=,)", aliased, names[0]), text)


def _renamed(path, stems):
    return ".".join(f"_moved{part}" if part in stems else part for part in path.split("."))


def hashes(script, source):
    """Return where mcsim was imported from in a process of its own, and the hashes there."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script)],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(source)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    file, found = json.loads(done.stdout)
    return Path(file).parent, found


@pytest.mark.slow
def test_renaming_private_files_functions_and_classes_changes_no_hash(tmp_path):
    copy, script = moved(tmp_path), Path(__file__).parents[1] / "public_parts.py"
    assert not list(copy.rglob("_native.py"))
    stems = {file.stem.removeprefix("_moved") for file in copy.rglob("_moved*")}
    (tmp_path / "parts.py").write_text(_with_imports(script.read_text(), stems))
    place, found = hashes(tmp_path / "parts.py", tmp_path)
    assert place == copy
    assert (ROOT, found) == hashes(script, ROOT.parent)


def test_a_definition_version_stands_at_the_public_function(tmp_path, monkeypatch):
    """Raised, it is a change, under the path that a store shows."""
    before = describe(ols("y ~ x"))
    assert before["estimator"] == "mcsim.estimators.ols 1"
    made = as_written(ols)
    monkeypatch.setattr(made, "definition_version", 2)
    assert describe(ols("y ~ x")) == {**before, "estimator": "mcsim.estimators.ols 2"}
    monkeypatch.setattr(constant_dgp, "definition_version", 3, raising=False)
    assert describe(constant_dgp())["class"] == "mcsim.testing.constant_dgp 3"


def test_an_estimator_of_own_numerics_is_described_by_them():
    def one(key, panel, formula):
        return {}

    def other(key, panel, formula):
        return {("x", "iid"): None}

    formula = ols("y ~ x").formula
    first, second = (describe(NativeEstimator("own", formula, f)) for f in (one, other))
    assert first["estimator"][0] == "own"
    assert first != second


def test_the_hashes_of_a_plan_are_those_of_the_definitions(tmp_path):
    study = mcsim.Study(dgp={"d": constant_dgp()}, estimators={"ols": ols("y ~ 1")})
    (cell,) = plan(study, 1, Store(tmp_path))
    assert cell.definition["definition"]["class"] == "mcsim.testing.constant_dgp 1"
    assert cell.estimators[0].definition["definition"] == describe(study.methods["ols"])
