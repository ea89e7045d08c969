"""Reads in flight through io_uring, by raw system calls; Linux, where it is allowed."""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

import torch
from torch import Tensor

from graphlab import check
from graphlab.ops.registry import declare

_TWIN = "graphlab.ops.twins.uring"
# No fake kernels: the disk engine is never traced.
declare(
    "uring_open(Tensor buffer, int depth, int segment) -> int",
    twin=f"{_TWIN}:uring_open",
    namespace="graphlab_io",
)
declare(
    "uring_ask(Tensor(a!) buffer, int handle, Tensor requests) -> int",
    twin=f"{_TWIN}:uring_ask",
    namespace="graphlab_io",
)
declare(
    "uring_next(Tensor(a!) buffer, int handle, Tensor(b!) found) -> int",
    twin=f"{_TWIN}:uring_next",
    namespace="graphlab_io",
)
declare(
    "uring_release(Tensor(a!) buffer, int handle) -> int",
    twin=f"{_TWIN}:uring_release",
    namespace="graphlab_io",
)
declare(
    "uring_drain(Tensor(a!) buffer, int handle) -> ()",
    twin=f"{_TWIN}:uring_drain",
    namespace="graphlab_io",
)
declare(
    "assemble_reads(Tensor(a!) buffer, int handle, int pieces, Tensor dst, str decode, "
    "Tensor(b!) out, Tensor? keep, Tensor(c!)? slots, int crc, Tensor(d!) found) -> int",
    twin=f"{_TWIN}:assemble_reads",
    namespace="graphlab_io",
)
declare(
    "uring_rows(Tensor(a!) buffer, int handle, int file, Tensor requests, Tensor begin, "
    "Tensor dst, Tensor? scale, str decode, Tensor(b!) out, Tensor? keep, "
    "Tensor(c!)? slots, Tensor(d!) failed) -> int",
    twin=f"{_TWIN}:uring_rows",
    namespace="graphlab_io",
)
declare(
    "uring_close(Tensor buffer, int handle) -> ()",
    twin=f"{_TWIN}:uring_close",
    namespace="graphlab_io",
)


class Assembled(NamedTuple):
    """What :meth:`Uring.assemble` did.

    Attributes:
        pieces, rows: Handed over and put in their places.
        moved: Bytes read for them.
        crc: Their checksum, behind what was given.
    """

    pieces: int
    rows: int
    moved: int
    crc: int


