"""Averages of effects: their names, their truths by NumPy, and estimators that estimate them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcsim
from drawn_panels import one_sample
from mcsim import Design, Estimate, Panel, Study
from mcsim._core.averages import at_event_times, named, read_average
from mcsim.dgps import ErrorComponents, by_cohort, by_exposure, with_effect
from mcsim.errors import InputError
from mcsim.estimators import callaway_santanna, did, event_study, fixed_effects, imputation

COHORTS = by_cohort({2: 0.5, 6: 0.2})
GROWING = by_exposure([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
EVENT_TIMES = tuple(range(-6, 6))
AVERAGES = ("att[group]", "att[calendar]", "att[0..6]", "att[0..5+]", "att[1+]", "att[0..1+]",
            "att[5+]", "att[simple, 0..1]", "att[group, 0..1]", "att[g=6]", "att[t=3]")  # fmt: skip


# Names


@pytest.mark.parametrize("times", [[0], [0, 1, 2], [0, 2, 3, 7], [-4]])
def test_names_of_event_times_are_read_back(times):
    assert read_average(at_event_times(times)) == ("event", tuple((e, e) for e in times), 0)
    kept = read_average(at_event_times(times, kind="g=3"))
    assert (kept.kind, kept.position, kept.bins) == ("g", 3, tuple((e, e) for e in times))
    (*_, last) = read_average(at_event_times(times, after=True)).bins
    assert last[0] == times[-1]
    assert last[1] > 10**6
    (before,) = read_average("att[-3-]").bins
    assert before[0] < -(10**6)
    assert before[1] == -3


@pytest.mark.parametrize("name", ["att", "d", "att[]", "att[x]", "att[0.5]", "att[simple]",
                                  "att[group, ]", "att[0..1, 2]", "att[g=-1]"])  # fmt: skip
def test_what_names_no_average(name):
    assert read_average(name) is None


# Truths


def by_hand(name, treated, effect, seen):
    """The averages of a sample, cell by cell."""
    cells = [
        {"e": treated[i, : t + 1].sum() - 1, "g": treated[i].argmax(), "t": t, "i": i,
         "y": effect[i, t]}
        for i, t in np.argwhere((treated > 0) & seen)
    ]  # fmt: skip

    def mean(keep):
        chosen = [cell["y"] for cell in cells if keep(cell)]
        return np.mean(chosen) if chosen else np.nan

    def parts(column, keep=lambda c: True):
        of = sorted({cell[column] for cell in cells if keep(cell)})
        return [mean(lambda c, v=value: keep(c) and c[column] == v) for value in of]

    def of_group(keep):
        units = sorted({(cell["g"], cell["i"]) for cell in cells if keep(cell)})
        return np.mean([mean(lambda c, g=g: keep(c) and c["g"] == g) for g, _ in units])

    return {
        "att[group]": lambda: of_group(lambda c: True),
        "att[calendar]": lambda: np.mean(parts("t")),
        "att[0..6]": lambda: np.mean(parts("e")),
        "att[0..5+]": lambda: np.mean(parts("e")),
        "att[1+]": lambda: mean(lambda c: c["e"] >= 1),
        "att[0..1+]": lambda: (mean(lambda c: c["e"] == 0) + mean(lambda c: c["e"] >= 1)) / 2,
        "att[5+]": lambda: mean(lambda c: c["e"] == 5),
        "att[simple, 0..1]": lambda: mean(lambda c: c["e"] <= 1),
        "att[group, 0..1]": lambda: of_group(lambda c: c["e"] <= 1),
        "att[g=6]": lambda: mean(lambda c: c["g"] == 6),
        "att[t=3]": lambda: mean(lambda c: c["t"] == 3),
    }[name]()  # fmt: skip


@pytest.mark.parametrize("gaps", [False, True])
def test_truths_are_those_counted_by_hand(gaps):
    rng = np.random.default_rng(0)
    size = rng.normal(size=(30, 8))
    seen = rng.random((30, 8)) < (0.8 if gaps else 2.0)
    panel = Panel({"y": np.zeros((30, 8))}, jnp.asarray(seen) if gaps else None)
    dgp = with_effect(
        panel,
        outcome="y",
        assignment=COHORTS,
        effect=lambda key, exposure, panel: jnp.asarray(size),
        estimands=AVERAGES,
    )
    sample = one_sample(dgp, seed=1)
    treated = np.asarray(sample.panel["d"])
    for name in AVERAGES:
        expected = by_hand(name, treated, size, seen)
        assert float(sample.truth[name]) == pytest.approx(expected, rel=1e-12), name
    assert float(sample.truth["d"]) == float(sample.truth["att"])


def test_what_is_no_average_is_refused():
    with pytest.raises(InputError, match=r"estimands: got 'att\[group, x\]', expected an average"):
        with_effect(Panel({"y": np.zeros((4, 3))}), outcome="y", assignment=COHORTS,
                    estimands=["att[group, x]"])  # fmt: skip
    with pytest.raises(InputError, match="horizons are event times"):
        with_effect(Panel({"y": np.zeros((4, 3))}), outcome="y", assignment=COHORTS,
                    horizons=[True])  # fmt: skip


# Estimators


ESTIMATORS = {
    "simple": callaway_santanna("y ~ d"),
    "event": callaway_santanna("y ~ d", aggregation="event"),
    "group": callaway_santanna("y ~ d", aggregation="group"),
    "calendar": callaway_santanna("y ~ d", aggregation="calendar"),
    "first": callaway_santanna("y ~ d", horizons=[0]),
    "two": callaway_santanna("y ~ d", horizons=[0, 1]),
    "group of two": callaway_santanna("y ~ d", aggregation="group", horizons=[0, 1]),
    "study": event_study("y ~ d", leads=6, lags=5),
    "imputation": imputation("y ~ d", horizons=[0, 1, 2]),
}
OVER = {
    "simple": "att",
    "event": "att[0..6]",
    "group": "att[group]",
    "calendar": "att[calendar]",
    "first": "att[0]",
    "two": "att[simple, 0..1]",
    "group of two": "att[group, 0..1]",
    "study": "att[0..5+]",
    "imputation": "att",
}


def source(sd):
    panel = ErrorComponents(n_units=200, n_periods=8, beta=None, unit_share=0.5)
    if sd:
        return panel
    return Panel({"y": np.arange(200.0)[:, None] ** 0.5 + np.arange(8.0) ** 2})


def growing(sd, estimands=()):
    return with_effect(
        source(sd), outcome="y", assignment=COHORTS, effect=GROWING, estimands=estimands
    )


@functools.cache
def sample_without_noise():
    return one_sample(growing(0, (*tuple(OVER.values())[1:], *map(named, EVENT_TIMES))), seed=2)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_without_noise_an_estimate_is_the_truth_of_its_label(name):
    """On exact two-way effects; before 0.3 the averages over parts were all labeled "att"."""
    sample = sample_without_noise()
    found = ESTIMATORS[name](None, sample.panel)
    labels = [label for label, _ in found]
    assert labels[-1] == OVER[name]
    assert float(found[next(reversed(found))].value) == pytest.approx(
        float(sample.truth[OVER[name]]), rel=1e-10
    )
    known = [label for label in labels if label in sample.truth and found_ok(found, label)]
    for label in known:
        value = next(e.value for (of, _), e in found.items() if of == label)
        assert float(value) == pytest.approx(float(sample.truth[label]), rel=1e-9, abs=1e-9)


def found_ok(found, label):
    return all(int(e.status) == 0 for (of, _), e in found.items() if of == label)


def test_binned_ends_estimate_the_mean_beyond_them():
    """One cohort, no noise: the end is the mean effect at event times >= 1, not that at 1."""
    dgp = with_effect(
        source(0),
        outcome="y",
        assignment=by_cohort({3: 0.5}),
        effect=GROWING,
        estimands=["att[1+]", "att[0..1+]"],
    )
    sample = one_sample(dgp, seed=3)
    found = event_study("y ~ d", leads=2, lags=1)(None, sample.panel)
    assert [label for label, _ in found] == ["att[-2-]", "att[0]", "att[1+]", "att[0..1+]"]
    assert float(sample.truth["att[1+]"]) == pytest.approx((0.2 + 0.3 + 0.4 + 0.5) / 4)
    for name in ("att[1+]", "att[0..1+]"):
        assert float(found[name, "CR1"].value) == pytest.approx(float(sample.truth[name]))


@pytest.mark.filterwarnings("ignore:.*att.* 600 of 600 failed. invalid")  # not in these data
@pytest.mark.filterwarnings("ignore:estimator .* truth of its")
def test_biases_are_within_monte_carlo_error():
    """200 x 8, cohorts {2: .5, 6: .2}, effects .1 to .6.

    Before 0.3, under the label "att": event .027 (coverage .88), group -.029 (.91), horizon 0 -.221
    (.07), event_study -.120 (.26).
    """
    averages = [name for name in OVER.values() if name != "att"]
    study = Study(growing(1, averages), {n: ESTIMATORS[n] for n in ("event", "group", "first")})
    table = mcsim.run(study, reps=600, workers=0, progress=False).summary()
    for name in study.methods:
        row = table[(table["estimator"] == name) & (table["estimand"] == OVER[name])].iloc[0]
        assert abs(row["bias"]) < 3.5 * row["bias_mcse"], (name, row["bias"])
        assert abs(row["coverage"] - 0.95) < 0.03, (name, row["coverage"])


# The natural pair, and labels without a truth


def test_a_regression_on_the_treatment_finds_its_truth():
    dgp = with_effect(source(1), outcome="y", assignment=by_cohort({3: 0.5}), effect=0.5)
    estimators = {
        "regression": fixed_effects("y ~ d | unit + time"),
        "did": did("y ~ d"),
        "unnamed": lambda key, panel: Estimate(0.5, 1.0),
    }
    rows = mcsim.run(Study(dgp, estimators), reps=2, workers=0, progress=False).replicates
    assert set(rows["truth"]) == {0.5}
    told = rows.groupby("estimator")["estimand"].unique().map(list).to_dict()
    assert told == {"regression": ["d"], "did": ["att"], "unnamed": ["att"]}


def test_the_population_truth_has_the_name_of_the_treatment_too():
    dgp = with_effect(source(1), outcome="y", assignment=COHORTS, effect=0.5, truth="population")
    assert dgp.truth(jax.random.key(0), Design()) == {"att": (0.5, 0.0), "d": (0.5, 0.0)}


def test_an_average_that_is_not_the_truth_is_told():
    study = Study(growing(1), {"cs": callaway_santanna("y ~ d", horizons=[0, 1])})
    with pytest.warns(UserWarning, match=r"'att' is another average than .*'att\[simple, 0..1\]'"):
        rows = mcsim.run(study, reps=2, workers=0, progress=False).replicates
    assert rows["truth"].isna().all()


# Notes


def always_treated():
    """Three of ten units are treated always (15 cells), in the last period every unit is."""
    start = np.array([0] * 3 + [2] * 4 + [4] * 3)
    d = (np.arange(5) >= start[:, None]) * 1.0
    return Panel({"y": np.random.default_rng(0).normal(size=(10, 5)), "d": d})


@pytest.mark.parametrize(
    "estimator", [imputation("y ~ d"), callaway_santanna("y ~ d", control="notyet")]
)
def test_treated_cells_that_no_average_holds_are_counted(estimator, tmp_path):
    """15 cells of those always treated, and 7 of others in a period without controls."""
    panel = always_treated()
    with pytest.warns(UserWarning, match=f"^{estimator.name}: treated cells .*: 22$"):
        mcsim.estimate(estimator, panel)
    study = Study(
        lambda key, design: mcsim.Sample(
            panel.with_columns({"y": jax.random.normal(key, (10, 5))}), {"att": 0.0}
        ),
        estimator,
    )
    mcsim.run(study, reps=3, workers=0, progress=False, store=tmp_path)
    (note,) = mcsim.open(tmp_path).notes
    assert note.startswith(f"{estimator.name}: treated cells that no average holds")
    assert note.endswith(": 22")
    assert f"Note: {note} (mean" in mcsim.report.notes(mcsim.open(tmp_path))


def test_a_panel_of_which_nothing_is_left_out_has_no_note():
    panel = one_sample(growing(1)).panel
    for estimator in (imputation("y ~ d"), callaway_santanna("y ~ d")):
        mcsim.estimate(estimator, panel)  # a warning is an error


def test_an_estimator_of_a_user_may_carry_a_diagnosis():
    class Mean:
        name = "mean"

        def __call__(self, key, panel):
            return {"att": Estimate(panel["y"].mean(), 1.0)}

        def diagnose(self, panel):
            return {"units": jnp.asarray(panel.n_units, float), "nothing": jnp.zeros(())}

    with pytest.warns(UserWarning, match="^mean: units: 10$"):
        mcsim.estimate(Mean(), always_treated())
