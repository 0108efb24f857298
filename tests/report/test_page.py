"""The page of a study: whole, offline, escaped, readable as text; and its script, where node is."""

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mcsim
from mcsim.errors import InputError
from mcsim.report import write_html
from mcsim.report._page_figures import MOST_INTERVALS, strip, zips
from mcsim.report._page_words import COVERS, MISSES, OPEN, averages, sentences, verdicts
from mcsim.testing import constant_dgp, exact_estimator

HOSTILE = "</script><img src=x onerror=alert(1)>\u2028&amp;"


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text outside scripts and styles."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag if tag in ("script", "style", "title") else ""

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        self.texts[self.inside] = self.texts.get(self.inside, "") + data

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def study_results(**options) -> mcsim.Results:
    study = mcsim.Study(
        dgp=constant_dgp(truth=2.0, sd=1.0),
        estimators={
            "right": exact_estimator(truth=2.0, se=0.1),
            HOSTILE: exact_estimator(truth=2.0, bias=-1.0, se=0.1),
        },
        designs=mcsim.grid(shift=[0.0, 1.0]),
        aim=f"Which covers? {HOSTILE}",
        caveats=[f"Normal data only. {HOSTILE}"],
    )
    return mcsim.run(study, reps=400, workers=0, progress=False, **options)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("page") / "a store"


@pytest.fixture(scope="module")
def text(store) -> str:
    results = study_results(store=store)
    return write_html(results, store.parent / "page.html", store=store).read_text("utf-8")


@pytest.fixture(scope="module")
def page(text) -> Page:
    return Page(text)


def test_the_first_screen_says_in_words_what_covers(page):
    words = page.texts[""]
    assert words.index("Intervals that do not cover") < words.index("The study")
    assert re.search(
        r"misses the level in all 2 cells: furthest is 0\.0% \(Monte Carlo error", words
    )
    assert "right covers" not in words.partition("Which intervals cover")[0]
    assert "Normal data only." in words[: words.index("The study")]


def test_one_replication_has_no_monte_carlo_error(tmp_path):
    study = mcsim.Study(constant_dgp(), exact_estimator())
    results = mcsim.run(study, reps=1, workers=0, progress=False)
    text = write_html(results, tmp_path / "page.html").read_text("utf-8")
    assert "(Monte Carlo error unknown)" in text
    assert "nan%" not in text


def test_hostile_names_stay_text(page, text):
    assert not page.named("img")
    assert len(page.named("script")) == 2
    assert "onerror=alert(1)>" not in text
    assert "\u2028" not in text
    assert page.texts[""].count("<img src=x onerror=alert(1)>") >= 4


def test_the_page_asks_no_host(page, text):
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text)
    links = [attributes["href"] for attributes in page.named("a")]
    assert links
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert all(link and link.startswith("#") and link[1:] in ids for link in links)
    (policy,) = [a["content"] for a in page.named("meta") if "http-equiv" in a]
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_the_page_is_accessible(page):
    (html,) = page.named("html")
    assert html["lang"] == "en"
    assert all(head.get("scope") == "col" for head in page.named("th"))
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.named("svg"))
    labelled = {attributes["for"] for attributes in page.named("label")}
    assert {attributes["id"] for attributes in page.named("select")} <= labelled
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert max(np.diff(levels)) == 1


def test_the_header_is_filled_from_the_study_and_the_store(page, store):
    words = page.texts[""]
    for expected in ("shift = 0.0, 1.0", ": truth 2", "seed 0", "Samples drawn by mcsim"):
        assert expected in words
    assert f"mcsim run FILE --reps 400 --seed 0 --store '{store}'" in words


def test_figures_of_the_table_are_those_of_the_summary(page):
    assert "-1.0" in page.texts[""]
    rows = [attributes["data-cell"] for attributes in page.named("tr") if "data-cell" in attributes]
    assert rows == ["0", "0", "1", "1"]


def test_intervals_keep_hits_and_misses_when_they_become_bytes():
    rng = np.random.default_rng(0)
    middle = rng.normal(size=90) * 2
    rows = pd.DataFrame({"lower": middle - 1, "upper": middle + 1, "truth": 0.0, "cell": 0})
    rows.loc[0, ["lower", "upper"]] = 1e-9, 1.0  # a near miss
    rows.loc[1, ["lower", "upper"]] = -1.0, 0.0  # a near hit
    names = pd.Series("a", index=rows.index)
    (found,) = zips(rows, ["cell"], rows["cell"], names, 1.0)
    drawn = np.frombuffer(base64.b64decode(found["intervals"]), np.uint8).reshape(-1, 2)
    hits = (drawn[:, 0] <= 127) & (drawn[:, 1] >= 128)
    assert len(drawn) == 90 <= MOST_INTERVALS
    assert hits.sum() == ((rows["lower"] <= 0) & (rows["upper"] >= 0)).sum()


