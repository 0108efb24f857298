"""Tables for papers: factors across, and the formats that papers, pages and sheets read."""

import csv
import io
import re

import jax
import jaxtyping
import numpy as np
import pandas as pd
import pytest

import mcsim
from mcsim import report
from mcsim.errors import InputError
from mcsim.estimators import cluster_diagnostics, ols


def draw(key, design):
    y = design["sd"] * jax.random.normal(key, (design["n"],))
    return mcsim.Sample(mcsim.Panel({"y": y}), {"mean": 0.0})


def mean(key, panel):
    y = panel["y"]
    return mcsim.Estimate(y.mean(), y.std(ddof=1) / y.size**0.5, df=y.size - 1)


def zero(key, panel):
    return mcsim.Estimate(0.0 * panel["y"].mean(), 1.0)


@pytest.fixture(scope="module")
def results() -> mcsim.Results:
    grid = mcsim.grid(n=[20, 5], sd=[1.0, 2.0])
    study = mcsim.Study(
        {"<b>normal": draw}, {"z_mean": mean, "a_zero": zero}, grid, aim="<script>x</script>"
    )
    return mcsim.run(study, reps=32, workers=0, progress=False)


def test_a_factor_goes_across_below_each_measure(results):
    table = report.results_table(results, measures=["bias", "coverage"], columns="n")
    assert list(table.columns) == [
        ("sd", ""), ("estimator", ""), ("bias", "n = 20"), ("bias", "n = 5"),
        ("coverage", "n = 20"), ("coverage", "n = 5"),
    ]  # fmt: skip
    flat = report.results_table(results, measures=["bias", "coverage"])
    for _, row in table.iterrows():
        for n in (20, 5):
            label = (row["sd", ""], row["estimator", ""])
            where = (flat["n"] == str(n)) & (flat["sd"] == label[0])
            (figure,) = flat.loc[where & (flat["estimator"] == label[1]), "bias"]
            assert row["bias", f"n = {n}"] == figure


def test_rows_keep_the_order_of_the_study_and_constant_labels_are_left_out(results):
    table = report.results_table(results, measures="bias", rows=["estimator", "n"], columns="sd")
    assert table["estimator"].squeeze().tolist() == ["z_mean", "z_mean", "a_zero", "a_zero"]
    assert table["n"].squeeze().tolist() == ["20", "5", "20", "5"]
    assert "dgp" not in table.columns.get_level_values(0)
    named = report.results_table(results, measures="bias", rows=["dgp"])
    assert named["dgp"].squeeze() == "<b>normal"
    assert named.shape == (1, 1 + 8)


def test_measures_of_the_estimates_need_no_inference():
    model = {"reg": ols("y ~ x", vcov=["iid", "HC1"]), "mean": mean}
    panels = mcsim.dgps.ErrorComponents(n_units=8, n_periods=2)
    results = mcsim.run(mcsim.Study(panels, model), reps=8, workers=0, progress=False)
    table = report.results_table(results, measures="rmse", columns="estimator")
    assert [head[-1] for head in table.columns if head[0] == "rmse"] == ["reg", "mean"]
    with pytest.raises(InputError, match=r"\['inference'\] have several values"):
        report.results_table(results, measures="coverage", rows="estimator", columns="measure")


def test_a_label_that_the_others_determine_may_be_left_out():
    model = {"pooled": ols("y ~ x", vcov="HC1"), "mean": mean}
    panels = mcsim.dgps.ErrorComponents(n_units=8, n_periods=2)
    results = mcsim.run(mcsim.Study(panels, model), reps=8, workers=0, progress=False)
    table = report.results_table(results, measures="coverage", rows="estimator", columns="measure")
    assert table["estimator"].tolist() == ["pooled", "mean"]
    with pytest.raises(InputError, match=r"\['estimator', 'inference'\] have several values"):
        report.results_table(results, measures="coverage", rows="measure", columns="dgp")


def test_measures_may_go_down(results):
    rows = ["measure", "sd", "n"]
    names = ["bias", "coverage"]
    table = report.results_table(results, measures=names, rows=rows, columns="estimator")
    assert list(table.columns) == ["measure", "sd", "n", "z_mean", "a_zero"]
    assert table["measure"].tolist() == ["bias"] * 4 + ["coverage"] * 4
    assert all(float(cell.split()[0]) > 0.8 for cell in table["z_mean"][4:])
    assert report.as_text(table).splitlines()[2].startswith("bias ")


