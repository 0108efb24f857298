"""Packs: the blocks of a store in few files, and how they get there.

    packs/<random>.parquet                 blocks of any cells and estimators

A block is first a file of its own. When a run ends whose study has more than `FEW` such files, they
become one, a pack, together with the packs that are not much larger than they are. A pack is
written under a temporary name, synced, renamed and read again; only then are the files deleted
whose blocks it holds. So every block is in a whole file at any moment, whoever is killed: at worst
in two of them, with the same bits. Two runs at once need no lock: a pack has a name that no file
had before, so that a file is only deleted for one that was written after it. A reader looks for
files of blocks first and for packs then: what vanishes between is in a pack.

A pack has the columns of a block, in groups (row groups of Parquet) of some `GROUP_ROWS` rows. Its
footer names the blocks of each group, with their rows, and the SHA-256 of the group's values; the
footer has a checksum itself.
"""

import json
import os
import re
import secrets
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mcsim._core.checks import misfit, other_than_file
from mcsim._core.keys import digest
from mcsim._results.store import Store
from mcsim._results.store_files import (
    SCHEMA,
    SEAL,
    TEXTS,
    UNREADABLE,
    checksum_of,
    is_there,
    read_table,
    replacing,
    size_of,
)
from mcsim._results.store_records import FORMAT, MOST_LABELS, READABLE, PackedGroup, PackFooter
from mcsim._version import __version__
from mcsim.errors import StoreError

FEW = 64
"""Files of blocks that a run leaves as they are."""

GROUP_ROWS = 2**17
"""Rows of a group; its last block may exceed them."""

_MOST_ROWS = GROUP_ROWS + 1024 * MOST_LABELS  # of a group: a block has at most 1,024 replications

_LARGER = 2  # times the bytes of the others, from which a pack stays as it is

_OF_A_BLOCK = re.compile(r"r[0-9]{7,15}-[0-9]{7,15}\.parquet")

Block = tuple[str, str, str]
"""The cell, the estimator and the replications of a block: names of folders, and of its file."""


class Pack(NamedTuple):
    """A pack whose footer is sound."""

    file: Path
    groups: list[PackedGroup]
    metadata: pq.FileMetaData


class Place(NamedTuple):
    """Where a block is: rows ``start`` to ``stop`` of a group of a pack."""

    pack: Pack
    group: int
    start: int
    stop: int


class Packs:
    """The blocks in the packs of a store, as they were listed last.

    Parameters
    ----------
    store : Path
        The store's folder.

    Attributes
    ----------
    listed : list of Pack
        The packs whose footers are sound.
    faults : dict of Path to str
        What is wrong with packs that cannot be read, or not all of them.
    """

    def __init__(self, store: Path):
        self._folder = store / "packs"
        self.faults: dict[Path, str] = {}
        self._kept: dict[tuple[Path, int], pa.Table] = {}
        self._list()

    def _list(self) -> None:
        self.listed: list[Pack] = []
        self._places: dict[tuple[str, str], dict[str, list[Place]]] = {}
        for file in sorted(self._folder.glob("*.parquet")):
            try:
                self._add(_listed(file))
            except FileNotFoundError:
                if not file.is_symlink():  # it became part of another one meanwhile
                    return self._list()
                self.faults[file] = f"pack {file.name}: is a link to nothing"
            except StoreError as error:
                self.faults[file] = str(error)
        return None

    def _add(self, pack: Pack) -> None:
        self.listed.append(pack)
        for number, group in enumerate(pack.groups):
            start = 0
            for (cell, estimator, name), rows in _blocks_in(group):
                names = self._places.setdefault((cell, estimator), {})
                names.setdefault(name, []).append(Place(pack, number, start, start + rows))
                start += rows

    def names(self, cell: str, estimator: str) -> list[str]:
        """Return the blocks of an estimator in a cell: r0000000-0001023."""
        return sorted(self._places.get((cell[:12], estimator[:12]), {}))

    def rows(self, block: Block) -> pd.DataFrame | None:
        """Return a block as a frame, and keep its group in memory; None if no sound pack has it."""
        while places := self._places.get(block[:2], {}).get(block[2]):
            place = places[0]
            key = place.pack.file, place.group
            if key not in self._kept and (table := self._read(place)) is not None:
                self._kept[key] = table
            if key in self._kept:
                rows = self._kept[key].slice(place.start, place.stop - place.start)
                return rows.unify_dictionaries().to_pandas()
        return None

    def tables(
        self, blocks: Iterable[Block]
    ) -> Iterator[tuple[pa.Table, list[tuple[Place, Block]]]]:
        """Yield every group that holds some of these blocks, with their places in order.

        A block is in the group that is yielded first. Blocks that no sound pack has are left out.
        """
        left = set(blocks)
        while groups := self._places_of(left):
            for places in groups.values():
                if (table := self._read(places[0][0])) is not None:
                    left -= {block for _, block in places}
                    yield table, places

    def _places_of(
        self, blocks: Iterable[Block]
    ) -> dict[tuple[Path, int], list[tuple[Place, Block]]]:
        """Return where blocks are, by the group, in the order of packs."""
        found = []
        for block in blocks:
            places = self._places.get(block[:2], {}).get(block[2])
            if places:
                found.append((places[0], block))
        found.sort(key=lambda each: (each[0].pack.file, *each[0][1:]))
        groups: dict[tuple[Path, int], list[tuple[Place, Block]]] = {}
        for place, block in found:
            groups.setdefault((place.pack.file, place.group), []).append((place, block))
        return groups

    def _read(self, place: Place) -> pa.Table | None:
        """Return the rows of a group; None if they are in another pack, or damaged."""
        try:
            return _group_of(place.pack, place.group)
        except FileNotFoundError:  # it became part of another one meanwhile
            self._list()
        except StoreError as error:
            self.faults[place.pack.file] = str(error)
        self._forget(place)
        return None

    def _forget(self, lost: Place) -> None:
        """Look for the blocks of a group elsewhere from now on."""
        for names in self._places.values():
            for name, places in names.items():
                names[name] = [p for p in places if (p.pack, p.group) != (lost.pack, lost.group)]


