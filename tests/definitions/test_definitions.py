"""Definitions: what counts as a change of a user's code, and what does not."""

import importlib
import shutil
import subprocess
import sys
from functools import cached_property
from pathlib import Path

import pytest

import mcsim
from mcsim import Estimate, Study
from mcsim._definitions.describe import describe
from mcsim._definitions.source_text import source_text, values_used
from mcsim.errors import InputError, StoreMismatch
from mcsim.testing import constant_dgp


class Files:
    """A study in files of its own, imported anew for each description."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.monkeypatch, self.n = folder, monkeypatch, 0

    def describe(self, files, name="study.f"):
        self.n += 1
        root = self.folder / str(self.n)
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        home, _, attribute = name.rpartition(".")
        before = set(sys.modules)
        with self.monkeypatch.context() as patch:
            patch.syspath_prepend(root)
            try:
                described = describe(getattr(importlib.import_module(home), attribute))
            finally:
                for added in set(sys.modules) - before:
                    if str(getattr(sys.modules[added], "__file__", "")).startswith(str(root)):
                        del sys.modules[added]
        return described


@pytest.fixture
def files(tmp_path, monkeypatch):
    return Files(tmp_path, monkeypatch)


HELPERS = {
    "helper.py": "def slope(x):\n    return 1 * x\n",
    "pack/__init__.py": "",
    "pack/sub.py": "def slope(x):\n    return 1 * x\n",
    "pack/est.py": "def f(x):\n    from .sub import slope\n    return slope(x)\n",
}

HIDDEN = {
    "imported inside": "def f(x):\n    import helper\n    return helper.slope(x)\n",
    "imported inside by name": "def f(x):\n    from helper import slope\n    return slope(x)\n",
    "package imported inside": "def f(x):\n    import pack.sub\n    return pack.sub.slope(x)\n",
    "module imported inside": "def f(x):\n    from pack import sub as s\n    return s.slope(x)\n",
    "imported in a nested function": (
        "def f(x):\n    def g():\n        import helper\n        return helper.slope(x)\n"
        "    return g()\n"
    ),
    "through a package": "import pack.sub\ndef f(x):\n    return pack.sub.slope(x)\n",
    "getattr": "import helper\ndef f(x):\n    return getattr(helper, 'slope')(x)\n",
    "getattr by a global": (
        "import helper\nNAME = 'slope'\ndef f(x):\n    return getattr(helper, NAME)(x)\n"
    ),
    "module in a list": "import helper\nALL = [helper]\ndef f(x):\n    return ALL[0].slope(x)\n",
}
"""Ways to a function in another file."""


@pytest.mark.parametrize("how", HIDDEN)
def test_a_change_of_a_helper_in_another_file_is_seen(how, files):
    before = {**HELPERS, "study.py": HIDDEN[how]}
    after = {path: text.replace("1 * x", "10 * x") for path, text in before.items()}
    assert files.describe(before) != files.describe(after)
    assert files.describe(before) == files.describe(before)


def test_a_change_behind_a_relative_import_is_seen(files):
    after = {**HELPERS, "pack/sub.py": "def slope(x):\n    return 10 * x\n"}
    assert files.describe(HELPERS, "pack.est.f") != files.describe(after, "pack.est.f")


def test_an_import_that_fails_is_no_error(files):
    study = {"study.py": "def f(x):\n    import that_is_not_there\n    return x\n"}
    (uses,) = files.describe(study)["uses"].items()
    assert uses == ("import that_is_not_there", "cannot be imported: ModuleNotFoundError")


CHANGES = {
    "enum member as default": (
        "from enum import Enum\nclass Kind(Enum):\n    A = 1\n"
        "def f(x, kind=Kind.A):\n    return kind\n",
        "A = 1",
        "A = 10",
    ),
    "which of two lambdas": (
        "a = lambda x: x\nb = lambda x: 2 * x\nTABLE = {'p': a, 'q': b, 'r': a}\n"
        "def f(x):\n    return TABLE['r'](x)\n",
        "'r': a",
        "'r': b",
    ),
    "slots": (
        "class Slope:\n    __slots__ = ('k',)\n    def __init__(self, k):\n        self.k = k\n"
        "    def __repr__(self):\n        return 'Slope'\n"
        "    def __call__(self, x):\n        return self.k * x\n"
        "f = Slope(1)\n",
        "Slope(1)",
        "Slope(10)",
    ),
    "private slots": (
        "class Slope:\n    __slots__ = '__k'\n    def __init__(self, k):\n        self.__k = k\n"
        "    def __repr__(self):\n        return 'Slope'\n"
        "f = Slope(1)\n",
        "Slope(1)",
        "Slope(10)",
    ),
    "globals": (
        "def slope(x):\n    return 1 * x\ndef f(x):\n    return globals()['slope'](x)\n",
        "1 * x",
        "10 * x",
    ),
    "overload": (
        "from functools import singledispatch\n@singledispatch\ndef slope(x):\n    return x\n"
        "@slope.register\ndef of_int(x: int):\n    return 1 * x\n"
        "def f(x):\n    return slope(x)\n",
        "1 * x",
        "10 * x",
    ),
    "overload of a method": (
        "from functools import singledispatchmethod\ndef slope(x):\n    return 1 * x\n"
        "class Est:\n    @singledispatchmethod\n    def g(self, x):\n        return x\n"
        "    @g.register\n    def _(self, x: int):\n        return slope(x)\n"
        "    @g.register\n    def _(self, x: str):\n        return x\n"
        "f = Est()\n",
        "1 * x",
        "10 * x",
    ),
    "type of a NumPy scalar": (
        "import numpy as np\nSCALE = np.float64(0.5)\ndef f(x):\n    return SCALE * x\n",
        "np.float64",
        "np.float32",
    ),
    "formula": (
        "def scaled(x):\n    return 1 * x\n"
        "def f(x):\n    import statsmodels.formula.api as smf\n"
        "    return smf.ols('y ~ scaled(x)', x).fit()\n",
        "1 * x",
        "10 * x",
    ),
    "formula in a global": (
        "def scaled(x):\n    return 1 * x\nFORMULAS = {'a': 'y ~ scaled(x)'}\n"
        "def f(x):\n    return smf.ols(FORMULAS['a'], x).fit()\n",
        "1 * x",
        "10 * x",
    ),
    "helper of two methods": (
        "def slope(x):\n    return 1 * x\n"
        "class Est:\n    def g(self, x):\n        return slope(x)\n"
        "    def __call__(self, x):\n        return slope(x) + self.g(x)\n"
        "f = Est()\n",
        "1 * x",
        "10 * x",
    ),
    "method of a named tuple": (
        "from typing import NamedTuple\nclass Est(NamedTuple):\n    k: float = 1.0\n"
        "    def __call__(self, x):\n        return 1 * x\n"
        "f = Est()\n",
        "1 * x",
        "10 * x",
    ),
    "long regular expression": (
        "import re\nWORDS = re.compile('a' * 300 + 'b')\ndef f(x):\n    return WORDS.match(x)\n",
        "'b'",
        "'c'",
    ),
}
"""Source, and what is replaced in it by what."""


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_seen(what, files):
    source, old, new = CHANGES[what]
    assert old in source
    before, after = {"study.py": source}, {"study.py": source.replace(old, new)}
    assert files.describe(before) != files.describe(after)
    assert files.describe(before) == files.describe(before)


SAME = {
    "docstring added": (
        "def f(x):\n    return x\n",
        'def f(x):\n    """Return it."""\n    return x\n',
    ),
    "quotes of an f-string": (
        "def f(x):\n    return f'{x:.2f} {x!r}'\n",
        'def f(x):\n    return f"{x:.2f} " f"{x!r}"\n',
    ),
    "timeout": (
        "import mcsim\n@mcsim.host(timeout=1.0)\ndef f(x):\n    return x\n",
        "from mcsim import host as lift\n@lift(timeout=2.0)\ndef f(x):\n    return x\n",
    ),
    "lifted by a call": (
        "import mcsim\n@mcsim.host(term='x')\ndef f(x):\n    return x\n",
        "import mcsim\ndef f(x):\n    return x\nf = mcsim.host(term='x', timeout=3.0)(f)\n",
    ),
    "lifted in a function": (
        "def made():\n    import mcsim\n    @mcsim.host(timeout=1.0)\n"
        "    def f(x):\n        return x\n"
        "    return f\nf = made()\n",
        "def made():\n    import mcsim\n    @mcsim.host\n    def f(x):\n        return x\n"
        "    return f\nf = made()\n",
    ),
    "a function whose name is a label": (
        "def mean(x):\n    return 1\ndef f(x):\n    return {'mean': x}\n",
        "def mean(x):\n    return 2\ndef f(x):\n    return {'mean': x}\n",
    ),
    "a helper named in a docstring": (
        'def g(x):\n    return 1\ndef f(x):\n    """Unlike g(x)."""\n    return x\n',
        'def g(x):\n    return 2\ndef f(x):\n    """Unlike g(x)."""\n    return x\n',
    ),
}


@pytest.mark.parametrize("what", SAME)
def test_no_change_is_none(what, files):
    before, after = SAME[what]
    assert files.describe({"study.py": before}) == files.describe({"study.py": after})


class Remembering:
    """An estimator that remembers what it computed."""

    def __init__(self, bias):
        self._bias = bias

    @cached_property
    def twice(self):
        return 2 * self._bias

    def __call__(self, key, panel):
        return {"mean": mean(key, panel)["mean"]._replace(value=panel["y"].mean() + self.twice)}


def mean(key, panel):
    y = panel["y"]
    return {"mean": Estimate(y.mean(), y.std() / y.size**0.5)}


def rows(study, store):
    results = mcsim.run(study, reps=4, store=store, workers=0, progress=False)
    return results.replicates["value"].tolist()


def test_a_cached_property_filled_between_two_runs_is_no_change(tmp_path):
    study = Study(dgp=constant_dgp(), estimators={"e": Remembering(1.0)})
    before = rows(study, tmp_path / "store")
    assert "twice" in vars(study.estimators["e"])
    assert rows(study, tmp_path / "store") == before
    other = Study(dgp=constant_dgp(), estimators={"e": Remembering(2.0)})
    with pytest.raises(StoreMismatch, match="_bias"):
        rows(other, tmp_path / "store")


# Versions that the user declares


@pytest.mark.parametrize("name", ["d", "mean"])
def test_a_version_declared_in_the_study_is_a_change(name, tmp_path):
    def study(**versions):
        return Study(dgp={"d": constant_dgp()}, estimators=mean, versions=versions)

    plain = rows(study(), tmp_path)
    with pytest.raises(StoreMismatch, match="version: null -> 1"):
        rows(study(**{name: 1}), tmp_path)
    assert rows(study(), tmp_path) == plain


def test_a_version_of_a_host_function_is_part_of_its_definition():
    def function(frame):
        return frame["y"].mean()

    def sample(rng, design):
        return None

    for lifted in (function, sample):
        plain, first, other = (
            describe(mcsim.host(**options)(lifted))
            for options in ({}, {"version": 1}, {"version": "2026-11"})
        )
        assert "version" not in plain
        assert {**plain, "version": 1} == first
        assert {**plain, "version": "2026-11"} == other


def test_versions_that_are_none_are_refused():
    with pytest.raises(InputError, match=r"host: version: got 1\.5, expected a whole number or"):
        mcsim.host(version=1.5)  # type: ignore[call-overload]
    with pytest.raises(InputError, match="versions: got 'maen'; did you mean 'mean'"):
        Study(dgp=constant_dgp(), estimators=mean, versions={"maen": 1})
    with pytest.raises(InputError, match=r"versions\['mean'\]: got None, expected a whole number"):
        Study(dgp=constant_dgp(), estimators=mean, versions={"mean": None})
    with pytest.raises(InputError, match="versions: got 2, expected a dict"):
        Study(dgp=constant_dgp(), estimators=mean, versions=2)


# Versions of Python

CORPUS = '''
import textwrap

FORMULA = "scaled(y) ~ x"
PARTS = {"a": textwrap.dedent}


def scaled(y):
    return y


def strings(x, y="it's"):
    """A docstring that names scaled(y)."""
    import math
    from textwrap import indent

    one = f"{x}" f'a "quoted" {y!r:>10}' + f"{x=}" + f"{{{x:{len(y)}.2f}}}" + f"{x:}"
    two = f"""{
        json.dumps({"k": [i for i in range(3)]})
    } tail\\n"""
    three = f"{'nested'} {x!s}{y!a}" "plain" f"{{}}"
    return one + two + three + getattr(textwrap, "dedent")(FORMULA), math.pi, indent


def comprehends(xs):
    global PARTS
    return [scaled(x) for x in xs if x] + list(map(lambda x: f"{x}", xs)), {x: f"{x!r}" for x in xs}


class Both:
    """Docstring."""

    share: float = 0.1

    def name(self):
        """Another."""
        return f"share {self.share:.2f}"

    def __repr__(self):
        return f'{type(self).__name__}({self.name()!r}, {", ".join("ab")})'
'''

SCRIPT = """
import importlib.util, json, sys, types

