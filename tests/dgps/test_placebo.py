"""Placebo laws on a panel that was treated itself: its effect removed, its own paths permuted."""

import re
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drawn_panels import draw, one_sample
from mcsim import Design, Panel, Sample, from_frame
from mcsim._definitions.describe import describe
from mcsim.dgps import Bootstrap, at_random, by_exposure, permuted, with_effect
from mcsim.dgps._own_effect import OwnTreatment, own_effect, pre_period_variances, two_way_fit
from mcsim.dgps._untreated import faults_of_untreated
from mcsim.errors import InputError
from mcsim.estimators import did, imputation
from mcsim.testing import check_dgp

HALF = at_random(share=0.5, start=3)


def autoregressive(rng, n, t, rho=0.8):
    """Errors of variance one (unit, period)."""
    e = rng.normal(size=(n, t))
    for s in range(1, t):
        e[:, s] = rho * e[:, s - 1] + np.sqrt(1 - rho**2) * e[:, s]
    return e


def starting(start, n_periods):
    """Zeros and ones (unit, period) from the positions of the first treated periods."""
    return (np.arange(n_periods) >= np.asarray(start)[:, None]).astype(float)


def two_way_coefficients(y, d):
    """Coefficients of treatments (..., unit, period), by deviations from means."""
    left = d - d.mean(-1, keepdims=True) - d.mean(-2, keepdims=True)
    left = left + d.mean((-1, -2), keepdims=True)
    return (left * y).sum((-1, -2)) / (left**2).sum((-1, -2))


def permutation_sd(y, d, orders):
    """Standard deviation of the two-way coefficient over permutations of the paths."""
    return two_way_coefficients(y, d[orders]).std()


def gaps():
    """A panel with gaps: two cohorts of six units, whose starts are seen, twelve never treated."""
    rng = np.random.default_rng(1)
    d = starting([3] * 6 + [5] * 6 + [8] * 12, 8)
    mask = rng.random(d.shape) > 0.1
    mask[:, 2:6] = True
    y = autoregressive(rng, 24, 8).cumsum(axis=1) + d * 2.0
    return Panel({"y": np.where(mask, y, 0.0), "d": d * mask}, jnp.asarray(mask))


def switching():
    """The same, with a treatment that the first cohort gives up again."""
    panel = gaps()
    return panel.with_columns({"d": panel["d"].at[:6, 6:].set(0.0)})


@dataclass(frozen=True)
class Within:
    """An assignment that permutes within strata, without a warning of unlike variances."""

    strata: str

    def __call__(self, key, panel):
        return permuted(strata=self.strata, treatment="d")(key, panel)


def untreated(panel, how, assignment=HALF):
    """The panel that a DGP imposes its effects on."""
    return with_effect(panel, outcome="y", assignment=assignment, untreated=how).source.drawn


def in_numpy(panel):
    y, d, mask = (np.asarray(a) for a in (panel["y"], panel["d"], panel.mask))
    return OwnTreatment(y, mask & (d == 1), mask)


# What is removed


def test_the_effect_is_the_estimators():
    """Numbers of the estimators, which share no code with DGPs."""
    panel, horizons = gaps(), range(5)
    of_mcsim = imputation("y ~ d", horizons=horizons)(None, panel)
    found = own_effect(in_numpy(panel), by_event=True)
    assert found.average == pytest.approx(float(of_mcsim["att", "bjs"].value), rel=1e-10)
    assert list(found.by_event) == list(horizons)
    for horizon, effect in found.by_event.items():
        expected = float(of_mcsim[f"att[{horizon}]", "bjs"].value)
        assert effect == pytest.approx(expected, rel=1e-10)
    slope = own_effect(in_numpy(switching())).average
    of_mcsim = did("y ~ d")(None, switching())["att", "CR1"]
    assert slope == pytest.approx(float(of_mcsim.value), rel=1e-10)


