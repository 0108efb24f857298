"""Promise 8: names, caveats and messages are text wherever they are shown."""

import io
import re
import warnings
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import mcsim
from command_line import mcsim_command
from mcsim import Design, Panel, Study, report, run
from mcsim._core.markup import in_latex, in_markdown, latex_comment
from mcsim._core.screen import Screen
from mcsim._run.plan import CellPlan, EstimatorPlan
from mcsim._run.progress import Progress
from mcsim.errors import InputError, UnknownName, printable, printable_lines, warn
from mcsim.testing import constant_dgp, exact_estimator

HOSTILE = "a\x1b[31m\x1b]0;t\x07\r\n\x00\u202eb\u2066\x85\u2028<script>[x](javascript:y)|"
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""All that a terminal obeys but for tabs and ends of lines."""

ORDINARY = [
    "Größe",
    "β̂ (σ²)",
    "log wage",
    "CR1(unit + time)",
    "日本",
    "می‌خواهم",
    "a_b",
    "x\u00a0y",
    "-0.4 %",
]


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_names_stay(name):
    assert printable(name) == in_markdown(name) == printable_lines(name) == name


def test_what_a_terminal_obeys_is_an_escape():
    shown = printable(HOSTILE)
    assert shown.startswith(r"a\x1b[31m\x1b]0;t\x07\r\n\x00\u202eb\u2066\x85\u2028<script>")
    assert not OBEYED.search(shown)
    assert "\n" not in shown
    assert printable(shown) == shown
    assert printable_lines("one\n\ttwo\r\x1b") == "one\n\ttwo\\r\\x1b"
    assert printable("caf\udce9") == r"caf\udce9"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>", "&lt;script>"),
        ("[x](javascript:y)", r"[x\](javascript:y)"),
        ("[x][y]", r"[x\][y]"),
        ("![x](y)", r"![x\](y)"),
        ("[x]: y", r"[x\]: y"),
        (r"[x\](y)", r"[x\\\](y)"),
        ("a|b", r"a\|b"),
        ("`a`", r"\`a\`"),
        ("*a* **b** ~c~", r"\*a* \*\*b\** \~c~"),
        ("_a_ b_c", r"\_a_ b_c"),
        ("&lt;", r"\&lt;"),
        ("R & D", "R & D"),
        ("# a", r"\# a"),
        ("1. a", r"1\. a"),
        ("- a", r"\- a"),
        ("> a", r"\> a"),
        ("-0.40 (0.01) [0.2]", "-0.40 (0.01) [0.2]"),
        ("y ~ x * z", "y ~ x * z"),
        ("a\r\nb", r"a\r\nb"),
    ],
)
def test_markdown_is_text(text, shown):
    assert in_markdown(text) == shown


def test_latex_is_text():
    assert in_latex("50%_\\input{x}\r\x00") == (
        r"50\%\_\textbackslash{}input\{x\}\textbackslash{}r\textbackslash{}x00"
    )
    assert in_latex("[a]") == "{[}a]"
    assert latex_comment("a\r\\input{x}\nb") == r"% a\r\input{x}\nb"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A store of which every name, the caveat, the unit and the summary are hostile."""

    class Summarized:
        summary = HOSTILE

        def __call__(self, key, design):
            return constant_dgp(truth=1.0)(key, design)

    study = Study(
        {HOSTILE: Summarized()},
        {HOSTILE: exact_estimator(truth=1.0)},
        [Design({HOSTILE: HOSTILE}), Design({HOSTILE: "b"})],
        aim=HOSTILE,
        unit=HOSTILE,
        caveats=[HOSTILE],
    )
    store = tmp_path_factory.mktemp("hostile") / "store"
    return store, run(study, reps=4, store=store, workers=0, progress=False)