def test_verdicts_depend_on_the_error_of_coverage():
    table = pd.DataFrame(
        {
            "estimator": ["a", "b", "c", "d"], "inference": "", "estimand": "x",
            "coverage": [0.95, 0.80, 0.95, np.nan], "coverage_mcse": [0.003, 0.01, 0.03, np.nan],
            "coverage_lower": [0.944, 0.78, 0.89, np.nan],
            "coverage_upper": [0.956, 0.82, 0.99, np.nan], "share_failed": [0.0, 0.1, 0.0, 0.0],
        }
    )  # fmt: skip
    found = sentences(table, 0.95, ["cell"] * 4)
    assert [sentence.verdict for sentence in found] == [COVERS, MISSES, OPEN, ""]
    assert "10.0% of its replications failed" in found[1].text


def test_strips_escape_names():
    assert "<b>" not in strip(["<b>"], [0.5], [False], 0.95, "coverage <b>")


def many(cells: int, estimators: int, reps: int) -> mcsim.Results:
    n = cells * estimators * reps
    rng = np.random.default_rng(0)
    index = np.arange(n)
    frame = pd.DataFrame(
        {
            "n": index // (estimators * reps) // 20 * 50 + 50,
            "rho": index // (estimators * reps) % 20 / 10,
            "method": [f"estimator {k}" for k in index // reps % estimators],
            "rep": index % reps, "est": rng.normal(size=n), "se": 1.0, "true": 0.0,
        }
    )  # fmt: skip
    return mcsim.read_replications(frame, by=["n", "rho"])


def test_two_hundred_cells_by_ten_estimators_fit_in_the_file(tmp_path):
    file = write_html(many(200, 10, 120), tmp_path / "page.html")
    assert file.stat().st_size <= 1.5e6
    assert "200 cells" in file.read_text()


def test_a_page_of_too_many_rows_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected at most 5,000 on a page; keep some cells"):
        write_html(many(2600, 2, 2), tmp_path / "page.html")


DOM = Path(__file__).with_name("page_dom.js")


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node to run the script with")
def test_the_script_filters_sorts_and_exports():
    script = Path(mcsim.report.__file__).parent / "page" / "script.js"
    done = subprocess.run(
        ["node", DOM, script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["hidden"] == [True, False, False]  # cell=1 of the hash
    assert found["order"] == ["=a", "b,1", "c"]  # sort=1: by bias, the missing one last
    assert found["made"][0] == "estimator,bias,bias mcse\n'=a,-1.5,0.1\nc,,\n"
    assert r"=a & -1.5 (0.1) \\" in found["made"][1]


def ensemble(coverages: dict[str, list[float]], reps: int = 400) -> mcsim.Results:
    """Return results of generators whose intervals have these coverages."""
    rows = [
        {"dgp": dgp, "generator": k, "method": "dim", "rep": r, "est": r >= share * reps, "se": 0.1}
        for dgp, shares in coverages.items()
        for k, share in enumerate(shares)
        for r in range(reps)
    ]  # fmt: skip
    return mcsim.read_replications(
        pd.DataFrame(rows).astype({"est": float}), truth=0.0, by=["generator"]
    )


def test_an_ensemble_is_judged_by_its_average_and_the_spread_between_generators(tmp_path):
    steady, varied = [0.94, 0.95, 0.95, 0.96], [0.75, 1.0, 0.99, 1.0]
    results = ensemble({"steady": steady, "varied": varied, "off": [0.7, 0.72, 0.71, 0.7]})
    page = Page(write_html(results, tmp_path / "page.html").read_text())
    words = page.texts[""]
    first = words[: words.index("The study")]
    assert (
        "dim misses the level in 1 of 3 DGPs: 70.8% (Monte Carlo error 1.1%, 1.0% between" in first
    )
    assert "the average over its generators" in first
    assert "Averages over the generators" in words
    rows = [attributes for attributes in page.named("tr") if "data-cell" in attributes]
    assert len(rows) == 12


def test_an_average_over_few_unlike_generators_is_not_resolved():
    by = ["dgp", "generator", "estimator", "inference", "estimand"]
    measures = ["coverage", "share_failed"]
    found = [
        averages(ensemble({"a": shares}).summary(measures=measures), "generator", by)
        for shares in ([0.94, 0.95, 0.95, 0.96], [0.8, 1.0, 1.0, 1.0])
    ]
    assert [verdicts(table, 0.95)[0] for table in found] == [COVERS, OPEN]
    between = found[1]["coverage_between"][0]
    reach = found[1]["coverage_upper"][0] - found[1]["coverage"][0]
    np.testing.assert_allclose(reach, 3.182446 * between / 2, rtol=1e-5)  # t(3)