class Uring:
    """A queue of reads into one buffer, cut into segments: a piece of a file to each.

    Pieces are asked for in any number. As many as there are segments are in flight, and
    they are handed over in the order in which they were asked for.

    Args:
        buffer: [n], uint8, aligned for the files that are read; alive as long as this.
        depth: Reads in flight at most.
        segment: Bytes of a segment; None: the buffer is one.

    Raises:
        OSError: the system has no io_uring, or forbids it: read with threads.

    Cost:
        One system call a read, and one a wait that finds nothing done; no thread.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryFile() as file:
        ...     _ = file.write(b"abc"), file.flush()
        ...     ring = open_uring(torch.zeros(8, dtype=torch.uint8), 1)
        ...     if ring is None:
        ...         print((0, 3))
        ...     else:
        ...         ring.ask(torch.tensor([[file.fileno(), 0, 8, 0, 3]]))
        ...         print(ring.next())
        ...         ring.drain()
        ...         ring.close()
        (0, 3)
    """

    def __init__(self, buffer: Tensor, depth: int, segment: int | None = None) -> None:
        name = "Uring"
        check.tensor(name, "buffer", buffer, dtypes=(torch.uint8,), ndim=1)
        check.positive(name, "depth", depth)
        segment = len(buffer) if segment is None else segment
        check.positive(name, "segment", segment)
        self._buffer = buffer
        self._found = torch.empty(4, dtype=torch.int64)
        self._handle = torch.ops.graphlab_io.uring_open(buffer, depth, segment)
        if self._handle < 0:
            code, self._handle = -self._handle, 0
            raise OSError(code, os.strerror(code))

    def ask(self, requests: Tensor) -> None:
        """Ask for pieces.

        Args:
            requests: [r, 5], int64: descriptor, offset, bytes to read from there on, the
                first of them that is wanted, and how many are; offset and bytes as aligned
                as the file wants them.

        Raises:
            OSError: the system refuses to queue reads.
            RuntimeError: a piece that does not fit a segment.
        """
        self._raise(
            torch.ops.graphlab_io.uring_ask(self._buffer, self._handle, requests)
        )

    def next(self) -> tuple[int, int] | None:
        """Segment of the next piece, and bytes read or a negative error; waits for it.

        The piece stays there until :meth:`release`. None where nothing was asked for.
        """
        found = self._found[:2]
        self._raise(torch.ops.graphlab_io.uring_next(self._buffer, self._handle, found))
        place, got = found.tolist()
        return None if place < 0 else (place, got)

    def release(self) -> None:
        """Give the segment of the piece that :meth:`next` told to another read."""
        self._raise(torch.ops.graphlab_io.uring_release(self._buffer, self._handle))

    def assemble(
        self,
        pieces: int,
        dst: Tensor,
        out: Tensor,
        *,
        decode: str = "copy",
        keep: Tensor | None = None,
        slots: Tensor | None = None,
        crc: int | None = None,
    ) -> Assembled:
        """Put the rows of the next pieces in their places, as they arrive.

        Stops before a piece that ended short, or failed: :meth:`next` tells of it.

        Args:
            pieces: How many, at most; whole rows stand in each.
            dst, out, decode, keep, slots: As in :func:`graphlab.ops.io.assemble_rows`, for
                the rows of all pieces.
            crc: Checksum to go on from; None: none is computed.

        Raises:
            OSError: the system refuses to queue reads.
            RuntimeError: a place that does not exist.
        """
        failed = torch.ops.graphlab_io.assemble_reads(
            self._buffer,
            self._handle,
            pieces,
            dst,
            decode,
            out,
            keep,
            slots,
            -1 if crc is None else crc,
            self._found,
        )
        self._raise(failed)
        return Assembled(*self._found.tolist())

    def drain(self) -> None:
        """Forget what was asked for; nothing is in flight afterwards."""
        if self._handle:
            torch.ops.graphlab_io.uring_drain(self._buffer, self._handle)

    @staticmethod
    def _raise(failed: int) -> None:
        if failed:
            raise OSError(-failed, os.strerror(-failed))

    def rows(
        self,
        file: int,
        requests: Tensor,
        begin: Tensor,
        dst: Tensor,
        out: Tensor,
        *,
        decode: str = "copy",
        scale: Tensor | None = None,
        keep: Tensor | None = None,
        slots: Tensor | None = None,
    ) -> tuple[int, Tensor]:
        """Read rows that lie apart, and put each where it belongs as soon as it arrives.

        Args:
            file: The descriptor.
            requests: [r, 3], int64: offset and length of each read, and the first of its
                rows; as aligned as the file wants them.
            begin: [n], int64: where each row begins in the file.
            dst: [n], int32: its row of ``out``; -1: nowhere.
            out: [rows, width], written.
            decode: As in :func:`graphlab.ops.io.assemble_hits`.
            scale: [n], float32, of int8 rows whose scales are not in the file.
            keep: [n], int32: the slot that takes each row as packs hold it; -1: none.
            slots: [slots, row bytes], uint8, written.

        Returns:
            Bytes read; and for each request whether it ended short or failed: its rows are
            to be read again.

        Raises:
            OSError: the system refuses to queue reads.
            RuntimeError: a row, or a place, that does not exist.
        """
        failed = torch.zeros(len(requests), dtype=torch.bool)
        moved = torch.ops.graphlab_io.uring_rows(
            self._buffer,
            self._handle,
            file,
            requests,
            begin,
            dst,
            scale,
            decode,
            out,
            keep,
            slots,
            failed,
        )
        if moved < 0:
            raise OSError(-moved, os.strerror(-moved))
        return moved, failed

    def close(self) -> None:
        """Give the queue back; nothing may be in flight. Harmless when repeated."""
        if self._handle:
            torch.ops.graphlab_io.uring_close(self._buffer, self._handle)
            self._handle = 0


def open_uring(buffer: Tensor, depth: int, segment: int | None = None) -> Uring | None:
    """A queue of reads, or None where the system has none to give."""
    try:
        return Uring(buffer, depth, segment)
    except OSError as error:
        expected = (errno.ENOSYS, errno.EPERM, errno.EACCES, errno.ENOMEM, errno.EINVAL)
        if error.errno not in expected:
            raise
        return None