def _listed(file: Path) -> Pack:
    """Read the footer of a pack, and check it."""
    try:
        if other := other_than_file(file):
            raise StoreError(f"pack {file.name}: is {other}, expected a file")
        with open(file, "rb") as stream:
            parquet = pq.ParquetFile(stream)
            metadata, alike = parquet.metadata, parquet.schema_arrow.equals(SCHEMA)
        footer = json.loads(metadata.metadata[b"mcsim"])
    except FileNotFoundError:
        raise
    except UNREADABLE as error:
        raise StoreError(f"pack {file.name}: cannot be read ({type(error).__name__})") from None
    if not alike or misfit(footer, PackFooter) or footer["format"] not in READABLE:
        raise StoreError(f"pack {file.name}: has another format")
    if footer.pop(SEAL, None) != digest(footer):
        raise StoreError(f"pack {file.name}: its checksum is wrong")
    rows = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
    if rows != [_rows_of(group) for group in footer["groups"]] or max(rows) > _MOST_ROWS:
        raise StoreError(f"pack {file.name}: its file counts {sum(rows):,} rows")
    return Pack(file, footer["groups"], metadata)


def _rows_of(group: PackedGroup) -> int:
    """Return the rows of a group; -1 if a block has more than it may have."""
    counts = [(rows, MOST_LABELS * size_of(name)) for (_, _, name), rows in _blocks_in(group)]
    return sum(rows for rows, _ in counts) if all(n <= most for n, most in counts) else -1


def _blocks_in(group: PackedGroup) -> Iterator[tuple[Block, int]]:
    """Yield the blocks of a group, with their rows."""
    for line in group["blocks"].splitlines():
        cell, estimator, name, rows = line.split(" ")
        yield (cell, estimator, name), int(rows)


def _group_of(pack: Pack, number: int) -> pa.Table:
    """Read a group of a pack, and check its checksum."""
    try:
        with open(pack.file, "rb") as stream:
            parquet = pq.ParquetFile(stream, metadata=pack.metadata)
            table = parquet.read_row_group(number, use_threads=False)
            intact = checksum_of(table) == pack.groups[number]["sha256"]
    except UNREADABLE as error:
        if not is_there(pack.file):
            raise FileNotFoundError(pack.file) from None
        raise StoreError(
            f"pack {pack.file.name}: cannot be read ({type(error).__name__})"
        ) from None
    if not intact:
        raise StoreError(f"pack {pack.file.name}: its checksum is wrong")
    return table


# Compaction


def block_files(folder: Path) -> list[Path]:
    """Return the blocks in the folder of an estimator that are files, in order."""
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [folder / name for name in names if _OF_A_BLOCK.fullmatch(name)]


