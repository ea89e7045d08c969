"""Packing: one sequential scan of a column; every batch's missing rows end up contiguous.

Inside a pack rows ascend by node id, so that each piece of the scan adds one contiguous
extent to each batch, and a batch's checksum grows along. Where a row belongs in its batch is
the programme's affair.
"""

from __future__ import annotations

import io
import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from graphlab import files
from graphlab.datasets.chunked import CHUNK
from graphlab.outofcore import layout
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.checksum import joined
from graphlab.outofcore.columns import DenseRows, Rows
from graphlab.outofcore.layout import INDEX
from graphlab.outofcore.reader import ALIGN, Bytes, align_up
from graphlab.outofcore.schedule import MISSES, Programmes
from graphlab.outofcore.space import Held
from graphlab.outofcore.trace import Stop
from graphlab.outofcore.writer import MOST, Regions, Writer
from graphlab.progress import track

# A piece of the scan: long enough for extents of some 100 KiB, short enough to hold.
CHUNK_BYTES = 64 * 2**20
STAGE_BYTES = 2**20

Sums = npt.NDArray[np.int64]


def pack_name(column: str) -> str:
    """Stem of the files that hold a column's pack."""
    return f"pack-{column}-00000"


def shared_name(column: str) -> str:
    """Name of the file of a column's rows that batches share."""
    return f"shared-{column}.bin"


def hot_name(column: str) -> str:
    """Name of the file of a column's resident rows."""
    return f"hot-{column}.bin"


