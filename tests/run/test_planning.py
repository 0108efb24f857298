"""Planning a study: what its cells share is described and traced once."""

from collections import Counter

import pandas as pd
import pytest

from mcsim import Estimate, Study, grid
from mcsim._results.failures import has_failed
from mcsim._results.store import Store
from mcsim._run.plan import plan
from mcsim.testing import constant_dgp


def first_value(key, panel):
    return {"mean": Estimate(panel["y"][0, 0], 1.0)}


def last_value(key, panel):
    return {"mean": Estimate(panel["y"][-1, 0], 1.0)}


@pytest.fixture
def calls(monkeypatch):
    """How often a cell's parts are described and traced."""
    from mcsim._run import plan as module

    counts: Counter[str] = Counter()
    for name in ("describe", "sample_shape", "estimate_labels"):
        before = getattr(module, name)

        def counted(*arguments, _name=name, _before=before):
            counts[_name] += 1
            return _before(*arguments)

        monkeypatch.setattr(module, name, counted)
    return counts


def test_cells_of_one_shape_are_described_and_traced_once(calls, tmp_path):
    study = Study(
        {"small": constant_dgp(n_units=5), "large": constant_dgp(n_units=9)},
        {"first": first_value, "last": last_value},
        grid(effect=[0.0, 0.5, 1.0, 1.5]),
    )
    plans = plan(study, 0, Store.create(tmp_path))
    assert len(plans) == 8
    assert len({cell.hash for cell in plans}) == 8
    # two DGPs, and two estimators on panels of two shapes; the estimators are described as well
    assert calls == {"describe": 4, "sample_shape": 2, "estimate_labels": 4}


def test_static_factors_are_traced_each(calls, tmp_path):
    study = Study(lambda key, design: constant_dgp(n_units=design["n"])(key, design), first_value,
                  grid(n=[5, 9]))  # fmt: skip
    plans = plan(study, 0, Store.create(tmp_path))
    assert [cell.estimators[0].labels for cell in plans] == 2 * [(("mean", ""),)]
    assert calls["sample_shape"] == calls["estimate_labels"] == 2


def test_failures_are_found_among_codes_as_among_texts():
    texts = ["ok", "nan", "no_se", "singular", "ok"]
    categories = pd.Categorical(texts)
    expected = [False, True, False, True, False]
    for status in (texts, categories, categories.add_categories("timeout")):
        assert has_failed(pd.DataFrame({"status": status})).tolist() == expected
    assert has_failed(pd.DataFrame({"status": categories[:0]})).empty
