"""A short measurement of the disk, so that a plan can tell seconds from bytes."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from graphlab.ops import gather_rows, io
from graphlab.ops.uring import Uring
from graphlab.outofcore import layout
from graphlab.outofcore.batch import Assembler, Fields
from graphlab.outofcore.layout import Record
from graphlab.outofcore.pool import Pool
from graphlab.outofcore.reader import ALIGN, Bytes, DirectFile, Ring, allocate, cut
from graphlab.outofcore.writer import MOST, STEPS, Regions, Writer

_SECONDS = 0.3
_THREADS = 16
_GROUP = 1024
_ROW_BYTES = 512
# Of the buffers of writes beside reads.
MIXED_BYTES = 9 * 2**19
# Of the labels of a measurement, more than the nearest caches hold; and where none is made.
LABELS_BYTES = 2**24
ROW_SECONDS = 3e-8
EXTENT_SECONDS = 1.5e-4
_EXTENTS = 256
# A device takes some writes at once before it shows its pace: measured longer than others.
MIXED_SHARE = 3
# Places of a file that grow at once.
_REGIONS = 16


class Calibration(NamedTuple):
    """Measured rates of a device.

    Attributes:
        sequential: Bytes a second, 1 MiB reads in order, several in flight.
        random: Reads of 4 KiB a second, as many in flight as rows that are read where they
            are have.
        direct: Whether reads bypassed the page cache.
        write: Bytes a second, written in order and flushed; 0: not measured.
        gather: Bytes a second of rows picked at random in memory; 0: not measured.
        mixed: Bytes a second of packing: a scan is read while rows of it are picked,
            checked and written; 0: not measured.
        row: Seconds of copying the ids, edges and labels that come with a row of a batch.
        extent: Seconds of packing what a batch takes from a piece of a scan, beside its
            bytes: looking it up, some calls, a write of its own.
    """

    sequential: float
    random: float
    direct: bool
    write: float = 0.0
    gather: float = 0.0
    mixed: float = 0.0
    row: float = ROW_SECONDS
    extent: float = EXTENT_SECONDS

    @property
    def sharing(self) -> float:
        """Bytes a second of reads and writes together; a guess where not measured."""
        return self.mixed or (self.sequential + self.writing) / 2

    @property
    def writing(self) -> float:
        """Bytes a second of writing; those of reading where it was not measured."""
        return self.write or self.sequential

    @property
    def gap(self) -> int:
        """Bytes that are cheaper to read through than to skip with another request."""
        return int(min(max(self.sequential / self.random, ALIGN), 2**18))


def calibrate(
    path: Path,
    depth: int = 8,
    segment: int = 2**20,
    seconds: float = _SECONDS,
    *,
    folder: Path | None = None,
    room: int = 0,
    memory: int = 0,
    row_bytes: int = _ROW_BYTES,
) -> Calibration:
    """Measure for about ``6 * seconds``; holds a ring of the given sizes.

    Args:
        path: Read, in parts.
        depth, segment: Of the ring.
        seconds: Of each of four measurements; more of reads and writes together.
        folder: Where at most ``room`` bytes are written for a moment; None: nowhere.
        room: See there.
        memory: Bytes that may be held for a moment, to measure how fast rows are put
            together; best more than the caches.
        row_bytes: Of the rows that are picked: many short ones take longer than few long
            ones of as many bytes.

    A file of a few MiB is read once: then the figures are rough, and so is what they cost.
    """
    file = DirectFile(path)
    ring = Ring(depth, segment)
    try:
        start, done = time.perf_counter(), 0
        for request, _ in ring.stream(cut(file, 0, file.size, ring.segment)):
            done += request.length
            if time.perf_counter() - start > seconds:
                break
        sequential = done / max(time.perf_counter() - start, 1e-6)
        pages = max(1, file.size // ALIGN)
        order = np.random.default_rng(0).permutation(min(pages, 2**20))
        places = (order * (pages // len(order)) * ALIGN).tolist()[: 2**16]
        start = time.perf_counter()
        end = start + seconds

        def read(some: list[int]) -> int:
            buffer, count = allocate(ALIGN), 0
            for place in some:
                file.read(place, min(ALIGN, file.size - place), buffer)
                count += 1
                if time.perf_counter() > end:
                    break
            return count

        reads = 0
        if ring.queue is not None and file.size >= ALIGN:
            reads = _by_queue(file, ring.queue, places, end)
        elif file.size:
            with ThreadPoolExecutor(_THREADS) as pool:
                shares = [places[i::_THREADS] for i in range(_THREADS)]
                reads = sum(pool.map(read, shares))
        random = reads / max(time.perf_counter() - start, 1e-6)
        write = 0.0
        if folder is not None and room >= ring.segment:
            write = _write_rate(folder / ".calibration", room, ring.segment, seconds)
        mixed, extent = 0.0, EXTENT_SECONDS
        enough = memory >= MIXED_BYTES and _REGIONS * MIXED_BYTES // 9 <= room
        if folder is not None and write and enough and room <= file.size:
            mixed, extent = _mixed_rate(
                file,
                ring,
                folder / ".calibration",
                room,
                MIXED_SHARE * seconds,
                max(row_bytes, 1),
            )
        gather = _gather_rate(memory, max(row_bytes, 1)) if memory >= 2**20 else 0.0
        row = _row_seconds() if memory >= LABELS_BYTES else ROW_SECONDS
        return Calibration(
            max(sequential, 1.0),
            max(random, 1.0),
            file.direct,
            write,
            gather,
            mixed,
            row,
            extent,
        )
    finally:
        ring.close()
        file.close()


def _by_queue(file: DirectFile, queue: Uring, places: list[int], end: float) -> int:
    """Pages read through a queue, some hundred at a time, until ``end``."""
    out, reads = torch.zeros((1, 1)), 0
    while time.perf_counter() < end:
        some = torch.tensor(places[:_GROUP])
        places = places[_GROUP:] + places[:_GROUP]
        count = len(some)
        size = torch.full((count,), ALIGN)
        requests = torch.stack([some, size, torch.arange(count)], dim=1)
        none = torch.full((count,), -1, dtype=torch.int32)
        queue.rows(file.descriptor, requests, some, none, out)
        reads += count
    return reads


def _gather_rate(memory: int, row_bytes: int) -> float:
    """Rows out of one half of ``memory`` into the other, the second time."""
    count = max(memory // 2 // row_bytes, 1)
    held = torch.from_numpy(allocate(2 * count * row_bytes))[: 2 * count * row_bytes]
    slots, out = held.view(2, count, row_bytes)
    held.zero_()
    order = np.random.default_rng(0).permutation(count).astype(np.int32)
    none = torch.zeros(0, dtype=torch.int32)
    best = float("inf")
    for _ in range(2):
        start = time.perf_counter()
        io.assemble_hits(slots, torch.from_numpy(order), out, none)
        best = min(best, time.perf_counter() - start)
    return out.nbytes / max(best, 1e-6)


def _row_seconds() -> float:
    """Copy a record's ids and edges, and labels, of some thousand nodes; the second time."""
    nodes, edges, every = 2**14, 2**14, LABELS_BYTES // 16
    ids = np.random.default_rng(0).integers(0, every, nodes).astype(np.uint32)
    degree = np.ones(edges, dtype=np.uint8)
    record = Record(ids, degree, ids, ids, ids[:64], ids[:0], [nodes], [edges])
    fields = Fields({"y": torch.zeros(every, dtype=torch.int64)}, {}, disjoint=False)
    pool = Pool(1, fields.block_bytes(nodes, edges, 64))
    assembler, best = Assembler(fields, pool, torch.device("cpu")), float("inf")
    for _ in range(4):
        start = time.perf_counter()
        filling = assembler.begin(record)
        filling.resident()
        while filling.step():
            pass
        best = min(best, time.perf_counter() - start)
        del filling
    return best / nodes