def test_labels_in_neither_or_both_are_sentences(results, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users have it
    with pytest.raises(InputError, match=r"\['n', 'sd'\] have several values and are in neither"):
        report.results_table(results, rows="estimator", columns="measure")
    with pytest.raises(InputError, match="'n' is in both"):
        report.results_table(results, rows="n", columns="n")
    with pytest.raises(InputError, match=r"columns: got 'estimators'; did you mean 'estimator'\?"):
        report.results_table(results, columns="estimators")
    with pytest.raises(InputError, match="columns: got 3"):
        report.results_table(results, columns=3)  # pyright: ignore[reportArgumentType]


def test_heads_span_their_columns(results):
    table = report.results_table(results, measures=["bias", "coverage"], columns="n")
    text = report.as_text(table).splitlines()
    assert text[0].split() == ["bias", "coverage"]
    assert text[1].split()[:2] == ["sd", "estimator"]
    latex = report.as_latex(table)
    assert r"\multicolumn{2}{c}{bias} & \multicolumn{2}{c}{coverage} \\" in latex
    assert r"\cmidrule(lr){3-4} \cmidrule(lr){5-6}" in latex
    assert '<th scope="col" colspan="2">bias</th>' in report.as_html(table)
    assert "| sd | estimator | bias, n = 20 |" in report.as_markdown(table)
    narrow = report.as_text(table, width=60)
    assert max(map(len, narrow.splitlines())) <= 60


def test_every_row_of_latex_has_as_many_cells(results):
    table = report.results_table(results, columns=["sd", "n"])
    for siunitx in (False, True):
        latex = report.as_latex(table, siunitx=siunitx)
        for line in latex.splitlines():
            if line.endswith(r"\\"):
                spans = sum(int(n) - 1 for n in re.findall(r"multicolumn\{(\d+)\}", line))
                assert line.count(" & ") + spans == table.shape[1] - 1
        assert latex.count("{") == latex.count("}")


def test_siunitx_columns_hold_their_figures():
    cells = {"estimator": ["a"] * 5, "bias": ["-0.123 (0.012)", "-1234 (99)", "0.10", "-", "1e+30"]}
    latex = report.as_latex(pd.DataFrame(cells), siunitx=True)
    assert r"\begin{tabular}{lS[table-format=-4.3(2)]}" in latex
    rows = [line.split(" & ")[1] for line in latex.splitlines() if line.startswith("a &")]
    expected = ["-0.123(12)", "-1234(99)", "0.10", "{-}", "{1e+30}"]
    assert rows == [rf"{cell} \\" for cell in expected]


def test_a_table_of_a_paper_has_caption_label_and_notes(results):
    table = report.results_table(results, measures=["bias"])
    latex = report.as_latex(
        table, caption="50 % & more", label="tab:x}\\input{y", notes=report.notes(results)
    )
    assert r"\caption{50 \% \& more}" in latex
    assert r"\label{tab:xinputy}" in latex
    assert (
        latex.index(r"\end{tabular}") < latex.index("32 replications") < latex.index("table}", 200)
    )
    assert latex.count(r"\begin{") == latex.count(r"\end{") == 3


@pytest.mark.parametrize(
    "name", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", " =1", "-cmd|' /C calc'!A0", "\uff1d1"]
)
def test_no_cell_of_csv_is_a_formula(name):
    table = pd.DataFrame({"estimator": [name], name: ["-0.12 (0.03)"]})
    heads, row = csv.reader(io.StringIO(report.as_csv(table)))
    for cell in (heads[1], row[0]):
        assert cell[0] == "'" or cell.startswith("\\t")
    assert row[1] == "-0.12 (0.03)"


def test_csv_is_read_back(results):
    table = report.results_table(results, measures=["bias", "coverage"], columns="n")
    back = pd.read_csv(io.StringIO(report.as_csv(table)), dtype=str)
    assert back["bias, n = 5"].tolist() == table["bias", "n = 5"].tolist()


def test_a_wide_table_is_split_by_a_factor(results):
    table = report.results_table(results, measures=["bias", "coverage"], columns=["sd", "n"])
    parts = report.split_table(table, "sd")
    assert list(parts) == ["sd = 1.0", "sd = 2.0"]
    assert list(parts["sd = 2.0"].columns)[-1] == ("coverage", "n = 5")
    single = report.split_table(report.split_table(table, "measure")["bias"], "sd")["sd = 1.0"]
    assert list(single.columns) == ["estimator", "n = 20", "n = 5"]
    rows = report.split_table(report.results_table(results, measures=["bias"]), "n")
    assert [len(part) for part in rows.values()] == [4, 4]
    assert "n" not in rows["n = 5"]
    with pytest.raises(InputError, match="by: got 'x', expected a label of the table"):
        report.split_table(table, "x")


def test_files_in_all_formats(results, tmp_path, capsys):
    table = report.results_table(results, measures=["bias"])
    kinds = ["markdown", "latex", "html", "csv", "text"]
    files = report.write_table(table, tmp_path, "bias_by_n", formats=kinds, caption="Bias")
    assert [file.name for file in files] == [
        f"bias_by_n.{ending}" for ending in ("md", "tex", "html", "csv", "txt")
    ]
    assert capsys.readouterr().out.startswith("Bias by n:\ndgp")
    assert all(file.read_text(encoding="utf-8").endswith("\n") for file in files)
    parts = report.split_table(table, "n")
    (file,) = report.write_table(parts, tmp_path, "parts", formats="latex", label="tab:b")
    assert re.findall(r"\\label\{(.*)\}", file.read_text()) == ["tab:b-1", "tab:b-2"]
    with pytest.raises(InputError, match="did you mean 'latex'"):
        report.write_table(table, tmp_path, "x", formats="tex")


def test_notebooks_show_short_tables_and_names_stay_text(results):
    study = mcsim.Study({"<b>": draw}, {"<i>": mean}, mcsim.grid(n=[5], sd=[1.0]), aim="<u>")
    summary = results.summary(measures=["bias"])
    paper = summary[["n", "sd", "estimator"]].assign(measure="bias", published=0.1)
    compared = mcsim.compare(summary, paper)
    panel = mcsim.Panel({"y": np.arange(6.0).reshape(3, 2) ** 2, "x": [[0, 1], [2, 9], [1, 3]]})
    diagnostics = cluster_diagnostics(ols("y ~ x"), panel)
    for shown in (results, study, compared, diagnostics):
        text, html = repr(shown), shown._repr_html_()
        assert len(text) < 200
        assert "\n" not in text
        assert html.count("<table") == html.count("</table>") == 1
        assert not re.search(r"<(b>normal|i>|u>|script)", html)
    assert results._repr_html_().count("<tr>") == 1 + 8
    assert results._repr_html_().split("</thead>")[0].count("<th") <= 10
