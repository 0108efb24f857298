"""Standard errors that exist, those that do not, and inference without an estimate."""

import json
import math

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from statsmodels.base.model import GenericLikelihoodModel

import mcsim
from mcsim import Estimate, Panel, Status, Study, summarize
from mcsim.estimators import iv_2sls, ols
from mcsim.testing import constant_dgp

NAN = math.nan


def run(estimators, store=None, reps=4):
    study = Study(constant_dgp(truth=1.0), estimators)
    return mcsim.run(study, reps=reps, workers=0, progress=False, store=store)


# Clusters that are no groups of units ------------------------------------------------------------


def test_clusters_that_change_within_units_leave_no_inference_and_a_note():
    y, x, g = np.random.default_rng(4).normal(size=(3, 9, 3))
    panel = Panel({"y": y, "x": x, "cut": g > 0, "whole": g[:, :1] > 0 * g})
    estimator = ols("y ~ x", vcov=["HC1", "CR1(cut)", "CR3(cut)", "CR3(whole)"])
    told = estimator.diagnose(panel)
    assert {name: float(number) for name, number in told.items() if number} == {
        f"share of panels without inference by {name}, since 'cut' changes within units or is "
        "missing": 1.0
        for name in ("CR1(cut)", "CR3(cut)")
    }
    statuses = {
        name: int(estimate.status) for (_, name), estimate in estimator(None, panel).items()
    }
    assert statuses == {
        "HC1": Status.OK,
        "CR1(cut)": Status.NO_SE,
        "CR3(cut)": Status.NO_SE,
        "CR3(whole)": Status.OK,
    }


# Fewer clusters than regressors ------------------------------------------------------------------


def few_clusters():
    """Five clusters of twelve, six regressors."""
    rng = np.random.default_rng(5)
    group = np.repeat(np.arange(5.0), 12)
    x = rng.normal(size=(6, 60))
    y = x.sum(0) + rng.normal(size=5)[group.astype(int)] + rng.normal(size=60)
    return Panel({**{f"x{k}": x[k] for k in range(6)}, "y": y, "g": group})


def test_one_coefficient_has_a_standard_error_with_fewer_clusters_than_regressors():
    """pyfixest 0.60.0, ``feols("y ~ x0 + ... + x5", vcov={"CRV1": "g"})``, and "CRV3"."""
    names = "x0 + x1 + x2 + x3 + x4 + x5"
    vcov = ["CR1", "CR3", "CR2", "wild"]
    found = ols(f"y ~ {names}", vcov=vcov, cluster="g")(mcsim.key(0), few_clusters())
    crv1 = [0.19720480284792538, 0.20929081171339114, 0.1942436990515901]
    crv3 = [0.28169494220969593, 0.28529406002710894, 0.28588530309036664]
    for position, (one, three) in enumerate(zip(crv1, crv3, strict=True)):
        assert float(found[f"x{position}", "CR1"].se) == pytest.approx(one, rel=1e-9)
        assert float(found[f"x{position}", "CR3"].se) == pytest.approx(three, rel=1e-9)
    assert {int(estimate.status) for estimate in found.values()} == {Status.OK}


def test_a_joint_test_needs_more_clusters_than_coefficients():
    """The variance of five coefficients, a sum over five clusters that sum to 0, has rank four."""
    panel = few_clusters()
    for instruments, status in ((4, Status.OK), (5, Status.INVALID_INPUT)):
        z = " + ".join(f"x{k}" for k in range(1, 1 + instruments))
        iv = iv_2sls(f"y ~ 1 | x0 ~ {z}", vcov="CR1", cluster="g", first_stage=True)
        found = iv(None, panel)
        assert int(found["first_stage_F", "CR1"].status) == status
        assert int(found["x0", "CR1"].status) == Status.OK


def test_scores_that_cancel_within_every_cluster_leave_no_standard_error():
    """A cluster's own dummy: its residuals sum to 0, and a sandwich is a rounding error."""
    panel = few_clusters()
    dummies = {f"d{k}": (panel["g"] == k) * 1.0 for k in range(1, 5)}
    regression = ols(f"y ~ x0 + {' + '.join(dummies)}", vcov=["CR1", "HC1"], cluster="g")
    found = regression(None, panel.with_columns(dummies))
    saturated = ols(f"y ~ {' + '.join(dummies)}", vcov="CR1", cluster="g")
    assert int(found["x0", "CR1"].status) == Status.OK
    assert int(found["d1", "HC1"].status) == Status.OK
    for estimate in saturated(None, panel.with_columns(dummies)).values():
        assert (int(estimate.status), np.isnan(estimate.se)) == (Status.NO_SE, True)
        assert np.isfinite(estimate.value)


# Standard errors that do not exist ---------------------------------------------------------------


class Sum(GenericLikelihoodModel):
    """A normal likelihood that depends on a + b only."""

    def loglikeobs(self, params):
        return -0.5 * (self.endog - params[0] - params[1]) ** 2

    def hessian(self, params):
        return np.full((2, 2), -float(len(self.endog)))


@mcsim.host(term="a", estimand="mean")
def unidentified(frame):
    model = Sum(frame["y"].to_numpy(), np.ones((len(frame), 2)), extra_params_names=None)
    model.exog_names[:] = ["a", "b"]
    return model.fit(start_params=[0.3, 0.1], disp=0)


@mcsim.host(estimand="mean")
def without_noise(frame):
    return Estimate(frame["y"].mean(), 0.0)


def native_zero(key, panel):
    return {"mean": Estimate(panel["y"].mean(), 0.0)}


def point(key, panel):
    return {"mean": Estimate(panel["y"].mean())}


