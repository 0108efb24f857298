"""Fits: warnings, missing cells, members of ensembles, and data and options that are refused."""

import warnings
from dataclasses import replace
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import mcsim
from generators.fits import (
    EVERY,
    KEY,
    WHOLE,
    changes,
    effects_panel,
    mixed_frame,
    named,
    unchecked,
)
from mcsim import Panel
from mcsim.errors import InputError
from mcsim.generators import (
    GAN,
    VAE,
    WGAN,
    Autoregressive,
    BlockBootstrap,
    FactorVAR,
    Flow,
    GaussianCopula,
    GaussianMixture,
    SmoothedBootstrap,
    UnitBootstrap,
    fit_many,
)
from mcsim.generators._training import trainer as _trainer


class Checked(Exception):
    """Raised where training would begin."""


@pytest.fixture
def only_checks(monkeypatch):
    """Let fits end after their checks, with `Checked`."""
    monkeypatch.setattr(_trainer, "KEEPER", mock.Mock(get=lambda: mock.Mock(side_effect=Checked)))


# Warnings


@named(WHOLE)
def test_constant_columns_are_learned_with_a_warning(trainer):
    data = effects_panel(30, 4).with_columns({"one": np.full((30, 4), 1.0)})
    with pytest.warns(UserWarning, match="'one' is constant"):
        drawn = trainer.fit(KEY, data).sample(mcsim.key(2), 50)
    np.testing.assert_array_equal(drawn["one"], 1.0)


@pytest.mark.slow
@named(WHOLE)
def test_many_periods_of_few_units_are_warned_about(trainer, only_checks):
    said = pytest.warns(UserWarning, match="MacroPanel learns such panels")
    with said, pytest.raises(Checked):
        trainer.fit(KEY, effects_panel(8, 40))


@pytest.mark.parametrize("n_periods", [1, 100])
@named([Autoregressive(), Flow(), GAN(), VAE(), WGAN(), *WHOLE])
def test_warnings_point_at_the_line_of_the_user(trainer, n_periods, only_checks):
    data = effects_panel(20, n_periods).with_columns({"one": np.ones((20, n_periods))})
    with warnings.catch_warnings(record=True, action="always") as caught:
        with pytest.raises(Checked):
            trainer.fit(KEY, data)
        with pytest.raises(Checked):
            fit_many(trainer, mcsim.keys(0, 2), data)
    said = "'one' is constant", *["MacroPanel learns such panels"] * (n_periods > 1)
    assert len(caught) == 2 * len(said)
    for warning, words in zip(caught, said * 2, strict=True):
        assert words in str(warning.message)
        assert warning.filename == __file__


def test_a_block_bootstrap_is_made_for_many_periods():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BlockBootstrap().fit(KEY, effects_panel(8, 40))


def test_columns_that_hardly_ever_change_are_told(only_checks):
    educ = np.full((60, 4), 12.0)
    educ[:30] = 16.0
    educ[7, 2:] += 1
    data = Panel({"y": np.random.default_rng(0).normal(size=(60, 4)), "educ": educ})
    said = pytest.warns(UserWarning, match="'educ' changes within 1 of 60 units only")
    with said, pytest.raises(Checked):
        GaussianCopula().fit(KEY, data)
    with pytest.raises(Checked):  # and no warning: it copies men as they are
        UnitBootstrap().fit(KEY, data)


@pytest.mark.parametrize(("turn", "word"), [(1, "falls"), (-1, "rises")])
def test_columns_that_go_one_way_are_told(turn, word, only_checks):
    rng = np.random.default_rng(0)
    adopted = turn * (np.arange(6) >= rng.integers(2, 9, (80, 1))).astype(float)
    data = Panel({"y": rng.normal(size=(80, 6)), "d": adopted})
    said = pytest.warns(UserWarning, match=f"'d' never {word} within a unit; in generated panels")
    with said, pytest.raises(Checked):
        GaussianCopula().fit(KEY, data)
    said = pytest.warns(UserWarning, match=f"'d' never {word} within a unit")
    with said, pytest.raises(Checked):
        BlockBootstrap().fit(KEY, data)
    with pytest.raises(Checked):  # and no warning
        UnitBootstrap().fit(KEY, data)


# Missing cells


def holed(panel, share=0.15, seed=0):
    observed = np.random.default_rng(seed).uniform(size=panel["y"].shape) > share
    observed[:, 0] = True
    return Panel(dict(panel.items()), jnp.asarray(observed))


@named(EVERY)
def test_missing_cells_are_refused_with_the_remedy(trainer, panel):
    with pytest.raises(InputError, match=r"are missing, the first is unit .*\(missing='model'\)"):
        trainer.fit(KEY, holed(panel))