def _mixed_rate(
    file: DirectFile,
    ring: Ring,
    path: Path,
    room: int,
    seconds: float,
    row_bytes: int,
) -> tuple[float, float]:
    """Read a column in order, pick half of its rows, check and write them: packing.

    Returns bytes a second, and seconds of a small extent.

    Into blocks that are allocated for it, like those of a window: to write over blocks that
    hold data is quicker.
    """
    stage = MIXED_BYTES // (MOST + 1)
    turns = max(room // _REGIONS // stage, 1)
    each, step = turns * stage, max(turns // STEPS, 1)
    writer = Writer(path, _REGIONS * each, stage, MOST + 1, whole=False)
    done = count = 0
    _pick(torch.zeros((1, row_bytes), dtype=torch.uint8), writer.stage)  # first use
    start = time.perf_counter()
    try:
        for request, data in ring.stream(cut(file, 0, file.size, ring.segment)):
            done += request.length
            rows = torch.from_numpy(data[: len(data) // row_bytes * row_bytes])
            rows = rows.view(-1, row_bytes)
            while count * stage < done // 2 and len(rows):
                turn, region = divmod(count, _REGIONS)
                turn %= turns
                if turn == 0 and region == 0 and count:
                    writer.clear()
                place = region * each + turn * stage
                if turn % step == 0:
                    writer.allocate(place, min(step, turns - turn) * stage)
                buffer = writer.take()
                _pick(rows, stage, buffer)
                writer.put(buffer, place, stage)
                count += 1
            if time.perf_counter() - start > seconds:
                break
        writer.finish()
        mixed = (done + count * stage) / max(time.perf_counter() - start, 1e-6)
        writer.clear()
        starts = [region * each for region in range(_REGIONS)]
        regions = Regions(writer, starts, [each] * _REGIONS)
        rows = torch.zeros((4 * ALIGN // row_bytes + 1, row_bytes), dtype=torch.uint8)
        ids, size = np.arange(len(rows)), len(rows) // 2 * row_bytes
        start = time.perf_counter()
        for number in range(_EXTENTS if size else 0):
            region = number % _REGIONS
            until = int(np.searchsorted(ids, len(rows) // 2))
            buffer, held = regions.room(region)
            out = torch.from_numpy(buffer[held : held + size]).view(-1, row_bytes)
            gather_rows(rows, torch.from_numpy(ids[:until]), out=out)
            regions.grow(region, buffer, size)
        regions.finish()
        extent = (time.perf_counter() - start) / _EXTENTS
        return mixed, extent if size else EXTENT_SECONDS
    except OSError:
        return 0.0, EXTENT_SECONDS
    finally:
        writer.close()
        path.unlink(missing_ok=True)


def _pick(rows: torch.Tensor, size: int, buffer: Bytes | None = None) -> None:
    """Rows of a piece, spread over it, back to back into a buffer; and their checksum."""
    width = rows.shape[1]
    picked = (allocate(size) if buffer is None else buffer)[: size // width * width]
    wanted = torch.linspace(0, len(rows) - 1, len(picked) // width).long()
    gather_rows(rows, wanted, out=torch.from_numpy(picked).view(-1, width))
    layout.crc(picked)


def _write_rate(path: Path, room: int, segment: int, seconds: float) -> float:
    data = np.random.default_rng(0).integers(0, 256, segment, dtype=np.uint8)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        start, done = time.perf_counter(), 0
        while done + segment <= room:
            done += os.write(descriptor, data.data)
            if time.perf_counter() - start > seconds:
                break
        os.fdatasync(descriptor)
        return done / max(time.perf_counter() - start, 1e-6)
    except OSError:
        return 0.0  # a full disk is told where it matters
    finally:
        os.close(descriptor)
        path.unlink()