def sometimes(key, panel):
    """The root of a variance that is negative in some samples."""
    y = panel["y"].mean()
    return {"mean": Estimate(y, jnp.sqrt(y - 1.0))}


def test_a_standard_error_that_does_not_exist_is_missing_and_no_failure(tmp_path):
    parts = [unidentified, without_noise, native_zero, point]
    with pytest.warns(UserWarning, match="has no standard error") as caught:
        results = run(parts, tmp_path / "s")
    rows = results.replicates.set_index("estimator")
    for name in ("unidentified", "without_noise", "native_zero"):
        assert set(rows.loc[name, "status"]) == {"no_se"}, name
        assert rows.loc[name, "value"].notna().all()
        assert rows.loc[name, ["se", "lower", "upper", "p_value"]].isna().all(axis=None)
    assert set(rows.loc["point", "status"]) == {"ok"}
    table = results.summary(measures=["bias", "model_se", "share_failed"]).set_index("estimator")
    assert (table["share_failed"] == 0).all()
    assert (table["bias_n"] == 4).all()
    assert (table["model_se_n"] == 0).all()
    said = "\n".join(str(warning.message) for warning in caught)
    assert "'unidentified' has no standard error" in said
    assert "HessianInversionWarning: Inverting hessian failed" in said
    assert "got the standard error 0, expected a number above 0" in said
    records = [json.loads(file.read_text()) for file in tmp_path.glob("s/failures/*/*/*.json")]
    assert {record["status"] for record in records} == {"no_se"}
    assert {record["estimator"] for record in records} == {"unidentified", "without_noise"}


def test_a_standard_error_that_other_replications_have_is_missing(tmp_path):
    rows = run(sometimes, tmp_path / "s", reps=50).replicates
    assert (rows["status"] == np.where(rows["value"] > 1.0, "ok", "no_se")).all()
    assert 5 < (rows["status"] == "ok").sum() < 45


def test_what_a_failing_function_printed_does_not_hide_its_error(tmp_path):
    @mcsim.host(estimand="mean")
    def loud(frame):
        print("step one")
        raise ValueError("the reason")

    with pytest.warns(UserWarning, match="^loud: 4 of 4 failed: ValueError: the reason$"):
        run(loud, tmp_path / "s")
    (file, *_) = sorted(tmp_path.glob("s/failures/*/*/*.json"))
    assert json.loads(file.read_text())["trouble"].startswith("step one")


# A p-value or an interval without an estimate ----------------------------------------------------


def alone(key, panel):
    y = panel["y"].mean()
    return {
        ("mean", "p"): Estimate(jnp.nan, jnp.nan, p_value=jnp.where(y > 1.0, 0.03, 0.5)),
        ("mean", "set"): Estimate(jnp.nan, lower=y - 0.1, upper=y + 0.1),
        ("mean", "half"): Estimate(jnp.nan, lower=y - 0.1),
    }


def test_a_test_or_an_interval_alone_is_a_result():
    with pytest.warns(UserWarning, match=r"^alone \(mean half\): 60 of 60 failed: nan$"):
        results = run({"alone": alone, "point": point}, reps=60)
    rows = results.replicates.set_index(["estimator", "inference"])
    assert set(rows.loc[("alone", "p"), "status"]) == {"ok"}
    assert set(rows.loc[("alone", "set"), "status"]) == {"ok"}
    assert set(rows.loc[("alone", "half"), "status"]) == {"nan"}
    table = results.summary(measures=None).set_index(["estimator", "inference"])
    y = rows.loc[("point", ""), "value"].to_numpy()
    of_p, of_set = table.loc[("alone", "p")], table.loc[("alone", "set")]
    assert of_p["rejection"] == np.mean(y > 1.0)
    assert (of_p["rejection_n"], of_p["share_failed"]) == (60, 0.0)
    assert of_set["coverage"] == np.mean(np.abs(y - 1.0) <= 0.1)
    assert of_set["coverage_all"] == of_set["coverage"]
    assert of_set["width"] == pytest.approx(0.2)
    assert of_set["rejection"] == np.mean(np.abs(y) > 0.1)
    assert (of_set["coverage_n"], of_set["width_n"], of_set["share_failed"]) == (60, 60, 0.0)
    missing = ["bias", "empirical_se", "model_se", "rmse", "mad", "bias_eliminated_coverage"]
    for row in (of_p, of_set):
        assert row[missing].isna().all()
        assert (row[[f"{name}_n" for name in missing]] == 0).all()
    assert table.loc[("alone", "half"), "share_failed"] == 1.0


def test_a_host_function_and_a_library_may_give_them_too():
    panel = Panel({"y": np.ones(2)})

    def status_of(**parts):
        estimator = mcsim.host(estimand="x")(lambda frame: Estimate(NAN, **parts))
        return mcsim.estimate(estimator, panel)["status"].item()

    assert status_of(p_value=0.03) == status_of(lower=0.0, upper=1.0) == "ok"
    assert status_of(lower=0.0) == "nan"
    assert status_of(p_value=0.03, status=Status.SINGULAR) == "singular"


def test_summarize_counts_them_in_any_frame():
    frame = pd.DataFrame(
        {
            "value": [1.0, NAN, NAN, math.inf],
            "se": [0.5, 0.5, NAN, NAN],
            "lower": [NAN, 0.0, NAN, 0.0],
            "upper": [NAN, 3.0, NAN, 0.5],
            "truth": 1.0,
        }
    )
    (row,) = summarize(frame).to_dict("records")
    assert (row["n"], row["share_failed"]) == (3, 0.25)
    assert (row["bias_n"], row["model_se_n"], row["coverage_n"]) == (1, 1, 3)
    assert row["coverage"] == pytest.approx(2 / 3)
