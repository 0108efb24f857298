"""Model files: what is loaded is what was saved, and a foreign or damaged file is a sentence."""

import inspect
import json
import os
import pickle
import re
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

import mcsim
from generators.fits import TINY_FLOW, TINY_GAN, TINY_VAE, TINY_WGAN, VOLATILE
from mcsim import Column, Panel, Schema
from mcsim._definitions.describe import describe
from mcsim.errors import InputError, ModelFileError
from mcsim.generators import (
    GAN,
    VAE,
    WGAN,
    Autoregressive,
    Flow,
    GaussianCopula,
    MacroPanel,
    UnitBootstrap,
    fit_many,
    load,
    model_cache,
    save,
)
from mcsim.generators._cross_sections import adversary as training
from mcsim.generators._storage import model_files as _files
from mcsim.generators._storage.model_files import CLASSES, TRAINERS, digest_of


def example():
    rng = np.random.default_rng(0)
    n = 60
    region = rng.integers(0, 4, n).astype(float)
    wage = np.where(rng.uniform(size=n) < 0.3, 0.0, np.exp(rng.normal(9, 1, n)))
    panel = Panel({"treat": np.arange(n) % 2.0, "region": region, "wage": wage})
    schema = Schema(
        (
            Column("treat", "binary", 0.0, 1.0),
            Column("region", "categorical", 0.0, 3.0, levels=("a,b", 1, 2.5, True)),
            Column("wage", "continuous", 0.0, np.inf, mass_points=(0.0,)),
        ),
        unit="person",
        time="year",
        period_labels=(1978,),
    )
    return panel, schema


@pytest.fixture(scope="module")
def fitted():
    panel, schema = example()
    return TINY_WGAN.fit(jax.random.key(0), panel, given=["treat"], schema=schema, progress=False)


@pytest.fixture
def path(fitted, tmp_path):
    return save(fitted, tmp_path / "model.safetensors")


def draw(generator, n=200):
    return generator.sample(jax.random.key(7), n, given={"treat": np.arange(n) % 2.0})


@pytest.mark.slow
def test_loaded_samples_are_bit_equal(fitted, path):
    loaded = load(path)
    for name, values in draw(fitted).items():
        np.testing.assert_array_equal(draw(loaded)[name], values)
    assert loaded.config == fitted.config
    assert loaded.schema == fitted.schema
    assert jax.tree.structure(loaded) == jax.tree.structure(fitted)
    for name, losses in fitted.losses.items():
        np.testing.assert_array_equal(loaded.losses[name], losses)


def panel_of_states():
    """Two columns that vary, one that does not, an atom, five states of eight units each."""
    rng = np.random.default_rng(1)
    y = rng.normal(size=(40, 1)) + rng.normal(size=(40, 5))
    hours = np.maximum(rng.normal(size=(40, 5)), 0.0)
    trait = np.broadcast_to(rng.normal(size=(40, 1)), (40, 5))
    state = np.broadcast_to(np.repeat(np.arange(5.0), 8)[:, None], (40, 5))
    return Panel({"y": y, "hours": hours, "trait": trait, "state": state})


DATA = {
    MacroPanel: Panel({"y": np.random.default_rng(2).normal(size=(6, 24))}),
    WGAN: example()[0],
    Autoregressive: example()[0],
    **dict.fromkeys((Flow, GAN, VAE), VOLATILE),
}
"""The data of trainers that learn no panel of states."""

FAST = {
    Autoregressive: Autoregressive(hidden=(8,), steps=5),
    Flow: TINY_FLOW,
    GAN: TINY_GAN,
    MacroPanel: MacroPanel(steps=2, panels=4),
    VAE: TINY_VAE,
    WGAN: TINY_WGAN,
}
"""Trainers that would take long."""


def test_files_hold_every_kind_of_generator():
    names = mcsim.generators.__all__
    public = [kind for name in names if inspect.isclass(kind := getattr(mcsim.generators, name))]
    assert {kind for kind in public if hasattr(kind, "fit")} <= set(TRAINERS.values())
    assert len(CLASSES) == len(set(CLASSES.values()))