@pytest.mark.parametrize("form", ["text", "markdown", "latex"])
def test_tables_and_notes_hold_no_marks(hostile, form):
    store, results = hostile
    table = report.render(report.results_table(results), form)
    below = report.notes(results, form)
    for text in (table, below):
        assert not OBEYED.search(text)
        assert r"a\x1b[31m" in text.replace(r"\textbackslash{}", "\\")
    assert len(table.splitlines()) == {"text": 4, "markdown": 4, "latex": 8}[form]
    if form == "markdown":
        assert not re.search(r"<script|(?<!\\)\]\(", table + below)
    if form == "latex":
        assert all(line.startswith("% ") for line in below.splitlines())
    done = mcsim_command("show", store, "--format", form)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{table}\n\n{below}\n"


def test_other_studies_are_named_without_marks(hostile):
    store, _ = hostile
    study = Study({HOSTILE + "2": constant_dgp(truth=1.0)}, {HOSTILE: exact_estimator(truth=1.0)})
    run(study, reps=4, store=store, workers=0, progress=False)
    done = mcsim_command("show", store)
    assert "the store also holds" in done.stderr
    assert not OBEYED.search(done.stdout + done.stderr)


def test_messages_of_study_files_hold_no_marks(tmp_path):
    file = tmp_path / "study.py"
    file.write_text(r"raise ValueError('a\x1b[2J\r\x07\u202eb' + chr(10) + 'x:sun:z')")
    done = mcsim_command("run", file, "--store", tmp_path / "store")
    assert done.returncode == 2
    assert r"ValueError: a\x1b[2J; \x07\u202eb; x:sun:z" in done.stderr
    assert not OBEYED.search(done.stderr)


def test_what_a_study_says_of_itself_holds_no_marks(tmp_path):
    file = tmp_path / "study.py"
    file.write_text(
        "import mcsim\nfrom mcsim.testing import constant_dgp, exact_estimator\n"
        "study = mcsim.Study({'d\\x1b\\n': constant_dgp()}, {'e\\x1b': exact_estimator()}, "
        "aim='\\x1b[2J')\n"
    )
    done = mcsim_command("run", file, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert r"DGP d\x1b\n" in done.stderr
    assert not OBEYED.search(done.stderr)


def test_errors_and_warnings_hold_no_marks():
    assert str(InputError("a\x1b\nb")) == "a\\x1b\nb"
    assert str(UnknownName("a\x07'b'")) == "a\\x07'b'"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn("a\x1b[31m")
    assert str(caught[0].message) == r"a\x1b[31m"


def test_the_progress_display_holds_no_marks(hostile):
    cell, estimator = mock.Mock(), mock.Mock(spec=EstimatorPlan, is_host=False)
    cell.name, estimator.name = HOSTILE + "[red]x[/]:sun:\\", "e\x07[b]"
    plan = mock.Mock(spec=CellPlan, hash="h", estimators=[estimator], cell=cell)
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=400, color_system=None)
    rows = hostile[1].replicates
    study = mock.Mock(spec=Study, level=0.95)
    with (
        mock.patch("mcsim._core.screen.Console", return_value=console),
        Progress(study, [plan], 4, screen=Screen(shown=True)) as display,
    ):
        display.computed(plan, estimator, rows)
    text = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", shown.getvalue())  # of rich itself
    assert r"a\x1b[31m\x1b]0;t\x07\r\n" in text
    assert "[red]x[/]:sun:\\" in text
    assert r"e\x07[b]" in text
    assert not OBEYED.search(text.replace("\r", ""))


def test_panels_schemas_and_fidelity_tables_hold_no_marks():
    panel = Panel({HOSTILE: np.zeros((3, 2))})
    schema = mcsim.Schema((mcsim.Column(HOSTILE, "categorical", levels=(HOSTILE, "b")),))
    assert not OBEYED.search(repr(panel))
    assert not OBEYED.search(str(schema))
    assert "\n" not in str(schema)
    table = mcsim.FidelityTable(
        pd.DataFrame(
            {"generator": [HOSTILE], "measure": "auc", "arm": HOSTILE, "value": 0.5, "sd": 0.1,
             "bar": 0.6, "status": "passes"}
        ),
        pd.DataFrame(columns=["generator"]),
        verdicts={HOSTILE: HOSTILE},
    )  # fmt: skip
    assert not OBEYED.search(str(table) + table.to_markdown())
    assert not re.search(r"<script|(?<!\\)\]\(", table.to_markdown())
