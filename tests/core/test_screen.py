"""Progress in a notebook, in a log, and nowhere; `tests/test_startup.py` has the terminal's."""

import io
import subprocess
import sys
import time
from types import SimpleNamespace
from unittest import mock

import pytest
from rich.console import Console

from mcsim._core.screen import Line, Screen, progress_bar

HOSTILE = "<b>\x1b[31m"


@pytest.fixture
def log():
    """Standard error that is no terminal."""
    written = io.StringIO()
    with mock.patch("mcsim._core.screen.Console", return_value=Console(file=written)):
        yield written


@pytest.fixture
def notebook(monkeypatch):
    """The messages that a notebook gets: (text, HTML, id, whether it replaces)."""
    got = []

    def display(shown, *, raw, display_id, update):
        assert raw
        got.append((shown["text/plain"], shown["text/html"], display_id, update))

    shell = SimpleNamespace(kernel=object())
    ipython = SimpleNamespace(
        get_ipython=lambda: shell, display=SimpleNamespace(display=display), version_info=(9, 0)
    )
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    return got


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_log_has_a_line_every_thirty_seconds_and_closes_with_one(log, clock):
    state = {"line": Line("half\x07", 0.5)}
    screen = Screen(shown=True, clock=clock)
    with screen.line(lambda: state["line"], last=True):
        assert log.getvalue() == ""
        clock.now += 30
        wait_for(log.getvalue)
        clock.now += 29
        time.sleep(0.6)
        assert log.getvalue() == "50 %  half\\x07\n"
        clock.now += 1
        wait_for(lambda: log.getvalue().count("\n") == 2)
        state["line"] = Line("all", 1.0)
    assert log.getvalue().splitlines()[2:] == ["100 %  all"]


def test_a_log_is_silent_about_work_that_ends_before(log, clock):
    screen = Screen(shown=True, clock=clock)
    with screen.step("planning the study"):
        clock.now += 29
    with screen.line(lambda: Line("done", 1.0), last=True):
        pass
    assert log.getvalue() == ""


def test_a_notebook_replaces_one_line_by_the_next(log, notebook, clock):
    screen = Screen(shown=True, clock=clock)
    with screen.step("planning the study"):
        pass
    with screen.line(lambda: Line(HOSTILE, 0.25)):
        pass
    (text, page, name, update), (last, last_page, last_name, last_update) = notebook
    assert (text, update, last_update) == ("planning the study", False, True)
    assert name == last_name != ""
    assert "progress" not in page
    assert last == "<b>\\x1b[31m"
    assert '<progress value="0.2500" max="1"></progress> &lt;b&gt;' in last_page
    assert log.getvalue() == ""


def test_a_bar_of_a_fit_is_a_line_of_a_notebook(log, notebook, clock):
    with progress_bar("fitting", 4, shown=True, clock=clock) as advance:
        clock.now += 10
        advance()
        wait_for(lambda: len(notebook) > 1)
        for _ in range(3):
            advance()
    texts = [text for text, *_ in notebook]
    assert texts[0] == "fitting  0:00:00"
    assert "fitting  0:00:10  0:00:30 left" in texts
    assert texts[-1] == "fitting  0:00:10"
    assert 'value="1.0000"' in notebook[-1][1]


@pytest.mark.parametrize("where", ["log", "notebook"])
def test_nothing_is_shown_where_progress_is_not_asked_for(where, log, notebook, clock):
    if where == "log":
        del sys.modules["IPython"]
    with Screen(shown=False, clock=clock).step("planning the study"):
        clock.now += 60
        time.sleep(0.3)
    with progress_bar("fitting", 1, shown=False, clock=clock) as advance:
        clock.now += 60
        advance()
    assert (log.getvalue(), notebook) == ("", [])


@pytest.mark.parametrize("shell", [None, SimpleNamespace()])
def test_without_a_kernel_ipython_is_no_notebook(shell, log, monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert Screen(shown=True).kind == "log"


def test_ipython_is_not_imported():
    code = "import sys; from mcsim._core.screen import Screen; Screen(shown=True); "
    code += "assert 'IPython' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
