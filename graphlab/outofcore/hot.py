"""Rows that stay: read at opening, into memory and onto the device."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphlab.errors import StoreError
from graphlab.ops import io
from graphlab.outofcore import layout
from graphlab.outofcore.columns import Rows
from graphlab.outofcore.pack import hot_name
from graphlab.outofcore.pool import Pool
from graphlab.outofcore.reader import (
    ALIGN,
    Bytes,
    DirectFile,
    Request,
    Ring,
    allocate,
    cut,
)


def rows_per_request(row_bytes: int, segment: int) -> int:
    """Rows of a pack to read at once: aligned at both ends where that is possible."""
    unit = ALIGN // int(np.gcd(ALIGN, row_bytes))
    if unit * row_bytes <= segment:
        return segment // (unit * row_bytes) * unit
    return max(1, (segment - 2 * ALIGN) // row_bytes)


def read_whole(
    path: Path, entry: dict[str, int], ring: Ring, *, step: int | None = None
) -> Iterator[tuple[int, Bytes]]:
    """Read a file of rows front to back: places and bytes, ``step`` of them at a time.

    Raises:
        StoreError: at the end, where the checksum is not that of the file table.
    """
    file, found = DirectFile(path, entry["bytes"]), 0
    try:
        total = entry["rows_bytes"]
        pieces = cut(file, 0, total, ring.segment)
        if step is not None:
            pieces = (
                Request(file, at, min(step, total - at), (None, at))
                for at in range(0, total, step)
            )
        for request, data in ring.stream(pieces):
            found = layout.crc(data, found)
            yield request.tag[1], data
    finally:
        file.close()
    if found != entry["crc32c"]:
        expected = f"CRC32C {entry['crc32c']:08x}"
        raise StoreError(path, None, expected, f"{found:08x}", layout.REMEDY)


class Hot:
    """The rows of one column that stay, and room for ``live`` more.

    Args:
        folder, files: The plan, and its file table.
        count: Rows that stay.
        rows: The column.
        ring: Buffers for reads.
        live: More rows.
        on_device: [count], which of the rows that stay are on the device; None: none is.
        pool: Output buffers, of which one serves on the way to the device.
        device: Where batches go.

    Attributes:
        slots: [rows, row bytes], in memory, as they are stored; dense columns only.
        fast: [device rows, ...], as batches hold them, on the device; or None.
    """

    def __init__(
        self,
        folder: Path,
        files: dict[str, Any],
        count: int,
        rows: Rows,
        ring: Ring,
        *,
        live: int = 0,
        on_device: npt.NDArray[np.bool_] | None = None,
        pool: Pool | None = None,
        device: torch.device | None = None,
    ) -> None:
        path = folder / hot_name(rows.name)
        entry = files[path.name]
        self.fast: Tensor | None = None
        if on_device is not None:
            assert pool is not None
            self._split(path, entry, rows, ring, live, on_device, pool, device)
            return
        self.buffer = allocate(entry["rows_bytes"] + live * rows.row_bytes)
        for at, data in read_whole(path, entry, ring):
            self.buffer[at : at + len(data)] = data
        # Touched now: an epoch is not to wait for the system to find pages.
        self.buffer[entry["rows_bytes"] :] = 0
        self.bytes = self.buffer[: entry["rows_bytes"]]
        if rows.kind == "dense":
            count += live
            held = self.buffer[: count * rows.row_bytes]
            self.slots = torch.from_numpy(held).reshape(count, rows.row_bytes)
            return
        entries = self.bytes[: 4 * count].view("<u4").astype(np.int64)
        item = 4 + rows.dtype.itemsize
        self.ptr = 4 * count + np.concatenate([[0], np.cumsum(entries * item)])

    def _split(
        self,
        path: Path,
        entry: dict[str, int],
        rows: Rows,
        ring: Ring,
        live: int,
        on_device: npt.NDArray[np.bool_],
        pool: Pool,
        device: torch.device | None,
    ) -> None:
        """Read rows of which some go on to the device."""
        size, fast = rows.row_bytes, int(on_device.sum())
        count = len(on_device) - fast
        self.buffer = allocate((count + live) * size)
        self.buffer[count * size :] = 0
        held = self.buffer[: (count + live) * size].reshape(count + live, size)
        self.bytes, self.slots = self.buffer[: count * size], torch.from_numpy(held)
        self.fast = torch.empty((fast, *rows.shape), dtype=rows.dtype, device=device)
        each = min(rows_per_request(size, ring.segment), pool.size // rows.out_bytes)
        there = here = 0
        for at, data in read_whole(path, entry, ring, step=each * size):
            number = len(data) // size
            chosen = on_device[at // size : at // size + number]
            some, rest = np.flatnonzero(chosen), np.flatnonzero(~chosen)
            held[here : here + len(rest)] = data.reshape(number, size)[rest]
            here += len(rest)
            way = pool.acquire().take((len(some), rows.width), rows.dtype)
            io.assemble_rows(
                torch.from_numpy(data),
                torch.arange(len(some), dtype=torch.int32),
                way,
                offset=torch.from_numpy(some * size),
                decode=rows.decode,
            )
            part = self.fast[there : there + len(some)]
            part.copy_(way.reshape(len(some), *rows.shape))
            there += len(some)


def fast_of(hot: dict[str, Hot]) -> dict[str, Tensor]:
    """By column, its rows on the device."""
    return {name: rows.fast for name, rows in hot.items() if rows.fast is not None}
