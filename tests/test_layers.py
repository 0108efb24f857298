"""The house: who may import whom, and what stays in one file. Every rule names who breaks it."""

import ast
import functools
import re
import sys
from pathlib import Path

import pytest

import mcsim

ROOT = Path(mcsim.__file__).parent

FILES = {str(file.relative_to(ROOT)): file for file in sorted(ROOT.rglob("*.py"))}

LAYERS = [
    "__main__",
    "cli",
    "report plots testing",
    "_fidelity",
    "_run",
    "_results",
    "_host",
    "measures",
    "dgps estimators generators",
    "_readers datasets",
    "_data",
    "_definitions",
    "_core",
    "errors _version",
]
"""From the top down; a file imports from lines below its own, or from names to its right on it."""

APART = [{"dgps", "estimators", "generators"}, {"_cross_sections", "_panels"}]
"""These never import one another: protocols, or common files, connect them."""

INSIDES = {
    "report": [
        "_page",
        "_page_measures",
        "_page_figures _page_words",
        "_notes _tables",
        "_layout",
        "_formats",
        "_latex",
    ],
    "testing": ["_contracts _gates"],
    "cli": [
        "_commands",
        "_checks _reports",
        "_generators _studies",
        "_app",
        "_usage",
        "_frames",
    ],
    "plots": ["_curves _replications _studies _training _fidelity", "_facets", "_style"],
    "_fidelity": [
        "fidelity",
        "_cross_sections _panels",
        "tables",
        "panel_summary details",
        "formats",
        "summary",
        "verdicts",
        "candidates references estimates distances",
    ],
    "_run": [
        "replay estimate",
        "run",
        "cell",
        "progress truth chunks",
        "plan evaluate",
        "compiled study",
        "parts",
    ],
    "_results": [
        "open read_replications",
        "study_rows",
        "failures",
        "results",
        "caveats display",
        "store_packs",
        "store",
        "store_files",
        "store_records",
    ],
    "_host": ["pool", "worker", "payload samples", "files", "host"],
    "measures": [
        "_compare _summarize _detectable",
        "_definitions",
        "_replications",
        "_columns _mcse",
    ],
    "dgps": [
        "_with_effect",
        "_untreated",
        "_imposed_effect",
        "_assignment",
        "_potential_outcomes _factor_model _dynamic_panel _linear_panels _linear_iv _bootstrap",
        "_effects _own_effect _ensemble",
        "_random",
        "_fields",
    ],
    "estimators": [
        "_synthetic _dynamic _did _cross_section",
        "_regression",
        "_variance",
        "_linear_model",
        "_options",
        "_native _explanation",
        "_parsing",
        "_formula",
        "_expression _elsewhere",
    ],
    "generators": [
        "_storage _ensemble",
        "_vae _flow _adversarial _autoregressive _macro _references",
        "_cross_sections",
        "_training",
        "_scores",
        "_networks",
    ],
    "_readers": ["replications read", "libraries", "coefficients"],
    "datasets": ["_sources"],
    "_data": [
        "plausibility",
        "files",
        "text_files index names",
        "frames cells",
        "schema",
        "shapes",
    ],
    "_definitions": ["describe", "source_text public_names"],
    "_core": [
        "protocols records keys",
        "design estimates calls averages pytree checks markup numerics machine startup screen",
    ],
}
"""The same inside packages, line by line and name by name."""


@functools.cache
def tree_of(name):
    return ast.parse(FILES[name].read_text())


@functools.cache
def imports_of(name):
    """Return (module, names) of every import, those inside functions too."""
    return [found for node in ast.walk(tree_of(name)) for found in imported_by(node)]