@contextmanager
def renamed(classes):
    """Give private classes other names and homes, as a change of the code would."""
    before = [(cls, cls.__name__, cls.__qualname__, cls.__module__) for cls in classes]
    for cls in classes:
        cls.__name__ = cls.__qualname__ = f"Another{cls.__name__}"
        cls.__module__ = "mcsim.elsewhere._moved"
    yield
    for cls, *names in before:
        cls.__name__, cls.__qualname__, cls.__module__ = names


def test_names_of_classes_and_files_are_no_part_of_a_model_file(fitted, tmp_path):
    panel, schema = example()

    def train():
        with model_cache(tmp_path / "models") as folder:
            TINY_WGAN.fit(jax.random.key(0), panel, given=["treat"], schema=schema, progress=False)
        return [path.name for path in folder.iterdir()]

    written, kept = save(fitted, tmp_path / "one").read_bytes(), train()
    with renamed([cls for tag, cls in CLASSES.items() if tag not in mcsim.generators.__all__]):
        assert save(fitted, tmp_path / "two").read_bytes() == written
        np.testing.assert_array_equal(draw(load(tmp_path / "one"))["wage"], draw(fitted)["wage"])
        assert train() == kept


def test_fields_of_before_are_read(tmp_path):
    fitted = GaussianCopula().fit(jax.random.key(0), panel_of_states().select(["y"]))
    path = save(fitted, tmp_path / "model")
    with safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["mcsim"])
    old = json.dumps(header["generator"]).replace('"distribution"', '"law"')
    tensors = {n.replace("/distribution/", "/law/"): t for n, t in load_file(path).items()}
    assert tensors.keys() != load_file(path).keys()
    header["generator"] = json.loads(old)
    header["sha256"] = digest_of(header, tensors)
    save_file(tensors, path, metadata={"mcsim": json.dumps(header)})
    assert_same(load(path), fitted)


@pytest.fixture(scope="module", params=TRAINERS.values(), ids=TRAINERS)
def of_each_kind(request):
    trainer = FAST.get(request.param) or request.param()
    data = DATA.get(request.param, panel_of_states())
    return trainer.fit(jax.random.key(0), data, progress=False)


def assert_same(one, other):
    """Same samples, bit by bit, and the same program: shapes, types and static parts."""
    key = jax.random.key(7)
    drawn, again = one.sample(key, 50), other.sample(key, 50)
    assert list(drawn) == list(again)
    for name in drawn:
        np.testing.assert_array_equal(drawn[name], again[name])
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for mine, its in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert type(mine) is type(its)
        np.testing.assert_array_equal(mine, its, strict=True)


@pytest.mark.slow
def test_every_kind_is_loaded_as_it_was_saved(of_each_kind, tmp_path):
    loaded = load(save(of_each_kind, tmp_path / "model"))
    assert_same(of_each_kind, loaded)
    assert loaded.config == of_each_kind.config
    assert repr(loaded) == repr(of_each_kind)
    for name, losses in of_each_kind.losses.items():
        np.testing.assert_array_equal(loaded.losses[name], losses)


def test_definitions_name_no_private_class_and_no_private_file(of_each_kind):
    """The laws and parts of a fit are described by their fields alone."""
    text = json.dumps(describe(of_each_kind))
    fit = {type(of_each_kind).__name__, type(of_each_kind.config).__name__}
    assert set(re.findall(r'"mcsim[\w.]*\.(\w+) \d+"', text)) == {*fit, "Schema", "Column"}
    assert not re.search(r"mcsim[\w.]*\._", text)


def test_redrawn_shocks_are_loaded_too(of_each_kind, tmp_path):
    if not hasattr(of_each_kind, "with_shocks") or of_each_kind.n_periods == 1:
        pytest.skip("a cross-section has no common shocks")
    try:
        redrawn = of_each_kind.with_shocks("redraw")
    except InputError:
        pytest.skip("its common shocks cannot be drawn anew")
    assert_same(redrawn, load(save(redrawn, tmp_path / "model")))


