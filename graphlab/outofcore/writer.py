"""Writing a file past the page cache: aligned buffers, several writes in flight."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from graphlab.errors import OutOfDiskError
from graphlab.outofcore import layout
from graphlab.outofcore.reader import ALIGN, Bytes, align_up, allocate

# Writes in flight at most: a disk that reads at the same time serves few of them slowly.
MOST = 8
# Blocks of a region are allocated in so many steps, of so many bytes at least. Writes into
# holes exclude each other (ext4 locks the file); but a step waits for writes in flight.
STEPS, LEAST_STEP = 4, 2**18


class Writer:
    """Writes whole blocks at any place; where O_DIRECT is refused, through the page cache.

    Args:
        path: The file; made, with all its blocks allocated.
        size: Its bytes.
        stage: Bytes of a buffer.
        count: Buffers; one is filled while the others are written.
        whole: Allocate all blocks now; else as they are written.

    Raises:
        OutOfDiskError: the disk cannot hold it.
    """

    def __init__(
        self, path: Path, size: int, stage: int, count: int, *, whole: bool = True
    ) -> None:
        self.path, self.stage = path, align_up(stage)
        self._file = layout.preallocate(path, size if whole else 0)
        os.ftruncate(self._file, size)
        self._free = deque(allocate(self.stage) for _ in range(count))
        self._flying: deque[tuple[Bytes, Future[None]]] = deque()
        self._direct = -1
        try:
            self._direct = os.open(path, os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                os.close(self._file)
                raise
        self._threads = ThreadPoolExecutor(
            max(count - 1, 1), thread_name_prefix="graphlab-write"
        )

    def allocate(self, place: int, length: int) -> None:
        """Have blocks for bytes to come: writes that find none exclude each other.

        Raises:
            OutOfDiskError: the device is full.
        """
        try:
            os.posix_fallocate(self._file, place, length)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                need, found = f"room for {length} bytes", "a full device"
                raise OutOfDiskError(
                    self.path, place, need, found, "free some"
                ) from error
            # A file system without it allocates as it writes.

    def clear(self) -> None:
        """Give all blocks back, after all writes."""
        self.finish()
        size = os.fstat(self._file).st_size
        os.ftruncate(self._file, 0)
        os.ftruncate(self._file, size)

    def take(self) -> Bytes:
        """A buffer to fill and :meth:`put`; waits until one is free."""
        if not self._free:
            buffer, future = self._flying.popleft()
            self._free.append(buffer)
            future.result()
        return self._free.popleft()

    def put(self, buffer: Bytes, place: int, length: int) -> None:
        """Write the first ``length`` bytes, whole blocks, of a buffer that was taken."""
        if length:
            future = self._threads.submit(self._write, buffer[:length], place)
            self._flying.append((buffer, future))
        else:
            self._free.append(buffer)

    def _write(self, data: Bytes, place: int) -> None:
        done = 0
        while done < len(data):
            try:
                descriptor = self._file if self._direct < 0 else self._direct
                done += os.pwrite(descriptor, data[done:].data, place + done)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    need, found = f"room for {len(data)} bytes", "a full device"
                    raise OutOfDiskError(
                        self.path, place + done, need, found, "free some"
                    ) from error
                refused = error.errno in (errno.EINVAL, errno.EOPNOTSUPP)
                if self._direct < 0 or not refused:
                    raise
                done += os.pwrite(self._file, data[done:].data, place + done)

    def finish(self) -> None:
        """Wait for all writes.

        Raises:
            OutOfDiskError: the device is full.
            OSError: one has failed.
        """
        while self._flying:
            buffer, future = self._flying.popleft()
            self._free.append(buffer)
            future.result()

    def close(self) -> None:
        """End the threads and close the file; harmless when repeated."""
        if self._file < 0:
            return
        self._threads.shutdown(wait=True)
        if self._direct < 0:
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)
        else:
            os.close(self._direct)
        os.close(self._file)
        self._file = self._direct = -1


class Regions:
    """Regions of a file, each of which grows from its front to its end, in rows.

    What does not fill a block yet waits in memory.

    Args:
        writer: Of the file.
        starts: First byte of each region, at a whole block.
        lengths: Bytes of each, where blocks are allocated as regions grow; None: they are.
        take: Called with bytes before they are allocated; may wait.
    """

    def __init__(
        self,
        writer: Writer,
        starts: list[int],
        lengths: list[int] | None = None,
        take: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._writer, self._starts, self._take = writer, starts, take
        self._whole = None if lengths is None else [align_up(n) for n in lengths]
        self._allocated = [0] * len(starts)
        self._tails = allocate(ALIGN * len(starts)).reshape(-1)[: ALIGN * len(starts)]
        self.written = [0] * len(starts)
        self.crc = [0] * len(starts)

    @staticmethod
    def bytes(regions: int) -> int:
        """Bytes of the blocks that wait."""
        return ALIGN * max(regions, 1)

    def room(self, region: int) -> tuple[Bytes, int]:
        """A buffer, and where in it the next bytes of the region belong."""
        buffer, held = self._writer.take(), self.written[region] % ALIGN
        tail = self._tails[region * ALIGN :]
        buffer[:held] = tail[:held]
        return buffer, held

    def grow(self, region: int, buffer: Bytes, size: int) -> None:
        """Take over ``size`` bytes that were put into the buffer of :meth:`room`."""
        held = self.written[region] % ALIGN
        place = self._starts[region] + self.written[region] - held
        self.crc[region] = layout.crc(buffer[held : held + size], self.crc[region])
        self.written[region] += size
        whole = (held + size) // ALIGN * ALIGN
        rest = held + size - whole
        self._tails[region * ALIGN : region * ALIGN + rest] = buffer[
            whole : whole + rest
        ]
        self._allocate(region, place - self._starts[region] + whole)
        self._writer.put(buffer, place, whole)

    def finish(self) -> None:
        """Write what waits, and wait for all writes."""
        for region, written in enumerate(self.written):
            held = written % ALIGN
            if held:
                buffer = self._writer.take()
                buffer[:held] = self._tails[region * ALIGN :][:held]
                buffer[held:ALIGN] = 0
                place = self._starts[region] + written - held
                self._allocate(region, place - self._starts[region] + ALIGN)
                self._writer.put(buffer, place, ALIGN)
        self._writer.finish()

    def _allocate(self, region: int, until: int) -> None:
        """Have blocks for the first bytes of a region, and for some more."""
        done = self._allocated[region]
        if self._whole is None or until <= done:
            return
        whole = self._whole[region]
        step = align_up(max(whole // STEPS, LEAST_STEP))
        size = max(until, min(done + step, whole)) - done
        self._take(size)
        self._writer.allocate(self._starts[region] + done, size)
        self._allocated[region] = done + size