@pytest.mark.parametrize(
    ("panel", "how", "estimator"),
    [
        (gaps(), "average", imputation("y ~ d")),
        (gaps(), "event", imputation("y ~ d", horizons=range(5))),
        (switching(), "average", did("y ~ d")),
    ],
    ids=["average", "event", "switching"],
)
def test_nothing_of_it_is_left(panel, how, estimator):
    estimates = estimator(None, untreated(panel, how)).values()
    assert max(abs(float(estimate.value)) for estimate in estimates) < 1e-12
    assert max(abs(float(e.value)) for e in estimator(None, panel).values()) > 1.0


def test_noise_stays_and_is_scaled():
    """Treated cells differ by the same number; deviations are sqrt((G - 1)/(G - 2)) as large."""
    panel = gaps()
    before, after = in_numpy(panel), np.asarray(untreated(panel, "average")["y"])
    y = before.y - before.on * own_effect(before).average
    deviations = [v - two_way_fit(v, before.observed) for v in (y, after)]
    scaled = np.sqrt(23 / 22) * deviations[0]
    np.testing.assert_allclose(deviations[1][before.observed], scaled[before.observed], atol=1e-12)
    means = two_way_fit(y, before.observed), two_way_fit(after, before.observed)
    np.testing.assert_allclose(*means, atol=1e-12)


def test_cells_that_nothing_is_compared_with_lose_the_average():
    """A unit that was always treated has no event times, a common last period no counterfactual."""
    own = OwnTreatment(
        np.random.default_rng(0).normal(size=(9, 5)),
        starting([0, 2, 2, 2, 3, 3, 3, 4, 4], 5) > 0,
        np.ones((9, 5), bool),
    )
    found = own_effect(own, by_event=True)
    assert list(found.by_event) == [0, 1]  # event times 2 and 3 are those of the last period
    assert set(found.of_cell[0]) == {found.average} == {found.of_cell[1, 4]}


@pytest.mark.parametrize(
    ("start", "how"),
    [([4] * 20 + [8] * 20, "average"), ([2] * 10 + [5] * 10 + [8] * 20, "event")],
    ids=["block", "staggered"],
)
def test_the_permutation_sd_is_that_of_untreated_outcomes(start, how):
    """Monte Carlo over 150 panels of AR(.8) errors, with an effect of twice their sd.

    Root mean square over panels of the permutation sd, by that of the errors alone (Monte Carlo
    error of the ratio):

    ========================== ============ ============
    outcomes                   block        staggered
    ========================== ============ ============
    as they are, effect left   1.590 (.014) 1.394 (.010)
    average effects removed    1.003 (.001) 0.997 (.002)
    ... without the scaling    0.990        0.984
    cells imputed one by one   0.698 (.008) 0.751 (.006)
    ========================== ============ ============
    """
    rng, d = np.random.default_rng(5), starting(start, 8)
    orders = np.array([rng.permutation(40) for _ in range(200)])
    sds = []
    for _ in range(150):
        e = autoregressive(rng, *d.shape)
        y = e + 2.0 * d
        removed = np.asarray(untreated(Panel({"y": y, "d": d}), how)["y"])
        imputed = np.where(d > 0, two_way_fit(y, d == 0), y)
        sds.append([permutation_sd(v, d, orders) for v in (e, y, removed, imputed)])
    raw, left_in, removed, imputed = np.sqrt((np.array(sds) ** 2).mean(axis=0))
    assert removed / raw == pytest.approx(1.0, abs=0.01)
    assert left_in / raw > 1.3
    assert imputed / raw < 0.8


def test_strata_take_degrees_of_freedom():
    """Pairs, one treated in each: the variance within pairs, of which there are half as many."""
    rng, pair = np.random.default_rng(6), np.repeat(np.arange(8.0), 2)
    d = starting([1, 2] * 8, 2)
    swaps = rng.random((400, 8)) < 0.5
    orders = (np.arange(16) ^ np.repeat(swaps, 2, axis=1)).astype(int)
    sds = []
    for _ in range(300):
        y = rng.normal(size=(16, 2))
        panel = Panel({"y": y, "d": d, "pair": np.repeat(pair[:, None], 2, axis=1)})
        after = untreated(panel, "average", Within(strata="pair"))["y"]
        sds.append([permutation_sd(v, d, orders) for v in (y, np.asarray(after))])
    raw, removed = np.sqrt((np.array(sds) ** 2).mean(axis=0))
    assert removed / raw == pytest.approx(1.0, abs=0.01)  # with (G - 1)/(G - 2) it is .968


