"""Mistakes with stores, models and other files."""

import functools
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

import jax
import pyarrow as pa
import pyarrow.parquet as pq

import mcsim
from command_line import mcsim_command
from mcsim import Study, datasets, grid, run
from mcsim._core.keys import digest
from mcsim._core.machine import use_compile_cache
from mcsim._results.store_records import COLUMNS
from mcsim._run.replay import replay
from mcsim.errors import McsimError
from mcsim.estimators import ols
from mcsim.generators import load
from mcsim.testing import constant_dgp, exact_estimator
from mistakes import Mistake

TWO = Study({"a": constant_dgp(), "b": constant_dgp(sd=2.0)}, {"e": exact_estimator()}, grid(k=[1]))


def resume(store="store"):
    return run(TWO, reps=4, store=store, workers=0, progress=False)


@functools.cache
def finished() -> Path:
    store = Path(tempfile.mkdtemp()) / "store"
    resume(store)
    return store


def in_store(damage, then=mcsim.open):
    """Damage a copy of a finished store and open it; hashes in the message are written HASH."""

    def do(folder):
        store = Path(shutil.copytree(finished(), "store"))
        try:
            damage(store)
            return then(store)
        except McsimError as error:
            raise McsimError(re.sub("[0-9a-f]{12,64}", "HASH", str(error))) from None

    return do


def on(pattern, change, then=mcsim.open):
    """Change the first file of a store that a pattern finds."""
    return in_store(lambda store: change(sorted(store.glob(pattern))[0]), then)


def on_all(pattern, change, then=mcsim.open):
    """Change all files of a store that a pattern finds."""
    return in_store(lambda store: [change(file) for file in sorted(store.glob(pattern))], then)


def remove(file):
    file.unlink()


def write(text):
    return lambda file: file.write_bytes(text)


def pipe(file):
    file.unlink()
    os.mkfifo(file)


def folder(file):
    file.unlink()
    file.mkdir()


def endless(file):
    os.truncate(file, 2**40)


def exchanged(pattern):
    def exchange(store):
        one, other, *_ = sorted(store.glob(pattern))
        texts = one.read_bytes(), other.read_bytes()
        other.write_bytes(texts[0])
        one.write_bytes(texts[1])

    return in_store(exchange)


def one_for_two(store):
    one, other = store.glob("cells/*/est/*/*.parquet")
    shutil.copy(one, other)


def with_field(pattern, change, then=mcsim.open):
    """Change what a JSON file holds, under a checksum that is right."""

    def reseal(file):
        content = json.loads(file.read_text())
        content.pop("sha256")
        change(content)
        file.write_text(json.dumps({**content, "sha256": digest(content)}))

    return on(pattern, reseal, then)


def of_cell(**fields):
    return lambda study: study["cells"][0].update(fields)


def bomb(file):
    """A block of one replication that says, rightly, that it has 20,000 rows."""
    file = file.with_name("r0000000-0000000.parquet")
    rows, address = 20_000, [file.parents[2].name, file.parent.name, file.stem]
    footer = {"format": 2, "address": address, "rows": rows, "sha256": "0"}
    schema = pa.schema(list(COLUMNS.items()), {"mcsim": json.dumps(footer)})
    pq.write_table(pa.table([pa.nulls(rows, t) for t in COLUMNS.values()], schema=schema), file)


def other_columns(file):
    pq.write_table(pa.table({"rep": [0], "value": [1.0]}), file)


def registered(text):
    """A data set that has no address, in a file of one's own."""

    def do(folder):
        info = datasets.info("abdata")
        (folder / str(info.file)).write_bytes(text)
        os.environ["MCSIM_DATA"], before = str(folder), os.environ.get("MCSIM_DATA")
        try:
            return datasets.load(info.name)
        finally:
            os.environ.pop("MCSIM_DATA") if before is None else os.environ.update(MCSIM_DATA=before)

    return do


def newer(store):
    (store / "STORE.json").write_text('{"format": 99}')


def shared_cache(folder):
    """A folder for compiled programs that everyone may write to."""
    use_compile_cache.cache_clear()
    folder.chmod(0o777)
    os.environ["MCSIM_COMPILE_CACHE"], before = str(folder), os.environ["MCSIM_COMPILE_CACHE"]
    try:
        return outside_of_jax(use_compile_cache)
    finally:
        os.environ["MCSIM_COMPILE_CACHE"] = before
        use_compile_cache.cache_clear()


def outside_of_jax(step):
    """Take a step while JAX has no cache of its own, as the tests have."""
    name = "jax_compilation_cache_dir"
    before = jax.config.values[name]
    jax.config.update(name, None)
    try:
        return step()
    finally:
        jax.config.update(name, before)