def imported_by(node):
    if isinstance(node, ast.Import):
        return [(alias.name, []) for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [(node.module or ".", [alias.name for alias in node.names])]
    return []


@functools.cache
def files_imported(name):
    """Return the files of mcsim that a file imports."""
    found = set()
    for module, names in imports_of(name):
        if module.split(".")[0] == "mcsim":
            inside = [file_of(f"{module}.{name}") for name in names]
            found |= set(inside) if None not in inside and inside else {file_of(module), *inside}
    return found - {None, name}


def file_of(module):
    path = "/".join(module.split(".")[1:])
    return next((f for f in (f"{path}.py", f"{path}/__init__.py".lstrip("/")) if f in FILES), None)


def part(name, depth=0):
    """Return the part of a folder to which a file belongs: a module, or a package."""
    return name.split("/")[depth].removesuffix(".py")


def places(layers):
    return {
        name: (line, place)
        for line, names in enumerate(layers)
        for place, name in enumerate(names.split())
    }


def is_above(places, this, other):
    (line, place), (other_line, other_place) = places[this], places[other]
    return line < other_line or (line == other_line and place < other_place)


def upward(files, layers, depth):
    """Return who imports whom against the order of layers."""
    order = places(layers)
    return [
        f"{name} imports {other}"
        for name in files
        for other in files_imported(name) & set(files)
        if (this := part(name, depth)) != (that := part(other, depth))
        if any({this, that} <= apart for apart in APART) or not is_above(order, this, that)
    ]


def test_imports_go_down():
    files = [name for name in FILES if name != "__init__.py"]
    assert {part(name) for name in files} == set(places(LAYERS))
    assert not upward(files, LAYERS, 0)


@pytest.mark.parametrize("package", INSIDES)
def test_imports_go_down_inside(package):
    files = [name for name in FILES if name.startswith(f"{package}/")]
    files.remove(f"{package}/__init__.py")
    assert {part(name, 1) for name in files} == set(places(INSIDES[package]))
    assert not upward(files, INSIDES[package], 1)


def test_every_package_has_an_order():
    packages = {part(name) for name in FILES if "/" in name}
    assert packages == set(INSIDES)


def test_no_files_import_one_another_in_a_circle():
    left = {name: files_imported(name) for name in FILES if not name.endswith("__init__.py")}
    while free := [name for name, others in left.items() if not others & set(left)]:
        for name in free:
            del left[name]
    assert not left


LAZY = {("cli/_commands.py", "mcsim.cli"), ("report/_tables.py", "mcsim")}
"""The work of a command is imported when it is called; figures, when one is drawn."""


def test_mcsim_is_imported_at_the_top_of_a_file_but_for_the_lazy_doors():
    inside = {
        (name, module)
        for name in FILES
        for function in ast.walk(tree_of(name))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        for module, _ in imported_by(node)
        if module.split(".")[0] in ("mcsim", "")
    }
    assert inside == LAZY


def test_imports_are_absolute():
    assert not [name for name in FILES if any(module == "." for module, _ in imports_of(name))]


def importers(library):
    return {
        name for name in FILES for module, _ in imports_of(name) if module.split(".")[0] == library
    }


def test_flax_is_in_the_one_file_that_builds_networks():
    assert importers("flax") == {"generators/_networks.py"}


def test_matplotlib_is_in_plots():
    assert {part(name) for name in importers("matplotlib")} == {"plots"}


def test_lapack_is_called_from_the_one_file_where_it_does_not_wait():
    """Decision 0018. Norms and blocks are no LAPACK."""
    call = re.compile(
        r"(jnp|jax\.numpy|lax|jax\.scipy)\.linalg\.(?!norm|block_diag)"
        r"|from jax\.scipy\.linalg import (?!block_diag$)|from jax\.(numpy|lax) import linalg",
        re.MULTILINE,
    )
    found = {name for name, file in FILES.items() if call.search(file.read_text())}
    assert found == {"_core/numerics.py"}


def test_pandas_stays_on_the_host_side():
    pure = ("_core/", "_run/compiled.py", "dgps/", "estimators/", "generators/")
    assert not [name for name in importers("pandas") if name.startswith(pure)]


def test_the_nouns_import_jax_and_jaxtyping_only():
    nouns = ("_core/records.py", "errors.py")
    found = {module.split(".")[0] for name in nouns for module, _ in imports_of(name)}
    assert found <= {"jax", "jaxtyping", "mcsim", *sys.stdlib_module_names}


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def test_private_names_stay_in_their_file():
    modules = {part(name, depth) for name in FILES for depth in range(name.count("/") + 1)}
    assert not [
        f"{name} imports {module}.{own}"
        for name in FILES
        for module, names in imports_of(name)
        for own in names
        if module.startswith("mcsim") and is_private(own) and own not in modules
    ]


def lines_of(name):
    return FILES[name].read_text().splitlines()


EXEMPT = ("__init__.py", "__main__.py", "_version.py")


def test_files_are_about_one_thing_and_say_which():
    assert not [name for name in FILES if lines_of(name) and not ast.get_docstring(tree_of(name))]
    sizes = {name: len(lines_of(name)) for name in FILES if not name.endswith(EXEMPT)}
    assert not {name: size for name, size in sizes.items() if not 60 <= size <= 400}


def lines_of_code(function, lines):
    """Count the lines of a function's body without docstring, comments and empty lines."""
    first = function.body[1] if ast.get_docstring(function) and function.body[1:] else None
    start = (first or function.body[0]).lineno
    own = [line.strip() for line in lines[start - 1 : function.end_lineno]]
    return sum(bool(line) and not line.startswith("#") for line in own)


def test_tests_mirror_the_tree():
    rooms = {name.removeprefix("_") for file in ROOT.iterdir() for name in [file.stem]}
    tests = Path(__file__).parent
    homeless = [
        str(file.relative_to(tests))
        for file in tests.rglob("test_*.py")
        if file.parent != tests and file.parent.name not in rooms | {"studies", "benchmarks"}
    ]
    assert not homeless


NEIGHBORS = {
    "definitions, stores and commands, which no public name shows": """
        cli/test_bad_results.py core/test_calls.py data/test_calendar.py
        definitions/test_identities.py host/test_from_files.py test_shown_commands.py
        dgps/test_own_names.py dgps/test_placebo.py generators/test_model_files.py
        generators/test_stored_names.py mistakes/stores.py public_parts.py
        results/test_damaged_stores.py results/test_store.py run/test_null_and_level.py""",
    "a replay as a table, which the command prints": """
        results/test_failures.py results/test_several_studies.py test_golden.py""",
    "a part of the run between its neighbors: plans, stores, workers, what is shown": """
        core/test_escapes.py drawn_panels.py run/test_engine.py run/test_evaluate.py
        run/test_planning.py run/test_progress.py test_startup.py""",
    "rows and sentences on their way to a table or a command": """
        datasets/test_datasets.py host/test_host.py host/test_samples.py readers/test_readers.py
        report/test_tables.py run/test_estimate.py test_remedies.py""",
    "statistics of one room that the tests of another compute": """
        benchmarks/bench_macro.py generators/test_macro_panel.py""",
    "a function that is replaced, so that nothing is fit, or kept elsewhere": """
        conftest.py fidelity/test_programs.py""",
}
"""Files of tests that import private modules of other rooms, by the reason; none but these."""

OWN = 75
"""Files of tests that import private modules of their own room: functions with a reference of
their own, most of them numeric. What can be said through a public name is said so."""


def private_modules(file):
    """Return the rooms whose private modules, or private names, a file imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        for module, names in imported_by(node):
            paths = [f"{module}.{name}".split(".") for name in names] or [module.split(".")]
            found |= {p[1].strip("_") for p in paths if p[0] == "mcsim" and any(map(is_private, p))}
    return found


def test_tests_go_through_public_doors_where_they_can():
    tests = Path(__file__).parent
    rooms = {file: private_modules(file) for file in tests.rglob("*.py")}
    own = [file for file, found in rooms.items() if file.parent.name in found]
    others = {
        str(file.relative_to(tests)) for file, found in rooms.items() if found - {file.parent.name}
    }
    assert others == {name for names in NEIGHBORS.values() for name in names.split()}
    assert len(own) <= OWN


def test_files_of_tests_are_about_one_noun():
    tests = Path(__file__).parent
    sizes = {
        str(file.relative_to(tests)): len(file.read_text().splitlines())
        for file in tests.rglob("test_*.py")
    }
    assert not {name for name, size in sizes.items() if size > 600}


def test_functions_are_short():
    assert not [
        f"{name}: {node.name}"
        for name in FILES
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.FunctionDef) and lines_of_code(node, lines_of(name)) > 50
    ]


def test_class_hierarchies_are_one_deep():
    """A class may inherit from a class of mcsim that inherits from none; exceptions are exempt."""
    bases = {
        node.name: [ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases]
        for name in FILES
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.ClassDef)
    }

    def is_exception(name):
        return name == "Exception" or any(map(is_exception, bases.get(name, [])))

    assert not [
        f"{name}({base})"
        for name, own in bases.items()
        for base in own
        if any(above in bases for above in bases.get(base, [])) and not is_exception(name)
    ]


PAGES = [ROOT.parent / "CONTRIBUTING.md", *(ROOT.parent / "docs").rglob("*.md")]


@pytest.mark.skipif(not PAGES[0].exists(), reason="an installed package has no pages")
def test_files_that_pages_name_are_there():
    rooms = ("mcsim", "tests", "studies", "docs")
    known = [str(path) for room in rooms for path in (ROOT.parent / room).rglob("*.py")]
    known += map(str, ROOT.parent.glob("*.py"))
    named = [
        (page.name, n) for page in PAGES for n in re.findall(r"`([\w/]+\.py)`", page.read_text())
    ]
    assert not [
        (page, name) for page, name in named if not any(path.endswith(f"/{name}") for path in known)
    ]