def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

sources, corpus = load("sources", sys.argv[1]), load("corpus", sys.argv[2])
functions = [corpus.scaled, corpus.strings, corpus.comprehends]
functions += [corpus.Both.name, corpus.Both.__repr__]
found = [sources.source_text(thing) for thing in (*functions, corpus.Both)]
for function in functions:
    uses = sources.values_used(function, lambda module: module in sys.stdlib_module_names)
    found.append([sorted(uses.values), sorted(uses.attributes)])
print(json.dumps(found))
"""


def other_pythons():
    """Return interpreters of other versions on this machine; mcsim need not run in them."""
    found = {}
    for minor in {11, 12, 13} - {sys.version_info.minor}:
        paths = sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python"))
        path = paths[-1] if paths else shutil.which(f"python3.{minor}")
        found |= {f"3.{minor}": str(path)} if path else {}
    return found


def test_descriptions_are_the_same_under_every_version_of_python(tmp_path):
    others = other_pythons()
    if not others:
        pytest.skip("no other Python here")
    corpus = tmp_path / "corpus.py"
    corpus.write_text(CORPUS)
    sources = sys.modules[source_text.__module__].__file__
    texts = {
        version: subprocess.run(
            [python, "-c", SCRIPT, str(sources), str(corpus)],
            capture_output=True, text=True, check=True,
        ).stdout
        for version, python in {"this": sys.executable, **others}.items()
    }  # fmt: skip
    assert "f-string(x, 'a" in texts["this"]
    assert texts == dict.fromkeys(texts, texts["this"])


def test_code_without_source_names_the_version_of_python():
    space = {}
    exec("def f(x):\n    return x\n", space)
    assert source_text(space["f"]).startswith(f"bytecode of Python 3.{sys.version_info.minor}: ")


def test_a_library_that_a_body_imports_is_named_and_not_imported():
    def f(frame):
        import antigravity

        import statsmodels.api as sm

        return sm, antigravity

    uses = describe(f)["uses"]
    assert uses["import statsmodels.api"].startswith("module statsmodels.api 0.")
    assert uses["import antigravity"] == "module antigravity"
    assert "antigravity" not in sys.modules
    assert "import antigravity" in values_used(f, lambda module: True).values
