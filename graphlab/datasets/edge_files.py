"""Edge files as a stream of numbered edges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphlab import check
from graphlab.datasets import tables
from graphlab.datasets.encoding import Array
from graphlab.datasets.node_names import NodeNames
from graphlab.datasets.tables import Table
from graphlab.interop.arrays import as_tensor
from graphlab.interop.arrow import SOURCES, TARGETS
from graphlab.progress import track


class EdgeFiles:
    """Source and target columns of a table, as node numbers.

    Args:
        table: The edges.
        source: Name of the source column; found by its usual names when empty.
        target: Name of the target column, likewise.
        names: Where ids are names: numbers them.
        both: Whether every row also gives its reverse: row i becomes edges 2i and 2i + 1.
    """

    def __init__(
        self,
        table: Table,
        source: str = "",
        target: str = "",
        *,
        names: NodeNames | None = None,
        both: bool = False,
    ) -> None:
        self.table = table
        self.pair = _find_pair(table, source, target)
        self.names = names
        self.both = both
        times = 2 if both else 1
        # Read, widened to int64, and interleaved with its reverse.
        per_row = table.row_bytes(self.pair) + 2 * 8 * times
        self.edge_bytes = -(-per_row // times) + (48 if names is not None else 0)
        self.fixed_bytes = table.fixed_bytes

    def measure(self, batch: int) -> tuple[int, int]:
        """Read everything once: number of edges, and the largest id (-1 if none)."""
        rows, largest = 0, -1
        with track("reading edges", self.table.rows or 0, "edges") as progress:
            for source, target in self._rows(0, batch):
                rows += len(source)
                if len(source):
                    largest = max(largest, int(source.max()), int(target.max()))
                progress.advance(len(source))
        return rows * (2 if self.both else 1), largest

    def batches(self, start: int, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Sources and targets from edge ``start``; see :class:`topology.EdgeStream`."""
        times = 2 if self.both else 1
        for source, target in self._rows(start // times, max(1, count // times)):
            a, b = as_tensor(source), as_tensor(target)
            if self.both:
                a, b = (
                    torch.stack([a, b], 1).flatten(),
                    torch.stack([b, a], 1).flatten(),
                )
            yield a, b

    def _rows(self, start: int, count: int) -> Iterator[tuple[Array, Array]]:
        position = start
        for columns in self.table.batches(self.pair, start, count):
            if self.names is not None:
                pair = self.names.translate(columns)
            else:
                pair = [self._integers(c, k, position) for k, c in enumerate(columns)]
            for ids, name in zip(pair, self.pair, strict=True):
                if self.names is not None and len(ids) and ids.min() < 0:
                    row = position + int(np.argmax(ids < 0))
                    got = f"row {row:,} with a node that has no features or labels row"
                    requirement = f"name known nodes in column {name!r}"
                    check.fail(ValueError, "convert", "edges", requirement, got)
            position += len(pair[0])
            yield pair[0], pair[1]

    def _integers(self, column: Any, which: int, position: int) -> Array:
        ids = tables.numbers(column)
        name = self.pair[which]
        remedy = "pass names=True to number them in the order of appearance"
        if ids is None:
            requirement = f"hold integers in column {name!r}"
            check.fail(TypeError, "convert", "edges", requirement, "text", remedy)
        if ids.dtype.kind == "f":
            missing = np.flatnonzero(np.isnan(ids))
            if len(missing):
                row = position + int(missing[0])
                requirement = f"have no empty cell in column {name!r}"
                check.fail(ValueError, "convert", "edges", requirement, f"row {row:,}")
        if ids.dtype.kind not in "iu":
            requirement = f"hold integers in column {name!r}"
            check.fail(TypeError, "convert", "edges", requirement, ids.dtype, remedy)
        return ids


def has_text_ids(table: Table, pair: Sequence[str]) -> bool:
    """Whether the ids of an edge table are text, judged by its first rows."""
    for columns in table.batches(pair, 0, 1000):
        return any(tables.numbers(column) is None for column in columns)
    return False


def _find_pair(table: Table, source: str, target: str) -> list[str]:
    for argument, name in (("source", source), ("target", target)):
        if name and name not in table.columns:
            check.one_of("convert", argument, name, table.columns)
    first = source or tables.find_column(table, SOURCES)
    second = target or tables.find_column(table, TARGETS)
    if first and second and first != second:
        return [first, second]
    if len(table.columns) < 2:
        got = f"the column(s) {table.columns}"
        check.fail(ValueError, "convert", "edges", "have two columns", got)
    if source or target:
        missing = "target" if source else "source"
        remedy = f"give {missing}= as well"
        got = f"only {source or target!r}"
        check.fail(ValueError, "convert", "edges", "have both ends named", got, remedy)
    return table.columns[:2]
