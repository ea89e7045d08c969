"""Output buffers that are used again once nobody holds a tensor over them."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from graphlab.outofcore.device import pin
from graphlab.outofcore.reader import Bytes, align_up, allocate

_ALIGN = 64
# How long to wait for the caller to let go of a batch before it counts as kept: a training
# loop drops its last batch within microseconds of asking for the next.
PATIENCE_SECONDS = 0.2
PAUSE_SECONDS = 5e-5


class Block:
    """A buffer being cut into the tensors of one batch."""

    def __init__(self, buffer: Bytes) -> None:
        self._buffer = buffer
        self._place = 0

    def take(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """The next tensor, contiguous, with storage of its own inside the buffer."""
        count = 1
        for size in shape:
            count *= size
        size = count * dtype.itemsize
        piece = self._buffer[self._place : self._place + size]
        if len(piece) < size:
            raise RuntimeError(
                f"a batch outgrew its buffer of {len(self._buffer)} bytes"
            )
        self._place += -(-size // _ALIGN) * _ALIGN
        return torch.from_numpy(piece).view(dtype).reshape(*shape)


def block_bytes(*sizes: int) -> int:
    """Bytes of a block that holds tensors of these sizes."""
    return align_up(sum(-(-size // _ALIGN) * _ALIGN for size in sizes))


class Pool:
    """A fixed number of output buffers.

    A tensor keeps its buffer alive, through every view and whatever autograd saves, so a
    buffer is free again when nothing refers to it but the pool. A caller who keeps batches
    (``list(loader)``) keeps their buffers: they become his, and the pool makes new ones.

    Args:
        count: Buffers.
        size: Bytes of each.
        pinned: Lock their pages for a CUDA device.
    """

    def __init__(self, count: int, size: int, *, pinned: bool = False) -> None:
        self.size, self.pinned = size, pinned
        self._buffers = [self._new() for _ in range(count)]
        for i in range(count):
            # Touched now: an epoch is not to wait for the system to find pages. By number,
            # as a name for a buffer would count as a reference below.
            self._buffers[i][:] = 0
        self._lock = threading.Lock()
        self._patience = PATIENCE_SECONDS
        self._idle = self._references(0)

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers that the pool answers for."""
        return sum(len(buffer) for buffer in self._buffers)

    def _new(self) -> Bytes:
        buffer = allocate(self.size)
        if self.pinned:
            pin(buffer)
        return buffer

    def _references(self, index: int) -> int:
        return sys.getrefcount(self._buffers[index])

    def acquire(self) -> Block:
        """A free buffer; waits a moment for one that the caller is about to drop."""
        with self._lock:
            end = time.monotonic() + self._patience
            while True:
                for index in range(len(self._buffers)):
                    if self._references(index) == self._idle:
                        # Oldest last, so that kept batches are the first to be let go.
                        buffer = self._buffers.pop(index)
                        self._buffers.append(buffer)
                        return Block(buffer)
                if time.monotonic() >= end:
                    break
                time.sleep(PAUSE_SECONDS)
            # The caller keeps batches: no use waiting as long again.
            self._patience = 0.01
            self._buffers.pop(0)
            buffer = self._new()
            self._buffers.append(buffer)
            return Block(buffer)
