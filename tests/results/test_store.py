"""Promises 8 and 9: the store survives damage, tells changes, and executes nothing."""

import json
import shutil
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mcsim
from mcsim import Design, Estimate, Panel, Sample, Study, grid, run
from mcsim._definitions.describe import describe
from mcsim._results.results import average_over
from mcsim._results.store import Store
from mcsim._results.store_files import read_block, write_block
from mcsim.dgps import at_random, with_effect
from mcsim.errors import StoreError, StoreMismatch
from mcsim.generators import GaussianCopula, UnitBootstrap
from mcsim.testing import constant_dgp

SCALE = 1.0


def helper(y):
    return y.mean() * SCALE


def draw(key, design):
    rho = design.get("rho", 0.0)
    return Sample(Panel({"y": rho + jax.random.normal(key, (10, 1))}), {"mean": rho})


def mean(key, panel):
    """A docstring."""
    return Estimate(helper(panel["y"]), 0.3)


STUDY = Study({"d": draw}, {"mean": mean})


def rows_of(study=STUDY, store=None, reps=30, **options):
    return run(study, reps=reps, store=store, workers=0, progress=False, **options).replicates


def same(one, other):
    pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.fixture
def store(tmp_path):
    rows_of(store=tmp_path / "store")
    return tmp_path / "store"


def blocks(store):
    return sorted(store.glob("cells/*/est/*/*.parquet"))


# Damage


def truncate(file):
    file.write_bytes(file.read_bytes()[:-100])


def empty(file):
    file.write_bytes(b"")


def flip_a_bit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(content)


def replace_by_another_table(file):
    pd.DataFrame({"rep": [0], "value": [1e6]}).to_parquet(file)


def change_a_value(file):
    table = pq.read_table(file)
    rows = table.to_pandas()
    rows.loc[3, "value"] = 1e6
    changed = table.from_pandas(rows, schema=table.schema, preserve_index=False)
    pq.write_table(changed.replace_schema_metadata(table.schema.metadata), file)


def take_the_block_of_another_store(file):
    other = Study({"d": draw}, {"mean": lambda key, panel: Estimate(1e6 + panel["y"].mean())})
    rows_of(other, file.parents[5] / "other")
    shutil.copy(blocks(file.parents[5] / "other")[0], file)


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        empty,
        flip_a_bit,
        replace_by_another_table,
        change_a_value,
        take_the_block_of_another_store,
    ],
)
def test_a_damaged_block_is_set_aside_and_computed_again(tmp_path, damage):
    store = tmp_path / "store"
    before = rows_of(store=store, reps=1030)
    file, _ = blocks(store)
    damage(file)
    with pytest.raises(StoreError):
        read_block(file)
    with pytest.warns(UserWarning, match="left out: mcsim run computes it again"):
        assert len(mcsim.open(store).replicates) == 6
    with pytest.warns(UserWarning, match=r"set aside as .*quarantine.* and computed again"):
        after = rows_of(store=store, reps=1030)
    same(after, before)
    assert len(list((store / "quarantine").iterdir())) == 1
    same(mcsim.open(store).replicates, before)


def test_a_block_is_refused_by_its_footer_before_it_is_read(store, monkeypatch):
    (file,) = blocks(store)
    table = pq.read_table(file)
    held = json.loads(table.schema.metadata[b"mcsim"])

    def never(*_, **__):
        raise AssertionError("it is read")

    def written(table, **footer):
        changed = table.replace_schema_metadata({"mcsim": json.dumps({**held, **footer})})
        pq.write_table(changed, file)

    many = pa.concat_tables([table] * 3)
    wide = table.set_column(3, "value", table["value"].cast(pa.float32()))
    for bad, footer, match in (
        (many, {}, "its file counts 3,072 rows"),
        (wide, {}, "has another format"),
        (table.rename_columns([f"{name}_" for name in table.column_names]), {}, "another format"),
        (table, {"rows": "1024"}, "has another format"),
        (table, {"address": ["a", "b", "c"]}, "belongs elsewhere"),
    ):
        written(bad, **footer)
        with monkeypatch.context() as patch:
            patch.setattr("pyarrow.parquet.ParquetFile.read", never)
            with pytest.raises(StoreError, match=match):
                read_block(file)
    written(table)
    assert len(read_block(file)) == 1024


