"""Directed propagation of features that do not fit in memory, into a store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
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
COLUMN = "propagated"


class PropagatedColumn:
    """Rows of all operators and hops, read from the files of the feature blocks.

    Args:
        folder: Where the blocks lie: ``block-<i>.npy`` [N, slots, columns].
        widths: Columns of each block.
        slots: Matrices side by side.
        num_rows: N.
    """

    def __init__(
        self, folder: Path, widths: Sequence[int], slots: int, num_rows: int
    ) -> None:
        self._folder, self._widths = folder, list(widths)
        self._slots = slots
        self.shape = (num_rows, slots * sum(widths))
        self.dtype = torch.float32
        self.nbytes = 0

    def gather(self, ids: Tensor, out: Tensor | None = None) -> Tensor:
        """Rows [len(ids), slots * F], slot after slot."""
        rows = (
            torch.empty(len(ids), self._slots, sum(self._widths))
            if out is None
            else (out.view(len(ids), self._slots, -1))
        )
        place = 0
        for number, width in enumerate(self._widths):
            part = _open(self._folder, number)[ids.numpy()]
            rows[..., place : place + width] = torch.from_numpy(np.asarray(part))
            place += width
        return rows.view(len(ids), -1)


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
    """Propagate features by directed operators, and write all hops as a column of a store.

    Blocks of feature columns go through all operators and hops in memory, one after the
    other; their results are then put side by side, so that a row of the new column
    ``propagated`` holds x and the hops 1 .. K of each pattern, and a batch of it is one read.
    ``ADPA(..., precomputed=True)`` trains on such rows.

    Args:
        source: A dataset whose features may be on disk; or a store.
        path: Folder of the store to make: the graph, labels and splits of the source, and
            the column. Blocks lie in it while it is made.
        hops: K.
        patterns: See :class:`~graphlab.graph.DirectedOperators`.
        memory: Bytes that feature columns may take; the graph's two adjacencies come on top.
        dtype: How the column is stored: ``source`` (float32), ``float16``, ``bfloat16``,
            ``int8``.
        decay: See :meth:`~graphlab.graph.DirectedOperators.propagate`.
        **options: Of the operators: ``r``, ``self_loops``, ``degree``, ``drop_diagonal``.

    Returns:
        The new store.

    Raises:
        BudgetError: ``memory`` does not hold one column of all slots.
        ValueError: no features.

    Cost:
        Features are read once for each block, and the results written twice: on disk
        2 * N * (1 + patterns * K) * F * 4 bytes while it runs. Numbers are those of
        :meth:`~graphlab.graph.DirectedOperators.propagate`.

    Example:
        >>> import tempfile, graphlab as gl
        >>> d = gl.datasets.generate("rmat", num_nodes=50, num_edges=200, num_features=3)
        >>> store = propagate(d, tempfile.mkdtemp() + "/rows", hops=1, patterns=["A", "T"])
        >>> store.columns["propagated"].shape
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
        with progress.track(name, len(widths), "blocks") as bar:
            for number, start in enumerate(starts):
                _block(d, operators, folder, number, start, widths[number], hops, decay)
                bar.advance()
        rows = PropagatedColumn(folder, widths, slots, n)
        made = d.with_splits(d.splits)
        made.columns = {COLUMN: rows}
        made.meta["propagated"] = {
            "patterns": list(operators.patterns),
            "hops": hops,
            "slots": slots,
            "channels": wide,
            "decay": decay,
            **options,
        }
        return Store.convert(made, path, dtype=dtype, memory=limit)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _block(
    d: Dataset,
    operators: DirectedOperators,
    folder: Path,
    number: int,
    start: int,
    width: int,
    hops: int,
    decay: str,
) -> None:
    """Propagate some columns of the features and write their file."""
    slots = 1 + len(operators.patterns) * hops
    x = torch.empty(d.num_nodes, width)
    for ids, rows in _pieces(d):
        x[ids] = rows[:, start : start + width].float()
    found = operators.propagate(x, hops, decay=decay)
    shape = (d.num_nodes, slots, width)
    file = np.lib.format.open_memmap(
        folder / f"block-{number}.npy", "w+", np.float32, shape
    )
    step = max(1, _PIECE_BYTES // (4 * slots * width))
    for first in range(0, d.num_nodes, step):
        file[first : first + step] = found[first : first + step].numpy()
    file.flush()


def _pieces(d: Dataset) -> Iterator[tuple[Tensor, Tensor]]:
    step = max(1, _PIECE_BYTES // (4 * d.num_features))
    for first in range(0, d.num_nodes, step):
        ids = torch.arange(first, min(first + step, d.num_nodes))
        yield ids, gather(d.x, ids)


def _open(folder: Path, number: int) -> Any:
    return np.load(folder / f"block-{number}.npy", mmap_mode="r")
