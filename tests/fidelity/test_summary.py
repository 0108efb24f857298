"""The summary of a fidelity table: the verdict in a paragraph, at most eight rows, marks."""

import math

import numpy as np
import pandas as pd
import pytest

import mcsim
from mcsim import Column, Panel, Schema
from mcsim._fidelity._panels.layout import note_on_outcomes, read_panel_layout
from mcsim._fidelity.formats import summary_as_text, text_of
from mcsim._fidelity.summary import OF_MEASURES, Finding, Subject, paragraph, summary_of_rows
from mcsim._fidelity.tables import ESTIMATE_COLUMNS, FidelityTable
from mcsim._fidelity.verdicts import BARS, RIGHT, UNRESOLVED, WRONG, judged
from mcsim.report import write_html
from mcsim.testing import constant_dgp, exact_estimator

REFERENCES = ("real", "bootstrap")
VALUES = {"auc_training": 0.5, "auc_holdout": 0.5, "auc_cross": 0.5, "duplicates": 1.0,
          "nn_ratio": 1.0, "transport": 1.0, "sliced_w1": 0.1, "marginal_w1": 0.1, "overlap": 0.2,
          "correlations": 0.01, "mass_points": 0.1}  # fmt: skip


def records(generator, arms=("all",), width=0.004, **values):
    """Return the records of one generator, right but for the values given."""
    assert set(VALUES) == set(BARS) == set(OF_MEASURES)
    found = []
    for measure, value in {**VALUES, **values}.items():
        for arm in ("control", "treated") if measure == "overlap" else arms:
            own = value[arm] if isinstance(value, dict) else value
            found.append(
                {"generator": generator, "measure": measure, "arm": arm, "value": own, "sd": width,
                 "lower": own - width, "upper": own + width, "null_lower": math.nan,
                 "null_upper": math.nan, "note": ""}
            )  # fmt: skip
    return found


def summary(*generators, estimates=(), n_units=445):
    rows = [record for own in generators for record in own]
    frame = pd.DataFrame(list(estimates), columns=list(ESTIMATE_COLUMNS))
    return summary_of_rows(pd.DataFrame(judged(rows)), frame, n_units, REFERENCES)


def estimate(generator, p_value, draws=200):
    return {"generator": generator, "estimator": "ols", "estimand": "att", "value": 1.0,
            "p_value": p_value, "p_holm": p_value, "draws": draws, "failed": 0, "status": "ok",
            "note": ""}  # fmt: skip


def row(found, start):
    (cells,) = [cells for cells in found.cells if cells[0].startswith(start)]
    return dict(zip(found.cells[0], cells, strict=True))


def test_a_generator_that_is_right_is_said_to_be_so_in_everything():
    found = summary(records("real"), records("g"), estimates=[estimate("g", 0.4)])
    (words,) = found.paragraphs
    assert words == (
        "g draws new rows instead of copies, and gets the joint distribution, marginal "
        "distributions, correlations, shares at mass points, overlap of the arms and your "
        "estimates right."
    )
    assert len(found.cells) == 1 + 8
    assert row(found, "your estimates")["g"] == "1 of 1"
    assert not any(
        mark in cell for cells in found.cells[1:] for cell in cells[1:] for mark in "!?*"
    )


def test_what_fails_is_named_by_the_use_that_it_spoils():
    wrong = records("g", overlap={"control": 0.2, "treated": 0.4}, marginal_w1=0.3)
    found = summary(records("real"), wrong, estimates=[estimate("g", 0.01)])
    (words,) = found.paragraphs
    assert (
        "Do not trust it for propensity scores, weighting and matching: overlap of the arms is off "
        "(distance of propensity scores among treated rows .400, bar .250)."
    ) in words
    assert "Do not trust it for levels, tails and quantiles of single columns: marginal" in words
    assert "the size of your estimates: it would not produce your estimates: ols (p 0.01)." in words
    assert row(found, "overlap")["g"] == "2.00!"
    assert row(found, "marginal")["g"] == "3.00!"
    assert row(found, "your estimates")["g"] == "0 of 1!"


def test_few_data_are_said_to_decide_nothing():
    few = estimate("g", 0.03, draws=9) | {"p_holm": 0.06}
    found = summary(records("real"), records("g", width=30.0), estimates=[few])
    (words,) = found.paragraphs
    assert words.startswith(
        "g is not known to be right in anything. 445 rows are too few to decide"
    )
    assert "copies of rows" in words
    assert row(found, "your estimates")["g"].endswith("?")


def test_copying_is_the_verdict_and_explains_the_classifier():
    copied = records("g", duplicates=100.0, nn_ratio=0.0, auc_training=0.3)
    (words,) = summary(records("real"), copied).paragraphs
    assert (
        "it copies its training rows (100 % exact duplicates, nearest-neighbor ratio 0.00)" in words
    )
    assert "joint distribution, " in words.split("right.")[0]


