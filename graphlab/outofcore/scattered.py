"""Reading rows of a dense column where they stand in a file, near ones together."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphlab.ops import io
from graphlab.outofcore.columns import DenseRows, Rows
from graphlab.outofcore.reader import (
    ALIGN,
    QUEUE,
    Bytes,
    DirectFile,
    Request,
    Ring,
    align_down,
    align_up,
)


class Target(NamedTuple):
    """Where the rows of a call go, each to a row of ``out``, to a slot, or to both.

    Attributes:
        out: [n, width], decoded rows; one row at least.
        dst: [rows], int32, a row of ``out``, or -1.
        slots: [slots, row bytes], rows as packs hold them.
        keep: [rows], int32, a slot, or -1; None: none is kept.
    """

    out: Tensor
    dst: Tensor
    slots: Tensor | None = None
    keep: Tensor | None = None


class RowFile:
    """A file of rows of equal length, read by ascending number.

    Args:
        path: The file.
        stride: Bytes of a row in it.
        decode: How its bytes become values.
        scale: [rows], float32: scales that the file does not hold.
        expected: Bytes of the file, where known.
    """

    def __init__(
        self,
        path: Path,
        stride: int,
        decode: str,
        scale: Tensor | None = None,
        expected: int | None = None,
    ) -> None:
        self.file = DirectFile(path, expected)
        self._stride, self._decode, self._scale = stride, decode, scale

    @classmethod
    def of_column(cls, rows: DenseRows) -> RowFile:
        """The file of a store's column."""
        column = rows.column
        return cls(column.path, column.row_bytes, rows.decode, column.scale)

    @property
    def device_bytes(self) -> int:
        """Bytes read so far."""
        return self.file.device_bytes

    def read(
        self, wanted: npt.NDArray[np.int64], ring: Ring, gap: int, to: Target
    ) -> None:
        """Read rows and put them where they belong.

        Args:
            wanted: Ascending numbers of rows.
            ring: Buffers; nobody else may be reading through them.
            gap: Bytes to read through rather than to skip.
            to: Where they go.

        Raises:
            StoreError: the file ends before, or the device fails.
        """
        if not len(wanted):
            return
        stride = self._stride
        piece = max(align_up(stride) + 2 * ALIGN, align_down(ring.nbytes // QUEUE))
        piece = min(piece, ring.segment)
        scale = None if self._scale is None else self._scale[torch.from_numpy(wanted)]
        begin = wanted * stride
        first = _cut(begin, stride, gap, piece)
        last = np.append(first[1:], len(wanted))
        offset = begin[first]
        length = begin[last - 1] + stride - offset
        if ring.queue is None:
            left = np.arange(len(first))
        else:
            low = align_down(offset)
            size = align_up(offset + length) - low
            moved, failed = ring.queue.rows(
                self.file.descriptor,
                torch.from_numpy(np.stack([low, size, first], axis=1)),
                torch.from_numpy(begin),
                to.dst,
                to.out,
                decode=self._decode,
                scale=scale,
                keep=to.keep,
                slots=to.slots,
            )
            self.file.count(moved)
            left = np.flatnonzero(failed.numpy())
        # What the queue left out is read one by one, which resumes it or tells why not.
        requests = (Request(self.file, int(offset[r]), int(length[r]), r) for r in left)
        for request, data in ring.stream(requests):
            rows = slice(int(first[request.tag]), int(last[request.tag]))
            place = begin[rows] - request.offset
            self._put(data, place, rows, to, scale)

    def _put(
        self,
        data: Bytes,
        place: npt.NDArray[np.int64],
        rows: slice,
        to: Target,
        scale: Tensor | None,
    ) -> None:
        if scale is not None:
            body = data[place[:, None] + np.arange(self._stride)]
            lead = scale[rows].numpy()[:, None].view(np.uint8)
            data = np.concatenate([lead, body], axis=1).reshape(-1)
            place = np.arange(len(place)) * (self._stride + lead.shape[1])
        bytes, offset = torch.from_numpy(data), torch.from_numpy(place)
        wanted = to.dst[rows] >= 0
        io.assemble_rows(
            bytes,
            to.dst[rows][wanted],
            to.out,
            offset=offset[wanted],
            decode=self._decode,
        )
        if to.keep is not None and to.slots is not None:
            kept = to.keep[rows] >= 0
            io.assemble_rows(bytes, to.keep[rows][kept], to.slots, offset=offset[kept])

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def _cut(
    begin: npt.NDArray[np.int64], stride: int, gap: int, piece: int
) -> npt.NDArray[np.int64]:
    """First rows of requests: near rows share one, none is longer than a piece."""
    run = np.diff(begin, prepend=begin[0]) > gap + stride
    number = np.cumsum(run)
    start = begin[np.searchsorted(number, np.arange(number[-1] + 1))]
    # A row belongs to the part of its run in which it begins.
    part = (begin - start[number]) // max(piece - 2 * ALIGN - stride, stride)
    return np.flatnonzero(np.append(True, run[1:] | (np.diff(part) > 0)))


class Edges:
    """Edge columns on disk: rows of a batch's edges, read from the store where they are.

    Args:
        columns: The columns.
        ring: Buffers for reading them.
        gap: Bytes to read through rather than to skip.
    """

    def __init__(self, columns: list[DenseRows], ring: Ring, gap: int) -> None:
        self._files = {rows.name: RowFile.of_column(rows) for rows in columns}
        self._ring, self._gap = ring, gap

    @property
    def device_bytes(self) -> int:
        """Bytes read so far."""
        return sum(file.device_bytes for file in self._files.values())

    def gather(self, rows: DenseRows, e_id: Tensor, out: Tensor) -> None:
        """Fill ``out`` [edges, ...] with the rows of edges ``e_id``."""
        order = torch.argsort(e_id, stable=True)
        to = Target(out.view(len(e_id), rows.width), order.int())
        self._files[rows.name].read(e_id[order].numpy(), self._ring, self._gap, to)

    def close(self) -> None:
        """Close the files."""
        self._ring.close()
        for file in self._files.values():
            file.close()


class Shared:
    """Rows that batches share on disk, by column.

    Args:
        files: The files.
        ring: Buffers for reading them.
        gap: Bytes to read through rather than to skip.
    """

    def __init__(self, files: dict[str, RowFile], ring: Ring, gap: int) -> None:
        self._files, self._ring, self._gap = files, ring, gap

    @property
    def device_bytes(self) -> int:
        """Bytes read so far."""
        return sum(shared.device_bytes for shared in self._files.values())

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
        to = Target(out, dst, *((slots, keep) if len(keep) else (None, None)))
        wanted = places.astype(np.int64)
        self._files[rows.name].read(wanted, self._ring, self._gap, to)

    def close(self) -> None:
        """Close the files."""
        self._ring.close()
        for shared in self._files.values():
            shared.close()
