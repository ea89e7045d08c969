"""Without compiled kernels there is no io_uring: the caller reads with threads."""

from __future__ import annotations

import errno

from torch import Tensor


def uring_open(buffer: Tensor, depth: int, segment: int) -> int:
    """Tell that there is none; see :class:`graphlab.ops.uring.Uring`."""
    return -errno.ENOSYS


def uring_ask(buffer: Tensor, handle: int, requests: Tensor) -> int:
    """Never called: nothing could be opened."""
    return -errno.ENOSYS


def uring_next(buffer: Tensor, handle: int, found: Tensor) -> int:
    """Never called: nothing could be opened."""
    return -errno.ENOSYS


def uring_release(buffer: Tensor, handle: int) -> int:
    """Never called: nothing could be opened."""
    return -errno.ENOSYS


def uring_drain(buffer: Tensor, handle: int) -> None:
    """Never called: nothing could be opened."""


def assemble_reads(
    buffer: Tensor,
    handle: int,
    pieces: int,
    dst: Tensor,
    decode: str,
    out: Tensor,
    keep: Tensor | None,
    slots: Tensor | None,
    crc: int,
    found: Tensor,
) -> int:
    """Never called: nothing could be opened."""
    return -errno.ENOSYS


def uring_rows(
    buffer: Tensor,
    handle: int,
    file: int,
    requests: Tensor,
    begin: Tensor,
    dst: Tensor,
    scale: Tensor | None,
    decode: str,
    out: Tensor,
    keep: Tensor | None,
    slots: Tensor | None,
    failed: Tensor,
) -> int:
    """Never called: nothing could be opened."""
    return -errno.ENOSYS


def uring_close(buffer: Tensor, handle: int) -> None:
    """Nothing to close."""
