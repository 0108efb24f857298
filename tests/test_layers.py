"""The house: who may import whom, and what stays in one file."""

import ast
import re
from pathlib import Path

import pytest

import mcsim

ROOT = Path(mcsim.__file__).parent

LAYERS = [
    "__main__",
    "cli",
    "report plots testing _figures",
    "_fidelity",
    "_study_file _replay _estimate _runner _blocks _host_blocks _draws _progress _truth "
    "_evaluate _plan _study _parts _engine",
    "_open _failures _results _caveats _store _store_files _store_records",
    "_pool _worker _payload _host_samples _host",
    "measures _intervals",
    "dgps estimators generators",
    "_readers datasets _frames _data _schema _labels",
    "_differences _fingerprint _public_names _sources",
    "_averages _panel_statistics _cache _cpus _numerics _keys _missing_cells _pytree "
    "_core _calendar _design _null_and_level _declared _calls _checks errors _escapes "
    "_version",
]
"""From the top down; a file imports from lines below its own, or from names to its right on it."""

APART = {"dgps", "estimators", "generators"}
"""These never import one another: protocols connect them."""

ESTIMATORS = [
    "_synthetic _dynamic _did _cross_section",
    "_regression",
    "_variance",
    "_linear_model",
    "_native _explanation _dummies _fit",
    "_formula",
    "_parsing",
    "_expression _algebra _elsewhere",
]
DATA = ["_plausibility", "_files", "_text_files", "_index _names _shapes", "_cells"]

READERS = ["_read", "_causal _regressions", "_coefficients", "_estimates"]

DGPS = [
    "_with_effect",
    "_untreated",
    "_imposed_effect",
    "_assignment",
    "_potential_outcomes _factor_model _interactive_effects _dynamic_panel _error_components "
    "_linear_iv _bootstrap",
    "_effects _exchangeability _own_effect _ensemble",
    "_random",
    "_units",
    "_fields",
]
"""The same inside dgps."""

GENERATORS = [
    "_storage _ensemble",
    "_vae _flow _adversarial _autoregressive _macro _references",
    "_cross_sections",
    "_training",
    "_scores",
    "_networks _options",
]
"""And inside generators: trainers stand above training, and storage above all classes it stores."""

FIDELITY = [
    "_fidelity",
    "_cross_sections _panels",
    "_tables",
    "_printing",
    "_verdicts",
    "_estimates _distances",
    "_candidates",
]
"""The same inside fidelity; its two packages never import one another."""

INSIDES = {
    "_fidelity": FIDELITY,
    "estimators": ESTIMATORS,
    "generators": GENERATORS,
    "dgps": DGPS,
    "_data": DATA,
    "_readers": READERS,
}
"""The same inside packages."""


def places(layers):
    return {
        name: (line, place)
        for line, names in enumerate(layers)
        for place, name in enumerate(names.split())
    }


PLACE = places(LAYERS)

FILES = sorted(ROOT.rglob("*.py"))


def part_of(file):
    """The part of mcsim that a file belongs to: a module, or a package."""
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def imports_of(file):
    """Yield (module, names) of every import, those inside functions too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: a relative import"
            yield node.module, [alias.name for alias in node.names]


def parts_imported(file):
    for module, names in imports_of(file):
        root, *path = module.split(".")
        if root == "mcsim":
            yield from [path[0]] if path else names


def may_import(part, other):
    if part in (other, "__init__"):
        return True
    if part in APART and other in APART:
        return False
    return is_above(PLACE[part], PLACE[other])


def is_above(this, other):
    return this[0] < other[0] or (this[0] == other[0] and this[1] < other[1])


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_go_down(file):
    part = part_of(file)
    upward = [other for other in parts_imported(file) if not may_import(part, other)]
    assert not upward, f"{part} imports {upward}"


def test_every_part_has_a_place():
    assert {part_of(file) for file in FILES} - {"__init__"} == set(PLACE)


def part_inside(file):
    """The part of a package that a file belongs to."""
    return file.relative_to(ROOT).parts[1].removesuffix(".py")


@pytest.mark.parametrize(
    "file",
    [f for f in FILES if part_of(f) in INSIDES and part_inside(f) != "__init__"],
    ids=lambda file: str(file.relative_to(ROOT)),
)
def test_imports_go_down_inside_packages(file):
    package, part = part_of(file), part_inside(file)
    place = places(INSIDES[package])
    imported = {
        module.split(".")[2]
        for module, _ in imports_of(file)
        if module.startswith(f"mcsim.{package}.")
    }
    upward = [other for other in imported - {part} if not is_above(place[part], place[other])]
    assert not upward, f"{part} imports {upward}"
    assert part != "_cross_sections" or "_panels" not in imported


@pytest.mark.parametrize("package", INSIDES)
def test_every_part_of_a_package_has_a_place(package):
    parts = {part_inside(file) for file in FILES if part_of(file) == package}
    assert parts - {"__init__"} == set(places(INSIDES[package]))


def importers(library):
    return {
        str(file.relative_to(ROOT))
        for file in FILES
        for module, _ in imports_of(file)
        if module.split(".")[0] == library
    }


def test_flax_is_in_the_one_file_that_builds_networks():
    assert importers("flax") == {"generators/_networks.py"}


def test_matplotlib_is_in_plots():
    assert {Path(file).parts[0] for file in importers("matplotlib")} == {"plots"}


def test_lapack_is_called_from_the_one_file_where_it_does_not_wait():
    """Decision 0018. Norms and blocks are no LAPACK."""
    call = re.compile(
        r"(jnp|jax\.numpy|lax|jax\.scipy)\.linalg\.(?!norm|block_diag)"
        r"|from jax\.scipy\.linalg import (?!block_diag$)|from jax\.(numpy|lax) import linalg",
        re.MULTILINE,
    )
    assert {str(f.relative_to(ROOT)) for f in FILES if call.search(f.read_text())} == {
        "_core/numerics.py"
    }


def test_pandas_stays_on_the_host_side():
    pure = (
        "_core/records.py",
        "_core/keys.py",
        "_run/compiled.py",
        "dgps/",
        "estimators/",
        "generators/",
    )
    assert not [file for file in importers("pandas") if file.startswith(pure)]


def test_the_core_imports_jax_and_jaxtyping_only():
    files = [ROOT / "_core/records.py", ROOT / "errors.py"]
    found = {module.split(".")[0] for file in files for module, _ in imports_of(file)}
    allowed = {"jax", "jaxtyping", "mcsim", "itertools", "math", "collections", "enum", "typing"}
    assert found <= {*allowed, "difflib"}


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_private_names_stay_in_their_file(file):
    modules = {found.stem for found in FILES}
    private = [
        f"{module}.{name}"
        for module, names in imports_of(file)
        for name in names
        if module.startswith("mcsim") and is_private(name) and name not in modules
    ]
    mine = [name for name in private if name.startswith(f"mcsim.{file.parent.name}.")]
    assert private == mine


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_are_about_one_thing_and_say_which(file):
    text = file.read_text()
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring or not text
    assert len(text.splitlines()) <= 400
