"""Figures are drawn from the numbers that the tables show."""

import jaxtyping
import numpy as np
import pytest
from matplotlib.patches import Rectangle

import mcsim
from mcsim import plots
from mcsim.errors import InputError
from mcsim.generators import VAE, GaussianCopula, latent
from mcsim.testing import constant_dgp, exact_estimator


@pytest.fixture(scope="module")
def results() -> mcsim.Results:
    def mean(key, panel):
        y = panel["y"]
        return {"mean": mcsim.Estimate(y.mean(), y.std(ddof=1) / y.size**0.5)}

    study = mcsim.Study(
        dgp={"a": constant_dgp(truth=1.0), "b": constant_dgp(truth=3.0)},
        estimators={"mean": mean, "fixed": exact_estimator(truth=1.0)},
    )
    return mcsim.run(study, reps=64, workers=0, progress=False)


def test_bias_marks_stand_at_the_bias(results):
    axes = plots.bias(results).axes[0]
    drawn = {round(float(x), 9) for line in axes.lines for x in np.atleast_1d(line.get_xdata())}
    for value in results.summary(measures=["bias"])["bias"]:
        assert round(float(value), 9) in drawn


def test_zip_shows_the_coverage(results):
    figure = plots.zip_plot(results, dgp="b")
    shown = {axes.get_title(): axes.texts[0].get_text() for axes in figure.axes}
    coverage = results.summary(measures=["coverage"]).set_index(["dgp", "estimator"])["coverage"]
    assert shown["mean"] == f"{coverage['b', 'mean']:.1%}"
    assert shown["fixed"] == "0.0%"


def test_coverage_is_drawn_in_every_cell(results):
    figure = plots.coverage(results, estimators=["mean"])
    assert [axes.get_title() for axes in figure.axes] == ["a", "b"]
    table = results.summary(measures=["coverage"]).set_index(["dgp", "estimator"])["coverage"]
    for axes in figure.axes:
        points = axes.containers[0].lines[0]
        assert points.get_xdata()[0] == table[axes.get_title(), "mean"]


def test_marginals_show_every_column_and_mass_point():
    rng = np.random.default_rng(0)
    wage = np.where(rng.random(300) < 0.4, 0.0, rng.lognormal(size=300))
    panel = mcsim.Panel({"wage": wage, "treat": np.repeat([0.0, 1.0], 150)})
    schema = mcsim.infer_schema(panel)
    figure = plots.marginals(panel, panel, schema, by="treat")
    assert [axes.get_title() for axes in figure.axes[:1]] == ["wage"]
    assert len(figure.axes) == 2
    bars = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    assert {bar.get_height() for bar in bars} == {np.mean(wage[:150] == 0.0)}


def test_designs_have_facets_of_their_own():
    study = mcsim.Study(
        dgp=constant_dgp(), estimators=exact_estimator(), designs=mcsim.grid(shift=[0.0, 1.0])
    )
    results = mcsim.run(study, reps=8, workers=0, progress=False)
    assert [axes.get_title() for axes in plots.bias(results).axes] == ["shift = 0", "shift = 1"]
    titles = [axes.get_title() for axes in plots.zip_plot(results).axes]
    assert titles == ["exact_estimator, shift = 0", "exact_estimator, shift = 1"]


def test_unknown_names_are_sentences(results):
    with pytest.raises(mcsim.errors.UnknownName, match="did you mean"):
        plots.zip_plot(results, estimators=["meen"])
    with pytest.raises(mcsim.errors.UnknownName, match="dgp"):
        plots.bias(results, dgp="c")


@pytest.fixture(scope="module")
def encoder():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(40, 1)) + rng.normal(size=(40, 6))
    panel = mcsim.Panel({"y": y})
    trainer = VAE(latent=2, volatility=False, hidden=(8,), steps=5)
    return panel, trainer.fit(mcsim.key(0), panel, progress=False)


@pytest.mark.slow
def test_losses_are_drawn_step_by_step(encoder):
    figure = plots.losses(encoder[1])
    assert len(figure.axes) == len(encoder[1].losses)
    drawn = figure.axes[0].lines[0].get_ydata()
    np.testing.assert_array_equal(drawn, next(iter(encoder[1].losses.values())))
    with pytest.raises(InputError, match="recorded no losses"):
        plots.losses(GaussianCopula().fit(mcsim.key(0), encoder[0]))


def test_paths_stand_on_one_scale(encoder):
    panel = encoder[0]
    fewer = mcsim.Panel({"y": 5.0 + np.asarray(panel["y"])[:2]})
    figure = plots.paths({"real": panel, "two": fewer}, "y", units=[0, 3])
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    np.testing.assert_array_equal(figure.axes[1].lines[1].get_ydata(), fewer["y"][1])
    with pytest.raises(InputError, match="not in the panel 'two'"):
        plots.paths({"real": panel, "two": mcsim.Panel({"x": [1.0]})}, "y")


def test_the_unit_stands_in_the_middle_of_its_latent_grid(encoder):
    panel, generator = encoder
    space = latent(generator)
    figure = plots.latent_grid(space, panel, 7, "y", n=3)
    own = space.reconstruct(panel.take(np.array([7])))["y"][0]
    np.testing.assert_allclose(figure.axes[4].lines[0].get_ydata(), own, rtol=1e-5)
    rows = [figure.axes[cell].lines[0].get_ydata() for cell in (1, 4, 7)]
    assert not np.allclose(rows[0], rows[2])
    with pytest.raises(InputError, match=r"(?s)column: got 'z'.*odd number"):
        plots.latent_grid(space, panel, 7, "z", n=4)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda p, g: plots.latent_grid(g, p, 7, "y"), r"expected mcsim.generators.latent\("),
        (lambda p, g: plots.latent_grid(latent(g), p, 10_000, "y"), "unit: got 10000, expected a"),
        (lambda p, g: plots.latent_grid(latent(g), p, -1, "y"), "unit: got -1"),
        (lambda p, g: plots.latent_grid(latent(g), p, 7, "y", n=2.5), "n: got 2.5"),
        (lambda p, g: plots.paths(p, "y"), "expected panels by name"),
        (lambda p, g: plots.paths({}, "y"), "expected panels by name"),
        (lambda p, g: plots.paths({"a": p}, "y", units=[]), "expected positions"),
        (lambda p, g: plots.paths({"a": p}, "y", units=[1.5]), "expected positions"),
        (lambda p, g: plots.paths({"a": p}, "y", units=3), "expected positions"),
    ],
)
def test_wrong_arguments_of_figures_are_sentences(encoder, draw, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users have it
    with pytest.raises(InputError, match=message):
        draw(*encoder)
