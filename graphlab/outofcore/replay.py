"""Mode ``replay``: batches from their records, their programmes and their packs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphlab.ops import io
from graphlab.outofcore import layout
from graphlab.outofcore.batch import Assembler, Filling
from graphlab.outofcore.columns import Rows
from graphlab.outofcore.device import Split, below
from graphlab.outofcore.hot import Hot, fast_of, rows_per_request
from graphlab.outofcore.layout import Index
from graphlab.outofcore.node_order import records_stem
from graphlab.outofcore.pack import pack_name
from graphlab.outofcore.reader import (
    Bytes,
    DirectFile,
    Reads,
    Request,
    Ring,
    allocate,
    cut,
)
from graphlab.outofcore.scattered import Shared
from graphlab.outofcore.schedule import PROGRAMME
from graphlab.outofcore.trace import check_record
from graphlab.sample.loader import Made

if TYPE_CHECKING:
    from graphlab.outofcore.slots import LiveSlots


# Bytes of a pack that are put in their places in one go: about a millisecond.
_TOGETHER = 3 * 2**20


class _Part(NamedTuple):
    """One of a batch's regions: its file, its table, and the rows it holds."""

    file: DirectFile
    table: Index
    rows: Rows | None = None


class Trace:
    """The sampled batches, their programmes and packs, opened for reading.

    Args:
        folder: The plan.
        files: File table of the manifest.
        columns: Columns that are read from packs.
    """

    def __init__(
        self, folder: Path, files: dict[str, Any], columns: list[Rows]
    ) -> None:
        self.folder, self.files = folder, files
        self.columns = columns
        self.parts = [self._part(records_stem(files)), self._part(PROGRAMME)]
        self.parts += [self._part(pack_name(rows.name), rows) for rows in columns]

    def _part(self, stem: str, rows: Rows | None = None) -> _Part:
        index = layout.read_index(
            self.folder / f"{stem}.idx", self.files[f"{stem}.idx"]
        )
        path = self.folder / f"{stem}.bin"
        layout.check_size(path, self.files[path.name])
        return _Part(DirectFile(path), index, rows)

    @property
    def nbytes(self) -> int:
        """Bytes of the index tables."""
        return sum(part.table.nbytes for part in self.parts)

    @property
    def device_bytes(self) -> int:
        """Bytes read so far."""
        return sum(part.file.device_bytes for part in self.parts)

    def requests(self, batch: int, segment: int) -> Iterator[Request]:
        """What to read for one batch, in the order in which it is used."""
        for number, part in enumerate(self.parts):
            entry = part.table[batch]
            offset, length = int(entry["offset"]), int(entry["length"])
            if part.rows is None or part.rows.kind == "sparse":
                yield from cut(part.file, offset, length, segment, number)
                continue
            size = part.rows.row_bytes
            step = rows_per_request(size, segment)
            for row in range(0, int(entry["rows"]), step):
                span = min(step, int(entry["rows"]) - row) * size
                yield Request(part.file, offset + row * size, span, (number, row))

    def close(self) -> None:
        """Close the files."""
        for part in self.parts:
            part.file.close()


