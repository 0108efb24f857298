"""The commands that pages show: each is one that `mcsim` takes; they are run on small stand-ins.

Commands that install, train for minutes, or compute for hours are not run: see `NOT_RUN`.
"""

import functools
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer

import mcsim
from command_line import mcsim_command
from mcsim.cli._app import app

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "decisions"),
]
FENCE = re.compile(r"^```(?P<language>\S+)\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`(mcsim [a-z]+(?: [^`\n]+)?)`(?!`)")
COMMENT = re.compile(r" {2,}[a-z].*$")  # in a block: words that explain a command, apart from it

NOT_RUN = {
    "pip install": "CI installs the package before its tests",
    "bench_speed.py": "takes hours",
    "nox -s": "the tasks of CI",
    "training.py": "trains ten generators; the tests of generators fit smaller ones",
    "studies/gdp_growth.py": "needs a download; its test is in tests/studies",
    "studies/state_growth.py": "trains for minutes; its test is in tests/studies",
    "loehne.csv": "a file that is made up; tests/cli/test_generators.py reads such files",
    "FILE": "stands for a name",
    "STORE": "stands for a name",
    "DATA": "stands for a name",
    "MODEL": "stands for a name",
    "COMMAND": "stands for a name",
}

COMMANDS: Any = typer.main.get_command(app)
COMMANDS = COMMANDS.commands


def in_blocks(page: Path) -> list[str]:
    """Return the lines of the console blocks of a page that call ``mcsim``, in their order."""
    text = page.read_text(encoding="utf-8")
    blocks = [m["code"] for m in FENCE.finditer(text) if m["language"] == "console"]
    lines = [COMMENT.sub("", line) for block in blocks for line in block.splitlines()]
    calls = (re.search(r"(?:^|[/ ])(mcsim (?!--).*)", line) for line in lines)
    return [call[1] for call in calls if call]


def shown() -> list[Any]:
    """Return the commands of all pages, in blocks and in sentences."""
    found = {}
    for page in PAGES:
        for line in [*in_blocks(page), *INLINE.findall(page.read_text(encoding="utf-8"))]:
            found.setdefault(line, page.name)
    return [pytest.param(line, id=f"{page}: {line}") for line, page in found.items()]


@pytest.mark.parametrize("line", shown())
def test_commands_and_their_options_exist(line):
    name, *words = shlex.split(line)[1:]
    if name == "COMMAND":
        return
    assert name in COMMANDS
    known = {option for item in COMMANDS[name].params for option in item.opts} | {"--help"}
    options = [word.partition("=")[0] for word in words if re.match("--?[a-z]", word)]
    assert [option for option in options if option not in known] == []


def test_every_option_is_on_a_page():
    pages = "".join((ROOT / "docs" / name).read_text() for name in ("command_line.md", "report.md"))
    options = {
        f"mcsim {name} {item.opts[0]}": item.opts
        for name, command in COMMANDS.items()
        for item in command.params
        if item.param_type_name == "option"
    }
    assert [text for text, opts in options.items() if not any(o in pages for o in opts)] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name):
    done = mcsim_command(name, "--help")
    assert done.returncode == 0
    assert f"mcsim {name}" in done.stdout
    assert "--" in done.stdout


STUDY = """
import mcsim
from mcsim.testing import constant_dgp, exact_estimator

study = mcsim.Study({"d": constant_dgp(truth=1.0)}, {"exact": exact_estimator(truth=1.0)}, reps=64)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder in which the files stand that pages name, small ones in their place."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").mkdir()
    for name in ("studies/lalonde.py", "studies/lalonde_cps.py", "studies/petersen.py", "study.py"):
        (tmp_path / name).write_text(STUDY)
    (tmp_path / "studies/which_shocks.py").write_text(STUDY)
    page = (ROOT / "docs/for_agents.md").read_text(encoding="utf-8")
    twfe = next(m["code"] for m in FENCE.finditer(page) if m["language"] == "python")
    (tmp_path / "twfe.py").write_text(twfe.replace("reps=2000", "reps=64"))
    rng = np.random.default_rng(1)
    pd.DataFrame(
        {"estimator": "ols", "estimate": rng.normal(size=50), "se": 1.0, "truth": 0.0}
    ).to_csv("simulation.csv", index=False)
    replications = pd.DataFrame({"b": rng.normal(size=50), "se": 1.0})
    replications.assign(method="ols", dataset=np.arange(50)).to_stata("MIsim.dta")
    replications.rename(columns={"b": "_b_x", "se": "_se_x"}).to_stata("simulate.dta")
    means = pd.DataFrame({"mean": rng.normal(size=50), "median": rng.normal(size=50)})
    means.assign(n=20, distribution="normal").to_csv("results.csv", index=False)
    wages = pd.DataFrame({"nr": np.repeat(np.arange(60), 5), "year": np.tile(np.arange(5), 60)})
    wages["lwage"] = rng.normal(size=300) + np.repeat(rng.normal(size=60), 5)
    wages["hours"] = rng.normal(size=300)
    wages.to_csv("wages.csv", index=False)
    return tmp_path


def run_all(lines: list[str], *changes: tuple[str, str]) -> None:
    """Run commands one after the other; each must succeed."""
    for line in lines:
        command = functools.reduce(lambda text, change: text.replace(*change), changes, line)
        done = mcsim_command(*shlex.split(command)[1:])
        assert done.returncode == 0, f"{command}\n{done.stderr}"


def quick(generators: bool) -> list[str]:
    lines = [line for page in PAGES for line in in_blocks(page)]
    lines = [line for line in lines if not any(part in line for part in NOT_RUN)]
    return [line for line in dict.fromkeys(lines) if ("wages" in line) == generators]


def test_commands_of_studies_run(folder):
    run_all(["mcsim run studies/lalonde.py"])
    (cell,) = mcsim.open("results/lalonde").study["cells"]
    run_all(quick(generators=False), ("3f2a", cell["hash"][:4]), ("--reps 100", "--reps 3"))
    for file in ("results/lalonde/report.html", "lalonde.html", "simulation.html"):
        assert (folder / file).exists()
    assert (folder / "samples/truth.csv").exists()


@pytest.mark.slow
def test_commands_of_generators_run(folder):
    few = "wages.csv wages.safetensors --splits 2 --replications 100"
    copula = ("--kind vae", "--kind gaussian-copula")  # fit at once, where a VAE takes minutes
    run_all(quick(generators=True), copula, ("wages.csv wages.safetensors", few))
    assert (folder / "report/fidelity.md").exists()
    assert (folder / "panel.parquet").exists()