@pytest.mark.slow
def test_groups_given_columns_networks_and_missing_cells_survive(tmp_path):
    panel, key = panel_of_states(), jax.random.key(0)
    grouped = GaussianCopula(cluster="state").fit(key, panel)
    assert_same(grouped, load(save(grouped, tmp_path / "grouped")))

    people, schema = example()
    by_arm = GaussianCopula().fit(key, people, given=["treat"], schema=schema)
    loaded = load(save(by_arm, tmp_path / "given"))
    for name, values in draw(by_arm).items():
        np.testing.assert_array_equal(draw(loaded)[name], values)

    recurrent = VAE(arch="lstm", hidden=(4,), steps=2, folds=2).fit(key, panel, progress=False)
    assert_same(recurrent, load(save(recurrent, tmp_path / "recurrent")))

    gaps = np.random.default_rng(3).uniform(size=(40, 5)) < 0.9
    some = UnitBootstrap(missing="model").fit(key, Panel(dict(panel.items()), jnp.asarray(gaps)))
    loaded = load(save(some, tmp_path / "missing"))
    mask = some.sample(key, 90).mask
    assert mask is not None
    assert not mask.all()
    np.testing.assert_array_equal(loaded.sample(key, 90).mask, mask)
    assert_same(some, loaded)


def test_the_cache_keeps_every_kind(of_each_kind, tmp_path):
    data, trainer = DATA.get(type(of_each_kind.config), panel_of_states()), of_each_kind.config
    with model_cache(tmp_path):
        trained = trainer.fit(jax.random.key(1), data, progress=False)
        (file,) = tmp_path.iterdir()
        written = file.stat().st_mtime_ns
        found = trainer.fit(jax.random.key(1), data, progress=False)
    assert_same(trained, found)
    assert file.stat().st_mtime_ns == written


def test_labels_survive(path):
    schema = load(path).schema
    assert schema["region"].levels == ("a,b", 1, 2.5, True)
    assert [type(level) for level in schema["region"].levels] == [str, int, float, bool]
    assert (schema.unit, schema.time, schema.period_labels) == ("person", "year", (1978,))
    assert schema["wage"].upper == np.inf


def test_rows_survive(tmp_path):
    panel, schema = example()
    keys = jax.random.split(jax.random.key(0), 3)
    member = fit_many(TINY_WGAN, keys, panel, given=["treat"], schema=schema, progress=False)[1]
    loaded = load(save(member, tmp_path / "member"))
    np.testing.assert_array_equal(loaded.rows, member.rows)


def test_labels_of_other_types_are_refused(fitted, tmp_path):
    odd = fitted.schema.replace(region={"levels": (1j, float("nan"), 2, 3)})
    with pytest.raises(InputError, match=r"'region'.*is a complex; .*strings, numbers, bools"):
        save(replace(fitted, schema=odd), tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "label",
    [
        pd.Timestamp("1961-04-01"),
        pd.Timestamp("1961-04-01 12:00:00.123456789", tz="Europe/Berlin"),
        pd.Period("1961Q2"),
        np.datetime64("1961-04", "M"),
        date(1961, 4, 1),
        datetime(1961, 4, 1, 12),
    ],
    ids=lambda label: type(label).__name__,
)
def test_dates_are_labels(fitted, tmp_path, label):
    schema = replace(fitted.schema, period_labels=(label,))
    loaded = load(save(replace(fitted, schema=schema), tmp_path / "model")).schema
    assert loaded == schema
    assert type(loaded.period_labels[0]) is type(label)


def test_numpy_numbers_are_numbers(fitted, tmp_path):
    schema = fitted.schema.replace(region={"levels": tuple(np.arange(4))})
    loaded = load(save(replace(fitted, schema=schema), tmp_path / "model"))
    assert loaded.schema["region"].levels == (0, 1, 2, 3)


