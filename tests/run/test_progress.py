"""Rate and time left of a run, with a clock of the test."""

from types import SimpleNamespace

import pandas as pd
import pytest

from mcsim import Study, host
from mcsim._core.screen import Screen
from mcsim._results.store import Store
from mcsim._run.plan import plan
from mcsim._run.progress import Pace, Progress
from mcsim.testing import constant_dgp, exact_estimator


@host(estimand="mean")
def slow(frame):
    raise NotImplementedError


def rows(start, stop):
    numbers = {name: 1.0 for name in ("value", "se", "lower", "upper", "df", "p_value", "truth")}
    return pd.DataFrame({"rep": range(start, stop), **numbers, "status": "ok"})


@pytest.fixture
def shown(clock, tmp_path):
    """A display of 2,048 replications of a native and of a host estimator in one cell."""
    study = Study(constant_dgp(), {"native": exact_estimator(), "slow": slow})
    (cell,) = plan(study, 0, Store.create(tmp_path))
    display = Progress(study, [cell], 2048, screen=Screen(shown=False), clock=clock)
    native, hosted = cell.estimators
    with display:
        yield SimpleNamespace(display=display, cell=cell, native=native, host=hosted)


def test_time_left_of_host_estimators_is_by_their_own_rate(shown, clock):
    clock.now += 1.0
    shown.display.computed(shown.cell, shown.native, rows(0, 1024))
    assert shown.display.pace.remaining is None  # no rate of the host estimator yet
    clock.now += 63.0
    shown.display.computed(shown.cell, shown.host, rows(0, 64))
    pace = shown.display.pace
    assert pace.rates == {"native": 1024 / 64, "host": 1.0}
    assert pace.remaining == pytest.approx((2048 - 64) / 1.0)
    assert str(pace) == "16/s native  1/s host  0:01:04  0:33:04 left"


def test_what_the_store_held_is_no_part_of_the_rate(shown, clock):
    shown.display.found(shown.cell, shown.native, rows(0, 2048))
    shown.display.found(shown.cell, shown.host, rows(0, 1920))
    clock.now += 64.0
    shown.display.computed(shown.cell, shown.host, rows(1920, 1984))
    assert shown.display.pace.rates["host"] == 1.0
    assert shown.display.pace.remaining == pytest.approx(64.0)


def test_what_is_skipped_is_not_waited_for(shown, clock):
    clock.now += 10.0
    shown.display.computed(shown.cell, shown.native, rows(0, 1024))
    shown.display.computed(shown.cell, shown.host, rows(0, 64))
    shown.display.skipped(shown.cell, shown.host, range(64, 2048, 64))
    assert shown.display.pace.remaining == pytest.approx(10.0)


def test_one_kind_needs_no_name(clock):
    pace = Pace(clock)
    pace.begin()
    pace.ask("host", 100)
    clock.now += 8.0
    pace.settle("host", 64, computed=True)
    assert str(pace) == "8/s  0:00:08  0:00:04 left"
    pace.settle("host", 36, computed=True)
    assert pace.remaining == 0.0
    assert str(pace) == "0:00:08"


def test_the_line_of_a_notebook_counts_estimates_and_says_what_is_awaited(shown, clock):
    display = shown.display
    display.wait_for({"draw", "estimate"}, 2)
    assert display.line() == ("0/4,096  0:00:00  starting 2 workers, compiling 1 of 2", 0.0)
    display.started()
    display.ran("draw")
    display.ran("estimate")
    clock.now += 10.0
    display.computed(shown.cell, shown.native, rows(0, 1024))
    assert display.line() == ("1,024/4,096  102/s native  0:00:10", 0.25)
    display.computed(shown.cell, shown.native, rows(1024, 2048))
    display.skipped(shown.cell, shown.host, range(64, 2048, 64))
    display.computed(shown.cell, shown.host, rows(0, 64))
    assert display.line() == ("4,096/4,096  0:00:10", 1.0)
    assert display.share == 1.0
