"""Samples of host DGPs: frames that are alike are checked once, and stacked to the same numbers."""

import numpy as np
import pandas as pd
import pytest

from mcsim._data.frames import from_sample
from mcsim._host import samples as module
from mcsim._host.samples import stack_samples
from mcsim.errors import ContractError


def cross_section(rng):
    numbers = {"y": rng.normal(size=7), "d": rng.random(7) < 0.5, "n": rng.integers(0, 99, 7)}
    return pd.DataFrame(numbers).assign(x=rng.choice([np.nan, 1.5], 7))


def shuffled_panel(rng):
    index = pd.MultiIndex.from_product([["b", "a", "c"], [2002, 2001]], names=["firm", "year"])
    frame = pd.DataFrame({"y": rng.normal(size=6), "x": rng.normal(size=6)}, index=index)
    frame.iloc[rng.integers(6), 0] = np.nan
    return frame.iloc[[4, 0, 3, 1, 2]]  # a cell is not observed


def reordered(rng):
    frame = shuffled_panel(rng)
    return frame.sample(frac=1.0, random_state=int(rng.integers(99)))


def with_groups(rng):
    group = pd.Categorical(rng.choice(["u", "v"], 5), ["u", "v"])
    return pd.DataFrame({"y": rng.normal(size=5), "g": group})


def with_index_as_column(rng):
    frame = shuffled_panel(rng).reset_index()
    return frame.set_index(["firm", "year"], drop=False)[["year", "y"]]


@pytest.mark.parametrize(
    "draw", [cross_section, shuffled_panel, reordered, with_groups, with_index_as_column]
)
def test_stacked_numbers_are_those_of_each_frame_alone(draw):
    rng = np.random.default_rng(3)
    samples = [(draw(rng), {"m": float(k)}) for k in range(9)]
    columns, mask, truths, schema = stack_samples("d", samples)
    for k, (frame, _) in enumerate(samples):
        panel, own = from_sample(frame)
        assert list(columns) == list(panel)
        for name, values in columns.items():
            np.testing.assert_array_equal(values[k], np.asarray(panel[name]), strict=True)
        if panel.mask is None:
            assert mask is None or mask[k].all()
        else:
            np.testing.assert_array_equal(mask[k], np.asarray(panel.mask))
        assert (own.unit_labels, own.period_labels) == (schema.unit_labels, schema.period_labels)
    np.testing.assert_array_equal(truths["m"], np.arange(9.0))


def test_a_column_is_of_integers_only_if_it_is_in_every_frame():
    frames = [
        pd.DataFrame({"n": [1, 2]}),
        pd.DataFrame({"n": [1, 2]}),
        pd.DataFrame({"n": [1, 2.5]}),
    ]
    kinds = [
        stack_samples("d", [(frame, {}) for frame in some])[3]["n"].kind
        for some in (frames[:2], frames)
    ]
    assert kinds == ["integer", "continuous"]


@pytest.mark.parametrize(
    ("column", "fault"),
    [
        ([1.0, np.inf, 2.0], "1 infinite values"),
        ([np.nan] * 3, "has no value"),
        ([2**53 + 1, 0, 1], "9007199254740993"),
    ],
)
def test_faults_of_a_later_frame_are_found(column, fault):
    fine = pd.DataFrame({"y": np.array([1, 2, 3], np.asarray(column).dtype)})
    frames = [fine, fine + 1, pd.DataFrame({"y": column})]
    with pytest.raises(ContractError, match=fault):
        stack_samples("d", [(frame, {}) for frame in frames])


def test_frames_of_another_shape_or_other_columns_are_refused():
    frame = pd.DataFrame({"y": [1.0, 2.0], "x": [0.0, 1.0]})
    for other in (frame.iloc[:1], frame.rename(columns={"x": "z"}), frame[["x", "y"]]):
        with pytest.raises(ContractError, match="samples differ in"):
            stack_samples("d", [(frame, {}), (other, {})])


def test_frames_that_are_alike_are_checked_once(monkeypatch):
    calls = []
    monkeypatch.setattr(module, "from_sample", lambda f: calls.append(1) or from_sample(f))
    rng = np.random.default_rng(0)
    stack_samples("d", [(pd.DataFrame({"y": rng.normal(size=4)}), {"m": 0.0}) for _ in range(64)])
    assert len(calls) == 2  # the first frame, and the places of its rows