def stages(free: int, row_bytes: int, batches: int) -> tuple[int, int, int]:
    """Bytes and number of the buffers of writes, and bytes of blocks that wait."""
    stage = align_up(max(row_bytes, min(STAGE_BYTES // 2, free // 32))) + ALIGN
    waiting = Regions.bytes(batches)
    return stage, min(MOST + 1, (free // 2 - waiting) // stage), waiting


def piece_bytes(free: int, row_bytes: int, batches: int) -> int:
    """Bytes of a scan that :meth:`Packed.run_once` holds: each batch takes rows from it."""
    stage, count, waiting = stages(free, row_bytes, batches)
    return max(min(CHUNK_BYTES, free - count * stage - waiting) // 2, row_bytes, 1)


class Share(NamedTuple):
    """A process's part of packing: a range of rows, so that together they scan once."""

    rank: int
    world_size: int

    def rows(self, rows: Rows) -> range:
        """Rows of a column; ends lie where checksums of its file do, if there are enough."""
        count, size = rows.num_rows, max(rows.row_bytes, 1)
        units = [align // math.gcd(align, size) for align in (CHUNK, ALIGN)]
        unit = next((u for u in units if u * self.world_size <= count), 1)
        ends = [
            count * rank // self.world_size // unit * unit
            for rank in (self.rank, self.rank + 1)
        ]
        return range(ends[0], count if self.rank + 1 == self.world_size else ends[1])


class _Target:
    """A file that grows in several regions at once; the journal's unit."""

    def __init__(self, path: Path, size: int, regions: int) -> None:
        self.path = path
        self.descriptor = layout.preallocate(path, size)
        # Per region: ranks written, bytes written, checksum so far.
        self.state = np.zeros((3, regions), dtype=np.int64)

    def append(self, region: int, start: int, data: Bytes, ranks: int) -> None:
        """Write the next bytes of a region that starts at ``start``."""
        done, total = 0, len(data)
        place = start + int(self.state[1, region])
        while done < total:
            done += os.pwrite(self.descriptor, data[done:].data, place + done)
        self.state[0, region] += ranks
        self.state[1, region] += total
        self.state[2, region] = layout.crc(data, int(self.state[2, region]))

    def sync(self) -> None:
        """Flush to the device. Pages stay cached, clean: the next piece ends in some."""
        os.fdatasync(self.descriptor)

    def close(self) -> None:
        os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(self.descriptor)


class Packed:
    """One column's pack, in the making.

    Args:
        folder: The plan's folder, with the programmes and the list of misses.
        rows: The column.
        made: The programmes: how many rows each batch misses, and which.
        hot: Ascending ids of resident rows.
        shared: Ascending ids of rows that batches share; dense columns only.

    Attributes:
        index: Entries of the pack; checksums are right when :meth:`run` is done.
        hot_bytes: Length of the file of resident rows.
        pack_bytes: Length of the pack.
        sums: Checksum and bytes of what :meth:`run` wrote, by region: batches, hot rows,
            shared rows.
    """

    def __init__(
        self,
        folder: Path,
        rows: Rows,
        made: Programmes,
        hot: npt.NDArray[np.int64],
        shared: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self.folder, self.rows, self.hot, self.shared = folder, rows, hot, shared
        programmes, self.first = made.table, made.first
        self.misses = _map_ids(folder / MISSES, made.misses, rows.num_rows)
        self.index = np.zeros(len(programmes), dtype=INDEX)
        place = 0
        for batch in range(len(programmes)):
            count = int(programmes["items"][batch])
            if rows.kind == "dense":
                length = count * rows.row_bytes
            else:
                ids = self._ids(batch, 0, count)
                length = 4 * count + int(rows.lengths(ids).sum())
            self.index[batch] = (place, length, 0, 0, count, 0)
            place = align_up(place + length)
        self.pack_bytes = place
        self.hot_bytes = int(rows.lengths(hot).sum()) + len(rows.prefix(hot))
        count = 0 if shared is None else len(shared)
        self.shared_bytes = count * rows.row_bytes
        self.hot_crc = self.shared_crc = 0
        self.sums: Sums = np.zeros((2, 0), dtype=np.int64)

    @property
    def nbytes(self) -> int:
        """Bytes of the tables that packing holds."""
        return self.index.nbytes + 8 * 4 * len(self.index) + self.first.nbytes

    def run(
        self,
        chunk_bytes: int,
        identity: str,
        stop: Stop | None = None,
        share: Share | None = None,
    ) -> None:
        """Pack, or continue where a killed run stopped.

        Args:
            chunk_bytes: Bytes of a piece of the scan.
            identity: Names the work in journals.
            stop: Ends work in the background, which leaves no journal.
            share: Pack a part; :meth:`finish` then puts all parts together.

        Raises:
            OutOfDiskError: the disk cannot hold the pack; raised before anything is read.
            StoreError: the column's file is damaged.
        """
        name = self.rows.name
        pack = _Target(
            self.folder / f"{pack_name(name)}.bin", self.pack_bytes, len(self.index)
        )
        hot = _Target(self.folder / hot_name(name), align_up(self.hot_bytes), 1)
        shared = self._shared_target()
        mine = range(self.rows.num_rows) if share is None else share.rows(self.rows)
        suffix = "" if share is None else f"-{share.rank}"
        journal = self.folder / f"journal-{name}{suffix}.npy"
        try:
            begin = self._begin(pack, hot, shared, mine.start)
            start = self._resume(journal, identity, pack, hot, shared, mine.start)
            quiet = stop is not None
            done = start - mine.start
            with track(
                f"pack {name}", len(mine), "rows", done=done, quiet=quiet
            ) as bar:
                for first, piece in self.rows.scan(chunk_bytes, start, mine.stop):
                    if stop is not None:
                        stop.check()
                    self._add(pack, hot, shared, first, piece)
                    end = first + len(piece)
                    targets = [t for t in (pack, hot, shared) if t is not None]
                    # What runs in the background is made again after a crash.
                    if stop is None:
                        for target in targets:
                            target.sync()
                        _save(journal, identity, end, targets)
                    _drop_cache(self.rows)
                    bar.advance(len(piece))
        finally:
            pack.close()
            hot.close()
            if shared is not None:
                shared.close()
        targets = [t for t in (pack, hot, shared) if t is not None]
        state = np.concatenate([t.state for t in targets], axis=1)
        self.sums = np.stack([state[2], state[1] - begin])
        if share is None:
            self.finish([self.sums], durable=stop is None)

    def finish(self, parts: list[Sums], *, durable: bool = True) -> None:
        """Write the index, with the checksums of what all parts have written, in order."""
        crc = parts[0][0].astype(np.uint32)
        for part in parts[1:]:
            crc = joined(crc, part[0].astype(np.uint32), part[1])
        count = len(self.index)
        self.index["crc"] = crc[:count]
        self.hot_crc = int(crc[count])
        self.shared_crc = 0 if self.shared is None else int(crc[count + 1])
        path = self.folder / f"{pack_name(self.rows.name)}.idx"
        layout.write_index(path, self.index, durable=durable)

    def run_once(
        self, ledger: Ledger, identity: str, stop: Stop, held: Held | None = None
    ) -> None:
        """Pack what is made while it is used: a crash ends it, so nothing is flushed.

        Dense rows are written past the page cache, beside the scan, where there is memory
        for that. Takes the free memory of the ledger for pieces of the scan.

        Args:
            ledger: Account of memory.
            identity, stop: As for :meth:`run`.
            held: Of the disk, which is taken step by step; None: all at once.

        Raises:
            OutOfDiskError: the disk cannot hold the pack.
            StoreError: the column's file is damaged.
        """
        rows = self.rows
        stage, count, waiting = stages(ledger.free, rows.row_bytes, len(self.index))
        if rows.kind != "dense" or count < 2:
            if held is not None:
                held.take(self.pack_bytes, stop)
            chunk = min(CHUNK_BYTES, max(2**16, ledger.free // 3))
            with ledger.hold("pieces of the scan", 2 * chunk):
                self.run(chunk, identity, stop)
            return

        def take(size: int) -> None:
            if held is not None:
                held.take(size, stop)

        with ledger.hold("buffers of writes", count * stage + waiting):
            # Rows behind their scale are copied once more.
            share = 1 if rows.decode != "int8" else 3
            chunk = min(CHUNK_BYTES, ledger.free // share)
            with ledger.hold("pieces of the scan", share * chunk):
                path = self.folder / f"{pack_name(rows.name)}.bin"
                writer = Writer(path, self.pack_bytes, stage, count, whole=held is None)
                starts = self.index["offset"].tolist()
                lengths = self.index["length"].tolist() if held is not None else None
                try:
                    regions = Regions(writer, starts, lengths, take)
                    self._fill(regions, chunk, stop)
                finally:
                    writer.close()
        path = self.folder / f"{pack_name(rows.name)}.idx"
        layout.write_index(path, self.index, durable=False)

    def _fill(self, regions: Regions, chunk: int, stop: Stop) -> None:
        rows, size = self.rows, self.rows.row_bytes
        assert isinstance(rows, DenseRows)
        wanted = [
            self._ids(batch, 0, int(count))
            for batch, count in enumerate(self.index["rows"])
        ]
        done = [0] * len(wanted)
        for first, piece in rows.scan(chunk):
            stop.check()
            end = first + len(piece)
            for batch, ids in enumerate(wanted):
                until = int(np.searchsorted(ids, end))
                while done[batch] < until:
                    buffer, held = regions.room(batch)
                    most = (len(buffer) - held) // size
                    some = ids[done[batch] : min(until, done[batch] + most)]
                    length = len(some) * size
                    here = some.astype(np.int64)
                    rows.take(piece, first, here, buffer[held : held + length])
                    regions.grow(batch, buffer, length)
                    done[batch] += len(some)
            _drop_cache(rows)
        regions.finish()
        self.index["crc"] = np.array(regions.crc, dtype=np.uint32)

    def _shared_target(self) -> _Target | None:
        if self.shared is None:
            return None
        path = self.folder / shared_name(self.rows.name)
        return _Target(path, align_up(self.shared_bytes), 1)

    def _add(
        self,
        pack: _Target,
        hot: _Target,
        shared: _Target | None,
        first: int,
        piece: Bytes,
    ) -> None:
        """Copy the rows of one piece of the scan to where they belong."""
        end = first + len(piece)
        stage = max(1, STAGE_BYTES // max(1, self.rows.row_bytes))
        for batch in range(len(self.index)):
            begin = int(pack.state[0, batch])
            wanted = self._ids(batch, begin, int(self.index["rows"][batch]))
            stop = int(np.searchsorted(wanted, end))
            start = int(self.index["offset"][batch])
            for at in range(0, stop, stage):
                ids = wanted[at : min(stop, at + stage)].astype(np.int64)
                pack.append(batch, start, self.rows.take(piece, first, ids), len(ids))
        whole = [(hot, self.hot)]
        if shared is not None and self.shared is not None:
            whole.append((shared, self.shared))
        for target, ascending in whole:
            stop = int(np.searchsorted(ascending, end))
            for at in range(int(target.state[0, 0]), stop, stage):
                ids = ascending[at : min(stop, at + stage)].astype(np.int64)
                target.append(0, 0, self.rows.take(piece, first, ids), len(ids))

    def _ids(self, batch: int, begin: int, end: int) -> npt.NDArray[np.int64]:
        start = int(self.first[batch])
        ids: npt.NDArray[np.int64] = self.misses[start + begin : start + end]
        return ids

    def _resume(
        self,
        journal: Path,
        identity: str,
        pack: _Target,
        hot: _Target,
        shared: _Target | None,
        first: int,
    ) -> int:
        targets = [t for t in (pack, hot, shared) if t is not None]
        found = _load(journal, identity, targets)
        if found is not None:
            return found
        if self.rows.kind == "sparse" and first == 0:
            for batch in range(len(self.index)):
                ids = self._ids(batch, 0, int(self.index["rows"][batch]))
                prefix = self.rows.prefix(ids.astype(np.int64))
                pack.append(batch, int(self.index["offset"][batch]), prefix, 0)
            hot.append(0, 0, self.rows.prefix(self.hot), 0)
        return first

    def _begin(
        self, pack: _Target, hot: _Target, shared: _Target | None, first: int
    ) -> npt.NDArray[np.int64]:
        """Set the states to where rows from ``first`` on go; return the bytes before."""
        wanted = [
            self._ids(batch, 0, int(self.index["rows"][batch]))
            for batch in range(len(self.index))
        ]
        regions = [(pack, wanted), (hot, [self.hot])]
        if shared is not None and self.shared is not None:
            regions.append((shared, [self.shared]))
        for target, lists in regions:
            target.state[:] = 0
            for region, ids in enumerate(lists if first else []):
                count = int(np.searchsorted(ids, first))
                before = ids[:count].astype(np.int64)
                size = int(self.rows.lengths(before).sum()) + len(
                    self.rows.prefix(ids.astype(np.int64))
                )
                target.state[:2, region] = count, size
        return np.concatenate([target.state[1].copy() for target, _ in regions])


def _map_ids(path: Path, count: int, num_rows: int) -> npt.NDArray[np.int64]:
    kind = "<u4" if num_rows <= 2**32 else "<u8"
    if count == 0:
        return np.zeros(0, dtype=np.int64)
    # A plain view: slices of a memmap cost more than the little they hold.
    return np.asarray(np.memmap(path, kind, "r", shape=(count,))).view(np.ndarray)


def _save(journal: Path, identity: str, end: int, targets: list[_Target]) -> None:
    state = np.concatenate([target.state for target in targets], axis=1)
    with files.publish(journal) as file:
        file.write(identity.encode().ljust(64, b" "))
        buffer = io.BytesIO()
        np.save(buffer, np.concatenate([[end], state.reshape(-1)]))
        file.write(buffer.getvalue())


def _load(journal: Path, identity: str, targets: list[_Target]) -> int | None:
    """Set the targets' states from a journal of this plan; return the next row."""
    if not journal.exists():
        return None
    with open(journal, "rb") as file:
        if file.read(64) != identity.encode().ljust(64, b" "):
            return None
        values = np.load(file, allow_pickle=False)
    widths = [target.state.shape[1] for target in targets]
    if len(values) != 1 + 3 * sum(widths):
        return None
    state = values[1:].reshape(3, sum(widths))
    parts = np.split(state, np.cumsum(widths)[:-1], axis=1)
    for target, part in zip(targets, parts, strict=True):
        target.state[:] = part
    return int(values[0])


def _drop_cache(rows: Rows) -> None:
    """Let the page cache forget what the scan has read."""
    if rows.kind != "dense":
        return
    descriptor = os.open(rows.column.path, os.O_RDONLY)  # type: ignore[union-attr]
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
