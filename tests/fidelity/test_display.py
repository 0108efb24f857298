"""Fidelity tables in a notebook: the verdict first, a short repr, names as text."""

import math

import pandas as pd
import pytest

from mcsim._fidelity.formats import summary_as_html
from mcsim._fidelity.summary import Summary
from mcsim._fidelity.tables import ESTIMATE_COLUMNS, MEASURE_COLUMNS, FidelityTable


@pytest.fixture
def table() -> FidelityTable:
    row = {"arm": "all", "value": 0.2, "sd": 0.01, "lower": 0.1, "upper": 0.3, "note": ""}
    row |= {"null_lower": math.nan, "null_upper": math.nan, "baseline": 0.1, "bar": 0.3}
    rows = [
        {**row, "generator": name, "measure": "marginal_w1", "status": "passes"}
        for name in ("real", "<b>own")
    ]
    measures = pd.DataFrame(rows)[list(MEASURE_COLUMNS)]
    estimates = pd.DataFrame(columns=list(ESTIMATE_COLUMNS))
    return FidelityTable(measures, estimates, {"<b>own": "passes <all>"}, 50, 2)


def test_the_verdict_comes_first_and_names_stay_text(table):
    html = table._repr_html_()
    verdict = "&lt;b&gt;own gets marginal distributions right."
    assert html.index(verdict) < html.index("<table")
    assert html.count("<table") == html.count("</table>") == 1
    assert "<b>own" not in html
    assert repr(table) == "FidelityTable(<b>own: Fidelity to 50 real rows, 2 folds)"


def test_all_parts_of_a_summary_are_escaped():
    html = summary_as_html("<head>", Summary(("<v>",), [["<c>"], ["b"]], ("<legend>",)), ["<note>"])
    assert not {"<head>", "<v>", "<c>", "<legend>", "<note>"} & {f"<{p}" for p in html.split("<")}