# When it must be said


def test_a_panel_that_was_treated_must_say_so():
    """One sentence: what came, what is expected, the remedy."""
    with pytest.raises(InputError, match="untreated: got none for a panel that was treated") as e:
        with_effect(gaps(), outcome="y", assignment=HALF)
    assert "'average' or 'event'" in str(e.value)
    assert "'as is'" in str(e.value)


@pytest.mark.parametrize("word", [None, "average"])
def test_a_bootstrap_of_such_a_panel_must_keep_the_effect_aloud(word):
    """Units drawn with replacement take their own treatment's effect along."""
    drawn = Bootstrap(gaps())
    with pytest.raises(InputError, match="for a Bootstrap of a panel that was treated itself"):
        with_effect(drawn, outcome="y", assignment=HALF, untreated=word)
    assert with_effect(drawn, outcome="y", assignment=HALF, untreated="as is").source is drawn
    assert with_effect(drawn, outcome="y", assignment=HALF, treatment="new").source is drawn


def test_an_unknown_word_is_a_fault():
    dgp = with_effect(gaps(), outcome="y", assignment=HALF, untreated="as is")
    (fault,) = faults_of_untreated(dgp, "averag")
    assert fault == "untreated: got 'averag'; did you mean 'average'?"


def test_a_panel_that_was_not_is_as_before():
    """Bits, and definitions, whose hash the store compares."""
    panel = Panel({"y": np.arange(8.0).reshape(4, 2), "d": np.ones((4, 2))})
    laws = at_random(n_treated=2, start=1)
    dgp = with_effect(panel, outcome="y", assignment=laws)
    assert dgp.source is panel
    assert dgp == with_effect(panel, outcome="y", assignment=laws, untreated="as is")
    assert "untreated" not in describe(dgp)
    assert describe(dgp)["source"] == describe(panel)
    bits = dgp(jax.random.key(0), Design({"effect": 0.5})).panel
    assert bits["d"].tolist() == [[0, 0], [0, 1], [0, 1], [0, 0]]  # at commit 1637b94
    assert bits["y"].tolist() == [[0, 1], [2, 3.5], [4, 5.5], [6, 7]]


def test_as_is_keeps_the_outcomes():
    panel = gaps()
    np.testing.assert_array_equal(untreated(panel, "as is")["y"], panel["y"])


def test_the_definition_is_the_panel_and_the_word():
    """Not the last bits of what was estimated, which another machine may round differently."""
    dgps = {how: with_effect(gaps(), outcome="y", assignment=HALF, untreated=how)
            for how in ("average", "event", "as is")}  # fmt: skip
    definitions = {how: describe(dgp) for how, dgp in dgps.items()}
    assert len({str(definition) for definition in definitions.values()}) == 3
    source = dgps["average"].source
    moved = source.drawn.with_columns({"y": source.drawn["y"] * (1 + 1e-15)})
    other = replace(dgps["average"], source=replace(source, drawn=moved, caveats=()))
    assert describe(other) == definitions["average"]


def test_it_says_what_was_removed():
    dgp = with_effect(gaps(), outcome="y", assignment=HALF, untreated="average")
    assert "less the average effect of d; d: at_random" in dgp.summary
    average = own_effect(in_numpy(gaps())).average
    assert "only the treatment is random" in dgp.caveats[0]
    assert f"of d on y, {average:.3g} (imputation), was removed" in dgp.caveats[1]