def test_no_block_is_written_that_is_not_read(tmp_path):
    rows = pd.DataFrame({"rep": np.zeros(10_001, dtype=int)})
    with pytest.raises(StoreError, match="has 10,001 rows, expected at most 10,000 of a replic"):
        write_block(tmp_path / "r0000000-0000000.parquet", rows, {})


def test_leftovers_of_a_crash_are_no_blocks(store):
    (file,) = blocks(store)
    file.with_name(f"{file.name}.tmp-1-abcd").write_bytes(b"half a block")
    same(mcsim.open(store).replicates, rows_of(store=store))


# Places that are no store


def test_a_file_another_folder_or_another_format_is_no_store(tmp_path, store):
    (tmp_path / "file").write_text("text")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("text")
    for name, match in (("file", "cannot be a store"), ("folder", "other content")):
        with pytest.raises(StoreError, match=match):
            rows_of(store=tmp_path / name)
        with pytest.raises(StoreError, match="is not a store"):
            mcsim.open(tmp_path / name)
    assert (tmp_path / "folder" / "thesis.tex").read_text() == "text"
    with pytest.raises(StoreError, match="is not a store"):
        mcsim.open(tmp_path / "nowhere")
    (store / "STORE.json").write_text('{"format": 99}')
    with pytest.raises(StoreError, match="has format 99"):
        rows_of(store=store)


def test_a_place_that_cannot_be_written(monkeypatch, tmp_path):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(StoreError, match=r"cannot be written.*Permission denied"):
        rows_of(store=tmp_path / "s")
    assert not list(tmp_path.glob("s/**/*.tmp-*"))


def test_a_store_that_was_never_filled(tmp_path):
    Store.create(tmp_path / "s")
    with pytest.raises(StoreError, match="holds no run yet"):
        mcsim.open(tmp_path / "s")


def test_a_disk_that_is_full_ends_the_run_and_a_resume_completes_it(monkeypatch, tmp_path):
    from mcsim._results import store_files

    def full(file, content):
        if file.suffix == ".parquet":
            raise StoreError(f"store: {file} cannot be written: No space left on device")
        write(file, content)

    write = store_files.write_bytes
    monkeypatch.setattr(store_files, "write_bytes", full)
    with pytest.raises(StoreError, match="No space left"):
        rows_of(store=tmp_path / "s")
    monkeypatch.undo()
    runs = [json.loads(file.read_text()) for file in tmp_path.glob("s/runs/*.json")]
    assert [run["state"] for run in runs] == ["interrupted"]
    same(rows_of(store=tmp_path / "s"), rows_of())


# Safety


def test_opening_executes_nothing(tmp_path):
    source = tmp_path / "study.py"
    source.write_text("raise SystemExit('executed')")
    rows_of(store=tmp_path / "s", source=source)
    copies = list(tmp_path.glob("s/studies/*/study.py"))
    assert [copy.read_text() for copy in copies] == [source.read_text()]
    assert len(mcsim.open(tmp_path / "s").replicates) == 30


@pytest.mark.parametrize(
    "name", ["../x", "[red]x[/]", "=cmd", "<script>", "a/b\n", "\x1b[31m", "é"]
)
def test_hostile_names_stay_inside(tmp_path, name):
    study = Study({name: draw}, {name: mean}, [Design({name: name})])
    rows = rows_of(study, tmp_path / "a" / "s")
    assert rows["estimator"].eq(name).all()
    assert {path.name for path in tmp_path.iterdir()} == {"a"}
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"s"}
    same(mcsim.open(tmp_path / "a" / "s").replicates, rows)


# The change rule


