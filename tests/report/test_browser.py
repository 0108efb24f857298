"""The page in a browser: sorted, picked from, exported, by mouse and keyboard, at two widths."""

import csv
import re
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mcsim
from chromium import CHROMIUM, Browser, browser
from mcsim.report import write_html

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")

HOSTILE = "</script><img src=x onerror=alert(1)><b>a"
WIDTHS = [1280, 390]


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """A page of an ensemble in twelve cells, of estimators with hostile and with long names."""
    rng = np.random.default_rng(0)
    n = 12 * 3 * 100
    index = np.arange(n)
    names = np.array([HOSTILE, "an_estimator_of_a_name_that_has_no_end " * 3, "ols"])
    frame = pd.DataFrame(
        {
            "generator": index // 900, "n": 50 + index // 300 % 3 * 50, "rep": index % 100,
            "method": names[index // 100 % 3], "se": 0.1,
            "est": np.where(rng.random(n) < 0.02, np.nan, 0.1 * rng.normal(size=n)),
        }
    )  # fmt: skip
    results = mcsim.read_replications(frame, truth=0.0, by=["generator", "n"])
    return write_html(results, tmp_path_factory.mktemp("page") / "page.html")


@pytest.fixture(scope="module")
def downloads(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def tab(downloads):
    with browser(downloads) as opened:
        yield opened


ROWS = "[...document.querySelectorAll('#measures tbody tr')].filter(r => !r.hidden)"


def column(tab: Browser, place: int) -> list[str]:
    return tab.get(f"{ROWS}.map(row => row.cells[{place}].textContent.trim())")


def numbers(texts: list[str]) -> list[float]:
    return [float(text.split(" ")[0]) for text in texts]


def place_of(tab: Browser, head: str) -> int:
    heads = tab.get("[...document.querySelectorAll('#measures th')].map(h => h.textContent.trim())")
    return heads.index(head)


def test_a_reader_sorts_picks_and_exports_and_the_address_keeps_the_view(tab, file, downloads):
    tab.open(file, 1280)
    bias = place_of(tab, "bias")
    button = f"#measures th:nth-child({bias + 1}) button"
    tab.click(button)
    assert numbers(column(tab, bias)) == sorted(numbers(column(tab, bias)))
    tab.click(button)
    assert numbers(column(tab, bias)) == sorted(numbers(column(tab, bias)), reverse=True)
    assert len(column(tab, 0)) == 36

    tab.get("document.getElementById('cell').focus()")
    tab.get(
        "(() => { const s = document.getElementById('cell'); s.value = '4';"
        "s.dispatchEvent(new Event('change')); })()"
    )
    picked = column(tab, bias)
    assert len(picked) == 3
    assert tab.get("document.querySelectorAll('#zips svg').length") == 3
    view = tab.get("location.hash")
    assert view == f"#sort=-{bias}&cell=4"

    tab.click("#csv")
    saved = downloads / "measures.csv"
    end = time.monotonic() + 30
    while not saved.exists() and time.monotonic() < end:
        time.sleep(0.05)
    lines = list(csv.DictReader(saved.read_text().splitlines()))
    assert [float(line["bias"]) for line in lines] == numbers(picked)
    assert {line["estimator"] for line in lines} >= {"ols", HOSTILE}

    tab.open(file, 1280, view=view)
    assert column(tab, bias) == picked
    assert not tab.said


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_its_window_says_nothing_and_asks_no_host(tab, file, width):
    tab.open(file, width)
    parts = "[...document.querySelectorAll('body, header, main, section, p, ul, dl')]"
    wide = tab.get(
        f"{parts}.filter(e => e.getBoundingClientRect().right > innerWidth + 0.5).length"
    )
    assert wide == 0
    assert tab.get("document.scrollingElement.scrollWidth <= innerWidth")
    assert not tab.said
    assert tab.asked == [file.resolve().as_uri()]


def test_hostile_names_stay_text(tab, file):
    tab.open(file, 1280)
    assert tab.get("document.images.length") == 0
    assert tab.get("document.querySelectorAll('td b, h3 b').length") == 0
    assert HOSTILE in column(tab, place_of(tab, "estimator"))


def test_the_page_is_readable_without_javascript(tab, file):
    tab.open(file, 1280, script=False)
    try:
        text = _text_without_script(tab)
    finally:
        tab.open(file, 1280)
    assert "Which intervals cover" in text
    assert "Save as CSV" not in text
    assert len(re.findall(r"^ols\t|\tols\t", text, re.MULTILINE)) >= 12


def _text_without_script(tab: Browser) -> str:
    """Return the text that is shown; expressions are evaluated though scripts are not."""
    assert tab.get("document.documentElement.className") == ""
    return tab.get("document.body.innerText")


def test_the_keyboard_reaches_every_control(tab, file):
    tab.open(file, 1280)
    tab.get("""
      window.controls = [...document.querySelectorAll('a, button, select, summary, [tabindex="0"]')]
        .filter(e => e.getClientRects().length);
      window.reached = new Set(); document.body.focus();
    """)
    count = tab.get("controls.length")
    for _ in range(count + 5):
        tab.press("Tab")
        tab.get("void reached.add(document.activeElement)")
    missed = tab.get("controls.filter(e => !reached.has(e)).map(e => e.outerHTML.slice(0, 80))")
    assert count > 15
    assert missed == []
    bias = place_of(tab, "bias")
    tab.get(f"document.querySelector('#measures th:nth-child({bias + 1}) button').focus()")
    tab.press("Enter")
    assert tab.get("location.hash") == f"#sort={bias}"
    outline = tab.get("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"


CONTRASTS = """
(() => {
  const part = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const colors = (text) => text.match(/[\\d.]+/g).map(Number);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const found = colors(getComputedStyle(e).backgroundColor);
      if (found.length < 4 || found[3] > 0) { return found; }
    }
    return [255, 255, 255];
  };
  const found = {};
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const holder = node.parentElement, style = getComputedStyle(holder);
    if (!node.textContent.trim() || !holder.getClientRects().length) { continue; }
    const ink = holder.closest("svg") ? style.fill : style.color;
    const [a, b] = [light(colors(ink)), light(ground(holder))].sort((x, y) => y - x);
    found[ink + " on " + ground(holder)] = (a + 0.05) / (b + 0.05);
  }
  return found;
})()
"""


def test_every_text_has_a_contrast_of_four_and_a_half(tab, file):
    tab.open(file, 1280)
    found = tab.get(CONTRASTS)
    assert len(found) >= 3
    assert {pair: ratio for pair, ratio in found.items() if ratio < 4.5} == {}


def test_every_figure_has_an_alternative_text(tab, file):
    tab.open(file, 1280)
    labels = tab.get("[...document.querySelectorAll('svg, img')]"
                     ".map(e => e.getAttribute('aria-label') || e.alt || '')")  # fmt: skip
    assert len(labels) == 5  # two of the overview, three of the picked cell
    assert all(labels)


def test_the_page_of_the_docs_fits_and_says_nothing(tab):
    page = Path(__file__).parents[2] / "docs" / "studies" / "lalonde_report.html"
    for width in WIDTHS:
        tab.open(page, width)
        assert tab.get("document.scrollingElement.scrollWidth <= innerWidth")
        assert not tab.said
