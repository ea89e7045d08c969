"""Reads in flight through io_uring, by raw system calls; Linux, where it is allowed."""

from __future__ import annotations

import errno
import os

import torch
from torch import Tensor

from graphlab import check
from graphlab.ops.registry import declare

_TWIN = "graphlab.ops.twins.uring"
# No fake kernels: the disk engine is never traced.
declare(
    "uring_open(Tensor buffer, int depth) -> int",
    twin=f"{_TWIN}:uring_open",
    namespace="graphlab_io",
)
declare(
    "uring_read(Tensor(a!) buffer, int handle, int file, int offset, int begin, "
    "int length, int tag) -> int",
    twin=f"{_TWIN}:uring_read",
    namespace="graphlab_io",
)
declare(
    "uring_wait(Tensor(a!) done, int handle) -> int",
    twin=f"{_TWIN}:uring_wait",
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


class Uring:
    """A queue of reads into one buffer; completions come in any order.

    Args:
        buffer: [n], uint8, aligned for the files that are read; alive as long as this.
        depth: Reads in flight at most.

    Raises:
        OSError: the system has no io_uring, or forbids it: read with threads.

    Cost:
        One system call a read, and one a wait that finds nothing done; no thread.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryFile() as file:
        ...     _ = file.write(b"abc"), file.flush()
        ...     buffer = torch.zeros(8, dtype=torch.uint8)
        ...     ring = open_uring(buffer, 1)
        ...     if ring is None:
        ...         print([(7, 3)])
        ...     else:
        ...         ring.read(file.fileno(), 0, 0, 8, tag=7)
        ...         print(ring.wait())
        ...         ring.close()
        [(7, 3)]
    """

    def __init__(self, buffer: Tensor, depth: int) -> None:
        name = "Uring"
        check.tensor(name, "buffer", buffer, dtypes=(torch.uint8,), ndim=1)
        check.positive(name, "depth", depth)
        self._buffer = buffer
        self._done = torch.empty((depth, 2), dtype=torch.int64)
        self._handle = torch.ops.graphlab_io.uring_open(buffer, depth)
        if self._handle < 0:
            code, self._handle = -self._handle, 0
            raise OSError(code, os.strerror(code))

    def read(
        self, file: int, offset: int, begin: int, length: int, *, tag: int
    ) -> None:
        """Ask for ``length`` bytes of a descriptor at ``offset``, to ``buffer[begin:]``.

        Raises:
            OSError: the system refuses to queue it.
            RuntimeError: it reaches past the buffer, or too many are in flight.
        """
        failed = torch.ops.graphlab_io.uring_read(
            self._buffer, self._handle, file, offset, begin, length, tag
        )
        if failed:
            raise OSError(-failed, os.strerror(-failed))

    def wait(self) -> list[tuple[int, int]]:
        """Tags of reads that are done, and bytes read or a negative error; one at least.

        Nothing where nothing is in flight, or a signal came: ask again.
        """
        count = torch.ops.graphlab_io.uring_wait(self._done, self._handle)
        if count < 0:
            raise OSError(-count, os.strerror(-count))
        pairs = self._done[:count].tolist()
        return [(int(tag), int(result)) for tag, result in pairs]

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


def open_uring(buffer: Tensor, depth: int) -> Uring | None:
    """A queue of reads, or None where the system has none to give."""
    try:
        return Uring(buffer, depth)
    except OSError as error:
        expected = (errno.ENOSYS, errno.EPERM, errno.EACCES, errno.ENOMEM, errno.EINVAL)
        if error.errno not in expected:
            raise
        return None