def rewrite(path, changes=None, header=None, **tensors):
    """Save the file again, under a digest that is right, with parts of its content changed.

    ``changes`` has places in the generator's tree: ``{"config/steps": -1}``.
    """
    with safe_open(path, framework="numpy") as file:
        old = json.loads(file.metadata()["mcsim"])
    for place, value in (changes or {}).items():
        entry, *steps = old["generator"], *place.split("/")
        for step in steps[:-1]:
            entry = inside(entry)[int(step) if isinstance(entry, list) else step]
        inside(entry)[int(steps[-1]) if isinstance(entry, list) else steps[-1]] = value
    kept = {name: t for name, t in {**load_file(path), **tensors}.items() if t is not None}
    new = {**old, **(header or {})}
    if isinstance(new.get("sha256"), str):
        new["sha256"] = digest_of(new, kept)
    save_file(kept, path, metadata={"mcsim": json.dumps(new)})


def inside(entry):
    """The parts of an entry: elements of a list, fields of a class, values of a mapping."""
    if isinstance(entry, list):
        return entry
    return entry.get("fields") or entry.get("mapping") or entry


def damage_truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def damage_header(path):
    path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])


class Trap:
    """Unpickled, this would write a file."""

    def __reduce__(self):
        return (open, ("trapped", "w"))


