"""Pairs of walks sorted into the blocks of a grid, in memory or through files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphlab.embed.partition import Partition
from graphlab.embed.plan import MemoryPlan
from graphlab.embed.walker import Walker

# Bytes that a pair takes: 56 while its pool is sorted into blocks, 16 while the one before
# is trained.
PAIR_BYTES = 72
# Pairs of an episode from disk, for each node: a part is read for many pairs.
_EPISODE = 50


class PairPool:
    """Makes the pairs of the next walks, block by block.

    Args:
        walker: Makes walks.
        parts: Rows of the tables.
        plan: Says how much fits.
        folder: Where pairs of an episode lie; None: in memory.
    """

    def __init__(
        self,
        walker: Walker,
        parts: Partition,
        plan: MemoryPlan,
        folder: Path | None,
    ) -> None:
        self._walker, self._parts, self._plan = walker, parts, plan
        self._folder = folder

    def make(self, walks: int, left: int) -> tuple[dict[tuple[int, int], Any], int]:
        """Pairs [n, 2] of rows by block (head part, tail part), and of how many walks.

        Args:
            walks: Walks that were used before.
            left: Pairs to the end of the budget.
        """
        in_memory = max(1, self._plan.buffers // PAIR_BYTES)
        if self._folder is None:
            return self._sorted(walks, min(left, in_memory), in_memory)
        wanted = min(left, _EPISODE * self._plan.nodes)
        files = _BlockFiles(self._folder, self._parts.parts)
        found = used = 0
        while found < wanted:
            pool, count = self._sorted(walks + used, wanted - found, in_memory)
            found += sum(len(p) for p in pool.values())
            used += count
            files.append(pool)
        return files.read(), used

    def release(self) -> None:
        """Remove the files of an episode."""
        if self._folder is not None:
            for path in self._folder.glob("pairs-*.bin"):
                path.unlink()

    def _sorted(
        self, first: int, wanted: int, most: int
    ) -> tuple[dict[tuple[int, int], Tensor], int]:
        shape, parts = self._walker.shape, self._parts.parts
        per_walk = shape.pairs()
        count = max(1, min(math.ceil(wanted / per_walk), int(most / per_walk)))
        walks = self._walker.walks(first, count)
        pairs = self._walker.pairs(walks, first)[:wanted]
        edges = torch.tensor(self._parts.bounds[1:-1], dtype=torch.int32)
        part = torch.bucketize(pairs, edges, right=True, out_int32=True)
        block = part[:, 0] * parts + part[:, 1]
        order = torch.argsort(block, stable=True)
        ends = torch.bincount(block, minlength=parts**2).cumsum(0).tolist()
        pairs = pairs[order]
        blocks = {
            divmod(b, parts): pairs[begin:end]
            for b, (begin, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True))
        }
        return blocks, count


class _BlockFiles:
    """Pairs of an episode on disk, one file a block."""

    def __init__(self, folder: Path, parts: int) -> None:
        self._folder = folder
        self._blocks = [(h, t) for h in range(parts) for t in range(parts)]
        for path in folder.glob("pairs-*.bin"):
            path.unlink()

    def _path(self, block: tuple[int, int]) -> Path:
        return self._folder / f"pairs-{block[0]}-{block[1]}.bin"

    def append(self, pool: dict[tuple[int, int], Tensor]) -> None:
        for block, pairs in pool.items():
            with open(self._path(block), "ab") as file:
                file.write(pairs.numpy().tobytes())

    def read(self) -> dict[tuple[int, int], Any]:
        found: dict[tuple[int, int], Any] = {}
        for block in self._blocks:
            path = self._path(block)
            if not path.exists() or path.stat().st_size == 0:
                found[block] = np.empty((0, 2), np.int32)
            else:
                count = path.stat().st_size // 8
                found[block] = np.memmap(path, np.int32, mode="r+", shape=(count, 2))
        return found
