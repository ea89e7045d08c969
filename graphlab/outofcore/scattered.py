"""Reading rows of a dense column where they stand in the store, near ones together."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphlab.outofcore.columns import DenseRows
from graphlab.outofcore.reader import DirectFile, Request, Ring


class ColumnFile:
    """A dense column's own file, read by ascending ids.

    Args:
        rows: The column.
    """

    def __init__(self, rows: DenseRows) -> None:
        self.rows = rows
        self.file = DirectFile(rows.column.path)

    @property
    def device_bytes(self) -> int:
        """Bytes read so far."""
        return self.file.device_bytes

    def read(
        self, wanted: npt.NDArray[np.int64], ring: Ring, gap: int
    ) -> Iterator[tuple[slice, Tensor, Tensor | None]]:
        """Read rows in the layout of packs.

        Args:
            wanted: Ascending ids.
            ring: Buffers; nobody else may be reading through them.
            gap: Bytes to read through rather than to skip.

        Yields:
            Which of ``wanted``; bytes; where each row begins in them, None: back to back.
            Valid until the next.
        """
        stride = self.rows.column.row_bytes
        scale = self.rows.column.scale
        for request, data in ring.stream(
            _runs(self.file, wanted, stride, gap, ring.segment)
        ):
            first, last = request.tag
            place = wanted[first:last] * stride - request.offset
            if scale is None:
                yield (
                    slice(first, last),
                    torch.from_numpy(data),
                    torch.from_numpy(place),
                )
                continue
            lead = scale[torch.from_numpy(wanted[first:last])].numpy()
            body = data[place[:, None] + np.arange(stride)]
            packed = np.concatenate([lead[:, None].view(np.uint8), body], axis=1)
            yield slice(first, last), torch.from_numpy(packed.reshape(-1)), None

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def _runs(
    file: DirectFile,
    wanted: npt.NDArray[np.int64],
    stride: int,
    gap: int,
    segment: int,
) -> Iterator[Request]:
    """Requests for ascending rows: near rows share one; tags are ranges of ``wanted``."""
    if not len(wanted):
        return
    room = segment - 8192
    begin = wanted * stride
    far = np.flatnonzero(np.diff(begin) > gap + stride) + 1
    edges = [0, *far.tolist(), len(wanted)]
    for first, last in itertools.pairwise(edges):
        while first < last:
            end = begin[first] + max(room, stride)
            stop = first + int(
                np.searchsorted(begin[first:last], end - stride, side="right")
            )
            stop = max(stop, first + 1)
            length = int(begin[stop - 1] - begin[first]) + stride
            yield Request(file, int(begin[first]), length, (first, stop))
            first = stop
