"""What each mode costs: bytes and seconds, from the trace and a short measurement."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from graphlab.outofcore.calibrate import Calibration
from graphlab.outofcore.columns import Rows
from graphlab.outofcore.reader import ALIGN

# What is done once counts as a share of an epoch: a run trains for about this many.
HORIZON_EPOCHS = 10
# Two things that are done at once cost the longer, and this share of the shorter: the disk
# waits for a moment where a batch ends, and both use the memory. benchmarks/results/
# outofcore/disk_modes.json.
_HINDRANCE = 0.5
# Seconds of one thread for each row that is packed.
_PACK_SECONDS = 2e-7
# The longest request for rows that lie apart, from the main ring and from that of shared
# rows, where memory is not scarce.
PIECE_BYTES = 2**17
SHARED_PIECE_BYTES = 2**14


class Demand(NamedTuple):
    """What one epoch asks for.

    Attributes:
        batches: Batches.
        misses: Rows that are not in memory.
        sample_bytes, programme_bytes, pack_bytes: Of the epoch's files.
        scan_bytes: Bytes of the columns that are read from disk.
        hot_bytes: Bytes of rows that stay in memory.
        accesses: Rows of all batches.
        sample_seconds: Sampling, by one thread.
        schedule_seconds: Next uses and programmes, by one thread.
        kept: Missing rows that are copied into a slot, too.
        piece_bytes: Of a scan, as a window is packed: each batch takes rows from each piece.
    """

    batches: int
    misses: int
    sample_bytes: int
    programme_bytes: int
    pack_bytes: int
    scan_bytes: int
    hot_bytes: int
    accesses: int = 0
    sample_seconds: float = 0.0
    schedule_seconds: float = 0.0
    kept: int = 0
    piece_bytes: int = 0

    @property
    def file_bytes(self) -> int:
        """Bytes of the epoch's files together."""
        return self.sample_bytes + self.programme_bytes + self.pack_bytes


class Cost(NamedTuple):
    """Bytes read and seconds of an epoch; seconds before the first; bytes of disk."""

    read_bytes: int
    seconds: float
    prepare_seconds: float
    disk_bytes: int

    @property
    def per_epoch(self) -> float:
        """Seconds of an epoch and its share of what is done once."""
        return self.seconds + self.prepare_seconds / HORIZON_EPOCHS


def replay(demand: Demand, epochs: int, disk: Calibration) -> Cost:
    """``epochs`` packed epochs: files are written once, and read front to back."""
    size, hot = epochs * demand.file_bytes, demand.hot_bytes
    prepare = _prepare(demand, epochs, size + hot, disk)
    return Cost(demand.file_bytes, _reading(demand, disk), prepare, size + hot)