def made(change, then):
    """Make something called "it", and use it."""

    def do(_):
        change(Path("it"))
        return then("it")

    return do


def show(store):
    return mcsim_command("show", store)


def replay_one(store):
    return replay(TWO, store, "", 0)


def replay_nothing(store):
    return replay(TWO, store, "0" * 12, 0)


LOST = "is missing; run its study again, which writes it anew"
AGAIN = "delete it and run its study again, which writes it anew"
STUDY, CELL = "store: store/studies/HASH/study.json", "store: store/cells/HASH/cell.json"


PLACES = [
    Mistake(
        "a store that is not there",
        lambda folder: mcsim_command("show", "nothing"),
        "store: nothing is not a store (it has no STORE.json)",
    ),
    Mistake(
        "a folder of something else, opened",
        made(Path.mkdir, mcsim.open),
        "store: it is not a store (it has no STORE.json)",
    ),
    Mistake(
        "the folder of all stores",
        in_store(lambda _: None, lambda store: mcsim.open(store.parent)),
        "store: . is not a store (it has no STORE.json); the stores in it are store",
    ),
    Mistake(
        "the file of a study in place of its store",
        made(Path.touch, mcsim.open),
        "store: it is not a store (it has no STORE.json); mcsim run makes one in results/<name of",
    ),
    Mistake(
        "a store in a folder of something else",
        made(lambda it: (it.mkdir(), (it / "thesis.tex").touch()), resume),
        "store: it is a folder with other content, expected a store, an empty folder or a new name",
    ),
    Mistake("a store in a file", made(Path.touch, resume), "store: it cannot be a store: "),
    Mistake("a store in a pipe", made(os.mkfifo, resume), "store: it cannot be a store: "),
    Mistake(
        "a name that no file can have",
        lambda _: mcsim.open("a\0b"),
        r"store: a\x00b/STORE.json cannot be read: embedded null byte",
    ),
    Mistake("a name that is too long", lambda _: mcsim.open("a" * 999), "store: aaaaaa"),
    Mistake("a study that no store holds", in_store(lambda _: None, lambda store: mcsim.open(
        store, study="zzz")), "study: got 'zzz', expected one of HASH"),
    Mistake("a table in Excel", in_store(lambda _: None, lambda store: mcsim_command(
        "show", store, "--format", "xlsx")),
            "format: got 'xlsx'; known are csv, html, latex, markdown, text"),
    Mistake("a cell that no store holds", in_store(lambda _: None, replay_nothing),
            "cell: got 'HASH', expected one of"),
]  # fmt: skip

