"""Model files: what is loaded is what was saved, and a foreign or damaged file is a sentence."""

import json
import pickle

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import mcsim
from mcsim import Column, Panel, Schema
from mcsim.errors import InputError, ModelFileError
from mcsim.generators import WGAN, fit_many, load, model_cache, save
from mcsim.generators import _wgan as training

TINY = WGAN(hidden=(8,), critic_hidden=(8,), steps=5, batch_size=32, critic_steps=1)


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
            Column("wage", "continuous", 0.0, np.inf, atoms=(0.0,)),
        ),
        unit="person",
        time="year",
        period_labels=(1978,),
    )
    return panel, schema


@pytest.fixture(scope="module")
def fitted():
    panel, schema = example()
    return TINY.fit(jax.random.key(0), panel, given=["treat"], schema=schema, progress=False)


@pytest.fixture
def path(fitted, tmp_path):
    return save(fitted, tmp_path / "model.safetensors")


def draw(generator, n=200):
    return generator.sample(jax.random.key(7), n, given={"treat": np.arange(n) % 2.0})


def test_loaded_samples_are_bit_equal(fitted, path):
    loaded = load(path)
    for name, values in draw(fitted).items():
        np.testing.assert_array_equal(draw(loaded)[name], values)
    assert loaded.config == fitted.config
    assert loaded.schema == fitted.schema
    assert jax.tree.structure(loaded) == jax.tree.structure(fitted)
    for name, losses in fitted.losses.items():
        np.testing.assert_array_equal(loaded.losses[name], losses)


def test_labels_survive(path):
    schema = load(path).schema
    assert schema["region"].levels == ("a,b", 1, 2.5, True)
    assert [type(level) for level in schema["region"].levels] == [str, int, float, bool]
    assert (schema.unit, schema.time, schema.period_labels) == ("person", "year", (1978,))
    assert schema["wage"].upper == np.inf


def test_rows_survive(tmp_path):
    panel, schema = example()
    keys = jax.random.split(jax.random.key(0), 3)
    member = fit_many(TINY, keys, panel, given=["treat"], schema=schema, progress=False)[1]
    loaded = load(save(member, tmp_path / "member"))
    np.testing.assert_array_equal(loaded.rows, member.rows)


def test_labels_of_other_types_are_refused(tmp_path):
    panel, schema = example()
    odd = schema.replace(region={"levels": (np.datetime64("2020-01-01"), 1, 2, 3)})
    generator = TINY.fit(jax.random.key(0), panel, given=["treat"], schema=odd, progress=False)
    with pytest.raises(InputError, match=r"'region'.*is a date; .*strings, numbers and bools"):
        save(generator, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def rewrite(path, header=None, **tensors):
    """Save the file again with parts of its header or its tensors changed."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        old = json.loads(file.metadata()["mcsim"])
    kept = {name: t for name, t in {**load_file(path), **tensors}.items() if t is not None}
    save_file(kept, path, metadata={"mcsim": json.dumps({**old, **(header or {})})})


def damage_truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def damage_header(path):
    path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])


class Trap:
    """Unpickled, this would write a file."""

    def __reduce__(self):
        return (open, ("trapped", "w"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_truncate, "not a model file, or a truncated one"),
        (damage_header, "not a model file, or a truncated one"),
        (lambda p: p.write_bytes(b""), "not a model file"),
        (lambda p: p.write_bytes(pickle.dumps(Trap())), "not a model file"),
        (lambda p: p.unlink(), "no such file"),
        (lambda p: save_file({"x": np.zeros(3)}, p), "not a generator saved by mcsim"),
        (lambda p: save_file({"x": np.zeros(3)}, p, {"mcsim": "[" * 99_999}), "not a model file"),
        (lambda p: save_file({"x": np.zeros(3)}, p, {"mcsim": "[1]"}), "not a generator saved"),
        (lambda p: rewrite(p, {"format": 99}), "format 99, this version of mcsim reads 1"),
        (lambda p: rewrite(p, {"trainer": "os.system"}), "'os.system' is unknown"),
        (lambda p: rewrite(p, {"config": {"steps": -1}}), "header is damaged: .*steps"),
        (lambda p: rewrite(p, {"config": {"evil": 1}}), "header is damaged"),
        (lambda p: rewrite(p, {"config": None}), "header is damaged"),
        (lambda p: rewrite(p, {"schema": {"columns": []}}), "header is damaged"),
        (lambda p: rewrite(p, {"drawn": []}), "header is damaged"),
        (lambda p: rewrite(p, {"drawn": [{"head": "Levels", "name": "x"}]}), "header is damaged"),
        (lambda p: rewrite(p, {"arms": [["a"]]}), "header is damaged"),
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

    def ensemble(trainer=TINY, panel=panel, keys=keys):
        with model_cache(tmp_path / "models"):
            return fit_many(trainer, keys, panel, given=["treat"], schema=schema, progress=False)

    first, second = ensemble(), ensemble()
    assert trainings == [3]
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(draw(one)["wage"], draw(two)["wage"])
        np.testing.assert_array_equal(one.rows, two.rows)
    from dataclasses import replace

    ensemble(replace(TINY, learning_rate=2e-3))
    ensemble(panel=panel.with_columns({"wage": panel["wage"] * 2}))
    ensemble(keys=jax.random.split(jax.random.key(1), 3))
    assert trainings == [3, 3, 3, 3]
    fit_many(TINY, keys, panel, given=["treat"], schema=schema, progress=False)
    assert trainings == [3, 3, 3, 3, 3]


def test_what_is_missing_or_broken_is_trained_again(tmp_path, trainings):
    panel, _ = example()
    keys = jax.random.split(jax.random.key(0), 3)
    with model_cache(tmp_path) as folder:
        fit_many(TINY, keys, panel, given=["treat"], progress=False)
        one, two, _ = sorted(folder.iterdir())
        one.unlink()
        two.write_bytes(two.read_bytes()[:50])
        fit_many(TINY, keys, panel, given=["treat"], progress=False)
        fit_many(TINY, keys, panel, given=["treat"], progress=False)
    assert trainings == [3, 2]
    assert len(list(tmp_path.iterdir())) == 3


def test_public_names():
    assert mcsim.errors.ModelFileError.exit_code == 2