def compact(store: Store, parts: Iterable[tuple[str, str]], damaged: Collection[Path] = ()) -> None:
    """Put the blocks of a study that are files into a pack, if there are more than `FEW`.

    Parameters
    ----------
    store : Store
        The store.
    parts : iterable of (str, str)
        Hashes of the study's cells, and of the estimators in them, in its order.
    damaged : collection of Path
        Packs that are set aside, after what is sound in them is in a new one.
    """
    files = [file for part in parts for file in block_files(store.estimator(*part))]
    if len(files) <= FEW and not damaged:
        return
    with suppress(StoreError, OSError):  # a disk that is full: the files stay as they are
        listed = Packs(store.path).listed
        for file in {*damaged}.difference(pack.file for pack in listed):
            store.quarantine(file)
        packs = _to_join(listed, sum(file.stat().st_size for file in files), damaged)
        target = store.path / "packs" / f"{secrets.token_hex(8)}.parquet"
        whole, torn = _write(target, packs, files)
        pack = _listed(target)
        for number in range(len(pack.groups)):
            _group_of(pack, number)
        _sync(target.parent)
        for file in whole:
            file.unlink(missing_ok=True)
        for file in torn:
            store.quarantine(file)


def _to_join(packs: Sequence[Pack], size: int, damaged: Collection[Path]) -> list[Pack]:
    """Return damaged packs, and those not much larger than files of some bytes and one another.

    So packs grow by a factor from one to the next, and there are never many.
    """
    joined = [pack for pack in packs if pack.file in damaged]
    others = [(pack.file.stat().st_size, pack) for pack in packs if pack.file not in damaged]
    for own, pack in sorted(others, key=lambda other: other[0]):
        if own > _LARGER * size:
            break
        size += own
        joined.append(pack)
    return joined


def _write(
    target: Path, packs: Sequence[Pack], files: Sequence[Path]
) -> tuple[list[Path], list[Path]]:
    """Write a pack; return the files that it replaces, and the packs of which it has a part."""
    groups: list[PackedGroup] = []
    whole: list[Path] = []
    torn: list[Path] = []
    with (
        replacing(target) as stream,
        pq.ParquetWriter(
            stream, SCHEMA, compression="zstd", use_dictionary=TEXTS, write_statistics=False
        ) as writer,
    ):
        for blocks, table in _grouped(_blocks_of(packs, files, whole, torn)):
            writer.write_table(table, row_group_size=len(table))
            lines = "".join(f"{' '.join(block)} {rows}\n" for block, rows in blocks)
            groups.append({"blocks": lines, "sha256": checksum_of(table)})
        if not groups:
            raise StoreError(f"pack {target.name}: no block can be read")
        footer = {"format": FORMAT, "mcsim": __version__, "groups": groups}
        sealed = {**footer, SEAL: digest(footer)}
        writer.add_key_value_metadata({"mcsim": json.dumps(sealed, separators=(",", ":"))})
    return whole, torn


def _blocks_of(
    packs: Sequence[Pack], files: Sequence[Path], whole: list[Path], torn: list[Path]
) -> Iterator[tuple[Block, pa.Table]]:
    """Yield the sound blocks, each once; add files to those of which all is sound, or not all."""
    seen = set()
    for pack in packs:
        sound = True
        for number, group in enumerate(pack.groups):
            try:
                table = _group_of(pack, number)
            except (StoreError, FileNotFoundError):
                sound = False
                continue
            start = 0
            for block, rows in _blocks_in(group):
                if block not in seen:
                    seen.add(block)
                    yield block, table.slice(start, rows)
                start += rows
        (whole if sound else torn).append(pack.file)
    for file in files:
        with suppress(StoreError):  # damaged: the run that needs it sets it aside
            table, block = read_table(file), (file.parents[2].name, file.parent.name, file.stem)
            if block not in seen:
                seen.add(block)
                yield block, table
            whole.append(file)


def _grouped(
    blocks: Iterable[tuple[Block, pa.Table]],
) -> Iterator[tuple[list[tuple[Block, int]], pa.Table]]:
    """Yield the blocks of a group, with their rows, and its table."""
    names: list[tuple[Block, int]] = []
    tables: list[pa.Table] = []
    n_rows = 0
    for block, table in blocks:
        names.append((block, len(table)))
        tables.append(table)
        n_rows += len(table)
        if n_rows >= GROUP_ROWS:
            yield names, _joined(tables)
            names, tables, n_rows = [], [], 0
    if tables:
        yield names, _joined(tables)


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def _sync(folder: Path) -> None:
    """Sync the names in a folder, so that a file is there before others are deleted for it."""
    if os.name == "posix":
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
