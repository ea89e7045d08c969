"""What each mode costs: bytes and seconds, from the trace and a short measurement."""

from __future__ import annotations

from typing import NamedTuple

from graphlab.outofcore.calibrate import Calibration
from graphlab.outofcore.columns import Rows
from graphlab.outofcore.reader import ALIGN

# What is done once counts as a share of an epoch: a run trains for about this many.
HORIZON_EPOCHS = 10
# Requests in flight while rows are read where they are, of those that were measured.
_OVERLAP = 4


class Demand(NamedTuple):
    """What one epoch asks for.

    Attributes:
        batches: Batches.
        misses: Rows that are not in memory.
        sample_bytes, programme_bytes, pack_bytes: Of the epoch's files.
        scan_bytes: Bytes of the columns that are read from disk.
        hot_bytes: Bytes of rows that stay in memory.
    """

    batches: int
    misses: int
    sample_bytes: int
    programme_bytes: int
    pack_bytes: int
    scan_bytes: int
    hot_bytes: int

    @property
    def file_bytes(self) -> int:
        """Bytes of the epoch's files together."""
        return self.sample_bytes + self.programme_bytes + self.pack_bytes


class Cost(NamedTuple):
    """Bytes read and seconds of I/O in an epoch; seconds before the first; bytes of disk."""

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
    prepare = (demand.scan_bytes + 2 * epochs * demand.sample_bytes) / disk.sequential
    prepare += (size + hot) / disk.writing
    seconds = demand.file_bytes / disk.sequential
    return Cost(demand.file_bytes, seconds, prepare, size + hot)


def rolling(demand: Demand, windows: int, reuse: int, disk: Calibration) -> Cost:
    """An epoch in ``windows`` windows: each is sampled, packed by a scan, and read."""
    making = windows * demand.scan_bytes + 2 * demand.sample_bytes
    once = making / disk.sequential + demand.file_bytes / disk.writing
    reading = demand.file_bytes / disk.sequential
    read = making // reuse + demand.file_bytes
    held = 2 * demand.file_bytes // max(windows, 1)
    prepare = demand.scan_bytes / disk.sequential + demand.hot_bytes / disk.writing
    return Cost(read, once / reuse + reading, prepare, demand.hot_bytes + held)


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
    rest = direct(asked, columns, disk)
    prepare = (demand.scan_bytes + 2 * epochs * demand.sample_bytes) / disk.sequential
    size = front.disk_bytes + shared_rows * row_bytes
    return Cost(
        front.read_bytes + rest.read_bytes,
        front.seconds + rest.seconds,
        prepare + size / disk.writing,
        size,
    )


def direct(demand: Demand, columns: list[Rows], disk: Calibration) -> Cost:
    """Rows read where they are: near ones together, never more than the file a batch."""
    pages = sum(-(-(rows.row_bytes + ALIGN // 2) // ALIGN) for rows in columns) * ALIGN
    read = min(demand.misses * pages, demand.batches * demand.scan_bytes)
    seconds = max(
        min(
            demand.misses * len(columns) / disk.random,
            read / disk.sequential * _OVERLAP,
        ),
        read / disk.sequential,
    )
    prepare = demand.scan_bytes / disk.sequential + demand.hot_bytes / disk.writing
    return Cost(read, seconds, prepare, demand.hot_bytes)


def windows_of(demand: Demand, disk: int | None) -> int:
    """Windows of an epoch, two of which fit the disk beside the rows that stay."""
    if disk is None:
        return 1
    room = max((disk - demand.hot_bytes) // 2, 1)
    return max(1, min(-(-demand.file_bytes // room), demand.batches))
