"""Run files: edges spread over buckets of targets, the first half of an external sort."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphlab import ops
from graphlab.datasets.chunked import full_disk_named
from graphlab.datasets.encoding import Array
from graphlab.interop.arrays import as_tensor


@dataclass(frozen=True)
class Sizes:
    """How the work is cut, chosen before it starts.

    Attributes:
        batch: Edges of one batch of the stream.
        bucket: Most edges that are sorted in memory at once.
        targets: Most targets of a bucket that is sorted in memory.
        shift: A bucket spans ``2**shift`` targets.
        id_bytes: Width of node ids, 4 or 8.
        edge_bytes: Width of edge ids, 4 or 8.
    """

    batch: int
    bucket: int
    targets: int
    shift: int
    id_bytes: int
    edge_bytes: int

    @property
    def run_bytes(self) -> int:
        """Bytes of an edge in the run files."""
        return 2 * self.id_bytes + self.edge_bytes

    @property
    def sort_bytes(self) -> int:
        """Bytes of an edge while its bucket is sorted."""
        native = ops.backends()["graphlab::csr_build"]["cpu"] == "native"
        # Run, sorted ids, order, and the kernel's own (the twin sorts with 64-bit keys).
        return self.run_bytes + self.id_bytes + 4 + (4 if native else 40)


class Runs:
    """Run files of a range of targets: target, source and edge id of each edge, by bucket."""

    parts = ("target", "source", "edge")

    def __init__(self, stem: Path, num_targets: int, cut: Sizes, base: int = 0) -> None:
        self.stem, self.base, self.cut = stem, base, cut
        self.num_targets = num_targets
        self.buckets = max(1, -(-num_targets // (1 << cut.shift)))

    def path(self, bucket: int, part: str) -> Path:
        """The file of one part of a bucket."""
        return self.stem.with_name(f"{self.stem.name}.{bucket}.{part}")

    def paths(self) -> Iterator[Path]:
        """All files."""
        for bucket in range(self.buckets):
            for part in self.parts:
                yield self.path(bucket, part)

    def first(self, bucket: int) -> int:
        """First target of a bucket."""
        return self.base + (bucket << self.cut.shift)

    def width(self, bucket: int) -> int:
        """Number of targets of a bucket."""
        return min(1 << self.cut.shift, self.num_targets - (bucket << self.cut.shift))

    def edges(self, bucket: int) -> int:
        """Number of edges of a bucket."""
        size = self.path(bucket, "target").stat().st_size
        return size // self.cut.id_bytes

    def read(self, bucket: int, part: str, start: int = 0, count: int = -1) -> Tensor:
        """One part of a bucket's edges, from edge ``start`` on."""
        width = self.cut.edge_bytes if part == "edge" else self.cut.id_bytes
        dtype = np.dtype(f"<i{width}")
        path = self.path(bucket, part)
        return as_tensor(np.fromfile(path, dtype, count, offset=start * width))


class Appender:
    """Open run files; spreads batches over them."""

    def __init__(
        self, runs: Runs, num_nodes: int, sizes: list[int] | None = None
    ) -> None:
        self._runs, self._num_nodes = runs, num_nodes
        self._stack = contextlib.ExitStack()
        self._files: list[Any] = []
        runs.stem.parent.mkdir(parents=True, exist_ok=True)
        for index, path in enumerate(runs.paths()):
            file = open(path, "ab" if sizes else "wb", buffering=0)
            self._stack.enter_context(file)
            if sizes:
                # What was written after the last checkpoint is written again.
                file.truncate(sizes[index])
            self._files.append(file)

    def add(self, target: Tensor, source: Tensor, edge: Tensor | int) -> None:
        """Append edges; ``edge`` is the first edge id of a consecutive batch, or all ids."""
        runs = self._runs
        id_dtype = torch.int32 if runs.cut.id_bytes == 4 else torch.int64
        edge_dtype = torch.int32 if runs.cut.edge_bytes == 4 else torch.int64
        bucket = ((target - runs.base) >> runs.cut.shift).to(id_dtype)
        # A stable counting sort by bucket.
        ptr, sources, order = ops.csr_build(
            bucket, source.to(id_dtype), runs.buckets, self._num_nodes
        )
        del bucket
        grouped = [ops.gather_rows(target.to(id_dtype), order), sources]
        if isinstance(edge, int):
            grouped.append(order.to(edge_dtype).add_(edge))
        else:
            grouped.append(ops.gather_rows(edge, order))
        bounds = ptr.tolist()
        with full_disk_named(runs.stem):
            for b in range(runs.buckets):
                if bounds[b] == bounds[b + 1]:
                    continue
                for k, values in enumerate(grouped):
                    piece = values[bounds[b] : bounds[b + 1]].numpy()
                    _write(self._files[3 * b + k], piece)

    def sync(self) -> list[int]:
        """Flush all files; return their sizes."""
        with full_disk_named(self._runs.stem):
            for file in self._files:
                os.fsync(file.fileno())
        return [os.fstat(file.fileno()).st_size for file in self._files]

    def close(self) -> None:
        """Close all files."""
        self._stack.close()


def _write(file: Any, piece: Array) -> None:
    view = piece.data.cast("B")
    while len(view) > 0:
        view = view[file.write(view) :]


def group_bytes(cut: Sizes) -> int:
    """Bytes of an edge while :meth:`Appender.add` works on its batch, at most."""
    # Bucket and order, the kernel's own; ids in their width, before and after.
    return 2 * (8 + cut.id_bytes) + 8 + 2 * cut.run_bytes
