"""Rows that stay on a device, and batches to it: pinned buffers, copies beside computing."""

from __future__ import annotations

import contextlib
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphlab.ops.io import gather_levels

if TYPE_CHECKING:
    from torch_geometric.data import Data

    from graphlab.outofcore.reader import Bytes


# cudaHostRegisterMapped: the device has addresses for the buffer.
_MAPPED = 2


class Split(NamedTuple):
    """Which rows of a batch are on the device, by its programme.

    Attributes:
        rows: [m], the batch's rows that are not.
        source: [m], their programme: a slot of the host, or ``-1 - r`` for row r of a pack.
        level: [nodes], where each row is: a row of the device, or behind these its place
            among the ``m``.
    """

    rows: npt.NDArray[np.int64]
    source: npt.NDArray[np.int32]
    level: npt.NDArray[np.int32]

    @classmethod
    def of(cls, source: npt.NDArray[np.int32], device_rows: int) -> Split:
        """Split a programme whose first ``device_rows`` slots are on the device.

        Example:
            >>> Split.of(np.array([0, 2, -1], dtype=np.int32), device_rows=1)[1:]
            (array([ 1, -1], dtype=int32), array([0, 1, 2], dtype=int32))
        """
        # As unsigned, a pack row is larger than any slot.
        rows = np.flatnonzero(source.view(np.uint32) >= device_rows)
        level = source.copy()
        level[rows] = np.arange(device_rows, device_rows + len(rows), dtype=np.int32)
        return cls(rows, below(source[rows], device_rows), level)


def below(slots: npt.NDArray[np.int32], device_rows: int) -> npt.NDArray[np.int32]:
    """Slots counted from the first of the host's; negative numbers stay."""
    return np.where(slots < 0, slots, slots - np.int32(device_rows))


def pin(buffer: Bytes) -> None:
    """Lock a buffer's pages for the device, until the buffer is dropped.

    The buffer is registered as it is: torch's pinned allocator would round its size up, past
    what was accounted for. Kernels may read it, too.
    """
    runtime: Any = torch.cuda.cudart()
    place = buffer.ctypes.data
    torch.cuda.check_error(int(runtime.cudaHostRegister(place, len(buffer), _MAPPED)))
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

    def merge(self, fast: Tensor, host: Tensor, level: Tensor) -> Tensor:
        """A column of a batch on the device, from rows there and rows in pinned memory.

        Args:
            fast: [d, ...], rows on the device.
            host: [m, ...], rows in the output buffer.
            level: [nodes], int32 in the output buffer; see :class:`Split`.

        Returns:
            [nodes, ...], in the device's memory; whole when :meth:`move` has returned.
        """
        with self._beside():
            out = torch.empty(
                (len(level), *host.shape[1:]), dtype=host.dtype, device=self.device
            )
            if self.device.type not in ("cpu", "cuda"):
                host = host.to(self.device)
            where = level.to(self.device, non_blocking=True)
            gather_levels(_raw(fast), _raw(host), where, _raw(out))
        return out

    def _beside(self) -> contextlib.AbstractContextManager[Any]:
        """Work on the device beside what the caller computes there."""
        if self.device.type != "cuda":
            return contextlib.nullcontext()
        if self._stream is None:
            self._stream = torch.cuda.Stream(self.device)
        return torch.cuda.stream(self._stream)

    def move(self, data: Data) -> Data:
        """The batch on the device; the batch itself where that is the CPU."""
        if self.device.type == "cpu":
            return data
        if self.device.type != "cuda":
            return data.to(str(self.device))
        with self._beside():
            moved: Data = data.to(str(self.device), non_blocking=True)
        self._stream.synchronize()
        # The allocator may give a tensor's memory away only when the caller is done with it.
        user = torch.cuda.default_stream(self.device)
        for value in moved.to_dict().values():
            if isinstance(value, torch.Tensor):
                value.record_stream(user)
        return moved


def _raw(rows: Tensor) -> Tensor:
    """Rows as bytes: [rows, bytes]."""
    return rows.reshape(len(rows), int(np.prod(rows.shape[1:]))).view(torch.uint8)
