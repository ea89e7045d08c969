"""Directed propagation of features that do not fit in memory, into a store."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphlab import check, progress, sizes
from graphlab.datasets import Dataset
from graphlab.datasets.column import gather
from graphlab.errors import BudgetError
from graphlab.graph.directed import PATTERNS, DirectedOperators
from graphlab.outofcore.store import Store

# Rows read and written at once; bounds the buffers of both passes.
_PIECE_BYTES = 8 * 2**20
# What may wait in the page cache for the disk.
_DIRTY_BYTES = 64 * 2**20


class PropagatedColumn:
    """Rows of all operators and hops, read from the files of the feature blocks.

    Args:
        files: One for each block: [N, slots, columns], float32.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._blocks: list[Any] = [np.load(file, mmap_mode="r") for file in files]
        self._files = list(files)
        self._slots = self._blocks[0].shape[1]
        self._width = sum(block.shape[2] for block in self._blocks)
        self.shape = (len(self._blocks[0]), self._slots * self._width)
        self.dtype = torch.float32
        self.nbytes = 0

    def gather(self, ids: Tensor, out: Tensor | None = None) -> Tensor:
        """Rows [len(ids), slots * F], slot after slot."""
        if out is None:
            out = torch.empty(len(ids), self.shape[1])
        rows = out.view(len(ids), self._slots, self._width)
        place = 0
        first, count = (int(ids[0]) if len(ids) else 0), len(ids)
        in_order = torch.equal(ids, torch.arange(first, first + count))
        for block, file in zip(self._blocks, self._files, strict=True):
            if in_order:
                # One read a block: page by page through the map, each would be a fault.
                shape = (count, *block.shape[1:])
                at = block.offset + first * block.strides[0]
                held = np.fromfile(file, block.dtype, int(np.prod(shape)), offset=at)
                part = torch.from_numpy(held).view(shape)
            else:
                part = torch.from_numpy(block[ids.numpy()])
            rows[..., place : place + part.shape[2]] = part
            place += part.shape[2]
        return out


