"""BLAS has one thread while a run or `estimate` computes, and as many as before afterwards."""

import jax
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import mcsim
from mcsim._core.machine import one_blas_thread


def threads_of_blas():
    np.linalg.inv(np.eye(2))
    return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


@pytest.fixture
def two_threads():
    with one_blas_thread():  # loads SciPy's too
        pass
    with threadpool_limits(2, user_api="blas"):
        before = threads_of_blas()
    if before != {2}:
        pytest.skip(f"BLAS has {before} threads here, whatever is asked for")
    with threadpool_limits(2, user_api="blas"):
        yield


def test_blas_has_one_thread_and_its_threads_again(two_threads):
    with one_blas_thread():
        assert threads_of_blas() == {1}
    assert threads_of_blas() == {2}


def draws(key, design):
    return mcsim.Sample(mcsim.Panel({"y": jax.random.normal(key, (5, 1))}), {"mean": 0.0})


@pytest.mark.parametrize("on_data", [False, True])
def test_estimates_are_computed_with_one_thread_of_blas(on_data, two_threads):
    seen = []

    def mean(key, panel):
        jax.debug.callback(lambda _: seen.append(threads_of_blas()), panel["y"].sum())
        return {"mean": mcsim.Estimate(panel["y"].mean(), 1.0)}

    if on_data:
        mcsim.estimate(mean, mcsim.Panel({"y": np.arange(5.0)[:, None]}))
    else:
        mcsim.run(mcsim.Study(dgp=draws, estimators=mean), reps=2, workers=1, progress=False)
    jax.effects_barrier()
    assert seen
    assert all(one == {1} for one in seen)
    assert threads_of_blas() == {2}
