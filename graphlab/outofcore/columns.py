"""Columns of a store as the disk engine sees them: rows of bytes, and how to decode them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphlab.datasets.column import SparseColumn
from graphlab.datasets.stored import StoredColumn
from graphlab.ops import gather_rows
from graphlab.ops.io import stored_bytes
from graphlab.outofcore.reader import Bytes

# Temporaries of making a sparse column's rows dense, by pieces of rows.
SPARSE_STEP_BYTES = 2**20
_SPARSE_BYTES_PER_ENTRY = 48

Ids = npt.NDArray[np.int64]


class DenseRows:
    """A dense column: every row takes the same number of bytes.

    Attributes:
        name: Name of the column.
        dtype: Dtype of assembled rows.
        shape: Shape of one assembled row.
        width: Values of a row.
        decode: How stored bytes become values; see :func:`graphlab.ops.assemble_hits`.
        row_bytes: Bytes of a packed row: as stored, behind its scale if it has one.
    """

    kind = "dense"

    def __init__(self, name: str, column: StoredColumn) -> None:
        self.name = name
        self.column = column
        self.dtype = column.dtype
        self.shape = tuple(column.shape[1:])
        self.width = int(np.prod(self.shape, dtype=np.int64))
        if column.scale is not None:
            self.decode = "int8"
        elif column.stored != column.dtype:
            self.decode = str(column.stored).removeprefix("torch.")
        else:
            self.decode = "copy"
        self.row_bytes = stored_bytes(self.width, self.dtype.itemsize, self.decode)

    @property
    def num_rows(self) -> int:
        """Rows of the column."""
        return self.column.shape[0]

    @property
    def file_bytes(self) -> int:
        """Bytes that a sequential scan reads."""
        return self.column.file_bytes

    @property
    def resident_bytes(self) -> int:
        """Bytes of all rows in memory, as stored."""
        return self.num_rows * self.row_bytes

    @property
    def out_bytes(self) -> int:
        """Bytes of an assembled row."""
        return self.width * self.dtype.itemsize

    def lengths(self, ids: Ids) -> npt.NDArray[np.int64]:
        """Packed bytes of each row."""
        return np.full(len(ids), self.row_bytes, dtype=np.int64)

    def prefix(self, ids: Ids) -> Bytes:
        """What stands before the packed rows ``ids``: nothing."""
        return np.zeros(0, dtype=np.uint8)

    def scan(
        self, chunk_bytes: int, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, Bytes]]:
        """Packed rows ``[start, stop)`` in pieces: first row, uint8 [rows, row_bytes].

        Reads the file once, front to back, and checks its checksums the first time; a piece
        is valid until the next. Holds ``2 * chunk_bytes`` at most.
        """
        rows = max(1, chunk_bytes // max(1, self.row_bytes))
        step = rows * max(1, self.column.row_bytes)
        verify = not self.column.verified  # windows scan the same file again and again
        for first, raw in self.column.scan(step, start=start, stop=stop, verify=verify):
            piece = raw.numpy()
            if self.column.scale is not None:
                scale = self.column.scale[first : first + len(piece)].numpy()
                piece = np.concatenate([scale[:, None].view(np.uint8), piece], axis=1)
            yield first, piece

    def take(
        self, piece: Bytes, first: int, ids: Ids, out: Bytes | None = None
    ) -> Bytes:
        """Rows ``ids`` out of a piece of :meth:`scan`, back to back; into ``out``."""
        if out is None:
            out = np.empty(len(ids) * self.row_bytes, dtype=np.uint8)
        rows = torch.from_numpy(out).view(len(ids), self.row_bytes)
        gather_rows(torch.from_numpy(piece), torch.from_numpy(ids - first), out=rows)
        return out

    def describe(self) -> dict[str, Any]:
        """The column's entry in a plan's manifest."""
        return {
            "name": self.name,
            "kind": self.kind,
            "row_bytes": self.row_bytes,
            "decode": self.decode,
        }


class SparseRows:
    """A sparse column: a packed row is its columns (int32 each), then its values."""

    kind = "sparse"
    decode = "copy"

    def __init__(self, name: str, column: SparseColumn) -> None:
        self.name = name
        self.column = column
        self.dtype: torch.dtype = column.dtype
        self.shape = tuple(column.shape[1:])
        self.width = int(column.shape[1])
        self._item = self.dtype.itemsize
        entries = int(column.ptr[-1])
        self.row_bytes = -(-entries * (4 + self._item) // max(1, self.num_rows))

    @property
    def num_rows(self) -> int:
        """Rows of the column."""
        return self.column.shape[0]

    @property
    def file_bytes(self) -> int:
        """Bytes that a sequential scan reads."""
        return self.column.nbytes

    @property
    def resident_bytes(self) -> int:
        """Bytes of all rows in memory, in the widths of the store."""
        return self.column.nbytes

    @property
    def out_bytes(self) -> int:
        """Bytes of an assembled row."""
        return self.width * self._item

    def lengths(self, ids: Ids) -> npt.NDArray[np.int64]:
        """Packed bytes of each row."""
        ptr = self.column.ptr
        return (ptr[ids + 1] - ptr[ids]).astype(np.int64) * (4 + self._item)

    def prefix(self, ids: Ids) -> Bytes:
        """What stands before the packed rows ``ids``: their numbers of entries, u4."""
        ptr = self.column.ptr
        return (ptr[ids + 1] - ptr[ids]).astype("<u4").view(np.uint8)

    def scan(
        self, chunk_bytes: int, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, Bytes]]:
        """First rows of pieces of about ``chunk_bytes``; :meth:`take` reads the map."""
        ptr, rows = self.column.ptr, self.num_rows if stop is None else stop
        first = start
        while first < rows:
            entries = max(1, chunk_bytes // (4 + self._item))
            last = int(np.searchsorted(ptr, ptr[first] + entries, side="right")) - 1
            last = min(max(last, first + 1), rows)
            yield first, np.zeros((last - first, 0), dtype=np.uint8)
            first = last

    def take(self, piece: Bytes, first: int, ids: Ids) -> Bytes:
        """Packed rows ``ids``, back to back."""
        column = self.column
        start = column.ptr[ids].astype(np.int64)
        count = column.ptr[ids + 1].astype(np.int64) - start
        before = np.cumsum(count) - count
        position = np.arange(int(count.sum())) + np.repeat(start - before, count)
        out = np.empty(len(position) * (4 + self._item), dtype=np.uint8)
        # Entry k of row i: its column at 4 k behind the row's start, its value behind all.
        base = before * (4 + self._item)
        rank = np.arange(len(position)) - np.repeat(before, count)
        at = np.repeat(base, count) + 4 * rank
        idx = column.idx[position].astype("<i4").view(np.uint8).reshape(-1, 4)
        out[at[:, None] + np.arange(4)] = idx
        data = column.data
        value = data[position] if len(data) > 1 or len(column.idx) == 1 else data
        kind = str(self.dtype).removeprefix("torch.")
        values = np.broadcast_to(value, position.shape).astype(kind)
        at = np.repeat(base + 4 * count, count) + self._item * rank
        packed = values.view(np.uint8).reshape(-1, self._item)
        out[at[:, None] + np.arange(self._item)] = packed
        return out

    def gather(self, ids: Tensor, out: Tensor) -> None:
        """Dense rows by id, through the memory map, a few at a time."""
        gather_sparse(self.column, ids, out)

    def describe(self) -> dict[str, Any]:
        """The column's entry in a plan's manifest."""
        return {
            "name": self.name,
            "kind": self.kind,
            "row_bytes": self.row_bytes,
            "decode": self.decode,
        }


def gather_sparse(column: SparseColumn, ids: Tensor, out: Tensor) -> None:
    """Gather by pieces of rows, so that temporaries stay near SPARSE_STEP_BYTES."""
    entries = max(1, len(column.idx) // max(1, column.shape[0]))
    step = max(1, SPARSE_STEP_BYTES // (_SPARSE_BYTES_PER_ENTRY * entries))
    for start in range(0, len(ids), step):
        column.gather(ids[start : start + step], out[start : start + step])


Rows = DenseRows | SparseRows


def rows_of(name: str, column: StoredColumn | SparseColumn) -> Rows:
    """The disk engine's view of a stored column."""
    if isinstance(column, SparseColumn):
        return SparseRows(name, column)
    return DenseRows(name, column)


def load(column: StoredColumn | SparseColumn | Tensor) -> Tensor | SparseColumn:
    """Copy a column into memory, in the widths it has in memory."""
    if isinstance(column, SparseColumn):
        ptr, idx, data = (np.array(p) for p in (column.ptr, column.idx, column.data))
        return SparseColumn(ptr, idx, data, (column.shape[0], column.shape[1]))
    if isinstance(column, Tensor):
        return column.clone()
    out = torch.empty(tuple(column.shape), dtype=column.dtype)
    for first, raw in column.scan():
        rows = slice(first, first + len(raw))
        out[rows] = column.decode(raw, rows)
    return out


def loaded_bytes(column: StoredColumn | SparseColumn | Tensor) -> int:
    """Bytes that :func:`load` gives."""
    if isinstance(column, SparseColumn):
        return column.nbytes
    return int(np.prod(column.shape, dtype=np.int64)) * column.dtype.itemsize
