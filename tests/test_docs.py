"""The pages show code that runs: every Python block is executed, every output shown is checked.

A block that warns is followed by its warnings. Blocks of a page share a module. Host functions run
in this process: rows do not depend on the number of workers, and starting them would take most of
the time.
"""

import contextlib
import io
import linecache
import re
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUNNABLE = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]
FENCE = re.compile(r"^```(?P<language>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
TRAINING = ("docs/generators.md", "docs/panel_dgps.md", "docs/panel_generators.md")  # slow pages
OUTPUT = "<!-- output -->\n"  # before a text block: what the Python block before it prints
WARNINGS = "<!-- warnings -->\n"  # before a text block: what it warns of, a line each
LONGEST_NOTE = 40  # lines of a decision note


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    code: str
    line: int
    is_output: bool
    is_warnings: bool


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            match["language"].strip(),
            match["code"],
            text[: match.start()].count("\n") + 2,
            text[: match.start()].endswith(OUTPUT),
            text[: match.start()].endswith(WARNINGS),
        )
        for match in FENCE.finditer(text)
    ]


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] if name_of(page) in TRAINING else [])
        for page in RUNNABLE
    ],
    ids=name_of,
)
def test_blocks_run_and_print_what_is_shown(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mcsim._run.run.available_cpus", lambda: 0)
    module = ModuleType(f"page_{page.stem.lower()}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    printed, warned = "", ""
    for block in blocks_of(page):
        if block.language == "python":
            assert not warned, f"{name_of(page)}, before line {block.line}"
            printed, warned = run_block(page, block, module)
        elif block.is_output:
            assert printed.strip() == block.code.strip(), f"{name_of(page)}, line {block.line}"
        elif block.is_warnings:
            assert warned.strip() == block.code.strip(), f"{name_of(page)}, line {block.line}"
            warned = ""
    assert not warned


def run_block(page: Path, block: Block, module: ModuleType) -> tuple[str, str]:
    """Execute a block, its source findable (studies describe functions by it).

    Returns
    -------
    printed, warned : str
    """
    name = f"<{name_of(page)}, line {block.line}>"
    linecache.cache[name] = (len(block.code), None, block.code.splitlines(keepends=True), name)
    output = io.StringIO()
    with contextlib.redirect_stdout(output), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exec(compile(block.code, name, "exec"), vars(module))
    return output.getvalue(), "\n".join(str(warning.message) for warning in caught)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_fences_have_a_language_and_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    assert text.count("\n```") % 2 == 0
    assert all(block.language for block in blocks_of(page))
    prose = FENCE.sub("", text)
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose)
    local = [target for target in targets if "://" not in target and not target.startswith("#")]
    missing = [target for target in local if not (page.parent / target).exists()]
    assert not missing


def test_nothing_installs_mcsim_from_an_index():
    """There the name belongs to another project; a clone is installed as ``.`` (decision 0048)."""
    code = [
        file for folder in ("mcsim", "tests", "studies") for file in (ROOT / folder).rglob("*.py")
    ]
    pages = [page for page in PAGES if page.parent.name != "decisions"]
    files = [*pages, ROOT / "CONTRIBUTING.md", ROOT / "data/README.md", *code]
    install = re.compile(r"pip install[^\n`]*[\s'\"]mcsim\b(?!-econ)")
    assert not [name_of(file) for file in files if install.search(file.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("note", sorted((ROOT / "docs/decisions").glob("0*.md")), ids=name_of)
def test_decision_notes_are_short_and_have_three_parts(note):
    lines = note.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST_NOTE
    assert re.match(r"# \d{4} ", lines[0])
    assert lines[0][2:6] == note.name[:4]
    assert [line for line in lines if line.startswith("## ")] == [
        "## Context",
        "## Decision",
        "## Consequences",
    ]


def test_every_measure_and_command_is_documented():
    from mcsim.measures import MEASURES

    measures = (ROOT / "docs/measures.md").read_text(encoding="utf-8")
    assert [name for name in MEASURES if f"`{name}`" not in measures] == []
    commands = (ROOT / "docs/command_line.md").read_text(encoding="utf-8")
    assert [name for name in ("run", "show", "replay") if f"mcsim {name}" not in commands] == []


def test_the_first_screen_gives_the_two_commands():
    screen = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:40]
    assert any(".venv/bin/mcsim run studies/lalonde.py" in line for line in screen)
    assert any(".venv/bin/pytest -n auto" in line for line in screen)
