"""A study's null and level reach every estimator whose own p-values and limits depend on them."""

import contextlib
import functools
import io
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcsim
from mcsim import Estimate, Panel, Sample, Study
from mcsim._definitions.describe import describe
from mcsim.cli._commands import show_command
from mcsim.errors import InputError
from mcsim.estimators import ols
from mcsim.report import notes
from mcsim.testing import constant_dgp

VCOV = ["CR1", "wild", "RI"]


def groups(key, design):
    """Twelve groups of four, y = 1 x + noise of the group; x is 1 in half of the groups."""
    deal, draw, own = jax.random.split(key, 3)
    x = jax.random.permutation(deal, jnp.arange(12.0) % 2)[:, None].repeat(4, axis=1)
    noise = jax.random.normal(draw, (12, 1)) + 0.1 * jax.random.normal(own, (12, 4))
    return Sample(Panel({"y": x + noise, "x": x}), {"x": 1.0})


def run(study, store=None, **options):
    options = {"reps": 1024, "seed": 5, "workers": 0, "progress": False, **options}
    return mcsim.run(study, store=store, **options)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("null") / "store"
    study = Study(groups, ols("y ~ x", vcov=VCOV, resamples=199), null=1.0, level=0.9)
    return run(study, path), path


def test_tests_of_a_true_null_reject_at_the_level_of_the_study(store):
    """Before: CR1 .083, wild 1.000, RI 1.000, and limits at 95 %.

    RI has the size 19/200 with 199 permutations, since p = .1 does not reject; of CR1 and wild with
    twelve balanced clusters that is nearly so.
    """
    table = store[0].summary(measures=["rejection", "coverage"]).set_index("inference")
    for name in VCOV:
        mcse = table.loc[name, "rejection_mcse"]
        assert abs(table.loc[name, "rejection"] - 0.095) < 3 * mcse
        assert abs(table.loc[name, "coverage"] - 0.905) < 3 * mcse


def test_limits_and_p_values_are_of_one_test(store):
    rows = store[0].replicates
    rows = rows[rows["inference"].isin(["wild", "RI"])]
    outside = (rows["lower"] > 1.0) | (rows["upper"] < 1.0)
    assert (outside == (rows["p_value"] < 0.1)).all()


def test_the_study_hands_over_what_could_be_given_by_hand(store):
    given = ols("y ~ x", vcov=VCOV, resamples=199, null=1.0, level=0.9)
    again = run(Study(groups, given, null=1.0, level=0.9), store[1])
    assert again.replicates.equals(store[0].replicates)
    assert len(list(store[1].glob("cells/*/est/*"))) == 1  # one definition


def test_another_value_given_to_the_estimator_is_refused():
    with pytest.raises(InputError) as refusal:
        Study(
            groups,
            {"a": ols("y ~ x", vcov="wild", level=0.95), "b": ols("y ~ x", vcov="RI", null=2.0)},
            null=1.0,
            level=0.9,
        )
    assert "estimators: 'a': level: the estimator was given 0.95, the study has 0.9" in str(
        refusal.value
    )
    assert "estimators: 'b': null: the estimator was given 2, the study has 1" in str(refusal.value)
    panel = groups(jax.random.key(0), None).panel
    with pytest.raises(InputError, match=r"given 0.9, the study has 0.95"):
        mcsim.estimate(ols("y ~ x", vcov="wild", level=0.9), panel)


def test_null_and_level_are_in_the_definition_of_those_alone_that_need_them():
    for vcov, depends in (("CR1", False), ("HC1", False), ("wild", True), ("RI", True)):
        found = [
            describe(Study(groups, ols("y ~ x", vcov=vcov), null=null, level=level).methods)
            for null, level in ((0.0, 0.95), (1.0, 0.95), (0.0, 0.9))
        ]
        assert (found[0] != found[1]) == (found[0] != found[2]) == depends
    by_default = Study(groups, ols("y ~ x", vcov="wild")).methods
    given = Study(groups, ols("y ~ x", vcov="wild", null=0.0, level=0.95)).methods
    assert describe(by_default) == describe(given)


def test_estimate_hands_them_over_and_a_call_by_itself_tests_zero():
    sample = groups(jax.random.key(3), None)
    asked = mcsim.estimate(ols("y ~ x", vcov=VCOV), sample.panel, null=1.0, level=0.9)
    by_hand = ols("y ~ x", vcov=VCOV, null=1.0, level=0.9)
    assert asked.equals(mcsim.estimate(by_hand, sample.panel, null=1.0, level=0.9))
    alone = ols("y ~ x", vcov="RI")(jax.random.key(0), sample.panel)["x", "RI"]
    given = ols("y ~ x", vcov="RI", null=0.0, level=0.95)(jax.random.key(0), sample.panel)
    np.testing.assert_array_equal(alone, given["x", "RI"])


def of_mean(key, panel, *, null=0.0, level=0.95):
    """Limits that reach as far as the level, and a p-value that is the null."""
    y = panel["y"].mean()
    return {"mean": Estimate(y, 1.0, y - level, y + level, p_value=null / 10)}


@mcsim.host(estimand="mean")
def of_frame(rng, frame, *, level):
    y = frame["y"].mean()
    return Estimate(y, 1.0, y - level, y + level)


@mcsim.host(estimand="mean")
def on_its_own(frame):
    y = frame["y"].mean()
    return Estimate(y, 1.0, y - 2.0, y + 2.0, p_value=0.5)


def test_functions_take_them_as_keywords_and_the_others_are_named(tmp_path):
    study = Study(constant_dgp(), [of_mean, of_frame, on_its_own], null=2.0, level=0.8)
    results = run(study, tmp_path / "s", reps=3)
    rows = results.replicates.set_index("estimator")
    width = (rows["upper"] - rows["lower"]).groupby("estimator").mean()
    assert width.round(9).to_dict() == {"of_mean": 1.6, "of_frame": 1.6, "on_its_own": 4.0}
    assert rows["p_value"].groupby("estimator").first()["of_mean"] == 0.2
    named = [line for line in notes(results).splitlines() if "estimators' own" in line]
    assert len(named) == 2
    assert named[0].startswith("Caveat: The limits of on_its_own are")
    assert named[0].endswith("may not be at 80%.")
    assert named[1].startswith("Caveat: The p-values of on_its_own are")
    assert named[1].endswith("may not test 2.")
    with pytest.raises(InputError, match=r"given 0.5, the study has 0.8"):
        Study(constant_dgp(), {"f": functools.partial(of_mean, level=0.5)}, level=0.8)


def test_another_level_names_the_rows_that_it_does_not_move(store):
    results, path = store
    assert not any("estimators' own" in caveat for caveat in results.caveats)
    said = r"limits of ols wild, ols RI are .* stay at 90%, the level of the study, not at 80%"
    with pytest.warns(UserWarning, match=said) as caught:
        other = mcsim.open(path, level=0.8)
    assert str(caught[0].message) in other.caveats
    with pytest.warns(UserWarning, match=said), contextlib.redirect_stdout(io.StringIO()) as shown:
        show_command(path, level=0.8)
    assert f"Caveat: {other.caveats[-1]}" in shown.getvalue()
    width = [
        (r.replicates["upper"] - r.replicates["lower"]).groupby(r.replicates["inference"]).mean()
        for r in (results, other)
    ]
    assert (width[1] < width[0]).to_dict() == {"CR1": True, "wild": False, "RI": False}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mcsim.open(path, level=0.9)