def test_real_rows_beyond_a_bar_have_a_mark_and_a_sentence():
    """The bar of correlations is .05; two halves of few rows differ by more."""
    found = summary(records("real", correlations=0.278, mass_points=8.5), records("g"))
    assert row(found, "correlations")["real"] == ".278*"
    assert row(found, "mass points")["real"] == "8.50*"
    (said,) = [words for words in found.remarks if words.startswith("*")]
    assert "beyond the bar of correlations and mass points: samples of 445 rows" in said
    frame = pd.DataFrame(judged([*records("real", correlations=0.278), *records("g")]))
    table = FidelityTable(frame, pd.DataFrame(columns=list(ESTIMATE_COLUMNS)), {}, 445, 5)
    assert "0.278*" in table.details()
    assert "Real rows with * are beyond the bar by chance" in table.details()


def test_no_mark_of_chance_where_real_rows_are_within_the_bars():
    found = summary(records("real"), records("g"))
    assert not any("by chance" in words for words in found.remarks)


def test_the_worst_arm_is_shown():
    arms = ("all", "control", "treated")
    ratio = {"all": 1.0, "control": 1.0, "treated": 0.7}
    found = summary(records("real", arms), records("g", arms, nn_ratio=ratio))
    assert row(found, "nearest-neighbor")["g"] == "0.70!"
    assert (
        "it stays close to its training rows (nearest-neighbor ratio among treated rows .700"
        in (found.paragraphs[0])
    )


def test_a_paragraph_for_each_own_generator_and_none_for_references():
    found = summary(records("real"), records("bootstrap", duplicates=100.0), records("a"),
                    records("b"))  # fmt: skip
    assert [words.split()[0] for words in found.paragraphs] == ["a", "b"]
    assert found.cells[0] == ["measure", "bar", "real", "bootstrap", "a", "b"]


def test_an_estimator_without_an_estimate_is_a_remark():
    broken = {**estimate("g", np.nan), "value": np.nan, "status": "error", "note": "no luck"}
    found = summary(records("real"), records("g"), estimates=[broken])
    assert "ols has no estimate on the real data (error): no luck" in found.remarks
    assert not any(cells[0].startswith("your estimates") for cells in found.cells)


@pytest.mark.parametrize("status", [RIGHT, WRONG, UNRESOLVED])
def test_every_paragraph_is_of_whole_sentences(status):
    thing = Subject("tails", "large losses")
    words = paragraph("g", [Finding(thing, status, "tails are off")], "9 rows")
    assert words.startswith("g ")
    assert words.endswith(".")
    assert "tails" in words


def test_long_names_are_broken_in_the_header_and_the_text_fits():
    own = [records(name) for name in ("GaussianCopula", "my own generator", "WGAN")]
    text = summary_as_text("head", summary(records("real"), *own), ())
    assert max(map(len, text.splitlines())) <= 100
    lines = text_of([["measure", "GaussianCopula", "ab"], ["x", "1", "2"]], breaking=True)
    assert lines.splitlines()[:2] == ["         Gaussian", "measure    Copula  ab"]


def test_a_treatment_among_the_outcomes_is_noted():
    rng = np.random.default_rng(0)
    panel = Panel({"y": rng.normal(size=(20, 4)), "d": 1.0 * (rng.uniform(size=(20, 4)) < 0.5)})
    schema = Schema((Column("y", "continuous"), Column("d", "binary")))
    (note,) = note_on_outcomes(read_panel_layout(panel, schema, None))
    assert "if it is a treatment, name the outcomes: outcome=['y']" in note
    assert note_on_outcomes(read_panel_layout(panel, schema, "y")) == []


def test_a_page_of_results_has_the_verdict_first_and_all_measures_folded_away(tmp_path):
    hostile = "</script><img src=x>"
    rows = [record for name in ("real", hostile) for record in records(name)]
    frame = pd.DataFrame([estimate(hostile, 0.4)], columns=list(ESTIMATE_COLUMNS))
    table = FidelityTable(pd.DataFrame(judged(rows)), frame, {hostile: "passes"}, 445, 5)
    study = mcsim.Study(constant_dgp(), exact_estimator())
    results = mcsim.run(study, reps=16, workers=0, progress=False)
    text = write_html(results, tmp_path / "page.html", fidelity=table).read_text("utf-8")
    section = text.partition('<section id="fidelity">')[2].partition("</section>")[0]
    verdict = "draws new rows instead of copies"
    assert section.index(verdict) < section.index("<table") < section.index("<details>")
    assert "classifier, AUC" in section.partition("<details>")[0]
    assert "auc_holdout" in section.partition("<details>")[2]
    assert '<a href="#fidelity">' in text
    assert "<img" not in text
    without = write_html(results, tmp_path / "without.html").read_text("utf-8")
    assert "fidelity" not in without.partition("<main>")[2].partition("</main>")[0].lower()
