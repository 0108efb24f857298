"""The bootstrap and the potential outcomes of a fitted generator."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from mcsim import Design, Estimate, Panel, Study, from_frame, run
from mcsim.dgps import Bootstrap, PotentialOutcomes
from mcsim.errors import InputError
from mcsim.testing import check_dgp

PANEL = Panel({"y": np.arange(10.0), "d": (np.arange(10) < 4).astype(float)})


def mean(key, panel):
    return {"mean": Estimate(panel["y"].mean(), panel["y"].std())}


def test_the_bootstrap_draws_units_with_all_their_values():
    panel, _ = from_frame(pd.DataFrame({"y": np.arange(10.0), "twice": 2 * np.arange(10.0)}))
    check_dgp(Bootstrap(panel, truth={"mean": 4.5}))
    drawn = Bootstrap(panel, truth={"mean": 4.5})(jax.random.key(0), Design()).panel
    np.testing.assert_array_equal(drawn["twice"], 2 * drawn["y"])
    assert drawn.n_units == 10


def test_every_unit_is_drawn_equally_often():
    dgp = Bootstrap(PANEL, truth={"mean": 4.5})
    keys = jax.random.split(jax.random.key(1), 20_000)
    drawn = jax.vmap(lambda key: dgp(key, Design()).panel["y"])(keys)
    counts = np.bincount(np.asarray(drawn).ravel().astype(int), minlength=10)
    assert np.abs(counts / counts.sum() - 0.1).max() < 4 * np.sqrt(0.09 / counts.sum())


def test_strata_keep_their_sizes():
    dgp = Bootstrap(PANEL, truth={"mean": 4.5}, strata="d")
    for key in jax.random.split(jax.random.key(2), 20):
        assert dgp(key, Design()).panel["d"].sum() == 4


def test_an_assumed_truth_and_each_estimators_own():
    truths = {"assumed": {"mean": 3.0}, "own": "own"}
    dgps = {name: Bootstrap(PANEL, truth=truth) for name, truth in truths.items()}
    results = run(Study(dgps, {"mean": mean}), reps=10, workers=0, progress=False)
    by_dgp = results.replicates.groupby("dgp")["truth"].unique()
    assert by_dgp["assumed"].tolist() == [3.0]
    assert by_dgp["own"].tolist() == [4.5]
    assert any("own full-sample value" in caveat for caveat in results.caveats)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"truth": {}}, "truth: got {}"),
        ({"truth": {"mean": float("nan")}}, "truth: got"),
        ({"truth": {"mean": 1.0}, "strata": "dd"}, "did you mean 'd'"),
    ],
)
def test_bootstraps_that_are_none(options, match):
    with pytest.raises(InputError, match=match):
        Bootstrap(PANEL, **options)


def test_strata_that_vary_over_time():
    panel = Panel({"y": [[1.0, 2.0]], "d": [[0.0, 1.0]]})
    with pytest.raises(InputError, match="varies within units"):
        Bootstrap(panel, truth={"mean": 1.0}, strata="d")


@jax.tree_util.register_static
class Linear:
    """A generator known in closed form: x ~ N(d, 1), y = 1 + x + 2 d + N(0, 1)."""

    given = ("d",)

    def __init__(self):
        _, self.schema = from_frame(pd.DataFrame({"x": [0.5, 1.5], "d": [0, 1], "y": [0.5, 2.5]}))

    def sample(self, key, n_units, *, given):
        d = jnp.reshape(given["d"], (n_units, 1))
        x_key, y_key = jax.random.split(key)
        x = given["x"] if "x" in given else d + jax.random.normal(x_key, (n_units, 1))
        y = 1 + x + 2 * d + jax.random.normal(y_key, (n_units, 1))
        return Panel({"x": x, "d": d, "y": y})


def outcomes(**options):
    sizes = {"n_treated": 3, "n_control": 5, "truth_draws": 2**12}
    return PotentialOutcomes(Linear(), outcome="y", treatment="d", **{**sizes, **options})


def test_a_sample_has_the_designs_numbers_of_treated_and_controls():
    dgp = outcomes()
    check_dgp(dgp)
    assert dgp(jax.random.key(0), Design()).panel["d"].sum() == 3
    drawn = dgp(jax.random.key(0), Design({"n_treated": 2, "n_control": 2})).panel
    assert (drawn.n_units, float(drawn["d"].sum())) == (4, 2.0)


def test_the_truth_is_the_generators_effect_with_an_error_of_nothing_under_common_noise():
    value, mcse = outcomes().truth(jax.random.key(0), Design())["att"]
    assert value == pytest.approx(2.0, abs=1e-6)
    assert mcse == pytest.approx(0.0, abs=1e-6)


def test_equal_ranks_and_independence_differ_in_the_spread_of_effects_only():
    effects = {}
    for coupling in ("rank", "independent"):
        both = outcomes(coupling=coupling).potential_outcomes(jax.random.key(3), 20_000, 0)
        effects[coupling] = np.asarray(both["y1"] - both["y0"])
    assert effects["rank"].std() < 1e-6
    assert effects["independent"].std() == pytest.approx(np.sqrt(2), abs=0.05)
    assert effects["independent"].mean() == pytest.approx(2.0, abs=4 * np.sqrt(2 / 20_000))


@pytest.mark.parametrize("effect", [0.5, lambda x: 0.5 + 0 * x["x"][:, 0]])
def test_an_imposed_effect_is_the_truth(effect):
    dgp = outcomes(effect=effect)
    value, mcse = dgp.truth(jax.random.key(0), Design())["att"]
    assert (value, mcse) == (pytest.approx(0.5), pytest.approx(0.0, abs=1e-6))
    both = dgp.potential_outcomes(jax.random.key(0), 50, 50)
    np.testing.assert_allclose(both["y1"] - both["y0"], 0.5, atol=1e-9)
    drawn = jax.jit(dgp)(jax.random.key(0), Design()).panel
    both = dgp.potential_outcomes(jax.random.key(0), 3, 5)
    expected = np.concatenate([both["y1"][:3], both["y0"][3:]])
    np.testing.assert_allclose(drawn["y"], expected, atol=1e-9)
    assert list(drawn) == ["x", "d", "y"]
    assert "the effect that the design imposed" in dgp.summary
    assert repr(dgp) == "PotentialOutcomes(y given d, 1 generators, 3 treated and 5 controls)"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n_treated": 0}, "n_treated: got 0"),
        ({"truth_draws": 0}, "truth_draws: got 0"),
        ({"outcome": "yy"}, "outcome: got 'yy'"),
    ],
)
def test_potential_outcomes_that_are_none(options, match):
    arguments = {"outcome": "y", "treatment": "d", "n_treated": 1, "n_control": 1, **options}
    with pytest.raises(InputError, match=match):
        PotentialOutcomes(Linear(), **arguments)
