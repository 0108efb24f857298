"""Candidates: references, trainers and fitted generators, and how they fail."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcsim
from fidelity.cross_sections import draw as draw_rows
from fidelity.panels import KEY, SMALL, Law, Truth, draw, measure
from mcsim import Panel
from mcsim._fidelity._panels import layout as _layout
from mcsim._fidelity._panels.layout import draw_panels
from mcsim._fidelity.references import PANEL_REFERENCES, Gaussian
from mcsim.errors import InputError, TrainingDiverged
from mcsim.generators import UnitBootstrap

pytestmark = pytest.mark.usefixtures("two_references")


# References


def test_the_bootstrap_draws_rows_of_the_given_arm():
    panel = draw_rows(40)
    bootstrap = UnitBootstrap().fit(KEY, panel, given=("treat",))
    treat = jnp.repeat(jnp.array([1.0, 0.0]), 500)
    drawn = jax.jit(lambda k: bootstrap.sample(k, 1_000, given={"treat": treat}))(KEY)
    np.testing.assert_array_equal(drawn["treat"][:, 0], treat)
    known = {tuple(row) for row in np.hstack([np.asarray(panel[n]) for n in panel])}
    found = [tuple(row) for row in np.hstack([np.asarray(drawn[n]) for n in panel])]
    assert set(found) == known  # 1,000 draws of 40 rows find each


def test_the_bootstrap_draws_rows_uniformly():
    bootstrap = UnitBootstrap().fit(KEY, Panel({"y": np.arange(8.0)}))
    counts = np.bincount(np.asarray(bootstrap.sample(KEY, 80_000)["y"]).astype(int).ravel())
    assert np.abs(counts - 10_000).max() < 4 * np.sqrt(80_000 * 1 / 8 * 7 / 8)


def test_the_normal_has_the_moments_of_each_arm():
    panel = draw_rows(400)
    normal = Gaussian().fit(KEY, panel, given=("treat",))
    drawn = normal.sample(KEY, 200_000, given={"treat": jnp.ones(200_000)})
    rows = panel.take(np.asarray(panel["treat"][:, 0]) == 1)
    x, y = (np.asarray(rows[n])[:, 0] for n in ("x", "y"))
    gx, gy = (np.asarray(drawn[n])[:, 0] for n in ("x", "y"))
    assert gy.mean() == pytest.approx(y.mean(), abs=4 * y.std() / np.sqrt(200_000))
    assert np.cov(gx, gy) == pytest.approx(np.cov(x, y), abs=0.03)
    assert set(np.unique(drawn["treat"])) == {1.0}


def test_the_normal_gives_nan_for_an_unknown_arm_and_names_missing_columns():
    fitted = Gaussian().fit(KEY, draw_rows(40), given=("treat",))
    drawn = fitted.sample(KEY, 2, given={"treat": jnp.array([2.0, 1.0])})
    assert np.isnan(drawn["y"][:, 0]).tolist() == [True, False]
    with pytest.raises(InputError, match=r"given: got no values of \['treat'\]"):
        fitted.sample(KEY, 2)


def test_the_normal_takes_constant_and_collinear_columns():
    panel = Panel({"a": [1.0, 2.0, 4.0], "b": [2.0, 4.0, 8.0], "c": [5.0, 5.0, 5.0]})
    drawn = Gaussian().fit(KEY, panel).sample(KEY, 100)
    np.testing.assert_allclose(drawn["b"], 2 * drawn["a"], atol=1e-6)
    np.testing.assert_allclose(drawn["c"], 5.0)


# Failures


class Raising:
    """A trainer whose fit raises."""

    def __init__(self, error):
        self.error = error

    def fit(self, key, panel, **_):
        raise self.error


class DrawsNaN:
    """A trainer whose generator draws NaN."""

    def fit(self, key, panel, **_):
        return Diverged()


class OnHost:
    """A generator that leaves JAX."""

    rows = None

    def sample(self, key, n_units, n_periods=None, *, given=None):
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel().tolist())
        return Panel({"y": rng.normal(size=(n_units, 6))})


@dataclass(frozen=True)
class Diverged:
    """Draws NaN in one cell of a column; traced or on the host."""

    rows: None = None
    on_host: bool = False

    def sample(self, key, n_units, n_periods=None, *, given=None):
        drawn = OnHost().sample(key, n_units) if self.on_host else Law().sample(key, n_units)
        return drawn.with_columns({"y": drawn["y"].at[0, 1].set(jnp.nan)})


FAILING = [
    (Raising(InputError("too few periods")), "invalid_input", "too few periods"),
    (Raising(TrainingDiverged("ran away")), "error", "ran away"),
    (Raising(np.linalg.LinAlgError("singular")), "error", "LinAlgError: singular"),
    (DrawsNaN(), "error", "generators: Diverged draws"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("trainer", "status", "sentence"), FAILING)
def test_a_reference_that_fails_is_a_row_with_a_status_and_a_sentence(
    monkeypatch, trainer, status, sentence
):
    monkeypatch.setitem(PANEL_REFERENCES, "copula", trainer)
    found = mcsim.fidelity(draw(40), {"t": Truth()}, **SMALL)
    assert found.verdicts["copula"].startswith(f"no numbers: {sentence}")
    score = found.score[found.score["component"] == "score"].set_index("generator")
    assert score["status"].to_dict() == {"real": "ok", "bootstrap": "ok", "t": "ok",
                                         "copula": status}  # fmt: skip
    assert np.isnan(score.loc["copula", "value"])
    assert np.isfinite(score.loc["t", "value"])
    assert set(found.samples) == {"bootstrap", "t"}
    for text in (found.details(), found.to_markdown(details=True)):
        assert any("copula" in line and status in line for line in text.splitlines())
        assert "nan" not in text.replace("that are NaN", "")
    assert f"copula: no numbers: {sentence}" in " ".join(str(found).split())
    assert "nan" not in str(found).replace("that are NaN", "")
    for text in (str(found), found.details()):
        assert max(len(line) for line in text.splitlines()) <= 100


@pytest.mark.slow
@pytest.mark.parametrize("trainer", [trainer for trainer, *_ in FAILING])
def test_a_trainer_under_test_that_fails_raises(trainer):
    with pytest.raises((InputError, TrainingDiverged, np.linalg.LinAlgError)):
        mcsim.fidelity(draw(40), {"mine": trainer}, **SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("on_host", [False, True])
def test_a_generator_that_draws_nan_is_refused(on_host):
    real, generator = draw(40).select(["y"]), Diverged(on_host=on_host)
    with pytest.raises(InputError, match=r"Diverged draws .* of column 'y'") as caught:
        mcsim.fidelity(real, {"mine": generator}, **SMALL)
    assert caught.value.__notes__ == ["in fidelity: the draws of generator 'mine'"]
    with pytest.raises(InputError, match=r"draws 3 of 90 values of .* NaN or .*; fit it again"):
        draw_panels(KEY, generator, 3, (5, 6), ("y",))


@pytest.mark.slow
def test_a_generator_that_raises_is_named():
    class Raising:
        rows = None

        def sample(self, key, n_units, n_periods=None, *, given=None):
            raise ZeroDivisionError("no mass")

    with pytest.raises(ZeroDivisionError, match="no mass") as caught:
        mcsim.fidelity(draw(40), {"mine": Raising()}, **SMALL)
    assert "in fidelity: the draws of generator 'mine'" in caught.value.__notes__


# Fitted generators, and draws


@dataclass(frozen=True)
class Fit:
    """A fitted generator that says what it saw."""

    rows: np.ndarray | None

    def sample(self, key, n_units, n_periods=None, *, given=None):
        return Law().sample(key, n_units)


@pytest.mark.slow
def test_fitted_generators_are_used_as_they_are():
    generators = {"all": Fit(None), "some": [Fit(np.arange(20)), Fit(np.arange(10, 30))]}
    found = mcsim.fidelity(draw(40), generators, **SMALL)
    assert np.isnan(measure(found, "all", "nn_ratio")["value"])
    assert measure(found, "some", "nn_ratio")["splits"] == 2
    assert found.notes[0].startswith("all: its fit used all units")
    assert found.verdicts["all"].startswith("compared with its training units; ")
    assert "fit on" not in found.verdicts["some"]
    frame = found.rejection.set_index(["generator", "outcome", "inference"])
    assert frame.loc[("some", "y", "iid"), "reps"] == 6


def test_draws_share_one_program_over_splits():
    before = _layout._draw_compiled._cache_size()
    for within in (0.2, 0.5, 1.0):
        drawn = draw_panels(KEY, Law(jnp.asarray(within), jnp.asarray(0.0)), 3, (11, 6), ("y",))
    assert _layout._draw_compiled._cache_size() == before + 1
    assert drawn["y"].shape == (3, 11, 6)
    assert drawn["y"].dtype == np.float64


def test_a_generator_of_host_code_draws_panel_by_panel():
    drawn = draw_panels(KEY, OnHost(), 3, (5, 6), ("y",))["y"]
    assert len(np.unique(drawn)) == drawn.size


# Bad input


@pytest.mark.parametrize("periods", [1, 4])
def test_generators_of_groups_are_refused(periods):
    rng = np.random.default_rng(0)
    code = np.repeat(np.arange(10.0), 6)[:, None] * np.ones(periods)
    panel = mcsim.Panel({"y": rng.normal(size=(60, periods)), "g": code})
    trainer = mcsim.generators.GaussianCopula(cluster="g")
    for candidate in (trainer, trainer.fit(KEY, panel)):
        with pytest.raises(InputError, match="has cluster='g', but fidelity compares units one by"):
            mcsim.fidelity(panel, {"mine": candidate})


@dataclass(frozen=True)
class Short:
    """Draws other columns and periods."""

    names: tuple[str, ...]
    rows: None = None

    def sample(self, key, n_units, n_periods=None, *, given=None):
        return Panel({name: jax.random.normal(key, (n_units, 5)) for name in self.names})


@pytest.mark.parametrize(
    ("generators", "message"),
    [
        ({"copula": Truth()}, "the name 'copula' is taken by a reference row"),
        ({"x": 3}, "got int, expected a trainer"),
        ([], "got an empty list"),
        ([Fit(np.arange(500))], "it was fit on unit 499, real has 40 units"),
        (Short(("y",)), r"draws no columns \['x', 'educ'\]"),
        (Short(("y", "x", "educ")), "draws 5 periods, expected the 6 of real"),
    ],
)
def test_wrong_generators(monkeypatch, generators, message):
    for name in PANEL_REFERENCES:  # so that nothing but the generators is fit and compared
        monkeypatch.setitem(PANEL_REFERENCES, name, Raising(InputError("too few periods")))
    with pytest.raises(InputError, match=message):
        mcsim.fidelity(draw(40), generators, **SMALL)
