"""Blocks: those of earlier versions are read, and their checksum is of the values alone."""

import hashlib
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mcsim._results.store_files import read_block, write_block
from mcsim._results.store_records import COLUMNS
from mcsim.errors import StoreError

PLACE = ["cells", "0123456789ab", "est", "ba9876543210", "r0000000-0000003.parquet"]


def rows(text):
    """Four replications of two labels; ``text`` makes a column of texts."""
    numbers = {name: np.linspace(0.5, 9.0, 8) for name in ("value", "se", "df", "truth")}
    missing = {name: np.full(8, np.nan) for name in ("lower", "upper", "p_value")}
    return pd.DataFrame(
        {
            "rep": np.repeat(np.arange(4), 2),
            "estimand": text(["att", "ätt"] * 4),
            "inference": text([""] * 8),
            **numbers,
            **missing,
            "status": text(["ok"] * 7 + ["nan"]),
        }
    )


def plain(text):
    return np.array(text, dtype=object)


def file_in(folder):
    file = folder.joinpath(*PLACE)
    file.parent.mkdir(parents=True)
    return file


def checksum(table):
    """The checksum as mcsim 0.2 computed it, value by value."""
    digest = hashlib.sha256()
    for name, kind in COLUMNS.items():
        if pa.types.is_dictionary(kind):
            texts = table[name].cast(pa.string()).to_pylist()
            digest.update("\0".join(map(str, texts)).encode())
        else:
            digest.update(table[name].to_numpy().tobytes())
    return digest.hexdigest()


def written_by_an_earlier_version(file):
    frame = rows(plain)
    arrays = [pa.array(frame[name], type=kind) for name, kind in COLUMNS.items()]
    table = pa.table(arrays, schema=pa.schema(list(COLUMNS.items())))
    address = [PLACE[1], PLACE[3], "r0000000-0000003"]
    about = {"address": address, "rows": 8, "format": 2, "mcsim": "0.2.0"}
    footer = json.dumps({**about, "sha256": checksum(table)}, sort_keys=True)
    pq.write_table(table.replace_schema_metadata({"mcsim": footer}), file, compression="zstd")


@pytest.mark.parametrize("text", [plain, pd.Categorical])
def test_a_block_is_read_as_it_was_written(tmp_path, text):
    file = file_in(tmp_path)
    write_block(file, rows(text), {"name": "e"})
    found = read_block(file)
    expected = rows(plain)[list(COLUMNS)]
    texts = {"estimand": str, "inference": str, "status": str}
    pd.testing.assert_frame_equal(found.astype(texts), expected.astype(texts))


def test_a_block_of_an_earlier_version_is_read(tmp_path):
    file = file_in(tmp_path)
    written_by_an_earlier_version(file)
    found = read_block(file)
    np.testing.assert_array_equal(found["value"], rows(plain)["value"])
    assert found["estimand"].tolist() == ["att", "ätt"] * 4


@pytest.mark.parametrize("text", [plain, pd.Categorical])
def test_an_earlier_version_accepts_the_checksum(tmp_path, text):
    file = file_in(tmp_path)
    write_block(file, rows(text), {})
    table = pq.read_table(file)
    assert json.loads(table.schema.metadata[b"mcsim"])["sha256"] == checksum(table)


def test_another_text_is_found(tmp_path):
    file = file_in(tmp_path)
    write_block(file, rows(pd.Categorical), {})
    table = pq.read_table(file)
    place = table.schema.get_field_index("status")
    other = pa.array(["ok"] * 8).dictionary_encode()
    pq.write_table(table.set_column(place, table.schema.field(place), other), file)
    with pytest.raises(StoreError, match="its checksum is wrong"):
        read_block(file)
