"""Figures of papers: lines, power curves, loops, distributions; one style, which stays inside."""

import io
from dataclasses import replace

import jax
import jaxtyping
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend

import mcsim
from mcsim import plots
from mcsim.errors import InputError, UnknownName
from mcsim.measures import detectable_effect
from mcsim.plots._curves import is_geometric
from mcsim.plots._style import COLORS, STYLE, series


def draw(key, design):
    y = design["tau"] + jax.random.normal(key, (design["n"],))
    return mcsim.Sample(mcsim.Panel({"y": y}), {"mean": design["tau"]})


def mean(key, panel):
    y = panel["y"]
    return mcsim.Estimate(y.mean(), y.std(ddof=1) / y.size**0.5, df=y.size - 1)


def shrunken(key, panel):
    y = panel["y"]
    se = y.std(ddof=1) / y.size**0.5
    return {("mean", "small"): mcsim.Estimate(0.8 * y.mean(), 0.8 * se),
            ("mean", "large"): mcsim.Estimate(0.8 * y.mean(), se)}  # fmt: skip


@pytest.fixture(scope="module")
def results() -> mcsim.Results:
    study = mcsim.Study(
        {"normal": draw},
        {"mean": mean, "shrunken": shrunken},
        mcsim.grid(n=[10, 20, 40], tau=[0.0, 0.4, 0.8]),
        scale=2.0,
        unit="hundred",
    )
    return mcsim.run(study, reps=64, workers=0, progress=False)


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.axison]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def every_figure(results):
    summary = results.summary(measures=["bias", "coverage"])
    paper = summary[["n", "tau", "estimator", "inference"]].assign(measure="bias", published=0.1)
    compared = mcsim.compare(summary, paper)
    yield plots.lines(results, x="n", y="bias")
    yield plots.power(results, x="tau")
    yield plots.nested_loop(results, y="coverage")
    yield plots.bias(results)
    yield plots.lollipop(results, measures=["bias", "coverage"])
    yield plots.coverage(results)
    yield plots.zip_plot(results)
    yield plots.estimates_and_se(results)
    yield plots.p_values(results)
    yield plots.comparison(compared)
    yield plots.forest(compared)


def test_lines_are_drawn_at_the_summary_with_facets_and_a_geometric_axis(results):
    figure = plots.lines(results, x="n", y="bias")
    assert titles(figure) == ["tau = 0", "tau = 0.4", "tau = 0.8"]
    summary = results.summary(measures=["bias"])
    for axes, tau in zip(figure.axes, (0.0, 0.4, 0.8), strict=True):
        assert axes.get_xscale() == "log"
        drawn = [container.lines[0].get_ydata() for container in axes.containers]
        for name, values in zip(("mean", "shrunken"), drawn, strict=True):
            rows = summary[(summary["tau"] == tau) & (summary["estimator"] == name)]
            expected = rows.drop_duplicates("n")["bias"] / 2.0
            np.testing.assert_allclose(values, expected)
    assert legend(figure) == ["mean", "shrunken", "0: right", "2 Monte Carlo standard errors"]


def test_standard_errors_have_lines_of_their_own_where_they_differ(results):
    figure = plots.lines(results, x="n", y="coverage")
    assert legend(figure)[:3] == ["mean", "shrunken  small", "shrunken  large"]
    figure = plots.lines(results, x="n", y="coverage", by="tau", estimators=["mean"])
    assert legend(figure)[:3] == ["tau = 0", "tau = 0.4", "tau = 0.8"]
    assert len(titles(figure)) == 1


def test_power_marks_the_smallest_effect(results):
    one = replace(results, replicates=results.replicates[results.replicates["n"] == 20])
    figure = plots.power(one, estimators=["mean"], width="column")
    assert figure.get_figwidth() == 3.5
    found = detectable_effect(one, effect="tau").set_index("estimator").loc["mean"]
    marks = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == 6]
    assert marks == [pytest.approx(found["detectable_effect"])]
    assert figure.axes[0].get_ylim() == (-0.02, 1.02)
    with pytest.raises(InputError, match=r"the study has \['n', 'tau'\]"):
        plots.power(results)


def test_nested_loops_show_every_cell_in_order(results):
    figure = plots.nested_loop(results, y="rmse", factors=["tau"])
    steps = figure.axes[0].patches[0].get_data().values
    rows = results.summary(measures=["rmse"])
    rows = rows[rows["estimator"] == "mean"].sort_values(["tau", "n"])
    np.testing.assert_allclose(steps, rows["rmse"] / 2.0)
    words = [text.get_text() for text in figure.axes[1].get_yticklabels()]
    assert words == ["tau: 0, 0.4, 0.8", "n: 10, 20, 40"]


