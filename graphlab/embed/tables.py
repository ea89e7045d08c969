"""The two tables of an embedding: in memory, or on disk with the parts in use in memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from graphlab.embed.partition import Partition
from graphlab.ops import pages, rng

# Name of the random stream of first values, and rows made at a time.
_START = 221
_ROWS = 2**14
# Up to so many bytes a table is copied into input order; buffers are as large.
_SMALL = 2**26


class Tables:
    """Head and tail tables in the order of a partition's rows, padded to ``stride``.

    Args:
        parts: The rows.
        dim: Width of a vector.
        stride: Floats of a row.
        shared: Whether heads and tails are one table.
        folder: Where the tables lie; None: in memory.
        device: Whose memory; with ``folder``, the CPU's.
        dtype: Of the rows on CUDA, whole tables or copied parts; on the CPU float32.
    """

    def __init__(
        self,
        parts: Partition,
        dim: int,
        stride: int,
        *,
        shared: bool = False,
        folder: Path | None = None,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._parts, self.dim, self.shared = parts, dim, shared
        shape = (len(parts.rank), stride)
        self.folder, self._dtype = folder, dtype
        self.device = torch.device(device)
        if self.device.type != "cpu":
            self.head = torch.zeros(shape, dtype=dtype, device=device)
            self.tail = self.head if shared else torch.zeros_like(self.head)
        elif folder is None:
            self.head = pages.empty(shape, torch.float32)
            self.tail = self.head if shared else pages.empty(shape, torch.float32)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            self.head = _on_disk(folder / "head.bin", shape)
            self.tail = self.head if shared else _on_disk(folder / "tail.bin", shape)

    def collect(self, side: str, parts: list[Tensor]) -> None:
        """Put the rows of all parts, which other processes trained, in their places."""
        for part, rows in enumerate(parts):
            self._side(side)[self._parts.rows(part)] = rows

    def start(
        self, seed: int, vectors: Tensor | None = None, context: Tensor | None = None
    ) -> None:
        """Heads uniform in (-1/2, 1/2) / dim, tails zero; or given rows, by node.

        A node's first vector does not depend on the parts.
        """
        rank, dim = self._parts.rank, self.dim
        for begin in range(0, len(rank), _ROWS):
            rows = rank[begin : begin + _ROWS]
            if vectors is None:
                name = rng.key(seed, _START, begin)
                generator = torch.Generator().manual_seed(name & (2**63 - 1))
                values = torch.rand(len(rows), dim, generator=generator)
                values.sub_(0.5).div_(dim)
            else:
                values = vectors[begin : begin + _ROWS].float()
            self.head[rows.to(self.device), :dim] = values.to(self.head)
            if context is not None and not self.shared:
                more = context[begin : begin + _ROWS].to(self.tail)
                self.tail[rows.to(self.device), :dim] = more

    def part(self, side: str, part: int, device: torch.device | None = None) -> Tensor:
        """Rows of a part: a view of what is in memory, a copy of what is on disk.

        With ``device`` a copy there, of the tables' ``dtype`` on it.
        """
        rows = self._side(side)[self._parts.rows(part)]
        if device is not None and device.type != "cpu":
            return rows.to(device, self._dtype)
        if self.folder is None and device is None:
            return rows
        out = pages.empty(rows.shape, torch.float32)
        return out.copy_(rows)

    def put(self, side: str, part: int, rows: Tensor) -> None:
        """Write the rows of a part back; nothing to do for a view."""
        to = self._side(side)[self._parts.rows(part)]
        if rows.data_ptr() != to.data_ptr():
            to.copy_(rows)

    def snapshot(self) -> dict[str, Tensor]:
        """The tables as a checkpoint keeps them: float32 on the CPU."""
        kept = {"head": self.head.float().cpu()}
        if not self.shared:
            kept["tail"] = self.tail.float().cpu()
        return kept

    def by_node(self, side: str) -> Tensor:
        """The table in input order, without padding: [N, dim]; once a table, at the end.

        A large table in memory is put in order where it lies, one on disk goes to a mapped
        file without a name: no second copy is held.
        """
        table, rank = self._side(side), self._parts.rank
        shape = (len(rank), self.dim)
        if self.folder is not None:
            with tempfile.TemporaryFile(dir=self.folder) as file:
                out = torch.from_numpy(np.memmap(file, np.float32, "w+", shape=shape))
        elif self.device.type == "cpu" and table.nbytes > _SMALL:
            from graphlab.embed.reorder import reorder

            return reorder(table, rank, self.dim)
        else:
            out = torch.empty(shape)
        for begin in range(0, len(rank), _ROWS):
            rows = rank[begin : begin + _ROWS].to(self.device)
            out[begin : begin + _ROWS] = table[rows, : self.dim]
        return out

    def _side(self, side: str) -> Tensor:
        return self.head if side == "head" else self.tail


def _on_disk(path: Path, shape: tuple[int, int]) -> Tensor:
    # Fresh each time: what a killed run left in it is half of a block.
    return torch.from_numpy(np.memmap(path, np.float32, mode="w+", shape=shape))