def test_rows_that_are_missing_are_one_sentence_with_the_users_labels():
    frame = pd.DataFrame({"firm": list("aabbccddeeffgghh"), "year": [1, 2] * 8, "y": range(16)})
    data, schema = mcsim.from_frame(frame.drop(index=5), "firm", "year")
    with pytest.raises(InputError) as caught:
        GaussianCopula().fit(KEY, data, schema=schema)
    assert str(caught.value).startswith("panel: 1 of 16 rows of units and periods are missing, the "
                                        "first is unit c, period 2; drop")  # fmt: skip


@named([SmoothedBootstrap(), GaussianCopula(), GaussianMixture(), FactorVAR()])
def test_missing_cells_are_completed(trainer, panel):
    generator = replace(trainer, missing="model").fit(KEY, holed(panel))
    drawn = generator.sample(mcsim.key(2), 50_000)
    assert drawn.mask is None
    ratio = changes(drawn, "y", 3).std() / changes(panel, "y", 3).std()
    assert ratio == pytest.approx(1.0, abs=0.1)


@named([UnitBootstrap(missing="model"), BlockBootstrap(missing="model")])
def test_bootstraps_carry_the_mask_along(trainer, panel):
    data = holed(panel)
    drawn = trainer.fit(KEY, data).sample(mcsim.key(2), 3_000)
    assert float(drawn.mask.mean()) == pytest.approx(float(data.mask.mean()), abs=0.03)
    assert np.isin(np.asarray(drawn["y"])[np.asarray(drawn.mask)], panel["y"]).all()


def test_a_unit_without_any_cell_is_refused(panel):
    mask = np.ones(panel["y"].shape, bool)
    mask[3] = False
    with pytest.raises(InputError, match="1 units have no cell at all"):
        GaussianCopula(missing="model").fit(KEY, Panel(dict(panel.items()), jnp.asarray(mask)))


@pytest.mark.slow
@named([GaussianCopula(), FactorVAR(), VAE(steps=50)])
def test_cells_missing_because_of_others_do_not_move_the_mean(trainer):
    """y is missing where w, which is seen, is large: the mean of what is seen is far too small."""
    r = np.random.default_rng(0)
    w = r.normal(size=(600, 6))
    y = 0.7 * w + 0.7 * r.normal(size=(600, 6)) + 0.5 * r.normal(size=(600, 1))
    gone = r.random((600, 6)) < 1 / (1 + np.exp(0.8 - 1.5 * w))
    gone[gone.all(axis=1)] = False
    seen = np.where(gone, np.nan, y)
    assert np.nanmean(seen) < y.mean() - 0.2
    fit = replace(trainer, missing="model").fit(KEY, Panel({"w": w, "y": seen}), progress=False)
    drawn = np.asarray(fit.sample(mcsim.key(2), 20_000)["y"])
    assert drawn.mean() == pytest.approx(y.mean(), abs=0.08)
    assert drawn.std() == pytest.approx(y.std(), rel=0.05)


def test_a_period_that_nobody_observed_is_refused():
    mask = np.ones((40, 5), bool)
    mask[:, 0] = False
    panel = Panel({"y": np.random.default_rng(0).normal(size=(40, 5))}, jnp.asarray(mask))
    with pytest.raises(InputError, match="no unit has a cell in the periods 0"):
        GaussianCopula(missing="model").fit(jax.random.key(0), panel)
    with pytest.raises(InputError, match=r"40 of 200 rows of units.*gaps and all, under a mask"):
        UnitBootstrap().fit(jax.random.key(0), panel)


# Ensembles


SMALL = [
    VAE(steps=3, folds=2),
    Autoregressive(steps=3, folds=2),
    Flow(steps=3, folds=2, couplings=2, hidden=(4,)),
    WGAN(steps=3, hidden=(8,), critic_hidden=(8,)),
    GAN(steps=3),
]