def refused(store, study, *words, **options):
    before = {file: file.read_bytes() for file in store.rglob("*") if file.is_file()}
    with pytest.raises(StoreMismatch) as caught:
        rows_of(study, store, **options)
    for word in (*words, "--accept-changes"):
        assert word in str(caught.value)
    assert caught.value.exit_code == 3
    assert before == {file: file.read_bytes() for file in store.rglob("*") if file.is_file()}


def other_draw(key, design):
    return Sample(Panel({"y": jax.random.uniform(key, (10, 1))}), {"mean": 0.5})


def other_mean(key, panel):
    return Estimate(jnp.median(panel["y"]), 0.3)


def test_another_dgp_estimator_or_seed_under_a_name_stops(store):
    other_draw.__name__, other_draw.__qualname__ = "draw", "draw"
    refused(store, Study({"d": other_draw}, {"mean": mean}), "cell 'd'", "uniform")
    refused(store, Study({"d": draw}, {"mean": other_mean}), "estimator 'mean'", "+", "jnp.median")
    refused(store, STUDY, "seed: 0 -> 1", seed=1)


def test_an_estimator_is_one_in_all_cells(store):
    elsewhere = Study({"new": draw}, {"mean": other_mean})
    refused(store, elsewhere, "estimator 'mean'", "jnp.median")


def test_a_changed_constant_or_helper_stops(store, monkeypatch):
    monkeypatch.setitem(globals(), "SCALE", 2.0)
    refused(store, STUDY, "SCALE", "0x1.0000000000000p+1")
    monkeypatch.undo()

    def new_helper(y):
        return y.max()

    monkeypatch.setitem(globals(), "helper", new_helper)
    refused(store, STUDY, "helper", "y.max()")


def with_law(law):
    dgp = with_effect(law, outcome="y", assignment=at_random(share=0.5, start=(2, 3)), n_units=20)
    return Study({"d": dgp}, {"mean": mean})


def test_another_fitted_generator_is_one_line(tmp_path):
    panel = Panel({"y": jax.random.normal(jax.random.key(0), (30, 5))})
    fit = GaussianCopula().fit(mcsim.key(1), panel)
    rows_of(with_law(fit), tmp_path)
    moved = GaussianCopula().fit(mcsim.key(1), panel.with_columns({"y": panel["y"] + 1}))
    redrawn = GaussianCopula(common_shocks="redraw").fit(mcsim.key(1), panel)
    for other, words in (
        (moved, "a fitted GaussianCopula -> another of the same configuration"),
        (redrawn, '-> one of another configuration: common_shocks "fixed" -> "redraw"'),
        (UnitBootstrap().fit(mcsim.key(1), panel), "GaussianCopula -> a fitted UnitBootstrap"),
    ):
        with pytest.raises(StoreMismatch) as caught:
            rows_of(with_law(other), tmp_path)
        assert words in str(caught.value)
        assert len(str(caught.value)) < 600


def test_long_values_are_cut_around_where_they_part(tmp_path):
    def law(last):
        names = [f"column {k}" for k in range(500)] + [last] + ["more"] * 500

        def draw(key, design):
            return Sample(Panel({"y": jax.random.normal(key, (len(names), 1))}), {"mean": 0.0})

        return draw

    rows_of(Study({"d": law("old end")}, {"mean": mean}), tmp_path)
    with pytest.raises(StoreMismatch) as caught:
        rows_of(Study({"d": law("new end")}, {"mean": mean}), tmp_path)
    assert "old end" in str(caught.value)
    assert "new end" in str(caught.value)
    assert len(str(caught.value)) < 1_000


def test_another_default_stops(tmp_path):
    old = [Design({"rho": 0.0}, defaults={"rho": 0.0})]
    new = [Design({"rho": 0.5}, defaults={"rho": 0.5})]
    rows_of(Study({"d": draw}, {"mean": mean}, old), tmp_path)
    for accept in (False, True):
        with pytest.raises(StoreMismatch, match=r"default of 'rho': the store has 0.0, got 0.5"):
            rows_of(Study({"d": draw}, {"mean": mean}, new), tmp_path, accept_changes=accept)