FILES = [
    Mistake("STORE.json is gone, opened", on("STORE.json", remove), "store: store is not a store"),
    Mistake(
        "STORE.json is gone, resumed",
        on("STORE.json", remove, resume),
        "store: store is a folder with other content, expected a store, an empty folder or a new "
        "name; put the STORE.json of another store of this version into it",
    ),
    Mistake(
        "STORE.json is a pipe",
        on("STORE.json", pipe, show),
        "store: store/STORE.json is a named pipe, expected a file; put the STORE.json of another",
    ),
    Mistake("a store of a later version", in_store(newer), "store: store has format 99, this"),
    Mistake(
        "a format in words",
        on("STORE.json", write(b'{"format": "two"}')),
        "store: store/STORE.json is damaged: it holds 'two' as format, expected a whole number",
    ),
    Mistake("study.json is gone", on("studies/*/study.json", remove), f"{STUDY} {LOST}"),
    Mistake(
        "study.json is half written",
        on("studies/*/study.json", write(b'{"cells": [')),
        f"{STUDY} is damaged (JSONDecodeError",
    ),
    Mistake("study.json has no end", on("studies/*/study.json", endless),
            f"{STUDY} has 1,099,511,627,776 bytes, expected at most 268,435,456; {AGAIN}"),
    Mistake("study.json is a folder", on("studies/*/study.json", folder),
            f"{STUDY} is a folder, expected a file; {AGAIN}"),
    Mistake(
        "a level in words",
        with_field("studies/*/study.json", lambda study: study.update(level="0.95")),
        f"{STUDY} is damaged: it holds '0.95' as level, expected a number between 0 and 1; {AGAIN}",
    ),
    Mistake(
        "a caveat that is no list",
        with_field("studies/*/study.json", lambda study: study.update(caveats="one")),
        f"{STUDY} is damaged: it holds 'one' as caveats, expected a list; {AGAIN}",
    ),
    Mistake(
        "replications beyond all bounds",
        with_field("studies/*/study.json", lambda study: study.update(reps=10**9 * 10**9 * 10)),
        f"{STUDY} is damaged: it holds HASH as reps, expected a whole number from 1; {AGAIN}",
    ),
    Mistake(
        "a hash that leads out of the store",
        with_field("studies/*/study.json", of_cell(hash="../../../etc")),
        f"{STUDY} is damaged: it holds '../../../etc' as cells[0].hash, expected a hash; {AGAIN}",
    ),
    Mistake(
        "a factor that is called as a column",
        with_field("studies/*/study.json", of_cell(design={"value": 1.0})),
        f"{STUDY} is damaged: it holds 'value' as cells[0].design (a name), expected another name",
    ),
    Mistake(
        "cells without estimators",
        with_field("studies/*/study.json", lambda study: study["cells"][0].pop("estimators")),
        f"{STUDY} is damaged: it lacks estimators in cells[0]; {AGAIN}",
    ),
    Mistake(
        "a study of something else",
        with_field("studies/*/study.json", lambda study: study.pop("cells")),
        f"{STUDY} is damaged: it lacks cells; {AGAIN}",
    ),
    Mistake("cell.json is gone", on("cells/*/cell.json", remove), f"{CELL} {LOST}"),
    Mistake("cell.json of another cell", exchanged("cells/*/cell.json"),
            f"{CELL} is damaged: it belongs to 'cells/HASH/cell.json'; {AGAIN}"),
    Mistake("cell.json is nested deeply", on("cells/*/cell.json", write(b"[" * 10**5)),
            f"{CELL} is damaged (RecursionError"),
    Mistake("cell.json says a thing twice", on("cells/*/cell.json", write(b'{"a": 1, "a": 2}')),
            f"{CELL} is damaged (ValueError: a field stands there twice)"),
    Mistake("cell.json, replayed", on("cells/*/cell.json", write(b"{}"), replay_one),
            f"{CELL} is damaged: its checksum is wrong; {AGAIN}"),
    Mistake("cell.json, resumed", on("cells/*/cell.json", write(b"{}"), resume),
            "store: store/cells/"),
    Mistake("est.json is not text", on_all("cells/*/est/*/est.json", write(b"\xff\xfe")),
            "store: store/cells/HASH/est/HASH/est.json is damaged (UnicodeDecodeError"),
    Mistake("est.json is a list", on_all("cells/*/est/*/est.json", write(b"[]")),
            "store: store/cells/HASH/est/HASH/est.json holds list, expected an object"),
    Mistake(
        "a run of no study",
        with_field("runs/*.json", lambda run: run.update(study="../x")),
        "store: store/runs/",
    ),
    Mistake("no run at all", on("runs/*.json", remove), "store: store holds no run yet; use mcsim"),
    Mistake("an empty block", on("cells/*/est/*/*.parquet", write(b"")),
            "block r0000000-0001023.parquet: cannot be read (ArrowInvalid); left out"),
    Mistake("a block that is a pipe", on("cells/*/est/*/*.parquet", pipe),
            "block r0000000-0001023.parquet: is a named pipe, expected a file; left out"),
    Mistake("a block of another cell", in_store(one_for_two),
            "block r0000000-0001023.parquet: belongs elsewhere; left out"),
    Mistake("a table that is no block", on("cells/*/est/*/*.parquet", other_columns),
            "block r0000000-0001023.parquet: "),
    Mistake("a block with far more rows than it can have", on("cells/*/est/*/*.parquet", bomb),
            "block r0000000-0000000.parquet: its file counts 20,000 rows; left out"),
]  # fmt: skip

OTHERS = [
    Mistake("a model that is a pipe", made(os.mkfifo, load), "it: is a named pipe, expected a"),
    Mistake("a model that is a folder", made(Path.mkdir, load), "it: is a folder, expected a"),
    Mistake("a model that is not there", lambda _: load("it"), "it: there is no such file"),
    Mistake(
        "a model that is a text",
        made(lambda it: it.write_text("text"), load),
        "it: not a model file, or a truncated one",
    ),
    Mistake(
        "a model that is a pipe, sampled",
        made(os.mkfifo, lambda it: mcsim_command("sample", it, "-n", 3)),
        "it: is a named pipe, expected a model file",
    ),
    Mistake("an empty data set", registered(b""), "name: "),
    Mistake("a binary data set", registered(b"\xff\xfe\x00\x01,\n" * 9), "name: "),
    Mistake(
        "a formula that Python doubts",
        lambda _: ols("y ~ I(1if x else 2)"),
        "formula 'y ~ I(1if x else 2)': ",
    ),
    Mistake("a compile cache that all may write to", shared_cache, "compile cache: "),
]

MISTAKES = [*PLACES, *FILES, *OTHERS]