class Replay:
    """Assembles the batches of a plan, in order, from a ring of reads.

    Args:
        trace: The files.
        assembler: Knows the fields of a batch and owns the output buffers.
        ring: Buffers for reads.
        hot: Rows in memory, by column.
        live: Slots whose rows change; None where all rows stay.
        shared: Files of shared rows, and how to read them; None where all are packed.
        device_rows: Rows on the device, the first of the programmes' slots.
        record_bytes: Room for a record and its programme.
        sparse_bytes: Room for the sparse packs of a batch.
        max_rows: Rows of the largest batch.
        verify: Whether checksums are compared the first time that a batch is read.
    """

    def __init__(
        self,
        trace: Trace,
        assembler: Assembler,
        ring: Ring,
        hot: dict[str, Hot],
        live: LiveSlots | None,
        shared: Shared | None = None,
        *,
        device_rows: int = 0,
        record_bytes: int,
        sparse_bytes: int,
        max_rows: int,
        verify: bool,
    ) -> None:
        self._device_rows = device_rows
        self.trace, self._assembler, self._ring = trace, assembler, ring
        self._hot, self._live, self._shared = hot, live, shared
        self._record = allocate(record_bytes)
        self._sparse = allocate(sparse_bytes)
        self._dst = np.zeros(max_rows, dtype=np.int32)
        self._unverified = np.full(len(trace.parts[0].table), verify)
        self._lock = threading.Lock()
        self._stream: Reads | None = None
        self.hits = self.misses = 0

    def open(self, order: npt.NDArray[np.int64], step: int) -> Callable[[int], Made]:
        """Make batches ``order[number]``, best asked for ``step`` after ``step``."""
        state: dict[str, Any] = {"next": -1, "stream": None}

        def make(number: int) -> Made:
            with self._lock:
                stream = state["stream"]
                if number != state["next"] or stream is not self._stream:
                    self._drop_stream()
                    stream = self._ring.stream(
                        request
                        for following in range(number, len(order), step)
                        for request in self.trace.requests(
                            int(order[following]), self._ring.segment
                        )
                    )
                    self._stream = state["stream"] = stream
                state["next"] = -1  # until this batch is whole
                made = self._make(int(order[number]), stream)
                state["next"] = number + step
                return made

        return make

    def leave(self) -> None:
        """Stop reading and close the batches' files; ring and rows in memory stay."""
        with self._lock:
            self._drop_stream()
        self.trace.close()

    def close(self) -> None:
        """Stop reading and close the files."""
        self.leave()
        self._ring.close()
        if self._live is not None:
            self._live.close()
        if self._shared is not None:
            self._shared.close()

    @property
    def device_bytes(self) -> int:
        """Bytes read so far."""
        refilled = 0 if self._live is None else self._live.device_bytes
        shared = 0 if self._shared is None else self._shared.device_bytes
        return self.trace.device_bytes + refilled + shared

    def _drop_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _make(self, batch: int, stream: Reads) -> Made:
        verify = bool(self._unverified[batch])
        length = [int(part.table[batch]["length"]) for part in self.trace.parts[:2]]
        split = -(-length[0] // 64) * 64
        sample, programme = self._record[: length[0]], self._record[split:]
        self._collect(stream, 0, batch, sample, verify)
        self._collect(stream, 1, batch, programme[: length[1]], verify)
        record = layout.decode_sample(sample)
        where, keep, places = layout.decode_programme(programme[: length[1]])
        n_id = record.n_id
        filling = self._assembler.begin(record)
        if self._device_rows:
            levels = Split.of(where, self._device_rows)
            where, n_id = levels.source, n_id[levels.rows]
            keep = below(keep, self._device_rows)
            filling.split(fast_of(self._hot), levels)
        source = torch.from_numpy(where)
        refilled = 0
        if self._live is not None:
            refilled = self._live.begin(batch, where, n_id)
            self._live.expect(keep)
        outs = [filling.column(rows) for rows in self.trace.columns]
        filling.resident()
        for number, (rows, out) in enumerate(
            zip(self.trace.columns, outs, strict=True), start=2
        ):
            if rows.kind == "dense":
                kept = torch.from_numpy(keep)
                dst = self._dense(
                    stream,
                    number,
                    batch,
                    filling,
                    source,
                    kept,
                    out,
                    verify,
                    len(places),
                )
                if len(places):
                    assert self._shared is not None
                    slots = self._hot[rows.name].slots
                    tail = kept[-len(places) :] if len(kept) else kept
                    self._shared.assemble(rows, places, dst, tail, slots, out)
            else:
                self._expand(stream, number, batch, source, out, verify)
        missing = int(self.trace.parts[1].table[batch]["items"]) + len(places)
        if self._live is not None:
            self._live.end(batch, keep, n_id[self._dst[:missing]])
        misses = missing + refilled
        self.hits += len(record.n_id) - misses
        self.misses += misses
        self._unverified[batch] = False
        return filling.finish()

    def _dense(
        self,
        stream: Reads,
        number: int,
        batch: int,
        filling: Filling,
        source: Tensor,
        keep: Tensor,
        out: Tensor,
        verify: bool,
        shared: int,
    ) -> Tensor:
        """Fill a dense column but for its shared rows, whose destinations it returns."""
        part = self.trace.parts[number]
        rows, entry = part.rows, part.table[batch]
        assert rows is not None
        count = int(entry["rows"])
        dst = torch.from_numpy(self._dst[: count + shared])
        slots = self._hot[rows.name].slots
        io.assemble_hits(slots, source, out, dst, decode=rows.decode)
        done = 0
        each = rows_per_request(rows.row_bytes, self._ring.segment)
        together = max(1, _TOGETHER // self._ring.segment)
        crc = 0 if verify else None
        while done < count:
            kept = keep[done:count] if len(keep) else None
            most = min(together, -(-(count - done) // each))
            told = stream.assemble(
                most,
                dst[done:count],
                out,
                decode=rows.decode,
                keep=kept,
                slots=slots,
                crc=crc,
            )
            done += told.rows
            if told.pieces < most:
                request, data = next(stream)
                assert request.tag == (number, done)
                size = len(data) // rows.row_bytes
                io.assemble_rows(
                    torch.from_numpy(data),
                    dst[done : done + size],
                    out,
                    decode=rows.decode,
                    keep=None if kept is None else keep[done : done + size],
                    slots=slots,
                )
                done += size
                if crc is not None:
                    crc = layout.crc(data, told.crc)
            elif crc is not None:
                crc = told.crc
            filling.step()  # while the disk reads on
        found = crc or 0
        if verify:
            check_record(part.file.path, batch, entry, found)
        return dst[count:]

    def _expand(
        self,
        stream: Reads,
        number: int,
        batch: int,
        source: Tensor,
        out: Tensor,
        verify: bool,
    ) -> None:
        part = self.trace.parts[number]
        rows, entry = part.rows, part.table[batch]
        assert rows is not None
        hot, where = self._hot[rows.name], source.numpy()
        hits = np.flatnonzero(where >= 0).astype(np.int32)
        begin, end = hot.ptr[where[hits]], hot.ptr[where[hits] + 1]
        _sparse(hot.bytes, begin, end, hits, out)
        count = int(entry["rows"])
        data = self._sparse[: int(entry["length"])]
        self._collect(stream, number, batch, data, verify)
        missing = np.flatnonzero(where < 0)
        dst = self._dst[:count]
        dst[~where[missing]] = missing
        item = 4 + rows.dtype.itemsize
        ends = 4 * count + np.cumsum(data[: 4 * count].view("<u4") * np.int64(item))
        begins = np.concatenate([[4 * count], ends[:-1]])[:count]
        _sparse(data, begins, ends, dst, out)

    def _collect(
        self,
        stream: Reads,
        number: int,
        batch: int,
        area: Bytes,
        verify: bool,
    ) -> None:
        """Put a region's pieces together and compare its checksum."""
        part = self.trace.parts[number]
        done = 0
        while done < len(area):
            request, data = next(stream)
            assert request.tag == (number, done)
            area[done : done + len(data)] = data
            done += len(data)
        if verify:
            found = layout.crc(area)
            check_record(part.file.path, batch, part.table[batch], found)


def _sparse(
    data: Bytes,
    begin: npt.NDArray[np.int64],
    end: npt.NDArray[np.int64],
    dst: npt.NDArray[np.int32],
    out: Tensor,
) -> None:
    io.assemble_sparse(
        torch.from_numpy(data),
        torch.from_numpy(begin),
        torch.from_numpy(end),
        torch.from_numpy(dst),
        out,
    )