@pytest.mark.slow
@named([*WHOLE, *SMALL])
def test_members_may_see_columns_that_others_never_see_change(trainer):
    rng = np.random.default_rng(0)
    educ = np.repeat(rng.integers(8, 17, (60, 1)).astype(float), 4, axis=1)
    educ[7, 2:] += 1  # one man, who is in all folds but one
    data = Panel({"y": rng.normal(size=(60, 4)), "educ": educ})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that educ changes within one man only
        fits = fit_many(trainer, jax.random.split(KEY, 3), data, progress=False)
    sizes = [getattr(fit.parts[0], "coding", None) for fit in fits]
    assert len({coding.layout for coding in sizes if coding is not None}) != 1
    for fit in fits:
        still = 7 not in fit.rows
        drawn = np.asarray(fit.sample(mcsim.key(2), 50)["educ"])
        assert not still or (drawn == drawn[:, :1]).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trainer", "resample"),
    [*((trainer, "folds") for trainer in EVERY), (GaussianCopula(), "bootstrap"),
     (GaussianCopula(), None)],
    ids=str,
)  # fmt: skip
def test_ensembles_learn_from_the_rows_they_are_given(trainer, panel, resample):
    keys = mcsim.keys(seed=3, n=3)
    ensemble = fit_many(trainer, keys, panel, resample=resample, progress=False)
    member = ensemble[1]
    if resample == "bootstrap":  # a panel of copies would not say that they are
        alone = trainer.fit_members(keys[1:2], panel, [member.rows])[0]
    else:
        chosen = panel if member.rows is None else panel.take(member.rows)
        alone = trainer.fit_members(keys[1:2], chosen, [None])[0]
    np.testing.assert_array_equal(member.sample(KEY, 9)["y"], alone.sample(KEY, 9)["y"])


@pytest.mark.slow
@named([GaussianCopula(), Flow(steps=2, folds=2), VAE(steps=2)])
def test_members_with_few_units_and_many_copies(trainer):
    data = Panel({"y": np.random.default_rng(0).normal(size=(8, 3))})
    rows = [np.repeat([2, 5], 4), np.repeat([0, 1, 6], [1, 1, 6])]
    for fit in trainer.fit_members(mcsim.keys(0, 2), data, rows, progress=False):
        assert np.isfinite(fit.sample(KEY, 20)["y"]).all()
    with pytest.raises(InputError, match="member 1 holds nothing but duplicates of one unit"):
        trainer.fit_members(mcsim.keys(0, 2), data, [None, np.full(8, 3)], progress=False)


# Bad input


@named(EVERY)
def test_one_unit_is_refused(trainer):
    data = effects_panel(1, 30)
    with pytest.raises(InputError, match=r"got 1 unit, expected at least 8.*a single series"):
        trainer.fit(KEY, data)


@named([FactorVAR(), BlockBootstrap()])
def test_one_period_is_refused_where_time_is_needed(trainer):
    with pytest.raises(InputError, match="got 1 period"):
        trainer.fit(KEY, effects_panel(40, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"common_shocks": "redrawn"}, "did you mean 'redraw'"),
        ({"missing": "drop"}, "missing: got 'drop', expected one of 'error', 'model'"),
        ({"cluster": 3}, "expected the name of a column"),
        ({"common_shocks": "x", "missing": "y"}, "2 faults"),
    ],
)
def test_wrong_options_are_a_sentence(options, message):
    with unchecked(), pytest.raises(InputError, match=message):
        GaussianCopula(**options)


def test_infinite_values_are_refused(panel):
    values = np.asarray(panel["y"]).copy()
    values[0, 0] = np.inf
    with pytest.raises(InputError, match="'y': 1 values are infinite"):
        GaussianCopula().fit(KEY, panel.with_columns({"y": values}))


def test_a_frame_is_no_panel():
    with unchecked(), pytest.raises(InputError, match=r"mcsim\.from_frame"):
        GaussianCopula().fit(KEY, mixed_frame())


@pytest.mark.parametrize("units", [0, 2.5, True])
def test_wrong_numbers_of_units_are_a_sentence(panel, units, fit_once):
    with unchecked(), pytest.raises(InputError, match="n_units: got"):
        fit_once(GaussianCopula()).sample(KEY, units)


def test_values_outside_the_schema_are_refused(panel):
    schema = mcsim.infer_schema(panel).replace(y={"lower": 0.0})
    with pytest.raises(InputError, match="lie outside the schema's bounds"):
        GaussianCopula().fit(KEY, panel, schema=schema)


@pytest.mark.parametrize("trainer", [FactorVAR(), Autoregressive(steps=2)])
def test_columns_that_never_vary_within_units_are_no_paths(trainer):
    values = np.repeat(np.random.default_rng(0).normal(size=(40, 1)), 5, axis=1)
    with pytest.raises(InputError, match="no column varies over periods"):
        trainer.fit(jax.random.key(0), Panel({"y": values}), progress=False)


@pytest.mark.slow
def test_a_schema_is_a_schema():
    panel = Panel({"y": np.random.default_rng(0).normal(size=(40, 5))})
    with pytest.raises((InputError, TypeError), match="schema"):
        GaussianCopula().fit(jax.random.key(0), panel, schema="x")
