"""Offline sampling: the batches of some epochs, written as one file of records.

The samples are those that the in-memory loader would draw, batch for batch, because the
sampler is the same and its randomness is a function of (seed, epoch, batch). They do not
depend on any budget, so plans for other budgets can share them.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from graphlab import files, sizes
from graphlab.errors import BudgetError, OutOfDiskError, StoreError
from graphlab.outofcore import layout
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.layout import INDEX, Index, Record
from graphlab.outofcore.reader import ALIGN, DirectFile, allocate, span
from graphlab.outofcore.request import Part, Request, Samples
from graphlab.outofcore.topology import GraphFiles, sample_bytes
from graphlab.progress import track
from graphlab.sample.sampler import NeighborSampler

SAMPLES = "samples-00000"
JOURNAL = "journal-samples.idx"
# A killed run loses at most this much sampling.
CHECKPOINT_BYTES = 64 * 2**20
CHECKPOINT_BATCHES = 256


class SamplesTooLargeError(BudgetError):
    """The declared disk cannot hold the samples; ``need`` is what about would."""

    def __init__(self, need: int, disk: int) -> None:
        super().__init__(
            f"plan: `disk` must be at least about {sizes.show(need)} for the samples alone, "
            f"got {sizes.show(disk)}; allow more, sample fewer epochs, mode='rolling' or "
            "mode='direct'"
        )
        self.need = need


class Stopped(Exception):
    """Work in the background was told to end."""


class Stop:
    """Tells work in the background, which shows no progress, to end."""

    def __init__(self) -> None:
        self._set = threading.Event()

    def set(self) -> None:
        """Ask for the end."""
        self._set.set()

    def check(self) -> None:
        """Raise where the end was asked for."""
        if self._set.is_set():
            raise Stopped


def scratch_bytes(num_nodes: int, threads: int) -> int:
    """Bytes that the sampling op keeps for its threads' node maps."""
    return threads * 4 * num_nodes if num_nodes <= 2**24 else 0


