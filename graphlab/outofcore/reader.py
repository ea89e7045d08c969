"""Reading files past the page cache: aligned buffers, several requests in flight."""

from __future__ import annotations

import contextlib
import errno
import itertools
import mmap
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphlab.errors import StoreError
from graphlab.ops.uring import Assembled, Uring, open_uring

Bytes = npt.NDArray[np.uint8]

# Offsets, lengths and buffers of direct reads are multiples of this: the largest logical
# block of common devices, and the page that buffered reads fetch.
ALIGN = 4096
# Buffers of which rows are picked at random: huge pages spare look-ups of addresses.
HUGE_BYTES = 2**23
# Reads in flight where rows are read one by one, into pieces of a ring's buffers.
QUEUE = 64


def align_down(value: Any) -> Any:
    """The multiple of ALIGN at or below ``value``, a number or an array."""
    return value // ALIGN * ALIGN


def align_up(value: Any) -> Any:
    """The multiple of ALIGN at or above ``value``, a number or an array."""
    return -(-value // ALIGN) * ALIGN


def span(offset: int, length: int) -> int:
    """Bytes that an aligned read of ``[offset, offset + length)`` moves."""
    return align_up(offset + length) - align_down(offset)


def allocate(size: int) -> Bytes:
    """A zeroed buffer of whole pages, given back to the system when it is dropped."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    region = mmap.mmap(-1, max(align_up(size), ALIGN), flags)
    if size >= HUGE_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            region.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(region, dtype=np.uint8)


class DirectFile:
    """A file read with O_DIRECT; where that is refused, buffered and dropped behind.

    Args:
        path: The file.
        expected: Its length in bytes; a shorter file is a StoreError.

    Attributes:
        direct: Whether reads bypass the page cache.
        device_bytes: Bytes moved so far, alignment included.
    """

    def __init__(self, path: str | Path, expected: int | None = None) -> None:
        self.path = Path(path)
        try:
            self.size = os.stat(self.path).st_size
        except FileNotFoundError:
            raise StoreError(self.path, None, "a file", "none") from None
        if expected is not None and self.size < expected:
            raise StoreError(
                self.path,
                None,
                f"{expected} bytes",
                f"{self.size}: the file is truncated",
            )
        self.device_bytes = 0
        self.direct = True
        try:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
            self._buffered()

    def _buffered(self) -> None:
        self.direct = False
        self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_RANDOM)

    def read(self, offset: int, length: int, buffer: Bytes) -> Bytes:
        """Read ``[offset, offset + length)`` and return it as a view into ``buffer``.

        Args:
            offset: First byte; need not be aligned.
            length: Number of bytes.
            buffer: Page-aligned, at least ``span(offset, length)`` bytes.

        Raises:
            StoreError: the file ends before, or the device fails.
        """
        first = align_down(offset)
        wanted = align_up(offset + length) - first
        needed = offset + length - first
        done = 0
        while done < needed:
            try:
                got = os.preadv(self._fd, [buffer[done:wanted].data], first + done)
            except OSError as error:
                if self.direct and error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
                    os.close(self._fd)
                    self._buffered()
                    continue
                found = f"the device's error {error.strerror!r}"
                raise StoreError(self.path, first + done, "data", found) from error
            self.device_bytes += got
            if got == 0 or (self.direct and got % ALIGN and done + got < needed):
                self._retry_or_fail(first + done, got, offset + length)
            # A direct read resumes at an aligned place.
            done += got if not self.direct or done + got >= needed else align_down(got)
        if not self.direct:
            os.posix_fadvise(self._fd, first, wanted, os.POSIX_FADV_DONTNEED)
        return buffer[offset - first : offset - first + length]

    @property
    def descriptor(self) -> int:
        """The open file."""
        return self._fd

    def count(self, moved: int) -> None:
        """Account for bytes that somebody else has read through the descriptor."""
        self.device_bytes += moved
        if not self.direct:
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def finish(self, offset: int, length: int, buffer: Bytes, got: int) -> Bytes:
        """Take over a read of ``span(offset, length)`` that somebody else has made.

        Args:
            offset, length, buffer: As for :meth:`read`.
            got: Bytes that arrived in the buffer, or a negative error.

        Returns:
            The bytes; what is missing is read here, and errors are told as by :meth:`read`.
        """
        first = align_down(offset)
        if got < offset + length - first:
            return self.read(offset, length, buffer)
        self.device_bytes += got
        if not self.direct:
            os.posix_fadvise(self._fd, first, got, os.POSIX_FADV_DONTNEED)
        return buffer[offset - first : offset - first + length]

    def _retry_or_fail(self, place: int, got: int, end: int) -> None:
        """Tell a short read, which is resumed, from the end of the file."""
        size = os.fstat(self._fd).st_size
        if size < end and (got == 0 or place + got >= size):
            raise StoreError(
                self.path, size, f"bytes up to {end}", "its end: the file is truncated"
            )

    def close(self) -> None:
        """Close the file; harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Request(NamedTuple):
    """A piece of a file to read; ``tag`` comes back with it."""

    file: DirectFile
    offset: int
    length: int
    tag: Any


class Ring:
    """A ring of aligned buffers that keeps several reads in flight, delivered in order.

    One mapped region, allocated once. Reads go through io_uring where the system allows it,
    else a thread per buffer waits in ``preadv`` without the GIL. A read that ends short, or
    fails, is taken up with ``preadv`` in either case.

    Args:
        depth: Buffers, and so reads in flight.
        segment: Bytes of a buffer; the longest aligned span of a request.
        threads: Read with threads in any case.

    Attributes:
        engine: ``io_uring`` or ``threads``.
    """

    def __init__(self, depth: int, segment: int, *, threads: bool = False) -> None:
        self.depth = depth
        self.segment = align_up(segment)
        region = allocate(self.nbytes)
        self._buffers = [
            region[i * self.segment : (i + 1) * self.segment] for i in range(depth)
        ]
        self._queue: Uring | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._stream: Reads | None = None
        if not threads:
            most = max(depth, min(QUEUE, len(region) // (2 * ALIGN)))
            self._queue = open_uring(torch.from_numpy(region), most, self.segment)
        if self._queue is None:
            self._pool = ThreadPoolExecutor(depth, thread_name_prefix="graphlab-read")
        self.engine = "threads" if self._queue is None else "io_uring"

    @property
    def queue(self) -> Uring | None:
        """The queue of reads into all buffers as one; None where threads read.

        Ends a stream: the buffers are the caller's.
        """
        if self._stream is not None:
            self._stream.close()
        return self._queue

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers."""
        return self.depth * self.segment

    def stream(self, requests: Iterable[Request]) -> Reads:
        """Read ahead through ``requests``; yield each with its bytes, in order.

        The bytes are valid until the next one is asked for. One stream at a time: another
        one ends it.
        """
        if self._stream is not None:
            self._stream.close()
        source = iter(requests)
        if self._queue is not None:
            self._stream = _Queued(source, self._queue, self._buffers)
        else:
            assert self._pool is not None
            self._stream = _Threaded(source, self._pool, self._buffers)
        return self._stream

    def close(self) -> None:
        """End what reads; harmless when repeated."""
        if self._stream is not None:
            self._stream.close()
        if self._queue is not None:
            self._queue.close()
        if self._pool is not None:
            self._pool.shutdown(wait=True)


class Reads(Iterator[tuple[Request, Bytes]]):
    """Pieces of files, in order, read ahead; made by :meth:`Ring.stream`."""

    def assemble(
        self,
        pieces: int,
        dst: Tensor,
        out: Tensor,
        *,
        decode: str,
        keep: Tensor | None,
        slots: Tensor | None,
        crc: int | None,
    ) -> Assembled:
        """Put the rows of the next pieces, all of one file, in their places.

        Fewer than asked for, or none, where they are better asked for one by one: iterate.
        Arguments and result are those of :meth:`graphlab.ops.uring.Uring.assemble`.
        """
        return Assembled(0, 0, 0, crc or 0)

    def close(self) -> None:
        """Stop reading: no read may land in a buffer that another stream uses."""


class _Queued(Reads):
    """By a queue, without a thread."""

    def __init__(
        self, source: Iterator[Request], queue: Uring, buffers: list[Bytes]
    ) -> None:
        self._source, self._queue, self._buffers = source, queue, buffers
        self._asked: deque[Request] = deque()
        self._held = self._closed = False

    def _ask(self, least: int) -> None:
        """Have ``least`` pieces asked for, if there are as many; and some more at once."""
        count = least + 2 * len(self._buffers) - len(self._asked)
        few = len(self._asked) < least
        fresh = list(itertools.islice(self._source, count if few else 0))
        if fresh:
            table = [
                (
                    request.file.descriptor,
                    align_down(request.offset),
                    span(request.offset, request.length),
                    request.offset % ALIGN,
                    request.length,
                )
                for request in fresh
            ]
            self._asked.extend(fresh)
            self._queue.ask(torch.tensor(table))

    def _let_go(self) -> None:
        if self._held:
            self._held = False
            self._queue.release()

    def __next__(self) -> tuple[Request, Bytes]:
        if self._closed:
            raise StopIteration
        try:
            self._let_go()
            self._ask(2 * len(self._buffers))
            found = self._queue.next()
            if found is None:
                self.close()
                raise StopIteration
            (file, offset, length, _), (place, got) = self._asked[0], found
            data = file.finish(offset, length, self._buffers[place], got)
        except (OSError, StoreError):
            self.close()
            raise
        self._held = True
        return self._asked.popleft(), data

    def assemble(
        self,
        pieces: int,
        dst: Tensor,
        out: Tensor,
        *,
        decode: str,
        keep: Tensor | None,
        slots: Tensor | None,
        crc: int | None,
    ) -> Assembled:
        if self._closed:
            return super().assemble(
                pieces, dst, out, decode=decode, keep=keep, slots=slots, crc=crc
            )
        self._let_go()
        self._ask(pieces + 2 * len(self._buffers))
        found = self._queue.assemble(
            pieces, dst, out, decode=decode, keep=keep, slots=slots, crc=crc
        )
        if found.pieces:
            self._asked[0].file.count(found.moved)
        for _ in range(found.pieces):
            self._asked.popleft()
        return found

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._asked.clear()
            self._queue.drain()


class _Threaded(Reads):
    """By a thread for each buffer."""

    def __init__(
        self, source: Iterator[Request], pool: ThreadPoolExecutor, buffers: list[Bytes]
    ) -> None:
        self._source, self._pool = source, pool
        self._free = deque(buffers)
        self._held: Bytes | None = None
        self._pending: deque[tuple[Request, Bytes, Future[Bytes]]] = deque()

    def __next__(self) -> tuple[Request, Bytes]:
        if self._held is not None:
            self._free.append(self._held)
            self._held = None
        for request in itertools.islice(self._source, len(self._free)):
            buffer, (file, offset, length, _) = self._free.popleft(), request
            future = self._pool.submit(file.read, offset, length, buffer)
            self._pending.append((request, buffer, future))
        if not self._pending:
            raise StopIteration
        request, self._held, future = self._pending.popleft()
        try:
            return request, future.result()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._source = iter(())
        for _, buffer, future in self._pending:
            if not future.cancel():
                future.exception()
            self._free.append(buffer)
        self._pending.clear()


def cut(
    file: DirectFile, offset: int, length: int, segment: int, tag: Any = None
) -> Iterator[Request]:
    """Cut a span of a file into requests that each fit a ring's buffer.

    The tag of each request is ``(tag, position in the span)``.
    """
    position = 0
    while position < length:
        room = segment - (offset + position) % ALIGN
        size = min(length - position, room)
        yield Request(file, offset + position, size, (tag, position))
        position += size
