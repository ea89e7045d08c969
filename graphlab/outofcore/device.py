"""Batches to a CUDA device: pinned buffers, and copies beside the caller's computation.

Not run on a CUDA device yet: no accelerator was at hand.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch_geometric.data import Data

    from graphlab.outofcore.reader import Bytes


def pin(buffer: Bytes) -> None:
    """Lock a buffer's pages for the device, until the buffer is dropped.

    The buffer is registered as it is: torch's pinned allocator would round its size up, past
    what was accounted for.
    """
    runtime: Any = torch.cuda.cudart()
    place = buffer.ctypes.data
    torch.cuda.check_error(int(runtime.cudaHostRegister(place, len(buffer), 0)))
    # Runs before the memory is given back.
    weakref.finalize(buffer, runtime.cudaHostUnregister, place)


class Mover:
    """Copies batches to a device on a stream of its own, from the loader's thread.

    The copy of one batch runs while the caller computes on another; the host buffer may be
    used again when :meth:`move` returns.

    Args:
        device: Where batches go.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream: Any = None

    def move(self, data: Data) -> Data:
        """The batch on the device; the batch itself where that is the CPU."""
        if self.device.type == "cpu":
            return data
        if self.device.type != "cuda":
            return data.to(str(self.device))
        if self._stream is None:
            self._stream = torch.cuda.Stream(self.device)
        with torch.cuda.stream(self._stream):
            moved: Data = data.to(str(self.device), non_blocking=True)
        self._stream.synchronize()
        # The allocator may give a tensor's memory away only when the caller is done with it.
        user = torch.cuda.default_stream(self.device)
        for value in moved.to_dict().values():
            if isinstance(value, torch.Tensor):
                value.record_stream(user)
        return moved