def test_accepted_changes_are_computed_beside_and_open_reads_the_right_one(store):
    changed = Study({"d": draw}, {"mean": other_mean})
    before, held = rows_of(store=store), [file.read_bytes() for file in blocks(store)]
    after = rows_of(changed, store, accept_changes=True)
    assert not np.array_equal(before["value"], after["value"])
    assert held[0] in [file.read_bytes() for file in blocks(store)]
    same(mcsim.open(store).replicates, after)
    same(rows_of(changed, store), after)
    same(rows_of(store=store), before)
    same(mcsim.open(store).replicates, before)


def test_additions_go_through(store):
    wider = Study(
        {"d": draw, "e": other_draw}, {"mean": mean, "median": other_mean}, grid(rho=[0.5])
    )
    rows_of(wider, store, reps=40)
    assert len(mcsim.open(store).replicates) == 4 * 40


def documented(key, panel):
    """Another docstring, comments and layout."""
    # A comment.
    return Estimate(
        helper(panel["y"]),
        0.3,
    )


def test_comments_docstrings_and_layout_are_no_change(store):
    documented.__name__ = documented.__qualname__ = documented.__code__.co_name
    mine, other = describe(mean), describe(documented)
    assert other["source"].replace("documented", "mean") == mine["source"]
    assert other["uses"] == mine["uses"]


# Fingerprints


def test_a_lambda_is_told_apart_from_its_neighbors_and_not_by_them():
    # fmt: off
    a, b = (lambda x: x + 1), (lambda x: x + 2)
    # fmt: on
    assert describe(a)["source"] == "lambda x: x + 1"
    assert describe(b)["source"] == "lambda x: x + 2"


def test_functions_are_the_same_in_a_second_process(tmp_path):
    import subprocess
    import sys

    file = tmp_path / "parts.py"
    file.write_text(
        "import functools, jax, jax.numpy as jnp, json\n"
        "from dataclasses import dataclass\n"
        "import optax\n"
        "K = {'b', 'a', 'c'}\n"
        "def f(x, *, scale=2.0):\n    return jnp.exp(x) * scale if 'a' in K else g(x)\n"
        "def g(x):\n    return f(x)\n"
        "@dataclass(frozen=True)\nclass E:\n    bias: float = 1.0\n"
        "    def __call__(self, key, panel):\n        return g(panel)\n"
        "class Plain:\n    def __init__(self):\n        self.x = jnp.ones(3)\n"
        "    def __call__(self, key, panel):\n        return self.x\n"
        'exec(\'def sourceless(x):\\n    return x in {"a", "b", "c"}\')\n'
        "parts = [f, g, jax.jit(f), jax.vmap(f), functools.partial(f, scale=3.0), E(), Plain(),\n"
        "         optax.adam(1e-3), jnp.add, sourceless, lambda x: f(x), functools.lru_cache(g)]\n"
        "if __name__ == '__main__':\n"
        "    from mcsim._definitions.describe import describe\n"
        "    print(json.dumps(list(map(describe, parts)), sort_keys=True))\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "-W", "error", str(file)],
            capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed, "PATH": ""},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(found) == 1


@dataclass(frozen=True)
class Trimmed:
    """An estimator with a helper that its methods use."""

    share: float = 0.1

    def __call__(self, key, panel):
        return Estimate(self.inner(panel["y"]), 0.3)

    def inner(self, y):
        return helper(y) * (1 - self.share)


def test_what_methods_use_and_what_bases_do_is_part_of_a_class(monkeypatch):
    @dataclass(frozen=True)
    class Derived(Trimmed):
        pass

    before = describe(Trimmed()), describe(Derived())
    assert before[0] != describe(Trimmed(share=0.2))
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert before[0] != describe(Trimmed())
    assert before[1] != describe(Derived())