def sample_epochs(
    folder: Path,
    sampler: NeighborSampler,
    request: Request,
    ledger: Ledger,
    *,
    disk: int | None,
    identity: str,
    graph: GraphFiles | None = None,
    threads: int = 2,
    stop: Stop | None = None,
    part: Part | None = None,
) -> Index:
    """Sample all epochs into ``samples-00000.bin``; continue where a killed run stopped.

    Args:
        folder: The plan.
        sampler: Draws the batches.
        request: Which.
        ledger: Account of memory.
        disk: Bytes that may be written; None: what there is.
        identity: Names the samples.
        graph: The graph's files, where it is read in their order; None: its map.
        threads: Threads that sample.
        stop: Ends work in the background.
        part: Sample a part only, into a file of its own.

    Returns:
        One index entry per batch, epoch after epoch; ``rows`` and ``items`` count nodes and
        edges.

    Raises:
        BudgetError: a batch, or the file, is larger than what was declared.
        OutOfDiskError: the device is full; what was sampled stays for the next run.

    Cost:
        One sampling pass; holds two batches and their records at a time.
    """
    per_epoch = len(request.batches(0))
    whole = Part(SAMPLES, range(request.total))
    stem, mine = part or whole
    index = np.zeros(len(mine), dtype=INDEX)
    path, journal = folder / f"{stem}.bin", folder / JOURNAL
    if part is not None:
        journal = folder / f"{stem}.idx"
    done = resume(journal, path, index, identity)
    num_nodes, num_edges = sampler.graph.num_nodes, sampler.graph.num_edges
    place = int(index["offset"][done - 1] + index["length"][done - 1]) if done else 0
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    saved = (done, place)
    threads = threads if ledger.free > 4 * scratch_bytes(num_nodes, threads) else 1
    node_maps = scratch_bytes(num_nodes, threads)
    numbers = mine[done:]
    samples = Samples(sampler, request, numbers, ledger, graph, threads)
    try:
        with (
            ledger.hold("node maps of the sampler", node_maps),
            track(
                "sample", len(index), "batches", done=done, quiet=stop is not None
            ) as progress,
        ):
            for at, (number, sample, positions) in enumerate(samples, start=done):
                if stop is not None:
                    stop.check()
                size = (threads + 1) * sample_bytes(sample)
                remedy = "choose a smaller batch_size or fewer neighbours"
                with ledger.hold("sampled batches", size, remedy):
                    epoch, batch = request.locate(number, per_epoch)
                    record = layout.encode_sample(
                        sample,
                        positions,
                        epoch=epoch,
                        batch=batch,
                        num_nodes=num_nodes,
                        num_edges=num_edges,
                    )
                    place = -(-place // ALIGN) * ALIGN
                    _check_disk(disk, place + len(record), at + 1, len(index))
                    _write(descriptor, path, record, place)
                    index[at] = (
                        place,
                        len(record),
                        layout.crc(record),
                        0,
                        len(sample.n_id),
                        len(sample.row),
                    )
                    place += len(record)
                progress.advance()
                far = place - saved[1] >= CHECKPOINT_BYTES
                due = far or at + 1 - saved[0] >= CHECKPOINT_BATCHES
                if due and stop is None:
                    saved = (at + 1, place)
                    checkpoint(descriptor, journal, index[: at + 1], identity)
        # Direct reads want whole blocks.
        os.ftruncate(descriptor, -(-place // ALIGN) * ALIGN)
        if stop is None:
            checkpoint(descriptor, journal, index, identity)
    finally:
        samples.close()
        os.close(descriptor)
    return index


def read_samples(
    folder: Path,
    index: Index,
    ledger: Ledger,
    numbers: Iterable[int] | None = None,
) -> Iterator[tuple[int, Record]]:
    """Read the records of batches, all in order or by number; views last for one step.

    Raises:
        StoreError: a record does not match its checksum.
    """
    file = DirectFile(folder / f"{SAMPLES}.bin")
    room = max((span(int(e["offset"]), int(e["length"])) for e in index), default=0)
    try:
        with ledger.hold("a batch record", room):
            buffer = allocate(room)
            for number in range(len(index)) if numbers is None else numbers:
                entry = index[number]
                record = file.read(int(entry["offset"]), int(entry["length"]), buffer)
                check_record(file.path, number, entry, layout.crc(record))
                yield number, layout.decode_sample(record)
    finally:
        file.close()


def check_record(path: Path, batch: int, entry: np.void, found: int) -> None:
    """Require the checksum of a batch's region.

    Raises:
        StoreError: naming file, offset and batch.
    """
    if found != int(entry["crc"]):
        raise StoreError(
            path,
            int(entry["offset"]),
            f"CRC32C {int(entry['crc']):08x} of batch {batch}",
            f"{found:08x}",
            layout.REMEDY,
        )


def _check_disk(disk: int | None, size: int, done: int, total: int) -> None:
    if disk is not None and size > disk:
        raise SamplesTooLargeError(int(size * total / done), disk)


def _write(
    descriptor: int, path: Path, data: npt.NDArray[np.uint8], place: int
) -> None:
    done = 0
    try:
        while done < len(data):
            done += os.pwrite(descriptor, data[done:].data, place + done)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OutOfDiskError(
            path,
            place + done,
            f"room for {len(data)} bytes",
            f"a full device ({error.strerror})",
            "free some and call plan again: it continues here",
        ) from error


def checkpoint(descriptor: int, journal: Path, done: Index, identity: str) -> None:
    """Flush the file of samples, and note what is in it."""
    os.fdatasync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    with files.publish(journal) as file:
        file.write(identity.encode().ljust(64, b" "))
        file.write(done.tobytes())


def resume(journal: Path, path: Path, index: Index, identity: str) -> int:
    """Fill ``index`` from a journal of the same plan; return the batches that are done."""
    if not journal.exists() or not path.exists():
        return 0
    data = journal.read_bytes()
    if data[:64] != identity.encode().ljust(64, b" "):
        return 0
    done = np.frombuffer(data[64:], dtype=INDEX)
    index[: len(done)] = done
    return len(done)