def test_zips_share_their_axes_and_have_a_legend(results):
    figure = plots.zip_plot(results)
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    assert legend(figure) == ["covers the truth", "misses it", "truth", "level, 95%"]


def test_p_values_are_drawn_in_order(results):
    figure = plots.p_values(results, estimators=["mean"])
    rows = results.replicates
    rows = rows[(rows["estimator"] == "mean") & (rows["n"] == 10) & (rows["tau"] == 0.0)]
    line = next(line for line in figure.axes[0].lines if line.get_color() == COLORS[0])
    np.testing.assert_allclose(line.get_xdata()[1:-1], np.sort(rows["p_value"]))


def test_figures_leave_the_settings_of_the_user_alone_and_explain_their_marks(results):
    kept = [name for name in mpl.rcParams if not name.startswith(("backend", "_"))]
    before = {name: mpl.rcParams[name] for name in kept}
    for figure in every_figure(results):
        assert isinstance(figure, Figure)
        figure.savefig(io.BytesIO(), format="png", dpi=40)
        assert isinstance(figure.legends[0], Legend)
        assert not [t for t in figure.legends[0].get_texts() if not t.get_text()]
    assert {name: mpl.rcParams[name] for name in kept} == before
    assert set(STYLE) <= set(mpl.rcParams)


def test_no_words_of_a_figure_lie_on_each_other(results):
    for figure in every_figure(results):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        boxes = [figure.legends[0].get_window_extent(renderer)]
        for axes in filter(lambda axes: axes.axison, figure.axes):
            boxes += [
                text.get_window_extent(renderer)
                for text in (axes.title, axes.xaxis.label, axes.yaxis.label)
                if text.get_text()
            ]
        texts = [figure._supxlabel, figure._supylabel]  # pyright: ignore[reportAttributeAccessIssue]
        boxes += [text.get_window_extent(renderer) for text in texts if text is not None]
        for i, box in enumerate(boxes):
            assert not [other for other in boxes[:i] if box.overlaps(other)]


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_files_of_journals(results, tmp_path, kind):
    plots.lines(results, x="n", width="column").savefig(tmp_path / f"figure.{kind}")
    content = (tmp_path / f"figure.{kind}").read_bytes()
    if kind == "png":
        assert int.from_bytes(content[16:20], "big") == 3.5 * 300
    else:
        assert content[:5] in (b"%PDF-", b"<?xml")


def test_a_notebook_shows_a_figure_once(results):
    from matplotlib import _pylab_helpers

    figure = plots.lines(results, x="n")
    pixels, size = figure._repr_png_()
    assert pixels[:4] == b"\x89PNG"
    assert size["width"] == 672
    assert not _pylab_helpers.Gcf.get_all_fig_managers()


def test_series_differ_in_gray_too():
    looks = [series(place) for place in range(14)]
    assert len({(s["color"], s["marker"], str(s["linestyle"])) for s in looks}) == 14
    assert len({(s["marker"], str(s["linestyle"])) for s in looks[:7]}) == 7


def test_grids_that_double_are_geometric():
    assert is_geometric([50, 100, 200, 400])
    assert is_geometric([50, 100, 250, 500, 1000])
    assert not is_geometric([10, 20, 30, 40])
    assert not is_geometric([0.0, 1.0, 2.0, 4.0])
    assert not is_geometric([50, 100])
    assert not is_geometric(["a", "b", "c"])


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda r: plots.lines(r, x="m"), UnknownName, "x: got 'm'"),
        (lambda r: plots.lines(r, x="n", by="n"), InputError, "x, by: both are 'n'"),
        (lambda r: plots.lines(r, x="n", y="power"), InputError, "here it is called 'rejection'"),
        (lambda r: plots.lines(r, x="n", width="wide"), InputError, "width: got 'wide'"),
        (lambda r: plots.lollipop(r, measures=["x"]), InputError, "unknown measure 'x'"),
        (lambda r: plots.nested_loop(r, factors=["m"]), UnknownName, "factors: got 'm'"),
        (plots.forest, InputError, "mcsim.compare returns one"),
    ],
)
def test_wrong_arguments_are_sentences(results, wrong, error, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users have it
    with pytest.raises(error, match=message):
        wrong(results)