DAMAGED = "damaged: its content does not match its SHA-256 digest; fit and save again"
INCONSISTENT = "do not go together|damaged: Type-check|missing or unknown|of the type declared"
"""Types are checked in these tests; without, sampling on paper, or a name left over, tells."""


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_truncate, "not a model file, or a truncated one"),
        (damage_header, "not a model file, or a truncated one"),
        (lambda p: p.write_bytes(b""), "not a model file"),
        (lambda p: p.write_bytes(pickle.dumps(Trap())), "not a model file"),
        (lambda p: p.unlink(), "no such file"),
        (lambda p: (p.unlink(), p.mkdir()), "is a folder"),
        (lambda p: save_file({"x": np.zeros(3)}, p), "not a generator saved by mcsim"),
        (lambda p: save_file({"x": np.zeros(3)}, p, {"mcsim": "[" * 99_999}), "not a model file"),
        (lambda p: save_file({"x": np.zeros(3)}, p, {"mcsim": "[1]"}), "not a generator saved"),
        (lambda p: rewrite(p, header={"kind": "other"}), "not a generator saved by mcsim"),
        (lambda p: rewrite(p, header={"format": 1}), "format 1, .* reads 2; .*or fit again"),
        (lambda p: rewrite(p, header={"format": 99}), "format 99, this version of mcsim reads 2"),
        (lambda p: rewrite(p, header={"sha256": None}), DAMAGED),
        (lambda p: rewrite(p, header={"generator": None}), "missing or unknown"),
        (lambda p: rewrite(p, {"config": {"class": "os.system", "fields": {}}}), "'os.system' is"),
        (lambda p: rewrite(p, {"config": {"class": ["WGAN"], "fields": {}}}), "header is damaged"),
        (lambda p: rewrite(p, {"config/steps": -1}), "header is damaged: .*steps"),
        (lambda p: rewrite(p, {"config/evil": 1}), "header is damaged"),
        (lambda p: rewrite(p, {"config": None}), "no fitted generator with its"),
        (lambda p: rewrite(p, {"config/temperature": {"label": {"timestamp": ["x", "s"]}}}), "dam"),
        (lambda p: rewrite(p, {"config/temperature": {"numpy": ["O"]}}), "missing or unknown"),
        (lambda p: rewrite(p, {"config/temperature": {"a": 1, "b": 2}}), "header is damaged"),
        (lambda p: rewrite(p, {"config/temperature": {"pickle": "gASVAA=="}}), "'pickle' is unkn"),
        (lambda p: rewrite(p, {"schema/columns": []}), INCONSISTENT),
        (lambda p: rewrite(p, {"schema/columns": [1]}), r"Schema.columns: \(1,\) is not"),
        (lambda p: rewrite(p, {"schema/columns/0/name": "tread"}), INCONSISTENT),
        (lambda p: rewrite(p, {"schema/unit": ["person"]}), r"Schema.unit: \('person',\) is not"),
        (lambda p: rewrite(p, {"schema/columns/0/lower": "a"}), "Column.lower: 'a' is not"),
        (lambda p: rewrite(p, {"architecture": {"mapping": {}}}), ".architecture: {} is not"),
        (lambda p: rewrite(p, {"schema": {"class": "Schema", "fields": []}}), "header is damaged"),
        (lambda p: rewrite(p, {"architecture/drawn": []}), INCONSISTENT),
        (
            lambda p: rewrite(p, {"architecture/drawn/0": {"class": "Levels", "fields": {}}}),
            "damag",
        ),
        (lambda p: rewrite(p, {"architecture/drawn/1/components": 10**12}), "no size"),
        (lambda p: rewrite(p, {"architecture/arms": [["a"]]}), "Architecture.strata: .* is not"),
        (lambda p: rewrite(p, {"architecture/hidden": {"mapping": {}}}), "hidden: {} is not"),
        (lambda p: rewrite(p, {"params/0": []}), INCONSISTENT),
        (lambda p: rewrite(p, {"params/0/layer_0/bias": {"jax": ["object", 8]}}), "type 'object'"),
        (lambda p: rewrite(p, {"params/0/layer_0/bias": {"jax": 3}}), "header is damaged"),
        (lambda p: rewrite(p, **{"params/0/layer_0/bias": None}), "missing or unknown"),
        (lambda p: rewrite(p, **{"params/9": np.zeros(2)}), "missing or unknown"),
        (
            lambda p: rewrite(p, **{"params/0/layer_0/bias": np.zeros(9, np.float32)}),
            r"is float32\[9\], expected float32\[8\]",
        ),
        (
            lambda p: rewrite(p, **{"params/0/layer_0/bias": np.zeros(8)}),
            r"is float64\[8\], expected float32",
        ),
        (
            lambda p: rewrite(p, **{"params/0/layer_0/bias": np.full(8, np.nan, np.float32)}),
            "holds NaN or infinite values",
        ),
    ],
)
def test_damaged_files_are_refused(path, tmp_path, monkeypatch, damage, message):
    monkeypatch.chdir(tmp_path)
    damage(path)
    with pytest.raises(ModelFileError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert not (tmp_path / "trapped").exists()


def test_a_forged_tree_is_refused_where_a_printed_model_would_fail(path):
    for field, value in (("rows", 5), ("rows", "all"), ("losses", 5), ("losses", {"label": 3})):
        rewrite(path, {field: value})
        with pytest.raises(
            ModelFileError, match=rf"FittedGenerator\.{field}: .* is not of the ty|dam"
        ):
            load(path)
    rewrite(path, {"rows": {"numpy": ["int64"]}, "losses": {"mapping": {}}}, rows=np.array(5))
    with pytest.raises(ModelFileError, match=INCONSISTENT):
        load(path)


def test_a_pipe_is_no_model_file(path):
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ModelFileError, match="is a named pipe, expected a model file"):
        load(path)


def test_a_flipped_bit_of_a_tensor_is_noticed(path):
    written, rng = path.read_bytes(), np.random.default_rng(5)
    start = 8 + int.from_bytes(written[:8], "little")
    for place in (start, len(written) - 1, *rng.integers(start, len(written), 50).tolist()):
        damaged = bytearray(written)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(ModelFileError, match=DAMAGED):
            load(path)


def test_another_word_in_the_header_is_noticed(path):
    written = path.read_bytes()
    assert b"person" in written
    path.write_bytes(written.replace(b"person", b"parson"))
    with pytest.raises(ModelFileError, match=DAMAGED):
        load(path)


