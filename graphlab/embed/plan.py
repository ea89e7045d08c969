"""What an embedding will hold in memory, told before anything is allocated."""

from __future__ import annotations

import math
from dataclasses import dataclass

from graphlab import sizes
from graphlab.errors import BudgetError
from graphlab.ops.skipgram import LANES

# Most bytes of walks, pairs and their sorting, beside tables and graph.
BUFFERS = 64 * 2**20
# Least of them: below this, calls cost more than their work.
_LEAST_BUFFERS = 2**19
_MOST_PARTS = 256


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes of an embedding by what they are for.

    Attributes:
        nodes: Rows of a table.
        stride: Floats of a row, padding included.
        tables: Number of tables: 2, or 1 where heads and contexts are the same.
        graph: Bytes of the copy of the graph that walks read.
        buffers: Bytes of walks and pairs.
        parts: Parts of the nodes.
        streamed: Whether tables lie on disk and only the parts in use in memory.
        workers: Blocks trained at the same time.
    """

    nodes: int
    stride: int
    tables: int
    graph: int
    buffers: int
    parts: int
    streamed: bool
    workers: int

    @property
    def table_bytes(self) -> int:
        """Bytes of all tables, in memory or on disk."""
        return self.nodes * self.stride * 4 * self.tables

    @property
    def resident_bytes(self) -> int:
        """Bytes of tables that are in memory at a time."""
        if not self.streamed:
            return self.table_bytes
        part = math.ceil(self.nodes / self.parts) * self.stride * 4
        return 2 * part * self.workers

    @property
    def total(self) -> int:
        """All bytes held at a time."""
        return self.resident_bytes + self.graph + self.buffers

    def __str__(self) -> str:
        show = sizes.show
        where = ""
        if self.streamed:
            where = f" of {show(self.table_bytes)} on disk, in {self.parts} parts"
        elif self.parts > 1:
            where = f" in {self.parts} parts"
        return (
            f"memory: {show(self.total)} = tables {show(self.resident_bytes)}{where} + "
            f"graph {show(self.graph)} + buffers {show(self.buffers)}"
        )


def graph_bytes(nodes: int, edges: int, weighted: bool, degree: bool) -> int:
    """Bytes of the walker: rows, neighbours, alias slots, departures, negatives."""
    index = 4 if nodes < 2**31 else 8
    per_edge = index + (16 if weighted else 0)
    # Offsets, strengths, two orders of departure, rank and node; alias tables of 8 bytes.
    return edges * per_edge + nodes * (48 + 8 + (8 if degree else 0))


def plan(
    nodes: int,
    dim: int,
    tables: int,
    graph: int,
    *,
    memory: int | None,
    parts: int | None,
    workers: int,
) -> MemoryPlan:
    """Choose parts and buffers for a budget.

    Args:
        nodes: Nodes.
        dim: Width of a vector.
        tables: 1 or 2.
        graph: Bytes of :func:`graph_bytes`.
        memory: Budget for everything here, or None.
        parts: Wanted parts, or None: one, or as many as the budget asks for.
        workers: Blocks trained at the same time where there are parts.

    Raises:
        BudgetError: no number of parts fits.
    """
    stride = -(-dim // LANES) * LANES
    whole = nodes * stride * 4 * tables
    if memory is None or graph + whole + BUFFERS <= memory:
        return MemoryPlan(
            nodes, stride, tables, graph, BUFFERS, parts or 1, False, workers
        )
    left = memory - graph
    smaller = min(BUFFERS, left - whole)
    if smaller >= _LEAST_BUFFERS:
        return MemoryPlan(
            nodes, stride, tables, graph, smaller, parts or 1, False, workers
        )
    buffers = min(BUFFERS, max(_LEAST_BUFFERS, left // 3))
    wanted = parts or 2
    while wanted <= min(nodes, _MOST_PARTS):
        chosen = MemoryPlan(nodes, stride, tables, graph, buffers, wanted, True, 1)
        if chosen.total <= memory:
            return chosen
        if parts is not None:
            break
        wanted += 1
    most = parts or min(nodes, _MOST_PARTS)
    least = MemoryPlan(nodes, stride, tables, graph, _LEAST_BUFFERS, most, True, 1)
    raise BudgetError(
        f"NodeEmbedding: `memory` must be at least {sizes.show(least.total)} for "
        f"{most} parts, got {sizes.show(memory)}; the graph alone takes "
        f"{sizes.show(graph)}"
    )
