"""Without compiled kernels there is no io_uring: the caller reads with threads."""

from __future__ import annotations

import errno

from torch import Tensor


def uring_open(buffer: Tensor, depth: int) -> int:
    """Tell that there is none; see :class:`graphlab.ops.uring.Uring`."""
    return -errno.ENOSYS


def uring_read(
    buffer: Tensor,
    handle: int,
    file: int,
    offset: int,
    begin: int,
    length: int,
    tag: int,
) -> int:
    """Never called: nothing could be opened."""
    return -errno.ENOSYS


def uring_wait(done: Tensor, handle: int) -> int:
    """Never called: nothing could be opened."""
    return -errno.ENOSYS


def uring_close(buffer: Tensor, handle: int) -> None:
    """Nothing to close."""
