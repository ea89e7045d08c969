"""Offline sampling: the batches of some epochs, written as one file of records.

The samples are those that the in-memory loader would draw, batch for batch, because the
sampler is the same and its randomness is a function of (seed, epoch, batch). They do not
depend on any budget, so plans for other budgets can share them.
"""

from __future__ import annotations

import errno
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from graphlab import files, sizes
from graphlab.errors import BudgetError, OutOfDiskError, StoreError
from graphlab.ops import NeighborSample
from graphlab.outofcore import layout
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.layout import INDEX, Index, Record
from graphlab.outofcore.reader import ALIGN, DirectFile, allocate, span
from graphlab.outofcore.topology import (
    READING_SHARE,
    DiskSampler,
    GraphFiles,
    sample_bytes,
)
from graphlab.progress import track
from graphlab.sample.ahead import Ahead
from graphlab.sample.link_seeds import LinkSeeds
from graphlab.sample.order import seed_batches
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


class Part(NamedTuple):
    """What one process samples of a plan that several make.

    Attributes:
        stem: Of its file and journal.
        numbers: Numbers of its recorded batches.
    """

    stem: str
    numbers: range


class Request(NamedTuple):
    """What to sample.

    Attributes:
        input_nodes: [inputs], int64 node ids.
        batch_size: Seeds of a batch.
        epochs: Epochs to sample.
        seed: Seed of the run.
        shuffle, drop_last: As in the in-memory loader.
        links: Pairs whose ends are the seeds; ``input_nodes`` are then their positions.
        only: An epoch and the numbers of its batches, where not whole epochs are wanted.
    """

    input_nodes: Tensor
    batch_size: int
    epochs: int
    seed: int
    shuffle: bool
    drop_last: bool
    only: tuple[int, Sequence[int]] | None = None
    links: LinkSeeds | None = None

    @property
    def most_seeds(self) -> int:
        """Seeds of a batch at most."""
        count = min(self.batch_size, len(self.input_nodes))
        if self.links is None:
            return count
        return 2 * (count + math.ceil(count * self.links.neg_sampling_ratio))

    def sample(
        self, sampler: Any, epoch: int, number: int, positions: Tensor
    ) -> NeighborSample:
        """Batch ``number`` of an epoch, whose inputs are ``positions``.

        Args:
            sampler: A :class:`NeighborSampler`, or what stands for it.
            epoch, number, positions: See there.
        """
        if self.links is None:
            seeds = self.input_nodes[positions]
            return sampler.sample(seeds, epoch=epoch, batch=number)
        drawn = self.links.draw(sampler, epoch, number, positions)
        return self.links.sample(sampler, epoch, number, drawn)

    @property
    def total(self) -> int:
        """Batches that are recorded."""
        if self.only is not None:
            return len(self.only[1])
        return self.epochs * len(self.batches(0))

    def locate(self, number: int, per_epoch: int) -> tuple[int, int]:
        """Epoch, and number in it, of recorded batch ``number``."""
        if self.only is not None:
            return self.only[0], self.only[1][number]
        return divmod(number, per_epoch)

    def batches(self, epoch: int) -> list[Tensor]:
        """Positions in ``input_nodes`` of each batch of an epoch."""
        return seed_batches(
            len(self.input_nodes),
            self.batch_size,
            seed=self.seed,
            epoch=epoch,
            shuffle=self.shuffle,
            drop_last=self.drop_last,
        )


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


class Samples(Iterator[tuple[int, NeighborSample, Tensor]]):
    """Recorded batches: number, sample, positions in ``input_nodes``.

    Args:
        sampler: Draws them.
        request: What is recorded.
        numbers: Numbers of recorded batches.
        ledger: Account of memory.
        graph: The graph's files, where it is read in their order; None: its map.
        threads: Threads that sample.
    """

    def __init__(
        self,
        sampler: NeighborSampler,
        request: Request,
        numbers: Sequence[int],
        ledger: Ledger,
        graph: GraphFiles | None,
        threads: int,
    ) -> None:
        self._sampler, self._request = sampler, request
        self._per_epoch = len(request.batches(0))
        self._order = _latest(request.batches)
        self._numbers = iter(numbers)
        self._disk: DiskSampler | None = None
        self._samples: Any
        if graph is not None and ledger.free > READING_SHARE * graph.least_bytes:
            self._disk = DiskSampler(graph, sampler, ledger, threads)
            self._samples = self._disk.run(
                self._draw, numbers, request.most_seeds, self._per_epoch
            )
        else:
            self._samples = Ahead(
                lambda number: self._draw(sampler, number),
                numbers,
                prefetch=threads,
                num_threads=threads,
            )

    def __next__(self) -> tuple[int, NeighborSample, Tensor]:
        sample = next(self._samples)
        number = next(self._numbers)
        return number, sample, self._positions(number)

    @property
    def groups(self) -> int:
        """Groups in which the graph's files were read; 0 where they are mapped."""
        return 0 if self._disk is None else self._disk.groups

    @property
    def device_bytes(self) -> int:
        """Bytes read of the graph's files; 0 where they are mapped."""
        return 0 if self._disk is None else self._disk.device_bytes

    def close(self) -> None:
        """End what samples ahead."""
        self._samples.close()
        if self._disk is not None:
            self._disk.close()

    def _draw(self, sampler: Any, number: int) -> NeighborSample:
        epoch, batch = self._request.locate(number, self._per_epoch)
        return self._request.sample(sampler, epoch, batch, self._positions(number))

    def _positions(self, number: int) -> Tensor:
        epoch, batch = self._request.locate(number, self._per_epoch)
        return self._order(epoch)[batch]


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


def _latest(
    batches: Callable[[int], list[Tensor]],
) -> Callable[[int], list[Tensor]]:
    """Remember the last two epochs' orders: threads meet at most two."""
    known: dict[int, list[Tensor]] = {}

    def order(epoch: int) -> list[Tensor]:
        found = known.get(epoch)
        if found is None:
            found = known[epoch] = batches(epoch)
            known.pop(epoch - 2, None)
        return found

    return order


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