def propagate(
    source: Dataset | Store,
    path: str | Path,
    *,
    hops: int = 2,
    patterns: Sequence[str] = PATTERNS,
    memory: int | str = "2GiB",
    dtype: str = "source",
    decay: str = "none",
    **options: Any,
) -> Store:
    """Propagate features by directed operators, and write all hops as rows of a store.

    Blocks of feature columns go through all operators and hops in memory, one after the
    other; their results are then put side by side, so that a row of the new store's ``x``
    holds the features and the hops 1 .. K of each pattern, and a batch of it is one read.
    ``ADPA(..., precomputed=True)`` trains on such rows; batches need no neighbours, so
    ``num_neighbors=[0]``.

    Args:
        source: A dataset whose features may be on disk; or a store.
        path: Folder of the store to make: the graph, labels and splits of the source, and
            the rows. Blocks lie in it while it is made.
        hops: K.
        patterns: See :class:`~graphlab.graph.DirectedOperators`.
        memory: Bytes that feature columns may take; the graph's two adjacencies come on top.
        dtype: How the rows are stored: ``source`` (float32), ``float16``, ``bfloat16``,
            ``int8``.
        decay: See :meth:`~graphlab.graph.DirectedOperators.propagate`.
        **options: Of the operators: ``r``, ``self_loops``, ``degree``, ``drop_diagonal``.

    Returns:
        The new store.

    Raises:
        BudgetError: ``memory`` does not hold one column of all slots.
        ValueError: no features.

    Cost:
        Features are read once and written once, block by block; results are written twice:
        on disk 2 * N * (1 + patterns * K) * F * 4 bytes while it runs. Numbers are those of
        :meth:`~graphlab.graph.DirectedOperators.propagate`. A killed call begins anew.

    Example:
        >>> import tempfile, graphlab as gl
        >>> d = gl.datasets.generate("rmat", num_nodes=50, num_edges=200, num_features=3)
        >>> store = propagate(d, tempfile.mkdtemp() + "/rows", hops=1, patterns=["A", "T"])
        >>> store.x.shape
        (50, 9)
    """
    name = "propagate"
    d = source.dataset() if isinstance(source, Store) else source
    if d.x is None or len(d.x.shape) != 2:
        got = "none" if d.x is None else list(d.x.shape)
        check.fail(ValueError, name, "source", "have features [N, F]", got)
    check.positive(name, "hops", hops)
    limit = sizes.parse(memory)
    n, wide = d.num_nodes, d.num_features
    operators = DirectedOperators(d.graph, patterns, **options)
    slots = 1 + len(operators.patterns) * hops
    # Beside the slots: scaled, stacked and summed copies of each pattern's columns.
    each = 4 * n * (slots + 4 * len(operators.patterns))
    width = min(wide, (limit - 2 * _PIECE_BYTES) // each)
    if width < 1:
        least = each + 2 * _PIECE_BYTES
        raise BudgetError(
            f"{name}: `memory` must be at least {sizes.show(least)} to hold one column of "
            f"{slots} slots for {n:,} nodes, got {sizes.show(limit)}"
        )
    folder = Path(path) / "blocks"
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, wide, width)
    widths = [min(width, wide - start) for start in starts]
    progress.say(
        f"{name}: {wide} columns in {len(widths)} blocks of {width}, {slots} slots; "
        f"{sizes.show(8 * n * slots * wide)} on disk while it runs"
    )
    try:
        columns = folder / "columns.bin"
        _spread(d, columns, widths)
        results = []
        with progress.track(name, len(widths), "blocks") as bar:
            for number, w in enumerate(widths):
                results.append(
                    _block(operators, columns, number, number * width, w, hops, decay)
                )
                bar.advance()
        columns.unlink()
        rows = PropagatedColumn(results)
        made = d.with_splits(d.splits)
        made.columns = {"x": rows}
        made.meta["propagated"] = {
            "patterns": list(operators.patterns),
            "hops": hops,
            "slots": slots,
            "channels": wide,
            "decay": decay,
            **operators.options,
        }
        return Store.convert(made, path, dtype=dtype, memory=limit)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _spread(d: Dataset, path: Path, widths: list[int]) -> None:
    """Read the features once; write the columns of each block one block after the other."""
    n, wide = d.num_nodes, d.num_features
    step = max(1, _PIECE_BYTES // (4 * wide))
    with open(path, "wb", buffering=0) as file:
        unsynced = 0
        for first in range(0, n, step):
            ids = torch.arange(first, min(first + step, n))
            rows, before = gather(d.x, ids).float(), 0
            for part in rows.split(widths, dim=1):
                width = part.shape[1]
                at = 4 * (n * before + first * width)
                os.pwrite(file.fileno(), part.contiguous().numpy().data, at)
                before += width
            unsynced += rows.nbytes
            if unsynced >= _DIRTY_BYTES:
                _let_go(file.fileno())
                unsynced = 0
        _let_go(file.fileno())


def _block(
    operators: DirectedOperators,
    columns: Path,
    number: int,
    before: int,
    width: int,
    hops: int,
    decay: str,
) -> Path:
    """Propagate the columns of a block; its file holds [N, slots, width]."""
    n, slots = operators.num_nodes, 1 + len(operators.patterns) * hops
    rows = torch.empty(n, slots, width)
    held = np.fromfile(columns, np.float32, n * width, offset=4 * n * before)
    rows[:, 0] = torch.from_numpy(held).view(n, width)
    operators.propagate_into(rows, hops, decay=decay)
    path = columns.parent / f"rows-{number}.npy"
    with open(path, "wb") as file:
        np.save(file, rows.numpy())
        file.flush()
        _let_go(file.fileno())
    return path


def _let_go(descriptor: int) -> None:
    """Write what is dirty and drop it from the page cache, which a memory limit counts."""
    os.fdatasync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