def test_one_treated_unit_takes_its_error_along():
    d = starting([2] + [4] * 9, 4)
    y = autoregressive(np.random.default_rng(0), 10, 4)
    panel = Panel({"y": y, "d": d})
    with pytest.warns(UserWarning, match="One unit alone is treated \\(average\\)"):
        dgp = with_effect(panel, outcome="y", assignment=HALF, untreated="average")
    assert "its own error left with the effect" in dgp.caveats[-1]
    states = panel.with_columns({"state": np.repeat(np.arange(5.0), 2)[:, None] * np.ones(4)})
    states = states.with_columns({"d": jnp.asarray(starting([2, 2] + [4] * 8, 4))})
    whole = at_random(n_treated=2, start=2, cluster="state")
    with pytest.warns(UserWarning, match="One cluster of 'state' alone is treated"):
        with_effect(states, outcome="y", assignment=whole, untreated="average")
    last = states.with_columns({"d": jnp.asarray(starting([1, 2, 2] + [4] * 7, 4))})
    with pytest.warns(UserWarning, match="treated \\(event time 2\\)"):
        with_effect(last, outcome="y", assignment=HALF, untreated="event")


# Permuted paths


def strata_panel():
    """Two strata of unlike shares of treated units; clusters of two units below them."""
    start = [1, 1, 3, 3, 4, 4, 4, 4] + [2, 2] + [4] * 10
    size = np.repeat([0.0, 1.0], [8, 12])
    state = np.repeat(np.arange(10.0), 2)[::-1]
    columns = {name: values[:, None] * np.ones(4) for name, values in
               {"size": size, "state": state}.items()}  # fmt: skip
    y = np.random.default_rng(0).normal(size=(20, 4))
    return Panel({"y": y, "d": starting(start, 4), **columns})


def paths_drawn(assignment, panel, reps=2000):
    keys = jax.random.split(jax.random.key(2), reps)
    return np.asarray(jax.jit(jax.vmap(assignment, (0, None)))(keys, panel))


@pytest.mark.parametrize(
    "options",
    [{}, {"strata": "size"}, {"cluster": "state"}, {"strata": "size", "cluster": "state"}],
)
def test_every_unit_has_every_path_of_its_stratum_equally_often(options):
    """Paths are permuted, so that each draw holds the same ones; their shares are those of data."""
    panel = strata_panel()
    d, size = np.asarray(panel["d"]), np.asarray(panel["size"][:, 0])
    drawn = paths_drawn(permuted(treatment="d", **options), panel)
    stratum = size if "strata" in options else np.zeros(20)
    for value in np.unique(stratum):
        own, expected = drawn[:, stratum == value], d[stratum == value]
        number = expected.sum(axis=1).astype(int)
        np.testing.assert_array_equal(
            np.sort(own.sum(axis=2), axis=1), np.broadcast_to(np.sort(number), own.shape[:2])
        )
        share = expected.mean(axis=0)
        error = np.sqrt(share * (1 - share) / len(drawn))
        assert (np.abs(own.mean(axis=0) - share) < 4.5 * error + 1e-12).all()
    if "cluster" in options:
        np.testing.assert_array_equal(drawn[:, ::2], drawn[:, 1::2])
    else:
        assert (drawn[:, ::2] != drawn[:, 1::2]).any()


def test_clusters_of_unlike_size_exchange_their_paths():
    state = np.repeat(np.arange(4.0), [1, 2, 3, 4])[:, None] * np.ones(3)
    panel = Panel({"d": starting([1] + [3] * 9, 3), "state": state})
    drawn = paths_drawn(permuted(treatment="d", cluster="state"), panel)[:, :, -1]
    sizes, counts = np.unique(drawn.sum(axis=1), return_counts=True)
    assert sizes.tolist() == [1, 2, 3, 4]
    assert (np.abs(counts - 500) < 4.5 * np.sqrt(2000 * 0.25 * 0.75)).all()


def test_a_period_that_is_not_observed_continues_the_one_before():
    d = np.array([[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]])
    mask = np.array([[1, 1, 0, 1], [1, 1, 1, 1], [0, 1, 1, 1]], bool)
    drawn = paths_drawn(permuted(treatment="d"), Panel({"d": d * mask}, jnp.asarray(mask)), 50)
    assert {tuple(path) for path in drawn.reshape(-1, 4)} == {
        (0, 1, 1, 0), (0, 0, 0, 0), (0, 0, 0, 1)
    }  # fmt: skip


