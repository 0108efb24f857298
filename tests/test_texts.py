"""Texts that people read: spelling, American English, plain words, links that lead somewhere."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "data/README.md")),
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts),
]
MCSIM = ROOT / "mcsim"
CODE = [*sorted(MCSIM.rglob("*.py")), *sorted((ROOT / "studies").rglob("*.py"))]
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
TARGET = re.compile(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)

OUR = "behavi col endeav fav flav harb hon hum lab neighb rig rum vap"
ELL = "cance channe labe leve mode signa tota trave tunne"
ISE = (
    "categor central character custom discret emphas factor final general initial linear local "
    "maxim memor minim normal optim organ parallel parametr penal random real recogn regular "
    "special stabil standard summar symmetr synchron util vector visual winsor"
)
WORDS = (
    "aluminium analys(?:e|ed|es|ing) artefacts? catalogue[ds]? centr(?:e|ed|es|ing) defence "
    "fibre grey(?:s|ed)? judgement learnt licence metres? offence programme[ds]? "
    "sceptic(?:s|al|ism)? spelt spoilt whilst amongst"
)
BRITISH = re.compile(
    rf"\b(?:(?:re|un|de|dis|mis)?(?:(?:{OUR.replace(' ', '|')})our\w*"
    rf"|(?:{ELL.replace(' ', '|')})ll(?:ed|ing|er)\w*"
    rf"|(?:{ISE.replace(' ', '|')})is(?:e|ed|es|er|ing|ation)s?"
    rf"|{WORDS.replace(' ', '|')}))\b",
    re.IGNORECASE,
)
"""Spellings that are British: a short list beside the dictionary, which need not be installed."""

TITLE = "rsimsum: Summarise"  # a paper that is cited

UNCLEAR = re.compile(
    r"\bwhat (?:it|they) \w+|\bthose (?:that|who|which)\b|\btells?\b|\btold\b|\bin earnest\b"
    r"|\bso many\b|\bno (?:number|pytree|group)s? (?:of|that)\b",
    re.IGNORECASE,
)
"""Phrases that hide the noun they stand for: "what it says", "those that differ", "so many"."""


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose_of(page: Path) -> str:
    """Return the text of a page without code; lines keep their numbers."""
    text = page.read_text(encoding="utf-8")
    for code in (FENCE, SPAN):
        text = code.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)
    return text


def docstrings_of(file: Path) -> list[tuple[int, str]]:
    """Return the docstrings of a module with the lines where they begin."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False)
            if text:
                found.append((node.body[0].lineno, SPAN.sub("", text)))
    return found


def occurrences(pattern: re.Pattern[str], file: Path, text: str, first: int = 1) -> list[str]:
    """Return where a pattern occurs, as ``file:line: words``."""
    return [
        f"{name_of(file)}:{text[: found.start()].count(chr(10)) + first}: {found.group()}"
        for found in pattern.finditer(text)
    ]


def test_words_are_spelled_as_the_dictionary_has_them():
    folder = str(Path(sys.executable).parent)
    typos = shutil.which("typos", path=folder) or shutil.which("typos")
    if typos is None:
        pytest.skip("typos is not installed: words are not checked (pip install typos)")
    done = subprocess.run(
        [typos, "--format", "brief"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_spelling_is_american():
    found = [hit for page in PAGES for hit in occurrences(BRITISH, page, prose_of(page))]
    for file in CODE:
        found += occurrences(BRITISH, file, file.read_text(encoding="utf-8").replace(TITLE, ""))
    assert not found


@pytest.mark.parametrize(
    "word", ["colour", "behaviours", "modelled", "centre", "normalisation", "grey", "analysed"]
)
def test_british_spellings_are_found(word):
    assert BRITISH.fullmatch(word)


@pytest.mark.parametrize(
    "word", ["color", "modeled", "precise", "noise", "four", "hour", "otherwise", "exercise"]
)
def test_american_words_are_left_alone(word):
    assert not BRITISH.search(word)


def test_sentences_name_their_nouns():
    pages = [p for p in PAGES if p.is_relative_to(ROOT / "docs") and p.parent.name != "decisions"]
    found = [hit for page in pages for hit in occurrences(UNCLEAR, page, prose_of(page))]
    for file in CODE:
        if file.is_relative_to(MCSIM / "estimators") or file.is_relative_to(MCSIM / "plots"):
            for line, text in docstrings_of(file):
                found += occurrences(UNCLEAR, file, text, line)
    assert not found


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the built pages make them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    found: set[str] = set(re.findall(r"^\(([\w-]+)\)=$|<a (?:id|name)=\"([\w-]+)\"", text, re.M))
    found = {part for pair in found for part in pair if part}
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", text, re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.replace("`", "")).lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        later = sum(known == anchor or known.startswith(f"{anchor}-") for known in found)
        found.add(f"{anchor}-{later}" if anchor in found else anchor)
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    dead = []
    for pair in TARGET.findall(prose_of(page)):
        target = next(filter(None, pair))
        parts = urlsplit(target)
        if parts.scheme:
            valid = parts.scheme in ("https", "mailto") and (parts.netloc or parts.path)
            dead += [] if valid else [target]
            continue
        file = (page.parent / parts.path).resolve() if parts.path else page
        if not file.exists() or (
            parts.fragment and file.suffix == ".md" and parts.fragment not in anchors_of(file)
        ):
            dead.append(target)
    assert not dead


def test_links_for_agents_lead_to_pages():
    text = (ROOT / "docs/llms.txt").read_text(encoding="utf-8")
    links = [pair[0] for pair in TARGET.findall(text)]
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).with_suffix(".md").exists()] == []


def test_figures_have_a_text_instead():
    bare = [name_of(page) for page in PAGES if re.search(r"!\[\s*\]\(", prose_of(page))]
    assert not bare