def test_saving_twice_writes_the_same_bytes(fitted, tmp_path):
    one, two = (save(fitted, tmp_path / name).read_bytes() for name in ("one", "two"))
    assert one == two


def test_only_generators_are_saved(tmp_path):
    with pytest.raises((InputError, TypeError)):
        save(3, tmp_path / "model")


@pytest.fixture
def trainings(monkeypatch):
    """Count the members that are trained, not loaded."""
    counts, train = [], training.train_members

    def counting(plan, data, *rest):
        counts.append(len(data))
        return train(plan, data, *rest)

    monkeypatch.setattr(training, "train_members", counting)
    return counts


def test_the_cache_trains_once(tmp_path, trainings):
    panel, schema = example()
    keys = jax.random.split(jax.random.key(0), 3)

    def ensemble(trainer=TINY_WGAN, panel=panel, keys=keys):
        with model_cache(tmp_path / "models"):
            return fit_many(trainer, keys, panel, given=["treat"], schema=schema, progress=False)

    first, second = ensemble(), ensemble()
    assert trainings == [3]
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(draw(one)["wage"], draw(two)["wage"])
        np.testing.assert_array_equal(one.rows, two.rows)
    ensemble(replace(TINY_WGAN, learning_rate=2e-3))
    ensemble(panel=panel.with_columns({"wage": panel["wage"] * 2}))
    ensemble(keys=jax.random.split(jax.random.key(1), 3))
    assert trainings == [3, 3, 3, 3]
    fit_many(TINY_WGAN, keys, panel, given=["treat"], schema=schema, progress=False)
    assert trainings == [3, 3, 3, 3, 3]


def some_paths(*shape):
    return Panel({"y": np.random.default_rng(0).normal(size=120).reshape(shape)})


def test_a_fit_that_cannot_be_kept_is_no_fit_lost(monkeypatch, tmp_path):
    def full(*_, **__):
        raise SafetensorError("No space left on device")

    monkeypatch.setattr(_files, "save_file", full)
    with model_cache(tmp_path), pytest.warns(UserWarning, match="No space left on device"):
        fitted = GaussianCopula().fit(mcsim.key(0), some_paths(30, 4))
    assert fitted.sample(mcsim.key(1), 3).n_units == 3
    with pytest.raises(OSError, match="No space left"):
        save(fitted, tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_does_not_lose_the_fit(tmp_path):
    data = some_paths(30, 4)
    with model_cache(tmp_path):
        GaussianCopula().fit(mcsim.key(0), data)
        (file,) = tmp_path.iterdir()
        file.unlink()
        file.mkdir()
        with pytest.warns(UserWarning, match="a fit could not be kept, .* is a folder"):
            fitted = GaussianCopula().fit(mcsim.key(0), data)
    assert fitted.sample(mcsim.key(1), 3).n_units == 3


def test_panels_of_other_shapes_are_other_data(tmp_path):
    schema = mcsim.infer_schema(some_paths(30, 4))
    with model_cache(tmp_path):
        fits = [GaussianCopula().fit(mcsim.key(0), some_paths(*shape), schema=schema)
                for shape in ((30, 4), (24, 5))]  # fmt: skip
    assert [fit.n_periods for fit in fits] == [4, 5]


def test_what_is_missing_or_broken_is_trained_again(tmp_path, trainings):
    panel, _ = example()
    keys = jax.random.split(jax.random.key(0), 3)
    with model_cache(tmp_path) as folder:
        fit_many(TINY_WGAN, keys, panel, given=["treat"], progress=False)
        one, two, _ = sorted(folder.iterdir())
        one.unlink()
        two.write_bytes(two.read_bytes()[:50])
        fit_many(TINY_WGAN, keys, panel, given=["treat"], progress=False)
        fit_many(TINY_WGAN, keys, panel, given=["treat"], progress=False)
    assert trainings == [3, 2]
    assert len(list(tmp_path.iterdir())) == 3


def test_public_names():
    assert mcsim.errors.ModelFileError.exit_code == 2
