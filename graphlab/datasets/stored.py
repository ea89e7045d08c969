"""StoredColumn: a dense column that stays in its file."""

from __future__ import annotations

import contextlib
import errno
import math
import mmap
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from graphlab import check, ops
from graphlab.datasets import chunked, encoding
from graphlab.datasets.encoding import Array
from graphlab.datasets.manifest import ColumnEntry, FileEntry
from graphlab.errors import StoreError
from graphlab.graph.distinct import distinct

# A gap that costs less to read through than a second request: bandwidth / IOPS of a
# virtual NVMe disk (refs/diskgnn.md section 4.2).
GAP_BYTES = 16 * 2**10
# One request reads at most this much, and one round of gather holds at most this much.
SPAN_BYTES = 2**20
STAGE_BYTES = 4 * 2**20
# Reads past the page cache move whole blocks.
BLOCK = 4096


class StoredColumn:
    """A dense column of a store: rows in a file, read when asked for.

    Args:
        folder: The store.
        entry: The column's entry of the manifest.
        files: The manifest's file table.

    Attributes:
        shape: Shape of the column, [N, ...].
        dtype: Dtype of what :meth:`gather` gives.
        stored: Dtype in the file; float16, bfloat16 or int8 where the column was made
            smaller, and then ``dtype`` is float32.
        path: The data file: rows from byte 0, ``row_bytes`` apart.
        row_bytes: Bytes of one row in the file.
        scale: [N] float32, mapped from its file, for int8 columns; else None.
        file_bytes: Bytes that the column takes on disk.
        nbytes: 0: nothing is held in memory.
        verified: Whether a scan of this process has compared all checksums.
    """

    def __init__(
        self, folder: Path, entry: ColumnEntry, files: dict[str, FileEntry]
    ) -> None:
        self.path = folder / entry.files["data"]
        self.shape = entry.shape
        self.dtype: torch.dtype = encoding.TORCH_DTYPES[entry.dtype]
        self.stored: torch.dtype = encoding.TORCH_DTYPES[entry.stored]
        self.row_bytes = entry.row_bytes
        self.scale: Tensor | None = None
        self._file_entry = files[entry.files["data"]]
        self.file_bytes = self._file_entry.bytes
        self.nbytes = 0
        self.verified = False
        if "scale" in entry.files:
            scale = folder / entry.files["scale"]
            self.scale = encoding.map_file(str(scale), "float32", entry.shape[:1])
            self.file_bytes += files[entry.files["scale"]].bytes

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        shape = "x".join(str(n) for n in self.shape)
        stored = encoding.name_of(self.stored)
        as_ = "" if self.stored == self.dtype else f" as {stored}"
        name = encoding.name_of(self.dtype)
        return f"StoredColumn({self.path.name}: {shape} {name}{as_})"

    def memmap(self) -> Tensor:
        """The file as a tensor [N, ...] of dtype ``stored``; pages are read when touched."""
        return encoding.map_file(
            str(self.path), encoding.name_of(self.stored), self.shape
        )

    def gather(self, ids: Tensor, out: Tensor | None = None) -> Tensor:
        """Read rows by id.

        Args:
            ids: [n], int32 or int64, in any order, repeats allowed.
            out: [n, ...] of dtype ``dtype``, contiguous, to be filled; made when None.

        Returns:
            [n, ...] of dtype ``dtype``, row i = row ``ids[i]`` of the column.

        Raises:
            TypeError: wrong dtype.
            ValueError: wrong shape of ``ids`` or ``out``.
            IndexError: an id out of range.
            StoreError: the file ended early.

        Cost:
            Reads each distinct row once, in file order; rows less than 16 KiB apart share
            a request. Holds at most 4 MiB of rows as stored, and their values, beside
            the result.
        """
        name = "StoredColumn.gather"
        check.tensor(name, "ids", ids, dtypes=check.INDEX_DTYPES, ndim=1)
        check.ids_in_range(name, "ids", ids, self.shape[0])
        shape = (ids.shape[0], *self.shape[1:])
        if out is None:
            out = torch.empty(shape, dtype=self.dtype)
        else:
            check.tensor(name, "out", out, dtypes=(self.dtype,), ndim=len(shape))
            if tuple(out.shape) != shape or not out.is_contiguous():
                got = list(out.shape)
                check.fail(
                    ValueError, name, "out", f"be {list(shape)}, contiguous", got
                )
        if self.row_bytes == 0 or ids.shape[0] == 0:
            return out
        order = torch.argsort(ids, stable=True)
        wanted = ids[order].to(torch.int64).numpy()
        with self._open() as descriptor:
            per_round = max(1, STAGE_BYTES // self.row_bytes)
            for start in range(0, len(wanted), per_round):
                stop = min(len(wanted), start + per_round)
                self._fill(descriptor, wanted[start:stop], order[start:stop], out)
        return out

    def scan(
        self,
        chunk_bytes: int = 4 * 2**20,
        *,
        start: int = 0,
        stop: int | None = None,
        verify: bool = True,
    ) -> Iterator[tuple[int, Tensor]]:
        """Read the file front to back in whole rows: what packing needs.

        Args:
            chunk_bytes: Bytes of one piece; at least one row is read.
            start: First row.
            stop: Row to stop before; the last one when None.
            verify: Compare checksums on the way, where whole 1 MiB chunks are read.

        Yields:
            First row of the piece, and its bytes as stored: uint8 [rows, row_bytes], a
            view of a buffer, valid until the next. Pieces take half of ``chunk_bytes``:
            while one is used, the next is read.

        Raises:
            StoreError: a damaged or truncated file.
        """
        check.positive("StoredColumn.scan", "chunk_bytes", chunk_bytes)
        stop = self.shape[0] if stop is None else min(stop, self.shape[0])
        if self.row_bytes == 0:
            return
        # Half is read, on a thread, while the caller works on the other half.
        rows = max(1, chunk_bytes // 2 // self.row_bytes)
        unit = BLOCK // math.gcd(BLOCK, self.row_bytes)  # rows that fill whole blocks
        whole = rows >= unit and start % unit == 0
        rows = min(rows // unit * unit if whole else rows, max(1, stop - start))
        buffers = [_pages(rows * self.row_bytes) for _ in range(2)]
        watch = _Watch(self.path, self._file_entry, start * self.row_bytes)
        with (
            self._open() as descriptor,
            self._open_direct(whole) as direct,
            ThreadPoolExecutor(1) as thread,
        ):

            def read(number: int) -> tuple[int, Tensor]:
                first = start + number * rows
                count, buffer = min(rows, stop - first), buffers[number % 2]
                view = buffer[: count * self.row_bytes]
                place = first * self.row_bytes
                done = (
                    0 if direct is None else _read_blocks(direct, buffer, view, place)
                )
                # What is left: all where O_DIRECT is refused, or a damaged end.
                self._read(descriptor, view[done:], place + done)
                piece = torch.from_numpy(view).view(count, self.row_bytes)
                if verify:
                    watch.feed(view)
                return first, piece

            pieces = -(-max(0, stop - start) // rows)
            ahead = thread.submit(read, 0) if pieces else None
            for number in range(pieces):
                assert ahead is not None
                found = ahead.result()
                ahead = thread.submit(read, number + 1) if number + 1 < pieces else None
                yield found
        if verify:
            watch.finish(stop * self.row_bytes)
            whole = start == 0 and stop == self.shape[0]
            self.verified = self.verified or whole

    def decode(self, raw: Tensor, rows: Tensor | slice | None = None) -> Tensor:
        """Turn stored bytes of rows into values.

        Args:
            raw: uint8 [n, row_bytes], as :meth:`scan` gives.
            rows: Which rows these are; needed for their scales in an int8 column.

        Returns:
            [n, ...] of dtype ``dtype``.
        """
        values = raw.view(self.stored).reshape(raw.shape[0], *self.shape[1:])
        if self.stored == self.dtype:
            return values
        values = values.to(self.dtype)
        if self.scale is not None:
            shape = (-1, *[1] * (len(self.shape) - 1))
            values *= self.scale[slice(None) if rows is None else rows].reshape(shape)
        return values

    @contextlib.contextmanager
    def _open(self) -> Iterator[int]:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            remedy = "restore it from a copy, or convert the source again"
            what = f"a file of {self._file_entry.bytes} bytes"
            raise StoreError(self.path, None, what, "no file", remedy) from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _open_direct(self, wanted: bool) -> Iterator[int | None]:
        """The file past the page cache; None where that is not possible."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
        except OSError:
            yield None
            return
        try:
            yield descriptor if wanted else None
        finally:
            os.close(descriptor)

    def _fill(
        self, descriptor: int, wanted: Array, target: Tensor, out: Tensor
    ) -> None:
        """Read ascending rows ``wanted`` and put them at ``target`` in ``out``."""
        gap_rows = GAP_BYTES // self.row_bytes
        span_rows = max(1, SPAN_BYTES // self.row_bytes)
        rows = distinct(wanted)
        # A span ends where the gap to the next row is wide, or where it has grown long.
        wide = np.diff(rows) > gap_rows + 1
        run = np.concatenate([[0], np.cumsum(wide)])
        begin = rows[np.searchsorted(run, np.arange(run[-1] + 1))]
        part = (rows - begin[run]) // span_rows
        fresh = np.concatenate([[True], (np.diff(run) > 0) | (np.diff(part) > 0)])
        first = rows[fresh]
        last = np.concatenate([rows[np.flatnonzero(fresh)[1:] - 1], rows[-1:]])
        position = np.concatenate([[0], np.cumsum(last - first + 1)])
        # Rounds are bounded by rows wanted; gaps may still make a round too large.
        for lo, hi in _rounds(position, max(1, STAGE_BYTES // self.row_bytes)):
            stage = _bytes(int(position[hi] - position[lo]), self.row_bytes)
            flat = stage.reshape(-1).numpy()
            at = ((position[lo:hi] - position[lo]) * self.row_bytes).tolist()
            offset = (first[lo:hi] * self.row_bytes).tolist()
            size = ((last[lo:hi] - first[lo:hi] + 1) * self.row_bytes).tolist()
            # Ask for all spans at once, so that the disk has a queue to work on.
            for k in range(hi - lo):
                os.posix_fadvise(descriptor, offset[k], size[k], os.POSIX_FADV_WILLNEED)
            for k in range(hi - lo):
                self._read(descriptor, flat[at[k] : at[k] + size[k]], offset[k])
            a, b = np.searchsorted(wanted, [first[lo], last[hi - 1] + 1])
            span_of = np.searchsorted(first, wanted[a:b], side="right") - 1
            staged = position[span_of] - position[lo] + wanted[a:b] - first[span_of]
            ids = torch.from_numpy(wanted[a:b])
            raw = ops.gather_rows(stage, torch.from_numpy(staged))
            out[target[a:b]] = self.decode(raw, ids)

    def _read(self, descriptor: int, buffer: Array, offset: int) -> None:
        view = buffer.data
        done = 0
        while done < len(view):
            count = os.preadv(descriptor, [view[done:]], offset + done)
            if count == 0:
                size = os.fstat(descriptor).st_size
                raise StoreError(
                    self.path,
                    size,
                    f"a file of {self._file_entry.bytes} bytes",
                    f"{size} bytes",
                    "restore it from a copy, or convert the source again",
                )
            done += count


class _Watch:
    """Compares checksums of the whole 1 MiB chunks that pass by in a scan."""

    def __init__(self, path: Path, entry: FileEntry, offset: int) -> None:
        self._path, self._bytes = path, entry.bytes
        self._skip = -offset % chunked.CHUNK
        self._next = -(-offset // chunked.CHUNK)
        self._expected = chunked.read_checksums(path, entry)
        self._checksums = chunked.Checksums()

    def feed(self, data: Array) -> None:
        cut = min(self._skip, len(data))
        self._skip -= cut
        self._checksums.feed(data[cut:])
        found = np.array(self._checksums.done, dtype="<u4")
        chunked.compare(self._path, self._expected, found, self._next)
        self._next += len(found)
        self._checksums.done.clear()

    def finish(self, end: int) -> None:
        if end == self._bytes and not self._skip:
            found = self._checksums.table()
            chunked.compare(self._path, self._expected, found, self._next)


def _pages(size: int) -> Array:
    """A buffer of whole blocks, as reads past the page cache want it."""
    region = mmap.mmap(-1, max(-(-size // BLOCK) * BLOCK, BLOCK))
    return np.frombuffer(region, dtype=np.uint8)


def _read_blocks(descriptor: int, buffer: Array, view: Array, place: int) -> int:
    """Fill ``view``, the front of ``buffer``, as far as whole blocks can be read."""
    end, done = min(-(-len(view) // BLOCK) * BLOCK, len(buffer)), 0
    while done < len(view):
        try:
            got = os.preadv(descriptor, [buffer[done:end].data], place + done)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
            return done
        done += got
        if got == 0 or got % BLOCK:  # the end of the file
            break
    return min(done, len(view))


def _bytes(rows: int, width: int) -> Tensor:
    return torch.empty(rows, width, dtype=torch.uint8)


def _rounds(position: Array, limit: int) -> Iterator[tuple[int, int]]:
    """Cut spans into groups of at most ``limit`` rows, one span at least."""
    lo, spans = 0, len(position) - 1
    while lo < spans:
        hi = int(np.searchsorted(position, position[lo] + limit, side="right")) - 1
        hi = min(max(hi, lo + 1), spans)
        yield lo, hi
        lo = hi
