"""Sampling distributions of estimates: p-values, Holm, members, host estimators, failures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

import mcsim
from fidelity.cross_sections import KEY, QUICK, Fitted, Normal, Truth, difference, draw
from mcsim import Estimate, Status, infer_schema
from mcsim._fidelity._cross_sections.layout import (
    read_layout,
)
from mcsim._fidelity._cross_sections.protocol import estimates_under
from mcsim._fidelity.candidates import Fit
from mcsim._fidelity.estimates import (
    draws_for,
    holm,
    monte_carlo_p_value,
    on_real_data,
    outside,
    with_holm,
)
from mcsim.generators import UnitBootstrap


def test_p_value_counts_the_tails_and_is_never_zero():
    law = np.arange(1.0, 100.0)
    assert monte_carlo_p_value(1e9, law) == pytest.approx(0.02)
    assert monte_carlo_p_value(-1e9, law) == pytest.approx(0.02)
    assert monte_carlo_p_value(50.0, law) == 1.0
    assert np.isnan(monte_carlo_p_value(np.nan, law))


def test_holm_is_that_of_statsmodels():
    p_values = np.random.default_rng(0).uniform(size=12) ** 3
    expected = multipletests(p_values, method="holm")[1]
    np.testing.assert_allclose(holm(p_values), expected, rtol=1e-12)
    gaps = np.insert(p_values, [0, 5], np.nan)
    np.testing.assert_allclose(holm(gaps), np.insert(expected, [0, 5], np.nan), rtol=1e-12)


def accusation_rates(correlation, shift=0.0, estimates=12, reps=1_500):
    """How often any of a generator's estimates is accused: one by one, and by the verdict.

    The real estimates have the law of the drawn ones, but for a shift of the first, in sds.
    """
    rng, draws = np.random.default_rng(0), draws_for(estimates)
    common = np.sqrt(correlation) * rng.normal(size=(reps, draws + 1, 1))
    found = common + np.sqrt(1 - correlation) * rng.normal(size=(reps, draws + 1, estimates))
    found[:, 0, 0] += shift
    single, together = [], []
    for real, law in zip(found[:, 0], found[:, 1:], strict=True):
        p_values = [monte_carlo_p_value(v, x) for v, x in zip(real, law.T, strict=True)]
        head = {"estimator": "e", "estimand": "", "draws": draws}
        single.append(min(p_values) < 0.05)
        together.append(bool(outside(with_holm([head | {"p_value": p} for p in p_values]))))
    return np.mean(single), np.mean(together)


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_a_perfect_generator_is_accused_in_five_percent_whatever_the_menu(correlation):
    """Twelve tests of 5 % accuse in 1 - .95^12 = 46 % of cases if they are independent."""
    single, together = accusation_rates(correlation)
    assert together < 0.05 + 3 * (0.05 * 0.95 / 1_500) ** 0.5
    if not correlation:
        assert single == pytest.approx(1 - 0.95**12, abs=0.04)
        assert together > 0.02
    assert accusation_rates(correlation, shift=6.0, reps=100)[1] == 1.0


@pytest.mark.slow
def test_without_a_number_of_draws_there_are_as_many_as_the_verdict_needs(monkeypatch):
    class Reached(Exception):
        pass

    def reached(*arguments):
        raise Reached(arguments[-1])

    def level(key, panel):
        return {f"e{k}": Estimate(panel["y"].mean() + k) for k in range(6)}

    monkeypatch.setattr("mcsim._fidelity._cross_sections.protocol.estimates_under", reached)
    options = {"key": KEY, "given": ("treat",), "splits": 2, "estimators": {"level": level}}
    for draws, expected in ((None, 240), (50, 50)):
        with pytest.raises(Reached, match=f"^{expected}$"):
            mcsim.fidelity(draw(60), {"truth": Truth()}, draws=draws, **options, **QUICK)


def test_p_values_are_uniform_if_the_generator_is_the_truth():
    (program,) = on_real_data({"difference": difference}, draw(80), KEY, infer_schema(draw(80)))
    found = []
    for seed in range(60):
        real = draw(80, seed)
        layout, rows = read_layout(real, infer_schema(real), ("treat",), None)
        member = Fit(Normal(), np.arange(80), None)
        value = float(difference(KEY, real)["att", "a"].value)
        ran = [program._replace(values={"att": value})]
        records = estimates_under(jax.random.key(seed), "truth", [member], layout, rows, ran, 99)
        found.append(records[0]["p_value"])
    assert np.mean(found) == pytest.approx(0.5, abs=3 * np.sqrt(1 / 12 / 60))
    assert np.mean(np.array(found) <= 0.2) == pytest.approx(0.2, abs=3 * np.sqrt(0.16 / 60))


def test_laws_say_how_far_members_disagree_and_skip_failures():
    def fragile(key, panel):
        value = panel["y"].mean()
        return Estimate(value, status=jnp.where(value > 1.5, Status.SINGULAR, Status.OK))

    real = draw(80)
    layout, rows = read_layout(real, infer_schema(real), ("treat",), None)
    members = [Fit(Normal(shift), np.arange(80), None) for shift in (0.0, 1.0, 3.0)]
    ran = on_real_data({"fragile": fragile}, real, KEY, infer_schema(real))
    (record,) = estimates_under(KEY, "three", members, layout, rows, ran, 60)
    assert 20 <= record["failed"] < 45
    assert record["draws"] + record["failed"] == 60
    assert record["sd_between"] > 0.4
    assert record["mean"] < 1.5


def group_of(frame):
    """The labels of a category, and the unit's index: a frame as a study's host functions see."""
    assert frame.index.name == "unit"
    return frame["c"].isin(["v", "w"])


def test_a_host_estimator_of_a_study_has_the_values_of_the_native_one():
    @mcsim.host(estimand="share")
    def by_label(frame):
        return Estimate(group_of(frame).mean())

    @mcsim.host
    def fragile_mean(rng, frame):
        if frame["y"].mean() > most:
            raise ZeroDivisionError("no luck")
        return {"mean": Estimate(frame["y"].mean() + rng.normal())}

    def by_code(key, panel):
        return {"share": Estimate((panel["c"] >= 1).astype(float).mean())}

    rng = np.random.default_rng(0)
    real = draw(60).with_columns({"c": rng.integers(0, 3, 60).astype(float)[:, None]})
    schema, most = infer_schema(real, levels={"c": ("u", "v", "w")}), float(real["y"].mean()) + 1e-6
    layout, rows = read_layout(real, schema, ("treat",), None)
    bootstrap = UnitBootstrap().fit(KEY, real, given=("treat",), schema=schema, progress=False)
    estimators = {"host": by_label, "native": by_code, "fragile": fragile_mean}
    ran = on_real_data(estimators, real, mcsim.key(1), schema)
    fit = Fit(bootstrap, np.arange(60), None)
    host, native, fragile = estimates_under(KEY, "b", [fit], layout, rows, ran, 12)
    assert host["estimand"] == native["estimand"] == "share"
    for name in ("value", "mean", "sd", "lower", "upper", "p_value"):
        assert host[name] == pytest.approx(native[name], abs=1e-12)
    assert (host["draws"], host["failed"], host["status"]) == (12, 0, "ok")
    assert 0 < fragile["failed"] < 12
    assert fragile["draws"] + fragile["failed"] == 12


def test_a_host_estimator_that_raises_on_the_real_data_has_a_status_and_a_note():
    @mcsim.host
    def broken(frame):
        return Estimate(frame["wage"].mean())

    (found,) = on_real_data({"broken": broken}, draw(20), KEY, infer_schema(draw(20)))
    assert found.status == "error"
    assert found.note.startswith("KeyError: 'wage'")
    assert found.estimator is None


@pytest.mark.slow
def test_an_estimator_that_cannot_run_is_a_row_with_a_status():
    def unknown_column(key, panel):
        return Estimate(panel["wage"].mean())

    def broken(key, panel):
        raise RuntimeError("no luck")

    estimators = {"unknown": unknown_column, "broken": broken}
    found = mcsim.fidelity(
        draw(60), Fitted(None), key=KEY, estimators=estimators, splits=2, draws=5, **QUICK
    )
    rows = found.estimates[found.estimates["generator"] == "generator"].set_index("estimator")
    assert rows.loc["unknown", "status"] == "invalid_input"
    assert "'wage' is not in the panel" in rows.loc["unknown", "note"]
    assert rows.loc["broken", "status"] == "error"
    assert rows.loc["broken", "note"] == "RuntimeError: no luck"
    assert rows["p_value"].isna().all()
    assert "invalid_input" in str(found)