def test_it_composes():
    """With effects, factors of the design, event times, samples of other DGPs."""
    panel = strata_panel()
    law = {"outcome": "y", "untreated": "average", "horizons": (0, 1)}
    growing = by_exposure([1.0, 2.0])
    dgp = with_effect(panel, assignment=permuted(), effect=growing, **law)
    check_dgp(dgp)
    assert dgp.factors == ("strata", "cluster", "treatment", "effect", "effect_scale")
    sample = one_sample(dgp, seed=1, effect_scale=0.5, cluster="state")
    added = np.asarray(sample.panel["y"] - dgp.source.drawn["y"])
    expected = 0.5 * np.asarray(
        growing(jax.random.key(0), jnp.cumsum(sample.panel["d"], 1).astype(int), panel)
    )
    np.testing.assert_allclose(added, expected, atol=1e-12)
    assert float(sample.truth["att[1]"]) == 1.0
    np.testing.assert_array_equal(sample.panel["d"][::2], sample.panel["d"][1::2])
    resampled = with_effect(Bootstrap(panel), outcome="y", assignment=permuted(), untreated="as is")
    check_dgp(resampled)


def test_paths_that_differ_within_clusters_of_a_sample_give_none():
    """Where a DGP draws the panel they are known in each sample only."""

    def source(key, design):
        panel = strata_panel()
        d = panel["d"].at[0].multiply(design.get("kept", 1.0))
        return Sample(panel.with_columns({"d": d}), {})

    dgp = with_effect(source, outcome="y", assignment=permuted(cluster="state"))
    draw = jax.jit(lambda design: dgp(jax.random.key(0), design).panel["d"])
    assert np.isfinite(draw(Design({"kept": 1.0}))).all()
    assert np.isnan(draw(Design({"kept": 0.0}))).all()


def test_job_training():
    """Grants of 54 firms (Wooldridge; `lscrap ~ grant`): their own design has half the sd.

    Standard deviations of the two-way coefficient: .102 by the firms' own grants, a year each;
    .208 if 35 % are treated for good from the second or third year on (issue 16, entry 10).
    """
    from linearmodels.datasets import jobtraining

    frame = jobtraining.load().dropna(subset=["lscrap"])
    columns = ["lscrap", "grant"]
    panel, _ = from_frame(frame, unit="fcode", time="year", columns=columns)
    law = {"outcome": "lscrap", "treatment": "grant", "untreated": "average"}
    laws = {0.102: permuted(), 0.208: at_random(share=0.35, start=(1, 2))}
    for expected, assignment in laws.items():
        dgp = with_effect(panel, assignment=assignment, **law)
        drawn, _ = draw(dgp, 4000)
        estimates = two_way_coefficients(*(drawn[name] for name in columns))
        assert estimates.std() == pytest.approx(expected, abs=4 * expected / np.sqrt(8000) + 0.0005)
        assert abs(estimates.mean()) < 4.5 * expected / np.sqrt(4000)


# Units that are not exchangeable


