"""Splits share programs: fits on other units draw, decode and estimate by what is compiled."""

from dataclasses import replace

import jax
import numpy as np
import pytest

import mcsim
from mcsim import Estimate, Panel
from mcsim._core.screen import Screen
from mcsim._fidelity._panels.layout import _draw_compiled, draw_panels
from mcsim._fidelity.candidates import Fit, fit_references, progress_by_split
from mcsim._fidelity.estimates import estimates_on, on_real_data
from mcsim.generators import GaussianCopula, GaussianMixture
from mcsim.generators._training import panel_recipe


def panel_with_rare_levels(n_units=40):
    """Wages, and schooling in whole years, of which the extreme ones are those of single units."""
    rng = np.random.default_rng(3)
    years = np.concatenate([[5, 6, 17, 18, 19], rng.integers(9, 15, n_units - 5)])
    wage = rng.normal(size=(n_units, 3)) + 0.1 * years[:, None]
    return Panel({"wage": wage, "years": np.broadcast_to(years[:, None] * 1.0, wage.shape)})


def halves(panel, count=3):
    rng = np.random.default_rng(4)
    return [np.sort(rng.permutation(panel.n_units)[: panel.n_units // 2]) for _ in range(count)]


def fits_on_halves(trainer):
    panel = panel_with_rare_levels()
    schema = mcsim.infer_schema(panel)
    keys, rows = mcsim.keys(1, 3), halves(panel)
    seen = {tuple(np.unique(np.asarray(panel["years"])[own])) for own in rows}
    assert len({len(levels) for levels in seen}) > 1  # the halves show other numbers of levels
    return trainer.fit_members(keys, panel, rows, schema=schema, progress=False)


def test_fits_on_other_units_are_drawn_and_decoded_by_one_program():
    panel_recipe._numbers_of.clear_cache()
    fits = fits_on_halves(GaussianCopula())
    assert panel_recipe._numbers_of._cache_size() == 1
    _draw_compiled.clear_cache()
    for length, fit in enumerate(fits):  # those with early stopping record losses of any length
        recorded = replace(fit, losses={"held": np.zeros(length)})
        draw_panels(mcsim.key(2), recorded, 6, (20, 3), ["wage", "years"])
    assert _draw_compiled._cache_size() == 1


def test_batches_are_of_one_size_and_the_panels_those_of_one_batch(monkeypatch):
    fit = fits_on_halves(GaussianCopula())[0]
    whole = draw_panels(mcsim.key(2), fit, 7, (20, 3), ["wage", "years"])
    monkeypatch.setattr("mcsim._fidelity._panels.layout.BATCH_CELLS", 3 * 20 * 3 * 2)
    _draw_compiled.clear_cache()
    batched = draw_panels(mcsim.key(2), fit, 7, (20, 3), ["wage", "years"])
    assert _draw_compiled._cache_size() == 1
    for name in whole:
        assert batched[name].shape == (7, 20, 3)
        np.testing.assert_allclose(batched[name], whole[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("components", [2, 3, 5])
def test_components_that_fill_up_a_mixture_are_never_drawn(components):
    distribution = fits_on_halves(GaussianMixture(components=components))[0].parts[0].distribution
    count = len(distribution.weights)
    assert count == 2 ** int(np.ceil(np.log2(components)))
    assert not distribution.weights[components:].any()
    known = replace(
        distribution,
        weights=distribution.weights[:components],
        means=distribution.means[:components],
        roots=distribution.roots[:components],
    )
    one, two = (law.draw(mcsim.key(5), 500) for law in (distribution, known))
    np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


def test_an_estimator_is_traced_for_the_data_and_for_draws_and_not_again():
    traces = []

    def mean(key, panel):
        traces.append(panel["y"].shape)
        return {"mean": Estimate(panel["y"].mean())}

    rng = np.random.default_rng(0)
    real = Panel({"y": rng.normal(size=(30, 2))})
    ran = on_real_data({"mean": mean}, real, mcsim.key(1), mcsim.infer_schema(real))
    static = mcsim.infer_schema(real).static_part(("y",), 2)

    def drawn(seed):
        cubes = jax.numpy.asarray(np.random.default_rng(seed).normal(size=(40, 30, 2)))
        keys = [jax.random.split(mcsim.key(seed), 40)]
        return estimates_on(ran, keys, Panel.batch({"y": cubes}, static=static))

    first = drawn(1)[("mean", "mean")]
    known = len(traces)
    second = drawn(2)[("mean", "mean")]
    assert len(traces) == known
    assert not np.array_equal(first, second)


def test_the_reference_that_is_fitted_is_shown_with_the_number_of_splits(monkeypatch):
    lines = []
    step = Screen.step
    monkeypatch.setattr(Screen, "step", lambda self, text: lines.append(text) or step(self, text))
    monkeypatch.setattr(
        "mcsim._fidelity.candidates.fit_on_splits",
        lambda *_, **options: [Fit(options, np.arange(3), None)],
    )
    split, panel = (np.arange(3), np.arange(3, 6)), panel_with_rare_levels()
    found = fit_references({"copula": None}, [mcsim.key(1)], panel, [split, split], schema="s")
    assert lines == ["fitting the reference copula on 2 splits"]
    assert found.fits["copula"][0].generator == {"progress": False, "schema": "s"}


def test_the_bar_goes_forward_split_by_split(monkeypatch):
    steps = []
    monkeypatch.setattr("rich.progress.Progress.advance", lambda self, task: steps.append(task))
    fit = Fit(None, np.arange(3), None)
    with progress_by_split({"one": [fit, fit], "two": [fit]}, shown=False) as tick:
        for _ in range(3):
            tick()
    assert len(steps) == 3
