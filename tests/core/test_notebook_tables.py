"""Tables of notebooks: equal labels share a cell, text is aligned left, figures stay on a line."""

import re

import mcsim
from mcsim._core.markup import html_table

HEADS = [["dgp", "n", "estimator", "bias", "note"]]
ROWS = [
    ["a", 50, "ols", "-0.01 (0.02)", "fine"],
    ["a", 50, "did", "-", ""],
    ["a", 99, "ols", "0.03", ""],
    ["b", 99, "ols", "0.03", "<b>"],
]


def cells_of(html):
    """Rows of a table, as (tag, attributes, text) of their cells."""
    return [
        re.findall(r"<(th|td)([^>]*)>([^<]*)</", row) for row in re.findall("<tr>(.*)</tr>", html)
    ]


def test_equal_labels_of_neighbors_share_a_cell_within_the_label_before():
    rows = cells_of(html_table(HEADS, ROWS, 3))[1:]
    texts = [[text for _, _, text in row] for row in rows]
    assert texts == [
        ["a", "50", "ols", "-0.01 (0.02)", "fine"],
        ["did", "-", ""],
        ["99", "ols", "0.03", ""],
        ["b", "99", "ols", "0.03", "&lt;b&gt;"],  # the n of another DGP
    ]
    spans = [re.findall('rowspan="(.)"', attributes) for _, attributes, _ in rows[0]]
    assert spans[:3] == [["3"], ["2"], []]


def test_labels_and_text_are_left_aligned_and_figures_stay_on_a_line():
    head, first, *_ = cells_of(html_table(HEADS, ROWS, 3))
    for row in (head, first):
        styles = ["left" in attributes for _, attributes, _ in row]
        assert styles == [True, True, True, False, True]
        assert "nowrap" in row[3][1]


def test_a_caption_keeps_its_lines():
    html = html_table([["a"]], [["1"]], caption="what is measured <i>\ny")
    assert "what is measured &lt;i&gt;<br>y</caption>" in html


def test_a_plain_table_has_a_cell_for_each_label_and_no_style():
    html = html_table(HEADS, ROWS, 3, plain=True)
    assert [len(row) for row in cells_of(html)] == [5] * 5
    assert "style" not in html
    assert "rowspan" not in html


def test_a_schema_shows_its_columns():
    columns = mcsim.Column("<wage>", "continuous", lower=0.0), mcsim.Column("union", "binary")
    rows = cells_of(mcsim.Schema(columns)._repr_html_())
    assert [text for _, _, text in rows[1]] == ["&lt;wage&gt;", "continuous   [0, inf]"]
    assert rows[2][0][2] == "union"
