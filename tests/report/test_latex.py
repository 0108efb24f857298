"""Tables compiled by LaTeX, where it is installed: every option, names with any character.

Debian's packages are texlive-latex-recommended, texlive-latex-extra and texlive-science.
"""

import re
import shutil
import subprocess
from pathlib import Path

import jax
import pandas as pd
import pytest

import mcsim
from mcsim import report

PAGE = Path(__file__).parents[2] / "docs" / "tables_and_figures.md"
NAMES = (
    r"50%_off & #1 $x^2$ ~{a}\input{b} <b>|c| [k] *s* `q` 'r' \"d\"",
    "[first -- --- '' ,, ?` !`",
    "*naïve β̂ ρ̄ x̂ = ½ é ß Łódź – — “q” … × ≤ ≥ ± − → ∞ μ Δ ² α †",  # noqa: RUF001
)
DOCUMENT = r"""\documentclass{article}
\usepackage[a3paper, landscape, margin=1cm]{geometry}
\usepackage{booktabs}
\usepackage{siunitx}
\begin{document}
%s
\end{document}
"""

needs_latex = pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="pdflatex is not installed: tables are not compiled"
)


def compiled(text: str, folder: Path) -> str:
    """Return the log of a document that compiles, twice for its references."""
    (folder / "paper.tex").write_text(text, encoding="utf-8")
    command = ["pdflatex", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    for _ in range(2):
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    log = (folder / "paper.log").read_text(encoding="utf-8", errors="replace")
    assert "undefined" not in log
    return log


@pytest.fixture(scope="module")
def results() -> mcsim.Results:
    def draw(key, design):
        y = design["sd"] * jax.random.normal(key, (design["n"],))
        return mcsim.Sample(mcsim.Panel({"y": y}), {"mean": 0.0})

    def mean(key, panel):
        y = panel["y"]
        fit = mcsim.Estimate(y.mean(), y.std(ddof=1) / y.size**0.5, df=y.size - 1)
        return {("mean", "iid"): fit, ("mean", "a_b & c"): fit}

    designs = mcsim.grid(n=[5, 20], sd=[0.001, -1000.0])
    study = mcsim.Study({NAMES[0]: draw}, dict.fromkeys(NAMES, mean), designs)
    return mcsim.run(study, reps=32, workers=0, progress=False)


@needs_latex
@pytest.mark.parametrize("siunitx", [False, True])
def test_tables_compile_in_every_layout(results, siunitx, tmp_path):
    measures = ["bias", "coverage"]
    rows = ["sd", "estimator", "inference"]
    flat = report.results_table(results, measures=measures)
    wide = report.results_table(results, measures=measures, rows=rows, columns="n")
    deep = report.results_table(results, measures=measures, columns=["sd", "n", "measure"])
    down = report.results_table(results, measures=measures, rows=["measure", *rows], columns="n")
    odd = pd.DataFrame({"estimator": NAMES, "bias": ["-", "inf", "-1.2e-11 (3.0e-12)"]})
    odd = odd.assign(z=["+1.2", "-0.4", "nan"], status="no_se")
    tables = [flat, wide, deep, down, odd, *report.split_table(wide, "measure").values()]
    texts = [
        report.as_latex(
            table,
            caption=f"Table {k}: {' '.join(NAMES)}",
            label=f"tab:{k}",
            notes=[report.notes(results), *NAMES],
            siunitx=siunitx,
        )
        for k, table in enumerate(tables)
    ]
    texts += [report.as_latex(part, siunitx=siunitx) for part in tables]
    compiled(DOCUMENT % "\n\\clearpage\n".join(texts), tmp_path)


@needs_latex
def test_names_are_printed_as_they_stand(tmp_path):
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed: the text of the page is not read")
    table = pd.DataFrame({"estimator": [NAMES[0], "[k] a -- b", "β, ≤, −1"], "bias": ["-0.1"] * 3})  # noqa: RUF001
    compiled(DOCUMENT % report.as_latex(table), tmp_path)
    command = ["pdftotext", "-layout", "paper.pdf", "-"]
    text = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout.decode()
    assert re.search(r"50%.off & #1 \$x", text)  # the underscore is a rule, not a character
    assert r"{a}\input{b} <b>|c| [k] *s*" in text
    assert "[k] a -- b" in text
    assert "β, ≤, −1" in text  # noqa: RUF001
    assert text.count("−0.1") == 3  # noqa: RUF001  (a minus, no hyphen)


@needs_latex
def test_the_document_of_the_docs_compiles_without_a_warning(tmp_path):
    page = PAGE.read_text(encoding="utf-8")
    (document,) = re.findall(r"^```latex\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (table,) = re.findall(r"^```text\n(% needs.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "coverage.tex").write_text(table, encoding="utf-8")
    log = compiled(document, tmp_path)
    assert not re.findall(r"Warning|Overfull|Underfull", log)
    assert (tmp_path / "paper.pdf").stat().st_size > 1000


def test_figures_have_a_minus_and_greek_letters_are_commands():
    table = pd.DataFrame({"estimator": ["β̂ <b> --"], "bias": ["-0.12 (0.03)"]})
    row = report.as_latex(table).splitlines()[4]
    assert row == r"$\hat{\beta}$ \textless{}b\textgreater{} -{}- & $-$0.12 (0.03) \\"


def test_words_stay_left_beside_aligned_figures():
    table = pd.DataFrame({"estimator": ["a"], "value": ["0.1"], "status": ["ok"]})
    assert r"\begin{tabular}{lS[table-format=1.1]l}" in report.as_latex(table, siunitx=True)
