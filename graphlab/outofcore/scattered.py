"""Reading rows of a dense column where they stand in the store, near ones together."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphlab.ops import io
from graphlab.outofcore.columns import DenseRows, Rows
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


class SharedFile:
    """A column's rows that batches share, in the layout of packs, read by ascending place.

    Args:
        path: The file.
        row_bytes: Bytes of a row.
        expected: Bytes of the file.
    """

    def __init__(self, path: Path, row_bytes: int, expected: int) -> None:
        self.file = DirectFile(path, expected)
        self._row_bytes = row_bytes

    def read(
        self, places: npt.NDArray[np.int64], ring: Ring, gap: int
    ) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Which of ``places``; bytes; where each row begins in them."""
        runs = _runs(self.file, places, self._row_bytes, gap, ring.segment)
        for request, data in ring.stream(runs):
            first, last = request.tag
            begin = places[first:last] * self._row_bytes - request.offset
            yield slice(first, last), torch.from_numpy(data), torch.from_numpy(begin)


class Shared:
    """Rows that batches share on disk, by column.

    Args:
        files: The files.
        ring: Buffers for reading them.
        gap: Bytes to read through rather than to skip.
    """

    def __init__(self, files: dict[str, SharedFile], ring: Ring, gap: int) -> None:
        self._files, self._ring, self._gap = files, ring, gap

    @property
    def device_bytes(self) -> int:
        """Bytes read so far."""
        return sum(shared.file.device_bytes for shared in self._files.values())

    def assemble(
        self,
        rows: Rows,
        places: npt.NDArray[np.uint32],
        dst: Tensor,
        keep: Tensor,
        slots: Tensor,
        out: Tensor,
    ) -> None:
        """Put a batch's shared rows where they belong, and into slots that keep them."""
        file = self._files[rows.name]
        wanted = places.astype(np.int64)
        for part, data, begin in file.read(wanted, self._ring, self._gap):
            io.assemble_rows(data, dst[part], out, offset=begin, decode=rows.decode)
            if len(keep):
                kept = keep[part] >= 0
                io.assemble_rows(data, keep[part][kept], slots, offset=begin[kept])

    def close(self) -> None:
        """Close the files."""
        self._ring.close()
        for shared in self._files.values():
            shared.file.close()


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