def rolling(
    demand: Demand, windows: int, reuse: int, disk: Calibration, room: int | None = None
) -> Cost:
    """An epoch in ``windows`` windows: each is sampled, packed by a scan, and read.

    One thread samples and compiles a window while another reads the one before it; then it
    packs, which keeps the disk busy with reads and writes, those of the other thread too
    that are left. Each batch takes rows from each piece of a scan: where memory is small
    there are many such extents, and what each costs by itself is most of packing.

    Args:
        demand, disk: As for the other modes.
        windows: Scans of an epoch.
        reuse: Epochs that use the same windows.
        room: Bytes of disk that windows may take together; None: two of them.
    """
    making = windows * demand.scan_bytes
    work = demand.sample_seconds + demand.schedule_seconds + disk.row * demand.accesses
    reading = _reading(demand, disk)
    left = max(1 - work / max(reading, 1e-9), 0.0)
    moved = making + (1 + left) * demand.file_bytes
    packing = _at_once(moved / disk.sharing, _PACK_SECONDS * demand.misses)
    if demand.piece_bytes:
        pieces = -(-demand.scan_bytes // demand.piece_bytes)
        packing += disk.extent * demand.batches * pieces
    window = work + _HINDRANCE * min(work, reading) + packing
    seconds = (max(window, reading) + (reuse - 1) * reading) / reuse
    held = 2 * demand.file_bytes // max(windows, 1)
    held = held if room is None else min(held, room)
    prepare = demand.scan_bytes / disk.sequential + demand.hot_bytes / disk.writing
    read = (making + 2 * demand.sample_bytes) // reuse + demand.file_bytes
    return Cost(read, seconds, prepare, demand.hot_bytes + held)


def hybrid(
    demand: Demand,
    columns: list[Rows],
    shared_rows: int,
    shared_reads: int,
    epochs: int,
    disk: Calibration,
) -> Cost:
    """Packs of rows that few batches miss; ``shared_reads`` an epoch from one file."""
    row_bytes = sum(rows.row_bytes for rows in columns)
    pack = demand.pack_bytes - shared_reads * row_bytes
    packed = demand._replace(pack_bytes=max(pack, 0))
    front = replay(packed, epochs, disk)
    asked = demand._replace(misses=shared_reads, scan_bytes=shared_rows * row_bytes)
    read, seconds = _scattered(asked, columns, SHARED_PIECE_BYTES, disk)
    size = front.disk_bytes + shared_rows * row_bytes
    return Cost(
        front.read_bytes + read,
        front.seconds + seconds,
        _prepare(demand, epochs, size, disk),
        size,
    )


def direct(demand: Demand, columns: list[Rows], disk: Calibration) -> Cost:
    """Rows read where they are, near ones together; a batch is sampled, then read."""
    read, seconds = _scattered(demand, columns, PIECE_BYTES, disk)
    seconds += demand.sample_seconds + _putting(demand, disk)
    prepare = demand.scan_bytes / disk.sequential + demand.hot_bytes / disk.writing
    return Cost(read, seconds, prepare, demand.hot_bytes)


def _prepare(demand: Demand, epochs: int, written: int, disk: Calibration) -> float:
    """Sampling and scheduling ``epochs`` epochs, one scan, and what is written."""
    work = demand.sample_seconds + demand.schedule_seconds
    work = epochs * (work + _PACK_SECONDS * demand.misses)
    read = demand.scan_bytes + 2 * epochs * demand.sample_bytes
    return work + read / disk.sequential + written / disk.writing


def _putting(demand: Demand, disk: Calibration) -> float:
    """Putting an epoch's batches together."""
    rows = demand.accesses + demand.kept
    width = demand.pack_bytes / max(demand.misses, 1)
    copies = rows * width / disk.gather if disk.gather else 0.0
    return copies + disk.row * demand.accesses


def _reading(demand: Demand, disk: Calibration) -> float:
    """Reading an epoch's files while its batches are put together."""
    return _at_once(demand.file_bytes / disk.sequential, _putting(demand, disk))


def _at_once(one: float, other: float) -> float:
    """Seconds of two things that are done at the same time."""
    return max(one, other) + _HINDRANCE * min(one, other)


def _scattered(
    demand: Demand, columns: list[Rows], piece: int, disk: Calibration
) -> tuple[int, float]:
    """Bytes and seconds of reading the missing rows of an epoch where they are.

    Rows of a batch lie like points thrown on the file, so that distances are exponential:
    a share exp(-gap / mean) of them begins a request, the others are read through to.
    """
    total, seconds = 0.0, 0.0
    share = 1 / max(sum(rows.row_bytes for rows in columns), 1)
    for rows in columns:
        count = demand.misses / max(demand.batches, 1)
        if count < 1:
            continue
        file = demand.scan_bytes * rows.row_bytes * share
        mean, gap = max(file / count, rows.row_bytes), disk.gap
        room = max(piece - 2 * ALIGN - rows.row_bytes, rows.row_bytes)
        if gap < room:
            begins = float(np.exp(-gap / mean))
            through = count * (mean - (mean + gap) * begins)
            requests = max(count * begins, 1.0) + through / room
        else:  # pieces of the file, each a request where it holds a row
            points = room / mean
            empty = float(np.exp(-points))
            pieces = file / room
            requests = max(pieces * (1 - empty), 1.0)
            through = pieces * room * (1 + empty - 2 * (1 - empty) / points)
        read = through + requests * (rows.row_bytes + ALIGN)
        more = max(read - ALIGN * requests, 0.0)
        seconds += requests / disk.random + more / disk.sequential
        total += read
    return int(total * demand.batches), seconds * demand.batches


def windows_of(demand: Demand, disk: int | None) -> int:
    """Windows of an epoch, two of which fit the disk beside the rows that stay."""
    if disk is None:
        return 1
    room = max((disk - demand.hot_bytes) // 2, 1)
    return max(1, min(-(-demand.file_bytes // room), demand.batches))