def of_two_kinds(rng, ratio, n=40, t=6):
    """Half the units treated from period 4 on, with noise of another variance."""
    d = starting([4] * (n // 2) + [t] * (n // 2), t)
    sd = np.where(d[:, -1:] > 0, np.sqrt(ratio), 1.0)
    return Panel({"y": sd * rng.normal(size=(n, t)) + d, "d": d})


def test_a_difference_of_variances_is_warned_of():
    """The ratio is that of the variances of changes, within periods, before treatment."""
    panel = of_two_kinds(np.random.default_rng(3), ratio=9.0)
    change = np.diff(np.asarray(panel["y"])[:, :4], axis=1)
    ratio = change[:20].var(axis=0, ddof=1).sum() / change[20:].var(axis=0, ddof=1).sum()
    law = {"outcome": "y", "untreated": "average"}
    said = f"variance of changes in 'y' was {ratio:.2g} times .* \\(p = 0.002\\)"
    with pytest.warns(UserWarning, match=said):
        dgp = with_effect(panel, assignment=permuted(), **law)
    assert f"{ratio:.2g} times" in dgp.caveats[-2]
    assert "blind to treated units that are noisier" in dgp.caveats[-1]
    alike = with_effect(STRATA, assignment=permuted(), **law)
    assert re.search("was [0-9.]+ times .* [(]p = 0[.][1-9][0-9]*[)][.]$", alike.caveats[-2])
    with_effect(panel, assignment=HALF, **law)  # warns of nothing: its units are exchanged anew


def test_equal_variances_are_accused_as_often_as_the_test_says():
    """Level .05; 150 panels, Monte Carlo error .018; staggered, AR(.8) errors."""
    rng = np.random.default_rng(4)
    start = np.array([3] * 6 + [4] * 4 + [6] * 20)
    observed, number, stratum = np.ones((30, 6), bool), np.arange(30), np.zeros(30, int)
    ps = [
        pre_period_variances(
            autoregressive(rng, 30, 6), observed, start, number=number, stratum=stratum
        ).p
        for _ in range(150)
    ]
    assert np.mean(np.array(ps) < 0.05) == pytest.approx(0.05, abs=0.05)
    assert np.mean(ps) == pytest.approx(0.5, abs=0.1)


def test_without_two_of_each_kind_before_treatment_variances_are_not_compared():
    y = np.random.default_rng(0).normal(size=(6, 4))
    compare = partial(
        pre_period_variances,
        y,
        np.ones((6, 4), bool),
        number=np.arange(6),
        stratum=np.zeros(6, int),
    )
    assert compare(np.array([1, 1, 1, 4, 4, 4])) is None
    assert compare(np.array([2, 2, 2, 4, 4, 4])) is not None
    panel = Panel({"y": y, "d": starting([1, 1, 1, 4, 4, 4], 4)})
    dgp = with_effect(panel, outcome="y", assignment=permuted(), untreated="average")
    assert "before treatment cannot be compared" in dgp.caveats[-2]


# Bad input

STRATA = strata_panel()

on = partial(with_effect, STRATA, outcome="y", untreated="average")


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: on(assignment=HALF, treatment="e"), "no panel with a column 'e' that varies"),
        (
            lambda: with_effect(Bootstrap(STRATA), outcome="y", assignment=HALF, untreated="event"),
            "untreated: got 'event' for a Bootstrap of a panel that was treated itself",
        ),
        (
            lambda: with_effect(switching(), outcome="y", assignment=HALF, untreated="event"),
            "'d' switches off again",
        ),
        (
            lambda: with_effect(
                STRATA.with_columns({"d": 2 * STRATA["d"]}),
                outcome="y",
                assignment=HALF,
                untreated="average",
            ),
            "other values than 0 and 1",
        ),
        (lambda: on(assignment=HALF, treatment="size"), "effect of 'size' is not identified"),
        (
            lambda: with_effect(
                STRATA.take(jnp.array([0, 8])),
                outcome="y",
                untreated="average",
                assignment=at_random(n_treated=1, start=1),
            ),
            "with 2 units \\(clusters\\) to permute, expected at least 3",
        ),
        (lambda: on(assignment=permuted(strata="siz")), "strata: got 'siz'(.|\n)*mean 'size'"),
        (lambda: on(assignment=permuted(cluster="y")), "cluster: 'y' varies within units"),
        (lambda: on(assignment=permuted(strata="y")), "strata: 'y' varies within units"),
        (lambda: on(assignment=permuted(cluster="size")), "same 'size' differ in 'd'"),
        (lambda: on(assignment=permuted(strata="odd", cluster="state")), "strata: got 'odd'"),
        (
            lambda: with_effect(
                STRATA.with_columns({"odd": (jnp.arange(20.0) % 2)[:, None] * jnp.ones(4)}),
                outcome="y",
                untreated="average",
                assignment=permuted(strata="odd", cluster="state"),
            ),
            "strata: 'odd' varies within 'state'",
        ),
        (lambda: on(assignment=permuted(strata="state")), "same 'state' have the same path of 'd'"),
        (lambda: on(assignment=permuted(), treatment="law"), "treatment: got 'law'"),
        (
            lambda: on(assignment=permuted(treatment="size")),
            "'d' beside permuted\\(treatment='size'",
        ),
        (lambda: permuted()(jax.random.key(0), STRATA), "treatment: got none"),
    ],
)
def test_bad_input_is_a_sentence(make, match):
    with pytest.raises(InputError, match=match):
        make()
