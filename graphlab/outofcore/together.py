"""A plan made by several processes: each samples a part of the batches and packs a part.

They meet in the plan's folder and nowhere else. Rank 0 decides and publishes; what the others
need is posted in small files, ``journal-<what>-<rank>.npy``, each under the name of the plan,
so that a process that was killed finds what it had done, and what the others wait for.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from graphlab import files
from graphlab.errors import GraphlabError
from graphlab.outofcore import trace
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.job import Job
from graphlab.outofcore.layout import INDEX, Index
from graphlab.outofcore.pack import CHUNK_BYTES, Packed, Share
from graphlab.outofcore.reader import align_up
from graphlab.outofcore.schedule import Programmes
from graphlab.outofcore.trace import Part
from graphlab.progress import say

_POLL_SECONDS = 0.02
_SLOWEST_POLL = 0.5
_TELL_SECONDS = 10.0
_COPY_BYTES = 2**22
_NAME_BYTES = 64


class PeerFailedError(GraphlabError, RuntimeError):
    """Another rank could not do its part of a plan."""


class Board:
    """What the ranks of a plan tell each other.

    Args:
        folder: The plan.
        identity: Its name; what was posted under another is not there.
        rank, world_size: This process, and how many there are.
    """

    def __init__(self, folder: Path, identity: str, rank: int, world_size: int) -> None:
        self.folder, self.identity = folder, identity
        self.rank, self.world_size = rank, world_size
        self._path("failed", rank).unlink(missing_ok=True)
        # Of runs before this one.
        self._old = {r: self.read("failed", r) for r in range(world_size)}

    def post(self, what: str, data: bytes = b"") -> None:
        """Tell something to all."""
        with files.publish(self._path(what, self.rank)) as file:
            file.write(self.identity.encode().ljust(_NAME_BYTES) + data)

    def read(self, what: str, rank: int) -> bytes | None:
        """What a rank has told, or None."""
        try:
            data = self._path(what, rank).read_bytes()
        except FileNotFoundError:
            return None
        named = data[:_NAME_BYTES] == self.identity.encode().ljust(_NAME_BYTES)
        return data[_NAME_BYTES:] if named else None

    def fail(self, error: BaseException) -> None:
        """Tell that this rank gives up."""
        if not isinstance(error, PeerFailedError):
            token = uuid.uuid4().hex
            self.post("failed", f"{token}{error or type(error).__name__}".encode())

    def check(self) -> None:
        """Give up where another rank did.

        Raises:
            PeerFailedError: with what it said.
        """
        for rank in range(self.world_size):
            told = self.read("failed", rank)
            if rank != self.rank and told is not None and told != self._old[rank]:
                said = told[32:].decode()
                raise PeerFailedError(f"plan: rank {rank} failed: {said}")

    def wait(self, what: str) -> list[bytes]:
        """What each rank tells, once all have."""
        return [self._wait_for(what, rank) for rank in range(self.world_size)]

    def _wait_for(self, what: str, rank: int) -> bytes:
        def told() -> bytes | None:
            return self.read(what, rank)

        return self.until(told, f"rank {rank} to have {what}")

    def until(self, ready: Callable[[], Any], what: str) -> Any:
        """Wait for something that is not None; say so where it takes long."""
        start, pause, said = time.monotonic(), _POLL_SECONDS, False
        while True:
            found = ready()
            if found is not None:
                return found
            self.check()
            if not said and time.monotonic() - start > _TELL_SECONDS:
                said = True
                say(f"plan: rank {self.rank} waits for {what}")
            time.sleep(pause)
            pause = min(1.5 * pause, _SLOWEST_POLL)

    def _path(self, what: str, rank: int) -> Path:
        return self.folder / f"journal-{what}-{rank}.npy"


def board_of(job: Job) -> Board | None:
    """The board of a plan that ranks make together; None where one process does."""
    if job.rank is None or job.world_size == 1:
        return None
    job.path.mkdir(parents=True, exist_ok=True)
    identity = job.identity(job.arguments)
    return Board(job.path, identity, job.rank, job.world_size)


def sample(job: Job, board: Board, ledger: Ledger) -> Index:
    """Sample this rank's part, and put it where it belongs among the others'.

    Returns:
        The index of all batches on rank 0; on others it may be empty.
    """
    identity, total = job.identity(job.sampling), job.request.total
    index: Index = np.zeros(total, dtype=INDEX)
    path, journal = job.path / f"{trace.SAMPLES}.bin", job.path / trace.JOURNAL
    if trace.resume(journal, path, index, identity) == total:
        return index
    rank, size = board.rank, board.world_size
    if board.rank == 0:
        board.post("sample")
    if board.read("placed", rank) is None:
        share = range(total * rank // size, total * (rank + 1) // size)
        part = Part(f"journal-samples-{rank}", share)
        # Parts and the whole lie side by side for a moment.
        disk = None if job.disk is None else job.disk // (2 * size)
        mine = trace.sample_epochs(
            job.path,
            job.sampler,
            job.request,
            ledger,
            disk=disk,
            identity=identity,
            graph=job.graph_files,
            part=part,
        )
        board.post("sampled", mine.tobytes())
        before = _parts(board)[:rank]
        _copy(job.path / f"{part.stem}.bin", path, sum(map(_end, before)))
        board.post("placed")
        for suffix in (".bin", ".idx"):
            (job.path / f"{part.stem}{suffix}").unlink(missing_ok=True)
    if rank:
        return index
    parts = _parts(board)
    board.wait("placed")
    place = 0
    for one in parts:
        end = _end(one)
        one["offset"] += place
        place += end
    index = np.concatenate(parts)
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.ftruncate(descriptor, place)
        trace.checkpoint(descriptor, journal, index, identity)
    finally:
        os.close(descriptor)
    return index


def pack(
    job: Job,
    board: Board,
    ledger: Ledger,
    packs: list[Packed],
    message: bytes,
) -> None:
    """Pack this rank's part of each column; rank 0 waits for all and puts them together.

    Args:
        job: The job.
        board: Of its ranks.
        ledger: Account of memory.
        packs: The columns.
        message: What :func:`work_of` tells of them; posted by rank 0.
    """
    name = hashlib.sha256(board.identity.encode() + message).hexdigest()
    if board.rank == 0:
        board.post("pack", message)
    share = Share(board.rank, board.world_size)
    for packed in packs:
        chunk = min(CHUNK_BYTES, max(2**16, ledger.free // 4))
        with ledger.hold("pieces of the scan", 2 * chunk):
            packed.run(chunk, name, share=share)
    sums = [packed.sums for packed in packs]
    board.post("packed", name.encode() + _dump(*sums))
    if board.rank:
        return
    told = []
    for rank in range(board.world_size):

        def done(rank: int = rank) -> bytes | None:
            data = board.read("packed", rank)
            return data[64:] if data and data[:64] == name.encode() else None

        found: bytes = board.until(done, f"rank {rank} to have packed")
        told.append(_load(found))
    for number, packed in enumerate(packs):
        packed.finish([parts[number] for parts in told])


def work_of(
    programmes: Programmes,
    hot: np.ndarray[Any, np.dtype[np.int64]],
    shared: np.ndarray[Any, np.dtype[np.int64]] | None,
) -> bytes:
    """What ranks need to know to pack."""
    counts = np.array([programmes.misses, -1 if shared is None else len(shared)])
    ids = np.zeros(0, dtype=np.int64) if shared is None else shared
    # Where regions begin follows from the counts of pack rows.
    items = np.ascontiguousarray(programmes.table["items"])
    return _dump(items, programmes.first, counts, hot, ids)


def assist(
    job: Job, board: Board, made: Callable[[], dict[str, Any] | None]
) -> dict[str, Any]:
    """Do the part of a rank that is not the first; return the plan once it is made.

    Args:
        job: The job.
        board: Of its ranks.
        made: The manifest, once it is there.
    """
    ledger = Ledger(job.limit, "plan")
    sampled, packed = False, b""

    def news() -> Any:
        """The manifest, or work that was not done."""
        body = made()
        if body is not None:
            return body
        message = board.read("pack", 0)
        if message is not None and message != packed:
            return message
        if not sampled and message is None and board.read("sample", 0) is not None:
            return b""
        return None

    while True:
        found = board.until(news, "rank 0")
        if isinstance(found, dict):
            return found
        if found == b"":
            with (
                ledger.hold("topology", job.counted_topology),
                ledger.hold("input nodes", 32 * len(job.request.input_nodes)),
            ):
                sample(job, board, ledger)
            sampled = True
        else:
            pack(job, board, ledger, _packs(job, found), found)
            packed = found


def _packs(job: Job, message: bytes) -> list[Packed]:
    """The columns to pack, by what rank 0 has told."""
    from graphlab.outofcore import job as jobs

    items, first, counts, hot, ids = _load(message)
    table = np.zeros(len(items), dtype=INDEX)
    table["items"] = items
    programmes = Programmes(table, first, int(counts[0]), 0)
    shared = None if counts[1] < 0 else ids
    columns = jobs.place(job).rows(job)
    return [Packed(job.path, rows, programmes, hot, shared) for rows in columns]


def _parts(board: Board) -> list[Index]:
    """The index of each rank's part, from its own beginning."""
    return [np.frombuffer(data, dtype=INDEX).copy() for data in board.wait("sampled")]


def _end(part: Index) -> int:
    """Bytes up to the end of the last region of a part."""
    if not len(part):
        return 0
    return int(align_up(int(part["offset"][-1]) + int(part["length"][-1])))


def _copy(source: Path, target: Path, place: int) -> None:
    """Copy a file into another at a place."""
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        with open(source, "rb") as file:
            while data := file.read(_COPY_BYTES):
                done = 0
                while done < len(data):
                    done += os.pwrite(descriptor, data[done:], place + done)
                place += len(data)
        os.fdatasync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _dump(*arrays: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    for array in arrays:
        np.save(buffer, array)
    return buffer.getvalue()


def _load(data: bytes) -> list[np.ndarray[Any, Any]]:
    buffer, found = io.BytesIO(data), []
    while buffer.tell() < len(data):
        found.append(np.load(buffer, allow_pickle=False))
    return found
