"""Evaluating an estimator: one function runs native and host estimators, and labels estimates."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import mcsim
from mcsim import Estimate, Panel, Status
from mcsim._host.pool import WorkerPool
from mcsim._run.evaluate import evaluate
from mcsim.errors import ContractError, InputError
from mcsim.estimators import difference_in_means

KEYS = jax.random.split(jax.random.key(0), 3)
FRAME = pd.DataFrame(
    {"wage": [1.0, 4.0, 2.0, 8.0], "group": pd.Categorical(["men", "women", "men", "women"])},
    index=pd.Index([7, 8, 9, 10], name="person"),
)


def three(frame):
    """Three panels like a frame, the second and third with higher wages; and their schema."""
    panel, schema = mcsim.from_frame(frame)
    columns = {name: jnp.stack([panel[name]] * 3) for name in panel}
    columns["wage"] = columns["wage"] + jnp.asarray([0.0, 1.0, 2.0])[:, None, None]
    return Panel.batch(columns, static=panel.static_part), schema


def native_mean(key, panel):
    return {"mean": Estimate(panel["wage"].mean())}


@mcsim.host(estimand="mean")
def host_mean(frame):
    return Estimate(frame["wage"].mean())


def copied_mean(frame):
    copy = frame.copy()
    assert list(copy.index) == [7, 8, 9, 10]
    assert set(copy["group"]) == {"men", "women"}
    return Estimate(copy["wage"].mean())


@pytest.mark.parametrize("pool", [None, WorkerPool(0)], ids=["here", "as in a study"])
def test_native_and_host_estimators_give_the_same(pool):
    panels, schema = three(FRAME)
    for estimator in (native_mean, host_mean, mcsim.host(estimand="mean")(copied_mean)):
        found = evaluate("mean", estimator, KEYS, panels, schema, pool=pool)
        assert list(found.estimates) == [("mean", "")]
        np.testing.assert_allclose(found.estimates["mean", ""].value, [3.75, 4.75, 5.75])
        assert found.estimates["mean", ""].status.tolist() == [0, 0, 0]


@mcsim.host(estimand="mean")
def failing_above_four(frame):
    if frame["wage"].mean() > 5:
        return {"HC1": Estimate(1.0), "HC3": Estimate(2.0)}
    if frame["wage"].mean() > 4:
        raise ZeroDivisionError("wages")
    return {"HC1": Estimate(1.0)}


def test_failures_are_statuses_as_in_a_study_and_raised_here():
    panels, schema = three(FRAME)
    found = evaluate("e", failing_above_four, KEYS, panels, schema, pool=WorkerPool(0))
    error, ok = int(Status.ERROR), int(Status.OK)
    assert found.estimates["mean", "HC1"].status.tolist() == [ok, error, ok]
    assert found.estimates["mean", "HC3"].status.tolist() == [error, error, ok]
    np.testing.assert_array_equal(found.estimates["mean", "HC3"].value, [np.nan, np.nan, 2.0])
    assert [outcome.reason for outcome in found.outcomes] == ["", "ZeroDivisionError: wages", ""]
    with pytest.raises(ZeroDivisionError):
        evaluate("e", failing_above_four, KEYS, panels, schema)


def test_where_nothing_succeeds_there_is_one_estimate_without_a_label():
    @mcsim.host
    def failing(frame):
        raise KeyError("wage")

    found = evaluate("e", failing, KEYS, *three(FRAME), pool=WorkerPool(0))
    assert found.estimates["", ""].status.tolist() == [int(Status.ERROR)] * 3


def test_resampling_estimators_draw_from_the_keys():
    @mcsim.host(estimand="draw")
    def drawing(rng, frame):
        return Estimate(rng.normal())

    panels, _ = three(FRAME)
    one, other = (
        evaluate("e", drawing, KEYS, panels, pool=pool).estimates["draw", ""].value
        for pool in (None, WorkerPool(0))
    )
    np.testing.assert_array_equal(one, other)
    assert len(set(one)) == 3


def test_an_estimator_is_bound_to_the_schema():
    panels, schema = three(FRAME)
    plain = Panel.batch({name: panels[name] for name in panels})
    with pytest.raises(InputError, match="categor"):
        evaluate("e", difference_in_means("wage ~ group"), KEYS, plain, schema)


def test_another_result_than_estimates_is_an_error():
    with pytest.raises(ContractError, match=r"estimator 'e': .*expected an Estimate"):
        evaluate("e", lambda key, panel: 1.0, KEYS, three(FRAME)[0])


def test_a_process_that_dies_costs_one_replication():
    @mcsim.host(estimand="mean")
    def dying_above_five(frame):
        if frame["wage"].mean() > 5:
            os._exit(1)
        return Estimate(0.0)

    pool = WorkerPool(1)
    try:
        found = evaluate("e", dying_above_five, KEYS, *three(FRAME), pool=pool)
    finally:
        pool.stop()
    statuses = [Status(int(number)) for number in found.estimates["mean", ""].status]
    assert statuses == [Status.OK, Status.OK, Status.CRASHED]