def test_frames_keyword_defaults_and_wrappers_are_part_of_a_definition():
    frame = pd.DataFrame({"y": [1.0, 2.0]})
    one = describe(lambda: frame)
    assert one != describe_with(frame.assign(y=[1.0, 2.5]))
    assert describe_with(frame) == describe_with(frame.copy())
    assert describe(jax.vmap(helper)) != describe(jax.jit(helper))
    assert describe(jax.grad(helper)) != describe(jax.hessian(helper))
    assert describe(keyword(1.0)) != describe(keyword(2.0))


def describe_with(frame):
    return describe(lambda: frame)


def keyword(value):
    def function(*, scale=value):
        return scale

    return function


def test_what_cannot_be_told_is_a_warning():
    class Opaque:
        __slots__ = ()

    with pytest.warns(UserWarning, match="of type Opaque cannot be described"):
        describe(Opaque())


def test_a_label_given_in_some_replications_only_is_a_failure_in_the_others():
    @mcsim.host
    def rare(rng, frame):
        mean = float(frame["y"].mean())
        found = {"mean": mcsim.Estimate(mean, 0.2)}
        return found | ({"rare": mcsim.Estimate(mean, 0.2)} if mean > 0.45 else {})

    study = Study(constant_dgp(), rare)
    with pytest.warns(UserWarning, match="rare"):
        rows = run(study, reps=256, workers=0, progress=False).replicates
    assert rows["estimand"].value_counts().to_dict() == {"mean": 256, "rare": 256}
    mine = rows[rows["estimand"] == "rare"]
    means = rows[rows["estimand"] == "mean"].set_index("rep")["value"]
    assert (mine.set_index("rep")["status"] == "ok").equals(means > 0.45)


SHIFT = 0.0


@dataclass(frozen=True)
class Jitted:
    """An estimator whose method is jitted, and which reads a global and a class attribute."""

    size: int = 1
    factor = 1.0

    @partial(jax.jit, static_argnums=0)
    def __call__(self, key, panel):
        return Estimate(panel["y"].mean() * self.factor + SHIFT, 1.0)


class Bare:
    """An estimator without state."""

    def __call__(self, key, panel):
        return Estimate(panel["y"].mean() + SHIFT, 1.0)


@pytest.mark.parametrize("estimator", [Jitted(), Bare()], ids=["jitted", "bare"])
def test_a_global_behind_a_method_is_part_of_the_definition(estimator, monkeypatch):
    before = describe(estimator)
    monkeypatch.setitem(globals(), "SHIFT", 100.0)
    assert describe(estimator) != before


def test_a_class_attribute_is_part_of_the_definition(monkeypatch):
    before = describe(Jitted())
    monkeypatch.setattr(Jitted, "factor", 2.0)
    assert describe(Jitted()) != before


def test_own_limits_without_a_p_value_decide_the_test():
    def wide(key, panel):
        mean = panel["y"].mean()
        return {"mean": Estimate(mean, 0.01, lower=mean - 50, upper=mean + 50)}

    results = run(Study(constant_dgp(truth=1.0), wide), reps=32, workers=0, progress=False)
    assert results.replicates["p_value"].isna().all()
    assert results.summary(measures=["rejection"])["rejection"].item() == 0.0


def test_averages_over_a_factor_count_the_members_with_a_value():
    table = pd.DataFrame(
        {"g": [0, 1, 2], "e": "a", "b": [0.9, np.nan, 0.8], "b_mcse": [0.03, np.nan, 0.03], "n": 5}
    )
    row = average_over(table, "g", ["g", "e"]).iloc[0]
    assert row["b"] == pytest.approx(0.85)
    assert row["b_mcse"] == pytest.approx(0.03 / np.sqrt(2))
    assert row["n"] == 15
    table.loc[1, "b"] = 0.7
    assert np.isnan(average_over(table, "g", ["g", "e"]).iloc[0]["b_mcse"])
